/**
 * Findings as they are kept for a report in words: damaged pages that are neighbours and damaged in
 * the same way as one range, so that a file full of them takes one entry.
 */
import type { DamagedPage, Finding } from '../verify/verification.ts';
import { counted, hex } from './words.ts';

/** Entries kept; more are only counted. */
const ENTRIES_MAX = 20_000;
/** Checksums kept of a range. */
const SUMS_MAX = 4;

interface Sums {
  readonly calculated: number;
  readonly stored: number;
}
/** Damaged pages side by side. */
export interface PageRange
  extends Pick<DamagedPage, 'path' | 'segment' | 'faults' | 'recoverable'> {
  readonly kind: 'pages';
  readonly block: number;
  readonly blockInFile: number;
  readonly offset: number;
  pages: number;
  readonly sums: Sums[];
  /** Of the first page. */
  readonly lsn: string;
}
export type Entry = PageRange | Exclude<Finding, DamagedPage>;

export class FindingLog {
  /** Entries that found no room. */
  omitted = 0;
  readonly #entries: Entry[] = [];
  /** Of each file, the range that was added to last. */
  readonly #open = new Map<string, PageRange>();

  add(finding: Finding): void {
    if (finding.kind !== 'page') {
      this.#keep(finding);
      return;
    }
    const { path, block } = finding;
    const open = this.#open.get(path);
    if (open !== undefined && open.block + open.pages === block && alike(open, finding)) {
      open.pages++;
      if (open.sums.length < SUMS_MAX) open.sums.push(sumsOf(finding));
      return;
    }
    const { segment, faults, recoverable, blockInFile, offset, lsn } = finding;
    const place = { path, segment, block, blockInFile, offset };
    const sums = [sumsOf(finding)];
    const range: PageRange = { kind: 'pages', ...place, faults, recoverable, pages: 1, sums, lsn };
    if (this.#keep(range)) this.#open.set(path, range);
  }
  #keep(entry: Entry): boolean {
    if (this.#entries.length >= ENTRIES_MAX) {
      this.omitted++;
      return false;
    }
    this.#entries.push(entry);
    return true;
  }

  /** By file and block, with neighbours that different jobs found put together. */
  entries(): readonly Entry[] {
    const sorted = [...this.#entries].sort(byPlace);
    const joined: Entry[] = [];
    for (const entry of sorted) {
      const before = joined.at(-1);
      if (entry.kind === 'pages' && before?.kind === 'pages' && follows(before, entry)) {
        joined[joined.length - 1] = together(before, entry);
      } else joined.push(entry);
    }
    return joined;
  }
}

function alike(
  a: Pick<PageRange, 'faults' | 'recoverable'>,
  b: Pick<PageRange, 'faults' | 'recoverable'>,
): boolean {
  return a.recoverable === b.recoverable && a.faults.join() === b.faults.join();
}
function follows(a: PageRange, b: PageRange): boolean {
  return a.path === b.path && a.block + a.pages === b.block && alike(a, b);
}
function together(a: PageRange, b: PageRange): PageRange {
  return { ...a, pages: a.pages + b.pages, sums: [...a.sums, ...b.sums].slice(0, SUMS_MAX) };
}
function sumsOf({ calculated, stored }: DamagedPage): Sums {
  return { calculated, stored };
}
function byPlace(a: Entry, b: Entry): number {
  const order = a.path.localeCompare(b.path, 'en', { numeric: true });
  return order !== 0 ? order : blockOf(a) - blockOf(b);
}
function blockOf(entry: Entry): number {
  return 'block' in entry ? (entry.block ?? 0) : 0;
}

/** What is said of an entry below the name of its file. */
export function wordsOf(entry: Entry): string {
  switch (entry.kind) {
    case 'pages':
      return `${placeOf(entry)}: ${faultsOf(entry)}`;
    case 'partial-block':
      return `${counted(entry.bytes, 'byte')} after the last whole block`;
    case 'segment':
      return entry.words;
    case 'unreadable': {
      const { block, blocks, words } = entry;
      if (block === undefined) return words;
      return `${counted(blocks, 'block')} not read, from block ${block} on: ${words}`;
    }
    default:
      return entry satisfies never;
  }
}

function placeOf({ block, blockInFile, segment, offset, pages }: PageRange): string {
  const span = (first: number): string =>
    pages === 1 ? `${first}` : `${first}-${first + pages - 1}`;
  const inFile = segment === 0 ? '' : `${span(blockInFile)} of the file, `;
  return `block${pages === 1 ? '' : 's'} ${span(block)} (${inFile}offset ${offset})`;
}

function faultsOf(range: PageRange): string {
  const { faults, sums, pages, recoverable, lsn } = range;
  const reasons = faults.map((fault) => {
    if (fault === 'header') return 'header makes no sense';
    if (fault === 'garbage') return 'never used, and yet not zero';
    const [first] = sums;
    if (pages === 1 && first !== undefined) {
      return `calculated checksum ${hex(first.calculated)} but block contains ${hex(first.stored)}`;
    }
    const pairs = sums.map(({ calculated, stored }) => `${hex(calculated)}/${hex(stored)}`);
    const more = pages - pairs.length;
    const rest = more > 0 ? ` and ${more} more` : '';
    return `calculated/contained checksums ${pairs.join(' ')}${rest}`;
  });
  if (recoverable) reasons.push(`changed at ${lsn}, recovery writes it anew`);
  return reasons.join('; ');
}
