/** The buffer pool as a whole: what is in it, how it is used, flushing and emptying it. */
import * as layout from './layout.ts';
import type { Relation } from './relation.ts';
import type { Storage } from './storage.ts';
import { FORK_NAMES, type ForkName, type RelFileLocator } from './target.ts';

/** A buffer that holds a page, as it was a moment ago: a row of pg_buffercache. */
export interface BufferRow {
  /** From 1. */
  readonly buffer: number;
  readonly locator: RelFileLocator;
  readonly fork: ForkName;
  readonly block: number;
  readonly isDirty: boolean;
  /** Whether its page has been read. */
  readonly isValid: boolean;
  /** Whether it is being read or written. */
  readonly inProgress: boolean;
  /** 0 .. 5: how often the clock hand passes before its page goes. */
  readonly usage: number;
  /** Backends that have it pinned, I/O among them. */
  readonly pins: number;
}

/** How many buffers there are of each kind: pg_buffercache_summary. */
export interface BufferSummary {
  readonly buffers: number;
  readonly used: number;
  readonly dirty: number;
  readonly pinned: number;
  /** Buffers by usage count, 0 .. 5; unused ones are not counted. */
  readonly byUsage: readonly number[];
}

/** Counters of this backend. */
export interface BufferStats {
  /** Blocks found in a buffer. */
  readonly hits: bigint;
  /** Buffers that lost their page to another. */
  readonly evictions: bigint;
  /** Of those, the ones of an access strategy's ring. */
  readonly reuses: bigint;
  /** Writes of dirty buffers started. */
  readonly writeBacks: bigint;
  readonly checksumFailures: bigint;
}

export interface FlushOptions {
  /** Only this relation's buffers. @default all */
  readonly relation?: Relation;
  /** Whether the files that were written are synced, too. @default true */
  readonly sync?: boolean;
}

const DESC = layout.BufferDesc.fields;
const STRIDE = layout.BUFFER_DESC_BYTES;
const USAGE_SHIFT = 18;

/** Use `aio.buffers`. */
export class BufferPool {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** Buffers there are (shared_buffers). */
  get size(): number {
    return this.#storage.core.ctl('shared_buffers');
  }
  /** Pins a backend should not exceed: its share of the pool. */
  get pinLimit(): number {
    const { core } = this.#storage;
    return core.check(core.exports.GetPinLimit());
  }

