// @layout
//   31  30  29  28  27  26  25  24  23  22  21    18 17              0
// ├───┬───┬───┬───┬───┬───┬───┬───┬───┬───┬─────────┬────────────────┤  BufferDesc.buf_state
// │PER│CKP│ - │JDI│ERR│IIP│TAG│VAL│DIR│IOW│usage : 4│ refcount : 18  │
// └───┴───┴───┴───┴───┴───┴───┴───┴───┴───┴─────────┴────────────────┘
/**
 * Buffers of the pool: their descriptors, pins, content locks and the start and end of I/O on them
 * (buf_internals.h; the lower half of bufmgr.c). PostgreSQL's bits, save that no header is locked:
 * a thread can be ended anywhere, so each change is one compare-and-exchange of the state word.
 *
 * A backend counts its own pins of a buffer in a u16 of its own; the buffer counts backends. That
 * array is also what tells the heir of a dead backend what to let go.
 *
 * A tag changes only while nobody else has the buffer pinned and TAG_VALID is down. Who finds a
 * buffer by its tag without a lock pins it and looks again: it is the right one then, or let go.
 */
import { may_block, my_procno, my_thread } from "../aio/backend";
import { PgAioHandle } from "../aio/handle";
import {
  compareExchange32, compareExchange64, fetchAdd32, futexWait, futexWake, loadAcquire32,
  loadAcquire64, storeRelease64,
} from "../shm/atomics";
import {
  buffer_descs_at, buffer_pins_at, buffers_at, bufferPinsBytes, handleAt, handleId,
} from "../shm/layout";
import { block_size, max_backends, shared_buffers } from "../shm/settings";
import { BUFFER_DESC_BYTES, BUFFER_PIN_BYTES } from "../shm/sizes";
import { generationOf } from "../aio/wait";
import { BLOCKED } from "../aio/types";
import { E_CANNOT_WAIT, E_MAY_NOT_BLOCK, OK, fail } from "../errors";

/** A fork of a relation, as callers name it (RelFileLocator, fork number and persistence). */
@unmanaged export class RelFileRef {
  spcOid: u32; //     0  tablespace: 1663 pg_default, 1664 pg_global
  dbOid: u32; //      4  database, 0 for shared relations
  relNumber: u32; //  8  relation file number
  bits: u32; //      12  fork in bits 0 .. 7, REL_TEMP
}
export const REL_REF_BYTES: u32 = 16;
/** The relation is temporary: local buffers, files of this backend alone. */
export const REL_TEMP: u32 = 0x100;
export const REL_FORK_MASK: u32 = 0xff;

@unmanaged export class BufferDesc {
  buf_state: u32; //     0  BM_* bits, usage count, number of backends that have it pinned
  content_lock: u32; //  4  BL_EXCLUSIVE, BL_WAITERS, number of shares; of a local one its page
  spcOid: u32; //        8  RelFileRef of its page, while BM_TAG_VALID
  dbOid: u32; //        12
  relNumber: u32; //    16
  bits: u32; //         20
  blockNum: u32; //     24  counted over the whole relation
  hash_next: u32; //    28  buffer number of the next in its chain, 0 at the end
  hash_bucket: u32; //  32  chain it is linked into and one, 0 for none
  reserved: u32; //     36
  io_wref: u64; //      40  I/O that reads or writes it: handle id in 20 bits, generation above
}
if (offsetof<BufferDesc>() > BUFFER_DESC_BYTES) ERROR("BufferDesc outgrew its place");
if (offsetof<BufferDesc>("io_wref") % 8 != 0) ERROR("64-bit atomics trap when misaligned");

