/** `pgaio/raw`: the interface under PostgreSQL's names, on Node. */
import { attachRaw, type RawCore, type RawOptions } from '../../bindings/raw.ts';
import { type NodeHostOptions, nodeHost, splitOptions } from './host.ts';

export type { CoreCallbacks } from '../../bindings/core.ts';
export {
  AioCallbackError,
  AioError,
  AioIoError,
  AioPageError,
  AioSettingError,
  AioUnavailableError,
  AioUsageError,
} from '../../bindings/errors.ts';
export type { IoDevice, IoProvider, OpenFlags, Scratch, WasiIo } from '../../bindings/host.ts';
export type { Address, RawCore, RawOptions } from '../../bindings/raw.ts';
export type { AioReport } from '../../bindings/report.ts';
export { packResult, unpackResult } from '../../bindings/result.ts';
export type { Settings } from '../../bindings/settings.ts';
export type { NodeHostOptions } from './host.ts';

/** Options of `attach`: settings by PostgreSQL's names, and Node's part. */
export type AttachOptions = RawOptions & NodeHostOptions;

/**
 * Attaches a backend: over a memory of its own, or over `memory` of another instance. Errors:
 * AioSettingError for settings PostgreSQL would refuse, AioUsageError PGAIO_NO_SLOT when all slots
 * are taken, AioUnavailableError when the memory cannot be had.
 * @example
 * const pg = await attach({ io_max_concurrency: 32 });
 * const ret = pg.alloc(32);
 * const ioh = pg.pgaio_io_acquire(0, ret);
 * pg.pgaio_io_release(ioh);
 */
export async function attach(options: AttachOptions = {}): Promise<RawCore> {
  const { host, rest } = splitOptions(options);
  return attachRaw(await nodeHost(host), rest);
}
