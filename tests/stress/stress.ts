/**
 * Stress programs, on real threads:
 *
 *   npm run stress -- verify --method worker --seconds 60     what is read is what was written
 *   npm run stress -- kill --method sync --seconds 60         threads die, and nothing is lost
 *
 * Options: --method worker|sync|io_uring, --ring checked|shared (io_uring's), --seconds N, --seed S
 * (drawn and printed first if not given), --canary (a byte of a file is changed: the program must
 * find it). Exits with 1 on a finding.
 * The seed repeats what each thread tries, not how the machine interleaves them.
 */
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { Aio, type AioToken } from '../../host/node/index.ts';
import { Random } from '../explorer/random.ts';
import { filesRegistered, living, noThreads, until, WorkersView } from '../threads-fixture.ts';
import { checkFiles, makeFiles, pathOf } from './blocks.ts';
import { Board } from './board.ts';
import type { StressEnd, StressStart } from './stress-thread.ts';

const THREADS = 8;
const FRAMES = 2048;
/** A thread that does not get on for so long hangs. */
const HANG_MS = 15_000;
const LOOK_MS = 50;

const METHODS = ['worker', 'sync', 'io_uring'] as const;
const RINGS = ['checked', 'shared'] as const;
interface Options {
  readonly mode: 'verify' | 'kill';
  readonly method: (typeof METHODS)[number];
  readonly ring: (typeof RINGS)[number];
  readonly seconds: number;
  readonly seed: number;
  readonly canary: boolean;
}

function parse(words: readonly string[]): Options {
  let [mode, method, ring, seconds, canary] = ['verify', 'worker', 'checked', 60, false];
  let seed = Number(process.hrtime.bigint() % 1_000_000n);
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    if (word === 'verify' || word === 'kill') mode = word;
    else if (word === '--canary') canary = true;
    else if (word === '--method') method = words[++i] ?? '';
    else if (word === '--ring') ring = words[++i] ?? '';
    else if (word === '--seconds') seconds = Number(words[++i]);
    else if (word === '--seed') seed = Number(words[++i]);
    else throw new RangeError(`unknown word ${word}; see the head of tests/stress/stress.ts`);
  }
  const [methods, rings]: readonly (readonly string[])[] = [METHODS, RINGS];
  const known = methods?.includes(method) === true && rings?.includes(ring) === true;
  if (!known || !(seconds > 0) || !Number.isSafeInteger(seed)) {
    throw new RangeError(`--method ${METHODS.join('|')}, --ring ${RINGS.join('|')}, --seconds N`);
  }
  return {
    mode: mode as Options['mode'],
    method: method as Options['method'],
    ring: ring as Options['ring'],
    seconds,
    seed,
    canary,
  };
}

/** Comes back after that long, and keeps the process alive meanwhile. */
function after(ms: number): Promise<void> {
  const { port1 } = new MessageChannel();
  port1.ref();
  return new Promise((resolve) => {
    AbortSignal.timeout(ms).onabort = () => {
      port1.close();
      resolve();
    };
  });
}

interface Thread {
  readonly worker: Worker;
  readonly ended: Promise<void>;
  end: StressEnd | undefined;
  killed: boolean;
  error: Error | undefined;
}

function takesDirect(path: string): boolean {
  try {
    closeSync(openSync(path, constants.O_RDONLY | (constants.O_DIRECT ?? 0)));
    return true;
  } catch {
    return false;
  }
}

class Stress {
  readonly #options: Options;
  readonly #folder = mkdtempSync(join(tmpdir(), 'pgaio-stress-'));
  readonly #board = new Board();
  readonly #random: Random;
  readonly #threads: Thread[] = [];
  readonly findings: string[] = [];
  readonly counts: Record<string, number> = {};
  #started = 0;
  #direct = false;

