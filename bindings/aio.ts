/**
 * The engine in TypeScript's idiom: files, page frames, handles, batches, promises. Hosts derive
 * from `AioEngine` and add `create`; everything else is here and the same everywhere.
 */

import { Arena } from './arena.ts';
import { BufferPool } from './buffer-pool.ts';
import { type AioCallback, overAddresses } from './callbacks.ts';
import {
  AioAbandonedError,
  CLOSED,
  Completions,
  howPages,
  PendingIo,
  slotCount,
} from './completions.ts';
import type { CoreInstance } from './core.ts';
import { AioError, type AioErrorWords, AioUnavailableError } from './errors.ts';
import { AioFile, type FileOwner, OpenFiles } from './file.ts';
import { type IoBuffer, PageFrames } from './frames.ts';
import { type HandleContext, IoHandle } from './handle.ts';
import type { OpenFlags, Scratch } from './host.ts';
import {
  type BackendStats,
  inspectHandles,
  type PgAiosRow,
  readStats,
  readTrace,
  type TraceEntry,
} from './inspect.ts';
import * as layout from './layout.ts';
import { u32 } from './numbers.ts';
import { ResourceOwner } from './owner.ts';
import { Relation, type RelationOptions, relationOfPath } from './relation.ts';
import { packFlags } from './reopen.ts';
import { type Settings, unknownSetting } from './settings.ts';
import { Storage } from './storage.ts';
import { type PagesOf, type RelFileLocator, TARGET_BYTES, writeTarget } from './target.ts';
import { WaitRef, type WaitRefToken } from './wait-ref.ts';

export interface AcquireOptions {
  /** Cleans up after the I/O if the unit of work fails. @default none */
  readonly owner?: ResourceOwner | undefined;
}

/** Settings of `Aio.create`, in TypeScript's spelling; each is the PostgreSQL one of that name. */
export interface AioSettings {
  /** @default 'worker' where the host has threads for it, else 'sync' */
  readonly ioMethod?: Settings['io_method'];
  /** Where io_uring's rings lie. @default 'checked' */
  readonly ring?: Settings['ring'];
  /** What is registered with each io_uring, and locked in memory. @default 'frames' */
  readonly fixedBuffers?: Settings['fixed_buffers'];
  /** Handles, 1 .. 1024; -1 derives them from sharedBuffers. @default -1 */
  readonly ioMaxConcurrency?: number | string;
  /** Blocks per I/O there can be, 1 .. 128. @default 16 */
  readonly ioMaxCombineLimit?: number | string;
  /** Blocks per I/O wanted, 1 .. 128. @default 16 */
  readonly ioCombineLimit?: number | string;
  /** I/Os at once of a read stream, 0 .. 1000; 0 reads synchronously. @default 16 */
  readonly effectiveIoConcurrency?: number | string;
  /** The same for streams with `maintenance`. @default 16 */
  readonly maintenanceIoConcurrency?: number | string;
  /** kB of this API's memory in each backend, where read streams live, 64 .. 65536. @default 256 */
  readonly localMemory?: number | string;
  /** Instances over one memory, 1 .. 1024. @default 16 */
  readonly maxBackends?: number | string;
  /** Pages of the buffer pool: a number, or text with a unit (`'128MB'`). @default 16384 */
  readonly sharedBuffers?: number | string;
  /** Page frames for `frames()`, and for temporary relations. @default 1024 */
  readonly ioFrames?: number | string;
  /** Local buffers, for temporary relations; taken from `ioFrames` on first use. @default 1024 */
  readonly tempBuffers?: number | string;
  /** Whether invalid pages become zeros as buffers are read, with a warning. @default false */
  readonly zeroDamagedPages?: boolean;
  /** Whether a failed checksum is only warned of as buffers are read. @default false */
  readonly ignoreChecksumFailure?: boolean;
  /** Bytes of a page. @default 8192 */
  readonly blockSize?: number | string;
  /** Entries of the trace ring. @default 4096 */
  readonly traceSize?: number | string;
  /** Whether transitions are recorded. @default false */
  readonly trace?: boolean;
  /** Whether pages carry checksums. @default true */
  readonly dataChecksums?: boolean;
  /** Blocks of a relation's file. @default 131072 */
  readonly segmentSize?: number | string;
  /** Files that other threads can open again. @default 256 */
  readonly maxFiles?: number | string;
  /** I/O workers there always are, 1 .. 32. @default 2 */
  readonly ioMinWorkers?: number | string;
  /** I/O workers there may be, 1 .. 32. @default 8 */
  readonly ioMaxWorkers?: number | string;
  /** Sets both of the above. */
  readonly ioWorkers?: number | string;
  /** ms (or text with a unit) until an idle I/O worker above the minimum leaves. @default 60000 */
  readonly ioWorkerIdleTimeout?: number | string;
  /** ms between launches of I/O workers above the minimum. @default 100 */
  readonly ioWorkerLaunchInterval?: number | string;
  /** I/Os of `direct` files one I/O worker has under way at once, 1 .. 16. @default 16 */
  readonly ioWorkerConcurrency?: number | string;
}

