// @layout
/**
 * What lies where in the shared memory. One memory, laid out once from the settings, never grown;
 * everything in it is found by offset or index. In this order:
 *
 *   PgAioCtl · PgAioBackend[] · PgAioDoorbell[] · PgAioHandle[] · iovecs · handle data ·
 *   filled returns · worker control · PgAioWorker[] · resource owners · files · open segments ·
 *   frame owners · buffer control · BufferDesc[] · buffer table · its locks · pins · write slots ·
 *   scratch · sync requests · trace ring · PgAioUringContext[] · rings ‖ local memory of each
 *   backend · page frames · write frames · buffers
 *
 * What stands after ‖ is the callers' memory: results, wait references and page data go there and
 * nowhere else (`isCallers`). Sizes after AioShmemSize and AioShmemInit of aio_init.c.
 */
import { PgAioBackend } from "../aio/backend";
import { PgAioHandle } from "../aio/handle";
import { E_MEMORY_LIMIT, fail } from "../errors";
import {
  IOMETHOD_IO_URING, MAX_IO_WORKERS, NUM_BUFFER_PARTITIONS, PGAIO_SUBMIT_BATCH_SIZE,
  RESOURCE_OWNERS, SYNC_REQUESTS, WRITE_SLOTS_MAX,
} from "../aio/types";
import {
  block_size, fixMaxConcurrency, io_frames, io_max_combine_limit, io_max_concurrency, io_method,
  local_memory, max_backends, max_files, shared_buffers, trace_size,
} from "./settings";
import {
  BUFFER_CONTROL_BYTES, BUFFER_DESC_BYTES, BUFFER_PARTITION_BYTES, BUFFER_PIN_BYTES,
  BUFFER_SCRATCH_BYTES, MD_FILE_BYTES, SYNC_REQUEST_BYTES, WRITE_SLOT_BYTES,
  BACKEND_SHIFT, CTL_AT, CTL_BYTES, DATA_BYTES, DOORBELL_BYTES, FILE_BYTES, FRAME_OWNER_BYTES,
  HANDLE_SHIFT, IOVEC_BYTES, KERNEL_IOVEC_BYTES, RESOWNER_BYTES, TRACE_BYTES, URING_CONTEXT_BYTES,
  URING_SQES_BYTES, WORKER_BYTES, WORKER_CONTROL_BYTES, WORKER_SCRATCH_BYTES,
} from "./sizes";

/** Raised whenever a field below or in a structure moves. */
export const LAYOUT_VERSION: u32 = 14;
export const SHMEM_MAGIC: u32 = 0x49414750; // "PGAI" in a dump

const FRAME_ALIGN: u64 = 4096; // O_DIRECT on any device
const MEMORY_LIMIT: u64 = 0xffff0000; // 65535 pages of 64 KiB: an end of 2^32 would wrap to 0

/** States of `PgAioCtl.state`. */
export const CTL_FRESH: u32 = 0;
export const CTL_LAYING_OUT: u32 = 1;
export const CTL_READY: u32 = 2;

