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
