/**
 * One instance of the core over one memory: makes it, holds the views, turns error numbers into
 * errors, runs host callbacks, and delivers reports when a call has returned. Both faces of the
 * package, raw.ts and aio.ts, stand on it.
 */
import type { CoreExports } from './core-exports.ts';
import {
  AioUnavailableError,
  AioUsageError,
  type ErrorRecord,
  isUsageNumber,
  usageError,
} from './errors.ts';
import type { CoreHost, IoDevice, WasiIo } from './host.ts';
import * as layout from './layout.ts';
import { STATE_NAMES, type StateName } from './names.ts';
import { type AioReport, type CoreReport, reportWords } from './report.ts';
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
} from './settings.ts';
import { readTargetData, TABLESPACE_VERSION_DIRECTORY, type WordsContext } from './target.ts';

/**
 * The phases of a host callback, over addresses. `result` is the address of the PgAioResult to read
 * and write in place. None may throw: a throw becomes an ERROR result.
 */
export interface CoreCallbacks {
  /** Issuer, before the I/O is staged. May acquire another handle. */
  stage?(ioh: number, cbData: number): void;
  /** Whoever completes the I/O. */
  complete_shared?(ioh: number, result: number, cbData: number): void;
  /** Issuer, when it reclaims the handle. */
  complete_local?(ioh: number, result: number, cbData: number): void;
  /** The words for results this callback set. */
  report?(errorData: number, result: number): string;
}

const PAGE_BYTES = 65536;
const MAX_PAGES = 65536;
/** Kept of what host callbacks threw, for the words of results reported later. */
const THROWN_KEPT = 64;

export class CoreInstance {
  readonly memory: WebAssembly.Memory;
  readonly exports: CoreExports;
  readonly host: CoreHost;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly u64: BigUint64Array;
  readonly blockSize: number;
  /** This backend's number. */
  readonly procno: number;
  /** Address of this backend's PgAioBackend. */
  readonly backend: number;
  /** Paths of files by number, for messages. */
  readonly filePaths = new Map<number, string>();
  readonly #imports: ImportState;
  readonly #context: WordsContext;

