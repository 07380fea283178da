/**
 * A small data directory to try things on: about 400 pages, three of them damaged in known ways.
 *
 * The same bytes every time, in PostgreSQL 18's format: heap pages whose tuples a server could read
 * as (int4, text), B-tree-like leaves, a free space map and a visibility map. Segments have 16
 * blocks, so that relations of several segments stay small; a server compiled with the usual 131072
 * therefore refuses the directory. Page checksums are the caller's: this file computes none.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { errnoOfName, strerror } from '../../bindings/errno.ts';
import { encodePgControl } from '../../bindings/pg-control.ts';
import { DataDirectoryError } from './verify/pgdata.ts';

/**
 * 'checksum': a flipped bit in a tuple, the header as it should be. 'header': pd_special beyond the
 * page's end, the checksum right. 'new': pd_upper says the page was never used, yet it is not zero.
 */
export type DemoDamage = 'checksum' | 'header' | 'new';

export interface DemoDamaged {
  /** File, relative to the directory. */
  readonly path: string;
  readonly segment: number;
  /** Block of the relation fork, counted across its segments. */
  readonly block: number;
  readonly kind: DemoDamage;
}

/** What was written. */
export interface DemoFacts {
  /** Absolute path of the directory. */
  readonly path: string;
  readonly blockSize: number;
  readonly segmentBlocks: number;
  /** Files that hold pages, empty ones included. */
  readonly files: number;
  /** Pages in them. */
  readonly blocks: number;
  readonly damaged: readonly DemoDamaged[];
}

/** Checksum of a page as PostgreSQL computes it, 1 to 65535; the page's own pd_checksum is zero. */
export type PageChecksum = (page: Uint8Array, block: number) => number;

const PAGE_SIZE = 8192;
const SEGMENT_BLOCKS = 16;
const HEADER_SIZE = 24;
const DATABASE = 'base/5';
const SEED = 0x50474149;
/** Past every page's LSN: nothing in the log is younger than the checkpoint. */
const CHECKPOINT_LSN = '0/2000028';
/** 25 September 2025, when PostgreSQL 18 came out. */
const RELEASE_SECONDS = 1758758400;

const PD_LSN_LOW = 4;
const PD_CHECKSUM = 8;
const PD_FLAGS = 10;
const PD_LOWER = 12;
const PD_UPPER = 14;
const PD_SPECIAL = 16;
const PD_SIZE_VERSION = 18;
const PD_ALL_VISIBLE = 4;
const LAYOUT_VERSION = 4;

const LP_NORMAL = 1;
const TUPLE_HEADER_SIZE = 24;
/** HEAP_HASVARWIDTH, HEAP_XMIN_FROZEN, HEAP_XMAX_INVALID: visible to all, without a commit log. */
const TUPLE_INFOMASK = 0x0b02;
const FROZEN_XID = 2;
const SPECIAL_SIZE = 16;
const BTP_LEAF = 1;
const FSM_NODES = 4095;

/** Bytes of a page with a view over them. */
interface Page {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}
/** A random number below `limit`, the same sequence in every run. */
type Random = (limit: number) => number;
/** Fills the page of a block; one that leaves pd_upper at zero is a new page. */
type Fill = (page: Page, block: number, random: Random) => void;

/** One fork of one relation. */
interface DemoFork {
  readonly path: string;
  readonly blocks: number;
  readonly fill: Fill;
  readonly damage?: { readonly block: number; readonly kind: DemoDamage };
}

/** xorshift32. */
function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

function initPage({ view }: Page, block: number, specialSize: number): void {
  view.setUint32(PD_LSN_LOW, 0x1000028 + block * 0x100, true);
  view.setUint16(PD_LOWER, HEADER_SIZE, true);
  view.setUint16(PD_UPPER, PAGE_SIZE - specialSize, true);
  view.setUint16(PD_SPECIAL, PAGE_SIZE - specialSize, true);
  view.setUint16(PD_SIZE_VERSION, PAGE_SIZE | LAYOUT_VERSION, true);
}

