/**
 * Builds everything into dist/: the core for each target of asconfig.json, the generated layout,
 * the JavaScript bundles and the type declarations. A step whose inputs did not change is left out.
 *
 *   node build.mjs           what is out of date
 *   node build.mjs --force   everything
 *   node build.mjs --quiet   at most one line, on standard error
 *   node build.mjs --check   builds nothing; fails unless core and layout would come out the same
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { bundleBrowser, bundleInspector } from './tools/browser.mjs';
import { BUNDLE_OPTIONS, PROGRAM_OPTIONS, WORKER } from './tools/bundle.mjs';
import {
  filesBelow,
  hashFiles,
  lockBuild,
  readStamps,
  writeFileAtomically,
  writeStamps,
} from './tools/stamps.mjs';
import { coreFaults } from './tools/wasm.mjs';

/** Output of asc's target of that name. The debug build tells functions' names. */
const CORES = {
  debug: 'dist/pgaio-debug.wasm',
  release: 'dist/pgaio.wasm',
  'release-small': 'dist/pgaio-small.wasm',
  'release-unshared': 'dist/pgaio-unshared.wasm',
  sim: 'dist/pgaio-sim.wasm',
};
/** dist/NAME.js is bundled from here. */
const BUNDLES = {
  index: 'host/node/index.ts',
  raw: 'host/node/raw.ts',
  layout: 'bindings/layout.ts',
  ...WORKER,
};
/** The shim's binaries, each with the compiler that makes it; none where that is not. */
const SHIMS = {
  'dist/shim-linux-x64.node': 'x86_64-linux-gnu-gcc',
  'dist/shim-linux-arm64.node': 'aarch64-linux-gnu-gcc',
};
/** The program, and the thread of its jobs: where they start, and what that loads. */
const PROGRAM_STARTS = { cli: 'host/node/cli.ts', 'verify-job': 'host/node/verify-job.ts' };
const PROGRAM_PARTS = {
  program: 'host/node/cli/program.ts',
  job: 'host/node/verify/job-thread.ts',
};
const PROGRAM = { ...PROGRAM_STARTS, ...PROGRAM_PARTS };
const PAGE = 'host/browser/inspector/index.html';
const TOOLS = ['build.mjs', 'asconfig.json', 'package-lock.json', ...filesBelow('tools', '.mjs')];

/** Those that can be bundled: a young project lacks some. */
const presentBundles = () => Object.entries(BUNDLES).filter(([, path]) => existsSync(path));
const presentProgram = () => Object.entries(PROGRAM).filter(([, path]) => existsSync(path));

/**
 * @typedef {object} Step
 * @property {string} name
 * @property {() => string[]} inputs
 * @property {() => string[]} outputs
 * @property {(say: (line: string) => void) => Promise<void>} run
 */

/** @type {Step[]} */
const STEPS = [
  {
    name: 'core',
    inputs: () => [...TOOLS, ...filesBelow('assembly')],
    outputs: () => Object.values(CORES),
    run: buildCores,
  },
  {
    name: 'layout',
    inputs: () => [...TOOLS, ...filesBelow('assembly')],
    outputs: () => ['bindings/layout.ts', 'docs/memory-layout.md'],
    run: generateLayout,
  },
  {
    name: 'shim',
    inputs: () => [...TOOLS, ...filesBelow('host/shim')],
    outputs: () => [],
    run: buildShims,
  },
  {
    name: 'bundles',
    inputs: () => [
      ...TOOLS,
      'package.json',
      ...Object.values(CORES),
      ...filesBelow('bindings'),
      ...filesBelow('host', '.ts'),
    ],
    outputs: () => [
      ...presentBundles().map(([name]) => `dist/${name}.js`),
      ...presentProgram().map(([name]) => `dist/${name}.cjs`),
    ],
    run: bundle,
  },
  {
    name: 'code',
    inputs: () => [
      ...TOOLS,
      'dist/pgaio.wasm',
      ...presentProgram().map(([name]) => `dist/${name}.cjs`),
    ],
    outputs: () => (existsSync(PROGRAM.cli) ? codeFiles() : []),
    run: keepCode,
  },
  {
    name: 'browser',
    inputs: () => [
      ...TOOLS,
      'package.json',
      ...Object.values(CORES),
      ...filesBelow('bindings'),
      ...filesBelow('host', '.ts'),
    ],
    outputs: () => ['index', 'raw', 'devtools', 'worker'].map((name) => `dist/browser/${name}.js`),
    run: (say) => writeBundles(say, 'dist/browser', bundleBrowser),
  },
  {
    name: 'inspector',
    inputs: () => [
      ...TOOLS,
      ...Object.values(CORES),
      ...filesBelow('bindings'),
      ...filesBelow('host/browser'),
      ...filesBelow('host', '.ts').filter((path) => /^host\/[^/]+$/.test(path)),
    ],
    outputs: () => (existsSync(PAGE) ? ['dist/inspector/index.html'] : []),
    run: (say) => writeBundles(say, 'dist/inspector', bundleInspector),
  },
  {
    name: 'types',
    inputs: () => [
      ...TOOLS,
      ...filesBelow('bindings'),
      ...filesBelow('host', '.ts'),
      ...filesBelow('tools/types'),
      'tsconfig.json',
      'tsconfig.types.json',
      'tsconfig.browser.json',
      'tsconfig.browser-types.json',
    ],
    outputs: () => (existsSync(BUNDLES.index) ? ['dist/types'] : []),
    run: declareTypes,
  },
];

