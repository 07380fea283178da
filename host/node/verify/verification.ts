/**
 * Verifies a data directory: reads every page of every relation file through the engine and tells
 * which are damaged, and why. Reads only, and writes nothing.
 *
 * The work is done by jobs, each a backend over one memory: this thread, which also lists the
 * files, and threads that somebody has started early. All take pieces from one board. Which files
 * are looked at follows pg_checksums, what makes a page valid PageIsVerified.
 */
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { Aio, AioIoError, type AioOptions, type AioToken, AioUnavailableError } from '../index.ts';
import { Board, type JobCounts } from './board.ts';
import type { DamagedPage, Finding, Gone } from './findings.ts';
import { isRegular, type JobStart, paceBy, type Take } from './job.ts';
import { Listing, type Selection } from './listing.ts';
import {
  type DataDirectory,
  DataDirectoryError,
  openDataDirectory,
  type RelationFile,
} from './pgdata.ts';
import { Reader, type ReaderJob, type Source } from './reader.ts';
import { type Situation, situationOf } from './situation.ts';

export type { DamagedPage, Finding };

/** How far a verification has come, and at the end its result. */
export interface Counts extends Omit<JobCounts, 'bytesMore'> {
  /** Relation files listed so far, foreign ones left out. */
  readonly files: number;
  /** Bytes to be read; follows the files when they turn out longer or shorter than listed. */
  readonly bytes: number;
  /** Files that are no relation's: they are left alone. */
  readonly foreignFiles: number;
  /** Files listed and then not there any more. */
  readonly vanishedFiles: number;
  /** Files that were cut while they were read. */
  readonly truncatedFiles: number;
  /** Since the reading began. */
  readonly seconds: number;
}

/** Jobs in other threads. `run` ends when they have, each after all pieces were taken. */
export interface OtherJobs {
  readonly count: number;
  run(starts: readonly JobStart[], take: Take): Promise<void>;
}

export interface VerifyOptions {
  /** @default 'sync' */
  readonly ioMethod?: AioOptions['ioMethod'];
  /** Reads past the page cache (O_DIRECT). @default false */
  readonly direct?: boolean;
  /** Blocks per I/O, 1 .. 128. @default what makes 1 MiB, or 256 KiB if several are in flight */
  readonly combineLimit?: number;
  /** I/Os in flight at most for each job, 1 .. 1024. @default 1 for method sync, else 4 to 16 */
  readonly concurrency?: number;
  /** Whether a server may write meanwhile. @default false */
  readonly online?: boolean;
  /** Bytes per second at most, all jobs together. @default no limit */
  readonly maxRate?: number;
  readonly selection?: Selection;
  /** Jobs beside this thread. @default none */
  readonly others?: OtherJobs;
  /** Whether the engine's memory is a shared one; other jobs need that. @default true */
  readonly shared?: boolean;
  /** Ends the verification between two batches: the iteration throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called after each batch. */
  readonly onProgress?: (counts: Counts) => void;
  /** Called when all files are listed, or as many as the board holds. */
  readonly onListed?: () => void;
  /** Makes an engine of the settings that are needed. @default Aio.create */
  readonly createEngine?: (options: AioOptions) => Promise<Aio>;
}

/** Measured from the page cache: 128 KiB takes a third more time than 1 MiB, 2 MiB the same. */
const READ_BYTES = 1 << 20;
/** Where several are in flight the device is kept busy by their number. */
const READ_BYTES_IN_FLIGHT = 256 << 10;
/** Of one job, and of all together: each has frames of its own for them. */
const DEPTH = 16;
const DEPTH_OF_ALL = 32;
const DEPTH_MIN = 4;
const COMBINE_MAX = 128;
/** Listing before the event loop has a turn. */
const LIST_MS = 15;
const FRAMES_MIN = 16;
/** None is needed, and the fewest there can be are these. */
const BUFFERS_MIN = 16;
/** Threads that read with method worker, since jobs read, too, when all I/O workers are busy. */
const READING_THREADS = 5;
/** Paths remembered to count each file once; beyond, a file may be counted more than once. */
const GONE_MAX = 100_000;

/**
 * A verification of one data directory. Iterating does the work: it yields what is found, in the
 * order in which reads end, and leaves nothing open when the loop is left. Iterate once.
 * Errors: DataDirectoryError from the listing; AioSettingError and AioUnavailableError when the
 * engine cannot be had; the signal's reason. What is wrong with a file is a finding, not an error.
 * @example
 * const verification = new Verification(await openDataDirectory(path));
 * for await (const finding of verification) console.log(finding.path, finding.kind);
 * console.log(verification.counts.blocks, verification.counts.damagedPages);
 */
