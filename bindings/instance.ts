/**
 * Making an instance: a memory, the imports, the module. What the imports are told while the core
 * runs is left in an ImportState, for the caller to deal with when the call has returned.
 */
import type { CoreExports } from './core-exports.ts';
import { AioUnavailableError } from './errors.ts';
import type { CoreHost, IoDevice, UringHost, WasiIo } from './host.ts';
import * as layout from './layout.ts';
import type { CoreReport } from './report.ts';
import type { SegmentImports } from './segments.ts';
import { readTargetData } from './target.ts';

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

export const PAGE_BYTES = 65536;
const MAX_PAGES = 65536;
/** Kept of what host callbacks threw, for the words of results reported later. */
const THROWN_KEPT = 64;
const EIO = 5;

export function newMemory(host: CoreHost, pages: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: host.shared });
  } catch (cause) {
    throw new AioUnavailableError({
      code: 'PGAIO_MEMORY',
      message: `could not allocate ${pages * PAGE_BYTES} bytes of memory`,
      sqlstate: '53200',
      hint: 'Lower shared_buffers or io_frames, or raise the limit on virtual memory (ulimit -v).',
      cause,
    });
  }
}

/** What the imports leave behind for the instance to deal with when a call has returned. */
export interface ImportState {
  readonly reports: CoreReport[];
  /** Takes a report while the core runs. */
  onReport: (report: CoreReport) => void;
  readonly callbacks: Map<number, CoreCallbacks>;
  /** Asked for the next block, by address of a read stream; the address of room for its data. */
  readonly sources: Map<number, (data: number) => number | undefined>;
  /** What each callback threw last; 0 stands for those of read streams. */
  readonly thrown: Map<number, unknown>;
  /** What a device or provider threw last. */
  deviceError: unknown;
  /** Calls into the core that are under way while something of the host's runs. */
  depth: number;
  /** Opens the target of a handle for this thread: descriptor, or -errno. */
  reopen: (io: number) => number;
  /** Files of relations; until they are known there are none. */
  segments: SegmentImports;
}
export interface MadeInstance {
  readonly memory: WebAssembly.Memory;
  readonly exports: CoreExports;
  readonly state: ImportState;
  readonly uring: UringHost | undefined;
}

export async function instantiate(
  host: CoreHost,
  memory: WebAssembly.Memory,
): Promise<MadeInstance> {
  const pages = memory.buffer.byteLength / PAGE_BYTES;
  if (pages < 1 || pages > MAX_PAGES) throw new RangeError(`memory of ${pages} pages`);
  const reports: CoreReport[] = [];
  const state: ImportState = {
    reports,
    onReport: (report) => void reports.push(report),
    callbacks: new Map(),
    sources: new Map(),
    thrown: new Map(),
    deviceError: undefined,
    depth: 0,
    reopen: () => -EIO,
    segments: NO_SEGMENTS,
  };
  const u32 = new Uint32Array(memory.buffer);
  const uring = host.uring?.(memory);
  const io = host.provider.bind(memory);
  const instance = await WebAssembly.instantiate(host.module, {
    ...host.extraImports?.(memory),
    env: { memory },
    wasi_snapshot_preview1: guarded(state, io),
    pgaio: {
      report: reporter(state, u32),
      callback: callbackRunner(state, u32),
      submit: submitter(state, host.device, u32),
      wait_one: waiter(state, host.device),
      reopen: (io: number): number => state.reopen(io),
      ...kernelImports(state, io),
      uring_setup: uring?.setup ?? unsupported,
      uring_enter: uring?.enter ?? unsupported,
      uring_reap: uring?.reap ?? unsupported,
      uring_wait: uring?.wait ?? unsupported,
      uring_taken: uring?.taken ?? unsupported,
      uring_leave: uring?.leave ?? unsupported,
      segment_open: (rel: number, procno: number, segment: number, create: number): number =>
        state.segments.segment_open(rel, procno, segment, create),
      segment_close: (fd: number): number => state.segments.segment_close(fd),
      segment_size: (fd: number): number => state.segments.segment_size(fd),
      segment_truncate: (fd: number, bytes: number): number =>
        state.segments.segment_truncate(fd, bytes),
      segment_unlink: (rel: number, procno: number, segment: number): number =>
        state.segments.segment_unlink(rel, procno, segment),
    },
  });
  return { memory, exports: instance.exports as unknown as CoreExports, state, uring };
}

