/**
 * What the core answers when a call cannot be carried out: one list, each number used once and
 * never again. Results are >= 0, -1 .. -4095 are errno, ours begin at -4097. The words stand in
 * bindings/errors.ts; what they need besides (handle, state, numbers) stays in the error record of
 * the instance that failed, see `fail`.
 */

export const OK: i32 = 0;

// Misuse that PostgreSQL answers with ERROR or PANIC.
export const E_TWO_HANDED_OUT: i32 = -4097; // API violation: Only one IO can be handed out
export const E_RELEASE_STATE: i32 = -4098; // release in unexpected state
export const E_CALLBACK_RANGE: i32 = -4099; // callback %d is out of range
export const E_CALLBACK_COMPLETION: i32 = -4100; // callback %d does not have a completion callback
export const E_CALLBACK_COUNT: i32 = -4101; // too many callbacks, the max is 4
export const E_WAIT_OWN: i32 = -4102; // waiting for own IO %d in wrong state: %s
export const E_WAIT_STATE: i32 = -4103; // IO in wrong state: %d
export const E_BATCH_NESTED: i32 = -4104; // starting batch while batch already in progress
export const E_REPORT_NONE: i32 = -4105; // callback %d/%s does not have report callback
export const E_SYNC_SUBMIT: i32 = -4106; // IO should have been executed synchronously
export const E_OP_INVALID: i32 = -4107; // trying to execute invalid IO operation
export const E_RESOWNER_IDLE: i32 = -4108; // unexpected
export const E_NO_FREE_IO: i32 = -4109; // no free IOs despite no in-flight IOs
export const E_OLDEST_STATE: i32 = -4110; // shouldn't get here with io:%d in state %d
export const E_STILL_NO_IDLE: i32 = -4111; // no idle IO after waiting for IO to terminate
export const E_NO_SLOT: i32 = -4112; // aio requires a free backend slot

// Misuse that PostgreSQL only asserts against, or does not see.
export const E_NOT_HANDED_OUT: i32 = -4128; // IO is not handed out
export const E_TARGET_TWICE: i32 = -4129; // IO has a target already
export const E_DATA_TWICE: i32 = -4130; // IO has handle data already
export const E_DATA_LENGTH: i32 = -4131; // handle data is longer than io_max_combine_limit
export const E_DATA_NONE: i32 = -4132; // IO has no handle data
export const E_NO_TARGET: i32 = -4133; // IO has no target
export const E_WREF_STATE: i32 = -4134; // a wait reference is taken before submission
export const E_BATCH_NONE: i32 = -4135; // no batch is in progress
export const E_REPORT_STATUS: i32 = -4136; // there is nothing to report for this status
export const E_COMPLETION_STATE: i32 = -4137; // completion of an IO that is not submitted
export const E_SUBMIT_COUNT: i32 = -4138; // the method did not take all staged IOs
export const E_CRITICAL: i32 = -4139; // not allowed inside a completion callback
export const E_CANNOT_WAIT: i32 = -4140; // nobody can complete this IO while its waiter blocks
export const E_NOT_ARMED: i32 = -4141; // nobody here waits for this IO
export const E_MAY_NOT_BLOCK: i32 = -4155; // this thread may not block: await instead

// Bad values at the border.
export const E_NO_BACKEND: i32 = -4160; // pgaio_init_backend() has not been called
export const E_BACKEND_TWICE: i32 = -4161; // this instance has a backend already
export const E_BAD_HANDLE: i32 = -4162; // not the address of an IO handle
export const E_FOREIGN_HANDLE: i32 = -4163; // IO belongs to another backend
export const E_BAD_ADDRESS: i32 = -4164; // address outside the caller's memory
export const E_BAD_WREF: i32 = -4165; // wait reference is not valid
export const E_BAD_FLAG: i32 = -4166; // unknown handle flag
export const E_BAD_TARGET: i32 = -4167; // unknown target
export const E_BAD_IOVCNT: i32 = -4168; // iovec count outside 1 .. io_max_combine_limit
export const E_BAD_IOVEC: i32 = -4169; // iovec outside the caller's memory
export const E_BAD_LENGTH: i32 = -4170; // IO longer than 2147479552 bytes
export const E_BAD_OFFSET: i32 = -4171; // offset is not a whole number in 0 .. 2^53-1
export const E_BAD_FD: i32 = -4172; // not a file descriptor
export const E_BAD_RESOWNER: i32 = -4173; // not the address of a resource owner
export const E_RESOWNER_FULL: i32 = -4174; // out of resource owners
export const E_RESOWNER_BUSY: i32 = -4175; // resource owner still holds IOs or children
export const E_BAD_FORK: i32 = -4176; // unknown fork
export const E_BAD_BLOCKS: i32 = -4177; // block range is empty or passes the last block number
export const E_BAD_FRAME: i32 = -4178; // not a run of page frames of this backend
export const E_BAD_RESULT: i32 = -4179; // raw result is neither a length nor a negative errno
export const E_BAD_LEVEL: i32 = -4180; // unknown error level
export const E_BAD_FILE: i32 = -4181; // not the number of an open file
export const E_FILES_FULL: i32 = -4182; // no room for another file, or for so long a path
export const E_BAD_WORKER: i32 = -4183; // not the number of an I/O worker
export const E_CALLBACK_MISSING: i32 = -4185; // callback is not loaded in this thread

