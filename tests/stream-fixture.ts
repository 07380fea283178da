/**
 * Read streams under PostgreSQL's names, one call at a time: what each call handed out, which reads
 * it started, and how the stream stood after it.
 */
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import type { Bench } from './harness.ts';

/** A relation of the tests: base/5/16384. */
export const REL = { spcOid: 1663, dbOid: 5, relNumber: 16384 } as const;

export interface BeginOptions {
  /** READ_STREAM_*. @default 0 */
  readonly flags?: number;
  /** I/Os at once, -1 for the setting. @default -1 */
  readonly ios?: number;
  /** BAS_*. @default 0 */
  readonly strategy?: number;
  /** @default base/5/16384 */
  readonly relNumber?: number;
  readonly temporary?: boolean;
  /** Blocks [from, to). */
  readonly range?: readonly [from: number, to: number];
  /** Blocks one by one. */
  readonly blocks?: readonly number[];
  /** Asked for each block: -1 is the end. */
  readonly callback?: (data: number) => number;
  readonly dataSize?: number;
  readonly ring?: number;
  readonly nowait?: boolean;
}

/** What a call of next did. */
export interface Step {
  /** Buffer handed out, 0 at the end. */
  readonly buffer: number;
  readonly data: number;
  /** Sizes of the reads it started, in order. */
  readonly sizes: number[];
  /** Their first blocks. */
  readonly firsts: number[];
  /** I/Os under way after it. */
  readonly ios: number;
  readonly distance: number;
}

const OUT_BYTES = 8;
const END = 0xffffffff;

export class RawStream {
  readonly bench: Bench;
  readonly at: number;
  readonly #out: number;
  readonly #nowait: number;

  constructor(bench: Bench, options: BeginOptions) {
    const { flags = 0, ios = -1, strategy = 0, dataSize = 0, nowait = false } = options;
    const { pg } = bench;
    this.bench = bench;
    this.#nowait = nowait ? 1 : 0;
    const ring = options.ring ?? (options.blocks === undefined ? 0 : 1024);
    const temporary = options.temporary === true ? 1 : 0;
    const bytes = pg.read_stream_size(flags, strategy, temporary, ios, dataSize, ring);
    this.at = pg.alloc(bytes);
    this.#out = pg.alloc(OUT_BYTES * 64);
    const rel = relationRef(bench, options.relNumber ?? REL.relNumber, temporary === 1);
    pg.read_stream_begin_relation(this.at, bytes, flags, strategy, rel, ios, dataSize, ring);
    if (options.range !== undefined) pg.read_stream_set_range(this.at, ...options.range);
    if (options.blocks !== undefined) this.feed(options.blocks, true);
    const { callback } = options;
    if (callback !== undefined) {
      pg.read_stream_set_callback(this.at, (data) => {
        const block = callback(data);
        return block === -1 ? END : block;
      });
    }
  }

  feed(blocks: readonly number[], end = false): number {
    const { pg, u32 } = this.bench;
    const at = pg.alloc(4 * blocks.length);
    u32.set(blocks, at / 4);
    const taken = pg.read_stream_feed(this.at, at, blocks.length);
    pg.reset(at);
    if (end) pg.read_stream_feed_end(this.at);
    return taken;
  }

  field(name: keyof typeof layout.ReadStream.fields): number {
    return this.bench.get(this.at, layout.ReadStream, name);
  }

  /** The answer of read_stream_next_buffer as it is. */
  ask(): number {
    return this.bench.pg.read_stream_next_buffer(this.at, this.#out, this.#nowait);
  }
  get buffer(): number {
    return this.bench.view.getInt32(this.#out, true);
  }

  /** One call; the buffer handed out is still pinned. */
  step(): Step {
    const reads = this.field('reads');
    let index = this.field('next_io_index');
    const fast = this.field('fast_path') === 1;
    const rc = this.ask();
    assert.ok(rc === 0 || rc === 1, `next_buffer answered ${rc}`);
    const sizes: number[] = [];
    const firsts: number[] = [];
    if (fast) index = 0; // a miss on the fast path takes the first place
    for (let left = this.field('reads') - reads; left > 0; left--) {
      sizes.push(this.#op(index, 'nblocks'));
      firsts.push(this.#op(index, 'blocknum'));
      index = (index + 1) % this.field('max_ios');
    }
    const data = this.bench.view.getUint32(this.#out + 4, true);
    const buffer = rc === 0 ? 0 : this.buffer;
    return { buffer, data, sizes, firsts, ios: this.field('ios_in_progress'),
      distance: this.field('distance') };
  }

  #op(index: number, name: 'nblocks' | 'blocknum'): number {
    const { InProgressIO, ReadBuffersOperation, IN_PROGRESS_IO_BYTES } = layout;
    const io = this.field('ios') + index * IN_PROGRESS_IO_BYTES;
    return this.bench.get(io + InProgressIO.fields.op.offset, ReadBuffersOperation, name);
  }

  /** One call whose buffer is let go at once. */
  next(): Step {
    const step = this.step();
    if (step.buffer !== 0) this.bench.pg.ReleaseBuffer(step.buffer);
    return step;
  }
  /** Calls until the end of the stream, that one included. */
  rest(): Step[] {
    const steps: Step[] = [];
    do steps.push(this.next());
    while (steps.at(-1)?.buffer !== 0);
    return steps;
  }

  reset(): void {
    assert.is(this.bench.pg.read_stream_reset(this.at, 0), 0);
  }
  end(): void {
    assert.is(this.bench.pg.read_stream_end(this.at, 0), 0);
  }
}

/** A RelFileRef in this backend's memory. */
export function relationRef(bench: Bench, relNumber: number, temporary = false, fork = 0): number {
  const at = bench.pg.alloc(16);
  const bits = fork | (temporary ? layout.REL_TEMP : 0);
  bench.u32.set([REL.spcOid, REL.dbOid, relNumber, bits], at / 4);
  return at;
}
