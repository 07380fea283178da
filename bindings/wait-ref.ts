/** Wait references: to an I/O, safe to keep, to send to other threads, and to use too late. */
import type { CoreInstance } from './core.ts';

/** A wait reference as plain data, for `postMessage` and the like. */
export interface WaitRefToken {
  /** Handle id. */
  readonly index: number;
  readonly generation: bigint;
}

/** What references share. */
export interface WaitRefContext {
  readonly core: CoreInstance;
  /** 12 bytes to hand a reference to the core in. */
  readonly wrefAt: number;
  /** Settles what has ended. */
  poll(): void;
  /** Submits what would be submitted in a moment. */
  flush(): void;
  /** Resolves when an I/O of this backend has ended. */
  next(): Promise<void>;
}

/**
 * Refers to one I/O by handle and generation. When the handle has been used again the I/O is over,
 * however often: 64 bits of generations do not come round.
 */
export class WaitRef implements WaitRefToken {
  readonly index: number;
  readonly generation: bigint;
  readonly #context: WaitRefContext;

  /** Use `handle.waitRef()` or `aio.waitRef(token)`. */
  constructor(context: WaitRefContext, token: WaitRefToken) {
    this.#context = context;
    this.index = token.index;
    this.generation = token.generation;
  }

  /** What `aio.waitRef` takes, in this thread or another. */
  get token(): WaitRefToken {
    return { index: this.index, generation: this.generation };
  }

  /** Whether the I/O is over. Changes nothing. */
  isDone(): boolean {
    return this.#call(this.#context.core.exports.pgaio_wref_is_done) === 1;
  }

  /** Whether the I/O is over; if it is one's own it is reclaimed, and its result is there. */
  checkDone(): boolean {
    return this.#ask(this.#context.core.exports.pgaio_wref_check_done) === 1;
  }

  /**
   * Blocks this thread until the I/O is over, at most `timeoutMs`; whether it is. For another
   * backend's it says nothing about success: look at what the I/O was for. PGAIO_WAIT_OWN for one's
   * own that is still staged.
   */
  waitSync(timeoutMs?: number): boolean {
    const { exports } = this.#context.core;
    if (timeoutMs === undefined) {
      this.#ask(exports.pgaio_wref_wait);
      return true;
    }
    return this.#ask((wref) => exports.pgaio_wref_wait_timed(wref, timeoutMs)) === 1;
  }

  /**
   * Resolves when the I/O is over, one's own or another backend's; one's own that is staged is
   * submitted first. It says nothing about success, see `waitSync`.
   */
  async done(): Promise<void> {
    const { core, next } = this.#context;
    const own = core.ownerOf(this.index) === core.procno;
    if (!this.isDone() && own) core.check(core.exports.pgaio_submit_staged());
    while (!this.checkDone()) await (core.host.shared ? this.#woken() : next());
  }

  /** Sleeps on the handle's state until somebody moves it on. */
  async #woken(): Promise<void> {
    const { core } = this.#context;
    const { exports } = core;
    const word = this.#call(exports.pgaio_wref_arm);
    if (word === 0) return;
    core.host.keepAlive?.hold();
    // What is in a ring nobody learns of but who looks: its owner need not.
    const stop = core.listenToRing(core.ownerOf(this.index), () => void this.checkDone());
    try {
      const state = Atomics.load(core.i32, word >>> 2);
      if (this.isDone()) return;
      const wait = Atomics.waitAsync(core.i32, word >>> 2, state);
      if (wait.async) await wait.value;
    } finally {
      stop?.();
      core.host.keepAlive?.release();
      if (!core.closed) this.#call(exports.pgaio_wref_disarm);
    }
  }

  #ask(call: (wref: number) => number): number {
    this.#context.flush();
    try {
      return this.#call(call);
    } finally {
      this.#context.poll();
    }
  }

  #call(call: (wref: number) => number): number {
    const { core, wrefAt } = this.#context;
    core.requireOpen();
    const at = wrefAt >>> 2;
    core.u32[at] = this.index;
    core.u32[at + 1] = Number(this.generation >> 32n);
    core.u32[at + 2] = Number(this.generation & 0xffffffffn);
    return core.check(call(wrefAt));
  }
}
