// @layout
/**
 * Files of relations (smgr.c, md.c, and of fd.c the table of open files). A fork lies in segments
 * of segment_size blocks, PATH, PATH.1, PATH.2 and so on. The host knows the paths and opens them;
 * here is which segment a block is in, and a table of the segments this backend has open, bounded:
 * the one used longest ago and not in use by an I/O makes room.
 */
import {
  E_BAD_RELATION, E_NO_BACKEND, E_SMGR_BEYOND, E_SMGR_CREATE, E_SMGR_EXTEND, E_SMGR_OPEN,
  E_SMGR_OPEN_BLOCK, E_SMGR_PREVIOUS, E_SMGR_REMOVE, E_SMGR_SIZE, E_SMGR_TRUNCATE,
  E_SMGR_TRUNCATE_UP, OK, fail,
} from "../errors";
import { my_backend, my_procno, my_storage, stagedAt } from "../aio/backend";
import { checkMayAct } from "../aio/check";
import {
  host_segment_close, host_segment_open, host_segment_size, host_segment_truncate,
  host_segment_unlink,
} from "../aio/host";
import { pgaio_closing_fd } from "../aio/io";
import { NONE } from "../aio/types";
import { handleAt, mdFilesMax, md_files_at } from "../shm/layout";
import { block_size, max_backends, segment_size } from "../shm/settings";
import { MD_FILE_BYTES } from "../shm/sizes";
import { REL_FORK_MASK, REL_REF_BYTES, REL_TEMP, RelFileRef } from "./buf";

const ENOENT: i32 = 2;
const MAX_FORKNUM: u32 = 3;
const MAX_BLOCK: u32 = 0xfffffffe;

/** A segment this backend has open. */
@unmanaged export class MdFile {
  spcOid: u32; //     0  RelFileRef
  dbOid: u32; //      4
  relNumber: u32; //  8
  bits: u32; //      12
  segment: u32; //   16
  fd: i32; //        20  descriptor and one, 0 for an entry that is not in use
  used: u32; //      24  when it was last used, in uses of the table; wraps
}
if (offsetof<MdFile>() > MD_FILE_BYTES) ERROR("MdFile outgrew its place");

let uses: u32 = 0;
/** Entry that was used last: most I/Os are on the same segment as the one before. */
let last_used: u32 = 0;

@inline function fileAt(index: u32): MdFile {
  const first = <usize>my_procno * mdFilesMax();
  assert(index < mdFilesMax());
  return changetype<MdFile>(md_files_at + (first + index) * MD_FILE_BYTES);
}

/** Fails about a relation: its words begin with a path, which the bindings make. */
export function failAbout(code: i32, rel: usize, segment: u32, first: f64, second: f64): i32 {
  assert(my_procno != NONE);
  memory.copy(changetype<usize>(my_storage()), rel, REL_REF_BYTES);
  my_storage().failed_segment = segment;
  return fail(code, NONE, 0, first, second);
}

/** A relation fork as a caller names it: it is copied before anything is done with it. */
export function checkRelation(rel: usize): i32 {
  const fork = changetype<RelFileRef>(rel);
  const known = (fork.bits & REL_FORK_MASK) <= MAX_FORKNUM
    && (fork.bits & ~(REL_FORK_MASK | REL_TEMP)) == 0 && fork.relNumber != 0;
  assert(rel != 0);
  return known ? OK : fail(E_BAD_RELATION, NONE, 0, fork.relNumber, fork.bits);
}

@inline function isFile(file: MdFile, rel: usize, segment: u32): bool {
  return file.fd != 0 && file.segment == segment
    && load<u64>(changetype<usize>(file)) == load<u64>(rel)
    && load<u64>(changetype<usize>(file), 8) == load<u64>(rel, 8);
}

/** Index of the entry of a segment, or NONE. */
function findFile(rel: usize, segment: u32): i32 {
  assert(my_procno != NONE);
  if (isFile(fileAt(last_used), rel, segment)) return last_used;
  for (let i: u32 = 0; i < mdFilesMax(); i++) {
    if (!isFile(fileAt(i), rel, segment)) continue;
    last_used = i;
    return i;
  }
  return NONE;
}

/** Descriptor of a segment that is open, or NONE. */
function openDescriptor(rel: usize, segment: u32): i32 {
  const index = findFile(rel, segment);
  if (index == NONE) return NONE;
  assert(fileAt(index).fd > 0);
  fileAt(index).used = ++uses;
  return fileAt(index).fd - 1;
}

/** Whether an I/O of this backend is on its way to descriptor `fd`. */
function inUse(fd: i32): bool {
  assert(my_procno != NONE);
  for (let i: u32 = 0; i < my_backend.num_staged_ios; i++) {
    if (handleAt(stagedAt(i)).fd == fd) return true;
  }
  for (let id = my_backend.in_flight_head; id != NONE; id = handleAt(id).node_next) {
    if (handleAt(id).fd == fd) return true;
  }
  return false;
}

