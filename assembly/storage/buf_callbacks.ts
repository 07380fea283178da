/**
 * What I/O on buffers does to them: PGAIO_HCB_SHARED_BUFFER_READV (bufmgr.c: buffer_readv_complete
 * and its kin) and the write twin, which is ours. The handle's data are the numbers of the buffers.
 * Stage hands each over to the I/O; completion, in whichever thread, verifies what was read and
 * ends the I/O on each buffer by itself: the good pages of a failing read become valid.
 *
 * A completion whose thread ended half way runs again. A buffer knows its I/O, so it is ended once.
 * PostgreSQL pins it for the I/O besides; here the bit that says so keeps it from being evicted.
 */
import { PgAioHandle } from "../aio/handle";
import { PgAioStorage, my_storage } from "../aio/backend";
import { now_result, now_word, resultErrorData, resultId, resultStatus } from "../aio/result";
import { copyTargetData, targetDataAt } from "../aio/target";
import {
  PGAIO_HCB_SHARED_BUFFER_READV, PGAIO_OP_READV, PGAIO_OP_WRITEV, PGAIO_RS_ERROR,
} from "../aio/types";
import { compareExchange64, loadAcquire64 } from "../shm/atomics";
import { dataOf } from "../shm/layout";
import { io_max_combine_limit, shared_buffers } from "../shm/settings";
import {
  BM_CHECKPOINT_NEEDED, BM_IO_ERROR, BM_IO_IN_PROGRESS, BM_VALID, BP_IO, BufferDesc, bufState,
  descAt, handOverIO, ownPins, packWref, pageAt, terminateBufferIO, wrefWord,
} from "./buf";
import { endWriteSlot } from "./buf_write";
import { checkPage, countLost, endPages, page_usable, startPages } from "./page_readv";

@inline function numberOf(ioh: PgAioHandle, i: u32): u32 {
  return load<u32>(dataOf(ioh) + 8 * <usize>i);
}

/** Whether data entry `i` is a buffer that this backend has begun I/O on. */
export function isBegun(ioh: PgAioHandle, i: u32): bool {
  const number = numberOf(ioh, i);
  assert(i < io_max_combine_limit);
  return number - 1 < shared_buffers && (ownPins(number - 1) & BP_IO) != 0;
}

/** The I/O takes the buffers over. */
export function stageBuffers(ioh: PgAioHandle): void {
  assert(ioh.handle_data_len > 0);
  for (let i: u32 = 0; i < ioh.handle_data_len; i++) {
    if (isBegun(ioh, i)) handOverIO(numberOf(ioh, i) - 1, ioh);
  }
}

/** Descriptor of entry `i` if this I/O is still to be ended on it; else null. */
function underIO(ioh: PgAioHandle, i: u32): BufferDesc | null {
  const number = numberOf(ioh, i);
  if (number - 1 >= shared_buffers) return null;
  const desc = descAt(number - 1);
  assert(i < io_max_combine_limit);
  const ours = loadAcquire64(wrefWord(desc)) == packWref(ioh);
  return ours && (bufState(desc) & BM_IO_IN_PROGRESS) != 0 ? desc : null;
}

function end(ioh: PgAioHandle, desc: BufferDesc, written: bool, set: u32): void {
  terminateBufferIO(desc, written, set);
  compareExchange64(wrefWord(desc), packWref(ioh), 0);
  assert(set == 0 || !written);
}

export function sharedReadvComplete(ioh: PgAioHandle, flags: u32): void {
  const failed = resultStatus(now_word) == PGAIO_RS_ERROR || ioh.op != PGAIO_OP_READV;
  const read: u32 = failed ? 0 : <u32>max(now_result, 0);
  startPages();
  for (let i: u32 = 0; i < ioh.handle_data_len; i++) {
    const desc = underIO(ioh, i);
    if (desc === null) {
      const number = numberOf(ioh, i);
      const lost = i < read && number - 1 < shared_buffers
        && (bufState(descAt(number - 1)) & BM_VALID) == 0;
      if (lost) countLost(i);
      continue;
    }
    let usable = i < read;
    if (usable) {
      checkPage(ioh, pageAt(numberOf(ioh, i) - 1), i, flags, PGAIO_HCB_SHARED_BUFFER_READV);
      usable = page_usable;
    }
    end(ioh, desc, false, usable ? BM_VALID : BM_IO_ERROR);
  }
  assert(ioh.handle_data_len > 0);
  if (!failed) endPages(ioh, PGAIO_HCB_SHARED_BUFFER_READV);
}

/** Counts, as PostgreSQL's statistics do, what the issuer's reads found. */
export function readvCompleteLocal(id: u32): void {
  if (resultId(now_word) != id) return;
  assert(id > 0);
  const counted = (resultErrorData(now_word) >>> 9) & 0x7f;
  my_storage().checksum_failures += counted;
}

export function sharedWritevComplete(ioh: PgAioHandle, slot: u32): void {
  const failed = resultStatus(now_word) == PGAIO_RS_ERROR || ioh.op != PGAIO_OP_WRITEV;
  const written: u32 = failed ? 0 : <u32>max(now_result, 0);
  for (let i: u32 = 0; i < ioh.handle_data_len; i++) {
    const desc = underIO(ioh, i);
    if (desc === null) continue;
    const failure = failed ? BM_IO_ERROR | BM_CHECKPOINT_NEEDED : BM_CHECKPOINT_NEEDED;
    end(ioh, desc, i < written, i < written ? 0 : failure);
  }
  assert(ioh.handle_data_len > 0);
  endWriteSlot(slot, ioh);
}

/** Who began a write that failed is told when it next needs a buffer, or flushes. */
export function writevCompleteLocal(ioh: PgAioHandle): void {
  assert(ioh.handle_data_len > 0);
  if (resultStatus(now_word) != PGAIO_RS_ERROR) return;
  const storage = my_storage();
  storage.write_word = now_word;
  storage.write_result = now_result;
  const at = changetype<usize>(storage) + offsetof<PgAioStorage>("write_target");
  copyTargetData(at, targetDataAt(ioh));
  storage.write_failed = 1;
}
