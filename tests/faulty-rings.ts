/**
 * io_uring's rings with faults to order. An entry is changed before the kernel sees it: to move
 * less, or to do nothing and answer with an error. The shim refuses the latter with rings
 * `checked`, and it is the answer that is changed there. Reads that are held up are handed over
 * later.
 */
import { errnoOfName } from '../bindings/errno.ts';
import type { UringHost } from '../bindings/host.ts';
import * as layout from '../bindings/layout.ts';
import type { FaultCounter, Injection } from './test-device.ts';

const SQE_BYTES = 64;
const CQE_BYTES = 16;
const RING_SLOTS = 32;
const OP_NOP = 0;
const OP_READV = 1;
const OP_WRITEV = 2;
const OP_READ_FIXED = 4;
const OP_WRITE_FIXED = 5;
const OP_READ = 22;
const OP_WRITE = 23;
const READS = [OP_READV, OP_READ_FIXED, OP_READ];
const VECTORS = [OP_READV, OP_WRITEV];
const TRANSFERS = [...READS, OP_WRITEV, OP_WRITE_FIXED, OP_WRITE];
/** linux/io_uring.h: the operation does nothing and answers what stands in `len`. */
const NOP_INJECT_RESULT = 1;
const EINTR = 4;
const EIO = 5;
/** Words of what `setup` leaves at `out`. */
const OUT = { cqTail: 6, cqEntries: 7, cqes: 8 } as const;

interface Ring {
  readonly sqes: number;
  readonly out: number;
  readonly shared: boolean;
  /** What operations are to be answered with, by user data; rings `checked`. */
  readonly answers: Map<bigint, number>;
  /** Entries that are held up: the first one's number, and how many. */
  first: number;
  held: number;
}

/** Rings of this thread by memory: who waits for another's hands over what that holds up. */
const ALL = new WeakMap<WebAssembly.Memory, Map<number, Ring>>();

class FaultyRings {
  readonly #inner: UringHost;
  readonly #memory: WebAssembly.Memory;
  readonly #view: DataView;
  readonly #u8: Uint8Array;
  readonly #counter: FaultCounter;
  readonly #injection: Injection;
  readonly #rings: Map<number, Ring>;

