/**
 * I/O on operating system descriptors through node:fs, behind WASI's functions. Unlike node:wasi it
 * opens files past the page cache (O_DIRECT) and anywhere in the file system.
 *
 * One system call per call: what it moves is the result, short or not. Node's fs retries a call
 * that a signal interrupted; readv silently stops at 1,024 buffers and Linux at 2,147,479,552
 * bytes, so what is passed on is cut to both and the result says so.
 */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  readvSync,
  unlinkSync,
  writeSync,
  writevSync,
} from 'node:fs';
import {
  errnoOfName,
  sqlstateOfErrno,
  strerror,
  wasiOfErrno,
  wasiOfErrnoName,
} from '../../bindings/errno.ts';
import { AioIoError, AioUnavailableError } from '../../bindings/errors.ts';
import type {
  Alignment,
  IoProvider,
  OpenFlags,
  ProviderSpec,
  WasiIo,
} from '../../bindings/host.ts';
import { type BoundShim, bindShim, shim } from './shim.ts';
import { uringHost } from './uring.ts';

const IOV_MAX = 1024;
const MAX_RW_COUNT = 0x7ffff000;
const WASI_SUCCESS = 0;
const EINVAL = 22;

/** The whole file system of this process, over its own descriptors. */
export function directProvider(): IoProvider {
  const ends: (() => void)[] = [];
  return withSpec(
    {
      name: 'direct',
      sharedDescriptors: true,
      bind: (memory) => {
        const bound = bindShim(memory);
        if (bound === undefined) return bindDescriptors(memory);
        ends.push(() => bound.unbind());
        return bindNative(memory, bound);
      },
      rings: uringHost,
      open: openFile,
      alignment: alignmentOf,
      size: (fd) => fstatSync(fd).size,
      close: (fd) => {
        shim()?.forbid(fd);
        closeSync(fd);
      },
      end: () => {
        for (const end of ends.splice(0)) end();
      },
      truncate: (fd, bytes) =>
        passing('truncate', `descriptor ${fd}`, () => ftruncateSync(fd, bytes)),
      unlink: (path) => passing('remove', path, () => unlinkSync(path)),
    },
    { name: 'direct' },
  );
}

/**
 * Adds how other threads make the same provider. Not enumerable: a copy with something changed is
 * another provider, and I/O workers must not be given the original in its stead.
 */
export function withSpec(provider: IoProvider, spec: ProviderSpec): IoProvider {
  return Object.defineProperty(provider, 'spec', { value: spec });
}

function openFile(path: string, flags: OpenFlags): number {
  const { write = false, create = false, exclusive = false, direct = false } = flags;
  let bits = write || create ? constants.O_RDWR : constants.O_RDONLY;
  if (create) bits |= constants.O_CREAT;
  if (create && exclusive) bits |= constants.O_EXCL;
  if (direct) bits |= directBit(path);
  try {
    return announce(openSync(path, bits, 0o600), path);
  } catch (cause) {
    throw cause instanceof AioUnavailableError ? cause : openError(path, cause);
  }
}

/** Where nobody says more: what every device takes, as far as we know. */
const SECTOR = 512;

/** What O_DIRECT asks for: the kernel tells (statx, Linux 6.1), or the device's sectors do. */
function alignmentOf(fd: number): Alignment {
  const told = new Uint32Array(2);
  shim()?.alignment(fd, told);
  const [memory = 0, offset = 0] = told;
  if (memory > 0 && offset > 0) return { memory, offset };
  const sector = sectorOf(fstatSync(fd).dev);
  return { memory: sector, offset: sector };
}

/** Bytes of a logical sector of device number `dev`, from sysfs. */
function sectorOf(dev: number): number {
  const [major, minor] = [(dev >>> 8) & 0xfff, (dev & 0xff) | ((dev >>> 12) & 0xfff00)];
  for (const folder of ['', '../']) {
    try {
      const path = `/sys/dev/block/${major}:${minor}/${folder}queue/logical_block_size`;
      return Number(readFileSync(path, 'latin1')) || SECTOR;
    } catch {
      // A partition's is its disk's; a file system without a device has none.
    }
  }
  return SECTOR;
}

/** Rings take no other descriptors than those that were opened here. */
function announce(fd: number, path: string): number {
  if ((shim()?.allow(fd) ?? 0) === 0) return fd;
  closeSync(fd);
  throw new AioUnavailableError({
    code: 'PGAIO_DESCRIPTOR',
    message: `could not open file "${path}": descriptor ${fd} is above what io_uring can be given`,
    hint: 'Close files, or lower the limit of open files (ulimit -n) below 1048576.',
  });
}

