// @layout
/**
 * Method IO_URING: the kernel executes (method_io_uring.c of PostgreSQL's development version).
 * Each backend has a ring of its own to submit to; its completions may be dealt with by any thread,
 * so that a waiter never depends on the issuer.
 *
 * The entries are the kernel's own, in linear memory. What lies between them and the kernel is the
 * host's: with rings `checked` it copies each entry and looks at it, with rings `shared` the kernel
 * reads and writes the linear memory itself. The core sees the same in both cases: entries to fill
 * in, a tail that somebody moves, completions up to it.
 *
 * Completions are dealt with under the ring's lock, but nobody holds it in the kernel, unlike
 * PostgreSQL's waiters. One thread at a time waits there; it has said up to where it has seen the
 * completions, and while it waits one that was dealt with stays visible to the kernel, so that a
 * wait that began too late ends at once. Other waiters sleep until completions were dealt with, or
 * that thread is back.
 */
import { E_URING_SETUP, E_URING_WAIT, OK, fail } from "../errors";
import { PgAioPlace, my_backend, my_place, my_procno, my_thread } from "../aio/backend";
import { PgAioHandle, stateOf } from "../aio/handle";
import {
  uring_enter, uring_leave, uring_reap, uring_setup, uring_taken, uring_wait,
} from "../aio/host";
import { onlyOwnerCompletes } from "../aio/callback";
import { leaveToOwner, performSynchronously, prepareSubmit, processCompletion } from "../aio/io";
import {
  ALL_ENDED, EAGAIN, EBADF, EBUSY, EINTR, EIO, NONE, PGAIO_HF_BUFFERED, PGAIO_HS_SUBMITTED,
  PGAIO_OP_FDATASYNC, PGAIO_OP_FLUSH_RANGE, PGAIO_OP_FSYNC, PGAIO_OP_READV, PGAIO_OP_WRITEV,
  PGAIO_SUBMIT_BATCH_SIZE,
} from "../aio/types";
import { generationOf } from "../aio/wait";
import {
  fetchAdd32, futexWait, futexWake, loadAcquire32, storeRelease32,
} from "../shm/atomics";
import {
  buffers_at, frames_at, handleAt, handleId, handle_count, iovecsOf, uringCqEntries,
  uringMemoryBytes, uringRingsBytes, uring_contexts_at, uring_memory_at,
} from "../shm/layout";
import {
  lockBreak, lockHolder, lockPatiently, lockRelease, lockSpin,
} from "../shm/lock";
import {
  FIXED_FRAMES, FIXED_NOTHING, block_size, fixed_buffers, io_frames, io_max_combine_limit,
  max_backends, ring, shared_buffers, withoutFixedBuffers,
} from "../shm/settings";
import {
  IOVEC_BYTES, KERNEL_IOVEC_BYTES, URING_CONTEXT_BYTES, URING_SQES_BYTES,
} from "../shm/sizes";
import { executeUndertaken, undertake } from "./worker";

/** A backend's ring. `cursor` and `leader` are also known to the host, which writes the latter. */
@unmanaged export class PgAioUringContext {
  lock: u32; //           0  lock.ts, held while completions are dealt with
  ring: u32; //           4  the host's number of the ring, and one; 0 while there is none
  cursor: u32; //         8  completions dealt with, wraps
  leader: u32; //        12  1 while a thread waits in the kernel
  progress: u32; //      16  futex word: raised when completions were dealt with
  sleepers: u32; //      20  threads that sleep on `progress`
  submitted: u32; //     24  number of the next submission, wraps
  strays: u32; //        28  completions that belong to no I/O in flight
  retries: u32; //       32  submissions the kernel was too busy for, and which were made again
  fallbacks: u32; //     36  I/Os executed by the issuer because the kernel would not take them
  // What the host says of the ring, in this order; addresses in linear memory.
  base: u64; //          40  where the linear memory lies in the process
  sq_head: u32; //       48  0 with rings `checked`, as the next two
  sq_tail: u32; //       52
  sq_flags: u32; //      56
  cq_head: u32; //       60
  cq_tail: u32; //       64
  cq_entries: u32; //    68
  cqes: u32; //          72
  fixed_bytes: u32; //   76  registered with the kernel, from the page frames on; 0 nothing
}
if (offsetof<PgAioUringContext>() > URING_CONTEXT_BYTES) {
  ERROR("PgAioUringContext outgrew its place");
}

