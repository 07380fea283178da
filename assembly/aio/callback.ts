/**
 * Callbacks: registered by id, since an address means nothing in another instance, and run last
 * registered first, so that the layer nearest to the file has spoken before the one above it
 * (aio_callback.c). Ids below 32 are the core's, 32 .. 63 the host's; both are dispatched by a
 * switch, for a function value would be a data segment.
 */
import {
  E_BAD_ADDRESS, E_BUFFER_IO, E_CALLBACK_COMPLETION, E_CALLBACK_COUNT, E_CALLBACK_MISSING,
  E_CALLBACK_RANGE, E_DATA_LENGTH, E_DATA_NONE, E_DATA_TWICE, E_NO_BACKEND, OK, fail,
} from "../errors";
import { loadAcquire32, storeRelease32 } from "../shm/atomics";
import { PgAioCtl, dataOf, handleId, isCallers } from "../shm/layout";
import { CTL_AT } from "../shm/sizes";
import { io_max_combine_limit } from "../shm/settings";
import {
  mdReadvComplete, mdWritevComplete, fileComplete,
} from "../storage/md";
import {
  isBegun, readvCompleteLocal, sharedReadvComplete, sharedWritevComplete, stageBuffers,
  writevCompleteLocal,
} from "../storage/buf_callbacks";
import { beginWriteSlot } from "../storage/buf_write";
import { isBegunLocal, localReadvComplete, stageLocal } from "../storage/localbuf";
import { pageReadvComplete } from "../storage/page_readv";
import {
  PgAioPlace, endCritSection, enterCallback, enterStage, leaveCallback, leaveStage, my_place,
  startCritSection,
} from "./backend";
import { checkHandedOut, checkHandle } from "./check";
import { PgAioHandle, stateOf } from "./handle";
import { host_callback } from "./host";
import { reportResult } from "./report";
import { errnoOf, now_result, now_word, resultStatus, resultWord, setNow, startOf } from "./result";
import {
  HOST_CALLBACK_THREW, LOG_SERVER_ONLY, NONE, PGAIO_CB_COMPLETE_LOCAL, PGAIO_CB_COMPLETE_SHARED,
  PGAIO_CB_REPORT, PGAIO_CB_STAGE, PGAIO_HANDLE_MAX_CALLBACKS, PGAIO_HCB_FILE, PGAIO_HCB_HOST_FIRST,
  PGAIO_HCB_HOST_LAST, PGAIO_HCB_LOCAL_BUFFER_READV, PGAIO_HCB_MD_READV, PGAIO_HCB_MD_WRITEV,
  PGAIO_HCB_PAGE_READV, PGAIO_HCB_SHARED_BUFFER_READV, PGAIO_HCB_SHARED_BUFFER_WRITEV,
  PGAIO_RS_ERROR, PGAIO_RS_OK,
} from "./types";

@inline export function callbackAt(ioh: PgAioHandle, index: u32): u32 {
  return (ioh.callbacks >>> (8 * index)) & 0xff;
}
@inline export function callbackDataAt(ioh: PgAioHandle, index: u32): u32 {
  return (ioh.callbacks_data >>> (8 * index)) & 0xff;
}

/** Which phases callback `id` has, as PGAIO_CB_* bits; 0 for one nobody registered. */
export function callbackPhases(id: u32): u32 {
  switch (id) {
    case PGAIO_HCB_MD_READV:
    case PGAIO_HCB_MD_WRITEV:
    case PGAIO_HCB_FILE:
    case PGAIO_HCB_PAGE_READV: return PGAIO_CB_COMPLETE_SHARED | PGAIO_CB_REPORT;
    case PGAIO_HCB_SHARED_BUFFER_READV: return ALL_PHASES;
    case PGAIO_HCB_SHARED_BUFFER_WRITEV: return ALL_PHASES & ~PGAIO_CB_REPORT;
    case PGAIO_HCB_LOCAL_BUFFER_READV: return ALL_PHASES & ~PGAIO_CB_COMPLETE_SHARED;
    default: return isHostCallback(id) ? loadPhases(id) : 0;
  }
}

const ALL_PHASES: u32 = PGAIO_CB_STAGE | PGAIO_CB_COMPLETE_SHARED | PGAIO_CB_COMPLETE_LOCAL
  | PGAIO_CB_REPORT;

