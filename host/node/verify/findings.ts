/** What a verification finds, as plain data: it travels between threads. */
import type { RelationFileOwner } from './pgdata.ts';

/** What is wrong with a page. 'garbage': it says that it was never used, and yet is not zero. */
export type PageFault = 'header' | 'checksum' | 'garbage';

/** A page that PostgreSQL would refuse. */
export interface DamagedPage {
  readonly kind: 'page';
  /** File, relative to the data directory. */
  readonly path: string;
  readonly relation: RelationFileOwner;
  readonly segment: number;
  /** Counted over the whole relation fork, across its segments: what PostgreSQL's messages say. */
  readonly block: number;
  /** Counted in the file: what pg_checksums says. */
  readonly blockInFile: number;
  /** Where it begins in the file, in bytes. */
  readonly offset: number;
  readonly faults: readonly PageFault[];
  /** What pd_checksum should be; 0 where none was calculated. */
  readonly calculated: number;
  readonly stored: number;
  /** Position in the log of its last change, as it stands on the page. */
  readonly lsn: string;
  /** Whether recovery will write it anew: it is torn rather than damaged. */
  readonly recoverable: boolean;
}
/** A file does not end with a whole block. PostgreSQL ignores the rest, and so do we. */
export interface PartialBlock {
  readonly kind: 'partial-block';
  readonly path: string;
  /** Of the rest. */
  readonly bytes: number;
}
/** A segment is missing or short though another follows, or is longer than a segment can be. */
export interface SegmentFault {
  readonly kind: 'segment';
  readonly path: string;
  readonly words: string;
}
/** What could not be read, and so not be judged. */
export interface Unreadable {
  readonly kind: 'unreadable';
  readonly path: string;
  /** First block concerned, counted over the relation fork; undefined: the file as a whole. */
  readonly block: number | undefined;
  /** How many blocks; 0 for the file as a whole. */
  readonly blocks: number;
  readonly words: string;
}
export type Finding = DamagedPage | PartialBlock | SegmentFault | Unreadable;

/** Not findings, but to be counted once for each file, however many jobs notice. */
export type Gone =
  | { readonly kind: 'vanished'; readonly path: string }
  | { readonly kind: 'truncated'; readonly path: string };
