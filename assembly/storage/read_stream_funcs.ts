/**
 * Read streams as their users see them: begin, where the blocks come from, next, pause and resume,
 * reset and end. What comes from outside is checked here; read_stream.ts does the work.
 */
import { my_procno } from "../aio/backend";
import { checkMayAct } from "../aio/check";
import { submitStaged } from "../aio/io";
import { IOMETHOD_SYNC, NONE, READ_BUFFERS_SYNCHRONOUSLY } from "../aio/types";
import { WREF_INVALID, pgaio_wref_check_done, pgaio_wref_wait } from "../aio/wait";
import {
  E_BAD_ADDRESS, E_BAD_BLOCKS, E_BAD_STREAM, E_STREAM_BUSY, E_STREAM_FLAGS, E_STREAM_MEMORY,
  E_STREAM_SOURCE, OK, fail,
} from "../errors";
import { isCallers } from "../shm/layout";
import {
  MAX_IO_CONCURRENCY, effective_io_concurrency, io_combine_limit, io_max_combine_limit, io_method,
  maintenance_io_concurrency,
} from "../shm/settings";
import {
  BLOCK_END, BLOCK_STARVED, SOURCE_CALLBACK, SOURCE_NONE, SOURCE_RANGE, SOURCE_RING, nextBlockOf,
} from "./block_source";
import { REL_REF_BYTES, REL_TEMP, RelFileRef } from "./buf";
import {
  GetAccessStrategyPinLimit, GetLocalPinLimit, GetPinLimit, ReleaseBuffer, checkFork,
} from "./buffer_funcs";
import { ReadBuffersOperation } from "./bufmgr";
import { checkStrategy } from "./freelist";
import {
  BLOCKED_IO, IN_PROGRESS_IO_BYTES, InvalidBlockNumber, READ_STREAM_BLOCKED, READ_STREAM_BYTES,
  READ_STREAM_FULL, READ_STREAM_MAGIC, READ_STREAM_MAINTENANCE, READ_STREAM_OUT_MAX,
  READ_STREAM_SEQUENTIAL, READ_STREAM_USE_BATCHING, READ_STREAM_WAIT_DRIVEN, ReadStream,
  bufferSlot, hasMoreAtHand, ioAt, nextBuffer, opOf, setNoWait,
} from "./read_stream";

const FLAGS: u32 = READ_STREAM_MAINTENANCE | READ_STREAM_SEQUENTIAL | READ_STREAM_FULL
  | READ_STREAM_USE_BATCHING | READ_STREAM_WAIT_DRIVEN;
const PG_INT16_MAX: u32 = 32767;
const PER_BUFFER_DATA_MAX: u32 = 4096;
const RING_MAX: u32 = 65536;
/** Bytes of one buffer handed out: its number, and the address of its data. */
const OUT_BYTES: u32 = 8;

// What a stream to be begun comes to, left by `measure`.
let max_ios: u32 = 0;
let combine: u32 = 0;
let max_pinned: u32 = 0;

/** I/Os at once: as asked, or by the settings (get_tablespace_io_concurrency and its twin). */
function concurrency(flags: u32, asked: i32): u32 {
  assert(asked <= MAX_IO_CONCURRENCY);
  if (asked >= 0) return asked;
  return (flags & READ_STREAM_MAINTENANCE) != 0
    ? maintenance_io_concurrency : effective_io_concurrency;
}

/** Frozen when a stream is begun: I/Os, blocks per I/O, pins. */
function measure(flags: u32, strategy: u32, temporary: bool, asked: i32): void {
  max_ios = concurrency(flags, asked);
  combine = min(io_combine_limit, io_max_combine_limit);
  assert(combine > 0);
  const overflow = combine - 1;
  max_pinned = min((max_ios + 1) * combine, PG_INT16_MAX - overflow - 1);
  max_pinned = min<u32>(max_pinned, GetAccessStrategyPinLimit(strategy));
  max_pinned = min<u32>(max_pinned, temporary ? GetLocalPinLimit() : GetPinLimit());
  // It can be none where there are few buffers and many backends; one is needed to get on.
  max_pinned = max(max_pinned, 1);
}

