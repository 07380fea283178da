/**
 * PGAIO_HCB_PAGE_READV: verifies the pages of a read as it completes, hence in whichever thread
 * completes it. The buffer callback of PostgreSQL without its buffers (buffer_readv_complete): for
 * pages read into frames the issuer owns. Registered before MD_READV, so that it runs after it and
 * sees blocks. The handle's data slice receives one verdict per block (page.ts: page_verify), to be
 * read by the issuer until it uses the handle again.
 */
import { PgAioHandle } from "../aio/handle";
import { report, reportResult } from "../aio/report";
import { now_result, now_word, resultStatus, setNow } from "../aio/result";
import { targetDataOf } from "../aio/target";
import {
  DEBUG1, LOG, LOG_SERVER_ONLY, PGAIO_HCB_MD_READV, PGAIO_HCB_PAGE_READV, PGAIO_RS_ERROR,
  READ_BUFFERS_IGNORE_CHECKSUM_FAILURES, READ_BUFFERS_ZERO_ON_ERROR, REPORT_CHECKSUM,
} from "../aio/types";
import { dataOf, iovecsOf } from "../shm/layout";
import { block_size, data_checksums, io_max_combine_limit } from "../shm/settings";
import { setError } from "./md";
import {
  PAGE_VERDICT_CHECKSUM_FAILED, PAGE_VERDICT_GARBAGE, PAGE_VERDICT_HEADER_BAD, page_verify,
} from "./page";
import { readvErrorWord } from "./readv_error";

const EINVAL: u32 = 22;
/** Verdict of a block that was not read: nothing calculated, no flag that page_verify gives. */
export const VERDICT_NOT_READ: u64 = (1 as u64) << 63;

let errors: u32 = 0;
let zeroed: u32 = 0;
let ignored: u32 = 0;
let checkfails: u32 = 0;
let first_error: u32 = 0;
let first_zeroed: u32 = 0;
let first_ignored: u32 = 0;

export function pageReadvComplete(ioh: PgAioHandle, flags: u32): void {
  const target = targetDataOf(ioh);
  const asked = target.nblocks;
  const whole = asked > 0 && asked <= io_max_combine_limit && iovecsHoldPages(ioh);
  const failed = resultStatus(now_word) == PGAIO_RS_ERROR || now_result < 0;
  if (!whole && !failed) return setError(ioh, PGAIO_HCB_MD_READV, EINVAL);
  // What callbacks before made of the result is no bound: only bytes that came are looked at.
  const moved: u32 = ioh.result < 0 ? 0 : min<u32>(ioh.result, ioh.length);
  const read: u32 = failed ? 0 : min(min<u32>(now_result, asked), moved / block_size);
  startPages();
  const slots = min(asked, io_max_combine_limit);
  for (let i: u32 = 0; i < slots; i++) {
    const verdict = i < read ? checkPage(ioh, pageAt(ioh, i), i, flags, PGAIO_HCB_PAGE_READV)
      : VERDICT_NOT_READ;
    store<u64>(dataOf(ioh) + 8 * <usize>i, verdict);
  }
  if (!failed) endPages(ioh, PGAIO_HCB_PAGE_READV);
}

/** Counts begin anew: the pages of one I/O are looked at. */
export function startPages(): void {
  assert(ERROR_PAGES_MAX >= io_max_combine_limit);
  errors = zeroed = ignored = checkfails = 0;
}
const ERROR_PAGES_MAX: u32 = 128;

/** A page that was found bad before, by a thread that ended since. */
export function countLost(offset: u32): void {
  assert(offset < ERROR_PAGES_MAX);
  if (errors++ == 0) first_error = offset;
}

/** What was found becomes the result, if anything was. `id`: the callback that speaks. */
export function endPages(ioh: PgAioHandle, id: u32): void {
  assert(resultStatus(now_word) != PGAIO_RS_ERROR);
  if (errors + zeroed + ignored == 0) return;
  const first = errors > 0 ? first_error : zeroed > 0 ? first_zeroed : first_ignored;
  setNow(readvErrorWord(id, errors, zeroed, ignored, checkfails, first), now_result);
  reportResult(DEBUG1, ioh, now_word, now_result);
}

/** Whether the last page that checkPage looked at may be used. */
export let page_usable: bool = false;

/** Verifies one page, counts and logs what is wrong with it. `offset`: its block in the I/O. */
export function checkPage(ioh: PgAioHandle, page: usize, offset: u32, flags: u32, id: u32): u64 {
  const block = targetDataOf(ioh).blockNum + offset;
  const verdict = page_verify(page, block, block_size, data_checksums);
  const bits = <u32>(verdict >> 32);
  const checkfail = (bits & PAGE_VERDICT_CHECKSUM_FAILED) != 0;
  const broken = (bits & (PAGE_VERDICT_HEADER_BAD | PAGE_VERDICT_GARBAGE)) != 0;
  page_usable = true;
  if (!checkfail && !broken) return verdict;
  const ignore = !broken && (flags & READ_BUFFERS_IGNORE_CHECKSUM_FAILURES) != 0;
  const zero = !ignore && (flags & READ_BUFFERS_ZERO_ON_ERROR) != 0;
  page_usable = ignore || zero;
  if (checkfail) {
    checkfails++;
    report(LOG, REPORT_CHECKSUM, ioh, <u32>verdict & 0xffff, (<u32>verdict >>> 16) & 0xffff);
  }
  if (ignore) {
    if (ignored++ == 0) first_ignored = offset;
  } else if (zero) {
    memory.fill(page, 0, block_size);
    if (zeroed++ == 0) first_zeroed = offset;
  } else if (errors++ == 0) first_error = offset;
  assert(id != 0);
  const word = readvErrorWord(id, <u32>page_usable ^ 1, <u32>zero, <u32>ignore, <u32>checkfail,
    offset);
  reportResult(LOG_SERVER_ONLY, ioh, word, 1);
  return verdict;
}

/** Whether every iovec is a whole number of pages: a page must lie in one piece. */
function iovecsHoldPages(ioh: PgAioHandle): bool {
  for (let i: u32 = 0; i < ioh.iov_length; i++) {
    if (load<u32>(iovecsOf(ioh) + 8 * <usize>i, 4) % block_size != 0) return false;
  }
  return true;
}

/** Address of page `index` of the I/O: neighbours in memory may share an iovec. */
function pageAt(ioh: PgAioHandle, index: u32): usize {
  let skip = index * block_size;
  let iov = iovecsOf(ioh);
  while (skip >= load<u32>(iov, 4)) { // the caller stays below the bytes transferred
    skip -= load<u32>(iov, 4);
    iov += 8;
  }
  return <usize>load<u32>(iov) + skip;
}
