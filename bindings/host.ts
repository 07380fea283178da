/**
 * What the bindings need of a host: the compiled core, somebody who does I/O, and where reports go.
 * Node's and the browser's hosts supply it; nothing below host/ knows which one it is.
 */
import type { AioReport } from './report.ts';

/** The functions of WASI preview 1 that the core calls. Each returns a WASI errno or 0. */
export interface WasiIo {
  fd_pread(fd: number, iovs: number, iovsLen: number, offset: bigint, nread: number): number;
  fd_pwrite(fd: number, iovs: number, iovsLen: number, offset: bigint, nwritten: number): number;
  fd_sync(fd: number): number;
  fd_datasync(fd: number): number;
  /** Hints what will be read; left out where the system has no call for it. */
  fd_advise?(fd: number, offset: bigint, length: bigint, advice: number): number;
  /** How an I/O worker has several reads and writes of `direct` files under way at once. */
  readonly kernelAio?: KernelAio | undefined;
  /** How I/O workers sleep for a moment, if not by atomic.wait. */
  readonly parking?: Parking | undefined;
}

/**
 * What a thread has under way together: assembly/aio/host.ts says what is asked of `kaio_start` and
 * `kaio_finish`. All of it has ended before the thread has.
 */
export interface KernelAio {
  start(ios: number, places: number): number;
  finish(events: number, most: number): number;
}

/** Sleeping on a word of the memory and waking who does: `park` and `unpark` of host.ts there. */
export interface Parking {
  park(word: number, expected: number, microseconds: number): number;
  unpark(word: number): number;
}

export interface OpenFlags {
  /** For reading and writing. @default false */
  readonly write?: boolean;
  /** Made if it is not there; implies `write`. @default false */
  readonly create?: boolean;
  /** With `create`: it must not be there yet. @default false */
  readonly exclusive?: boolean;
  /** Past the page cache (O_DIRECT); addresses, lengths, offsets aligned. @default false */
  readonly direct?: boolean;
}

/** Powers of two, in bytes. */
export interface Alignment {
  /** Of the address of each buffer. */
  readonly memory: number;
  /** Of the offset in the file, and of the length of each buffer. */
  readonly offset: number;
}

/** Memory the provider may use while it opens a file: for paths and results of WASI calls. */
export interface Scratch {
  readonly memory: WebAssembly.Memory;
  readonly at: number;
  readonly bytes: number;
}

/** Somebody who does blocking I/O on files. Failures are AioIoError or AioUnavailableError. */
export interface IoProvider {
  /** `wasi`, `direct` and so on; shown by `show('io_provider')`. */
  readonly name: string;
  /** Whether a descriptor means the same in every thread. If not, I/O workers open files anew. */
  readonly sharedDescriptors: boolean;
  /** How another thread makes the same provider; without it I/O workers cannot be used. */
  readonly spec?: ProviderSpec | undefined;
  /** Called once per instance, before any I/O, with the memory that iovecs point into. */
  bind(memory: WebAssembly.Memory): WasiIo;
  /** Rings of the kernel's over the same descriptors, for method IO_URING; once per instance. */
  rings?(memory: WebAssembly.Memory): UringHost;
  /** What must be waited for before `open` of the same path: opening itself never waits. */
  prepare?(path: string, flags: OpenFlags): Promise<void>;
  /** Opens a file: its descriptor, as the functions of `bind` take it. */
  open(path: string, flags: OpenFlags, scratch: Scratch): number;
  /** What I/O on a file opened `direct` must be aligned to. */
  alignment?(fd: number): Alignment;
  /** Bytes of an open file. */
  size(fd: number, scratch: Scratch): number;
  close(fd: number): void;
  /** Cuts an open file, or lengthens it with zeros: relations need it. */
  truncate?(fd: number, bytes: number, scratch: Scratch): void;
  /** Removes a file: relations need it. */
  unlink?(path: string, scratch: Scratch): void;
  /** The instance it was bound for has left. */
  end?(): void;
}

/** A provider as data that can be sent to other threads. */
export type ProviderSpec =
  | { readonly name: 'direct' }
  | { readonly name: 'wasi'; readonly root: string }
  /** In a browser: files the person picked, by path. */
  | { readonly name: 'blob'; readonly files: Readonly<Record<string, Blob>> }
  /** In a browser: the Origin Private File System, below a folder. */
  | { readonly name: 'opfs'; readonly root: string }
  /** A module that exports `createProvider(options): IoProvider`. */
  | { readonly name: 'module'; readonly url: string; readonly options?: unknown };

