// @layout
/**
 * A stream of the blocks of a relation that somebody is going to want, read before they are asked
 * for (read_stream.c): neighbours become one I/O, several I/Os run at once, and how far ahead it
 * looks follows from what happened: it doubles after an I/O and decays by one with each block that
 * was there already, so that a scan of cached pages costs no more than looking them up.
 *
 *          oldest_buffer_index            next_buffer_index
 *                   ▼                             ▼
 *   ┌───────────────┬─────────────────────────────┬───────────┬┄┄┄┄┄┄┄┄┄┐   buffers, a ring of
 *   │               │ pinned_buffers              │ forwarded │         │   queue_size, with room
 *   └───────────────┴─────────────────────────────┴───────────┴┄┄┄┄┄┄┄┄┄┘   for one I/O behind it
 *                     ▲        ▲        ▲           pending_read_nblocks begin there, too
 *                     ios[oldest_io_index] … , by buffer_index
 *
 * Two ways to look ahead: PostgreSQL 18's, and that of its development version, which looks further
 * only when a reader had to wait (READ_STREAM_WAIT_DRIVEN). One distance serves the former; the
 * latter keeps another one for how much is read at once.
 *
 * A stream lies in memory its caller hands in, and is one backend's. Nothing here blocks when
 * called with `nowait`: it answers READ_STREAM_BLOCKED and says in `blocked` what to wait for.
 */
import { pgaio_enter_batchmode, pgaio_exit_batchmode } from "../aio/io";
import { my_backend } from "../aio/backend";
import { fd_advise } from "../aio/host";
import { block_size, segment_size } from "../shm/settings";
import { segmentFor } from "./smgr";
import { WREF_BYTES, WREF_INVALID } from "../aio/wait";
import { E_NO_BUFFERS, E_NO_LOCAL_BUFFERS, OK, fail, pgaio_error_detail } from "../errors";
import { BLOCK_END, BLOCK_STARVED, nextBlockOf } from "./block_source";
import {
  BLOCKED, READ_BUFFERS_ISSUE_ADVICE, READ_BUFFERS_NOWAIT, READ_BUFFERS_SYNCHRONOUSLY,
} from "../aio/types";
import { GetAdditionalLocalPinLimit, GetAdditionalPinLimit } from "./buffer_funcs";
import {
  READ_OPERATION_BYTES, ReadBuffersOperation, startReadBuffers, waitReadBuffers,
} from "./bufmgr";

// Flags of read_stream_begin_relation; the last one is ours.
export const READ_STREAM_DEFAULT: u32 = 0;
export const READ_STREAM_MAINTENANCE: u32 = 1; // maintenance_io_concurrency counts
export const READ_STREAM_SEQUENTIAL: u32 = 2; // the system reads ahead by itself: no advice
export const READ_STREAM_FULL: u32 = 4; // all will be read: begins with whole I/Os
export const READ_STREAM_USE_BATCHING: u32 = 8; // what it looks at in one go is submitted at once
export const READ_STREAM_WAIT_DRIVEN: u32 = 256; // the development version's way to look ahead

/** Answers of the functions that hand out buffers, beside how many: more than that can be. */
export const READ_STREAM_BLOCKED: i32 = 0x10000; // would have to wait, see ReadStream.blocked
export const READ_STREAM_STARVED: i32 = 0x10001; // wants to be fed with block numbers
export const READ_STREAM_OUT_MAX: u32 = 0xffff;

// What a stream that did not get on waits for.
export const BLOCKED_NOT: u32 = 0;
export const BLOCKED_IO: u32 = 1; // the I/O in wait_ref, one's own or another's
export const BLOCKED_ANY: u32 = 2; // a handle or a buffer: any end of an I/O may help
export const BLOCKED_STARVED: u32 = 3; // block numbers

export const READ_STREAM_MAGIC: u32 = 0x4d525453; // "STRM" in a dump
export const InvalidBlockNumber: u32 = 0xffffffff;
const InvalidBuffer: i32 = 0;

