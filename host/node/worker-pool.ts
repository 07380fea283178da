/** I/O workers on Node: threads that run host/node/worker.ts, under the pool all hosts share. */
import { SHARE_ENV, Worker } from 'node:worker_threads';
import type { CoreInstance } from '../../bindings/core.ts';
import type { ProviderSpec } from '../../bindings/host.ts';
import { type ThreadEvents, type WorkerMessage, WorkerPool } from '../worker-pool.ts';

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

export type NodePool = WorkerPool<Worker>;

export function startWorkers(core: CoreInstance, start: WorkerStart): NodePool {
  return new WorkerPool(core, {
    start: (id, events) => startThread(start, id, events),
    died(id, error) {
      process.emitWarning(`I/O worker ${id} died: ${error.message}`, {
        type: 'PgAioWarning',
        code: 'PGAIO_WORKER_DIED',
        ...(error.stack === undefined ? {} : { detail: error.stack }),
      });
    },
  });
}

/** Megabytes: what an I/O worker allocates is soon garbage, and eight of them are to stay small. */
const LIMITS = { maxYoungGenerationSizeMb: 1 } as const;

function startThread(start: WorkerStart, id: number, events: ThreadEvents): Worker {
  const worker = new Worker(new URL('./worker.js', import.meta.url), {
    workerData: { ...start, id },
    env: SHARE_ENV,
    name: `pgaio I/O worker ${id}`,
    resourceLimits: LIMITS,
  });
  worker.on('message', (message: WorkerMessage) => events.onMessage(message));
  worker.once('error', (error) => events.onError(error));
  // After the one of watchThreads, which has cleaned up its slot by then.
  worker.once('exit', () => events.onExit());
  worker.unref(); // after the listeners: adding one for messages references it again
  return worker;
}