export const BUF_REFCOUNT_MASK: u32 = 0x3ffff;
export const BUF_USAGECOUNT_ONE: u32 = 0x40000;
export const BUF_USAGECOUNT_MASK: u32 = 0x3c0000;
export const BM_MAX_USAGE_COUNT: u32 = 5;
export const BM_IO_WAITERS: u32 = 0x400000; // somebody sleeps until IO_IN_PROGRESS is down
export const BM_DIRTY: u32 = 0x800000; // must be written
export const BM_VALID: u32 = 0x1000000; // holds its page
export const BM_TAG_VALID: u32 = 0x2000000; // its tag says which
export const BM_IO_IN_PROGRESS: u32 = 0x4000000; // being read or written; not to be evicted
export const BM_IO_ERROR: u32 = 0x8000000; // the last I/O failed
export const BM_JUST_DIRTIED: u32 = 0x10000000; // dirtied since the write began
export const BM_CHECKPOINT_NEEDED: u32 = 0x40000000; // to be written by the flush under way
export const BM_PERMANENT: u32 = 0x80000000; // not of an unlogged relation

/** How far a use counts: to 5; to 1, so that a scan does not keep what it passes; not at all. */
export const USE_FULL: u32 = BM_MAX_USAGE_COUNT * BUF_USAGECOUNT_ONE;
export const USE_RING: u32 = BUF_USAGECOUNT_ONE;
export const USE_NONE: u32 = 0;

/** One backend's u16 per buffer: how often it has it pinned, and what it does with it. */
export const BP_COUNT: u32 = 0xfff;
export const BP_SHARE: u32 = 0x1000; // holds the content lock with others
export const BP_EXCLUSIVE: u32 = 0x2000; // holds it alone
export const BP_IO: u32 = 0x4000; // has begun I/O on it that no handle has taken over yet

export const BL_EXCLUSIVE: u32 = 0x80000000;
export const BL_WAITERS: u32 = 0x40000000;
const BL_SHARES: u32 = 0xffff;

/** Modes of LockBuffer, PostgreSQL's numbers. */
export const BUFFER_LOCK_UNLOCK: u32 = 0;
export const BUFFER_LOCK_SHARE: u32 = 1;
export const BUFFER_LOCK_EXCLUSIVE: u32 = 2;

/** Answers of startBufferIO. */
export const IO_ALREADY_DONE: i32 = 0;
export const IO_READY: i32 = 1;
export const IO_IS_IN_PROGRESS: i32 = 2;

const LOOK_AGAIN_NS: i64 = 100_000_000;
const WREF_ID_BITS: u64 = 20;
const WREF_ID_MASK: u64 = 0xfffff;
const WREF_GENERATION_MASK: u64 = 0xfffffffffff; // 44 bits: no handle is used that often

/** This backend's pin counts. */
let my_pins_at: usize = 0;
/** Buffers this backend has pinned. */
export let my_pinned: u32 = 0;

export function adoptPins(procno: i32): void {
  assert(procno >= 0);
  my_pins_at = buffer_pins_at + <usize>procno * bufferPinsBytes();
  my_pinned = 0;
}

@inline export function descAt(index: u32): BufferDesc {
  return changetype<BufferDesc>(buffer_descs_at + <usize>index * BUFFER_DESC_BYTES);
}
@inline export function indexOf(desc: BufferDesc): u32 {
  return <u32>((changetype<usize>(desc) - buffer_descs_at) / BUFFER_DESC_BYTES);
}
@inline export function tagOf(desc: BufferDesc): usize {
  return changetype<usize>(desc) + offsetof<BufferDesc>("spcOid");
}
@inline export function pageAt(index: u32): usize {
  return buffers_at + <usize>index * block_size;
}
@inline export function bufState(desc: BufferDesc): u32 {
  return loadAcquire32(changetype<usize>(desc));
}
@inline function pinsOf(index: u32): usize {
  return my_pins_at + <usize>index * BUFFER_PIN_BYTES;
}
/** BP_* of this backend. */
@inline export function ownPins(index: u32): u32 { return load<u16>(pinsOf(index)); }
@inline function setOwnPins(index: u32, value: u32): void { store<u16>(pinsOf(index), <u16>value); }

@inline export function tagIs(desc: BufferDesc, rel: usize, block: u32): bool {
  return desc.blockNum == block && load<u64>(tagOf(desc)) == load<u64>(rel)
    && load<u64>(tagOf(desc), 8) == load<u64>(rel, 8);
}

// Pins.

/**
 * Pins a buffer if it holds block `block` of `rel`, whatever another thread does meanwhile. The use
 * is counted up to `most` (USE_*).
 */
