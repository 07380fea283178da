/**
 * The world that the core runs in: one memory, several instances ("threads") of which one runs at a
 * time, futexes, files, and a clock that moves only when nobody can run. Every atomic operation,
 * system call and wake-up is a point at which a seeded scheduler may let another thread run on or
 * end one for good. The same seed gives the same run.
 */

import type { Fault } from './faults.ts';
import { FakeFiles, REL_FD, type Transfer } from './files.ts';
import { Invariants } from './invariants.ts';
import type { Layout } from './layout.ts';
import type { Random } from './random.ts';
import { FakeRings } from './rings.ts';

/** Something is wrong with the core (or with the explorer). */
export class Finding extends Error {}

export type Settings = Readonly<Record<string, number>>;
/** One thread's doings. Each `yield` hands a request over (`Thread.request`), gets its result. */
export type Program = Generator<undefined, void, number>;
/** A part of a program. */
export type Part<T> = Generator<undefined, T, number>;

const NORMAL = 0;
const UNWINDING = 1;
const REWINDING = 2;

/** WebAssembly's atomics, or the host's own: who sleeps by one is not woken by the other. */
type Futex = 'atomic' | 'host';
export type Status =
  | 'ready'
  | 'held'
  | 'waiting'
  | 'kernel'
  | 'sleeping'
  | 'until'
  | 'done'
  | 'dead';
type Core = Readonly<Record<string, (...values: number[]) => number>>;

/** Those that end by the clock, too. */
const TIMED: readonly Status[] = ['waiting', 'kernel', 'sleeping'];

/** Thrown through the core's frames of a thread that ends here. */
const ENDED = new Error('this thread has ended');

const STACK_BYTES = 8192;
const MEMORY_PAGES = 48;
const STACKS = 24;
/** There is one segment of one relation. */
const NO_FILE = -2;
const WASI_ENOSYS = 52;
const EAGAIN = 11;
const ENOSYS = 38;
const ETIMEDOUT = 110;
const FOREVER = Number.POSITIVE_INFINITY;

/** What an instance is given by its thread: see world's imports. */
export class Thread {
  status: Status = 'ready';
  mode = NORMAL;
  core: Core = {};
  /** A call was left at a point. */
  suspended = false;
  /** Inside a call of the core. */
  inCall = false;
  request: 'none' | 'call' = 'none';
  callName = '';
  call: (...values: number[]) => number = () => 0;
  values: number[] = [];
  result = 0;
  program: Program | undefined;
  /** Backend slot, once claimed; -1 for none. */
  procno = -1;
  /** Who will tell the core that this thread has ended. */
  teller: Thread | undefined;
  /** What it sleeps on: a futex word, what was in it, and until when. */
  waitAt = 0;
  waitExpected = 0;
  waitBy: Futex = 'atomic';
  waitUntil = FOREVER;
  waitNs = FOREVER;
  waitGeneration = 0;
  waitSeq = 0;
  waitPhase = 0;
  heldUntil = 0;
  priority = 0;
  condition: () => boolean = () => true;
  /** The system call it is in. */
  inIo: (() => void) | undefined;
  /** By place: what the kernel has of it, and how that ended if it has. */
  readonly underWay = new Map<number, { transfer: Transfer; raw: number | undefined }>();
  /** By handle: results of system calls that it has not completed yet. */
  readonly ended = new Map<number, { generation: number; raw: number }>();

  readonly number: number;
  readonly name: string;
  readonly stack: number;

  constructor(number: number, name: string, stack: number) {
    this.number = number;
    this.name = name;
    this.stack = stack;
  }

  /** Calls an export. */
  *invoke(name: string, ...values: number[]): Part<number> {
    const call = this.core[name];
    if (call === undefined) throw new Finding(`the core has no ${name}`);
    this.request = 'call';
    this.callName = name;
    this.call = call;
    this.values = values;
    return yield;
  }

  /** Calls an export that must succeed. */
  *ok(name: string, ...values: number[]): Part<number> {
    const result = yield* this.invoke(name, ...values);
    if (result < 0) throw new Finding(`${this.name}: ${name}(${values}) = ${result}`);
    return result;
  }
}