// Operations and flags of linux/io_uring.h.
const IORING_OP_READV: u8 = 1;
const IORING_OP_WRITEV: u8 = 2;
const IORING_OP_FSYNC: u8 = 3;
const IORING_OP_READ_FIXED: u8 = 4;
const IORING_OP_WRITE_FIXED: u8 = 5;
const IORING_OP_SYNC_FILE_RANGE: u8 = 8;
const IORING_OP_READ: u8 = 22;
const IORING_OP_WRITE: u8 = 23;
const IOSQE_ASYNC: u8 = 16;
const IORING_FSYNC_DATASYNC: u32 = 1;
const SYNC_FILE_RANGE_WRITE: u32 = 2;
const IORING_SQ_CQ_OVERFLOW: u32 = 2;
const SQE_BYTES: u32 = 64;
const CQE_BYTES: u32 = 16;
/** The entry's number is its place: as many as are submitted at once. */
const SQ_MASK: u32 = PGAIO_SUBMIT_BATCH_SIZE - 1;

@inline function contextOf(procno: u32): PgAioUringContext {
  return changetype<PgAioUringContext>(uring_contexts_at + <usize>procno * URING_CONTEXT_BYTES);
}
@inline function word(context: PgAioUringContext, offset: usize): usize {
  return changetype<usize>(context) + offset;
}
@inline function lockOf(context: PgAioUringContext): usize {
  return word(context, offsetof<PgAioUringContext>("lock"));
}
@inline function progressOf(context: PgAioUringContext): usize {
  return word(context, offsetof<PgAioUringContext>("progress"));
}
@inline function number(context: PgAioUringContext): u32 { return context.ring - 1; }
@inline function isSharedRing(context: PgAioUringContext): bool { return context.sq_tail != 0; }

// A backend's memory for its ring: the rings, the submissions, the kernel's iovecs.
@inline function ringsAt(procno: u32): usize {
  return uring_memory_at + <usize>procno * uringMemoryBytes();
}
@inline function sqesAt(procno: u32): usize { return ringsAt(procno) + uringRingsBytes(); }
@inline function kernelIovecsAt(procno: u32): usize { return sqesAt(procno) + URING_SQES_BYTES; }

/**
 * Makes the ring of this backend, or goes on with that of the slot's last owner, all of whose I/O
 * has ended and been dealt with.
 */
export function uringInitBackend(): i32 {
  assert(my_procno != NONE);
  const context = contextOf(my_procno);
  const cursor = word(context, offsetof<PgAioUringContext>("cursor"));
  const rc = uring_setup(uringCqEntries(), ring, ringsAt(my_procno), uringRingsBytes(),
    sqesAt(my_procno), cursor, word(context, offsetof<PgAioUringContext>("leader")),
    frames_at, fixedBytes(), word(context, offsetof<PgAioUringContext>("base")));
  if (rc < 0) return fail(E_URING_SETUP, NONE, 0, -rc);
  if (context.fixed_bytes == 0) withoutFixedBuffers();
  // Its owner may have ended between what the kernel took and what it noted of it.
  storeRelease32(cursor, uring_taken(rc));
  if (isSharedRing(context)) {
    context.submitted = loadAcquire32(context.sq_head);
    storeRelease32(context.sq_tail, context.submitted);
  }
  context.strays = 0;
  context.retries = 0;
  context.fallbacks = 0;
  context.ring = rc + 1;
  return OK;
}

/**
 * What is registered with a ring: page frames, or all pages. The pool's follow the frames, with
 * those that are written between them.
 */
function fixedBytes(): u32 {
  assert(frames_at <= buffers_at);
  if (fixed_buffers == FIXED_NOTHING) return 0;
  if (fixed_buffers == FIXED_FRAMES) return io_frames * block_size;
  return <u32>(buffers_at - frames_at) + shared_buffers * block_size;
}

/** The next owner of the slot goes on with its ring; nothing of this one is in flight any more. */
export function uringLeave(procno: u32): void {
  assert(procno < max_backends);
  const context = contextOf(procno);
  if (context.ring == 0) return;
  const old = number(context);
  context.ring = 0;
  uring_leave(old);
}

// Submitting: the owner only.

/** Hands all of them to the kernel; what it will not take is executed here. */
export function uringSubmit(count: u32, ids: usize): i32 {
  assert(count <= PGAIO_SUBMIT_BATCH_SIZE);
  const context = contextOf(my_procno);
  const first = context.submitted;
  for (let i: u32 = 0; i < count; i++) {
    const ioh = handleAt(idAt(ids, i));
    prepareSubmit(ioh);
    fillEntry(context, first + i, ioh);
  }
  if (isSharedRing(context)) storeRelease32(context.sq_tail, first + count);
  const taken = enter(context, first, count);
  context.submitted = first + taken;
  if (taken == count) return count;
  if (isSharedRing(context)) storeRelease32(context.sq_tail, first + taken); // taken back
  for (let i = taken; i < count; i++) {
    context.fallbacks++;
    my_backend.synchronous++;
    performSynchronously(handleAt(idAt(ids, i)), handleAt(idAt(ids, i)).fd);
  }
  return count;
}
@inline function idAt(ids: usize, index: u32): u32 { return load<u32>(ids + 4 * <usize>index); }

