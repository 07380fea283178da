// @layout
/**
 * Handles: their structure, their states, and the life from acquire to reclaim (aio.c).
 *
 * | state            | entered by            | where the handle is                      |
 * |------------------|-----------------------|------------------------------------------|
 * | IDLE             | owner, in reclaim     | owner's idle stack                       |
 * | HANDED_OUT       | owner, in acquire     | `handed_out_io`                          |
 * | DEFINED          | owner, in start       | nowhere; stage callbacks run             |
 * | STAGED           | owner, in start       | owner's staged array                     |
 * | SUBMITTED        | owner, in submit      | owner's in-flight list                   |
 * | COMPLETED_IO     | whoever learns of it  | owner's in-flight list; callbacks run    |
 * | COMPLETED_SHARED | the same              | owner's in-flight list, until it looks   |
 * | COMPLETED_LOCAL  | owner, in reclaim     | owner's in-flight list, for an instant   |
 */
import {
  E_BAD_ADDRESS, E_NO_BACKEND, E_RELEASE_STATE, E_TWO_HANDED_OUT, OK, fail,
} from "../errors";
import {
  exchange32, fetchAdd32, futexWake, loadAcquire32, storeRelease64,
} from "../shm/atomics";
import {
  doneReturnsBytes, doneReturnsMax, done_returns_at, handleAt, handleId, isCallers,
} from "../shm/layout";
import { HANDLE_SHIFT } from "../shm/sizes";
import { my_backend, my_procno, popIdle, pushIdle, removeInFlight } from "./backend";
import { callCompleteLocal } from "./callback";
import { checkHandle, checkMayAct, checkMine } from "./check";
import { ringOwner } from "./doorbell";
import { submitStaged } from "./io";
import { report } from "./report";
import { checkResourceOwner, forgetIo, rememberIo } from "./resowner";
import { ERROR_MASK, now_result, now_word, resultStatus, resultWord } from "./result";
import { copyTargetData, targetDataAt } from "./target";
import { trace } from "./trace";
import {
  NONE, PGAIO_HS_COMPLETED_IO, PGAIO_HS_COMPLETED_LOCAL, PGAIO_HS_COMPLETED_SHARED,
  PGAIO_HS_DEFINED, PGAIO_HS_HANDED_OUT, PGAIO_HS_IDLE, PGAIO_HS_STAGED, PGAIO_HS_SUBMITTED,
  PGAIO_OP_INVALID, PGAIO_RS_ERROR, PGAIO_RS_PARTIAL, PGAIO_RS_UNKNOWN, PGAIO_SUBMIT_BATCH_SIZE,
  PGAIO_TID_INVALID,
  REPORT_RETURN_LOST, WARNING,
} from "./types";
import { waitForFree } from "./wait";

/** One I/O. Whoever the state gives the handle to writes plain fields; `state` publishes them. */
@unmanaged export class PgAioHandle {
  state: u32; //            0  futex word; written by updateState only
  waiters: u32; //          4  threads that sleep on `state`, or are about to
  generation: u64; //       8  never 0; +1 at each reclaim; others read it without a lock
  owner_procno: i32; //    16  fixed at start
  result: i32; //          20  raw result: bytes, or -errno
  distilled_word: u32; //  24  PgAioResult after all shared callbacks
  distilled_result: i32; // 28
  target: u8; //           32  PGAIO_TID_*
  op: u8; //               33  PGAIO_OP_*
  flags: u8; //            34  PGAIO_HF_*
  num_callbacks: u8; //    35
  callbacks: u32; //       36  ids, a byte each, first registered first
  callbacks_data: u32; //  40  their cb_data, a byte each
  handle_data_len: u8; //  44  entries of handle data, 0 when none was set
  iov_length: u16; //      46  iovecs in use
  offset: u64; //          48  bytes into the file
  fd: i32; //              56  the issuer's descriptor
  iovec_off: u32; //       60  first entry of this handle's iovec and data slices
  length: u32; //          64  bytes of all iovecs
  report_return: u32; //   68  address of the issuer's PgAioReturn, or 0
  resowner: u32; //        72  address of the resource owner, or 0
  resowner_prev: i32; //   76  neighbours in the resource owner's list
  resowner_next: i32; //   80
  node_prev: i32; //       84  neighbours in the idle or in-flight list
  node_next: i32; //       88
  file: u32; //            92  number of the file in the table of files, 0 if it has none
  target_data: u32; //     96  PgAioTargetData (24 bytes)
}
if (offsetof<PgAioHandle>("generation") % 8 != 0) ERROR("64-bit atomics trap when misaligned");
if (offsetof<PgAioHandle>("target_data") + 24 > 1 << HANDLE_SHIFT) ERROR("PgAioHandle grew");