export function pinIfTag(index: u32, rel: usize, block: u32, most: u32): bool {
  const desc = descAt(index);
  const own = ownPins(index);
  if ((own & BP_COUNT) != 0) { // nobody can change its tag
    if (!tagIs(desc, rel, block) || (bufState(desc) & BM_TAG_VALID) == 0) return false;
    if ((own & BP_COUNT) == BP_COUNT) return false; // more than can be counted
    setOwnPins(index, own + 1);
    return true;
  }
  let state = bufState(desc);
  while (true) { // another thread changed the state: progress
    if ((state & BM_TAG_VALID) == 0) return false;
    const usage = state & BUF_USAGECOUNT_MASK;
    const after = state + 1 + (usage < most ? BUF_USAGECOUNT_ONE : 0);
    const before = compareExchange32(changetype<usize>(desc), state, after);
    if (before == state) break;
    state = before;
  }
  assert(own == 0);
  setOwnPins(index, 1);
  my_pinned++;
  if (tagIs(desc, rel, block) && (bufState(desc) & BM_TAG_VALID) != 0) return true;
  unpin(index);
  return false;
}

/** Pins a buffer nobody has pinned and that no I/O is on, in exactly this state. */
export function pinUnused(index: u32, state: u32): bool {
  assert((state & (BUF_REFCOUNT_MASK | BM_IO_IN_PROGRESS)) == 0);
  const word = changetype<usize>(descAt(index));
  if (compareExchange32(word, state, state + 1) != state) return false;
  setOwnPins(index, 1);
  my_pinned++;
  return true;
}

/** Lets one pin go. */
export function unpin(index: u32): void {
  const own = ownPins(index);
  assert((own & BP_COUNT) > 0, "not pinned by this backend");
  if ((own & BP_COUNT) > 1) return setOwnPins(index, own - 1);
  assert(own == 1, "a lock or an I/O needs its pin");
  fetchAdd32(changetype<usize>(descAt(index)), 0xffffffff);
  setOwnPins(index, 0);
  my_pinned--;
}

export function pinAgain(index: u32): void {
  const own = ownPins(index);
  assert((own & BP_COUNT) > 0 && (own & BP_COUNT) < BP_COUNT);
  setOwnPins(index, own + 1);
}

/** Sets and clears bits of the state. What it was. */
export function changeState(desc: BufferDesc, clear: u32, set: u32): u32 {
  assert(((clear | set) & BUF_REFCOUNT_MASK) == 0);
  let state = bufState(desc);
  while (true) { // another thread changed it: progress
    const before = compareExchange32(changetype<usize>(desc), state, (state & ~clear) | set);
    if (before == state) return before;
    state = before;
  }
}

// I/O on a buffer.

@inline export function wrefWord(desc: BufferDesc): usize {
  return changetype<usize>(desc) + offsetof<BufferDesc>("io_wref");
}
/** An I/O in one word: what a buffer or a write slot remembers of it. Never 0. */
@inline export function packWref(ioh: PgAioHandle): u64 {
  return (ioh.generation << WREF_ID_BITS) | handleId(ioh);
}
@inline export function wrefHandle(wref: u64): PgAioHandle {
  return handleAt(<u32>(wref & WREF_ID_MASK));
}
/** Generation of that I/O, or 0 if it is over and its handle used again. */
export function wrefGeneration(wref: u64): u64 {
  assert(wref != 0);
  const now = generationOf(wrefHandle(wref));
  return (now & WREF_GENERATION_MASK) == wref >> WREF_ID_BITS ? now : 0;
}

/**
 * Begins I/O on a pinned buffer (StartBufferIO), without waiting. For input there is nothing to do
 * when it is valid, for output when it is clean.
 */
