/**
 * Cleaning up after threads that ended without leaving: a backend that was terminated, an I/O
 * worker that died. Their host notices and tells a living backend, which becomes the heir: what was
 * never submitted is given back or cancelled, what is under way is waited for (the doorbell tells),
 * then the slot is free again. PostgreSQL restarts the whole server in this case.
 *
 * A thread can end between any two instructions, so nothing of the dead is believed but handle
 * states; its lists are made anew. Callbacks of an I/O it was completing may run a second time.
 */
import { E_NO_BACKEND, OK, fail } from "../errors";
import { uringForgetThread, uringHas, uringTakeOver } from "../method/io_uring";
import { kaioHas, kaioMoveTo } from "../method/kaio";
import { methodLeaveBackend } from "../method/method";
import {
  WORKER_FREE, executeUndertaken, forgetSpinner, kernelIos, loseWorker, queueHolds,
  recountWorkers, removeWorker, undertake, wakeAllWorkers, workerAt,
} from "../method/worker";
import { futexWake, storeRelease32, storeRelease64 } from "../shm/atomics";
import {
  PgAioCtl, backendAt, buffer_control_at, handleAt, handleId, worker_control_at,
} from "../shm/layout";
import { lockAcquire, lockBreak, lockRelease } from "../shm/lock";
import { io_max_concurrency, io_method, max_backends } from "../shm/settings";
import { CTL_AT } from "../shm/sizes";
import { dropFilesOf } from "../shm/files";
import { dropBuffersOf } from "../storage/buf";
import { breakPartitions } from "../storage/buf_table";
import { dropWriteSlotsOf } from "../storage/buf_write";
import { freeFramesOf } from "../storage/frames";
import { PgAioBufferControl } from "../storage/freelist";
import { forgetSegmentsOf } from "../storage/smgr";
import {
  PgAioBackend, PgAioPlace, SLOT_ACTIVE, SLOT_DEAD, SLOT_FREE, my_backend, my_place, my_procno,
  slotIsOf, slotState, threadMark,
} from "./backend";
import { wakeListeners } from "./doorbell";
import { PgAioHandle, resetHandle, stateOf, updateState } from "./handle";
import { finishCompletion, processCompletion } from "./io";
import { dropOwnersOf } from "./resowner";
import {
  ECANCELED, IOMETHOD_HOST, IOMETHOD_IO_URING, MAX_IO_WORKERS, NONE, PGAIO_HS_COMPLETED_IO,
  PGAIO_HS_COMPLETED_LOCAL, PGAIO_HS_COMPLETED_SHARED, PGAIO_HS_DEFINED, PGAIO_HS_HANDED_OUT,
  PGAIO_HS_IDLE, PGAIO_HS_STAGED, PGAIO_HS_SUBMITTED,
} from "./types";
import { generationOf, waitForeign } from "./wait";

/**
 * Thread `number` of the host's has ended, and is not running any more. Must be told to one
 * backend, once.
 * How many slots it had.
 */
export function pgaio_thread_ended(number: u32): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  assert(my_backend.procno == <u32>my_procno);
  const thread = threadMark(number);
  if (thread == 0) return 0; // no thread has that number
  let slots = 0;
  lockBreak(worker_control_at, thread);
  lockBreak(CTL_AT + offsetof<PgAioCtl>("frame_lock"), thread);
  lockBreak(CTL_AT + offsetof<PgAioCtl>("file_lock"), thread);
  if (io_method == IOMETHOD_IO_URING) uringForgetThread(thread);
  lockBreak(buffer_control_at + offsetof<PgAioBufferControl>("sync_lock"), thread);
  lockBreak(buffer_control_at + offsetof<PgAioBufferControl>("extend_lock"), thread);
  breakPartitions(thread);
  for (let id: u32 = 0; id < MAX_IO_WORKERS; id++) {
    const slot = workerAt(id);
    if (slot.in_use == WORKER_FREE || (slot.thread != thread && slot.starter != thread)) continue;
    takeOverWorker(id);
    slots++;
  }
  for (let procno: u32 = 0; procno < max_backends; procno++) {
    if (!slotIsOf(procno, thread)) continue;
    if (<i32>procno == my_procno) continue; // it runs: this very call proves it
    inheritFrom(procno); // first: should this thread end in between, both are told again
    inherit(backendAt(procno));
    slots++;
  }
  forgetSpinner(thread);
  recountWorkers();
  wakeAllWorkers(); // the dead may have chosen one and not woken it
  wakeListeners();
  settleEstates();
  return slots;
}

function slotWord(slot: PgAioBackend): usize {
  return changetype<usize>(slot) + offsetof<PgAioBackend>("slot_state");
}

