/** Callbacks from modules, which every thread of the engine loads for itself. */
import { type AioCallback, overAddresses } from '../bindings/callbacks.ts';
import type { CoreInstance } from '../bindings/core.ts';
import { AioUnavailableError } from '../bindings/errors.ts';
import { PGAIO_HCB_HOST_FIRST, PGAIO_HCB_HOST_LAST } from '../bindings/layout.ts';

export type CallbackTable = ReadonlyMap<number, AioCallback>;

/** Loads modules; ids out of range or given twice are refused before any thread depends on them. */
export async function loadCallbacks(urls: readonly (string | URL)[]): Promise<CallbackTable> {
  const table = new Map<number, AioCallback>();
  for (const url of urls) {
    for (const [key, callback] of Object.entries(await importCallbacks(String(url)))) {
      const id = Number(key);
      const fits = Number.isInteger(id) && id >= PGAIO_HCB_HOST_FIRST && id <= PGAIO_HCB_HOST_LAST;
      if (!fits) throw refused(String(url), `callback id ${key} is not in 32 .. 63`);
      const completes = callback?.completeShared ?? callback?.completeLocal;
      if (typeof completes !== 'function') {
        throw refused(String(url), `callback ${id} does not have a completion callback`);
      }
      if (table.has(id)) throw refused(String(url), `callback ${id} is given by two modules`);
      table.set(id, callback);
    }
  }
  return table;
}

async function importCallbacks(url: string): Promise<Record<string, AioCallback>> {
  let module: unknown;
  try {
    // A user's URL: bundlers are to leave it alone.
    module = await import(/* webpackIgnore: true */ /* @vite-ignore */ url);
  } catch (cause) {
    throw refused(url, cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (typeof module === 'object' && module !== null && 'callbacks' in module) {
    const { callbacks } = module;
    if (typeof callbacks === 'object' && callbacks !== null) {
      return callbacks as Record<string, AioCallback>;
    }
  }
  throw refused(url, 'it exports no object `callbacks`');
}

function refused(url: string, why: string, cause?: unknown): AioUnavailableError {
  return new AioUnavailableError({
    code: 'PGAIO_CALLBACK_MODULE',
    message: `could not load callbacks from ${url}: ${why}`,
    hint: 'Export `callbacks`, an object from id (32 .. 63) to callback.',
    cause,
  });
}

/** Bits of the ids, as the core wants them. */
export function callbackBits(table: CallbackTable): number {
  let bits = 0;
  for (const id of table.keys()) bits |= 1 << (id - PGAIO_HCB_HOST_FIRST);
  return bits >>> 0;
}

export function registerCallbacks(core: CoreInstance, table: CallbackTable): void {
  for (const [id, callback] of table) {
    core.registerCallback(id, overAddresses(core, id, callback));
  }
}
