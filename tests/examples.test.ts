/** The examples run and print what is written here; README.md shows one of them as it is. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { bundleScripts } from '../tools/bundle.mjs';

const test = suite('examples');

/** What each prints. The README's is the one its text shows. */
const OUTPUTS: Readonly<Record<string, string>> = {
  'verify-pages': `
AioPageError: invalid page in block 3 of relation "base/5/16384"
[ true, true, true, false ]
`,
  'relation-scan': `
1000 new pages in 66 reads
block 998
block 3
block 998
3 of them were in the pool
1 write, 1 file synced
checksum 25953, 8164 bytes free
`,
  'read-a-file': `
OK 8192
OK 8192
PARTIAL 3616
could not read file "FILE": read only 3616 of 8192 bytes
xxxxxxxx
24576 bytes asked for in 3 reads
`,
  'raw-layer': `
HANDED_OUT blocks 0..1 in file "base/5/16384"
PARTIAL 1
HANDED_OUT blocks 1..2 in file "base/5/16384"
ERROR 0
AioIoError: could not read blocks 1..2 in file "base/5/16384": read only 0 of 16384 bytes
`,
  'two-threads': `
backend 0: read by one thread, seen by two
backend 1: OK, 8192 bytes
0 handles in use
`,
  'own-device': `
submitted together: 0, 1
0 SUBMITTED readv 0 8192 file "/dev/null"
1 SUBMITTED readv 8192 8192 file "/dev/null"
OK
could not read file "/dev/null": Input/output error
`,
};

test('are bundled', () =>
  bundleScripts(
    Object.keys(OUTPUTS).map((name) => `examples/${name}.ts`),
    'dist/examples',
  ));

for (const [name, output] of Object.entries(OUTPUTS)) {
  test(`${name} prints what it should`, () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [`dist/examples/${name}.js`], {
      encoding: 'utf8',
    });
    assert.is(stderr, '');
    assert.is(`\n${stdout}`, output);
    assert.is(status, 0);
  });
}

/** The first fenced block of that language after a heading or anything else. */
function blockOf(text: string, language: string): string {
  return new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(text)?.[1] ?? '';
}

test('and README.md show the same code, with what it prints', () => {
  const readme = readFileSync('README.md', 'utf8');
  const source = readFileSync('examples/verify-pages.ts', 'utf8');
  const [header = '', ...rest] = source.split('\n');
  assert.match(header, /^\/\*\*.*\*\/$/);
  assert.is(blockOf(readme, 'ts'), rest.join('\n'));
  assert.is(`\n${blockOf(readme, 'text')}`, OUTPUTS['verify-pages']);
});

test('are all listed here and in their README', () => {
  const names = readdirSync('examples').filter((file) => file.endsWith('.ts'));
  assert.equal(
    names.sort(),
    Object.keys(OUTPUTS)
      .map((name) => `${name}.ts`)
      .sort(),
  );
  const readme = readFileSync('examples/README.md', 'utf8');
  for (const name of names) assert.ok(readme.includes(name), name);
});

test.run();

const documents = suite('documents:');

/** Sources of the tests by the name documents use; some have parts in files beside them. */
function sourcesOf(name: string): string {
  const rows = new RegExp(`^${name}-(?:(?:\\w+-)?rows|numbers|cases)\\.ts$`);
  const files = readdirSync('tests')
    .filter((file) => file === `${name}.test.ts` || rows.test(file))
    .map((file) => `tests/${file}`);
  const inPages = name === 'browser' ? ['tests/browser/cases.ts'] : [];
  return [...files, ...inPages].map((path) => readFileSync(path, 'utf8')).join('\n');
}

/** Tests that a text names: `file` "beginning of the sentence". */
function namedTests(text: string): [file: string, sentence: string][] {
  const flat = text.replace(/\n/g, ' ');
  return [...flat.matchAll(/`([\w-]+)` "([^"]+)"/g)].map(([, file = '', sentence = '']) => [
    file,
    sentence,
  ]);
}

for (const path of ['docs/fidelity.md', 'docs/traps.md']) {
  documents(`${path} names tests that exist`, () => {
    const named = namedTests(readFileSync(path, 'utf8'));
    assert.ok(named.length > 20, 'the form of the references has changed');
    const missing = named.filter(([file, sentence]) => !sourcesOf(file).includes(sentence));
    assert.equal(missing, []);
  });
}

documents('docs/fidelity.md has a test in each row, or says that it is not there yet', () => {
  const rows = readFileSync('docs/fidelity.md', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| description'));
  assert.ok(rows.length > 90);
  const bare = rows.filter(
    (row) => namedTests(row).length === 0 && !/not (?:there )?yet/.test(row),
  );
  assert.equal(bare, []);
});

documents.run();
