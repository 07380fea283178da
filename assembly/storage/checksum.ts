/**
 * The checksum of a page: 32 FNV-1a hashes side by side, one for each column of the page seen as
 * rows of 32 words, folded into 16 bits. The same number as PostgreSQL's `pg_checksum_page`, or
 * neither could read the other's files; tests/page-vectors.ts has known answers.
 *
 * Guarantees: the page is only read. PostgreSQL clears pd_checksum while it computes and then puts
 * it back; here the field is masked out in a register, because others may be reading the page.
 */

//  0       16      32      48      64      80      96      112    128
// ├───────┼───────┼───────┼───────┼───────┼───────┼───────┼───────┤  a row; each vector has the
// │   a   │   b   │   c   │   d   │   e   │   f   │   g   │   h   │  next word of four lanes, and
// └───────┴───────┴───────┴───────┴───────┴───────┴───────┴───────┘  each four lanes have a local
//  in row 0 of `a`, the low half of the third word is pd_checksum
@inline const LANES: u32 = 32;
@inline export const ROW_BYTES: u32 = LANES * sizeof<u32>();

/** The block sizes PostgreSQL can be built with: the powers of two from here .. */
@inline export const PAGE_BYTES_MIN: u32 = 1024;
/** .. to here. */
@inline export const PAGE_BYTES_MAX: u32 = 32768;
if (PAGE_BYTES_MIN % ROW_BYTES != 0) ERROR("a page is a whole number of rows");

/** FNV's prime for 32 bits. A product carries bits upwards only, hence the shift beside it. */
@inline const FNV_PRIME: i32 = 16777619;
@inline const MIX_SHIFT: i32 = 17;
/** The folded lanes modulo this, plus 1: a checksum is never 0. */
@inline const CHECKSUM_MODULUS: u32 = 65535;

/** Second half of a round: `t` is four lanes with their words already mixed in. */
@inline function scatter(t: v128): v128 {
  return v128.xor(i32x4.mul(t, i32x4.splat(FNV_PRIME)), i32x4.shr_u(t, MIX_SHIFT));
}

/** A round: four lanes take in the next word of each. */
@inline function mix(lanes: v128, words: v128): v128 {
  return scatter(v128.xor(lanes, words));
}

/** Two more rounds, with word 0, so that the last row too reaches every bit. */
@inline function finish(lanes: v128): v128 {
  return scatter(scatter(lanes));
}

/**
 * Computes what pd_checksum of the page should be: 1 .. 65535, whatever it is now. `blkno` counts
 * from the start of the relation fork, across segments; `size` is the block size. A new page has no
 * checksum, so callers do not ask for one, but it is not asserted here: others may write meanwhile.
 *
 * One row a turn, because V8 makes the most of that: lanes and FNV_PRIME stay in registers, and the
 * eight chains run next to each other. Two rows a turn come out of the compilers column by column
 * and are no faster; four are 12 to 18 % slower. Touching words some turns ahead costs 45 % when
 * the pages come from memory: the processor's own prefetching does better undisturbed.
 */
export function pg_checksum_page(page: usize, blkno: u32, size: u32): u32 {
  assert(page != 0);
  assert(size >= PAGE_BYTES_MIN);
  assert(size <= PAGE_BYTES_MAX);
  assert((size & (size - 1)) == 0);

  const header = v128.and(v128.load(page), i32x4(-1, -1, 0xFFFF0000, -1)); // pd_checksum as 0
  let a = mix(i32x4(0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A), header);
  let b = mix(i32x4(0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C), v128.load(page, 16));
  let c = mix(i32x4(0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA), v128.load(page, 32));
  let d = mix(i32x4(0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB), v128.load(page, 48));
  let e = mix(i32x4(0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE), v128.load(page, 64));
  let f = mix(i32x4(0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4), v128.load(page, 80));
  let g = mix(i32x4(0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E), v128.load(page, 96));
  let h = mix(i32x4(0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756), v128.load(page, 112));

  const end = page + size; // 0 after the last page of a 4 GiB memory, hence no `<` below
  for (let row = page + ROW_BYTES; row != end; row += ROW_BYTES) {
    a = mix(a, v128.load(row));
    b = mix(b, v128.load(row, 16));
    c = mix(c, v128.load(row, 32));
    d = mix(d, v128.load(row, 48));
    e = mix(e, v128.load(row, 64));
    f = mix(f, v128.load(row, 80));
    g = mix(g, v128.load(row, 96));
    h = mix(h, v128.load(row, 112));
  }

  const low = v128.xor(v128.xor(finish(a), finish(b)), v128.xor(finish(c), finish(d)));
  const high = v128.xor(v128.xor(finish(e), finish(f)), v128.xor(finish(g), finish(h)));
  const four = v128.xor(low, high);
  const two = i64x2.extract_lane(four, 0) ^ i64x2.extract_lane(four, 1);
  const folded = <u32>two ^ <u32>(two >>> 32);
  return (folded ^ blkno) % CHECKSUM_MODULUS + 1;
}