/** A stream, in its caller's memory; behind it buffers, I/Os, data per buffer, ring of blocks. */
@unmanaged export class ReadStream {
  magic: u32; //                 0  READ_STREAM_MAGIC while it lives
  self: u32; //                  4  its own address
  procno: i32; //                8  backend it belongs to
  flags: u32; //                12  READ_STREAM_*
  source: u32; //               16  SOURCE_*
  busy: u32; //                 20  1 while it runs: a callback must not call it
  max_ios: u32; //              24  I/Os in flight at the most
  io_combine_limit: u32; //     28  blocks per I/O at the most
  queue_size: u32; //           32  places in the ring of buffers
  max_pinned_buffers: u32; //   36
  read_buffers_flags: u32; //   40  READ_BUFFERS_* of each read
  advice_enabled: u32; //       44  1 while the kernel is told what will be read
  temporary: u32; //            48  1 for local buffers
  per_buffer_data_size: u32; // 52  bytes, 0 for none
  buffers: u32; //              56  address of i32[queue_size + io_combine_limit - 1]
  ios: u32; //                  60  address of the InProgressIOs
  per_buffer_data: u32; //      64  address of queue_size times that many bytes
  ring: u32; //                 68  address of u32[ring_size], block numbers fed
  ring_size: u32; //            72
  ring_head: u32; //            76  taken so far, wraps
  ring_tail: u32; //            80  fed so far, wraps
  ring_closed: u32; //          84  1 when no more will be fed
  range_next: u32; //           88  of a range: next block
  range_end: u32; //            92  and the one after the last
  distance: u32; //             96  blocks it looks ahead; 0 at the end of the stream
  combine_distance: u32; //    100  wait-driven only: blocks it gathers before it reads
  decay_holdoff: u32; //       104  wait-driven only: hits until the distances begin to shrink
  resume_distance: u32; //     108  what they were when it was paused
  resume_combine: u32; //      112
  ios_in_progress: u32; //     116
  oldest_io_index: u32; //     120
  next_io_index: u32; //       124
  pinned_buffers: u32; //      128
  forwarded_buffers: u32; //   132  pinned for the pending read, by one that did not take them
  oldest_buffer_index: u32; // 136
  next_buffer_index: u32; //   140
  pending_blocknum: u32; //    144  the read that is being put together
  pending_nblocks: u32; //     148
  buffered_blocknum: u32; //   152  a block the source gave that had to be put back
  seq_blocknum: u32; //        156  the block after the last read
  seq_until_processed: u32; // 160  where a sequential region began that is advised
  fast_path: u32; //           164  1 while all that was asked for was there
  failed: u32; //              168  1 once an error was answered: nothing follows
  blocked: u32; //             172  BLOCKED_*
  wait_ref: u32; //            176  PgAioWaitRef: its handle,
  wait_ref_upper: u32; //      180  and generation
  wait_ref_lower: u32; //      184
  nblocks: i32; //             188  in and out of StartReadBuffers
  error_code: i32; //          192  kept until what is pinned was handed out, 0 without
  error_io: i32; //            196
  error_state: u32; //         200
  hits: u32; //                204  operations that needed no I/O
  error_first: f64; //         208
  error_second: f64; //        216
  reads: u32; //               224  operations that needed one, another's included
  read_blocks: u32; //         228  their blocks
  waits: u32; //               232  of them, those a reader had to wait for
  most_ios: u32; //            236  most there were at once
}
export const READ_STREAM_BYTES: u32 = 240;
if (offsetof<ReadStream>() > READ_STREAM_BYTES) ERROR("ReadStream outgrew its place");

/** One I/O of a stream. */
@unmanaged export class InProgressIO {
  buffer_index: u32; // 0  of its first buffer
  was_blocked: u32; //  4  1 when a reader that may not wait came too early
  op: u32; //           8  ReadBuffersOperation
}
export const IN_PROGRESS_IO_BYTES: u32 = 8 + READ_OPERATION_BYTES;
if (IN_PROGRESS_IO_BYTES % 8 != 0) ERROR("InProgressIOs must be aligned");

