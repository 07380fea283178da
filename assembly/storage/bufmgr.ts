// @layout
/**
 * Reading pages into buffers (bufmgr.c: PinBufferForBlock, StartReadBuffers, WaitReadBuffers and
 * what is below them, with the development version's joining of I/O that another has begun).
 *
 * Nothing here waits when it was told not to: BLOCKED, with the I/O it would have waited for in
 * `io_wref`, or an invalid one: then there was no handle, or nothing to wait for, and the call is
 * to be made again when any I/O of this backend has ended, or a moment later. All that was pinned
 * is in `buffers` and is found there by the next call (forwarded buffers).
 */
import {
  E_BAD_BUFFER, E_IO_FAILED, E_NO_READ, E_READ_BLOCKS, fail,
} from "../errors";
import { my_procno, my_storage } from "../aio/backend";
import { pgaio_io_register_callbacks } from "../aio/callback";
import { PgAioHandle, acquireIdle, pgaio_io_release, stateOf } from "../aio/handle";
import { reportReturn } from "../aio/report";
import { resultStatus } from "../aio/result";
import {
  BLOCKED, DEBUG1, IOMETHOD_SYNC, NONE, PGAIO_HCB_LOCAL_BUFFER_READV, PGAIO_HCB_SHARED_BUFFER_READV,
  PGAIO_HF_REFERENCES_LOCAL, PGAIO_HF_SYNCHRONOUS, PGAIO_HS_COMPLETED_SHARED, PGAIO_HS_HANDED_OUT,
  PGAIO_OP_READV, PGAIO_RS_ERROR, PGAIO_RS_PARTIAL, PGAIO_RS_UNKNOWN, PGAIO_RS_WARNING,
  READ_BUFFERS_IGNORE_CHECKSUM_FAILURES, READ_BUFFERS_NOWAIT, READ_BUFFERS_SYNCHRONOUSLY,
  READ_BUFFERS_ZERO_ON_ERROR, WARNING,
} from "../aio/types";
import { generationOf, waitOwn } from "../aio/wait";
import { loadAcquire64 } from "../shm/atomics";
import { dataOf, handleAt, handleId, handle_count } from "../shm/layout";
import {
  ignore_checksum_failure, io_max_combine_limit, io_method, shared_buffers, zero_damaged_pages,
} from "../shm/settings";
import {
  BM_IO_ERROR, BM_TAG_VALID, BM_VALID, BP_COUNT, BUF_USAGECOUNT_MASK, BUF_USAGECOUNT_ONE,
  IO_ALREADY_DONE, IO_IS_IN_PROGRESS, IO_READY, REL_REF_BYTES, REL_TEMP, RelFileRef, USE_FULL,
  USE_RING, abortBufferIO, bufState, changeState, descAt, ownPins, pageAt, pinIfTag, startBufferIO,
  tagIs, tagOf, unpin, wrefGeneration, wrefHandle, wrefWord,
} from "./buf";
import { bucketOf, findLinked, link, lockPartition, lookupPin, unlockPartition } from "./buf_table";
import { blocked_on, getVictim, waitBuffer, waitOldest, waitPacked } from "./freelist";
import {
  abortLocalIO, allocLocal, isLocalForward, localPage, localValid, localWref, startLocalIO,
} from "./localbuf";
import { mdStart } from "./md";
import { SCRATCH_READ_PAGES, scratchAt } from "./scratch";
import { maxCombine } from "./smgr";

/** A read of neighbouring blocks into buffers: begun by one call, ended by another. */
@unmanaged export class ReadBuffersOperation {
  spcOid: u32; //         0  RelFileRef, set by the caller
  dbOid: u32; //          4
  relNumber: u32; //      8
  bits: u32; //          12
  buffers: u32; //       16  address of the buffer numbers, i32 each
  blocknum: u32; //      20  first block
  flags: u32; //         24  READ_BUFFERS_*
  nblocks: u32; //       28
  nblocks_done: u32; //  32  blocks that are in their buffers
  foreign_io: u32; //    36  1: io_wref is an I/O begun by others, 2: what blocked the call
  strategy: u32; //      40  address of an AccessStrategy, or 0; set by the caller
  io_wref: u32; //       44  PgAioWaitRef of the I/O under way, or of what blocked the call
  wref_upper: u32; //    48
  wref_lower: u32; //    52
  io_return: u32; //     56  PgAioReturn of the last I/O (32 bytes)
  return_result: i32; // 60
}
export const READ_OPERATION_BYTES: u32 = 88;
const WREF_INVALID: u32 = 0xffffffff;
const FOREIGN_JOINED: u32 = 1;
const FOREIGN_BLOCKED: u32 = 2;