export function startBufferIO(index: u32, for_input: bool): i32 {
  assert((ownPins(index) & BP_COUNT) > 0);
  const desc = descAt(index);
  while (true) { // another thread changed the state: progress
    const state = bufState(desc);
    if (for_input && (state & BM_VALID) != 0) return IO_ALREADY_DONE;
    if ((state & BM_IO_IN_PROGRESS) != 0) return IO_IS_IN_PROGRESS;
    if (!for_input && (state & BM_DIRTY) == 0) return IO_ALREADY_DONE;
    const stale = loadAcquire64(wrefWord(desc));
    if (stale != 0) { // who ended the last I/O has not come to it yet
      if (bufState(desc) == state) compareExchange64(wrefWord(desc), stale, 0);
      continue;
    }
    const after = (state | BM_IO_IN_PROGRESS) & ~(for_input ? 0 : SEEN_BY_WRITE);
    if (compareExchange32(changetype<usize>(desc), state, after) != state) continue;
    setOwnPins(index, ownPins(index) | BP_IO);
    return IO_READY;
  }
}

/** The handle takes over what startBufferIO began: its completion ends it. */
export function handOverIO(index: u32, ioh: PgAioHandle): void {
  assert((ownPins(index) & BP_IO) != 0);
  storeRelease64(wrefWord(descAt(index)), packWref(ioh));
  setOwnPins(index, ownPins(index) & ~BP_IO);
}

/**
 * A write takes all that was changed before it: what a flush marked before is on its way. If it
 * fails the mark is set again.
 */
const SEEN_BY_WRITE: u32 = BM_JUST_DIRTIED | BM_CHECKPOINT_NEEDED;

/** Ends I/O on a buffer (TerminateBufferIO): wakes who sleeps until it is over. */
export function terminateBufferIO(desc: BufferDesc, written: bool, set: u32): void {
  assert((bufState(desc) & BM_IO_IN_PROGRESS) != 0);
  let state = bufState(desc);
  while (true) { // another thread changed it: progress
    let after = state & ~(BM_IO_IN_PROGRESS | BM_IO_ERROR | BM_IO_WAITERS);
    if (written && (state & BM_JUST_DIRTIED) == 0) after &= ~(BM_DIRTY | BM_CHECKPOINT_NEEDED);
    const before = compareExchange32(changetype<usize>(desc), state, after | set);
    if (before == state) break;
    state = before;
  }
  if ((state & BM_IO_WAITERS) != 0) futexWake(changetype<usize>(desc), -1);
}

/** Gives up what startBufferIO began and no handle has taken over (AbortBufferIO). */
export function abortBufferIO(index: u32, set: u32): void {
  assert((ownPins(index) & BP_IO) != 0);
  terminateBufferIO(descAt(index), false, set);
  setOwnPins(index, ownPins(index) & ~BP_IO);
}

/** The same by whoever began it, with its outcome: what tests and buffers without files need. */
export function finishBufferIO(index: u32, written: bool, set: u32): void {
  assert((ownPins(index) & BP_IO) != 0);
  terminateBufferIO(descAt(index), written, set);
  setOwnPins(index, ownPins(index) & ~BP_IO);
}

/** Sleeps until I/O on the buffer that no handle has taken over yet has moved on, or for 100 ms. */
export function sleepOnBuffer(desc: BufferDesc): i32 {
  const state = changeStateIf(desc, BM_IO_IN_PROGRESS, BM_IO_WAITERS);
  if ((state & BM_IO_IN_PROGRESS) == 0) return OK;
  if (isDefined(PGAIO_UNSHARED)) return fail(E_CANNOT_WAIT);
  if (!may_block) return fail(E_MAY_NOT_BLOCK);
  assert((state & BM_IO_WAITERS) != 0);
  futexWait(changetype<usize>(desc), state, LOOK_AGAIN_NS);
  return OK;
}

/** Sets bits while `needed` is set; the state after that. */
function changeStateIf(desc: BufferDesc, needed: u32, set: u32): u32 {
  assert(needed != 0);
  let state = bufState(desc);
  while ((state & needed) != 0 && (state & set) != set) {
    const before = compareExchange32(changetype<usize>(desc), state, state | set);
    if (before == state) return state | set;
    state = before;
  }
  return state;
}

/** For waits that do not block: the state word to sleep on while it has the value given back. */
export function armBuffer(desc: BufferDesc): u32 {
  assert(changetype<usize>(desc) != 0);
  const state = changeStateIf(desc, BM_IO_IN_PROGRESS, BM_IO_WAITERS);
  return (state & BM_IO_IN_PROGRESS) != 0 ? state : 0;
}

