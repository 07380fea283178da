/**
 * Files of the Origin Private File System, through synchronous access handles, which browsers have
 * in dedicated workers only. Getting a handle takes a promise, and opening a file of the engine
 * does not wait: so a file is prepared first (`Aio.openAsync` does both). Handles are taken in
 * mode `readwrite-unsafe`, so that several threads can have the same file, as descriptors can.
 */
import { wasiOfErrno } from '../../bindings/errno.ts';
import { AioUnavailableError } from '../../bindings/errors.ts';
import type { IoProvider, OpenFlags } from '../../bindings/host.ts';
import { failure } from './failure.ts';
import { iovecViews } from './transfer.ts';

/** Of FileSystemSyncAccessHandle, what is used; TypeScript has it among workers' types only. */
interface AccessHandle {
  read(buffer: Uint8Array, options: { readonly at: number }): number;
  write(buffer: Uint8Array, options: { readonly at: number }): number;
  flush(): void;
  getSize(): number;
  truncate(bytes: number): void;
  close(): void;
}
type Access = (options: { readonly mode: string }) => Promise<AccessHandle>;

/** A provider whose files must be prepared before they are opened. */
export interface PreparingProvider extends IoProvider {
  /** After it `open` of the same path will do, once or more often. */
  prepare(path: string, flags: OpenFlags): Promise<void>;
}

interface Prepared {
  readonly handle: AccessHandle;
  /** Descriptors that stand for it, and openings still to come. */
  uses: number;
  promised: number;
}
interface Opened {
  readonly path: string;
  readonly handle: AccessHandle;
  readonly writes: boolean;
}

const EBADF = 9;
const EBUSY = 16;
const EIO = 5;
const EISDIR = 21;
const ENOENT = 2;
const WASI_SUCCESS = 0;
/** What the browser says, as an errno. */
const ERRNOS: Readonly<Record<string, number>> = {
  NotFoundError: ENOENT,
  TypeMismatchError: EISDIR,
  TypeError: ENOENT, // a name it does not take
  NoModificationAllowedError: EBUSY,
};

/** Below folder `root` of the origin's file system; `''` is its top. */
export function opfsProvider(root = ''): PreparingProvider {
  const prepared = new Map<string, Prepared>();
  const opened = new Map<number, Opened>();
  let nextFd = 3;
  const syncOf = (fd: number): number => {
    const file = opened.get(fd);
    if (file === undefined) return wasiOfErrno(EBADF);
    file.handle.flush();
    return WASI_SUCCESS;
  };
  return {
    name: 'opfs',
    sharedDescriptors: false,
    spec: { name: 'opfs', root },
    bind: (memory) => ({
      fd_pread: mover(memory, opened, 'read'),
      fd_pwrite: mover(memory, opened, 'write'),
      fd_sync: syncOf,
      fd_datasync: syncOf,
    }),
    async prepare(path, flags) {
      const known = prepared.get(path);
      if (known !== undefined) {
        known.promised++;
        return;
      }
      const handle = await accessHandle(root, path, flags.create === true);
      const raced = prepared.get(path);
      if (raced === undefined) prepared.set(path, { handle, uses: 0, promised: 1 });
      else {
        handle.close();
        raced.promised++;
      }
    },
    open(path, flags) {
      const file = prepared.get(path);
      if (file === undefined) throw notPrepared(path);
      file.promised = Math.max(0, file.promised - 1);
      file.uses++;
      const writes = flags.write === true || flags.create === true;
      opened.set(nextFd, { path, handle: file.handle, writes });
      return nextFd++;
    },
    size(fd) {
      const file = opened.get(fd);
      if (file === undefined) throw failure('stat', `descriptor ${fd}`, EBADF);
      return file.handle.getSize();
    },
    truncate(fd, bytes) {
      const file = opened.get(fd);
      if (file === undefined || !file.writes) throw failure('truncate', `descriptor ${fd}`, EBADF);
      file.handle.truncate(bytes);
    },
    close(fd) {
      const path = opened.get(fd)?.path ?? '';
      opened.delete(fd);
      const file = prepared.get(path);
      if (file === undefined || --file.uses > 0 || file.promised > 0) return;
      prepared.delete(path);
      file.handle.close();
    },
    end() {
      for (const { handle } of prepared.values()) handle.close();
      prepared.clear();
      opened.clear();
    },
  };
}

/** A vectored transfer; what the browser throws is an I/O error. */
function mover(
  memory: WebAssembly.Memory,
  opened: ReadonlyMap<number, Opened>,
  verb: 'read' | 'write',
) {
  return (fd: number, iovs: number, count: number, offset: bigint, moved: number): number => {
    const file = opened.get(fd);
    if (file === undefined || (verb === 'write' && !file.writes)) return wasiOfErrno(EBADF);
    let done = 0;
    try {
      for (const view of iovecViews(memory, iovs, count)) {
        const bytes = file.handle[verb](view, { at: Number(offset) + done });
        done += bytes;
        if (bytes < view.length) break;
      }
    } catch {
      if (done === 0) return wasiOfErrno(EIO);
    }
    new DataView(memory.buffer).setUint32(moved, done, true);
    return WASI_SUCCESS;
  };
}

async function accessHandle(root: string, path: string, create: boolean): Promise<AccessHandle> {
  const names = `${root}/${path}`.split('/').filter((name) => name !== '');
  const last = names.pop() ?? '';
  try {
    let folder = await navigator.storage.getDirectory();
    for (const name of names) folder = await folder.getDirectoryHandle(name, { create });
    const file = await folder.getFileHandle(last, { create });
    const access = (file as { createSyncAccessHandle?: Access }).createSyncAccessHandle;
    if (access === undefined) throw notHere();
    return await access.call(file, { mode: 'readwrite-unsafe' });
  } catch (error) {
    if (error instanceof AioUnavailableError || !(error instanceof Error)) throw error;
    throw failure('open', path, ERRNOS[error.name] ?? EIO);
  }
}

function notHere(): AioUnavailableError {
  return new AioUnavailableError({
    code: 'PGAIO_NO_ACCESS_HANDLE',
    message: 'synchronous access handles are there in dedicated workers only',
    hint: 'Make the engine in a Worker.',
  });
}

function notPrepared(path: string): AioUnavailableError {
  return new AioUnavailableError({
    code: 'PGAIO_NOT_PREPARED',
    message: `file "${path}" must be prepared before it is opened`,
    hint: 'Await aio.openAsync(path) in place of aio.open(path).',
  });
}