/** The heir is named before the slot is DEAD: a completer that sees DEAD rings the heir. */
function inherit(slot: PgAioBackend): void {
  assert(<i32>slot.procno != my_procno);
  slot.heir = my_procno;
  my_backend.estates++;
  storeRelease32(slotWord(slot), SLOT_DEAD);
  if (io_method != IOMETHOD_IO_URING) takeOver(changetype<PgAioPlace>(slot));
}

/** What a dead backend was the heir of comes along. */
function inheritFrom(dead: u32): void {
  assert(<i32>dead != my_procno);
  for (let procno: u32 = 0; procno < max_backends; procno++) {
    const slot = backendAt(procno);
    if (slotState(procno) != SLOT_DEAD || slot.heir != <i32>dead) continue;
    slot.heir = my_procno;
    my_backend.estates++;
  }
  backendAt(dead).estates = 0;
}

/** Finishes all that a dead worker had; should this thread end meanwhile, its heir goes on here. */
function takeOverWorker(id: u32): void {
  const slot = workerAt(id);
  const place = changetype<PgAioPlace>(slot);
  const kernel = kernelIos(slot);
  assert(changetype<usize>(place) != changetype<usize>(my_place));
  lockAcquire(worker_control_at);
  loseWorker(id);
  lockRelease(worker_control_at);
  takeOver(place);
  let more = true;
  while (more) { // each round one I/O less is under way there
    lockAcquire(worker_control_at);
    more = kaioMoveTo(place, kernel);
    if (!more) removeWorker(id);
    lockRelease(worker_control_at);
    if (more) takeOver(place);
  }
}

/**
 * Executes or finishes the I/O that a dead thread had undertaken for another. Should this thread
 * end meanwhile, it is found with the same note.
 */
function takeOver(dead: PgAioPlace): void {
  assert(changetype<usize>(dead) != changetype<usize>(my_place));
  lockAcquire(worker_control_at);
  const io = dead.io;
  // Still queued, or taken by another since: it died while it took it.
  const mine = io != NONE && generationOf(handleAt(io)) == dead.generation
    && !isHeld(handleAt(io), changetype<usize>(dead));
  if (mine) undertake(io, dead.generation); // read anew it could be that of the owner's next I/O
  dead.io = NONE;
  lockRelease(worker_control_at);
  // It may have completed it and not have woken the waiters; the owner has then reclaimed it alone.
  if (io != NONE) futexWake(changetype<usize>(handleAt(io)) + offsetof<PgAioHandle>("state"), -1);
  if (mine) executeUndertaken();
}

/** Goes through the slots this backend is the heir of; those that are settled are free again. */
export function settleEstates(): void {
  assert(my_procno != NONE);
  for (let procno: u32 = 0; procno < max_backends; procno++) {
    const slot = backendAt(procno);
    if (slotState(procno) != SLOT_DEAD || slot.heir != my_procno) continue;
    if (!settleEstate(slot)) continue;
    my_backend.estates--;
    storeRelease32(slotWord(slot), SLOT_FREE);
  }
}

/** Waits until all is settled: before the heir itself leaves. */
export function waitForEstates(): i32 {
  assert(my_procno != NONE);
  while (my_backend.estates != 0) { // each round the last I/O found under way has ended
    settleEstates();
    if (under_way == NONE || my_backend.estates == 0) continue;
    const ioh = handleAt(under_way);
    const rc = waitForeign(ioh, generationOf(ioh), -1);
    if (rc < 0) return rc;
  }
  return OK;
}
/** An I/O that kept an estate from being settled. */
let under_way: i32 = NONE;

/** False while an I/O is under way. */
function settleEstate(slot: PgAioBackend): bool {
  assert(slot.heir == my_procno);
  under_way = NONE;
  const place = changetype<PgAioPlace>(slot);
  if (io_method == IOMETHOD_IO_URING && !uringTakeOver(place)) return false;
  let settled = true;
  for (let i: u32 = 0; i < <u32>io_max_concurrency; i++) {
    const ioh = handleAt(slot.io_handle_off + i);
    if (settleHandle(ioh)) continue;
    under_way = handleId(ioh);
    settled = false;
  }
  if (!settled) return false;
  rebuildLists(slot);
  dropBuffersOf(slot.procno);
  dropWriteSlotsOf(slot.procno);
  forgetSegmentsOf(slot.procno);
  dropOwnersOf(slot.procno);
  freeFramesOf(slot.procno);
  dropFilesOf(slot.procno);
  methodLeaveBackend(slot.procno);
  return true;
}

