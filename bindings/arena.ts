/**
 * Pieces of a backend's own memory, taken and given back in any order: what streams and their like
 * live in. First fit over a list of gaps; there are few, and they are long-lived.
 */
import { AioUnavailableError } from './errors.ts';

const ALIGN = 8;

interface Gap {
  at: number;
  bytes: number;
}

export class Arena {
  readonly #gaps: Gap[];
  readonly #bytes: number;

  constructor(at: number, bytes: number) {
    const from = Math.ceil(at / ALIGN) * ALIGN;
    this.#bytes = Math.max(0, at + bytes - from);
    this.#gaps = [{ at: from, bytes: this.#bytes }];
  }

  /** Bytes in the largest gap. */
  get largest(): number {
    return Math.max(0, ...this.#gaps.map(({ bytes }) => bytes));
  }

  /** Address of `bytes` bytes, 8-aligned. PGAIO_LOCAL_MEMORY if there is no gap of that size. */
  take(bytes: number, what: string): number {
    const whole = Math.ceil(bytes / ALIGN) * ALIGN;
    const gap = this.#gaps.find((one) => one.bytes >= whole);
    if (gap === undefined) {
      throw new AioUnavailableError({
        code: 'PGAIO_LOCAL_MEMORY',
        message: `out of local memory: ${what} needs ${whole} bytes, ${this.largest} are left`,
        sqlstate: '53200',
        hint: 'End what is no longer used, or raise localMemory where the memory is made.',
      });
    }
    const { at } = gap;
    gap.at += whole;
    gap.bytes -= whole;
    return at;
  }

  /** Gives back what `take` gave for as many bytes. */
  give(at: number, bytes: number): void {
    const whole = Math.ceil(bytes / ALIGN) * ALIGN;
    const after = this.#gaps.findIndex((gap) => gap.at > at);
    const index = after === -1 ? this.#gaps.length : after;
    this.#gaps.splice(index, 0, { at, bytes: whole });
    for (let i = Math.min(index, this.#gaps.length - 2); i >= Math.max(0, index - 1); i--) {
      const [left, right] = [this.#gaps[i], this.#gaps[i + 1]];
      if (left === undefined || right === undefined || left.at + left.bytes !== right.at) continue;
      left.bytes += right.bytes;
      this.#gaps.splice(i + 1, 1);
    }
  }
}
