/** When V8 spends time on optimizing JavaScript. The core is WebAssembly, and not concerned. */
import { setFlagsFromString } from 'node:v8';

/**
 * Whether this process optimizes what runs often. V8 does so in threads of its own, which take a
 * tenth of two cores from a verification of 8 GiB in the page cache, and it has not paid by then.
 */
export function optimize(on: boolean): void {
  if (on === optimizes) return;
  optimizes = on;
  setFlagsFromString(on ? '--opt' : '--no-opt');
}
let optimizes = true;
/** Longer ones are worth it: an estimate, from what optimizing costs and saves for each read. */
export const OPTIMIZE_AFTER_BYTES = 2 ** 34;
