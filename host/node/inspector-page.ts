/** The inspector's page as files: the build puts it beside the bundles. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AioUnavailableError } from '../../bindings/errors.ts';

/** Shared memory is there for pages that are isolated only. */
export const PAGE_HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Content-Security-Policy':
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; " +
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self' blob:",
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store',
} as const;

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  wasm: 'application/wasm',
  map: 'application/json',
  txt: 'text/plain; charset=utf-8',
};

/** Beside dist/index.js, and one above bundles in a folder of their own. */
const FOLDERS = ['./inspector/', '../inspector/'].map((path) => new URL(path, import.meta.url));

export interface PageFile {
  readonly type: string;
  readonly bytes: Buffer;
}

/** A file of the page by its name; undefined if it has no such file. */
export function pageFile(name: string): PageFile | undefined {
  if (!/^[\w-]+(?:\.\w+)+$/.test(name)) return undefined;
  for (const folder of FOLDERS) {
    const path = fileURLToPath(new URL(name, folder));
    if (!existsSync(path)) continue;
    const ending = name.slice(name.lastIndexOf('.') + 1);
    return { type: TYPES[ending] ?? 'application/octet-stream', bytes: readFileSync(path) };
  }
  return undefined;
}

/** The page itself. `live`: it is to show the process that serves it. */
export function indexPage(live: boolean): PageFile {
  const page = pageFile('index.html');
  if (page === undefined) {
    throw new AioUnavailableError({
      code: 'PGAIO_NO_INSPECTOR',
      message: 'the inspector’s page is not there',
      hint: 'In the source tree: node build.mjs. In a bundle: copy dist/inspector beside it.',
    });
  }
  if (!live) return page;
  const mark = '<meta name="pgaio-live" content="1">\n    <title>';
  return { ...page, bytes: Buffer.from(page.bytes.toString().replace('<title>', mark)) };
}
