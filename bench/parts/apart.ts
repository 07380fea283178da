/**
 * Subjects in processes of their own: their compiled code, their heaps and their threads are not
 * mixed, and each can have an environment that has to be there when a process starts.
 */
import { type ChildProcess, fork } from 'node:child_process';

/** What a round took. */
export interface Timed {
  readonly nanoseconds: number;
  /** Of all threads of the process. */
  readonly cpuMicroseconds: number;
}
/** Does that many operations and says what they took. */
export type Timer = (operations: number) => Promise<Timed>;

const SUBJECT = 'PGAIO_BENCH_SUBJECT';
type FromChild = { readonly ready: true } | { readonly unavailable: string } | Timed;

/** The case and subject that this process is for; undefined in the process of the benchmark. */
export function ownSubject(): readonly [title: string, subject: string] | undefined {
  const words = process.env[SUBJECT];
  return words === undefined ? undefined : (JSON.parse(words) as [string, string]);
}

/** Answers the benchmark's process until that one has had enough. */
export function serve(opened: { readonly unavailable: string } | Timer): Promise<void> {
  const send = (message: FromChild): void => void process.send?.(message);
  send(typeof opened === 'function' ? { ready: true } : opened);
  process.on('message', async (operations: number) => {
    if (typeof opened === 'function') send(await opened(operations));
  });
  return new Promise((resolve) => process.once('disconnect', resolve));
}

/** Runs this benchmark's script for one subject of one case. */
export async function startApart(
  title: string,
  subject: string,
  env: Readonly<Record<string, string>>,
): Promise<{ readonly unavailable: string } | { readonly timer: Timer; close(): Promise<void> }> {
  const child = fork(process.argv[1] ?? '', [], {
    env: { ...process.env, ...env, [SUBJECT]: JSON.stringify([title, subject]) },
  });
  const first = await answerOf(child, subject);
  if ('unavailable' in first) {
    child.disconnect();
    return first;
  }
  const timer: Timer = async (operations) => {
    child.send(operations);
    return (await answerOf(child, subject)) as Timed;
  };
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      child.once('exit', () => resolve());
      child.disconnect();
    });
  return { timer, close };
}

function answerOf(child: ChildProcess, subject: string): Promise<FromChild> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void =>
      reject(new Error(`the process of ${subject} ended with ${code}`));
    child.once('exit', onExit);
    child.once('message', (message) => {
      child.off('exit', onExit);
      resolve(message as FromChild);
    });
  });
}
