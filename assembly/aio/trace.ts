/**
 * The trace ring: each transition of each handle as numbers, instead of PostgreSQL's debug text
 * (pgaio_debug_io). The bindings format them as PostgreSQL's line. One ring for all backends, so
 * that the order of entries is the order of events; an entry is claimed by one atomic addition and
 * published by its `seq` last, so that a reader can tell a whole one from one being written.
 * Off, it costs one load per transition.
 */
import { fetchAdd32, storeRelease32 } from "../shm/atomics";
import { PgAioCtl, ctl, handleId, trace_at } from "../shm/layout";
import { CTL_AT, TRACE_BYTES } from "../shm/sizes";
import { trace_size } from "../shm/settings";
import { my_procno } from "./backend";
import { PgAioHandle } from "./handle";
import { PGAIO_HS_COMPLETED_SHARED } from "./types";

@unmanaged export class PgAioTraceEntry {
  seq: u32; //              0  number of the entry + 1, 0 while it is written
  procno: i32; //           4  backend that made the transition, -1 if none
  io: u32; //               8  handle id
  from: u8; //             12  PGAIO_HS_*
  to: u8; //               13  PGAIO_HS_*
  op: u8; //               14  PGAIO_OP_*
  target: u8; //           15  PGAIO_TID_*
  generation: u64; //      16
  owner_procno: i32; //    24
  raw_result: i32; //      28  bytes or -errno, 0 before COMPLETED_IO
  distilled_word: u32; //  32  PgAioResult, 0 before COMPLETED_SHARED
  distilled_result: i32; // 36
  offset: f64; //          40  bytes into the file
}
if (offsetof<PgAioTraceEntry>() != TRACE_BYTES) ERROR("PgAioTraceEntry and TRACE_BYTES disagree");

@inline export function trace(ioh: PgAioHandle, from: u32, to: u32): void {
  if (ctl().trace_on != 0) record(ioh, from, to);
}

function record(ioh: PgAioHandle, from: u32, to: u32): void {
  const number = fetchAdd32(CTL_AT + offsetof<PgAioCtl>("trace_next"), 1);
  const at = trace_at + <usize>(number & (trace_size - 1)) * TRACE_BYTES;
  const entry = changetype<PgAioTraceEntry>(at);
  storeRelease32(at, 0);
  entry.procno = my_procno;
  entry.io = handleId(ioh);
  entry.from = <u8>from;
  entry.to = <u8>to;
  entry.op = ioh.op;
  entry.target = ioh.target;
  entry.generation = ioh.generation;
  entry.owner_procno = ioh.owner_procno;
  entry.raw_result = ioh.result;
  const distilled = to >= PGAIO_HS_COMPLETED_SHARED;
  entry.distilled_word = distilled ? ioh.distilled_word : 0;
  entry.distilled_result = distilled ? ioh.distilled_result : 0;
  entry.offset = <f64>ioh.offset;
  storeRelease32(at + offsetof<PgAioTraceEntry>("seq"), number + 1);
}