/** Brings one handle to IDLE if it can be; false if somebody is still executing it. */
function settleHandle(ioh: PgAioHandle): bool {
  assert(ioh.owner_procno != my_procno);
  let state = stateOf(ioh);
  if (state == PGAIO_HS_IDLE) {
    resetHandle(ioh); // its owner may have ended just before
    return true;
  }
  if (state == PGAIO_HS_HANDED_OUT) return bury(ioh, state);
  if (state == PGAIO_HS_DEFINED) {
    updateState(ioh, state, PGAIO_HS_STAGED);
    state = PGAIO_HS_STAGED;
  }
  if (state == PGAIO_HS_STAGED) {
    updateState(ioh, state, PGAIO_HS_SUBMITTED);
    processCompletion(ioh, -ECANCELED, 0);
  } else if (state == PGAIO_HS_SUBMITTED || state == PGAIO_HS_COMPLETED_IO) {
    if (isUnderWay(ioh)) return false;
    state = stateOf(ioh); // it may have ended before that look; from here on nobody moves it
    if (state == PGAIO_HS_SUBMITTED) processCompletion(ioh, -ECANCELED, 0); // its issuer had it
    else if (state == PGAIO_HS_COMPLETED_IO) {
      finishCompletion(ioh, handleId(ioh), ioh.owner_procno, 0);
    }
  }
  return bury(ioh, stateOf(ioh));
}

/** Whether a living thread, the queue or a device still has the I/O. */
function isUnderWay(ioh: PgAioHandle): bool {
  assert(ioh.owner_procno != my_procno);
  if (io_method == IOMETHOD_HOST) return stateOf(ioh) == PGAIO_HS_SUBMITTED;
  if (io_method == IOMETHOD_IO_URING && uringHas(ioh.owner_procno)) return true;
  lockAcquire(worker_control_at);
  const has = isHeld(ioh, 0);
  lockRelease(worker_control_at);
  return has;
}

/**
 * Whether the queue has the I/O, or a place other than `except` notes it. Whatever the slots'
 * states: a note is taken over under the same lock, later than its thread is known to be dead.
 */
function isHeld(ioh: PgAioHandle, except: usize): bool {
  assert(changetype<usize>(ioh) != 0);
  if (queueHolds(handleId(ioh))) return true;
  for (let worker: u32 = 0; worker < MAX_IO_WORKERS; worker++) {
    const place = changetype<PgAioPlace>(workerAt(worker));
    if (changetype<usize>(place) == except) continue;
    if (isUndertaken(place, ioh)) return true;
    if (kaioHas(kernelIos(workerAt(worker)), ioh)) return true;
  }
  for (let procno: u32 = 0; procno < max_backends; procno++) {
    const place = changetype<PgAioPlace>(backendAt(procno));
    if (changetype<usize>(place) != except && isUndertaken(place, ioh)) return true;
  }
  return false;
}

@inline function isUndertaken(place: PgAioPlace, ioh: PgAioHandle): bool {
  return place.io == <i32>handleId(ioh) && place.generation == ioh.generation;
}

/** The end of a handle whose owner is gone: nobody to run local callbacks for or to tell. */
function bury(ioh: PgAioHandle, from: u32): bool {
  assert(from == PGAIO_HS_HANDED_OUT || from >= PGAIO_HS_COMPLETED_SHARED);
  let state = from;
  if (state == PGAIO_HS_COMPLETED_SHARED) {
    updateState(ioh, state, PGAIO_HS_COMPLETED_LOCAL);
    state = PGAIO_HS_COMPLETED_LOCAL;
  }
  const generation = changetype<usize>(ioh) + offsetof<PgAioHandle>("generation");
  storeRelease64(generation, ioh.generation + 1);
  updateState(ioh, state, PGAIO_HS_IDLE);
  resetHandle(ioh);
  ioh.resowner = 0;
  futexWake(changetype<usize>(ioh) + offsetof<PgAioHandle>("state"), -1); // whom the dead did not
  return true;
}

/** All handles on the stack, the first on top; nothing anywhere else. */
export function rebuildLists(slot: PgAioBackend): void {
  assert(slot.procno < max_backends);
  slot.in_flight_head = NONE;
  slot.in_flight_tail = NONE;
  slot.in_flight_count = 0;
  slot.handed_out_io = NONE;
  slot.in_batchmode = 0;
  slot.num_staged_ios = 0;
  slot.idle_head = NONE;
  for (let i = <i32>io_max_concurrency - 1; i >= 0; i--) {
    const id = slot.io_handle_off + i;
    handleAt(id).node_next = slot.idle_head;
    slot.idle_head = id;
  }
  slot.idle_count = io_max_concurrency;
}
