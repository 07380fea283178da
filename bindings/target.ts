/**
 * Targets in words: the paths of relations (relpath.c: GetRelationPath) and the descriptions that
 * pg_aios and error messages give (smgr.c: smgr_aio_describe_identity).
 */
import { PGAIO_TID_FILE, PGAIO_TID_INVALID } from './layout.ts';
import { u32 } from './numbers.ts';

/** A relation's files: RelFileLocator. */
export interface RelFileLocator {
  /** Tablespace: 1663 pg_default, 1664 pg_global, else the oid of the link in pg_tblspc. */
  readonly spcOid: number;
  /** Database, 0 for shared relations. */
  readonly dbOid: number;
  /** Relation file number (relfilenode). */
  readonly relNumber: number;
}

export const FORK_NAMES = ['main', 'fsm', 'vm', 'init'] as const;
export type ForkName = (typeof FORK_NAMES)[number];

/** Where pages belong: checksums depend on the block, messages name all of it. */
export interface PagesOf {
  readonly relation: RelFileLocator;
  /** @default 'main' */
  readonly fork?: ForkName;
  /** First block, counted over the whole relation. */
  readonly block: number;
  /** @default false */
  readonly isTemp?: boolean;
}

/** An unpacked PgAioTargetData. */
export interface TargetData {
  readonly target: number;
  readonly locator: RelFileLocator;
  readonly fork: ForkName;
  readonly blockNum: number;
  readonly nblocks: number;
  readonly isTemp: boolean;
  readonly skipFsync: boolean;
}

export const DEFAULTTABLESPACE_OID = 1663;
export const GLOBALTABLESPACE_OID = 1664;
/** Directory of PostgreSQL 18 below each link of pg_tblspc. */
export const TABLESPACE_VERSION_DIRECTORY = 'PG_18_202506291';

/** What the words need to know that does not stand in shared memory. */
export interface WordsContext {
  readonly blockSize: number;
  /** Path of the file that number means to backend `owner`. */
  filePath(file: number, owner: number): string | undefined;
  readonly tablespaceVersionDirectory: string;
  /** Words of a host callback for its own results, or undefined. */
  hostReport(id: number, errorData: number, result: number): string | undefined;
  /** What a host callback threw last, if it is still known. */
  thrownBy(id: number): unknown;
  /** What a device or provider of the embedder's threw last. */
  deviceError(): unknown;
}

/** Six words at `index` (in units of u32) of the memory. */
export function readTargetData(u32: Uint32Array, index: number): TargetData {
  return targetOfWords(...targetWords(u32, index));
}

/** A PgAioTargetData as its words: cheap to keep, and unpacked for those who ask. */
export type TargetWords = readonly [number, number, number, number, number, number];
export function targetWords(u32: Uint32Array, index: number): TargetWords {
  const word = (n: number): number => u32[index + n] ?? 0;
  return [word(0), word(1), word(2), word(3), word(4), word(5)];
}
export function targetOfWords(
  spcOid: number,
  dbOid: number,
  relNumber: number,
  blockNum: number,
  nblocks: number,
  bits: number,
): TargetData {
  return {
    target: (bits >>> 16) & 0xff,
    locator: { spcOid, dbOid, relNumber },
    fork: FORK_NAMES[bits & 0xff] ?? 'main',
    blockNum,
    nblocks,
    isTemp: (bits & 0x100) !== 0,
    skipFsync: (bits & 0x200) !== 0,
  };
}

/** Of a PgAioTargetData. */
export const TARGET_BYTES = 24;
/** The other way, for an argument; what cannot be said in 32 bits is refused. */
export function writeTarget(words: Uint32Array, index: number, of: PagesOf, blocks: number): void {
  const { spcOid, dbOid, relNumber } = of.relation;
  const fork = FORK_NAMES.indexOf(of.fork ?? 'main');
  words[index] = u32('spcOid', spcOid);
  words[index + 1] = u32('dbOid', dbOid);
  words[index + 2] = u32('relNumber', relNumber);
  words[index + 3] = u32('block', of.block);
  words[index + 4] = u32('blocks', blocks);
  words[index + 5] = u32('fork', fork) | (of.isTemp === true ? 0x100 : 0);
}

/** Path of a relation fork below the data directory, without a segment's suffix. */
export function relationPath(
  locator: RelFileLocator,
  fork: ForkName,
  tempProcno: number | undefined,
  versionDirectory: string = TABLESPACE_VERSION_DIRECTORY,
): string {
  const temp = tempProcno === undefined ? '' : `t${tempProcno}_`;
  const name = `${temp}${locator.relNumber}${fork === 'main' ? '' : `_${fork}`}`;
  switch (locator.spcOid) {
    case GLOBALTABLESPACE_OID:
      return `global/${name}`;
    case DEFAULTTABLESPACE_OID:
      return `base/${locator.dbOid}/${name}`;
    default:
      return `pg_tblspc/${locator.spcOid}/${versionDirectory}/${locator.dbOid}/${name}`;
  }
}

/** Path that messages show. `owner`: the issuing backend, whose temporary files these are. */
export function targetPath(data: TargetData, context: WordsContext, owner: number): string {
  if (data.target === PGAIO_TID_FILE) {
    const file = data.locator.spcOid;
    return context.filePath(file, owner) ?? `file ${file}`;
  }
  const temp = data.isTemp ? owner : undefined;
  return relationPath(data.locator, data.fork, temp, context.tablespaceVersionDirectory);
}

/** `block 3 in file "base/5/16384"`: the target_desc of pg_aios; empty without a target. */
export function describeTarget(data: TargetData, context: WordsContext, owner: number): string {
  if (data.target === PGAIO_TID_INVALID) return '';
  const path = targetPath(data, context, owner);
  if (data.nblocks === 0) return `file "${path}"`;
  if (data.nblocks === 1) return `block ${data.blockNum} in file "${path}"`;
  const last = data.blockNum + data.nblocks - 1;
  return `blocks ${data.blockNum}..${last} in file "${path}"`;
}