/** What the issuer is told (aio_types.h: PgAioReturn): a PgAioResult and a copy of the target. */
@unmanaged export class PgAioReturn {
  word: u32; //         0  PgAioResult, status UNKNOWN until the owner has reclaimed the handle
  result: i32; //       4
  target_data: u32; //  8  PgAioTargetData (24 bytes)
}
export const RETURN_BYTES: u32 = 32;

// Bit `to` of byte `from`: every transition there is.
@inline const MOVES: u64 =
    ((1 as u64) << (8 * PGAIO_HS_IDLE + PGAIO_HS_HANDED_OUT))
  | ((1 as u64) << (8 * PGAIO_HS_HANDED_OUT + PGAIO_HS_IDLE)) // released unused
  | ((1 as u64) << (8 * PGAIO_HS_HANDED_OUT + PGAIO_HS_DEFINED))
  | ((1 as u64) << (8 * PGAIO_HS_DEFINED + PGAIO_HS_STAGED))
  | ((1 as u64) << (8 * PGAIO_HS_STAGED + PGAIO_HS_SUBMITTED))
  | ((1 as u64) << (8 * PGAIO_HS_SUBMITTED + PGAIO_HS_COMPLETED_IO))
  | ((1 as u64) << (8 * PGAIO_HS_COMPLETED_IO + PGAIO_HS_COMPLETED_SHARED))
  | ((1 as u64) << (8 * PGAIO_HS_COMPLETED_SHARED + PGAIO_HS_COMPLETED_LOCAL))
  | ((1 as u64) << (8 * PGAIO_HS_COMPLETED_LOCAL + PGAIO_HS_IDLE));

@inline function stateWord(ioh: PgAioHandle): usize {
  return changetype<usize>(ioh) + offsetof<PgAioHandle>("state");
}
@inline export function stateOf(ioh: PgAioHandle): u32 { return loadAcquire32(stateWord(ioh)); }

/**
 * Moves a handle to its next state. The only writer of a state word (pgaio_io_update_state).
 * Caller:  the owner; into COMPLETED_IO and COMPLETED_SHARED the one who learnt of the completion.
 *          Never two threads at once for one handle: that is what the last assertion catches.
 * Publish: what `to` promises is written before the call; who sees `to` by stateOf sees it.
 * Wakes:   on COMPLETED_SHARED all who wait for the I/O; on SUBMITTED those who began to wait while
 *          it was STAGED and may now have to make the progress themselves (PostgreSQL lets them
 *          sleep). `waiters` is raised before a waiter looks at the state for the last time, so one
 *          that is not counted here sees the new state; nobody sleeping costs no system call.
 */
export function updateState(ioh: PgAioHandle, from: u32, to: u32): void {
  assert((MOVES >> (8 * <u64>from + to)) & 1, "a move that is not in the table");
  trace(ioh, from, to);
  const before = exchange32(stateWord(ioh), to);
  assert(before == from, "somebody else moved it");
  if (to != PGAIO_HS_COMPLETED_SHARED && to != PGAIO_HS_SUBMITTED) return;
  const waiters = loadAcquire32(changetype<usize>(ioh) + offsetof<PgAioHandle>("waiters"));
  if (waiters != 0) futexWake(stateWord(ioh), -1);
}

/** What follows COMPLETED_SHARED, again: the thread that got there may have ended before it. */
export function announceCompletion(ioh: PgAioHandle, id: u32): void {
  assert(handleId(ioh) == id);
  futexWake(stateWord(ioh), -1);
  ringOwner(id, ioh.owner_procno);
}

