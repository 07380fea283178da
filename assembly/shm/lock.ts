/**
 * A lock in one word of shared memory, after the three-state futex mutex: 0 free, 1 held,
 * 2 held and somebody may be waiting. For rare, short sections (page frames, slots); the path of
 * an I/O takes none.
 */
import { compareExchange32, exchange32, futexWait, futexWake } from "./atomics";

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/**
 * Takes the lock. Sections are a few hundred instructions, so a waiter sleeps at most that long,
 * and the holder wakes it; a holder that dies inside one is a broken memory, which the time-out
 * turns into a trap instead of a silent hang.
 */
export function lockAcquire(at: usize): void {
  assert((at & 3) == 0);
  if (compareExchange32(at, FREE, HELD) == FREE) return;
  while (exchange32(at, CONTENDED) != FREE) {
    const woken = futexWait(at, CONTENDED, LOCK_TIMEOUT_NS);
    assert(woken != 2, "the holder is gone");
  }
}

export function lockRelease(at: usize): void {
  const before = exchange32(at, FREE);
  assert(before != FREE);
  if (before == CONTENDED) futexWake(at, 1);
}

/** 30 s: five orders of magnitude above the longest section. */
const LOCK_TIMEOUT_NS: i64 = 30_000_000_000;
