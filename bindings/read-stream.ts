/**
 * Read streams over pages of a relation: what is going to be wanted is read ahead, neighbours in
 * one I/O, several I/Os at once (assembly/storage/read_stream.ts). Pages that are there already are
 * handed over without a promise, and many of them for each call into the core.
 */
import type { BlockFeed } from './block-feed.ts';
import { AioAbortError } from './completions.ts';
import type { CoreInstance } from './core.ts';
import * as layout from './layout.ts';
import { u32 } from './numbers.ts';
import { PinnedBuffer } from './pinned-buffer.ts';
import type { Storage } from './storage.ts';
import {
  BATCH_MAX,
  type ForkPlace,
  RING_SIZE,
  type StrategyName,
  StreamMemory,
} from './stream-memory.ts';

/** What a stream is to do besides handing out pages. */
export interface ReadStreamOptions {
  /**
   * I/Os at once, 0 .. 1000; 0 reads in this thread, and still merges neighbours.
   * @default setting effective_io_concurrency, or maintenance_io_concurrency with `maintenance`
   */
  readonly ioConcurrency?: number;
  /** Work in the background, for which the other setting counts. @default false */
  readonly maintenance?: boolean;
  /** The system reads ahead by itself here: it is given no advice. @default true for ranges */
  readonly sequential?: boolean;
  /** All of it will be wanted: whole I/Os from the first, not ever larger ones. @default false */
  readonly full?: boolean;
  /**
   * What it looks ahead at in one go is submitted together: not if the source of the blocks waits
   * for another backend. @default true, except for `readNext`
   */
  readonly batching?: boolean;
  /**
   * How it finds out how far to look ahead: `postgres18` doubles after each I/O; `waits`, as
   * PostgreSQL's development version, only after one that had to be waited for.
   * @default 'postgres18'
   */
  readonly lookAhead?: 'postgres18' | 'waits';
  /**
   * How it uses the pool: `bulkread` and `vacuum` use a few buffers again and again, so that a
   * large scan does not push out what others need; `normal` keeps what it reads. @default 'normal'
   */
  readonly strategy?: StrategyName;
  /** Aborting rejects the pending `next()` and ends the stream; its I/O runs on. */
  readonly signal?: AbortSignal;
}

/** A range of blocks. */
export interface BlockRange {
  /** First block. @default 0 */
  readonly from?: number;
  /** The block after the last. @default the relation's end when the stream is begun */
  readonly to?: number;
}

/** Asked for each block when the stream wants to look further; undefined ends the stream. */
export type NextBlock = () => number | undefined;

/** Where the blocks of a stream come from. */
export type BlockSource<Data> =
  | { readonly range: Required<BlockRange> }
  | { readonly feed: BlockFeed<Data> }
  | { readonly next: NextBlock };

/** A reader that never lets go of the thread is made to, after that long. */
const TURN_MS = 10;
const PAGES_PER_LOOK = 128;

const FIELDS = layout.ReadStream.fields;

/** Counters of a stream, and how it stands. */
export interface ReadStreamStats {
  /** Operations that needed an I/O, another's included. */
  readonly reads: number;
  /** Blocks of those. */
  readonly readBlocks: number;
  /** Of those, the ones that had to be waited for. */
  readonly waits: number;
  /** Operations that needed none. */
  readonly hits: number;
  /** I/Os under way, and the most there were at once. */
  readonly inFlight: number;
  readonly mostInFlight: number;
  /** Blocks it looks ahead; 0 at its end. */
  readonly distance: number;
  /** Buffers it holds that were not handed over yet. */
  readonly pinned: number;
}

/**
 * Pages in the order asked for, one per block, duplicates too. Each page is pinned until the next
 * one is asked for, or as long as `page.keep()` says; copy what is to outlive it. `next()` answers
 * at once when the page is there. An error is thrown at the read concerned, in PostgreSQL's words
 * (PGAIO_IO, PGAIO_SHORT, PGAIO_PAGE), and the stream is over then. Leaving a loop early, or
 * disposing, gives all pins back; reads in flight run on until they end.
 * @example
 * for await (const buffer of relation.read({ to: 1000 })) {
 *   console.log(buffer.block, buffer.page.itemCount);
 * }
 */
