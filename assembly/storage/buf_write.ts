// @layout
/**
 * Writing dirty buffers back, asynchronously (the upper half of FlushBuffer, BufferSync and
 * checkpointer.c's requests for a sync). PostgreSQL has reads only; this follows its rules for
 * what may be written when.
 *
 * A run of dirty neighbours is copied into the frames of a write slot, each page under its content
 * lock; the checksum is set on the copy, last. So the page may be changed again at once, the write
 * sees one state of it, and one iovec is enough. The slot belongs to the write until it is over.
 */
import { OK } from "../errors";
import { my_procno, my_storage } from "../aio/backend";
import { pgaio_io_register_callbacks } from "../aio/callback";
import { PgAioHandle, pgaio_io_acquire_nb, pgaio_io_release, stateOf } from "../aio/handle";
import {
  BLOCKED, NONE, PGAIO_HCB_SHARED_BUFFER_WRITEV, PGAIO_HF_SYNCHRONOUS, PGAIO_HS_HANDED_OUT,
  PGAIO_OP_WRITEV, SYNC_REQUESTS,
} from "../aio/types";
import {
  compareExchange32, loadAcquire32, loadAcquire64, storeRelease32, storeRelease64,
} from "../shm/atomics";
import {
  buffer_control_at, dataOf, sync_requests_at, writeSlots, write_frames_at, write_slots_at,
} from "../shm/layout";
import { lockAcquire, lockRelease } from "../shm/lock";
import {
  block_size, data_checksums, io_combine_limit, io_max_combine_limit, segment_size,
} from "../shm/settings";
import { SYNC_REQUEST_BYTES, WRITE_SLOT_BYTES } from "../shm/sizes";
import {
  BM_CHECKPOINT_NEEDED, BM_DIRTY, BM_IO_IN_PROGRESS, BM_VALID, BP_EXCLUSIVE, BP_SHARE, IO_READY,
  REL_REF_BYTES, USE_NONE, abortBufferIO, bufState, descAt, ownPins, packWref, pageAt,
  startBufferIO, tagOf, tryLockContent, unlockContent, unpin,
} from "./buf";
import { bucketOf, lookupPin } from "./buf_table";
import { PgAioBufferControl, blockOn, waitOldest } from "./freelist";
import { mdStart } from "./md";
import { page_set_checksum } from "./page";
import { SCRATCH_BUFFERS, SCRATCH_PAGES, scratchAt } from "./scratch";
import { segmentFor } from "./smgr";
import { syncNow } from "./flush";

/** Frames for one write: io_max_combine_limit pages, from the slot's place in the write frames. */
@unmanaged export class WriteSlot {
  owner: u32; //   0  procno + 1 of the backend that writes, 0 while it is free
  reserved: u32; // 4
  io_wref: u64; // 8  the write
}
if (offsetof<WriteSlot>() > WRITE_SLOT_BYTES) ERROR("WriteSlot outgrew its place");

/** A segment that was written to and has not been synced since. */
@unmanaged export class SyncRequest {
  status: u32; //     0  SYNC_*
  segment: u32; //    4
  spcOid: u32; //     8  RelFileRef
  dbOid: u32; //     12
  relNumber: u32; // 16
  bits: u32; //      20
}
if (offsetof<SyncRequest>() > SYNC_REQUEST_BYTES) ERROR("SyncRequest outgrew its place");
export const SYNC_FREE: u32 = 0;
export const SYNC_WANTED: u32 = 1;
/** Somebody syncs it, or ended before that was over: then the next one does. */
export const SYNC_UNDERWAY: u32 = 2;
/** Was a request; a look for another goes on past it. */
export const SYNC_GONE: u32 = 3;

@inline function slotAt(slot: u32): usize {
  return write_slots_at + <usize>slot * WRITE_SLOT_BYTES;
}
@inline function slotWref(slot: u32): usize {
  return slotAt(slot) + offsetof<WriteSlot>("io_wref");
}
@inline function slotPage(slot: u32, index: u32): usize {
  return write_frames_at + (<usize>slot * io_max_combine_limit + index) * block_size;
}

