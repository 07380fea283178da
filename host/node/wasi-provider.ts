/**
 * I/O through node:wasi: one directory and nothing else can be reached. Paths are relative to it.
 * The engine's iovecs are WASI's, so a read goes from the core to the system call without a detour
 * through JavaScript objects.
 */
import { realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';
import type { WASI } from 'node:wasi';
import { errnoOfWasi, sqlstateOfErrno, strerror } from '../../bindings/errno.ts';
import { AioIoError, AioUnavailableError } from '../../bindings/errors.ts';
import type { IoProvider, OpenFlags, Scratch, WasiIo } from '../../bindings/host.ts';
import { openError, withSpec } from './direct-provider.ts';

/** Of the WASI functions, those used here; the sizes are WASI's. */
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
  path_unlink_file(dirFd: number, path: number, pathBytes: number): number;
  fd_close(fd: number): number;
}

/** The first preopened directory. */
const ROOT_FD = 3;
const FOLLOW_LINKS = 1;
const O_CREAT = 1;
const O_EXCL = 4;
/** fd_datasync, fd_read, fd_seek, fd_sync, fd_advise: what reading needs; fd_write for writing. */
const RIGHTS_READ = 0x97n;
const RIGHTS_WRITE = 0x40n;
const RIGHT_FILESTAT_GET = 1n << 21n;
const RIGHT_FILESTAT_SET_SIZE = 1n << 22n;
const STAT_SIZE_OFFSET = 32;
const STAT_BYTES = 64;
const WASI_SUCCESS = 0;

/**
 * node:wasi follows a link in the middle of a path wherever it leads, and cuts a path at a NUL. So
 * the directory a path ends in is looked up first: it must lie in the root. (Somebody who changes
 * links at the same moment can still get past; node:wasi promises no more.)
 */
function checkInside(root: string, path: string): void {
  if (path === '') throw failure('open', path, ENOENT);
  if (path.includes('\0')) throw failure('open', path, EINVAL);
  let top: string;
  let folder: string;
  try {
    top = realpathSync(root);
    folder = realpathSync(dirname(join(root, path)));
  } catch (error) {
    throw openError(path, error);
  }
  const inside = folder === top || folder.startsWith(top === sep ? sep : top + sep);
  if (!inside) throw failure('open', path, EACCES);
}
const ENOENT = 2;
const EACCES = 13;
const EINVAL = 22;

/**
 * Files below `root`. One provider serves one instance: node:wasi binds to one memory.
 */
export function wasiProvider(root: string): IoProvider {
  let wasi: WasiFunctions | undefined;
  const bound = (): WasiFunctions => {
    if (wasi === undefined) throw new RangeError('the provider is not bound to a memory yet');
    return wasi;
  };
  const provider: IoProvider = {
    name: 'wasi',
    sharedDescriptors: false,
    bind(memory) {
      wasi = startWasi(root, memory);
      return wasi;
    },
    open: (path, flags, scratch) => {
      checkInside(root, path);
      return openFile(bound(), path, flags, scratch);
    },
    size: (fd, scratch) => fileSize(bound(), fd, scratch),
    close: (fd) => void bound().fd_close(fd),
    truncate(fd, bytes) {
      const wasiErrno = bound().fd_filestat_set_size(fd, BigInt(bytes));
      if (wasiErrno !== WASI_SUCCESS) {
        throw failure('truncate', `descriptor ${fd}`, errnoOfWasi(wasiErrno));
      }
    },
    unlink(path, scratch) {
      checkInside(root, path);
      const { at, bytes } = putPath(path, scratch);
      const wasiErrno = bound().path_unlink_file(ROOT_FD, at, bytes);
      if (wasiErrno !== WASI_SUCCESS) throw failure('remove', path, errnoOfWasi(wasiErrno));
    },
    end: () => void bound().fd_close(ROOT_FD),
  };
  return withSpec(provider, { name: 'wasi', root });
}