/** READ_BUFFERS_NOWAIT if the caller must not be made to wait, else 0. */
let no_wait: u32 = 0;
export function setNoWait(nowait: bool): void { no_wait = nowait ? READ_BUFFERS_NOWAIT : 0; }

/** What startPendingRead answers besides errors. */
const CANNOT: i32 = 0; // no pins, or it would have had to wait
const STARTED: i32 = 1;

@inline export function ioAt(s: ReadStream, index: u32): InProgressIO {
  return changetype<InProgressIO>(<usize>s.ios + <usize>index * IN_PROGRESS_IO_BYTES);
}
@inline export function opOf(io: InProgressIO): ReadBuffersOperation {
  return changetype<ReadBuffersOperation>(changetype<usize>(io) + offsetof<InProgressIO>("op"));
}
@inline export function bufferSlot(s: ReadStream, index: u32): usize {
  return <usize>s.buffers + 4 * <usize>index;
}
@inline function waitDriven(s: ReadStream): bool {
  return (s.flags & READ_STREAM_WAIT_DRIVEN) != 0;
}

/**
 * Hands out the next buffer into the 8 bytes at `out`: buffer number, and the address of its data.
 * 1, 0 at the end of the stream, READ_STREAM_BLOCKED, READ_STREAM_STARVED or an error.
 */
export function nextBuffer(s: ReadStream, out: usize): i32 {
  assert(s.busy == 1);
  if (s.fast_path) return nextFast(s, out);
  if (s.failed) return 0;
  if (s.pinned_buffers == 0) {
    const rc = pinFirst(s);
    if (rc != 1) return rc;
  }
  if (headsIo(s)) {
    const rc = finishOldestIo(s);
    if (rc != OK) return rc;
  }
  handOut(s, out);
  lookAhead(s, true);
  s.fast_path = <u32>(s.ios_in_progress == 0 && s.forwarded_buffers == 0 && s.pinned_buffers == 1
    && s.distance == 1 && s.pending_nblocks == 0 && s.per_buffer_data_size == 0
    && (!waitDriven(s) || s.combine_distance == 1));
  return 1;
}

/** Whether the oldest buffer is the first of an I/O that has not been waited for. */
@inline function headsIo(s: ReadStream): bool {
  return s.ios_in_progress > 0
    && ioAt(s, s.oldest_io_index).buffer_index == s.oldest_buffer_index;
}

/** Whether one more can be had at once, and without keeping others from the pins they need. */
export function hasMoreAtHand(s: ReadStream): bool {
  if (s.pinned_buffers == 0 || s.failed || s.per_buffer_data_size > 0 || headsIo(s)) return false;
  assert(s.distance > 0 || s.fast_path == 0);
  return (s.temporary ? GetAdditionalLocalPinLimit() : GetAdditionalPinLimit()) > 0;
}

/**
 * Everything was there for some time: the one buffer that is pinned is handed out, and the next one
 * looked up into its place. The first that is not there ends it, as does the end of the stream.
 */
function nextFast(s: ReadStream, out: usize): i32 {
  assert(s.pinned_buffers == 1);
  assert(s.ios_in_progress == 0);
  const index = s.oldest_buffer_index;
  store<i32>(out, load<i32>(bufferSlot(s, index)));
  store<u32>(out, 0, 4);
  s.blocked = BLOCKED_NOT;
  const block = nextBlockOf(s, 0);
  if (block >= 0) {
    store<i32>(bufferSlot(s, index), InvalidBuffer);
    const io = ioAt(s, 0);
    s.nblocks = 1;
    let flags = s.read_buffers_flags | no_wait;
    // The reader comes for it next: a worker would only be a detour, if the reader may wait at all.
    if (waitDriven(s) && no_wait == 0) flags |= READ_BUFFERS_SYNCHRONOUSLY;
    const rc = startReadBuffers(opOf(io), bufferSlot(s, index), <u32>block, nblocksPlace(s),
      flags);
    if (rc == OK) {
      s.hits++;
      return 1;
    }
    leaveFastPath(s, <u32>block, rc);
    return 1;
  }
  store<i32>(bufferSlot(s, index), InvalidBuffer);
  s.fast_path = 0;
  s.oldest_buffer_index = s.next_buffer_index;
  s.pinned_buffers = 0;
  sourceStopped(s, block);
  return 1;
}

