/**
 * A thread of a test: joins an engine by its token and does what messages ask for. BackendThread in
 * threads-fixture.ts starts it and speaks to it.
 */
import { parentPort, threadId, workerData } from 'node:worker_threads';
import type { PendingIo } from '../bindings/completions.ts';
import type { AioFile } from '../bindings/file.ts';
import type { PageFrames } from '../bindings/frames.ts';
import type { OpenFlags } from '../bindings/host.ts';
import { PGAIO_HCB_FILE } from '../bindings/layout.ts';
import type { ResourceOwner } from '../bindings/owner.ts';
import type { WaitRefToken } from '../bindings/wait-ref.ts';
import { Aio, type AioToken } from '../host/node/index.ts';

export interface ThreadStart {
  readonly token: AioToken;
}
/** What the thread is asked, and what it answers. */
export interface Question {
  readonly number: number;
  readonly job: string;
  readonly values: readonly unknown[];
}
export interface Answer {
  readonly number: number;
  readonly value?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}
/** First message: the thread has joined, or could not. */
export interface Joined {
  readonly procno: number;
  readonly thread: number;
}

const { token } = workerData as ThreadStart;
const aio = await Aio.attach(token);
const port = parentPort;
if (port === null) throw new Error('this is to be started as a thread');

let file: AioFile | undefined;
let frames: PageFrames | undefined;
let owner: ResourceOwner | undefined;
let batch: Disposable | undefined;
const ios: PendingIo[] = [];

function opened(): AioFile {
  if (file === undefined) throw new Error('ask `open` first');
  return file;
}
function taken(): PageFrames {
  if (frames === undefined) throw new Error('ask `take` first');
  return frames;
}

function startRead(index: number): WaitRefToken {
  const handle = aio.acquire({ owner });
  handle.setTarget({ file: opened() }).register(PGAIO_HCB_FILE);
  const buffer = taken().slice(index % taken().count, (index % taken().count) + 1);
  const io = handle.startReadv(opened(), buffer, index * aio.blockSize);
  ios.push(io);
  return io.ref.token;
}

const jobs = {
  open(path: string, flags: OpenFlags = {}): void {
    file = aio.open(path, flags);
  },
  take(count: number): void {
    frames = aio.frames(count);
  },
  byte: (at: number): number => taken().bytes[at] ?? -1,
  ownIos(): void {
    owner = aio.owner();
  },
  acquire: (): WaitRefToken => aio.acquire({ owner }).waitRef().token,
  /** Starts reads of the first `count` blocks. */
  start: (count: number): WaitRefToken[] => Array.from({ length: count }, (_, i) => startRead(i)),
  /** Starts writing `byte` to all of the first `count` blocks. */
  startWrites(byte: number, count: number): void {
    taken().bytes.fill(byte);
    for (let i = 0; i < count; i++)
      ios.push(opened().write(taken().slice(i, i + 1), i * aio.blockSize));
  },
  async results(): Promise<number[]> {
    const results = await Promise.all(ios.splice(0));
    return results.map(({ result }) => result);
  },
  async readAll(count: number): Promise<number> {
    const buffer = taken().slice(0, 1);
    let sum = 0;
    for (let i = 0; i < count; i++) sum += (await opened().read(buffer, 0)).result;
    return sum;
  },
  readSync: (): number => opened().read(taken().slice(0, 1), 0).waitSync().result,
  beginBatch(): void {
    batch = aio.batch();
  },
  endBatch(): void {
    batch?.[Symbol.dispose]();
  },
  submit: (): void => aio.submitStaged(),
  waitSync: (ref: WaitRefToken, ms?: number): boolean => aio.waitRef(ref).waitSync(ms),
  checkDone: (ref: WaitRefToken): boolean => aio.waitRef(ref).checkDone(),
  isDone: (ref: WaitRefToken): boolean => aio.waitRef(ref).isDone(),
  synchronous: (): bigint => aio.stats().synchronous,
  rows: (): number => aio.inspect().length,
  show: (name: string): string => aio.show(name),
  dispose: (): void => aio[Symbol.dispose](),
  disposeAsync: (): Promise<void> => aio[Symbol.asyncDispose](),
  /** Nothing more to do: the thread returns as soon as nothing is in flight. */
  return(): void {
    port.unref();
  },
  exit(code: number): never {
    process.exit(code);
  },
  fail(): void {
    setImmediate(() => {
      throw new Error('an error that nobody catches');
    });
  },
  /** Submits, and never looks again. */
  endBatchAndSleep(word: Int32Array): void {
    batch?.[Symbol.dispose]();
    jobs.sleep(word);
  },
  /** Never comes back. BackendThread.sleep() says when it is too late for it to look once more. */
  sleep(word: Int32Array): void {
    Atomics.store(word, 0, 1);
    Atomics.wait(word, 0, 1);
  },
};
export type Jobs = typeof jobs;

port.on('message', async ({ number, job, values }: Question) => {
  const run = jobs[job as keyof Jobs] as (...args: readonly unknown[]) => unknown;
  let answer: Answer;
  try {
    answer = { number, value: await run(...values) };
  } catch (error) {
    const { code = '', message } = error as Error & { code?: string };
    answer = { number, error: { code, message } };
  }
  port.postMessage(answer);
});
const joined: Joined = { procno: aio.procno, thread: threadId };
port.postMessage(joined);
