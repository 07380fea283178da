//  31                                           9 8     6 5         0
// ├──────────────────────────────────────────────┼───────┼───────────┤  PgAioResult, first word;
// │               error_data : 23                │ st : 3│  id : 6   │  the second the i32 result
// └──────────────────────────────────────────────┴───────┴───────────┘
/**
 * The packed result of an I/O (aio_types.h: PgAioResult). id: the callback that can put the result
 * into words. st: status, numbered in order of severity. result: what the raw result means to the
 * callback that set it, for instance blocks instead of bytes.
 *
 * A chain of callbacks passes it on in `now_word` and `now_result` of this instance, since a
 * function of the core returns one value.
 */
import { EIO, PGAIO_RS_OK } from "./types";

@inline const ID_BITS: u32 = 6;
@inline const STATUS_BITS: u32 = 3;
@inline const ERROR_BITS: u32 = 32 - ID_BITS - STATUS_BITS;
@inline const ID_MASK: u32 = (1 << ID_BITS) - 1;
@inline const STATUS_MASK: u32 = (1 << STATUS_BITS) - 1;
@inline export const ERROR_MASK: u32 = (1 << ERROR_BITS) - 1;
if (ERROR_BITS != 23) ERROR("PgAioResult: PostgreSQL's error_data has 23 bits");

export const RESULT_BYTES: u32 = 8;

@inline export function resultId(word: u32): u32 { return word & ID_MASK; }
@inline export function resultStatus(word: u32): u32 { return (word >>> ID_BITS) & STATUS_MASK; }
@inline export function resultErrorData(word: u32): u32 { return word >>> (ID_BITS + STATUS_BITS); }
@inline export function resultWord(id: u32, status: u32, error_data: u32): u32 {
  assert(id <= ID_MASK);
  assert(error_data <= ERROR_MASK);
  return id | (status << ID_BITS) | (error_data << (ID_BITS + STATUS_BITS));
}

/** The result as it stands while callbacks run. */
export let now_word: u32 = 0;
export let now_result: i32 = 0;

export function setNow(word: u32, result: i32): void {
  now_word = word;
  now_result = result;
}
/** What every chain of shared callbacks starts from: OK with the raw result, even if negative. */
@inline export function startOf(raw: i32): void { setNow(resultWord(0, PGAIO_RS_OK, 0), raw); }

/** errno of a raw result that is negative; never 0, and within what error_data can hold. */
@inline export function errnoOf(raw: i32): u32 {
  assert(raw < 0);
  return raw < -4095 ? EIO : -raw;
}
