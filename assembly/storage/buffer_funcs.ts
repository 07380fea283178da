/**
 * The buffer pool's exports: what comes in is checked here, then bufmgr.ts and its neighbours do
 * it. Buffer numbers are PostgreSQL's: from 1 a shared one, below 0 a local one. `nowait`: 1 to
 * answer BLOCKED instead of waiting.
 */
import {
  E_BAD_ADDRESS, E_BAD_BUFFER, E_BAD_RELATION, E_BUFFER_BUSY, E_BUFFER_IO, E_LOCKED, E_NOT_LOCKED,
  E_NOT_PINNED, E_NO_BACKEND, E_PINS_FULL, E_READ_BLOCKS, OK, fail,
} from "../errors";
import { my_procno } from "../aio/backend";
import { checkMayAct } from "../aio/check";
import { BLOCKED, NONE, READ_BUFFERS_NOWAIT, READ_BUFFERS_SYNCHRONOUSLY } from "../aio/types";
import { loadAcquire64 } from "../shm/atomics";
import { buffer_control_at, handleId, isCallers } from "../shm/layout";
import { lockAcquire, lockRelease } from "../shm/lock";
import { block_size, io_max_combine_limit, shared_buffers } from "../shm/settings";
import {
  BM_DIRTY, BM_IO_ERROR, BM_IO_IN_PROGRESS, BM_JUST_DIRTIED, BM_TAG_VALID, BM_VALID, BP_COUNT,
  BP_EXCLUSIVE, BP_IO, BP_SHARE, BUFFER_LOCK_EXCLUSIVE, BUFFER_LOCK_SHARE, BUFFER_LOCK_UNLOCK,
  BUF_REFCOUNT_MASK, IO_ALREADY_DONE, IO_READY, REL_REF_BYTES, REL_TEMP, RelFileRef, armBuffer,
  bufState, changeState, descAt, finishBufferIO, lockContent, my_pinned, ownPins, pageAt, pinAgain,
  startBufferIO, tagIs, unlockContent, unpin, wrefGeneration, wrefHandle, wrefWord,
} from "./buf";
import { forgetSyncOf, syncRequests } from "./buf_write";
import {
  READ_OPERATION_BYTES, ReadBuffersOperation, allocBuffer, found, startReadBuffers,
  waitReadBuffers,
} from "./bufmgr";
import { FLUSH_OPERATION_BYTES, FlushOperation, flushStep, pinHeld } from "./flush";
import {
  AccessStrategy, BAS_BULKREAD, BAS_BULKWRITE, BAS_VACUUM, PgAioBufferControl, checkStrategy, claim,
  pinLimit, ringBlocks, waitBuffer,
} from "./freelist";
import {
  allocLocal, dropLocal, finishLocalIO, flushLocal, isLocal, localCount, localDesc, localPage,
  localPinned, localPins, localValid, pinLocal, startLocalIO, unpinLocal,
} from "./localbuf";
import { SCRATCH_ONE, scratchAt } from "./scratch";
import { checkRelation, extendRelation, unlinkRelation } from "./smgr";

/** A structure of the caller's; an address of what the call is about. */
function checkPlace(at: u32, bytes: u32): i32 {
  const usable = (at & 3) == 0 && isCallers(at, bytes);
  assert(bytes > 0);
  return usable ? OK : fail(E_BAD_ADDRESS, NONE, 0, at, bytes);
}

/** A relation fork in callers' memory, for a backend that may act. */
export function checkFork(rel: u32): i32 {
  let rc = checkMayAct();
  if (rc < 0) return rc;
  rc = checkPlace(rel, REL_REF_BYTES);
  assert(rel != 0 || rc < 0);
  return rc < 0 ? rc : checkRelation(rel);
}

/** A buffer that this backend has pinned. */
function checkPinned(buffer: i32): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  assert(shared_buffers > 0);
  if (buffer > 0 && <u32>buffer <= shared_buffers) {
    return (ownPins(buffer - 1) & BP_COUNT) != 0 ? OK : fail(E_NOT_PINNED, NONE, 0, buffer);
  }
  if (!isLocal(buffer)) return fail(E_BAD_BUFFER, NONE, 0, buffer);
  return localPins(buffer) != 0 ? OK : fail(E_NOT_PINNED, NONE, 0, buffer);
}