function directBit(path: string): number {
  if (constants.O_DIRECT !== undefined) return constants.O_DIRECT;
  throw new AioUnavailableError({
    code: 'PGAIO_NO_DIRECT',
    message: `could not open file "${path}": this system has no O_DIRECT`,
    hint: 'Open it without `direct`.',
  });
}

/** PostgreSQL's words for a file that cannot be opened. */
export function openError(path: string, cause: unknown): AioIoError {
  const code = codeOf(cause);
  const errno = code === 'ERR_INVALID_ARG_VALUE' ? EINVAL : (errnoOfName(code) ?? 5);
  return new AioIoError({
    code: 'PGAIO_OPEN',
    message: `could not open file "${path}": ${strerror(errno)}`,
    sqlstate: sqlstateOfErrno(errno),
    errno,
    path,
    cause,
  });
}

/** Passes a call on; what it throws becomes an error with its errno. */
function passing(verb: string, path: string, call: () => void): void {
  try {
    call();
  } catch (cause) {
    const errno = errnoOfName(codeOf(cause)) ?? 5;
    throw new AioIoError({
      code: 'PGAIO_IO',
      message: `could not ${verb} file "${path}": ${strerror(errno)}`,
      sqlstate: sqlstateOfErrno(errno),
      errno,
      path,
      cause,
    });
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** The same system calls made by the shim: without a view and an object for each, half the time. */
function bindNative(memory: WebAssembly.Memory, bound: BoundShim): WasiIo {
  const view = new DataView(memory.buffer);
  const plain = bindDescriptors(memory);
  const transfer =
    (call: BoundShim['read']): WasiIo['fd_pread'] =>
    (fd, iovs, count, offset, moved) => {
      const done = call(fd, iovs, count, Number(offset));
      if (done < 0) return wasiOfErrno(-done);
      view.setUint32(moved, done, true);
      return WASI_SUCCESS;
    };
  return {
    ...plain,
    fd_pread: transfer(bound.read),
    fd_pwrite: transfer(bound.write),
    kernelAio: bound,
    parking: bound,
  };
}

function bindDescriptors(memory: WebAssembly.Memory): WasiIo {
  const bytes = new Uint8Array(memory.buffer);
  const view = new DataView(memory.buffer);
  const views = new Views(bytes);
  const transfer = (
    one: (fd: number, buffer: Uint8Array, position: number) => number,
    many: (fd: number, buffers: Uint8Array[], position: number) => number,
  ) => {
    return (fd: number, iovs: number, count: number, offset: bigint, moved: number): number => {
      try {
        const position = Number(offset);
        const buffers = buffersOf(views, view, iovs, Math.min(count, IOV_MAX));
        const [first] = buffers;
        const done =
          buffers.length === 1 && first !== undefined
            ? one(fd, first, position)
            : many(fd, buffers, position);
        view.setUint32(moved, done, true);
        return WASI_SUCCESS;
      } catch (error) {
        return wasiOfErrnoName(codeOf(error));
      }
    };
  };
  const sync =
    (call: (fd: number) => void) =>
    (fd: number): number => {
      try {
        call(fd);
        return WASI_SUCCESS;
      } catch (error) {
        return wasiOfErrnoName(codeOf(error));
      }
    };
  return {
    fd_sync: sync(fsyncSync),
    fd_datasync: sync(fdatasyncSync),
    fd_pread: transfer(
      (fd, buffer, position) => readSync(fd, buffer, 0, buffer.length, position),
      (fd, buffers, position) => readvSync(fd, buffers, position),
    ),
    fd_pwrite: transfer(
      (fd, buffer, position) => writeSync(fd, buffer, 0, buffer.length, position),
      (fd, buffers, position) => writevSync(fd, buffers, position),
    ),
  };
}

/** Views of the memory, kept: frames are used again and again, and making one takes a while. */
class Views {
  readonly #bytes: Uint8Array;
  readonly #kept = new Map<number, Uint8Array>();

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }
  of(at: number, length: number): Uint8Array {
    const known = this.#kept.get(at);
    if (known?.length === length) return known;
    if (this.#kept.size >= VIEWS_KEPT) this.#kept.clear();
    const made = this.#bytes.subarray(at, at + length);
    this.#kept.set(at, made);
    return made;
  }
}
const VIEWS_KEPT = 4096;

/** Views of the iovecs, up to what Linux moves in one call. */
function buffersOf(views: Views, view: DataView, iovs: number, count: number): Uint8Array[] {
  const buffers: Uint8Array[] = [];
  let left = MAX_RW_COUNT;
  for (let i = 0; i < count && left > 0; i++) {
    const at = view.getUint32(iovs + 8 * i, true);
    const length = Math.min(view.getUint32(iovs + 8 * i + 4, true), left);
    buffers.push(views.of(at, length));
    left -= length;
  }
  return buffers;
}