@inline function returnAt(op: ReadBuffersOperation): usize {
  return changetype<usize>(op) + offsetof<ReadBuffersOperation>("io_return");
}
@inline function relOf(op: ReadBuffersOperation): usize { return changetype<usize>(op); }
@inline function isTemp(op: ReadBuffersOperation): bool { return (op.bits & REL_TEMP) != 0; }
@inline function bufferAt(op: ReadBuffersOperation, i: u32): i32 {
  return load<i32>(<usize>op.buffers + 4 * <usize>i);
}

function setWref(op: ReadBuffersOperation, ioh: PgAioHandle, generation: u64): void {
  assert(generation != 0);
  op.io_wref = handleId(ioh);
  op.wref_upper = <u32>(generation >> 32);
  op.wref_lower = <u32>generation;
}

/** Leaves in the operation what a call that answers BLOCKED would have waited for. */
function blocked(op: ReadBuffersOperation): i32 {
  op.io_wref = WREF_INVALID;
  op.foreign_io = FOREIGN_BLOCKED;
  const generation = blocked_on == 0 ? 0 : wrefGeneration(blocked_on);
  if (generation != 0) setWref(op, wrefHandle(blocked_on), generation);
  assert(my_procno != NONE);
  return BLOCKED;
}

/** Whether the buffer that allocBuffer gave last holds its page. */
export let found: bool = false;

/**
 * Pins the buffer for a block (BufferAlloc), its page read or not (`found`). Its number; 0 when it
 * would have to wait; or an error.
 */
export function allocBuffer(rel: usize, block: u32, strategy: usize, nowait: bool): i32 {
  const bucket = bucketOf(rel, block);
  const use = strategy == 0 ? USE_FULL : USE_RING;
  let number = lookupPin(bucket, rel, block, use);
  if (number == 0) number = lookupLocked(bucket, rel, block, use);
  if (number == 0) {
    const victim = getVictim(strategy, nowait);
    if (victim <= 0) return victim;
    number = enter(bucket, rel, block, victim, use);
  }
  found = (bufState(descAt(number - 1)) & BM_VALID) != 0;
  assert(number > 0);
  return number;
}

function lookupLocked(bucket: u32, rel: usize, block: u32, use: u32): u32 {
  lockPartition(bucket);
  let number = findLinked(bucket, rel, block);
  if (number != 0 && !pinIfTag(number - 1, rel, block, use)) number = 0;
  unlockPartition(bucket);
  assert(number <= shared_buffers);
  return number;
}

/** Gives a victim the tag of a block, unless another backend was faster: then its buffer. */
function enter(bucket: u32, rel: usize, block: u32, victim: u32, use: u32): u32 {
  const desc = descAt(victim - 1);
  lockPartition(bucket);
  let number = findLinked(bucket, rel, block);
  if (number != 0 && !pinIfTag(number - 1, rel, block, use)) number = 0;
  if (number == 0) {
    assert((bufState(desc) & BM_TAG_VALID) == 0);
    memory.copy(tagOf(desc), rel, REL_REF_BYTES);
    desc.blockNum = block;
    changeState(desc, BUF_USAGECOUNT_MASK, BM_TAG_VALID | BUF_USAGECOUNT_ONE);
    link(bucket, victim);
  }
  unlockPartition(bucket);
  if (number == 0) return victim;
  unpin(victim - 1);
  return number;
}

/** Whether a buffer that a caller says it has pinned for a block is one. */
function isForward(rel: usize, buffer: i32, block: u32): bool {
  if ((changetype<RelFileRef>(rel).bits & REL_TEMP) != 0) return isLocalForward(rel, buffer, block);
  assert(shared_buffers > 0);
  if (buffer <= 0 || <u32>buffer > shared_buffers) return false;
  return (ownPins(buffer - 1) & BP_COUNT) != 0 && tagIs(descAt(buffer - 1), rel, block);
}

