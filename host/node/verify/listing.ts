/**
 * Puts the files of a data directory on the board, cut into pieces, as they are listed: reading
 * begins with the first. Notices on the way what is wrong with the segments of a fork.
 */
import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Board } from './board.ts';
import type { SegmentFault } from './findings.ts';
import {
  type DataDirectory,
  listRelationFiles,
  type RelationFile,
  type RelationFileOwner,
} from './pgdata.ts';

/** Which relations; what is left out does not restrict. */
export interface Selection {
  readonly spcOid?: number;
  readonly dbOid?: number;
  readonly relNumber?: number;
}

/** Large enough that opening a file once more does not matter, small enough to be shared evenly. */
const PIECE_BYTES = 32 << 20;
/** Foreign files named; more are only counted. */
const FOREIGN_MAX = 1000;
/** Looks at a segment that seems faulty while a server may be changing it. */
const ATTEMPTS_LIVE = 6;
const PAUSE_MS = 10;

/** A segment that looks faulty in the listing. */
interface SegmentDoubt {
  /** File that is missing or short. */
  readonly path: string;
  /** The fork's first segment, which a server that drops the relation empties first. */
  readonly first: string;
  /** A later segment, not empty. */
  readonly follower: string;
  /** Bytes of a full segment. */
  readonly full: number;
  readonly fault: SegmentFault;
}

export class Listing {
  files = 0;
  /** Of the files, as listed. */
  bytes = 0;
  /** Of the files, those that were empty: nobody has to read them. */
  emptyFiles = 0;
  foreignFiles = 0;
  /** The first thousand. */
  readonly foreign: RelationFile[] = [];
  readonly #directory: DataDirectory;
  readonly #board: Board;
  readonly #selection: Selection;
  readonly #entries: Iterator<RelationFile, void>;
  readonly #pieceBlocks: number;
  readonly #doubts: SegmentDoubt[] = [];
  /** Files of the fork that is being listed: the listing has them side by side. */
  #fork: { readonly base: string; readonly segments: RelationFile[] } | undefined;
  /** Listed, and not all of it is on the board yet. */
  #file: RelationFile | undefined;
  #first = 0;

  constructor(directory: DataDirectory, board: Board, selection: Selection) {
    this.#directory = directory;
    this.#board = board;
    this.#selection = selection;
    this.#entries = listRelationFiles(directory);
    this.#pieceBlocks = Math.ceil(PIECE_BYTES / directory.control.blockSize);
  }

  /** Puts pieces until `until` (performance.now()), or there is no room, or no file. */
  proceed(until: number): void {
    let full = false;
    while (!this.#board.closed && !full && performance.now() < until) full = !this.#putOne();
    this.#board.announce();
  }

  /** The next piece, or an empty file; false if there is no room. Closes the board at the end. */
  #putOne(): boolean {
    this.#file ??= this.#nextFile();
    const file = this.#file;
    if (file?.relation === undefined) {
      this.#board.close();
      return true;
    }
    const { relation, segment, size } = file;
    if (size === 0) {
      this.emptyFiles++;
      this.#file = undefined;
      return true;
    }
    const blocks = Math.ceil(size / this.#directory.control.blockSize) - this.#first;
    const last = blocks <= this.#pieceBlocks;
    const taken = last ? blocks : this.#pieceBlocks;
    const piece = { relation, segment, size, first: this.#first, blocks: taken, last };
    if (!this.#board.put(piece)) return false;
    this.#first += taken;
    if (last) {
      this.#file = undefined;
      this.#first = 0;
    }
    return true;
  }

  #nextFile(): RelationFile | undefined {
    for (;;) {
      const { value: file } = this.#entries.next();
      if (file === undefined) {
        this.#endFork();
        return undefined;
      }
      if (file.relation === undefined) this.#noteForeign(file);
      else if (this.#isSelected(file.relation)) {
        this.files++;
        this.bytes += file.size;
        this.#follow(file);
        return file;
      }
    }
  }
  #isSelected(relation: RelationFileOwner): boolean {
    const { spcOid, dbOid, relNumber } = this.#selection;
    if (spcOid !== undefined && spcOid !== relation.spcOid) return false;
    if (dbOid !== undefined && dbOid !== relation.dbOid) return false;
    return relNumber === undefined || relNumber === relation.relNumber;
  }
  #noteForeign(file: RelationFile): void {
    if (Object.keys(this.#selection).length > 0) return; // something else was asked for
    this.foreignFiles++;
    if (this.foreign.length < FOREIGN_MAX) this.foreign.push(file);
  }

  #follow(file: RelationFile): void {
    const base = file.segment === 0 ? file.path : file.path.replace(/\.\d+$/, '');
    if (this.#fork?.base !== base) {
      this.#endFork();
      this.#fork = { base, segments: [] };
    }
    this.#fork?.segments.push(file);
  }
  #endFork(): void {
    if (this.#fork === undefined) return;
    const { base, segments } = this.#fork;
    this.#fork = undefined;
    this.#doubts.push(...doubtsOf(base, segments, this.#directory.control));
  }

  /** At the end: segments that are faulty still. A server may have changed them since. */
  async *faults(live: boolean): AsyncGenerator<SegmentFault, void, undefined> {
    for (const doubt of this.#doubts) if (await this.#isCertain(doubt, live)) yield doubt.fault;
  }
  async #isCertain({ path, first, follower, full }: SegmentDoubt, live: boolean): Promise<boolean> {
    const attempts = live ? ATTEMPTS_LIVE : 1;
    for (let attempt = 1; attempt <= attempts; attempt++) {
      if (attempt > 1) await sleep(PAUSE_MS);
      if (this.#sizeOf(path) >= full) return false;
      if (live && this.#sizeOf(first) === 0) return false; // it is being dropped
      if (this.#sizeOf(follower) === 0) return false;
    }
    return true;
  }
  /** Bytes; 0 if it is not there. */
  #sizeOf(path: string): number {
    const full = `${this.#directory.path}/${path}`;
    return statSync(full, { throwIfNoEntry: false })?.size ?? 0;
  }
}

/** What is wrong if nothing has changed since. The last segments may be empty: cut off. */
function* doubtsOf(
  base: string,
  segments: readonly RelationFile[],
  { segmentBlocks, blockSize }: { readonly segmentBlocks: number; readonly blockSize: number },
): Generator<SegmentDoubt, void, undefined> {
  const full = segmentBlocks * blockSize;
  const last = segments.reduce((most, { size }, index) => (size > 0 ? index : most), -1);
  const pathOf = (segment: number): string => (segment === 0 ? base : `${base}.${segment}`);
  let expected = 0;
  for (const { path, segment, size } of segments.slice(0, last + 1)) {
    const about = { first: base, follower: segments[last]?.path ?? path, full };
    if (segment > expected) {
      const words =
        expected + 1 === segment
          ? `missing, but segment ${segment} is there`
          : `missing, as are all up to segment ${segment - 1}, but segment ${segment} is there`;
      const missing = pathOf(expected);
      yield { path: missing, ...about, fault: { kind: 'segment', path: missing, words } };
    }
    if (size < full && path !== about.follower) {
      const blocks = Math.floor(size / blockSize);
      const words = `${blocks} blocks of ${segmentBlocks}, but another segment follows`;
      yield { path, ...about, fault: { kind: 'segment', path, words } };
    }
    expected = segment + 1;
  }
}
