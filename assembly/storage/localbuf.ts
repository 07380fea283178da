// @layout
/**
 * Local buffers (localbuf.c): pages of temporary relations, which only this backend reads. Numbers
 * are negative. Their descriptors and pages are page frames, taken on first use and as they are
 * needed, so that who has no temporary relations pays nothing.
 *
 * There is no IO_IN_PROGRESS: as long as I/O is under way a buffer has the reference to it. Reads
 * may be asynchronous where the method can; writes are executed at once by this backend.
 */
import {
  E_BUFFER_BUSY, E_IO_FAILED, E_NO_LOCAL_BUFFERS, E_NO_LOCAL_MEMORY, OK, fail,
} from "../errors";
import { my_procno } from "../aio/backend";
import { PgAioHandle, acquireIdle, pgaio_io_release, stateOf } from "../aio/handle";
import { now_result, now_word, resultStatus } from "../aio/result";
import {
  NONE, PGAIO_HCB_LOCAL_BUFFER_READV, PGAIO_HF_REFERENCES_LOCAL, PGAIO_HF_SYNCHRONOUS,
  PGAIO_HS_HANDED_OUT, PGAIO_OP_READV, PGAIO_OP_WRITEV, PGAIO_RS_ERROR,
} from "../aio/types";
import { dataOf } from "../shm/layout";
import { block_size, data_checksums, temp_buffers } from "../shm/settings";
import { BUFFER_DESC_BYTES } from "../shm/sizes";
import {
  BM_DIRTY, BM_IO_ERROR, BM_TAG_VALID, BM_VALID, BUF_REFCOUNT_MASK,
  BUF_USAGECOUNT_MASK, BUF_USAGECOUNT_ONE, BufferDesc, IO_ALREADY_DONE, IO_IS_IN_PROGRESS,
  IO_READY, REL_REF_BYTES, packWref, USE_FULL, tagIs, tagOf, wrefGeneration,
} from "./buf";
import { waitOldest, waitPacked } from "./freelist";
import { pgaio_frames_alloc } from "./frames";
import { mdStart } from "./md";
import { page_set_checksum } from "./page";
import { checkPage, endPages, page_usable, startPages } from "./page_readv";
import { SCRATCH_ONE, scratchAt } from "./scratch";

/** Pages taken at once, as long as there is such a run. */
const CHUNK_PAGES: u32 = 16;

let descs: usize = 0;
let count: u32 = 0;
let heads: usize = 0;
let head_mask: u32 = 0;
let hand: u32 = 0;
let chunk: usize = 0;
let chunk_left: u32 = 0;
let pinned: u32 = 0;

@inline function descOf(number: u32): BufferDesc {
  return changetype<BufferDesc>(descs + <usize>(number - 1) * BUFFER_DESC_BYTES);
}
@inline function numberOf(buffer: i32): u32 { return <u32>-buffer; }

/** Whether `buffer` is the number of a local buffer. */
export function isLocal(buffer: i32): bool {
  return buffer < 0 && numberOf(buffer) <= count;
}
@inline export function localDesc(buffer: i32): BufferDesc { return descOf(numberOf(buffer)); }
@inline export function localPins(buffer: i32): u32 {
  return localDesc(buffer).buf_state & BUF_REFCOUNT_MASK;
}
export function localPinned(): u32 { return pinned; }
export function localCount(): u32 { return count == 0 ? temp_buffers : count; }

/** Takes frames for the descriptors and the heads of their chains. */
function initialize(): i32 {
  assert(descs == 0);
  const buckets = (1 as u32) << (32 - clz<u32>(temp_buffers - 1));
  const bytes = <u64>temp_buffers * BUFFER_DESC_BYTES + 4 * <u64>buckets;
  const frames = <u32>((bytes + block_size - 1) / block_size);
  const at = pgaio_frames_alloc(frames);
  if (at <= 0) return fail(E_NO_LOCAL_MEMORY, NONE, 0, frames);
  descs = <usize>at;
  memory.fill(descs, 0, <usize>bytes);
  count = temp_buffers;
  heads = descs + <usize>count * BUFFER_DESC_BYTES;
  head_mask = buckets - 1;
  return OK;
}