// Where the parts lie behind the head; each offset follows from the one before.
@inline function aligned(bytes: u32): u32 { return (bytes + 7) & ~7; }
@inline function iosOffset(): u32 {
  return READ_STREAM_BYTES + aligned(4 * (max_pinned + 1 + combine - 1));
}
@inline function dataOffset(): u32 {
  return iosOffset() + max<u32>(max_ios, 1) * IN_PROGRESS_IO_BYTES;
}
@inline function ringOffset(data_size: u32): u32 {
  return dataOffset() + aligned((max_pinned + 1) * data_size);
}

/** Whether the numbers a stream is begun with are in range. */
function checkShape(flags: u32, asked: i32, data_size: u32, ring_size: u32): i32 {
  if ((flags & ~FLAGS) != 0) return fail(E_STREAM_FLAGS, NONE, 0, flags);
  assert(my_procno != NONE);
  const ring = ring_size == 0 || (popcnt(ring_size) == 1 && ring_size <= RING_MAX);
  const fits = asked >= -1 && asked <= MAX_IO_CONCURRENCY && data_size <= PER_BUFFER_DATA_MAX
    && data_size % 4 == 0 && ring;
  return fits ? OK : fail(E_STREAM_FLAGS, NONE, 0, asked, ring ? data_size : ring_size);
}

/**
 * Bytes of memory a stream needs, for read_stream_begin_relation with the same arguments. It
 * follows from the settings of the moment.
 */
export function read_stream_size(flags: u32, strategy: u32, temporary: u32, asked: i32,
  data_size: u32, ring_size: u32): f64 {
  let rc = checkMayAct();
  if (rc < 0) return <f64>rc;
  rc = checkShape(flags, asked, data_size, ring_size);
  if (rc < 0) return <f64>rc;
  rc = checkStrategy(strategy);
  if (rc < 0) return <f64>rc;
  assert(data_size % 4 == 0);
  measure(flags, strategy, temporary != 0, asked);
  return <f64>(ringOffset(data_size) + 4 * ring_size);
}

/**
 * Begins a stream over the relation fork of the RelFileRef at `rel`, in the `bytes` of callers'
 * memory at `at`, 8-aligned, which are its own until read_stream_end. `strategy`: BAS_*, `asked`:
 * I/Os at once (0 reads synchronously), -1 for the setting. `data_size`: bytes of data per buffer.
 * `ring_size`: block numbers it can be fed ahead (a power of two), 0 if it is not fed. Give it a
 * source then: read_stream_set_range, read_stream_set_callback, or read_stream_feed.
 */
export function read_stream_begin_relation(at: u32, bytes: u32, flags: u32, strategy: u32, rel: u32,
  asked: i32, data_size: u32, ring_size: u32): i32 {
  let rc = checkMayAct();
  if (rc < 0) return rc;
  rc = checkShape(flags, asked, data_size, ring_size);
  if (rc < 0) return rc;
  if ((at & 7) != 0 || !isCallers(at, bytes)) return fail(E_BAD_ADDRESS, NONE, 0, at, bytes);
  rc = checkFork(rel);
  if (rc < 0) return rc;
  rc = checkStrategy(strategy);
  if (rc < 0) return rc;
  const temporary = (changetype<RelFileRef>(rel).bits & REL_TEMP) != 0;
  measure(flags, strategy, temporary, asked);
  const needed = ringOffset(data_size) + 4 * ring_size;
  if (bytes < needed) return fail(E_STREAM_MEMORY, NONE, 0, bytes, needed);
  memory.fill(at, 0, needed);
  const s = changetype<ReadStream>(at);
  assert(s.magic == 0);
  s.flags = flags;
  s.temporary = <u32>temporary;
  s.per_buffer_data_size = data_size;
  s.ring_size = ring_size;
  s.source = ring_size > 0 ? SOURCE_RING : SOURCE_NONE;
  place(s);
  for (let i: u32 = 0; i < s.max_ios; i++) {
    const op = opOf(ioAt(s, i));
    memory.copy(changetype<usize>(op), rel, REL_REF_BYTES);
    op.strategy = strategy;
    op.io_wref = WREF_INVALID;
  }
  s.self = at;
  s.procno = my_procno;
  s.magic = READ_STREAM_MAGIC;
  return OK;
}

