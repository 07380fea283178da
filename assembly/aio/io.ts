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
  PgAioBackend, PgAioPlace, callback_depth, endCritSection, my_backend, my_place, my_procno,
  pushInFlight, pushStaged, stagedArray, stagedAt, startCritSection,
} from "./backend";
import { callCompleteShared, callStage } from "./callback";
import { checkHandedOut, checkHandle, checkMayAct } from "./check";
import { PgAioHandle, reclaim, stateOf, updateState } from "./handle";
import { ringOwner } from "./doorbell";
import { fd_datasync, fd_pread, fd_pwrite, fd_sync } from "./host";
import { targetDataOf } from "./target";
import {
  ECANCELED, EINTR, MAX_RW_COUNT, NONE, PGAIO_HF_ALL, PGAIO_HF_SYNCHRONOUS, PGAIO_HS_COMPLETED_IO,
  PGAIO_HS_COMPLETED_SHARED, PGAIO_HS_DEFINED, PGAIO_HS_HANDED_OUT, PGAIO_HS_STAGED,
  PGAIO_HS_SUBMITTED, PGAIO_OP_FDATASYNC, PGAIO_OP_FLUSH_RANGE, PGAIO_OP_FSYNC, PGAIO_OP_INVALID,
  PGAIO_OP_READV, PGAIO_OP_WRITEV, PGAIO_SUBMIT_BATCH_SIZE, PGAIO_TID_FILE, PGAIO_TID_INVALID,
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
  let rc = checkStart(at, fd, offset);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  rc = measure(ioh, iovcnt);
  return rc < 0 ? rc : startChecked(ioh, op, fd, iovcnt, offset);
}

/** What every start asks for, whatever it is to do. */
function checkStart(at: u32, fd: i32, offset: f64): i32 {
  let rc = checkMayAct();
  if (rc < 0) return rc;
  rc = checkHandedOut(at);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  assert(ioh.op == PGAIO_OP_INVALID);
  const io = handleId(ioh);
  if (ioh.target == PGAIO_TID_INVALID) return fail(E_NO_TARGET, io, PGAIO_HS_HANDED_OUT);
  if (fd < 0) return fail(E_BAD_FD, io, PGAIO_HS_HANDED_OUT, fd);
  if (!(offset >= 0 && offset <= OFFSET_MAX) || offset != Math.floor(offset)) {
    return fail(E_BAD_OFFSET, io, PGAIO_HS_HANDED_OUT, offset);
  }
  return OK;
}

/** Everything about the call is in order, `length` is set. */
function startChecked(ioh: PgAioHandle, op: u32, fd: i32, iovcnt: u32, offset: f64): i32 {
  assert(ioh.target != PGAIO_TID_INVALID);
  if (ioh.target == PGAIO_TID_FILE) {
    const data = targetDataOf(ioh);
    data.dbOid = ioh.length;
    data.relNumber = op;
  }
  ioh.fd = fd;
  ioh.iov_length = <u16>iovcnt;
  ioh.offset = <u64>offset;
  count(ioh.target, op, ioh.length);
  return stage(ioh, op);
}

/** As pg_stat_io counts: by the issuer, when the I/O is started. Five u64 per kind of target. */
function count(target: u32, op: u32, bytes: u32): void {
  assert(op != PGAIO_OP_INVALID);
  const at = changetype<usize>(my_backend) + (target == PGAIO_TID_FILE
    ? offsetof<PgAioBackend>("file_reads") : offsetof<PgAioBackend>("smgr_reads"));
  if (op == PGAIO_OP_READV) {
    store<u64>(at, load<u64>(at) + 1);
    store<u64>(at, load<u64>(at, 8) + bytes, 8);
  } else if (op == PGAIO_OP_WRITEV) {
    store<u64>(at, load<u64>(at, 16) + 1, 16);
    store<u64>(at, load<u64>(at, 24) + bytes, 24);
  } else store<u64>(at, load<u64>(at, 32) + 1, 32);
}

/** Brings data and metadata of `fd` to the device. Consumes the handle. */
export function pgaio_io_start_fsync(at: u32, fd: i32): i32 {
  return startSync(at, PGAIO_OP_FSYNC, fd, 0, 0);
}

/** Brings the data of `fd` to the device. Consumes the handle. */
export function pgaio_io_start_fdatasync(at: u32, fd: i32): i32 {
  return startSync(at, PGAIO_OP_FDATASYNC, fd, 0, 0);
}

/**
 * Starts writing `bytes` from `offset` of `fd` back to the device. A hint: a method or host without
 * a call for a range brings the data of the whole file there. Consumes the handle.
 */
export function pgaio_io_start_flush_range(at: u32, fd: i32, offset: f64, bytes: f64): i32 {
  return startSync(at, PGAIO_OP_FLUSH_RANGE, fd, offset, bytes);
}

