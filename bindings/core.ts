/**
 * One instance of the core over one memory: holds the views, turns error numbers into errors and
 * delivers reports when a call has returned. A backend, or an I/O worker. Both faces of the
 * package, raw.ts and aio.ts, stand on it.
 */
import type { CoreExports } from './core-exports.ts';
import {
  type AioError,
  type AioUsageError,
  type ErrorRecord,
  fileError,
  isUsageNumber,
  usageError,
} from './errors.ts';
import type { CoreHost, Scratch, UringHost } from './host.ts';
import {
  type CoreCallbacks,
  type ImportState,
  instantiate,
  type MadeInstance,
  newMemory,
  PAGE_BYTES,
} from './instance.ts';
import * as layout from './layout.ts';
import { STATE_NAMES, type StateName } from './names.ts';
import { Reopened } from './reopen.ts';
import { type AioReport, type CoreReport, reportWords, resultError } from './report.ts';
import { unpackResult } from './result.ts';
import { segmentImports } from './segments.ts';
import {
  gucOf,
  isLate,
  isSettingName,
  lateSetting,
  parseSetting,
  SETTING_NAMES,
  type SettingName,
  type Settings,
  showSetting,
  unknownSetting,
  withoutAliases,
} from './settings.ts';
import {
  FORK_NAMES,
  readTargetData,
  relationPath,
  TABLESPACE_VERSION_DIRECTORY,
  type WordsContext,
} from './target.ts';

const HANDLE_STRIDE = 1 << layout.HANDLE_SHIFT;
const BACKEND_STRIDE = 1 << layout.BACKEND_SHIFT;
/** At the end of a backend's own area: for paths while a file is opened again for somebody else. */
const REOPEN_SCRATCH_BYTES = 1024;
const NONE = 0xffffffff;

/** What is asked of a backend again and again, in words from its beginning. */
const OWN = {
  in_flight_count: layout.PgAioBackend.fields.in_flight_count.offset >>> 2,
  reclaimed: layout.PgAioBackend.fields.reclaimed.offset >>> 2,
  estates: layout.PgAioBackend.fields.estates.offset >>> 2,
  handed_out_io: layout.PgAioBackend.fields.handed_out_io.offset >>> 2,
  in_batchmode: layout.PgAioBackend.fields.in_batchmode.offset >>> 2,
} as const;
const NOTHING: ErrorRecord = { io: -1, state: 0, first: 0, second: 0 };

/** What an instance is to be, apart from its settings. */
export interface CoreOptions {
  /** Memory of another instance to join; without it one is made as the settings ask. */
  readonly memory?: WebAssembly.Memory | undefined;
  /** Callback ids (bit n: 32 + n) that every thread over the memory loads. */
  readonly callbacksEverywhere?: number | undefined;
}

export class CoreInstance {
  readonly memory: WebAssembly.Memory;
  readonly exports: CoreExports;
  readonly host: CoreHost;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly u64: BigUint64Array;
  readonly blockSize: number;
  /** This backend's number, -1 for an I/O worker. */
  readonly procno: number;
  /** Address of this backend's PgAioBackend. */
  readonly backend: number;
  /** Paths, for messages, of files that have no place in the table of files. */
  readonly filePaths = new Map<number, string>();
  /** Called after each completion by the device: aio.ts settles promises then. */
  onCompleted: (() => void) | undefined;
  /** The rings, with method IO_URING. */
  readonly uring: UringHost | undefined;
  readonly #imports: ImportState;
  /** Address of the first handle. */
  readonly #handles: number;
  /** Where callers' memory begins and ends. */
  readonly #callersFrom: number;
  readonly #callersTo: number;
  readonly #context: WordsContext;
  readonly #leaving: (() => void)[] = [];
  #closed = false;