@inline function isHostCallback(id: u32): bool {
  return id >= PGAIO_HCB_HOST_FIRST && id <= PGAIO_HCB_HOST_LAST;
}
/** A word of the table holds four ids, so it is read and written as a whole. */
@inline function phasesWord(id: u32): usize {
  return CTL_AT + offsetof<PgAioCtl>("host_callbacks") + ((id - PGAIO_HCB_HOST_FIRST) & ~3);
}
function loadPhases(id: u32): u32 {
  return isLoaded(id) ? phasesAnywhere(id) : 0;
}

/** Whether this very instance has the functions of host callback `id`. */
@inline function isLoaded(id: u32): bool {
  return ((my_place.host_callbacks >>> (id - PGAIO_HCB_HOST_FIRST)) & 1) != 0;
}
/** Phases of host callback `id` as whoever registered it last said. */
@inline function phasesAnywhere(id: u32): u32 {
  return (loadAcquire32(phasesWord(id)) >>> (8 * (id & 3))) & 0xff;
}

/**
 * Tells the engine that this instance has host callback `id`, and which phases it has. It needs one
 * of the completions, like any callback. The bindings keep the functions.
 */
export function pgaio_register_host_callback(id: u32, phases: u32): i32 {
  if (changetype<usize>(my_place) == 0) return fail(E_NO_BACKEND);
  if (!isHostCallback(id)) return fail(E_CALLBACK_RANGE, NONE, 0, id);
  if ((phases & (PGAIO_CB_COMPLETE_SHARED | PGAIO_CB_COMPLETE_LOCAL)) == 0) {
    return fail(E_CALLBACK_COMPLETION, NONE, 0, id);
  }
  const shift = 8 * (id & 3);
  const others = loadAcquire32(phasesWord(id)) & ~((0xff as u32) << shift);
  storeRelease32(phasesWord(id), others | ((phases & 0xff) << shift));
  my_place.host_callbacks |= 1 << (id - PGAIO_HCB_HOST_FIRST);
  return OK;
}

/** Adds callback `id` with its byte of data to an I/O being defined, at most 4. */
export function pgaio_io_register_callbacks(at: u32, id: u32, cb_data: u32): i32 {
  const rc = checkHandedOut(at);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  const io = handleId(ioh);
  if (id > PGAIO_HCB_HOST_LAST || cb_data > 0xff) {
    return fail(E_CALLBACK_RANGE, io, stateOf(ioh), id);
  }
  if ((callbackPhases(id) & (PGAIO_CB_COMPLETE_SHARED | PGAIO_CB_COMPLETE_LOCAL)) == 0) {
    const elsewhere = isHostCallback(id) && phasesAnywhere(id) != 0;
    return fail(elsewhere ? E_CALLBACK_MISSING : E_CALLBACK_COMPLETION, io, stateOf(ioh), id);
  }
  if (id == PGAIO_HCB_SHARED_BUFFER_READV || id == PGAIO_HCB_LOCAL_BUFFER_READV
    || id == PGAIO_HCB_SHARED_BUFFER_WRITEV) {
    const rcBuffers = checkBuffers(ioh, id);
    if (rcBuffers < 0) return rcBuffers;
  }
  const index = ioh.num_callbacks;
  if (index == PGAIO_HANDLE_MAX_CALLBACKS) return fail(E_CALLBACK_COUNT, io, stateOf(ioh), index);
  const shift = 8 * <u32>index;
  const keep = ~((0xff as u32) << shift);
  ioh.callbacks = (ioh.callbacks & keep) | (id << shift);
  ioh.callbacks_data = (ioh.callbacks_data & keep) | (cb_data << shift);
  ioh.num_callbacks = index + 1;
  return OK;
}

/** Callbacks of buffers work on the handle's data: each must have I/O begun on it. */
function checkBuffers(ioh: PgAioHandle, id: u32): i32 {
  const io = handleId(ioh);
  if (ioh.handle_data_len == 0) return fail(E_DATA_NONE, io, stateOf(ioh));
  for (let i: u32 = 0; i < ioh.handle_data_len; i++) {
    const begun = id == PGAIO_HCB_LOCAL_BUFFER_READV ? isBegunLocal(ioh, i) : isBegun(ioh, i);
    if (!begun) return fail(E_BUFFER_IO, io, stateOf(ioh), <f64>load<i32>(dataOf(ioh) + 8 * i));
  }
  assert(ioh.handle_data_len > 0);
  return OK;
}