/** The backend leaves, and its frames go with it. */
export function forgetLocalBuffers(): void {
  descs = heads = chunk = 0;
  count = hand = chunk_left = pinned = 0;
  assert(descs == 0);
}

function bucketAt(rel: usize, block: u32): usize {
  const hash = (load<u32>(rel, 8) * 0x9e3779b1 ^ load<u32>(rel, 12) * 0x27d4eb2f) + block;
  assert(heads != 0);
  return heads + 4 * <usize>((hash ^ hash >>> 15) & head_mask);
}

function find(rel: usize, block: u32): u32 {
  let number = load<u32>(bucketAt(rel, block));
  assert(number <= count);
  while (number != 0 && !tagIs(descOf(number), rel, block)) number = descOf(number).hash_next;
  return number;
}

function unlinkLocal(number: u32): void {
  const desc = descOf(number);
  let at = bucketAt(tagOf(desc), desc.blockNum);
  assert((desc.buf_state & BM_TAG_VALID) != 0);
  while (load<u32>(at) != number) {
    at = changetype<usize>(descOf(load<u32>(at))) + offsetof<BufferDesc>("hash_next");
  }
  store<u32>(at, desc.hash_next);
  desc.buf_state &= BUF_REFCOUNT_MASK;
}

/** I/O on a local buffer, or 0 when none is under way. */
export function localWref(buffer: i32): u64 {
  const desc = localDesc(buffer);
  assert(changetype<usize>(desc) != 0);
  return desc.io_wref != 0 && wrefGeneration(desc.io_wref) != 0 ? desc.io_wref : 0;
}

/** Pins the buffer of a block of a temporary relation: its number without sign, 0, or an error. */
export function allocLocal(rel: usize, block: u32, nowait: bool): i32 {
  if (descs == 0) {
    const rc = initialize();
    if (rc < 0) return rc;
  }
  let number = find(rel, block);
  if (number == 0) {
    const victim = localVictim(nowait);
    if (victim <= 0) return victim;
    number = victim;
    const desc = descOf(number);
    memory.copy(tagOf(desc), rel, REL_REF_BYTES);
    desc.blockNum = block;
    desc.buf_state |= BM_TAG_VALID;
    const at = bucketAt(rel, block);
    desc.hash_next = load<u32>(at);
    store<u32>(at, number);
  }
  assert(number <= count);
  pinLocal(-<i32>number, true);
  return number;
}

export function pinLocal(buffer: i32, use: bool): void {
  const desc = localDesc(buffer);
  assert((desc.buf_state & BUF_REFCOUNT_MASK) < BUF_REFCOUNT_MASK);
  if ((desc.buf_state & BUF_REFCOUNT_MASK) == 0) {
    pinned++;
    const more = (desc.buf_state & BUF_USAGECOUNT_MASK) < USE_FULL;
    if (use && more) desc.buf_state += BUF_USAGECOUNT_ONE;
  }
  desc.buf_state++;
}
export function unpinLocal(buffer: i32): void {
  const desc = localDesc(buffer);
  assert((desc.buf_state & BUF_REFCOUNT_MASK) > 0);
  desc.buf_state--;
  if ((desc.buf_state & BUF_REFCOUNT_MASK) == 0) pinned--;
}

