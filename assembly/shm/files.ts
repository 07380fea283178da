// @layout
/**
 * The table of open files: under which path another thread can open what a FILE target means. A
 * number is an index and one; 0 is no file. Files beyond the table, or with longer paths, get
 * numbers above it from the bindings and are executed by their issuer.
 */
import { E_BAD_ADDRESS, E_BAD_FILE, E_FILES_FULL, E_NO_BACKEND, OK, fail } from "../errors";
import { my_procno } from "../aio/backend";
import { NONE } from "../aio/types";
import { loadAcquire32, storeRelease32 } from "./atomics";
import { PgAioCtl, files_at, isCallers } from "./layout";
import { lockAcquire, lockRelease } from "./lock";
import { max_files } from "./settings";
import { CTL_AT, FILE_BYTES } from "./sizes";

@unmanaged export class PgAioFile {
  in_use: u32; //      0  1 while the file is open; written last, and first when it closes
  flags: u32; //       4  FILE_*
  serial: u32; //      8  differs whenever the number stands for another opening
  path_bytes: u32; // 12
  owner: u32; //      16  procno + 1 of the backend that opened it
  path: u32; //       20  UTF-8, without an end mark (492 bytes)
}
/** How a file was opened. */
export const FILE_WRITES: u32 = 1; // for writing, too
export const FILE_DIRECT: u32 = 2; // past the page cache

const PATH_MAX: u32 = FILE_BYTES - <u32>offsetof<PgAioFile>("path");
if (PATH_MAX < 256) ERROR("a path has no room in PgAioFile");

@inline function lockWord(): usize { return CTL_AT + offsetof<PgAioCtl>("file_lock"); }
@inline function fileAt(number: u32): usize { return files_at + <usize>(number - 1) * FILE_BYTES; }

/** Whether another thread can open file `number`. */
export function fileKnown(number: u32): bool {
  return number - 1 < max_files && loadAcquire32(fileAt(number)) == 1;
}

/** Whether file `number` was opened past the page cache. */
export function fileIsDirect(number: u32): bool {
  return fileKnown(number) && (changetype<PgAioFile>(fileAt(number)).flags & FILE_DIRECT) != 0;
}

/** Takes a number for a file: its path are `bytes` bytes of callers' memory at `path`. */
export function pgaio_file_register(path: u32, bytes: u32, flags: u32): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  if (bytes == 0 || !isCallers(path, bytes)) return fail(E_BAD_ADDRESS, NONE, 0, path, bytes);
  if (bytes > PATH_MAX) return fail(E_FILES_FULL, NONE, 0, bytes, PATH_MAX);
  assert(max_files > 0);
  lockAcquire(lockWord());
  let number: u32 = 1;
  while (number <= max_files && load<u32>(fileAt(number)) == 1) number++;
  if (number <= max_files) {
    const file = changetype<PgAioFile>(fileAt(number));
    file.flags = flags;
    file.owner = my_procno + 1;
    file.serial++;
    file.path_bytes = bytes;
    memory.copy(changetype<usize>(file) + offsetof<PgAioFile>("path"), path, bytes);
    storeRelease32(changetype<usize>(file), 1);
  }
  lockRelease(lockWord());
  return number <= max_files ? <i32>number : fail(E_FILES_FULL, NONE, 0, max_files, PATH_MAX);
}

@inline function ownerOf(number: u32): u32 {
  return changetype<PgAioFile>(fileAt(number)).owner;
}

/** Gives the number of a file of this backend back; its I/Os must be over. */
export function pgaio_file_unregister(number: u32): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  if (!fileKnown(number) || ownerOf(number) != my_procno + 1) {
    return fail(E_BAD_FILE, NONE, 0, number);
  }
  assert(number - 1 < max_files);
  storeRelease32(fileAt(number), 0);
  return OK;
}

/** Gives back all numbers of a backend that leaves, or is gone. */
export function dropFilesOf(procno: i32): void {
  assert(procno >= 0);
  for (let number: u32 = 1; number <= max_files; number++) {
    const at = fileAt(number);
    if (load<u32>(at) == 1 && changetype<PgAioFile>(at).owner == procno + 1) storeRelease32(at, 0);
  }
}
