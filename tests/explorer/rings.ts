/**
 * The kernel's side of io_uring as the core's imports see it, with rings `checked` and `shared`:
 * requests that end when chance says so, completions, the one thread that waits for some. After
 * host/shim/ring.c, one step of which is one step here: nobody is ended inside of it.
 */
import type { Transfer } from './files.ts';
import type { Thread, World } from './world.ts';

const EINTR = 4;
const EAGAIN = 11;
const EBUSY = 16;
const EINVAL = 22;
const OP = { READV: 1, WRITEV: 2, READ: 22, WRITE: 23 } as const;
/** What a call has for a number when the ring's owner has just left. */
const NO_RING = -1;
const BATCH = 32;
const SQE_BYTES = 64;
const CQE_BYTES = 16;
/** Where things lie in the room for a ring, as with the shim. */
const AT = { sqHead: 0, sqTail: 4, sqFlags: 8, cqHead: 64, cqTail: 128, cqes: 192 } as const;

interface Request {
  readonly userData: bigint;
  /** What it moves; nothing for syncs. */
  readonly transfer: Transfer | undefined;
}
interface Answer {
  readonly userData: bigint;
  readonly result: number;
}
interface Ring {
  readonly number: number;
  readonly shared: boolean;
  readonly entries: number;
  readonly ringsAt: number;
  readonly sqesAt: number;
  readonly cursorAt: number;
  readonly leaderAt: number;
  /** Who submits. */
  owner: Thread | undefined;
  readonly pending: Request[];
  /** Checked only: the kernel's own completions, and how far they were moved. */
  readonly answers: Answer[];
  tail: number;
  head: number;
  moved: number;
  taken: number;
  leader: Thread | undefined;
}

