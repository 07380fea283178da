/** The core for shared memory; a module of its own, so that a page loads the one it uses. */
import bytes from '../../dist/pgaio-small.wasm';

export const core: Uint8Array = bytes;
