/**
 * Waiting for I/O, one's own and others' (aio.c: pgaio_wref_wait and its kin). A wait reference is
 * an index and a generation: it stays safe when the handle has been used again, any number of
 * times, and can be handed to anybody.
 */
import {
  E_BAD_ADDRESS, E_BAD_WREF, E_CANNOT_WAIT, E_CRITICAL, E_MAY_NOT_BLOCK, E_NOT_ARMED,
  E_NO_BACKEND, E_NO_FREE_IO,
  E_OLDEST_STATE, E_STILL_NO_IDLE, E_WAIT_OWN, E_WAIT_STATE, E_WREF_STATE, OK, fail,
} from "../errors";
import { fetchAdd32, futexWait, loadAcquire64 } from "../shm/atomics";
import { handleAt, handleId, handle_count, isCallers } from "../shm/layout";
import { io_max_concurrency } from "../shm/settings";
import {
  methodEndsInAnyOrder, methodHasWaitOne, methodHelp, methodPoll, methodWaitOne,
} from "../method/method";
import { crit_section_count, may_block, my_backend, my_procno } from "./backend";
import { checkMayAct, checkMine } from "./check";
import { PgAioHandle, reclaim, reclaimIfCompleted, stateOf } from "./handle";
import { finishIfLeft, submitStaged } from "./io";
import {
  NONE, PGAIO_HF_SYNCHRONOUS, PGAIO_HS_COMPLETED_LOCAL,
  PGAIO_HS_COMPLETED_SHARED, PGAIO_HS_HANDED_OUT, PGAIO_HS_IDLE, PGAIO_HS_STAGED,
  PGAIO_HS_SUBMITTED,
} from "./types";

@unmanaged export class PgAioWaitRef {
  aio_index: u32; //         0  handle id, 0xffffffff in a cleared reference
  generation_upper: u32; //  4
  generation_lower: u32; //  8
}
export const WREF_BYTES: u32 = 12;
export const WREF_INVALID: u32 = 0xffffffff;

/** Waits of this instance between pgaio_wref_arm and pgaio_wref_disarm. */
let armed: u32 = 0;

@inline export function generationOf(ioh: PgAioHandle): u64 {
  return loadAcquire64(changetype<usize>(ioh) + offsetof<PgAioHandle>("generation"));
}
@inline function refGeneration(iow: PgAioWaitRef): u64 {
  return (<u64>iow.generation_upper << 32) | iow.generation_lower;
}

/** Fills in a wait reference (12 bytes of callers' memory) for an I/O not yet submitted. */
export function pgaio_io_get_wref(at: u32, ref: u32): i32 {
  let rc = checkMine(at);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  const state = stateOf(ioh);
  if (state < PGAIO_HS_HANDED_OUT || state > PGAIO_HS_STAGED) {
    return fail(E_WREF_STATE, handleId(ioh), state);
  }
  rc = checkWrefPlace(ref, handleId(ioh), state);
  if (rc < 0) return rc;
  assert(ioh.generation != 0);
  const iow = changetype<PgAioWaitRef>(ref);
  iow.aio_index = handleId(ioh);
  iow.generation_upper = <u32>(ioh.generation >> 32);
  iow.generation_lower = <u32>ioh.generation;
  return OK;
}

function checkWrefPlace(ref: u32, io: i32 = NONE, state: u32 = 0): i32 {
  const usable = (ref & 3) == 0 && isCallers(ref, WREF_BYTES);
  return usable ? OK : fail(E_BAD_ADDRESS, io, state, ref, WREF_BYTES);
}

/** A reference that can be waited for: its place is the caller's, its index that of a handle. */
function checkWref(ref: u32): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  const rc = checkWrefPlace(ref);
  if (rc < 0) return rc;
  const index = changetype<PgAioWaitRef>(ref).aio_index;
  return index < handle_count ? OK : fail(E_BAD_WREF, NONE, 0, index);
}

/** 1 if the reference was filled in and not cleared since. */
export function pgaio_wref_valid(ref: u32): i32 {
  const rc = checkWrefPlace(ref);
  return rc < 0 ? rc : <i32>(changetype<PgAioWaitRef>(ref).aio_index != WREF_INVALID);
}