// Content locks.

@inline function lockWord(index: u32): usize {
  return changetype<usize>(descAt(index)) + offsetof<BufferDesc>("content_lock");
}

/** Takes the content lock if it is free. */
export function tryLockContent(index: u32, exclusive: bool): bool {
  const own = ownPins(index);
  assert((own & BP_COUNT) > 0 && (own & (BP_SHARE | BP_EXCLUSIVE)) == 0);
  const word = lockWord(index);
  let held = loadAcquire32(word);
  while (true) { // another thread changed it: progress
    if ((held & BL_EXCLUSIVE) != 0 || (exclusive && (held & BL_SHARES) != 0)) return false;
    const before = compareExchange32(word, held, exclusive ? held | BL_EXCLUSIVE : held + 1);
    if (before == held) break;
    held = before;
  }
  setOwnPins(index, own | (exclusive ? BP_EXCLUSIVE : BP_SHARE));
  return true;
}

/** Takes it, waiting for those who have it; BLOCKED instead with `nowait`. */
export function lockContent(index: u32, exclusive: bool, nowait: bool): i32 {
  assert(my_procno >= 0);
  const word = lockWord(index);
  while (true) { // each round somebody let go, or 100 ms have passed
    for (let i: u32 = 0; i < LOCK_SPINS; i++) {
      if (tryLockContent(index, exclusive)) return OK;
    }
    if (nowait) return BLOCKED;
    if (isDefined(PGAIO_UNSHARED)) return fail(E_CANNOT_WAIT);
    if (!may_block) return fail(E_MAY_NOT_BLOCK);
    const held = loadAcquire32(word);
    if ((held & (BL_EXCLUSIVE | BL_SHARES)) == 0) continue;
    const waiting = held | BL_WAITERS;
    if (held == waiting || compareExchange32(word, held, waiting) == held) {
      futexWait(word, waiting, LOOK_AGAIN_NS);
    }
  }
}
const LOCK_SPINS: u32 = isDefined(PGAIO_SIM) ? 2 : 100;

export function unlockContent(index: u32): void {
  const own = ownPins(index);
  assert((own & (BP_SHARE | BP_EXCLUSIVE)) != 0);
  releaseContent(index, (own & BP_EXCLUSIVE) != 0);
  setOwnPins(index, own & ~(BP_SHARE | BP_EXCLUSIVE));
}

function releaseContent(index: u32, exclusive: bool): void {
  const word = lockWord(index);
  let held = loadAcquire32(word);
  while (true) { // another thread changed it: progress
    assert(exclusive ? (held & BL_EXCLUSIVE) != 0 : (held & BL_SHARES) != 0);
    let after = exclusive ? held & ~BL_EXCLUSIVE : held - 1;
    if ((after & BL_SHARES) == 0) after = 0;
    const before = compareExchange32(word, held, after);
    if (before == held) {
      if (after == 0 && (held & BL_WAITERS) != 0) futexWake(word, -1);
      return;
    }
    held = before;
  }
}

// A backend that ends.

/** Lets go all that backend `procno` holds: it has left, or its thread has ended. */
export function dropBuffersOf(procno: u32): void {
  assert(procno < max_backends);
  const pins = buffer_pins_at + <usize>procno * bufferPinsBytes();
  for (let index: u32 = 0; index < shared_buffers; index++) {
    const at = pins + <usize>index * BUFFER_PIN_BYTES;
    const own: u32 = load<u16>(at);
    if (own == 0) continue;
    const desc = descAt(index);
    if ((own & (BP_SHARE | BP_EXCLUSIVE)) != 0) releaseContent(index, (own & BP_EXCLUSIVE) != 0);
    const begun = (own & BP_IO) != 0 && (bufState(desc) & BM_IO_IN_PROGRESS) != 0;
    if (begun && loadAcquire64(wrefWord(desc)) == 0) terminateBufferIO(desc, false, BM_IO_ERROR);
    fetchAdd32(changetype<usize>(desc), 0xffffffff);
    store<u16>(at, 0);
  }
  assert(my_thread != 0);
}
