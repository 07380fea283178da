/**
 * The thread of a verification's job. It is started early, before it is known what to read: it
 * loads the engine meanwhile, then joins it by the token and takes pieces until there are none.
 */

import { setImmediate as turn } from 'node:timers/promises';
import { parentPort } from 'node:worker_threads';
import { Aio } from '../index.ts';
import { Board } from './board.ts';
import type { Finding, Gone } from './findings.ts';
import { isRegular, type JobStart, paceBy } from './job.ts';
import { Reader } from './reader.ts';

/** What a job sends; `ended` is the last. */
export interface JobMessage {
  readonly found: readonly (Finding | Gone)[];
  readonly ended: boolean;
}

const port = parentPort;
if (port === null) throw new Error('a job runs in a thread of its own');
const send = (message: JobMessage): void => port.postMessage(message);

/** Messages with findings that may be on their way: whoever takes them may be slow. */
const UNTAKEN_MAX = 4;
let untaken = 0;
let onTaken: () => void = () => undefined;

async function work({ token, board: memory, number, job, depth, maxRate }: JobStart) {
  const board = new Board(memory);
  await using aio = await Aio.attach(token, { onReport: () => undefined });
  const reader = new Reader(
    aio,
    job,
    {
      take: () => board.take(),
      get exhausted() {
        return board.closed && board.empty;
      },
      more: () => board.more(),
      paced: maxRate !== undefined,
      pace: (bytes) => paceBy(board, bytes, maxRate),
      isRegular: (path) => isRegular(job.directory, path),
    },
    depth,
  );
  while (!reader.done && !board.stopped) {
    await reader.step();
    board.publish(number, reader.counts);
    const found = reader.found.splice(0);
    if (found.length > 0) {
      untaken++;
      send({ found, ended: false });
    }
    await turn();
    while (untaken > UNTAKEN_MAX && !board.stopped) {
      await new Promise<void>((resolve) => {
        onTaken = resolve;
      });
    }
  }
}

port.on('message', (message: JobStart | 'taken') => {
  if (message === 'taken') {
    untaken--;
    onTaken();
    return;
  }
  work(message)
    .then(() => send({ found: [], ended: true }))
    .finally(() => port.close());
});