/** Room for an item below those there are, with its line pointer; undefined if the page is full. */
function addItem({ view }: Page, size: number): number | undefined {
  const lower = view.getUint16(PD_LOWER, true);
  const upper = view.getUint16(PD_UPPER, true) - Math.ceil(size / 8) * 8;
  if (upper < lower + 4) return undefined;
  view.setUint32(lower, upper | (LP_NORMAL << 15) | (size << 17), true);
  view.setUint16(PD_LOWER, lower + 4, true);
  view.setUint16(PD_UPPER, upper, true);
  return upper;
}

const LETTERS = new TextEncoder().encode('abcdefghijklmnopqrstuvwxyz ');

/** A heap page filled with tuples (int4, text) up to `tuplesMax`. */
function heap(tuplesMax: number, flags = 0): Fill {
  return (page, block, random) => {
    const { bytes, view } = page;
    initPage(page, block, 0);
    view.setUint16(PD_FLAGS, flags, true);
    for (let item = 1; item <= tuplesMax; item++) {
      const length = 8 + random(80); // below 127, so the text's length takes one byte
      const at = addItem(page, TUPLE_HEADER_SIZE + 4 + 1 + length);
      if (at === undefined) return;
      view.setUint32(at, FROZEN_XID, true);
      view.setUint16(at + 12, block >>> 16, true); // t_ctid: the tuple's own place
      view.setUint16(at + 14, block & 0xffff, true);
      view.setUint16(at + 16, item, true);
      view.setUint16(at + 18, 2, true); // two columns
      view.setUint16(at + 20, TUPLE_INFOMASK, true);
      view.setUint8(at + 22, TUPLE_HEADER_SIZE);
      view.setInt32(at + TUPLE_HEADER_SIZE, block * 1000 + item, true);
      view.setUint8(at + TUPLE_HEADER_SIZE + 4, ((length + 1) << 1) | 1);
      for (let i = 0; i < length; i++) {
        bytes[at + TUPLE_HEADER_SIZE + 5 + i] = LETTERS[random(LETTERS.length)] ?? 0;
      }
    }
  };
}

/** Pages of zeros from `first` on: a relation extended by a server that then crashed. */
function zerosFrom(first: number, fill: Fill): Fill {
  return (page, block, random) => {
    if (block < first) fill(page, block, random);
  };
}

/** A chain of leaves with int4 keys and a special area, as a B-tree's lowest level has it. */
function leaves(blocks: number): Fill {
  return (page, block, random) => {
    const { view } = page;
    initPage(page, block, SPECIAL_SIZE);
    const special = PAGE_SIZE - SPECIAL_SIZE;
    view.setUint32(special, block === 0 ? 0 : block - 1, true);
    view.setUint32(special + 4, block + 1 === blocks ? 0 : block + 1, true);
    view.setUint16(special + 12, BTP_LEAF, true);
    for (let item = 0, at = addItem(page, 16); at !== undefined; at = addItem(page, 16), item++) {
      view.setUint16(at + 2, random(blocks), true); // t_tid: block, then item
      view.setUint16(at + 4, 1 + random(100), true);
      view.setUint16(at + 6, 16, true); // t_info: the size
      view.setInt32(at + 8, block * 1000 + item, true);
      if (item === 300) return;
    }
  };
}

/** A free space map's page: a binary tree in which each node has the larger of its two children. */
const freeSpace: Fill = (page, block, random) => {
  const { bytes } = page;
  initPage(page, block, 0);
  const nodes = bytes.subarray(HEADER_SIZE + 4);
  for (let slot = 0; slot < SEGMENT_BLOCKS; slot++) nodes[FSM_NODES + slot] = random(256);
  for (let node = FSM_NODES - 1; node >= 0; node--) {
    nodes[node] = Math.max(nodes[2 * node + 1] ?? 0, nodes[2 * node + 2] ?? 0);
  }
};

