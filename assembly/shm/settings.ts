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
import { IOMETHOD_HOST, IOMETHOD_SYNC, KAIO_MAX, MAX_IO_WORKERS, PG_IOV_MAX } from "../aio/types";

export const GUC_IO_METHOD: u32 = 0;
export const GUC_IO_MAX_CONCURRENCY: u32 = 1; // handles per backend; -1 derives it
export const GUC_IO_MAX_COMBINE_LIMIT: u32 = 2; // iovecs and handle data per handle
export const GUC_IO_COMBINE_LIMIT: u32 = 3; // blocks per I/O wanted, clamped to the one above
export const GUC_MAX_BACKENDS: u32 = 4; // instances that may issue I/O
export const GUC_SHARED_BUFFERS: u32 = 5; // pages of the buffer pool
export const GUC_BLOCK_SIZE: u32 = 6; // bytes of a page
export const GUC_LOCAL_MEMORY: u32 = 7; // bytes of each backend's own area
export const GUC_TRACE_SIZE: u32 = 8; // entries of the trace ring, a power of two
export const GUC_TRACE: u32 = 9; // 1 while transitions are recorded
export const GUC_DATA_CHECKSUMS: u32 = 10; // 1 when pages carry checksums
export const GUC_IO_MIN_WORKERS: u32 = 11; // I/O workers there always are
export const GUC_IO_MAX_WORKERS: u32 = 12; // I/O workers there may be
export const GUC_IO_WORKER_IDLE_TIMEOUT: u32 = 13; // ms until one above the minimum leaves
export const GUC_IO_WORKER_LAUNCH_INTERVAL: u32 = 14; // ms between two launches above the minimum
export const GUC_SEGMENT_SIZE: u32 = 15; // blocks of a relation's file
export const GUC_MAX_FILES: u32 = 16; // files that other threads can open again
export const GUC_CALLBACKS_EVERYWHERE: u32 = 17; // bit n: every thread loads host callback 32 + n
export const GUC_IO_FRAMES: u32 = 18; // page frames for I/O without the buffer pool
export const GUC_TEMP_BUFFERS: u32 = 19; // local buffers, taken from the page frames on first use
export const GUC_ZERO_DAMAGED_PAGES: u32 = 20; // 1: invalid pages are zeroed as they are read
export const GUC_IGNORE_CHECKSUM_FAILURE: u32 = 21; // 1: failures are warned of only
export const GUC_RING: u32 = 22; // where io_uring's rings lie: RING_*
export const GUC_EFFECTIVE_IO_CONCURRENCY: u32 = 23; // I/Os at once of a read stream
export const GUC_MAINTENANCE_IO_CONCURRENCY: u32 = 24; // the same for READ_STREAM_MAINTENANCE
export const GUC_FIXED_BUFFERS: u32 = 25; // what is registered with each ring: FIXED_*
export const GUC_IO_WORKER_CONCURRENCY: u32 = 26; // I/Os one worker has under way
export const GUC_COUNT: u32 = 27;

export const RING_CHECKED: u32 = 0; // with the host, which looks at each entry
export const RING_SHARED: u32 = 1; // in the linear memory

export const FIXED_NOTHING: u32 = 0;
export const FIXED_FRAMES: u32 = 1; // the page frames
export const FIXED_ALL: u32 = 2; // and the pages of the buffer pool

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
export let io_frames: u32 = 1024;
export let temp_buffers: u32 = 1024;
export let zero_damaged_pages: bool = false;
export let ignore_checksum_failure: bool = false;
export let block_size: u32 = 8192;
export let local_memory: u32 = 65536;
export let trace_size: u32 = 4096;
export let data_checksums: bool = true;
export let segment_size: u32 = 131072;
export let max_files: u32 = 256;
export let callbacks_everywhere: u32 = 0;
export let ring: u32 = RING_CHECKED;
export let fixed_buffers: u32 = FIXED_FRAMES;

/** Each instance's own: I/Os at once of its read streams, 0 reads synchronously. */
export let effective_io_concurrency: u32 = 16;
export let maintenance_io_concurrency: u32 = 16;
/** Most that either can be (bufmgr.h). */
export const MAX_IO_CONCURRENCY: i32 = 1000;

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
  to.io_frames = io_frames;
  to.block_size = block_size;
  to.local_memory = local_memory;
  to.trace_size = trace_size;
  to.data_checksums = data_checksums;
  to.segment_size = segment_size;
  to.max_files = max_files;
  to.callbacks_everywhere = callbacks_everywhere;
  to.ring = ring;
  to.fixed_buffers = fixed_buffers;
  to.io_min_workers = 2;
  to.io_max_workers = 8;
  to.io_worker_idle_timeout = 60000;
  to.io_worker_launch_interval = 100;
  to.io_worker_concurrency = 16;
}

