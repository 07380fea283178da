/**
 * Read streams once more, written from their description as plainly as it goes, over a pool that
 * remembers everything: what a call hands out, which reads it starts, how far it looks. Nothing
 * here looks at the core.
 */

export interface ModelOptions {
  readonly maxIos: number;
  readonly combine: number;
  readonly maxPinned: number;
  readonly full?: boolean;
  readonly waitDriven?: boolean;
  /** Whether the reader has to wait for the read that begins with this block. @default always */
  readonly waits?: (first: number) => boolean;
}

export interface ModelStep {
  /** Block handed out, -1 at the end. */
  readonly block: number;
  readonly sizes: number[];
  readonly firsts: number[];
  readonly ios: number;
  readonly distance: number;
}

interface Pinned {
  readonly block: number;
  /** The read it is the first block of. */
  readonly heads: { first: number } | undefined;
}

export class StreamModel {
  readonly #blocks: number[];
  readonly #cached: Set<number>;
  readonly #options: ModelOptions;
  readonly #queue: Pinned[] = [];
  #pending: number[] = [];
  #ended = false;
  #ios = 0;
  #distance: number;
  #combine: number;
  #holdoff = 0;
  #started: number[][] = [];
  #next = 0;

  /** `cached`: blocks that are in the pool; those that are read join them. */
  constructor(blocks: readonly number[], cached: Set<number>, options: ModelOptions) {
    this.#blocks = [...blocks];
    this.#cached = cached;
    this.#options = options;
    const first = options.full === true ? Math.min(options.maxPinned, options.combine) : 1;
    this.#distance = first;
    this.#combine = first;
  }

  /** One call for the next buffer. */
  step(): ModelStep {
    this.#started = [];
    if (this.#queue.length === 0) this.#lookAhead();
    const pinned = this.#queue.shift();
    if (pinned?.heads !== undefined) this.#wait(pinned.heads.first);
    if (pinned !== undefined) this.#lookAhead();
    return {
      block: pinned?.block ?? -1,
      sizes: this.#started.map((read) => read.length),
      firsts: this.#started.map(([first = -1]) => first),
      ios: this.#ios,
      distance: this.#ended ? 0 : this.#distance,
    };
  }

  #wait(first: number): void {
    const { maxPinned, combine, waitDriven, waits = () => true } = this.#options;
    this.#ios--;
    if (waitDriven !== true || waits(first)) {
      this.#distance = Math.min(2 * this.#distance, maxPinned);
    }
    this.#combine = Math.min(2 * this.#combine, combine, maxPinned);
    this.#holdoff = maxPinned;
  }

  #hit(): void {
    if (this.#options.waitDriven !== true) {
      this.#distance = Math.max(1, this.#distance - 1);
    } else if (this.#ios === 0) {
      if (this.#holdoff > 0) this.#holdoff--;
      else {
        this.#distance = Math.max(1, this.#distance - 1);
        this.#combine = Math.max(1, this.#combine - 1);
      }
    }
  }

  get #mayRead(): boolean {
    return this.#ios < this.#options.maxIos;
  }
  get #isFull(): boolean {
    const most = this.#options.waitDriven === true ? this.#combine : this.#options.combine;
    return (
      this.#pending.length > 0 && this.#pending.length >= Math.min(most, this.#options.combine)
    );
  }
  get #looksFurther(): boolean {
    if (this.#ended || !this.#mayRead) return false;
    const pending = this.#pending.length;
    const gathers = this.#options.waitDriven === true && pending > 0 && this.#queue.length === 0;
    if (gathers && pending < this.#combine) return true;
    return this.#queue.length + pending < this.#distance;
  }

  #lookAhead(): void {
    while (this.#looksFurther) {
      if (this.#isFull) {
        this.#start();
        continue;
      }
      const block = this.#blocks[this.#next];
      if (block === undefined) {
        this.#ended = true;
        break;
      }
      const last = this.#pending.at(-1);
      if (last !== undefined && block !== last + 1) {
        while (this.#pending.length > 0 && this.#mayRead) this.#start();
        if (this.#pending.length > 0 || !this.#mayRead) return;
      }
      this.#pending.push(block);
      this.#next++;
    }
    const starts = this.#isFull || this.#ended || this.#isAlone;
    if (this.#pending.length > 0 && this.#mayRead && starts) this.#start();
  }
  get #isAlone(): boolean {
    if (this.#queue.length > 0) return false;
    return this.#options.waitDriven === true || this.#pending.length >= this.#distance;
  }

  /** One operation on the pending read: a block that is there, or a read up to the next that is. */
  #start(): void {
    const [first = -1] = this.#pending;
    const isThere = (block: number): boolean => this.#cached.has(block);
    const next = this.#pending.findIndex(isThere);
    if (next === 0) {
      this.#pending.shift();
      this.#queue.push({ block: first, heads: undefined });
      this.#hit();
      return;
    }
    const read = this.#pending.splice(0, next === -1 ? this.#pending.length : next);
    this.#queue.push(
      ...read.map((block, i) => ({ block, heads: i === 0 ? { first } : undefined })),
    );
    this.#started.push(read);
    this.#ios++;
    for (const block of read) this.#cached.add(block);
  }
}
