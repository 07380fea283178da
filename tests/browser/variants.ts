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

/** Why this page cannot run a variant; undefined if it can. */
export function unavailable({ shared }: Variant): string | undefined {
  return mayShare || !shared ? undefined : 'this page has no shared memory it could sleep on';
}
export const ALL_VARIANTS: readonly Variant[] = ALL.filter((v) => unavailable(v) === undefined);
export const VARIANTS = ALL_VARIANTS;
export const THREAD_METHODS: readonly Variant[] = [];
