/**
 * Start and end: laying out the shared memory, joining it, leaving it, and cleaning up after a unit
 * of work (aio_init.c; pgaio_shutdown, pgaio_error_cleanup and AtEOXact_Aio of aio.c).
 */
import {
  E_BACKEND_TWICE, E_CRITICAL, E_INIT_TWICE, E_LAYOUT_VERSION, E_MEMORY_FOREIGN, E_MEMORY_SIZE,
  E_NO_BACKEND, E_NO_SLOT, OK,
  fail,
} from "../errors";
import { methodInitBackend, methodJoinBackend, methodLeaveBackend } from "../method/method";
import {
  compareExchange32, futexWait, futexWake, loadAcquire32, storeRelease32,
} from "../shm/atomics";
import {
  AioShmemSize, CTL_FRESH, CTL_LAYING_OUT, CTL_READY, LAYOUT_VERSION, PgAioCtl, SHMEM_MAGIC,
  adoptLayout, backendAt, ctl, handleAt, layOut, local_at,
} from "../shm/layout";
import { CTL_AT, CTL_BYTES } from "../shm/sizes";
import {
  adoptSettings, io_max_combine_limit, io_max_concurrency, local_memory, max_backends,
  publishSettings,
} from "../shm/settings";
import { dropFilesOf } from "../shm/files";
import { adoptPins, dropBuffersOf } from "../storage/buf";
import { dropWriteSlotsOf } from "../storage/buf_write";
import { freeFramesOf } from "../storage/frames";
import { forgetLocalBuffers } from "../storage/localbuf";
import { closeAll } from "../storage/smgr";
import {
  anySlotTaken, claimSlot, freeSlot, may_block, my_backend, my_procno, my_storage, setThread,
  stage_depth,
  threadMark,
} from "./backend";
import { checkMayAct } from "./check";
import { reclaim } from "./handle";
import { submitStaged } from "./io";
import { reportBackend } from "./report";
import { pgaio_stop_workers } from "../method/worker";
import { dropOwnersOf } from "./resowner";
import { rebuildLists, waitForEstates } from "./sweep";
import { NONE, PGAIO_HS_HANDED_OUT, REPORT_OPEN_BATCH, WARNING } from "./types";
import { waitOwn } from "./wait";

@inline function ctlState(): usize { return CTL_AT + offsetof<PgAioCtl>("state"); }
/** Laying out takes milliseconds even for gigabytes; a first instance that dies in it is found. */
const LAY_OUT_NS: i64 = 10_000_000_000;

/**
 * Lays out the shared memory, or joins the one that is there: the first instance does the former,
 * its settings then hold for all. The memory must be zero or an engine's.
 */
export function AioShmemInit(): i32 {
  if (local_at != 0) return fail(E_INIT_TWICE);
  const have = <f64>memory.size() * 65536;
  if (have < <f64>(CTL_AT + CTL_BYTES)) return fail(E_MEMORY_SIZE, NONE, 0, have, CTL_BYTES);
  const state = loadAcquire32(ctlState()); // first: what was laid out before it is seen after it
  const magic = ctl().magic;
  if (magic != 0 && magic != SHMEM_MAGIC) return fail(E_MEMORY_FOREIGN, NONE, 0, magic);
  if (state > CTL_READY || (state == CTL_READY && magic == 0)) {
    return fail(E_MEMORY_FOREIGN, NONE, 0, magic);
  }
  if (state == CTL_FRESH) { // whoever joins takes the settings of the memory, fit or not its own
    const size = AioShmemSize();
    if (size < 0) return <i32>size;
    if (have < size) return fail(E_MEMORY_SIZE, NONE, 0, have, size);
  }
  if (compareExchange32(ctlState(), CTL_FRESH, CTL_LAYING_OUT) == CTL_FRESH) layOutMemory();
  else if (!isDefined(PGAIO_UNSHARED) && loadAcquire32(ctlState()) == CTL_LAYING_OUT) {
    awaitLayOut();
  }
  if (loadAcquire32(ctlState()) != CTL_READY) return fail(E_MEMORY_FOREIGN, NONE, 0, magic);
  if (ctl().layout_version != LAYOUT_VERSION) {
    return fail(E_LAYOUT_VERSION, NONE, 0, ctl().layout_version, LAYOUT_VERSION);
  }
  if (have < <f64>ctl().size) return fail(E_MEMORY_SIZE, NONE, 0, have, ctl().size);
  adoptSettings(ctl());
  adoptLayout();
  return OK;
}

/** Returns when the first instance has laid out the memory, or has had its time. */
function awaitLayOut(): void {
  assert(!isDefined(PGAIO_UNSHARED));
  if (may_block) futexWait(ctlState(), CTL_LAYING_OUT, LAY_OUT_NS);
  for (let i: u32 = 0; !may_block && i < LAY_OUT_LOOKS; i++) {
    if (loadAcquire32(ctlState()) != CTL_LAYING_OUT) return;
  }
}
/** At least a second, where a thread may not sleep. */
const LAY_OUT_LOOKS: u32 = 1_000_000_000;