/**
 * Takes a handle for one I/O, waiting for the oldest of one's own if none is idle.
 * `owner`: resource owner that cleans up after an error, or 0. `ret`: 32 bytes of callers' memory
 * that receive the result when this backend reclaims the handle, or 0.
 */
export function pgaio_io_acquire(owner: u32, ret: u32): i32 {
  while (true) {
    const at = pgaio_io_acquire_nb(owner, ret);
    if (at != 0) return at;
    const rc = waitForFree(); // leaves an idle handle or an error: twice round at the most
    if (rc < 0) return rc;
  }
}

/** As pgaio_io_acquire, but 0 when no handle is idle. May submit what is staged. */
export function pgaio_io_acquire_nb(owner: u32, ret: u32): i32 {
  let rc = checkMayAct();
  if (rc < 0) return rc;
  if (owner != 0) {
    rc = checkResourceOwner(owner);
    if (rc < 0) return rc;
  }
  if (ret != 0 && ((ret & 3) != 0 || !isCallers(ret, RETURN_BYTES))) {
    return fail(E_BAD_ADDRESS, NONE, 0, ret, RETURN_BYTES);
  }
  assert(my_procno != NONE);
  return acquireIdle(owner, ret);
}

/** The same when it is known that the call is in order; `ret` may be the core's own memory. */
export function acquireIdle(owner: u32, ret: u32): i32 {
  if (my_backend.num_staged_ios == PGAIO_SUBMIT_BATCH_SIZE) {
    const rc = submitStaged();
    if (rc < 0) return rc;
  }
  const out = my_backend.handed_out_io;
  if (out != NONE) return fail(E_TWO_HANDED_OUT, out, stateOf(handleAt(out)));
  const id = popIdle();
  if (id == NONE) return 0;
  const ioh = handleAt(id);
  assert(ioh.owner_procno == my_procno);
  updateState(ioh, PGAIO_HS_IDLE, PGAIO_HS_HANDED_OUT);
  my_backend.handed_out_io = id;
  if (owner != 0) rememberIo(owner, ioh);
  ioh.report_return = ret;
  if (ret != 0) armReturn(ioh, changetype<PgAioReturn>(ret));
  return changetype<usize>(ioh) as i32;
}

/** Gives back a handle acquired and not needed; any other handle is refused. */
export function pgaio_io_release(at: u32): i32 {
  let rc = checkMayAct();
  if (rc < 0) return rc;
  rc = checkMine(at);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  if (<i32>handleId(ioh) != my_backend.handed_out_io) {
    return fail(E_RELEASE_STATE, handleId(ioh), stateOf(ioh));
  }
  my_backend.handed_out_io = NONE;
  reclaim(ioh, PGAIO_HS_HANDED_OUT);
  return OK;
}

/**
 * Marks `ret` as waiting for this very I/O: status UNKNOWN, and in the bits that mean nothing then,
 * handle id and generation. PostgreSQL keeps a bare pointer, which dangles when the caller's frame
 * is gone; here the result is written only where the mark still stands.
 */
function armReturn(ioh: PgAioHandle, ret: PgAioReturn): void {
  ret.word = markOf(ioh);
  ret.result = <i32>ioh.generation;
}
@inline function markOf(ioh: PgAioHandle): u32 {
  return resultWord(0, PGAIO_RS_UNKNOWN, handleId(ioh) & ERROR_MASK);
}

function fillReturn(ioh: PgAioHandle): void {
  const ret = changetype<PgAioReturn>(ioh.report_return);
  if (ret.word != markOf(ioh) || ret.result != <i32>ioh.generation) {
    my_backend.returns_lost++;
    report(WARNING, REPORT_RETURN_LOST, ioh);
    return;
  }
  ret.result = now_result;
  copyTargetData(
    changetype<usize>(ret) + offsetof<PgAioReturn>("target_data"), targetDataAt(ioh));
  ret.word = now_word;
  // A host that looks learns which; one that never does only has the count run past the list.
  const filled = my_backend.done_returns++;
  if (filled >= doneReturnsMax()) return;
  const list = done_returns_at + <usize>my_procno * doneReturnsBytes();
  store<u32>(list + 4 * <usize>filled, ioh.report_return);
}

