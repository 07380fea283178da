/** The core for plain memory; a module of its own, so that a page loads the one it uses. */
import bytes from '../../dist/pgaio-unshared.wasm';

export const core: Uint8Array = bytes;
