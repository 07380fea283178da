/** What verification found of a page: assembly/storage/page.ts, unpacked. */
import * as layout from './layout.ts';

export interface PageVerdict {
  /** Whether PostgreSQL would accept the page. */
  readonly valid: boolean;
  /** Added to the file and never written: pd_upper is 0. */
  readonly isNew: boolean;
  readonly headerBad: boolean;
  readonly checksumFailed: boolean;
  /** New, and yet not all zero. */
  readonly garbage: boolean;
  /** The read did not get as far as this page. */
  readonly notRead: boolean;
  /** 0 where none was calculated. */
  readonly calculated: number;
  readonly stored: number;
}

const INVALID =
  layout.PAGE_VERDICT_HEADER_BAD |
  layout.PAGE_VERDICT_CHECKSUM_FAILED |
  layout.PAGE_VERDICT_GARBAGE;
const NOT_READ = 0x80000000;

/** Verdicts as they lie in memory, two words each. */
export function unpackVerdicts(words: Uint32Array): PageVerdict[] {
  const length = words.length / 2;
  return Array.from({ length }, (_, i) => unpackVerdict(words[2 * i] ?? 0, words[2 * i + 1] ?? 0));
}

/** Whether all of them are of pages that were read and are valid. `flags`: of all together. */
export function areValid(flags: number): boolean {
  return (flags & (INVALID | NOT_READ)) === 0;
}
/** Whether any of them is of a new page. `flags`: of all together. */
export function isAnyNew(flags: number): boolean {
  return (flags & layout.PAGE_VERDICT_NEW) !== 0;
}

/** `low` and `high`: the two words of a verdict in memory. */
export function unpackVerdict(low: number, high: number): PageVerdict {
  const has = (bit: number): boolean => (high & bit) !== 0;
  return {
    valid: !has(INVALID) && !has(NOT_READ),
    isNew: has(layout.PAGE_VERDICT_NEW),
    headerBad: has(layout.PAGE_VERDICT_HEADER_BAD),
    checksumFailed: has(layout.PAGE_VERDICT_CHECKSUM_FAILED),
    garbage: has(layout.PAGE_VERDICT_GARBAGE),
    notRead: has(NOT_READ),
    calculated: low & 0xffff,
    stored: low >>> 16,
  };
}