/** Takes a slot, or NONE. */
function takeSlot(): i32 {
  assert(my_procno != NONE);
  for (let slot: u32 = 0; slot < writeSlots(); slot++) {
    if (compareExchange32(slotAt(slot), 0, my_procno + 1) == 0) return slot;
  }
  return NONE;
}
function freeSlot(slot: u32): void {
  assert(slot < writeSlots());
  storeRelease64(slotWref(slot), 0);
  storeRelease32(slotAt(slot), 0);
}

/** The write of `ioh` has the slot from here on: before that there is nothing to wait for. */
export function beginWriteSlot(slot: u32, ioh: PgAioHandle): void {
  assert(changetype<usize>(ioh) != 0);
  if (slot >= writeSlots() || loadAcquire32(slotAt(slot)) != my_procno + 1) return;
  if (loadAcquire64(slotWref(slot)) == 0) storeRelease64(slotWref(slot), packWref(ioh));
}

/** The write of `ioh` is over, whoever noticed: its slot is free. */
export function endWriteSlot(slot: u32, ioh: PgAioHandle): void {
  if (slot >= writeSlots() || loadAcquire64(slotWref(slot)) != packWref(ioh)) return;
  assert(stateOf(ioh) > 0);
  freeSlot(slot);
}

/** Slots of a backend that is gone, and whose I/O is over. */
export function dropWriteSlotsOf(procno: u32): void {
  assert(writeSlots() > 0);
  for (let slot: u32 = 0; slot < writeSlots(); slot++) {
    if (loadAcquire32(slotAt(slot)) == procno + 1) freeSlot(slot);
  }
}

/** All slots are taken: BLOCKED on one of the writes. */
function blockOnSlot(): i32 {
  assert(my_procno != NONE);
  for (let slot: u32 = 0; slot < writeSlots(); slot++) {
    const wref = loadAcquire64(slotWref(slot));
    if (wref != 0) return blockOn(wref);
  }
  return blockOn(0); // each has just been taken, or given back
}

/** How far a run can go: a segment's end, the combine limit. */
@inline function runMax(): u32 { return min(io_combine_limit, io_max_combine_limit); }

/** Whether a block's buffer could be written now. A guess: it is looked at again. */
function isDirty(rel: usize, block: u32): bool {
  const number = lookupPin(bucketOf(rel, block), rel, block, USE_NONE);
  if (number == 0) return false;
  const state = bufState(descAt(number - 1));
  unpin(number - 1);
  assert(number > 0);
  return (state & (BM_DIRTY | BM_VALID | BM_IO_IN_PROGRESS)) == (BM_DIRTY | BM_VALID);
}

/**
 * Starts writing a dirty buffer that this backend has pinned, with dirty neighbours. OK: that is
 * under way or over, or somebody else is at it; BLOCKED: no slot or no handle is free
 * (`blocked_on`); or an error, and it is as dirty as before.
 */
export function writeBack(index: u32): i32 {
  const desc = descAt(index);
  assert(ownPins(index) > 0);
  const rel = tagOf(desc);
  const fd = segmentFor(rel, desc.blockNum, false);
  if (fd < 0) return fd;
  const slot = takeSlot();
  if (slot == NONE) return blockOnSlot();
  const at = pgaio_io_acquire_nb(0, 0);
  if (at <= 0) {
    freeSlot(slot);
    return at < 0 ? at : waitOldest(true) == OK ? blockOn(0) : BLOCKED;
  }
  const ioh = changetype<PgAioHandle>(at);
  let from = desc.blockNum;
  for (let left = runMax(); left > 1 && from % segment_size > 0 && isDirty(rel, from - 1); left--) {
    from--;
  }
  let count = gather(ioh, slot, rel, from, desc.blockNum);
  while (count == 0 && from < desc.blockNum) { // what was dirty below is not any more
    from++;
    count = gather(ioh, slot, rel, from, desc.blockNum);
  }
  if (count > 0) return startWrite(ioh, slot, rel, from, count);
  pgaio_io_release(at);
  freeSlot(slot);
  return OK;
}

/**
 * Copies blocks from `from` on into the slot, each with I/O begun on it and pinned; the handle's
 * data has their numbers. Stops where there is no more; 0 unless `wanted` is among them.
 */
