/** A thread that sleeps on a word of a memory by the shim's means, and says how that ended. */
import { parentPort, workerData } from 'node:worker_threads';
import { bindShim } from '../host/node/shim.ts';

export interface ParkThreadStart {
  readonly memory: WebAssembly.Memory;
  readonly word: number;
}

const { memory, word } = workerData as ParkThreadStart;
parentPort?.postMessage('about to');
parentPort?.postMessage(bindShim(memory)?.park(word, 0, 20_000_000));
