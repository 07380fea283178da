/**
 * Threads, gates and files for tests, and the bounds on time: whatever is waited for here fails
 * with its name when it does not come. Nothing sleeps.
 */
import { spawn, spawnSync } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { MessageChannel, Worker } from 'node:worker_threads';
import type { AioEvent, ProviderSpec } from '../bindings/host.ts';
import * as layout from '../bindings/layout.ts';
import type { Aio, AioFile, AioToken } from '../host/node/index.ts';
import type { Answer, Jobs, Joined, Question, ThreadStart } from './backend-thread.ts';
import { GATE, GATE_WORDS } from './gate-module.ts';

export const BLOCK = 8192;
/** For anything that is to happen at once. Machines that run tests are busy. */
const LIMIT_MS = 20_000;

/** The promise's value, or an error that says what did not come. Keeps the process alive. */
export async function within<Value>(
  what: string,
  promise: PromiseLike<Value>,
  limitMs = LIMIT_MS,
): Promise<Value> {
  const { port1 } = new MessageChannel();
  port1.on('message', () => undefined); // from here on it is referenced
  const limit = AbortSignal.timeout(limitMs);
  const late = new Promise<never>((_, reject) => {
    limit.onabort = () => reject(new Error(`${what}: not after ${limitMs / 1000} s`));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    limit.onabort = null;
    port1.close();
  }
}

/** Comes back when `holds` says true, looking once per turn of the event loop. */
export async function until(what: string, holds: () => boolean, limitMs = LIMIT_MS) {
  const limit = performance.now() + limitMs;
  while (!holds()) {
    if (performance.now() > limit) throw new Error(`${what}: not after ${limitMs / 1000} s`);
    await new Promise(setImmediate);
  }
}

/** The code of the error that `act` ends with, or `done`. */
export async function endOf(act: () => unknown): Promise<string> {
  try {
    await act();
    return 'done';
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

/** A directory that is removed when the process ends. */
export function scratchDirectory(name: string): string {
  const path = mkdtempSync(join(tmpdir(), `pgaio-${name}-`));
  process.on('exit', () => rmSync(path, { recursive: true, force: true }));
  return path;
}

/**
 * A program that runs another which may not make system call `number`: its words are the number,
 * then the other's. Undefined without a C compiler.
 */
export function forbidding(number: number): readonly string[] | undefined {
  const compiled = join(scratchDirectory('forbid'), 'forbid');
  const { status } = spawnSync('cc', ['-o', compiled, 'tests/fixtures/forbid.c']);
  return status === 0 ? [compiled, String(number)] : undefined;
}

/** Opens a file past the page cache; undefined where its file system has none of that. */
export function openDirect(aio: Aio, path: string, write = false): AioFile | undefined {
  try {
    return aio.open(path, { direct: true, write });
  } catch {
    console.log(`skipped: the file system of ${dirname(path)} has no O_DIRECT`);
    return undefined;
  }
}

/** A file of `blocks` blocks; every byte of block n is n + 1. */
export function blockFile(path: string, blocks: number): string {
  const bytes = Buffer.alloc(blocks * BLOCK);
  for (let i = 0; i < blocks; i++) bytes.fill((i + 1) & 0xff, i * BLOCK, (i + 1) * BLOCK);
  writeFileSync(path, bytes);
  return path;
}

/** Where I/O can be held up. Shut at first; the main thread's own calls always pass. */
export class Gate {
  readonly words = new Int32Array(new SharedArrayBuffer(4 * GATE_WORDS));

  /** For engines' option `provider`; with `root` through node:wasi. */
  provider(root?: string): ProviderSpec {
    const url = new URL('./gate-module.js', import.meta.url).href;
    return { name: 'module', url, options: { words: this.words, root } };
  }
  open(): this {
    Atomics.store(this.words, GATE.passes, -1);
    Atomics.notify(this.words, GATE.passes);
    return this;
  }
  shut(): this {
    Atomics.store(this.words, GATE.passes, 0);
    return this;
  }
  /** Lets one call of a shut gate pass. */
  admit(): void {
    Atomics.add(this.words, GATE.passes, 1);
    Atomics.notify(this.words, GATE.passes, 1);
  }
  /** Comes back when `count` calls wait. */
  crowd(count: number): Promise<void> {
    return until(`${count} calls at the gate`, () => this.waiting === count);
  }
  get waiting(): number {
    return Atomics.load(this.words, GATE.waiting);
  }
  set wasiErrno(errno: number) {
    Atomics.store(this.words, GATE.wasiErrno, errno);
  }
  set mostBytes(bytes: number) {
    Atomics.store(this.words, GATE.mostBytes, bytes);
  }
  /** Ends handing I/Os to the kernel with that errno; 0: hands them over. */
  set startErrno(errno: number) {
    Atomics.store(this.words, GATE.startErrno, errno);
  }
  /** What I/Os handed to the kernel end with; 0: what they did. */
  set ended(raw: number) {
    Atomics.store(this.words, GATE.ended, raw);
  }
  /** I/Os handed to the kernel together. */
  get started(): number {
    return Atomics.load(this.words, GATE.started);
  }
  /** How often some were, or would have been. */
  get starts(): number {
    return Atomics.load(this.words, GATE.starts);
  }
  callsBy(thread: number): number {
    return Atomics.load(this.words, GATE.byThread + thread);
  }
  get calls(): number {
    return this.words.subarray(GATE.byThread).reduce((sum, calls) => sum + calls, 0);
  }
}

/** Threads of this process that have not ended, I/O workers among them, by Node's number. */
export const living = new Map<number, Worker>();
process.on('worker', (worker) => {
  const { threadId } = worker;
  living.set(threadId, worker);
  worker.once('exit', () => living.delete(threadId));
});
/** Comes back when all of them have ended. */
export function noThreads(): Promise<void> {
  return until('all threads have ended', () => living.size === 0);
}

/** A thread with a backend of its own. */
export class BackendThread {
  readonly name: string;
  readonly worker: Worker;
  /** Its exit code, once it has ended and whoever watches it has cleaned up. */
  readonly ended: Promise<number>;
  /** What it died of. */
  error: Error | undefined;
  procno = -1;
  thread = -1;
  readonly #answers = new Map<number, (answer: Answer) => void>();
  #questions = 0;

  private constructor(name: string, start: ThreadStart) {
    this.name = name;
    this.worker = new Worker(new URL('./backend-thread.js', import.meta.url), {
      workerData: start,
      stderr: true, // what it dies of is in `error`
    });
    this.worker.stderr.resume();
    this.worker.on('error', (error) => {
      this.error = error;
    });
    this.ended = new Promise((resolve) => {
      this.worker.once('exit', (code) => {
        for (const [number, answer] of this.#answers) {
          const why = this.error?.message ?? `exit ${code}`;
          answer({ number, error: { code: 'ENDED', message: `${name} ended: ${why}` } });
        }
        resolve(code);
      });
    });
  }

  /** Comes back when the thread has joined the engine of `token`. */
  static async start(token: AioToken, name = 'thread'): Promise<BackendThread> {
    const thread = new BackendThread(name, { token });
    const joined = new Promise<Joined>((resolve, reject) => {
      thread.worker.once('message', resolve);
      thread.ended.then((code) => reject(thread.error ?? new Error(`${name}: exit ${code}`)));
    });
    const { procno, thread: number } = await within(`${name} joins`, joined);
    thread.procno = procno;
    thread.thread = number;
    thread.worker.on('message', (answer: Answer) => thread.#answers.get(answer.number)?.(answer));
    return thread;
  }

  /** Has it do one of the jobs of backend-thread.ts. */
  ask<Job extends keyof Jobs>(
    job: Job,
    ...values: Parameters<Jobs[Job]>
  ): Promise<Awaited<ReturnType<Jobs[Job]>>> {
    const number = this.#questions++;
    const answered = new Promise<Answer>((resolve) => this.#answers.set(number, resolve));
    const question: Question = { number, job, values };
    this.worker.postMessage(question);
    const value = answered.then(({ error, value: found }) => {
      this.#answers.delete(number);
      if (error !== undefined) throw Object.assign(new Error(error.message), error);
      return found as Awaited<ReturnType<Jobs[Job]>>;
    });
    return within(`${this.name}: ${job}`, value);
  }
  /** As `ask`, for jobs whose answer nobody waits for. */
  tell<Job extends keyof Jobs>(job: Job, ...values: Parameters<Jobs[Job]>): void {
    this.ask(job, ...values).catch(() => undefined);
  }
  /** Comes back when it sleeps for good: its event loop takes nothing up from here on. */
  async sleep(job: 'sleep' | 'endBatchAndSleep' = 'sleep'): Promise<void> {
    const word = new Int32Array(new SharedArrayBuffer(4));
    this.tell(job, word);
    await until(`${this.name} sleeps`, () => Atomics.load(word, 0) === 1);
  }

  /** Its exit code, in time. */
  end(): Promise<number> {
    return within(`${this.name} ends`, this.ended);
  }
  async terminate(): Promise<void> {
    await within(`${this.name} is terminated`, this.worker.terminate());
    await this.end();
  }
}

/** Runs tests/NAME.ts in a process of its own. */
function child(name: string, ...words: string[]) {
  const script = new URL(`./${name}.js`, import.meta.url).pathname;
  const process_ = spawn(process.execPath, [script, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [process_.stdout, process_.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
    });
  }
  const ended = new Promise<{ code: number | null; signal: string | null; output: string }>(
    (resolve) => process_.once('close', (code, signal) => resolve({ code, signal, output })),
  );
  const kill = (): void => void process_.kill('SIGKILL');
  process.once('exit', kill);
  process_.once('close', () => process.off('exit', kill));
  return { process: process_, ended };
}
export async function runChild(name: string, words: readonly string[] = [], limitMs = LIMIT_MS) {
  const { process: process_, ended } = child(name, ...words);
  try {
    return await within(`${name} ${words.join(' ')}`, ended, limitMs);
  } finally {
    process_.kill('SIGKILL');
  }
}

/** Collects what the engine publishes of one kind while `work` runs. */
export async function eventsOf<Name extends AioEvent['name']>(
  name: Name,
  work: (events: readonly Extract<AioEvent, { name: Name }>[]) => Promise<void>,
): Promise<void> {
  const events: Extract<AioEvent, { name: Name }>[] = [];
  const listen = (event: unknown): void => {
    events.push(event as Extract<AioEvent, { name: Name }>);
  };
  subscribe(`pgaio:${name}`, listen);
  try {
    await work(events);
  } finally {
    unsubscribe(`pgaio:${name}`, listen);
  }
}

// Looking at the I/O workers in the memory.

const CTL = layout.PgAioCtl.fields;
const CONTROL = layout.PgAioWorkerControl.fields;
const WORKER = layout.PgAioWorker.fields;

export class WorkersView {
  readonly #i32: Int32Array;
  readonly #u64: BigUint64Array;

  constructor(memory: WebAssembly.Memory) {
    this.#i32 = new Int32Array(memory.buffer);
    this.#u64 = new BigUint64Array(memory.buffer);
  }
  ctl(field: keyof typeof CTL): number {
    return this.#i32[(layout.CTL_AT + CTL[field].offset) >>> 2] ?? 0;
  }
  control(field: keyof typeof CONTROL): number {
    return Atomics.load(this.#i32, (this.ctl('worker_control') + CONTROL[field].offset) >>> 2);
  }
  /** Index in i32 of the word that locks the queue. */
  get lockIndex(): number {
    return (this.ctl('worker_control') + CONTROL.lock.offset) >>> 2;
  }
  get i32(): Int32Array {
    return this.#i32;
  }
  #at(id: number, field: keyof typeof WORKER): number {
    return this.ctl('workers') + id * layout.WORKER_BYTES + WORKER[field].offset;
  }
  get running(): number {
    return this.control('nworkers');
  }
  executed(id: number): number {
    return Number(this.#u64[this.#at(id, 'executed') >>> 3]);
  }
  /** Thread of Node's that runs I/O worker `id`. */
  thread(id: number): number {
    return (this.#i32[this.#at(id, 'thread') >>> 2] ?? 0) - 1;
  }
}

/** Files that have a place in the table of files. */
export function filesRegistered(memory: WebAssembly.Memory): number {
  const view = new WorkersView(memory);
  const at = (view.ctl('files') + layout.PgAioFile.fields.in_use.offset) >>> 2;
  let count = 0;
  for (let i = 0; i < view.ctl('max_files'); i++) {
    if (Atomics.load(view.i32, at + (i * layout.FILE_BYTES) / 4) === 1) count++;
  }
  return count;
}

/** Comes back when `count` I/O workers run and all of them are idle. */
export async function idleWorkers(aio: Aio, count: number): Promise<WorkersView> {
  const view = new WorkersView(aio.memory);
  const bits = (word: number): number => word.toString(2).replaceAll('0', '').length;
  await until(
    `${count} idle I/O workers`,
    () => view.running === count && bits(view.control('idle') >>> 0) === count,
  );
  return view;
}