const ENOSYS = 38;
const unsupported = (): number => -ENOSYS;
const NO_FILE = (): number => -EIO;
const NO_SEGMENTS: SegmentImports = {
  segment_open: NO_FILE,
  segment_close: NO_FILE,
  segment_size: NO_FILE,
  segment_truncate: NO_FILE,
  segment_unlink: NO_FILE,
};

/** A provider that throws has failed with EIO: an error must not unwind the core's frames. */
function guarded(state: ImportState, io: WasiIo) {
  const failed = (error: unknown): number => {
    state.deviceError = error;
    return WASI_EIO;
  };
  const transfer =
    (call: WasiIo['fd_pread']): WasiIo['fd_pread'] =>
    (fd, iovs, count, offset, moved) => {
      try {
        return call(fd, iovs, count, offset, moved);
      } catch (error) {
        return failed(error);
      }
    };
  const sync = (call: WasiIo['fd_sync']) => (fd: number) => {
    try {
      return call(fd);
    } catch (error) {
      return failed(error);
    }
  };
  return {
    fd_pread: transfer(io.fd_pread),
    fd_pwrite: transfer(io.fd_pwrite),
    fd_sync: sync(io.fd_sync),
    fd_datasync: sync(io.fd_datasync),
    fd_advise: (fd: number, offset: bigint, length: bigint, advice: number): number => {
      try {
        return io.fd_advise?.(fd, offset, length, advice) ?? WASI_ENOSYS;
      } catch (error) {
        return failed(error);
      }
    },
  };
}
const WASI_EIO = 29;
const WASI_ENOSYS = 52;

/** What answers a number or -errno, and throws no more than the functions above. */
type Answering = (first: number, second: number, third: number) => number;

function answering(state: ImportState, call: Answering): Answering {
  return (first, second, third) => {
    try {
      return call(first, second, third);
    } catch (error) {
      state.deviceError = error;
      return -EIO;
    }
  };
}

function kernelImports(state: ImportState, { kernelAio, parking }: WasiIo) {
  const sure = (call: Answering): Answering => answering(state, call);
  return {
    kaio_start: kernelAio ? sure((ios, places) => kernelAio.start(ios, places)) : unsupported,
    kaio_finish: kernelAio ? sure((events, most) => kernelAio.finish(events, most)) : unsupported,
    park: parking ? sure((word, was, us) => parking.park(word, was, us)) : unsupported,
    unpark: parking ? sure((word) => parking.unpark(word)) : unsupported,
  };
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
    state.onReport({
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

/** InvalidBlockNumber: the end of a stream. */
const NO_BLOCK = 0xffffffff;

/** Runs one phase. What a callback throws never reaches the core: it would unwind its frames. */
function callbackRunner(state: ImportState, u32: Uint32Array) {
  return (phase: number, id: number, ioh: number, cbData: number, result: number): number => {
    const callbacks = state.callbacks.get(id);
    state.depth++;
    try {
      switch (phase) {
        case layout.PGAIO_CB_STAGE:
          callbacks?.stage?.(ioh, cbData);
          return 0;
        case layout.PGAIO_CB_NEXT_BLOCK:
          u32[result >>> 2] = state.sources.get(ioh)?.(cbData) ?? NO_BLOCK;
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
    } finally {
      state.depth--;
    }
  };
}

function submitter(state: ImportState, device: IoDevice | undefined, u32: Uint32Array) {
  return (count: number, at: number): number => {
    const ids = Array.from(u32.subarray(at >>> 2, (at >>> 2) + count));
    state.depth++;
    try {
      device?.submit(ids);
      return device === undefined ? -EIO : 0;
    } catch (thrown) {
      state.deviceError = thrown;
      return -EIO;
    } finally {
      state.depth--;
    }
  };
}

function waiter(state: ImportState, device: IoDevice | undefined) {
  return (id: number): number => {
    if (device?.waitOne === undefined) return -1;
    state.depth++;
    try {
      device.waitOne(id);
      return 0;
    } catch (thrown) {
      state.deviceError = thrown;
      return -1;
    } finally {
      state.depth--;
    }
  };
}
