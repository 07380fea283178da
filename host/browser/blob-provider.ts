/**
 * Files the person picked or dropped, for reading. A worker reads them with FileReaderSync. The
 * main thread of a page has nothing for it but a synchronous request of a blob URL, which is there
 * for the rare I/O that I/O workers leave to their issuer; method `host` with a BlobDevice, or
 * method `worker`, are for everything else.
 */
import { wasiOfErrno } from '../../bindings/errno.ts';
import { AioUnavailableError } from '../../bindings/errors.ts';
import type { IoProvider, OpenFlags } from '../../bindings/host.ts';
import { failure } from './failure.ts';
import { iovecViews, lengthOf, scatter } from './transfer.ts';

/** A provider that also gives what lies behind a descriptor. */
export interface BlobProvider extends IoProvider {
  blobOf(fd: number): Blob | undefined;
}

const EBADF = 9;
const ENOENT = 2;
const EROFS = 30;
const WASI_SUCCESS = 0;

/** Descriptors of one thread mean nothing in another, so they need not be the same. */
export function blobProvider(files: Readonly<Record<string, Blob>>): BlobProvider {
  const opened = new Map<number, Blob>();
  let nextFd = 3;
  return {
    name: 'blob',
    sharedDescriptors: false,
    spec: { name: 'blob', files },
    bind: (memory) => ({
      fd_pread(fd, iovs, count, offset, moved) {
        const blob = opened.get(fd);
        if (blob === undefined) return wasiOfErrno(EBADF);
        const views = iovecViews(memory, iovs, count);
        const from = Number(offset);
        const bytes = readSync(blob.slice(from, from + lengthOf(views)));
        scatter(views, bytes);
        new DataView(memory.buffer).setUint32(moved, bytes.length, true);
        return WASI_SUCCESS;
      },
      fd_pwrite: () => wasiOfErrno(EBADF),
      fd_sync: (fd) => (opened.has(fd) ? WASI_SUCCESS : wasiOfErrno(EBADF)),
      fd_datasync: (fd) => (opened.has(fd) ? WASI_SUCCESS : wasiOfErrno(EBADF)),
    }),
    open(path, flags) {
      const blob = blobFor(files, path, flags);
      opened.set(nextFd, blob);
      return nextFd++;
    },
    size(fd) {
      const blob = opened.get(fd);
      if (blob === undefined) throw failure('stat', `descriptor ${fd}`, EBADF);
      return blob.size;
    },
    close: (fd) => void opened.delete(fd),
    blobOf: (fd) => opened.get(fd),
  };
}

function blobFor(files: Readonly<Record<string, Blob>>, path: string, flags: OpenFlags): Blob {
  if (flags.direct === true) {
    throw new AioUnavailableError({
      code: 'PGAIO_NO_DIRECT',
      message: `could not open file "${path}": a browser has no O_DIRECT`,
      hint: 'Open it without `direct`.',
    });
  }
  if (flags.write === true || flags.create === true) throw failure('open', path, EROFS);
  const known = Object.hasOwn(files, path) ? files[path] : undefined;
  if (known === undefined) throw failure('open', path, ENOENT);
  return known;
}

function readSync(blob: Blob): Uint8Array {
  if (typeof FileReaderSync === 'function') {
    return new Uint8Array(new FileReaderSync().readAsArrayBuffer(blob));
  }
  const url = URL.createObjectURL(blob);
  try {
    const request = new XMLHttpRequest();
    request.open('GET', url, false);
    // A page may not ask for an ArrayBuffer here; in this encoding each byte is a character.
    request.overrideMimeType('text/plain; charset=x-user-defined');
    request.send();
    const { responseText: text } = request;
    return Uint8Array.from({ length: text.length }, (_, i) => text.charCodeAt(i) & 0xff);
  } finally {
    URL.revokeObjectURL(url);
  }
}