/** A visibility map's page: two bits a page, all visible and all frozen. */
function allVisible(heapBlocks: number): Fill {
  return (page, block) => {
    initPage(page, block, 0);
    for (let i = 0; i < heapBlocks; i++) {
      const at = HEADER_SIZE + (i >>> 2);
      page.bytes[at] = (page.bytes[at] ?? 0) | (3 << (2 * (i & 3)));
    }
  };
}

const VISIBLE_BLOCKS = 15;
const FORKS: readonly DemoFork[] = [
  { path: 'global/1262', blocks: 1, fill: heap(4) },
  { path: `${DATABASE}/1259`, blocks: 14, fill: heap(60) },
  // 40 blocks: two full segments and half of one.
  {
    path: `${DATABASE}/16384`,
    blocks: 40,
    fill: heap(200),
    damage: { block: 21, kind: 'checksum' },
  },
  {
    path: `${DATABASE}/16387`,
    blocks: VISIBLE_BLOCKS,
    fill: heap(200, PD_ALL_VISIBLE),
    damage: { block: 3, kind: 'header' },
  },
  { path: `${DATABASE}/16387_fsm`, blocks: 3, fill: freeSpace },
  { path: `${DATABASE}/16387_vm`, blocks: 1, fill: allVisible(VISIBLE_BLOCKS) },
  { path: `${DATABASE}/16390`, blocks: 0, fill: heap(0) },
  { path: `${DATABASE}/16391`, blocks: 12, fill: zerosFrom(8, heap(200)) },
  { path: `${DATABASE}/16394`, blocks: 30, fill: leaves(30) },
  // 18 segments, the last of 12 blocks.
  { path: `${DATABASE}/16397`, blocks: 284, fill: heap(200), damage: { block: 117, kind: 'new' } },
];

/** Damage that the checksum is then computed over, as if the page had been written that way. */
function damageBefore({ bytes, view }: Page, kind: DemoDamage, random: Random): void {
  if (kind === 'header') view.setUint16(PD_SPECIAL, PAGE_SIZE + 1, true);
  if (kind !== 'new') return;
  for (let at = 0; at < PAGE_SIZE; at++) bytes[at] = random(256);
  view.setUint16(PD_UPPER, 0, true);
}

/** Damage done to a page once written, as a failing disk does. */
function damageAfter({ bytes, view }: Page, kind: DemoDamage): void {
  if (kind !== 'checksum') return;
  const inTuple = view.getUint16(PD_UPPER, true) + TUPLE_HEADER_SIZE + 8;
  bytes[inTuple] = (bytes[inTuple] ?? 0) ^ 0x10;
}

function pageOf(fork: DemoFork, block: number, random: Random, checksum: PageChecksum): Uint8Array {
  const bytes = new Uint8Array(PAGE_SIZE);
  const page = { bytes, view: new DataView(bytes.buffer) };
  const damage = fork.damage?.block === block ? fork.damage.kind : undefined;
  fork.fill(page, block, random);
  if (damage !== undefined) damageBefore(page, damage, random);
  if (page.view.getUint16(PD_UPPER, true) === 0) return bytes; // new pages have no checksum
  const value = checksum(bytes, block);
  if (!Number.isInteger(value) || value < 1 || value > 65535) {
    throw new RangeError(`pageChecksum gave ${value}; a page checksum is 1 to 65535`);
  }
  page.view.setUint16(PD_CHECKSUM, value, true);
  if (damage !== undefined) damageAfter(page, damage);
  return bytes;
}