/** The block after the one handed out is not there: its I/O runs, or it is the pending read. */
function leaveFastPath(s: ReadStream, block: u32, rc: i32): void {
  assert(s.fast_path == 1);
  const index = s.oldest_buffer_index;
  s.fast_path = 0;
  if (rc == STARTED) {
    s.oldest_io_index = 0;
    s.next_io_index = 0;
    rememberIo(s, index, block);
    return;
  }
  s.pinned_buffers = 0;
  s.next_buffer_index = index;
  s.pending_blocknum = block;
  s.pending_nblocks = 1;
  countForwarded(s, index, 1);
  if (rc < 0) keepError(s, rc, true);
  else noteBlocked(s, ioAt(s, 0));
}

/** Looks ahead until something is pinned. 1 if so, else what is to be answered instead. */
function pinFirst(s: ReadStream): i32 {
  assert(s.oldest_buffer_index == s.next_buffer_index);
  assert(s.fast_path == 0);
  lookAhead(s, false);
  if (s.pinned_buffers > 0) return 1;
  if (s.error_code != 0) {
    s.failed = 1;
    return fail(s.error_code, s.error_io, s.error_state, s.error_first, s.error_second);
  }
  if (s.blocked == BLOCKED_STARVED) return READ_STREAM_STARVED;
  if (s.blocked != BLOCKED_NOT) return READ_STREAM_BLOCKED;
  assert(s.distance == 0 && s.pending_nblocks == 0, "nothing in hand is the end of the stream");
  return 0;
}

/** The oldest I/O has to be over before its first buffer can be handed out. */
function finishOldestIo(s: ReadStream): i32 {
  assert(s.ios_in_progress > 0);
  const io = ioAt(s, s.oldest_io_index);
  const op = opOf(io);
  const rc = waitReadBuffers(op, no_wait != 0);
  if (rc == BLOCKED) {
    io.was_blocked = 1;
    noteBlocked(s, io);
    return READ_STREAM_BLOCKED;
  }
  if (rc < 0 && op.io_wref != WREF_INVALID) return rc; // the wait failed, the I/O runs on
  s.ios_in_progress--;
  s.oldest_io_index = after(s.oldest_io_index, s.max_ios);
  if (rc < 0) {
    s.failed = 1;
    return rc;
  }
  const waited = rc != OK || io.was_blocked == 1
    || (op.flags & READ_BUFFERS_SYNCHRONOUSLY) != 0;
  if (waited) s.waits++;
  growDistance(s, waited);
  if (s.advice_enabled && op.blocknum == s.seq_until_processed) {
    s.seq_until_processed = InvalidBlockNumber;
  }
  return OK;
}

/** The oldest buffer becomes its reader's; its place is free. */
function handOut(s: ReadStream, out: usize): void {
  const index = s.oldest_buffer_index;
  const buffer = load<i32>(bufferSlot(s, index));
  assert(s.pinned_buffers > 0);
  assert(buffer != InvalidBuffer);
  store<i32>(out, buffer);
  store<u32>(out, s.per_buffer_data_size == 0 ? 0 : dataSlot(s, index), 4);
  store<i32>(bufferSlot(s, index), InvalidBuffer);
  // Behind the ring lies the same place once more, for an I/O that began before its end.
  if (index + 1 < s.io_combine_limit) {
    store<i32>(bufferSlot(s, s.queue_size + index), InvalidBuffer);
  }
  s.oldest_buffer_index = after(index, s.queue_size);
  s.pinned_buffers--;
}

