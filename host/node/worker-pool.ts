/**
 * The I/O workers of a memory: threads that run host/node/worker.ts. Their number follows
 * PostgreSQL's development version (postmaster.c: maybe_start_io_workers): below the minimum one
 * is started at once; above it only when a worker asked for help, and not more often than once in
 * io_worker_launch_interval. They leave by themselves. One that dies is replaced.
 */
import { SHARE_ENV, Worker } from 'node:worker_threads';
import type { CoreInstance } from '../../bindings/core.ts';
import type { ProviderSpec } from '../../bindings/host.ts';
import {
  GUC_IO_MAX_WORKERS,
  GUC_IO_MIN_WORKERS,
  GUC_IO_WORKER_LAUNCH_INTERVAL,
  PgAioWorkerControl,
} from '../../bindings/layout.ts';
import type { CoreReport } from '../../bindings/report.ts';

/** What an I/O worker starts from; `id` is added. */
export interface WorkerStart {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly provider: ProviderSpec;
  readonly callbackModules: readonly string[];
  readonly tablespaceVersionDirectory: string | undefined;
  readonly dataDirectory: string | undefined;
  /** Number of the thread that starts it. */
  readonly starter: number;
}

/** What an I/O worker sends. */
export interface WorkerMessage {
  /** Undefined in the first message: it has registered and looks for work. */
  readonly report: CoreReport | undefined;
  /** What the callback the report is about threw. */
  readonly thrown: string | undefined;
}
/** Where the first word of a result has the callback that set it. */
export const CALLBACK_MASK = 0x3f;

/** A worker that could not start is not replaced at once, or a broken set-up would spin. */
const RESTART_MS = 1000;

export class WorkerPool {
  readonly #core: CoreInstance;
  readonly #start: WorkerStart;
  readonly #workers = new Map<number, Worker>();
  readonly #doorbell: number;
  #stopped = false;
  #nextLaunchMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(core: CoreInstance, start: WorkerStart) {
    this.#core = core;
    this.#start = start;
    const { offset } = PgAioWorkerControl.fields.pool_doorbell;
    this.#doorbell = (core.ctl('worker_control') + offset) >>> 2;
    core.onLeaving(() => this.#stop());
    this.#listen();
  }

  /** Threads running, for tests and monitors. */
  get threads(): readonly Worker[] {
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
    this.#timer.unref();
  }

  #launch(max: number): void {
    let id = 0;
    while (this.#workers.has(id)) id++;
    if (id >= max) return;
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: { ...this.#start, id },
      env: SHARE_ENV,
      name: `pgaio I/O worker ${id}`,
    });
    this.#workers.set(id, worker);
    this.#core.host.onEvent?.({ name: 'worker', what: 'started', id });
    const since = performance.now();
    worker.on('message', (message: WorkerMessage) => this.#onMessage(message));
    worker.once('error', (error) => this.#onError(id, error));
    // After the one of watchThreads, which has cleaned up its slot by then.
    worker.once('exit', () => this.#onExit(id, performance.now() - since));
    worker.unref(); // after the listeners: adding one for messages references it again
  }

  #onMessage({ report, thrown }: WorkerMessage): void {
    if (report === undefined) {
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

  #onError(id: number, error: Error): void {
    if (this.#stopped) return; // its files may be gone already, and nobody needs it
    process.emitWarning(`I/O worker ${id} died: ${error.message}`, {
      type: 'PgAioWarning',
      code: 'PGAIO_WORKER_DIED',
      ...(error.stack === undefined ? {} : { detail: error.stack }),
    });
  }

  #onExit(id: number, livedMs: number): void {
    this.#workers.delete(id);
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
