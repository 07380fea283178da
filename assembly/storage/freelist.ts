// @layout
/**
 * Which buffer makes room for a page (freelist.c; GetVictimBuffer of bufmgr.c): a hand that goes
 * round and counts uses down, or the ring of an access strategy. Nothing here waits unless it may:
 * a dirty buffer is handed to an asynchronous write and the hand moves on; only when all that could
 * be had is on its way to a file somebody has to wait for the first of it.
 */
import { E_BAD_STRATEGY, E_IO_FAILED, E_NO_BUFFERS, OK, fail } from "../errors";
import { PgAioStorage, my_backend, my_procno, my_storage } from "../aio/backend";
import { drain } from "../aio/doorbell";
import { submitStaged } from "../aio/io";
import { BLOCKED, NONE } from "../aio/types";
import { waitForeign, waitOwn } from "../aio/wait";
import { compareExchange32, fetchAdd32, loadAcquire64 } from "../shm/atomics";
import { buffer_control_at, handleAt, isCallers } from "../shm/layout";
import {
  io_combine_limit, max_backends, NUM_AUXILIARY_PROCS, shared_buffers,
} from "../shm/settings";
import { BUFFER_CONTROL_BYTES } from "../shm/sizes";
import {
  BM_DIRTY, BM_IO_IN_PROGRESS, BM_TAG_VALID, BUF_REFCOUNT_MASK, BUF_USAGECOUNT_MASK,
  BUF_USAGECOUNT_ONE, bufState, descAt, ownPins, packWref, pinUnused, sleepOnBuffer, tagOf, unpin,
  wrefGeneration, wrefHandle, wrefWord,
} from "./buf";
import { lockPartition, unlink, unlockPartition } from "./buf_table";
import { writeBack } from "./buf_write";

@unmanaged export class PgAioBufferControl {
  next_victim: u32; //   0  where the hand is; wraps
  sync_lock: u32; //     4  lock.ts, held while requests for a sync are added or taken
  sync_count: u32; //    8  requests there are
  extend_lock: u32; //  12  lock.ts, held while a relation is made longer
  removals: u32; //     16  how often files of a relation were removed; wraps
}
if (offsetof<PgAioBufferControl>() > BUFFER_CONTROL_BYTES) ERROR("PgAioBufferControl has no room");

/** A ring of buffers that one scan uses again and again, in callers' memory. */
@unmanaged export class AccessStrategy {
  kind: u32; //      0  BAS_*
  nbuffers: u32; //  4  entries of the ring
  current: u32; //   8  entry that was used last
  ring: u32; //     12  numbers of buffers, 0 for an entry without (nbuffers x u32)
}
export const BAS_NORMAL: u32 = 0;
export const BAS_BULKREAD: u32 = 1;
export const BAS_BULKWRITE: u32 = 2;
export const BAS_VACUUM: u32 = 3;
const RING_OFFSET: u32 = 12;

/** What a call that answers BLOCKED would have waited for, as buf.ts packs it; 0: look again. */
export let blocked_on: u64 = 0;
export function blockOn(wref: u64): i32 {
  assert(my_procno != NONE);
  blocked_on = wref;
  return BLOCKED;
}

/** Waits until an I/O is over, or answers BLOCKED; one's own is submitted first. */
export function waitPacked(wref: u64, nowait: bool): i32 {
  assert(wref != 0);
  const generation = wrefGeneration(wref);
  if (generation == 0) return OK;
  const rc = submitStaged();
  if (rc < 0) return rc;
  if (nowait) return blockOn(wref);
  const ioh = wrefHandle(wref);
  return ioh.owner_procno == my_procno ? waitOwn(ioh, generation, -1)
    : waitForeign(ioh, generation, -1);
}

/** Waits for the oldest I/O of this backend, since it has no handle left. */
export function waitOldest(nowait: bool): i32 {
  const rc = submitStaged();
  if (rc < 0) return rc;
  const oldest = my_backend.in_flight_head;
  assert(oldest != NONE || my_backend.idle_count > 0);
  return oldest == NONE ? OK : waitPacked(packWref(handleAt(oldest)), nowait);
}