/** What both setters ask for; OK, or why not. */
function checkData(at: u32, from: u32, count: u32, width: u32): i32 {
  const rc = checkHandedOut(at);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  const io = handleId(ioh);
  if (ioh.handle_data_len != 0) return fail(E_DATA_TWICE, io, stateOf(ioh));
  if (count == 0 || count > io_max_combine_limit) {
    return fail(E_DATA_LENGTH, io, stateOf(ioh), count, io_max_combine_limit);
  }
  const readable = from % width == 0 && isCallers(from, <usize>count * width);
  return readable ? OK : fail(E_BAD_ADDRESS, io, stateOf(ioh), from, count * width);
}

/** Copies `count` u64 at `from` into the handle: what its callbacks work on, say buffers. */
export function pgaio_io_set_handle_data_64(at: u32, from: u32, count: u32): i32 {
  const rc = checkData(at, from, count, 8);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  memory.copy(dataOf(ioh), from, <usize>count * 8);
  ioh.handle_data_len = <u8>count;
  return OK;
}

/** As pgaio_io_set_handle_data_64 from u32, widened. */
export function pgaio_io_set_handle_data_32(at: u32, from: u32, count: u32): i32 {
  const rc = checkData(at, from, count, 4);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  for (let i: u32 = 0; i < count; i++) {
    store<u64>(dataOf(ioh) + 8 * <usize>i, load<u32>(<usize>from + 4 * <usize>i));
  }
  ioh.handle_data_len = <u8>count;
  return OK;
}

/** Address of a handle's data, u64 each. Their number: pgaio_io_get_handle_data_len. */
export function pgaio_io_get_handle_data(at: u32): f64 {
  const rc = checkHandle(at);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  if (ioh.handle_data_len == 0) return fail(E_DATA_NONE, handleId(ioh), stateOf(ioh));
  return <f64>dataOf(ioh);
}

/** Entries of a handle's data, 0 when none was set. */
export function pgaio_io_get_handle_data_len(at: u32): i32 {
  const rc = checkHandle(at);
  return rc < 0 ? rc : changetype<PgAioHandle>(at).handle_data_len;
}

/** Runs one phase of a host callback over `now`. False when it threw. */
function callHost(phase: u32, id: u32, ioh: PgAioHandle, cb_data: u32): bool {
  const place = my_place;
  place.cb_word = now_word;
  place.cb_result = now_result;
  const at = changetype<usize>(place) + offsetof<PgAioPlace>("cb_word");
  const stages = phase == PGAIO_CB_STAGE;
  if (stages) enterStage();
  else enterCallback();
  const rc = host_callback(phase, id, changetype<usize>(ioh), cb_data, at);
  if (stages) leaveStage();
  else leaveCallback();
  if (rc < 0 || stages) return rc >= 0; // an I/O that is not staged yet has no result
  // A callback that leaves UNKNOWN behind says nothing; what was known before it stands.
  if (resultStatus(place.cb_word) == 0 || resultStatus(place.cb_word) > PGAIO_RS_ERROR) {
    return true;
  }
  setNow(place.cb_word, place.cb_result);
  return true;
}

function setThrown(ioh: PgAioHandle, id: u32): void {
  assert(isHostCallback(id));
  setNow(resultWord(id, PGAIO_RS_ERROR, HOST_CALLBACK_THREW), 0);
  logNow(ioh); // here it is known what it threw, at the issuer maybe not
}

/**
 * The issuer prepares what the I/O needs: buffers become the I/O's. Last registered first. 0, or
 * the id of the host callback that threw.
 */
export function callStage(ioh: PgAioHandle): u32 {
  for (let index = <i32>ioh.num_callbacks - 1; index >= 0; index--) {
    const id = callbackAt(ioh, index);
    if (id == PGAIO_HCB_SHARED_BUFFER_READV) stageBuffers(ioh);
    else if (id == PGAIO_HCB_SHARED_BUFFER_WRITEV) {
      beginWriteSlot(callbackDataAt(ioh, index), ioh);
      stageBuffers(ioh);
    } else if (id == PGAIO_HCB_LOCAL_BUFFER_READV) stageLocal(ioh);
    if (!isHostCallback(id) || (callbackPhases(id) & PGAIO_CB_STAGE) == 0) continue;
    startOf(0);
    if (!callHost(PGAIO_CB_STAGE, id, ioh, callbackDataAt(ioh, index))) return id;
  }
  return 0;
}

