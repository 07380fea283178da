/** Files opened through the engine. */
import type { PendingIo } from './completions.ts';
import type { IoBuffer } from './frames.ts';
import type { IoHandle } from './handle.ts';

/** What a file asks of the engine it was opened by. */
export interface FileOwner {
  close(file: AioFile): void;
  size(file: AioFile): number;
  closeAsync(file: AioFile): Promise<void>;
  /** An I/O on the file with callback FILE; `start` makes it what it is to be. */
  plainIo(file: AioFile, start: (handle: IoHandle) => PendingIo): PendingIo;
}

/** An open file. Closing submits what is staged and waits where the method needs the descriptor. */
export class AioFile implements Disposable {
  /** Number of the file while it is open, over all backends. */
  readonly number: number;
  readonly path: string;
  /** Whether other threads can open it: it has a place in the table of files. */
  readonly reopenable: boolean;
  readonly #owner: FileOwner;
  readonly #fd: number;
  #closed = false;

  /** Use `aio.open(path)`. */
  constructor(owner: FileOwner, fd: number, path: string, number: number, reopenable: boolean) {
    this.#owner = owner;
    this.number = number;
    this.#fd = fd;
    this.path = path;
    this.reopenable = reopenable;
  }

  /** Descriptor as the provider gave it. */
  get fd(): number {
    this.requireOpen();
    return this.#fd;
  }
  requireOpen(): void {
    if (this.#closed) throw new ReferenceError(`file "${this.path}" is closed`);
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
    return this.#owner.plainIo(this, (handle) => handle.startReadv(this, buffers, offset));
  }
  /** Writes from `offset` (bytes) on. */
  write(buffers: IoBuffer | readonly IoBuffer[], offset: number): PendingIo {
    return this.#owner.plainIo(this, (handle) => handle.startWritev(this, buffers, offset));
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