/** How often a kernel that is short of memory, or has completions to get rid of, is asked again. */
const BUSY_ROUNDS: u32 = 100;

/** Makes the system call, again while the kernel takes some. How many it has taken. */
function enter(context: PgAioUringContext, first: u32, count: u32): u32 {
  let taken: u32 = 0;
  let busy: u32 = 0;
  while (taken < count) { // each round takes some, is one of BUSY_ROUNDS, or is a signal
    const rc = uring_enter(number(context), first + taken, count - taken);
    if (rc > 0) {
      assert(<u32>rc <= count - taken);
      taken += rc;
      continue;
    }
    if (rc == -EINTR) continue;
    if ((rc != -EAGAIN && rc != -EBUSY) || busy == BUSY_ROUNDS) return taken;
    busy++;
    context.retries++;
    if (!lockSpin(lockOf(context))) continue;
    drain(context);
    lockRelease(lockOf(context));
  }
  return taken;
}

/** A submission entry as the kernel reads it, for handle `ioh`. */
function fillEntry(context: PgAioUringContext, entry: u32, ioh: PgAioHandle): void {
  const place = entry & SQ_MASK;
  const at = sqesAt(my_procno) + <usize>place * SQE_BYTES;
  memory.fill(at, 0, SQE_BYTES);
  store<i32>(at, ioh.fd, 4);
  store<u64>(at, ioh.offset, 8);
  store<u64>(at, (ioh.generation << 32) | handleId(ioh), 32);
  const op = <u32>ioh.op;
  if (op == PGAIO_OP_READV || op == PGAIO_OP_WRITEV) {
    fillTransfer(context, at, place, ioh);
    return;
  }
  assert(op >= PGAIO_OP_FSYNC && op <= PGAIO_OP_FLUSH_RANGE);
  if (op == PGAIO_OP_FLUSH_RANGE) {
    store<u8>(at, IORING_OP_SYNC_FILE_RANGE);
    store<u32>(at, ioh.length, 24);
    store<u32>(at, SYNC_FILE_RANGE_WRITE, 28);
    return;
  }
  store<u8>(at, IORING_OP_FSYNC);
  store<u64>(at, 0, 8);
  if (op == PGAIO_OP_FDATASYNC) store<u32>(at, IORING_FSYNC_DATASYNC, 28);
}

function fillTransfer(context: PgAioUringContext, at: usize, place: u32, ioh: PgAioHandle): void {
  const reads = ioh.op == <u8>PGAIO_OP_READV;
  const iovecs = kernelIovecsAt(my_procno)
    + <usize>place * io_max_combine_limit * KERNEL_IOVEC_BYTES;
  const count = joinIovecs(ioh, iovecs, context.base);
  assert(count > 0);
  if (count == 1) {
    const address = load<u64>(iovecs);
    const length = load<u32>(iovecs, 8);
    const buffer = fixedBuffer(context, <u32>(address - context.base), length);
    if (buffer == NONE) {
      store<u8>(at, reads ? IORING_OP_READ : IORING_OP_WRITE);
    } else {
      store<u8>(at, reads ? IORING_OP_READ_FIXED : IORING_OP_WRITE_FIXED);
      store<u16>(at, <u16>buffer, 40);
    }
    store<u64>(at, address, 16);
    store<u32>(at, length, 24);
  } else {
    store<u8>(at, reads ? IORING_OP_READV : IORING_OP_WRITEV);
    store<u64>(at, context.base + <u64>iovecs, 16);
    store<u32>(at, count, 24);
  }
  if (reads && wantsThread(ioh)) store<u8>(at, IOSQE_ASYNC, 1);
}

/** Buffers are registered in pieces of 2^30 bytes, longer ones the kernel does not take. */
const FIXED_BUFFER_SHIFT: u32 = 30;

/** Number of the registered buffer in which all of [at, at + length) lies, or NONE. */
function fixedBuffer(context: PgAioUringContext, at: u32, length: u32): i32 {
  assert(length > 0);
  const from = at - <u32>frames_at; // what lies below wraps, and is beyond the end
  if (from >= context.fixed_bytes || length > context.fixed_bytes - from) return NONE;
  const buffer = from >> FIXED_BUFFER_SHIFT;
  return (from + length - 1) >> FIXED_BUFFER_SHIFT == buffer ? buffer : NONE;
}

