/**
 * What the threads of a stress program share beside the engine: who uses which block, how far each
 * thread is, and references for others to wait for.
 */
import type { WaitRefToken } from '../../bindings/wait-ref.ts';
import { BLOCKS_PER_FILE, FILES } from './blocks.ts';

export const THREADS_MAX = 16;
const REFS = 16;
const STOP = 0;
const PROGRESS = 8;
const VERSIONS = PROGRESS + THREADS_MAX;
const CLAIMS = VERSIONS + FILES * BLOCKS_PER_FILE;
const BOARD = (CLAIMS + FILES * BLOCKS_PER_FILE + 3) & ~3;
const REF_WORDS = 4;
const WORDS = BOARD + THREADS_MAX * REFS * REF_WORDS;
const WRITING = -1;

export class Board {
  readonly words: Int32Array<SharedArrayBuffer>;

  constructor(words = new Int32Array(new SharedArrayBuffer(4 * WORDS))) {
    this.words = words;
  }

  stop(): void {
    Atomics.store(this.words, STOP, 1);
  }
  get stopped(): boolean {
    return Atomics.load(this.words, STOP) === 1;
  }
  advance(thread: number): void {
    Atomics.add(this.words, PROGRESS + thread, 1);
  }
  progress(thread: number): number {
    return Atomics.load(this.words, PROGRESS + thread);
  }

  version(file: number, block: number): number {
    return Atomics.load(this.words, VERSIONS + file * BLOCKS_PER_FILE + block);
  }
  setVersion(file: number, block: number, version: number): void {
    Atomics.store(this.words, VERSIONS + file * BLOCKS_PER_FILE + block, version);
  }

  /** Claims a block for a reader or the only writer; false if that cannot be. */
  claim(file: number, block: number, writes: boolean): boolean {
    const at = CLAIMS + file * BLOCKS_PER_FILE + block;
    while (true) {
      const users = Atomics.load(this.words, at);
      if (users === WRITING || (writes && users > 0)) return false;
      const next = writes ? WRITING : users + 1;
      if (Atomics.compareExchange(this.words, at, users, next) === users) return true;
    }
  }
  release(file: number, block: number, wrote: boolean): void {
    const at = CLAIMS + file * BLOCKS_PER_FILE + block;
    if (wrote) Atomics.store(this.words, at, 0);
    else Atomics.sub(this.words, at, 1);
  }

  /** Shows a reference to others. It may be torn when they read it: then it is too old, or none. */
  show(thread: number, place: number, { index, generation }: WaitRefToken): void {
    const at = BOARD + (thread * REFS + (place % REFS)) * REF_WORDS;
    Atomics.store(this.words, at, 0);
    Atomics.store(this.words, at + 1, Number(generation & 0xffffffffn) | 0);
    Atomics.store(this.words, at + 2, Number(generation >> 32n));
    Atomics.store(this.words, at + 3, index);
    Atomics.store(this.words, at, 1);
  }
  look(thread: number, place: number): WaitRefToken | undefined {
    const at = BOARD + (thread * REFS + (place % REFS)) * REF_WORDS;
    const read = (n: number): number => Atomics.load(this.words, at + n);
    const before = read(0);
    const [low, high, index] = [read(1), read(2), read(3)];
    const torn = before !== 1 || read(0) !== 1 || read(1) !== low || read(3) !== index;
    if (torn) return undefined;
    return { index, generation: (BigInt(high) << 32n) | BigInt(low >>> 0) };
  }
}
