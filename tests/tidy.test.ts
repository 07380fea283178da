/**
 * House rules that a program can check. Each rule on files has a good and a bad sample, which are
 * tests too. The lists under tests/fixtures/ are rewritten by `PGAIO_UPDATE=1 npm test -- tidy`, as
 * far as they may change without a decision.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { coreFaults, parseWasm } from '../tools/wasm.mjs';
import {
  errorFaults,
  errorNumbersOf,
  errorWordsOf,
  exportFaults,
  importLines,
  methodsOf,
  withoutAssertion,
} from './tidy/core.ts';
import {
  CIRCLES,
  CORE_BUILDS,
  CORE_IMPORTS,
  ENTRY_POINTS,
  EXECUTABLES,
  FILE_TYPES,
  LAYOUT_RECORD,
  MAX_BLOB_BYTES,
  PACKAGE_FILES,
  PACKAGE_PATTERNS,
  UNASSERTED_LIST,
} from './tidy/expected.ts';
import { FOOTGUN_RULES } from './tidy/footgun-rules.ts';
import { circlesOf, directionFaults, type Edge, edgesOf, unreached } from './tidy/imports.ts';
import { linkFaults, MARKDOWN_RULES } from './tidy/markdown.ts';
import type { Rule } from './tidy/rule.ts';
import { blank, functionsOf, importsOf } from './tidy/source.ts';
import { TEXT_RULES } from './tidy/text-rules.ts';
import { executables, git, largeBlobs, readTree } from './tidy/tree.ts';

const UPDATE = process.env.PGAIO_UPDATE === '1';
const RULES: readonly Rule[] = [...TEXT_RULES, ...FOOTGUN_RULES, ...MARKDOWN_RULES];
const files = readTree();
const edges = edgesOf(files);

/** Fails with all messages, not with the first. */
function none(messages: readonly string[]): void {
  if (messages.length === 0) return;
  const error = new Error(`\n    ${messages.join('\n    ')}`);
  error.stack = ''; // it would repeat the messages
  throw error;
}

const isOneOf = (patterns: readonly RegExp[]) => (path: string) =>
  patterns.some((pattern) => pattern.test(path));

function read(path: string): string {
  assert.ok(existsSync(path), `there is no ${path}`);
  return readFileSync(path, 'utf8');
}

const everyFile = suite('tidy: every file');
for (const rule of RULES) {
  everyFile(rule.name, () => {
    const messages: string[] = [];
    for (const [path, text] of files) {
      if (text === '' || !rule.applies(path) || rule.exceptions?.[path] !== undefined) continue;
      for (const message of rule.check(text, path)) messages.push(`${path}:${message}`);
    }
    none(messages);
  });
}
everyFile.run();

const everyRule = suite('tidy: the rule');
for (const { name, applies, check, good, bad, exceptions } of RULES) {
  everyRule(`"${name}" passes its good sample and finds its bad one`, () => {
    if (applies(good.path)) none(check(good.text, good.path));
    assert.ok(applies(bad.path), 'the bad sample lies where the rule does not apply');
    assert.ok(check(bad.text, bad.path).length > 0, 'the bad sample is not found');
  });
  for (const path of Object.keys(exceptions ?? {})) {
    everyRule(`"${name}" still needs its exception for ${path}`, () => {
      const text = files.get(path);
      if (text === undefined && !existsSync(path)) return; // not written yet
      assert.ok(applies(path), 'the rule does not apply there anyway');
      assert.ok(check(text ?? '', path).length > 0, 'the file keeps the rule');
    });
  }
}
everyRule.run();

