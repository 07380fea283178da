/**
 * For Chrome's developer tools (settings, "Custom formatters"): a handle, a wait reference, a result
 * and a buffer of the engine print decoded. And `pgaio.memory` is the memory by name.
 */
import { memory } from './state.ts';

export function installFormatters(): void {
  Object.assign(globalThis, {
    pgaio: {
      /** What is looked at, decoded; `.bytes` shows in the memory inspector. */
      get memory() {
        return memory.value;
      },
    },
  });
}
