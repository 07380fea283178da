/**
 * One job of a verification: keeps large reads of one backend in flight, piece after piece, and
 * turns what comes of them into counts and findings. Reads only.
 *
 * Frames are divided into slots, one per I/O. Nothing here blocks but the method's own start: a
 * batch is started, then awaited until there is room for the next. A read that came short or failed
 * is repeated, within bounds: what is left of it, or block by block to find those that can be read.
 *
 * A page that is not valid is read again before it is reported, since a server may be writing it at
 * this moment. Where one may, that is done until two readings are the same, then again when
 * everything else has been read: what has not changed by then nobody is writing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Aio,
  type AioFile,
  AioIoError,
  type IoBuffer,
  type IoResult,
  type PageFrames,
  type PagesOf,
  type PageVerdict,
  type PendingIo,
} from '../index.ts';
import { type JobCounts, noCounts, type Piece } from './board.ts';
import type { DamagedPage, Finding, Gone, PageFault } from './findings.ts';
import { looksRandom, lsnOfPage, sizeWordOfPage } from './page-bytes.ts';
import { relationPath } from './pgdata.ts';
import { lsnText } from './situation.ts';

/** PGAIO_SUBMIT_BATCH_SIZE: what the engine hands to the method at once. */
const BATCH_IOS = 32;
/** Over a slow device a batch ends early, so that an abort is noticed. */
const BATCH_MS = 20;
/** Blocks that are passed over in one call, in I/Os: so many that it takes about so long. */
const SKIM_IOS_MIN = 4;
const SKIM_MS = 5;
/** I/Os that are judged one by one after one that had something to be judged. */
const JUDGED_IOS = 64;
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
const LAYOUT_VERSION = 4;

/** Readings of a page that is not valid. */
const ATTEMPTS_AT_REST = 2;
/** Of one that changes from reading to reading: somebody writes it, and is not done. */
const ATTEMPTS_MAX = 50;
/** A server that writes a page has written it by then. */
const PAUSE_MS = 10;
/**
 * Looks at what is still not valid when all else has been read, and the pause before each: a writer
 * that was preempted in the middle of a page has had its turn by then.
 */
const LAST_LOOKS = 3;
const LAST_PAUSE_MS = 100;
/** Pages that wait for it, each with its file open. More are judged at once. */
const SUSPECTS_MAX = 250;
/** After so many pages that were just as bad on second reading, at rest, nothing is read twice. */
const REPEATS_MAX = 1000;

/** What is the same for all jobs of a verification: plain data. */
export interface ReaderJob {
  /** Absolute path of the data directory. */
  readonly directory: string;
  readonly tablespaceDirectory: string;
  readonly direct: boolean;
  /** Blocks per I/O. */
  readonly combineLimit: number;
  readonly blockSize: number;
  readonly segmentBlocks: number;
  /** Whether a server may be writing. */
  readonly live: boolean;
  /** Pages whose positions in the log lie in here will be written anew by recovery. */
  readonly recovers: { readonly from: bigint; readonly to: bigint | undefined } | undefined;
}

/** Where a reader gets its work, and what it asks before it reads. */
export interface Source {
  /** The next piece; undefined if there is none at the moment. */
  take(): Piece | undefined;
  /** Whether there will be none any more. */
  readonly exhausted: boolean;
  /** Until there is one, or there will be none. */
  more(): Promise<void>;
  /** Whether reads are to keep to a rate: then each asks `pace`. */
  readonly paced: boolean;
  /** Until so many bytes may be read. */
  pace(bytes: number): Promise<void>;
  /** Whether the path is an ordinary file still, or gone. */
  isRegular(path: string): boolean;
}

/** A piece of a file being read. */
interface OpenPiece {
  readonly file: AioFile;
  readonly piece: Piece;
  /** Relative to the data directory. */
  readonly path: string;
  /** Block of the relation fork that the file begins with. */
  readonly firstBlock: number;
  /** Block of the file up to which is read. Falls when the file is cut meanwhile. */
  end: number;
  /** Requests not answered yet, and the one who makes them: 0 when the piece is done with. */
  uses: number;
  /** What the piece adds to the total. */
  readonly bytesPlanned: number;
  bytesDone: number;
  truncated: boolean;
  failures: number;
  /** What could not be read, as one finding. */
  unread: { readonly block: number; blocks: number; readonly words: string } | undefined;
}

