/**
 * Pages with a known answer, for tests of assembly/storage/checksum.ts and page.ts: vectors, makers
 * of good and bad pages, and the checksum once more, written from its description, as plainly as it
 * goes. Nothing here looks at the core. The vectors were computed by code that agreed with
 * PostgreSQL 18.4 on every page of a fresh cluster.
 */

/** Block sizes PostgreSQL can be built with, in bytes. */
export const BLOCK_SIZES: readonly number[] = [1024, 2048, 4096, 8192, 16384, 32768];
/** The block size of the vectors, in bytes, and PostgreSQL's default. */
export const VECTOR_BLOCK_SIZE = 8192;

/** Fields of the page header; those left out are as in an initialised empty page. */
export interface HeaderFields {
  /** pd_checksum. @default 0 */
  readonly checksum?: number;
  /** pd_flags. @default 0 */
  readonly flags?: number;
  /** pd_lower. @default 24 */
  readonly lower?: number;
  /** pd_upper; 0 makes the page new. @default the size of the page */
  readonly upper?: number;
  /** pd_special. @default the size of the page */
  readonly special?: number;
  /** pd_pagesize_version. @default the size of the page, layout version 4 */
  readonly pagesizeVersion?: number;
}

const LAYOUT_VERSION = 4;
const HEADER_BYTES = 24;
const AT = {
  checksum: 8,
  flags: 10,
  lower: 12,
  upper: 14,
  special: 16,
  pagesizeVersion: 18,
} as const;

function viewOf(page: Uint8Array): DataView {
  return new DataView(page.buffer, page.byteOffset, page.byteLength);
}

/** Writes the whole header of a page, its first 24 bytes, and returns the page. */
export function putHeader(page: Uint8Array, fields: HeaderFields = {}): Uint8Array {
  const size = page.byteLength;
  const view = viewOf(page);
  page.fill(0, 0, HEADER_BYTES);
  view.setUint16(AT.checksum, fields.checksum ?? 0, true);
  view.setUint16(AT.flags, fields.flags ?? 0, true);
  view.setUint16(AT.lower, fields.lower ?? HEADER_BYTES, true);
  view.setUint16(AT.upper, fields.upper ?? size, true);
  view.setUint16(AT.special, fields.special ?? size, true);
  view.setUint16(AT.pagesizeVersion, fields.pagesizeVersion ?? size | LAYOUT_VERSION, true);
  return page;
}

/** pd_checksum as it stands in the page. */
export function storedChecksum(page: Uint8Array): number {
  return viewOf(page).getUint16(AT.checksum, true);
}

/** Writes pd_checksum as it should be for `block`, and returns the page. */
export function putChecksum(page: Uint8Array, block: number): Uint8Array {
  viewOf(page).setUint16(AT.checksum, referenceChecksum(page, block), true);
  return page;
}

/** A page as the operating system adds it to a file: new, and valid. */
export function zeroPage(size: number = VECTOR_BLOCK_SIZE): Uint8Array {
  return new Uint8Array(size);
}

/** An initialised page without tuples and without checksum; `fields` changes its header. */
export function emptyPage(size: number = VECTOR_BLOCK_SIZE, fields: HeaderFields = {}): Uint8Array {
  return putHeader(new Uint8Array(size), fields);
}

/** A page whose byte i is (31 i + 7) mod 256 from the header on; upper = special = size - 16. */
export function patternPage(size: number = VECTOR_BLOCK_SIZE): Uint8Array {
  const page = Uint8Array.from({ length: size }, (_, i) => (31 * i + 7) & 255);
  return putHeader(page, { upper: size - 16, special: size - 16 });
}

/** A page of one byte throughout, header included, but for pd_checksum, which is 0. */
export function filledPage(byte: number, size: number = VECTOR_BLOCK_SIZE): Uint8Array {
  return new Uint8Array(size).fill(byte).fill(0, AT.checksum, AT.checksum + 2);
}

/** A new page, pd_upper 0, of zero bytes but for a 1 at offset `at`: invalid, without checksum
 * failure. Not for 14 and 15, the bytes of pd_upper, which would make another page of it. */
export function garbagePage(at: number, size: number = VECTOR_BLOCK_SIZE): Uint8Array {
  if (at === AT.upper || at === AT.upper + 1) throw new RangeError(`byte ${at} is in pd_upper`);
  const page = new Uint8Array(size);
  page[at] = 1;
  return page;
}

