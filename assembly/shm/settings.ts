// @layout
/**
 * The settings the core works with: their numbers, ranges and defaults. Words, units and
 * PostgreSQL's messages are the bindings' part (bindings/settings.ts); the core only refuses what
 * it could not work with. Until AioShmemInit() they are this instance's wishes, after it they are
 * what the shared memory was laid out with.
 */
import { E_BAD_SETTING, E_SETTING_LATE, OK, fail } from "../errors";
import { loadAcquire32, storeRelease32 } from "./atomics";
import { PgAioCtl } from "./layout";
import { CTL_AT } from "./sizes";
import { IOMETHOD_HOST, IOMETHOD_SYNC, PG_IOV_MAX } from "../aio/types";

export const GUC_IO_METHOD: u32 = 0;
export const GUC_IO_MAX_CONCURRENCY: u32 = 1; // handles per backend; -1 derives it
export const GUC_IO_MAX_COMBINE_LIMIT: u32 = 2; // iovecs and handle data per handle
export const GUC_IO_COMBINE_LIMIT: u32 = 3; // blocks per I/O wanted, clamped to the one above
export const GUC_MAX_BACKENDS: u32 = 4; // instances that may issue I/O
export const GUC_SHARED_BUFFERS: u32 = 5; // page frames in the memory
export const GUC_BLOCK_SIZE: u32 = 6; // bytes of a page
export const GUC_LOCAL_MEMORY: u32 = 7; // bytes of each backend's own area
export const GUC_TRACE_SIZE: u32 = 8; // entries of the trace ring, a power of two
export const GUC_TRACE: u32 = 9; // 1 while transitions are recorded
export const GUC_DATA_CHECKSUMS: u32 = 10; // 1 when pages carry checksums
export const GUC_COUNT: u32 = 11;

/** PostgreSQL's processes that are not backends: 6 and MAX_IO_WORKERS (proc.h). */
export const NUM_AUXILIARY_PROCS: u32 = 38;
/** Cap of the derived io_max_concurrency (AioChooseMaxConcurrency). */
export const MAX_AUTO_CONCURRENCY: u32 = 64;

export let io_method: u32 = IOMETHOD_SYNC;
export let io_max_concurrency: i32 = -1;
export let io_max_combine_limit: u32 = 16;
export let io_combine_limit: u32 = 16;
export let max_backends: u32 = 16;
export let shared_buffers: u32 = 16384;
export let block_size: u32 = 8192;
export let local_memory: u32 = 65536;
export let trace_size: u32 = 4096;
export let data_checksums: bool = true;

/** True once the memory is laid out: from then on what shaped it stays. */
let fixed: bool = false;

/** AioChooseMaxConcurrency: -1 becomes what each slot's share of the buffers allows, 1 .. 64. */
export function fixMaxConcurrency(): void {
  if (io_max_concurrency != -1) return;
  const share = shared_buffers / (max_backends + NUM_AUXILIARY_PROCS);
  io_max_concurrency = min<u32>(MAX_AUTO_CONCURRENCY, max<u32>(1, share));
}

/** Writes the settings into the head of a memory being laid out. */
export function publishSettings(to: PgAioCtl): void {
  assert(io_max_concurrency > 0);
  to.io_method = io_method;
  to.io_max_concurrency = io_max_concurrency;
  to.io_max_combine_limit = io_max_combine_limit;
  to.max_backends = max_backends;
  to.shared_buffers = shared_buffers;
  to.block_size = block_size;
  to.local_memory = local_memory;
  to.trace_size = trace_size;
  to.data_checksums = data_checksums;
}

/** Takes the settings of a memory that is ready: they outrank this instance's wishes. */
export function adoptSettings(from: PgAioCtl): void {
  assert(!fixed);
  io_method = from.io_method;
  io_max_concurrency = from.io_max_concurrency;
  io_max_combine_limit = from.io_max_combine_limit;
  max_backends = from.max_backends;
  shared_buffers = from.shared_buffers;
  block_size = from.block_size;
  local_memory = from.local_memory;
  trace_size = from.trace_size;
  data_checksums = from.data_checksums == 1;
  fixed = true;
}

