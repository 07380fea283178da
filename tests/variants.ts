/** Every way to execute I/O, which of them this machine has, and reasons to leave one out. */
import { probeUring, reasonWords } from '../host/node/uring.ts';

export interface Variant {
  readonly name: string;
  readonly method: 'sync' | 'worker' | 'io_uring' | 'host';
  readonly provider: 'direct' | 'wasi';
  readonly shared: boolean;
  /** Where io_uring's rings lie. */
  readonly ring?: 'checked' | 'shared';
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

/** Why a variant is left out of a suite; undefined if it is not. */
export type Restriction = (variant: Variant) => string | undefined;
export const IN_FLIGHT_ONLY: Restriction = ({ method }) =>
  method === 'host' ? undefined : 'only the device of the test keeps I/O in flight at will';
export const SYNC_ONLY: Restriction = ({ method }) =>
  method === 'host' ? 'the device of the test takes the place of WASI' : undefined;
export const ONE_VARIANT: Restriction = (variant) =>
  variant === VARIANTS[0] ? undefined : 'does not depend on how I/O is executed';
export const SHARED_ONLY: Restriction = ({ shared }) =>
  shared ? undefined : 'another thread cannot join plain memory';

/** For suites in which an I/O worker is one more reader and writer of the memory, no more. */
export const ONE_WORKER: Restriction = ({ method, provider }) =>
  method === 'worker' && provider === 'wasi'
    ? 'how a worker reads does not matter here, and each core waits for a thread to start'
    : undefined;
