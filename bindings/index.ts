/** What every host re-exports of the bindings. */
export type { AcquireOptions, AioSettings } from './aio.ts';
export { AioEngine } from './aio.ts';
export type {
  BufferPool,
  BufferRow,
  BufferStats,
  BufferSummary,
  FlushOptions,
} from './buffer-pool.ts';
export type { AioCallback, CallbackIo, CallbackResult } from './callbacks.ts';
export type { IoResult, PendingIo } from './completions.ts';
export { AioAbandonedError, AioAbortError } from './completions.ts';
export {
  AioCallbackError,
  AioError,
  AioIoError,
  AioPageError,
  AioSettingError,
  AioUnavailableError,
  AioUsageError,
} from './errors.ts';
export type { AioFile } from './file.ts';
export type { IoBuffer, PageFrames } from './frames.ts';
export type { FileTarget, IoFlag, IoHandle, SmgrTarget } from './handle.ts';
export type {
  AioEvent,
  IoDevice,
  IoProvider,
  OpenFlags,
  ProviderSpec,
  Scratch,
  WasiIo,
} from './host.ts';
export type { BackendStats, PgAiosRow, TargetStats, TraceEntry } from './inspect.ts';
export type { StateName, StatusName } from './names.ts';
export type { ResourceOwner } from './owner.ts';
export type { ItemId, ItemState } from './page-view.ts';
export { PageView } from './page-view.ts';
export type { PinnedBuffer } from './pinned-buffer.ts';
export type {
  BlockRange,
  NextBlock,
  ReadStream,
  ReadStreamOptions,
  ReadStreamStats,
} from './read-stream.ts';
export type { Relation, RelationOptions } from './relation.ts';
export type { AioReport } from './report.ts';
export type { PgAioResult } from './result.ts';
export type { StrategyName } from './stream-memory.ts';
export type { ForkName, PagesOf, RelFileLocator, TargetData } from './target.ts';
export type { PageVerdict } from './verdict.ts';
export type { WaitRef, WaitRefToken } from './wait-ref.ts';