/** Blocks of a file to be read by one I/O; none: its end is to be looked at again. */
interface Request {
  readonly file: OpenPiece;
  /** Counted in the file. */
  readonly first: number;
  readonly count: number;
  /** From 1. */
  readonly attempt: number;
  /** What the page was when it was read before and not valid. */
  readonly seen: string | undefined;
  /** Looks since all else was read, this one counted. */
  readonly final: number;
}
/** A request under way. */
interface Flight {
  readonly request: Request;
  readonly slot: number;
  readonly io: PendingIo;
}

/** What the pages of a file from block `first` of it on are. */
function pagesOf({ piece: { relation }, firstBlock }: OpenPiece, first: number): PagesOf {
  const isTemp = relation.temp !== undefined;
  return { relation, fork: relation.fork, block: firstBlock + first, isTemp };
}

export class Reader {
  /** Since they were last taken. */
  readonly found: (Finding | Gone)[] = [];
  readonly counts: JobCounts = noCounts();
  readonly #aio: Aio;
  readonly #job: ReaderJob;
  readonly #source: Source;
  readonly #frames: PageFrames;
  /** The frames of each slot as one buffer. */
  readonly #buffers: readonly IoBuffer[];
  /** Slots not in use. A stack: the frames used last are in the processor's cache. */
  readonly #slots: number[];
  /** The piece that is being cut into requests, and where. */
  #current: OpenPiece | undefined;
  #next = 0;
  /** To be read next, before anything new. */
  #again: Request[] = [];
  /** To be read after a pause. */
  #later: Request[] = [];
  /** To be read when everything else has been. */
  #suspects: Request[] = [];
  #repeats = 0;
  readonly #toClose: AioFile[] = [];
  /** Whether there was nothing to start when there was room for it. */
  #starved = false;
  /** I/Os that the batch under way has room for. */
  #room = 0;
  /** I/Os of the next call that passes over pages in order. */
  #skimIos = SKIM_IOS_MIN;
  /** I/Os until pages are passed over again. */
  #judged = 0;
  #inFlight = 0;
  #wake: () => void = () => undefined;
  #failure: unknown;