@inline function after(index: u32, count: u32): u32 { return index + 1 == count ? 0 : index + 1; }
@inline function wrapped(index: u32, count: u32): u32 {
  return index >= count ? index - count : index;
}
@inline function dataSlot(s: ReadStream, index: u32): u32 {
  return s.per_buffer_data + index * s.per_buffer_data_size;
}
@inline function nblocksPlace(s: ReadStream): usize {
  return changetype<usize>(s) + offsetof<ReadStream>("nblocks");
}

// How far to look ahead, and how much to read at once.

/** An I/O was needed: look further, so that the next ones are over when they are wanted. */
function growDistance(s: ReadStream, waited: bool): void {
  assert(s.max_pinned_buffers > 0);
  const doubled = min(2 * s.distance, s.max_pinned_buffers); // 0 stays 0: the end
  if (!waitDriven(s)) {
    s.distance = doubled;
    return;
  }
  if (waited) s.distance = doubled;
  s.combine_distance = min(2 * s.combine_distance, min(s.io_combine_limit, s.max_pinned_buffers));
  s.decay_holdoff = s.max_pinned_buffers;
}

/** Blocks were there already: look less far, but never less than one block. */
function shrinkDistance(s: ReadStream): void {
  s.hits++;
  assert(s.max_pinned_buffers > 0);
  if (!waitDriven(s)) {
    if (s.distance > 1) s.distance--;
    return;
  }
  if (s.ios_in_progress > 0) return;
  if (s.decay_holdoff > 0) {
    s.decay_holdoff--;
    return;
  }
  if (s.distance > 1) s.distance--;
  if (s.combine_distance > 1) s.combine_distance--;
}

function shouldLookAhead(s: ReadStream): bool {
  if (s.distance == 0 || s.ios_in_progress >= s.max_ios) return false;
  const pending = s.pending_nblocks;
  assert(pending <= s.io_combine_limit);
  if (waitDriven(s) && pending > 0 && s.pinned_buffers == 0 && pending < s.combine_distance) {
    return true;
  }
  return s.pinned_buffers + pending < s.distance;
}

/** Whether the pending read has to be started before another block can be asked for. */
function isFull(s: ReadStream): bool {
  return s.pending_nblocks == s.io_combine_limit
    || (waitDriven(s) && s.pending_nblocks > 0 && s.pending_nblocks >= s.combine_distance);
}

/** Whether the pending read is started although more could still be added to it. */
function shouldStart(s: ReadStream): bool {
  const pending = s.pending_nblocks;
  if (pending == 0 || s.ios_in_progress >= s.max_ios) return false;
  if (isFull(s) || s.distance == 0) return true;
  assert(pending < s.io_combine_limit);
  if (s.pinned_buffers > 0) return false;
  return waitDriven(s) || pending >= s.distance || s.blocked == BLOCKED_STARVED;
}

/**
 * Asks for blocks and starts reads as far as it should be; an error is kept for later. `supplied`:
 * the reader gets a buffer in any case.
 */
function lookAhead(s: ReadStream, supplied: bool): void {
  s.blocked = BLOCKED_NOT;
  if (s.error_code != 0) return;
  assert(s.failed == 0);
  const batch = (s.flags & READ_STREAM_USE_BATCHING) != 0 && my_backend.in_batchmode == 0;
  if (batch) {
    const rc = pgaio_enter_batchmode();
    if (rc < 0) return keepError(s, rc, supplied);
  }
  const rc = lookFurther(s);
  if (rc < 0) keepError(s, rc, supplied || s.pinned_buffers > 0);
  if (!batch) return;
  const left = pgaio_exit_batchmode();
  if (left < 0 && s.error_code == 0) keepError(s, left, supplied);
}