/**
 * A source of numbers 0 .. 2^32 - 1, the same for the same seed (Marsaglia's xorshift32). Print
 * the seed when a test fails.
 */
export function randomWords(seed: number): () => number {
  let state = seed >>> 0 || 1; // from 0 it would never move
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
}

/** A page of random bytes under a random header that is sane; its checksum is random too. */
export function randomPage(words: () => number, size: number = VECTOR_BLOCK_SIZE): Uint8Array {
  const page = new Uint8Array(size);
  const view = viewOf(page);
  for (let at = 0; at < size; at += 4) view.setUint32(at, words(), true);
  const special = size - 8 * (words() % (size / 16));
  const upper = special - (words() % (special / 2));
  const lower = words() % (upper + 1);
  return putHeader(page, { checksum: words() & 0xffff, flags: words() & 7, lower, upper, special });
}

const LANE_OFFSETS: readonly number[] = [
  0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a, 0x79ff467a, 0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c,
  0xf8d4474f, 0xe39eb970, 0x42c6ae16, 0x993216fa, 0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb,
  0xe58f764b, 0x187636bc, 0x5d7b3bb1, 0xe73de7de, 0x92bec979, 0xcca6c0b2, 0x304a0979, 0x85aa43d4,
  0x783125bb, 0x6ca8eaa2, 0xe407eac6, 0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756,
];

function round(lane: number, word: number): number {
  const mixed = lane ^ word;
  return Math.imul(mixed, 16777619) ^ (mixed >>> 17);
}

/** The 32 lanes over the whole page, folded into a u32, before the block number is mixed in. */
export function referenceFold(page: Uint8Array): number {
  const view = viewOf(page.slice().fill(0, AT.checksum, AT.checksum + 2));
  let folded = 0;
  LANE_OFFSETS.forEach((offset, column) => {
    let lane = offset;
    for (let row = 0; row < page.byteLength; row += 4 * LANE_OFFSETS.length)
      lane = round(lane, view.getUint32(row + 4 * column, true));
    folded ^= round(round(lane, 0), 0);
  });
  return folded >>> 0;
}

/** What pd_checksum of a page should be, 1 .. 65535. `block` counts from the start of the fork. */
export function referenceChecksum(page: Uint8Array, block: number): number {
  return (((referenceFold(page) ^ block) >>> 0) % 65535) + 1;
}

/** A page of 8192 bytes, and what it folds to. */
export interface FoldVector {
  readonly name: string;
  readonly make: () => Uint8Array;
  readonly folded: number;
  /** Block numbers and the checksum of the page as that block. */
  readonly checksums: readonly (readonly [block: number, checksum: number])[];
}

/** Known answers. Those of the zero page are arithmetic only: a new page carries no checksum. */
export const CHECKSUM_VECTORS: readonly FoldVector[] = [
  {
    name: 'an empty page',
    make: () => emptyPage(),
    folded: 0x0302625d,
    checksums: [
      [0, 25952],
      [1, 25951],
      [2, 25954],
      [131071, 41126],
      [131072, 25950],
      [4294967294, 39586],
    ],
  },
  {
    name: 'a page with a pattern',
    make: () => patternPage(),
    folded: 0x4468a01f,
    checksums: [
      [0, 58504],
      [1, 58503],
      [65535, 42057],
      [65536, 58505],
    ],
  },
  { name: 'a page of zeros', make: () => zeroPage(), folded: 0x54af71fa, checksums: [[0, 50858]] },
  {
    name: 'a page of ones',
    make: () => filledPage(255),
    folded: 0x0c7b01a0,
    checksums: [[0, 3612]],
  },
];

/** A header at the border of a rule. The sentence ends one that begins with the page's size. */
export type HeaderCase = readonly [sentence: string, fields: HeaderFields, sane: boolean];

