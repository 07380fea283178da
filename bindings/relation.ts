/** Relations: forks of tables and indexes, read and written through the buffer pool. */
import { BlockFeed } from './block-feed.ts';
import * as layout from './layout.ts';
import { u32 } from './numbers.ts';
import { PinnedBuffer } from './pinned-buffer.ts';
import {
  type BlockRange,
  type BlockSource,
  type NextBlock,
  ReadStream,
  type ReadStreamOptions,
} from './read-stream.ts';
import type { Storage } from './storage.ts';
import { FORK_NAMES, type ForkName, type RelFileLocator, relationPath } from './target.ts';

/** Which fork, and whose. */
export interface RelationOptions {
  /** @default 'main' */
  readonly fork?: ForkName;
  /** A temporary relation of this backend's: local buffers, files named after it. @default false */
  readonly temp?: boolean;
}

const REF_BYTES = layout.REL_REF_BYTES;
/** Most blocks `extend` makes at once: their buffers are pinned together for a moment. */
const EXTEND_BLOCKS_MAX = 64;

/** `base/5/16384`, `global/1262_vm`, `pg_tblspc/16400/PG_18_202506291/5/t3_16401`. */
const PLACE = /(?:global|base\/(?<db>\d+)|pg_tblspc\/(?<spc>\d+)\/[^/]+\/(?<spcDb>\d+))/.source;
const FILE = /(?<temp>t\d+_)?(?<rel>\d+)(?:_(?<fork>fsm|vm|init))?/.source;
const PATH = new RegExp(`^${PLACE}/${FILE}$`);

/** A relation by the path of its file below the data directory, without a segment's suffix. */
export function relationOfPath(path: string): {
  locator: RelFileLocator;
  fork: ForkName;
  temp: boolean;
} {
  const groups = PATH.exec(path)?.groups;
  if (groups === undefined) throw new RangeError(`"${path}" is no path of a relation`);
  const { db, spc, spcDb, temp, rel, fork } = groups;
  const spcOid = spc === undefined ? (db === undefined ? 1664 : 1663) : Number(spc);
  return {
    locator: { spcOid, dbOid: Number(db ?? spcDb ?? 0), relNumber: Number(rel) },
    fork: FORK_NAMES.find((name) => name === fork) ?? 'main',
    temp: temp !== undefined,
  };
}

/**
 * A relation fork. Blocks are counted over all its segments. What would have to wait is a promise;
 * `blocks`, `exists`, `create`, `extend` and `close` ask the file system at once. Errors are
 * PostgreSQL's: AioIoError, AioPageError. Dispose it to close its files.
 * @example
 * using relation = aio.relation({ spcOid: 1663, dbOid: 5, relNumber: 16384 });
 * for await (const buffer of relation.read()) console.log(buffer.block, buffer.page.itemCount);
 */
export class Relation implements Disposable {
  readonly locator: RelFileLocator;
  readonly fork: ForkName;
  readonly isTemp: boolean;
  readonly #storage: Storage;
  readonly #at: number;
  #closed = false;

