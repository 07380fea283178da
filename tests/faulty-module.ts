/**
 * A provider whose operations fail as ordered, for every thread that loads it: the backend of the
 * test and its I/O workers count their operations together.
 */
import type { IoProvider } from '../bindings/host.ts';
import { directProvider } from '../host/node/direct-provider.ts';
import { wasiProvider } from '../host/node/wasi-provider.ts';
import { type Faults, faulty, Injection } from './test-device.ts';

export interface FaultyOptions {
  readonly faults: Faults;
  readonly counts: Int32Array;
  /** Words of an Injection. */
  readonly injected: Int32Array;
  /** Through node:wasi, below this directory; over plain descriptors without it. */
  readonly root: string | undefined;
}

export function createProvider(options: unknown): IoProvider {
  const { faults, counts, injected, root } = options as FaultyOptions;
  const inner = root === undefined ? directProvider() : wasiProvider(root);
  return faulty(inner, faults, counts, new Injection(injected));
}
