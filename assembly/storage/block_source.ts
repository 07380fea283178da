// @layout
/**
 * Where a read stream learns which block is next: a range, a ring that is fed with block numbers
 * piece by piece, or a callback of the host's. Only the last one leaves the core for each block.
 */
import { E_STREAM_CALLBACK, fail } from "../errors";
import { PgAioPlace, my_place } from "../aio/backend";
import { host_callback } from "../aio/host";
import { NONE, PGAIO_CB_NEXT_BLOCK } from "../aio/types";
import { InvalidBlockNumber, ReadStream } from "./read_stream";

// Kinds of sources.
export const SOURCE_NONE: u32 = 0; // nothing yet: the stream is at its end
export const SOURCE_RANGE: u32 = 1; // blocks in a row (block_range_read_stream_cb)
export const SOURCE_RING: u32 = 2; // block numbers its user feeds it with
export const SOURCE_CALLBACK: u32 = 3; // a function of the host's

// What nextBlockOf answers besides blocks and errors.
export const BLOCK_END: i64 = -1;
export const BLOCK_STARVED: i64 = -2;

/** The next block; `data` is the address of the room for its data, or 0. */
export function nextBlockOf(s: ReadStream, data: u32): i64 {
  const kept = s.buffered_blocknum;
  if (kept != InvalidBlockNumber) {
    s.buffered_blocknum = InvalidBlockNumber;
    return <i64>kept;
  }
  switch (s.source) {
    case SOURCE_RANGE: {
      assert(s.range_next <= s.range_end);
      if (s.range_next == s.range_end) return BLOCK_END;
      return <i64>(s.range_next++);
    }
    case SOURCE_RING: return nextOfRing(s);
    case SOURCE_CALLBACK: return askHost(s, data);
    default: return BLOCK_END;
  }
}

function nextOfRing(s: ReadStream): i64 {
  assert(s.ring_tail - s.ring_head <= s.ring_size);
  if (s.ring_head == s.ring_tail) return s.ring_closed ? BLOCK_END : BLOCK_STARVED;
  const index = s.ring_head++ % s.ring_size;
  return <i64>load<u32>(<usize>s.ring + 4 * <usize>index);
}

/** The host leaves the block in the word it is given, and may write at `data`. */
function askHost(s: ReadStream, data: u32): i64 {
  const place = changetype<usize>(my_place) + offsetof<PgAioPlace>("transferred");
  store<u32>(place, InvalidBlockNumber);
  const rc = host_callback(PGAIO_CB_NEXT_BLOCK, 0, changetype<usize>(s), data, place);
  if (rc < 0) return <i64>fail(E_STREAM_CALLBACK, NONE, 0, changetype<usize>(s));
  const block = load<u32>(place);
  assert(s.busy == 1, "a callback cannot end its stream");
  return block == InvalidBlockNumber ? BLOCK_END : <i64>block;
}