function lookFurther(s: ReadStream): i32 {
  assert(s.fast_path == 0);
  while (shouldLookAhead(s)) { // each round takes a block from the source or starts a read
    if (isFull(s)) {
      const rc = startPendingRead(s);
      if (rc != STARTED) return min(rc, OK);
      continue;
    }
    const pending = s.pending_nblocks;
    const index = wrapped(s.next_buffer_index + pending, s.queue_size);
    const block = nextBlockOf(s, s.per_buffer_data_size == 0 ? 0 : dataSlot(s, index));
    if (block < 0) {
      sourceStopped(s, block);
      break;
    }
    if (pending > 0 && <u64>s.pending_blocknum + pending == <u64>block) {
      s.pending_nblocks++;
      continue;
    }
    while (s.pending_nblocks > 0) { // each round starts some of it
      const rc = startPendingRead(s);
      if (rc == STARTED && s.ios_in_progress < s.max_ios) continue;
      s.buffered_blocknum = <u32>block; // its place among the buffers' data stays the same
      return min(rc, OK);
    }
    s.pending_blocknum = <u32>block;
    s.pending_nblocks = 1;
  }
  return shouldStart(s) ? min(startPendingRead(s), OK) : OK;
}

/** The source gave no block: it is at its end, or starved, or has failed. */
function sourceStopped(s: ReadStream, why: i64): void {
  assert(why < 0);
  if (why == BLOCK_STARVED) {
    s.blocked = BLOCKED_STARVED;
    return;
  }
  s.distance = 0;
  s.combine_distance = 0;
  if (why != BLOCK_END) keepError(s, <i32>why, true);
}

// Reads.

/**
 * Starts the pending read, or as much of it as pins allow and StartReadBuffers takes. STARTED,
 * CANNOT or an error.
 */
function startPendingRead(s: ReadStream): i32 {
  assert(s.pending_nblocks > 0 && s.pending_nblocks <= s.io_combine_limit);
  assert(s.ios_in_progress < s.max_ios);
  const asked = withinPins(s);
  if (asked == 0) return CANNOT;
  const flags = s.read_buffers_flags | adviceFlag(s) | no_wait;
  const index = s.next_buffer_index;
  const io = ioAt(s, s.next_io_index);
  const block = s.pending_blocknum;
  s.nblocks = asked;
  const rc = startReadBuffers(opOf(io), bufferSlot(s, index), block, nblocksPlace(s), flags);
  if (rc < 0 || rc == BLOCKED) {
    countForwarded(s, index, asked);
    if (rc < 0) return rc;
    noteBlocked(s, io);
    return CANNOT;
  }
  const taken = <u32>s.nblocks;
  assert(taken > 0 && taken <= asked);
  s.pinned_buffers += taken;
  if (rc == OK) shrinkDistance(s);
  else rememberIo(s, index, block);
  if (rc != OK && (flags & READ_BUFFERS_ISSUE_ADVICE) != 0) advise(s, opOf(io), taken);
  countForwarded(s, index + taken, asked - taken);
  moveOverflow(s, index + taken + s.forwarded_buffers);
  s.next_buffer_index = wrapped(index + taken, s.queue_size);
  s.pending_blocknum += taken;
  s.pending_nblocks -= taken;
  return STARTED;
}

/**
 * How many blocks of the pending read may be pinned now. With too few the stream looks less far;
 * with none it gives up for the moment, unless its reader would get nothing at all.
 */
function withinPins(s: ReadStream): u32 {
  const wanted = s.pending_nblocks;
  const more = s.temporary ? GetAdditionalLocalPinLimit() : GetAdditionalPinLimit();
  let limit = s.forwarded_buffers + more;
  if (limit == 0 && s.pinned_buffers == 0) limit = 1;
  assert(wanted > 0);
  if (wanted <= limit) return wanted;
  s.distance = min(s.distance, s.pinned_buffers + limit);
  return s.pinned_buffers > 0 ? 0 : limit;
}

