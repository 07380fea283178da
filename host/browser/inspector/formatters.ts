/**
 * For the developer tools: the memory and what happened in it by name, and values of the engine
 * that print decoded (host/browser/devtools.ts).
 */
import { nameOf, STATE_NAMES } from '../../../bindings/names.ts';
import { handleOf, installDevtools } from '../devtools.ts';
import { log, memory, steps } from './state.ts';
import { transitionsOf } from './trace.ts';

export function nameForDevtools(): void {
  installDevtools();
  const pgaio = {
    /** What is looked at, as it is at this step; `.bytes` is for the memory inspector. */
    get memory() {
      return memory.value;
    },
    /** Handle `id` of it. */
    handle: (id: number) => handleOf(memory.value, id),
    /** Transitions in its trace ring. */
    get transitions() {
      return transitionsOf(memory.value).map(({ from, to, ...rest }) => ({
        ...rest,
        move: `${nameOf(STATE_NAMES, from)}>${nameOf(STATE_NAMES, to)}`,
      }));
    },
    /** How many steps were recorded. */
    get steps() {
      return steps.value.length;
    },
    /** What the scenario and the engine said. */
    get messages() {
      return log.value;
    },
  };
  Object.assign(globalThis, { pgaio });
}
