// @layout
/**
 * Bringing what is dirty to the device (BufferSync, ProcessSyncRequests, FlushRelationBuffers):
 * first every buffer that was dirty when it began, then a sync of each segment that was written. In
 * steps, so that an event loop can do it: a step that would have to wait answers BLOCKED.
 */
import { E_IO_FAILED, E_LOCKED, OK, fail } from "../errors";
import { my_backend, my_procno, my_storage } from "../aio/backend";
import { pgaio_io_register_callbacks } from "../aio/callback";
import { PgAioHandle, acquireIdle, pgaio_io_release, stateOf } from "../aio/handle";
import { pgaio_io_start_fsync } from "../aio/io";
import { resultStatus } from "../aio/result";
import { pgaio_io_set_target_smgr } from "../aio/target";
import {
  BLOCKED, NONE, PGAIO_HCB_MD_WRITEV, PGAIO_HF_SYNCHRONOUS, PGAIO_HS_HANDED_OUT, PGAIO_OP_WRITEV,
  PGAIO_RS_ERROR,
} from "../aio/types";
import { generationOf } from "../aio/wait";
import { handleAt, handleId, handle_count } from "../shm/layout";
import { segment_size, shared_buffers } from "../shm/settings";
import {
  BM_CHECKPOINT_NEEDED, BM_DIRTY, BM_IO_ERROR, BM_IO_IN_PROGRESS, BM_TAG_VALID, BP_EXCLUSIVE,
  REL_FORK_MASK,
  REL_REF_BYTES, RelFileRef, USE_NONE, bufState, changeState, descAt, lockContent, ownPins,
  packWref, pinIfTag, tagIs, tagOf, unlockContent, unpin, wrefGeneration, wrefHandle,
} from "./buf";
import { endRequest, takeRequest, writeBack } from "./buf_write";
import {
  blockOn, blocked_on, tellWriteFailed, waitBuffer, waitOldest, waitPacked,
} from "./freelist";
import { SCRATCH_SYNC, scratchAt } from "./scratch";
import { segmentFor } from "./smgr";

/** A flush under way. All zero but for the relation to begin. */
@unmanaged export class FlushOperation {
  spcOid: u32; //       0  RelFileRef of the fork to be flushed; relNumber 0: everything
  dbOid: u32; //        4
  relNumber: u32; //    8
  bits: u32; //        12
  sync: u32; //        16  1: syncs the segments that were written, of any relation
  phase: u32; //       20  FLUSH_*
  next: u32; //        24  buffer or request to go on with
  io_wref: u32; //     28  PgAioWaitRef of what blocked the call, or of the sync under way
  wref_upper: u32; //  32
  wref_lower: u32; //  36
  written: u32; //     40  writes that were begun
  synced: u32; //      44  segments that were synced
  sync_spc: u32; //    48  RelFileRef of the segment being synced
  sync_db: u32; //     52
  sync_number: u32; // 56
  sync_bits: u32; //   60
  segment: u32; //     64  and its number
  io_return: u32; //   68  PgAioReturn of the last sync (32 bytes)
}
export const FLUSH_OPERATION_BYTES: u32 = 100;
export const FLUSH_MARK: u32 = 0;
export const FLUSH_WRITE: u32 = 1;
export const FLUSH_SETTLE: u32 = 2;
export const FLUSH_SYNC: u32 = 3;
export const FLUSH_SYNCING: u32 = 4;
const WREF_INVALID: u32 = 0xffffffff;

@inline function syncRel(op: FlushOperation): usize {
  return changetype<usize>(op) + offsetof<FlushOperation>("sync_spc");
}
@inline function returnAt(op: FlushOperation): usize {
  return changetype<usize>(op) + offsetof<FlushOperation>("io_return");
}

/** Whether the flush is about a buffer, as its tag is now. */
function concerns(op: FlushOperation, index: u32): bool {
  const desc = descAt(index);
  assert(index < shared_buffers);
  return op.relNumber == 0 || tagIs(desc, changetype<usize>(op), desc.blockNum);
}

/** Leaves in the operation what it would have waited for. */
function blocked(op: FlushOperation): i32 {
  op.io_wref = WREF_INVALID;
  const generation = blocked_on == 0 ? 0 : wrefGeneration(blocked_on);
  if (generation != 0) {
    op.io_wref = handleId(wrefHandle(blocked_on));
    op.wref_upper = <u32>(generation >> 32);
    op.wref_lower = <u32>generation;
  }
  assert(my_procno != NONE);
  return BLOCKED;
}

