/**
 * What the bindings need of a host: the compiled core, somebody who does I/O, and where reports go.
 * Node's and the browser's hosts supply it; nothing below host/ knows which one it is.
 */
import type { AioReport } from './report.ts';

/** The two functions of WASI preview 1 that the core calls. Each returns a WASI errno or 0. */
export interface WasiIo {
  fd_pread(fd: number, iovs: number, iovsLen: number, offset: bigint, nread: number): number;
  fd_pwrite(fd: number, iovs: number, iovsLen: number, offset: bigint, nwritten: number): number;
}

export interface OpenFlags {
  /** For reading and writing. @default false */
  readonly write?: boolean;
  /** Made if it is not there; implies `write`. @default false */
  readonly create?: boolean;
  /** Past the page cache (O_DIRECT); addresses, lengths, offsets aligned. @default false */
  readonly direct?: boolean;
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
  /** Called once per instance, before any I/O, with the memory that iovecs point into. */
  bind(memory: WebAssembly.Memory): WasiIo;
  /** Opens a file: its descriptor, as the functions of `bind` take it. */
  open(path: string, flags: OpenFlags, scratch: Scratch): number;
  /** Bytes of an open file. */
  size(fd: number, scratch: Scratch): number;
  close(fd: number): void;
}

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
}
