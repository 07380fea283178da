/** Data directories made by hand, a verification of one, and its findings as lines. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { encodePgControl, type PgControl } from '../bindings/pg-control.ts';
import { openDataDirectory } from '../host/node/verify/pgdata.ts';
import {
  type Finding,
  Verification,
  type VerifyOptions,
} from '../host/node/verify/verification.ts';
import { emptyPage, patternPage, putChecksum } from './page-vectors.ts';

export const SEGMENT_BLOCKS = 8;
export const SIZE = 1024; // small pages make small files

let scratch = '';
let folders = 0;
/** Before the first test of a suite, and after the last. */
export function openScratch(): void {
  scratch = mkdtempSync(join(tmpdir(), 'pgaio-verify-'));
}
export function removeScratch(): void {
  rmSync(scratch, { recursive: true, force: true });
}
/** Where all of them are. */
export function scratchPath(): string {
  return scratch;
}
/** A path that is not there yet. */
export function fresh(): string {
  return join(scratch, `${folders++}`);
}

export type Files = Readonly<Record<string, Uint8Array | 'directory'>>;

/** A data directory with segments of 8 blocks; relation 16384 is what most tests are about. */
export function cluster(files: Files, control: Partial<PgControl> = {}): string {
  const path = fresh();
  const basis = { blockSize: SIZE, segmentBlocks: SEGMENT_BLOCKS, dataChecksumVersion: 1 };
  const all: Readonly<Record<string, Uint8Array | string>> = {
    PG_VERSION: '18\n',
    'global/pg_control': encodePgControl({ ...basis, ...control }),
    'base/5/': 'directory',
    'pg_tblspc/': 'directory',
    ...files,
  };
  for (const [name, data] of Object.entries(all)) {
    const full = join(path, name);
    mkdirSync(data === 'directory' ? full : dirname(full), { recursive: true });
    if (data !== 'directory') writeFileSync(full, data);
  }
  return path;
}

export const good = (block: number, size = SIZE): Uint8Array =>
  putChecksum(patternPage(size), block);
/** Good pages `first` to `last`, some of them replaced. */
export function pages(
  first: number,
  last: number,
  others: Readonly<Record<number, Uint8Array>> = {},
  size = SIZE,
): Uint8Array {
  const all = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  return Buffer.concat(all.map((block) => others[block] ?? good(block, size)));
}
export function flipped(block: number, size = SIZE): Uint8Array {
  const page = good(block, size);
  page[size - 1] = (page[size - 1] ?? 0) ^ 1;
  return page;
}
/** A good checksum over a header that is not sane. */
export const spoilt = (block: number, size = SIZE): Uint8Array =>
  putChecksum(emptyPage(size, { flags: 8 }), block);

export interface Scanned {
  readonly scan: Verification;
  readonly findings: readonly Finding[];
  /** `path block faults` of damaged pages, `path kind` of the rest, sorted. */
  readonly lines: readonly string[];
}

export async function scanned(
  path: string,
  options: VerifyOptions = {},
  planned: () => void = () => undefined,
): Promise<Scanned> {
  const directory = await openDataDirectory(path);
  const scan = new Verification(directory, { ...options, onListed: planned });
  const findings: Finding[] = [];
  for await (const finding of scan) findings.push(finding);
  return { scan, findings, lines: findings.map(lineOf).sort() };
}
export function lineOf(finding: Finding): string {
  if (finding.kind !== 'page') return `${finding.path} ${finding.kind}`;
  return `${finding.path} ${finding.block} ${finding.faults.join('+')}`;
}