  private constructor(host: CoreHost, made: MadeInstance, procno: number, scratch: Scratch) {
    const { memory, exports, state, uring } = made;
    const buffer = memory.buffer;
    this.host = host;
    this.memory = memory;
    this.exports = exports;
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u64 = new BigUint64Array(buffer);
    this.procno = procno;
    this.blockSize = exports.pgaio_get_guc(layout.GUC_BLOCK_SIZE);
    this.backend = this.ctl('backends') + procno * BACKEND_STRIDE;
    this.#imports = state;
    this.#handles = this.ctl('io_handles');
    this.uring = uring;
    this.#callersFrom = this.ctl('local');
    this.#callersTo = this.ctl('size');
    const directory = host.dataDirectory ?? '';
    const versionDirectory = host.tablespaceVersionDirectory ?? TABLESPACE_VERSION_DIRECTORY;
    this.#context = {
      blockSize: this.blockSize,
      filePath: (file, owner) =>
        this.#registeredPath(file) ?? (owner === procno ? this.filePaths.get(file) : undefined),
      tablespaceVersionDirectory: versionDirectory,
      hostReport: (id, errorData, result) => state.callbacks.get(id)?.report?.(errorData, result),
      thrownBy: (id) => state.thrown.get(id),
      deviceError: () => state.deviceError,
    };
    const reopened = new Reopened({
      u8: this.u8,
      u32: this.u32,
      provider: host.provider,
      scratch,
      files: this.ctl('files'),
      segmentBlocks: this.ctl('segment_size'),
      versionDirectory,
      directory,
    });
    state.segments = segmentImports(
      { u32: this.u32, provider: host.provider, scratch, directory, versionDirectory },
      (error) => {
        state.deviceError = error;
      },
    );
    state.reopen = (io) => reopened.open(this.handleAt(io));
  }

  /** Makes a backend: lays out a memory or joins one, and claims a slot. */
  static async create(
    host: CoreHost,
    settings: Settings,
    options: CoreOptions = {},
  ): Promise<CoreInstance> {
    const numbers = parseSettings(withoutAliases(settings));
    const internal: readonly (readonly [number, number])[] = [
      [layout.GUC_CALLBACKS_EVERYWHERE, options.callbacksEverywhere ?? 0],
    ];
    const memory = options.memory ?? (await allocate(host, numbers));
    const made = await instantiate(host, memory);
    const { exports } = made;
    applyEarly(exports, numbers);
    for (const [guc, number] of internal) checked(exports, exports.pgaio_set_guc(guc, number));
    checked(exports, exports.pgaio_set_thread(host.thread));
    if (host.mayBlock === false) checked(exports, exports.pgaio_forbid_blocking());
    checked(exports, exports.AioShmemInit());
    const isPrivate = !host.provider.sharedDescriptors || host.descriptorsEndWithThread === true;
    const procno = checked(exports, exports.pgaio_init_backend(isPrivate ? 1 : 0));
    const joins = options.memory !== undefined;
    applyLate(exports, numbers, joins);
    const end =
      checked(exports, exports.pgaio_local_memory()) +
      exports.pgaio_get_guc(layout.GUC_LOCAL_MEMORY);
    const at = end - REOPEN_SCRATCH_BYTES;
    const core = new CoreInstance(host, made, procno, { memory, at, bytes: REOPEN_SCRATCH_BYTES });
    host.onEvent?.({ name: 'backend', what: 'joined', procno });
    if (!joins) core.#warnOfWorkers();
    return core;
  }

  /** Makes I/O worker `id`, started by thread `starter`. `runWorker` is its life. */
  static async createWorker(
    host: CoreHost,
    memory: WebAssembly.Memory,
    id: number,
    starter: number,
  ): Promise<CoreInstance> {
    const made = await instantiate(host, memory);
    const { exports } = made;
    checked(exports, exports.pgaio_set_thread(host.thread));
    checked(exports, exports.AioShmemInit());
    checked(exports, exports.pgaio_init_worker(id, starter));
    const ctl = layout.CTL_AT + layout.PgAioCtl.fields.worker_scratch.offset;
    const scratches = new Uint32Array(memory.buffer)[ctl >>> 2] ?? 0;
    const bytes = layout.WORKER_SCRATCH_BYTES;
    return new CoreInstance(host, made, -1, { memory, at: scratches + id * bytes, bytes });
  }

  /** Blocks until the worker is to leave: 1 told to, 2 idle too long, 3 too many. */
  runWorker(id: number): number {
    return checked(this.exports, this.exports.pgaio_worker_main(id));
  }

  get words(): WordsContext {
    return this.#context;
  }
  /** Whether this backend has left. */
  get closed(): boolean {
    return this.#closed;
  }
  /** Address and size of this backend's own area. */
  get local(): { readonly at: number; readonly bytes: number } {
    const at = this.check(this.exports.pgaio_local_memory());
    return {
      at,
      bytes: this.exports.pgaio_get_guc(layout.GUC_LOCAL_MEMORY) - REOPEN_SCRATCH_BYTES,
    };
  }

  /** A field of PgAioCtl. */
  ctl(field: keyof typeof layout.PgAioCtl.fields): number {
    return this.u32[(layout.CTL_AT + layout.PgAioCtl.fields[field].offset) >>> 2] ?? 0;
  }
  /** Id of the handle at an address. */
  idOf(handle: number): number {
    return (handle - this.#handles) / HANDLE_STRIDE;
  }
  /** Generation of the handle at an address: a number as long as that is exact. */
  generationAt(handle: number): number | bigint {
    const at = (handle + layout.PgAioHandle.fields.generation.offset) >>> 2;
    const [low, high] = [this.u32[at] ?? 0, this.u32[at + 1] ?? 0];
    if (high < 2 ** 21) return high * 2 ** 32 + low;
    return (BigInt(high) << 32n) | BigInt(low);
  }
  /** Address of a handle by its id. */
  handleAt(id: number): number {
    return this.#handles + id * HANDLE_STRIDE;
  }

  /** The result of a call: itself, or the error it stands for. Delivers reports first. */
  check(rc: number): number {
    // Not while a call that led here is still under way: its caller delivers.
    if (this.#imports.reports.length > 0 && this.#imports.depth === 0) this.#deliver();
    return rc < 0 ? this.#fail(rc) : rc;
  }

  /** The error for a number of the core's: of an I/O that failed, of a relation's file, or ours. */
  #fail(rc: number): number {
    const record = recordOf(this.exports);
    if (rc === layout.E_IO_FAILED) throw this.errorOfReturn(record.first);
    if (!isUsageNumber(rc)) return checked(this.exports, rc);
    const about = { ...record, path: this.#failedPath() };
    throw fileError(rc, about) ?? usageError(rc, about);
  }

  /** The error that a PgAioReturn at `at` stands for. */
  errorOfReturn(at: number): AioError {
    const target = readTargetData(
      this.u32,
      (at + layout.PgAioReturn.fields.target_data.offset) / 4,
    );
    const result = unpackResult(this.u32[at / 4] ?? 0, this.i32[at / 4 + 1] ?? 0);
    return resultError(result, target, this.#context, this.procno);
  }

  /** Path of the segment that the core's last failure about a relation was about. */
  #failedPath(): string {
    const at = (this.backend + layout.STORAGE_OFFSET) / 4;
    const [spcOid = 0, dbOid = 0, relNumber = 0, bits = 0, segment = 0] = this.u32.subarray(
      at,
      at + 5,
    );
    const fork = FORK_NAMES[bits & 0xff] ?? 'main';
    const temp = (bits & layout.REL_TEMP) === 0 ? undefined : this.procno;
    const directory = this.#context.tablespaceVersionDirectory;
    const path = relationPath({ spcOid, dbOid, relNumber }, fork, temp, directory);
    return segment === 0 ? path : `${path}.${segment}`;
  }

  /** Refuses an address the bindings are about to write at unless it is callers' memory. */
  checkCallers(at: number, bytes: number, align: number): void {
    const inside = at >= this.#callersFrom && at <= this.#callersTo - bytes;
    if (Number.isInteger(at) && at % align === 0 && inside) return;
    throw usageError(layout.E_BAD_ADDRESS, { ...NOTHING, first: at, second: bytes });
  }

  /** Refuses everything after this backend has left: its memory is somebody else's. */
  requireOpen(): void {
    if (this.#closed) throw usageError(layout.E_NO_BACKEND, NOTHING);
  }
  /** I/Os of this backend that are submitted and not reclaimed, whoever waits for them. */
  get inFlight(): number {
    return this.#own(OWN.in_flight_count);
  }
  /**
   * Calls `look` on this thread's event loop while the ring of backend `procno` has completions,
   * until the function it gives back is called. Undefined without rings.
   */
  listenToRing(procno: number, look: () => void): (() => void) | undefined {
    const { uring } = this;
    if (uring === undefined || this.#closed) return undefined;
    const context = this.ctl('uring_contexts') + procno * layout.URING_CONTEXT_BYTES;
    const word = (context + layout.PgAioUringContext.fields.ring.offset) >>> 2;
    const number = this.u32[word] ?? 0;
    const listener = number === 0 ? -1 : uring.listen(number - 1, look);
    return listener < 0 ? () => undefined : () => void uring.unlisten(listener);
  }
  /** How often a handle went back to idle; comes round. */
  get reclaimed(): number {
    return this.#own(OWN.reclaimed);
  }
  /** Slots of dead threads that wait for an I/O to end before they are free again. */
  get estates(): number {
    return this.#own(OWN.estates);
  }
  /** The backend a handle belongs to. */
  ownerOf(id: number): number {
    const { offset } = layout.PgAioHandle.fields.owner_procno;
    return this.i32[(this.handleAt(id) + offset) >>> 2] ?? -1;
  }
  /** An I/O worker's callback threw: in words, for results it set. */
  noteThrown(callback: number, thrown: unknown): void {
    this.#imports.thrown.set(callback, thrown);
  }
  /** What callback `id` of this instance threw last. */
  thrownBy(id: number): unknown {
    return this.#imports.thrown.get(id);
  }

  /** Whether a handle is handed out. */
  get handedOut(): boolean {
    return this.#own(OWN.handed_out_io) !== NONE;
  }
  get inBatch(): boolean {
    return this.#own(OWN.in_batchmode) === 1;
  }
  #own(word: number): number {
    return this.u32[(this.backend >>> 2) + word] ?? 0;
  }

  /** One of the core's errors about handle `io`, made by the bindings. */
  usage(number: number, io: number, state: StateName): AioUsageError {
    return usageError(number, { ...NOTHING, io, state: STATE_NAMES.indexOf(state) });
  }

  /** Path of a file in the table of files, whichever backend opened it. */
  #registeredPath(file: number): string | undefined {
    if (file < 1 || file > this.ctl('max_files')) return undefined;
    const { in_use, path_bytes, path } = layout.PgAioFile.fields;
    const at = this.ctl('files') + (file - 1) * layout.FILE_BYTES;
    if (this.u32[(at + in_use.offset) >>> 2] !== 1) return undefined;
    const bytes = this.u32[(at + path_bytes.offset) >>> 2] ?? 0;
    const from = at + path.offset;
    return new TextDecoder().decode(this.u8.slice(from, from + bytes));
  }

  /** Registers the phases of host callback `id` (32 .. 63) for this instance. */
  registerCallback(id: number, callbacks: CoreCallbacks): void {
    const phases =
      (callbacks.stage === undefined ? 0 : layout.PGAIO_CB_STAGE) |
      (callbacks.complete_shared === undefined ? 0 : layout.PGAIO_CB_COMPLETE_SHARED) |
      (callbacks.complete_local === undefined ? 0 : layout.PGAIO_CB_COMPLETE_LOCAL) |
      layout.PGAIO_CB_REPORT;
    this.check(this.exports.pgaio_register_host_callback(id, phases));
    this.#imports.callbacks.set(id, callbacks);
  }

  /** `next` is asked for each block of the read stream at `stream`; undefined removes it. */
  setBlockSource(stream: number, next: ((data: number) => number | undefined) | undefined): void {
    if (next === undefined) this.#imports.sources.delete(stream);
    else this.#imports.sources.set(stream, next);
  }

  /** Method HOST: the device says how the I/O of handle `id` ended, bytes or -errno. */
  complete(id: number, raw: number): void {
    const known = Number.isInteger(id) && id >= 0 && id < this.ctl('io_handle_count');
    this.check(this.exports.pgaio_io_process_completion(known ? this.handleAt(id) : 0, raw));
    this.onCompleted?.();
  }

  /** Value of a setting as SHOW prints it. */
  show(name: string): string {
    if (name === 'io_provider') return this.host.provider.name;
    if (name === 'io_workers') return this.show('io_max_workers');
    if (!isSettingName(name)) throw unknownSetting(name);
    return showSetting(name, this.exports.pgaio_get_guc(gucOf(name)), this.blockSize);
  }

  /** Changes a setting that may be changed after start. */
  set(name: string, value: unknown): void {
    const settings = withoutAliases({ [name]: value } as Settings);
    for (const [one, wanted] of Object.entries(settings)) {
      if (!isSettingName(one)) throw unknownSetting(one);
      const number = parseSetting(one, wanted, this.blockSize);
      if (!isLate(one)) throw lateSetting(one);
      this.check(this.exports.pgaio_set_guc(gucOf(one), number));
    }
    this.check(this.exports.pgaio_wake_workers());
    if (Object.keys(settings).some((one) => one.endsWith('_workers'))) this.#warnOfWorkers();
  }

  /** PostgreSQL's worker 0 warns of it at start and whenever either is changed. */
  #warnOfWorkers(): void {
    const min = this.exports.pgaio_get_guc(layout.GUC_IO_MIN_WORKERS);
    const max = this.exports.pgaio_get_guc(layout.GUC_IO_MAX_WORKERS);
    if (min <= max) return;
    this.#report({
      level: layout.WARNING,
      severity: 'WARNING',
      message:
        `"io_min_workers" (${min}) should be less than or equal to ` + `"io_max_workers" (${max})`,
      detail: `The I/O worker pool will not exceed "io_max_workers" (${max}) workers.`,
      sqlstate: '22023',
    });
  }

  #report(report: AioReport): void {
    try {
      this.host.onReport?.(report);
    } catch (error) {
      // The call it belongs to has succeeded; what the listener did wrong is not its caller's.
      queueMicrotask(() => {
        throw error;
      });
    }
    this.host.onEvent?.({ name: 'report', report });
  }

  /** A thread of this process has ended: its slots are cleaned up. How many it had. */
  threadEnded(thread: number): number {
    if (this.#closed) return 0;
    const slots = this.check(this.exports.pgaio_thread_ended(thread));
    if (slots > 0) this.host.onEvent?.({ name: 'thread', what: 'ended', thread });
    this.onCompleted?.();
    return slots;
  }

  /** `last` runs when this backend has left. */
  onLeaving(last: () => void): void {
    this.#leaving.push(last);
  }

  /** Leaves: waits for I/O in flight, frees the slot. Afterwards every call is PGAIO_NO_BACKEND. */
  shutdown(): void {
    this.check(this.exports.pgaio_shutdown());
    this.#closed = true;
    for (const last of this.#leaving) last();
    this.host.provider.end?.();
    this.uring?.end();
    this.host.onEvent?.({ name: 'backend', what: 'left', procno: this.procno });
  }

  /** Puts a report of this instance, or of an I/O worker's, into words and hands it on. */
  deliver(report: CoreReport, context?: string): void {
    const words = reportWords(report, this.#context, this.procno);
    this.#report(context === undefined ? words : { ...words, context });
  }

  #deliver(): void {
    for (const report of this.#imports.reports.splice(0)) this.deliver(report);
  }

  /** Takes the reports not yet delivered, in words: raw.ts throws the one it asked for. */
  takeReports(): AioReport[] {
    const reports = this.#imports.reports.splice(0);
    return reports.map((report) => reportWords(report, this.#context, this.procno));
  }

  /** I/O workers hand their reports on as they come, since their calls never return. */
  forwardReports(send: (report: CoreReport) => void): void {
    this.#imports.onReport = send;
  }
}

/** The result, or the error it stands for with the record the core left. */
function checked(exports: CoreExports, rc: number): number {
  if (rc >= 0) return rc;
  if (isUsageNumber(rc)) throw usageError(rc, recordOf(exports));
  throw new RangeError(`the core answered ${rc}, which is neither a result nor an error of ours`);
}

/** What the core keeps for the words of its last error. */
function recordOf(exports: CoreExports): ErrorRecord {
  return {
    io: exports.pgaio_error_detail(0),
    state: exports.pgaio_error_detail(1),
    first: exports.pgaio_error_detail(2),
    second: exports.pgaio_error_detail(3),
  };
}

type SettingNumbers = ReadonlyMap<SettingName, number>;

function parseSettings(settings: Settings): SettingNumbers {
  for (const name of Object.keys(settings)) {
    if (!isSettingName(name)) throw unknownSetting(name);
  }
  const values = settings as Readonly<Record<SettingName, unknown>>;
  const blockSize = parseSetting('block_size', settings.block_size ?? 8192, 8192);
  const given = SETTING_NAMES.filter((name) => values[name] !== undefined);
  return new Map(given.map((name) => [name, parseSetting(name, values[name], blockSize)]));
}

function applyEarly(exports: CoreExports, numbers: SettingNumbers): void {
  for (const [name, number] of numbers) {
    if (!isLate(name)) checked(exports, exports.pgaio_set_guc(gucOf(name), number));
  }
}
/** Settings that each backend has for itself. */
const OWN_SETTINGS: ReadonlySet<SettingName> = new Set([
  'io_combine_limit',
  'effective_io_concurrency',
  'maintenance_io_concurrency',
  'temp_buffers',
  'zero_damaged_pages',
  'ignore_checksum_failure',
]);

/** Who joins a memory sets what each backend has for itself. */
function applyLate(exports: CoreExports, numbers: SettingNumbers, joins: boolean): void {
  for (const [name, number] of numbers) {
    if (joins ? OWN_SETTINGS.has(name) : isLate(name))
      checked(exports, exports.pgaio_set_guc(gucOf(name), number));
  }
}

/** An address behind the end does not fit into 32 bits. */
const MEMORY_BYTES_MAX = 2 ** 32;

/** Asks a throw-away instance how much memory the settings need, and makes that. */
async function allocate(host: CoreHost, numbers: SettingNumbers): Promise<WebAssembly.Memory> {
  const sizing: CoreHost = { ...host, provider: NO_PROVIDER, uring: undefined };
  const { exports } = await instantiate(sizing, newMemory(host, 1));
  applyEarly(exports, numbers);
  const bytes = checked(exports, exports.AioShmemSize());
  const { hugePages } = host;
  const whole = (unit: number): number => Math.ceil(bytes / unit) * unit;
  const huge = whole(hugePages?.bytes ?? PAGE_BYTES);
  const memory = newMemory(host, (huge < MEMORY_BYTES_MAX ? huge : whole(PAGE_BYTES)) / PAGE_BYTES);
  hugePages?.advise(memory);
  return memory;
}
/** An instance that is only asked for a size does no I/O. */
const REFUSES = (): number => 0;
const NO_PROVIDER = {
  name: 'none',
  sharedDescriptors: true,
  bind: () => ({ fd_pread: REFUSES, fd_pwrite: REFUSES, fd_sync: REFUSES, fd_datasync: REFUSES }),
  open: REFUSES,
  size: REFUSES,
  close: () => undefined,
};