/** Fills in what `measure` left, and the state a stream begins with. */
function place(s: ReadStream): void {
  assert(max_pinned > 0);
  const at = <u32>changetype<usize>(s);
  s.buffers = at + READ_STREAM_BYTES;
  s.ios = at + iosOffset();
  s.per_buffer_data = at + dataOffset();
  s.ring = at + ringOffset(s.per_buffer_data_size);
  s.queue_size = max_pinned + 1;
  s.max_pinned_buffers = max_pinned;
  s.io_combine_limit = combine;
  s.max_ios = max<u32>(max_ios, 1);
  if (max_ios == 0) s.read_buffers_flags = READ_BUFFERS_SYNCHRONOUSLY;
  const sequential = (s.flags & READ_STREAM_SEQUENTIAL) != 0;
  s.advice_enabled = <u32>(io_method == IOMETHOD_SYNC && !sequential && max_ios > 0);
  const full = (s.flags & READ_STREAM_FULL) != 0;
  start(s, full ? min(max_pinned, combine) : 1);
}

/** Nothing in hand, looking `distance` blocks ahead. */
function start(s: ReadStream, distance: u32): void {
  assert(s.ios_in_progress == 0);
  assert(s.pinned_buffers == 0);
  s.distance = distance;
  s.combine_distance = distance;
  s.resume_distance = distance;
  s.resume_combine = distance;
  s.decay_holdoff = 0;
  s.buffered_blocknum = InvalidBlockNumber;
  s.seq_blocknum = InvalidBlockNumber;
  s.seq_until_processed = InvalidBlockNumber;
  s.oldest_io_index = 0;
  s.next_io_index = 0;
  s.oldest_buffer_index = 0;
  s.next_buffer_index = 0;
  s.fast_path = 0;
  s.failed = 0;
  s.error_code = 0;
}

/** A stream of this backend that is not at work: its callback may only pause it. */
function check(at: u32): i32 {
  const rc = checkMayAct();
  if (rc < 0) return rc;
  if (!isStream(at)) return fail(E_BAD_STREAM, NONE, 0, at);
  assert(changetype<ReadStream>(at).max_ios > 0);
  return changetype<ReadStream>(at).busy == 0 ? OK : fail(E_STREAM_BUSY, NONE, 0, at);
}
function isStream(at: u32): bool {
  if ((at & 7) != 0 || !isCallers(at, READ_STREAM_BYTES)) return false;
  const s = changetype<ReadStream>(at);
  assert(my_procno != NONE);
  return s.magic == READ_STREAM_MAGIC && s.self == at && s.procno == my_procno;
}

/** From now on the stream's blocks are `from` up to, not including, `to`. */
export function read_stream_set_range(at: u32, from: u32, to: u32): i32 {
  const rc = check(at);
  if (rc < 0) return rc;
  if (from > to) return fail(E_BAD_BLOCKS, NONE, 0, from, to);
  assert(changetype<ReadStream>(at).busy == 0);
  const s = changetype<ReadStream>(at);
  s.source = SOURCE_RANGE;
  s.range_next = from;
  s.range_end = to;
  return OK;
}

/** From now on the host's function is asked for each block: callback phase PGAIO_CB_NEXT_BLOCK. */
export function read_stream_set_callback(at: u32): i32 {
  const rc = check(at);
  if (rc < 0) return rc;
  assert(changetype<ReadStream>(at).busy == 0);
  changetype<ReadStream>(at).source = SOURCE_CALLBACK;
  return OK;
}

/** Feeds `count` block numbers, u32 each, of callers' memory. How many there was room for. */
export function read_stream_feed(at: u32, blocks: u32, count: u32): i32 {
  const rc = check(at);
  if (rc < 0) return rc;
  const s = changetype<ReadStream>(at);
  if (s.source != SOURCE_RING || s.ring_closed == 1) return fail(E_STREAM_SOURCE, NONE, 0, at);
  if ((blocks & 3) != 0 || count > RING_MAX || !isCallers(blocks, 4 * count)) {
    return fail(E_BAD_ADDRESS, NONE, 0, blocks, 4 * <f64>count);
  }
  assert(s.ring_size > 0);
  const taken = min(count, s.ring_size - (s.ring_tail - s.ring_head));
  for (let i: u32 = 0; i < taken; i++) {
    const block = load<u32>(blocks + 4 * i);
    if (block == InvalidBlockNumber) return fail(E_BAD_BLOCKS, NONE, 0, block, i);
  }
  for (let i: u32 = 0; i < taken; i++) {
    store<u32>(s.ring + 4 * ((s.ring_tail + i) % s.ring_size), load<u32>(blocks + 4 * i));
  }
  s.ring_tail += taken;
  return taken;
}