export class Verification implements AsyncIterable<Finding> {
  readonly directory: DataDirectory;
  readonly situation: Situation;
  readonly combineLimit: number;
  /** I/Os in flight at most for each job. */
  readonly concurrency: number;
  readonly #options: VerifyOptions;
  readonly #jobs: number;
  readonly #board: Board;
  readonly #listing: Listing;
  readonly #vanished = new Set<string>();
  readonly #truncated = new Set<string>();
  /** Of the other jobs, not yielded yet. */
  #found: { readonly findings: readonly Finding[]; readonly taken: () => void }[] = [];
  #wake: () => void = () => undefined;
  #started: number | undefined;
  #seconds = 0;
  #begun = false;
  #changed = false;

  constructor(directory: DataDirectory, options: VerifyOptions = {}) {
    const { blockSize } = directory.control;
    const { ioMethod = 'sync', others, selection = {} } = options;
    this.directory = directory;
    this.situation = situationOf(directory);
    this.#jobs = 1 + (others?.count ?? 0);
    this.concurrency = options.concurrency ?? (ioMethod === 'sync' ? 1 : depthOf(this.#jobs));
    const bytes = this.concurrency === 1 ? READ_BYTES : READ_BYTES_IN_FLIGHT;
    const blocks = Math.max(1, Math.min(COMBINE_MAX, Math.floor(bytes / blockSize)));
    this.combineLimit = options.combineLimit ?? blocks;
    this.#options = options;
    this.#board = Board.for(this.#jobs);
    this.#listing = new Listing(directory, this.#board, selection);
  }

  /** A snapshot: how far it has come. */
  get counts(): Counts {
    const { bytesMore, filesDone, ...sums } = this.#board.counts();
    return {
      files: this.#listing.files,
      filesDone: filesDone + this.#listing.emptyFiles,
      bytes: this.#listing.bytes + bytesMore,
      ...sums,
      foreignFiles: this.#listing.foreignFiles,
      vanishedFiles: this.#vanished.size,
      truncatedFiles: this.#truncated.size,
      seconds: this.#seconds,
    };
  }
  /** Files that are no relation's, the first thousand. */
  get foreign(): readonly RelationFile[] {
    return this.#listing.foreign;
  }
  /** Whether all files are listed, so that the totals are final. */
  get listed(): boolean {
    return this.#board.closed;
  }
  /** At the end: whether a server was started or stopped meanwhile. Findings may be its doing. */
  get changed(): boolean {
    return this.#changed;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Finding, void, undefined> {
    if (this.#begun) throw new RangeError('a verification is iterated once; make another');
    this.#begun = true;
    const { others, online = false, signal } = this.#options;
    try {
      signal?.throwIfAborted();
      await using engine = await this.#engine();
      this.#started = performance.now();
      let running = others !== undefined;
      let failure: unknown;
      const end = others
        ?.run(this.#starts(engine.token), (what, taken) => this.#take(what, taken))
        .catch((error: unknown) => {
          failure = error;
        })
        .then(() => {
          running = false;
          this.#wake();
        });
      await this.#list();
      yield* this.#read(engine);
      while (running || this.#found.length > 0) {
        if (this.#found.length === 0) await this.#another();
        yield* this.#taken();
        this.#tick();
      }
      await end;
      if (failure !== undefined) throw failure;
      yield* this.#listing.faults(online);
      this.#changed = await this.#hasChanged();
    } finally {
      this.#board.stop();
    }
  }

  #tick(): void {
    const { onProgress, signal } = this.#options;
    if (this.#started !== undefined) this.#seconds = (performance.now() - this.#started) / 1000;
    onProgress?.(this.counts);
    signal?.throwIfAborted();
  }
  /** Until another job has something to tell, has ended, or somebody wants to see progress. */
  async #another(): Promise<void> {
    const waited = new AbortController();
    await Promise.race([
      new Promise<void>((resolve) => {
        this.#wake = resolve;
      }),
      sleep(LIST_MS, undefined, { signal: waited.signal }).catch(() => undefined),
    ]);
    waited.abort();
  }
  #take(what: readonly (Finding | Gone)[], taken: () => void): void {
    const findings: Finding[] = [];
    for (const one of what) {
      if (one.kind === 'vanished') noteOnce(this.#vanished, one.path);
      else if (one.kind === 'truncated') noteOnce(this.#truncated, one.path);
      else findings.push(one);
    }
    this.#found.push({ findings, taken });
    this.#wake();
  }
  /** A job goes on when what it found before has been taken: whoever iterates sets the pace. */
  *#taken(): Generator<Finding, void, undefined> {
    for (let batch = this.#found.shift(); batch !== undefined; batch = this.#found.shift()) {
      yield* batch.findings;
      batch.taken();
    }
  }

  async #list(): Promise<void> {
    let put = -1;
    while (!this.#board.closed && put !== this.#listing.files) {
      put = this.#listing.files;
      this.#listing.proceed(performance.now() + LIST_MS);
      if (!this.#board.closed) await turn();
      this.#tick();
    }
    this.#options.onListed?.();
  }

  async *#read(engine: Aio): AsyncGenerator<Finding, void, undefined> {
    const reader = new Reader(engine, this.#job, this.#source(), this.concurrency);
    while (!reader.done) {
      await reader.step();
      this.#board.publish(0, reader.counts);
      if (reader.found.length > 0) this.#take(reader.found.splice(0), () => undefined);
      yield* this.#taken();
      this.#tick();
      await turn(); // a synchronous method leaves the event loop no other chance
    }
  }

  /** Pieces from the board; while it is empty and not all is listed, more is listed. */
  #source(): Source {
    const board = this.#board;
    const { maxRate } = this.#options;
    const list = (): void => this.#listing.proceed(performance.now() + LIST_MS);
    return {
      take: () => {
        const piece = board.take();
        if (piece !== undefined || board.closed) return piece;
        list();
        return board.take();
      },
      get exhausted() {
        return board.closed && board.empty;
      },
      more: async () => {
        list();
        await turn();
      },
      paced: maxRate !== undefined,
      pace: (bytes) => paceBy(board, bytes, maxRate),
      isRegular: (path) => isRegular(this.directory.path, path),
    };
  }

  get #job(): ReaderJob {
    const { direct = false, online = false } = this.#options;
    const { control, path, tablespaceDirectory } = this.directory;
    return {
      directory: path,
      tablespaceDirectory,
      direct,
      combineLimit: this.combineLimit,
      blockSize: control.blockSize,
      segmentBlocks: control.segmentBlocks,
      live: online,
      recovers: online ? undefined : this.situation.recovers,
    };
  }
  #starts(token: AioToken): JobStart[] {
    const { others, maxRate } = this.#options;
    return Array.from({ length: others?.count ?? 0 }, (_, i) => ({
      token,
      board: this.#board.memory,
      number: i + 1,
      job: this.#job,
      depth: this.concurrency,
      maxRate,
    }));
  }

  async #engine(): Promise<Aio> {
    const { ioMethod = 'sync', shared = true, direct = false } = this.#options;
    const { control, tablespaceDirectory } = this.directory;
    const jobs = this.#jobs;
    const create = this.#options.createEngine ?? ((options: AioOptions) => Aio.create(options));
    const aio = await create({
      ioMethod,
      provider: 'direct',
      shared,
      blockSize: control.blockSize,
      dataChecksums: control.dataChecksumVersion !== 0,
      ioMaxCombineLimit: this.combineLimit,
      ioCombineLimit: this.combineLimit,
      ioMaxConcurrency: this.concurrency,
      ioMaxWorkers: Math.max(1, READING_THREADS - jobs),
      maxBackends: jobs,
      sharedBuffers: BUFFERS_MIN,
      ioFrames: Math.max(FRAMES_MIN, jobs * this.concurrency * this.combineLimit),
      tablespaceVersionDirectory: tablespaceDirectory,
      traceSize: 16,
      onReport: () => undefined, // the verdicts say the same
    });
    if (direct) await this.#checkDirect(aio);
    return aio;
  }