export class FakeRings {
  readonly #world: World;
  readonly #rings: Ring[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  get any(): boolean {
    return this.#rings.length > 0;
  }
  #word(at: number): number {
    return this.#world.word(at);
  }
  #store(at: number, value: number): void {
    this.#world.view.setInt32(at, value, true);
  }
  #of(number: number): Ring {
    const ring = this.#rings[number];
    if (ring === undefined) throw new Error(`there is no ring ${number}`);
    return ring;
  }

  setup(thread: Thread, values: readonly number[]): number {
    const [entries = 0, shared = 0, ringsAt = 0, , sqesAt = 0, cursorAt = 0, leaderAt = 0] = values;
    const outAt = values[9] ?? 0;
    let ring = this.#rings.find((other) => other.cursorAt === cursorAt);
    if (ring?.owner !== undefined && ring.owner !== thread) return -EBUSY;
    if (ring === undefined) {
      const number = this.#rings.length;
      const places = { ringsAt, sqesAt, cursorAt, leaderAt };
      const counters = { tail: 0, head: 0, moved: 0, taken: 0 };
      ring = {
        ...{ number, shared: shared === 1, entries, ...places, ...counters },
        ...{ owner: undefined, pending: [], answers: [], leader: undefined },
      };
      this.#rings.push(ring);
    }
    ring.owner = thread;
    const tell = (field: string, value: number): void =>
      this.#store(
        outAt +
          this.#world.layout.at(`PgAioUringContext.${field}`) -
          this.#world.layout.at('PgAioUringContext.base'),
        value,
      );
    for (let at = outAt; at < outAt + 40; at += 4) this.#store(at, 0); // `base` among them
    tell('cq_head', ringsAt + AT.cqHead);
    tell('cq_tail', ringsAt + AT.cqTail);
    tell('cq_entries', entries);
    tell('cqes', ringsAt + AT.cqes);
    if (ring.shared) {
      tell('sq_head', ringsAt + AT.sqHead);
      tell('sq_tail', ringsAt + AT.sqTail);
      tell('sq_flags', ringsAt + AT.sqFlags);
    }
    return ring.number;
  }

  /** How many entries are taken; now and then not all, or none for the moment. */
  enter(thread: Thread, number: number, first: number, count: number): number {
    const ring = this.#of(number);
    const { random, files } = this.#world;
    if (ring.owner !== thread) this.#world.fail(`${thread.name} submits to ring ${number}`);
    if (count === 0 || count > BATCH) this.#world.fail(`${count} entries are submitted`);
    let most = count;
    if (files.errors > 0 && random.once(files.errors)) {
      most = random.below(count + 1);
      if (most === 0) return -random.pick([EINTR, EAGAIN, EBUSY]);
    }
    for (let i = 0; i < most; i++) {
      ring.pending.push(this.#request(ring.sqesAt + ((first + i) % BATCH) * SQE_BYTES));
      if (random.once(4)) this.#end(ring, ring.pending.length - 1);
    }
    ring.taken = (ring.taken + most) | 0;
    if (ring.shared) {
      const head = ring.ringsAt + AT.sqHead;
      if (this.#word(ring.ringsAt + AT.sqTail) - this.#word(head) < most) {
        this.#world.fail(`${thread.name} submits more than its ring has`);
      }
      this.#store(head, this.#word(head) + most);
    }
    return most;
  }

  #request(at: number): Request {
    const { view } = this.#world;
    const op = view.getUint8(at);
    const userData = view.getBigUint64(at + 32, true);
    const isVector = op === OP.READV || op === OP.WRITEV;
    if (!isVector && op !== OP.READ && op !== OP.WRITE) return { userData, transfer: undefined };
    const address = Number(view.getBigUint64(at + 16, true));
    const length = view.getUint32(at + 24, true);
    const pieces = isVector
      ? Array.from({ length }, (_, i) => ({
          at: Number(view.getBigUint64(address + 16 * i, true)),
          length: Number(view.getBigUint64(address + 16 * i + 8, true)),
        }))
      : [{ at: address, length }];
    const transfer = {
      handle: Number(userData & 0xffffffffn),
      write: op === OP.WRITEV || op === OP.WRITE,
      fd: view.getInt32(at + 4, true),
      pieces,
      offset: Number(view.getBigUint64(at + 8, true)),
    };
    return { userData, transfer };
  }

  /** One request of any ring's ends. False if there is none. */
  step(): boolean {
    const busy = this.#rings.filter(({ pending }) => pending.length > 0);
    const ring = busy[this.#world.random.below(busy.length || 1)];
    if (ring === undefined) return false;
    this.#end(ring, this.#world.random.below(ring.pending.length));
    return true;
  }

  #end(ring: Ring, index: number): void {
    const [request] = ring.pending.splice(index, 1);
    if (request === undefined) return;
    const { userData, transfer } = request;
    const result = transfer === undefined ? 0 : this.#world.files.byKernel(transfer);
    if (this.#visible(ring) >= ring.entries) this.#world.fail(`ring ${ring.number} overflows`);
    if (ring.shared) {
      const tail = ring.ringsAt + AT.cqTail;
      this.#write(ring, this.#word(tail), { userData, result });
      this.#store(tail, this.#word(tail) + 1);
    } else {
      ring.answers[ring.tail % ring.entries] = { userData, result };
      ring.tail++;
    }
    if (ring.leader !== undefined) this.#world.wakeFromKernel(ring.leader);
  }

  #write(ring: Ring, number: number, { userData, result }: Answer): void {
    const at = ring.ringsAt + AT.cqes + (number & (ring.entries - 1)) * CQE_BYTES;
    this.#world.view.setBigUint64(at, userData, true);
    this.#world.view.setInt32(at + 8, result, true);
  }

  /** Completions that end a wait in the kernel at once. */
  #visible(ring: Ring): number {
    if (!ring.shared) return ring.tail - ring.head;
    return this.#word(ring.ringsAt + AT.cqTail) - this.#word(ring.ringsAt + AT.cqHead);
  }

  reap(number: number): number {
    if (number === NO_RING) return -EINVAL;
    const ring = this.#of(number);
    if (ring.shared) return 0;
    const begun = ring.moved;
    const held = ring.moved - this.#word(ring.ringsAt + AT.cqHead);
    for (let room = ring.entries - held; room > 0 && ring.moved !== ring.tail; room--) {
      const answer = ring.answers[ring.moved % ring.entries];
      if (answer !== undefined) this.#write(ring, ring.moved, answer);
      ring.moved++;
    }
    this.#store(ring.ringsAt + AT.cqTail, ring.moved);
    if (ring.leader === undefined) ring.head = ring.moved;
    else if (ring.moved !== ring.head) ring.head = ring.moved - 1;
    return ring.moved - begun;
  }

  /** Says that it is going to wait: 2 another does, 0 there is news, undefined it may sleep. */
  beginWait(thread: Thread, number: number, seen: number): 0 | 2 | undefined {
    if (number === NO_RING) return 0;
    const ring = this.#of(number);
    if (ring.leader !== undefined) return 2;
    ring.leader = thread;
    this.#store(ring.leaderAt, 1);
    const dealtWith = ring.shared ? this.#word(ring.cursorAt) : ring.moved;
    if (dealtWith === seen) return undefined;
    this.endWait(thread);
    return 0;
  }
  /** Whether the kernel lets nobody sleep now. */
  hasNews(number: number): boolean {
    return this.#visible(this.#of(number)) > 0;
  }
  endWait(thread: Thread): void {
    for (const ring of this.#rings) {
      if (ring.leader !== thread) continue;
      ring.leader = undefined;
      this.#store(ring.leaderAt, 0);
    }
  }

  taken(number: number): number {
    return this.#of(number).taken;
  }
  leave(thread: Thread, number: number): void {
    const ring = this.#of(number);
    if (ring.owner !== thread && ring.owner !== undefined) {
      this.#world.fail(`${thread.name} leaves ring ${number} of ${ring.owner.name}`);
    }
    ring.owner = undefined;
  }

  /** A thread has ended: what it had submitted was waited for. */
  drain(thread: Thread): void {
    this.endWait(thread);
    for (const ring of this.#rings) {
      if (ring.owner !== thread) continue;
      while (ring.pending.length > 0) this.#end(ring, 0);
      ring.owner = undefined;
    }
  }
}
