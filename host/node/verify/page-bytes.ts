/** What the bytes of a page say beside the verdict: page.ts of the core has the layout. */

/** pd_lsn: two words, the high half first. */
export function lsnOfPage(page: Uint8Array): bigint {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  return (BigInt(view.getUint32(0, true)) << 32n) | BigInt(view.getUint32(4, true));
}

/** pd_pagesize_version: the size of the page, and the layout's version in the low byte. */
export function sizeWordOfPage(page: Uint8Array): number {
  return (page[18] ?? 0) | ((page[19] ?? 0) << 8);
}

const BYTE_VALUES = 256;
/**
 * How unevenly the 256 byte values occur in random bytes: chi square is 255 on average and exceeds
 * this once in ten million times. Tables and indexes have thousands.
 */
const CHI_SQUARE_MAX = 400;

/** Enough to tell: all of 8 KiB takes 16 µs, where a cluster may be damaged throughout. */
const BYTES_LOOKED_AT = 2048;

/** Whether the bytes could be random ones: encrypted, or compressed, not a page of PostgreSQL's. */
export function looksRandom(page: Uint8Array): boolean {
  const length = Math.min(page.length, BYTES_LOOKED_AT);
  const counts = new Uint32Array(BYTE_VALUES);
  for (let i = 0; i < length; i++) {
    const byte = page[i] ?? 0;
    counts[byte] = (counts[byte] ?? 0) + 1;
  }
  const expected = length / BYTE_VALUES;
  let chiSquare = 0;
  for (const count of counts) chiSquare += (count - expected) ** 2 / expected;
  return chiSquare < CHI_SQUARE_MAX;
}
