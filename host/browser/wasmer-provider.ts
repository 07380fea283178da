/**
 * I/O through `@wasmer/wasi` on files in memory: what a page without a server can offer, and the
 * proof that the core needs nothing of Node. Guarantees what the other providers do, in spite of
 * three things the package (1.2.2) gets wrong; tests fail when the first two are mended:
 *
 * - `fd_pwrite` inserts instead of overwriting, so writing is done here, on the file itself;
 * - the size of a file stays what it was when it was opened, so each write sets it;
 * - it needs Node's Buffer to start, in a browser as well.
 *
 * It also lets a file opened for reading be written, and says EINVAL of a descriptor that was
 * closed; both are EBADF here. A write costs time in proportion to what follows it in the file, so
 * this is not for large files.
 */
import { init, WASI } from '@wasmer/wasi';
import { errnoOfWasi, wasiOfErrno } from '../../bindings/errno.ts';
import { AioUnavailableError } from '../../bindings/errors.ts';
import type { IoProvider, OpenFlags, Scratch, WasiIo } from '../../bindings/host.ts';
import { failure } from './failure.ts';

/** Files in memory. One provider serves one engine; the files outlive it. */
export interface WasmerProvider extends IoProvider {
  /** Adds a file, or puts other bytes in its place. */
  put(path: string, bytes: Uint8Array): void;
  /** A copy of a file's bytes as they are now. */
  bytesOf(path: string): Uint8Array;
}

/** Of the package's functions, those used here. */
interface WasiFunctions extends WasiIo {
  path_open(
    dirFd: number,
    dirFlags: number,
    path: number,
    pathBytes: number,
    openFlags: number,
    rights: bigint,
    inherited: bigint,
    fdFlags: number,
    fd: number,
  ): number;
  fd_filestat_get(fd: number, stat: number): number;
  fd_filestat_set_size(fd: number, size: bigint): number;
  fd_close(fd: number): number;
}
type Files = WASI['fs'];
interface OpenFile {
  readonly path: string;
  readonly writes: boolean;
}

/** The directory of the package's that carries rights: 3 is a root without any. */
const ROOT_FD = 4;
const FOLLOW_LINKS = 1;
const O_CREAT = 1;
const O_EXCL = 4;
/** fd_datasync, fd_read, fd_seek and fd_filestat_get; fd_write besides for writing. */
const RIGHTS_READ = 0x07n | (1n << 21n);
const RIGHTS_WRITE = 0x40n | (1n << 22n);
const STAT_FILETYPE_OFFSET = 16;
const STAT_SIZE_OFFSET = 32;
const STAT_BYTES = 64;
const FILETYPE_DIRECTORY = 3;
const WASI_SUCCESS = 0;
const ENOENT = 2;
const EIO = 5;
const EBADF = 9;
const EISDIR = 21;
const ENAMETOOLONG = 36;

/**
 * Files by path, to begin with; folders are made as needed.
 * @example
 * const provider = await wasmerProvider({ 'base/5/16384': pages });
 */
export async function wasmerProvider(
  files: Readonly<Record<string, Uint8Array>> = {},
): Promise<WasmerProvider> {
  await initWithoutBuffer();
  return initialisedProvider(files);
}

/** The package decodes its own code with Node's Buffer, at once; a browser lends it one. */
function initWithoutBuffer(): Promise<unknown> {
  const scope = globalThis as unknown as { Buffer?: unknown };
  if (scope.Buffer !== undefined) return init();
  scope.Buffer = {
    from: (text: string) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0)),
  };
  try {
    return init();
  } finally {
    delete scope.Buffer;
  }
}

/** The same without waiting, once a first one has been made. */
export function initialisedProvider(
  files: Readonly<Record<string, Uint8Array>> = {},
): WasmerProvider {
  const store = new WASI({ preopens: { '/': '/' } }).fs;
  for (const [path, bytes] of Object.entries(files)) put(store, absolute(path), bytes);
  return providerOver(store);
}

