// @layout
/**
 * How far apart structures of a kind lie. In a file of its own, without imports, so that each
 * structure can be held against its place where it is declared.
 */

/** The first structure; address 0 stays free, so that 0 can mean "none". */
export const CTL_AT: usize = 128;
export const CTL_BYTES: u32 = 512;
export const BACKEND_SHIFT: u32 = 9; // 512 bytes: own cache lines for every backend
export const STORAGE_OFFSET: u32 = 352; // of PgAioStorage within a backend's slot
export const HANDLE_SHIFT: u32 = 7; // 128 bytes: no two handles on one cache line pair
export const IOVEC_BYTES: u32 = 8; // a WASI iovec: address u32, length u32
export const DATA_BYTES: u32 = 8;
export const RESOWNER_BYTES: u32 = 32;
export const FRAME_OWNER_BYTES: u32 = 2; // procno + 1, 0 while the frame is free
export const TRACE_BYTES: u32 = 48;
export const DOORBELL_BYTES: u32 = 256;
export const FILE_BYTES: u32 = 512;
export const WORKER_CONTROL_BYTES: u32 = 512;
export const WORKER_BYTES: u32 = 768;
export const KAIO_IO_BYTES: u32 = 32;
export const KAIO_EVENT_BYTES: u32 = 8;
export const URING_CONTEXT_BYTES: u32 = 256;
export const URING_SQES_BYTES: u32 = 4096; // 32 submissions of 64 bytes; the kernel takes pages
export const KERNEL_IOVEC_BYTES: u32 = 16;
export const BUFFER_CONTROL_BYTES: u32 = 512;
export const BUFFER_DESC_BYTES: u32 = 64; // its own cache line
export const BUFFER_PARTITION_BYTES: u32 = 64; // a lock on a cache line of its own
export const BUFFER_PIN_BYTES: u32 = 2;
export const MD_FILE_BYTES: u32 = 32;
export const WRITE_SLOT_BYTES: u32 = 64;
export const SYNC_REQUEST_BYTES: u32 = 32;
export const BUFFER_SCRATCH_BYTES: u32 = 2048;
export const WORKER_SCRATCH_BYTES: u32 = 1024; // for paths while a worker opens a file
