/**
 * Defining, staging and submitting an I/O, and what happens when it ends (aio_io.c and the middle
 * of aio.c). The order of effects is PostgreSQL's.
 */
import {
  E_BAD_FD, E_BAD_FLAG, E_BAD_IOVCNT, E_BAD_IOVEC, E_BAD_LENGTH, E_BAD_OFFSET, E_BAD_RESULT,
  E_BATCH_NESTED, E_BATCH_NONE, E_COMPLETION_STATE, E_CRITICAL, E_NO_BACKEND, E_NO_TARGET,
  E_OP_INVALID, E_SUBMIT_COUNT, OK, fail,
} from "../errors";
import { handleAt, handleId, iovecsOf, isCallers } from "../shm/layout";
import { IOVEC_BYTES } from "../shm/sizes";
import { io_max_combine_limit } from "../shm/settings";
import { methodNeedsSynchronous, methodSubmit, methodWaitsBeforeClose } from "../method/method";
import { errnoOfWasi } from "../method/wasi_errno";
import {
  PgAioBackend, callback_depth, endCritSection, my_backend, my_procno, pushInFlight, pushStaged,
  stagedArray, stagedAt, startCritSection,
} from "./backend";
import { callCompleteShared, callStage } from "./callback";
import { checkHandedOut, checkHandle, checkMayAct } from "./check";
import { PgAioHandle, reclaim, stateOf, updateState } from "./handle";
import { fd_pread, fd_pwrite } from "./host";
import { resultStatus } from "./result";
import { targetDataOf } from "./target";
import {
  ECANCELED, EINTR, MAX_RW_COUNT, NONE, PGAIO_HF_ALL, PGAIO_HF_SYNCHRONOUS, PGAIO_HS_COMPLETED_IO,
  PGAIO_HS_COMPLETED_SHARED, PGAIO_HS_DEFINED, PGAIO_HS_HANDED_OUT, PGAIO_HS_STAGED,
  PGAIO_HS_SUBMITTED, PGAIO_OP_INVALID, PGAIO_OP_READV, PGAIO_OP_WRITEV, PGAIO_RS_ERROR,
  PGAIO_RS_PARTIAL, PGAIO_SUBMIT_BATCH_SIZE, PGAIO_TID_FILE,
  PGAIO_TID_INVALID,
} from "./types";
import { waitOwn } from "./wait";

/** Largest whole number a double holds exactly: what an offset can be at the JavaScript border. */
const OFFSET_MAX: f64 = 9007199254740991;

/** Adds PGAIO_HF_* bits to an I/O being defined. */
export function pgaio_io_set_flag(at: u32, flag: u32): i32 {
  const rc = checkHandedOut(at);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  if (flag == 0 || (flag & ~PGAIO_HF_ALL) != 0) {
    return fail(E_BAD_FLAG, handleId(ioh), stateOf(ioh), flag);
  }
  ioh.flags |= <u8>flag;
  return OK;
}

/** Address of the handle's iovecs, {address u32, length u32} each, to be filled by the caller. */
export function pgaio_io_get_iovec(at: u32): i32 {
  const rc = checkHandedOut(at);
  return rc < 0 ? rc : iovecsOf(changetype<PgAioHandle>(at)) as i32;
}

/** How many iovecs that is: the slice's real size, where PostgreSQL answers 128 whatever it is. */
export function pgaio_io_get_iovec_max(): i32 {
  return my_procno == NONE ? fail(E_NO_BACKEND) : <i32>io_max_combine_limit;
}

/** Reads from `offset` of `fd` into the first `iovcnt` iovecs. Consumes the handle. */
export function pgaio_io_start_readv(at: u32, fd: i32, iovcnt: u32, offset: f64): i32 {
  return start(at, PGAIO_OP_READV, fd, iovcnt, offset);
}

/** Writes the first `iovcnt` iovecs to `fd` from `offset` on. Consumes the handle. */
export function pgaio_io_start_writev(at: u32, fd: i32, iovcnt: u32, offset: f64): i32 {
  return start(at, PGAIO_OP_WRITEV, fd, iovcnt, offset);
}