export interface WorldOptions {
  readonly module: WebAssembly.Module;
  readonly layout: Layout;
  readonly memory: WebAssembly.Memory;
  readonly fault: Fault | undefined;
  readonly settings: Settings;
  readonly random: Random;
  /** Lines about what happens, in a run that is repeated to be looked at. */
  readonly log: ((line: string) => void) | undefined;
  readonly maxSteps: number;
}

export function newMemory(): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MEMORY_PAGES, shared: true });
}

export class World {
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly threads: Thread[] = [];
  readonly files: FakeFiles;
  readonly rings: FakeRings;
  readonly invariants: Invariants;
  readonly random: Random;
  readonly layout: Layout;
  readonly options: WorldOptions;
  steps = 0;
  /** Virtual nanoseconds. */
  clock = 0;
  /** Ended threads that no backend was told of yet. */
  readonly untold: Thread[] = [];
  /** Nobody can run: a last chance to tell somebody something. */
  onRest: (() => void) | undefined;
  /** A thread has ended. */
  onDeath: ((dead: Thread) => void) | undefined;
  deaths = 0;
  abandoned = false;
  /** When, and whom: a thread ends at that step. */
  killAt = FOREVER;
  victim: ((current: Thread) => Thread | undefined) | undefined;
  /** Whether the moment is right; from `killAt` on it is asked at every step. */
  isMoment: ((current: Thread) => boolean) | undefined;

  #ready: Thread[] = [];
  #held: Thread[] = [];
  #next: Thread | undefined;
  #turns = 0;
  #waits = 0;
  #numbers = 0;
  #stacksAt: number;
  #freeStacks: number[] = [];
  /** Of 2^32: how often another thread may be chosen at a point; 0: by priorities. */
  #switchBelow: number;

  constructor(options: WorldOptions) {
    const { memory, layout, random } = options;
    this.options = options;
    this.layout = layout;
    this.random = random;
    this.words = new Int32Array(memory.buffer);
    this.bytes = new Uint8Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.bytes.fill(0);
    const size = this.#layOutOnce();
    this.#stacksAt = Math.ceil(size / 4096) * 4096;
    if (this.#stacksAt + STACKS * STACK_BYTES > this.bytes.length) {
      throw new Error('settings too large for the explorer');
    }
    for (let i = STACKS - 1; i >= 0; i--) this.#freeStacks.push(this.#stacksAt + i * STACK_BYTES);
    this.files = new FakeFiles(this, new Thread(0, 'the kernel', 0));
    this.rings = new FakeRings(this);
    this.invariants = new Invariants(this);
    this.bytes.fill(0);
    this.#switchBelow = random.pick([0, 0, 0x04000000, 0x20000000, 0x80000000, 0xffffffff]);
  }

  word(at: number): number {
    return this.view.getInt32(at, true);
  }

  /** Offset of a field of PgAioCtl, or what is in it. */
  ctl(field: string): number {
    return this.word(this.layout.number('CTL_AT') + this.layout.at(`PgAioCtl.${field}`));
  }

  note(line: () => string): void {
    this.options.log?.(`${String(this.steps).padStart(7)}  ${line()}`);
  }

  fail(words: string): never {
    throw new Finding(words);
  }

  // Threads.