  constructor(options: Options) {
    this.#options = options;
    this.#random = new Random(options.seed);
    process.on('exit', () => rmSync(this.#folder, { recursive: true, force: true }));
  }

  async run(): Promise<void> {
    const { method, ring, seconds, mode, canary } = this.#options;
    makeFiles(this.#folder);
    this.#direct = takesDirect(pathOf(this.#folder, 0));
    const aio = await Aio.create({
      provider: 'direct',
      ioMethod: method,
      ring,
      ioMaxConcurrency: 16,
      ioFrames: FRAMES,
      maxBackends: THREADS + 1,
      ioMinWorkers: 2,
      ioMaxWorkers: 4,
      ioWorkerLaunchInterval: 20,
      ioWorkerIdleTimeout: 200,
      maxFiles: 256,
      onReport: () => undefined,
    });
    for (let i = 0; i < THREADS; i++) this.#start(aio.token, i);
    if (canary) {
      const fd = openSync(pathOf(this.#folder, 3), 'r+');
      for (let block = 0; block < 16; block++) writeSync(fd, 'x', block * 8192 + 4000);
    }
    const end = performance.now() + seconds * 1000;
    const seen = Array.from({ length: THREADS }, () => ({ progress: -1, at: performance.now() }));
    while (performance.now() < end && this.findings.length === 0) {
      await after(mode === 'kill' ? this.#random.range(1, LOOK_MS) : LOOK_MS);
      this.#look(seen, aio);
      if (mode === 'kill') await this.#kill(aio);
    }
    this.#board.stop();
    if (this.findings.length > 0) return;
    await this.#finish(aio);
  }

  #start(token: AioToken, number: number): void {
    const start: StressStart = {
      token,
      folder: this.#folder,
      direct: this.#direct,
      words: this.#board.words,
      number,
      threads: THREADS,
      seed: this.#options.seed * 1009 + this.#started++,
      kills: this.#options.mode === 'kill',
    };
    const worker = new Worker(new URL('./stress-thread.js', import.meta.url), {
      workerData: start,
    });
    const ended = new Promise<void>((resolve) => {
      worker.once('exit', () => resolve());
    });
    const thread: Thread = { worker, ended, end: undefined, killed: false, error: undefined };
    worker.on('message', (message: StressEnd) => {
      thread.end = message;
      if (message.finding !== undefined) this.findings.push(message.finding);
      for (const [what, n] of Object.entries(message.counts)) {
        this.counts[what] = (this.counts[what] ?? 0) + n;
      }
    });
    worker.on('error', (error) => {
      thread.error = error;
      if (!thread.killed) this.findings.push(`thread ${number} died: ${error.stack}`);
    });
    this.#threads[number] = thread;
  }

  /** Whether every thread gets on. */
  #look(seen: { progress: number; at: number }[], aio: Aio): void {
    const now = performance.now();
    for (const [number, last] of seen.entries()) {
      const progress = this.#board.progress(number);
      if (progress !== last.progress) {
        last.progress = progress;
        last.at = now;
      } else if (now - last.at > HANG_MS) {
        this.findings.push(`thread ${number} hangs\n${describe(aio)}`);
        return;
      }
    }
  }

  async #kill(aio: Aio): Promise<void> {
    const number = this.#random.below(THREADS);
    if (this.#random.once(2) && this.#options.method === 'worker') {
      const view = new WorkersView(aio.memory);
      const victim = living.get(view.thread(this.#random.below(4)));
      if (victim === undefined) return;
      this.#count('I/O workers killed');
      void victim.terminate();
      return;
    }
    const thread = this.#threads[number];
    if (thread === undefined || thread.killed) return;
    thread.killed = true;
    this.#count('threads killed');
    void thread.worker.terminate();
    await thread.ended;
    await this.#slot(aio);
    this.#start(aio.token, number);
  }
  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  /** The dead thread's slot must come back, or the next finds none. */
  async #slot(aio: Aio): Promise<void> {
    const rows = (): number => {
      aio.submitStaged();
      return aio.inspect().filter(({ pid }) => pid === null).length;
    };
    await until('the estate is settled', () => rows() === 0).catch(() =>
      this.findings.push(`an estate is not settled\n${describe(aio)}`),
    );
  }

  async #finish(aio: Aio): Promise<void> {
    const gone = Promise.all(this.#threads.map((thread) => thread.ended)).then(() => 'ended');
    if ((await Promise.race([gone, after(HANG_MS)])) !== 'ended') {
      const who = this.#threads.flatMap((thread, i) => (thread.end === undefined ? [i] : []));
      this.findings.push(`threads ${who} do not come to their end\n${describe(aio)}`);
      return;
    }
    aio.submitStaged();
    if (aio.inspect().length > 0) this.findings.push(`handles are left\n${describe(aio)}`);
    try {
      aio.frames(FRAMES)[Symbol.dispose]();
    } catch {
      this.findings.push('frames are left');
    }
    const files = filesRegistered(aio.memory);
    if (files > 0) this.findings.push(`${files} files are left in the table of files`);
    await this.#allSlots(aio);
    if (this.#options.mode === 'verify') {
      const version = (file: number, block: number) => this.#board.version(file, block);
      this.findings.push(...checkFiles(this.#folder, version).slice(0, 5));
    }
    await aio[Symbol.asyncDispose]();
    await noThreads().catch(() => this.findings.push('I/O workers are left'));
  }

  async #allSlots(aio: Aio): Promise<void> {
    const others: Aio[] = [];
    try {
      for (let i = 0; i < THREADS; i++) others.push(await Aio.attach(aio.token));
      for (const other of others) {
        const max = Number(other.show('io_max_concurrency'));
        const handles = Array.from({ length: max }, () => {
          const handle = other.tryAcquire();
          handle?.release();
          return handle;
        });
        if (handles.includes(undefined)) this.findings.push('handles of a slot are left');
      }
    } catch (error) {
      this.findings.push(`slots are left: ${error}`);
    }
    for (const other of others) await other[Symbol.asyncDispose]();
  }
}

/** What the engine looks like, for a finding. */
function describe(aio: Aio): string {
  const view = new WorkersView(aio.memory);
  const control = ['lock', 'head', 'tail', 'idle', 'nworkers', 'grow', 'stop'] as const;
  const rows = aio.inspect().map((row) => {
    return `  ${row.io_id} of ${row.pid}: ${row.state} ${row.operation} ${row.raw_result}`;
  });
  return [`  ${control.map((f) => `${f} ${view.control(f)}`).join(', ')}`, ...rows].join('\n');
}

const options = parse(process.argv.slice(2));
const { mode, method, ring, seconds, seed, canary } = options;
const rings = method === 'io_uring' ? ` --ring ${ring}` : '';
const command = `${mode} --method ${method}${rings} --seconds ${seconds} --seed ${seed}`;
console.log(`stress ${command}${canary ? ' --canary' : ''}`);
const stress = new Stress(options);
await stress.run();
const counts = Object.entries(stress.counts).sort(([a], [b]) => (a < b ? -1 : 1));
console.log(counts.map(([what, n]) => `${what} ${n}`).join(', '));
if (stress.findings.length === 0) {
  console.log('nothing found');
  process.exit(0);
}
for (const finding of stress.findings) console.log(`FOUND ${finding}`);
console.log(`again: npm run stress -- ${command}`);
process.exit(1);
