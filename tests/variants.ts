/** Every way to execute I/O on Node. In a browser tests/browser/variants.ts takes its place. */

export interface Variant {
  readonly name: string;
  readonly method: 'sync' | 'worker' | 'host';
  readonly provider: 'direct' | 'wasi';
  readonly shared: boolean;
}

/** A method to come is one more row. */
export const VARIANTS: readonly Variant[] = [
  { name: 'sync, direct, shared', method: 'sync', provider: 'direct', shared: true },
  { name: 'sync, wasi, shared', method: 'sync', provider: 'wasi', shared: true },
  { name: 'worker, direct', method: 'worker', provider: 'direct', shared: true },
  { name: 'worker, wasi', method: 'worker', provider: 'wasi', shared: true },
  { name: 'sync, direct, unshared', method: 'sync', provider: 'direct', shared: false },
  { name: 'sync, wasi, unshared', method: 'sync', provider: 'wasi', shared: false },
  { name: 'host, shared', method: 'host', provider: 'direct', shared: true },
  { name: 'host, unshared', method: 'host', provider: 'direct', shared: false },
];
