/** Files opened through the engine. */
import type { PendingIo } from './completions.ts';
import { AioUsageError } from './errors.ts';
import type { IoBuffer } from './frames.ts';
import type { IoHandle } from './handle.ts';
import type { Alignment } from './host.ts';
import type { PagesOf } from './target.ts';

/** What a file asks of the engine it was opened by. */
export interface FileOwner {
  close(file: AioFile): void;
  size(file: AioFile): number;
  closeAsync(file: AioFile): Promise<void>;
  /** An I/O on the file with callback FILE; `start` makes it what it is to be. */
  plainIo(file: AioFile, start: (handle: IoHandle) => PendingIo): PendingIo;
  /** The same for a transfer of one buffer, whatever it takes to make that cheap. */
  transfer(file: AioFile, writes: boolean, buffer: IoBuffer, offset: number): PendingIo;
  pages(file: AioFile, buffer: IoBuffer, offset: number, of: PagesOf): PendingIo;
  skim(file: AioFile, buffer: IoBuffer, offset: number, of: PagesOf, blocks: number): number;
}

/** An open file. Closing submits what is staged and waits where the method needs the descriptor. */
export class AioFile implements Disposable {
  /** Number of the file while it is open, over all backends. */
  readonly number: number;
  readonly path: string;
  /** Whether other threads can open it: it has a place in the table of files. */
  readonly reopenable: boolean;
  /** What addresses, lengths and offsets must be multiples of; undefined unless opened `direct`. */
  readonly alignment: Alignment | undefined;
  readonly #owner: FileOwner;
  readonly #fd: number;
  #closed = false;

  /** Use `aio.open(path)`. */
  constructor(
    owner: FileOwner,
    fd: number,
    of: Pick<AioFile, 'path' | 'number' | 'reopenable' | 'alignment'>,
  ) {
    this.#owner = owner;
    this.#fd = fd;
    this.number = of.number;
    this.path = of.path;
    this.reopenable = of.reopenable;
    this.alignment = of.alignment;
  }

  /** Descriptor as the provider gave it. */
  get fd(): number {
    this.requireOpen();
    return this.#fd;
  }
  requireOpen(): void {
    if (this.#closed) throw new ReferenceError(`file "${this.path}" is closed`);
  }

  /** Refuses what O_DIRECT would: the kernel says no more than EINVAL, and some devices less. */
  requireAligned(buffer: IoBuffer, offset: number): void {
    if (this.alignment === undefined) return;
    const { memory, offset: step } = this.alignment;
    const { address, byteLength } = buffer;
    if (address % memory !== 0) throw this.#misaligned('address', address, memory);
    if (byteLength % step !== 0) throw this.#misaligned('length', byteLength, step);
    if (offset % step !== 0) throw this.#misaligned('offset', offset, step);
  }
  #misaligned(what: string, value: number, needed: number): AioUsageError {
    return new AioUsageError({
      code: 'PGAIO_MISALIGNED',
      message: `${what} ${value} is not a multiple of ${needed}`,
      sqlstate: '22023',
      detail: `File "${this.path}" was opened with direct: true.`,
      hint: 'Page frames are aligned to 4096 bytes; open the file without `direct` for the rest.',
    });
  }

  /** Bytes of the file now. */
  size(): number {
    return this.#owner.size(this);
  }

  /**
   * Reads from `offset` (bytes) on: one I/O with target FILE, `result` are bytes. If no handle is
   * idle it starts as soon as one is, in the order of the calls; the event loop is not blocked.
   */
  read(buffers: IoBuffer | readonly IoBuffer[], offset: number): PendingIo {
    if ('address' in buffers) return this.#owner.transfer(this, false, buffers, offset);
    return this.#owner.plainIo(this, (handle) => handle.startReadv(this, buffers, offset));
  }
  /** Writes from `offset` (bytes) on. */
  write(buffers: IoBuffer | readonly IoBuffer[], offset: number): PendingIo {
    if ('address' in buffers) return this.#owner.transfer(this, true, buffers, offset);
    return this.#owner.plainIo(this, (handle) => handle.startWritev(this, buffers, offset));
  }
  /**
   * Reads pages of a relation and looks at each as it arrives: one I/O with target SMGR and the
   * callbacks MD_READV and PAGE_READV, whose `result` is in blocks and has a verdict for each. The
   * buffer holds whole blocks; the first is block `of.block` of the relation's fork.
   */
  readPages(buffer: IoBuffer, offset: number, of: PagesOf): PendingIo {
    return this.#owner.pages(this, buffer, offset, of);
  }
  /**
   * Passes over pages that are in order: reads `blocks` of them as `readPages` does, through a
   * buffer that holds some, one I/O after the other, for as long as all are valid and none is new.
   * How many; what comes after them is for `readPages`, which says what it is. Executed here and
   * now, whatever the method, so that it blocks this thread; a promise for each I/O is saved.
   */
  skimPages(buffer: IoBuffer, offset: number, of: PagesOf, blocks: number): number {
    return this.#owner.skim(this, buffer, offset, of, blocks);
  }
  /** Brings data and metadata to the device. */
  fsync(): PendingIo {
    return this.#owner.plainIo(this, (handle) => handle.startFsync(this));
  }
  /** Brings the data to the device. */
  fdatasync(): PendingIo {
    return this.#owner.plainIo(this, (handle) => handle.startFdatasync(this));
  }
  /** Starts writing `bytes` from `offset` back to the device. */
  flushRange(offset: number, bytes: number): PendingIo {
    return this.#owner.plainIo(this, (handle) => handle.startFlushRange(this, offset, bytes));
  }

  close(): void {
    if (this.#closed) return;
    this.#owner.close(this);
  }
  /** For the engine: the descriptor is about to be closed, once, whatever becomes of it. */
  forget(): void {
    this.#closed = true;
  }
  [Symbol.dispose](): void {
    this.close();
  }
  /** Closes when the I/Os in flight on it have ended, without blocking the event loop. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    await this.#owner.closeAsync(this);
    this.close();
  }
}

/**
 * The files a backend has open. Those in the table of files are kept by number, a small one that is
 * used again: a Set makes a new table every few files that come and go, which the one before keeps
 * alive, files and all, until the whole heap is collected.
 */
export class OpenFiles {
  readonly #byNumber: (AioFile | undefined)[] = [];
  readonly #others = new Set<AioFile>();

  add(file: AioFile): void {
    if (file.reopenable) this.#byNumber[file.number] = file;
    else this.#others.add(file);
  }
  delete(file: AioFile): void {
    if (file.reopenable) this.#byNumber[file.number] = undefined;
    else this.#others.delete(file);
  }
  *[Symbol.iterator](): Generator<AioFile, void, undefined> {
    for (const file of this.#byNumber) if (file !== undefined) yield file;
    yield* this.#others;
  }
}
