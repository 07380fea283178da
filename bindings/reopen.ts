/**
 * Opening a target again in a thread that did not open it: what an I/O worker does where
 * descriptors belong to threads. The path comes from the table of files, or from the relation.
 */
import { AioIoError } from './errors.ts';
import type { IoProvider, OpenFlags, Scratch } from './host.ts';
import * as layout from './layout.ts';
import { belowDirectory } from './segments.ts';
import { readTargetData, relationPath } from './target.ts';

const FILE = layout.PgAioFile.fields;
const HANDLE = layout.PgAioHandle.fields;
const { FILE_WRITES, FILE_DIRECT } = layout;
/** Descriptors kept open per thread; the one used longest ago makes room. */
const KEPT = 64;
const EIO = 5;
const ENOENT = 2;

/** Flags of a file in the table of files. */
export function packFlags(flags: OpenFlags): number {
  const writes = flags.write === true || flags.create === true;
  return (writes ? FILE_WRITES : 0) | (flags.direct === true ? FILE_DIRECT : 0);
}

interface Kept {
  readonly fd: number;
  readonly serial: number;
}

export interface ReopenContext {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly provider: IoProvider;
  readonly scratch: Scratch;
  /** Offset of the table of files. */
  readonly files: number;
  readonly segmentBlocks: number;
  readonly versionDirectory: string;
  /** What precedes the paths of relations; '' for none. */
  readonly directory: string;
}

/** Descriptors this thread has opened for others' I/Os. */
export class Reopened {
  readonly #context: ReopenContext;
  /** By number in the table of files, the one used last at the end. */
  readonly #kept = new Map<number, Kept>();
  /** Opened for a relation by name: there is no telling when its file changes, so for one I/O. */
  #once: number | undefined;

  constructor(context: ReopenContext) {
    this.#context = context;
  }

  /** A descriptor for the target of the handle at `ioh`, or -errno: the true one. */
  open(ioh: number): number {
    try {
      const { u32 } = this.#context;
      const target = readTargetData(u32, (ioh + HANDLE.target_data.offset) >>> 2);
      const file = u32[(ioh + HANDLE.file.offset) >>> 2] ?? 0;
      if (file !== 0) return this.#openFile(file);
      if (target.target === layout.PGAIO_TID_FILE) return this.#openFile(target.locator.spcOid);
      return this.#openRelation(target, u32[(ioh + HANDLE.op.offset) >>> 2] ?? 0);
    } catch (error) {
      return error instanceof AioIoError && error.errno > 0 ? -error.errno : -EIO;
    }
  }

  #openFile(file: number): number {
    const { u8, u32, files } = this.#context;
    const at = files + (file - 1) * layout.FILE_BYTES;
    if (u32[(at + FILE.in_use.offset) >>> 2] !== 1) return -ENOENT;
    const serial = u32[(at + FILE.serial.offset) >>> 2] ?? 0;
    const known = this.#kept.get(file);
    this.#kept.delete(file);
    if (known?.serial === serial) {
      this.#kept.set(file, known);
      return known.fd;
    }
    if (known !== undefined) this.#context.provider.close(known.fd);
    const bytes = u32[(at + FILE.path_bytes.offset) >>> 2] ?? 0;
    const from = at + FILE.path.offset;
    const path = new TextDecoder().decode(u8.slice(from, from + bytes));
    const flags = u32[(at + FILE.flags.offset) >>> 2] ?? 0;
    const fd = this.#open(path, (flags & FILE_WRITES) !== 0, (flags & FILE_DIRECT) !== 0);
    this.#makeRoom();
    this.#kept.set(file, { fd, serial });
    return fd;
  }

  #openRelation(target: ReturnType<typeof readTargetData>, op: number): number {
    const { segmentBlocks, versionDirectory, directory } = this.#context;
    if (this.#once !== undefined) this.#context.provider.close(this.#once);
    this.#once = undefined;
    const base = relationPath(target.locator, target.fork, undefined, versionDirectory);
    const segment = Math.floor(target.blockNum / segmentBlocks);
    const path = belowDirectory(directory, segment === 0 ? base : `${base}.${segment}`);
    this.#once = this.#open(path, ((op >>> 8) & 0xff) !== layout.PGAIO_OP_READV, false);
    return this.#once;
  }

  #open(path: string, write: boolean, direct: boolean): number {
    return this.#context.provider.open(path, { write, direct }, this.#context.scratch);
  }

  #makeRoom(): void {
    for (const [file, { fd }] of this.#kept) {
      if (this.#kept.size < KEPT) return;
      this.#kept.delete(file);
      this.#context.provider.close(fd);
    }
  }
}