/** Pins the buffer of a block, or takes the one that is there. 1, 0 if it had to wait, or error. */
function pinForBlock(op: ReadBuffersOperation, to: usize, block: u32, nowait: bool): i32 {
  const rel = relOf(op);
  const forwarded = load<i32>(to);
  if (forwarded != 0) {
    if (!isForward(rel, forwarded, block)) return fail(E_BAD_BUFFER, NONE, 0, forwarded);
    found = isValid(forwarded);
    return 1;
  }
  assert((to & 3) == 0);
  const number = isTemp(op) ? allocLocal(rel, block, nowait)
    : allocBuffer(rel, block, op.strategy, nowait);
  if (number <= 0) return number;
  store<i32>(to, isTemp(op) ? -number : number);
  found = isValid(isTemp(op) ? -number : number);
  return 1;
}

@inline function isValid(buffer: i32): bool {
  return buffer > 0 ? (bufState(descAt(buffer - 1)) & BM_VALID) != 0 : localValid(buffer);
}

/**
 * Begins to read blocks from `block` on; how many are wanted stands at `count`, and how many this
 * call is about afterwards. 0: the first is there, and it is about that one. 1: a read has begun,
 * or will be done by waitReadBuffers. A later block that is there ends the read before it and stays
 * pinned, for the next call.
 */
export function startReadBuffers(op: ReadBuffersOperation, buffers: usize, block: u32,
  count: usize, flags: u32): i32 {
  const nowait = (flags & READ_BUFFERS_NOWAIT) != 0;
  let wanted = min(load<u32>(count), io_max_combine_limit);
  if (wanted == 0 || <u64>block + wanted > 0xffffffff) {
    return fail(E_READ_BLOCKS, NONE, 0, block, wanted);
  }
  op.io_wref = WREF_INVALID;
  for (let i: u32 = 0; i < wanted; i++) {
    const rc = pinForBlock(op, buffers + 4 * <usize>i, block + i, nowait || i > 0);
    if (rc <= 0) {
      if (i > 0) wanted = i; // read what there is room for
      else if (rc < 0) return rc;
      else return blocked(op);
    } else if (found && i == 0) {
      my_storage().hits++;
      store<u32>(count, 1);
      op.nblocks = op.nblocks_done = 1;
      return 0;
    } else if (found) wanted = i;
    else if (i == 0) wanted = min(wanted, maxCombine(block));
  }
  assert(wanted > 0);
  op.buffers = buffers as u32;
  op.blocknum = block;
  op.flags = flags;
  op.nblocks = wanted;
  op.nblocks_done = 0;
  op.foreign_io = 0;
  store<u32>(count, wanted);
  if (io_method == IOMETHOD_SYNC) {
    op.flags |= READ_BUFFERS_SYNCHRONOUSLY;
    return 1;
  }
  const rc = asyncReadBuffers(op, nowait);
  op.nblocks = progress;
  store<u32>(count, progress);
  if (rc == 0) op.nblocks_done = 1;
  return rc;
}

/** Blocks that the last call of asyncReadBuffers was about. */
let progress: u32 = 0;

/** Begins I/O on the next buffer of an operation: IO_READY with a handle, else without one. */
function beginFirst(op: ReadBuffersOperation, nowait: bool): i32 {
  const buffer = bufferAt(op, op.nblocks_done);
  while (true) { // each round an I/O has ended that was in the way
    handle = acquireIdle(NO_OWNER, returnAt(op) as u32);
    if (handle < 0) return handle;
    if (handle == 0) {
      const rc = waitOldest(nowait);
      if (rc != 0) return rc < 0 ? rc : BLOCKED_HERE;
      continue;
    }
    const begun = buffer > 0 ? startBufferIO(buffer - 1, true) : startLocalIO(buffer);
    if (begun == IO_READY) return IO_READY;
    pgaio_io_release(handle);
    if (begun == IO_ALREADY_DONE) return IO_ALREADY_DONE;
    const wref = buffer > 0 ? loadAcquire64(wrefWord(descAt(buffer - 1))) : localWref(buffer);
    const generation = wref == 0 ? 0 : wrefGeneration(wref);
    if (generation != 0) { // joins it, instead of waiting here
      setWref(op, wrefHandle(wref), generation);
      op.foreign_io = FOREIGN_JOINED;
      return IO_IS_IN_PROGRESS;
    }
    assert(buffer > 0, "local I/O has its reference as long as it is under way");
    const rc = waitBuffer(buffer - 1, nowait);
    if (rc != 0) return rc < 0 ? rc : BLOCKED_HERE;
  }
}
const NO_OWNER: u32 = 0;
const BLOCKED_HERE: i32 = 4;
/** Address of the handle beginFirst took. */
let handle: i32 = 0;