  /** `depth`: I/Os in flight at most; the backend has as many handles. */
  constructor(aio: Aio, job: ReaderJob, source: Source, depth: number) {
    this.#aio = aio;
    this.#job = job;
    this.#source = source;
    const { combineLimit } = job;
    const frames = aio.frames(depth * combineLimit);
    this.#frames = frames;
    this.#buffers = Array.from({ length: depth }, (_, slot) =>
      frames.slice(slot * combineLimit, (slot + 1) * combineLimit),
    );
    this.#slots = this.#buffers.map((_, slot) => depth - 1 - slot);
  }

  get done(): boolean {
    return this.#drained && this.#suspects.length === 0;
  }
  /** Whether all that is left are suspects. */
  get #drained(): boolean {
    const waiting = this.#again.length + this.#later.length + this.#inFlight;
    return this.#source.exhausted && this.#current === undefined && waiting === 0;
  }

  /** Starts a batch of reads, then waits until there is room for the next. */
  async step(): Promise<void> {
    await this.#prepare();
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

  /** Whatever is to be waited for before there is something to read. */
  async #prepare(): Promise<void> {
    const { live, combineLimit, blockSize } = this.#job;
    if (this.#drained && this.#suspects.length > 0) {
      await sleep(LAST_PAUSE_MS);
      this.#again = this.#suspects.reverse();
      this.#suspects = [];
    } else if (this.#again.length === 0 && this.#later.length > 0) {
      if (live) await sleep(PAUSE_MS);
      this.#again = this.#later.reverse(); // taken from the end: in the order of the file
      this.#later = [];
    }
    if (this.#again.length === 0 && this.#current === undefined && this.#inFlight === 0) {
      this.#open();
      if (this.#current === undefined && !this.#source.exhausted) await this.#source.more();
    }
    if (this.#source.paced) await this.#source.pace(combineLimit * blockSize);
  }

  /** Whether a batch can be started; when there is nothing new to start, all must have ended. */
  #hasRoom(): boolean {
    const most = this.#buffers.length;
    const more = this.#current !== undefined || (!this.#source.exhausted && !this.#starved);
    return more && this.#slots.length >= Math.min(BATCH_IOS, Math.ceil(most / 2));
  }

  /** Starts what there is, up to a batch. Returns those that are not over. */
  #submitBatch(): Flight[] {
    const started: Flight[] = [];
    const until = performance.now() + BATCH_MS;
    using _batch = this.#aio.batch();
    for (this.#room = BATCH_IOS; this.#room > 0 && this.#slots.length > 0; this.#room--) {
      const request = this.#nextRequest();
      this.#starved = request === undefined;
      if (request === undefined) break;
      this.#serve(request, started);
      if (this.#source.paced || performance.now() >= until) break;
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

  #nextRequest(): Request | undefined {
    const again = this.#again.pop();
    if (again !== undefined) return again;
    for (;;) {
      this.#open();
      const file = this.#current;
      if (file === undefined) return undefined;
      this.#skim(file);
      const first = this.#next;
      const count = Math.min(this.#job.combineLimit, file.end - first);
      if (count > 0) {
        this.#next += count;
        file.uses++;
        return { file, first, count, attempt: 1, seen: undefined, final: 0 };
      }
      this.#current = undefined;
      this.#release(file);
    }
  }

  /**
   * Passes over pages that are in order, of which nothing is to be said. Only where each read ends
   * before the next begins: then a promise and a request for each is what costs most after copying.
   */
  #skim(file: OpenPiece): void {
    const { combineLimit, blockSize } = this.#job;
    const [buffer] = this.#buffers;
    if (this.#buffers.length > 1 || buffer === undefined || this.#source.paced) return;
    if (this.#judged > 0) {
      this.#judged--;
      return;
    }
    const ios = Math.min(this.#skimIos, this.#room - 1);
    const blocks = Math.min(ios * combineLimit, file.end - this.#next);
    if (blocks <= 0) return;
    const before = performance.now();
    const passed = file.file.skimPages(
      buffer,
      this.#next * blockSize,
      pagesOf(file, this.#next),
      blocks,
    );
    const elapsed = performance.now() - before;
    this.#passed(file, passed);
    this.#next += passed;
    this.#room -= Math.ceil(passed / combineLimit);
    if (passed < blocks) this.#judged = JUDGED_IOS;
    if (elapsed < SKIM_MS / 2) this.#skimIos = Math.min(BATCH_IOS, 2 * this.#skimIos);
    else if (elapsed > SKIM_MS) this.#skimIos = Math.max(SKIM_IOS_MIN, this.#skimIos >>> 1);
  }

  /** Opens the next piece that has something to read, if none is open. */
  #open(): void {
    while (this.#current === undefined) {
      const piece = this.#source.take();
      if (piece === undefined) return;
      this.#current = this.#openPiece(piece);
      this.#next = piece.first;
    }
  }

  #openPiece(piece: Piece): OpenPiece | undefined {
    const { directory, tablespaceDirectory, direct } = this.#job;
    const path = relationPath(piece.relation, piece.segment, tablespaceDirectory);
    let file: AioFile | undefined;
    try {
      file = this.#aio.open(`${directory}/${path}`, direct ? { direct } : {});
      return this.#lookInto(file, piece, path, file.size());
    } catch (error) {
      file?.close();
      if (!(error instanceof AioIoError)) throw error;
      this.#notOpened(piece, path, error);
      return undefined;
    }
  }

  #lookInto(file: AioFile, piece: Piece, path: string, size: number): OpenPiece {
    const { blockSize, segmentBlocks } = this.#job;
    const firstBlock = piece.segment * segmentBlocks;
    const there = Math.floor(size / blockSize);
    const whole = Math.min(there, segmentBlocks, BLOCKS_MAX - firstBlock);
    const listed = piece.first + piece.blocks;
    const end = Math.max(piece.first, piece.last ? whole : Math.min(whole, listed));
    const opened: OpenPiece = {
      file,
      piece,
      path,
      firstBlock,
      end,
      uses: 1,
      bytesPlanned: (end - piece.first) * blockSize,
      bytesDone: 0,
      truncated: false,
      failures: 0,
      unread: undefined,
    };
    if (!piece.last && whole < listed) this.#cut(opened, whole);
    if (piece.last && there > whole) {
      const words = `${there} blocks, but a segment has at most ${segmentBlocks}`;
      this.found.push({ kind: 'segment', path, words });
    } else if (piece.last && size % blockSize !== 0) {
      const request = { file: opened, first: end, count: 0, attempt: 1 };
      this.#repeat({ ...request, seen: undefined, final: 0 }, this.#later);
    }
    this.counts.bytesMore += opened.bytesPlanned - this.#bytesListed(piece);
    return opened;
  }

  /** Bytes that the piece had in the listing. */
  #bytesListed({ first, blocks, last, size }: Piece): number {
    const { blockSize } = this.#job;
    return last ? size - first * blockSize : blocks * blockSize;
  }

  #notOpened(piece: Piece, path: string, error: AioIoError): void {
    const { counts } = this;
    counts.bytesMore -= this.#bytesListed(piece);
    if (piece.last) counts.filesDone++;
    if (error.errno === ENOENT || error.errno === ENOTDIR) {
      this.found.push({ kind: 'vanished', path });
    } else if (piece.last) {
      const words = error.message;
      this.found.push({ kind: 'unreadable', path, block: undefined, blocks: 0, words });
    }
  }

  #start(request: Request): Flight {
    const { file, first, count } = request;
    const { combineLimit, blockSize } = this.#job;
    const slot = this.#slots.pop() ?? 0;
    const at = slot * combineLimit;
    const whole = this.#buffers[slot];
    const buffer =
      count === combineLimit && whole !== undefined ? whole : this.#frames.slice(at, at + count);
    const io = file.file.readPages(buffer, first * blockSize, pagesOf(file, first));
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
    const { result } = io;
    if (result === undefined) throw new RangeError('an I/O of the verification was abandoned');
    const { file } = request;
    const plain = result.allValid && !result.anyNew && request.seen === undefined;
    if (plain && result.result === request.count) this.#passed(file, request.count);
    else {
      let read = 0;
      for (const verdict of result.verdicts) {
        if (verdict.notRead) break;
        this.#judge(request, slot, read++, verdict);
      }
      if (read < request.count) this.#missed(request, read, result);
    }
    this.#slots.push(slot);
    this.#release(file);
  }

  /** Pages that have been judged, one way or the other. */
  #passed(file: OpenPiece, pages: number): void {
    const bytes = pages * this.#job.blockSize;
    this.counts.blocks += pages;
    this.counts.bytesDone += bytes;
    file.bytesDone += bytes;
  }

  #judge(request: Request, slot: number, offset: number, verdict: PageVerdict): void {
    const { counts } = this;
    const { file } = request;
    if (verdict.valid) {
      this.#passed(file, 1);
      if (request.seen !== undefined) {
        counts.rereadPages++;
        this.#repeats = 0;
      }
      if (verdict.isNew) counts.newPages++;
      return;
    }
    const page = this.#frames.page(slot * this.#job.combineLimit + offset);
    const seen = `${lsnOfPage(page)} ${verdict.calculated} ${verdict.stored}`;
    const first = request.first + offset;
    const attempt = request.attempt + 1;
    const again = this.#whenAgain(request, seen);
    if (again !== undefined) {
      const final = again === this.#suspects ? request.final + 1 : request.final;
      this.#repeat({ file, first, count: 1, attempt, seen, final }, again);
      return;
    }
    this.#repeats++;
    this.#passed(file, 1);
    this.#damaged(file, first, verdict, page);
  }

  /** The list in which a page that is not valid waits for its next reading; undefined: no more. */
  #whenAgain({ attempt, seen, final }: Request, now: string): Request[] | undefined {
    if (!this.#job.live) {
      return attempt < ATTEMPTS_AT_REST && this.#repeats < REPEATS_MAX ? this.#later : undefined;
    }
    if (attempt >= ATTEMPTS_MAX) return undefined;
    if (seen !== now) return this.#later; // the first reading, or somebody is writing it
    if (final >= LAST_LOOKS || this.#suspects.length >= SUSPECTS_MAX) return undefined;
    return this.#suspects;
  }

  #damaged(file: OpenPiece, blockInFile: number, verdict: PageVerdict, page: Uint8Array): void {
    const { counts } = this;
    const { blockSize } = this.#job;
    const { headerBad, checksumFailed, garbage, calculated, stored } = verdict;
    const faults: PageFault[] = [];
    if (headerBad) faults.push('header');
    if (checksumFailed) faults.push('checksum');
    if (garbage) faults.push('garbage');
    const recoverable = checksumFailed && !headerBad && this.#isRecoverable(page);
    if (recoverable) counts.recoverablePages++;
    else counts.damagedPages++;
    if (checksumFailed && !recoverable) counts.badChecksums++;
    if ((headerBad || garbage) && looksRandom(page)) counts.randomPages++;
    const finding: DamagedPage = {
      kind: 'page',
      path: file.path,
      relation: file.piece.relation,
      segment: file.piece.segment,
      block: file.firstBlock + blockInFile,
      blockInFile,
      offset: blockInFile * blockSize,
      faults,
      calculated,
      stored,
      lsn: lsnText(lsnOfPage(page)),
      recoverable,
    };
    this.found.push(finding);
  }

  /** A sane header of the right size, and a change that the log will repeat. */
  #isRecoverable(page: Uint8Array): boolean {
    const { recovers, blockSize } = this.#job;
    if (recovers === undefined) return false;
    if (sizeWordOfPage(page) !== (blockSize | LAYOUT_VERSION)) return false;
    const lsn = lsnOfPage(page);
    return lsn >= recovers.from && (recovers.to === undefined || lsn <= recovers.to);
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
        this.#repeat({ ...request, first: block, count: 1 }, this.#again);
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
    this.#repeat({ ...request, first, count: rest, attempt: next }, this.#again);
  }

  /** Bytes now; those it was opened with when they cannot be had. */
  #sizeNow({ file, end }: OpenPiece): number {
    try {
      return file.size();
    } catch (error) {
      if (!(error instanceof AioIoError)) throw error;
      return end * this.#job.blockSize;
    }
  }

  #cut(file: OpenPiece, blocks: number): void {
    file.end = Math.min(file.end, blocks);
    if (!file.truncated) this.found.push({ kind: 'truncated', path: file.path });
    file.truncated = true;
  }

  #unread(file: OpenPiece, first: number, blocks: number, words: string): void {
    this.counts.unreadBlocks += blocks;
    file.unread ??= { block: file.firstBlock + first, blocks: 0, words };
    file.unread.blocks += blocks;
  }

  /** The file did not end with a whole block: one that is being extended does so for a moment. */
  #lookAtEnd(request: Request): void {
    const { file, attempt } = request;
    const { path } = file;
    const { blockSize, live } = this.#job;
    const attempts = live ? ATTEMPTS_MAX : ATTEMPTS_AT_REST;
    const bytes = this.#sizeNow(file) % blockSize;
    if (!this.#source.isRegular(path)) {
      const words = 'not a file any more';
      this.found.push({ kind: 'unreadable', path, block: undefined, blocks: 0, words });
    } else if (bytes !== 0 && attempt < attempts) {
      this.#repeat({ ...request, attempt: attempt + 1 }, this.#later);
    } else if (bytes !== 0) {
      this.found.push({ kind: 'partial-block', path, bytes });
    }
    this.#release(file);
  }

  #repeat(request: Request, list: Request[]): void {
    request.file.uses++;
    list.push(request);
  }

  #release(file: OpenPiece): void {
    if (--file.uses > 0) return;
    const { counts } = this;
    const { piece, path, unread, bytesDone } = file;
    if (piece.last) counts.filesDone++;
    counts.bytesMore += bytesDone - file.bytesPlanned;
    if (unread !== undefined) this.found.push({ kind: 'unreadable', path, ...unread });
    this.#toClose.push(file.file);
    if (this.#toClose.length >= TO_CLOSE_MAX) this.#closeFiles();
  }

  #closeFiles(): void {
    for (const file of this.#toClose.splice(0)) file.close();
  }
}
