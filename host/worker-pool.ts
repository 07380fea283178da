/**
 * The I/O workers of a memory, whatever kind of thread the host has for them. Their number follows
 * PostgreSQL's development version (postmaster.c: maybe_start_io_workers): below the minimum one
 * is started at once; above it only when a worker asked for help, and not more often than once in
 * io_worker_launch_interval. They leave by themselves. One that dies is replaced.
 */
import type { CoreInstance } from '../bindings/core.ts';
import {
  GUC_IO_MAX_WORKERS,
  GUC_IO_MIN_WORKERS,
  GUC_IO_WORKER_LAUNCH_INTERVAL,
  PgAioWorkerControl,
} from '../bindings/layout.ts';
import type { CoreReport } from '../bindings/report.ts';

/** What an I/O worker sends. */
export interface WorkerMessage {
  /** Undefined in the first message: it has registered and looks for work. */
  readonly report: CoreReport | undefined;
  /** What the callback the report is about threw. */
  readonly thrown: string | undefined;
}
/** Where the first word of a result has the callback that set it. */
export const CALLBACK_MASK = 0x3f;

/** What a thread tells the pool. `onExit` comes last, once. */
export interface ThreadEvents {
  onMessage(message: WorkerMessage): void;
  onError(error: Error): void;
  onExit(): void;
}

/** What the pool needs of a host: threads, and somebody to tell that one died. */
export interface ThreadStarter<Thread> {
  /** Starts I/O worker `id`. Must not keep the process alive. */
  start(id: number, events: ThreadEvents): Thread;
  /** A worker died of `error`; it will be replaced. */
  died(id: number, error: Error): void;
}

/** A worker that could not start is not replaced at once, or a broken set-up would spin. */
const RESTART_MS = 1000;

export class WorkerPool<Thread> {
  readonly #core: CoreInstance;
  readonly #starter: ThreadStarter<Thread>;
  readonly #workers = new Map<number, Thread>();
  readonly #doorbell: number;
  /** Resolves when an I/O worker looks for work, or none could start. */
  readonly ready: Promise<void>;
  #isReady: () => void = () => undefined;
  #stopped = false;
  #nextLaunchMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(core: CoreInstance, starter: ThreadStarter<Thread>) {
    this.#core = core;
    this.#starter = starter;
    const { offset } = PgAioWorkerControl.fields.pool_doorbell;
    this.#doorbell = (core.ctl('worker_control') + offset) >>> 2;
    this.ready = new Promise((resolve) => {
      this.#isReady = resolve;
    });
    core.onLeaving(() => this.#stop());
    this.#listen();
  }

  /** Threads running, for tests and monitors. */
  get threads(): readonly Thread[] {
    return [...this.#workers.values()];
  }

  /** As many as there should be now. */
  #adjust(): void {
    if (this.#stopped) return;
    const guc = (number: number): number => this.#core.exports.pgaio_get_guc(number);
    const max = guc(GUC_IO_MAX_WORKERS);
    const min = Math.min(guc(GUC_IO_MIN_WORKERS), max);
    while (this.#workers.size < min) this.#launch(max);
    // One at a time: until it has started, those who work ask for it again and again.
    if (this.#workers.size > this.#registered) return;
    if (this.#core.check(this.#core.exports.pgaio_take_growth()) === 0) return;
    if (this.#workers.size >= max) return;
    const now = performance.now();
    if (now < this.#nextLaunchMs) {
      this.#later(this.#nextLaunchMs - now, () => this.#grow());
      return;
    }
    this.#grow();
  }

  get #registered(): number {
    const { offset } = PgAioWorkerControl.fields.nworkers;
    return this.#core.u32[(this.#core.ctl('worker_control') + offset) >>> 2] ?? 0;
  }

  /** One above the minimum; the next not before the interval has passed. */
  #grow(): void {
    const max = this.#core.exports.pgaio_get_guc(GUC_IO_MAX_WORKERS);
    if (this.#stopped || this.#workers.size >= max) return;
    const interval = this.#core.exports.pgaio_get_guc(GUC_IO_WORKER_LAUNCH_INTERVAL);
    const now = performance.now();
    const due = this.#nextLaunchMs + interval;
    this.#nextLaunchMs = due > now ? due : now + interval;
    this.#launch(max);
  }

  #later(ms: number, work: () => void): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      work();
    }, ms);
    // Node's timers keep a process alive, a browser's are numbers.
    const timer: { unref?(): void } = Object(this.#timer);
    timer.unref?.();
  }

  #launch(max: number): void {
    let id = 0;
    while (this.#workers.has(id)) id++;
    if (id >= max) return;
    const since = performance.now();
    const thread = this.#starter.start(id, {
      onMessage: (message) => this.#onMessage(message),
      onError: (error) => {
        // Once stopped its files may be gone already, and nobody needs it.
        if (!this.#stopped) this.#starter.died(id, error);
      },
      onExit: () => this.#onExit(id, performance.now() - since),
    });
    this.#workers.set(id, thread);
    this.#core.host.onEvent?.({ name: 'worker', what: 'started', id });
  }

  #onMessage({ report, thrown }: WorkerMessage): void {
    if (report === undefined) {
      this.#isReady();
      this.#adjust(); // it has started
      return;
    }
    const callback = report.word & CALLBACK_MASK;
    if (thrown !== undefined) this.#core.noteThrown(callback, new Error(thrown));
    const context =
      report.owner < 0
        ? undefined
        : `I/O worker executing I/O on behalf of backend ${report.owner}`;
    this.#core.deliver(report, context);
  }

  #onExit(id: number, livedMs: number): void {
    this.#workers.delete(id);
    this.#isReady();
    this.#core.host.onEvent?.({ name: 'worker', what: 'ended', id });
    if (livedMs >= RESTART_MS) this.#adjust();
    else this.#later(RESTART_MS - livedMs, () => this.#adjust());
  }

  /** Workers ask for help by the doorbell, and a changed setting rings it, too. */
  #listen(): void {
    if (this.#stopped) return;
    const { i32 } = this.#core;
    const rung = Atomics.load(i32, this.#doorbell); // before the look: a ring after it is heard
    this.#adjust();
    const wait = Atomics.waitAsync(i32, this.#doorbell, rung);
    const next = (): void => this.#listen();
    if (wait.async) wait.value.then(next);
    else queueMicrotask(next);
  }

  /** This backend leaves. Workers go when the last backend has left; the core tells them. */
  #stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    Atomics.notify(this.#core.i32, this.#doorbell);
  }
}
