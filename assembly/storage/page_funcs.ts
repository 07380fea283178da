/** Pages checked on request, outside any I/O: a page must lie in callers' memory. */
import { E_BAD_ADDRESS, fail } from "../errors";
import { NONE } from "../aio/types";
import { isCallers } from "../shm/layout";
import { block_size, data_checksums } from "../shm/settings";
import { pg_checksum_page } from "./checksum";
import { page_verdict_valid, page_verify } from "./page";

/** Checksum (1 .. 65535) of the page at `at` as block `block`; its pd_checksum does not matter. */
export function pgaio_page_checksum(at: u32, block: u32): i32 {
  if (!isCallers(at, block_size)) return fail(E_BAD_ADDRESS, NONE, 0, at, block_size);
  return pg_checksum_page(at, block, block_size);
}

/** Verifies `count` neighbouring pages from `at`, blocks from `block` on: how many are invalid. */
export function pgaio_page_verify(at: u32, block: u32, count: u32): i32 {
  if (<u64>count * block_size > 0xffffffff || !isCallers(at, count * block_size)) {
    return fail(E_BAD_ADDRESS, NONE, 0, at, <f64>count * block_size);
  }
  let invalid = 0;
  for (let i: u32 = 0; i < count; i++) {
    const page = <usize>at + <usize>i * block_size;
    const verdict = page_verify(page, block + i, block_size, data_checksums);
    if (!page_verdict_valid(verdict)) invalid++;
  }
  return invalid;
}