  private constructor(host: CoreHost, made: MadeInstance, procno: number) {
    const { memory, exports } = made;
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
    this.#imports = made.state;
    this.#context = {
      blockSize: this.blockSize,
      filePath: (file) => this.filePaths.get(file),
      tablespaceVersionDirectory: host.tablespaceVersionDirectory ?? TABLESPACE_VERSION_DIRECTORY,
      hostReport: (id, errorData, result) =>
        made.state.callbacks.get(id)?.report?.(errorData, result),
      thrownBy: (id) => made.state.thrown.get(id),
    };
  }

  /**
   * Makes an instance: over `memory` if it is given, which another instance laid out or which is
   * zero, else over one of the size the settings ask for. Claims a backend slot.
   */
  static async create(
    host: CoreHost,
    settings: Settings,
    memory?: WebAssembly.Memory,
  ): Promise<CoreInstance> {
    const numbers = parseSettings(settings);
    const over = memory ?? (await allocate(host, numbers));
    const made = await instantiate(host, over);
    applySettings(made.exports, numbers);
    const run = (rc: number): number => checked(made.exports, rc);
    run(made.exports.AioShmemInit());
    const procno = run(made.exports.pgaio_init_backend());
    applyLate(made.exports, numbers);
    const core = new CoreInstance(host, made, procno);
    made.state.complete = (id, raw) => core.complete(id, raw);
    return core;
  }

  get words(): WordsContext {
    return this.#context;
  }

  /** A field of PgAioCtl. */
  ctl(field: keyof typeof layout.PgAioCtl.fields): number {
    return this.u32[(layout.CTL_AT + layout.PgAioCtl.fields[field].offset) >>> 2] ?? 0;
  }

  /** Address of a handle by its id. */
  handleAt(id: number): number {
    return this.ctl('io_handles') + id * HANDLE_STRIDE;
  }

  /** The result of a call: itself, or the error it stands for. Delivers reports first. */
  check(rc: number): number {
    if (this.#imports.reports.length > 0) this.#deliver();
    return rc < 0 ? checked(this.exports, rc) : rc;
  }

  /** Refuses an address the bindings are about to write at unless it is callers' memory. */
  checkCallers(at: number, bytes: number, align: number): void {
    const inside = at >= this.ctl('local') && at <= this.ctl('size') - bytes;
    if (Number.isInteger(at) && at % align === 0 && inside) return;
    throw usageError(layout.E_BAD_ADDRESS, { io: -1, state: 0, first: at, second: bytes });
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

  /** Method HOST: the device says how the I/O of handle `id` ended, bytes or -errno. */
  complete(id: number, raw: number): void {
    const known = Number.isInteger(id) && id >= 0 && id < this.ctl('io_handle_count');
    this.check(this.exports.pgaio_io_process_completion(known ? this.handleAt(id) : 0, raw));
    this.onCompleted?.();
  }
  /** Called after each completion by the device: aio.ts settles promises then. */
  onCompleted: (() => void) | undefined;

  /** Value of a setting as SHOW prints it. */
  show(name: string): string {
    if (!isSettingName(name)) throw unknownSetting(name);
    return showSetting(name, this.exports.pgaio_get_guc(gucOf(name)), this.blockSize);
  }

  /** Changes a setting that may be changed after start. */
  set(name: string, value: unknown): void {
    if (!isSettingName(name)) throw unknownSetting(name);
    const number = parseSetting(name, value, this.blockSize);
    if (!isLate(name)) throw lateSetting(name);
    this.check(this.exports.pgaio_set_guc(gucOf(name), number));
  }

  /** Whether this backend has left. */
  get closed(): boolean {
    return this.#closed;
  }
  #closed = false;

  /** Leaves: waits for I/O in flight, frees the slot. Afterwards every call is PGAIO_NO_BACKEND. */
  shutdown(): void {
    this.check(this.exports.pgaio_shutdown());
    this.#closed = true;
  }

  /** One of the core's errors about handle `io`, made by the bindings. */
  usage(number: number, io: number, state: StateName): AioUsageError {
    return usageError(number, { io, state: STATE_NAMES.indexOf(state), first: 0, second: 0 });
  }

  #deliver(): void {
    const reports = this.#imports.reports.splice(0);
    for (const report of reports) {
      this.host.onReport?.(reportWords(report, this.#context, this.procno));
    }
  }

  /** Takes the reports not yet delivered, in words: raw.ts throws the one it asked for. */
  takeReports(): AioReport[] {
    const reports = this.#imports.reports.splice(0);
    return reports.map((report) => reportWords(report, this.#context, this.procno));
  }
}

const HANDLE_STRIDE = 1 << layout.HANDLE_SHIFT;
const BACKEND_STRIDE = 1 << layout.BACKEND_SHIFT;

/** The result, or the error it stands for with the record the core left. */
function checked(exports: CoreExports, rc: number): number {
  if (rc >= 0) return rc;
  const record: ErrorRecord = {
    io: exports.pgaio_error_detail(0),
    state: exports.pgaio_error_detail(1),
    first: exports.pgaio_error_detail(2),
    second: exports.pgaio_error_detail(3),
  };
  if (isUsageNumber(rc)) throw usageError(rc, record);
  throw new RangeError(`the core answered ${rc}, which is neither a result nor an error of ours`);
}

type SettingNumbers = ReadonlyMap<SettingName, number>;

function parseSettings(settings: Settings): SettingNumbers {
  for (const name of Object.keys(settings)) {
    if (!isSettingName(name)) throw unknownSetting(name);
  }
  const blockSize = parseSetting('block_size', settings.block_size ?? 8192, 8192);
  const given = SETTING_NAMES.filter((name) => settings[name] !== undefined);
  return new Map(given.map((name) => [name, parseSetting(name, settings[name], blockSize)]));
}

function applySettings(exports: CoreExports, numbers: SettingNumbers): void {
  for (const [name, number] of numbers) {
    if (!isLate(name)) checked(exports, exports.pgaio_set_guc(gucOf(name), number));
  }
}
function applyLate(exports: CoreExports, numbers: SettingNumbers): void {
  for (const [name, number] of numbers) {
    if (isLate(name)) checked(exports, exports.pgaio_set_guc(gucOf(name), number));
  }
}

/** Asks a throw-away instance how much memory the settings need, and makes that. */
async function allocate(host: CoreHost, numbers: SettingNumbers): Promise<WebAssembly.Memory> {
  const { exports } = await instantiate(host, newMemory(host, 1));
  applySettings(exports, numbers);
  const bytes = checked(exports, exports.AioShmemSize());
  return newMemory(host, Math.ceil(bytes / PAGE_BYTES));
}

function newMemory(host: CoreHost, pages: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: host.shared });
  } catch (cause) {
    throw new AioUnavailableError({
      code: 'PGAIO_MEMORY',
      message: `could not allocate ${pages * PAGE_BYTES} bytes of memory`,
      sqlstate: '53200',
      hint: 'Lower shared_buffers, or raise the limit on virtual memory (ulimit -v).',
      cause,
    });
  }
}

/** What the imports leave behind for the instance to deal with when a call has returned. */
interface ImportState {
  readonly reports: CoreReport[];
  readonly callbacks: Map<number, CoreCallbacks>;
  /** What each callback threw last. */
  readonly thrown: Map<number, unknown>;
  complete: ((id: number, raw: number) => void) | undefined;
}
interface MadeInstance {
  readonly memory: WebAssembly.Memory;
  readonly exports: CoreExports;
  readonly state: ImportState;
}

async function instantiate(host: CoreHost, memory: WebAssembly.Memory): Promise<MadeInstance> {
  const pages = memory.buffer.byteLength / PAGE_BYTES;
  if (pages < 1 || pages > MAX_PAGES) throw new RangeError(`memory of ${pages} pages`);
  const state: ImportState = {
    reports: [],
    callbacks: new Map(),
    thrown: new Map(),
    complete: undefined,
  };
  const u32 = new Uint32Array(memory.buffer);
  const io: WasiIo = host.provider.bind(memory);
  const instance = await WebAssembly.instantiate(host.module, {
    env: { memory },
    wasi_snapshot_preview1: { fd_pread: io.fd_pread, fd_pwrite: io.fd_pwrite },
    pgaio: {
      report: reporter(state, u32),
      callback: callbackRunner(state),
      submit: submitter(state, host.device, u32),
      wait_one: waiter(host.device),
    },
  });
  return { memory, exports: instance.exports as unknown as CoreExports, state };
}

function reporter(state: ImportState, u32: Uint32Array) {
  return (
    level: number,
    kind: number,
    io: number,
    owner: number,
    word: number,
    result: number,
    first: number,
    second: number,
    targetData: number,
  ): void => {
    const target = targetData === 0 ? undefined : readTargetData(u32, targetData >>> 2);
    state.reports.push({
      level,
      kind,
      io,
      owner,
      word: word >>> 0,
      result,
      first: first >>> 0,
      second: second >>> 0,
      target,
    });
  };
}

/** Runs one phase. What a callback throws never reaches the core: it would unwind its frames. */
function callbackRunner(state: ImportState) {
  return (phase: number, id: number, ioh: number, cbData: number, result: number): number => {
    const callbacks = state.callbacks.get(id);
    try {
      switch (phase) {
        case layout.PGAIO_CB_STAGE:
          callbacks?.stage?.(ioh, cbData);
          return 0;
        case layout.PGAIO_CB_COMPLETE_SHARED:
          callbacks?.complete_shared?.(ioh, result, cbData);
          return 0;
        default:
          callbacks?.complete_local?.(ioh, result, cbData);
          return 0;
      }
    } catch (thrown) {
      if (state.thrown.size >= THROWN_KEPT) state.thrown.clear();
      state.thrown.set(id, thrown);
      return -1;
    }
  };
}

const EIO = 5;
function submitter(state: ImportState, device: IoDevice | undefined, u32: Uint32Array) {
  return (count: number, at: number): number => {
    const ids = Array.from(u32.subarray(at >>> 2, (at >>> 2) + count));
    try {
      if (device === undefined) throw new AioUsageError(NO_DEVICE);
      device.submit(ids);
      return 0;
    } catch (thrown) {
      state.thrown.set(0, thrown);
      return -EIO;
    }
  };
}
const NO_DEVICE = {
  code: 'PGAIO_NO_DEVICE',
  message: 'io_method "host" needs a device',
  hint: 'Give one as the option `device`.',
} as const;

function waiter(device: IoDevice | undefined) {
  return (id: number): number => {
    if (device?.waitOne === undefined) return -1;
    try {
      device.waitOne(id);
      return 0;
    } catch {
      return -1;
    }
  };
}
