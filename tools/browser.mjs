/**
 * How what runs in a browser is bundled: the package's entries, with the script of I/O workers in
 * them as text, so that no bundler of a user's need know of workers; and the inspector's page.
 */
import { readFileSync } from 'node:fs';

/** @type {import('esbuild').BuildOptions} */
export const BROWSER_OPTIONS = {
  chunkNames: 'chunk-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  loader: { '.wasm': 'binary' },
  legalComments: 'none',
};

/** dist/browser/NAME.js is bundled from here. */
export const BROWSER_BUNDLES = {
  index: 'host/browser/index.ts',
  raw: 'host/browser/raw.ts',
  devtools: 'host/browser/devtools.ts',
};
/** Started by a page that forbids workers from a blob, and embedded in the others. */
const WORKER_SOURCE = 'host/browser/worker.ts';

/** @returns {Promise<string>} */
async function workerText() {
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    ...BROWSER_OPTIONS,
    splitting: false,
    entryPoints: [WORKER_SOURCE],
    write: false,
    minify: true,
    logLevel: 'silent',
  });
  return outputFiles[0]?.text ?? '';
}

/** Gives `worker-text` its text. @param {string} text @returns {import('esbuild').Plugin} */
function workerPlugin(text) {
  return {
    name: 'worker-text',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^worker-text$/ }, () => ({ path: 'text', namespace: 'worker-text' }));
      onLoad({ filter: /.*/, namespace: 'worker-text' }, () => ({
        contents: text,
        loader: 'text',
      }));
    },
  };
}

/**
 * `@wasmer/wasi` names a file that it does not bring, for a case we never use; webpack looks for
 * it. So the package goes into our bundle, without the name.
 * @type {import('esbuild').Plugin}
 */
const WITHOUT_MISSING_FILE = {
  name: 'without missing file',
  setup({ onLoad }) {
    onLoad({ filter: /@wasmer[/\\]wasi[/\\].*\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(
        /new URL\((['"])wasmer_wasi_js_bg\.wasm\1, *import\.meta\.url\)/,
        'undefined',
      ),
      loader: 'js',
    }));
  },
};

/** Whose code is in a bundle, and under which licence. @param {string[]} packages */
function licences(packages) {
  const texts = packages.map((name) => {
    const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8'));
    const text = readFileSync(`node_modules/${name}/LICENSE`, 'utf8').trim();
    return `${name} ${version}\n\n${text}\n`;
  });
  return texts.join(`\n${'-'.repeat(72)}\n\n`);
}

/** For whoever bundles our browser code: tests, the inspector. */
export async function browserPlugins() {
  return [workerPlugin(await workerText()), WITHOUT_MISSING_FILE];
}

/** @returns {Promise<[path: string, content: Uint8Array | string][]>} */
export async function bundleBrowser() {
  const { build } = await import('esbuild');
  const text = await workerText();
  const { outputFiles } = await build({
    ...BROWSER_OPTIONS,
    entryPoints: BROWSER_BUNDLES,
    outdir: 'dist/browser',
    write: false,
    logLevel: 'silent',
    plugins: [workerPlugin(text), WITHOUT_MISSING_FILE],
  });
  return [
    ...outputFiles.map(
      ({ path, contents }) => /** @type {[string, Uint8Array]} */ ([path, contents]),
    ),
    ['dist/browser/worker.js', text],
    ['dist/browser/licences.txt', licences(['@wasmer/wasi'])],
  ];
}

/** What the inspector's page is made of. @type {Record<string, string>} */
const PAGE = {
  'host/browser/inspector/index.html': 'index.html',
  'host/browser/inspector/style.css': 'style.css',
  'node_modules/uplot/dist/uPlot.min.css': 'uplot.css',
  'dist/pgaio-sim.wasm': 'pgaio-sim.wasm',
  'dist/pgaio-debug.wasm': 'pgaio-debug.wasm',
  'dist/pgaio-debug.wasm.map': 'pgaio-debug.wasm.map',
};
const VIEW_PACKAGES = ['@wasmer/wasi', 'preact', '@preact/signals', 'uplot'];
const INSPECTOR = { inspector: 'host/browser/inspector/main.ts' };

/** The page as static files. @returns {Promise<[path: string, content: Uint8Array | string][]>} */
export async function bundleInspector() {
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    ...BROWSER_OPTIONS,
    entryPoints: INSPECTOR,
    outdir: 'dist/inspector',
    write: false,
    minify: true,
    logLevel: 'silent',
    plugins: await browserPlugins(),
  });
  return [
    ...outputFiles.map(
      ({ path, contents }) => /** @type {[string, Uint8Array]} */ ([path, contents]),
    ),
    ['dist/inspector/licences.txt', licences(VIEW_PACKAGES)],
    ...Object.entries(PAGE).map(
      ([from, to]) =>
        /** @type {[string, Uint8Array]} */ ([`dist/inspector/${to}`, readFileSync(from)]),
    ),
  ];
}
