/**
 * Relations for tests of the buffer pool: files of pages, sound and not, below the data directory
 * of a bench, and the calls of bufmgr.h on them, after PostgreSQL's module test_aio.
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import { relationPath } from '../bindings/target.ts';
import { type Bench, BLOCK } from './harness.ts';
import {
  emptyPage,
  garbagePage,
  patternPage,
  putChecksum,
  storedChecksum,
} from './page-vectors.ts';

/**
 * ok; new: all zero; hdr: bad header under a good checksum; sum: bad checksum; both; trash: new,
 * and not zero.
 */
export type Kind = 'ok' | 'new' | 'hdr' | 'sum' | 'both' | 'trash';

export function pageOf(kind: Kind, block: number): Uint8Array {
  const spoil = (page: Uint8Array) => {
    const wrong = storedChecksum(page) === 65535 ? 1 : storedChecksum(page) + 1;
    new DataView(page.buffer).setUint16(8, wrong, true);
    return page;
  };
  const header = () => putChecksum(emptyPage(BLOCK, { special: 8193 }), block);
  switch (kind) {
    case 'ok': {
      const page = patternPage();
      new DataView(page.buffer).setUint32(NUMBER_AT, block, true);
      return putChecksum(page, block);
    }
    case 'new':
      return new Uint8Array(BLOCK);
    case 'hdr':
      return header();
    case 'sum':
      return spoil(putChecksum(patternPage(), block));
    case 'both':
      return spoil(header());
    case 'trash':
      return garbagePage(5000);
    default:
      return kind satisfies never;
  }
}
/** Where a sound page has its block number. */
export const NUMBER_AT = 4000;

/** Settings for a pool: four times the blocks of an I/O. */
export const POOL = {
  shared_buffers: 64,
  io_frames: 64,
  temp_buffers: 100,
  max_backends: 3,
  io_max_concurrency: 8,
} as const;

export interface RelationOptions {
  readonly relNumber?: number;
  readonly spcOid?: number;
  readonly dbOid?: number;
  readonly temp?: boolean;
  readonly fork?: number;
}

export interface Row {
  readonly off: number;
  readonly block: number;
  readonly io: boolean;
  readonly foreign: boolean;
  readonly nblocks: number;
}
interface Started extends Row {
  readonly op: number;
  readonly buffers: number;
}

/** A read of the low level that has begun. */
export interface LowLevel {
  readonly buffers: readonly number[];
  readonly ret: number;
  readonly ref: number;
}

const OP = layout.ReadBuffersOperation.fields;
const NO_WREF = 0xffffffff;

/** A relation fork, as one backend sees it. */
export class Relation {
  readonly bench: Bench;
  /** Address of its RelFileRef. */
  readonly at: number;
  readonly temp: boolean;
  /** As messages name it. */
  readonly path: string;

  constructor(bench: Bench, options: RelationOptions = {}) {
    const { relNumber = 16384, spcOid = 1663, dbOid = spcOid === 1664 ? 0 : 5 } = options;
    const { temp = false, fork = 0 } = options;
    this.bench = bench;
    this.temp = temp;
    this.at = bench.pg.alloc(layout.REL_REF_BYTES);
    const bits = fork | (temp ? layout.REL_TEMP : 0);
    bench.u32.set([spcOid, dbOid, relNumber, bits], this.at / 4);
    const name = (['main', 'fsm', 'vm', 'init'] as const)[fork] ?? 'main';
    const procno = temp ? bench.pg.procno : undefined;
    this.path = relationPath({ spcOid, dbOid, relNumber }, name, procno);
  }

  /** The same relation for another backend. */
  seenBy(bench: Bench): Relation {
    const [spcOid = 0, dbOid = 0, relNumber = 0] = this.bench.u32.subarray(this.at / 4);
    return new Relation(bench, { spcOid, dbOid, relNumber, temp: this.temp });
  }

  // Its files.

  file(segment = 0): string {
    const path = this.bench.path(this.path);
    return segment === 0 ? path : `${path}.${segment}`;
  }
  /** Writes the file anew: a page of each kind, or sound ones. */
  fill(kinds: number | readonly Kind[]): this {
    const list =
      typeof kinds === 'number' ? Array.from({ length: kinds }, () => 'ok' as const) : kinds;
    mkdirSync(dirname(this.file()), { recursive: true });
    writeFileSync(this.file(), Buffer.concat(list.map((kind, block) => pageOf(kind, block))));
    return this;
  }
  /** Writes one page straight to the file, and evicts the block. */
  modify(block: number, kind: Kind): void {
    this.evict(block);
    const fd = openSync(this.file(), 'r+');
    try {
      writeSync(fd, pageOf(kind, block), 0, BLOCK, block * BLOCK);
    } finally {
      closeSync(fd);
    }
  }
  /** A page as the file has it. */
  onDisk(block: number): Uint8Array {
    const bytes = readFileSync(this.file());
    return new Uint8Array(bytes.subarray(block * BLOCK, (block + 1) * BLOCK));
  }
  get exists(): boolean {
    return existsSync(this.file());
  }