/** Reads what is left of an operation, as much as one I/O can (AsyncReadBuffers). 0, 1, BLOCKED. */
function asyncReadBuffers(op: ReadBuffersOperation, nowait: bool): i32 {
  const done = op.nblocks_done;
  assert(done < op.nblocks);
  progress = 1;
  op.foreign_io = 0;
  op.io_wref = WREF_INVALID;
  const first = beginFirst(op, nowait);
  if (first < 0) return first;
  if (first == BLOCKED_HERE) return blocked(op);
  if (first == IO_ALREADY_DONE) {
    my_storage().hits++;
    return 0;
  }
  if (first == IO_IS_IN_PROGRESS) return 1;
  const ioh = changetype<PgAioHandle>(handle);
  let count: u32 = 1;
  for (; done + count < op.nblocks; count++) {
    const buffer = bufferAt(op, done + count);
    const begun = buffer > 0 ? startBufferIO(buffer - 1, true) : startLocalIO(buffer);
    if (begun != IO_READY) break;
  }
  setWref(op, ioh, ioh.generation);
  const rc = startRead(op, ioh, count);
  if (rc < 0) op.io_wref = WREF_INVALID;
  progress = count;
  return rc < 0 ? rc : 1;
}

/** Flags of the handle and data of its callback: the issuer's settings travel with the I/O. */
function callbackFlags(flags: u32): u32 {
  assert(flags <= 0xff);
  let data = flags & (READ_BUFFERS_ZERO_ON_ERROR | READ_BUFFERS_IGNORE_CHECKSUM_FAILURES);
  if (zero_damaged_pages) data |= READ_BUFFERS_ZERO_ON_ERROR;
  if (ignore_checksum_failure) data |= READ_BUFFERS_IGNORE_CHECKSUM_FAILURES;
  return data;
}

/** Starts the read of `count` buffers on which I/O has begun. */
function startRead(op: ReadBuffersOperation, ioh: PgAioHandle, count: u32): i32 {
  const done = op.nblocks_done;
  const generation = ioh.generation;
  const pages = scratchAt() + SCRATCH_READ_PAGES;
  for (let i: u32 = 0; i < count; i++) {
    const buffer = bufferAt(op, done + i);
    store<u64>(dataOf(ioh) + 8 * <usize>i, <u64><i64>buffer);
    const page = buffer > 0 ? pageAt(buffer - 1) : localPage(buffer);
    store<u32>(pages + 4 * <usize>i, page as u32);
  }
  ioh.handle_data_len = <u8>count;
  if ((op.flags & READ_BUFFERS_SYNCHRONOUSLY) != 0) ioh.flags |= <u8>PGAIO_HF_SYNCHRONOUS;
  if (isTemp(op)) ioh.flags |= <u8>PGAIO_HF_REFERENCES_LOCAL;
  const id = isTemp(op) ? PGAIO_HCB_LOCAL_BUFFER_READV : PGAIO_HCB_SHARED_BUFFER_READV;
  const at = changetype<usize>(ioh) as u32;
  let rc = pgaio_io_register_callbacks(at, id, callbackFlags(op.flags));
  if (rc >= 0) rc = mdStart(at, PGAIO_OP_READV, relOf(op), op.blocknum + done, count, pages);
  if (rc >= 0) return rc;
  assert(done + count <= op.nblocks);
  if (ioh.generation != generation || stateOf(ioh) != PGAIO_HS_HANDED_OUT) return rc;
  for (let i: u32 = 0; i < count; i++) {
    const buffer = bufferAt(op, done + i);
    if (buffer > 0) abortBufferIO(buffer - 1, BM_IO_ERROR);
    else abortLocalIO(buffer);
  }
  pgaio_io_release(at);
  return rc;
}