function gather(ioh: PgAioHandle, slot: u32, rel: usize, from: u32, wanted: u32): u32 {
  const most = min(runMax(), segment_size - from % segment_size);
  assert(wanted >= from);
  let count: u32 = 0;
  while (count < most) {
    const block = from + count;
    const number = lookupPin(bucketOf(rel, block), rel, block, USE_NONE);
    if (number == 0) break;
    if (!prepare(number - 1, slotPage(slot, count), block)) {
      unpin(number - 1);
      break;
    }
    store<u64>(dataOf(ioh) + 8 * <usize>count, number);
    count++;
  }
  if (from + count > wanted) return count;
  for (let i: u32 = 0; i < count; i++) abandon(ioh, i);
  return 0;
}

/** Begins I/O on a pinned buffer and copies its page; false if there is nothing to write. */
function prepare(index: u32, copy: usize, block: u32): bool {
  const locked_here = (ownPins(index) & BP_EXCLUSIVE) != 0;
  if (locked_here || (bufState(descAt(index)) & BM_VALID) == 0) return false;
  const already = (ownPins(index) & BP_SHARE) != 0; // under a lock of the caller's
  if (!already && !tryLockContent(index, false)) return false;
  const ready = startBufferIO(index, false) == IO_READY;
  if (ready) {
    memory.copy(copy, pageAt(index), block_size);
    if (data_checksums) page_set_checksum(copy, block, block_size);
  }
  if (!already) unlockContent(index);
  assert(copy != 0);
  return ready;
}

/** Undoes `prepare` for entry `i` of the handle's data. */
function abandon(ioh: PgAioHandle, i: u32): void {
  const index = load<u32>(dataOf(ioh) + 8 * <usize>i) - 1;
  assert(ownPins(index) > 0);
  abortBufferIO(index, BM_CHECKPOINT_NEEDED);
  unpin(index);
}

/** Hands what was gathered to an I/O. Consumes handle and slot. */
function startWrite(ioh: PgAioHandle, slot: u32, rel: usize, from: u32, count: u32): i32 {
  const at = changetype<usize>(ioh) as u32;
  const generation = ioh.generation;
  assert(count <= io_max_combine_limit);
  ioh.handle_data_len = <u8>count;
  const remembered = requestSync(rel, from / segment_size);
  if (!remembered) ioh.flags |= <u8>PGAIO_HF_SYNCHRONOUS;
  let rc = pgaio_io_register_callbacks(at, PGAIO_HCB_SHARED_BUFFER_WRITEV, slot);
  const indexes = keepIndexes(ioh, count);
  if (rc >= 0) rc = mdStart(at, PGAIO_OP_WRITEV, rel, from, count, pagesOf(slot, count));
  const failed = rc < 0 && ioh.generation == generation && stateOf(ioh) == PGAIO_HS_HANDED_OUT;
  if (failed) {
    for (let i: u32 = 0; i < count; i++) abandon(ioh, i);
    pgaio_io_release(at);
    freeSlot(slot);
    return rc;
  }
  my_storage().write_backs++;
  for (let i: u32 = 0; i < count; i++) unpin(load<u32>(indexes + 4 * <usize>i));
  if (rc < 0 || remembered) return rc < 0 ? rc : OK;
  return syncNow(rel, from / segment_size);
}

/** Numbers of the buffers, out of the handle's hands: it may be used again when start returns. */
function keepIndexes(ioh: PgAioHandle, count: u32): usize {
  const to = scratchAt() + SCRATCH_BUFFERS;
  assert(count > 0);
  for (let i: u32 = 0; i < count; i++) {
    store<u32>(to + 4 * <usize>i, load<u32>(dataOf(ioh) + 8 * <usize>i) - 1);
  }
  return to;
}

/** Addresses of the slot's pages. */
function pagesOf(slot: u32, count: u32): usize {
  const to = scratchAt() + SCRATCH_PAGES;
  assert(count <= io_max_combine_limit);
  for (let i: u32 = 0; i < count; i++) store<u32>(to + 4 * <usize>i, slotPage(slot, i) as u32);
  return to;
}

// What has been written and must be synced.

