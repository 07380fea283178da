/** `pgaio stat`, `page` and `bench` as their users meet them. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type DemoFacts, makeDemoDirectory } from '../host/node/demo-directory.ts';
import { VARIANTS } from './harness.ts';
import { referenceChecksum } from './page-vectors.ts';

const CLI = 'dist/cli.cjs';
const COLUMNS = 80;
const TIME_LIMIT_MS = 60_000;
const METHODS = [...new Set(VARIANTS.map(({ method }) => method))].filter((m) => m !== 'host');

const test = suite('pgaio: beside verify');
let scratch = '';
let facts: DemoFacts;
test.before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'pgaio-tools-'));
  facts = makeDemoDirectory(join(scratch, 'demo'), referenceChecksum);
});
test.after(() => rmSync(scratch, { recursive: true, force: true }));

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}
function run(...args: string[]): Ran {
  const ran = spawnSync(process.execPath, [CLI, ...args], {
    encoding: 'utf8',
    timeout: TIME_LIMIT_MS,
  });
  const lines = args.includes('--json') ? [] : ran.stdout.split('\n');
  for (const line of lines) assert.ok(line.length <= COLUMNS, line);
  return ran;
}
function assertRefused({ status, stdout, stderr }: Ran, words: RegExp): void {
  assert.is(stdout, '');
  assert.match(stderr, words);
  assert.match(stderr, /^pgaio: [^\n]+\n$/);
  assert.is(status, 2);
}

test('stat says what a directory is and holds', () => {
  writeFileSync(join(facts.path, 'base/5/notes'), 'xyz');
  const { status, stdout, stderr } = run('stat', facts.path);
  assert.is(stderr, '');
  assert.is(status, 0);
  for (const line of [
    `directory   ${facts.path}`,
    'version     PostgreSQL 18, catalog 202506291',
    'state       shut down; no server has it open',
    'checkpoint  0/2000028, redo from 0/2000028',
    'checksums   on, version 1',
    'block       8,192 bytes',
    'segment     16 blocks (0.1 MB)',
    'relations   30 files, 3.3 MB',
    '  main      28 files, 3.2 MB',
    '  fsm       1 file, 0.0 MB',
    'foreign     1 file, 0.0 MB',
    '  base/5: 29 files, 3.3 MB',
    '  base/5/16397: 2.3 MB',
  ]) {
    assert.ok(stdout.split('\n').includes(line), `no line ${line} in ${stdout}`);
  }
  const told = JSON.parse(run('stat', facts.path, '--json').stdout);
  assert.equal(told.relations, { files: 30, bytes: 400 * 8192 });
  assert.equal(told.foreign, { files: 1, bytes: 3 });
  assert.is(told.control.segmentBlocks, 16);
  assert.equal(told.largest[0], { path: 'base/5/16397', bytes: 284 * 8192 });
  rmSync(join(facts.path, 'base/5/notes'));
  assertRefused(run('stat', join(scratch, 'none')), /no such directory/);
});

test('page shows a page, its checksum and its line pointers', () => {
  const file = join(facts.path, 'base/5/16384.1');
  const bad = run('page', file, '5');
  assert.is(bad.stderr, '');
  assert.is(bad.status, 1);
  for (const line of [
    'block       5 of 16, block 21 of the relation fork, offset 40960',
    'verdict     damaged: checksum failed',
    'checksum    stored 56C (1388), calculated D4D (3405)',
    'lsn         0/1001528',
    'flags       0',
    'special     8192, of 0 bytes',
    'size        8192, layout version 4',
  ]) {
    assert.ok(bad.stdout.split('\n').includes(line), `no line ${line} in ${bad.stdout}`);
  }
  assert.match(bad.stdout, /^Line pointers \(\d+\): offset, length\n {4}1 {2}normal \d+ \d+$/m);
  const hex = /^0000 {2}00 00 00 00 28 15 00 01 6c 05 00 00 .* \.\.\.\.\(\.\.\.l\.\.\./m;
  assert.match(bad.stdout, hex);
  const good = run('page', file, '4', '--no-hex');
  assert.is(good.status, 0);
  assert.match(good.stdout, /^verdict {5}valid$/m);
  assert.not.match(good.stdout, /^Bytes$/m);
  const header = run('page', join(facts.path, 'base/5/16387'), '3');
  assert.match(header.stdout, /^verdict {5}damaged: header makes no sense$/m);
  const fresh = run('page', join(facts.path, 'base/5/16391'), '9');
  assert.is(fresh.status, 0);
  assert.match(fresh.stdout, /^verdict {5}new: all zero, never used$/m);
  assert.match(fresh.stdout, /^0000 .*\n\*\n1ff0 /m);
});

test('page takes a file out of its place, if it is told what it is', () => {
  const copy = join(scratch, 'copy');
  copyFileSync(join(facts.path, 'base/5/16384.1'), copy);
  const guessed = run('page', copy, '4', '--no-hex');
  assert.is(guessed.status, 1); // block 4 of the relation has another checksum
  assert.match(
    guessed.stdout,
    /^No data directory is around it: taken for blocks of 8192 bytes\.$/m,
  );
  const named = `${copy}-16384.1`;
  copyFileSync(copy, named);
  assert.is(run('page', join(scratch, 'copy-16384.1'), '4', '--segment', '0').status, 1);
  const pages = readFileSync(copy);
  mkdirSync(join(scratch, 'blocks'));
  writeFileSync(join(scratch, 'blocks/1'), pages.subarray(0, 1024 * 3));
  const small = run('page', join(scratch, 'blocks/1'), '2', '--block-size', '1024', '--no-hex');
  assert.match(small.stdout, /^block {7}2 of 3, block 2 of the relation fork, offset 2048$/m);
  assertRefused(run('page', copy, '16'), /no block 16; it has 16 blocks$/m);
  assertRefused(run('page', join(scratch, 'none'), '0'), /No such file or directory/);
  assertRefused(run('page', copy, '-1'), /Expected a whole number/);
  assertRefused(run('page', copy, '0', '--block-size', '3000'), /Expected a power of two/);
});

test('bench reads a file or a directory for as long as it is told', () => {
  for (const method of METHODS) {
    for (const more of [[], ['--random', '--depth', '1', '--read-size', '8']]) {
      const args = ['--seconds', '0.2', '--io-method', method, ...more, facts.path];
      const { status, stdout, stderr } = run('bench', ...args);
      assert.is(stderr, '');
      assert.is(status, 0);
      assert.match(stdout, new RegExp(`^method {6}${method}$`, 'm'));
      assert.match(stdout, /^speed {7}[\d,]+ MB\/s, [\d,]+ reads\/s$/m);
      assert.match(stdout, /^latency {5}median [\d.]+ (?:µs|ms), 95 % .*, 99 % .*, most /m);
    }
  }
  const told = JSON.parse(
    run('bench', '--json', '--seconds', '0.1', '--read-size', '4', facts.path).stdout,
  );
  assert.is(told.bytes, told.reads * 4096);
  assert.ok(told.reads > 0 && told.seconds >= 0.1 && told.mbPerSecond > 0);
  assertRefused(run('bench', join(scratch, 'none')), /no such file or directory$/m);
  assertRefused(run('bench', '--read-size', '16384', facts.path), /lower --read-size$/m);
  assertRefused(run('bench', '--read-size', '6', facts.path), /Expected a multiple of 4 kB/);
  assertRefused(run('bench', '--io-method', 'host', facts.path), /choices are sync, worker, io_/);
});

test('doctor tells which methods there are, and why not the others', () => {
  const good = run('doctor');
  assert.is(good.stderr, '');
  assert.is(good.status, 0);
  assert.match(good.stdout, /^sync {8}yes$/m);
  const found = JSON.parse(run('doctor', '--json').stdout);
  const at = found.kernelAio ? 'several direct I/Os at once' : 'one I/O at a time';
  assert.match(good.stdout, new RegExp(`^worker {6}yes, each with ${at}$`, 'm'));
  assert.is(found.io_uring.available, METHODS.includes('io_uring'));
  assert.is(found.auto, METHODS.includes('io_uring') ? 'io_uring' : 'worker');
  const env = { ...process.env, PGAIO_NO_SHIM: '1' };
  const without = spawnSync(process.execPath, [CLI, 'doctor'], { encoding: 'utf8', env });
  assert.is(without.status, 0);
  assert.match(without.stdout, /^worker {6}yes, each with one I\/O at a time$/m);
  assert.match(without.stdout, /^io_uring {4}no$/m);
  assert.match(without.stdout, /^auto {8}takes worker$/m);
  assert.match(without.stdout, /io_uring cannot be used: PGAIO_NO_SHIM is set/);
  assert.match(without.stdout, /Build it with `npm run build`/);
});
test.run();
