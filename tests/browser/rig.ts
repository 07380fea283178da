/**
 * A real Chromium without a window, driven by playwright-core, and a server on loopback that sends
 * the isolation headers below /isolated/ and leaves them out below /plain/. Scripts are bundled for
 * the browser when they are first asked for. Everything a page complains of is kept.
 */
import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { build, type Plugin } from 'esbuild';
import { type Browser, chromium, type Page } from 'playwright-core';
import { BROWSER_OPTIONS, browserPlugins } from '../../tools/browser.mjs';

const CHROMIUMS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Where a Chromium is, undefined where there is none. CHROMIUM_PATH names another. */
export function chromiumPath(): string | undefined {
  const named = process.env.CHROMIUM_PATH;
  return [...(named ? [named] : []), ...CHROMIUMS].find((path) => existsSync(path));
}

/** What a suite prints that cannot run. */
export const NO_CHROMIUM = 'there is no chromium; install Debian’s package of that name';

export const ISOLATION_HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
} as const;

export type Isolation = 'isolated' | 'plain';

/** Bundles a script for the browser. */
export async function bundleForBrowser(
  path: string,
  plugins: readonly Plugin[] = [],
): Promise<string> {
  const { outputFiles } = await build({
    ...BROWSER_OPTIONS,
    splitting: false,
    entryPoints: [path],
    write: false,
    logLevel: 'silent',
    plugins: [...plugins, ...(await browserPlugins())],
  });
  return outputFiles[0]?.text ?? '';
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript',
  css: 'text/css',
  map: 'application/json',
  wasm: 'application/wasm',
};

/** Root's browser cannot have its sandbox; hundreds of engines in a row need `gc`. */
const FLAGS = ['--no-sandbox', '--js-flags=--expose-gc'];

export interface Rig {
  readonly browser: Browser;
  /** Where the server is, with a slash at the end. */
  readonly origin: string;
  /** Opens a page of the server's; what it complains of is added to `complaints`. */
  open(path: string): Promise<Page>;
  /** Errors of pages so far: uncaught ones, and what went to the console as an error. */
  readonly complaints: string[];
  close(): Promise<void>;
}

/** Files by path below /isolated/ and /plain/. */
export type Served = Readonly<Record<string, string | Uint8Array>>;

export async function startRig(files: Served): Promise<Rig> {
  const executablePath = chromiumPath();
  if (executablePath === undefined) throw new Error(NO_CHROMIUM);
  const server = await serve(files);
  const { port } = server.address() as AddressInfo;
  const browser = await chromium.launch({ executablePath, args: FLAGS });
  const complaints: string[] = [];
  const origin = `http://127.0.0.1:${port}/`;
  return {
    browser,
    origin,
    complaints,
    async open(path) {
      const page = await browser.newPage();
      page.on('pageerror', (error) => complaints.push(`${path}: ${error.message}`));
      page.on('console', (message) => {
        if (message.type() === 'error') complaints.push(`${path}: ${message.text()}`);
      });
      await page.goto(origin + path);
      return page;
    },
    async close() {
      await browser.close();
      server.close();
      server.closeAllConnections();
    },
  };
}

function serve(files: Served): Promise<Server> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://loopback');
    const [, isolation = '', ...rest] = pathname.split('/');
    const content = files[rest.join('/')];
    if (content === undefined) {
      response.writeHead(pathname === '/favicon.ico' ? 204 : 404).end();
      return;
    }
    const ending = pathname.slice(pathname.lastIndexOf('.') + 1);
    response.writeHead(200, {
      'Content-Type': TYPES[ending] ?? 'application/octet-stream',
      ...(isolation === 'isolated' ? ISOLATION_HEADERS : {}),
    });
    response.end(content);
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}

/** A page that runs one script of the server's. */
export function pageWith(script: string): string {
  return `<!doctype html><meta charset="utf-8"><title>pgaio</title>
<input type="file" id="file" multiple><script type="module" src="${script}"></script>
`;
}