function startSync(at: u32, op: u32, fd: i32, offset: f64, bytes: f64): i32 {
  assert(op >= PGAIO_OP_FSYNC);
  const rc = checkStart(at, fd, offset);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  if (!(bytes >= 0 && bytes <= <f64>MAX_RW_COUNT) || bytes != Math.floor(bytes)) {
    return fail(E_BAD_LENGTH, handleId(ioh), PGAIO_HS_HANDED_OUT, bytes);
  }
  ioh.length = <u32>bytes;
  return startChecked(ioh, op, fd, 0, offset);
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
    return performSynchronously(ioh, ioh.fd);
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
  assert(my_backend.num_staged_ios <= PGAIO_SUBMIT_BATCH_SIZE);
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
 * Executes a submitted I/O in this thread on descriptor `fd`, over WASI
 * (pgaio_io_perform_synchronously); a negative `fd` is the -errno that kept it from being opened. A
 * call that a signal interrupted is made again; PostgreSQL's is not. A short transfer is a result,
 * not repeated: the layer above decides (PARTIAL).
 */
export function performSynchronously(ioh: PgAioHandle, fd: i32): i32 {
  const op = ioh.op;
  if (op == PGAIO_OP_INVALID || op > PGAIO_OP_FLUSH_RANGE) {
    return fail(E_OP_INVALID, handleId(ioh), stateOf(ioh), op);
  }
  processCompletion(ioh, fd < 0 ? max(fd, -4095) : execute(ioh, fd), 0);
  return OK;
}

/** The system call; bytes, or -errno. */
function execute(ioh: PgAioHandle, fd: i32): i32 {
  assert(fd >= 0);
  const transferred = changetype<usize>(my_place) + offsetof<PgAioPlace>("transferred");
  let errno: i32;
  do { // every round is a signal delivered to this thread: as many as there are signals
    my_place.transferred = 0;
    switch (<u32>ioh.op) {
      case PGAIO_OP_READV: {
        errno = fd_pread(fd, iovecsOf(ioh), ioh.iov_length, ioh.offset, transferred);
        break;
      }
      case PGAIO_OP_WRITEV: {
        errno = fd_pwrite(fd, iovecsOf(ioh), ioh.iov_length, ioh.offset, transferred);
        break;
      }
      case PGAIO_OP_FSYNC: { errno = fd_sync(fd); break; }
      default: { errno = fd_datasync(fd); break; }
    }
    errno = errnoOfWasi(errno);
  } while (errno == EINTR);
  return errno != 0 ? -errno : <i32>min(my_place.transferred, ioh.length);
}

/** From the raw result to COMPLETED_SHARED, and on to IDLE if the owner is at hand. */
export function processCompletion(ioh: PgAioHandle, raw: i32, thrown: u32): void {
  const id = handleId(ioh);
  const owner = ioh.owner_procno;
  ioh.result = raw;
  updateState(ioh, PGAIO_HS_SUBMITTED, PGAIO_HS_COMPLETED_IO);
  finishCompletion(ioh, id, owner, thrown);
}

/**
 * An I/O whose shared callbacks this instance lacks: its owner, who registered them, has to run
 * them. It is told; whoever waits for the I/O waits for the owner then.
 */
export function leaveToOwner(ioh: PgAioHandle, raw: i32): void {
  assert(ioh.owner_procno != my_procno);
  const id = handleId(ioh);
  const owner = ioh.owner_procno;
  ioh.result = raw;
  ioh.left_to_owner = 1;
  updateState(ioh, PGAIO_HS_SUBMITTED, PGAIO_HS_COMPLETED_IO);
  ringOwner(id, owner);
}

/** The owner's part of it; false if nobody left it anything. */
export function finishIfLeft(ioh: PgAioHandle): bool {
  assert(ioh.owner_procno == my_procno);
  if (stateOf(ioh) != PGAIO_HS_COMPLETED_IO || ioh.left_to_owner == 0) return false;
  ioh.left_to_owner = 0;
  finishCompletion(ioh, handleId(ioh), my_procno, 0);
  return true;
}

/** The second half: also where a thread that died in the callbacks left off (sweep.ts). */
export function finishCompletion(ioh: PgAioHandle, id: u32, owner: i32, thrown: u32): void {
  assert(handleId(ioh) == id);
  callCompleteShared(ioh, thrown);
  updateState(ioh, PGAIO_HS_COMPLETED_IO, PGAIO_HS_COMPLETED_SHARED);
  // From here on the handle is its owner's: it may be reclaimed and in use again already.
  if (owner == my_procno) reclaim(ioh, PGAIO_HS_COMPLETED_SHARED);
  else ringOwner(id, owner);
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
  const most: u32 = ioh.op > PGAIO_OP_WRITEV ? 0 : ioh.length;
  if (raw < -4095 || (raw > 0 && <u32>raw > most)) {
    return fail(E_BAD_RESULT, handleId(ioh), state, raw, most);
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
    rc = waitOwn(ioh, ioh.generation, -1);
    if (rc < 0) return rc;
    id = my_backend.in_flight_head;
  }
  return OK;
}