function checkOperation(op: u32): i32 {
  let rc = checkMayAct();
  if (rc < 0) return rc;
  rc = checkPlace(op, READ_OPERATION_BYTES);
  if (rc < 0) return rc;
  rc = checkRelation(op);
  assert(op != 0);
  return rc < 0 ? rc : checkStrategy(changetype<ReadBuffersOperation>(op).strategy);
}

// Reading.

/**
 * Begins to read the blocks from `blockNum` on of the operation's relation. `buffers`: i32 each,
 * 0 or a buffer pinned for that block before. `nblocks`: address of a u32, how many are wanted, and
 * how many this is about afterwards. 0: the first is there; 1: WaitReadBuffers is to be called; or
 * BLOCKED (with READ_BUFFERS_NOWAIT).
 */
export function StartReadBuffers(op: u32, buffers: u32, blockNum: u32, nblocks: u32,
  flags: u32): i32 {
  let rc = checkOperation(op);
  if (rc < 0) return rc;
  rc = checkPlace(nblocks, 4);
  if (rc < 0) return rc;
  const wanted = min(load<u32>(nblocks), io_max_combine_limit);
  assert(io_max_combine_limit > 0);
  rc = checkPlace(buffers, 4 * max<u32>(wanted, 1));
  if (rc < 0) return rc;
  return startReadBuffers(changetype<ReadBuffersOperation>(op), buffers, blockNum, nblocks, flags);
}

/** Ends it: 0, 1 when it had to wait, BLOCKED, or an error: the result is in the operation. */
export function WaitReadBuffers(op: u32, nowait: u32): i32 {
  let rc = checkOperation(op);
  if (rc < 0) return rc;
  const read = changetype<ReadBuffersOperation>(op);
  const count = read.nblocks;
  if (count == 0 || count > io_max_combine_limit || read.nblocks_done > count) {
    return fail(E_READ_BLOCKS, NONE, 0, read.blocknum, count);
  }
  rc = checkPlace(read.buffers, 4 * count);
  if (rc < 0) return rc;
  const temp = (read.bits & REL_TEMP) != 0;
  for (let i: u32 = 0; i < count; i++) {
    const buffer = load<i32>(<usize>read.buffers + 4 * <usize>i);
    rc = checkPinned(buffer);
    if (rc < 0) return rc;
    if ((buffer < 0) != temp) return fail(E_BAD_BUFFER, NONE, 0, buffer);
  }
  assert(count > 0);
  return waitReadBuffers(read, nowait != 0);
}

/**
 * Pins the buffer of one block of a shared relation, read in if need be by this thread itself. Its
 * number. With READ_BUFFERS_NOWAIT 0 when the page is not there: start an operation then.
 */
export function ReadBuffer(rel: u32, blockNum: u32, flags: u32, strategy: u32): i32 {
  let rc = checkFork(rel);
  if (rc < 0) return rc;
  rc = checkStrategy(strategy);
  if (rc < 0) return rc;
  const nowait = (flags & READ_BUFFERS_NOWAIT) != 0;
  if ((changetype<RelFileRef>(rel).bits & REL_TEMP) != 0) {
    return fail(E_BAD_RELATION, NONE, 0, changetype<RelFileRef>(rel).relNumber, REL_TEMP);
  }
  if (blockNum == 0xffffffff) return fail(E_READ_BLOCKS, NONE, 0, blockNum, 1);
  const number = allocBuffer(rel, blockNum, strategy, nowait);
  if (number <= 0 || found) return number;
  if (nowait) {
    unpin(number - 1);
    return 0;
  }
  assert(number > 0);
  return readOne(rel, blockNum, flags, number);
}