  /** Use `aio.relation()`. */
  constructor(storage: Storage, locator: RelFileLocator, options: RelationOptions = {}) {
    const { fork = 'main', temp = false } = options;
    this.locator = locator;
    this.fork = fork;
    this.isTemp = temp;
    this.#storage = storage;
    const words = [
      u32('spcOid', locator.spcOid),
      u32('dbOid', locator.dbOid),
      u32('relNumber', locator.relNumber),
      FORK_NAMES.indexOf(fork) | (temp ? layout.REL_TEMP : 0),
    ];
    this.#at = storage.arena.take(REF_BYTES, 'a relation');
    storage.core.u32.set(words, this.#at >>> 2);
  }

  /** Path of its first segment below the data directory. */
  get path(): string {
    const { core } = this.#storage;
    const owner = this.isTemp ? core.procno : undefined;
    return relationPath(this.locator, this.fork, owner, core.words.tablespaceVersionDirectory);
  }
  /** For the engine: address of its RelFileRef. */
  get address(): number {
    if (this.#closed) throw new ReferenceError(`relation "${this.path}" is closed`);
    this.#storage.core.requireOpen();
    return this.#at;
  }

  #call(call: (rel: number) => number): number {
    return this.#storage.core.check(call(this.address));
  }

  /** Blocks it has now; a part of one at its end does not count. */
  get blocks(): number {
    return this.#call(this.#storage.core.exports.smgrnblocks);
  }
  /** Whether its first segment is there. */
  get exists(): boolean {
    return this.#call(this.#storage.core.exports.smgrexists) === 1;
  }
  /** Makes it, empty. `ifMissing`: it may be there already. */
  create(options: { readonly ifMissing?: boolean } = {}): void {
    const redo = options.ifMissing === true ? 1 : 0;
    this.#call((rel) => this.#storage.core.exports.smgrcreate(rel, redo));
  }

  /** Another fork of the same relation. */
  otherFork(fork: ForkName): Relation {
    return new Relation(this.#storage, this.locator, { fork, temp: this.isTemp });
  }

  /** Its blocks in a row, all of them unless told otherwise. */
  read(options: BlockRange & ReadStreamOptions = {}): ReadStream {
    const { from = 0, to = this.blocks } = options;
    return this.#stream({ range: { from, to } }, options);
  }

  /** These blocks, in this order, duplicates too. The source is asked some blocks ahead. */
  readBlocks(
    blocks: Iterable<number> | AsyncIterable<number>,
    options: ReadStreamOptions = {},
  ): ReadStream<number> {
    return this.#stream({ feed: new BlockFeed(blocks, (block) => block) }, options);
  }

  /** A block for each entry, with the entry as `data`: items of an index, say. */
  readEach<Entry>(
    entries: Iterable<Entry> | AsyncIterable<Entry>,
    blockOf: (entry: Entry) => number,
    options: ReadStreamOptions = {},
  ): ReadStream<Entry> {
    return this.#stream({ feed: new BlockFeed(entries, blockOf) }, options);
  }

  /** The blocks `next` gives, asked for one at a time when the stream looks further. */
  readNext(next: NextBlock, options: ReadStreamOptions = {}): ReadStream {
    return this.#stream({ next }, options);
  }

  #stream<Data>(source: BlockSource<Data>, options: ReadStreamOptions): ReadStream<Data> {
    const place = { at: this.address, isTemp: this.isTemp };
    const usual = { sequential: 'range' in source, batching: !('next' in source) };
    return new ReadStream<Data>(this.#storage, place, source, { ...usual, ...options });
  }

  /** One block, pinned until you dispose of it. A promise only if it is not in the pool. */
  readBlock(block: number, options: ReadStreamOptions = {}): PinnedBuffer | Promise<PinnedBuffer> {
    const { core } = this.#storage;
    if (!this.isTemp) {
      const buffer = this.#call((rel) =>
        core.exports.ReadBuffer(rel, u32('block', block), layout.READ_BUFFERS_NOWAIT, 0),
      );
      if (buffer !== 0) return new PinnedBuffer(this.#storage, buffer, 0, undefined);
    }
    return this.#readOne(block, options);
  }
  async #readOne(block: number, options: ReadStreamOptions): Promise<PinnedBuffer> {
    const stream = this.#stream<undefined>({ range: { from: block, to: block + 1 } }, options);
    try {
      const buffer = await stream.next();
      if (buffer === undefined) throw new RangeError('a stream of one block had none');
      return buffer.keep();
    } finally {
      stream[Symbol.dispose]();
    }
  }

  /** Brings blocks into the pool and lets them go there. How many. */
  async prewarm(options: BlockRange & ReadStreamOptions = {}): Promise<number> {
    const stream = this.read({ full: true, maintenance: true, batching: true, ...options });
    let count = 0;
    try {
      for (;;) {
        const next = stream.next();
        if ((next instanceof Promise ? await next : next) === undefined) return count;
        count++;
      }
    } finally {
      await stream[Symbol.asyncDispose]();
    }
  }

  /**
   * Makes it `blocks` blocks longer, of zeros: in the file, and in the pool where a buffer can be
   * had without waiting for a dirty page to be written. The first new block.
   */
  extend(blocks = 1): number {
    const { core, arena } = this.#storage;
    const at = arena.take(4 * EXTEND_BLOCKS_MAX, 'extending a relation');
    try {
      let first: number | undefined;
      for (let left = u32('blocks', blocks); left > 0; ) {
        const count = Math.min(left, EXTEND_BLOCKS_MAX);
        const begun = this.#call((rel) => core.exports.ExtendBufferedRelBy(rel, count, at, 1));
        for (let i = 0; i < count; i++) {
          const buffer = core.i32[(at >>> 2) + i] ?? 0;
          if (buffer !== 0) core.check(core.exports.ReleaseBuffer(buffer));
        }
        first ??= begun;
        left -= count;
      }
      return first ?? this.blocks;
    } finally {
      arena.give(at, 4 * EXTEND_BLOCKS_MAX);
    }
  }

  /** Cuts it to `blocks` blocks. What is dirty beyond is forgotten; a pin there is an error. */
  async truncate(blocks: number): Promise<void> {
    await this.invalidate(blocks);
    this.#call((rel) => this.#storage.core.exports.smgrtruncate(rel, u32('blocks', blocks)));
  }

  /** Forgets what the pool has of it from block `from` on, dirty or not. A pin is an error. */
  async invalidate(from = 0): Promise<void> {
    const { exports } = this.#storage.core;
    u32('from', from);
    await this.#storage.unblock(() =>
      this.#call((rel) => exports.DropRelationBuffers(rel, from, 1)),
    );
  }

  /** Removes it: its buffers, then its files. */
  async drop(): Promise<void> {
    const { exports } = this.#storage.core;
    await this.#storage.unblock(() => this.#call((rel) => exports.pgaio_drop_relation(rel, 1)));
  }

  /** Closes its files. Streams over it go on; so does I/O in flight. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    const { core, arena } = this.#storage;
    if (!core.closed) this.#call(core.exports.smgrclose);
    this.#closed = true;
    arena.give(this.#at, REF_BYTES);
  }
}