function startWasi(root: string, memory: WebAssembly.Memory): WasiFunctions {
  const { WASI } = requireWasi();
  let wasi: WASI;
  try {
    wasi = new WASI({ version: 'preview1', preopens: { '/': root }, returnOnExit: true });
  } catch (cause) {
    throw new AioUnavailableError({
      code: 'PGAIO_WASI_ROOT',
      message: `could not open directory "${root}" for WASI`,
      hint: 'Give a directory that exists and can be read as `root`.',
      cause,
    });
  }
  // It only looks for the memory; the core needs no start from WASI.
  wasi.initialize({ exports: { memory } });
  return wasi.wasiImport as unknown as WasiFunctions;
}

/**
 * node:wasi warns that it is experimental when it is first loaded. Its users here did not ask for
 * it by name, so that one warning is kept from them; all others pass.
 */
function requireWasi(): { readonly WASI: typeof WASI } {
  const emitWarning = process.emitWarning;
  process.emitWarning = ((warning: string | Error, ...rest: never[]) => {
    if (!String(warning).includes('WASI')) Reflect.apply(emitWarning, process, [warning, ...rest]);
  }) as typeof process.emitWarning;
  try {
    return createRequire(import.meta.url)('node:wasi') as { WASI: typeof WASI };
  } finally {
    process.emitWarning = emitWarning;
  }
}

function openFile(wasi: WasiFunctions, path: string, flags: OpenFlags, scratch: Scratch): number {
  const { write = false, create = false, exclusive = false, direct = false } = flags;
  if (direct) {
    throw new AioUnavailableError({
      code: 'PGAIO_NO_DIRECT',
      message: `could not open file "${path}": WASI has no O_DIRECT`,
      hint: 'Use the provider `direct`, or open it without `direct`.',
    });
  }
  const encoded = putPath(path, scratch);
  const writes = write || create;
  const changing = RIGHTS_WRITE | RIGHT_FILESTAT_SET_SIZE;
  const rights = RIGHTS_READ | RIGHT_FILESTAT_GET | (writes ? changing : 0n);
  const wasiErrno = wasi.path_open(
    ROOT_FD,
    FOLLOW_LINKS,
    encoded.at,
    encoded.bytes,
    create ? O_CREAT | (exclusive ? O_EXCL : 0) : 0,
    rights,
    0n,
    0,
    scratch.at,
  );
  if (wasiErrno !== WASI_SUCCESS) throw failure('open', path, errnoOfWasi(wasiErrno));
  return new DataView(scratch.memory.buffer).getUint32(scratch.at, true);
}
const ENAMETOOLONG = 36;

/** A path where WASI can read it, behind the place for what it answers. */
function putPath(path: string, scratch: Scratch): { readonly at: number; readonly bytes: number } {
  const encoded = new TextEncoder().encode(path.replace(/^\/+/, ''));
  if (encoded.length > scratch.bytes - STAT_BYTES) throw failure('open', path, ENAMETOOLONG);
  const at = scratch.at + STAT_BYTES;
  new Uint8Array(scratch.memory.buffer).set(encoded, at);
  return { at, bytes: encoded.length };
}

function fileSize(wasi: WasiFunctions, fd: number, scratch: Scratch): number {
  const wasiErrno = wasi.fd_filestat_get(fd, scratch.at);
  if (wasiErrno !== WASI_SUCCESS) {
    throw failure('stat', `descriptor ${fd}`, errnoOfWasi(wasiErrno));
  }
  const view = new DataView(scratch.memory.buffer);
  return Number(view.getBigUint64(scratch.at + STAT_SIZE_OFFSET, true));
}

function failure(
  verb: 'open' | 'stat' | 'truncate' | 'remove',
  path: string,
  errno: number,
): AioIoError {
  return new AioIoError({
    code: verb === 'open' ? 'PGAIO_OPEN' : 'PGAIO_STAT',
    message: `could not ${verb} file "${path}": ${strerror(errno)}`,
    sqlstate: sqlstateOfErrno(errno),
    errno,
    path,
  });
}