function readOne(rel: usize, blockNum: u32, flags: u32, number: i32): i32 {
  const at = scratchAt() + SCRATCH_ONE;
  const op = changetype<ReadBuffersOperation>(at);
  const buffers = at + READ_OPERATION_BYTES;
  memory.copy(at, rel, REL_REF_BYTES);
  op.strategy = 0;
  store<i32>(buffers, number);
  store<u32>(buffers, 1, 4);
  let rc = startReadBuffers(op, buffers, blockNum, buffers + 4, flags | READ_BUFFERS_SYNCHRONOUSLY);
  if (rc == 1) rc = waitReadBuffers(op, false);
  assert(rc != BLOCKED);
  if (rc >= 0) return number;
  unpin(number - 1);
  return rc;
}

/** Pins the buffer of a block without reading it. 1 its page is there, 0 not, BLOCKED, or error. */
export function PinBufferForBlock(op: u32, blockNum: u32, buffer: u32, nowait: u32): i32 {
  let rc = checkOperation(op);
  if (rc < 0) return rc;
  rc = checkPlace(buffer, 4);
  if (rc < 0) return rc;
  if (blockNum == 0xffffffff) return fail(E_READ_BLOCKS, NONE, 0, blockNum, 1);
  const read = changetype<ReadBuffersOperation>(op);
  const temp = (read.bits & REL_TEMP) != 0;
  const number = temp ? allocLocal(op, blockNum, nowait != 0)
    : allocBuffer(op, blockNum, read.strategy, nowait != 0);
  if (number < 0) return number;
  if (number == 0) return BLOCKED;
  assert(number > 0);
  store<i32>(buffer, temp ? -number : number);
  return <i32>(temp ? localValid(-number) : found);
}

// Pins, locks, pages.

/** Lets one pin go. */
export function ReleaseBuffer(buffer: i32): i32 {
  const rc = checkPinned(buffer);
  if (rc < 0) return rc;
  if (buffer < 0) {
    unpinLocal(buffer);
    return OK;
  }
  const own = ownPins(buffer - 1);
  if ((own & BP_COUNT) == 1 && own != 1) {
    return fail((own & BP_IO) != 0 ? E_BUFFER_IO : E_LOCKED, NONE, 0, buffer);
  }
  assert(own > 0);
  unpin(buffer - 1);
  return OK;
}

/** One pin more of a buffer that is pinned. */
export function IncrBufferRefCount(buffer: i32): i32 {
  const rc = checkPinned(buffer);
  if (rc < 0) return rc;
  if (buffer < 0) {
    pinLocal(buffer, false);
    return OK;
  }
  assert(ownPins(buffer - 1) > 0);
  if ((ownPins(buffer - 1) & BP_COUNT) == BP_COUNT) return fail(E_PINS_FULL, NONE, 0, buffer);
  pinAgain(buffer - 1);
  return OK;
}

/** Address of the page of a pinned buffer, block_size bytes. */
export function BufferGetPage(buffer: i32): f64 {
  const rc = checkPinned(buffer);
  assert(block_size > 0);
  if (rc < 0) return rc;
  return buffer > 0 ? <f64>pageAt(buffer - 1) : <f64>localPage(buffer);
}

/** Whether a pinned buffer holds its page: 1 or 0. */
export function BufferIsValid(buffer: i32): i32 {
  const rc = checkPinned(buffer);
  assert(shared_buffers > 0);
  if (rc < 0) return rc;
  if (buffer < 0) return <i32>localValid(buffer);
  return <i32>((bufState(descAt(buffer - 1)) & BM_VALID) != 0);
}

/** Address of a pinned buffer's BufferDesc. */
export function GetBufferDescriptor(buffer: i32): f64 {
  const rc = checkPinned(buffer);
  assert(shared_buffers > 0);
  if (rc < 0) return rc;
  return <f64>changetype<usize>(buffer > 0 ? descAt(buffer - 1) : localDesc(buffer));
}

