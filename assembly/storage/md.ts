/**
 * What a raw result means to the layer nearest to the file: blocks of a relation (md.c:
 * md_readv_complete; its write twin is ours), or bytes of a plain file. First to run at completion,
 * so registered last.
 */
import { logNow, pgaio_io_register_callbacks } from "../aio/callback";
import { PgAioHandle } from "../aio/handle";
import {
  errnoOf, now_result, now_word, resultStatus, resultWord, setNow,
} from "../aio/result";
import { pgaio_io_start_readv, pgaio_io_start_writev } from "../aio/io";
import { pgaio_io_set_target_smgr, targetDataOf } from "../aio/target";
import {
  FILE_OP_SHIFT, PGAIO_HCB_FILE, PGAIO_HCB_INVALID, PGAIO_HCB_MD_READV, PGAIO_HCB_MD_WRITEV,
  PGAIO_HF_BUFFERED, PGAIO_OP_READV, PGAIO_OP_WRITEV, PGAIO_RS_ERROR, PGAIO_RS_PARTIAL,
} from "../aio/types";
import { E_SMGR_READ_CROSSES, E_SMGR_WRITE_CROSSES } from "../errors";
import { iovecsOf } from "../shm/layout";
import { block_size, io_max_combine_limit, segment_size } from "../shm/settings";
import { REL_FORK_MASK, REL_TEMP, RelFileRef } from "./buf";
import { failAbout, maxCombine, segmentFor } from "./smgr";

export function mdReadvComplete(ioh: PgAioHandle): void { mdComplete(ioh, PGAIO_HCB_MD_READV); }
export function mdWritevComplete(ioh: PgAioHandle): void { mdComplete(ioh, PGAIO_HCB_MD_WRITEV); }

/**
 * Starts reading or writing `nblocks` blocks of `rel` from `block` on, from or to the pages whose
 * addresses stand at `pages` (mdstartreadv, FileStartReadV; the write twins are ours). Consumes the
 * handle unless it fails. Neighbours in memory share an iovec.
 */
export function mdStart(at: u32, op: u32, rel: usize, block: u32, nblocks: u32,
  pages: usize): i32 {
  assert(op == PGAIO_OP_READV || op == PGAIO_OP_WRITEV);
  const reads = op == PGAIO_OP_READV;
  if (nblocks > maxCombine(block)) {
    const code = reads ? E_SMGR_READ_CROSSES : E_SMGR_WRITE_CROSSES;
    return failAbout(code, rel, block / segment_size, block, nblocks);
  }
  const fd = segmentFor(rel, block, false);
  if (fd < 0) return fd;
  const fork = changetype<RelFileRef>(rel);
  let rc = pgaio_io_set_target_smgr(at, fork.spcOid, fork.dbOid, fork.relNumber,
    fork.bits & REL_FORK_MASK, block, nblocks, (fork.bits & REL_TEMP) != 0 ? 1 : 0);
  if (rc < 0) return rc;
  rc = pgaio_io_register_callbacks(at, reads ? PGAIO_HCB_MD_READV : PGAIO_HCB_MD_WRITEV, 0);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  ioh.flags |= <u8>PGAIO_HF_BUFFERED;
  const count = fillIovecs(ioh, nblocks, pages);
  const offset = <f64>(block % segment_size) * <f64>block_size;
  return reads ? pgaio_io_start_readv(at, fd, count, offset)
    : pgaio_io_start_writev(at, fd, count, offset);
}

function fillIovecs(ioh: PgAioHandle, nblocks: u32, pages: usize): u32 {
  const iovecs = iovecsOf(ioh);
  assert(nblocks > 0 && nblocks <= io_max_combine_limit);
  let count: u32 = 0;
  let end: u32 = 0;
  for (let i: u32 = 0; i < nblocks; i++) {
    const page = load<u32>(pages + 4 * <usize>i);
    const iov = iovecs + 8 * <usize>count;
    if (count > 0 && page == end) store<u32>(iov - 8, load<u32>(iov - 8, 4) + block_size, 4);
    else {
      store<u32>(iov, page);
      store<u32>(iov, block_size, 4);
      count++;
    }
    end = page + block_size;
  }
  return count;
}

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