function providerOver(store: Files): WasmerProvider {
  const opened = new Map<number, OpenFile>();
  /** Files that were there, and are not any more. */
  const removed = new Set<string>();
  // A WASI takes the file system it is given for its own and gives it back as `fs`.
  let current = store;
  let wasi: WasiFunctions | undefined;
  let latest: WASI | undefined;
  const bound = (): WasiFunctions => {
    if (wasi === undefined) throw new RangeError('the provider is not bound to a memory yet');
    return wasi;
  };
  return {
    name: 'wasmer',
    sharedDescriptors: false,
    bind(memory) {
      const made = new WASI({ preopens: { '/': '/' }, fs: current });
      current = made.fs;
      latest = made;
      const functions = start(made, memory);
      wasi = functions;
      opened.clear();
      return {
        fd_pread: (fd, ...rest) =>
          opened.has(fd) ? functions.fd_pread(fd, ...rest) : wasiOfErrno(EBADF),
        fd_pwrite: writer(functions, memory, opened, () => current),
        // The files are memory: there is no device to bring them to.
        fd_sync: (fd) => (opened.has(fd) ? WASI_SUCCESS : wasiOfErrno(EBADF)),
        fd_datasync: (fd) => (opened.has(fd) ? WASI_SUCCESS : wasiOfErrno(EBADF)),
      };
    },
    open(path, flags, scratch) {
      const known = absolute(path);
      if (removed.has(known)) {
        // It remembers that there was such a file, and answers EPERM.
        if (flags.create !== true) throw failure('open', path, ENOENT);
        put(current, known, new Uint8Array(0));
        removed.delete(known);
        const fd = openFile(bound(), opened, path, { ...flags, exclusive: false }, scratch);
        bound().fd_filestat_set_size(fd, 0n); // it remembers how long the other one was
        return fd;
      }
      return openFile(bound(), opened, path, flags, scratch);
    },
    size(fd, scratch) {
      if (!opened.has(fd)) throw failure('stat', `descriptor ${fd}`, EBADF);
      return sizeOf(bound(), fd, scratch);
    },
    close(fd) {
      opened.delete(fd);
      bound().fd_close(fd);
    },
    end() {
      // It is not collected: it would keep the engine's memory, gigabytes of addresses, for ever.
      latest?.free();
      latest = undefined;
      wasi = undefined;
      opened.clear();
    },
    put: (path, bytes) => put(current, absolute(path), bytes),
    truncate(fd, bytes) {
      const target = opened.get(fd);
      if (target === undefined || !target.writes) {
        throw failure('truncate', `descriptor ${fd}`, EBADF);
      }
      resize(current, absolute(target.path), bytes);
      bound().fd_filestat_set_size(fd, BigInt(bytes));
    },
    unlink(path) {
      try {
        current.removeFile(absolute(path));
        removed.add(absolute(path));
      } catch {
        throw failure('remove', path, ENOENT);
      }
    },
    bytesOf: (path) => bytesOf(current, absolute(path)),
  };
}

function absolute(path: string): string {
  return `/${path.replace(/^\/+/, '')}`;
}

function put(store: Files, path: string, bytes: Uint8Array): void {
  const folders = path.split('/').slice(1, -1);
  folders.forEach((name, depth) => {
    const above = `/${folders.slice(0, depth).join('/')}`;
    const folder = above === '/' ? `/${name}` : `${above}/${name}`;
    const known = store.readDir(above) as { readonly path: string }[];
    if (!known.some((entry) => entry.path === folder)) store.createDir(folder);
  });
  const file = store.open(path, { create: true, read: true, write: true });
  try {
    file.write(bytes.slice());
    file.flush();
  } finally {
    file.free();
  }
}

function bytesOf(store: Files, path: string): Uint8Array {
  const file = store.open(path, { read: true });
  try {
    file.seek(0);
    return file.read();
  } finally {
    file.free();
  }
}

/**
 * The package learns the memory from an instance that exports it. The core imports its memory and
 * exports none, so it is shown a module that does nothing else.
 */
function start(wasi: WASI, memory: WebAssembly.Memory): WasiFunctions {
  const module = new WebAssembly.Module(memoryModule(!(memory.buffer instanceof ArrayBuffer)));
  const imports = wasi.getImports(module) as { wasi_snapshot_preview1: WasiFunctions };
  const functions = imports.wasi_snapshot_preview1;
  const instance = new WebAssembly.Instance(module, {
    env: { memory },
    wasi_snapshot_preview1: { fd_close: functions.fd_close },
  });
  wasi.instantiate(instance);
  return functions;
}

/** A module that imports `env.memory` and one function of WASI, and exports the memory. */
function memoryModule(shared: boolean): Uint8Array<ArrayBuffer> {
  const text = (words: string): number[] => [words.length, ...new TextEncoder().encode(words)];
  const section = (id: number, content: readonly number[]): number[] => [
    id,
    content.length,
    ...content,
  ];
  const limits = shared ? [3, 0, 0x80, 0x80, 4] : [0, 0]; // up to 65536 pages; any number
  const takesAndGivesI32 = [0x60, 1, 0x7f, 1, 0x7f];
  return Uint8Array.from([
    ...[0, ...new TextEncoder().encode('asm'), 1, 0, 0, 0],
    ...section(1, [1, ...takesAndGivesI32]),
    ...section(2, [
      2,
      ...[...text('wasi_snapshot_preview1'), ...text('fd_close'), 0, 0],
      ...[...text('env'), ...text('memory'), 2, ...limits],
    ]),
    ...section(7, [1, ...text('memory'), 2, 0]),
  ]);
}

