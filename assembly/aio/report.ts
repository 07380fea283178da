/**
 * Reports: what PostgreSQL would write to its log or throw, as numbers. The core cannot hold words,
 * so the numbers go to the host at once; the bindings copy them, find the words, and deliver them
 * when the call into the core has returned. Nothing is queued here, hence nothing is lost.
 */
import { handleId } from "../shm/layout";
import { PgAioHandle } from "./handle";
import { host_report } from "./host";
import { targetDataAt } from "./target";
import { NONE, REPORT_OPEN_BATCH, REPORT_RESULT } from "./types";

/** Something about a handle that needs no result: a leak, a failed checksum. */
export function report(level: i32, kind: u32, ioh: PgAioHandle, first: u32 = 0,
  second: u32 = 0): void {
  assert(kind != REPORT_RESULT);
  host_report(level, kind, handleId(ioh), ioh.owner_procno, 0, 0, first, second,
    targetDataAt(ioh));
}

/** A result on behalf of a handle, while it completes. */
export function reportResult(level: i32, ioh: PgAioHandle, word: u32, result: i32): void {
  host_report(level, REPORT_RESULT, handleId(ioh), ioh.owner_procno, word, result, 0, 0,
    targetDataAt(ioh));
}

/** A result whose handle is gone: result and target data of the issuer's PgAioReturn. */
export function reportReturn(level: i32, word: u32, result: i32, target_data: usize): void {
  host_report(level, REPORT_RESULT, NONE, NONE, word, result, 0, 0, target_data);
}

/** Something about this backend alone. */
export function reportBackend(level: i32, kind: u32): void {
  assert(kind == REPORT_OPEN_BATCH);
  host_report(level, kind, NONE, NONE, 0, 0, 0, 0, 0);
}