/** A buffer for another block: unpinned, clean, without tag, with a page. Number, 0 or an error. */
function localVictim(nowait: bool): i32 {
  let left = count;
  let busy: u64 = 0;
  while (left > 0) { // a use counted down begins the count anew: at most 5 for each buffer
    hand = hand % count + 1;
    const buffer = -<i32>hand;
    const desc = descOf(hand);
    const under_io = localWref(buffer);
    if ((desc.buf_state & BUF_REFCOUNT_MASK) != 0 || under_io != 0) {
      if ((desc.buf_state & BUF_REFCOUNT_MASK) == 0) busy = under_io;
      left--;
      continue;
    }
    if ((desc.buf_state & BUF_USAGECOUNT_MASK) != 0) {
      desc.buf_state -= BUF_USAGECOUNT_ONE;
      left = count;
      continue;
    }
    const rc = emptyLocal(hand);
    return rc < 0 ? rc : hand;
  }
  if (busy == 0) return fail(E_NO_LOCAL_BUFFERS, NONE, 0, count);
  const rc = waitPacked(busy, nowait);
  assert(count > 0);
  return rc == OK ? localVictim(nowait) : min(rc, 0);
}

/** Writes the page if it is dirty, takes the tag, and gives the buffer a page if it has none. */
function emptyLocal(number: u32): i32 {
  const desc = descOf(number);
  if ((desc.buf_state & BM_DIRTY) != 0) {
    const rc = writeLocal(-<i32>number);
    if (rc < 0) return rc;
  }
  if ((desc.buf_state & BM_TAG_VALID) != 0) unlinkLocal(number);
  if (desc.content_lock != 0) return OK;
  if (chunk_left == 0) {
    for (let pages = CHUNK_PAGES; pages > 0 && chunk_left == 0; pages >>= 1) {
      const at = pgaio_frames_alloc(pages);
      if (at <= 0) continue;
      chunk = <usize>at;
      chunk_left = pages;
    }
    if (chunk_left == 0) return fail(E_NO_LOCAL_MEMORY, NONE, 0, 1);
  }
  desc.content_lock = chunk as u32;
  chunk += block_size;
  chunk_left--;
  assert(desc.content_lock != 0);
  return OK;
}

export function localPage(buffer: i32): usize { return <usize>localDesc(buffer).content_lock; }
export function localValid(buffer: i32): bool {
  return (localDesc(buffer).buf_state & BM_VALID) != 0;
}
export function isLocalForward(rel: usize, buffer: i32, block: u32): bool {
  if (!isLocal(buffer)) return false;
  assert(descs != 0);
  return localPins(buffer) != 0 && tagIs(localDesc(buffer), rel, block);
}

/** Whether I/O may be begun on a pinned buffer (StartLocalBufferIO, for input). */
export function startLocalIO(buffer: i32): i32 {
  const desc = localDesc(buffer);
  assert(localPins(buffer) > 0);
  if (localWref(buffer) != 0) return IO_IS_IN_PROGRESS;
  desc.io_wref = 0;
  return (desc.buf_state & BM_VALID) != 0 ? IO_ALREADY_DONE : IO_READY;
}
export function abortLocalIO(buffer: i32): void { localDesc(buffer).buf_state |= BM_IO_ERROR; }
/** Ends what was begun without an I/O. */
export function finishLocalIO(buffer: i32, set: u32): void { localDesc(buffer).buf_state |= set; }

/** Data entry `i` of a handle as a local buffer, 0 if it is none. */
function entryOf(ioh: PgAioHandle, i: u32): i32 {
  const buffer = <i32>load<u64>(dataOf(ioh) + 8 * <usize>i);
  assert(i < ioh.handle_data_len);
  return isLocal(buffer) ? buffer : 0;
}
export function isBegunLocal(ioh: PgAioHandle, i: u32): bool {
  const buffer = entryOf(ioh, i);
  assert(ioh.handle_data_len > 0);
  return buffer != 0 && localPins(buffer) > 0 && !localValid(buffer);
}

/** The I/O takes the buffers over. */
export function stageLocal(ioh: PgAioHandle): void {
  assert(ioh.handle_data_len > 0);
  for (let i: u32 = 0; i < ioh.handle_data_len; i++) {
    const buffer = entryOf(ioh, i);
    if (buffer != 0) localDesc(buffer).io_wref = packWref(ioh);
  }
}

