/**
 * The engine in TypeScript's idiom: files, page frames, handles, batches, promises. Hosts derive
 * from `AioEngine` and add `create`; everything else is here and the same everywhere.
 */
import { type AioCallback, overAddresses } from './callbacks.ts';
import { Completions, type PendingIo } from './completions.ts';
import type { CoreInstance } from './core.ts';
import { AioUnavailableError } from './errors.ts';
import { AioFile } from './file.ts';
import { type IoBuffer, PageFrames } from './frames.ts';
import { type FileTarget, type HandleContext, IoHandle } from './handle.ts';
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
import { ResourceOwner } from './owner.ts';
import type { SettingName, Settings } from './settings.ts';
import { WaitRef, type WaitRefToken } from './wait-ref.ts';

export interface AcquireOptions {
  /** Cleans up after the I/O if the unit of work fails. @default none */
  readonly owner?: ResourceOwner | undefined;
}

/** Settings of `Aio.create`, in TypeScript's spelling; each is the PostgreSQL one of that name. */
export interface AioSettings {
  /** @default 'sync' */
  readonly ioMethod?: Settings['io_method'];
  /** Handles, 1 .. 1024; -1 derives them from sharedBuffers. @default -1 */
  readonly ioMaxConcurrency?: number | string;
  /** Blocks per I/O there can be, 1 .. 128. @default 16 */
  readonly ioMaxCombineLimit?: number | string;
  /** Blocks per I/O wanted, 1 .. 128. @default 16 */
  readonly ioCombineLimit?: number | string;
  /** Instances over one memory, 1 .. 1024. @default 16 */
  readonly maxBackends?: number | string;
  /** Page frames: a number, or text with a unit (`'128MB'`). @default 16384 */
  readonly sharedBuffers?: number | string;
  /** Bytes of a page. @default 8192 */
  readonly blockSize?: number | string;
  /** Entries of the trace ring. @default 4096 */
  readonly traceSize?: number | string;
  /** Whether transitions are recorded. @default false */
  readonly trace?: boolean;
  /** Whether pages carry checksums. @default true */
  readonly dataChecksums?: boolean;
}

const SPELLINGS = {
  ioMethod: 'io_method',
  ioMaxConcurrency: 'io_max_concurrency',
  ioMaxCombineLimit: 'io_max_combine_limit',
  ioCombineLimit: 'io_combine_limit',
  maxBackends: 'max_backends',
  sharedBuffers: 'shared_buffers',
  blockSize: 'block_size',
  traceSize: 'trace_size',
  trace: 'trace',
  dataChecksums: 'data_checksums',
} as const satisfies Record<keyof AioSettings, SettingName>;

/** The settings under PostgreSQL's names; local memory is sized for what this API keeps there. */
export function settingsOf(options: AioSettings): Settings {
  const renamed: Record<string, unknown> = { local_memory: LOCAL_KB };
  for (const [key, name] of Object.entries(SPELLINGS)) {
    const value = options[key as keyof AioSettings];
    if (value !== undefined) renamed[name] = value;
  }
  return renamed as Settings;
}

// This backend's area: results, then places for arguments, then what a provider may use.
const RETURN_BYTES = layout.RETURN_BYTES;
const WREF_BYTES = 16;
const DATA_BYTES = layout.PG_IOV_MAX * layout.DATA_BYTES;
const HANDLE_BYTES = 1 << layout.HANDLE_SHIFT;
const SCRATCH_BYTES = 8192;
/** Enough for 1024 handles and one more result: 32 KiB, and the rest. */
const LOCAL_KB = 64;
/** Closed files whose paths are remembered, for messages about I/Os that were started before. */
const CLOSED_PATHS_KEPT = 1000;

/**
 * One backend of the engine. Dispose it (`await using`): I/O in flight is waited for, files are
 * closed, the slot is freed.
 */
export class AioEngine implements Disposable, AsyncDisposable {
  readonly #core: CoreInstance;
  readonly #completions: Completions;
  readonly #context: HandleContext;
  readonly #snapshotAt: number;
  readonly #scratch: Scratch;
  readonly #files = new Set<AioFile>();
  #nextFile = 1;