/** Makes a reference refer to nothing. */
export function pgaio_wref_clear(ref: u32): i32 {
  const rc = checkWrefPlace(ref);
  if (rc < 0) return rc;
  changetype<PgAioWaitRef>(ref).aio_index = WREF_INVALID;
  return OK;
}

/** Id of the handle a reference was taken from. */
export function pgaio_wref_get_id(ref: u32): i32 {
  const rc = checkWref(ref);
  return rc < 0 ? rc : changetype<PgAioWaitRef>(ref).aio_index;
}

/**
 * Returns when the I/O of the reference is over: its generation is gone or its shared callbacks
 * have run. For the owner that includes reclaiming it. Does not submit: waiting for one's own
 * staged I/O is E_WAIT_OWN.
 */
export function pgaio_wref_wait(ref: u32): i32 {
  const rc = waitFor(ref, -1);
  return rc < 0 ? rc : OK;
}

/** As pgaio_wref_wait, for about `ms` milliseconds at the most. 1 when it is over, 0 if not yet. */
export function pgaio_wref_wait_timed(ref: u32, ms: f64): i32 {
  const timeout_ns = ms > 0 ? <i64>min<f64>(ms * 1e6, MAX_TIMEOUT_NS) : 0;
  assert(timeout_ns >= 0);
  const rc = waitFor(ref, timeout_ns);
  return rc < 0 ? rc : <i32>(rc == OK);
}
/** A year; also what NaN and Infinity from a caller cannot pass. */
const MAX_TIMEOUT_NS: f64 = 3.2e16;

function waitFor(ref: u32, timeout_ns: i64): i32 {
  assert(timeout_ns >= -1);
  const rc = checkWref(ref);
  if (rc < 0) return rc;
  if (crit_section_count > 0) return fail(E_CRITICAL);
  const iow = changetype<PgAioWaitRef>(ref);
  const ioh = handleAt(iow.aio_index);
  return ioh.owner_procno == my_procno
    ? waitOwn(ioh, refGeneration(iow), timeout_ns)
    : waitForeign(ioh, refGeneration(iow), timeout_ns);
}

/**
 * For waits that do not block: counts this thread among those to be woken. Address of the handle's
 * state word to sleep on, or 0 when the I/O is over. Each non-zero answer wants one
 * pgaio_wref_disarm.
 */
export function pgaio_wref_arm(ref: u32): i32 {
  const rc = checkWref(ref);
  if (rc < 0) return rc;
  const ioh = handleAt(changetype<PgAioWaitRef>(ref).aio_index);
  assert(ioh.generation != 0);
  const waiters = changetype<usize>(ioh) + offsetof<PgAioHandle>("waiters");
  fetchAdd32(waiters, 1); // before the look: who completes it after that sees a waiter
  if (pgaio_wref_is_done(ref) == 0) {
    armed++;
    return (changetype<usize>(ioh) + offsetof<PgAioHandle>("state")) as i32;
  }
  fetchAdd32(waiters, 0xffffffff);
  return 0;
}

/** Ends what pgaio_wref_arm began. */
export function pgaio_wref_disarm(ref: u32): i32 {
  const rc = checkWref(ref);
  if (rc < 0) return rc;
  const ioh = handleAt(changetype<PgAioWaitRef>(ref).aio_index);
  assert(ioh.generation != 0);
  if (armed == 0) return fail(E_NOT_ARMED, handleId(ioh));
  armed--;
  fetchAdd32(changetype<usize>(ioh) + offsetof<PgAioHandle>("waiters"), 0xffffffff);
  return OK;
}

/** Whether the I/O of the reference is over, without any effect. */
export function pgaio_wref_is_done(ref: u32): i32 {
  const rc = checkWref(ref);
  if (rc < 0) return rc;
  const iow = changetype<PgAioWaitRef>(ref);
  const ioh = handleAt(iow.aio_index);
  const state = stateOf(ioh);
  if (generationOf(ioh) != refGeneration(iow)) return 1;
  return <i32>(state == PGAIO_HS_IDLE || state >= PGAIO_HS_COMPLETED_SHARED);
}

