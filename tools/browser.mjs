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

/** For whoever bundles our browser code: tests, the inspector. */
export async function browserPlugins() {
  return [workerPlugin(await workerText())];
}

/** @returns {Promise<[path: string, content: Uint8Array | string][]>} */
export async function bundleBrowser() {
  const { build } = await import('esbuild');
  const text = await workerText();
  const { outputFiles } = await build({
    ...BROWSER_OPTIONS,
    packages: 'external',
    entryPoints: BROWSER_BUNDLES,
    outdir: 'dist/browser',
    write: false,
    logLevel: 'silent',
    plugins: [workerPlugin(text)],
  });
  return [
    ...outputFiles.map(({ path, contents }) => /** @type {[string, Uint8Array]} */ ([path, contents])),
    ['dist/browser/worker.js', text],
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
    ...outputFiles.map(({ path, contents }) => /** @type {[string, Uint8Array]} */ ([path, contents])),
    ...Object.entries(PAGE).map(
      ([from, to]) =>
        /** @type {[string, Uint8Array]} */ ([`dist/inspector/${to}`, readFileSync(from)]),
    ),
  ];
}