const reading = suite('tidy: reading source');
reading('blanks comments and strings, and keeps lines and columns', () => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: source is what is read
  const text = "a('/* b */'); // c\nd(/[/]\"/, `e${f('g')}h`); /* i\nj */ k / l / m;\n";
  const expected = [
    "a('       ');     ",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: source is what is read
    "d(/    /, ` ${f(' ')} `);     ",
    '     k / l / m;',
    '',
  ].join('\n');
  assert.is(blank(text), expected);
});
reading('counts the lines of functions without those inside them', () => {
  const text = [
    '@inline export function a(x: u32): bool { return x > 0; }',
    'function b(f: () => void = c, d?: { e: 1 }): void {',
    '  if (d) {',
    '    f(() => {',
    '      g();',
    '    });',
    '  }',
    '}',
    'class H { private i(j: Map<string, number[]>): Promise<{ k: 1 }> { return j; } }',
  ].join('\n');
  assert.equal(
    functionsOf(text).map(({ name, firstLine, ownLines }) => [name, firstLine, ownLines]),
    [
      ['a', 1, 1],
      ['b', 2, 5],
      ['arrow function', 4, 3],
      ['i', 9, 1],
    ],
  );
});
reading('finds imports of every form, and none in strings and comments', () => {
  const text = [
    "import a, { b } from './a.ts'; // import c from './c.ts';",
    "export * from './d.ts';",
    'import type {',
    '  e,',
    "} from './e.ts';",
    "import './f.ts';",
    "const g = await import('./g.ts');",
    'const h = "import i from \'./i.ts\'";',
    'export { j } from "./j";',
  ].join('\n');
  assert.equal(
    importsOf(text).map(({ specifier, line, typeOnly }) => [specifier, line, typeOnly]),
    [
      ['./a.ts', 1, false],
      ['./d.ts', 2, false],
      ['./e.ts', 3, true],
      ['./f.ts', 6, false],
      ['./g.ts', 7, false],
      ['./j', 9, false],
    ],
  );
});
reading.run();

const imports = suite('tidy: imports');
const edge = (from: string, to: string): Edge => ({ from, to, line: 1, typeOnly: false });
imports('point from the CLI over host and bindings to the core', () => {
  none(directionFaults(edges, files));
});
imports('are refused against the direction', () => {
  const tree = new Map(
    ['bindings/a.ts', 'host/b.ts', 'host/node/cli.ts'].map((path) => [path, '']),
  );
  none(directionFaults([edge('host/b.ts', 'bindings/a.ts')], tree));
  assert.is(directionFaults([edge('bindings/a.ts', 'host/b.ts')], tree).length, 1);
  assert.is(directionFaults([edge('host/node/cli.ts', 'bindings/a.ts')], tree).length, 1);
  assert.is(directionFaults([edge('host/b.ts', 'host/node/cli.ts')], tree).length, 1);
  assert.is(directionFaults([edge('host/b.ts', 'host/c.ts')], tree).length, 1);
});
imports('make no circle', () => {
  const meant = (file: string) => CIRCLES.some(({ files: pattern }) => pattern.test(file));
  none(
    circlesOf(edges)
      .filter((circle) => !circle.every(meant))
      .map((circle) => circle.join(' ')),
  );
});
imports('that make a circle are found', () => {
  assert.equal(circlesOf([edge('a', 'b'), edge('b', 'c'), edge('c', 'b')]), [['b', 'c']]);
  assert.equal(circlesOf([edge('a', 'b'), edge('a', 'c'), edge('b', 'c')]), []);
});
imports('reach every file from an entry point', () => {
  none(unreached(edges, files, isOneOf(ENTRY_POINTS)));
});
imports('leave no file unreached unnoticed', () => {
  const tree = new Map(['a.ts', 'b.ts', 'c.ts'].map((path) => [path, '']));
  assert.equal(
    unreached([edge('a.ts', 'b.ts'), edge('c.ts', 'c.ts')], tree, (p) => p === 'a.ts'),
    ['c.ts'],
  );
});
imports.run();

const documents = suite('tidy: documents');
documents('link to files and headings that are there', () => {
  const messages = [...files]
    .filter(([path]) => path.endsWith('.md'))
    .flatMap(([path, text]) => linkFaults(path, text, files, existsSync));
  none(messages);
});
documents('that link to nothing are found', () => {
  const tree = new Map([['docs/a.md', '# A b\n']]);
  const faults = (text: string) => linkFaults('b.md', text, tree, () => false).length;
  assert.is(faults('[a](docs/a.md#a-b) [b](docs) [c](https://example.org)\n'), 0);
  assert.is(faults('[a](docs/c.md)\n'), 1);
  assert.is(faults('[a](docs/a.md#c)\n'), 1);
});
documents.run();