/** The same, and the owner reclaims the handle when it is: PostgreSQL's pgaio_wref_check_done. */
export function pgaio_wref_check_done(ref: u32): i32 {
  let done = pgaio_wref_is_done(ref);
  if (done < 0 || crit_section_count > 0) return done;
  const iow = changetype<PgAioWaitRef>(ref);
  const ioh = handleAt(iow.aio_index);
  if (done == 0) {
    methodPoll(ioh.owner_procno);
    if (ioh.owner_procno == my_procno) finishIfLeft(ioh);
    done = pgaio_wref_is_done(ref);
    if (done == 0) return done;
  }
  if (ioh.owner_procno == my_procno && generationOf(ioh) == refGeneration(iow)) {
    reclaimIfCompleted(ioh);
  }
  return 1;
}

/** Answer of a wait whose time was up. */
const TIMED_OUT: i32 = 1;

/** Waits for an I/O of this backend and reclaims it. OK, TIMED_OUT or an error; -1 is no limit. */
export function waitOwn(ioh: PgAioHandle, generation: u64, timeout_ns: i64): i32 {
  assert(ioh.owner_procno == my_procno);
  if (generationOf(ioh) != generation) return OK;
  let state = stateOf(ioh);
  if (state < PGAIO_HS_SUBMITTED) return fail(E_WAIT_OWN, handleId(ioh), state);
  patience_ns = timeout_ns;
  while (state < PGAIO_HS_COMPLETED_SHARED) { // each round the state moved on or patience ran out
    const rc = sleepOn(ioh, generation, state);
    if (rc != OK) return rc;
    if (generationOf(ioh) != generation) return OK; // the wait itself reclaimed it
    state = stateOf(ioh);
  }
  reclaim(ioh, state);
  return OK;
}

/** Waits for another backend's I/O; what became of it must be looked up where it mattered. */
export function waitForeign(ioh: PgAioHandle, generation: u64, timeout_ns: i64): i32 {
  assert(ioh.owner_procno != my_procno);
  patience_ns = timeout_ns;
  while (true) { // each round the state moved on, at most seven times before the generation does
    const state = stateOf(ioh);
    if (generationOf(ioh) != generation) return OK;
    if (state >= PGAIO_HS_COMPLETED_SHARED) return OK;
    if (state == PGAIO_HS_IDLE || state == PGAIO_HS_HANDED_OUT) {
      return fail(E_WAIT_STATE, handleId(ioh), state, state);
    }
    const rc = sleepOn(ioh, generation, state);
    if (rc != OK) return rc;
  }
}

/** What is left of the wait under way, -1 without limit. Only time slept to the end is counted. */
let patience_ns: i64 = -1;

/**
 * Looks without sleeping that precede a sleep, when the last one was short: being woken by another
 * core costs some 20 µs, more than reading a cached page; 16,000 looks are about that. The clock is
 * a first sleep of SHORT_NS: one that ends before it makes the next looks worth while.
 */
let spin_rounds: u32 = 0;
const SPIN_ROUNDS: u32 = isDefined(PGAIO_SIM) ? 2 : 16000;
const SHORT_NS: i64 = 200_000;
/** The handle may come round to the same state for another I/O just before the sleep: look up. */
const SLEEP_NS: i64 = 100_000_000;

/**
 * Sleeps until `ioh` is no longer in `state`, or makes the method progress. Woken by updateState
 * on SUBMITTED and COMPLETED_SHARED; COMPLETED_IO follows SUBMITTED without a wake-up, so a waiter
 * that saw SUBMITTED sleeps on and is woken at the end, its futex word notwithstanding.
 */
