/**
 * Which buffer holds a page: the mapping table of the pool (buf_table.c). Chains of descriptors
 * behind an array of heads, fixed in size. Who changes a chain holds the lock of its partition; who
 * only looks holds none, pins what it finds and looks again (buf.ts: pinIfTag). What such a look
 * misses, because the chain was changed under it, the look under the lock finds.
 */
import { NUM_BUFFER_PARTITIONS } from "../aio/types";
import { loadAcquire32, storeRelease32 } from "../shm/atomics";
import { bufferTableSize, buffer_partitions_at, buffer_table_at } from "../shm/layout";
import { lockAcquire, lockBreak, lockHolder, lockRelease } from "../shm/lock";
import { shared_buffers } from "../shm/settings";
import { BUFFER_PARTITION_BYTES } from "../shm/sizes";
import { my_thread } from "../aio/backend";
import { BufferDesc, descAt, pinIfTag, tagIs } from "./buf";

/** A look that comes to more than this has been led astray by a change. */
const CHAIN_LOOKS: u32 = 64;

/**
 * Chain of block `block` of `rel`. Neighbouring blocks have neighbouring chains, so that a scan
 * finds the heads of the next ones in the cache; relations begin anywhere.
 */
export function bucketOf(rel: usize, block: u32): u32 {
  let hash = load<u32>(rel) * 0x9e3779b1 ^ load<u32>(rel, 4) * 0x85ebca77;
  hash ^= load<u32>(rel, 8) * 0xc2b2ae3d ^ load<u32>(rel, 12) * 0x27d4eb2f;
  hash = (hash ^ hash >>> 15) * 0x2c1b3c6d;
  hash ^= hash >>> 12;
  assert(buffer_table_at != 0);
  return (hash + block) & (bufferTableSize() - 1);
}

@inline function headAt(bucket: u32): usize { return buffer_table_at + 4 * <usize>bucket; }
@inline function partitionAt(bucket: u32): usize {
  return buffer_partitions_at + <usize>(bucket % NUM_BUFFER_PARTITIONS) * BUFFER_PARTITION_BYTES;
}
@inline function nextAt(desc: BufferDesc): usize {
  return changetype<usize>(desc) + offsetof<BufferDesc>("hash_next");
}
@inline function isLocked(bucket: u32): bool {
  return lockHolder(partitionAt(bucket)) == my_thread;
}

@inline export function lockPartition(bucket: u32): void { lockAcquire(partitionAt(bucket)); }
@inline export function unlockPartition(bucket: u32): void { lockRelease(partitionAt(bucket)); }

/** Finds and pins the buffer of a page, without a lock. Its number, or 0: look under the lock. */
export function lookupPin(bucket: u32, rel: usize, block: u32, most: u32): u32 {
  let number = loadAcquire32(headAt(bucket));
  for (let looks: u32 = 0; number != 0 && looks < CHAIN_LOOKS; looks++) {
    assert(number <= shared_buffers);
    const desc = descAt(number - 1);
    if (tagIs(desc, rel, block)) return pinIfTag(number - 1, rel, block, most) ? number : 0;
    number = loadAcquire32(nextAt(desc));
  }
  return 0;
}

/** Number of the buffer of a page, or 0. Under the lock. */
export function findLinked(bucket: u32, rel: usize, block: u32): u32 {
  assert(isLocked(bucket));
  let number = loadAcquire32(headAt(bucket));
  while (number != 0) { // each is in one chain, so there are shared_buffers at the most
    const desc = descAt(number - 1);
    if (tagIs(desc, rel, block)) return number;
    number = loadAcquire32(nextAt(desc));
  }
  return 0;
}

/** Puts a buffer into the chain of its tag. Under the lock. */
export function link(bucket: u32, number: u32): void {
  assert(isLocked(bucket));
  const desc = descAt(number - 1);
  assert(desc.hash_bucket == 0);
  desc.hash_bucket = bucket + 1; // first: should this thread end here, the next user unlinks it
  storeRelease32(nextAt(desc), loadAcquire32(headAt(bucket)));
  storeRelease32(headAt(bucket), number);
}

/** Takes a buffer out of the chain it is in; it may not have come to be in it. Under the lock. */
export function unlink(bucket: u32, number: u32): void {
  assert(isLocked(bucket));
  const desc = descAt(number - 1);
  assert(desc.hash_bucket == bucket + 1);
  let at = headAt(bucket);
  while (true) { // as many as the chain has
    const here = loadAcquire32(at);
    if (here == 0) break;
    if (here == number) {
      storeRelease32(at, loadAcquire32(nextAt(desc)));
      break;
    }
    at = nextAt(descAt(here - 1));
  }
  desc.hash_bucket = 0;
}

/** Frees the locks that a thread which has ended still holds. */
export function breakPartitions(thread: u32): void {
  assert(buffer_partitions_at != 0);
  for (let i: u32 = 0; i < NUM_BUFFER_PARTITIONS; i++) {
    lockBreak(buffer_partitions_at + <usize>i * BUFFER_PARTITION_BYTES, thread);
  }
}