/**
 * Runs the AssemblyScript compiler in this process. Nothing is written to disk.
 * @param {string[]} arguments_
 * @param {{ transforms?: object[], virtualFiles?: Map<string, string> }} [options]
 * @returns {Promise<Map<string, Uint8Array | string>>} what it wrote, by path
 */
async function compile(arguments_, { transforms, virtualFiles } = {}) {
  const { default: asc } = await import('assemblyscript/asc');
  const written = new Map();
  const { error, stderr } = await asc.main([...arguments_, '--noColors'], {
    ...(transforms ? { transforms } : {}),
    readFile(name) {
      const virtual = virtualFiles?.get(name);
      if (virtual !== undefined) return virtual;
      return existsSync(name) ? readFileSync(name, 'utf8') : null;
    },
    writeFile(name, content) {
      written.set(name, content);
    },
    listFiles: () => [],
  });
  if (error) throw new Error(`asc ${arguments_.join(' ')}\n${stderr.toString()}${error.message}`);
  return written;
}

/** @type {Step['run']} */
async function buildCores(say) {
  /** @type {[string, Uint8Array | string][]} */
  const outputs = [];
  for (const [target, path] of Object.entries(CORES)) {
    const written = await compile(['--target', target]);
    const bytes = written.get(path);
    if (!(bytes instanceof Uint8Array)) throw new Error(`${target}: asc did not write ${path}`);
    const faults = coreFaults(bytes);
    if (faults.length > 0) throw new Error(faults.map((fault) => `${path} ${fault}`).join('\n'));
    say(`${path}: ${(bytes.length / 1024).toFixed(1)} KiB`);
    outputs.push(...written);
  }
  for (const [path, content] of outputs) writeFileAtomically(path, content);
}

async function layoutFiles() {
  const { readLayout, renderLayoutDocument, renderLayoutModule } = await import(
    './tools/layout.mjs'
  );
  const layout = await readLayout(compile, filesBelow('assembly', '.ts'));
  const files = {
    'bindings/layout.ts': renderLayoutModule(layout),
    'docs/memory-layout.md': renderLayoutDocument(layout),
  };
  return { layout, files };
}

/** Compiles again and compares. @returns {Promise<string[]>} messages, none if all is the same */
export async function checkOutputs() {
  const messages = [];
  const { files } = await layoutFiles();
  const core = (await compile(['--target', 'release'])).get(CORES.release);
  for (const [path, content] of Object.entries({ ...files, [CORES.release]: core ?? '' })) {
    if (!existsSync(path)) messages.push(`${path} is missing; run node build.mjs`);
    else if (!readFileSync(path).equals(Buffer.from(content))) {
      messages.push(`${path} is not what node build.mjs makes of the sources; run it`);
    }
  }
  return messages;
}

