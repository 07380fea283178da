/**
 * Every way to execute I/O in a browser without another thread: provider `wasi` is `@wasmer/wasi`
 * there. Shared memory is left out where the page cannot have it or must not sleep.
 */
import type { Variant } from '../variants.ts';

const ALL: readonly Variant[] = [
  { name: 'sync, wasmer, shared', method: 'sync', provider: 'wasi', shared: true },
  { name: 'sync, wasmer, unshared', method: 'sync', provider: 'wasi', shared: false },
  { name: 'host, shared', method: 'host', provider: 'direct', shared: true },
  { name: 'host, unshared', method: 'host', provider: 'direct', shared: false },
];
const mayShare = globalThis.crossOriginIsolated && typeof document === 'undefined';

export const VARIANTS: readonly Variant[] = ALL.filter(({ shared }) => mayShare || !shared);
