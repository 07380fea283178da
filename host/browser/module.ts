/** The compiled core: embedded in the bundle, or what the embedder has. Compiled once per page. */

/** A module of the core's, compiled, or where its bytes are. */
export type CoreSource = WebAssembly.Module | string | URL;

const compiled = new Map<string, Promise<WebAssembly.Module>>();

/** The core for shared or plain memory. */
export function coreModule(shared: boolean, source?: CoreSource): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return Promise.resolve(source);
  const key = source === undefined ? String(shared) : String(source);
  const known = compiled.get(key);
  if (known !== undefined) return known;
  const module = source === undefined ? embedded(shared) : fetched(String(source));
  compiled.set(key, module);
  module.catch(() => compiled.delete(key)); // the next attempt may do better
  return module;
}

async function embedded(shared: boolean): Promise<WebAssembly.Module> {
  const { core } = await (shared ? import('./core-shared.ts') : import('./core-unshared.ts'));
  return WebAssembly.compile(new Uint8Array(core));
}

async function fetched(url: string): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) throw new TypeError(`could not fetch ${url}: ${response.status}`);
  // Debuggers find the source map of a module by the address it came from.
  const isTyped = response.headers.get('content-type') === 'application/wasm';
  if (isTyped) return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}