const SPELLINGS = {
  ioMethod: 'io_method',
  ring: 'ring',
  fixedBuffers: 'fixed_buffers',
  ioMaxConcurrency: 'io_max_concurrency',
  ioMaxCombineLimit: 'io_max_combine_limit',
  ioCombineLimit: 'io_combine_limit',
  effectiveIoConcurrency: 'effective_io_concurrency',
  maintenanceIoConcurrency: 'maintenance_io_concurrency',
  localMemory: 'local_memory',
  maxBackends: 'max_backends',
  sharedBuffers: 'shared_buffers',
  ioFrames: 'io_frames',
  tempBuffers: 'temp_buffers',
  zeroDamagedPages: 'zero_damaged_pages',
  ignoreChecksumFailure: 'ignore_checksum_failure',
  blockSize: 'block_size',
  traceSize: 'trace_size',
  trace: 'trace',
  dataChecksums: 'data_checksums',
  segmentSize: 'segment_size',
  maxFiles: 'max_files',
  ioMinWorkers: 'io_min_workers',
  ioMaxWorkers: 'io_max_workers',
  ioWorkers: 'io_workers',
  ioWorkerIdleTimeout: 'io_worker_idle_timeout',
  ioWorkerLaunchInterval: 'io_worker_launch_interval',
  ioWorkerConcurrency: 'io_worker_concurrency',
} as const satisfies Record<keyof AioSettings, keyof Settings>;

/** The settings under PostgreSQL's names; local memory is sized for what this API keeps there. */
export function settingsOf(options: AioSettings): Settings {
  const renamed: Record<string, unknown> = { local_memory: LOCAL_KB };
  for (const [key, value] of Object.entries(options)) {
    if (!Object.hasOwn(SPELLINGS, key)) throw unknownSetting(key, Object.keys(SPELLINGS));
    if (value !== undefined) renamed[SPELLINGS[key as keyof AioSettings]] = value;
  }
  return renamed as Settings;
}

// This backend's area: results, then places for arguments, then what a provider may use.
const WREF_BYTES = 16;
const DATA_BYTES = layout.PG_IOV_MAX * layout.DATA_BYTES;
const HANDLE_BYTES = 1 << layout.HANDLE_SHIFT;
const SCRATCH_BYTES = 4608; // a path of 4 KiB, and what WASI answers
/** Enough for 1024 handles and one more result (32 KiB), and for some fifty read streams. */
const LOCAL_KB = 256;
/** Numbers of files that have no place in the table of files begin here. */
const UNREGISTERED = 0x40000000;

/** Somebody who waits for a handle; `io` is what it has in hand meanwhile. */
interface Acquirer {
  readonly options: AcquireOptions;
  readonly io: PendingIo | undefined;
  take(handle: IoHandle): void;
  fail(error: AioError): void;
}

/** Starts the I/O of a handle, or gives it back. */
function startOrDispose(handle: IoHandle, start: (handle: IoHandle) => PendingIo): PendingIo {
  try {
    return start(handle);
  } catch (error) {
    handle[Symbol.dispose]();
    throw error;
  }
}

function unexpected(cause: unknown): AioErrorWords {
  const message = cause instanceof Error ? cause.message : String(cause);
  return { code: 'PGAIO_START', message, cause };
}