const tree = suite('tidy: the tree');
tree('holds files of the known types only', () => {
  none([...files.keys()].filter((path) => !isOneOf(FILE_TYPES)(path)));
});
tree('has executable bits where they are meant', () => {
  assert.equal(executables(files.keys()), [...EXECUTABLES]);
});
tree('holds no large blob, now or in its history', () => {
  none(largeBlobs(files.keys(), MAX_BLOB_BYTES));
});
tree('names each test suite once', () => {
  const names = [...files]
    .filter(([path]) => /^tests\/.*\.ts$/.test(path))
    .flatMap(([, text]) => [...text.matchAll(/\bsuite\('([^']+)'/g)].map((match) => match[1]));
  none(names.filter((name, index) => names.indexOf(name) !== index).map(String));
});
tree.run();

const core = suite('tidy: the core');
for (const { path, memory, maxBytes } of CORE_BUILDS) {
  core(`${path} has no data, no runtime, the imports listed and the memory declared`, () => {
    assert.ok(existsSync(path), `there is no ${path}`);
    const bytes = readFileSync(path);
    none(coreFaults(bytes));
    assert.equal(importLines(parseWasm(bytes)), [memory, ...CORE_IMPORTS].sort());
    if (maxBytes !== undefined) assert.ok(bytes.length <= maxBytes, `${bytes.length} bytes`);
  });
}
core('exports what the interface CoreExports says, in every build', () => {
  const methods = methodsOf(read('bindings/core-exports.ts'), 'CoreExports');
  assert.ok(methods.length > 0, 'bindings/core-exports.ts has no interface CoreExports');
  for (const { path } of CORE_BUILDS) none(exportFaults(readFileSync(path), methods));
});
core('comes out the same when compiled again, and so do the files made from it', () => {
  try {
    execFileSync(process.execPath, ['build.mjs', '--check'], { encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    throw new Error((error as { stderr?: string }).stderr ?? String(error));
  }
});
core('and the bindings know the same error numbers, each used once', () => {
  const numbers = errorNumbersOf(read('assembly/errors.ts'));
  assert.ok(numbers.length > 0, 'assembly/errors.ts has no line `export const E_…: i32 = -…;`');
  none(errorFaults(numbers, errorWordsOf(read('bindings/errors.ts'))));
});
core('has error numbers that are compared both ways', () => {
  const line = 'export const E_A: i32 = -4097; // a %d\n';
  const words = "  [-4097]: ['PGAIO_A', 'a {io}'],\n";
  const faults = (numbers: string, map: string) =>
    errorFaults(errorNumbersOf(numbers), errorWordsOf(map)).length;
  assert.is(faults(line, words), 0);
  assert.is(faults(line, "  [E_A]: [\n    'PGAIO_A',\n    'a {io}',\n  ],\n"), 0);
  assert.is(faults(line, ''), 1);
  assert.is(faults('', words), 1);
  assert.is(faults(line, words.replace('PGAIO_A', 'PGAIO_B')), 1);
  assert.is(faults(line, words.replace('a {io}', 'b {io}')), 1);
  assert.is(faults(line.replace('-4097', '-4096'), words.replace('-4097', '-4096')), 1);
  assert.is(faults(line + line.replace('E_A', 'E_B'), words), 2);
});
core('has exports that are compared both ways', () => {
  const wasm = readFileSync('dist/pgaio.wasm');
  const text = read('bindings/core-exports.ts');
  const faults = (from: string | RegExp, to: string) => {
    assert.ok(text.replace(from, to) !== text, String(from));
    return exportFaults(wasm, methodsOf(text.replace(from, to), 'CoreExports')).length;
  };
  assert.is(faults(/ {2}AioShmemInit\(\): number;\n/, ''), 1);
  assert.is(faults('AioShmemInit(): number', 'AioShmemInit(): void'), 1);
  assert.is(faults('AioShmemInit(): number', 'AioShmemInit(a: number): number'), 1);
  assert.is(faults('AioShmemInit(): number', 'AioShmemInit(): number;\n  a(): number'), 1);
});
core('has functions without assertion that are found', () => {
  const text = [
    'function a(): void { b(); c(); }',
    'function d(): void { assert(b()); c(); }',
    '@inline function e(): u32 { return 1; }',
    'function f(): void { b(); // assert(c)',
    '  c(); }',
  ].join('\n');
  const found = withoutAssertion(new Map([['assembly/a.ts', text]]));
  assert.equal(found, ['assembly/a.ts a', 'assembly/a.ts f']);
});
core('asserts something in every function, save those listed', () => {
  const found = [...new Set(withoutAssertion(files))].sort();
  const listed = existsSync(UNASSERTED_LIST)
    ? read(UNASSERTED_LIST)
        .split('\n')
        .filter((line) => line !== '')
    : undefined;
  if (UPDATE) {
    const kept = found.filter((line) => listed?.includes(line) ?? true);
    writeFileSync(UNASSERTED_LIST, `${kept.join('\n')}\n`);
    return;
  }
  assert.ok(listed, `there is no ${UNASSERTED_LIST}; PGAIO_UPDATE=1 npm test -- tidy writes it`);
  none([
    ...found.filter((line) => !listed.includes(line)).map((line) => `add an assertion: ${line}`),
    ...listed
      .filter((line) => !found.includes(line))
      .map((line) => `strike from the list: ${line}`),
  ]);
});
core('has a list of functions without assertion that did not grow', () => {
  const now = existsSync(UNASSERTED_LIST) ? read(UNASSERTED_LIST).split('\n') : [];
  let before: string[];
  try {
    before = git('show', `HEAD:${UNASSERTED_LIST}`);
  } catch {
    return; // no commit has it yet
  }
  none(now.filter((line) => line !== '' && !before.includes(line)));
});
core('has a new layout version when a field has moved', () => {
  const text = read('bindings/layout.ts');
  const sha256 = /FIELD_TABLE_SHA256 = '(\w+)'/.exec(text)?.[1];
  const version = Number(/^export const LAYOUT_VERSION = (\d+);$/m.exec(text)?.[1]);
  assert.ok(Number.isInteger(version), 'assembly/shm/layout.ts exports no LAYOUT_VERSION');
  const recorded = existsSync(LAYOUT_RECORD) ? JSON.parse(read(LAYOUT_RECORD)) : undefined;
  const moved = recorded !== undefined && recorded.sha256 !== sha256;
  assert.ok(
    !moved || version > recorded.version,
    'a field moved: raise LAYOUT_VERSION in assembly/shm/layout.ts, build, and then ' +
      'run PGAIO_UPDATE=1 npm test -- tidy',
  );
  if (UPDATE) {
    writeFileSync(LAYOUT_RECORD, `${JSON.stringify({ version, sha256 }, null, 2)}\n`);
    return;
  }
  assert.equal(recorded, { version, sha256 }, `${LAYOUT_RECORD}: PGAIO_UPDATE=1 npm test -- tidy`);
});
core.run();

const packed = suite('tidy: the package');
packed('holds the files listed', () => {
  const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [pack] = JSON.parse(output) as { files: { path: string }[] }[];
  const names = (pack?.files ?? []).map(({ path }) => path);
  none([
    ...PACKAGE_FILES.filter((name) => !names.includes(name)).map((name) => `lacks ${name}`),
    ...names
      .filter((n) => !PACKAGE_FILES.some((known) => known === n) && !isOneOf(PACKAGE_PATTERNS)(n))
      .map((name) => `holds ${name}`),
  ]);
});
packed('runs no script when it is installed, and its entries are there', () => {
  const manifest = JSON.parse(read('package.json'));
  for (const script of ['preinstall', 'install', 'postinstall', 'prepare']) {
    assert.is(manifest.scripts[script], undefined, script);
  }
  const pathsOf = (entry: unknown): string[] =>
    typeof entry === 'string' ? [entry] : Object.values(entry as object).flatMap(pathsOf);
  const entries = pathsOf(manifest.exports);
  none(
    [...entries, ...Object.values(manifest.bin)].map(String).filter((path) => !existsSync(path)),
  );
});
packed('pins every version', () => {
  const { dependencies, devDependencies } = JSON.parse(read('package.json'));
  const loose = Object.entries({ ...dependencies, ...devDependencies })
    .filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(String(version)))
    .map(([name, version]) => `${name} ${version}`);
  none(loose);
});
packed.run();
