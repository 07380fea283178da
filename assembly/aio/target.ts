/**
 * What an I/O is performed on (aio_target.c). A target can be described to a person and, for
 * another thread to execute the I/O, opened again there; names and paths are the bindings' part,
 * the numbers stand here. SMGR is PostgreSQL's: a block range of a relation fork. FILE is ours: a
 * file of the host's, by its number in the host's table.
 */
import {
  E_BAD_BLOCKS, E_BAD_FILE, E_BAD_FORK, E_BAD_TARGET, E_TARGET_TWICE, OK, fail,
} from "../errors";
import { fileKnown } from "../shm/files";
import { handleId } from "../shm/layout";
import { checkHandedOut, checkHandle } from "./check";
import { PgAioHandle, stateOf } from "./handle";
import {
  PGAIO_HS_HANDED_OUT, PGAIO_OP_INVALID, PGAIO_TID_COUNT, PGAIO_TID_FILE, PGAIO_TID_INVALID,
  PGAIO_TID_SMGR,
} from "./types";

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
/** Three words: memory.copy is a call into the engine's C++ and costs as much as the rest. */
@inline export function copyTargetData(to: usize, from: usize): void {
  assert(((to | from) & 3) == 0);
  store<u64>(to, load<u64>(from));
  store<u64>(to, load<u64>(from, 8), 8);
  store<u64>(to, load<u64>(from, 16), 16);
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
  const data = targetDataAt(ioh);
  store<u64>(data, 0);
  store<u64>(data, 0, 8);
  store<u64>(data, 0, 16);
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
  let rc = checkHandedOut(at);
  if (rc < 0) return rc;
  const io = handleId(changetype<PgAioHandle>(at));
  if (fork > MAX_FORKNUM) return fail(E_BAD_FORK, io, PGAIO_HS_HANDED_OUT, fork);
  if (nblocks == 0 || <u64>blockNum + nblocks > BLOCKS_END) {
    return fail(E_BAD_BLOCKS, io, PGAIO_HS_HANDED_OUT, blockNum, nblocks);
  }
  rc = pgaio_io_set_target(at, PGAIO_TID_SMGR);
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
  let rc = checkHandedOut(at);
  if (rc < 0) return rc;
  if (<u64>blockNum + nblocks > BLOCKS_END) {
    const io = handleId(changetype<PgAioHandle>(at));
    return fail(E_BAD_BLOCKS, io, PGAIO_HS_HANDED_OUT, blockNum, nblocks);
  }
  rc = pgaio_io_set_target(at, PGAIO_TID_FILE);
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

/**
 * Says which file of the table of files the I/O goes to, whatever its target: another thread then
 * opens that, instead of finding the path of a relation. 0: none.
 */
export function pgaio_io_set_file(at: u32, file: u32): i32 {
  const rc = checkHandedOut(at);
  if (rc < 0) return rc;
  const ioh = changetype<PgAioHandle>(at);
  assert(ioh.op == PGAIO_OP_INVALID);
  if (file != 0 && !fileKnown(file)) return fail(E_BAD_FILE, handleId(ioh), stateOf(ioh), file);
  ioh.file = file;
  return OK;
}

/** Whether a thread other than the issuer can open the target: what a worker needs. */
export function targetCanReopen(ioh: PgAioHandle): bool {
  assert(ioh.target != PGAIO_TID_INVALID);
  if (ioh.file != 0) return fileKnown(ioh.file);
  const data = targetDataOf(ioh);
  return ioh.target == PGAIO_TID_FILE ? fileKnown(data.spcOid) : (data.bits & IS_TEMP) == 0;
}
