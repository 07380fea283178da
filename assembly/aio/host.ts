/**
 * Everything the core asks of its host: the whole list of imports besides the memory.
 * I/O follows WASI preview 1, so that any WASI implementation can serve it.
 */

/** WASI: reads into `iovs_len` iovecs at `iovs`, leaves the bytes read at `nread`. Errno or 0. */
@external("wasi_snapshot_preview1", "fd_pread")
export declare function fd_pread(fd: i32, iovs: usize, iovs_len: u32, offset: u64,
  nread: usize): i32;

/** WASI: writes from iovecs, leaves the bytes written at `nwritten`. Errno or 0. */
@external("wasi_snapshot_preview1", "fd_pwrite")
export declare function fd_pwrite(fd: i32, iovs: usize, iovs_len: u32, offset: u64,
  nwritten: usize): i32;

/** WASI: data and metadata of the file to the device. Errno or 0. */
@external("wasi_snapshot_preview1", "fd_sync")
export declare function fd_sync(fd: i32): i32;

/** WASI: data of the file to the device. Errno or 0. */
@external("wasi_snapshot_preview1", "fd_datasync")
export declare function fd_datasync(fd: i32): i32;

/**
 * WASI: says what will be done with a part of the file (advice 3: it will be needed). Errno or 0;
 * ENOSYS where the host has no such call.
 */
@external("wasi_snapshot_preview1", "fd_advise")
export declare function fd_advise(fd: i32, offset: u64, length: u64, advice: u32): i32;

/**
 * Opens the target of handle `io` for this thread, where descriptors are not shared between
 * threads. A descriptor, or -errno. It stays the host's: it keeps and closes what it opened.
 */
@external("pgaio", "reopen")
export declare function host_reopen(io: u32): i32;

/**
 * Opens segment `segment` of a relation fork (`rel`: a RelFileRef) for reading and writing, or for
 * reading where writing is not allowed. `procno`: whose it is if it is temporary. `create`: 1 it is
 * made if it is not there, 2 and must not be there. A descriptor as the WASI functions take it, or
 * -errno. It is the core's to close.
 */
@external("pgaio", "segment_open")
export declare function host_segment_open(rel: usize, procno: u32, segment: u32, create: u32): i32;

/** Closes a descriptor that segment_open gave. */
@external("pgaio", "segment_close")
export declare function host_segment_close(fd: i32): i32;

/** Bytes of an open segment, or -errno. */
@external("pgaio", "segment_size")
export declare function host_segment_size(fd: i32): f64;

/** Cuts an open segment, or lengthens it with zeros. 0 or -errno. */
@external("pgaio", "segment_truncate")
export declare function host_segment_truncate(fd: i32, bytes: f64): i32;

/** Removes the file of a segment. 0 or -errno. */
@external("pgaio", "segment_unlink")
export declare function host_segment_unlink(rel: usize, procno: u32, segment: u32): i32;

/**
 * A report to be put into words, see report.ts. `io` and `owner` are -1 without a handle;
 * `target_data` is the address of a PgAioTargetData, or 0. Must copy what it keeps and must not
 * call the core.
 */
@external("pgaio", "report")
export declare function host_report(level: i32, kind: u32, io: i32, owner: i32, word: u32,
  result: i32, first: u32, second: u32, target_data: usize): void;

/**
 * Runs a callback the host registered: phase PGAIO_CB_*, id 32 .. 63, its handle, its cb_data and
 * the address of the PgAioResult to read and write in place. 0, or negative when it threw.
 */
@external("pgaio", "callback")
export declare function host_callback(phase: u32, id: u32, ioh: usize, cb_data: u32,
  result: usize): i32;

/** Method HOST: takes `count` submitted handles, ids at `ids`. 0, or -errno for all of them. */
@external("pgaio", "submit")
export declare function host_submit(count: u32, ids: usize): i32;

/** Method HOST: completes handle `io` before it returns. 0, or negative if it cannot. */
@external("pgaio", "wait_one")
export declare function host_wait_one(io: u32): i32;

// Method IO_URING: rings of the kernel's, by number, whoever of this process made them. Answers
// below 0 are -errno. The memory may be read and written by any of these.

/**
 * Makes a ring for this thread, or gives it the one that is there with that cursor. `cq_entries`:
 * completions, a power of two. `shared`: 1 if the kernel's rings are to lie in the `rings_bytes` at
 * `rings` and the entries at `sqes`; else they are copied from and to there. The word at `cursor`
 * is the core's count of completions dealt with, that at `leader` is set while a thread waits in
 * the kernel. The `fixed_bytes` at `fixed`, 4 KiB aligned, are registered with a new ring, if the
 * user may lock so much. Fills in PgAioUringContext from `base` on, at `out`. Its number.
 */
@external("pgaio", "uring_setup")
export declare function uring_setup(cq_entries: u32, shared: u32, rings: usize, rings_bytes: u32,
  sqes: usize, cursor: usize, leader: usize, fixed: usize, fixed_bytes: u32, out: usize): i32;

/** Submits `count` entries from number `first` on. How many were taken, at least one. */
@external("pgaio", "uring_enter")
export declare function uring_enter(ring: u32, first: u32, count: u32): i32;

/** Brings completions to the memory. How many. */
@external("pgaio", "uring_reap")
export declare function uring_reap(ring: u32): i32;

/**
 * Waits for a completion later than the first `seen`, at most `ms` and not much longer than 100 ms.
 * 0 there may be one, 1 the time was up, 2 another thread waits already.
 */
@external("pgaio", "uring_wait")
export declare function uring_wait(ring: u32, seen: u32, ms: u32): i32;

/** How many entries were taken so far, modulo 2^32: as many completions there will be. */
@external("pgaio", "uring_taken")
export declare function uring_taken(ring: u32): i32;

/** This thread submits to the ring no more: all that was taken has ended. */
@external("pgaio", "uring_leave")
export declare function uring_leave(ring: u32): i32;

// Several I/Os of one worker's under way at once, on files opened past the page cache.

/**
 * Starts those PgAioKernelIo, of the KAIO_MAX at `ios`, whose bits are set in `places`, lowest
 * first. How many were started; -errno if not even the first, ENOSYS where it never will.
 */
@external("pgaio", "kaio_start")
export declare function kaio_start(ios: usize, places: u32): i32;

/**
 * Waits until one of them has ended, and answers how many have since: for each its place and bytes
 * or -errno, two words, at `events`. At most `most`.
 */
@external("pgaio", "kaio_finish")
export declare function kaio_finish(events: usize, most: u32): i32;

// Sleeping as the system has it, for I/O workers; both answer -errno, ENOSYS where it has not.

/** Sleeps while the word at `at` is `expected`, at most so many microseconds. 0 when woken. */
@external("pgaio", "park")
export declare function host_park(at: usize, expected: u32, microseconds: u32): i32;

/** Wakes one that sleeps there by that. */
@external("pgaio", "unpark")
export declare function host_unpark(at: usize): i32;

// Sim build only: the scheduler of the explorer decides who runs on.

/** Another thread may be scheduled here. */
@external("sim", "point")
export declare function sim_point(): void;

/** As atomic.wait. */
@external("sim", "wait")
export declare function sim_wait(at: usize, expected: u32, timeout_ns: i64): i32;

/** As atomic.notify. */
@external("sim", "wake")
export declare function sim_wake(at: usize, count: i32): i32;
