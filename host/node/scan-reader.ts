/**
 * The reading part of a scan: keeps reads of one engine in flight, file after file, and turns what
 * comes of them into counts and findings.
 *
 * Frames are divided into slots, one per I/O. Nothing here blocks but the method's own start: a
 * batch is started, then awaited until there is room for the next. A read that came short or failed
 * is repeated, within bounds: what is left of it, or block by block to find those that can be read.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Aio,
  type AioFile,
  AioIoError,
  constants,
  type IoBuffer,
  type IoResult,
  type PageFrames,
  type PageVerdict,
  type PendingIo,
} from './index.ts';
import type { RelationFile, RelationFileOwner } from './pgdata.ts';
import type { DamagedPage, PageFault, ScanFinding, WritableCounts } from './scan.ts';

/** PGAIO_SUBMIT_BATCH_SIZE: what the engine hands to the method at once. */
const BATCH_IOS = 32;
/** Over a slow device a batch ends early, so that an abort is noticed. */
const BATCH_MS = 25;
/** Reads that fail in one file before a failing read is no longer repeated block by block. */
const FAILURES_MAX = 16;
/** Reads in a row that bring nothing, though the file is long enough, before it is given up. */
const SHORT_READS_MAX = 5;
/** Files waiting to be closed: while a batch is open, closing would cut it short. */
const TO_CLOSE_MAX = 32;
/** The last block number is 4294967294. */
const BLOCKS_MAX = 4294967295;
const ENOENT = 2;
const ENOTDIR = 20;

/** What a reader needs to know of the scan. */
export interface ReaderJob {
  readonly counts: WritableCounts;
  /** A file's path as the provider takes it. */
  readonly pathOf: (path: string) => string;
  /** Whether it is an ordinary file still, or gone. */
  readonly isRegular: (path: string) => boolean;
  readonly direct: boolean;
  readonly combineLimit: number;
  readonly blockSize: number;
  readonly segmentBlocks: number;
  /** Between reads of the same page. */
  readonly pauseMs: number;
  readonly attempts: number;
}

/** A file being read. */
interface OpenFile {
  readonly file: AioFile;
  readonly listed: RelationFile;
  readonly relation: RelationFileOwner;
  /** Block of the relation fork that the file begins with. */
  readonly firstBlock: number;
  /** Blocks to read. Falls when the file is cut meanwhile. */
  blocks: number;
  /** Requests not answered yet, and the one who makes them: 0 when the file is done with. */
  uses: number;
  /** What the file adds to the total. */
  readonly bytesPlanned: number;
  bytesDone: number;
  truncated: boolean;
  failures: number;
  /** What could not be read, as one finding. */
  unread: { readonly block: number; blocks: number; readonly words: string } | undefined;
}

/** Blocks of a file to be read by one I/O; none: its end is to be looked at again. */
interface Request {
  readonly file: OpenFile;
  /** Counted in the file. */
  readonly first: number;
  readonly count: number;
  /** From 1. */
  readonly attempt: number;
  /** Whether the page was read before and was not valid. */
  readonly suspect: boolean;
}
/** A request under way. */
interface Flight {
  readonly request: Request;
  readonly slot: number;
  readonly io: PendingIo;
}

/** Reads the files of one root through one engine. */
export class RootReader {
  /** Findings since they were last taken. */
  readonly found: ScanFinding[] = [];
  readonly #aio: Aio;
  readonly #job: ReaderJob;
  readonly #frames: PageFrames;
  /** The frames of each slot as one buffer. */
  readonly #buffers: readonly IoBuffer[];
  /** Slots not in use. A stack: the frames used last are in the processor's cache. */
  readonly #slots: number[];
  readonly #requests: Iterator<Request | undefined, void>;
  #exhausted = false;
  /** To be read next, before anything new. */
  #again: Request[] = [];
  /** To be read after a pause. */
  #later: Request[] = [];
  readonly #toClose: AioFile[] = [];
  #inFlight = 0;
  #wake: () => void = () => undefined;
  #failure: unknown;