/** Takes the settings of a memory that is ready: they outrank this instance's wishes. */
export function adoptSettings(from: PgAioCtl): void {
  assert(!fixed);
  io_method = from.io_method;
  io_max_concurrency = from.io_max_concurrency;
  io_max_combine_limit = from.io_max_combine_limit;
  max_backends = from.max_backends;
  shared_buffers = from.shared_buffers;
  io_frames = from.io_frames;
  block_size = from.block_size;
  local_memory = from.local_memory;
  trace_size = from.trace_size;
  data_checksums = from.data_checksums == 1;
  segment_size = from.segment_size;
  max_files = from.max_files;
  callbacks_everywhere = from.callbacks_everywhere;
  ring = from.ring;
  fixed_buffers = from.fixed_buffers;
  fixed = true;
}

/** This instance's ring has nothing registered: the kernel would not have it. */
export function withoutFixedBuffers(): void {
  assert(fixed);
  fixed_buffers = FIXED_NOTHING;
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
    case GUC_IO_FRAMES: return value >= 0 && value <= 1073741823;
    case GUC_TEMP_BUFFERS: return value >= 100 && value <= 1073741823;
    case GUC_BLOCK_SIZE: return value >= 1024 && value <= 32768 && isPowerOfTwo(value);
    case GUC_LOCAL_MEMORY: return value >= 4096 && value <= 67108864 && (value & 4095) == 0;
    case GUC_TRACE_SIZE: return value >= 16 && value <= 1048576 && isPowerOfTwo(value);
    case GUC_IO_MIN_WORKERS:
    case GUC_IO_MAX_WORKERS: return value >= 1 && value <= <i32>MAX_IO_WORKERS;
    case GUC_IO_WORKER_IDLE_TIMEOUT:
    case GUC_IO_WORKER_LAUNCH_INTERVAL: return value >= 0;
    case GUC_IO_WORKER_CONCURRENCY: return value >= 1 && value <= <i32>KAIO_MAX;
    case GUC_SEGMENT_SIZE: return value >= 1;
    case GUC_MAX_FILES: return value >= 1 && value <= 65536;
    case GUC_CALLBACKS_EVERYWHERE: return true;
    case GUC_FIXED_BUFFERS: return value >= 0 && value <= <i32>FIXED_ALL;
    case GUC_EFFECTIVE_IO_CONCURRENCY:
    case GUC_MAINTENANCE_IO_CONCURRENCY: return value >= 0 && value <= MAX_IO_CONCURRENCY;
    case GUC_TRACE:
    case GUC_RING:
    case GUC_ZERO_DAMAGED_PAGES:
    case GUC_IGNORE_CHECKSUM_FAILURE:
    case GUC_DATA_CHECKSUMS: return value == 0 || value == 1;
    default: return false;
  }
}

/** Whether each backend has its own, to be changed at any time. */
function isOwn(guc: u32): bool {
  assert(guc < GUC_COUNT);
  return guc == GUC_IO_COMBINE_LIMIT || guc == GUC_TEMP_BUFFERS || guc == GUC_ZERO_DAMAGED_PAGES
    || guc == GUC_IGNORE_CHECKSUM_FAILURE || guc == GUC_EFFECTIVE_IO_CONCURRENCY
    || guc == GUC_MAINTENANCE_IO_CONCURRENCY;
}