/** Head of the shared memory: what it was laid out with, and where each region begins. */
@unmanaged export class PgAioCtl {
  magic: u32; //                0  SHMEM_MAGIC
  layout_version: u32; //       4  LAYOUT_VERSION
  state: u32; //                8  futex word: CTL_FRESH, CTL_LAYING_OUT, CTL_READY
  size: u32; //                12  bytes in use, AioShmemSize()
  io_method: u32; //           16  IOMETHOD_*
  io_max_concurrency: u32; //  20  handles per backend, derived if it was -1
  io_max_combine_limit: u32; // 24  iovecs and handle data per handle
  max_backends: u32; //        28  slots
  shared_buffers: u32; //      32  pages of the buffer pool
  block_size: u32; //          36  bytes of a page frame
  local_memory: u32; //        40  bytes of each backend's own area
  trace_size: u32; //          44  entries of the trace ring
  data_checksums: u32; //      48  1 when pages carry checksums
  io_handle_count: u32; //     52  max_backends * io_max_concurrency
  backends: u32; //            56  offset of PgAioBackend[max_backends]
  io_handles: u32; //          60  offset of PgAioHandle[io_handle_count]
  iovecs: u32; //              64  offset of the iovec slices, one per handle
  handle_data: u32; //         68  offset of the handle data slices, one per handle
  resowners: u32; //           72  offset of ResourceOwner[max_backends * RESOURCE_OWNERS]
  frame_owners: u32; //        76  offset of the u16 owner of each page frame
  trace: u32; //               80  offset of PgAioTraceEntry[trace_size]
  local: u32; //               84  offset of the backends' own areas; callers' memory from here
  frames: u32; //              88  offset of the page frames, 4 KiB aligned
  frame_lock: u32; //          92  lock.ts, held while frames are taken or given back
  frame_hint: u32; //          96  where the last search for free frames ended
  trace_on: u32; //           100  1 while transitions are recorded
  trace_next: u32; //         104  number of the next trace entry, wraps
  doorbells: u32; //          108  offset of PgAioDoorbell[max_backends]
  done_returns: u32; //       112  offset of the lists of filled PgAioReturns, one per backend
  worker_control: u32; //     116  offset of PgAioWorkerControl
  workers: u32; //            120  offset of PgAioWorker[MAX_IO_WORKERS]
  files: u32; //              124  offset of PgAioFile[max_files]
  file_lock: u32; //          128  lock.ts, held while a file gets a number
  segment_size: u32; //       132  blocks of a relation's file
  max_files: u32; //          136  entries of the table of files
  callbacks_everywhere: u32; // 140  bit n: every thread loads host callback 32 + n
  io_min_workers: u32; //     144  I/O workers there always are
  io_max_workers: u32; //     148  I/O workers there may be
  io_worker_idle_timeout: u32; // 152  ms until one above the minimum leaves
  io_worker_launch_interval: u32; // 156  ms between launches above the minimum
  worker_scratch: u32; //     160  offset of the I/O workers' room for paths
  io_frames: u32; //          164  page frames
  buffers: u32; //            168  offset of the pages of the buffer pool, 4 KiB aligned
  buffer_control: u32; //     172  offset of PgAioBufferControl
  buffer_descs: u32; //       176  offset of BufferDesc[shared_buffers]
  buffer_table: u32; //       180  offset of the heads of the mapping table's chains
  buffer_partitions: u32; //  184  offset of the mapping table's locks
  buffer_pins: u32; //        188  offset of each backend's own pin counts, u16 per buffer
  write_slots: u32; //        192  offset of WriteSlot[]
  write_frames: u32; //       196  offset of the pages that are written, 4 KiB aligned
  sync_requests: u32; //      200  offset of SyncRequest[]
  md_files: u32; //           204  offset of MdFile[], each backend's open segments
  buffer_scratch: u32; //     208  offset of each backend's room for lists of buffers
  ring: u32; //               212  RING_*, for io_uring
  uring_contexts: u32; //     216  offset of PgAioUringContext[max_backends], with io_uring
  uring_memory: u32; //       220  offset of the backends' rings, with io_uring
  fixed_buffers: u32; //      224  FIXED_*, for io_uring
  io_worker_concurrency: u32; // 228  I/Os one worker has under way at the most
  host_callbacks: u32; //     232  phases of host callbacks 32 .. 63, a byte each (32 bytes)
}
if (offsetof<PgAioCtl>("host_callbacks") + 32 > CTL_BYTES) ERROR("PgAioCtl outgrew its place");

/** Addresses of this instance, taken from PgAioCtl once; plain globals keep them off the heap. */
export let handles_at: usize = 0;
export let handle_count: u32 = 0;
export let backends_at: usize = 0;
export let iovecs_at: usize = 0;
export let data_at: usize = 0;
export let resowners_at: usize = 0;
export let frame_owners_at: usize = 0;
export let trace_at: usize = 0;
export let local_at: usize = 0;
export let frames_at: usize = 0;
export let memory_end: usize = 0;
export let doorbells_at: usize = 0;
export let done_returns_at: usize = 0;
export let worker_control_at: usize = 0;
export let workers_at: usize = 0;
export let files_at: usize = 0;
export let uring_contexts_at: usize = 0;
export let uring_memory_at: usize = 0;
export let buffers_at: usize = 0;
export let buffer_control_at: usize = 0;
export let buffer_descs_at: usize = 0;
export let buffer_table_at: usize = 0;
export let buffer_partitions_at: usize = 0;
export let buffer_pins_at: usize = 0;
export let write_slots_at: usize = 0;
export let write_frames_at: usize = 0;
export let sync_requests_at: usize = 0;
export let md_files_at: usize = 0;
export let buffer_scratch_at: usize = 0;

