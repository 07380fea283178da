/** The memory a read stream lives in, taken from the backend's own and given back as a whole. */
import type { Arena } from './arena.ts';
import type { CoreInstance } from './core.ts';
import * as layout from './layout.ts';
import type { ReadStreamOptions } from './read-stream.ts';

/** Most buffers handed over for one call into the core. */
export const BATCH_MAX = 64;
/** Block numbers a stream can be fed ahead. */
export const RING_SIZE = 512;
/** Of one buffer handed over: its number, and the address of its data. */
export const OUT_BYTES = 8;
/** Room for a ring of 2,045 buffers: PostgreSQL's own are mostly shorter. */
const STRATEGY_BYTES = 8192;

const STRATEGIES = {
  normal: layout.BAS_NORMAL,
  bulkread: layout.BAS_BULKREAD,
  vacuum: layout.BAS_VACUUM,
} as const;
/** How a scan uses the pool, see `ReadStreamOptions.strategy`. */
export type StrategyName = keyof typeof STRATEGIES;

/** A relation fork as the core names it. */
export interface ForkPlace {
  /** Address of its RelFileRef. */
  readonly at: number;
  readonly isTemp: boolean;
}

function flagsOf(options: ReadStreamOptions): number {
  return (
    (options.maintenance === true ? layout.READ_STREAM_MAINTENANCE : 0) |
    (options.sequential === true ? layout.READ_STREAM_SEQUENTIAL : 0) |
    (options.full === true ? layout.READ_STREAM_FULL : 0) |
    (options.batching === true ? layout.READ_STREAM_USE_BATCHING : 0) |
    (options.lookAhead === 'waits' ? layout.READ_STREAM_WAIT_DRIVEN : 0)
  );
}

export class StreamMemory {
  /** The ReadStream itself. */
  readonly stream: number;
  /** Where buffers are handed over. */
  readonly out: number;
  /** Where block numbers are fed from, RING_SIZE of them. */
  readonly feed: number;
  readonly #arena: Arena;
  readonly #pieces: [at: number, bytes: number][] = [];

  /** Takes the memory and begins the stream in it. */
  constructor(
    core: CoreInstance,
    arena: Arena,
    fork: ForkPlace,
    options: ReadStreamOptions,
    isFed: boolean,
  ) {
    this.#arena = arena;
    const { exports } = core;
    const flags = flagsOf(options);
    const asked = options.ioConcurrency ?? -1;
    const ring = isFed ? RING_SIZE : 0;
    try {
      const strategy = this.#strategy(core, options);
      const temporary = fork.isTemp ? 1 : 0;
      const size = core.check(exports.read_stream_size(flags, strategy, temporary, asked, 0, ring));
      this.out = this.#take(OUT_BYTES * BATCH_MAX);
      this.feed = isFed ? this.#take(4 * RING_SIZE) : 0;
      this.stream = this.#take(size);
      core.check(
        exports.read_stream_begin_relation(
          this.stream,
          size,
          flags,
          strategy,
          fork.at,
          asked,
          0,
          ring,
        ),
      );
    } catch (error) {
      this.give();
      throw error;
    }
  }

  #take(bytes: number): number {
    const at = this.#arena.take(bytes, 'a read stream');
    this.#pieces.push([at, bytes]);
    return at;
  }

  /** Address of an access strategy, 0 for none. */
  #strategy(core: CoreInstance, options: ReadStreamOptions): number {
    const kind = STRATEGIES[options.strategy ?? 'normal'];
    if (kind === layout.BAS_NORMAL) return 0;
    const at = this.#take(STRATEGY_BYTES);
    const { GUC_EFFECTIVE_IO_CONCURRENCY, GUC_MAINTENANCE_IO_CONCURRENCY } = layout;
    const setting =
      options.maintenance === true ? GUC_MAINTENANCE_IO_CONCURRENCY : GUC_EFFECTIVE_IO_CONCURRENCY;
    const ios = options.ioConcurrency ?? core.exports.pgaio_get_guc(setting);
    core.check(core.exports.GetAccessStrategy(at, STRATEGY_BYTES, kind, ios));
    return at;
  }

  /** Gives all of it back: the stream has ended. */
  give(): void {
    for (const [at, bytes] of this.#pieces.splice(0)) this.#arena.give(at, bytes);
  }
}
