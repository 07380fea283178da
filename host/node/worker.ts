/**
 * The thread of an I/O worker: an instance of the core that runs the worker's loop until it is to
 * leave. No user code runs here but callbacks from modules.
 */
import { parentPort, threadId, workerData } from 'node:worker_threads';
import { CoreInstance } from '../../bindings/core.ts';
import type { CoreHost } from '../../bindings/host.ts';
import { loadCallbacks, registerCallbacks } from '../callback-modules.ts';
import { CALLBACK_MASK, type WorkerMessage } from '../worker-pool.ts';
import { providerFrom } from './host.ts';
import type { WorkerStart } from './worker-pool.ts';

const start = workerData as WorkerStart & { readonly id: number };
const table = await loadCallbacks(start.callbackModules);
const host: CoreHost = {
  module: start.module,
  shared: true,
  provider: await providerFrom(start.provider),
  tablespaceVersionDirectory: start.tablespaceVersionDirectory,
  dataDirectory: start.dataDirectory,
  thread: threadId,
};
const core = await CoreInstance.createWorker(host, start.memory, start.id, start.starter);
const send = (message: WorkerMessage): void => parentPort?.postMessage(message);
core.forwardReports((report) => {
  const thrown = core.thrownBy(report.word & CALLBACK_MASK);
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  send({ report, thrown: thrown === undefined ? undefined : text });
});
registerCallbacks(core, table);
send({ report: undefined, thrown: undefined });
core.runWorker(start.id);
