/** Files opened through the engine. */
import type { PendingIo } from './completions.ts';
import type { IoBuffer } from './frames.ts';

/** What a file asks of the engine it was opened by. */
export interface FileOwner {
  close(file: AioFile): void;
  size(file: AioFile): number;
  readFile(file: AioFile, buffers: readonly IoBuffer[], offset: number): PendingIo;
  writeFile(file: AioFile, buffers: readonly IoBuffer[], offset: number): PendingIo;
}

/** An open file. Closing submits what is staged and waits where the method needs the descriptor. */
export class AioFile implements Disposable {
  /** Number in the engine's table of files, never used again. */
  readonly number: number;
  readonly path: string;
  readonly #owner: FileOwner;
  readonly #fd: number;
  #closed = false;

  /** Use `aio.open(path)`. */
  constructor(owner: FileOwner, number: number, fd: number, path: string) {
    this.#owner = owner;
    this.number = number;
    this.#fd = fd;
    this.path = path;
  }

  /** Descriptor as the provider gave it. */
  get fd(): number {
    if (this.#closed) throw new ReferenceError(`file "${this.path}" is closed`);
    return this.#fd;
  }

  /** Bytes of the file now. */
  size(): number {
    return this.#owner.size(this);
  }

  /** Reads from `offset` (bytes) on: one I/O with target FILE. `result` are bytes. */
  read(buffers: IoBuffer | readonly IoBuffer[], offset: number): PendingIo {
    return this.#owner.readFile(this, 'address' in buffers ? [buffers] : buffers, offset);
  }

  /** Writes from `offset` (bytes) on. */
  write(buffers: IoBuffer | readonly IoBuffer[], offset: number): PendingIo {
    return this.#owner.writeFile(this, 'address' in buffers ? [buffers] : buffers, offset);
  }

  close(): void {
    if (this.#closed) return;
    this.#owner.close(this);
    this.#closed = true;
  }
  [Symbol.dispose](): void {
    this.close();
  }
}
