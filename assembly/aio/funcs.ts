/**
 * Looking at handles and results from outside (aio_funcs.c: pg_get_aios; pgaio_result_report).
 * Nothing here changes a handle.
 */
import {
  E_BAD_ADDRESS, E_BAD_BLOCKS, E_BAD_HANDLE, E_BAD_LEVEL, E_REPORT_NONE, E_REPORT_STATUS, OK, fail,
} from "../errors";
import { dataOf, handleAt, handleId, handle_count, isCallers } from "../shm/layout";
import { io_max_combine_limit } from "../shm/settings";
import { HANDLE_SHIFT } from "../shm/sizes";
import { slotActive } from "./backend";
import { callbackPhases } from "./callback";
import { checkHandle } from "./check";
import { PgAioHandle, stateOf } from "./handle";
import { reportReturn } from "./report";
import { RESULT_BYTES, resultId, resultStatus } from "./result";
import { TARGET_DATA_BYTES } from "./target";
import {
  DEBUG5, NONE, PANIC, PGAIO_CB_REPORT, PGAIO_HS_IDLE, PGAIO_RS_ERROR, PGAIO_RS_OK,
} from "./types";
import { generationOf } from "./wait";

const HANDLE_BYTES: u32 = 1 << HANDLE_SHIFT;

/**
 * Copies handle `id` to `to` (128 bytes of callers' memory) as it was at one moment, after the
 * snapshot rule of pg_get_aios: if its generation moved meanwhile there is nothing to show, if its
 * state did, look again. 1, or 0 for an idle handle. Adds 2 when the owner's slot is in use.
 */
export function pgaio_get_aio(id: u32, to: u32): i32 {
  if (id >= handle_count) return fail(E_BAD_HANDLE, NONE, 0, id);
  if ((to & 7) != 0 || !isCallers(to, HANDLE_BYTES)) {
    return fail(E_BAD_ADDRESS, NONE, 0, to, HANDLE_BYTES);
  }
  const ioh = handleAt(id);
  const generation = generationOf(ioh);
  while (true) { // a handle has eight states, then its generation moves and we are done
    const state = stateOf(ioh);
    if (state == PGAIO_HS_IDLE) return 0;
    memory.copy(to, changetype<usize>(ioh), HANDLE_BYTES);
    if (generationOf(ioh) != generation) return 0;
    if (stateOf(ioh) != state) continue;
    const copy = changetype<PgAioHandle>(to);
    store<u32>(to, state);
    assert(copy.generation == generation);
    return slotActive(copy.owner_procno) ? 3 : 1;
  }
}

/** Address of the verdicts that PGAIO_HCB_PAGE_READV left for a handle, u64 per block. */
export function pgaio_io_get_page_verdicts(at: u32): f64 {
  const rc = checkHandle(at);
  return rc < 0 ? <f64>rc : <f64>dataOf(changetype<PgAioHandle>(at));
}

/** What the first `nblocks` of these verdicts say, all flags together; bit 31: one was not read. */
export function pgaio_io_get_page_flags(at: u32, nblocks: u32): f64 {
  const rc = checkHandle(at);
  if (rc < 0) return <f64>rc;
  if (nblocks > io_max_combine_limit) {
    return <f64>fail(E_BAD_BLOCKS, handleId(changetype<PgAioHandle>(at)), 0, 0, nblocks);
  }
  assert(handleId(changetype<PgAioHandle>(at)) < handle_count);
  return <f64>pageFlags(changetype<PgAioHandle>(at), nblocks);
}
/** The same inside the core; `nblocks` is no more than a handle has room for. */
export function pageFlags(ioh: PgAioHandle, nblocks: u32): u32 {
  assert(nblocks <= io_max_combine_limit);
  let flags: u64 = 0;
  for (let i: usize = 0; i < nblocks; i++) flags |= load<u64>(dataOf(ioh) + 8 * i);
  return <u32>(flags >> 32);
}

/**
 * Has a PgAioResult and its PgAioTargetData, both in callers' memory, put into words at `level` by
 * the callback that set the result. Nothing to say about OK and UNKNOWN: that is an error, as is a
 * callback without words.
 */
export function pgaio_result_report(result: u32, target_data: u32, level: i32): i32 {
  if ((result & 3) != 0 || !isCallers(result, RESULT_BYTES)) {
    return fail(E_BAD_ADDRESS, NONE, 0, result, RESULT_BYTES);
  }
  if ((target_data & 3) != 0 || !isCallers(target_data, TARGET_DATA_BYTES)) {
    return fail(E_BAD_ADDRESS, NONE, 0, target_data, TARGET_DATA_BYTES);
  }
  if (level < DEBUG5 || level > PANIC) return fail(E_BAD_LEVEL, NONE, 0, level);
  const word = load<u32>(result);
  const status = resultStatus(word);
  if (status <= PGAIO_RS_OK || status > PGAIO_RS_ERROR) {
    return fail(E_REPORT_STATUS, NONE, 0, status);
  }
  const id = resultId(word);
  if ((callbackPhases(id) & PGAIO_CB_REPORT) == 0) return fail(E_REPORT_NONE, NONE, 0, id);
  reportReturn(level, word, load<i32>(result, 4), target_data);
  return OK;
}