/**
 * Method HOST: a device of the embedder's. It is told ids of submitted handles and answers each,
 * at once or later, with `complete(id, bytes or -errno)` of the instance it serves.
 */
export interface IoDevice {
  /** Takes them all; a throw fails those it has not completed with EIO. */
  submit(ids: readonly number[]): void;
  /** Completes `id` before it returns, for waiters that block; without it they get an error. */
  waitOne?(id: number): void;
}

/**
 * Rings of the kernel's for method IO_URING; assembly/aio/host.ts says what is asked of each. They
 * work on one linear memory, and on rings by number.
 */
export interface UringHost {
  setup(
    cqEntries: number,
    shared: number,
    ringsAt: number,
    ringsBytes: number,
    sqesAt: number,
    cursorAt: number,
    leaderAt: number,
    fixedAt: number,
    fixedBytes: number,
    outAt: number,
  ): number;
  enter(ring: number, first: number, count: number): number;
  reap(ring: number): number;
  wait(ring: number, seen: number, milliseconds: number): number;
  taken(ring: number): number;
  leave(ring: number): number;
  /** Entries that were refused: memory or descriptors not ours, unlisted operations. */
  refused(ring: number): number;
  /**
   * From now on `callback` is called on this thread's event loop while there are completions, until
   * `unlisten` is given the number this answers.
   */
  listen(ring: number, callback: () => void): number;
  unlisten(listener: number): number;
  /** None of these is called any more. */
  end(): void;
}

/** What an instance of the core is made from. */
export interface CoreHost {
  readonly module: WebAssembly.Module;
  /** Whether `module` takes a shared memory. */
  readonly shared: boolean;
  readonly provider: IoProvider;
  readonly device?: IoDevice | undefined;
  /** Receives each report, after the call that caused it. Must not throw. */
  readonly onReport?: ((report: AioReport) => void) | undefined;
  readonly tablespaceVersionDirectory?: string | undefined;
  /** Makes the rings of method IO_URING, where there are any. */
  readonly uring?: ((memory: WebAssembly.Memory) => UringHost) | undefined;
  /** Where relations lie: precedes their paths. */
  readonly dataDirectory?: string | undefined;
  /**
   * How a new memory can be backed by huge pages: its size is a multiple of `bytes`, and `advise`
   * is told of it before anything is written there.
   */
  readonly hugePages?:
    | { readonly bytes: number; advise(memory: WebAssembly.Memory): void }
    | undefined;
  /** Number of this thread among those that may join the memory. */
  readonly thread: number;
  /** What the module imports beside the core's own imports; none of the published builds does. */
  readonly extraImports?: ((memory: WebAssembly.Memory) => WebAssembly.Imports) | undefined;
  /** Whether this thread may sleep: the main thread of a page may not. @default true */
  readonly mayBlock?: boolean | undefined;
  /** Whether descriptors opened here are closed when this thread ends. */
  readonly descriptorsEndWithThread?: boolean | undefined;
  /** Keeps the process alive from `hold` to `release`: while I/O is in flight. */
  readonly keepAlive?: { hold(): void; release(): void } | undefined;
  /** Resolves in a later turn of the event loop, when others have had theirs. */
  readonly turn?: (() => Promise<void>) | undefined;
  /** Calls `act` when no microtask is left, before the event loop turns. */
  readonly afterMicrotasks?: ((act: () => void) => void) | undefined;
  /** Something happened that a monitor may want to know of. Must not throw. */
  readonly onEvent?: ((event: AioEvent) => void) | undefined;
}

/** What `CoreHost.onEvent` is told; Node publishes it on node:diagnostics_channel. */
export type AioEvent =
  | { readonly name: 'backend'; readonly what: 'joined' | 'left'; readonly procno: number }
  | { readonly name: 'worker'; readonly what: 'started' | 'ended'; readonly id: number }
  | { readonly name: 'thread'; readonly what: 'ended'; readonly thread: number }
  | { readonly name: 'report'; readonly report: AioReport };