@inline function isPowerOfTwo(value: u32): bool { return popcnt<u32>(value) == 1; }

/** The ranges; `io_method` is checked against what this build can do when the method starts. */
function inRange(guc: u32, value: i32): bool {
  switch (guc) {
    case GUC_IO_METHOD: return value >= <i32>IOMETHOD_SYNC && value <= <i32>IOMETHOD_HOST;
    case GUC_IO_MAX_CONCURRENCY: return value >= -1 && value <= 1024 && value != 0;
    case GUC_IO_MAX_COMBINE_LIMIT:
    case GUC_IO_COMBINE_LIMIT: return value >= 1 && value <= <i32>PG_IOV_MAX;
    case GUC_MAX_BACKENDS: return value >= 1 && value <= 1024;
    case GUC_SHARED_BUFFERS: return value >= 16 && value <= 1073741823;
    case GUC_BLOCK_SIZE: return value >= 1024 && value <= 32768 && isPowerOfTwo(value);
    case GUC_LOCAL_MEMORY: return value >= 4096 && value <= 67108864 && (value & 4095) == 0;
    case GUC_TRACE_SIZE: return value >= 16 && value <= 1048576 && isPowerOfTwo(value);
    case GUC_TRACE:
    case GUC_DATA_CHECKSUMS: return value == 0 || value == 1;
    default: return false;
  }
}

/** Sets GUC_* `guc`. What shapes the memory can be set only before AioShmemInit. */
export function pgaio_set_guc(guc: u32, value: i32): i32 {
  if (!inRange(guc, value)) return fail(E_BAD_SETTING, -1, 0, guc, value);
  const any_time = guc == GUC_IO_COMBINE_LIMIT || guc == GUC_TRACE;
  if (any_time ? guc == GUC_TRACE && !fixed : fixed) return fail(E_SETTING_LATE, -1, 0, guc, value);
  switch (guc) {
    case GUC_TRACE: { storeRelease32(traceWord(), value); break; }
    case GUC_IO_METHOD: { io_method = value; break; }
    case GUC_IO_MAX_CONCURRENCY: { io_max_concurrency = value; break; }
    case GUC_IO_MAX_COMBINE_LIMIT: { io_max_combine_limit = value; break; }
    case GUC_IO_COMBINE_LIMIT: { io_combine_limit = value; break; }
    case GUC_MAX_BACKENDS: { max_backends = value; break; }
    case GUC_SHARED_BUFFERS: { shared_buffers = value; break; }
    case GUC_BLOCK_SIZE: { block_size = value; break; }
    case GUC_LOCAL_MEMORY: { local_memory = value; break; }
    case GUC_TRACE_SIZE: { trace_size = value; break; }
    case GUC_DATA_CHECKSUMS: { data_checksums = value == 1; break; }
    default: assert(false);
  }
  return OK;
}

/** Value of GUC_* `guc`: before AioShmemInit what was asked for, after it what is in force. */
export function pgaio_get_guc(guc: u32): i32 {
  switch (guc) {
    case GUC_IO_METHOD: return io_method;
    case GUC_IO_MAX_CONCURRENCY: return io_max_concurrency;
    case GUC_IO_MAX_COMBINE_LIMIT: return io_max_combine_limit;
    case GUC_IO_COMBINE_LIMIT: return io_combine_limit;
    case GUC_MAX_BACKENDS: return max_backends;
    case GUC_SHARED_BUFFERS: return shared_buffers;
    case GUC_BLOCK_SIZE: return block_size;
    case GUC_LOCAL_MEMORY: return local_memory;
    case GUC_TRACE_SIZE: return trace_size;
    case GUC_TRACE: return fixed ? loadAcquire32(traceWord()) : 0;
    case GUC_DATA_CHECKSUMS: return <i32>data_checksums;
    default: return fail(E_BAD_SETTING, -1, 0, guc);
  }
}

/** Of the memory, not of the instance: a trace has the transitions of all backends. */
function traceWord(): usize { return CTL_AT + offsetof<PgAioCtl>("trace_on"); }
