/**
 * What an export asks of its caller before it does anything: a backend, a handle that is one, its
 * owner, its state. Each check answers OK or an error number with its record filled in.
 */
import {
  E_BAD_HANDLE, E_CRITICAL, E_FOREIGN_HANDLE, E_NOT_HANDED_OUT, E_NO_BACKEND, OK, fail,
} from "../errors";
import { handleId, isHandle } from "../shm/layout";
import { crit_section_count, my_procno } from "./backend";
import { PgAioHandle, stateOf } from "./handle";
import { NONE, PGAIO_HS_HANDED_OUT } from "./types";

/** A backend, and not inside a completion callback: whoever acquires, starts, submits or waits. */
export function checkMayAct(): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  return crit_section_count > 0 ? fail(E_CRITICAL) : OK;
}

export function checkHandle(at: u32): i32 {
  return isHandle(at) ? OK : fail(E_BAD_HANDLE, NONE, 0, at);
}

export function checkMine(at: u32): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  if (!isHandle(at)) return fail(E_BAD_HANDLE, NONE, 0, at);
  const ioh = changetype<PgAioHandle>(at);
  if (ioh.owner_procno == my_procno) return OK;
  return fail(E_FOREIGN_HANDLE, handleId(ioh), stateOf(ioh), ioh.owner_procno);
}

/** What everything that defines an I/O asks for. */
export function checkHandedOut(at: u32): i32 {
  const rc = checkMine(at);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  const state = stateOf(ioh);
  return state == PGAIO_HS_HANDED_OUT ? OK : fail(E_NOT_HANDED_OUT, handleId(ioh), state);
}
