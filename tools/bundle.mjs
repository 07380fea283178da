/**
 * How esbuild bundles our TypeScript: for the package, for tests and for benchmarks alike. A
 * `.wasm` import becomes the bytes. Chunks lie beside the entries, so that a URL relative to
 * import.meta.url means the same file from everywhere.
 */
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { filesBelow, writeFileAtomically } from './stamps.mjs';

/** Started by worker threads as `./worker.js`, hence beside every bundle. */
export const WORKER = { worker: 'host/node/worker.ts' };

/** @type {import('esbuild').BuildOptions} */
export const BUNDLE_OPTIONS = {
  chunkNames: 'chunk-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  loader: { '.wasm': 'binary' },
  legalComments: 'none',
};

/** Bundles of other runs may be in use that long. */
const KEEP_MS = 3_600_000;

/**
 * The package for the command line as part of the bundle, with its licence: six files less to be
 * found and read before the program can start. Its parts ask for Node's modules by `require`.
 * @type {import('esbuild').Plugin}
 */
const COMMANDER = {
  name: 'commander',
  setup({ onLoad, onResolve }) {
    const folder = 'node_modules/commander';
    onResolve({ filter: /^commander$/ }, () => ({
      path: `${process.cwd()}/${folder}/index.js`,
    }));
    // For commands that are programs of their own, of which there are none.
    onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
      importer.includes(`/${folder}/`) ? { path: 'none', namespace: 'commander' } : undefined,
    );
    onLoad({ filter: /^none$/, namespace: 'commander' }, () => ({ contents: '', loader: 'js' }));
    onLoad({ filter: /node_modules\/commander\/index\.js$/ }, ({ path }) => ({
      contents: `/*! commander\n${readFileSync(`${folder}/LICENSE`)}*/\n${readFileSync(path)}`,
      loader: 'js',
    }));
  },
};

/**
 * The core read from its file, which lies beside the program: less to be parsed than what it is as
 * text, by each thread that starts.
 * @type {import('esbuild').Plugin}
 */
const CORE_FILE = {
  name: 'core-file',
  setup({ onLoad }) {
    onLoad({ filter: /\.wasm$/ }, ({ path }) => ({
      contents: [
        "import { readFileSync } from 'node:fs';",
        `export default readFileSync(new URL('./${basename(path)}', import.meta.url));`,
      ].join('\n'),
      loader: 'js',
    }));
  },
};

/**
 * What the layout says of its fields is for people and for devtools; each thread would read it.
 * @type {import('esbuild').Plugin}
 */
const NO_WORDS = {
  name: 'no-words',
  setup({ onLoad }) {
    onLoad({ filter: /bindings\/layout\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(/, doc: '(?:[^'\\]|\\.)*'/g, ''),
      loader: 'ts',
    }));
  },
};

/**
 * How the program is bundled: short, since every start pays for reading it, and as CommonJS, which
 * starts faster and can be kept compiled (host/node/program-part.ts).
 * @type {import('esbuild').BuildOptions}
 */
export const PROGRAM_OPTIONS = {
  ...BUNDLE_OPTIONS,
  splitting: false,
  format: 'cjs',
  supported: { 'dynamic-import': false }, // a Script has none: `import` of a package is `require`
  outExtension: { '.js': '.cjs' },
  minify: true,
  legalComments: 'inline',
  plugins: [COMMANDER, CORE_FILE, NO_WORDS],
  define: { 'import.meta.url': 'importMetaUrl' },
  banner: { js: "const importMetaUrl = require('node:url').pathToFileURL(__filename).href;" },
};

/**
 * Bundles scripts to be run from the tree: FOLDER/NAME.ts becomes OUTDIR/NAME.js. Other runs may be
 * under way in the same folder, so a file is replaced at once, and only old ones are removed.
 * @param {string[]} paths
 * @param {string} outdir
 * @param {import('esbuild').Plugin[]} [plugins]
 * @param {string} [prefix] of the names in OUTDIR
 */
export async function bundleScripts(paths, outdir, plugins = [], prefix = '') {
  const { build } = await import('esbuild');
  const entries = paths.map((path) => [prefix + basename(path).replace(/\.ts$/, ''), path]);
  const taken = entries.find(([name = '']) => name in WORKER);
  if (taken) throw new Error(`${taken[1]}: I/O workers would start it; give it another name`);
  const { outputFiles } = await build({
    ...BUNDLE_OPTIONS,
    entryPoints: { ...(existsSync(WORKER.worker) ? WORKER : {}), ...Object.fromEntries(entries) },
    outdir,
    sourcemap: 'inline',
    sourcesContent: false,
    logLevel: 'warning',
    plugins,
    write: false,
  });
  for (const { path, contents } of outputFiles) writeFileAtomically(path, contents);
  const ages = filesBelow(outdir).map((path) => ({ path, at: statSync(path).mtimeMs }));
  const newest = Math.max(...ages.map(({ at }) => at));
  for (const { path, at } of ages) if (newest - at > KEEP_MS) rmSync(path, { force: true });
}
