/** The storage manager's exports; `rel` is the address of a RelFileRef of the caller's. */
import { E_BAD_ADDRESS, fail } from "../errors";
import { checkHandedOut } from "../aio/check";
import { NONE, PGAIO_OP_READV, PGAIO_OP_WRITEV } from "../aio/types";
import { isCallers } from "../shm/layout";
import { io_max_combine_limit } from "../shm/settings";
import { checkFork } from "./buffer_funcs";
import { mdStart } from "./md";
import {
  closeRelation, createRelation, extendRelation, maxCombine, relationBlocks, relationExists,
  truncateRelation, unlinkRelation,
} from "./smgr";

/** 1 if the fork is there, 0 if not. */
export function smgrexists(rel: u32): i32 {
  const rc = checkFork(rel);
  assert(rel != 0 || rc < 0);
  return rc < 0 ? rc : relationExists(rel);
}
/** Makes the fork, empty. `redo`: 1 it may be there. */
export function smgrcreate(rel: u32, redo: u32): i32 {
  const rc = checkFork(rel);
  assert(rel != 0 || rc < 0);
  return rc < 0 ? rc : createRelation(rel, redo != 0);
}
/** Blocks of the fork; a part of one at its end does not count. */
export function smgrnblocks(rel: u32): f64 {
  const rc = checkFork(rel);
  assert(rel != 0 || rc < 0);
  return rc < 0 ? rc : relationBlocks(rel);
}
/** Makes the fork longer by `blocks` blocks of zeros, past the pool. Its length before. */
export function smgrzeroextend(rel: u32, blocks: u32): f64 {
  const rc = checkFork(rel);
  if (rc < 0) return rc;
  assert(rel != 0);
  return blocks == 0 ? relationBlocks(rel) : extendRelation(rel, blocks);
}
/** Cuts the fork; its buffers are DropRelationBuffers' part. */
export function smgrtruncate(rel: u32, blocks: u32): i32 {
  const rc = checkFork(rel);
  assert(rel != 0 || rc < 0);
  return rc < 0 ? rc : truncateRelation(rel, blocks);
}
/** Removes the fork's files; its buffers are DropRelationBuffers' part. */
export function smgrunlink(rel: u32): i32 {
  const rc = checkFork(rel);
  assert(rel != 0 || rc < 0);
  return rc < 0 ? rc : unlinkRelation(rel);
}
/** Closes what this backend has open of the fork. */
export function smgrclose(rel: u32): i32 {
  const rc = checkFork(rel);
  assert(rel != 0 || rc < 0);
  return rc < 0 ? rc : closeRelation(rel);
}
/** Blocks from `block` on that one I/O can cover. */
export function smgrmaxcombine(rel: u32, block: u32): i32 {
  const rc = checkFork(rel);
  assert(rel != 0 || rc < 0);
  return rc < 0 ? rc : maxCombine(block);
}

function start(ioh: u32, op: u32, rel: u32, block: u32, pages: u32, nblocks: u32): i32 {
  let rc = checkFork(rel);
  if (rc < 0) return rc;
  rc = checkHandedOut(ioh);
  if (rc < 0) return rc;
  const count = min(nblocks, io_max_combine_limit);
  const fits = nblocks > 0 && count == nblocks && (pages & 3) == 0 && isCallers(pages, 4 * count);
  if (!fits) return fail(E_BAD_ADDRESS, NONE, 0, pages, 4 * nblocks);
  assert(count > 0);
  return mdStart(ioh, op, rel, block, nblocks, pages);
}

/** Reads `nblocks` blocks into the pages whose addresses (u32) stand at `pages`. */
export function smgrstartreadv(ioh: u32, rel: u32, block: u32, pages: u32, nblocks: u32): i32 {
  return start(ioh, PGAIO_OP_READV, rel, block, pages, nblocks);
}
/** Writes them. PostgreSQL has no such function yet. */
export function smgrstartwritev(ioh: u32, rel: u32, block: u32, pages: u32, nblocks: u32): i32 {
  return start(ioh, PGAIO_OP_WRITEV, rel, block, pages, nblocks);
}
