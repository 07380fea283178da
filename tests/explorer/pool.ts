/**
 * What backends do with the buffer pool in program `buffers`: pin, read, change, flush and evict
 * pages of one relation in a pool that is too small for it, and look at each page they get.
 */
import { PAGE_COUNTER_AT, PAGE_NUMBER_AT, REL_BLOCKS } from './files.ts';
import { Finding, type Part, type Thread, type World } from './world.ts';

const OPERATION_BYTES = 88;
const FLUSH_BYTES = 104;
const MOST_PINS = 3;
const MOST_BLOCKS = 2;
const NOWAIT = 16;
const EXCLUSIVE = 2;
const UNLOCK = 0;

type Act = 'read' | 'readMany' | 'change' | 'flush' | 'evict' | 'release' | 'drain';
const ACTS: readonly [Act, ...Act[]] = [
  'read',
  ...(['read', 'readMany', 'readMany', 'readMany', 'change', 'change'] as const),
  ...(['flush', 'evict', 'release', 'drain'] as const),
];

/** How often each page was changed, by all; exact as long as no thread has ended. */
export class Changes {
  readonly of = new Uint32Array(REL_BLOCKS);
}

export class PoolUser {
  readonly #world: World;
  readonly #thread: Thread;
  readonly #changes: Changes;
  /** It must not sleep for what a thread holds that has ended. */
  readonly #nowait: boolean;
  #at = 0;
  /** Buffers that are pinned, with their blocks. */
  #pins: { readonly buffer: number; readonly block: number }[] = [];

  constructor(world: World, thread: Thread, changes: Changes, nowait: boolean) {
    this.#world = world;
    this.#thread = thread;
    this.#changes = changes;
    this.#nowait = nowait;
  }