/**
 * One backend of the engine. Dispose it (`await using`): I/O in flight is waited for, files are
 * closed, the slot is freed.
 */
export class AioEngine implements Disposable, AsyncDisposable {
  readonly #core: CoreInstance;
  readonly #completions: Completions;
  readonly #context: HandleContext;
  readonly #snapshotAt: number;
  readonly #targetAt: number;
  readonly #scratch: Scratch;
  readonly #files = new OpenFiles();
  readonly #storage: Storage;
  /** The buffer pool that all backends share. */
  readonly buffers: BufferPool;
  #nextUnregistered = UNREGISTERED;
  /** Those who wait for a handle, first come first served. */
  #acquirers: Acquirer[] = [];
  #batch: object | undefined;

  /** Hosts only. */
  protected constructor(core: CoreInstance) {
    this.#core = core;
    let { at } = core.local;
    const place = (bytes: number): number => {
      const here = at;
      at += bytes;
      return here;
    };
    const slots = place(slotCount(core) * layout.RETURN_BYTES);
    this.#completions = new Completions(core, slots);
    this.#snapshotAt = place(HANDLE_BYTES);
    this.#targetAt = place(TARGET_BYTES);
    this.#context = {
      core,
      completions: this.#completions,
      dataAt: place(DATA_BYTES),
      wrefAt: place(WREF_BYTES),
      poll: () => this.#completions.poll(),
      next: () => this.#completions.next(),
      flush: () => this.#completions.flush(),
    };
    this.#completions.makeRef = (token) => new WaitRef(this.#context, token);
    this.#scratch = { memory: core.memory, at: place(SCRATCH_BYTES), bytes: SCRATCH_BYTES };
    const { bytes } = core.local;
    const needed = at - core.local.at;
    this.#storage = new Storage(core, new Arena(at, bytes - needed), this.#context);
    this.buffers = new BufferPool(this.#storage);
    if (needed <= bytes) return;
    core.shutdown();
    throw new AioUnavailableError({
      code: 'PGAIO_LOCAL_MEMORY',
      message: `local memory of ${bytes} bytes is too small, this API needs ${needed}`,
      sqlstate: '53200',
      hint: 'Raise local_memory where the memory was made.',
    });
  }

  get memory(): WebAssembly.Memory {
    return this.#core.memory;
  }
  /** This backend's number. */
  get procno(): number {
    return this.#core.procno;
  }
  get blockSize(): number {
    return this.#core.blockSize;
  }

  /** A setting as PostgreSQL's SHOW prints it; also `io_provider`. */
  show(name: string): string {
    return this.#core.show(name);
  }
  /** Changes io_combine_limit, trace or a setting of the I/O workers; the others are fixed. */
  set(name: string, value: unknown): void {
    this.#core.set(name, value);
  }

