/** Bundles the core's suites for a browser: what they take from Node comes from tests/browser. */
import { resolve } from 'node:path';
import type { Plugin } from 'esbuild';
import { bundleForBrowser } from './rig.ts';

const INSTEAD: readonly (readonly [RegExp, string])[] = [
  [/^uvu$/, 'tests/browser/uvu.ts'],
  [/^node:fs$/, 'tests/browser/node/fs.ts'],
  [/^node:os$/, 'tests/browser/node/os.ts'],
  [/^node:path$/, 'tests/browser/node/path.ts'],
  [/^node:worker_threads$/, 'tests/browser/node/worker-threads.ts'],
  [
    /\/host\/node\/(?:raw|module|host|direct-provider|wasi-provider)\.ts$/,
    'tests/browser/node/host.ts',
  ],
  [/\/host\/node\/uring\.ts$/, 'tests/browser/node/uring.ts'],
  [/\/variants\.ts$/, 'tests/browser/variants.ts'],
];

const SWAP: Plugin = {
  name: 'instead of Node',
  setup({ onResolve }) {
    for (const [filter, path] of INSTEAD) {
      onResolve({ filter }, ({ kind }) =>
        kind === 'import-statement' ? { path: resolve(path) } : undefined,
      );
    }
  },
};

/** `process` and `Buffer`, as far as the suites and `@wasmer/wasi` use them. */
const GLOBALS = `
const process = { env: {}, stdout: { write: () => true } };
const setImmediate = (call) => queueMicrotask(call);
const Buffer = {
  alloc: (length) => {
    const bytes = new Uint8Array(length);
    const view = new DataView(bytes.buffer);
    const writeUInt32LE = (value, at) => view.setUint32(at, value, true);
    return Object.assign(bytes, { writeUInt32LE });
  },
  concat: (pieces) => {
    const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  },
  from: (buffer, at, length) => {
    if (typeof buffer === 'string') return Uint8Array.from(atob(buffer), (c) => c.charCodeAt(0));
    const bytes = new Uint8Array(buffer, at, length);
    return Object.assign(bytes, {
      equals: (other) => bytes.length === other.length && bytes.every((b, i) => b === other[i]),
    });
  },
};
`;

export async function bundleSuites(): Promise<string> {
  return GLOBALS + (await bundleForBrowser('tests/browser/suites.ts', [SWAP]));
}
