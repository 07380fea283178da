/**
 * What can be said of a page by looking at its bytes: is it new, is its header sane, does its
 * checksum hold. One function looks and packs all it saw into a verdict; what follows from that
 * (refuse the page, zero it, warn) is for the callbacks to decide.
 *
 * Guarantees: a page is only read, save by page_set_checksum, which writes the two bytes of
 * pd_checksum. Nothing about the content is asserted: it comes from a disk, and may be anything.
 * Mirrors `PageIsVerified` and `PageSetChecksumInplace`. As in PostgreSQL, neither the size and
 * version word nor a pd_lower inside the header makes a page invalid.
 */
import { PAGE_BYTES_MAX, PAGE_BYTES_MIN, ROW_BYTES, pg_checksum_page } from "./checksum";

//  0       4       8          10      12      14      16        18        20          24
// ├───────┼───────┼──────────┼───────┼───────┼───────┼─────────┼─────────┼───────────┤
// │ lsn,  │ lsn,  │ checksum │ flags │ lower │ upper │ special │ size |  │ prune_xid │
// │ high  │ low   │          │       │       │       │         │ version │           │
// └───────┴───────┴──────────┴───────┴───────┴───────┴─────────┴─────────┴───────────┘
//  24              lower                     upper              special           size
// ├────────────────┼─────────────────────────┼──────────────────┼─────────────────┤
// │ line pointers →│        free space       │← tuples          │ an index's own  │
// └────────────────┴─────────────────────────┴──────────────────┴─────────────────┘
// A page is new while upper is 0, and empty while lower is at most 24. Little-endian throughout.

/** Two u32, the high half first: write-ahead log up to here must be on disk before the page is. */
@inline export const PD_LSN_OFFSET: usize = 0;
/** u16, 1 .. 65535; 0 on a page that was never written with checksums on. */
@inline export const PD_CHECKSUM_OFFSET: usize = 8;
/** u16, a set of PD_VALID_FLAG_BITS. */
@inline export const PD_FLAGS_OFFSET: usize = 10;
/** u16, where free space begins. */
@inline export const PD_LOWER_OFFSET: usize = 12;
/** u16, where free space ends. */
@inline export const PD_UPPER_OFFSET: usize = 14;
/** u16, where an index's own space begins; the size of the page where there is none. */
@inline export const PD_SPECIAL_OFFSET: usize = 16;
/** u16, the size of the page, a multiple of 256, with the layout version in the low byte. */
@inline export const PD_PAGESIZE_VERSION_OFFSET: usize = 18;
/** u32, the oldest transaction whose tuples may be pruned; 0 if there is none. */
@inline export const PD_PRUNE_XID_OFFSET: usize = 20;
/** Where the line pointers begin. */
@inline export const PAGE_HEADER_BYTES: u32 = <u32>PD_PRUNE_XID_OFFSET + sizeof<u32>();
if (PAGE_HEADER_BYTES != 24) ERROR("PostgreSQL's page header has 24 bytes");

/** Some line pointers are unused. */
@inline export const PD_HAS_FREE_LINES: u32 = 1;
/** An update found no room here. */
@inline export const PD_PAGE_FULL: u32 = 2;
/** Every tuple is visible to everyone. */
@inline export const PD_ALL_VISIBLE: u32 = 4;
/** All flags there are; any other bit spoils the header. */
@inline export const PD_VALID_FLAG_BITS: u32 = PD_HAS_FREE_LINES | PD_PAGE_FULL | PD_ALL_VISIBLE;
/** PostgreSQL's `MAXIMUM_ALIGNOF`: pd_special is a multiple of it. */
@inline const SPECIAL_ALIGN_BYTES: u32 = 8;

//  63          37   36   35   34   33   32  31           16 15            0
// ├──────────────┼────┼────┼────┼────┼────┼───────────────┼───────────────┤
// │      0       │ ga │ cs │ hd │ ze │ nw │  stored : 16  │calculated : 16│  a verdict
// └──────────────┴────┴────┴────┴────┴────┴───────────────┴───────────────┘
// nw: new, with exactly one of ze (all bytes zero) and ga (garbage). hd: header bad, cs: checksum
// failed; both may be set, and neither is when nw is.
@inline const STORED_SHIFT: u64 = 16;
@inline const CHECKSUM_MASK: u64 = 0xFFFF;
@inline const FLAGS_SHIFT: u64 = 32;
/** pd_upper is 0: the page was added to the file and not written since. It has no checksum. */
@inline export const PAGE_VERDICT_NEW: u32 = 1;
/** All bytes are zero, as they should be in a new page. */
@inline export const PAGE_VERDICT_ZERO: u32 = 2;
/** Not new, and a rule of the header fails. */
@inline export const PAGE_VERDICT_HEADER_BAD: u32 = 4;
/** Not new, and the checksum stored is not the one calculated. */
@inline export const PAGE_VERDICT_CHECKSUM_FAILED: u32 = 8;
/** New, and yet some byte is not zero. Invalid, but to PostgreSQL no checksum failure. */
@inline export const PAGE_VERDICT_GARBAGE: u32 = 16;
@inline const PAGE_VERDICT_INVALID: u32 =
    PAGE_VERDICT_HEADER_BAD | PAGE_VERDICT_CHECKSUM_FAILED | PAGE_VERDICT_GARBAGE;