/** Takes (BUFFER_LOCK_SHARE, _EXCLUSIVE) or gives back (_UNLOCK) the content lock. */
export function LockBuffer(buffer: i32, mode: u32, nowait: u32): i32 {
  const rc = checkPinned(buffer);
  if (rc < 0) return rc;
  if (mode > BUFFER_LOCK_EXCLUSIVE) return fail(E_NOT_LOCKED, NONE, 0, buffer, mode);
  if (buffer < 0) return OK; // nobody else can see it
  const held = (ownPins(buffer - 1) & (BP_SHARE | BP_EXCLUSIVE)) != 0;
  if (mode == BUFFER_LOCK_UNLOCK) {
    if (!held) return fail(E_NOT_LOCKED, NONE, 0, buffer);
    unlockContent(buffer - 1);
    return OK;
  }
  assert(mode == BUFFER_LOCK_SHARE || mode == BUFFER_LOCK_EXCLUSIVE);
  if (held) return fail(E_LOCKED, NONE, 0, buffer);
  return lockContent(buffer - 1, mode == BUFFER_LOCK_EXCLUSIVE, nowait != 0);
}

/** The page was changed under the exclusive lock, and will be written. */
export function MarkBufferDirty(buffer: i32): i32 {
  const rc = checkPinned(buffer);
  if (rc < 0) return rc;
  if (buffer < 0) {
    localDesc(buffer).buf_state |= BM_DIRTY;
    return OK;
  }
  if ((ownPins(buffer - 1) & BP_EXCLUSIVE) == 0) return fail(E_NOT_LOCKED, NONE, 0, buffer);
  assert((bufState(descAt(buffer - 1)) & BUF_REFCOUNT_MASK) > 0);
  changeState(descAt(buffer - 1), 0, BM_DIRTY | BM_JUST_DIRTIED);
  return OK;
}

/** A backend's share of the pool: pins it should not exceed. */
export function GetPinLimit(): i32 {
  return my_procno == NONE ? fail(E_NO_BACKEND) : <i32>pinLimit();
}
/** What is left of it; 0 when it is used up. */
export function GetAdditionalPinLimit(): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  assert(my_pinned <= shared_buffers);
  return my_pinned >= pinLimit() ? 0 : <i32>(pinLimit() - my_pinned);
}
export function GetLocalPinLimit(): i32 {
  return my_procno == NONE ? fail(E_NO_BACKEND) : <i32>localCount();
}
export function GetAdditionalLocalPinLimit(): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  assert(localPinned() <= localCount());
  return localCount() - localPinned();
}

// Access strategies.

/**
 * Makes an access strategy of `bytes` bytes at `at`: its ring is as long as PostgreSQL's for `kind`
 * (BAS_*) and, for a bulk read, `concurrency` I/Os; or as there is room. Its number of buffers.
 */
export function GetAccessStrategy(at: u32, bytes: u32, kind: u32, concurrency: u32): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  const rc = checkPlace(at, bytes < 16 ? 16 : bytes);
  if (rc < 0) return rc;
  const known = kind == BAS_BULKREAD || kind == BAS_BULKWRITE || kind == BAS_VACUUM;
  if (!known) return checkStrategy(1);
  const strategy = changetype<AccessStrategy>(at);
  memory.fill(at, 0, bytes);
  strategy.kind = kind;
  strategy.nbuffers = min(ringBlocks(kind, min(concurrency, 1000), block_size), (bytes - 12) / 4);
  assert(strategy.nbuffers > 0);
  return strategy.nbuffers;
}

/** Pins a reader with this strategy should not exceed (GetAccessStrategyPinLimit). */
export function GetAccessStrategyPinLimit(strategy: u32): i32 {
  const rc = checkStrategy(strategy);
  assert(shared_buffers > 0);
  if (rc < 0) return rc;
  if (strategy == 0) return shared_buffers;
  const ring = changetype<AccessStrategy>(strategy);
  return ring.kind == BAS_BULKREAD ? ring.nbuffers : max<u32>(1, ring.nbuffers / 2);
}

// I/O on a buffer by hand.

/** Begins I/O on a pinned buffer. 1 it may, 0 there is nothing to do, BLOCKED or an error. */
export function StartBufferIO(buffer: i32, for_input: u32, nowait: u32): i32 {
  const rc = checkMayAct();
  if (rc < 0) return rc;
  const pinned = checkPinned(buffer);
  if (pinned < 0) return pinned;
  if (buffer < 0) return startLocalIO(buffer);
  if ((ownPins(buffer - 1) & BP_IO) != 0 && nowait == 0) return fail(E_BUFFER_IO, NONE, 0, buffer);
  while (true) { // each round another's I/O on it has ended
    const begun = startBufferIO(buffer - 1, for_input != 0);
    if (begun == IO_READY || begun == IO_ALREADY_DONE) return begun;
    assert(begun == BLOCKED);
    if (nowait != 0) return BLOCKED;
    const waited = waitBuffer(buffer - 1, false);
    if (waited != OK) return waited;
  }
}

