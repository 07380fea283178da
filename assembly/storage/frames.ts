/**
 * Page frames: io_frames times block_size bytes, 4 KiB aligned, for I/O beside the buffer pool and
 * for temporary relations. A backend takes runs of neighbours and gives them back; an owner table
 * in shared memory keeps backends out of each other's frames. Rare (taken once and used for many
 * I/Os), hence one lock.
 */
import { E_BAD_FRAME, E_NO_BACKEND, OK, fail } from "../errors";
import { my_procno } from "../aio/backend";
import { NONE } from "../aio/types";
import { lockAcquire, lockRelease } from "../shm/lock";
import { PgAioCtl, ctl, frame_owners_at, frames_at } from "../shm/layout";
import { CTL_AT, FRAME_OWNER_BYTES } from "../shm/sizes";
import { block_size, io_frames } from "../shm/settings";

@inline function lockWord(): usize { return CTL_AT + offsetof<PgAioCtl>("frame_lock"); }
@inline function ownerSlot(frame: u32): usize {
  return frame_owners_at + <usize>frame * FRAME_OWNER_BYTES;
}
@inline function ownerTag(): u32 { return my_procno + 1; }

/** Takes `count` neighbouring frames. Their address, or 0 when no run of that length is free. */
export function pgaio_frames_alloc(count: u32): f64 {
  if (my_procno == NONE) return <f64>fail(E_NO_BACKEND);
  if (count == 0 || count > io_frames) return <f64>fail(E_BAD_FRAME, NONE, 0, 0, count);
  lockAcquire(lockWord());
  let first = findRun(ctl().frame_hint, io_frames, count);
  if (first == NONE) first = findRun(0, io_frames, count);
  if (first != NONE) {
    for (let i: u32 = 0; i < count; i++) store<u16>(ownerSlot(first + i), <u16>ownerTag());
    ctl().frame_hint = first + count;
  }
  lockRelease(lockWord());
  return first == NONE ? 0 : <f64>(frames_at + <usize>first * block_size);
}

/** First of `count` free neighbours in [from, to), or NONE. */
function findRun(from: u32, to: u32, count: u32): i32 {
  let run: u32 = 0;
  for (let frame = from; frame < to; frame++) {
    run = load<u16>(ownerSlot(frame)) == 0 ? run + 1 : 0;
    if (run == count) return frame + 1 - count;
  }
  return NONE;
}

/** Gives back frames this backend took. Refused as a whole unless all of them are its own. */
export function pgaio_frames_free(at: u32, count: u32): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  const from = <usize>at - frames_at;
  const first = <u32>(from / block_size);
  const inside = <usize>at >= frames_at && from % block_size == 0 && count > 0
    && <u64>first + count <= io_frames;
  if (!inside) return fail(E_BAD_FRAME, NONE, 0, at, count);
  lockAcquire(lockWord());
  let mine = true;
  for (let i: u32 = 0; i < count; i++) {
    if (load<u16>(ownerSlot(first + i)) != ownerTag()) mine = false;
  }
  if (mine) memory.fill(ownerSlot(first), 0, <usize>count * FRAME_OWNER_BYTES);
  lockRelease(lockWord());
  return mine ? OK : fail(E_BAD_FRAME, NONE, 0, at, count);
}

/** Gives back all frames of a backend that leaves. */
export function freeFramesOf(procno: i32): void {
  assert(procno >= 0);
  lockAcquire(lockWord());
  for (let frame: u32 = 0; frame < io_frames; frame++) {
    if (load<u16>(ownerSlot(frame)) == procno + 1) store<u16>(ownerSlot(frame), 0);
  }
  lockRelease(lockWord());
}