/** The kernel's iovecs for a handle's, neighbours joined: of pages in a row one is left. */
function joinIovecs(ioh: PgAioHandle, to: usize, base: u64): u32 {
  assert(ioh.iov_length > 0);
  let from = iovecsOf(ioh);
  let start = load<u32>(from);
  let end = start + load<u32>(from, 4);
  let count: u32 = 0;
  for (let i: u32 = 1; i < ioh.iov_length; i++) {
    from += IOVEC_BYTES;
    if (load<u32>(from) != end) {
      storeIovec(to + count * KERNEL_IOVEC_BYTES, base + start, end - start);
      count++;
      start = load<u32>(from);
      end = start;
    }
    end += load<u32>(from, 4);
  }
  storeIovec(to + count * KERNEL_IOVEC_BYTES, base + start, end - start);
  return count + 1;
}
@inline function storeIovec(at: usize, base: u64, length: u32): void {
  assert((at & 7) == 0);
  store<u64>(at, base);
  store<u64>(at, length, 8);
}

/**
 * Whether a buffered read is handed to a thread of the kernel's at once: the copy from the page
 * cache would else be made inside the system call, one after the other. As PostgreSQL's development
 * version decides it: large ones, and those that are not alone.
 */
function wantsThread(ioh: PgAioHandle): bool {
  if ((ioh.flags & PGAIO_HF_BUFFERED) == 0) return false;
  assert(my_backend.in_flight_count > 0);
  return my_backend.in_flight_count > MANY_IN_FLIGHT || ioh.length >= LARGE_BLOCKS * block_size;
}
const MANY_IN_FLIGHT: u32 = 4;
const LARGE_BLOCKS: u32 = 4;

// Completing: anybody, under the ring's lock.

/** Deals with the completions there are, at most `most`. How many. */
function drain(context: PgAioUringContext, most: u32 = ALL_ENDED): u32 {
  assert(lockHolder(lockOf(context)) == my_thread);
  if (context.ring == 0) return 0;
  const cursor = word(context, offsetof<PgAioUringContext>("cursor"));
  const begun = loadAcquire32(cursor);
  if (!isSharedRing(context)) {
    if (loadAcquire32(context.cq_tail) - begun < most) uring_reap(number(context));
  } else if ((loadAcquire32(context.sq_flags) & IORING_SQ_CQ_OVERFLOW) != 0) {
    uring_wait(number(context), begun, 0); // brings along what the ring had no room for
  }
  const there = min(min(loadAcquire32(context.cq_tail) - begun, context.cq_entries), most);
  for (let i: u32 = 0; i < there; i++) {
    const cqe = context.cqes + ((begun + i) & (context.cq_entries - 1)) * CQE_BYTES;
    complete(context, load<u64>(cqe), load<i32>(cqe, 8));
    storeRelease32(cursor, begun + i + 1); // after it: a successor finds that it is done
  }
  giveBack(context, begun + there);
  if (there > 0) announceProgress(context);
  return there;
}

/** The places of what was dealt with are the kernel's again, but for one while somebody waits. */
function giveBack(context: PgAioUringContext, cursor: u32): void {
  assert(context.cq_head != 0);
  const leader = loadAcquire32(word(context, offsetof<PgAioUringContext>("leader")));
  const before = loadAcquire32(context.cq_head);
  const head = leader != 0 && isSharedRing(context) && before != cursor ? cursor - 1 : cursor;
  if (before != head) storeRelease32(context.cq_head, head);
}

/** One completion: handle and generation as they were submitted, bytes or -errno. */
function complete(context: PgAioUringContext, user_data: u64, result: i32): void {
  assert(lockHolder(lockOf(context)) == my_thread);
  const id = <u32>user_data;
  if (id >= handle_count) {
    context.strays++;
    return;
  }
  const ioh = handleAt(id);
  const generation = generationOf(ioh);
  if (<u32>generation != <u32>(user_data >> 32) || stateOf(ioh) != PGAIO_HS_SUBMITTED) {
    context.strays++;
    return;
  }
  const most = <u32>ioh.op > PGAIO_OP_WRITEV ? 0 : <i32>ioh.length;
  const raw = result < -4095 ? -EIO : min(result, most);
  if (ioh.owner_procno != my_procno && onlyOwnerCompletes(ioh)) {
    leaveToOwner(ioh, raw);
    return;
  }
  undertake(id, generation); // should this thread end in the callbacks, they are run again
  processCompletion(ioh, raw, 0);
  my_place.io = NONE;
}

