/**
 * A backend: a slot of the shared memory, claimed by one instance, and what only that instance
 * touches meanwhile (aio_internal.h: PgAioBackend). It lies in shared memory all the same, so that
 * another backend can finish what a dead one left. Lists hold handle ids and have one user, the
 * owner, hence no locks.
 */
import { compareExchange32, loadAcquire32, storeRelease32 } from "../shm/atomics";
import { backendAt, handleAt } from "../shm/layout";
import { BACKEND_SHIFT, STORAGE_OFFSET } from "../shm/sizes";
import { max_backends } from "../shm/settings";
import { NONE, PGAIO_SUBMIT_BATCH_SIZE } from "./types";

/**
 * States of a slot, in the low bits of its word; above them the number of the thread that claimed
 * it, so that both change at once. DEAD: its thread ended without leaving, its heir cleans up.
 */
export const SLOT_FREE: u32 = 0;
export const SLOT_ACTIVE: u32 = 1;
export const SLOT_DEAD: u32 = 2;
const SLOT_STATE_MASK: u32 = 3;
const SLOT_THREAD_SHIFT: u32 = 2;

/** What an instance needs room for in memory whether it is a backend or an I/O worker. */
@unmanaged export class PgAioPlace {
  cb_word: u32; //        0  PgAioResult that a host callback reads and writes in place
  cb_result: i32; //      4
  transferred: u32; //    8  where the host's calls leave how much they moved
  host_callbacks: u32; // 12  bit n: this instance has host callback 32 + n
  io: i32; //             16  another's handle that this instance executes, -1 for none
  generation: u64; //     24  of that handle
}

@unmanaged export class PgAioBackend {
  cb_word: u32; //           0  PgAioPlace
  cb_result: i32; //         4
  transferred: u32; //       8
  host_callbacks: u32; //   12
  io: i32; //               16
  generation: u64; //       24
  slot_state: u32; //       32  SLOT_* in the low two bits, the thread's number above
  heir: i32; //             36  backend that cleans up a DEAD slot
  procno: u32; //           40  index of this slot
  io_handle_off: u32; //    44  id of the first handle; handles stay with their slot
  idle_head: i32; //        48  top of the stack of idle handles
  idle_count: u32; //       52
  in_flight_head: i32; //   56  oldest submitted handle
  in_flight_tail: i32; //   60  newest
  in_flight_count: u32; //  64
  handed_out_io: i32; //    68  the one handle in HANDED_OUT
  in_batchmode: u32; //     72  1 between pgaio_enter_batchmode and pgaio_exit_batchmode
  done_returns: u32; //     76  PgAioReturns filled since the host last looked; may exceed the list
  estates: u32; //          80  slots this backend is the heir of
  private_descriptors: u32; // 84  1 when its descriptors mean nothing to other threads
  smgr_reads: u64; //       88  I/Os started on relations, as pg_stat_io counts them
  smgr_read_bytes: u64; //  96
  smgr_writes: u64; //     104
  smgr_write_bytes: u64; //112
  smgr_fsyncs: u64; //     120  fsync, fdatasync and flush_range
  file_reads: u64; //      128  the same for plain files
  file_read_bytes: u64; // 136
  file_writes: u64; //     144
  file_write_bytes: u64; // 152
  file_fsyncs: u64; //     160
  synchronous: u64; //     168  executed by the issuer inside start or submit
  submissions: u64; //     176  calls of the method's submit
  errors: u64; //          184  I/Os whose result is ERROR
  partials: u64; //        192  I/Os whose result is PARTIAL
  reclaimed: u64; //       200  handles that went back to IDLE
  returns_lost: u64; //    208  PgAioReturns not filled because their memory was reused
  num_staged_ios: u32; //  216
  staged_ios: u32; //      220  ids in order of staging (32 x u32)
}

