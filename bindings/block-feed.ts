/**
 * Block numbers on their way into a read stream: taken from whatever gives them, some ahead of what
 * the core has asked for, with what belongs to each kept in the order they will come back.
 */
import { u32 } from './numbers.ts';

/** What gives the next entry: an iterator of either kind. */
type Source<Entry> = Iterator<Entry> | AsyncIterator<Entry>;

export class BlockFeed<Entry> {
  readonly #source: Source<Entry>;
  readonly #blockOf: (entry: Entry) => number;
  readonly #entries: Entry[] = [];
  #first = 0;
  /** Entries whose blocks the core has not been given yet, from the end of #entries. */
  #waiting = 0;
  #ended = false;
  #failed: { readonly error: unknown } | undefined;
  #coming: Promise<void> | undefined;

  constructor(entries: Iterable<Entry> | AsyncIterable<Entry>, blockOf: (entry: Entry) => number) {
    this.#source =
      Symbol.asyncIterator in entries
        ? entries[Symbol.asyncIterator]()
        : entries[Symbol.iterator]();
    this.#blockOf = blockOf;
  }

  /** Whether all blocks have been given and there are no more. */
  get isDone(): boolean {
    return this.#ended && this.#waiting === 0;
  }

  /** What the source threw: to be thrown when all that came before it has come back. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#failed;
  }

  /**
   * Writes up to `room` blocks to `to`, from index `at` on. How many; 0 when the source is over or
   * lets wait.
   */
  fill(to: Uint32Array, at: number, room: number): number {
    while (this.#waiting < room && this.#coming === undefined && !this.#ended) this.#ask();
    const count = Math.min(room, this.#waiting);
    const from = this.#entries.length - this.#waiting;
    for (let i = 0; i < count; i++) {
      to[at + i] = u32('block', this.#blockOf(this.#entries[from + i] as Entry));
    }
    this.#waiting -= count;
    return count;
  }

  /** Resolves when the source has given more, or is over. */
  async more(): Promise<void> {
    await this.#coming;
  }

  /** The entry of the next block that comes back. */
  take(): Entry {
    const entry = this.#entries[this.#first] as Entry;
    this.#first++;
    if (this.#first < KEPT) return entry;
    this.#entries.splice(0, this.#first);
    this.#first = 0;
    return entry;
  }

  /** Tells the source that nothing more is wanted. */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#source.return?.();
  }

  #ask(): void {
    try {
      const result = this.#source.next();
      if (!('then' in result)) {
        this.#got(result);
        return;
      }
      this.#coming = result.then(
        (later) => {
          this.#coming = undefined;
          this.#got(later);
          if (!this.#ended && this.#waiting < AHEAD) this.#ask();
        },
        (error: unknown) => {
          this.#coming = undefined;
          this.#fail(error);
        },
      );
    } catch (error) {
      this.#fail(error);
    }
  }
  #got(result: IteratorResult<Entry>): void {
    if (result.done === true) {
      this.#ended = true;
      return;
    }
    this.#entries.push(result.value);
    this.#waiting++;
  }
  #fail(error: unknown): void {
    this.#ended = true;
    this.#failed = { error };
  }
}
/** An asynchronous source is asked for that many more than the core has room for. */
const AHEAD = 64;
/** Entries that have come back are dropped that many at a time. */
const KEPT = 1024;