/** Ends what StartBufferIO began: 1 it went well (for input the page is valid then). */
export function TerminateBufferIO(buffer: i32, for_input: u32, succeeded: u32): i32 {
  const rc = checkPinned(buffer);
  if (rc < 0) return rc;
  const valid = for_input != 0 && succeeded != 0 ? BM_VALID : 0;
  if (buffer < 0) {
    finishLocalIO(buffer, valid);
    return OK;
  }
  if ((ownPins(buffer - 1) & BP_IO) == 0) return fail(E_BUFFER_IO, NONE, 0, buffer);
  assert((bufState(descAt(buffer - 1)) & BM_IO_IN_PROGRESS) != 0);
  const set = succeeded != 0 ? valid : BM_IO_ERROR;
  finishBufferIO(buffer - 1, for_input == 0 && succeeded != 0, set);
  return OK;
}

/**
 * For waits that do not block: the state word of a pinned buffer while I/O is on it, to sleep on
 * while it has that value; 0 when there is none. It is woken when the I/O ends.
 */
export function pgaio_buffer_arm(buffer: i32): f64 {
  const rc = checkPinned(buffer);
  if (rc < 0 || buffer < 0) return min(rc, 0);
  assert(shared_buffers > 0);
  return <f64>armBuffer(descAt(buffer - 1));
}

/** Copies the reference to the I/O on a pinned buffer to `wref`: 1, or 0 when there is none. */
export function pgaio_buffer_wref(buffer: i32, wref: u32): i32 {
  let rc = checkPinned(buffer);
  if (rc < 0) return rc;
  rc = checkPlace(wref, 12);
  if (rc < 0) return rc;
  const desc = buffer > 0 ? descAt(buffer - 1) : localDesc(buffer);
  const packed = loadAcquire64(wrefWord(desc));
  const generation = packed == 0 ? 0 : wrefGeneration(packed);
  if (generation == 0) return 0;
  store<u32>(wref, handleId(wrefHandle(packed)));
  store<u32>(wref, <u32>(generation >> 32), 4);
  store<u32>(wref, <u32>generation, 8);
  assert(generation != 0);
  return 1;
}

// Relations and the pool.

/** Takes the page out of a buffer nobody has pinned: 1, or 0 when it is in use or dirty. */
export function EvictUnpinnedBuffer(buffer: i32): i32 {
  const rc = checkMayAct();
  if (rc < 0) return rc;
  if (buffer <= 0 || <u32>buffer > shared_buffers) return fail(E_BAD_BUFFER, NONE, 0, buffer);
  if (!pinHeld(buffer - 1)) return 0;
  const evicted = claim(buffer - 1);
  unpin(buffer - 1);
  assert(my_procno != NONE);
  return <i32>evicted;
}

/**
 * Forgets what is in buffers of a fork from block `firstBlock` on, dirty or not: it is cut or
 * removed next. I/O under way is waited for; a pin of anybody's is an error.
 */
export function DropRelationBuffers(rel: u32, firstBlock: u32, nowait: u32): i32 {
  const rc = checkFork(rel);
  if (rc < 0) return rc;
  if ((changetype<RelFileRef>(rel).bits & REL_TEMP) != 0) {
    return dropLocal(rel, firstBlock, nowait != 0);
  }
  for (let index: u32 = 0; index < shared_buffers; index++) {
    const desc = descAt(index);
    while ((bufState(desc) & BM_TAG_VALID) != 0 && desc.blockNum >= firstBlock
      && tagIs(desc, rel, desc.blockNum)) { // until its I/O is over and it is gone
      if (!pinHeld(index)) continue;
      let waited = waitBuffer(index, nowait != 0);
      const pins = (bufState(desc) & BUF_REFCOUNT_MASK) + (ownPins(index) & BP_COUNT) - 1;
      if (waited == OK && pins == 1) {
        changeState(desc, BM_DIRTY | BM_JUST_DIRTIED, 0);
        claim(index);
      } else if (waited == OK) waited = fail(E_BUFFER_BUSY, NONE, 0, desc.blockNum, pins - 1);
      unpin(index);
      if (waited != OK) return waited;
    }
  }
  assert(my_procno != NONE);
  return OK;
}