/** An I/O under way on the buffers from `index` on, which begin with `block`. */
function rememberIo(s: ReadStream, index: u32, block: u32): void {
  assert(s.ios_in_progress < s.max_ios);
  const io = ioAt(s, s.next_io_index);
  io.buffer_index = index;
  io.was_blocked = 0;
  s.next_io_index = after(s.next_io_index, s.max_ios);
  s.ios_in_progress++;
  s.seq_blocknum = block + <u32>s.nblocks;
  s.reads++;
  s.read_blocks += s.nblocks;
  s.most_ios = max(s.most_ios, s.ios_in_progress);
}

/** Buffers that StartReadBuffers has pinned and left to the next call. */
function countForwarded(s: ReadStream, from: u32, most: u32): void {
  let count: u32 = 0;
  while (count < most && load<i32>(bufferSlot(s, from + count)) != InvalidBuffer) count++;
  assert(from + count < s.queue_size + s.io_combine_limit);
  s.forwarded_buffers = count;
}

/** What was written behind the end of the ring belongs to its beginning. */
function moveOverflow(s: ReadStream, end: u32): void {
  assert(end < s.queue_size + s.io_combine_limit);
  if (end <= s.queue_size) return;
  memory.copy(bufferSlot(s, 0), bufferSlot(s, s.queue_size), 4 * (end - s.queue_size));
}

/**
 * Whether the kernel is to be told of the pending read. Of a region that is read in sequence only
 * until its reads have come as far as where the advice began: from there on it sees for itself.
 */
function adviceFlag(s: ReadStream): u32 {
  if (!s.advice_enabled) return 0;
  assert(s.pending_nblocks > 0);
  if (s.pending_blocknum == s.seq_blocknum) {
    return s.seq_until_processed == InvalidBlockNumber ? 0 : READ_BUFFERS_ISSUE_ADVICE;
  }
  s.seq_until_processed = s.pending_blocknum;
  return s.pinned_buffers > 0 ? READ_BUFFERS_ISSUE_ADVICE : 0; // else it is read at once
}

/** Tells the kernel what will be read. A host that cannot is not asked again by this stream. */
function advise(s: ReadStream, op: ReadBuffersOperation, nblocks: u32): void {
  assert(nblocks > 0);
  const fd = segmentFor(changetype<usize>(op), op.blocknum, false);
  if (fd < 0) return; // the read itself will say so
  const offset = <u64>(op.blocknum % segment_size) * block_size;
  const rc = fd_advise(fd, offset, <u64>nblocks * block_size, ADVICE_WILLNEED);
  if (rc != 0) s.advice_enabled = 0;
}
/** WASI's number. */
const ADVICE_WILLNEED: u32 = 3;

/** A reader that must not wait would have had to: for the I/O the operation names, if any. */
function noteBlocked(s: ReadStream, io: InProgressIO): void {
  assert(no_wait != 0);
  const op = opOf(io);
  const from = changetype<usize>(op) + offsetof<ReadBuffersOperation>("io_wref");
  const to = changetype<usize>(s) + offsetof<ReadStream>("wait_ref");
  memory.copy(to, from, WREF_BYTES);
  s.blocked = load<u32>(from) == WREF_INVALID ? BLOCKED_ANY : BLOCKED_IO;
}

/**
 * An error of looking ahead: what is pinned is handed out before it is answered. That there is no
 * buffer is none while the reader has some to let go: it is tried again at the next call.
 */
function keepError(s: ReadStream, code: i32, supplied: bool): void {
  assert(code < 0);
  if (supplied && (code == E_NO_BUFFERS || code == E_NO_LOCAL_BUFFERS)) return;
  s.error_code = code;
  s.error_io = <i32>pgaio_error_detail(0);
  s.error_state = <u32>pgaio_error_detail(1);
  s.error_first = pgaio_error_detail(2);
  s.error_second = pgaio_error_detail(3);
  s.distance = 0;
  s.combine_distance = 0;
}
