/** Wait references: to an I/O, safe to keep, to send to other threads, and to use too late. */
import type { CoreInstance } from './core.ts';

/** A wait reference as plain data, for `postMessage` and the like. */
export interface WaitRefToken {
  /** Handle id. */
  readonly index: number;
  readonly generation: bigint;
}

/**
 * Refers to one I/O by handle and generation. When the handle has been used again the I/O is over,
 * however often: 64 bits of generations do not come round.
 */
export class WaitRef implements WaitRefToken {
  readonly index: number;
  readonly generation: bigint;
  readonly #core: CoreInstance;
  readonly #place: number;
  readonly #after: () => void;

  /** Use `handle.waitRef()` or `aio.waitRef(token)`. `place`: 12 bytes to hand it over in. */
  constructor(core: CoreInstance, place: number, token: WaitRefToken, after: () => void) {
    this.#core = core;
    this.#place = place;
    this.#after = after;
    this.index = token.index;
    this.generation = token.generation;
  }

  /** What `aio.waitRef` takes, in this thread or another. */
  get token(): WaitRefToken {
    return { index: this.index, generation: this.generation };
  }

  /** Whether the I/O is over. Changes nothing. */
  isDone(): boolean {
    return this.#ask(this.#core.exports.pgaio_wref_is_done) === 1;
  }

  /** Whether the I/O is over; if it is one's own it is reclaimed, and its result is there. */
  checkDone(): boolean {
    return this.#ask(this.#core.exports.pgaio_wref_check_done) === 1;
  }

  /**
   * Blocks this thread until the I/O is over. For another backend's it says nothing about success:
   * look at what the I/O was for. PGAIO_WAIT_OWN for one's own that is still staged.
   */
  waitSync(): void {
    this.#ask(this.#core.exports.pgaio_wref_wait);
  }

  #ask(call: (wref: number) => number): number {
    const at = this.#place >>> 2;
    this.#core.u32[at] = this.index;
    this.#core.u32[at + 1] = Number(this.generation >> 32n);
    this.#core.u32[at + 2] = Number(this.generation & 0xffffffffn);
    try {
      return this.#core.check(call(this.#place));
    } finally {
      this.#after();
    }
  }
}