@inline export function ctl(): PgAioCtl { return changetype<PgAioCtl>(CTL_AT); }
@inline export function backendAt(procno: u32): PgAioBackend {
  return changetype<PgAioBackend>(backends_at + (<usize>procno << BACKEND_SHIFT));
}
@inline export function handleAt(id: u32): PgAioHandle {
  return changetype<PgAioHandle>(handles_at + (<usize>id << HANDLE_SHIFT));
}
@inline export function handleId(ioh: PgAioHandle): u32 {
  return <u32>((changetype<usize>(ioh) - handles_at) >> HANDLE_SHIFT);
}
/** Whether `at` is the address of a handle; anything a caller may send. */
@inline export function isHandle(at: usize): bool {
  const from = at - handles_at; // wraps for addresses below, and is then too large
  return from < (<usize>handle_count << HANDLE_SHIFT) && (from & ((1 << HANDLE_SHIFT) - 1)) == 0;
}
/** Whether [at, at + bytes) is callers' memory. No sum here can wrap. */
@inline export function isCallers(at: usize, bytes: usize): bool {
  return at >= local_at && at <= memory_end && bytes <= memory_end - at;
}
@inline export function iovecsOf(ioh: PgAioHandle): usize {
  return iovecs_at + <usize>ioh.iovec_off * IOVEC_BYTES;
}
@inline export function dataOf(ioh: PgAioHandle): usize {
  return data_at + <usize>ioh.iovec_off * DATA_BYTES;
}

/** Entries of a backend's list of filled returns: as many as its handles, and the one acquired. */
@inline export function doneReturnsMax(): u32 { return io_max_concurrency + 1; }
@inline export function doneReturnsBytes(): u32 { return (4 * doneReturnsMax() + 127) & ~127; }

// The memory of one backend's ring, in pages: see io_uring.ts.

/** Completions a ring has room for: at least two for each I/O that can be in flight. */
export function uringCqEntries(): u32 {
  assert(io_max_concurrency > 0);
  const least = max<u32>(2 * io_max_concurrency, 2 * PGAIO_SUBMIT_BATCH_SIZE);
  return (1 as u32) << (32 - clz<u32>(least - 1));
}
/** Room for the kernel's rings: both heads (some 256 bytes), completions, places of submissions. */
export function uringRingsBytes(): u32 {
  assert(io_max_concurrency > 0);
  return pagesOf(1024 + 16 * uringCqEntries() + 4 * PGAIO_SUBMIT_BATCH_SIZE);
}
/** All of it: rings, submissions, the kernel's iovecs for these. */
export function uringMemoryBytes(): u32 {
  assert(io_max_combine_limit > 0);
  const iovecs = PGAIO_SUBMIT_BATCH_SIZE * io_max_combine_limit * KERNEL_IOVEC_BYTES;
  return uringRingsBytes() + URING_SQES_BYTES + pagesOf(iovecs);
}
@inline function pagesOf(bytes: u32): u32 { return (bytes + 4095) & ~4095; }
/** Open segments a backend keeps: each I/O in flight needs its own, and some are not in use. */
@inline export function mdFilesMax(): u32 { return io_max_concurrency + 16; }
/** Chains of the mapping table: a power of two, not fewer than the buffers. */
@inline export function bufferTableSize(): u32 {
  return shared_buffers <= 1 ? 1 : (1 as u32) << (32 - clz<u32>(shared_buffers - 1));
}
/** Bytes of one backend's pin counts. */
@inline export function bufferPinsBytes(): u32 {
  return (shared_buffers * BUFFER_PIN_BYTES + 127) & ~127;
}
/** Runs of pages that can be on their way to a file at once, for all backends. */
@inline export function writeSlots(): u32 {
  return max<u32>(2, min<u32>(WRITE_SLOTS_MAX, shared_buffers / (8 * io_max_combine_limit)));
}

/** Where each region ends up, for the settings in force; `end` is the size of it all. */
let end: u64 = 0;
@inline function region(bytes: u64, align: u64 = 128): u64 {
  const start = (end + align - 1) & ~(align - 1);
  end = start + bytes;
  return start;
}

