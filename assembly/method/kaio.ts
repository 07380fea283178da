// @layout
/**
 * What an I/O worker has under way beside what it executes itself: reads and writes of files that
 * were opened past the page cache, handed to the kernel together (Linux: io_submit) and waited for
 * together. To sleep once for several I/Os costs half the CPU of sleeping for each. PostgreSQL's
 * workers execute one at a time.
 *
 * Only the worker uses its places, and only `places` says which of them hold a handle: whoever
 * cleans up after the worker finds there what it had. An I/O that nobody learnt the end of can be
 * executed again, since its handle is still SUBMITTED and the kernel is through with it by then.
 */
import { PgAioPlace } from "../aio/backend";
import { PgAioHandle, stateOf } from "../aio/handle";
import { kaio_finish, kaio_start } from "../aio/host";
import { performSynchronously, processCompletion } from "../aio/io";
import {
  EAGAIN, EINTR, ENOSYS, KAIO_MAX, NONE, PGAIO_HS_SUBMITTED, PGAIO_OP_READV, PGAIO_OP_WRITEV,
} from "../aio/types";
import { storeRelease32 } from "../shm/atomics";
import { fileIsDirect } from "../shm/files";
import { backendAt, ctl, handleAt, handleId, iovecsOf } from "../shm/layout";
import { KAIO_EVENT_BYTES, KAIO_IO_BYTES } from "../shm/sizes";

/** An I/O as the host is told of it. */
@unmanaged export class PgAioKernelIo {
  generation: u64; //   0  of the handle
  offset: u64; //       8  bytes into the file
  io: i32; //          16  the handle
  fd: i32; //          20
  iovecs: u32; //      24  address of its iovecs
  iov_length: u16; //  28  how many
  writes: u16; //      30  1 to write, 0 to read
}
if (offsetof<PgAioKernelIo>() != KAIO_IO_BYTES) ERROR("PgAioKernelIo is not what the shim reads");

/** What a worker has under way, within its slot. */
@unmanaged export class PgAioKernelIos {
  places: u32; //  0  bit per place that holds a handle
  padding: u32; // 4
  ios: u64; //     8  PgAioKernelIo[KAIO_MAX], then {place u32, result i32}[KAIO_MAX]
}
@inline function placesWord(kernel: PgAioKernelIos): usize { return changetype<usize>(kernel); }
@inline function iosAt(kernel: PgAioKernelIos): usize {
  return changetype<usize>(kernel) + offsetof<PgAioKernelIos>("ios");
}
@inline function eventsAt(kernel: PgAioKernelIos): usize {
  return iosAt(kernel) + KAIO_MAX * KAIO_IO_BYTES;
}
@inline function ioAt(kernel: PgAioKernelIos, place: u32): PgAioKernelIo {
  return changetype<PgAioKernelIo>(iosAt(kernel) + <usize>place * KAIO_IO_BYTES);
}
export const KERNEL_IOS_BYTES: u32 =
  <u32>offsetof<PgAioKernelIos>("ios") + KAIO_MAX * (KAIO_IO_BYTES + KAIO_EVENT_BYTES);

/** False once the host has said that it has nothing of the kind. */
let usable: bool = true;

/** How many more this worker may have under way. */
export function kaioRoom(kernel: PgAioKernelIos): u32 {
  const most = min(ctl().io_worker_concurrency, KAIO_MAX);
  const now: u32 = popcnt<u32>(kernel.places);
  assert(now <= KAIO_MAX);
  return usable && most > 1 && now < most ? most - now : 0; // it may have been lowered since
}

/** Whether the I/O may be under way beside others: a transfer the kernel does without a thread. */
export function kaioTakes(ioh: PgAioHandle): bool {
  assert(stateOf(ioh) == PGAIO_HS_SUBMITTED);
  if (ioh.op != PGAIO_OP_READV && ioh.op != PGAIO_OP_WRITEV) return false;
  return ioh.file != 0 && fileIsDirect(ioh.file)
    && backendAt(ioh.owner_procno).private_descriptors == 0;
}

/** Puts a handle into a free place: a bit, for kaioStart. */
export function kaioHold(kernel: PgAioKernelIos, id: u32, ioh: PgAioHandle): u32 {
  const place: u32 = ctz<u32>(~kernel.places);
  assert(place < KAIO_MAX);
  const io = ioAt(kernel, place);
  io.generation = ioh.generation;
  io.offset = ioh.offset;
  io.io = id;
  io.fd = ioh.fd;
  io.iovecs = <u32>iovecsOf(ioh);
  io.iov_length = ioh.iov_length;
  io.writes = ioh.op == PGAIO_OP_WRITEV ? 1 : 0;
  const bit = (1 as u32) << place;
  storeRelease32(placesWord(kernel), kernel.places | bit);
  return bit;
}

/** Starts those in `places`; what the kernel will not take is executed here. How many that was. */
export function kaioStart(kernel: PgAioKernelIos, places: u32): u32 {
  assert((places & ~kernel.places) == 0);
  let executed: u32 = 0;
  while (places != 0) { // each round starts some of them, or executes one
    const started = usable ? kaio_start(iosAt(kernel), places) : -ENOSYS;
    if (started == -ENOSYS) usable = false;
    for (let i = 0; i < started; i++) places &= places - 1;
    if (places == 0) break;
    const place: u32 = ctz<u32>(places);
    const ioh = handleAt(ioAt(kernel, place).io);
    performSynchronously(ioh, ioh.fd);
    letGo(kernel, place);
    places &= places - 1;
    executed++;
  }
  return executed;
}

/** Waits until one is over, and finishes those that are. How many. */
export function kaioFinish(kernel: PgAioKernelIos): u32 {
  const events = eventsAt(kernel);
  const count = kaio_finish(events, popcnt<u32>(kernel.places));
  assert(count > 0, "the host lost what is under way");
  for (let i = 0; i < count; i++) {
    const at = events + <usize>i * KAIO_EVENT_BYTES;
    const place = load<u32>(at);
    const raw = load<i32>(at, 4);
    assert(place < KAIO_MAX && ((kernel.places >>> place) & 1) == 1);
    const ioh = handleAt(ioAt(kernel, place).io);
    if (raw == -EINTR || raw == -EAGAIN) performSynchronously(ioh, ioh.fd);
    else processCompletion(ioh, max(min(raw, <i32>ioh.length), -4095), 0);
    letGo(kernel, place);
  }
  return count;
}

function letGo(kernel: PgAioKernelIos, place: u32): void {
  assert(place < KAIO_MAX);
  storeRelease32(placesWord(kernel), kernel.places & ~((1 as u32) << place));
}

/** Whether a worker has the I/O there, be it dead. Under the queue's lock. */
export function kaioHas(kernel: PgAioKernelIos, ioh: PgAioHandle): bool {
  assert(changetype<usize>(ioh) != 0);
  for (let places = kernel.places; places != 0; places &= places - 1) {
    const io = ioAt(kernel, ctz<u32>(places));
    if (io.io == <i32>handleId(ioh) && io.generation == ioh.generation) return true;
  }
  return false;
}

/** Of a dead worker: notes one of its I/Os in its place instead; false if there is none. Locked. */
export function kaioMoveTo(place: PgAioPlace, kernel: PgAioKernelIos): bool {
  assert(place.io == NONE);
  if (kernel.places == 0) return false;
  const first: u32 = ctz<u32>(kernel.places);
  place.generation = ioAt(kernel, first).generation;
  place.io = ioAt(kernel, first).io;
  letGo(kernel, first);
  return true;
}