/** Goes on with a flush: OK when it is done, BLOCKED, or an error; then it begins anew. */
export function flushStep(op: FlushOperation, nowait: bool): i32 {
  if (op.phase != FLUSH_SYNCING) op.io_wref = WREF_INVALID;
  let rc = OK;
  while (rc == OK) { // each round the phase moves on
    switch (op.phase) {
      case FLUSH_MARK: {
        mark(op);
        break;
      }
      case FLUSH_WRITE: {
        rc = writeMarked(op, nowait);
        break;
      }
      case FLUSH_SETTLE: {
        rc = settle(op, nowait);
        break;
      }
      case FLUSH_SYNC: {
        if (op.sync == 0) return done(op);
        rc = startSync(op, nowait);
        if (rc == ALL_SYNCED) return done(op);
        break;
      }
      default: rc = endSync(op, nowait);
    }
  }
  assert(my_procno != NONE);
  if (rc == BLOCKED) return blocked(op);
  op.phase = FLUSH_MARK;
  op.next = 0;
  return rc;
}
const ALL_SYNCED: i32 = 1;

function done(op: FlushOperation): i32 {
  assert(op.phase == FLUSH_SYNC);
  op.phase = FLUSH_MARK;
  op.next = 0;
  return OK;
}

/** What is dirty now is what is to be written; what gets dirty later is not waited for. */
function mark(op: FlushOperation): void {
  for (let index: u32 = 0; index < shared_buffers; index++) {
    const needed = BM_DIRTY | BM_TAG_VALID;
    const dirty = (bufState(descAt(index)) & needed) == needed;
    if (dirty && concerns(op, index)) changeState(descAt(index), 0, BM_CHECKPOINT_NEEDED);
  }
  assert(op.phase == FLUSH_MARK);
  op.phase = FLUSH_WRITE;
  op.next = 0;
}

@inline function isMarked(op: FlushOperation, index: u32): bool {
  const needed = BM_CHECKPOINT_NEEDED | BM_DIRTY;
  assert(index < shared_buffers);
  return (bufState(descAt(index)) & needed) == needed && concerns(op, index);
}

/** Whether a write of the buffer is under way. */
@inline function isOnItsWay(op: FlushOperation, index: u32): bool {
  const needed = BM_IO_IN_PROGRESS | BM_DIRTY;
  assert(index < shared_buffers);
  return (bufState(descAt(index)) & needed) == needed && concerns(op, index);
}

/** Waits for all writes of this backend's: one has failed, and which is not known before. */
function reapWrites(nowait: bool): i32 {
  assert(my_procno != NONE);
  let id = my_backend.in_flight_head;
  while (id != NONE) { // each wait takes at least one I/O off the list, then it is begun anew
    const ioh = handleAt(id);
    if (ioh.op != PGAIO_OP_WRITEV) {
      id = ioh.node_next;
      continue;
    }
    const rc = waitPacked(packWref(ioh), nowait);
    if (rc != OK) return rc;
    id = my_backend.in_flight_head;
  }
  return OK;
}

/** Pins a buffer with whatever it holds; false if it holds nothing. */
export function pinHeld(index: u32): bool {
  const desc = descAt(index);
  const copy = scratchAt() + SCRATCH_SYNC;
  memory.copy(copy, tagOf(desc), REL_REF_BYTES); // may be torn: then it does not match
  assert(index < shared_buffers);
  return pinIfTag(index, copy, desc.blockNum, USE_NONE);
}

function writeMarked(op: FlushOperation, nowait: bool): i32 {
  for (; op.next < shared_buffers; op.next++) {
    const index = op.next;
    if (!isMarked(op, index) || (bufState(descAt(index)) & BM_IO_IN_PROGRESS) != 0) continue;
    if (!pinHeld(index)) continue;
    let rc = writeBack(index);
    unpin(index);
    if (rc == BLOCKED && !nowait) {
      rc = blocked_on == 0 ? waitOldest(false) : waitPacked(blocked_on, false);
      if (rc == OK) {
        op.next--; // wraps at the first, and comes back with the loop
        continue;
      }
    }
    if (rc != OK) return rc;
    op.written++;
  }
  assert(op.phase == FLUSH_WRITE);
  op.phase = FLUSH_SETTLE;
  op.next = 0;
  return OK;
}

/** Waits for the writes; what was not written, because somebody was changing it, is tried again. */
function settle(op: FlushOperation, nowait: bool): i32 {
  for (; op.next < shared_buffers; op.next++) {
    const index = op.next;
    if (!isOnItsWay(op, index) && !isMarked(op, index)) continue;
    if ((ownPins(index) & BP_EXCLUSIVE) != 0) return fail(E_LOCKED, NONE, 0, index + 1);
    const waited = waitBuffer(index, nowait);
    if (waited != OK) return waited;
    if (!isMarked(op, index)) continue;
    if ((bufState(descAt(index)) & BM_IO_ERROR) != 0) {
      const reaped = reapWrites(nowait);
      if (reaped != OK) return reaped;
    }
    if (my_storage().write_failed != 0) return tellWriteFailed();
    const passed = passLock(index, nowait);
    if (passed != OK) return passed;
    op.phase = FLUSH_WRITE;
    return OK;
  }
  assert(op.phase == FLUSH_SETTLE);
  if (my_storage().write_failed != 0) return tellWriteFailed();
  op.phase = FLUSH_SYNC;
  op.next = 0;
  return OK;
}