/** Waits until I/O on a buffer is over, or answers BLOCKED (WaitIO). */
export function waitBuffer(index: u32, nowait: bool): i32 {
  const desc = descAt(index);
  while ((bufState(desc) & BM_IO_IN_PROGRESS) != 0) { // each round it has moved on, or 100 ms
    const wref = loadAcquire64(wrefWord(desc));
    const rc = submitStaged(); // whom it waits for may wait for what is staged here
    if (rc < 0) return rc;
    let waited: i32;
    if (wref != 0 && wrefGeneration(wref) != 0) waited = waitPacked(wref, nowait);
    else waited = nowait ? blockOn(0) : sleepOnBuffer(desc);
    if (waited != OK) return waited;
    assert(my_procno != NONE);
  }
  return OK;
}

// Access strategies.

/** Blocks of a ring (GetAccessStrategy), at most an eighth of the pool. */
export function ringBlocks(kind: u32, concurrency: u32, block_size: u32): u32 {
  assert(block_size > 0);
  const kb = block_size / 1024;
  let blocks: u32;
  if (kind == BAS_BULKREAD) {
    const least = 256 / kb;
    blocks = min(least + io_combine_limit * concurrency, max(least, pinLimit()));
  } else blocks = (kind == BAS_BULKWRITE ? 16 * 1024 : 2048) / kb;
  return max<u32>(1, min(blocks, shared_buffers / 8));
}

/** A backend's fair share of the pool (GetPinLimit). */
export function pinLimit(): u32 {
  assert(max_backends > 0);
  return shared_buffers / (max_backends + NUM_AUXILIARY_PROCS);
}

/** Whether a strategy is one, wherever a caller's number points. 0: none. */
export function checkStrategy(at: usize): i32 {
  if (at == 0) return OK;
  if ((at & 3) != 0 || !isCallers(at, RING_OFFSET)) return fail(E_BAD_STRATEGY, NONE, 0, at);
  const strategy = changetype<AccessStrategy>(at);
  const n = strategy.nbuffers;
  const known = strategy.kind >= BAS_BULKREAD && strategy.kind <= BAS_VACUUM && n > 0
    && n <= shared_buffers && isCallers(at, RING_OFFSET + 4 * n);
  assert(offsetof<AccessStrategy>("ring") == RING_OFFSET);
  return known ? OK : fail(E_BAD_STRATEGY, NONE, 0, at);
}

@inline function ringEntry(strategy: AccessStrategy): usize {
  return changetype<usize>(strategy) + RING_OFFSET
    + 4 * <usize>(strategy.current % strategy.nbuffers);
}

/** The next of the ring, pinned, if nobody else uses it; else 0. */
function ringVictim(strategy: AccessStrategy): u32 {
  strategy.current = (strategy.current + 1) % strategy.nbuffers;
  const number = load<u32>(ringEntry(strategy));
  if (number == 0 || number > shared_buffers) return 0;
  const state = bufState(descAt(number - 1));
  const used = (state & (BUF_REFCOUNT_MASK | BM_IO_IN_PROGRESS)) != 0
    || (state & BUF_USAGECOUNT_MASK) > BUF_USAGECOUNT_ONE;
  assert(my_procno != NONE);
  return !used && pinUnused(number - 1, state) ? number : 0;
}

// The hand.

/** A buffer without pins that I/O kept from being taken, when the hand found nothing; or 0. */
let busy: u32 = 0;

/** The next buffer that nobody uses, pinned; 0 when every one is pinned or under I/O. */
function sweepClock(): u32 {
  const hand = buffer_control_at + offsetof<PgAioBufferControl>("next_victim");
  let left = shared_buffers;
  busy = 0;
  while (left > 0) { // a use counted down begins the count anew: at most 5 for each buffer
    const index = fetchAdd32(hand, 1) % shared_buffers;
    const desc = descAt(index);
    const state = bufState(desc);
    if ((state & (BUF_REFCOUNT_MASK | BM_IO_IN_PROGRESS)) != 0) {
      if ((state & BUF_REFCOUNT_MASK) == 0) busy = index + 1;
      left--;
    } else if ((state & BUF_USAGECOUNT_MASK) != 0) {
      compareExchange32(changetype<usize>(desc), state, state - BUF_USAGECOUNT_ONE);
      left = shared_buffers;
    } else if (pinUnused(index, state)) return index + 1;
  }
  assert(my_procno != NONE);
  return 0;
}