/**
 * Fills in the head, the slots and the handles; the rest begins as zero.
 */
function layOutMemory(): void {
  const to = ctl();
  to.magic = SHMEM_MAGIC;
  to.layout_version = LAYOUT_VERSION;
  publishSettings(to);
  layOut(to);
  adoptLayout();
  for (let procno: u32 = 0; procno < max_backends; procno++) layOutBackend(procno);
  storeRelease32(ctlState(), CTL_READY);
  futexWake(ctlState(), -1);
}

function layOutBackend(procno: u32): void {
  const slot = backendAt(procno);
  const first = procno * io_max_concurrency;
  slot.procno = procno;
  slot.heir = NONE;
  slot.io_handle_off = first;
  for (let i: u32 = 0; i < <u32>io_max_concurrency; i++) {
    const ioh = handleAt(first + i);
    ioh.generation = 1;
    ioh.owner_procno = procno;
    ioh.iovec_off = (first + i) * io_max_combine_limit;
  }
  rebuildLists(slot);
}

/**
 * Makes this instance a backend: claims a slot. Its number (procno). Once per instance.
 * `private_descriptors`: its descriptors mean nothing to others, or end with its thread.
 */
export function pgaio_init_backend(private_descriptors: u32): i32 {
  if (my_procno != NONE) return fail(E_BACKEND_TWICE, NONE, 0, my_procno);
  if (local_at == 0) return fail(E_NO_BACKEND);
  let rc = methodInitBackend();
  if (rc < 0) return rc;
  const procno = claimSlot();
  if (procno == NONE) return fail(E_NO_SLOT, NONE, 0, max_backends);
  my_backend.private_descriptors = private_descriptors;
  adoptPins(procno);
  my_storage().write_failed = 0;
  rc = methodJoinBackend();
  if (rc < 0) freeSlot();
  return rc < 0 ? rc : procno;
}

/** Number of this thread as its host knows it, before pgaio_init_backend or pgaio_init_worker. */
export function pgaio_set_thread(thread: u32): i32 {
  if (my_procno != NONE) return fail(E_BACKEND_TWICE, NONE, 0, my_procno);
  assert(my_procno == NONE);
  setThread(threadMark(thread));
  return OK;
}

/** Address of this backend's own area (local_memory bytes), for results and wait references. */
export function pgaio_local_memory(): f64 {
  if (my_procno == NONE) return <f64>fail(E_NO_BACKEND);
  return <f64>(local_at + <usize>my_procno * local_memory);
}

/**
 * Leaves: what was handed out is given back, what is staged is submitted, what is in flight is
 * waited for, oldest first; then frames and slot are free for others (pgaio_shutdown). The last
 * one out stops the I/O workers, which thus outlive every backend.
 */
export function pgaio_shutdown(): i32 {
  let rc = checkMayAct();
  if (rc < 0) return rc;
  if (stage_depth > 0) return fail(E_CRITICAL); // the I/O being defined needs its backend
  rc = pgaio_error_cleanup();
  if (rc < 0) return rc;
  const out = my_backend.handed_out_io;
  if (out != NONE) {
    my_backend.handed_out_io = NONE;
    reclaim(handleAt(out), PGAIO_HS_HANDED_OUT);
  }
  while (my_backend.in_flight_head != NONE) { // each round reclaims the oldest
    const ioh = handleAt(my_backend.in_flight_head);
    rc = waitOwn(ioh, ioh.generation, -1);
    if (rc < 0) return rc;
  }
  rc = waitForEstates();
  if (rc < 0) return rc;
  rc = closeAll();
  if (rc < 0) return rc;
  dropBuffersOf(my_procno);
  dropWriteSlotsOf(my_procno);
  forgetLocalBuffers();
  dropOwnersOf(my_procno);
  freeFramesOf(my_procno);
  dropFilesOf(my_procno);
  methodLeaveBackend(my_procno);
  freeSlot();
  if (!anySlotTaken()) pgaio_stop_workers();
  return OK;
}

/**
 * First thing after an error: ends a batch and submits what it held, so that nobody waits for I/O
 * this backend has forgotten about (pgaio_error_cleanup).
 */
export function pgaio_error_cleanup(): i32 {
  const rc = checkMayAct();
  if (rc < 0) return rc;
  my_backend.in_batchmode = 0;
  return submitStaged();
}

/** End of a unit of work: a batch still open is ended and warned about (AtEOXact_Aio). */
export function AtEOXact_Aio(is_commit: u32): i32 {
  let rc = checkMayAct();
  if (rc < 0) return rc;
  if (my_backend.in_batchmode == 0) return OK;
  rc = pgaio_error_cleanup();
  if (rc < 0) return rc;
  reportBackend(WARNING, REPORT_OPEN_BATCH);
  return OK;
}
