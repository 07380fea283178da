/** Page frames: where page I/O reads into and writes from. */
import type { CoreInstance } from './core.ts';

/** A piece of the engine's memory that an I/O may use. */
export interface IoBuffer {
  /** Bytes from the start of the memory. */
  readonly address: number;
  readonly byteLength: number;
  /** The frames the piece belongs to: they are not given back while an I/O uses them. */
  readonly frames: PageFrames;
}

const GIVEN_BACK = 'these page frames have been given back';

/** Some of a run of frames; gone with them. */
class FrameSlice implements IoBuffer {
  readonly frames: PageFrames;
  readonly byteLength: number;
  readonly #offset: number;

  constructor(frames: PageFrames, from: number, to: number) {
    this.frames = frames;
    this.byteLength = (to - from) * frames.blockSize;
    this.#offset = from * frames.blockSize;
  }
  get address(): number {
    return this.frames.address + this.#offset;
  }
}

/**
 * A run of neighbouring page frames, `blockSize` bytes each, 4 KiB aligned. Disposing gives them
 * back, at once or when the last I/O on them has ended. Views are over shared memory: copy what is
 * to outlive the frames.
 */
export class PageFrames implements IoBuffer, Disposable {
  readonly count: number;
  readonly blockSize: number;
  readonly #core: CoreInstance;
  readonly #address: number;
  #uses = 0;
  #disposed = false;

  /** Use `aio.frames(count)`. */
  constructor(core: CoreInstance, address: number, count: number) {
    this.#core = core;
    this.#address = address;
    this.count = count;
    this.blockSize = core.blockSize;
  }

  get address(): number {
    if (this.#disposed) throw new ReferenceError(GIVEN_BACK);
    return this.#address;
  }
  get byteLength(): number {
    return this.count * this.blockSize;
  }
  get frames(): PageFrames {
    return this;
  }
  /** All bytes, as they are now. */
  get bytes(): Uint8Array {
    return this.#core.u8.subarray(this.address, this.address + this.byteLength);
  }

  /** The bytes of one page. */
  page(index: number): Uint8Array {
    const at = this.slice(index, index + 1).address;
    return this.#core.u8.subarray(at, at + this.blockSize);
  }

  /** Frames [from, to) as a buffer for an I/O. */
  slice(from: number, to: number = this.count): IoBuffer {
    const whole = Number.isInteger(from) && Number.isInteger(to);
    if (!whole || from < 0 || to > this.count || from >= to) {
      throw new RangeError(`frames ${from} to ${to} of ${this.count}`);
    }
    if (this.#disposed) throw new ReferenceError(GIVEN_BACK);
    return new FrameSlice(this, from, to);
  }

  /** An I/O begins to use the frames; `unuse` when it has ended. */
  use(): void {
    this.#uses++;
  }
  unuse(): void {
    this.#uses--;
    if (this.#disposed && this.#uses === 0) this.#giveBack();
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#uses === 0) this.#giveBack();
  }

  #giveBack(): void {
    if (this.#core.closed) return; // the slot took its frames with it
    this.#core.check(this.#core.exports.pgaio_frames_free(this.#address, this.count));
  }
}
