/**
 * Method HOST: the embedder performs the I/O. It is handed the ids of submitted handles, reads
 * operation, descriptor, offset and iovecs from them, and reports each end through
 * pgaio_io_process_completion, at once or later. For devices only the embedder can reach (an object
 * store, a browser's asynchronous files) and for tests that need I/O in flight at will.
 */
import { E_CANNOT_WAIT, OK, fail } from "../errors";
import { PgAioHandle, stateOf } from "../aio/handle";
import { host_submit, host_wait_one } from "../aio/host";
import { prepareSubmit, processCompletion } from "../aio/io";
import { EIO, PGAIO_HS_SUBMITTED } from "../aio/types";
import { generationOf } from "../aio/wait";
import { handleAt, handleId } from "../shm/layout";

/** A host that refuses (-errno) fails all of them that it has not completed: none is lost. */
export function hostSubmit(count: u32, ids: usize): i32 {
  for (let i: u32 = 0; i < count; i++) prepareSubmit(handleAt(idAt(ids, i)));
  const rc = host_submit(count, ids);
  if (rc >= 0) return count;
  const raw = rc < -4095 ? -EIO : rc;
  for (let i: u32 = 0; i < count; i++) {
    const ioh = handleAt(idAt(ids, i));
    if (stateOf(ioh) == PGAIO_HS_SUBMITTED) processCompletion(ioh, raw, 0);
  }
  return count;
}
@inline function idAt(ids: usize, index: u32): u32 { return load<u32>(ids + 4 * <usize>index); }

/** Asks the host to complete `ioh` now. One that only can later makes a blocking wait an error. */
export function hostWaitOne(ioh: PgAioHandle, generation: u64): i32 {
  const rc = host_wait_one(handleId(ioh));
  if (generationOf(ioh) != generation) return OK;
  const state = stateOf(ioh);
  const stuck = rc < 0 || state == PGAIO_HS_SUBMITTED;
  return stuck ? fail(E_CANNOT_WAIT, handleId(ioh), state) : OK;
}