function announceProgress(context: PgAioUringContext): void {
  assert(uring_contexts_at != 0);
  fetchAdd32(progressOf(context), 1);
  const sleepers = loadAcquire32(word(context, offsetof<PgAioUringContext>("sleepers")));
  if (sleepers != 0) futexWake(progressOf(context), -1);
}

/** Deals with completions of `procno`, unless another thread is at it. How many. */
export function uringPoll(procno: u32, most: u32): u32 {
  assert(procno < max_backends);
  const context = contextOf(procno);
  if (context.ring == 0 || !lockSpin(lockOf(context))) return 0;
  const there = drain(context, most);
  lockRelease(lockOf(context));
  return there;
}

/**
 * Finishes what a thread that has ended was completing, as noted in its place. Under the ring's
 * lock: else somebody who reads the same completion again might be at it, too. False if another
 * thread has that for long, itself dead perhaps.
 */
export function uringTakeOver(dead: PgAioPlace): bool {
  if (dead.io == NONE) return true;
  assert(my_place.io == NONE);
  const ioh = handleAt(dead.io);
  const context = contextOf(ioh.owner_procno);
  if (!lockPatiently(lockOf(context))) return false;
  if (stateOf(ioh) != PGAIO_HS_SUBMITTED) { // else its completion is still there
    undertake(dead.io, dead.generation);
    executeUndertaken();
  }
  dead.io = NONE;
  lockRelease(lockOf(context));
  return true;
}

/**
 * Whether the kernel has I/O of a slot whose owner is gone, or nobody can say. Deals with what has
 * ended.
 */
export function uringHas(procno: u32): bool {
  assert(procno < max_backends);
  const context = contextOf(procno);
  if (context.ring == 0) return false;
  if (!lockPatiently(lockOf(context))) return true;
  drain(context);
  const has = uring_taken(number(context)) != <i32>context.cursor;
  lockRelease(lockOf(context));
  return has;
}

/** Thread `thread` has ended: the locks it held while it dealt with completions are free. */
export function uringForgetThread(thread: u32): void {
  assert(thread != 0);
  for (let procno: u32 = 0; procno < max_backends; procno++) {
    lockBreak(lockOf(contextOf(procno)), thread);
  }
}

const TIMED_OUT: i32 = 1;
const SLICE_NS: i64 = 100_000_000;
/** Answers of uring_wait. */
const WAIT_TIME_UP: i32 = 1;
const WAIT_TAKEN: i32 = 2;

/**
 * Makes progress on a submitted I/O: deals with the completions of its ring, and if it is not among
 * them waits for more, at most `ns`. OK when there may be news, 1 when the time was up.
 */
export function uringWaitOne(ioh: PgAioHandle, generation: u64, ns: i64): i32 {
  assert(ns >= 0);
  const context = contextOf(ioh.owner_procno);
  if (!lockPatiently(lockOf(context))) return ns > SLICE_NS ? OK : TIMED_OUT;
  drain(context);
  const seen = context.cursor;
  const before = loadAcquire32(progressOf(context));
  const ring_number = number(context);
  const open = context.ring != 0;
  lockRelease(lockOf(context));
  if (generationOf(ioh) != generation || stateOf(ioh) != PGAIO_HS_SUBMITTED) return OK;
  if (ns == 0) return TIMED_OUT;
  if (!open) return fail(E_URING_WAIT, handleId(ioh), PGAIO_HS_SUBMITTED, EBADF);
  const limit = min(ns, SLICE_NS);
  const rc = uring_wait(ring_number, seen, <u32>((limit + 999_999) / 1_000_000));
  if (rc == WAIT_TAKEN) return sleepOnProgress(context, before, limit) ? OK : TIMED_OUT;
  announceProgress(context); // one of those who sleep must wait in the kernel next
  if (rc < 0) return fail(E_URING_WAIT, handleId(ioh), PGAIO_HS_SUBMITTED, -rc);
  return rc == WAIT_TIME_UP ? TIMED_OUT : OK;
}

/** False when nothing happened for `ns`. */
function sleepOnProgress(context: PgAioUringContext, before: u32, ns: i64): bool {
  const sleepers = word(context, offsetof<PgAioUringContext>("sleepers"));
  fetchAdd32(sleepers, 1);
  assert(context.sleepers != 0);
  const woken = futexWait(progressOf(context), before, ns) != 2;
  fetchAdd32(sleepers, 0xffffffff);
  return woken;
}
