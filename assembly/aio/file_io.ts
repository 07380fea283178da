/**
 * Plain transfers in one call. Most I/O on files is of one buffer with callback FILE, and each call
 * from JavaScript costs; this does what acquire, set_file, set_target_file, register_callbacks,
 * get_iovec and start do, in this order.
 */
import { E_BAD_ADDRESS, OK, fail } from "../errors";
import { iovecsOf, isCallers } from "../shm/layout";
import { block_size } from "../shm/settings";
import { my_backend } from "./backend";
import { pgaio_io_register_callbacks } from "./callback";
import { pageFlags } from "./funcs";
import {
  PgAioHandle, pgaio_io_acquire_nb, pgaio_io_release, reclaimIfCompleted,
} from "./handle";
import { pgaio_io_set_flag, pgaio_io_start_readv, pgaio_io_start_writev } from "./io";
import {
  PgAioTargetData, TARGET_DATA_BYTES, pgaio_io_set_file, pgaio_io_set_target_file,
  pgaio_io_set_target_smgr,
} from "./target";
import {
  NONE, PGAIO_HCB_FILE, PGAIO_HCB_MD_READV, PGAIO_HCB_PAGE_READV, PGAIO_HF_BUFFERED,
  PGAIO_HF_SYNCHRONOUS,
} from "./types";

/** Added to the number of a file that has no place in the table of files. */
const UNREGISTERED: u32 = 0x40000000;

const WRITE: u32 = 1;
/** Only staged, as in a batch. */
const STAGE: u32 = 2;
const BUFFERED: u32 = 4;
/** Executed at once, by this thread (PGAIO_HF_SYNCHRONOUS). */
const SYNCHRONOUS: u32 = 8;

/**
 * Starts reading (`how` 0) or writing (1) `bytes` bytes at address `buffer`, from `offset` of `fd`
 * on; with 2 added it is staged, as in a batch. `file` is the file's number, `ret` as for
 * pgaio_io_acquire. Address of the handle, which may be in use again already; 0 when none was idle;
 * an error, after which nothing is handed out.
 */
export function pgaio_io_start_file(ret: u32, how: u32, fd: i32, file: u32, buffer: u32,
  bytes: u32, offset: f64): i32 {
  const at = pgaio_io_acquire_nb(0, ret);
  if (at <= 0) return at;
  let rc = pgaio_io_set_target_file(at, file, 0, 0);
  assert(rc == OK); // no block range, and nothing was set before
  rc = pgaio_io_register_callbacks(at, PGAIO_HCB_FILE, 0);
  return startOrRelease(at, rc, how, fd, file, buffer, bytes, offset);
}

/**
 * Starts reading pages of a relation from a file that was opened by its path, with callbacks
 * MD_READV and PAGE_READV: what md.c does (mdstartreadv), without its table of files. `target`:
 * address of a PgAioTargetData, of which `bits` are fork and is_temp; with 4 added to `how` the
 * file is read through the page cache (PGAIO_HF_BUFFERED), with 8 at once, by this thread. The
 * rest as for pgaio_io_start_file.
 */
export function pgaio_io_start_pages(ret: u32, how: u32, fd: i32, file: u32, target: u32,
  buffer: u32, bytes: u32, offset: f64): i32 {
  if ((target & 3) != 0 || !isCallers(target, TARGET_DATA_BYTES)) {
    return fail(E_BAD_ADDRESS, NONE, 0, target, TARGET_DATA_BYTES);
  }
  const at = pgaio_io_acquire_nb(0, ret);
  if (at <= 0) return at;
  assert(my_backend.handed_out_io != NONE);
  const data = changetype<PgAioTargetData>(target);
  const bits = data.bits;
  let rc = pgaio_io_set_target_smgr(at, data.spcOid, data.dbOid, data.relNumber, bits & 0xff,
    data.blockNum, data.nblocks, (bits >>> 8) & 1);
  if (rc >= 0 && (how & BUFFERED) != 0) rc = pgaio_io_set_flag(at, PGAIO_HF_BUFFERED);
  if (rc >= 0 && (how & SYNCHRONOUS) != 0) rc = pgaio_io_set_flag(at, PGAIO_HF_SYNCHRONOUS);
  if (rc >= 0) rc = pgaio_io_register_callbacks(at, PGAIO_HCB_PAGE_READV, 0);
  if (rc >= 0) rc = pgaio_io_register_callbacks(at, PGAIO_HCB_MD_READV, 0);
  return startOrRelease(at, rc, how & ~WRITE, fd, file, buffer, bytes, offset);
}

/**
 * Reads `blocks` pages as pgaio_io_start_pages does, at once and by this thread, one I/O after the
 * other through the same `bytes` at `buffer`, for as long as all are valid and none is new. How
 * many blocks those I/Os had; 0 also when no handle was idle. Of the I/O that ended it nobody is
 * told: who reads its pages again hears what is wrong with them. Advances the target's block.
 */
export function pgaio_io_skim_pages(how: u32, fd: i32, file: u32, target: u32, buffer: u32,
  bytes: u32, offset: f64, blocks: u32): i32 {
  if ((target & 3) != 0 || !isCallers(target, TARGET_DATA_BYTES)) {
    return fail(E_BAD_ADDRESS, NONE, 0, target, TARGET_DATA_BYTES);
  }
  const data = changetype<PgAioTargetData>(target);
  const most = bytes / block_size;
  assert(block_size > 0);
  let done: u32 = 0;
  while (done < blocks) { // each round has some, or is the last
    const count = min(most, blocks - done);
    data.nblocks = count;
    const at = pgaio_io_start_pages(0, (how & BUFFERED) | SYNCHRONOUS, fd, file, target, buffer,
      count * block_size, offset + <f64>done * block_size);
    if (at <= 0) return done > 0 ? done : at;
    const ioh = changetype<PgAioHandle>(at);
    reclaimIfCompleted(ioh);
    if (pageFlags(ioh, count) != 0) return done;
    done += count;
    data.blockNum += count;
  }
  return done;
}

/** Starts what has been prepared if `rc` is no error; else, and if that fails, gives it back. */
function startOrRelease(at: u32, rc: i32, how: u32, fd: i32, file: u32, buffer: u32, bytes: u32,
  offset: f64): i32 {
  assert(rc <= 0);
  const iovec = iovecsOf(changetype<PgAioHandle>(at));
  if (rc >= 0 && file < UNREGISTERED) rc = pgaio_io_set_file(at, file);
  if (rc >= 0) {
    store<u32>(iovec, buffer);
    store<u32>(iovec, bytes, 4);
    const batch = my_backend.in_batchmode;
    if ((how & STAGE) != 0) my_backend.in_batchmode = 1;
    rc = (how & WRITE) != 0
      ? pgaio_io_start_writev(at, fd, 1, offset) : pgaio_io_start_readv(at, fd, 1, offset);
    my_backend.in_batchmode = batch;
  }
  if (rc < 0 && my_backend.handed_out_io != NONE) pgaio_io_release(at);
  return rc < 0 ? rc : at;
}
