/**
 * I/O workers in a browser: Web Workers that run host/browser/worker.ts, under the pool all hosts
 * share. Their script is part of the bundle, as text: no bundler need know of it. A page whose
 * Content-Security-Policy has no `worker-src blob:` gives the script's URL instead.
 */
import workerText from 'worker-text';
import type { CoreInstance } from '../../bindings/core.ts';
import type { ProviderSpec } from '../../bindings/host.ts';
import { type ThreadEvents, type WorkerMessage, WorkerPool } from '../worker-pool.ts';
import type { Step } from './recorder.ts';
import { nextThread, type ThreadRegistry } from './threads.ts';

/** What an I/O worker starts from; `id` and `thread` are added. */
export interface WorkerStart {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly provider: ProviderSpec;
  readonly callbackModules: readonly string[];
  readonly tablespaceVersionDirectory: string | undefined;
  readonly dataDirectory: string | undefined;
  /** Number of the thread that starts it. */
  readonly starter: number;
  /** Whether each transition is recorded and sent. */
  readonly records: boolean;
}
export interface WorkerIdentity {
  readonly id: number;
  readonly thread: number;
}

/** What an I/O worker sends in a browser. */
export type BrowserMessage =
  | WorkerMessage
  | { readonly step: Step }
  /** It has left in good order; its thread can be ended. */
  | { readonly left: true };

export interface PoolOptions {
  readonly registry: ThreadRegistry;
  readonly workerUrl: string | undefined;
  readonly onStep: ((step: Step) => void) | undefined;
}

export type BrowserPool = WorkerPool<Worker>;

export function startWorkers(
  core: CoreInstance,
  start: WorkerStart,
  options: PoolOptions,
): BrowserPool {
  const url = options.workerUrl ?? URL.createObjectURL(new Blob([workerText], SCRIPT));
  if (options.workerUrl === undefined) core.onLeaving(() => URL.revokeObjectURL(url));
  return new WorkerPool(core, {
    start: (id, events) => startThread({ core, start, options, url }, id, events),
    died: (id, error) => reportError(new Error(`I/O worker ${id} died: ${error.message}`)),
  });
}
const SCRIPT = { type: 'text/javascript' };

interface Starting {
  readonly core: CoreInstance;
  readonly start: WorkerStart;
  readonly options: PoolOptions;
  readonly url: string;
}

function startThread(starting: Starting, id: number, events: ThreadEvents): Worker {
  const { core, start, options, url } = starting;
  const worker = new Worker(url, { type: 'module', name: `pgaio I/O worker ${id}` });
  const thread = nextThread(options.registry);
  const over = (): void => {
    worker.onmessage = null;
    worker.onerror = null;
    worker.terminate();
    core.threadEnded(thread); // finds nothing to do if it has left in good order
    events.onExit();
  };
  worker.onmessage = ({ data }: MessageEvent<BrowserMessage>) => {
    if ('step' in data) options.onStep?.(data.step);
    else if ('left' in data) over();
    else events.onMessage(data);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    events.onError(new Error(event.message || 'its script could not be loaded'));
    over();
  };
  worker.postMessage({ ...start, id, thread } satisfies WorkerStart & WorkerIdentity);
  return worker;
}