/**
 * Ends what startReadBuffers began: waits, and reads on until every block is there. 0 without
 * having waited, 1 after a wait, BLOCKED, or an error: E_IO_FAILED with the result in `io_return`.
 * The buffers stay pinned in any case.
 */
export function waitReadBuffers(op: ReadBuffersOperation, nowait: bool): i32 {
  let waited = 0;
  const asynchronous = (op.flags & READ_BUFFERS_SYNCHRONOUSLY) == 0;
  if (op.nblocks_done == op.nblocks) return fail(E_NO_READ);
  const begun = op.io_wref != WREF_INVALID || op.foreign_io == FOREIGN_BLOCKED;
  if (!begun && io_method != IOMETHOD_SYNC) return fail(E_NO_READ);
  assert(my_procno != NONE);
  while (true) { // each round an I/O of the operation has ended
    if (op.io_wref != WREF_INVALID) {
      const rc = awaitIO(op, nowait);
      if (rc < 0 || rc == BLOCKED) return rc;
      if (rc == 1) waited = 1;
      if (op.foreign_io == 0) {
        const checked = processResult(op);
        if (checked < 0) return checked;
      } else if (op.foreign_io == FOREIGN_JOINED) checkForeign(op);
    }
    if (op.nblocks_done >= op.nblocks) return waited;
    const rc = asyncReadBuffers(op, nowait);
    if (rc < 0 || rc == BLOCKED) return rc;
    if (rc == 0) op.nblocks_done++;
    if (asynchronous || rc == 1) waited = 1;
  }
}

/** Waits for the I/O of an operation. 0 it was over, 1 it is, BLOCKED, or an error. */
function awaitIO(op: ReadBuffersOperation, nowait: bool): i32 {
  if (op.io_wref >= handle_count) return fail(E_NO_READ);
  const ioh = handleAt(op.io_wref);
  const generation = (<u64>op.wref_upper << 32) | op.wref_lower;
  if (generationOf(ioh) != generation) return 0;
  const mine = ioh.owner_procno == my_procno;
  if (isOver(ioh, generation)) {
    assert(generation != 0);
    const rc = mine ? waitOwn(ioh, generation, -1) : 0;
    return rc < 0 ? rc : 0;
  }
  const rc = waitPacked((generation << 20) | op.io_wref, nowait);
  if (rc == BLOCKED || rc < 0) return rc;
  assert(!mine || generationOf(ioh) != generation);
  return 1;
}

/** Whether an I/O can be waited for without waiting. */
function isOver(ioh: PgAioHandle, generation: u64): bool {
  const state = stateOf(ioh);
  assert(generation != 0);
  return state >= PGAIO_HS_COMPLETED_SHARED;
}

/** Another's I/O is over: if the block is not there, it is read here. */
function checkForeign(op: ReadBuffersOperation): void {
  assert(op.nblocks_done < op.nblocks);
  op.io_wref = WREF_INVALID;
  if (!isValid(bufferAt(op, op.nblocks_done))) return;
  my_storage().hits++;
  op.nblocks_done++;
}

/** What the I/O of an operation came to (ProcessReadBuffersResult). */
function processResult(op: ReadBuffersOperation): i32 {
  const word = op.io_return;
  const status = resultStatus(word);
  const target = returnAt(op) + 8;
  op.io_wref = WREF_INVALID;
  if (status == PGAIO_RS_UNKNOWN) return fail(E_NO_READ); // it is not where it was begun
  if (status == PGAIO_RS_ERROR) return fail(E_IO_FAILED, NONE, 0, <f64>returnAt(op));
  if (status == PGAIO_RS_WARNING) reportReturn(WARNING, word, op.return_result, target);
  else if (status == PGAIO_RS_PARTIAL) reportReturn(DEBUG1, word, op.return_result, target);
  assert(op.return_result >= 0);
  op.nblocks_done = min(op.nblocks, op.nblocks_done + op.return_result);
  return 0;
}