/** What was seen: a set of PAGE_VERDICT_NEW .. PAGE_VERDICT_GARBAGE. */
@inline export function page_verdict_flags(verdict: u64): u32 {
  return <u32>(verdict >>> FLAGS_SHIFT);
}

/** Whether PostgreSQL would take the page without being told to ignore checksum failures. */
@inline export function page_verdict_valid(verdict: u64): bool {
  return (page_verdict_flags(verdict) & PAGE_VERDICT_INVALID) == 0;
}

/** What pd_checksum should be, 1 .. 65535; 0 if that was not computed. */
@inline export function page_verdict_calculated(verdict: u64): u32 {
  return <u32>(verdict & CHECKSUM_MASK);
}

/** What pd_checksum is. */
@inline export function page_verdict_stored(verdict: u64): u32 {
  return <u32>((verdict >>> STORED_SHIFT) & CHECKSUM_MASK);
}

/** Packs a verdict. */
@inline function verdict_of(flags: u32, stored: u32, calculated: u32): u64 {
  assert(stored <= <u32>CHECKSUM_MASK);
  assert(calculated <= <u32>CHECKSUM_MASK);
  return ((<u64>flags) << FLAGS_SHIFT) | ((<u64>stored) << STORED_SHIFT) | calculated;
}

/**
 * Looks at a page and returns the verdict. `blkno` counts from the start of the relation fork,
 * across segments; `size` is the block size. `checksums`: whether the cluster has them; if not,
 * pd_checksum means nothing and is not compared. Caller: nobody writes to the page meanwhile, or
 * the verdict is about a page that never was.
 */
export function page_verify(page: usize, blkno: u32, size: u32, checksums: bool): u64 {
  assert(page != 0);
  assert(size >= PAGE_BYTES_MIN);
  assert(size <= PAGE_BYTES_MAX);
  const upper: u32 = load<u16>(page, PD_UPPER_OFFSET);
  const stored: u32 = load<u16>(page, PD_CHECKSUM_OFFSET);
  if (upper == 0) {
    const content = page_is_zero(page, size) ? PAGE_VERDICT_ZERO : PAGE_VERDICT_GARBAGE;
    return verdict_of(PAGE_VERDICT_NEW | content, stored, 0);
  }
  let flags: u32 = page_header_sane(page, upper, size) ? 0 : PAGE_VERDICT_HEADER_BAD;
  if (!checksums) return verdict_of(flags, stored, 0);
  const calculated = pg_checksum_page(page, blkno, size);
  if (calculated != stored) flags |= PAGE_VERDICT_CHECKSUM_FAILED;
  assert(calculated != 0, "0 says that none was computed");
  return verdict_of(flags, stored, calculated);
}

/**
 * Computes pd_checksum and stores it, before the page goes to disk. Returns it; or 0, without
 * effect, if the page is new, for then it has none. Caller: nobody else writes to the page.
 */
export function page_set_checksum(page: usize, blkno: u32, size: u32): u32 {
  assert(page != 0);
  if (load<u16>(page, PD_UPPER_OFFSET) == 0) return 0;
  const checksum = pg_checksum_page(page, blkno, size);
  assert(checksum != 0, "0 says that the page is new");
  store<u16>(page, <u16>checksum, PD_CHECKSUM_OFFSET);
  return checksum;
}

/** The rules for the header of a page that is not new. `upper`: its pd_upper, already read. */
@inline function page_header_sane(page: usize, upper: u32, size: u32): bool {
  assert(upper != 0);
  const flags: u32 = load<u16>(page, PD_FLAGS_OFFSET);
  const lower: u32 = load<u16>(page, PD_LOWER_OFFSET);
  const special: u32 = load<u16>(page, PD_SPECIAL_OFFSET);
  return (flags & ~PD_VALID_FLAG_BITS) == 0
      && lower <= upper
      && upper <= special
      && special <= size
      && special % SPECIAL_ALIGN_BYTES == 0;
}

/** Whether all bytes are zero. Takes a row at a time and stops at the first that has another. */
function page_is_zero(page: usize, size: u32): bool {
  assert(size >= ROW_BYTES);
  assert(size % ROW_BYTES == 0);
  const end = page + size; // 0 after the last page of a 4 GiB memory, hence no `<` below
  for (let row = page; row != end; row += ROW_BYTES) {
    const ab = v128.or(v128.load(row), v128.load(row, 16));
    const cd = v128.or(v128.load(row, 32), v128.load(row, 48));
    const ef = v128.or(v128.load(row, 64), v128.load(row, 80));
    const gh = v128.or(v128.load(row, 96), v128.load(row, 112));
    if (v128.any_true(v128.or(v128.or(ab, cd), v128.or(ef, gh)))) return false;
  }
  return true;
}