function start(at: u32, op: u32, fd: i32, iovcnt: u32, offset: f64): i32 {
  let rc = checkMayAct();
  if (rc < 0) return rc;
  rc = checkHandedOut(at);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  const io = handleId(ioh);
  if (ioh.target == PGAIO_TID_INVALID) return fail(E_NO_TARGET, io, PGAIO_HS_HANDED_OUT);
  if (fd < 0) return fail(E_BAD_FD, io, PGAIO_HS_HANDED_OUT, fd);
  if (!(offset >= 0 && offset <= OFFSET_MAX) || offset != Math.floor(offset)) {
    return fail(E_BAD_OFFSET, io, PGAIO_HS_HANDED_OUT, offset);
  }
  rc = measure(ioh, iovcnt);
  if (rc < 0) return rc;
  if (ioh.target == PGAIO_TID_FILE) {
    const data = targetDataOf(ioh);
    data.dbOid = ioh.length;
    data.relNumber = op;
  }
  ioh.fd = fd;
  ioh.iov_length = <u16>iovcnt;
  ioh.offset = <u64>offset;
  if (op == PGAIO_OP_READV) {
    my_backend.reads++;
    my_backend.read_bytes += ioh.length;
  } else {
    my_backend.writes++;
    my_backend.write_bytes += ioh.length;
  }
  return stage(ioh, op);
}

/** Checks the iovecs and leaves their sum in `length`: only callers' memory may be touched. */
function measure(ioh: PgAioHandle, iovcnt: u32): i32 {
  const io = handleId(ioh);
  if (iovcnt == 0 || iovcnt > io_max_combine_limit) {
    return fail(E_BAD_IOVCNT, io, PGAIO_HS_HANDED_OUT, iovcnt, io_max_combine_limit);
  }
  let sum: u64 = 0;
  let iov = iovecsOf(ioh);
  for (let i: u32 = 0; i < iovcnt; i++) {
    const base = load<u32>(iov);
    const length = load<u32>(iov, 4);
    if (!isCallers(base, length)) return fail(E_BAD_IOVEC, io, PGAIO_HS_HANDED_OUT, i, base);
    sum += length;
    iov += IOVEC_BYTES;
  }
  if (sum > MAX_RW_COUNT) return fail(E_BAD_LENGTH, io, PGAIO_HS_HANDED_OUT, <f64>sum);
  ioh.length = <u32>sum;
  return OK;
}

/**
 * From HANDED_OUT to executed or staged (pgaio_io_stage). A stage callback may acquire another
 * handle, hence handed_out_io is cleared before they run. One that throws ends the I/O as an error
 * without executing it, through the same states as any other.
 */
function stage(ioh: PgAioHandle, op: u32): i32 {
  ioh.op = <u8>op;
  ioh.result = 0;
  updateState(ioh, PGAIO_HS_HANDED_OUT, PGAIO_HS_DEFINED);
  my_backend.handed_out_io = NONE;
  const thrown = callStage(ioh);
  updateState(ioh, PGAIO_HS_DEFINED, PGAIO_HS_STAGED);
  if (thrown != 0) {
    prepareSubmit(ioh);
    processCompletion(ioh, -ECANCELED, thrown);
    return OK;
  }
  if ((ioh.flags & PGAIO_HF_SYNCHRONOUS) != 0 || methodNeedsSynchronous(ioh)) {
    my_backend.synchronous++;
    prepareSubmit(ioh);
    return performSynchronously(ioh);
  }
  // Handles started by stage callbacks may have filled the array since acquire looked.
  if (my_backend.num_staged_ios == PGAIO_SUBMIT_BATCH_SIZE) {
    const rc = submitStaged();
    if (rc < 0) return rc;
  }
  pushStaged(handleId(ioh));
  return my_backend.in_batchmode == 1 ? OK : submitStaged();
}

/** STAGED to SUBMITTED, and onto the end of the in-flight list (pgaio_io_prepare_submit). */
export function prepareSubmit(ioh: PgAioHandle): void {
  updateState(ioh, PGAIO_HS_STAGED, PGAIO_HS_SUBMITTED);
  pushInFlight(handleId(ioh));
}

/** Hands what is staged to the method (pgaio_submit_staged). On error it stays staged. */
export function submitStaged(): i32 {
  const count = my_backend.num_staged_ios;
  if (count == 0) return OK;
  startCritSection();
  const rc = methodSubmit(count, stagedArray());
  endCritSection();
  if (rc < 0) return rc;
  if (<u32>rc != count) return fail(E_SUBMIT_COUNT, stagedAt(0), 0, rc, count);
  my_backend.submissions++;
  my_backend.num_staged_ios = 0;
  return OK;
}

/** Submits what is staged; nothing to do is fine. */
export function pgaio_submit_staged(): i32 {
  const rc = checkMayAct();
  return rc < 0 ? rc : submitStaged();
}

/** How many I/Os are staged. */
export function pgaio_have_staged(): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  assert(my_backend.in_batchmode == 1 || my_backend.num_staged_ios == 0);
  return my_backend.num_staged_ios;
}

