/**
 * What the jobs of a verification share: pieces of files to read, counters, and the word to stop.
 *
 * One thread lists the directory and puts pieces here, every job takes them, the lister too. A
 * piece is a few numbers, from which any thread makes the path: 48 bytes for each file, and never
 * more than the ring holds, since a lister that finds it full reads a piece itself. Counters are
 * one row for each job, written by that job only and summed by whoever asks.
 */
import type { ForkName, RelationFileOwner } from './pgdata.ts';

/** A part of a relation's file that one job reads. */
export interface Piece {
  readonly relation: RelationFileOwner;
  readonly segment: number;
  /** Bytes of the file when it was listed. */
  readonly size: number;
  /** First block of the piece, counted in the file. */
  readonly first: number;
  /** Blocks of it; those of the last piece end where the file ends when it is opened. */
  readonly blocks: number;
  /** Whether the file ends with it: this one counts the file and looks at its end. */
  readonly last: boolean;
}

/** How far one job, or all of them, have come. */
export interface JobCounts {
  /** Files whose last piece is done with, in whichever way. */
  filesDone: number;
  /** By how much files turned out longer or shorter than listed. */
  bytesMore: number;
  /** Bytes of the pages judged. */
  bytesDone: number;
  /** Pages judged: good, new and damaged ones. */
  blocks: number;
  /** Pages of zeros, which a file was extended by and which were not used since. */
  newPages: number;
  /** Pages that PostgreSQL would refuse, the recoverable ones left out. */
  damagedPages: number;
  /** Of these, those whose checksum is not what it should be: what pg_checksums counts. */
  badChecksums: number;
  /** Of the damaged pages, those that look like random bytes from the header on. */
  randomPages: number;
  /** Pages not valid now that recovery from the log will write anew. */
  recoverablePages: number;
  /** Pages that were not valid at first, and valid when read again. */
  rereadPages: number;
  unreadBlocks: number;
}
const COUNTERS = [
  'filesDone',
  'bytesMore',
  'bytesDone',
  'blocks',
  'newPages',
  'damagedPages',
  'badChecksums',
  'randomPages',
  'recoverablePages',
  'rereadPages',
  'unreadBlocks',
] as const satisfies readonly (keyof JobCounts)[];

/** Pieces the ring holds: 6 MB when all of it is used, and no page of it before. */
const PIECES_MAX = 1 << 17;
/** relation (5 words), segment, first, blocks, flags, not used, size (8 bytes) */
const PIECE_WORDS = 12;
const SIZE_AT = PIECE_WORDS / 2 - 1;
const LAST = 1;
const IS_TEMP = 2;
const FORKS: readonly ForkName[] = ['main', 'fsm', 'vm', 'init'];

// Words at the start, each in a cache line of its own.
const TAKEN = 0;
const PUT = 16;
const CLOSED = 32;
const STOPPED = 48;
/** 64 bits: when the next read may start, in units of PACE_NS. */
const PACE_AT = 32;
const HEAD_BYTES = 320;
const COUNTER_ROW = 16;
const PACE_NS = 1000n;
/** Reads ahead of the rate that a job which was late may make up for. */
const PACE_CREDIT = 100_000n;

export function noCounts(): JobCounts {
  return Object.fromEntries(COUNTERS.map((name) => [name, 0])) as unknown as JobCounts;
}

export class Board {
  /** Plain data: hand it to another thread, and make a Board of it there. */
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #longs: BigInt64Array;
  readonly #counters: Float64Array;
  readonly #pieces: Uint32Array;
  readonly #sizes: Float64Array;

  constructor(memory: SharedArrayBuffer) {
    const jobs = new Int32Array(memory)[1] ?? 0;
    const countersBytes = jobs * COUNTER_ROW * 8;
    this.memory = memory;
    this.#words = new Int32Array(memory, 0, HEAD_BYTES / 4);
    this.#longs = new BigInt64Array(memory, 0, HEAD_BYTES / 8);
    this.#counters = new Float64Array(memory, HEAD_BYTES, jobs * COUNTER_ROW);
    this.#pieces = new Uint32Array(memory, HEAD_BYTES + countersBytes);
    this.#sizes = new Float64Array(memory, HEAD_BYTES + countersBytes);
  }

  /** A board for so many jobs. */
  static for(jobs: number, piecesMax: number = PIECES_MAX): Board {
    const bytes = HEAD_BYTES + jobs * COUNTER_ROW * 8 + piecesMax * PIECE_WORDS * 4;
    const memory = new SharedArrayBuffer(bytes);
    new Int32Array(memory)[1] = jobs;
    return new Board(memory);
  }

