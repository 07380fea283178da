/** The compiled core, embedded in the bundle; compiled once per process and build. */
import sharedBytes from '../../dist/pgaio.wasm';
import unsharedBytes from '../../dist/pgaio-unshared.wasm';

const compiled = new Map<boolean, Promise<WebAssembly.Module>>();

/** The core for shared or plain memory. */
export function coreModule(shared: boolean): Promise<WebAssembly.Module> {
  const known = compiled.get(shared);
  if (known !== undefined) return known;
  const module = WebAssembly.compile(new Uint8Array(shared ? sharedBytes : unsharedBytes));
  compiled.set(shared, module);
  return module;
}
