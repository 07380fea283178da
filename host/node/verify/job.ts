/** What a job is told, and what all jobs do in the same way, in whichever thread. */
import { lstatSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AioToken } from '../index.ts';
import type { Board } from './board.ts';
import type { Finding, Gone } from './findings.ts';
import type { ReaderJob } from './reader.ts';

/** What a job in another thread starts from: plain data. */
export interface JobStart {
  readonly token: AioToken;
  readonly board: SharedArrayBuffer;
  /** Its row of counters. */
  readonly number: number;
  readonly job: ReaderJob;
  /** I/Os in flight at most. */
  readonly depth: number;
  /** Bytes per second, of all jobs together. */
  readonly maxRate: number | undefined;
}

/** Receives what a job has found, and says when it has been dealt with. */
export type Take = (what: readonly (Finding | Gone)[], taken: () => void) => void;

const PACE_LOOK_MS = 100;

/** Waits for a turn at a rate; not at all without one, nor when all is to stop. */
export async function paceBy(
  board: Board,
  bytes: number,
  maxRate: number | undefined,
): Promise<void> {
  if (maxRate === undefined) return;
  const until = performance.now() + board.pace(bytes, maxRate);
  for (;;) {
    const left = until - performance.now();
    if (left <= 0 || board.stopped) return;
    await sleep(Math.min(left, PACE_LOOK_MS));
  }
}

/** Whether a path in the data directory is an ordinary file still, or gone. */
export function isRegular(directory: string, path: string): boolean {
  return lstatSync(`${directory}/${path}`, { throwIfNoEntry: false })?.isFile() ?? true;
}
