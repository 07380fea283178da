/**
 * The methods behind one table of operations, after PostgreSQL's IoMethodOps. A table of function
 * values would be a data segment, so each operation is a switch over io_method:
 *
 * | operation          | contract                                                            |
 * |--------------------|---------------------------------------------------------------------|
 * | shmemSize, Init    | none needs shared memory of its own yet                             |
 * | initBackend        | checks that this build can run the method                           |
 * | needsSynchronous   | true: the issuer executes the I/O inside start                      |
 * | submit             | takes all of them, each at least SUBMITTED on return; count or error |
 * | hasWaitOne         | false: I/Os complete without help, a waiter sleeps on the state     |
 * | waitOne            | returns with the I/O past SUBMITTED, or its generation gone         |
 * | waitsBeforeClose   | true: the descriptor must stay open until its I/Os are over         |
 */
import { E_BAD_SETTING, E_OP_INVALID, OK, fail } from "../errors";
import { PgAioHandle } from "../aio/handle";
import { IOMETHOD_HOST, IOMETHOD_SYNC } from "../aio/types";
import { GUC_IO_METHOD, io_method } from "../shm/settings";
import { hostSubmit, hostWaitOne } from "./host";
import { syncSubmit } from "./sync";

export function methodInitBackend(): i32 {
  if (io_method == IOMETHOD_SYNC || io_method == IOMETHOD_HOST) return OK;
  return fail(E_BAD_SETTING, -1, 0, GUC_IO_METHOD, io_method);
}

@inline export function methodNeedsSynchronous(ioh: PgAioHandle): bool {
  return io_method == IOMETHOD_SYNC;
}

export function methodSubmit(count: u32, ids: usize): i32 {
  assert(count > 0);
  switch (io_method) {
    case IOMETHOD_SYNC: return syncSubmit(ids);
    case IOMETHOD_HOST: return hostSubmit(count, ids);
    default: return fail(E_OP_INVALID);
  }
}

@inline export function methodHasWaitOne(): bool { return io_method == IOMETHOD_HOST; }

export function methodWaitOne(ioh: PgAioHandle, generation: u64): i32 {
  assert(methodHasWaitOne());
  return hostWaitOne(ioh, generation);
}

@inline export function methodWaitsBeforeClose(): bool { return io_method == IOMETHOD_HOST; }
