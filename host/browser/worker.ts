/**
 * The thread of an I/O worker in a browser: an instance of the core that runs the worker's loop
 * until it is to leave. No user code runs here but callbacks from modules.
 */
import { CoreInstance } from '../../bindings/core.ts';
import type { CoreHost } from '../../bindings/host.ts';
import { loadCallbacks, registerCallbacks } from '../callback-modules.ts';
import { CALLBACK_MASK } from '../worker-pool.ts';
import { providerFrom } from './provider-from.ts';
import { Recorder } from './recorder.ts';
import type { BrowserMessage, WorkerIdentity, WorkerStart } from './worker-pool.ts';

const send = (message: BrowserMessage): void => postMessage(message);

async function run(start: WorkerStart & WorkerIdentity): Promise<void> {
  const table = await loadCallbacks(start.callbackModules);
  const recorder = start.records
    ? new Recorder(start.memory, start.thread, (step) => send({ step }))
    : undefined;
  const host: CoreHost = {
    module: start.module,
    shared: true,
    provider: await providerFrom(start.provider),
    tablespaceVersionDirectory: start.tablespaceVersionDirectory,
    dataDirectory: start.dataDirectory,
    thread: start.thread,
    extraImports: recorder && (() => recorder.imports()),
  };
  const core = await CoreInstance.createWorker(host, start.memory, start.id, start.starter);
  core.forwardReports((report) => {
    const thrown = core.thrownBy(report.word & CALLBACK_MASK);
    const text = thrown instanceof Error ? thrown.message : String(thrown);
    send({ report, thrown: thrown === undefined ? undefined : text });
  });
  registerCallbacks(core, table);
  send({ report: undefined, thrown: undefined });
  core.runWorker(start.id);
  send({ left: true });
}

addEventListener('message', ({ data }: MessageEvent<WorkerStart & WorkerIdentity>) => {
  run(data).catch((error) =>
    queueMicrotask(() => {
      throw error; // reaches onerror of the thread that started this one
    }),
  );
});