/** Each rule for the header of a page that is not new, on both sides of its border. */
export function headerCases(size: number): readonly HeaderCase[] {
  return [
    ['takes an empty page', {}, true],
    ['takes each known flag', { flags: 7 }, true],
    ['refuses the lowest unknown flag', { flags: 8 }, false],
    ['refuses the highest unknown flag', { flags: 0x8000 }, false],
    ['takes a lower end of 0, inside the header', { lower: 0 }, true],
    ['takes a page without free space', { lower: size - 8, upper: size - 8 }, true],
    ['refuses a lower end one above the upper', { lower: size - 7, upper: size - 8 }, false],
    ['takes the least upper end', { lower: 1, upper: 1 }, true],
    ['refuses the least upper end below the lower', { lower: 2, upper: 1 }, false],
    ['takes tuples up to the special space', { upper: size - 8, special: size - 8 }, true],
    ['refuses an upper end one above the special', { upper: size - 7, special: size - 8 }, false],
    ['refuses an upper end above the page', { upper: size + 1 }, false],
    ['takes a special space from the first unit on', { lower: 8, upper: 8, special: 8 }, true],
    ['refuses a special space of 0', { lower: 0, upper: 1, special: 0 }, false],
    ['refuses a special space one unit past the end', { special: size + 8 }, false],
    ['refuses the highest aligned special space', { special: 65528 }, false],
    ['refuses the highest special space', { special: 65535 }, false],
    ...[1, 2, 4, 7].map(
      (off): HeaderCase => [
        `refuses a special space ${off} before a unit`,
        { upper: 64, special: size - off },
        false,
      ],
    ),
    ['takes any size and version', { pagesizeVersion: 0xffff }, true],
  ];
}

/** The flags of a verdict: its bits from 32 on, as numbers. */
export const VERDICT = { new: 1, zero: 2, headerBad: 4, checksumFailed: 8, garbage: 16 } as const;

/** A page, whether checksums are on, and the flags of the verdict as block VERDICT_BLOCK. */
export type VerdictCase = readonly [
  sentence: string,
  make: () => Uint8Array,
  checksums: boolean,
  flags: number,
];
/** The block number the pages of verdictCases are checksummed for. */
export const VERDICT_BLOCK = 131073;

/** Verdicts that are about more than one rule of the header; for those see headerCases. */
export function verdictCases(size: number): readonly VerdictCase[] {
  const good = (): Uint8Array => putChecksum(patternPage(size), VERDICT_BLOCK);
  const flipped = (at: number): Uint8Array => {
    const page = good();
    page[at] = (page[at] ?? 0) ^ 0x80;
    return page;
  };
  const other = (): Uint8Array => putChecksum(patternPage(size), VERDICT_BLOCK - 131072);
  const spoilt = (): Uint8Array => emptyPage(size, { flags: 8 });
  const { new: isNew, zero, headerBad, checksumFailed, garbage } = VERDICT;
  return [
    ['takes a page with its checksum', good, true, 0],
    ['takes a page without checksum where there are none', () => patternPage(size), false, 0],
    ['misses a checksum where there should be one', () => patternPage(size), true, checksumFailed],
    ['sees one bit in the first word', () => flipped(0), true, checksumFailed],
    ['sees one bit in the checksum', () => flipped(AT.checksum + 1), true, checksumFailed],
    [
      "sees one bit in the first byte after the checksum's row",
      () => flipped(128),
      true,
      checksumFailed,
    ],
    ['sees one bit in the last byte', () => flipped(size - 1), true, checksumFailed],
    ['sees no bit where there are no checksums', () => flipped(size - 1), false, 0],
    ['sees a page of the segment before', other, true, checksumFailed],
    [
      'sees a bad header under a good checksum',
      () => putChecksum(spoilt(), VERDICT_BLOCK),
      true,
      headerBad,
    ],
    ['sees a bad header and a bad checksum', spoilt, true, headerBad | checksumFailed],
    ['sees a bad header where there are no checksums', spoilt, false, headerBad],
    ['takes a zero page', () => zeroPage(size), true, isNew | zero],
    ['takes a zero page where there are no checksums', () => zeroPage(size), false, isNew | zero],
    ...[0, AT.checksum, AT.upper - 1, AT.upper + 2, 127, 128, size - 128, size - 1].map(
      (at): VerdictCase => [
        `refuses a new page with byte ${at} set`,
        () => garbagePage(at, size),
        true,
        isNew | garbage,
      ],
    ),
    ['refuses a new page of garbage', () => patternedNew(size), false, isNew | garbage],
  ];
}

/** A page full of tuples whose pd_upper was lost: new to PostgreSQL, and not zero. */
function patternedNew(size: number): Uint8Array {
  return putHeader(patternPage(size), { upper: 0 });
}
