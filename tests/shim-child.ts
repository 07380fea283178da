/**
 * A process whose threads are terminated while they bind memories to the shim, one after the other.
 * Words: how many, seed.
 */
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { bindShim } from '../host/node/shim.ts';
import { Random } from './explorer/random.ts';

/** Binds as many memories as a thread may, lets go of them, and again, until it is ended. */
function bindForEver(): never {
  parentPort?.postMessage('begins');
  for (;;) {
    const memories = Array.from(
      { length: 64 },
      () => new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }),
    );
    const bound = memories.map(bindShim);
    for (const functions of bound.slice(16)) functions?.unbind();
  }
}

if (isMainThread) {
  const [threads, seed] = process.argv.slice(2).map(Number);
  const random = new Random(seed ?? 0);
  for (let i = 0; i < (threads ?? 0); i++) {
    const worker = new Worker(new URL(import.meta.url));
    await new Promise((resolve) => worker.once('message', resolve));
    const turns = random.below(20);
    for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
    await worker.terminate();
  }
  console.log('all ended');
} else bindForEver();