/** @type {Step['run']} */
async function generateLayout(say) {
  const { layout, files } = await layoutFiles();
  for (const [path, text] of Object.entries(files)) writeFileAtomically(path, text);
  const { structs, constants, exports } = layout;
  const counts = [
    `${structs.length} structures`,
    `${constants.length} constants`,
    `${exports.length} exports`,
  ];
  say(`bindings/layout.ts: ${counts.join(', ')}`);
}

/** @type {Step['run']} */
async function buildShims(say) {
  const { compileShim } = await import('./tools/shim.mjs');
  for (const [path, compiler] of Object.entries(SHIMS)) {
    const said = await compileShim(compiler, path);
    say(`${path}: ${said}`);
  }
}

/** @type {Step['run']} */
async function bundle(say) {
  const { build } = await import('esbuild');
  const present = presentBundles();
  for (const [name, path] of Object.entries(BUNDLES)) {
    if (!existsSync(path)) say(`dist/${name}.js: left out, there is no ${path} yet`);
  }
  /** @param {import('esbuild').BuildOptions} options @param {[string, string][]} entries */
  const made = async (options, entries) => {
    const { outputFiles = [] } = await build({
      ...options,
      entryPoints: Object.fromEntries(entries.filter(([, path]) => existsSync(path))),
      outdir: 'dist',
      write: false,
      logLevel: 'silent',
    });
    return outputFiles;
  };
  const parts = await made(PROGRAM_OPTIONS, Object.entries(PROGRAM_PARTS));
  const hashes = parts.map(({ path, contents }) => [basename(path, '.cjs'), hashOf(contents)]);
  const define = { ...PROGRAM_OPTIONS.define, PARTS: JSON.stringify(Object.fromEntries(hashes)) };
  const outputFiles = [
    ...parts,
    ...(await made({ ...PROGRAM_OPTIONS, define }, Object.entries(PROGRAM_STARTS))),
    ...(await made(BUNDLE_OPTIONS, present)),
  ];
  const kept = new Set();
  for (const { path, contents } of outputFiles) {
    const local = relative(process.cwd(), path);
    kept.add(local);
    writeFileAtomically(local, contents, local === 'dist/cli.cjs' ? 0o755 : 0o644);
  }
  for (const old of [...filesBelow('dist', '.js'), ...filesBelow('dist', '.cjs')]) {
    if (/^dist\/[^/]+$/.test(old) && !kept.has(old)) rmSync(old);
  }
  const names = [...present, ...presentProgram()].map(([name]) => name);
  say(`dist/*.js: ${names.join(', ')}`);
}

/** @param {Uint8Array} contents */
function hashOf(contents) {
  return createHash('sha256').update(contents).digest('hex').slice(0, 12);
}

/** What V8 compiled of the program's parts, for this version of it: see keep-code.mjs. */
function codeFiles() {
  return Object.keys(PROGRAM_PARTS).map((name) => {
    const path = `dist/${name}.cjs`;
    const hash = existsSync(path) ? hashOf(readFileSync(path)) : '';
    return `dist/${name}-${hash}-${process.versions.v8}-${process.arch}.code`;
  });
}

/**
 * Runs the program as people do, and keeps what was compiled for it. The program is as good without
 * it, so that a run that fails is no failure of the build.
 * @type {Step['run']}
 */