/**
 * Turns the raw result into what the layers make of it, last registered first, each seeing the one
 * before; leaves it as the handle's distilled result (pgaio_io_call_complete_shared). `thrown` is
 * the stage callback that kept the I/O from running, or 0.
 */
export function callCompleteShared(ioh: PgAioHandle, thrown: u32): void {
  startCritSection();
  startOf(ioh.result);
  if (thrown != 0) setThrown(ioh, thrown);
  for (let index = <i32>ioh.num_callbacks - 1; index >= 0; index--) {
    completeShared(callbackAt(ioh, index), ioh, callbackDataAt(ioh, index));
    assert(resultStatus(now_word) != 0, "a callback may not forget the result");
  }
  // A negative raw result that no callback spoke about would pass for a success (PostgreSQL's
  // does): it gets the words of the plain-file callback.
  if (ioh.result < 0 && resultStatus(now_word) == PGAIO_RS_OK && now_result == ioh.result) {
    setNow(resultWord(PGAIO_HCB_FILE, PGAIO_RS_ERROR, errnoOf(ioh.result)), 0);
  }
  ioh.distilled_word = now_word;
  ioh.distilled_result = now_result;
  endCritSection();
}

function completeShared(id: u32, ioh: PgAioHandle, cb_data: u32): void {
  switch (id) {
    case PGAIO_HCB_MD_READV: { mdReadvComplete(ioh); break; }
    case PGAIO_HCB_MD_WRITEV: { mdWritevComplete(ioh); break; }
    case PGAIO_HCB_FILE: { fileComplete(ioh); break; }
    case PGAIO_HCB_PAGE_READV: { pageReadvComplete(ioh, cb_data); break; }
    case PGAIO_HCB_SHARED_BUFFER_READV: { sharedReadvComplete(ioh, cb_data); break; }
    case PGAIO_HCB_SHARED_BUFFER_WRITEV: { sharedWritevComplete(ioh, cb_data); break; }
    case PGAIO_HCB_LOCAL_BUFFER_READV: break; // the issuer's part
    default: {
      assert(isHostCallback(id));
      if ((phasesAnywhere(id) & PGAIO_CB_COMPLETE_SHARED) == 0) return;
      // It has not run, so nobody may take the I/O for complete.
      const ran = isLoaded(id) && callHost(PGAIO_CB_COMPLETE_SHARED, id, ioh, cb_data);
      if (!ran) setThrown(ioh, id);
    }
  }
}

/** The issuer's own part of the completion, from the distilled result on; leaves it in `now`. */
export function callCompleteLocal(ioh: PgAioHandle): void {
  startCritSection();
  setNow(ioh.distilled_word, ioh.distilled_result);
  for (let index = <i32>ioh.num_callbacks - 1; index >= 0; index--) {
    const id = callbackAt(ioh, index);
    switch (id) {
      case PGAIO_HCB_SHARED_BUFFER_READV: { readvCompleteLocal(id); break; }
      case PGAIO_HCB_SHARED_BUFFER_WRITEV: { writevCompleteLocal(ioh); break; }
      case PGAIO_HCB_LOCAL_BUFFER_READV: {
        localReadvComplete(ioh, callbackDataAt(ioh, index));
        readvCompleteLocal(id);
        break;
      }
      default:
    }
    if (!isHostCallback(id) || (callbackPhases(id) & PGAIO_CB_COMPLETE_LOCAL) == 0) continue;
    if (!callHost(PGAIO_CB_COMPLETE_LOCAL, id, ioh, callbackDataAt(ioh, index))) setThrown(ioh, id);
  }
  endCritSection();
}

/** A result a callback has just set, to the log: what PostgreSQL's layers do on the spot. */
export function logNow(ioh: PgAioHandle): void {
  reportResult(LOG_SERVER_ONLY, ioh, now_word, now_result);
}