  constructor(
    inner: UringHost,
    memory: WebAssembly.Memory,
    counter: FaultCounter,
    injection: Injection,
  ) {
    this.#inner = inner;
    this.#memory = memory;
    this.#view = new DataView(memory.buffer);
    this.#u8 = new Uint8Array(memory.buffer);
    this.#counter = counter;
    this.#injection = injection;
    this.#rings = ALL.get(memory) ?? new Map<number, Ring>();
    ALL.set(memory, this.#rings);
  }

  setup(...asked: Parameters<UringHost['setup']>): number {
    const number = this.#inner.setup(...asked);
    const [, shared, , , sqes, , , , , out] = asked;
    const answers = new Map<bigint, number>();
    this.#rings.set(number, { sqes, out, shared: shared === 1, answers, first: 0, held: 0 });
    return number;
  }

  enter(number: number, first: number, count: number): number {
    const ring = this.#rings.get(number);
    if (ring === undefined) return this.#inner.enter(number, first, count);
    if (this.#counter.interrupted()) return -EINTR;
    this.#handOver(number, ring);
    const reads = this.#entries(ring, first, count).some((at) => this.#isRead(at));
    if (ring.held > 0 || (reads && this.#injection.holds)) {
      if (ring.held === 0) ring.first = first;
      ring.held += count;
      return count;
    }
    this.#spoilAll(ring, first, count);
    return this.#inner.enter(number, first, count);
  }

  reap(number: number): number {
    const ring = this.#rings.get(number);
    if (ring !== undefined) this.#handOver(number, ring);
    const moved = this.#inner.reap(number);
    if (ring === undefined || ring.answers.size === 0 || moved <= 0) return moved;
    const word = (index: number): number => this.#view.getUint32(ring.out + 4 * index, true);
    const [entries, cqes] = [word(OUT.cqEntries), word(OUT.cqes)];
    const tail = this.#view.getUint32(word(OUT.cqTail), true);
    for (let entry = tail - moved; entry !== tail; entry++) {
      const cqe = cqes + (entry & (entries - 1)) * CQE_BYTES;
      const answer = ring.answers.get(this.#view.getBigUint64(cqe, true));
      if (answer !== undefined) this.#view.setInt32(cqe + 8, answer, true);
    }
    return moved;
  }

  wait(number: number, seen: number, milliseconds: number): number {
    for (const [other, ring] of this.#rings) this.#handOver(other, ring);
    return this.#inner.wait(number, seen, milliseconds);
  }

  /** What was held up goes to the kernel, as faults are ordered by now. */
  #handOver(number: number, ring: Ring): void {
    if (ring.held === 0 || this.#injection.holds) return;
    this.#spoilAll(ring, ring.first, ring.held);
    this.#inner.enter(number, ring.first, ring.held);
    ring.held = 0;
  }

  #entries(ring: Ring, first: number, count: number): number[] {
    return Array.from({ length: count }, (_, i) => {
      return ring.sqes + ((first + i) % RING_SLOTS) * SQE_BYTES;
    });
  }
  #isRead(at: number): boolean {
    return READS.includes(this.#view.getUint8(at));
  }

  #spoilAll(ring: Ring, first: number, count: number): void {
    for (const at of this.#entries(ring, first, count)) {
      if (!TRANSFERS.includes(this.#view.getUint8(at))) continue;
      const fault = this.#counter.next();
      const injected = this.#isRead(at) ? this.#injection.outcome() : undefined;
      const errno = fault.errno === undefined ? (injected?.errno ?? 0) : errnoOfName(fault.errno);
      const bytes = fault.bytes ?? injected?.bytes;
      if (errno !== 0) this.#spoil(ring, at, errno ?? EIO);
      else if (bytes !== undefined) this.#shorten(at, bytes);
    }
  }

  #spoil(ring: Ring, at: number, errno: number): void {
    const userData = this.#view.getBigUint64(at + 32, true);
    if (!ring.shared) {
      ring.answers.set(userData, -errno);
      return;
    }
    this.#u8.fill(0, at, at + SQE_BYTES);
    this.#view.setUint8(at, OP_NOP);
    this.#view.setInt32(at + 24, -errno, true);
    this.#view.setUint32(at + 28, NOP_INJECT_RESULT, true);
    this.#view.setBigUint64(at + 32, userData, true);
  }

  /** Cuts the buffers; what is not moved becomes zero, as it was never read. */
  #shorten(at: number, bytes: number): void {
    const view = this.#view;
    const base = view.getBigUint64(contextBase(this.#memory), true);
    const single = !VECTORS.includes(view.getUint8(at));
    const iovecs = single
      ? [{ place: at + 24, from: view.getBigUint64(at + 16, true) }]
      : Array.from({ length: view.getUint32(at + 24, true) }, (_, i) => {
          const iovec = Number(view.getBigUint64(at + 16, true) - base) + 16 * i;
          return { place: iovec + 8, from: view.getBigUint64(iovec, true) };
        });
    let left = bytes;
    for (const { place, from } of iovecs) {
      const length = view.getUint32(place, true);
      const kept = Math.min(length, left);
      left -= kept;
      this.#u8.fill(0, Number(from - base) + kept, Number(from - base) + length);
      view.setUint32(place, kept, true);
    }
  }
}

/** Rings over `inner` that fail as `counter` and `injection` say. */
export function faultyRings(
  inner: UringHost,
  memory: WebAssembly.Memory,
  counter: FaultCounter,
  injection: Injection,
): UringHost {
  const rings = new FaultyRings(inner, memory, counter, injection);
  return {
    ...inner,
    setup: (...asked) => rings.setup(...asked),
    enter: (...asked) => rings.enter(...asked),
    reap: (number) => rings.reap(number),
    wait: (...asked) => rings.wait(...asked),
  };
}

/** Address of the first backend's PgAioUringContext.base: the same in each. */
function contextBase(memory: WebAssembly.Memory): number {
  const { fields } = layout.PgAioCtl;
  const at = layout.CTL_AT + fields.uring_contexts.offset;
  const contexts = new DataView(memory.buffer).getUint32(at, true);
  return contexts + layout.PgAioUringContext.fields.base.offset;
}