function sleepOn(ioh: PgAioHandle, generation: u64, state: u32): i32 {
  if (ioh.owner_procno == my_procno && finishIfLeft(ioh)) return OK;
  const asynchronous = (ioh.flags & PGAIO_HF_SYNCHRONOUS) == 0;
  if (state == PGAIO_HS_SUBMITTED && asynchronous && methodHasWaitOne()) {
    const limit = patience_ns < 0 ? SLEEP_NS : min(SLEEP_NS, patience_ns);
    const rc = methodWaitOne(ioh, generation, limit);
    if (rc != TIMED_OUT || patience_ns < 0) return min(rc, OK);
    patience_ns -= limit;
    return patience_ns == 0 ? TIMED_OUT : OK;
  }
  if (isDefined(PGAIO_UNSHARED)) return fail(E_CANNOT_WAIT, handleId(ioh), state);
  if (state == PGAIO_HS_SUBMITTED && methodHelp(ioh, false)) return OK;
  for (let i: u32 = 0; i < spin_rounds; i++) {
    if (stateOf(ioh) != state) return OK;
  }
  if (!may_block) {
    return patience_ns == 0 ? TIMED_OUT : fail(E_MAY_NOT_BLOCK, handleId(ioh), state);
  }
  const waiters = changetype<usize>(ioh) + offsetof<PgAioHandle>("waiters");
  fetchAdd32(waiters, 1);
  const over = generationOf(ioh) != generation || sleepTwice(ioh, state);
  fetchAdd32(waiters, 0xffffffff); // minus one
  if (over) return OK;
  if (patience_ns == 0) return TIMED_OUT;
  if (state == PGAIO_HS_SUBMITTED) methodHelp(ioh, true);
  return OK;
}

/** A short sleep and a long one; false when both lasted to their end. */
function sleepTwice(ioh: PgAioHandle, state: u32): bool {
  assert(state < PGAIO_HS_COMPLETED_SHARED);
  const word = changetype<usize>(ioh) + offsetof<PgAioHandle>("state");
  spin_rounds = sleepOnce(word, state, SHORT_NS) ? SPIN_ROUNDS : 0;
  return spin_rounds > 0 || sleepOnce(word, state, SLEEP_NS);
}
function sleepOnce(word: usize, state: u32, ns: i64): bool {
  assert(ns > 0);
  const limit = patience_ns < 0 ? ns : min(ns, patience_ns);
  if (futexWait(word, state, limit) != 2) return true;
  if (patience_ns >= 0) patience_ns -= limit;
  return false;
}

/**
 * Sees to it that a handle is idle (pgaio_io_wait_for_free): first what has completed already, then
 * what is only staged, then the oldest in flight, or whichever ends first where the method tells of
 * all of them at once.
 */
export function waitForFree(): i32 {
  methodPoll(my_procno);
  if (my_backend.idle_count > 0) return OK;
  const first = my_backend.io_handle_off;
  let reclaimed = false;
  for (let i: i32 = 0; i < io_max_concurrency; i++) {
    if (reclaimIfCompleted(handleAt(first + i))) reclaimed = true;
  }
  if (reclaimed) return OK;
  const pending = my_backend.num_staged_ios;
  let rc = submitStaged();
  if (rc < 0) return rc;
  if (my_backend.idle_count > 0) return OK;
  const oldest = my_backend.in_flight_head;
  if (oldest == NONE) return fail(E_NO_FREE_IO, NONE, 0, pending, my_backend.idle_count);
  const ioh = handleAt(oldest);
  const state = stateOf(ioh);
  if (state < PGAIO_HS_SUBMITTED || state == PGAIO_HS_COMPLETED_LOCAL) {
    return fail(E_OLDEST_STATE, oldest, state, oldest, state);
  }
  const generation = ioh.generation;
  while (methodEndsInAnyOrder() && stateOf(ioh) == PGAIO_HS_SUBMITTED) { // or any other has ended
    rc = methodWaitOne(ioh, generation, SLEEP_NS);
    if (rc < 0) return rc;
    methodPoll(my_procno);
    if (my_backend.idle_count > 0) return OK;
  }
  rc = waitOwn(ioh, generation, -1);
  if (rc < 0) return rc;
  return my_backend.idle_count > 0 ? OK : fail(E_STILL_NO_IDLE, oldest, stateOf(ioh));
}
