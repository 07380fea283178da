/**
 * What an I/O is performed on (aio_target.c). A target can be described to a person and, for
 * another thread to execute the I/O, opened again there; names and paths are the bindings' part,
 * the numbers stand here. SMGR is PostgreSQL's: a block range of a relation fork. FILE is ours: a
 * file of the host's, by its number in the host's table.
 */
import {
  E_BAD_BLOCKS, E_BAD_FORK, E_BAD_TARGET, E_TARGET_TWICE, OK, fail,
} from "../errors";
import { handleId } from "../shm/layout";
import { checkHandedOut, checkHandle } from "./check";
import { PgAioHandle, stateOf } from "./handle";
import { PGAIO_TID_COUNT, PGAIO_TID_FILE, PGAIO_TID_INVALID, PGAIO_TID_SMGR } from "./types";

/**
 * For FILE, `spcOid` is the host's number of the file, `dbOid` the bytes asked for and `relNumber`
 * the operation (both filled in by start, for the words of an error); `nblocks` is 0 unless the
 * I/O is about blocks of the file (PGAIO_HCB_PAGE_READV needs them).
 */
@unmanaged export class PgAioTargetData {
  spcOid: u32; //     0  tablespace
  dbOid: u32; //      4  database, 0 for global
  relNumber: u32; //  8  relation file number
  blockNum: u32; //  12  first block, counted over the whole relation
  nblocks: u32; //   16  how many
  bits: u32; //      20  fork in bits 0 .. 7, is_temp 8, skip_fsync 9, PGAIO_TID_* in 16 .. 23
}
export const TARGET_DATA_BYTES: u32 = 24;
const TARGET_SHIFT: u32 = 16;
const MAX_FORKNUM: u32 = 3; // main, fsm, vm, init
const IS_TEMP: u32 = 0x100;
const SKIP_FSYNC: u32 = 0x200;
/** BlockNumber 0xffffffff is InvalidBlockNumber, so it cannot be the last one. */
const BLOCKS_END: u64 = 0xffffffff;

@inline export function targetDataAt(ioh: PgAioHandle): usize {
  return changetype<usize>(ioh) + offsetof<PgAioHandle>("target_data");
}
@inline export function targetDataOf(ioh: PgAioHandle): PgAioTargetData {
  return changetype<PgAioTargetData>(targetDataAt(ioh));
}

/** Says what the I/O is about. Once per I/O; the data is filled in afterwards by the caller. */
export function pgaio_io_set_target(at: u32, target: u32): i32 {
  const rc = checkHandedOut(at);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  if (target == PGAIO_TID_INVALID || target >= PGAIO_TID_COUNT) {
    return fail(E_BAD_TARGET, handleId(ioh), stateOf(ioh), target);
  }
  if (ioh.target != PGAIO_TID_INVALID) return fail(E_TARGET_TWICE, handleId(ioh), stateOf(ioh));
  memory.fill(targetDataAt(ioh), 0, TARGET_DATA_BYTES);
  targetDataOf(ioh).bits = target << TARGET_SHIFT;
  ioh.target = <u8>target;
  return OK;
}

/**
 * Sets target SMGR with its data (pgaio_io_set_target_smgr). `flags`: 1 temporary, 2 skip_fsync,
 * which a temporary relation never has since it is never synced anyway.
 */
export function pgaio_io_set_target_smgr(at: u32, spcOid: u32, dbOid: u32, relNumber: u32,
  fork: u32, blockNum: u32, nblocks: u32, flags: u32): i32 {
  if (fork > MAX_FORKNUM) return fail(E_BAD_FORK, -1, 0, fork);
  if (nblocks == 0 || <u64>blockNum + nblocks > BLOCKS_END) {
    return fail(E_BAD_BLOCKS, -1, 0, blockNum, nblocks);
  }
  const rc = pgaio_io_set_target(at, PGAIO_TID_SMGR);
  if (rc < 0) return rc;
  const is_temp = (flags & 1) != 0;
  const data = targetDataOf(changetype<PgAioHandle>(at));
  data.spcOid = spcOid;
  data.dbOid = dbOid;
  data.relNumber = relNumber;
  data.blockNum = blockNum;
  data.nblocks = nblocks;
  data.bits |= fork | (is_temp ? IS_TEMP : (flags & 2) != 0 ? SKIP_FSYNC : 0);
  return OK;
}

/** Sets target FILE: the host's number of the file and, if pages are meant, their block range. */
export function pgaio_io_set_target_file(at: u32, file: u32, blockNum: u32, nblocks: u32): i32 {
  if (<u64>blockNum + nblocks > BLOCKS_END) return fail(E_BAD_BLOCKS, -1, 0, blockNum, nblocks);
  const rc = pgaio_io_set_target(at, PGAIO_TID_FILE);
  if (rc < 0) return rc;
  const data = targetDataOf(changetype<PgAioHandle>(at));
  data.spcOid = file;
  data.blockNum = blockNum;
  data.nblocks = nblocks;
  return OK;
}

/** 1 if a target was set. */
export function pgaio_io_has_target(at: u32): i32 {
  const rc = checkHandle(at);
  return rc < 0 ? rc : <i32>(changetype<PgAioHandle>(at).target != PGAIO_TID_INVALID);
}

/** PGAIO_TID_* of a handle; the bindings give it its name. */
export function pgaio_io_get_target(at: u32): i32 {
  const rc = checkHandle(at);
  return rc < 0 ? rc : changetype<PgAioHandle>(at).target;
}

/** Address of a handle's PgAioTargetData: the owner fills it in while the handle is handed out. */
export function pgaio_io_get_target_data(at: u32): i32 {
  const rc = checkHandle(at);
  return rc < 0 ? rc : targetDataAt(changetype<PgAioHandle>(at)) as i32;
}

/** Whether a thread other than the issuer can open the target: what a worker needs. */
@inline export function targetCanReopen(ioh: PgAioHandle): bool {
  assert(ioh.target != PGAIO_TID_INVALID);
  return ioh.target == PGAIO_TID_FILE || (targetDataOf(ioh).bits & IS_TEMP) == 0;
}