  get #piecesMax(): number {
    return this.#pieces.length / PIECE_WORDS;
  }

  /** The lister puts a piece; false if there is no room. */
  put(piece: Piece): boolean {
    const put = Atomics.load(this.#words, PUT);
    if (((put - Atomics.load(this.#words, TAKEN)) | 0) >= this.#piecesMax) return false;
    const slot = (put >>> 0) % this.#piecesMax;
    const { relation, segment, first, blocks, last, size } = piece;
    const { spcOid, dbOid, relNumber, fork, temp } = relation;
    const flags = (last ? LAST : 0) | (temp === undefined ? 0 : IS_TEMP);
    const numbers = [spcOid, dbOid, relNumber, FORKS.indexOf(fork), temp ?? 0];
    this.#pieces.set([...numbers, segment, first, blocks, flags], slot * PIECE_WORDS);
    this.#sizes[slot * (PIECE_WORDS / 2) + SIZE_AT] = size;
    Atomics.store(this.#words, PUT, (put + 1) | 0);
    return true;
  }
  /** Wakes who waits for pieces. */
  announce(): void {
    Atomics.notify(this.#words, PUT);
  }
  /** The lister has put all there are. */
  close(): void {
    Atomics.store(this.#words, CLOSED, 1);
    this.announce();
  }
  get closed(): boolean {
    return Atomics.load(this.#words, CLOSED) !== 0;
  }

  /** The next piece; undefined if there is none at the moment. */
  take(): Piece | undefined {
    for (;;) {
      const taken = Atomics.load(this.#words, TAKEN);
      if (taken === Atomics.load(this.#words, PUT)) return undefined;
      // Read first: nothing is written over it before it counts as taken.
      const piece = this.#pieceIn((taken >>> 0) % this.#piecesMax);
      if (Atomics.compareExchange(this.#words, TAKEN, taken, (taken + 1) | 0) === taken) {
        return piece;
      }
    }
  }
  #pieceIn(slot: number): Piece {
    const at = slot * PIECE_WORDS;
    const word = (offset: number): number => this.#pieces[at + offset] ?? 0;
    const flags = word(8);
    return {
      relation: {
        spcOid: word(0),
        dbOid: word(1),
        relNumber: word(2),
        fork: FORKS[word(3)] ?? 'main',
        temp: (flags & IS_TEMP) === 0 ? undefined : word(4),
      },
      segment: word(5),
      first: word(6),
      blocks: word(7),
      last: (flags & LAST) !== 0,
      size: this.#sizes[slot * (PIECE_WORDS / 2) + SIZE_AT] ?? 0,
    };
  }

  get empty(): boolean {
    return Atomics.load(this.#words, TAKEN) === Atomics.load(this.#words, PUT);
  }

  /** Until there is a piece to take, or there will be none. Keep something else referenced. */
  async more(): Promise<void> {
    while (!this.closed && !this.stopped) {
      const put = Atomics.load(this.#words, PUT);
      if (Atomics.load(this.#words, TAKEN) !== put || this.closed) return;
      const wait = Atomics.waitAsync(this.#words, PUT, put);
      if (wait.async) await wait.value;
    }
  }

  /** Tells every job to stop before its next read. */
  stop(): void {
    Atomics.store(this.#words, STOPPED, 1);
    this.announce();
  }
  get stopped(): boolean {
    return Atomics.load(this.#words, STOPPED) !== 0;
  }

  /**
   * Takes a turn for reading so many bytes, for all jobs together at most `bytesPerSecond`.
   * Returns how long to wait before it, in ms.
   */
  pace(bytes: number, bytesPerSecond: number): number {
    const cost = BigInt(Math.ceil((bytes / bytesPerSecond) * 1e6));
    for (;;) {
      const now = process.hrtime.bigint() / PACE_NS;
      const next = Atomics.load(this.#longs, PACE_AT);
      const start = next > now - PACE_CREDIT ? next : now - PACE_CREDIT;
      const after = start + cost;
      if (Atomics.compareExchange(this.#longs, PACE_AT, next, after) !== next) continue;
      return start > now ? Number(start - now) / 1000 : 0;
    }
  }

  /** A job tells how far it has come. */
  publish(job: number, counts: JobCounts): void {
    const row = job * COUNTER_ROW;
    for (let i = 0; i < COUNTERS.length; i++) {
      const name = COUNTERS[i];
      if (name !== undefined) this.#counters[row + i] = counts[name];
    }
  }
  /** The sums over all jobs. */
  counts(): JobCounts {
    const sums: number[] = COUNTERS.map(() => 0);
    for (let row = 0; row < this.#counters.length; row += COUNTER_ROW) {
      COUNTERS.forEach((_, i) => {
        sums[i] = (sums[i] ?? 0) + (this.#counters[row + i] ?? 0);
      });
    }
    return Object.fromEntries(COUNTERS.map((name, i) => [name, sums[i]])) as unknown as JobCounts;
  }
}
