/**
 * The package as users bundle it: esbuild, Vite and webpack, each without configuration, over the
 * files that would be published; what comes out reads a file with I/O workers in a real Chromium.
 */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { build as esbuild } from 'esbuild';
import type { Page } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { build as vite } from 'vite';
import webpack from 'webpack';
import { chromiumPath, NO_CHROMIUM, type Rig, startRig } from './browser/rig.ts';

/** What a user writes. The core embedded, and given as a module. */
const APP = `
import { Aio } from 'pgaio';
import { attach } from 'pgaio/raw';
async function read(options) {
  const page = new Uint8Array(8192).fill(42);
  const files = { page: new Blob([page]) };
  const aio = await Aio.create({ sharedBuffers: 64, ioMaxConcurrency: 4, files, ...options });
  const frames = aio.frames(1);
  const { result } = await aio.open('page').read(frames, 0);
  const answer = [aio.choice.build, aio.choice.method, result, frames.bytes[8191]].join(' ');
  await aio[Symbol.asyncDispose]();
  return answer;
}
async function memory() {
  const aio = await Aio.create({ sharedBuffers: 64, files: { a: new Uint8Array(100) } });
  const { result } = await aio.open('a').read(aio.frames(1), 0);
  return [aio.show('io_provider'), result].join(' ');
}
async function raw() {
  const pg = await attach({ shared_buffers: 64, io_max_concurrency: 4, io_method: 'sync' });
  const ioh = pg.pgaio_io_acquire(0, 0);
  const state = pg.pgaio_io_get_state_name(ioh);
  pg.pgaio_io_release(ioh);
  return state;
}
Object.assign(globalThis, { app: { read, memory, raw } });
`;
const HTML = '<!doctype html><meta charset="utf-8"><script type="module" src="./main.js"></script>';

const folder = mkdtempSync(join(tmpdir(), 'pgaio-bundlers-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** A project of a user's: the package as published, and what the package depends on. */
function project(name: string): string {
  const root = join(folder, name);
  mkdirSync(join(root, 'node_modules/pgaio'), { recursive: true });
  for (const path of ['package.json', 'dist']) {
    cpSync(path, join(root, 'node_modules/pgaio', path), { recursive: true });
  }
  symlinkSync(resolve('node_modules/@wasmer'), join(root, 'node_modules/@wasmer'));
  writeFileSync(join(root, 'main.js'), APP);
  writeFileSync(join(root, 'index.html'), HTML);
  writeFileSync(join(root, 'package.json'), '{ "type": "module" }');
  return root;
}

/** Each gives the folder with what it has built. */
const BUNDLERS: Readonly<Record<string, (root: string) => Promise<string>>> = {
  async esbuild(root) {
    const out = join(root, 'out');
    const entry = join(root, 'main.js');
    const { warnings } = await esbuild({
      absWorkingDir: root,
      entryPoints: [entry],
      bundle: true,
      format: 'esm',
      outdir: out,
      logLevel: 'silent',
    });
    assert.equal(warnings, []);
    cpSync(join(root, 'index.html'), join(out, 'index.html'));
    return out;
  },
  async vite(root) {
    await vite({ root, configFile: false, logLevel: 'silent', base: './' });
    return join(root, 'dist');
  },
  async webpack(root) {
    const out = join(root, 'out');
    const stats = await new Promise<webpack.Stats | undefined>((done, fail) => {
      const entry = join(root, 'main.js');
      const context = root;
      const output = { path: out };
      webpack({ mode: 'production', context, entry, output, performance: false }, (error, all) =>
        error ? fail(error) : done(all),
      );
    });
    assert.equal(
      stats?.toJson().errors?.map(({ message }) => message),
      [],
    );
    assert.equal(
      stats?.toJson().warnings?.map(({ message }) => message),
      [],
    );
    cpSync(join(root, 'index.html'), join(out, 'index.html'));
    return out;
  },
};

interface AppWindow {
  readonly app: Record<'read' | 'memory' | 'raw', () => Promise<string>>;
}

async function check(rig: Rig, path: string, read: string): Promise<void> {
  const page: Page = await rig.open(path);
  await page.waitForFunction(() => 'app' in globalThis);
  const call = (name: 'read' | 'memory' | 'raw') =>
    page.evaluate((which) => (globalThis as unknown as AppWindow).app[which](), name);
  assert.is(await call('read'), read);
  assert.is(await call('memory'), 'wasmer 100');
  assert.is(await call('raw'), 'HANDED_OUT');
  await page.close();
}

const test = suite('bundlers');
for (const [name, bundle] of Object.entries(BUNDLERS)) {
  test(`${name} bundles the package without configuration`, async () => {
    if (chromiumPath() === undefined) {
      console.log(`\nskipped: bundlers, ${name}: ${NO_CHROMIUM}`);
      return;
    }
    const out = await bundle(project(name));
    const paths = readdirSync(out, { recursive: true, encoding: 'utf8' });
    const files = Object.fromEntries(
      paths
        .filter((path) => /\.\w+$/.test(path))
        .map((path) => [relative('.', path), readFileSync(join(out, path))]),
    );
    if (name === 'webpack') files['index.html'] = Buffer.from(HTML);
    const rig = await startRig(files);
    try {
      await check(rig, 'isolated/index.html', 'shared worker 8192 42');
      await check(rig, 'plain/index.html', 'unshared host 8192 42');
      assert.equal(rig.complaints, []);
    } finally {
      await rig.close();
    }
  });
}
test.run();