/** Nothing more will be fed: the stream ends with what it has. */
export function read_stream_feed_end(at: u32): i32 {
  const rc = check(at);
  if (rc < 0) return rc;
  const s = changetype<ReadStream>(at);
  if (s.source != SOURCE_RING) return fail(E_STREAM_SOURCE, NONE, 0, at);
  assert(s.ring_size > 0);
  s.ring_closed = 1;
  return OK;
}

/**
 * Hands out the next buffer, pinned: its number and the address of its data (valid until the next
 * call) at `out`, 8 bytes of callers' memory. 1, or 0 at the end of the stream. With `nowait`
 * READ_STREAM_BLOCKED instead of waiting; READ_STREAM_STARVED if it has to be fed first.
 */
export function read_stream_next_buffer(at: u32, out: u32, nowait: u32): i32 {
  return read_stream_next_buffers(at, out, 1, nowait);
}

/**
 * The same for up to `count` buffers: the first as above, more as far as they are there already and
 * others are left the pins they need. How many.
 */
export function read_stream_next_buffers(at: u32, out: u32, count: u32, nowait: u32): i32 {
  let rc = check(at);
  if (rc < 0) return rc;
  const fits = count > 0 && count <= READ_STREAM_OUT_MAX && (out & 3) == 0;
  if (!fits || !isCallers(out, OUT_BYTES * count)) {
    return fail(E_BAD_ADDRESS, NONE, 0, out, OUT_BYTES * <f64>count);
  }
  const s = changetype<ReadStream>(at);
  s.busy = 1;
  setNoWait(nowait != 0);
  let given: u32 = 0;
  do {
    rc = nextBuffer(s, out + OUT_BYTES * given);
    if (rc == 1) given++;
  } while (rc == 1 && given < count && hasMoreAtHand(s));
  s.busy = 0;
  assert(rc == 1 || given == 0, "what is at hand is handed out");
  return given > 0 ? <i32>given : rc;
}

/** Gives back the pins of buffers handed out; a number of 0 is passed over, and left behind. */
export function ReleaseBuffers(out: u32, count: u32): i32 {
  const rc = checkMayAct();
  if (rc < 0) return rc;
  if ((out & 3) != 0 || count > READ_STREAM_OUT_MAX || !isCallers(out, OUT_BYTES * count)) {
    return fail(E_BAD_ADDRESS, NONE, 0, out, OUT_BYTES * <f64>count);
  }
  assert(count <= READ_STREAM_OUT_MAX);
  let failed: i32 = OK;
  for (let i: u32 = 0; i < count; i++) {
    const place = out + OUT_BYTES * i;
    const buffer = load<i32>(place);
    if (buffer == 0) continue;
    const released = ReleaseBuffer(buffer);
    if (released < 0) failed = released; // it is locked: the place keeps its number
    else store<i32>(place, 0);
  }
  return failed;
}

/**
 * The next block, taken from the source without being read. 4294967295 (InvalidBlockNumber) at the
 * end, 4294967296 if it has to be fed first.
 */
export function read_stream_next_block(at: u32): f64 {
  const rc = check(at);
  if (rc < 0) return <f64>rc;
  const s = changetype<ReadStream>(at);
  s.busy = 1;
  const block = nextBlockOf(s, 0);
  assert(s.busy == 1);
  s.busy = 0;
  if (block == BLOCK_STARVED) return <f64>InvalidBlockNumber + 1;
  return block == BLOCK_END ? <f64>InvalidBlockNumber : <f64>block;
}

/**
 * Makes the stream end here until read_stream_resume, also from within its callback, which then
 * answers InvalidBlockNumber. What it has read ahead is still handed out.
 */