  *live(rounds: number, between: () => Part<void>): Part<void> {
    const { random, view } = this.#world;
    this.#at = yield* this.#thread.ok('pgaio_local_memory');
    view.setUint32(this.#at, 1663, true);
    view.setUint32(this.#at + 4, 5, true);
    view.setUint32(this.#at + 8, 16384, true);
    for (let round = 0; round < rounds; round++) {
      yield* between();
      yield* this.#act(random.pick(ACTS));
    }
    while (this.#pins.length > 0) yield* this.#release();
  }

  *#act(act: Act): Part<void> {
    switch (act) {
      case 'read':
        return yield* this.#read();
      case 'readMany':
        return yield* this.#readMany();
      case 'change':
        return yield* this.#change();
      case 'flush':
        return yield* this.#flush();
      case 'evict': {
        const buffers = this.#world.ctl('shared_buffers');
        yield* this.#thread.ok('EvictUnpinnedBuffer', this.#world.random.range(1, buffers));
        return;
      }
      case 'release':
        return yield* this.#release();
      case 'drain':
        yield* this.#thread.ok('pgaio_drain_completed');
        return;
      default:
        act satisfies never;
    }
  }

  /** A call that may find every buffer pinned, or fail as the files do. */
  *#may(name: string, ...values: number[]): Part<number> {
    const { layout } = this.#world;
    const result = yield* this.#thread.invoke(name, ...values);
    const allowed = ['E_NO_BUFFERS', 'E_IO_FAILED', 'E_NO_READ'].map((code) => layout.number(code));
    if (result < 0 && !allowed.includes(result)) {
      this.#world.fail(`${this.#thread.name}: ${name}(${values}) = ${result}`);
    }
    return result;
  }

  *#read(): Part<void> {
    if (this.#pins.length >= MOST_PINS) yield* this.#release();
    const block = this.#world.random.below(REL_BLOCKS);
    const flags = this.#nowait ? NOWAIT : 0;
    const buffer = yield* this.#may('ReadBuffer', this.#at, block, flags, 0);
    if (buffer > 0) yield* this.#got(buffer, block);
  }

  *#readMany(): Part<void> {
    const { view, random } = this.#world;
    while (this.#pins.length + MOST_BLOCKS > MOST_PINS) yield* this.#release();
    const op = this.#at;
    const buffers = op + OPERATION_BYTES;
    const count = buffers + 4 * MOST_BLOCKS;
    const block = random.below(REL_BLOCKS - MOST_BLOCKS);
    for (let i = 0; i < MOST_BLOCKS; i++) view.setUint32(buffers + 4 * i, 0, true);
    view.setUint32(count, MOST_BLOCKS, true);
    const flags = this.#nowait ? NOWAIT : 0;
    let rc = yield* this.#may('StartReadBuffers', op, buffers, block, count, flags);
    let valid = rc >= 0 && rc < 2 ? view.getUint32(count, true) : 0;
    if (rc === 1) {
      for (let looks = 0; looks < 6; looks++) {
        rc = yield* this.#may('WaitReadBuffers', op, this.#nowait ? 1 : 0);
        if (rc !== 2) break;
        yield* this.#thread.ok('pgaio_drain_completed');
      }
      if (rc < 0 || rc === 2) valid = 0;
    }
    for (let i = 0; i < MOST_BLOCKS; i++) {
      const buffer = view.getInt32(buffers + 4 * i, true);
      if (buffer === 0) continue;
      if (i < valid) yield* this.#got(buffer, block + i);
      else yield* this.#thread.ok('ReleaseBuffer', buffer);
    }
  }

  *#got(buffer: number, block: number): Part<void> {
    this.#pins.push({ buffer, block });
    yield* this.#look(buffer, block);
  }

  /** The page is the one it is said to be, with all changes so far. */
  *#look(buffer: number, block: number): Part<void> {
    const { view } = this.#world;
    const page = yield* this.#thread.ok('BufferGetPage', buffer);
    const number = view.getUint32(page + PAGE_NUMBER_AT, true);
    if (number !== block) {
      this.#world.fail(`${this.#thread.name}: buffer ${buffer} of block ${block} has ${number}`);
    }
    const changes = view.getUint32(page + PAGE_COUNTER_AT, true);
    if (this.#world.deaths === 0 && changes !== this.#changes.of[block]) {
      const expected = this.#changes.of[block];
      this.#world.fail(
        `${this.#thread.name}: block ${block} has ${changes} changes of ${expected}`,
      );
    }
  }

  *#change(): Part<void> {
    const { view, random } = this.#world;
    const pin = this.#pins[random.below(this.#pins.length || 1)];
    if (pin === undefined) return;
    const { buffer, block } = pin;
    const nowait = this.#nowait ? 1 : 0;
    const locked = yield* this.#thread.ok('LockBuffer', buffer, EXCLUSIVE, nowait);
    if (locked !== 0) return;
    yield* this.#look(buffer, block);
    const page = yield* this.#thread.ok('BufferGetPage', buffer);
    const counter = page + PAGE_COUNTER_AT;
    const before = view.getUint32(counter, true);
    view.setUint32(counter, before + 1, true);
    this.#changes.of[block] = before + 1;
    yield* this.#thread.ok('MarkBufferDirty', buffer);
    yield* this.#thread.ok('LockBuffer', buffer, UNLOCK, 0);
  }

  *#flush(): Part<void> {
    const op = this.#at + OPERATION_BYTES + 64;
    this.#world.bytes.fill(0, op, op + FLUSH_BYTES); // without a sync, which moves no bytes
    for (let steps = 0; steps < 8; steps++) {
      const rc = yield* this.#may('FlushBuffers', op, this.#nowait ? 1 : 0);
      if (rc !== 2) return;
      if (!this.#nowait) throw new Finding(`${this.#thread.name}: a flush that may wait does not`);
      yield* this.#thread.ok('pgaio_drain_completed');
    }
  }

  *#release(): Part<void> {
    const pin = this.#pins.pop();
    if (pin === undefined) return;
    yield* this.#look(pin.buffer, pin.block);
    yield* this.#thread.ok('ReleaseBuffer', pin.buffer);
  }
}