/** Bytes of each file, by its path. */
function relationFiles(checksum: PageChecksum): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const random = randomFrom(SEED);
  for (const fork of FORKS) {
    const segments = Math.max(1, Math.ceil(fork.blocks / SEGMENT_BLOCKS));
    for (let segment = 0; segment < segments; segment++) {
      const first = segment * SEGMENT_BLOCKS;
      const blocks = Math.min(SEGMENT_BLOCKS, fork.blocks - first);
      const bytes = new Uint8Array(blocks * PAGE_SIZE);
      for (let i = 0; i < blocks; i++) {
        bytes.set(pageOf(fork, first + i, random, checksum), i * PAGE_SIZE);
      }
      files.set(segmentPath(fork.path, segment), bytes);
    }
  }
  return files;
}

function segmentPath(path: string, segment: number): string {
  return segment === 0 ? path : `${path}.${segment}`;
}

function damagedBlocks(): DemoDamaged[] {
  return FORKS.flatMap(({ path, damage }) => {
    if (damage === undefined) return [];
    const segment = Math.floor(damage.block / SEGMENT_BLOCKS);
    return [{ path: segmentPath(path, segment), segment, ...damage }];
  });
}

/** The directory, made if need be; refused if something is in it. */
function makeEmpty(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if (readdirSync(path).length === 0) return;
  throw new DataDirectoryError(
    'PGAIO_DATADIR_NOT_EMPTY',
    path,
    'not empty; give a directory that is, or one that does not exist',
  );
}

/** pg_control comes last: a directory that lacks it is not taken for a complete one. */
function writeAll(path: string, files: ReadonlyMap<string, Uint8Array>): void {
  for (const directory of ['global', DATABASE, 'pg_tblspc']) {
    mkdirSync(`${path}/${directory}`, { recursive: true, mode: 0o700 });
  }
  const write = (name: string, data: string | Uint8Array): void => {
    writeFileSync(`${path}/${name}`, data, { flag: 'wx', mode: 0o600 });
  };
  write('PG_VERSION', '18\n');
  write(`${DATABASE}/PG_VERSION`, '18\n');
  for (const [name, bytes] of files) write(name, bytes);
  const control = encodePgControl({
    systemIdentifier: BigInt(SEED) << 32n,
    modifiedSeconds: RELEASE_SECONDS,
    checkpointSeconds: RELEASE_SECONDS,
    checkpointLsn: CHECKPOINT_LSN,
    redoLsn: CHECKPOINT_LSN,
    segmentBlocks: SEGMENT_BLOCKS,
  });
  write('global/pg_control', control);
}

/**
 * Writes the demonstration directory: 400 pages, 3.2 MB, the same bytes for the same checksums.
 * Synchronous. Nothing that is there already is touched.
 * @param path a directory that is empty or does not exist
 * @param pageChecksum gives a page's checksum; called once for each page that is not new
 * @returns what was written and which pages are damaged, in the order of the files
 * @throws DataDirectoryError PGAIO_DATADIR_NOT_EMPTY, PGAIO_DATADIR_WRITE
 * @example
 * const { damaged } = makeDemoDirectory('/tmp/demo', pageChecksum);
 * console.log(damaged.map(({ path, block, kind }) => `${path} ${block} ${kind}`));
 */
export function makeDemoDirectory(path: string, pageChecksum: PageChecksum): DemoFacts {
  const directory = resolve(path);
  const files = relationFiles(pageChecksum);
  try {
    makeEmpty(directory);
    writeAll(directory, files);
  } catch (error) {
    if (error instanceof DataDirectoryError) throw error;
    const errno = error instanceof Error && 'code' in error ? errnoOfName(String(error.code)) : 0;
    const words = errno ? strerror(errno) : String(error);
    throw new DataDirectoryError(
      'PGAIO_DATADIR_WRITE',
      directory,
      `cannot be written (${words}); give a directory that can`,
      error,
    );
  }
  return {
    path: directory,
    blockSize: PAGE_SIZE,
    segmentBlocks: SEGMENT_BLOCKS,
    files: files.size,
    blocks: FORKS.reduce((sum, fork) => sum + fork.blocks, 0),
    damaged: damagedBlocks(),
  };
}