/** From now on started I/Os are staged, until 32 of them or the end of the batch. */
export function pgaio_enter_batchmode(): i32 {
  const rc = checkMayAct();
  if (rc < 0) return rc;
  if (my_backend.in_batchmode == 1) return fail(E_BATCH_NESTED);
  my_backend.in_batchmode = 1;
  return OK;
}

/** Submits what is staged, then ends the batch: in this order, as in PostgreSQL. */
export function pgaio_exit_batchmode(): i32 {
  let rc = checkMayAct();
  if (rc < 0) return rc;
  if (my_backend.in_batchmode == 0) return fail(E_BATCH_NONE);
  rc = submitStaged();
  if (rc < 0) return rc;
  my_backend.in_batchmode = 0;
  return OK;
}

/**
 * Executes a submitted I/O in this thread, over WASI (pgaio_io_perform_synchronously). A call that
 * a signal interrupted is made again; PostgreSQL's is not. A short transfer is a result, not
 * repeated: the layer above decides (PARTIAL).
 */
export function performSynchronously(ioh: PgAioHandle): i32 {
  const op = ioh.op;
  if (op != PGAIO_OP_READV && op != PGAIO_OP_WRITEV) {
    return fail(E_OP_INVALID, handleId(ioh), stateOf(ioh), op);
  }
  const transferred = changetype<usize>(my_backend) + offsetof<PgAioBackend>("transferred");
  let errno: i32;
  do { // every round is a signal delivered to this thread: as many as there are signals
    my_backend.transferred = 0;
    errno = op == PGAIO_OP_READV
      ? fd_pread(ioh.fd, iovecsOf(ioh), ioh.iov_length, ioh.offset, transferred)
      : fd_pwrite(ioh.fd, iovecsOf(ioh), ioh.iov_length, ioh.offset, transferred);
    errno = errnoOfWasi(errno);
  } while (errno == EINTR);
  processCompletion(ioh, errno != 0 ? -errno : <i32>min(my_backend.transferred, ioh.length), 0);
  return OK;
}

/** From the raw result to COMPLETED_SHARED, and on to IDLE if the owner is at hand. */
export function processCompletion(ioh: PgAioHandle, raw: i32, thrown: u32): void {
  ioh.result = raw;
  updateState(ioh, PGAIO_HS_SUBMITTED, PGAIO_HS_COMPLETED_IO);
  callCompleteShared(ioh, thrown);
  const status = resultStatus(ioh.distilled_word);
  if (status == PGAIO_RS_ERROR) my_backend.errors++;
  else if (status == PGAIO_RS_PARTIAL) my_backend.partials++;
  const mine = ioh.owner_procno == my_procno;
  updateState(ioh, PGAIO_HS_COMPLETED_IO, PGAIO_HS_COMPLETED_SHARED);
  if (mine) reclaim(ioh, PGAIO_HS_COMPLETED_SHARED);
}

/**
 * Whoever learnt that a submitted I/O ended says so: bytes or -errno (pgaio_io_process_completion).
 * Any backend may, but not from within a completion callback.
 */
export function pgaio_io_process_completion(at: u32, raw: i32): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  const rc = checkHandle(at);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  const state = stateOf(ioh);
  if (callback_depth > 0) return fail(E_CRITICAL, handleId(ioh), state);
  if (state != PGAIO_HS_SUBMITTED) return fail(E_COMPLETION_STATE, handleId(ioh), state);
  if (raw < -4095 || (raw > 0 && <u32>raw > ioh.length)) {
    return fail(E_BAD_RESULT, handleId(ioh), state, raw, ioh.length);
  }
  processCompletion(ioh, raw, 0);
  return OK;
}

/**
 * To be called before descriptor `fd` is closed: submits what is staged and, for a method that
 * executes in the kernel, waits for what is in flight on it (pgaio_closing_fd).
 */
export function pgaio_closing_fd(fd: i32): i32 {
  if (my_procno == NONE) return OK;
  let rc = checkMayAct();
  if (rc < 0) return rc;
  rc = submitStaged();
  if (rc < 0) return rc;
  if (!methodWaitsBeforeClose()) return OK;
  let id = my_backend.in_flight_head;
  while (id != NONE) { // each wait takes at least one I/O off the list, then it is begun anew
    const ioh = handleAt(id);
    if (ioh.fd != fd) {
      id = ioh.node_next;
      continue;
    }
    rc = waitOwn(ioh, ioh.generation);
    if (rc < 0) return rc;
    id = my_backend.in_flight_head;
  }
  return OK;
}
