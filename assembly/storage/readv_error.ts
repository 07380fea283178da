//   22         16 15          9 8           2  1   0
// ├──────────────┼─────────────┼─────────────┼───┼───┤  error_data of a buffer read (bufmgr.c:
// │ first offset │  checkfails │    count    │ign│zer│  buffer_readv_encode_error)
// └──────────────┴─────────────┴─────────────┴───┴───┘
/**
 * What went wrong with the pages of one read, in 23 bits. count: pages in error, else pages zeroed.
 * first offset: of the first page in error, else zeroed, else ignored.
 *
 * A field has 7 bits and a read up to 128 pages. PostgreSQL lets 128 run into the next field; here
 * 128 is stored as 0 where 0 is impossible otherwise (count of an ERROR, count when something was
 * zeroed, checkfails when something was ignored) and as 127 for checkfails elsewhere, where the
 * number only feeds statistics.
 */
import { resultWord } from "../aio/result";
import { PGAIO_RS_ERROR, PGAIO_RS_WARNING } from "../aio/types";

const FIELD_MASK: u32 = 0x7f;
const ZEROED: u32 = 1;
const IGNORED: u32 = 2;
const COUNT_SHIFT: u32 = 2;
const CHECKFAIL_SHIFT: u32 = 9;
const OFFSET_SHIFT: u32 = 16;

/** The first word of the result of a read with at least one page not as it should be. */
export function readvErrorWord(id: u32, errors: u32, zeroed: u32, ignored: u32, checkfails: u32,
  first: u32): u32 {
  assert(errors + zeroed + ignored > 0);
  assert(errors == 0 || zeroed == 0, "one flag decides between them");
  assert(first <= FIELD_MASK);
  const count = errors > 0 ? errors : zeroed;
  const failed = checkfails > FIELD_MASK && ignored == 0 ? FIELD_MASK : checkfails & FIELD_MASK;
  const error_data = (zeroed > 0 ? ZEROED : 0) | (ignored > 0 ? IGNORED : 0)
    | ((count & FIELD_MASK) << COUNT_SHIFT) | (failed << CHECKFAIL_SHIFT) | (first << OFFSET_SHIFT);
  return resultWord(id, errors > 0 ? PGAIO_RS_ERROR : PGAIO_RS_WARNING, error_data);
}
