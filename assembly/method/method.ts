/**
 * The methods behind one table of operations, after PostgreSQL's IoMethodOps. A table of function
 * values would be a data segment, so each operation is a switch over io_method:
 *
 * | operation          | contract                                                            |
 * |--------------------|---------------------------------------------------------------------|
 * | initBackend        | checks that this build can run the method                           |
 * | joinBackend        | makes what each backend of the method has of its own                |
 * | leaveBackend       | gives that back for a slot whose I/O has all ended                  |
 * | needsSynchronous   | true: the issuer executes the I/O inside start                      |
 * | submit             | takes all of them, each at least SUBMITTED on return; count or error |
 * | hasWaitOne         | false: I/Os complete without help, a waiter sleeps on the state     |
 * | waitOne            | lets it progress, for a time at the most; 1 when that was up        |
 * | poll               | deals with what has ended of a backend's, without waiting; how many |
 * | waitsBeforeClose   | true: the descriptor must stay open until its I/Os are over         |
 */
import { E_BAD_SETTING, E_OP_INVALID, OK, fail } from "../errors";
import { PgAioHandle } from "../aio/handle";
import {
  ALL_ENDED, IOMETHOD_HOST, IOMETHOD_IO_URING, IOMETHOD_SYNC, IOMETHOD_WORKER,
  PGAIO_HF_SYNCHRONOUS,
} from "../aio/types";
import { GUC_IO_METHOD, io_method } from "../shm/settings";
import { hostSubmit, hostWaitOne } from "./host";
import {
  uringInitBackend, uringLeave, uringPoll, uringSubmit, uringWaitOne,
} from "./io_uring";
import { syncSubmit } from "./sync";
import {
  workerHelp, workerNeedsSynchronous, workersRunning, workerSubmit,
} from "./worker";

export function methodInitBackend(): i32 {
  if (io_method == IOMETHOD_SYNC || io_method == IOMETHOD_HOST) return OK;
  const threads = io_method == IOMETHOD_WORKER || io_method == IOMETHOD_IO_URING;
  if (threads && !isDefined(PGAIO_UNSHARED)) return OK;
  return fail(E_BAD_SETTING, -1, 0, GUC_IO_METHOD, io_method);
}

export function methodJoinBackend(): i32 {
  return io_method == IOMETHOD_IO_URING ? uringInitBackend() : OK;
}
export function methodLeaveBackend(procno: u32): void {
  if (io_method == IOMETHOD_IO_URING) uringLeave(procno);
}

@inline export function methodNeedsSynchronous(ioh: PgAioHandle): bool {
  return io_method == IOMETHOD_SYNC || io_method == IOMETHOD_WORKER && workerNeedsSynchronous(ioh);
}

export function methodSubmit(count: u32, ids: usize): i32 {
  assert(count > 0);
  switch (io_method) {
    case IOMETHOD_SYNC: return syncSubmit(ids);
    case IOMETHOD_WORKER: return workerSubmit(count, ids);
    case IOMETHOD_IO_URING: return uringSubmit(count, ids);
    case IOMETHOD_HOST: return hostSubmit(count, ids);
    default: return fail(E_OP_INVALID);
  }
}

@inline export function methodHasWaitOne(): bool {
  return io_method == IOMETHOD_HOST || io_method == IOMETHOD_IO_URING;
}

export function methodWaitOne(ioh: PgAioHandle, generation: u64, ns: i64): i32 {
  assert(methodHasWaitOne());
  if (io_method == IOMETHOD_IO_URING) return uringWaitOne(ioh, generation, ns);
  return hostWaitOne(ioh, generation);
}

/** Whether waiting for one I/O comes back when any has ended. */
@inline export function methodEndsInAnyOrder(): bool { return io_method == IOMETHOD_IO_URING; }

/** PostgreSQL's check_one; also for a backend that looks what has become of its own. */
@inline export function methodPoll(procno: u32, most: u32 = ALL_ENDED): u32 {
  return io_method == IOMETHOD_IO_URING ? uringPoll(procno, most) : 0;
}

/**
 * A waiter's help with an I/O that is submitted and that nobody may ever execute: without I/O
 * workers at once, else only after it waited long. True when it was executed here.
 */
export function methodHelp(ioh: PgAioHandle, waited: bool): bool {
  assert(ioh.owner_procno >= 0);
  if (io_method != IOMETHOD_WORKER || (ioh.flags & PGAIO_HF_SYNCHRONOUS) != 0) return false;
  return (waited || workersRunning() == 0) && workerHelp(ioh);
}

/** WORKER, too, unlike PostgreSQL's: workers use the issuer's descriptor, or the file's number. */
@inline export function methodWaitsBeforeClose(): bool { return io_method != IOMETHOD_SYNC; }