/** Waits until nobody changes the page. */
function passLock(index: u32, nowait: bool): i32 {
  if (!pinHeld(index)) return OK;
  const held = (ownPins(index) & ~0xfff) != 0;
  const rc = held ? OK : lockContent(index, false, nowait);
  if (!held && rc == OK) unlockContent(index);
  unpin(index);
  assert(my_procno != NONE);
  return rc == BLOCKED ? blockOn(0) : rc;
}

/** Starts the sync of the next segment that was written. */
function startSync(op: FlushOperation, nowait: bool): i32 {
  const at = acquireIdle(0, returnAt(op) as u32);
  if (at < 0) return at;
  if (at == 0) return waitOldest(nowait);
  const index = takeRequest(op.next, syncRel(op));
  if (index == NONE) {
    pgaio_io_release(at);
    return ALL_SYNCED;
  }
  op.next = index;
  setWref(op, changetype<PgAioHandle>(at));
  const rc = syncSegment(at, syncRel(op), op.segment, false);
  if (rc < 0) return rc;
  assert(op.phase == FLUSH_SYNC);
  op.phase = FLUSH_SYNCING;
  return OK;
}

function setWref(op: FlushOperation, ioh: PgAioHandle): void {
  assert(ioh.generation != 0);
  op.io_wref = handleId(ioh);
  op.wref_upper = <u32>(ioh.generation >> 32);
  op.wref_lower = <u32>ioh.generation;
}

/** Starts a sync of a segment with handle `at`, which is consumed. */
function syncSegment(at: u32, rel: usize, segment: u32, synchronous: bool): i32 {
  const ioh = changetype<PgAioHandle>(at);
  const generation = ioh.generation;
  const fork = changetype<RelFileRef>(rel);
  const fd = segmentFor(rel, segment * segment_size, false);
  let rc = fd;
  if (fd >= 0) {
    if (synchronous) ioh.flags |= <u8>PGAIO_HF_SYNCHRONOUS;
    rc = pgaio_io_set_target_smgr(at, fork.spcOid, fork.dbOid, fork.relNumber,
      fork.bits & REL_FORK_MASK, segment * segment_size, 1, 0);
    if (rc >= 0) rc = pgaio_io_register_callbacks(at, PGAIO_HCB_MD_WRITEV, 0);
    if (rc >= 0) rc = pgaio_io_start_fsync(at, fd);
  }
  assert(my_procno != NONE);
  const out = ioh.generation == generation && stateOf(ioh) == PGAIO_HS_HANDED_OUT;
  if (rc < 0 && out) pgaio_io_release(at);
  return rc < 0 ? rc : OK;
}

/** Waits for the sync under way. */
function endSync(op: FlushOperation, nowait: bool): i32 {
  assert(op.phase == FLUSH_SYNCING);
  if (resultStatus(op.io_return) == 0) { // not told yet
    const oldest = pendingSync(op);
    const rc = oldest == 0 ? OK : waitPacked(oldest, nowait);
    if (rc != OK) return rc;
  }
  if (resultStatus(op.io_return) == PGAIO_RS_ERROR) {
    return fail(E_IO_FAILED, NONE, 0, <f64>returnAt(op));
  }
  endRequest(op.next, syncRel(op));
  op.next++;
  op.synced++;
  op.phase = FLUSH_SYNC;
  return OK;
}

/** The sync under way in one word, 0 when it is over. */
function pendingSync(op: FlushOperation): u64 {
  if (op.io_wref >= handle_count) return 0;
  const generation = (<u64>op.wref_upper << 32) | op.wref_lower;
  assert(generation != 0);
  const ioh = handleAt(op.io_wref);
  return generationOf(ioh) == generation ? packWref(ioh) : 0;
}

/** Syncs a segment here and now, for want of room to remember that it must be. */
export function syncNow(rel: usize, segment: u32): i32 {
  const ret = scratchAt() + SCRATCH_SYNC;
  assert(my_procno != NONE);
  let at = acquireIdle(0, ret as u32);
  while (at == 0) { // each round an I/O of this backend has ended
    const waited = waitOldest(false);
    if (waited < 0) return waited;
    at = acquireIdle(0, ret as u32);
  }
  if (at < 0) return at;
  const rc = syncSegment(at, rel, segment, true);
  if (rc < 0) return rc;
  const failed = resultStatus(load<u32>(ret)) == PGAIO_RS_ERROR;
  return failed ? fail(E_IO_FAILED, NONE, 0, <f64>ret) : OK;
}