/** Fills in `to` unless it is null; both passes thus cannot disagree. Returns the size in bytes. */
export function layOut(to: PgAioCtl | null): u64 {
  const handles = <u64>max_backends * <u64>io_max_concurrency;
  const slices = handles * io_max_combine_limit;
  end = CTL_AT + CTL_BYTES;
  const backends = region(<u64>max_backends << BACKEND_SHIFT);
  const doorbells = region(<u64>max_backends * DOORBELL_BYTES);
  const io_handles = region(handles << HANDLE_SHIFT);
  const iovecs = region(slices * IOVEC_BYTES);
  const handle_data = region(slices * DATA_BYTES);
  const done_returns = region(<u64>max_backends * doneReturnsBytes());
  const worker_control = region(WORKER_CONTROL_BYTES);
  const workers = region(<u64>MAX_IO_WORKERS * WORKER_BYTES);
  const worker_scratch = region(<u64>MAX_IO_WORKERS * WORKER_SCRATCH_BYTES);
  const resowners = region(<u64>max_backends * RESOURCE_OWNERS * RESOWNER_BYTES);
  const files = region(<u64>max_files * FILE_BYTES);
  const frame_owners = region(<u64>io_frames * FRAME_OWNER_BYTES);
  const md_files = region(<u64>max_backends * mdFilesMax() * MD_FILE_BYTES);
  const buffer_control = region(BUFFER_CONTROL_BYTES);
  const buffer_descs = region(<u64>shared_buffers * BUFFER_DESC_BYTES);
  const buffer_table = region(<u64>bufferTableSize() * 4);
  const buffer_partitions = region(NUM_BUFFER_PARTITIONS * BUFFER_PARTITION_BYTES);
  const buffer_pins = region(<u64>max_backends * bufferPinsBytes());
  const write_slots = region(writeSlots() * WRITE_SLOT_BYTES);
  const buffer_scratch = region(<u64>max_backends * BUFFER_SCRATCH_BYTES);
  const sync_requests = region(SYNC_REQUESTS * SYNC_REQUEST_BYTES);
  const trace = region(<u64>trace_size * TRACE_BYTES);
  const rings: u64 = io_method == IOMETHOD_IO_URING ? max_backends : 0;
  const uring_contexts = region(rings * URING_CONTEXT_BYTES);
  const uring_memory = region(rings * uringMemoryBytes(), rings > 0 ? FRAME_ALIGN : 1);
  const local = region(<u64>max_backends * local_memory, FRAME_ALIGN);
  const frames = region(<u64>io_frames * block_size, FRAME_ALIGN);
  const write_frames = region(<u64>writeSlots() * io_max_combine_limit * block_size, FRAME_ALIGN);
  const buffers = region(<u64>shared_buffers * block_size, FRAME_ALIGN);
  if (to !== null && end <= MEMORY_LIMIT) {
    to.size = <u32>end;
    to.io_handle_count = <u32>handles;
    to.backends = <u32>backends;
    to.doorbells = <u32>doorbells;
    to.done_returns = <u32>done_returns;
    to.worker_control = <u32>worker_control;
    to.workers = <u32>workers;
    to.worker_scratch = <u32>worker_scratch;
    to.files = <u32>files;
    to.io_handles = <u32>io_handles;
    to.iovecs = <u32>iovecs;
    to.handle_data = <u32>handle_data;
    to.resowners = <u32>resowners;
    to.frame_owners = <u32>frame_owners;
    to.trace = <u32>trace;
    to.uring_contexts = <u32>uring_contexts;
    to.uring_memory = <u32>uring_memory;
    to.local = <u32>local;
    to.frames = <u32>frames;
    to.buffers = <u32>buffers;
    to.md_files = <u32>md_files;
    to.buffer_control = <u32>buffer_control;
    to.buffer_descs = <u32>buffer_descs;
    to.buffer_table = <u32>buffer_table;
    to.buffer_partitions = <u32>buffer_partitions;
    to.buffer_pins = <u32>buffer_pins;
    to.write_slots = <u32>write_slots;
    to.write_frames = <u32>write_frames;
    to.buffer_scratch = <u32>buffer_scratch;
    to.sync_requests = <u32>sync_requests;
  }
  return end;
}

/**
 * Bytes of shared memory the settings ask for; fixes a derived io_max_concurrency on the way, as
 * in PostgreSQL. E_MEMORY_LIMIT when they do not fit under 4 GiB.
 */
export function AioShmemSize(): f64 {
  fixMaxConcurrency();
  const size = layOut(null);
  return size > MEMORY_LIMIT ? <f64>fail(E_MEMORY_LIMIT, -1, 0, <f64>size) : <f64>size;
}

/** Takes the addresses of a memory that is ready. */
export function adoptLayout(): void {
  const from = ctl();
  assert(from.magic == SHMEM_MAGIC);
  assert(from.layout_version == LAYOUT_VERSION);
  handles_at = from.io_handles;
  handle_count = from.io_handle_count;
  backends_at = from.backends;
  doorbells_at = from.doorbells;
  done_returns_at = from.done_returns;
  worker_control_at = from.worker_control;
  workers_at = from.workers;
  files_at = from.files;
  uring_contexts_at = from.uring_contexts;
  uring_memory_at = from.uring_memory;
  iovecs_at = from.iovecs;
  data_at = from.handle_data;
  resowners_at = from.resowners;
  frame_owners_at = from.frame_owners;
  trace_at = from.trace;
  local_at = from.local;
  frames_at = from.frames;
  memory_end = from.size;
  buffers_at = from.buffers;
  buffer_control_at = from.buffer_control;
  buffer_descs_at = from.buffer_descs;
  buffer_table_at = from.buffer_table;
  buffer_partitions_at = from.buffer_partitions;
  buffer_pins_at = from.buffer_pins;
  write_slots_at = from.write_slots;
  write_frames_at = from.write_frames;
  sync_requests_at = from.sync_requests;
  md_files_at = from.md_files;
  buffer_scratch_at = from.buffer_scratch;
}