  /** Opens a file for reading, or as the flags say. Paths are the provider's. */
  open(path: string, flags: OpenFlags = {}): AioFile {
    this.#core.requireOpen();
    const { provider } = this.#core.host;
    const fd = provider.open(path, flags, this.#scratch);
    const alignment = flags.direct === true ? provider.alignment?.(fd) : undefined;
    const registered = this.#register(path, flags);
    const number = registered ?? this.#nextUnregistered++;
    const reopenable = registered !== undefined;
    const file = new AioFile(this.#fileOwner, fd, { path, number, reopenable, alignment });
    if (!reopenable) this.#core.filePaths.set(number, path);
    this.#files.add(file);
    return file;
  }

  /** A number other threads can open the file by; undefined if the table has no room for it. */
  #register(path: string, flags: OpenFlags): number | undefined {
    const encoded = new TextEncoder().encode(path);
    const { at, bytes } = this.#scratch;
    if (encoded.length > bytes) return undefined;
    this.#core.u8.set(encoded, at);
    const number = this.#core.exports.pgaio_file_register(at, encoded.length, packFlags(flags));
    return number === layout.E_FILES_FULL ? undefined : this.#core.check(number);
  }

  readonly #fileOwner: FileOwner = {
    close: (file) => this.#closeFile(file),
    closeAsync: async (file) => {
      this.submitStaged();
      while (this.#completions.usesFile(file.number)) await this.#completions.next();
    },
    size: (file) => this.#core.host.provider.size(file.fd, this.#scratch),
    plainIo: (file, start) => this.#plainIo(file, start),
    transfer: (file, writes, buffer, offset) => this.#transfer(file, writes, buffer, offset),
    pages: (file, buffer, offset, of) => this.#pages(file, buffer, offset, of),
    skim: (file, buffer, offset, of, blocks) => this.#skim(file, buffer, offset, of, blocks),
  };

  /** A transfer of one buffer: one call into the core, where a handle is idle. */
  #transfer(file: AioFile, writes: boolean, buffer: IoBuffer, offset: number): PendingIo {
    this.#requireTransfer(file, buffer, offset);
    const io =
      this.#acquirers.length === 0
        ? this.#completions.startFile(file, writes, buffer, offset)
        : undefined;
    if (io !== undefined) return io;
    return this.#plainIo(file, (handle) =>
      writes ? handle.startWritev(file, buffer, offset) : handle.startReadv(file, buffer, offset),
    );
  }
  /** The same for pages that are looked at. */
  #pages(file: AioFile, buffer: IoBuffer, offset: number, of: PagesOf): PendingIo {
    this.#requireTransfer(file, buffer, offset);
    const blocks = buffer.byteLength / this.#core.blockSize;
    if (this.#acquirers.length === 0) {
      const at = this.#targetAt;
      writeTarget(this.#core.u32, at >>> 2, of, blocks);
      const io = this.#completions.startPages(file, buffer, offset, at, blocks);
      if (io !== undefined) return io;
    }
    return this.#startWhenIdle((handle) => {
      handle.setTarget({ ...of, blocks });
      if (file.alignment === undefined) handle.setFlag('BUFFERED');
      handle.register(layout.PGAIO_HCB_PAGE_READV).register(layout.PGAIO_HCB_MD_READV);
      return handle.startReadv(file, buffer, offset);
    });
  }
  #skim(file: AioFile, buffer: IoBuffer, offset: number, of: PagesOf, blocks: number): number {
    this.#requireTransfer(file, buffer, offset);
    if (this.#acquirers.length > 0) return 0;
    const { exports } = this.#core;
    const at = this.#targetAt;
    writeTarget(this.#core.u32, at >>> 2, of, 1);
    const { address, byteLength: bytes } = buffer;
    const place = [howPages(file), file.fd, file.number, at, address, bytes, offset] as const;
    return this.#core.check(exports.pgaio_io_skim_pages(...place, u32('blocks', blocks)));
  }
  #requireTransfer(file: AioFile, buffer: IoBuffer, offset: number): void {
    this.#core.requireOpen();
    file.requireOpen();
    file.requireAligned(buffer, offset);
  }

  /** An I/O on a file: target FILE and the callback that goes with it. */
  #plainIo(file: AioFile, start: (handle: IoHandle) => PendingIo): PendingIo {
    return this.#startWhenIdle((handle) =>
      start(handle.setTarget({ file }).register(layout.PGAIO_HCB_FILE)),
    );
  }

  /** Starts an I/O now if a handle is idle, else when its turn has come. */
  #startWhenIdle(start: (handle: IoHandle) => PendingIo): PendingIo {
    if (this.#acquirers.length === 0) {
      const handle = this.tryAcquire();
      if (handle !== undefined) return startOrDispose(handle, start);
    }
    const io = new PendingIo(this.#completions, () => this.#grantUntil(io));
    this.#enqueue({
      options: {},
      io,
      take: (handle) => startOrDispose(handle.answerTo(io), start),
      fail: (error) => io.end(error),
    });
    return io;
  }

  #closeFile(file: AioFile): void {
    const { fd, number } = file;
    this.#core.requireOpen();
    // First: I/O on it that waits for a handle is refused now, not started while others end.
    file.forget();
    this.#core.check(this.#core.exports.pgaio_closing_fd(fd));
    this.#completions.poll();
    this.#files.delete(file);
    if (file.reopenable) this.#core.check(this.#core.exports.pgaio_file_unregister(number));
    else this.#core.filePaths.delete(number);
    this.#core.host.provider.close(fd);
  }

  /**
   * A relation, read and written through the buffer pool: by tablespace, database and file number,
   * or by the path of its file below the data directory. Nothing is opened yet.
   */
  relation(which: RelFileLocator | string, options: RelationOptions = {}): Relation {
    this.#core.requireOpen();
    if (typeof which !== 'string') return new Relation(this.#storage, which, options);
    const { locator, fork, temp } = relationOfPath(which);
    return new Relation(this.#storage, locator, { fork, temp, ...options });
  }

  /** Takes neighbouring page frames. PGAIO_NO_FRAMES when there is no such run. */
  frames(count: number): PageFrames {
    this.#core.requireOpen();
    const at = this.#core.check(this.#core.exports.pgaio_frames_alloc(u32('frames', count)));
    if (at !== 0) return new PageFrames(this.#core, at, count);
    throw new AioUnavailableError({
      code: 'PGAIO_NO_FRAMES',
      message: `no ${count} neighbouring page frames are free`,
      sqlstate: '53200',
      hint: `Raise io_frames (now ${this.show('io_frames')}), or dispose frames sooner.`,
    });
  }

  /** Takes a handle, blocking for the oldest I/O in flight if none is idle. */
  acquire(options: AcquireOptions = {}): IoHandle {
    return this.#acquire(this.#core.exports.pgaio_io_acquire, options) ?? this.#never();
  }
  /** Takes a handle, or undefined when none is idle. */
  tryAcquire(options: AcquireOptions = {}): IoHandle | undefined {
    return this.#acquire(this.#core.exports.pgaio_io_acquire_nb, options);
  }
  /**
   * Takes a handle as soon as one is idle and none is handed out, in the order of the calls,
   * without blocking the event loop.
   */
  acquireAsync(options: AcquireOptions = {}): Promise<IoHandle> {
    return new Promise((take, fail) => {
      this.#enqueue({ options, io: undefined, take, fail });
    });
  }

  #enqueue(acquirer: Acquirer): void {
    this.#acquirers.push(acquirer);
    this.#completions.onChange = () => this.#grant();
    this.#grant();
  }

  /** Gives handles to those who wait, as far as they go. */
  #grant(): void {
    while (this.#acquirers.length > 0 && !this.#core.handedOut) {
      if (!this.#grantOne((options) => this.tryAcquire(options))) break;
    }
    if (this.#acquirers.length === 0) this.#completions.onChange = undefined;
    else if (!this.#core.handedOut && this.#core.inFlight === 0) {
      this.#grantOne((options) => this.acquire(options)); // nothing to wait for: the error
    }
  }

  /** One that waits for its handle is waited for: the same, blocking. */
  #grantUntil(io: PendingIo): void {
    while (this.#acquirers.some((acquirer) => acquirer.io === io)) {
      this.#grantOne((options) => this.acquire(options));
    }
  }

  /** Serves the first in the queue; false if there is no handle for it. */
  #grantOne(acquire: (options: AcquireOptions) => IoHandle | undefined): boolean {
    const first = this.#acquirers[0];
    if (first === undefined) return false;
    try {
      const handle = acquire(first.options);
      if (handle === undefined) {
        this.submitStaged();
        return false;
      }
      this.#acquirers.shift();
      first.take(handle);
    } catch (error) {
      this.#acquirers = this.#acquirers.filter((acquirer) => acquirer !== first);
      first.fail(error instanceof AioError ? error : new AioUnavailableError(unexpected(error)));
    }
    return true;
  }

  #acquire(
    call: (owner: number, ret: number) => number,
    options: AcquireOptions,
  ): IoHandle | undefined {
    this.#core.requireOpen();
    const slot = this.#completions.takeSlot();
    let at = 0;
    try {
      at = this.#core.check(call(options.owner?.address ?? 0, slot));
    } finally {
      this.#completions.poll();
      if (at === 0) this.#completions.giveSlot(slot);
    }
    return at === 0 ? undefined : new IoHandle(this.#context, at, slot, options.owner);
  }
  #never(): never {
    throw new RangeError('pgaio_io_acquire answered 0');
  }

  /** A reference from its token, taken in this thread or another. */
  waitRef(token: WaitRefToken): WaitRef {
    return new WaitRef(this.#context, token);
  }

  /**
   * Until the returned object is disposed (`using`), started I/Os are staged and go to the method
   * together, up to 32 at a time. While anything is staged, do not wait for another backend.
   */
  batch(): Disposable {
    this.#core.check(this.#core.exports.pgaio_enter_batchmode());
    const batch = {
      [Symbol.dispose]: (): void => {
        // The failure of a unit of work may have ended it already.
        if (this.#batch !== batch || this.#core.closed || !this.#core.inBatch) return;
        this.#batch = undefined;
        this.#core.check(this.#core.exports.pgaio_exit_batchmode());
        this.#completions.poll();
      },
    };
    this.#batch = batch;
    return batch;
  }
  /** Submits what is staged now. */
  submitStaged(): void {
    this.#core.check(this.#core.exports.pgaio_submit_staged());
    this.#completions.poll();
  }
  get haveStaged(): boolean {
    return this.#core.check(this.#core.exports.pgaio_have_staged()) > 0;
  }

  /**
   * Resolves when all of these I/Os are over, whatever their results: one promise for many, where
   * awaiting each costs one for each. What is staged is submitted.
   */
  allEnded(ios: Iterable<PendingIo>): Promise<void> {
    return new Promise((resolve) => {
      this.submitStaged();
      let left = 1;
      const tell = (): void => {
        if (--left === 0) resolve();
      };
      for (const io of ios) {
        if (io.settled) continue;
        left++;
        io.whenEnded(tell);
      }
      tell();
    });
  }

  /** A resource owner, under `parent` if given. 64 at once. */
  owner(parent?: ResourceOwner): ResourceOwner {
    return new ResourceOwner(this.#core, this.#completions, parent);
  }

  /** Runs a unit of work: commits its owner at the end, aborts it when `work` throws. */
  async withOwner<Value>(
    work: (owner: ResourceOwner) => Value | PromiseLike<Value>,
  ): Promise<Value> {
    const owner = this.owner();
    try {
      const value = await work(owner);
      owner.commit();
      this.#core.check(this.#core.exports.AtEOXact_Aio(1));
      return value;
    } catch (error) {
      this.#core.check(this.#core.exports.pgaio_error_cleanup());
      owner[Symbol.dispose]();
      throw error;
    } finally {
      this.#completions.poll();
    }
  }

  /** Registers callback 32 .. 63; replaces one with the same id. */
  registerCallback(id: number, callback: AioCallback): void {
    this.#core.registerCallback(id, overAddresses(this.#core, id, callback));
  }

  /** The rows of pg_aios: every handle of every backend that is not idle. */
  inspect(): PgAiosRow[] {
    this.#core.requireOpen();
    return inspectHandles(this.#core, this.#snapshotAt);
  }
  /** Counters of this backend. */
  stats(): BackendStats {
    return readStats(this.#core);
  }
  /** Transitions recorded while setting `trace` was on, oldest first. */
  trace(): TraceEntry[] {
    return readTrace(this.#core);
  }

  /** Method HOST: the device says how the I/O of handle `id` ended: bytes, or -errno. */
  complete(id: number, raw: number): void {
    this.#core.complete(id, raw);
  }

  /** Leaves at once, blocking for I/O in flight. */
  [Symbol.dispose](): void {
    if (this.#core.closed) return;
    for (const stream of this.#storage.streams) stream[Symbol.dispose]();
    const errors: unknown[] = [];
    for (const file of this.#files) {
      try {
        file.close();
      } catch (error) {
        errors.push(error);
      }
    }
    this.#core.shutdown();
    this.#completions.close();
    for (const { fail } of this.#acquirers.splice(0)) fail(new AioAbandonedError(CLOSED));
    if (errors.length > 0) throw errors[0];
  }
  /** Hosts: `last` runs when this backend has left. */
  protected onLeaving(last: () => void): void {
    this.#core.onLeaving(last);
  }
  /** Leaves when the I/O in flight has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#core.closed) return;
    this.#core.check(this.#core.exports.pgaio_error_cleanup());
    this.#completions.poll();
    while (this.#core.inFlight > 0) await this.#completions.next();
    this[Symbol.dispose]();
  }
}
