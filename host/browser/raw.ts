/** `pgaio/raw` in a browser: the interface under PostgreSQL's names. */
import { type RawCore, type RawOptions, rawOver } from '../../bindings/raw.ts';
import { type AioToken, createBackend, joinBackend } from './backend.ts';
import { type BrowserHostOptions, splitOptions } from './host.ts';

export {
  AioCallbackError,
  AioError,
  AioIoError,
  AioPageError,
  AioSettingError,
  AioUnavailableError,
  AioUsageError,
} from '../../bindings/errors.ts';
export type {
  AioEvent,
  IoDevice,
  IoProvider,
  OpenFlags,
  ProviderSpec,
  Scratch,
  WasiIo,
} from '../../bindings/host.ts';
export type { CoreCallbacks } from '../../bindings/instance.ts';
export type { Address, RawCore, RawOptions } from '../../bindings/raw.ts';
export type { AioReport } from '../../bindings/report.ts';
export { packResult, unpackResult } from '../../bindings/result.ts';
export type { Settings } from '../../bindings/settings.ts';
export type { AioToken } from './backend.ts';
export type { BrowserHostOptions } from './host.ts';

/** Options of `attach`: settings by PostgreSQL's names, and the browser's part. */
export type AttachOptions = RawOptions & BrowserHostOptions;

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
export async function attach(options: AttachOptions = {}): Promise<RawCore & { token: AioToken }> {
  const { host, rest } = splitOptions(options);
  const { memory, ...settings } = rest;
  const joining = memory === undefined ? undefined : { memory };
  const { core, token } = await createBackend(host, settings, joining);
  return { ...rawOver(core), token };
}

/** Attaches a backend in another thread, from the token of one that is attached. */
export async function join(
  token: AioToken,
  options: BrowserHostOptions = {},
): Promise<RawCore & { token: AioToken }> {
  const { core } = await joinBackend(token, options);
  return { ...rawOver(core), token };
}