  /** Hosts only. */
  protected constructor(core: CoreInstance) {
    this.#core = core;
    let at = core.check(core.exports.pgaio_local_memory());
    const place = (bytes: number): number => {
      const here = at;
      at += bytes;
      return here;
    };
    const slots = Array.from({ length: core.ctl('io_max_concurrency') + 1 }, () =>
      place(RETURN_BYTES),
    );
    this.#completions = new Completions(core, slots);
    this.#snapshotAt = place(HANDLE_BYTES);
    this.#context = {
      core,
      completions: this.#completions,
      dataAt: place(DATA_BYTES),
      wrefAt: place(WREF_BYTES),
    };
    this.#scratch = { memory: core.memory, at: place(SCRATCH_BYTES), bytes: SCRATCH_BYTES };
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
    return name === 'io_provider' ? this.#core.host.provider.name : this.#core.show(name);
  }
  /** Changes io_combine_limit or trace; the others are fixed at start. */
  set(name: string, value: unknown): void {
    this.#core.set(name, value);
  }

  /** Opens a file for reading, or as the flags say. Paths are the provider's. */
  open(path: string, flags: OpenFlags = {}): AioFile {
    const fd = this.#core.host.provider.open(path, flags, this.#scratch);
    const file = new AioFile(this.#fileOwner, this.#nextFile++, fd, path);
    this.#core.filePaths.set(file.number, path);
    this.#files.add(file);
    return file;
  }
  readonly #fileOwner = {
    close: (file: AioFile): void => this.#closeFile(file),
    size: (file: AioFile): number => this.#core.host.provider.size(file.fd, this.#scratch),
    readFile: (file: AioFile, buffers: readonly IoBuffer[], offset: number): PendingIo =>
      this.#plainIo(file).startReadv(file, buffers, offset),
    writeFile: (file: AioFile, buffers: readonly IoBuffer[], offset: number): PendingIo =>
      this.#plainIo(file).startWritev(file, buffers, offset),
  };

  #plainIo(file: AioFile): IoHandle {
    const target: FileTarget = { file };
    const handle = this.acquire();
    try {
      return handle.setTarget(target).register(layout.PGAIO_HCB_FILE);
    } catch (error) {
      handle[Symbol.dispose]();
      throw error;
    }
  }

  #closeFile(file: AioFile): void {
    const { fd } = file;
    this.#core.check(this.#core.exports.pgaio_closing_fd(fd));
    this.#completions.poll();
    this.#core.host.provider.close(fd);
    this.#files.delete(file);
    const forgotten = file.number - CLOSED_PATHS_KEPT;
    if (forgotten > 0) this.#core.filePaths.delete(forgotten);
  }

  /** Takes neighbouring page frames. PGAIO_NO_FRAMES when there is no such run. */
  frames(count: number): PageFrames {
    const at = this.#core.check(this.#core.exports.pgaio_frames_alloc(count));
    if (at !== 0) return new PageFrames(this.#core, at, count);
    throw new AioUnavailableError({
      code: 'PGAIO_NO_FRAMES',
      message: `no ${count} neighbouring page frames are free`,
      sqlstate: '53200',
      hint: `Raise shared_buffers (now ${this.show('shared_buffers')}), or dispose frames sooner.`,
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
  /** Takes a handle as soon as there is one, without blocking the event loop. */
  async acquireAsync(options: AcquireOptions = {}): Promise<IoHandle> {
    while (true) {
      // each round an I/O has ended since the last
      const handle = this.tryAcquire(options);
      if (handle !== undefined) return handle;
      this.submitStaged();
      if (this.#completions.inFlight === 0) return this.acquire(options);
      await this.#completions.next();
    }
  }

  #acquire(
    call: (owner: number, ret: number) => number,
    options: AcquireOptions,
  ): IoHandle | undefined {
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
    const { wrefAt, completions } = this.#context;
    return new WaitRef(this.#core, wrefAt, token, () => completions.poll());
  }

  /**
   * Until the returned object is disposed (`using`), started I/Os are staged and go to the method
   * together, up to 32 at a time. While anything is staged, do not wait for another backend.
   */
  batch(): Disposable {
    this.#core.check(this.#core.exports.pgaio_enter_batchmode());
    let open = true;
    return {
      [Symbol.dispose]: () => {
        if (!open || this.#core.closed) return;
        open = false;
        this.#core.check(this.#core.exports.pgaio_exit_batchmode());
        this.#completions.poll();
      },
    };
  }
  /** Submits what is staged now. */
  submitStaged(): void {
    this.#core.check(this.#core.exports.pgaio_submit_staged());
    this.#completions.poll();
  }
  get haveStaged(): boolean {
    return this.#core.check(this.#core.exports.pgaio_have_staged()) > 0;
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
    for (const file of this.#files) file.close();
    this.#core.shutdown();
    this.#completions.close();
  }
  /** Leaves when the I/O in flight has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#core.closed) return;
    this.#core.check(this.#core.exports.pgaio_error_cleanup());
    this.#completions.poll();
    while (this.#completions.inFlight > 0) await this.#completions.next();
    this[Symbol.dispose]();
  }
}
