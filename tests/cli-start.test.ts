/** How the program starts: from code that the build has kept, and as well without it. */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeDemoDirectory } from '../host/node/demo-directory.ts';
import { referenceChecksum } from './page-vectors.ts';

const TIME_LIMIT_MS = 60_000;
const test = suite('pgaio: its start');
let scratch = '';
let demo = '';
/** The program as it is installed, to be spoilt. */
let copy = '';
test.before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'pgaio-start-'));
  demo = join(scratch, 'demo');
  makeDemoDirectory(demo, referenceChecksum);
  copy = join(scratch, 'dist');
  mkdirSync(copy);
  for (const name of readdirSync('dist')) {
    if (/\.(?:cjs|code|node|wasm)$/.test(name)) cpSync(`dist/${name}`, join(copy, name));
  }
  cpSync('package.json', join(scratch, 'package.json'));
  symlinkSync(resolve('node_modules'), join(scratch, 'node_modules'));
  // Says of each part whether V8 took the code that was kept.
  writeFileSync(
    join(scratch, 'tell.mjs'),
    `import vm from 'node:vm';
     const { Script } = vm;
     vm.Script = class extends Script {
       constructor(text, options) {
         super(text, options);
         const kept = options.cachedData === undefined ? 'none' : !this.cachedDataRejected;
         process._rawDebug('part', options.filename.replace(/.*[/\\\\]/, ''), 'kept', kept);
       }
     };`,
  );
});
test.after(() => rmSync(scratch, { recursive: true, force: true }));

/** Parts and whether their code was taken, and what the program says. */
function start(flags: readonly string[] = []) {
  const tell = pathToFileURL(join(scratch, 'tell.mjs')).href;
  const words = ['--import', tell, ...flags, join(copy, 'cli.cjs'), 'verify', '-j', '2', demo];
  const ran = spawnSync(process.execPath, words, { encoding: 'utf8', timeout: TIME_LIMIT_MS });
  const parts = [...ran.stderr.matchAll(/^part (\S+) kept (\S+)$/gm)].map(([, part, kept]) => {
    return `${part} ${kept}`;
  });
  const [, bad] = /^Bad checksums: +(\d+)$/m.exec(ran.stdout) ?? [];
  return { status: ran.status, bad, parts: parts.sort() };
}
const codes = () => readdirSync(copy).filter((name) => name.endsWith('.code'));

test('takes the code that the build has kept for this Node', () => {
  assert.is(codes().length, 2);
  assert.equal(start(), { status: 1, bad: '1', parts: ['job.cjs true', 'program.cjs true'] });
});
test('goes without where the flags are others', () => {
  const { status, bad, parts } = start(['--no-opt']);
  assert.equal([status, bad], [1, '1']);
  assert.equal(parts, ['job.cjs false', 'program.cjs false']);
});
test('goes without where it is spoilt, cut short, or not there', () => {
  const without = (kept: string) => {
    return { status: 1, bad: '1', parts: [`job.cjs ${kept}`, `program.cjs ${kept}`] };
  };
  for (const name of codes()) writeFileSync(join(copy, name), Buffer.alloc(300_000, name));
  assert.equal(start(), without('false'));
  for (const name of codes()) truncateSync(join(copy, name), 10);
  assert.equal(start(), without('false'));
  for (const name of codes()) rmSync(join(copy, name));
  assert.equal(start(), without('none'));
});
test.run();
