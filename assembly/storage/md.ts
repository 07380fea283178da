/**
 * What a raw result means to the layer nearest to the file: blocks of a relation (md.c:
 * md_readv_complete; its write twin is ours), or bytes of a plain file. First to run at completion,
 * so registered last.
 */
import { logNow } from "../aio/callback";
import { PgAioHandle } from "../aio/handle";
import {
  errnoOf, now_result, now_word, resultStatus, resultWord, setNow,
} from "../aio/result";
import { targetDataOf } from "../aio/target";
import {
  FILE_OP_SHIFT, PGAIO_HCB_FILE, PGAIO_HCB_INVALID, PGAIO_HCB_MD_READV, PGAIO_HCB_MD_WRITEV,
  PGAIO_OP_WRITEV, PGAIO_RS_ERROR, PGAIO_RS_PARTIAL,
} from "../aio/types";
import { block_size } from "../shm/settings";

export function mdReadvComplete(ioh: PgAioHandle): void { mdComplete(ioh, PGAIO_HCB_MD_READV); }
export function mdWritevComplete(ioh: PgAioHandle): void { mdComplete(ioh, PGAIO_HCB_MD_WRITEV); }

/** Bytes become whole blocks; none at all is an error without errno, too few are PARTIAL. */
function mdComplete(ioh: PgAioHandle, id: u32): void {
  if (resultStatus(now_word) == PGAIO_RS_ERROR) return; // it did not run at all
  if (ioh.op > PGAIO_OP_WRITEV) return fileComplete(ioh); // moves no blocks
  if (now_result < 0) return setError(ioh, id, errnoOf(now_result));
  const blocks = <u32>now_result / block_size;
  if (blocks == 0) return setError(ioh, id, 0);
  const short = blocks < targetDataOf(ioh).nblocks;
  setNow(short ? resultWord(id, PGAIO_RS_PARTIAL, 0) : now_word, blocks);
}

/** Bytes stay bytes; fewer than asked is PARTIAL, down to none at the end of a file. */
export function fileComplete(ioh: PgAioHandle): void {
  if (resultStatus(now_word) == PGAIO_RS_ERROR) return;
  const syncs = ioh.op > PGAIO_OP_WRITEV;
  if (now_result < 0) {
    // The words differ by operation, and a target may not have room for it.
    const op = syncs ? <u32>ioh.op << FILE_OP_SHIFT : 0;
    return setError(ioh, PGAIO_HCB_FILE, op | errnoOf(now_result));
  }
  if (syncs || <u32>now_result == ioh.length) return;
  setNow(resultWord(PGAIO_HCB_FILE, PGAIO_RS_PARTIAL, 0), now_result);
}

/** An error of the file layer goes to the log where it is noticed, as in PostgreSQL. */
export function setError(ioh: PgAioHandle, id: u32, error_data: u32): void {
  assert(id != PGAIO_HCB_INVALID);
  setNow(resultWord(id, PGAIO_RS_ERROR, error_data), 0);
  logNow(ioh);
}
