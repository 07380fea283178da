/**
 * The core's exports as JavaScript sees them: assembly/index.ts, a method each. Addresses are bytes
 * into the memory; a negative result is an error number (errors.ts).
 */
export interface CoreExports {
  // Subsystem
  AioShmemSize(): number;
  AioShmemInit(): number;
  pgaio_set_thread(thread: number): number;
  pgaio_forbid_blocking(): number;
  pgaio_init_backend(privateDescriptors: number): number;
  pgaio_local_memory(): number;
  pgaio_shutdown(): number;
  pgaio_error_cleanup(): number;
  AtEOXact_Aio(isCommit: number): number;
  pgaio_set_guc(guc: number, value: number): number;
  pgaio_get_guc(guc: number): number;
  pgaio_error_detail(which: number): number;
  // Handles
  pgaio_io_acquire(owner: number, ret: number): number;
  pgaio_io_acquire_nb(owner: number, ret: number): number;
  pgaio_io_release(ioh: number): number;
  pgaio_io_get_id(ioh: number): number;
  pgaio_io_get_owner(ioh: number): number;
  pgaio_io_get_state(ioh: number): number;
  pgaio_io_get_op(ioh: number): number;
  pgaio_take_returns(): number;
  // Operations, flags, iovecs
  pgaio_io_set_flag(ioh: number, flag: number): number;
  pgaio_io_start_file(
    ret: number,
    how: number,
    fd: number,
    file: number,
    buffer: number,
    bytes: number,
    offset: number,
  ): number;
  pgaio_io_skim_pages(
    how: number,
    fd: number,
    file: number,
    target: number,
    buffer: number,
    bytes: number,
    offset: number,
    blocks: number,
  ): number;
  pgaio_io_start_pages(
    ret: number,
    how: number,
    fd: number,
    file: number,
    target: number,
    buffer: number,
    bytes: number,
    offset: number,
  ): number;
  pgaio_io_get_iovec(ioh: number): number;
  pgaio_io_get_iovec_max(): number;
  pgaio_io_start_readv(ioh: number, fd: number, iovcnt: number, offset: number): number;
  pgaio_io_start_writev(ioh: number, fd: number, iovcnt: number, offset: number): number;
  pgaio_io_start_fsync(ioh: number, fd: number): number;
  pgaio_io_start_fdatasync(ioh: number, fd: number): number;
  pgaio_io_start_flush_range(ioh: number, fd: number, offset: number, bytes: number): number;
  // Targets
  pgaio_io_set_file(ioh: number, file: number): number;
  pgaio_io_set_target(ioh: number, target: number): number;
  pgaio_io_set_target_smgr(
    ioh: number,
    spcOid: number,
    dbOid: number,
    relNumber: number,
    fork: number,
    blockNum: number,
    nblocks: number,
    flags: number,
  ): number;
  pgaio_io_set_target_file(ioh: number, file: number, blockNum: number, nblocks: number): number;
  pgaio_io_has_target(ioh: number): number;
  pgaio_io_get_target(ioh: number): number;
  pgaio_io_get_target_data(ioh: number): number;
  // Callbacks and handle data
  pgaio_register_host_callback(id: number, phases: number): number;
  pgaio_io_register_callbacks(ioh: number, id: number, cbData: number): number;
  pgaio_io_set_handle_data_64(ioh: number, from: number, count: number): number;
  pgaio_io_set_handle_data_32(ioh: number, from: number, count: number): number;
  pgaio_io_get_handle_data(ioh: number): number;
  pgaio_io_get_handle_data_len(ioh: number): number;
  // Wait references
  pgaio_io_get_wref(ioh: number, wref: number): number;
  pgaio_wref_valid(wref: number): number;
  pgaio_wref_clear(wref: number): number;
  pgaio_wref_get_id(wref: number): number;
  pgaio_wref_wait(wref: number): number;
  pgaio_wref_wait_timed(wref: number, ms: number): number;
  pgaio_wref_is_done(wref: number): number;
  pgaio_wref_arm(wref: number): number;
  pgaio_wref_disarm(wref: number): number;
  pgaio_wref_check_done(wref: number): number;
  // Completion by others
  pgaio_doorbell(): number;
  pgaio_arm_doorbell(): number;
  pgaio_drain_completed(): number;
  pgaio_drain_some(most: number): number;
  pgaio_spin_completed(rounds: number): number;
  // I/O workers, and threads that end without leaving
  pgaio_init_worker(id: number, starter: number): number;
  pgaio_worker_main(id: number): number;
  pgaio_stop_workers(): number;
  pgaio_wake_workers(): number;
  pgaio_take_growth(): number;
  pgaio_thread_ended(thread: number): number;
  // Files that other threads can open
  pgaio_file_register(path: number, bytes: number, flags: number): number;
  pgaio_file_unregister(file: number): number;
  // Batches and submission
  pgaio_enter_batchmode(): number;
  pgaio_exit_batchmode(): number;
  pgaio_submit_staged(): number;
  pgaio_have_staged(): number;
  pgaio_closing_fd(fd: number): number;
  pgaio_io_process_completion(ioh: number, raw: number): number;
  // Results and inspection
  pgaio_get_aio(id: number, to: number): number;
  pgaio_io_get_page_flags(ioh: number, nblocks: number): number;
  pgaio_io_get_page_verdicts(ioh: number): number;
  pgaio_result_report(result: number, targetData: number, level: number): number;
  // Resource owners
  ResourceOwnerCreate(parent: number): number;
  ResourceOwnerRelease(owner: number, isCommit: number): number;
  ResourceOwnerDelete(owner: number): number;
  // Relations
  smgrexists(rel: number): number;
  smgrcreate(rel: number, redo: number): number;
  smgrnblocks(rel: number): number;
  smgrzeroextend(rel: number, blocks: number): number;
  smgrtruncate(rel: number, blocks: number): number;
  smgrunlink(rel: number): number;
  smgrclose(rel: number): number;
  smgrmaxcombine(rel: number, block: number): number;
  smgrstartreadv(ioh: number, rel: number, block: number, pages: number, nblocks: number): number;
  smgrstartwritev(ioh: number, rel: number, block: number, pages: number, nblocks: number): number;
  smgropenfiles(): number;
  smgrreleaseall(): number;
  // Buffers
  StartReadBuffers(
    op: number,
    buffers: number,
    blockNum: number,
    nblocks: number,
    flags: number,
  ): number;
  WaitReadBuffers(op: number, nowait: number): number;
  ReadBuffer(rel: number, blockNum: number, flags: number, strategy: number): number;
  PinBufferForBlock(op: number, blockNum: number, buffer: number, nowait: number): number;
  ReleaseBuffer(buffer: number): number;
  IncrBufferRefCount(buffer: number): number;
  BufferGetPage(buffer: number): number;
  BufferIsValid(buffer: number): number;
  GetBufferDescriptor(buffer: number): number;
  LockBuffer(buffer: number, mode: number, nowait: number): number;
  MarkBufferDirty(buffer: number): number;
  GetPinLimit(): number;
  GetAdditionalPinLimit(): number;
  GetLocalPinLimit(): number;
  GetAdditionalLocalPinLimit(): number;
  GetAccessStrategy(at: number, bytes: number, kind: number, concurrency: number): number;
  GetAccessStrategyPinLimit(strategy: number): number;
  StartBufferIO(buffer: number, forInput: number, nowait: number): number;
  TerminateBufferIO(buffer: number, forInput: number, succeeded: number): number;
  pgaio_buffer_arm(buffer: number): number;
  pgaio_buffer_wref(buffer: number, wref: number): number;
  EvictUnpinnedBuffer(buffer: number): number;
  DropRelationBuffers(rel: number, firstBlock: number, nowait: number): number;
  FlushBuffers(op: number, nowait: number): number;
  pgaio_sync_requests(): number;
  ExtendBufferedRelBy(rel: number, count: number, buffers: number, nowait: number): number;
  pgaio_drop_relation(rel: number, nowait: number): number;
  // Pages
  pgaio_frames_alloc(count: number): number;
  pgaio_frames_free(at: number, count: number): number;
  pgaio_page_checksum(at: number, block: number): number;
  pgaio_page_verify(at: number, block: number, count: number): number;
  // Read streams
  read_stream_size(
    flags: number,
    strategy: number,
    temporary: number,
    asked: number,
    dataSize: number,
    ringSize: number,
  ): number;
  read_stream_begin_relation(
    at: number,
    bytes: number,
    flags: number,
    strategy: number,
    rel: number,
    asked: number,
    dataSize: number,
    ringSize: number,
  ): number;
  read_stream_set_range(stream: number, from: number, to: number): number;
  read_stream_set_callback(stream: number): number;
  read_stream_feed(stream: number, blocks: number, count: number): number;
  read_stream_feed_end(stream: number): number;
  read_stream_next_buffer(stream: number, out: number, nowait: number): number;
  read_stream_next_buffers(stream: number, out: number, count: number, nowait: number): number;
  read_stream_next_block(stream: number): number;
  read_stream_pause(stream: number): number;
  read_stream_resume(stream: number): number;
  read_stream_reset(stream: number, nowait: number): number;
  read_stream_end(stream: number, nowait: number): number;
  ReleaseBuffers(out: number, count: number): number;
}
