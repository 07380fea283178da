/**
 * Plain transfers in one call. Most I/O on files is of one buffer with callback FILE, and each call
 * from JavaScript costs; this does what acquire, set_file, set_target_file, register_callbacks,
 * get_iovec and start do, in this order.
 */
import { iovecsOf } from "../shm/layout";
import { my_backend } from "./backend";
import { pgaio_io_register_callbacks } from "./callback";
import { PgAioHandle, pgaio_io_acquire_nb, pgaio_io_release } from "./handle";
import { pgaio_io_start_readv, pgaio_io_start_writev } from "./io";
import { pgaio_io_set_file, pgaio_io_set_target_file } from "./target";
import { NONE, PGAIO_HCB_FILE } from "./types";

/** Added to the number of a file that has no place in the table of files. */
const UNREGISTERED: u32 = 0x40000000;

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
  const ioh = changetype<PgAioHandle>(at);
  let rc = file < UNREGISTERED ? pgaio_io_set_file(at, file) : 0;
  if (rc >= 0) rc = pgaio_io_set_target_file(at, file, 0, 0);
  if (rc >= 0) rc = pgaio_io_register_callbacks(at, PGAIO_HCB_FILE, 0);
  if (rc >= 0) {
    const iovec = iovecsOf(ioh);
    store<u32>(iovec, buffer);
    store<u32>(iovec, bytes, 4);
    const batch = my_backend.in_batchmode;
    if ((how & 2) != 0) my_backend.in_batchmode = 1;
    rc = (how & 1) != 0
      ? pgaio_io_start_writev(at, fd, 1, offset) : pgaio_io_start_readv(at, fd, 1, offset);
    my_backend.in_batchmode = batch;
  }
  assert(rc <= 0);
  if (rc < 0 && my_backend.handed_out_io != NONE) pgaio_io_release(at);
  return rc < 0 ? rc : at;
}
