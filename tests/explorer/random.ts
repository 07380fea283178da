/** Chance from a seed: the same seed, the same numbers, on every machine. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x5bd1e995) | 0;
    if (this.#state === 0) this.#state = 1;
    for (let i = 0; i < 8; i++) this.bits();
  }

  /** 32 bits, never 0 (xorshift). */
  bits(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  /** 0 .. below - 1. */
  below(below: number): number {
    return this.bits() % below;
  }

  /** from .. to, both included. */
  range(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  /** True once in `n`. */
  once(n: number): boolean {
    return this.bits() % n === 0;
  }

  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[this.below(choices.length)] ?? choices[0];
  }
}
