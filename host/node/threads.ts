/**
 * Notices that threads of this process end. Node tells the thread that started one; so each thread
 * with a backend watches the threads it starts from then on, and tells its engines when one ended.
 * A slot of a thread that left in good order is free already, and nothing happens.
 */
import type { Worker } from 'node:worker_threads';
import type { CoreInstance } from '../../bindings/core.ts';

/** Backends of this thread. */
const watching = new Set<CoreInstance>();

function onWorker(worker: Worker): void {
  const thread = worker.threadId; // -1 once it has ended
  worker.once('exit', () => {
    for (const core of watching) core.threadEnded(thread);
  });
}

/** Until it leaves, `core` is told of threads that end, if they are started from now on. */
export function watchThreads(core: CoreInstance): void {
  if (watching.size === 0) process.on('worker', onWorker);
  watching.add(core);
  core.onLeaving(() => {
    watching.delete(core);
    if (watching.size === 0) process.off('worker', onWorker);
  });
}