/** Sets GUC_* `guc`. What shapes the memory can be set only before AioShmemInit. */
export function pgaio_set_guc(guc: u32, value: i32): i32 {
  if (!inRange(guc, value)) return fail(E_BAD_SETTING, -1, 0, guc, value);
  const word = wordOf(guc);
  if (!isOwn(guc) && (word == 0) == fixed) {
    return fail(E_SETTING_LATE, -1, 0, guc, value);
  }
  if (word != 0) {
    storeRelease32(word, value);
    return OK;
  }
  switch (guc) {
    case GUC_IO_METHOD: { io_method = value; break; }
    case GUC_IO_MAX_CONCURRENCY: { io_max_concurrency = value; break; }
    case GUC_IO_MAX_COMBINE_LIMIT: { io_max_combine_limit = value; break; }
    case GUC_IO_COMBINE_LIMIT: { io_combine_limit = value; break; }
    case GUC_EFFECTIVE_IO_CONCURRENCY: { effective_io_concurrency = value; break; }
    case GUC_MAINTENANCE_IO_CONCURRENCY: { maintenance_io_concurrency = value; break; }
    case GUC_MAX_BACKENDS: { max_backends = value; break; }
    case GUC_SHARED_BUFFERS: { shared_buffers = value; break; }
    case GUC_IO_FRAMES: { io_frames = value; break; }
    case GUC_TEMP_BUFFERS: { temp_buffers = value; break; }
    case GUC_ZERO_DAMAGED_PAGES: { zero_damaged_pages = value == 1; break; }
    case GUC_IGNORE_CHECKSUM_FAILURE: { ignore_checksum_failure = value == 1; break; }
    case GUC_BLOCK_SIZE: { block_size = value; break; }
    case GUC_LOCAL_MEMORY: { local_memory = value; break; }
    case GUC_TRACE_SIZE: { trace_size = value; break; }
    case GUC_DATA_CHECKSUMS: { data_checksums = value == 1; break; }
    case GUC_SEGMENT_SIZE: { segment_size = value; break; }
    case GUC_MAX_FILES: { max_files = value; break; }
    case GUC_CALLBACKS_EVERYWHERE: { callbacks_everywhere = value; break; }
    case GUC_RING: { ring = value; break; }
    case GUC_FIXED_BUFFERS: { fixed_buffers = value; break; }
    default: assert(false);
  }
  return OK;
}

/** Value of GUC_* `guc`: before AioShmemInit what was asked for, after it what is in force. */
export function pgaio_get_guc(guc: u32): i32 {
  if (guc >= GUC_COUNT) return fail(E_BAD_SETTING, -1, 0, guc);
  const word = wordOf(guc);
  if (word != 0) return fixed ? loadAcquire32(word) : 0;
  switch (guc) {
    case GUC_IO_METHOD: return io_method;
    case GUC_IO_MAX_CONCURRENCY: return io_max_concurrency;
    case GUC_IO_MAX_COMBINE_LIMIT: return io_max_combine_limit;
    case GUC_IO_COMBINE_LIMIT: return io_combine_limit;
    case GUC_EFFECTIVE_IO_CONCURRENCY: return effective_io_concurrency;
    case GUC_MAINTENANCE_IO_CONCURRENCY: return maintenance_io_concurrency;
    case GUC_MAX_BACKENDS: return max_backends;
    case GUC_SHARED_BUFFERS: return shared_buffers;
    case GUC_IO_FRAMES: return io_frames;
    case GUC_TEMP_BUFFERS: return temp_buffers;
    case GUC_ZERO_DAMAGED_PAGES: return <i32>zero_damaged_pages;
    case GUC_IGNORE_CHECKSUM_FAILURE: return <i32>ignore_checksum_failure;
    case GUC_BLOCK_SIZE: return block_size;
    case GUC_LOCAL_MEMORY: return local_memory;
    case GUC_TRACE_SIZE: return trace_size;
    case GUC_DATA_CHECKSUMS: return <i32>data_checksums;
    case GUC_SEGMENT_SIZE: return segment_size;
    case GUC_MAX_FILES: return max_files;
    case GUC_CALLBACKS_EVERYWHERE: return callbacks_everywhere;
    case GUC_RING: return ring;
    case GUC_FIXED_BUFFERS: return fixed_buffers;
    default: return fail(E_BAD_SETTING, -1, 0, guc);
  }
}

/** Settings of the memory, not of the instance: all may change them, at any time. 0 for others. */
function wordOf(guc: u32): usize {
  assert(guc < GUC_COUNT);
  switch (guc) {
    case GUC_TRACE: return CTL_AT + offsetof<PgAioCtl>("trace_on");
    case GUC_IO_MIN_WORKERS: return CTL_AT + offsetof<PgAioCtl>("io_min_workers");
    case GUC_IO_MAX_WORKERS: return CTL_AT + offsetof<PgAioCtl>("io_max_workers");
    case GUC_IO_WORKER_IDLE_TIMEOUT: return CTL_AT + offsetof<PgAioCtl>("io_worker_idle_timeout");
    case GUC_IO_WORKER_LAUNCH_INTERVAL: {
      return CTL_AT + offsetof<PgAioCtl>("io_worker_launch_interval");
    }
    case GUC_IO_WORKER_CONCURRENCY: return CTL_AT + offsetof<PgAioCtl>("io_worker_concurrency");
    default: return 0;
  }
}