  constructor(aio: Aio, job: ReaderJob, files: readonly RelationFile[]) {
    this.#aio = aio;
    this.#job = job;
    const slots = Number(aio.show('io_max_concurrency'));
    const { combineLimit } = job;
    const frames = aio.frames(slots * combineLimit);
    this.#frames = frames;
    this.#buffers = Array.from({ length: slots }, (_, slot) =>
      frames.slice(slot * combineLimit, (slot + 1) * combineLimit),
    );
    this.#slots = this.#buffers.map((_, slot) => slots - 1 - slot);
    this.#requests = this.#requestsFor(files);
  }

  get done(): boolean {
    const waiting = this.#again.length + this.#later.length;
    return this.#exhausted && this.#inFlight === 0 && waiting === 0;
  }

  /** Starts a batch of reads, then waits until there is room for the next. */
  async step(): Promise<void> {
    if (this.#again.length === 0 && this.#later.length > 0) {
      if (this.#job.pauseMs > 0) await sleep(this.#job.pauseMs);
      [this.#again, this.#later] = [this.#later, this.#again];
    }
    for (const flight of this.#submitBatch()) {
      const end = (): void => this.#endLater(flight);
      flight.io.then(end, end);
    }
    while (this.#inFlight > 0 && !this.#hasRoom() && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
    this.#closeFiles();
  }

  /** Whether a batch can be started; when there is nothing new to start, all must have ended. */
  #hasRoom(): boolean {
    const most = this.#buffers.length;
    return !this.#exhausted && this.#slots.length >= Math.min(BATCH_IOS, Math.ceil(most / 2));
  }

  /** Starts what there is, up to a batch. Returns those that are not over. */
  #submitBatch(): Flight[] {
    const started: Flight[] = [];
    const until = performance.now() + BATCH_MS;
    using _batch = this.#aio.batch();
    for (let n = 0; n < BATCH_IOS && this.#slots.length > 0; n++) {
      const request = this.#next();
      if (request !== undefined) this.#serve(request, started);
      if (this.#exhausted && this.#again.length === 0) break;
      if (performance.now() >= until) break;
    }
    return started;
  }
  #serve(request: Request, started: Flight[]): void {
    if (request.count === 0) {
      this.#lookAtEnd(request);
      return;
    }
    const flight = this.#start(request);
    if (flight.io.settled) this.#end(flight);
    else started.push(flight);
  }

  #next(): Request | undefined {
    const again = this.#again.pop();
    if (again !== undefined || this.#exhausted) return again;
    const { value, done } = this.#requests.next();
    if (done === true) this.#exhausted = true;
    return value ?? undefined;
  }

  /** In the order of the files. undefined: a file gave nothing to read. */
  *#requestsFor(files: readonly RelationFile[]): Generator<Request | undefined, void> {
    const { combineLimit } = this.#job;
    for (const listed of files) {
      const file = this.#open(listed);
      if (file === undefined) {
        yield undefined;
        continue;
      }
      for (let first = 0; first < file.blocks; first += combineLimit) {
        const count = Math.min(combineLimit, file.blocks - first);
        file.uses++;
        yield { file, first, count, attempt: 1, suspect: false };
      }
      this.#release(file);
    }
  }

  #open(listed: RelationFile): OpenFile | undefined {
    const { counts, blockSize, segmentBlocks, direct, pathOf } = this.#job;
    const { relation } = listed;
    if (relation === undefined || listed.size === 0) {
      counts.filesDone++;
      return undefined;
    }
    let file: AioFile | undefined;
    let size = 0;
    try {
      file = this.#aio.open(pathOf(listed.path), direct ? { direct } : {});
      size = file.size();
    } catch (error) {
      file?.close();
      this.#notOpened(listed, error);
      return undefined;
    }
    const firstBlock = listed.segment * segmentBlocks;
    const there = Math.floor(size / blockSize);
    const blocks = Math.min(there, segmentBlocks, BLOCKS_MAX - firstBlock);
    const opened: OpenFile = {
      file,
      listed,
      relation,
      firstBlock,
      blocks,
      uses: 1,
      bytesPlanned: blocks * blockSize,
      bytesDone: 0,
      truncated: false,
      failures: 0,
      unread: undefined,
    };
    if (there > blocks) {
      const words = `${there} blocks, but a segment has at most ${segmentBlocks}`;
      this.found.push({ kind: 'segment', path: listed.path, words });
    } else if (size % blockSize !== 0) {
      this.#repeat({ file: opened, first: blocks, count: 0, attempt: 1, suspect: false }, 'later');
    }
    counts.bytes += blocks * blockSize - listed.size;
    return opened;
  }

  #notOpened(listed: RelationFile, error: unknown): void {
    if (!(error instanceof AioIoError)) throw error;
    const { counts } = this.#job;
    counts.filesDone++;
    counts.bytes -= listed.size;
    if (error.errno === ENOENT || error.errno === ENOTDIR) {
      counts.vanishedFiles++;
      return;
    }
    const { path } = listed;
    const words = error.message;
    this.found.push({ kind: 'unreadable', path, block: undefined, blocks: 0, words });
  }

  #start(request: Request): Flight {
    const { file, first, count } = request;
    const { combineLimit, blockSize, direct } = this.#job;
    const { relation } = file;
    const slot = this.#slots.pop() ?? 0;
    const at = slot * combineLimit;
    const whole = this.#buffers[slot];
    const buffer =
      count === combineLimit && whole !== undefined ? whole : this.#frames.slice(at, at + count);
    using handle = this.#aio.acquire();
    handle.setTarget({
      relation,
      fork: relation.fork,
      block: file.firstBlock + first,
      blocks: count,
      isTemp: relation.temp !== undefined,
    });
    if (!direct) handle.setFlag('BUFFERED');
    handle.register(constants.PGAIO_HCB_PAGE_READV).register(constants.PGAIO_HCB_MD_READV);
    const io = handle.startReadv(file.file, buffer, first * blockSize);
    this.#inFlight++;
    return { request, slot, io };
  }

  /** Called when a promise settles: what goes wrong here is thrown by `step`. */
  #endLater(flight: Flight): void {
    try {
      this.#end(flight);
    } catch (error) {
      this.#failure ??= error;
    }
    this.#wake();
  }

  #end({ request, slot, io }: Flight): void {
    this.#inFlight--;
    this.#slots.push(slot);
    const { result } = io;
    if (result === undefined) throw new RangeError('an I/O of the scan was abandoned');
    const plain = result.allValid && !result.anyNew && !request.suspect;
    if (plain && result.result === request.count) {
      this.#passed(request.file, request.count);
      this.#release(request.file);
      return;
    }
    let read = 0;
    for (const verdict of result.verdicts) {
      if (verdict.notRead) break;
      this.#judge(request, read++, verdict);
    }
    if (read < request.count) this.#missed(request, read, result);
    this.#release(request.file);
  }

  /** Pages that have been judged, one way or the other. */
  #passed(file: Request['file'], pages: number): void {
    const { counts, blockSize } = this.#job;
    counts.blocks += pages;
    counts.bytesDone += pages * blockSize;
    file.bytesDone += pages * blockSize;
  }

  #judge(request: Request, offset: number, verdict: PageVerdict): void {
    const { counts, attempts } = this.#job;
    const { file, suspect } = request;
    if (!verdict.valid && request.attempt < attempts) {
      const attempt = request.attempt + 1;
      const first = request.first + offset;
      this.#repeat({ file, first, count: 1, attempt, suspect: true }, 'later');
      return;
    }
    this.#passed(file, 1);
    if (!verdict.valid) {
      counts.damagedPages++;
      this.found.push(damagedPage(file, request.first + offset, verdict));
      return;
    }
    if (suspect) counts.rereadPages++;
    if (verdict.isNew) counts.newPages++;
  }

  /** The blocks from `read` on did not come. */
  #missed(request: Request, read: number, { error }: IoResult): void {
    const { file, count, attempt } = request;
    const { blockSize } = this.#job;
    const first = request.first + read;
    const end = request.first + count;
    const errno = error instanceof AioIoError ? error.errno : 0;
    const words = error?.message ?? 'could not be read';
    if (errno !== 0) {
      if (count === 1 || file.failures >= FAILURES_MAX) {
        file.failures++;
        this.#unread(file, first, end - first, words);
        return;
      }
      for (let block = end - 1; block >= first; block--) {
        this.#repeat({ ...request, first: block, count: 1 }, 'again');
      }
      return;
    }
    const there = Math.floor(this.#sizeNow(file) / blockSize);
    if (there < end) this.#cut(file, there);
    const rest = Math.min(there, end) - first;
    if (rest <= 0) return;
    if (read === 0 && attempt >= SHORT_READS_MAX) {
      this.#unread(file, first, rest, words);
      return;
    }
    const next = read === 0 ? attempt + 1 : attempt;
    this.#repeat({ ...request, first, count: rest, attempt: next }, 'again');
  }

  /** Bytes now; those it was opened with when they cannot be had. */
  #sizeNow({ file, blocks }: OpenFile): number {
    try {
      return file.size();
    } catch (error) {
      if (!(error instanceof AioIoError)) throw error;
      return blocks * this.#job.blockSize;
    }
  }

  #cut(file: OpenFile, blocks: number): void {
    file.blocks = Math.min(file.blocks, blocks);
    if (!file.truncated) this.#job.counts.truncatedFiles++;
    file.truncated = true;
  }

  #unread(file: OpenFile, first: number, blocks: number, words: string): void {
    this.#job.counts.unreadBlocks += blocks;
    file.unread ??= { block: file.firstBlock + first, blocks: 0, words };
    file.unread.blocks += blocks;
  }

  /** The file did not end with a whole block: one that is being extended does so for a moment. */
  #lookAtEnd(request: Request): void {
    const { file, attempt } = request;
    const { path } = file.listed;
    const { attempts, blockSize, isRegular } = this.#job;
    const bytes = this.#sizeNow(file) % blockSize;
    if (!isRegular(path)) {
      const words = 'not a file any more';
      this.found.push({ kind: 'unreadable', path, block: undefined, blocks: 0, words });
    } else if (bytes !== 0 && attempt < attempts) {
      this.#repeat({ ...request, attempt: attempt + 1 }, 'later');
    } else if (bytes !== 0) {
      this.found.push({ kind: 'partial-block', path, bytes });
    }
    this.#release(file);
  }

  #repeat(request: Request, when: 'again' | 'later'): void {
    request.file.uses++;
    (when === 'again' ? this.#again : this.#later).push(request);
  }

  #release(file: OpenFile): void {
    if (--file.uses > 0) return;
    const { counts } = this.#job;
    const { listed, unread, bytesDone } = file;
    counts.filesDone++;
    counts.bytes += bytesDone - file.bytesPlanned;
    if (unread !== undefined) {
      this.found.push({ kind: 'unreadable', path: listed.path, ...unread });
    }
    this.#toClose.push(file.file);
    if (this.#toClose.length >= TO_CLOSE_MAX) this.#closeFiles();
  }

  #closeFiles(): void {
    for (const file of this.#toClose.splice(0)) file.close();
  }
}

function damagedPage(file: OpenFile, blockInFile: number, verdict: PageVerdict): DamagedPage {
  const { path, segment } = file.listed;
  const { headerBad, checksumFailed, garbage, calculated, stored } = verdict;
  const faults: PageFault[] = [];
  if (headerBad) faults.push('header');
  if (checksumFailed) faults.push('checksum');
  if (garbage) faults.push('garbage');
  const { relation } = file;
  const block = file.firstBlock + blockInFile;
  return {
    kind: 'page',
    path,
    relation,
    segment,
    block,
    blockInFile,
    faults,
    calculated,
    stored,
  };
}