export function read_stream_pause(at: u32): i32 {
  if (!isStream(at)) return fail(E_BAD_STREAM, NONE, 0, at);
  const s = changetype<ReadStream>(at);
  assert(s.max_ios > 0);
  if (s.distance == 0) return OK; // it is paused, or at its end
  s.resume_distance = s.distance;
  s.resume_combine = s.combine_distance;
  s.distance = 0;
  s.combine_distance = 0;
  return OK;
}

/** Goes on after a pause, or after an end, looking as far ahead as it did. */
export function read_stream_resume(at: u32): i32 {
  const rc = check(at);
  if (rc < 0) return rc;
  const s = changetype<ReadStream>(at);
  assert(s.max_ios > 0);
  if (s.distance > 0 || s.failed || s.error_code != 0) return OK;
  s.distance = s.resume_distance;
  s.combine_distance = s.resume_combine;
  return OK;
}

/**
 * Lets go of all that was read ahead and makes the stream as new, but for its source. Waits for its
 * I/O, unless `nowait`: then READ_STREAM_BLOCKED, and it has to be called again.
 */
export function read_stream_reset(at: u32, nowait: u32): i32 {
  let rc = check(at);
  if (rc < 0) return rc;
  const s = changetype<ReadStream>(at);
  rc = drain(s, nowait != 0);
  if (rc == OK) start(s, 1);
  assert(rc <= READ_STREAM_BLOCKED);
  return rc;
}

/** Ends the stream as reset does; its memory is the caller's again when the answer is 0. */
export function read_stream_end(at: u32, nowait: u32): i32 {
  let rc = check(at);
  if (rc < 0) return rc;
  const s = changetype<ReadStream>(at);
  rc = drain(s, nowait != 0);
  if (rc == OK) s.magic = 0;
  assert(rc <= READ_STREAM_BLOCKED);
  return rc;
}

/**
 * Waits for the I/Os, whose results must not find the memory in other use, then lets go of all
 * pins. Unlike PostgreSQL it does not read again what came short: nobody wants it.
 */
function drain(s: ReadStream, nowait: bool): i32 {
  s.failed = 1; // until the end: nothing more is handed out
  s.fast_path = 0;
  while (s.ios_in_progress > 0) { // each round ends one
    const rc = letEnd(s, opOf(ioAt(s, s.oldest_io_index)), nowait);
    if (rc != OK) return rc;
    s.ios_in_progress--;
    s.oldest_io_index = s.oldest_io_index + 1 == s.max_ios ? 0 : s.oldest_io_index + 1;
  }
  let index = s.oldest_buffer_index;
  for (; s.pinned_buffers > 0; s.pinned_buffers--) {
    letGo(s, index);
    index = index + 1 == s.queue_size ? 0 : index + 1;
  }
  assert(index == s.next_buffer_index);
  for (; s.forwarded_buffers > 0; s.forwarded_buffers--) letGo(s, index++); // they do not wrap
  s.pending_nblocks = 0;
  memory.fill(s.buffers, 0, 4 * (s.queue_size + s.io_combine_limit - 1));
  return OK;
}
function letGo(s: ReadStream, index: u32): void {
  const rc = ReleaseBuffer(load<i32>(bufferSlot(s, index)));
  assert(rc == OK, "the stream's own pin");
}

/** Waits until an I/O of this backend is over; another's does not write into this stream. */
function letEnd(s: ReadStream, op: ReadBuffersOperation, nowait: bool): i32 {
  const wref = changetype<usize>(op) + offsetof<ReadBuffersOperation>("io_wref");
  assert(wref != 0);
  if (load<u32>(wref) == WREF_INVALID || op.foreign_io) return OK;
  if (pgaio_wref_check_done(<u32>wref) == 1) return OK;
  const rc = submitStaged();
  if (rc < 0) return rc;
  if (!nowait) return pgaio_wref_wait(<u32>wref);
  if (pgaio_wref_check_done(<u32>wref) == 1) return OK;
  memory.copy(changetype<usize>(s) + offsetof<ReadStream>("wait_ref"), wref, 12);
  s.blocked = BLOCKED_IO;
  return READ_STREAM_BLOCKED;
}
