/**
 * Everything the core exports, grouped as PostgreSQL's documentation of the interface groups it.
 * A result below 0 is an error number (errors.ts); whatever comes in is checked before it is used.
 */

// Subsystem
export { AioShmemSize } from "./shm/layout";
export {
  AioShmemInit, AtEOXact_Aio, pgaio_error_cleanup, pgaio_init_backend, pgaio_local_memory,
  pgaio_set_thread, pgaio_shutdown,
} from "./aio/init";
export { pgaio_forbid_blocking } from "./aio/backend";
export { pgaio_get_guc, pgaio_set_guc } from "./shm/settings";
export { pgaio_error_detail } from "./errors";

// Handles
export {
  pgaio_io_acquire, pgaio_io_acquire_nb, pgaio_io_get_id, pgaio_io_get_op, pgaio_io_get_owner,
  pgaio_io_get_state, pgaio_io_release, pgaio_take_returns,
} from "./aio/handle";

// Operations, flags, iovecs
export {
  pgaio_io_get_iovec, pgaio_io_get_iovec_max, pgaio_io_set_flag, pgaio_io_start_fdatasync,
  pgaio_io_start_flush_range, pgaio_io_start_fsync, pgaio_io_start_readv, pgaio_io_start_writev,
} from "./aio/io";

// Plain transfers of files
export { pgaio_io_skim_pages, pgaio_io_start_file, pgaio_io_start_pages } from "./aio/file_io";

// Targets
export {
  pgaio_io_get_target, pgaio_io_get_target_data, pgaio_io_has_target, pgaio_io_set_file,
  pgaio_io_set_target, pgaio_io_set_target_file, pgaio_io_set_target_smgr,
} from "./aio/target";

// Callbacks and handle data
export {
  pgaio_io_get_handle_data, pgaio_io_get_handle_data_len, pgaio_io_register_callbacks,
  pgaio_io_set_handle_data_32, pgaio_io_set_handle_data_64, pgaio_register_host_callback,
} from "./aio/callback";

// Wait references
export {
  pgaio_io_get_wref, pgaio_wref_arm, pgaio_wref_check_done, pgaio_wref_clear, pgaio_wref_disarm,
  pgaio_wref_get_id,
  pgaio_wref_is_done, pgaio_wref_valid, pgaio_wref_wait, pgaio_wref_wait_timed,
} from "./aio/wait";

// Completion by others
export {
  pgaio_arm_doorbell, pgaio_doorbell, pgaio_drain_completed, pgaio_drain_some,
  pgaio_spin_completed,
} from "./aio/doorbell";

// I/O workers, and threads that end without leaving
export {
  pgaio_init_worker, pgaio_stop_workers, pgaio_take_growth, pgaio_wake_workers, pgaio_worker_main,
} from "./method/worker";
export { pgaio_thread_ended } from "./aio/sweep";

// Files that other threads can open
export { pgaio_file_register, pgaio_file_unregister } from "./shm/files";

// Batches and submission
export {
  pgaio_closing_fd, pgaio_enter_batchmode, pgaio_exit_batchmode, pgaio_have_staged,
  pgaio_io_process_completion, pgaio_submit_staged,
} from "./aio/io";

// Results and inspection
export {
  pgaio_get_aio, pgaio_io_get_page_flags, pgaio_io_get_page_verdicts, pgaio_result_report,
} from "./aio/funcs";

// Resource owners
export { ResourceOwnerCreate, ResourceOwnerDelete, ResourceOwnerRelease } from "./aio/resowner";

// Relations
export {
  smgrclose, smgrcreate, smgrexists, smgrmaxcombine, smgrnblocks, smgrstartreadv, smgrstartwritev,
  smgrtruncate, smgrunlink, smgrzeroextend,
} from "./storage/smgr_funcs";
export { smgropenfiles, smgrreleaseall } from "./storage/smgr";

// Buffers
export {
  BufferGetPage, BufferIsValid, DropRelationBuffers, EvictUnpinnedBuffer, ExtendBufferedRelBy,
  FlushBuffers, GetAccessStrategy, GetAccessStrategyPinLimit, GetAdditionalLocalPinLimit,
  GetAdditionalPinLimit, GetBufferDescriptor, GetLocalPinLimit, GetPinLimit, IncrBufferRefCount,
  LockBuffer, MarkBufferDirty, PinBufferForBlock, ReadBuffer, ReleaseBuffer, StartBufferIO,
  StartReadBuffers, TerminateBufferIO, WaitReadBuffers, pgaio_buffer_arm, pgaio_buffer_wref,
  pgaio_drop_relation, pgaio_sync_requests,
} from "./storage/buffer_funcs";

// Pages
export { pgaio_frames_alloc, pgaio_frames_free } from "./storage/frames";
export { pgaio_page_checksum, pgaio_page_verify } from "./storage/page_funcs";

// Read streams
export {
  ReleaseBuffers, read_stream_begin_relation, read_stream_end, read_stream_feed,
  read_stream_feed_end, read_stream_next_block, read_stream_next_buffer, read_stream_next_buffers,
  read_stream_pause, read_stream_reset, read_stream_resume, read_stream_set_callback,
  read_stream_set_range, read_stream_size,
} from "./storage/read_stream_funcs";