/** `fd_pwrite` that overwrites: what follows is kept, cut off, and put behind what is written. */
function writer(
  wasi: WasiFunctions,
  memory: WebAssembly.Memory,
  opened: ReadonlyMap<number, OpenFile>,
  store: () => Files,
): WasiIo['fd_pwrite'] {
  return (fd, iovs, count, offset, written) => {
    const target = opened.get(fd);
    if (target === undefined || !target.writes) return wasiOfErrno(EBADF);
    try {
      const data = gather(memory, iovs, count);
      const size = overwrite(store(), absolute(target.path), data, Number(offset));
      const errno = wasi.fd_filestat_set_size(fd, BigInt(size));
      if (errno !== WASI_SUCCESS) return errno;
      new DataView(memory.buffer).setUint32(written, data.length, true);
      return WASI_SUCCESS;
    } catch {
      return wasiOfErrno(EIO);
    }
  };
}

function gather(memory: WebAssembly.Memory, iovs: number, count: number): Uint8Array {
  const view = new DataView(memory.buffer);
  const pieces = Array.from({ length: count }, (_, i) => {
    const at = view.getUint32(iovs + 8 * i, true);
    return new Uint8Array(memory.buffer, at, view.getUint32(iovs + 8 * i + 4, true));
  });
  return concatenate(pieces);
}

function concatenate(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** Writes at `offset`, with zeros before it where the file ends earlier. The new size. */
function overwrite(store: Files, path: string, data: Uint8Array, offset: number): number {
  const file = store.open(path, { read: true, write: true });
  try {
    const end = offset + data.length;
    let rest: Uint8Array = new Uint8Array(0);
    if (end < Number(file.size())) {
      file.seek(end);
      rest = file.read();
    }
    file.setLength(BigInt(offset));
    file.seek(offset);
    file.write(concatenate([data, rest]));
    file.flush();
    return end + rest.length;
  } finally {
    file.free();
  }
}

/** Cuts a file or lengthens it with zeros. */
function resize(store: Files, path: string, bytes: number): void {
  const file = store.open(path, { read: true, write: true });
  try {
    file.setLength(BigInt(bytes));
    file.flush();
  } finally {
    file.free();
  }
}

function openFile(
  wasi: WasiFunctions,
  opened: Map<number, OpenFile>,
  path: string,
  flags: OpenFlags,
  scratch: Scratch,
): number {
  const { write = false, create = false, exclusive = false, direct = false } = flags;
  if (direct) {
    throw new AioUnavailableError({
      code: 'PGAIO_NO_DIRECT',
      message: `could not open file "${path}": WASI has no O_DIRECT`,
      hint: 'Open it without `direct`.',
    });
  }
  const encoded = new TextEncoder().encode(path.replace(/^\/+/, ''));
  if (encoded.length > scratch.bytes - STAT_BYTES) throw failure('open', path, ENAMETOOLONG);
  const pathAt = scratch.at + STAT_BYTES;
  new Uint8Array(scratch.memory.buffer).set(encoded, pathAt);
  const writes = write || create;
  const rights = RIGHTS_READ | (writes ? RIGHTS_WRITE : 0n);
  const wasiErrno = wasi.path_open(
    ROOT_FD,
    FOLLOW_LINKS,
    pathAt,
    encoded.length,
    create ? O_CREAT | (exclusive ? O_EXCL : 0) : 0,
    rights,
    0n,
    0,
    scratch.at,
  );
  if (wasiErrno !== WASI_SUCCESS) throw failure('open', path, errnoOfWasi(wasiErrno));
  const fd = new DataView(scratch.memory.buffer).getUint32(scratch.at, true);
  statOf(wasi, fd, scratch);
  const stat = new Uint8Array(scratch.memory.buffer, scratch.at, STAT_BYTES);
  if (stat[STAT_FILETYPE_OFFSET] === FILETYPE_DIRECTORY) {
    wasi.fd_close(fd);
    throw failure('open', path, EISDIR);
  }
  opened.set(fd, { path, writes });
  return fd;
}

/** Leaves the file's state in the scratch memory. */
function statOf(wasi: WasiFunctions, fd: number, scratch: Scratch): void {
  const wasiErrno = wasi.fd_filestat_get(fd, scratch.at);
  if (wasiErrno !== WASI_SUCCESS) {
    throw failure('stat', `descriptor ${fd}`, errnoOfWasi(wasiErrno));
  }
}

function sizeOf(wasi: WasiFunctions, fd: number, scratch: Scratch): number {
  statOf(wasi, fd, scratch);
  const view = new DataView(scratch.memory.buffer);
  return Number(view.getBigUint64(scratch.at + STAT_SIZE_OFFSET, true));
}