  // Its buffers.

  /** Takes block `block`, or every one, out of the pool. */
  evict(block?: number): void {
    const { pg } = this.bench;
    if (this.temp) {
      pg.DropRelationBuffers(this.at, block ?? 0, 0);
      return;
    }
    for (let buffer = 1; buffer <= this.bench.ctl('shared_buffers'); buffer++) {
      const desc = this.desc(buffer);
      const mine = [0, 1, 2, 3].every(
        (i) => this.bench.u32[desc / 4 + 2 + i] === this.bench.u32[this.at / 4 + i],
      );
      const held = (this.state(buffer) & layout.BM_TAG_VALID) !== 0;
      const one = block === undefined || this.bench.u32[desc / 4 + 6] === block;
      if (mine && held && one) assert.is(pg.EvictUnpinnedBuffer(buffer), 1, `buffer ${buffer}`);
    }
  }
  desc(buffer: number): number {
    return this.bench.ctl('buffer_descs') + (buffer - 1) * layout.BUFFER_DESC_BYTES;
  }
  /** State word of a shared buffer. */
  state(buffer: number): number {
    return this.bench.get(this.desc(buffer), layout.BufferDesc, 'buf_state');
  }

  /** A new operation on the relation. */
  operation(strategy = 0): number {
    const { bench } = this;
    const op = bench.pg.alloc(layout.READ_OPERATION_BYTES);
    bench.u8.copyWithin(op, this.at, this.at + layout.REL_REF_BYTES);
    bench.u32[(op + OP.strategy.offset) / 4] = strategy;
    return op;
  }
  field(op: number, name: keyof typeof OP): number {
    return this.bench.get(op, layout.ReadBuffersOperation, name);
  }

  /** StartReadBuffers: its answer, and how many blocks it is about. */
  start(op: number, buffers: number, block: number, wanted: number, flags = 0) {
    const { pg, u32 } = this.bench;
    const count = pg.alloc(4);
    u32[count / 4] = wanted;
    const rc = pg.StartReadBuffers(op, buffers, block, count, flags);
    return { rc, nblocks: u32[count / 4] ?? 0 };
  }
  buffersAt(address: number, count: number): number[] {
    return [...this.bench.i32.subarray(address / 4, address / 4 + count)];
  }

  /** io_combine_limit of this backend; set it here. */
  get combineLimit(): number {
    return this.#combineLimit;
  }
  set combineLimit(blocks: number) {
    this.#combineLimit = blocks;
    this.bench.pg.set('io_combine_limit', blocks);
  }
  #combineLimit = 16;

  /** test_aio's read_buffers, its first half: starts all reads, as many as it takes. */
  startAll(first: number, count: number, flags = 0): Started[] {
    const { bench } = this;
    const limit = Math.min(this.combineLimit, bench.ctl('io_max_combine_limit'));
    const buffers = bench.pg.alloc(4 * count);
    const started: Started[] = [];
    for (let off = 0; off < count; ) {
      const op = this.operation();
      const at = buffers + 4 * off;
      const wanted = Math.min(count - off, limit);
      const { rc, nblocks } = this.start(op, at, first + off, wanted, flags);
      assert.ok(rc === 0 || rc === 1, `StartReadBuffers of block ${first + off}: ${rc}`);
      const foreign = this.field(op, 'foreign_io') === 1;
      started.push({ off, block: first + off, io: rc === 1, foreign, nblocks, op, buffers: at });
      off += nblocks;
    }
    return started;
  }
  /** Its second half: waits for all and lets all go; the first error is thrown at the end. */
  finishAll(started: readonly Started[]): void {
    const { pg } = this.bench;
    let failure: unknown;
    for (const { op, io } of started) {
      try {
        if (io) pg.WaitReadBuffers(op, 0);
      } catch (error) {
        failure ??= error;
      }
    }
    for (const { buffers, nblocks } of started) {
      for (const buffer of this.buffersAt(buffers, nblocks)) {
        if (failure === undefined) this.assertPage(buffer);
        pg.ReleaseBuffer(buffer);
      }
    }
    if (failure !== undefined) throw failure;
  }
  assertPage(buffer: number): void {
    assert.is(this.bench.pg.BufferIsValid(buffer), 1, `buffer ${buffer} holds its page`);
  }
  /** Both halves: what each call was about. */
  readBuffers(first: number, count: number, flags = 0): Row[] {
    const mark = this.bench.pg.alloc(0);
    const started = this.startAll(first, count, flags);
    const rows = started.map(rowOf);
    try {
      this.finishAll(started);
    } finally {
      this.bench.pg.reset(mark);
    }
    return rows;
  }
  /** Reads block by block, as a scan of the table: the numbers in the sound pages. */
  scan(count: number, flags = 0): number[] {
    const { pg, view } = this.bench;
    const numbers: number[] = [];
    for (let block = 0; block < count; block++) {
      const mark = pg.alloc(0);
      const [started] = this.startAll(block, 1, flags);
      assert.ok(started);
      if (started.io) this.wait(started);
      const [buffer = 0] = this.buffersAt(started.buffers, 1);
      numbers.push(view.getUint32(pg.BufferGetPage(buffer) + NUMBER_AT, true));
      pg.ReleaseBuffer(buffer);
      pg.reset(mark);
    }
    return numbers;
  }
  /** Waits for one; lets its buffers go if it fails. */
  wait(started: Started, nowait = 0): number {
    const { pg } = this.bench;
    try {
      return pg.WaitReadBuffers(started.op, nowait);
    } catch (error) {
      for (const buffer of this.buffersAt(started.buffers, started.nblocks)) {
        pg.ReleaseBuffer(buffer);
      }
      throw error;
    }
  }