@inline function syncLock(): usize {
  return buffer_control_at + offsetof<PgAioBufferControl>("sync_lock");
}
@inline export function requestAt(index: u32): SyncRequest {
  return changetype<SyncRequest>(sync_requests_at + <usize>index * SYNC_REQUEST_BYTES);
}
@inline export function requestRel(request: SyncRequest): usize {
  return changetype<usize>(request) + offsetof<SyncRequest>("spcOid");
}
/** Whether its segment is to be synced still. */
@inline function isOpen(request: SyncRequest): bool {
  return request.status == SYNC_WANTED || request.status == SYNC_UNDERWAY;
}
@inline function isRequest(request: SyncRequest, rel: usize, segment: u32): bool {
  return request.segment == segment && load<u64>(requestRel(request)) == load<u64>(rel)
    && load<u64>(requestRel(request), 8) == load<u64>(rel, 8);
}

/**
 * Remembers that a segment must be synced (RegisterSyncRequest), before it is written; also while
 * it is being synced, since that may have begun too early. False when there is no room: then
 * whoever writes syncs at once.
 */
export function requestSync(rel: usize, segment: u32): bool {
  const control = changetype<PgAioBufferControl>(buffer_control_at);
  assert(rel != 0);
  lockAcquire(syncLock());
  let place: i32 = NONE; // the first that can be taken, should there be no request yet
  let index = (bucketOf(rel, segment) * 0x9e3779b1 >>> 16) % SYNC_REQUESTS;
  for (let looks: u32 = 0; looks < SYNC_REQUESTS; looks++) {
    const request = requestAt(index);
    const known = isOpen(request) && isRequest(request, rel, segment);
    if (known || (place == NONE && !isOpen(request))) place = index;
    if (known || request.status == SYNC_FREE) break;
    index = (index + 1) % SYNC_REQUESTS;
  }
  if (place != NONE) {
    const request = requestAt(place);
    if (!isOpen(request)) {
      memory.copy(requestRel(request), rel, REL_REF_BYTES);
      request.segment = segment;
      control.sync_count++;
    }
    request.status = SYNC_WANTED;
  }
  lockRelease(syncLock());
  return place != NONE;
}

/**
 * The first request from entry `from` on is being dealt with: its index; its place is copied to
 * `to`. Or NONE. It stays until endRequest: whoever deals with it may end before.
 */
export function takeRequest(from: u32, to: usize): i32 {
  let found: i32 = NONE;
  assert(to != 0);
  lockAcquire(syncLock());
  for (let index = from; index < SYNC_REQUESTS && found == NONE; index++) {
    const request = requestAt(index);
    if (!isOpen(request)) continue;
    memory.copy(to, requestRel(request), REL_REF_BYTES);
    store<u32>(to, request.segment, REL_REF_BYTES);
    request.status = SYNC_UNDERWAY;
    found = index;
  }
  lockRelease(syncLock());
  return found;
}

/** A request that takeRequest gave has been dealt with: it is gone unless it was made anew. */
export function endRequest(index: u32, place: usize): void {
  assert(index < SYNC_REQUESTS);
  const request = requestAt(index);
  lockAcquire(syncLock());
  const same = isRequest(request, place, load<u32>(place, REL_REF_BYTES));
  if (same && request.status == SYNC_UNDERWAY) forget(request);
  lockRelease(syncLock());
}

/** Under the lock. */
function forget(request: SyncRequest): void {
  const control = changetype<PgAioBufferControl>(buffer_control_at);
  assert(isOpen(request));
  request.status = SYNC_GONE;
  control.sync_count--;
  if (control.sync_count == 0) memory.fill(sync_requests_at, 0, SYNC_REQUESTS * SYNC_REQUEST_BYTES);
}

/** A relation fork is gone: nothing of it needs to be synced. */
export function forgetSyncOf(rel: usize): void {
  const control = changetype<PgAioBufferControl>(buffer_control_at);
  assert(rel != 0);
  lockAcquire(syncLock());
  for (let index: u32 = 0; index < SYNC_REQUESTS; index++) {
    const request = requestAt(index);
    if (isOpen(request) && isRequest(request, rel, request.segment)) forget(request);
  }
  lockRelease(syncLock());
}

export function syncRequests(): u32 {
  assert(buffer_control_at != 0);
  return changetype<PgAioBufferControl>(buffer_control_at).sync_count;
}