/**
 * Ends the life of a handle (pgaio_io_reclaim): local callbacks, the caller's result, a new
 * generation, back to the top of the idle stack. Owner only. The generation moves before the
 * state: a viewer may see the new one with the old state, and no reference to the new one exists.
 */
export function reclaim(ioh: PgAioHandle, from: u32): void {
  assert(ioh.owner_procno == my_procno);
  assert(from != PGAIO_HS_IDLE);
  let state = from;
  if (state == PGAIO_HS_COMPLETED_SHARED) {
    const status = resultStatus(ioh.distilled_word);
    if (status == PGAIO_RS_ERROR) my_backend.errors++;
    else if (status == PGAIO_RS_PARTIAL) my_backend.partials++;
    callCompleteLocal(ioh);
    updateState(ioh, state, PGAIO_HS_COMPLETED_LOCAL);
    state = PGAIO_HS_COMPLETED_LOCAL;
    if (ioh.report_return != 0) fillReturn(ioh);
  }
  const id = handleId(ioh);
  if (state != PGAIO_HS_HANDED_OUT) removeInFlight(id);
  if (ioh.resowner != 0) forgetIo(ioh);
  const generation = changetype<usize>(ioh) + offsetof<PgAioHandle>("generation");
  storeRelease64(generation, ioh.generation + 1);
  updateState(ioh, state, PGAIO_HS_IDLE);
  resetHandle(ioh);
  my_backend.reclaimed++;
  pushIdle(id);
}

/** What the next I/O must not find; the rest is left stale, as in PostgreSQL. */
export function resetHandle(ioh: PgAioHandle): void {
  assert(stateOf(ioh) == PGAIO_HS_IDLE);
  ioh.op = <u8>PGAIO_OP_INVALID;
  ioh.target = <u8>PGAIO_TID_INVALID;
  ioh.flags = 0;
  ioh.num_callbacks = 0;
  ioh.handle_data_len = 0;
  ioh.report_return = 0;
  ioh.file = 0;
  ioh.result = 0;
  ioh.distilled_word = 0;
  ioh.distilled_result = 0;
}

/**
 * How many PgAioReturns were filled since this was last asked; which ones, stands in the list at
 * PgAioCtl.done_returns. More than the list holds: look at all.
 */
export function pgaio_take_returns(): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  assert(my_backend.procno == <u32>my_procno);
  const filled = my_backend.done_returns;
  my_backend.done_returns = 0;
  return filled;
}

/** Reclaims a handle its owner finds shared-completed; true if it was. */
export function reclaimIfCompleted(ioh: PgAioHandle): bool {
  if (stateOf(ioh) != PGAIO_HS_COMPLETED_SHARED) return false;
  reclaim(ioh, PGAIO_HS_COMPLETED_SHARED);
  return true;
}

/** Id of a handle: its index among all handles, also the io_id of pg_aios. */
export function pgaio_io_get_id(at: u32): i32 {
  const rc = checkHandle(at);
  return rc < 0 ? rc : handleId(changetype<PgAioHandle>(at));
}

/** procno of the backend a handle belongs to, whether or not that backend still lives. */
export function pgaio_io_get_owner(at: u32): i32 {
  const rc = checkHandle(at);
  return rc < 0 ? rc : changetype<PgAioHandle>(at).owner_procno;
}

/** PGAIO_HS_* of a handle, as it was a moment ago. The bindings give it its name. */
export function pgaio_io_get_state(at: u32): i32 {
  const rc = checkHandle(at);
  return rc < 0 ? rc : stateOf(changetype<PgAioHandle>(at));
}

/** PGAIO_OP_* of a handle. */
export function pgaio_io_get_op(at: u32): i32 {
  const rc = checkHandle(at);
  return rc < 0 ? rc : changetype<PgAioHandle>(at).op;
}
