/** A buffer of the pool that somebody has pinned: its page stays where it is until it is let go. */
import type { CoreInstance } from './core.ts';
import * as layout from './layout.ts';
import { PageView } from './page-view.ts';

/** What buffers take from their engine. */
export interface PinOwner {
  readonly core: CoreInstance;
  /** Tries until `attempt` no longer answers BLOCKED. */
  unblock(attempt: () => number): Promise<number>;
}

const FIELDS = layout.BufferDesc.fields;
const GIVEN_BACK = 'this buffer is not pinned any more';

/**
 * A pinned buffer. Pages of a stream are pinned until the next one is asked for; `keep()` makes
 * the pin yours, to be given back with `using` or `dispose`. The bytes are shared memory: other
 * backends may change them, unless you hold the content lock.
 */
export class PinnedBuffer<Data = undefined> implements Disposable {
  /** What the source of a stream gave with this block. */
  readonly data: Data;
  readonly #pins: PinOwner;
  #number: number;
  /** Index (of u32) where the stream notes that it has to let go; 0 when the pin is the user's. */
  #noted: number;
  #page: PageView | undefined;

  /** Use `relation.read()` or `relation.readBlock()`. */
  constructor(pins: PinOwner, number: number, noted: number, data: Data) {
    this.#pins = pins;
    this.#number = number;
    this.#noted = noted;
    this.data = data;
  }

  /** Number of the buffer: from 1 a shared one, below 0 a local one. */
  get number(): number {
    if (this.#number === 0) throw new ReferenceError(GIVEN_BACK);
    return this.#number;
  }
  /** Whether it is pinned still. */
  get isPinned(): boolean {
    return this.#number !== 0;
  }

  #call(call: (buffer: number) => number): number {
    return this.#pins.core.check(call(this.number));
  }
  #descriptor(field: keyof typeof FIELDS): number {
    const { core } = this.#pins;
    const at = this.#call(core.exports.GetBufferDescriptor) + FIELDS[field].offset;
    return core.u32[at >>> 2] ?? 0;
  }

  /** Block of the relation, counted over all its segments. */
  get block(): number {
    return this.#descriptor('blockNum');
  }
  /** Whether the page has been changed and not written yet. */
  get isDirty(): boolean {
    return (this.#descriptor('buf_state') & layout.BM_DIRTY) !== 0;
  }
  /** Bytes from the start of the memory to the page. */
  get address(): number {
    return this.#call(this.#pins.core.exports.BufferGetPage);
  }
  /** The page's bytes, in place. */
  get bytes(): Uint8Array {
    const at = this.address;
    return this.#pins.core.u8.subarray(at, at + this.#pins.core.blockSize);
  }
  /** The page by its parts. */
  get page(): PageView {
    if (this.#number === 0) throw new ReferenceError(GIVEN_BACK);
    this.#page ??= new PageView(this.bytes);
    return this.#page;
  }

  /** Makes the pin yours: it outlives the stream's next page, until you dispose of it. */
  keep(): this {
    if (this.#number === 0) throw new ReferenceError(GIVEN_BACK);
    if (this.#noted !== 0) this.#pins.core.i32[this.#noted] = 0;
    this.#noted = 0;
    return this;
  }

  /**
   * Changes the page: takes its content lock exclusively, runs `change`, which must not await,
   * marks the buffer dirty and gives the lock back. A promise only if another backend has the lock.
   * It is written when the pool needs the room, or by `aio.buffers.flush()`, with its checksum.
   */
  modify(change: (bytes: Uint8Array, page: PageView) => void): void | Promise<void> {
    const { core } = this.#pins;
    const attempt = (): number =>
      this.#call((buffer) => core.exports.LockBuffer(buffer, layout.BUFFER_LOCK_EXCLUSIVE, 1));
    const locked = (): void => {
      try {
        change(this.bytes, this.page);
        this.#call(core.exports.MarkBufferDirty);
      } finally {
        this.#unlock();
      }
    };
    if (attempt() === 0) return locked();
    return this.#pins.unblock(attempt).then(locked);
  }

  /** Runs `look` under the shared content lock: nobody changes the page meanwhile. */
  look<Value>(look: (bytes: Uint8Array, page: PageView) => Value): Value | Promise<Value> {
    const { core } = this.#pins;
    const attempt = (): number =>
      this.#call((buffer) => core.exports.LockBuffer(buffer, layout.BUFFER_LOCK_SHARE, 1));
    const locked = (): Value => {
      try {
        return look(this.bytes, this.page);
      } finally {
        this.#unlock();
      }
    };
    return attempt() === 0 ? locked() : this.#pins.unblock(attempt).then(locked);
  }
  #unlock(): void {
    const { exports } = this.#pins.core;
    this.#call((buffer) => exports.LockBuffer(buffer, layout.BUFFER_LOCK_UNLOCK, 0));
  }

  /** For the stream: the pin is let go, unless it was kept. */
  expire(): void {
    if (this.#noted !== 0) this.#number = 0;
  }

  /** Lets the pin go. A second time nothing happens. */
  [Symbol.dispose](): void {
    const { core } = this.#pins;
    if (this.#number === 0 || core.closed) return;
    this.#call(core.exports.ReleaseBuffer);
    if (this.#noted !== 0) core.i32[this.#noted] = 0;
    this.#number = 0;
  }
}
