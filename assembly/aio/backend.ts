/**
 * A backend: a slot of the shared memory, claimed by one instance, and what only that instance
 * touches meanwhile (aio_internal.h: PgAioBackend). It lies in shared memory all the same, so that
 * another backend can finish what a dead one left. Lists hold handle ids and have one user, the
 * owner, hence no locks.
 */
import { compareExchange32, loadAcquire32, storeRelease32 } from "../shm/atomics";
import { backendAt, handleAt } from "../shm/layout";
import { BACKEND_SHIFT } from "../shm/sizes";
import { max_backends } from "../shm/settings";
import { NONE, PGAIO_SUBMIT_BATCH_SIZE } from "./types";

/** States of a slot. */
export const SLOT_FREE: u32 = 0;
export const SLOT_ACTIVE: u32 = 1;

@unmanaged export class PgAioBackend {
  slot_state: u32; //       0  SLOT_*
  procno: u32; //           4  index of this slot
  io_handle_off: u32; //    8  id of the first handle; handles stay with their slot
  idle_head: i32; //       12  top of the stack of idle handles
  idle_count: u32; //      16
  in_flight_head: i32; //  20  oldest submitted handle
  in_flight_tail: i32; //  24  newest
  in_flight_count: u32; // 28
  handed_out_io: i32; //   32  the one handle in HANDED_OUT
  in_batchmode: u32; //    36  1 between pgaio_enter_batchmode and pgaio_exit_batchmode
  cb_word: u32; //         40  PgAioResult that a host callback reads and writes in place
  cb_result: i32; //       44
  transferred: u32; //     48  where the host's calls leave how much they moved
  host_callbacks: u32; //  52  bit n: this backend has host callback 32 + n
  reads: u64; //           56  I/Os started, as pg_stat_io counts them
  read_bytes: u64; //      64
  writes: u64; //          72
  write_bytes: u64; //     80
  synchronous: u64; //     88  executed by the issuer inside start
  submissions: u64; //     96  calls of the method's submit
  errors: u64; //         104  I/Os whose result is ERROR
  partials: u64; //       112  I/Os whose result is PARTIAL
  reclaimed: u64; //      120  handles that went back to IDLE
  returns_lost: u64; //   128  PgAioReturns not filled because their memory was reused
  num_staged_ios: u32; // 136
  staged_ios: u32; //     140  ids in order of staging (32 x u32)
}
if (offsetof<PgAioBackend>("staged_ios") + 4 * PGAIO_SUBMIT_BATCH_SIZE > 1 << BACKEND_SHIFT) {
  ERROR("PgAioBackend outgrew its slot");
}

/** This instance's slot; null until pgaio_init_backend. */
export let my_backend: PgAioBackend = changetype<PgAioBackend>(0);
export let my_procno: i32 = NONE;

/**
 * Depth of completion callbacks and submissions, PostgreSQL's CritSectionCount: inside one nothing
 * may be acquired, started or waited for, since the thread may be completing for anybody.
 */
export let crit_section_count: u32 = 0;
@inline export function startCritSection(): void { crit_section_count++; }
@inline export function endCritSection(): void {
  assert(crit_section_count > 0);
  crit_section_count--;
}

/** Depth of host callbacks: within one, completing another I/O would take the result's place. */
export let callback_depth: u32 = 0;
@inline export function enterCallback(): void { callback_depth++; }
@inline export function leaveCallback(): void {
  assert(callback_depth > 0);
  callback_depth--;
}

/** Claims the first free slot; NONE when all are taken. */
export function claimSlot(): i32 {
  assert(my_procno == NONE);
  for (let procno: u32 = 0; procno < max_backends; procno++) {
    const slot = backendAt(procno);
    const word = changetype<usize>(slot) + offsetof<PgAioBackend>("slot_state");
    if (compareExchange32(word, SLOT_FREE, SLOT_ACTIVE) != SLOT_FREE) continue;
    my_backend = slot;
    my_procno = procno;
    return procno;
  }
  return NONE;
}

/** Gives the slot back. Its handles are idle and stay in its lists for the next user. */
export function freeSlot(): void {
  assert(my_backend.in_flight_count == 0);
  assert(my_backend.num_staged_ios == 0);
  const word = changetype<usize>(my_backend) + offsetof<PgAioBackend>("slot_state");
  my_backend = changetype<PgAioBackend>(0);
  my_procno = NONE;
  storeRelease32(word, SLOT_FREE);
}

/** Whether a slot is in use: the pid column of pg_aios is null when it is not. */
export function slotActive(procno: u32): bool {
  const slot = changetype<usize>(backendAt(procno));
  return loadAcquire32(slot + offsetof<PgAioBackend>("slot_state")) != SLOT_FREE;
}

// The stack of idle handles: what was used last is used next, while it is still in the cache.

export function pushIdle(id: i32): void {
  handleAt(id).node_next = my_backend.idle_head;
  my_backend.idle_head = id;
  my_backend.idle_count++;
}

export function popIdle(): i32 {
  const id = my_backend.idle_head;
  if (id == NONE) return NONE;
  my_backend.idle_head = handleAt(id).node_next;
  my_backend.idle_count--;
  return id;
}

// The list of submitted handles, oldest first.

export function pushInFlight(id: i32): void {
  const ioh = handleAt(id);
  const tail = my_backend.in_flight_tail;
  ioh.node_prev = tail;
  ioh.node_next = NONE;
  if (tail == NONE) my_backend.in_flight_head = id;
  else handleAt(tail).node_next = id;
  my_backend.in_flight_tail = id;
  my_backend.in_flight_count++;
}

export function removeInFlight(id: i32): void {
  assert(my_backend.in_flight_count > 0);
  const ioh = handleAt(id);
  if (ioh.node_prev == NONE) my_backend.in_flight_head = ioh.node_next;
  else handleAt(ioh.node_prev).node_next = ioh.node_next;
  if (ioh.node_next == NONE) my_backend.in_flight_tail = ioh.node_prev;
  else handleAt(ioh.node_next).node_prev = ioh.node_prev;
  my_backend.in_flight_count--;
}

// The array of staged handles.

export function pushStaged(id: i32): void {
  assert(my_backend.num_staged_ios < PGAIO_SUBMIT_BATCH_SIZE);
  store<u32>(stagedArray() + 4 * <usize>my_backend.num_staged_ios, id);
  my_backend.num_staged_ios++;
}
@inline export function stagedArray(): usize {
  return changetype<usize>(my_backend) + offsetof<PgAioBackend>("staged_ios");
}
@inline export function stagedAt(index: u32): i32 {
  return load<i32>(stagedArray() + 4 * <usize>index);
}