async function keepCode(say) {
  const wanted = codeFiles();
  for (const old of filesBelow('dist', '.code')) if (!wanted.includes(old)) rmSync(old);
  const folder = mkdtempSync(join(tmpdir(), 'pgaio-code-'));
  const node = promisify(execFile).bind(undefined, process.execPath);
  try {
    const env = { ...process.env, TMPDIR: folder, KEEP_CODE: folder };
    await node(['dist/cli.cjs', 'demo', '--keep'], { env });
    const cluster = join(folder, readdirSync(folder)[0] ?? '');
    const keeping = ['--import', './tools/keep-code.mjs', 'dist/cli.cjs', 'verify', '-j', '2'];
    await node([...keeping, cluster], { env }).catch(() => undefined); // pages of it are damaged
    for (const path of wanted) {
      const code = readFileSync(join(folder, `${basename(path).split('-')[0]}.code`));
      writeFileAtomically(path, code);
    }
    say(`dist/*.code: ${wanted.length}`);
  } catch (error) {
    say(`dist/*.code: left out, ${error instanceof Error ? error.message : error}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Writes what `make` gives into `folder`, and removes what was there before.
 * @param {(line: string) => void} say
 * @param {string} folder
 * @param {() => Promise<[path: string, content: Uint8Array | string][]>} make
 */
async function writeBundles(say, folder, make) {
  if (folder === 'dist/inspector' && !existsSync(PAGE)) {
    say(`${folder}: left out, there is no ${PAGE} yet`);
    return;
  }
  const kept = new Set();
  for (const [path, content] of await make()) {
    const local = relative(process.cwd(), path);
    kept.add(local);
    writeFileAtomically(local, content);
  }
  for (const old of filesBelow(folder)) if (!kept.has(old)) rmSync(old);
  say(`${folder}: ${kept.size} files`);
}

/** @type {Step['run']} */
async function declareTypes(say) {
  if (!existsSync(BUNDLES.index) && !existsSync(BUNDLES.raw)) {
    say('dist/types: left out, there is nothing to declare yet');
    return;
  }
  rmSync('dist/types', { recursive: true, force: true });
  const tsc = 'node_modules/typescript/bin/tsc';
  try {
    for (const project of ['tsconfig.types.json', 'tsconfig.browser-types.json']) {
      await promisify(execFile)(process.execPath, [tsc, '-p', project]);
    }
  } catch (error) {
    const { stdout, stderr } = /** @type {{ stdout?: string, stderr?: string }} */ (error);
    throw new Error(`${stdout ?? ''}${stderr ?? ''}`.trim() || String(error));
  }
  // A declaration file keeps `./a.ts` as it was written; publish what every resolver understands.
  for (const path of filesBelow('dist/types', '.d.ts')) {
    const text = readFileSync(path, 'utf8');
    writeFileAtomically(
      path,
      text.replace(/((?:from|import)\s*\(?\s*['"]\.[^'"]*)\.ts(?=['"])/g, '$1.js'),
    );
  }
  say('dist/types: declared');
}

/**
 * @param {{ force?: boolean, quiet?: boolean }} [options]
 * @returns {Promise<boolean>} whether all is up to date now
 */
export async function build({ force = false, quiet = false } = {}) {
  const started = process.hrtime.bigint();
  /** @param {string} line */
  const say = (line) => {
    if (!quiet) console.log(line);
  };
  const release = await lockBuild();
  const stamps = readStamps();
  const done = [];
  let sound = true;
  try {
    for (const { name, inputs, outputs, run } of STEPS) {
      if (!force && stamps[name] === hashFiles(inputs()) && outputs().every((o) => existsSync(o))) {
        continue;
      }
      delete stamps[name];
      const before = hashFiles(inputs()); // a file saved while we build makes the step stale again
      try {
        await run(say);
        stamps[name] = before;
        done.push(name);
      } catch (error) {
        console.error(`build: ${name} failed\n${error instanceof Error ? error.message : error}`);
        sound = false;
        if (name !== 'types') break; // the steps after it need what it makes
      }
    }
    writeStamps(stamps);
  } finally {
    release();
  }
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  if (sound && done.length > 0) {
    const line = `built ${done.join(', ')} in ${seconds.toFixed(1)} s`;
    if (quiet) console.error(line);
    else console.log(line);
  } else if (sound) say('up to date');
  return sound;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.chdir(fileURLToPath(new URL('.', import.meta.url)));
  const known = ['--force', '--quiet', '--check'];
  const unknown = process.argv.slice(2).find((argument) => !known.includes(argument));
  if (unknown !== undefined) {
    console.error(`build: unknown option ${unknown}; known: ${known.join(', ')}`);
    process.exit(2);
  }
  if (process.argv.includes('--check')) {
    const messages = await checkOutputs();
    for (const message of messages) console.error(message);
    process.exitCode = messages.length > 0 ? 1 : 0;
  } else {
    const force = process.argv.includes('--force');
    const quiet = process.argv.includes('--quiet');
    process.exitCode = (await build({ force, quiet })) ? 0 : 1;
  }
}