export class ReadStream<Data = undefined>
  implements AsyncIterable<PinnedBuffer<Data>>, AsyncDisposable, Disposable
{
  readonly #storage: Storage;
  readonly #core: CoreInstance;
  readonly #feed: BlockFeed<Data> | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.#abort();
  readonly #memory: StreamMemory;
  readonly #stream: number;
  /** Where buffers are handed over, in u32. */
  readonly #out: number;
  #given = 0;
  #taken = 0;
  #batch = 1;
  #current: PinnedBuffer<Data> | undefined;
  #over = false;
  #paused = false;
  #aborted: AioAbortError | undefined;
  #rejectWait: ((error: AioAbortError) => void) | undefined;
  #ending: Promise<void> | undefined;

  /** Use `relation.read()`. */
  constructor(
    storage: Storage,
    fork: ForkPlace,
    source: BlockSource<Data>,
    options: ReadStreamOptions,
  ) {
    this.#storage = storage;
    this.#core = storage.core;
    this.#feed = 'feed' in source ? source.feed : undefined;
    this.#signal = options.signal;
    const isFed = this.#feed !== undefined;
    this.#memory = new StreamMemory(this.#core, storage.arena, fork, options, isFed);
    this.#stream = this.#memory.stream;
    this.#out = this.#memory.out >>> 2;
    try {
      this.#begin(source);
    } catch (error) {
      this.#memory.give();
      throw error;
    }
    storage.streams.add(this);
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (this.#signal?.aborted === true) this.#abort();
  }

  #begin(source: BlockSource<Data>): void {
    const { exports } = this.#core;
    if ('range' in source) {
      const { from, to } = source.range;
      this.#core.check(
        exports.read_stream_set_range(this.#stream, u32('from', from), u32('to', to)),
      );
    } else if ('next' in source) {
      this.#core.setBlockSource(this.#stream, source.next);
      this.#core.check(exports.read_stream_set_callback(this.#stream));
    }
  }

  #field(name: keyof typeof FIELDS): number {
    return this.#core.u32[(this.#stream + FIELDS[name].offset) >>> 2] ?? 0;
  }

  /**
   * The next page; undefined at the end. A promise only if it has to be waited for, or if the
   * source of block numbers lets wait.
   */
  next(): PinnedBuffer<Data> | undefined | Promise<PinnedBuffer<Data> | undefined> {
    return this.#taken < this.#given ? this.#take() : this.#refill();
  }

  /** The next page, blocking this thread for it if need be; undefined at the end. */
  nextSync(): PinnedBuffer<Data> | undefined {
    if (this.#taken < this.#given) return this.#take();
    const rc = this.#ask(0);
    if (rc === layout.READ_STREAM_STARVED) {
      throw new RangeError('the source of block numbers is asynchronous: await next()');
    }
    return this.#got(rc);
  }

  #take(): PinnedBuffer<Data> {
    this.#current?.expire();
    const at = this.#out + 2 * this.#taken++;
    const buffer = new PinnedBuffer<Data>(
      this.#storage,
      this.#core.i32[at] ?? 0,
      at,
      this.#feed?.take() as Data,
    );
    this.#current = buffer;
    return buffer;
  }

  #refill(): PinnedBuffer<Data> | undefined | Promise<PinnedBuffer<Data> | undefined> {
    const rc = this.#ask(1);
    return rc < layout.READ_STREAM_BLOCKED ? this.#got(rc) : this.#later(rc);
  }

  /** Asks the core for more, having given back what was handed over before. */
  #ask(nowait: number): number {
    this.#giveBack();
    if (this.#aborted !== undefined) throw this.#aborted;
    if (this.#over) return 0;
    const { exports } = this.#core;
    try {
      this.#feedCore();
      const rc = exports.read_stream_next_buffers(
        this.#stream,
        this.#memory.out,
        this.#batch,
        nowait,
      );
      return rc > 0 ? rc : this.#core.check(rc);
    } catch (error) {
      this.#end();
      throw this.#inWords(error);
    }
  }

  /** As many as are there: the first of them. */
  #got(count: number): PinnedBuffer<Data> | undefined {
    if (count === 0) {
      if (this.#paused) return undefined;
      this.#end();
      const failure = this.#feed?.failure;
      if (failure !== undefined) throw failure.error;
      return undefined;
    }
    this.#given = count;
    if (this.#batch < BATCH_MAX) this.#batch *= 2;
    return this.#take();
  }

  async #later(rc: number): Promise<PinnedBuffer<Data> | undefined> {
    let answer = rc;
    for (let round = 0; answer >= layout.READ_STREAM_BLOCKED; round++) {
      await this.#unlessAborted(this.#blockedBy(answer, round));
      answer = this.#ask(1);
    }
    return this.#got(answer);
  }

  /** Resolves when what kept the stream from going on may be over. */
  #blockedBy(answer: number, round: number): Promise<void> {
    if (answer === layout.READ_STREAM_STARVED) return this.#feed?.more() ?? Promise.resolve();
    const known = this.#field('blocked') === layout.BLOCKED_IO;
    return this.#storage.blocked(known ? this.#stream + FIELDS.wait_ref.offset : 0, round);
  }

  #unlessAborted(wait: Promise<void>): Promise<void> {
    if (this.#signal === undefined) return wait;
    return new Promise((resolve, reject) => {
      this.#rejectWait = reject;
      if (this.#aborted !== undefined) reject(this.#aborted);
      wait.then(resolve, reject);
    });
  }

  #abort(): void {
    this.#aborted ??= new AioAbortError({
      code: 'PGAIO_ABORTED',
      message: 'the read stream was aborted; its IO runs on',
      cause: this.#signal?.reason,
    });
    this.#rejectWait?.(this.#aborted);
    this.#end();
  }

  /** Hands block numbers on, as far as the source has any and the core has room. */
  #feedCore(): void {
    const feed = this.#feed;
    if (feed === undefined || this.#field('ring_closed') === 1) return;
    const room = RING_SIZE - (this.#field('ring_tail') - this.#field('ring_head'));
    if (room < RING_SIZE / 2) return;
    const { exports, u32: words } = this.#core;
    const at = this.#memory.feed;
    const count = feed.fill(words, at >>> 2, room);
    if (count > 0) this.#core.check(exports.read_stream_feed(this.#stream, at, count));
    if (feed.isDone) this.#core.check(exports.read_stream_feed_end(this.#stream));
  }

  /** Pins of what was handed over before, except those that were kept or given back already. */
  #giveBack(): void {
    this.#current?.expire();
    this.#current = undefined;
    if (this.#given === 0) return;
    const count = this.#given;
    this.#given = 0;
    this.#taken = 0;
    if (this.#core.closed) return;
    this.#core.check(this.#core.exports.ReleaseBuffers(this.#memory.out, count));
  }

  /** What a callback threw is thrown as it is. */
  #inWords(error: unknown): unknown {
    const threw =
      error instanceof Error && 'code' in error && error.code === 'PGAIO_STREAM_CALLBACK';
    return threw ? this.#core.thrownBy(0) : error;
  }

  /**
   * Ends here until `resume()`: what has been read ahead still comes, then `next()` is undefined.
   * Also from within a `NextBlock`, which then gives undefined.
   */
  pause(): void {
    if (this.#over) return;
    this.#paused = true;
    this.#core.check(this.#core.exports.read_stream_pause(this.#stream));
  }
  /** Goes on after `pause()`, looking as far ahead as before. */
  resume(): void {
    if (this.#over) return;
    this.#paused = false;
    this.#core.check(this.#core.exports.read_stream_resume(this.#stream));
  }

  /** Counters, and how it stands; zeros once it is over. */
  stats(): ReadStreamStats {
    const field = (name: keyof typeof FIELDS): number => (this.#over ? 0 : this.#field(name));
    return {
      reads: field('reads'),
      readBlocks: field('read_blocks'),
      waits: field('waits'),
      hits: field('hits'),
      inFlight: field('ios_in_progress'),
      mostInFlight: field('most_ios'),
      distance: field('distance'),
      pinned: field('pinned_buffers'),
    };
  }

  /** Ends the stream, in the background as far as I/O in flight is concerned. */
  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#giveBack();
    this.#core.setBlockSource(this.#stream, undefined);
    this.#ending = this.#drain();
    this.#ending.catch(() => undefined); // told to whoever awaits it
  }

  async #drain(): Promise<void> {
    const { core, streams } = this.#storage;
    const closing = this.#feed?.close();
    for (let round = 0; !core.closed; round++) {
      const rc = core.exports.read_stream_end(this.#stream, 1);
      if (rc === layout.E_STREAM_BUSY)
        await this.#storage.turn(); // its own callback ends it
      else if (core.check(rc) !== layout.READ_STREAM_BLOCKED) break;
      else await this.#blockedBy(rc, round);
    }
    streams.delete(this);
    this.#memory.give();
    await closing;
  }

  /** Gives all pins back. Reads in flight run on; nothing waits for them. */
  [Symbol.dispose](): void {
    this.#end();
  }
  /** Gives all pins back and waits until the reads in flight have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end();
    await this.#ending;
  }

  /** Pages one after the other; leaving the loop ends the stream. */
  [Symbol.asyncIterator](): AsyncIterator<PinnedBuffer<Data>> {
    let pages = 0;
    let since = performance.now();
    const result = (
      value: PinnedBuffer<Data> | undefined,
    ): IteratorResult<PinnedBuffer<Data>, undefined> =>
      value === undefined ? { value, done: true } : { value, done: false };
    /** Cached pages alone would keep everything else from running. */
    const turn = async (): Promise<IteratorResult<PinnedBuffer<Data>>> => {
      await this.#storage.turn();
      since = performance.now();
      return result(await this.next());
    };
    return {
      next: () => {
        if (++pages % PAGES_PER_LOOK === 0 && performance.now() - since > TURN_MS) return turn();
        try {
          const value = this.next();
          if (!(value instanceof Promise)) return Promise.resolve(result(value));
          return value.then((later) => {
            since = performance.now();
            return result(later);
          });
        } catch (error) {
          return Promise.reject(error);
        }
      },
      return: async () => {
        await this[Symbol.asyncDispose]();
        return { value: undefined, done: true };
      },
    };
  }
}
