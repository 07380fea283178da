/** `pgaio`: the engine in TypeScript's idiom, on Node. */
import { AioEngine, type AioSettings, settingsOf } from '../../bindings/aio.ts';
import { CoreInstance } from '../../bindings/core.ts';
import { type NodeHostOptions, nodeHost, splitOptions } from './host.ts';

export * from '../../bindings/index.ts';
export * as constants from '../../bindings/layout.ts';
export { directProvider } from './direct-provider.ts';
export type { NodeHostOptions } from './host.ts';
export { wasiProvider } from './wasi-provider.ts';

/** Options of `Aio.create`: settings, and Node's part. */
export interface AioOptions extends AioSettings, NodeHostOptions {
  /** Memory of another instance, to become a backend over it. @default a memory of its own */
  readonly memory?: WebAssembly.Memory;
}

/**
 * A backend of the engine. Errors of `create`: AioSettingError, AioUnavailableError, and
 * AioUsageError PGAIO_NO_SLOT when every slot of a given memory is taken.
 * @example
 * await using aio = await Aio.create({ root: dataDirectory });
 * using file = aio.open('global/pg_control');
 * using frames = aio.frames(1);
 * const { result } = await file.read(frames, 0);
 */
export class Aio extends AioEngine {
  static async create(options: AioOptions = {}): Promise<Aio> {
    const { host, rest } = splitOptions(options);
    const { memory, ...settings } = rest;
    return new Aio(await CoreInstance.create(await nodeHost(host), settingsOf(settings), memory));
  }
}