  #word(index: number, field: keyof typeof DESC): number {
    const { core } = this.#storage;
    const at = core.ctl('buffer_descs') + index * STRIDE + DESC[field].offset;
    return core.u32[at >>> 2] ?? 0;
  }

  /** The buffers that hold a page, each as it was at one moment, but not all at the same. */
  *rows(): IterableIterator<BufferRow> {
    for (let index = 0; index < this.size; index++) {
      const row = this.#row(index);
      if (row !== undefined) yield row;
    }
  }
  #row(index: number): BufferRow | undefined {
    const state = this.#word(index, 'buf_state');
    if ((state & layout.BM_TAG_VALID) === 0) return undefined;
    const bits = this.#word(index, 'bits');
    return {
      buffer: index + 1,
      locator: {
        spcOid: this.#word(index, 'spcOid'),
        dbOid: this.#word(index, 'dbOid'),
        relNumber: this.#word(index, 'relNumber'),
      },
      fork: FORK_NAMES[bits & layout.REL_FORK_MASK] ?? 'main',
      block: this.#word(index, 'blockNum'),
      isDirty: (state & layout.BM_DIRTY) !== 0,
      isValid: (state & layout.BM_VALID) !== 0,
      inProgress: (state & layout.BM_IO_IN_PROGRESS) !== 0,
      usage: (state & layout.BUF_USAGECOUNT_MASK) >>> USAGE_SHIFT,
      pins: state & layout.BUF_REFCOUNT_MASK,
    };
  }

  /**
   * How hot each buffer is, a byte each: 0 no page, 1 .. 6 its usage count and one, and bits: 8
   * dirty, 16 pinned, 32 being read or written. For pictures of the pool.
   */
  heat(): Uint8Array {
    return Uint8Array.from({ length: this.size }, (_, index) => {
      const state = this.#word(index, 'buf_state');
      if ((state & layout.BM_TAG_VALID) === 0) return 0;
      const usage = (state & layout.BUF_USAGECOUNT_MASK) >>> USAGE_SHIFT;
      return (
        (usage + 1) |
        ((state & layout.BM_DIRTY) === 0 ? 0 : 8) |
        ((state & layout.BUF_REFCOUNT_MASK) === 0 ? 0 : 16) |
        ((state & layout.BM_IO_IN_PROGRESS) === 0 ? 0 : 32)
      );
    });
  }

  summary(): BufferSummary {
    const heat = this.heat();
    const count = (test: (one: number) => boolean): number =>
      heat.reduce((sum, one) => sum + (test(one) ? 1 : 0), 0);
    return {
      buffers: heat.length,
      used: count((one) => one !== 0),
      dirty: count((one) => (one & 8) !== 0),
      pinned: count((one) => (one & 16) !== 0),
      byUsage: [1, 2, 3, 4, 5, 6].map((usage) => count((one) => (one & 7) === usage)),
    };
  }

  /** Counters of this backend since its slot was laid out. */
  stats(): BufferStats {
    const { core } = this.#storage;
    const fields = layout.PgAioStorage.fields;
    const at = core.backend + layout.STORAGE_OFFSET;
    const count = (field: keyof typeof fields): bigint =>
      core.u64[(at + fields[field].offset) >>> 3] ?? 0n;
    return {
      hits: count('hits'),
      evictions: count('evictions'),
      reuses: count('reuses'),
      writeBacks: count('write_backs'),
      checksumFailures: count('checksum_failures'),
    };
  }

  /**
   * Writes what is dirty, and syncs the files it wrote: what a checkpoint does. Resolves when it is
   * on the device. How many writes, and how many segments were synced.
   */
  async flush(options: FlushOptions = {}): Promise<{ written: number; synced: number }> {
    const { core, arena } = this.#storage;
    const { relation, sync = true } = options;
    const fields = layout.FlushOperation.fields;
    const op = arena.take(layout.FLUSH_OPERATION_BYTES, 'a flush');
    const word = (field: keyof typeof fields): number => (op + fields[field].offset) >>> 2;
    try {
      core.u8.fill(0, op, op + layout.FLUSH_OPERATION_BYTES);
      if (relation !== undefined) {
        core.u8.copyWithin(op, relation.address, relation.address + layout.REL_REF_BYTES);
      }
      core.u32[word('sync')] = sync ? 1 : 0;
      await this.#storage.unblock(
        () => core.check(core.exports.FlushBuffers(op, 1)),
        op + fields.io_wref.offset,
      );
      return { written: core.u32[word('written')] ?? 0, synced: core.u32[word('synced')] ?? 0 };
    } finally {
      arena.give(op, layout.FLUSH_OPERATION_BYTES);
    }
  }

  /** Takes the page out of a buffer; false if it is pinned, dirty or in use. */
  evict(buffer: number): boolean {
    const { core } = this.#storage;
    return core.check(core.exports.EvictUnpinnedBuffer(buffer)) === 1;
  }

  /**
   * Takes out all pages, or one relation's, that are neither pinned nor dirty (flush first): how
   * many went, and how many stayed.
   */
  evictAll(relation?: Relation): { evicted: number; kept: number } {
    let evicted = 0;
    let kept = 0;
    const wanted = relation?.locator;
    for (const { buffer, locator, fork } of this.rows()) {
      const other =
        wanted !== undefined &&
        (locator.relNumber !== wanted.relNumber ||
          locator.dbOid !== wanted.dbOid ||
          locator.spcOid !== wanted.spcOid ||
          fork !== relation?.fork);
      if (other) continue;
      if (this.evict(buffer)) evicted++;
      else kept++;
    }
    return { evicted, kept };
  }
}