/**
 * An entry for one more segment: a free one, or that of the segment used longest ago that no I/O is
 * on. There is one, since there are more entries than handles; so nobody has to wait.
 */
function makeRoom(): i32 {
  let oldest: i32 = NONE;
  for (let i: u32 = 0; i < mdFilesMax(); i++) {
    const file = fileAt(i);
    if (file.fd == 0) return i;
    const older = oldest == NONE || <i32>(fileAt(oldest).used - file.used) > 0;
    if (older && !inUse(file.fd - 1)) oldest = i;
  }
  assert(oldest != NONE);
  const rc = closeFile(oldest);
  return rc < 0 ? rc : oldest;
}

/** Closes a segment; I/O that is staged or under way on it comes first. */
function closeFile(index: u32): i32 {
  const file = fileAt(index);
  assert(file.fd != 0);
  const rc = pgaio_closing_fd(file.fd - 1);
  if (rc < 0) return rc;
  host_segment_close(file.fd - 1);
  file.fd = 0;
  return OK;
}

/** Opens a segment anew: its descriptor, or -errno. */
function openFile(rel: usize, segment: u32, create: u32): i32 {
  assert(findFile(rel, segment) == NONE);
  const index = makeRoom();
  if (index < 0) return index;
  const fd = host_segment_open(rel, my_procno, segment, create);
  if (fd < 0) return fd;
  const file = fileAt(index);
  memory.copy(changetype<usize>(file), rel, REL_REF_BYTES);
  file.segment = segment;
  file.used = ++uses;
  file.fd = fd + 1;
  last_used = index;
  return fd;
}

/** Blocks of an open segment; a part of one at the end does not count. Or an error. */
function blocksOf(rel: usize, segment: u32, fd: i32): f64 {
  assert(fd >= 0);
  const bytes = host_segment_size(fd);
  if (bytes < 0) return failAbout(E_SMGR_SIZE, rel, segment, -bytes, 0);
  return Math.floor(bytes / <f64>block_size);
}

/**
 * Descriptor of the segment that holds block `block` (_mdfd_getseg). Before a later segment is
 * opened for the first time, each before it must be full. `extending`: what is missing is made.
 */
export function segmentFor(rel: usize, block: u32, extending: bool): i32 {
  assert(my_procno != NONE);
  const target = block / segment_size;
  const open = openDescriptor(rel, target);
  if (open != NONE) return open;
  let segment = target; // the nearest before it that is open: those before that one are full
  while (segment > 0 && openDescriptor(rel, segment) == NONE) segment--;
  let fd = openDescriptor(rel, segment);
  if (fd == NONE) {
    fd = openFile(rel, segment, 0);
    if (fd < 0) return failAbout(E_SMGR_OPEN, rel, 0, -fd, 0);
  }
  for (; segment < target; segment++) {
    const blocks = blocksOf(rel, segment, fd);
    if (blocks < 0) return <i32>blocks;
    if (blocks < <f64>segment_size) {
      if (!extending) return failAbout(E_SMGR_PREVIOUS, rel, segment + 1, block, blocks);
      const rc = host_segment_truncate(fd, <f64>segment_size * block_size);
      if (rc < 0) return failAbout(E_SMGR_EXTEND, rel, segment, -rc, 0);
    }
    fd = openDescriptor(rel, segment + 1);
    if (fd != NONE) continue;
    fd = openFile(rel, segment + 1, extending ? 1 : 0);
    if (fd < 0) return failAbout(E_SMGR_OPEN_BLOCK, rel, segment + 1, -fd, block);
  }
  return fd;
}

/** How many blocks from `block` on one I/O can cover: to the end of its segment. */
export function maxCombine(block: u32): u32 {
  assert(segment_size > 0);
  return segment_size - block % segment_size;
}

/** Whether the fork's first segment is there. */
export function relationExists(rel: usize): i32 {
  assert(my_procno != NONE);
  if (openDescriptor(rel, 0) != NONE) return 1;
  const fd = openFile(rel, 0, 0);
  if (fd == -ENOENT) return 0;
  return fd < 0 ? failAbout(E_SMGR_OPEN, rel, 0, -fd, 0) : 1;
}

/** Makes the first segment. `redo`: it may be there already. */
export function createRelation(rel: usize, redo: bool): i32 {
  assert(my_procno != NONE);
  if (openDescriptor(rel, 0) != NONE && redo) return OK;
  const rc = closeRelation(rel);
  if (rc < 0) return rc;
  const fd = openFile(rel, 0, redo ? 1 : 2);
  return fd < 0 ? failAbout(E_SMGR_CREATE, rel, 0, -fd, 0) : OK;
}

