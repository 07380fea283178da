/**
 * Room of this backend's for lists that are too long for variables: the core has neither stack nor
 * heap of its own to put them on. Each part has one user, whose calls do not nest.
 */
import { my_procno } from "../aio/backend";
import { buffer_scratch_at } from "../shm/layout";
import { BUFFER_SCRATCH_BYTES } from "../shm/sizes";
import { PG_IOV_MAX } from "../aio/types";

/** Buffers of a write that is being started (PG_IOV_MAX x u32). */
export const SCRATCH_BUFFERS: u32 = 0;
/** Addresses of pages of a write (PG_IOV_MAX x u32). */
export const SCRATCH_PAGES: u32 = 4 * PG_IOV_MAX;
/** Addresses of pages of a read (PG_IOV_MAX x u32). */
export const SCRATCH_READ_PAGES: u32 = 8 * PG_IOV_MAX;
/** A segment to be synced: RelFileRef and its number; and its PgAioReturn. */
export const SCRATCH_SYNC: u32 = 12 * PG_IOV_MAX;
/** A RelFileRef and what goes with a single block. */
export const SCRATCH_ONE: u32 = SCRATCH_SYNC + 128;
if (SCRATCH_ONE + 256 > BUFFER_SCRATCH_BYTES) ERROR("the scratch has no room");

@inline export function scratchAt(): usize {
  return buffer_scratch_at + <usize>my_procno * BUFFER_SCRATCH_BYTES;
}