  /**
   * test_aio's read_rel_block_ll: the calls that StartReadBuffers is made of, on buffers without
   * pages. Starts and does not wait.
   */
  startLowLevel(block: number, nblocks = 1, data = 0): LowLevel {
    const { bench, temp } = this;
    const { pg, u32 } = bench;
    const buffers = Array.from({ length: nblocks }, (_, i) => this.pin(block + i));
    for (const buffer of buffers) assert.is(pg.StartBufferIO(buffer, 1, 1), 1, `buffer ${buffer}`);
    const ret = pg.alloc(layout.RETURN_BYTES);
    const ref = pg.alloc(16);
    const ioh = pg.pgaio_io_acquire(0, ret);
    pg.pgaio_io_get_wref(ioh, ref);
    const numbers = pg.alloc(4 * nblocks);
    bench.i32.set(buffers, numbers / 4);
    pg.pgaio_io_set_handle_data_32(ioh, numbers, nblocks);
    if (temp) pg.pgaio_io_set_flag(ioh, layout.PGAIO_HF_REFERENCES_LOCAL);
    const id = temp ? layout.PGAIO_HCB_LOCAL_BUFFER_READV : layout.PGAIO_HCB_SHARED_BUFFER_READV;
    pg.pgaio_io_register_callbacks(ioh, id, data);
    const pages = pg.alloc(4 * nblocks);
    u32.set(
      buffers.map((buffer) => pg.BufferGetPage(buffer)),
      pages / 4,
    );
    pg.smgrstartreadv(ioh, this.at, block, pages, nblocks);
    return { buffers, ret, ref };
  }
  /** Waits for it and lets the buffers go; an error is thrown, a warning reported. */
  finishLowLevel({ buffers, ret, ref }: LowLevel): void {
    const { pg } = this.bench;
    pg.pgaio_wref_wait(ref);
    for (const buffer of buffers) pg.ReleaseBuffer(buffer);
    const { status } = this.bench.result({ ret });
    if (status === 'OK') return;
    const level = status === 'ERROR' ? layout.ERROR_LEVEL : layout.WARNING;
    pg.pgaio_result_report(ret, ret + layout.PgAioReturn.fields.target_data.offset, level);
  }

  /** Pins the buffer of a block without reading it: a "toy" buffer. */
  pin(block: number): number {
    const { pg, i32 } = this.bench;
    const to = pg.alloc(4);
    pg.PinBufferForBlock(this.operation(), block, to, 0);
    return i32[to / 4] ?? 0;
  }

  /** Changes a byte of a page in its buffer. */
  change(block: number, value: number): void {
    const { pg, view } = this.bench;
    const buffer = this.temp ? this.readTemp(block) : pg.ReadBuffer(this.at, block, 0, 0);
    pg.LockBuffer(buffer, layout.BUFFER_LOCK_EXCLUSIVE, 0);
    view.setUint32(pg.BufferGetPage(buffer) + NUMBER_AT, value, true);
    pg.MarkBufferDirty(buffer);
    pg.LockBuffer(buffer, layout.BUFFER_LOCK_UNLOCK, 0);
    pg.ReleaseBuffer(buffer);
  }
  readTemp(block: number): number {
    const [started] = this.startAll(block, 1);
    assert.ok(started);
    if (started.io) this.wait(started);
    return this.buffersAt(started.buffers, 1)[0] ?? 0;
  }
}

export function rowOf({ off, block, io, foreign, nblocks }: Row): Row {
  return { off, block, io, foreign, nblocks };
}
/** `off|block|io|nblocks`, with `foreign` before the last if asked for: as test_aio prints rows. */
export function rowsOf(rows: readonly Row[], withForeign = false): string[] {
  const mark = (value: boolean) => (value ? 't' : 'f');
  return rows.map(({ off, block, io, foreign, nblocks }) =>
    [off, block, mark(io), ...(withForeign ? [mark(foreign)] : []), nblocks].join('|'),
  );
}

/** The reference in an operation, or undefined when it is none. */
export function wrefOf(relation: Relation, op: number): number | undefined {
  const index = relation.field(op, 'io_wref');
  return index === NO_WREF ? undefined : op + OP.io_wref.offset;
}
