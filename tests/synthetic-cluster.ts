/**
 * Data directories made without a server, as fast as a disk takes them: relation files of pages
 * with right checksums, around a pg_control with a right CRC. pg_checksums accepts them, and so a
 * cluster of any size can be had for tests and benchmarks. No server could read the tuples.
 */
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { encodePgControl, type PgControl } from '../bindings/pg-control.ts';
import { attach, type RawCore } from '../host/node/raw.ts';
import { Random } from './explorer/random.ts';

/** One fork of a relation. */
export interface SyntheticFork {
  /** Path of its first segment, such as `base/5/16384`. */
  readonly path: string;
  readonly blocks: number;
  /** Pages from here on are holes of zeros: new ones, that take no room. @default none are */
  readonly newFrom?: number;
}
export interface SyntheticOptions {
  readonly forks: readonly SyntheticFork[];
  /** @default that of PostgreSQL 15 */
  readonly control?: Partial<PgControl>;
  /** @default '15' */
  readonly version?: string;
}

/** PostgreSQL 15's. */
const CONTROL = { controlVersion: 1300, catalogVersion: 202209061, systemIdentifier: 15n };
const PAGE = 8192;
const SEGMENT_BLOCKS = 131072;
const PIECE_PAGES = 128;
const SEED = 15;

/** Makes the directory, which is not there yet. */
export async function makeSyntheticCluster(path: string, options: SyntheticOptions): Promise<void> {
  for (const folder of ['global', 'base', 'pg_tblspc']) {
    mkdirSync(join(path, folder), { recursive: true, mode: 0o700 });
  }
  writeFileSync(join(path, 'PG_VERSION'), `${options.version ?? '15'}\n`);
  const control = encodePgControl({ ...CONTROL, ...options.control });
  writeFileSync(join(path, 'global/pg_control'), control);
  const pages = await PageMaker.open();
  try {
    for (const fork of options.forks) writeFork(path, fork, pages);
  } finally {
    pages.close();
  }
}

function writeFork(path: string, { path: name, blocks, newFrom }: SyntheticFork, pages: PageMaker) {
  mkdirSync(dirname(join(path, name)), { recursive: true });
  for (let first = 0; first === 0 || first < blocks; first += SEGMENT_BLOCKS) {
    const segment = first / SEGMENT_BLOCKS;
    const file = openSync(join(path, segment === 0 ? name : `${name}.${segment}`), 'wx');
    const end = Math.min(blocks, first + SEGMENT_BLOCKS);
    const used = Math.max(first, Math.min(end, newFrom ?? end));
    for (let block = first; block < used; block += PIECE_PAGES) {
      writeSync(file, pages.from(block, Math.min(PIECE_PAGES, used - block)));
    }
    ftruncateSync(file, (end - first) * PAGE);
    closeSync(file);
  }
}

/** Pages with the same random bytes, but for their number, and with the checksum that makes. */
class PageMaker {
  readonly #pg: RawCore;
  readonly #at: number;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;

  private constructor(pg: RawCore) {
    this.#pg = pg;
    this.#at = pg.pgaio_frames_alloc(PIECE_PAGES);
    const bytes = PIECE_PAGES * PAGE;
    this.#view = new DataView(pg.memory.buffer, this.#at, bytes);
    this.#bytes = new Uint8Array(pg.memory.buffer, this.#at, bytes);
    const random = new Random(SEED);
    for (let at = 0; at < bytes; at += 4) this.#view.setUint32(at, random.bits(), true);
    for (let page = 0; page < bytes; page += PAGE) this.#putHeader(page);
  }
  static async open(): Promise<PageMaker> {
    return new PageMaker(
      await attach({ shared_buffers: 16, io_frames: PIECE_PAGES, io_method: 'sync' }),
    );
  }
  close(): void {
    this.#pg.pgaio_shutdown();
  }

  #putHeader(page: number): void {
    const header: readonly (readonly [at: number, value: number])[] = [
      [10, 0], // flags
      [12, 424], // lower: a hundred line pointers
      [14, 1000], // upper
      [16, PAGE], // special
      [18, PAGE | 4],
    ];
    for (const [at, value] of header) this.#view.setUint16(page + at, value, true);
  }

  /** Valid until the next call. */
  from(block: number, count: number): Uint8Array {
    for (let i = 0; i < count; i++) {
      const page = i * PAGE;
      this.#view.setUint32(page + 4000, block + i, true);
      const checksum = this.#pg.pgaio_page_checksum(this.#at + page, block + i);
      this.#view.setUint16(page + 8, checksum, true);
    }
    return this.#bytes.subarray(0, count * PAGE);
  }
}
