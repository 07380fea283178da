/**
 * Threads for the other jobs of a verification. They are started before anything is known, since a
 * thread takes as long to start as reading half a gigabyte from the page cache, and wait until they
 * are told what to read.
 */
import { SHARE_ENV, Worker } from 'node:worker_threads';
import type { JobStart, Take } from './job.ts';
import type { JobMessage } from './job-thread.ts';

/** Megabytes. Their heaps hold six, and grow by as many for nothing where there is more room. */
const LIMITS = { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 32 } as const;

export class JobThreads {
  readonly count: number;
  readonly #workers: readonly Worker[];

  constructor(count: number) {
    this.count = count;
    this.#workers = Array.from({ length: count }, (_, i) => {
      const worker = new Worker(new URL('./verify-job.cjs', import.meta.url), {
        env: SHARE_ENV,
        name: `pgaio verify job ${i + 1}`,
        resourceLimits: LIMITS,
      });
      worker.on('error', () => undefined); // `run` hears of it by the end
      worker.unref(); // nothing depends on a job but who waits for it
      return worker;
    });
  }

  /** Ends when all jobs have; rejects when one fails. */
  async run(starts: readonly JobStart[], take: Take): Promise<void> {
    const jobs = this.#workers.map((worker, i) => {
      const start = starts[i];
      return start === undefined ? undefined : runJob(worker, start, take);
    });
    await Promise.all(jobs);
  }

  /** Ends threads that were not needed, or are not any more. */
  async end(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

function runJob(worker: Worker, start: JobStart, take: Take): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.on('message', (message: JobMessage) => {
      if (message.ended) resolve();
      else take(message.found, () => worker.postMessage('taken'));
    });
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`a job ended early, with status ${code}`)));
    worker.unref(); // adding a listener for messages references it again
    worker.postMessage(start);
  });
}
