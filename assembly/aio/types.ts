// @layout
/**
 * Numbers that the whole engine agrees on, under PostgreSQL's names (aio.h, aio_types.h,
 * aio_internal.h). Values are PostgreSQL's wherever it has them: they show in memory and in dumps.
 */

// Handle states. Who enters one, what may follow and where the handle is meanwhile: handle.ts.
export const PGAIO_HS_IDLE: u32 = 0;
export const PGAIO_HS_HANDED_OUT: u32 = 1;
export const PGAIO_HS_DEFINED: u32 = 2;
export const PGAIO_HS_STAGED: u32 = 3;
export const PGAIO_HS_SUBMITTED: u32 = 4;
export const PGAIO_HS_COMPLETED_IO: u32 = 5;
export const PGAIO_HS_COMPLETED_SHARED: u32 = 6;
export const PGAIO_HS_COMPLETED_LOCAL: u32 = 7;

// Operations.
export const PGAIO_OP_INVALID: u32 = 0;
export const PGAIO_OP_READV: u32 = 1;
export const PGAIO_OP_WRITEV: u32 = 2;
export const PGAIO_OP_FSYNC: u32 = 3;
export const PGAIO_OP_FDATASYNC: u32 = 4;
export const PGAIO_OP_FLUSH_RANGE: u32 = 5;

// Targets. FILE is ours: any file opened through the host.
export const PGAIO_TID_INVALID: u32 = 0;
export const PGAIO_TID_SMGR: u32 = 1;
export const PGAIO_TID_FILE: u32 = 2;
export const PGAIO_TID_COUNT: u32 = 3;

// Handle flags.
export const PGAIO_HF_SYNCHRONOUS: u32 = 1; // executed by the issuer inside start; binding
export const PGAIO_HF_REFERENCES_LOCAL: u32 = 2; // memory no other thread may touch
export const PGAIO_HF_BUFFERED: u32 = 4; // goes through the page cache
export const PGAIO_HF_ALL: u32 = 7;

// Result statuses, in order of severity.
export const PGAIO_RS_UNKNOWN: u32 = 0;
export const PGAIO_RS_OK: u32 = 1;
export const PGAIO_RS_PARTIAL: u32 = 2;
export const PGAIO_RS_WARNING: u32 = 3;
export const PGAIO_RS_ERROR: u32 = 4;

// Callback ids. 1 .. 3 are PostgreSQL's, 32 .. 63 the host's, between them ours.
export const PGAIO_HCB_INVALID: u32 = 0;
export const PGAIO_HCB_MD_READV: u32 = 1;
export const PGAIO_HCB_SHARED_BUFFER_READV: u32 = 2;
export const PGAIO_HCB_LOCAL_BUFFER_READV: u32 = 3;
export const PGAIO_HCB_MD_WRITEV: u32 = 4;
export const PGAIO_HCB_FILE: u32 = 5; // plain files: maps errno and short transfers
export const PGAIO_HCB_PAGE_READV: u32 = 6; // verifies pages read into frames, no buffer pool
export const PGAIO_HCB_SHARED_BUFFER_WRITEV: u32 = 7;
export const PGAIO_HCB_LOCAL_BUFFER_WRITEV: u32 = 8;
export const PGAIO_HCB_HOST_FIRST: u32 = 32;
export const PGAIO_HCB_HOST_LAST: u32 = 63;

// Phases a callback may have, as bits of its registration.
export const PGAIO_CB_STAGE: u32 = 1;
export const PGAIO_CB_COMPLETE_SHARED: u32 = 2;
export const PGAIO_CB_COMPLETE_LOCAL: u32 = 4;
export const PGAIO_CB_REPORT: u32 = 8;
export const PGAIO_CB_NEXT_BLOCK: u32 = 16; // no callback of a handle: of a read stream

// I/O methods. HOST is ours: the embedder's own device, see method/host.ts.
export const IOMETHOD_SYNC: u32 = 0;
export const IOMETHOD_WORKER: u32 = 1;
export const IOMETHOD_IO_URING: u32 = 2;
export const IOMETHOD_HOST: u32 = 3;

// Limits.
export const PGAIO_SUBMIT_BATCH_SIZE: u32 = 32; // most I/Os staged, hence per submission
export const PGAIO_HANDLE_MAX_CALLBACKS: u32 = 4;
export const PG_IOV_MAX: u32 = 128; // iovecs per I/O, most that io_max_combine_limit can be
export const MAX_RW_COUNT: u32 = 0x7ffff000; // bytes Linux moves in one call at the most
export const RESOURCE_OWNERS: u32 = 64; // per backend
export const MAX_IO_WORKERS: u32 = 32;
export const NUM_BUFFER_PARTITIONS: u32 = 128; // locks of the buffer mapping table
export const WRITE_SLOTS_MAX: u32 = 32; // writes of buffers under way at once
export const SYNC_REQUESTS: u32 = 4096; // segments that were written and not synced yet
export const KAIO_MAX: u32 = 16; // I/Os that one worker has under way at once
export const IO_WORKER_QUEUE_SIZE: u32 = 64; // handles waiting for a worker, a power of two

// Flags of a read of buffers, and cb_data of the page callbacks (bufmgr.h: READ_BUFFERS_*).
export const READ_BUFFERS_ZERO_ON_ERROR: u32 = 1;
export const READ_BUFFERS_ISSUE_ADVICE: u32 = 2; // taken and not acted on: no method needs it
export const READ_BUFFERS_IGNORE_CHECKSUM_FAILURES: u32 = 4;
export const READ_BUFFERS_SYNCHRONOUSLY: u32 = 8;
export const READ_BUFFERS_NOWAIT: u32 = 16; // ours: answer BLOCKED instead of waiting

/** Answer of a call that was asked not to wait and would have: call again when told to. */
export const BLOCKED: i32 = 2;

// Levels of a report (elog.h).
export const DEBUG5: i32 = 10;
export const DEBUG1: i32 = 14;
export const LOG: i32 = 15;
export const LOG_SERVER_ONLY: i32 = 16;
export const WARNING: i32 = 19;
export const ERROR_LEVEL: i32 = 21;
export const PANIC: i32 = 23;

// What a report is about, see report.ts.
export const REPORT_RESULT: u32 = 1; // a PgAioResult to be put into words
export const REPORT_LEAKED_HANDLE: u32 = 2; // leaked AIO handle
export const REPORT_NOT_SUBMITTED: u32 = 3; // AIO handle was not submitted
export const REPORT_OPEN_BATCH: u32 = 4; // open AIO batch at end of (sub-)transaction
export const REPORT_CHECKSUM: u32 = 5; // page verification failed, calculated checksum ...
export const REPORT_RETURN_LOST: u32 = 6; // a PgAioReturn was overwritten before its I/O ended

/** Where error data of PGAIO_HCB_FILE has an operation that moves no bytes; below it errno. */
export const FILE_OP_SHIFT: u32 = 12;
/** Error data of a result whose host callback threw, or was not there: no other has it. */
export const HOST_CALLBACK_THREW: u32 = 0x7fffff;

// Errnos the core itself acts on or makes (Linux numbers).
export const EINTR: i32 = 4;
export const EIO: i32 = 5;
export const EBADF: i32 = 9;
export const EAGAIN: i32 = 11;
export const EBUSY: i32 = 16;
export const ENOSYS: i32 = 38;
export const ECANCELED: i32 = 125;

/** `no handle`, `no owner` in lists of indices. */
export const NONE: i32 = -1;
/** No limit to how many completions are dealt with at once. */
export const ALL_ENDED: u32 = 0xffffffff;