/**
 * A buffer for a page: pinned, without a tag, nobody else's. Its number; 0 when it would have had
 * to wait (`blocked_on`); or an error: everything is pinned, or a write-back failed.
 */
export function getVictim(strategy: usize, nowait: bool): i32 {
  assert(my_procno != NONE);
  while (true) { // each round takes a use or a dirty page off the pool, or waits for an I/O
    if (my_backend.in_flight_count > 0) drain();
    if (my_storage().write_failed != 0) return tellWriteFailed();
    const ring = changetype<AccessStrategy>(strategy);
    let number: u32 = strategy == 0 ? 0 : ringVictim(ring);
    const reused = number != 0;
    if (number == 0) number = sweepClock();
    if (number == 0) {
      if (busy == 0) return fail(E_NO_BUFFERS, NONE, 0, shared_buffers);
      const rc = waitBuffer(busy - 1, nowait);
      if (rc != OK) return rc == BLOCKED ? 0 : rc;
      continue;
    }
    const rc = cleanVictim(number, nowait);
    if (rc < 0) return rc;
    if (rc == BLOCKED) return 0;
    if (rc == NOT_CLAIMED) continue;
    if (rc == CLAIMED_EVICTED) {
      if (reused) my_storage().reuses++;
      else my_storage().evictions++;
    }
    if (strategy != 0 && !reused) store<u32>(ringEntry(ring), number);
    return number;
  }
}
const CLAIMED: i32 = 0;
const NOT_CLAIMED: i32 = 1;
const CLAIMED_EVICTED: i32 = 3;

/** Has a pinned victim written if it is dirty, and takes its tag; unpinned unless it is claimed. */
function cleanVictim(number: u32, nowait: bool): i32 {
  const index = number - 1;
  const desc = descAt(index);
  if ((bufState(desc) & BM_DIRTY) != 0) {
    let rc = writeBack(index);
    if (rc < 0 || rc == BLOCKED) {
      unpin(index);
      if (rc < 0) return rc;
      if (nowait) return BLOCKED;
      rc = blocked_on == 0 ? waitOldest(false) : waitPacked(blocked_on, false);
      return rc < 0 ? rc : NOT_CLAIMED;
    }
  }
  const had = (bufState(desc) & BM_TAG_VALID) != 0;
  if (claim(index)) return had ? CLAIMED_EVICTED : CLAIMED;
  unpin(index);
  assert(my_procno != NONE);
  return NOT_CLAIMED;
}

/** Takes the tag of a buffer pinned by this backend alone, clean and without I/O. */
export function claim(index: u32): bool {
  const desc = descAt(index);
  const word = changetype<usize>(desc);
  const bucket = desc.hash_bucket;
  const state = bufState(desc);
  const taken = ownPins(index) != 1 || (state & BUF_REFCOUNT_MASK) != 1
    || (state & (BM_DIRTY | BM_IO_IN_PROGRESS)) != 0;
  if (taken) return false;
  if (bucket == 0) return compareExchange32(word, state, 1) == state;
  lockPartition(bucket - 1);
  // While a tag is there its chain is; what has come meanwhile changed the state.
  const mine = desc.hash_bucket == bucket && compareExchange32(word, state, 1) == state;
  if (mine) unlink(bucket - 1, index + 1);
  unlockPartition(bucket - 1);
  assert(tagOf(desc) != 0);
  return mine;
}

/** A write-back this backend began has failed since: whoever needs a buffer is told, once. */
export function tellWriteFailed(): i32 {
  const storage = my_storage();
  assert(storage.write_failed != 0);
  storage.write_failed = 0;
  const at = changetype<usize>(storage) + offsetof<PgAioStorage>("write_word");
  return fail(E_IO_FAILED, NONE, 0, <f64>at);
}