/** Blocks of the whole fork (mdnblocks): all segments before the last are full. */
export function relationBlocks(rel: usize): f64 {
  assert(segment_size > 0);
  let fd = segmentFor(rel, 0, false);
  if (fd < 0) return fd;
  let segment: u32 = 0;
  while (true) { // one round per segment
    const blocks = blocksOf(rel, segment, fd);
    if (blocks < 0) return blocks;
    if (blocks < <f64>segment_size) return <f64>segment * segment_size + blocks;
    segment++;
    fd = openDescriptor(rel, segment);
    if (fd != NONE) continue;
    fd = openFile(rel, segment, 0);
    if (fd == -ENOENT) return <f64>segment * segment_size;
    if (fd < 0) return failAbout(E_SMGR_OPEN, rel, segment, -fd, 0);
  }
}

/** Makes the fork `blocks` blocks longer than it is, of zeros (mdzeroextend). Its former length. */
export function extendRelation(rel: usize, blocks: u32): f64 {
  assert(blocks > 0);
  const from = relationBlocks(rel);
  if (from < 0) return from;
  const end = from + <f64>blocks;
  if (end > <f64>MAX_BLOCK + 1) return failAbout(E_SMGR_BEYOND, rel, 0, <f64>MAX_BLOCK + 1, 0);
  let block = <u32>from;
  while (<f64>block < end) { // one round per segment
    const fd = segmentFor(rel, block, true);
    if (fd < 0) return fd;
    const within = <u32>min<f64>(end - <f64>block, <f64>maxCombine(block));
    const bytes = (<f64>(block % segment_size) + within) * <f64>block_size;
    const rc = host_segment_truncate(fd, bytes);
    if (rc < 0) return failAbout(E_SMGR_EXTEND, rel, block / segment_size, -rc, 0);
    block += within;
  }
  return from;
}

/** Cuts the fork to `blocks` blocks (mdtruncate): later segments stay, empty, as in PostgreSQL. */
export function truncateRelation(rel: usize, blocks: u32): i32 {
  assert(segment_size > 0);
  const now = relationBlocks(rel);
  if (now < 0) return <i32>now;
  if (<f64>blocks > now) return failAbout(E_SMGR_TRUNCATE_UP, rel, 0, blocks, now);
  let end = <u32>now;
  while (end > blocks) { // one round per segment, the last first
    const segment = (end - 1) / segment_size;
    const first = segment * segment_size;
    const fd = segmentFor(rel, first, false);
    if (fd < 0) return fd;
    const left = blocks > first ? blocks - first : 0;
    const rc = host_segment_truncate(fd, <f64>left * <f64>block_size);
    if (rc < 0) return failAbout(E_SMGR_TRUNCATE, rel, segment, -rc, blocks);
    end = first;
  }
  return OK;
}

/** Removes the files of the fork, the last segment first (mdunlink). None there: nothing to do. */
export function unlinkRelation(rel: usize): i32 {
  let rc = closeRelation(rel);
  if (rc < 0) return rc;
  assert(my_procno != NONE);
  let segments: u32 = 0;
  while (true) { // one round per segment
    const fd = host_segment_open(rel, my_procno, segments, 0);
    if (fd < 0) break;
    host_segment_close(fd);
    segments++;
  }
  while (segments > 0) {
    segments--;
    rc = host_segment_unlink(rel, my_procno, segments);
    if (rc < 0 && rc != -ENOENT) return failAbout(E_SMGR_REMOVE, rel, segments, -rc, 0);
  }
  return OK;
}

/** Closes what this backend has open of a fork. */
export function closeRelation(rel: usize): i32 {
  assert(my_procno != NONE);
  for (let i: u32 = 0; i < mdFilesMax(); i++) {
    const file = fileAt(i);
    if (file.fd == 0 || !isFile(file, rel, file.segment)) continue;
    const rc = closeFile(i);
    if (rc < 0) return rc;
  }
  return OK;
}

/** Closes every segment this backend has open (smgrreleaseall); they are opened again as needed. */
export function smgrreleaseall(): i32 {
  const rc = checkMayAct();
  assert(rc < 0 || my_procno != NONE);
  return rc < 0 ? rc : closeAll();
}
export function closeAll(): i32 {
  assert(my_procno != NONE);
  for (let i: u32 = 0; i < mdFilesMax(); i++) {
    if (fileAt(i).fd == 0) continue;
    const rc = closeFile(i);
    if (rc < 0) return rc;
  }
  return OK;
}

/** The descriptors of a dead backend ended with its thread, or are lost; its table is empty. */
export function forgetSegmentsOf(procno: u32): void {
  assert(procno < max_backends);
  memory.fill(md_files_at + <usize>procno * mdFilesMax() * MD_FILE_BYTES, 0,
    <usize>mdFilesMax() * MD_FILE_BYTES);
}

/** How many segments this backend has open. */
export function smgropenfiles(): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  let count = 0;
  for (let i: u32 = 0; i < mdFilesMax(); i++) if (fileAt(i).fd != 0) count++;
  assert(count <= <i32>mdFilesMax());
  return count;
}
