/**
 * Segments of relations, for the core: from numbers to paths, and from a provider's errors to
 * errnos. What is opened here the core closes, when it has too many.
 */
import { AioIoError } from './errors.ts';
import type { IoProvider, Scratch } from './host.ts';
import { FORK_NAMES, relationPath } from './target.ts';

const EIO = 5;
const EPERM = 1;
const EACCES = 13;
const EROFS = 30;
const ENOSYS = 38;
const IS_TEMP = 0x100;
/** What a file of the cluster's cannot be opened for writing with, and still be read. */
const READ_ONLY: ReadonlySet<number> = new Set([EPERM, EACCES, EROFS]);

export interface SegmentContext {
  readonly u32: Uint32Array;
  readonly provider: IoProvider;
  readonly scratch: Scratch;
  /** What precedes each path; '' for none. */
  readonly directory: string;
  readonly versionDirectory: string;
}

/** What the core's imports of that name do. */
export interface SegmentImports {
  segment_open(rel: number, procno: number, segment: number, create: number): number;
  segment_close(fd: number): number;
  segment_size(fd: number): number;
  segment_truncate(fd: number, bytes: number): number;
  segment_unlink(rel: number, procno: number, segment: number): number;
}

/** `path` below the data directory, as the provider takes it. */
export function belowDirectory(directory: string, path: string): string {
  if (directory === '') return path;
  return directory.endsWith('/') ? `${directory}${path}` : `${directory}/${path}`;
}

/** The imports over a provider. `onError` is told what was thrown. */
export function segmentImports(
  context: SegmentContext,
  onError: (error: unknown) => void,
): SegmentImports {
  const { u32, provider, scratch } = context;
  const failed = (error: unknown): number => {
    if (error instanceof AioIoError && error.errno > 0) return -error.errno;
    onError(error);
    return -EIO;
  };
  const tried = (act: () => number): number => {
    try {
      return act();
    } catch (error) {
      return failed(error);
    }
  };
  const path = (rel: number, procno: number, segment: number): string => {
    const [spcOid = 0, dbOid = 0, relNumber = 0, bits = 0] = u32.subarray(rel >>> 2, rel / 4 + 4);
    const temp = (bits & IS_TEMP) === 0 ? undefined : procno;
    const fork = FORK_NAMES[bits & 0xff] ?? 'main';
    const { directory, versionDirectory } = context;
    const base = relationPath({ spcOid, dbOid, relNumber }, fork, temp, versionDirectory);
    return belowDirectory(directory, segment === 0 ? base : `${base}.${segment}`);
  };
  return {
    segment_open(rel, procno, segment, create) {
      const at = path(rel >>> 0, procno, segment >>> 0);
      return tried(() => {
        try {
          const flags = { write: true, create: create !== 0, exclusive: create === 2 };
          return provider.open(at, flags, scratch);
        } catch (error) {
          const readable = error instanceof AioIoError && READ_ONLY.has(error.errno);
          if (!readable || create !== 0) throw error;
          return provider.open(at, {}, scratch);
        }
      });
    },
    segment_close: (fd) =>
      tried(() => {
        provider.close(fd);
        return 0;
      }),
    segment_size: (fd) => tried(() => provider.size(fd, scratch)),
    segment_truncate: (fd, bytes) =>
      tried(() => {
        if (provider.truncate === undefined) return -ENOSYS;
        provider.truncate(fd, bytes, scratch);
        return 0;
      }),
    segment_unlink: (rel, procno, segment) =>
      tried(() => {
        if (provider.unlink === undefined) return -ENOSYS;
        provider.unlink(path(rel >>> 0, procno, segment >>> 0), scratch);
        return 0;
      }),
  };
}
