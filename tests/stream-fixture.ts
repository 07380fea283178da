/**
 * Read streams under PostgreSQL's names, one call at a time: what each call handed out, which reads
 * it started, and how the stream stood after it.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import { type Bench, BLOCK } from './harness.ts';
import { putHeader } from './page-vectors.ts';

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
    const blocks = this.field('read_blocks');
    // A miss on the fast path takes the first place.
    const from = this.field('fast_path') === 1 ? 0 : this.field('next_io_index');
    const rc = this.ask();
    assert.ok(rc === 0 || rc === 1, `next_buffer answered ${rc}`);
    const buffer = rc === 0 ? 0 : this.buffer;
    const started = this.field('reads') - reads;
    const max = this.field('max_ios');
    const seen = Math.min(started, max);
    const places = Array.from({ length: seen }, (_, i) => (from + started - seen + i) % max);
    const sizes = places.map((place) => this.#op(place, 'nblocks'));
    const firsts = places.map((place) => this.#op(place, 'blocknum'));
    if (started > seen) {
      // One more than there are places: it was waited for in this call, and its place used again.
      const others = sizes.reduce((sum, size) => sum + size, 0);
      sizes.unshift(this.field('read_blocks') - blocks - others);
      firsts.unshift(blockIn(this.bench, buffer));
    }
    const data = this.bench.view.getUint32(this.#out + 4, true);
    const ios = this.field('ios_in_progress');
    return { buffer, data, sizes, firsts, ios, distance: this.field('distance') };
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

/** Where `relationFile` leaves a block's number in its page. */
const NUMBER_AT = 4096;

/** Blocks that verify where there are no checksums, each with its number in it. */
export function relationFile(bench: Bench, blocks: number, options: FileOptions = {}): string {
  const { relNumber = REL.relNumber, temporary = false } = options;
  const name = `${temporary ? `t${bench.pg.procno}_` : ''}${relNumber}`;
  const path = bench.path(`base/${REL.dbOid}/${name}`);
  const bytes = Buffer.alloc(blocks * BLOCK);
  const page = putHeader(new Uint8Array(BLOCK));
  for (let block = 0; block < blocks; block++) {
    bytes.set(page, block * BLOCK);
    bytes.writeUInt32LE(block, block * BLOCK + NUMBER_AT);
  }
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  return path;
}
export interface FileOptions {
  readonly relNumber?: number;
  readonly temporary?: boolean;
}

/** The block whose page is in a pinned buffer. */
export function blockIn(bench: Bench, buffer: number): number {
  return bench.view.getUint32(bench.pg.BufferGetPage(buffer) + NUMBER_AT, true);
}

/** Forgets what the pool has of the relation from a block on. */
export function invalidate(bench: Bench, from = 0, relNumber: number = REL.relNumber): void {
  const rel = relationRef(bench, relNumber);
  assert.is(bench.pg.DropRelationBuffers(rel, from, 0), 0);
}

/** Brings blocks into the pool, one by one. */
export function cache(bench: Bench, blocks: readonly number[]): void {
  const { pg } = bench;
  const rel = relationRef(bench, REL.relNumber);
  for (const block of blocks) pg.ReleaseBuffer(pg.ReadBuffer(rel, block, 0, 0));
}

/** Buffers this backend has pinned, shared and local ones: those its own counts say. */
export function pinned(bench: Bench): number {
  const stride = Math.ceil((bench.ctl('shared_buffers') * layout.BUFFER_PIN_BYTES) / 128) * 128;
  const at = bench.ctl('buffer_pins') + bench.pg.procno * stride;
  const counts = new Uint16Array(bench.u8.buffer, at, bench.ctl('shared_buffers'));
  return counts.reduce((sum, own) => sum + (own & layout.BP_COUNT), 0);
}
