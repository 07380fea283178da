/**
 * Who does the I/O in tests: a device for method host whose I/Os end when the test says so, and
 * faults to order for it and for every provider.
 */
import { fsyncSync, readvSync, writevSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { errnoOfName, wasiOfErrno } from '../bindings/errno.ts';
import { AioIoError } from '../bindings/errors.ts';
import type { IoDevice, IoProvider, UringHost, WasiIo } from '../bindings/host.ts';
import * as layout from '../bindings/layout.ts';
import { faultyRings } from './faulty-rings.ts';
import type { Bench } from './harness.ts';

/** What happens to the operations of a core, counted from 1 over reads and writes. */
export interface Faults {
  /** This operation fails; 0 none. */
  readonly failAt?: number;
  /** With this errno. @default 'EIO' */
  readonly errno?: string;
  /** This operation moves `shortBytes` at the most. */
  readonly shortAt?: number;
  readonly shortBytes?: number;
  /** So many calls are interrupted (EINTR) before the first goes through; WASI only. */
  readonly interruptions?: number;
}

function injectionWords(): Int32Array {
  return sharedWords(INJECT_WORDS).fill(NO_LIMIT, 0, 1);
}

/** Places in the words of an Injection. */
const INJECT = { shortBytes: 0, errno: 1, hold: 2, held: 3, openErrno: 4 } as const;
const INJECT_WORDS = 8;
const NO_LIMIT = -1;

/**
 * Faults that are put in and taken out while a test runs, in every thread: reads that are too
 * short or fail, files that cannot be opened again, I/O that does not complete.
 */
export class Injection {
  readonly words: Int32Array;
  constructor(words: Int32Array = injectionWords()) {
    this.words = words;
  }
  /** Reads of more bytes give so many; undefined: all they have. */
  set shortBytes(bytes: number | undefined) {
    Atomics.store(this.words, INJECT.shortBytes, bytes ?? NO_LIMIT);
  }
  /** Reads fail with this errno; 0 for none. */
  set errno(errno: number) {
    Atomics.store(this.words, INJECT.errno, errno);
  }
  /** I/O workers cannot open files; 0: they can. */
  set openErrno(errno: number) {
    Atomics.store(this.words, INJECT.openErrno, errno);
  }
  get openErrno(): number {
    return isMainThread ? 0 : Atomics.load(this.words, INJECT.openErrno);
  }
  /** Reads of other threads wait until `release`. */
  hold(): void {
    Atomics.store(this.words, INJECT.hold, 1);
  }
  release(): void {
    Atomics.store(this.words, INJECT.hold, 0);
    Atomics.notify(this.words, INJECT.hold);
  }
  /** Reads that wait now. */
  get held(): number {
    return Atomics.load(this.words, INJECT.held);
  }
  /** Where reads of threads that are not the test's come to wait. */
  pass(): void {
    while (!isMainThread && Atomics.load(this.words, INJECT.hold) === 1) {
      Atomics.add(this.words, INJECT.held, 1);
      Atomics.wait(this.words, INJECT.hold, 1);
      Atomics.sub(this.words, INJECT.held, 1);
    }
  }
  /** Whether reads are held up. */
  get holds(): boolean {
    return Atomics.load(this.words, INJECT.hold) === 1;
  }
  /** What becomes of a read: an errno, or the most bytes it may give. */
  outcome(): { readonly errno: number; readonly bytes: number | undefined } {
    const bytes = Atomics.load(this.words, INJECT.shortBytes);
    const errno = Atomics.load(this.words, INJECT.errno);
    return { errno, bytes: bytes === NO_LIMIT ? undefined : bytes };
  }
}

/**
 * When the device ends an I/O by itself: `now` inside submit, `wait` when somebody waits for it,
 * `never`: only the test does, and who waits is told that it cannot.
 */
export type DeviceMode = 'now' | 'wait' | 'never';

/** The device of method host: what was submitted lies here until it is completed. */
export class TestDevice implements IoDevice {
  mode: DeviceMode;
  /** Ids not completed yet, oldest first. */
  queue: number[] = [];
  /** Ids of each call of submit. */
  readonly submissions: number[][] = [];
  /** Ids somebody waited for. */
  readonly waits: number[] = [];
  /** Called in submit, before anything else: may throw. */
  onSubmit: ((ids: readonly number[]) => void) | undefined;
  /** Called in waitOne instead of what the mode says. */
  onWait: ((id: number) => void) | undefined;
  readonly #faults: FaultCounter;
  readonly #injection: Injection;
  #bench: Bench | undefined;

  constructor(mode: DeviceMode, faults: Faults = {}, injection = new Injection()) {
    this.mode = mode;
    this.#injection = injection;
    this.#faults = new FaultCounter(faults);
  }

  serve(bench: Bench): void {
    this.#bench = bench;
  }
  get bench(): Bench {
    if (this.#bench === undefined) throw new Error('the device serves no core yet');
    return this.#bench;
  }

  submit(ids: readonly number[]): void {
    this.submissions.push([...ids]);
    this.queue.push(...ids);
    this.onSubmit?.(ids);
    if (this.mode === 'now') for (const id of ids) this.complete(id);
  }

  waitOne(id: number): void {
    this.waits.push(id);
    if (this.onWait !== undefined) this.onWait(id);
    else if (this.mode !== 'never') this.complete(id);
  }

  /** Completes `id` with `raw`, or with what reading and writing its descriptor gives. */
  complete(id: number, raw: number = this.perform(id), by: Bench = this.bench): void {
    this.queue = this.queue.filter((other) => other !== id);
    by.pg.pgaio_io_process_completion(by.handleAt(id), raw);
  }

  completeAll(raw?: number): void {
    // Another backend's device may have ended some, for somebody who waited there.
    this.queue = this.queue.filter((id) => this.bench.stateOf(id) === 'SUBMITTED');
    for (const id of [...this.queue]) this.complete(id, raw);
  }

  /** Does what the handle says: bytes moved, or -errno. */
  perform(id: number): number {
    const { bench } = this;
    const fault = this.#faults.next();
    if (fault.errno !== undefined) return -(errnoOfName(fault.errno) ?? 5);
    const iovecs = iovecsOf(bench, id);
    const buffers = iovecs.map(([at, bytes]) => bench.u8.subarray(at, at + bytes));
    const { offset } = layout.PgAioHandle.fields.offset;
    const position = Number(bench.view.getBigUint64(bench.handleAt(id) + offset, true));
    const fd = bench.handle(id, 'fd');
    try {
      const op = bench.handle(id, 'op');
      if (op > layout.PGAIO_OP_WRITEV) {
        fsyncSync(fd);
        return 0;
      }
      const reads = op === layout.PGAIO_OP_READV;
      const injected = reads ? this.#injection.outcome() : NOTHING_INJECTED;
      if (injected.errno !== 0) return -injected.errno;
      const moved = reads ? readvSync(fd, buffers, position) : writevSync(fd, buffers, position);
      return cut(bench.u8, iovecs, moved, fault.bytes ?? injected.bytes);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : '';
      return -(errnoOfName(code) ?? 5);
    }
  }
}

const NOTHING_INJECTED = { errno: 0, bytes: undefined } as const;

/** Address and length of each iovec of an I/O. */
export function iovecsOf(bench: Bench, id: number): [number, number][] {
  const first = bench.ctl('iovecs') + bench.handle(id, 'iovec_off') * layout.IOVEC_BYTES;
  return Array.from({ length: bench.handle(id, 'iov_length') }, (_, i) => [
    bench.view.getUint32(first + 8 * i, true),
    bench.view.getUint32(first + 8 * i + 4, true),
  ]);
}

/** A transfer made shorter: what counts as not moved becomes zero, as it was never read. */
function cut(
  u8: Uint8Array,
  iovecs: readonly (readonly [number, number])[],
  moved: number,
  limit: number | undefined,
): number {
  if (limit === undefined || moved <= limit) return moved;
  let before = 0;
  for (const [at, bytes] of iovecs) {
    u8.fill(0, at + Math.min(bytes, Math.max(0, limit - before)), at + bytes);
    before += bytes;
  }
  return limit;
}

/** What is counted, in memory that every thread of a test sees. */
const OPERATIONS = 0;
const INTERRUPTED = 1;
const COUNTED_WORDS = 2;
/** Words that all threads of a test see; plain ones in a page that can have one thread only. */
export function sharedWords(count: number): Int32Array {
  const { SharedArrayBuffer: Shared = ArrayBuffer } = globalThis as Partial<typeof globalThis>;
  return new Int32Array(new Shared(4 * count));
}

/** Words for the counts of `faulty`, all zero. */
export function newCounts(): Int32Array {
  return sharedWords(COUNTED_WORDS);
}

export class FaultCounter {
  readonly #faults: Faults;
  readonly #counts: Int32Array;
  constructor(faults: Faults, counts = newCounts()) {
    this.#faults = faults;
    this.#counts = counts;
  }
  /** Whether this call is one of those a signal interrupts. */
  interrupted(): boolean {
    const { interruptions = 0 } = this.#faults;
    if (Atomics.load(this.#counts, INTERRUPTED) >= interruptions) return false;
    Atomics.add(this.#counts, INTERRUPTED, 1);
    return true;
  }
  /** What befalls the next operation. */
  next(): { readonly errno?: string; readonly bytes?: number | undefined } {
    const { failAt, errno = 'EIO', shortAt, shortBytes } = this.#faults;
    if (this.interrupted()) return { errno: 'EINTR' };
    const operation = Atomics.add(this.#counts, OPERATIONS, 1) + 1;
    if (operation === failAt) return { errno };
    return operation === shortAt ? { bytes: shortBytes } : {};
  }
}

/** A provider whose operations fail as ordered, counted in `counts` over all that share them. */
export function faulty(
  inner: IoProvider,
  faults: Faults,
  counts = newCounts(),
  injection = new Injection(),
): IoProvider {
  return {
    name: inner.name,
    sharedDescriptors: inner.sharedDescriptors,
    open(path, flags, scratch) {
      const errno = injection.openErrno;
      if (errno === 0) return inner.open(path, flags, scratch);
      const message = `could not open file "${path}"`;
      throw new AioIoError({ code: 'PGAIO_OPEN', message, errno, path });
    },
    size: (fd, scratch) => inner.size(fd, scratch),
    close: (fd) => inner.close(fd),
    end: () => inner.end?.(),
    ...(inner.rings === undefined
      ? {}
      : {
          rings: (memory: WebAssembly.Memory) => {
            const rings = inner.rings?.(memory) as UringHost;
            return faultyRings(rings, memory, new FaultCounter(faults, counts), injection);
          },
        }),
    truncate: (fd, bytes, scratch) => inner.truncate?.(fd, bytes, scratch),
    unlink: (path, scratch) => inner.unlink?.(path, scratch),
    bind(memory) {
      const io = inner.bind(memory);
      const counter = new FaultCounter(faults, counts);
      const view = new DataView(memory.buffer);
      const u8 = new Uint8Array(memory.buffer);
      const wrap =
        (call: WasiIo['fd_pread'], reads: boolean): WasiIo['fd_pread'] =>
        (fd, iovs, count, offset, moved) => {
          if (reads) injection.pass();
          const fault = counter.next();
          const injected = reads ? injection.outcome() : NOTHING_INJECTED;
          if (injected.errno !== 0) return wasiOfErrno(injected.errno);
          if (fault.errno !== undefined) return wasiOfErrno(errnoOfName(fault.errno) ?? 5);
          const rc = call(fd, iovs, count, offset, moved);
          const iovecs = Array.from({ length: count }, (_, i): [number, number] => [
            view.getUint32(iovs + 8 * i, true),
            view.getUint32(iovs + 8 * i + 4, true),
          ]);
          const done = view.getUint32(moved, true);
          const limit = fault.bytes ?? injected.bytes;
          if (rc === 0) view.setUint32(moved, cut(u8, iovecs, done, limit), true);
          return rc;
        };
      return { ...io, fd_pread: wrap(io.fd_pread, true), fd_pwrite: wrap(io.fd_pwrite, false) };
    },
  };
}