  spawn(name: string, program: (thread: Thread) => Program): Thread {
    const stack = this.#freeStacks.pop();
    if (stack === undefined) throw new Error('the explorer has no room for another thread');
    const thread = new Thread(++this.#numbers, name, stack);
    this.words[stack >>> 2] = stack + 8;
    this.words[(stack >>> 2) + 1] = stack + STACK_BYTES;
    const instance = new WebAssembly.Instance(this.options.module, this.#imports(thread));
    thread.core = instance.exports as unknown as Core;
    thread.program = program(thread);
    thread.priority = this.random.bits();
    this.threads.push(thread);
    this.#ready.push(thread);
    this.note(() => `${name} begins as thread ${thread.number}`);
    return thread;
  }

  /** Sizes and addresses for these settings, from an instance that nobody watches. */
  #layOutOnce(): number {
    const { module, settings, layout } = this.options;
    const thread = new Thread(0, 'layout', 0);
    const imports = this.#imports(thread);
    imports.sim = { point: () => 0, wait: () => 0, wake: () => 0 };
    const core = new WebAssembly.Instance(module, imports).exports as unknown as Core;
    for (const [name, value] of Object.entries(settings)) {
      if (core.pgaio_set_guc?.(layout.number(`GUC_${name}`), value) !== 0) {
        throw new Error(`setting ${name} = ${value} is refused`);
      }
    }
    const size = core.AioShmemSize?.() ?? 0;
    if (size > this.bytes.length) throw new Error(`settings need ${size} bytes`);
    if (core.AioShmemInit?.() !== 0) throw new Error('AioShmemInit is refused');
    return size;
  }

  #imports(thread: Thread): Record<string, Record<string, WebAssembly.ImportValue>> {
    const io =
      (write: boolean) => (fd: number, iovs: number, count: number, offset: bigint, to: number) =>
        this.#systemCall(thread, () =>
          this.files.transfer(thread, write, fd, iovs, count, Number(offset), to),
        );
    const sync = () => this.#systemCall(thread, () => this.files.sync(thread));
    return {
      env: { memory: this.options.memory },
      sim: {
        point: () => this.#point(thread),
        wait: (at: number, expected: number, ns: bigint) =>
          this.#wait(thread, 'atomic', at, expected, ns),
        wake: (at: number, count: number) => this.#wake(thread, 'atomic', at, count),
      },
      wasi_snapshot_preview1: {
        fd_pread: io(false),
        fd_pwrite: io(true),
        fd_sync: sync,
        fd_datasync: sync,
        fd_advise: () => WASI_ENOSYS,
      },
      pgaio: {
        park: (at: number, expected: number, us: number) => this.#park(thread, at, expected, us),
        unpark: (at: number) => this.#wake(thread, 'host', at, 1),
        kaio_start: (ios: number, places: number) =>
          this.#systemCall(thread, () => this.files.start(thread, ios, places)),
        kaio_finish: (events: number, most: number) =>
          this.#systemCall(thread, () => this.files.finish(thread, events, most)),
        reopen: (id: number) => this.#systemCall(thread, () => this.files.reopen(thread, id)),
        report: () => undefined,
        callback: () => -1,
        submit: () => -1,
        wait_one: () => -1,
        uring_setup: (...values: number[]) =>
          this.#systemCall(thread, () => this.rings.setup(thread, values)),
        uring_enter: (ring: number, first: number, count: number) =>
          this.#systemCall(thread, () => this.rings.enter(thread, ring, first >>> 0, count)),
        uring_reap: (ring: number) => this.#systemCall(thread, () => this.rings.reap(ring)),
        uring_wait: (ring: number, seen: number, ms: number) =>
          this.#waitInKernel(thread, ring, seen, ms),
        uring_taken: (ring: number) => this.rings.taken(ring),
        uring_leave: (ring: number) => {
          this.rings.leave(thread, ring);
          return 0;
        },
        segment_open: (_rel: number, _procno: number, segment: number) =>
          segment === 0 ? REL_FD : NO_FILE,
        segment_close: () => 0,
        segment_size: () => this.files.relation.length,
        segment_truncate: () => NO_FILE,
        segment_unlink: () => NO_FILE,
      },
    };
  }

  // What the core asks for, as seen from inside `thread`.

  #leave(thread: Thread): number {
    thread.mode = UNWINDING;
    thread.core.asyncify_start_unwind?.(thread.stack);
    return 0;
  }

  /** True when the core comes back to an import it left. */
  #isBack(thread: Thread): boolean {
    if (thread.mode !== REWINDING) return false;
    thread.mode = NORMAL;
    thread.core.asyncify_stop_rewind?.();
    return true;
  }

  #point(thread: Thread): void {
    if (this.#isBack(thread)) return;
    if (!this.#step(thread)) this.#leave(thread);
  }

  /** Futex of the host's, if this host has it: 0 woken, or -errno. */
  #park(thread: Thread, at: number, expected: number, us: number): number {
    if (!this.files.kernel) return -ENOSYS;
    const result = this.#wait(thread, 'host', at, expected, BigInt(us) * 1000n);
    return [0, -EAGAIN, -ETIMEDOUT][result] ?? 0;
  }

  #wait(thread: Thread, by: Futex, at: number, expected: number, ns: bigint): number {
    if (this.#isBack(thread)) {
      if (thread.waitPhase === 2) return thread.result;
    } else if (!this.#step(thread)) {
      thread.waitPhase = 1;
      return this.#leave(thread);
    }
    if (this.word(at) !== expected) return 1;
    this.#block(thread, at, expected, ns < 0n ? FOREVER : Number(ns));
    thread.waitBy = by;
    thread.waitPhase = 2;
    return this.#leave(thread);
  }

  #block(thread: Thread, at: number, expected: number, ns: number): void {
    this.#unready(thread);
    thread.status = 'waiting';
    thread.waitAt = at;
    thread.waitExpected = expected;
    thread.waitNs = ns;
    thread.waitUntil = this.clock + ns;
    thread.waitSeq = ++this.#waits;
    thread.waitGeneration = this.invariants.generationAt(at);
    this.note(
      () => `${thread.name} sleeps on ${this.invariants.place(at)} = ${expected} (${ns} ns)`,
    );
  }

  #wake(thread: Thread, by: Futex, at: number, count: number): number {
    if (!this.#isBack(thread) && !this.#step(thread)) return this.#leave(thread);
    if (this.options.fault?.dropWakes !== undefined && this.invariants.isCompletedShared(at))
      return 0;
    let woken = 0;
    while (count < 0 || woken < count) {
      let first: Thread | undefined;
      for (const other of this.threads) {
        const isThere = other.status === 'waiting' && other.waitAt === at && other.waitBy === by;
        if (!isThere) continue;
        if (first === undefined || other.waitSeq < first.waitSeq) first = other;
      }
      if (first === undefined) break;
      this.#wakeUp(first, 0);
      woken++;
    }
    this.note(() => `${thread.name} wakes ${woken} on ${this.invariants.place(at)}`);
    return woken;
  }

  /** As the one thread that waits for completions of a ring. Between its steps others run. */
  #waitInKernel(thread: Thread, ring: number, seen: number, ms: number): number {
    if (!this.#isBack(thread)) {
      thread.waitPhase = 0;
      if (!this.#step(thread)) return this.#leave(thread);
    }
    if (thread.waitPhase === 0) {
      const at = this.rings.beginWait(thread, ring, seen);
      if (at !== undefined) return at;
      thread.waitPhase = 1;
      if (!this.#step(thread)) return this.#leave(thread);
    }
    if (thread.waitPhase === 1 && !this.rings.hasNews(ring)) {
      this.#unready(thread);
      thread.status = 'kernel';
      thread.result = 0;
      thread.waitNs = ms * 1e6;
      thread.waitUntil = this.clock + thread.waitNs;
      thread.waitPhase = 2;
      this.note(() => `${thread.name} waits in the kernel (${ms} ms)`);
      return this.#leave(thread);
    }
    this.rings.endWait(thread);
    return thread.waitPhase === 2 ? thread.result : 0;
  }
  wakeFromKernel(thread: Thread): void {
    if (thread.status === 'kernel') this.#wakeUp(thread, 0);
  }

  #wakeUp(thread: Thread, result: number): void {
    thread.status = 'ready';
    thread.result = result;
    this.#ready.push(thread);
  }

  /** A point, and a while in the kernel. */
  #systemCall(thread: Thread, act: () => number): number {
    if (!this.#isBack(thread)) {
      thread.inIo = act;
      const goOn = this.#step(thread);
      if (this.random.once(2) && this.#ready.length > 1) {
        this.#unready(thread);
        thread.status = 'held';
        thread.heldUntil = this.steps + this.random.below(80);
        this.#held.push(thread);
        if (this.#next === thread) this.#next = undefined;
        return this.#leave(thread);
      }
      if (!goOn) return this.#leave(thread);
    }
    thread.inIo = undefined;
    return act();
  }

  // Scheduling.

  /** A point of `thread`: looks at what it did, and answers whether it runs on. */
  #step(thread: Thread): boolean {
    this.steps++;
    this.invariants.afterStep(thread);
    if (this.steps >= this.killAt) this.#kill(thread);
    if (this.#held.length > 0) this.#unhold();
    if (this.rings.any && this.random.once(16)) this.rings.step();
    if (this.steps > this.options.maxSteps) this.fail('the run does not end');
    return this.#choose(thread);
  }

  #choose(thread: Thread): boolean {
    const ready = this.#ready;
    if (ready.length < 2) return true;
    const bits = this.random.bits();
    if (this.#switchBelow === 0) return this.#chooseByPriority(thread, bits);
    if (bits >= this.#switchBelow) return true;
    const next = ready[this.random.below(ready.length)];
    if (next === thread || next === undefined) return true;
    this.#next = next;
    return false;
  }

  /** The highest runs until chance lowers it. */
  #chooseByPriority(thread: Thread, bits: number): boolean {
    if (bits % 97 === 0) thread.priority = this.random.bits();
    let best = thread;
    for (const other of this.#ready) if (other.priority > best.priority) best = other;
    if (best === thread) return true;
    this.#next = best;
    return false;
  }

  #unready(thread: Thread): void {
    const at = this.#ready.indexOf(thread);
    if (at >= 0) this.#ready.splice(at, 1);
  }

  #unhold(): void {
    for (let i = this.#held.length - 1; i >= 0; i--) {
      const thread = this.#held[i];
      if (thread === undefined || thread.heldUntil > this.steps) continue;
      this.#held.splice(i, 1);
      thread.status = 'ready';
      this.#ready.push(thread);
    }
  }

  /** Ends a thread for good, wherever it is. Throws if that is the one that runs. */
  #kill(current: Thread): void {
    if (this.isMoment?.(current) === false) return;
    const victim = this.victim?.(current);
    this.killAt = FOREVER;
    if (victim === undefined || victim.status === 'done' || victim.status === 'dead') return;
    // What it had asked the kernel for may still happen.
    if (victim.inIo !== undefined && this.random.once(2)) victim.inIo();
    this.files.drain(victim);
    this.rings.drain(victim);
    this.#unready(victim);
    this.#held = this.#held.filter((other) => other !== victim);
    if (this.#next === victim) this.#next = undefined;
    const was = victim.status;
    victim.status = 'dead';
    this.deaths++;
    this.untold.push(victim);
    this.onDeath?.(victim);
    this.note(
      () => `${victim.name} is ended (${was}, in ${victim.inCall ? victim.callName : 'no call'})`,
    );
    if (victim === current) throw ENDED;
  }

  /** Runs until every thread is done. */
  run(): void {
    while (true) {
      if (++this.#turns > 2_000_000) this.fail(`no progress: ${this.describe()}`);
      const thread = this.#next ?? this.#ready[this.random.below(this.#ready.length || 1)];
      this.#next = undefined;
      if (thread === undefined) {
        if (!this.#wakeByClock()) break;
        continue;
      }
      try {
        this.#resume(thread);
      } catch (error) {
        if (error !== ENDED) throw this.#explained(thread, error);
        thread.program = undefined;
      }
    }
    if (!this.abandoned) this.invariants.atEnd();
  }

  #explained(thread: Thread, error: unknown): unknown {
    if (!(error instanceof WebAssembly.RuntimeError)) return error;
    const frames = (error.stack ?? '').match(/assembly\/[\w/.-]+|wasm-function\[\d+\]/g) ?? [];
    return new Finding(`${thread.name}: ${error.message} in ${frames.slice(0, 6).join(' < ')}`);
  }

  #resume(thread: Thread): void {
    while (true) {
      if (thread.suspended) {
        thread.suspended = false;
        thread.mode = REWINDING;
        thread.core.asyncify_start_rewind?.(thread.stack);
      } else if (thread.request === 'none') {
        if (!this.#advance(thread)) return;
        // Between two calls another thread may run, too.
        if (!this.#step(thread)) return;
        continue;
      } else {
        thread.inCall = true;
        thread.request = 'none';
        this.note(() => `${thread.name} calls ${thread.callName}(${thread.values.join(', ')})`);
      }
      const result = thread.call.apply(undefined, thread.values);
      if (thread.mode === UNWINDING) {
        thread.core.asyncify_stop_unwind?.();
        thread.mode = NORMAL;
        thread.suspended = true;
        return;
      }
      thread.inCall = false;
      thread.result = result;
      this.note(() => `${thread.name} has ${thread.callName} = ${result}`);
      this.invariants.afterStep(thread);
      this.invariants.afterCall(thread);
    }
  }

  /** The thread's program goes on to its next request; true if that is a call. */
  #advance(thread: Thread): boolean {
    const done = thread.program?.next(thread.result).done ?? true;
    if (done) {
      this.#unready(thread);
      thread.status = 'done';
      this.#freeStacks.push(thread.stack);
      this.note(() => `${thread.name} is done`);
    }
    this.#lookAtConditions();
    return thread.request === 'call' && !done;
  }

  #lookAtConditions(): boolean {
    let any = false;
    for (const thread of this.threads) {
      if (thread.status !== 'until' || !thread.condition()) continue;
      this.#wakeUp(thread, 0);
      any = true;
    }
    return any;
  }

  // What a program asks for besides calls.

  *until(thread: Thread, condition: () => boolean): Part<void> {
    if (condition()) return;
    this.#unready(thread);
    thread.status = 'until';
    thread.condition = condition;
    yield;
  }

  *sleep(thread: Thread, ns: number): Part<void> {
    this.#unready(thread);
    thread.status = 'sleeping';
    thread.waitUntil = this.clock + ns;
    yield;
  }

  /** As an event loop waits for a word to change: Atomics.waitAsync. */
  *waitWord(thread: Thread, at: number, expected: number): Part<number> {
    if (this.word(at) !== expected) return 1;
    this.#block(thread, at, expected, FOREVER);
    thread.waitBy = 'atomic';
    return yield;
  }

  /** Nobody can run: looks for lost wake-ups, then lets time pass. False when all is over. */
  #wakeByClock(): boolean {
    if (this.#lookAtConditions()) return true;
    const held = this.#held.shift();
    if (held !== undefined) {
      this.#wakeUp(held, held.result);
      return true;
    }
    if (this.rings.step()) return true;
    this.onRest?.();
    if (this.#lookAtConditions()) return true;
    if (this.#nobodyCanTell()) {
      this.abandoned = true;
      return false;
    }
    this.invariants.atRest();
    let first = FOREVER;
    for (const { status, waitUntil } of this.threads) {
      if (TIMED.includes(status) && waitUntil < first) first = waitUntil;
    }
    if (first === FOREVER) {
      const stuck = this.threads.filter(({ status }) => status !== 'done' && status !== 'dead');
      if (stuck.length === 0) return false;
      this.fail(`nobody can run: ${this.describe()}`);
    }
    this.clock = Math.max(this.clock, first);
    for (const thread of this.threads) {
      if (thread.waitUntil > this.clock) continue;
      if (!TIMED.includes(thread.status)) continue;
      this.invariants.beforeTimeout(thread);
      this.note(() => `${thread.name} has waited long enough`);
      this.#wakeUp(thread, thread.status === 'kernel' ? 1 : 2);
    }
    return true;
  }

  /**
   * A limit of the design: whoever is told of ended threads waits itself for a lock that one of
   * them holds. Nothing in the core can know, so the run says nothing.
   */
  #nobodyCanTell(): boolean {
    return this.untold.some(({ teller }) => {
      if (teller?.status !== 'waiting') return false;
      const holder = (this.word(teller.waitAt) & 0x7fffffff) - 1; // as pgaio_set_thread counts
      return this.untold.some(({ number }) => number === holder);
    });
  }

  /** Who is where. */
  describe(): string {
    return this.threads
      .filter(({ status }) => status !== 'done')
      .map((thread) => {
        const on =
          thread.status === 'waiting'
            ? ` on ${this.invariants.place(thread.waitAt)} = ${thread.waitExpected}, ` +
              `is ${this.word(thread.waitAt)}`
            : '';
        const where = thread.inCall ? ` in ${thread.callName}` : '';
        return `${thread.name} ${thread.status}${on}${where}`;
      })
      .join('; ');
  }
}