  /** Better one refusal than one for each file. */
  async #checkDirect(aio: Aio): Promise<void> {
    const path = `${this.directory.path}/global/pg_control`;
    try {
      aio.open(path, { direct: true }).close();
    } catch (error) {
      await aio[Symbol.asyncDispose]();
      if (!(error instanceof AioIoError)) throw error;
      throw new AioUnavailableError({
        code: 'PGAIO_NO_DIRECT',
        message: `the file system of "${this.directory.path}" cannot be read past the page cache`,
        hint: 'Leave `direct` out.',
        cause: error,
      });
    }
  }

  async #hasChanged(): Promise<boolean> {
    const before = this.directory;
    try {
      const { control, serverMayRun } = await openDataDirectory(before.path);
      if (serverMayRun !== before.serverMayRun) return true;
      const { state, checkpointLsn } = control;
      const live = this.#options.online ?? false;
      if (live && state === before.control.state) return false; // it goes on as it was
      return state !== before.control.state || checkpointLsn !== before.control.checkpointLsn;
    } catch (error) {
      if (error instanceof DataDirectoryError) return true;
      throw error;
    }
  }
}

/** I/Os in flight of each job. */
function depthOf(jobs: number): number {
  return Math.max(DEPTH_MIN, Math.min(DEPTH, Math.floor(DEPTH_OF_ALL / jobs)));
}

function noteOnce(paths: Set<string>, path: string): void {
  if (paths.size < GONE_MAX) paths.add(path);
}