/** The rest of a slot, behind the staged I/Os: what storage keeps for this backend. */
@unmanaged export class PgAioStorage {
  failed_spc: u32; //       0  relation fork of the last failure about one: RelFileRef
  failed_db: u32; //        4
  failed_number: u32; //    8
  failed_bits: u32; //     12
  failed_segment: u32; //  16
  write_failed: u32; //    20  1 when a write-back of this backend's failed and nobody was told
  write_word: u32; //      24  its PgAioReturn: result
  write_result: i32; //    28
  write_target: u64; //    32  and PgAioTargetData (24 bytes)
  write_target_2: u64; //  40
  write_target_3: u64; //  48
  hits: u64; //            56  blocks found in a buffer, as pg_stat_io counts them
  evictions: u64; //       64  buffers that lost their page to another
  reuses: u64; //          72  of those, the ones of an access strategy's ring
  write_backs: u64; //     80  writes of dirty buffers started
  checksum_failures: u64; // 88
}
if (offsetof<PgAioBackend>("staged_ios") + 4 * PGAIO_SUBMIT_BATCH_SIZE > STORAGE_OFFSET) {
  ERROR("PgAioBackend outgrew its slot");
}
if (STORAGE_OFFSET + offsetof<PgAioStorage>() > 1 << BACKEND_SHIFT) {
  ERROR("PgAioStorage outgrew its slot");
}

/** This instance's slot; null until pgaio_init_backend, and for I/O workers. */
export let my_backend: PgAioBackend = changetype<PgAioBackend>(0);
export let my_procno: i32 = NONE;
@inline export function my_storage(): PgAioStorage {
  return changetype<PgAioStorage>(changetype<usize>(my_backend) + STORAGE_OFFSET);
}
/** This instance's place: in its slot, be it a backend's or an I/O worker's. */
export let my_place: PgAioPlace = changetype<PgAioPlace>(0);
export function takePlace(at: usize): void { my_place = changetype<PgAioPlace>(at); }
/** Number of this thread, as its host knows it; marks the locks it holds. Never 0. */
export let my_thread: u32 = 1;
export function setThread(thread: u32): void { my_thread = thread; }
/**
 * Whether this thread may sleep. The main thread of a page may not: a futex wait traps there. It
 * awaits its I/O, and looks again and again at a lock, which is held for an instant only.
 */
export let may_block: bool = true;
/** From now on this instance answers E_MAY_NOT_BLOCK where it would sleep. Before AioShmemInit. */
export function pgaio_forbid_blocking(): i32 {
  assert(my_thread != 0);
  may_block = false;
  return 0;
}
/** From a thread's number at its host: never 0, and clear of the mark of a contended lock. */
@inline export function threadMark(number: u32): u32 { return (number + 1) & 0x7fffffff; }

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

/** Depth of stage callbacks: they may do anything but leave. */
export let stage_depth: u32 = 0;
@inline export function enterStage(): void { stage_depth++; }
@inline export function leaveStage(): void {
  assert(stage_depth > 0);
  stage_depth--;
}

/** Depth of completing callbacks: completing another I/O would take the result's place. */
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
    const claimed = (my_thread << SLOT_THREAD_SHIFT) | SLOT_ACTIVE;
    if (compareExchange32(word, SLOT_FREE, claimed) != SLOT_FREE) continue;
    my_backend = slot;
    my_procno = procno;
    takePlace(changetype<usize>(slot));
    slot.io = NONE;
    slot.host_callbacks = 0;
    slot.done_returns = 0;
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
  takePlace(0);
  storeRelease32(word, SLOT_FREE);
}

/** Whether any backend lives, or has left something to be cleaned up. */
export function anySlotTaken(): bool {
  assert(max_backends > 0);
  for (let procno: u32 = 0; procno < max_backends; procno++) {
    if (slotState(procno) != SLOT_FREE) return true;
  }
  return false;
}

export function slotState(procno: u32): u32 {
  assert(procno < max_backends);
  const slot = changetype<usize>(backendAt(procno));
  return loadAcquire32(slot + offsetof<PgAioBackend>("slot_state")) & SLOT_STATE_MASK;
}
/** Whether `thread` has the slot. */
export function slotIsOf(procno: u32, thread: u32): bool {
  assert(thread != 0);
  const slot = changetype<usize>(backendAt(procno));
  const word = loadAcquire32(slot + offsetof<PgAioBackend>("slot_state"));
  return word == ((thread << SLOT_THREAD_SHIFT) | SLOT_ACTIVE);
}
/** Whether a slot is in use: the pid column of pg_aios is null when it is not. */
@inline export function slotActive(procno: u32): bool { return slotState(procno) == SLOT_ACTIVE; }

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
