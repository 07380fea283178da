/** The compiled core, embedded in the bundle; compiled once per process and build. */
import sharedBytes from '../../dist/pgaio.wasm';

const compiled = new Map<boolean, Promise<WebAssembly.Module>>();

/** The core for shared or plain memory. */
export function coreModule(shared: boolean): Promise<WebAssembly.Module> {
  const known = compiled.get(shared);
  if (known !== undefined) return known;
  const module = bytesOf(shared).then((bytes) => WebAssembly.compile(new Uint8Array(bytes)));
  compiled.set(shared, module);
  return module;
}

/** Plain memory is asked for rarely: its core is loaded when it is. */
async function bytesOf(shared: boolean): Promise<Uint8Array> {
  return shared ? sharedBytes : (await import('../../dist/pgaio-unshared.wasm')).default;
}

/** A core that another thread has compiled, in place of one of our own. */
export function adoptModule(shared: boolean, module: WebAssembly.Module): void {
  if (!compiled.has(shared)) compiled.set(shared, Promise.resolve(module));
}