/** PGAIO_HCB_LOCAL_BUFFER_READV, in the issuer when it reclaims the handle. */
export function localReadvComplete(ioh: PgAioHandle, flags: u32): void {
  const failed = resultStatus(now_word) == PGAIO_RS_ERROR || ioh.op != PGAIO_OP_READV;
  const read: u32 = failed ? 0 : <u32>max(now_result, 0);
  startPages();
  for (let i: u32 = 0; i < ioh.handle_data_len; i++) {
    const buffer = entryOf(ioh, i);
    if (buffer == 0 || localDesc(buffer).io_wref != packWref(ioh)) continue;
    const desc = localDesc(buffer);
    let usable = i < read;
    if (usable) {
      checkPage(ioh, localPage(buffer), i, flags, PGAIO_HCB_LOCAL_BUFFER_READV);
      usable = page_usable;
    }
    desc.io_wref = 0;
    desc.buf_state = (desc.buf_state & ~BM_IO_ERROR) | (usable ? BM_VALID : BM_IO_ERROR);
  }
  assert(ioh.handle_data_len > 0);
  if (!failed) endPages(ioh, PGAIO_HCB_LOCAL_BUFFER_READV);
}

/** Writes a dirty local buffer, executed here (FlushLocalBuffer). */
export function writeLocal(buffer: i32): i32 {
  const desc = localDesc(buffer);
  const page = localPage(buffer);
  const ret = scratchAt() + SCRATCH_ONE;
  assert((desc.buf_state & BM_DIRTY) != 0);
  let at = acquireIdle(0, ret as u32);
  while (at == 0) {
    const waited = waitOldest(false);
    if (waited < 0) return waited;
    at = acquireIdle(0, ret as u32);
  }
  if (at < 0) return at;
  const ioh = changetype<PgAioHandle>(at);
  const generation = ioh.generation;
  ioh.flags |= <u8>(PGAIO_HF_SYNCHRONOUS | PGAIO_HF_REFERENCES_LOCAL);
  if (data_checksums) page_set_checksum(page, desc.blockNum, block_size);
  store<u32>(ret + 32, page as u32);
  const rc = mdStart(at, PGAIO_OP_WRITEV, tagOf(desc), desc.blockNum, 1, ret + 32);
  if (rc < 0) {
    const out = ioh.generation == generation && stateOf(ioh) == PGAIO_HS_HANDED_OUT;
    if (out) pgaio_io_release(at);
    return rc;
  }
  if (resultStatus(load<u32>(ret)) == PGAIO_RS_ERROR) return fail(E_IO_FAILED, NONE, 0, <f64>ret);
  desc.buf_state &= ~BM_DIRTY;
  return OK;
}

/** Writes what is dirty of a fork, or of all for rel 0. */
export function flushLocal(rel: usize): i32 {
  assert(my_procno != NONE);
  for (let number: u32 = 1; number <= count; number++) {
    const desc = descOf(number);
    const meant = rel == 0 || tagIs(desc, rel, desc.blockNum);
    if ((desc.buf_state & BM_DIRTY) == 0 || !meant) continue;
    const rc = writeLocal(-<i32>number);
    if (rc < 0) return rc;
  }
  return OK;
}

/** Forgets the pages of a fork from `first` on, when I/O on them is over. OK, BLOCKED or error. */
export function dropLocal(rel: usize, first: u32, nowait: bool): i32 {
  assert(my_procno != NONE);
  for (let number: u32 = 1; number <= count; number++) {
    const desc = descOf(number);
    const dropped = (desc.buf_state & BM_TAG_VALID) != 0 && desc.blockNum >= first
      && tagIs(desc, rel, desc.blockNum);
    if (!dropped) continue;
    const wref = localWref(-<i32>number);
    const rc = wref == 0 ? OK : waitPacked(wref, nowait);
    if (rc != OK) return rc;
    if ((desc.buf_state & BUF_REFCOUNT_MASK) != 0) {
      return fail(E_BUFFER_BUSY, NONE, 0, desc.blockNum, desc.buf_state & BUF_REFCOUNT_MASK);
    }
    unlinkLocal(number);
  }
  return OK;
}