// Read streams.
export const E_BAD_STREAM: i32 = -4320; // not a read stream of this backend
export const E_STREAM_BUSY: i32 = -4321; // a read stream is used inside its own callback
export const E_STREAM_MEMORY: i32 = -4322; // a read stream needs more memory than it was given
export const E_STREAM_CALLBACK: i32 = -4323; // the callback of a read stream threw
export const E_STREAM_FLAGS: i32 = -4324; // a read stream cannot be begun with such numbers
export const E_STREAM_SOURCE: i32 = -4325; // a read stream is not one that is fed, or not any more

// Setting up.
export const E_BAD_SETTING: i32 = -4192; // setting outside its range
export const E_SETTING_LATE: i32 = -4193; // setting cannot be changed after start
export const E_MEMORY_SIZE: i32 = -4194; // shared memory is smaller than AioShmemSize()
export const E_MEMORY_FOREIGN: i32 = -4195; // memory holds something else
export const E_LAYOUT_VERSION: i32 = -4196; // memory was laid out by another version
export const E_MEMORY_LIMIT: i32 = -4197; // settings need more than 4 GiB
export const E_INIT_TWICE: i32 = -4198; // this instance has its shared memory already
export const E_URING_SETUP: i32 = -4199; // the kernel makes no ring
export const E_URING_WAIT: i32 = -4200; // the kernel does not wait for a ring

// Relations and their files. `%s` is the path of the file, in the bindings' hands.
export const E_SMGR_OPEN: i32 = -4224; // could not open file
export const E_SMGR_OPEN_BLOCK: i32 = -4225; // could not open file (target block)
export const E_SMGR_PREVIOUS: i32 = -4226; // previous segment is only so many blocks
export const E_SMGR_SIZE: i32 = -4227; // could not seek to end of file
export const E_SMGR_CREATE: i32 = -4228; // could not create file
export const E_SMGR_TRUNCATE: i32 = -4229; // could not truncate file
export const E_SMGR_TRUNCATE_UP: i32 = -4230; // could not truncate file to more than it has
export const E_SMGR_REMOVE: i32 = -4231; // could not remove file
export const E_SMGR_EXTEND: i32 = -4232; // could not extend file
export const E_SMGR_BEYOND: i32 = -4233; // cannot extend file beyond the last block number
export const E_SMGR_READ_CROSSES: i32 = -4234; // read crossing segment boundary
export const E_SMGR_WRITE_CROSSES: i32 = -4235; // write crossing segment boundary
export const E_BAD_RELATION: i32 = -4236; // not a relation fork
export const E_IO_FAILED: i32 = -4237; // an I/O failed: its PgAioReturn says how

// Buffers.
export const E_NO_BUFFERS: i32 = -4256; // no unpinned buffers available
export const E_NO_LOCAL_BUFFERS: i32 = -4257; // no empty local buffer available
export const E_BAD_BUFFER: i32 = -4258; // bad buffer ID
export const E_NOT_PINNED: i32 = -4259; // buffer is not pinned by this backend
export const E_NOT_LOCKED: i32 = -4260; // buffer is not locked by this backend
export const E_LOCKED: i32 = -4261; // buffer is locked by this backend already
export const E_BUFFER_IO: i32 = -4262; // buffer has I/O in progress, or has none
export const E_NO_READ: i32 = -4263; // waiting for read operation that didn't read
export const E_READ_BLOCKS: i32 = -4264; // a read of buffers is of 1 to io_max_combine_limit
export const E_PINS_FULL: i32 = -4265; // too many pins of one buffer
export const E_BUFFER_BUSY: i32 = -4266; // block is still referenced
export const E_NO_LOCAL_MEMORY: i32 = -4267; // no page frames for local buffers
export const E_BAD_STRATEGY: i32 = -4268; // not an access strategy

/** Handle of the last failure, -1 without one; its state and two numbers for the words. */
let error_io: i32 = -1;
let error_state: u32 = 0;
let error_first: f64 = 0;
let error_second: f64 = 0;

/**
 * Keeps what the words of `code` need and gives `code` back, so that a check reads
 * `return fail(E_..., id, state)`. Private to the instance: nobody else can overwrite it.
 */
export function fail(code: i32, io: i32 = -1, state: u32 = 0, first: f64 = 0,
  second: f64 = 0): i32 {
  assert(code < 0);
  error_io = io;
  error_state = state;
  error_first = first;
  error_second = second;
  return code;
}

/** The error record, read by the bindings at once: 0 handle id, 1 its state, 2 and 3 numbers. */
export function pgaio_error_detail(which: u32): f64 {
  if (which == 0) return <f64>error_io;
  if (which == 1) return <f64>error_state;
  return which == 2 ? error_first : error_second;
}
