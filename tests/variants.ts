/**
 * Every way to execute I/O on Node, and which of them this machine has. In a browser
 * tests/browser/variants.ts takes its place.
 */
import { probeUring, reasonWords } from '../host/node/uring.ts';

export interface Variant {
  readonly name: string;
  readonly method: 'sync' | 'worker' | 'io_uring' | 'host';
  readonly provider: 'direct' | 'wasi';
  readonly shared: boolean;
  /** Where io_uring's rings lie. */
  readonly ring?: 'checked' | 'shared';
  /** What is registered with them, if not the page frames. */
  readonly fixedBuffers?: 'all';
}

/** Every way to execute I/O. A method to come is one more row. */
export const ALL_VARIANTS: readonly Variant[] = [
  { name: 'sync, direct, shared', method: 'sync', provider: 'direct', shared: true },
  { name: 'sync, wasi, shared', method: 'sync', provider: 'wasi', shared: true },
  { name: 'worker, direct', method: 'worker', provider: 'direct', shared: true },
  { name: 'worker, wasi', method: 'worker', provider: 'wasi', shared: true },
  { name: 'io_uring, checked', method: 'io_uring', provider: 'direct', shared: true },
  {
    name: 'io_uring, shared',
    method: 'io_uring',
    provider: 'direct',
    shared: true,
    ring: 'shared',
    fixedBuffers: 'all',
  },
  { name: 'sync, direct, unshared', method: 'sync', provider: 'direct', shared: false },
  { name: 'sync, wasi, unshared', method: 'sync', provider: 'wasi', shared: false },
  { name: 'host, shared', method: 'host', provider: 'direct', shared: true },
  { name: 'host, unshared', method: 'host', provider: 'direct', shared: false },
];

/** Why this machine cannot run a variant; undefined if it can. */
export function unavailable({ method, ring }: Variant): string | undefined {
  if (method !== 'io_uring') return undefined;
  const { reason, sharedRings } = probeUring();
  if (reason !== undefined) return reasonWords(reason);
  return ring === 'shared' && !sharedRings ? 'no rings in the linear memory here' : undefined;
}
export const VARIANTS = ALL_VARIANTS.filter((variant) => unavailable(variant) === undefined);
/** Methods of `Aio.create` for tests over threads, each with the options that select it. */
export const THREAD_METHODS = VARIANTS.filter(
  ({ method, provider, shared }) => shared && provider === 'direct' && method !== 'host',
);