/** Goes on with a flush (FlushOperation, all zero at first): 0 done, BLOCKED, or an error. */
export function FlushBuffers(op: u32, nowait: u32): i32 {
  let rc = checkMayAct();
  if (rc < 0) return rc;
  rc = checkPlace(op, FLUSH_OPERATION_BYTES);
  if (rc < 0) return rc;
  const flush = changetype<FlushOperation>(op);
  if (flush.relNumber != 0) {
    rc = checkRelation(op);
    if (rc < 0) return rc;
    if ((flush.bits & REL_TEMP) != 0) return flushLocal(op);
  }
  assert(flush.phase <= 4);
  return flushStep(flush, nowait != 0);
}

/** Segments that have been written and not synced. */
export function pgaio_sync_requests(): i32 {
  return my_procno == NONE ? fail(E_NO_BACKEND) : <i32>syncRequests();
}

/**
 * Makes a relation `count` blocks longer, with a pinned buffer of zeros for each, numbers at
 * `buffers` (ExtendBufferedRelBy). The first new block; or an error, and nothing is pinned. With
 * `nowait` blocks whose buffer could not be had without waiting have 0: the file has their zeros.
 */
export function ExtendBufferedRelBy(rel: u32, count: u32, buffers: u32, nowait: u32): f64 {
  let rc = checkFork(rel);
  if (rc < 0) return rc;
  if (count == 0 || count > 65536) return fail(E_READ_BLOCKS, NONE, 0, 0, count);
  rc = checkPlace(buffers, 4 * count);
  if (rc < 0) return rc;
  const lock = buffer_control_at + offsetof<PgAioBufferControl>("extend_lock");
  lockAcquire(lock);
  const first = extendRelation(rel, count);
  lockRelease(lock);
  if (first < 0) return first;
  for (let i: u32 = 0; i < count; i++) {
    rc = zeroBlock(rel, <u32>first + i, buffers + 4 * i, nowait != 0);
    if (rc >= 0) continue;
    while (i-- > 0) {
      const buffer = load<i32>(<usize>buffers + 4 * <usize>i);
      if (buffer != 0) ReleaseBuffer(buffer);
    }
    return rc;
  }
  assert(count > 0);
  return first;
}

/** Pins a buffer for a block that the file has as zeros, or none if it would have to wait. */
function zeroBlock(rel: usize, block: u32, to: usize, nowait: bool): i32 {
  const temp = (changetype<RelFileRef>(rel).bits & REL_TEMP) != 0;
  const number = temp ? allocLocal(rel, block, nowait) : allocBuffer(rel, block, 0, nowait);
  store<i32>(to, 0);
  if (number <= 0) return number;
  const buffer = temp ? -number : number;
  const rc = StartBufferIO(buffer, 1, <u32>nowait);
  if (rc < 0 || rc == BLOCKED) {
    ReleaseBuffer(buffer);
    return rc < 0 ? rc : OK;
  }
  if (rc == IO_READY) {
    memory.fill(temp ? localPage(buffer) : pageAt(number - 1), 0, block_size);
    TerminateBufferIO(buffer, 1, 1);
  }
  assert(rc == IO_READY || rc == IO_ALREADY_DONE);
  store<i32>(to, buffer);
  return OK;
}

/** Removes a fork: its buffers, then its files, and nothing of it needs to be synced any more. */
export function pgaio_drop_relation(rel: u32, nowait: u32): i32 {
  const rc = DropRelationBuffers(rel, 0, nowait);
  if (rc != OK) return rc;
  assert(rel != 0);
  forgetSyncOf(rel);
  return unlinkRelation(rel);
}
