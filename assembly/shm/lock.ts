/**
 * A lock in one word of shared memory: 0 free, else the number of the thread that holds it, its top
 * bit set when somebody may be waiting. For short, rare sections; the path of a synchronous I/O
 * takes none. A thread can be ended anywhere, hence the holder's number: who finds it dead frees
 * its locks (lockBreak), and every section leaves what it guards usable at each step.
 */
import { may_block, my_thread } from "../aio/backend";
import { compareExchange32, exchange32, futexWait, futexWake, loadAcquire32 } from "./atomics";

const FREE: u32 = 0;
const CONTENDED: u32 = 0x80000000;
/**
 * Sections are a few hundred instructions. A waiter looks again after this long, should the holder
 * have been ended and its lock broken between its look and its sleep.
 */
const LOOK_AGAIN_NS: i64 = 100_000_000;

/** Number of the thread that holds the lock, 0 while it is free. */
export function lockHolder(at: usize): u32 { return loadAcquire32(at) & ~CONTENDED; }

/** Takes the lock if it is free. `mark`: CONTENDED if others may be waiting. */
export function lockTry(at: usize, mark: u32 = 0): bool {
  assert((at & 3) == 0);
  assert(my_thread != 0);
  return compareExchange32(at, FREE, my_thread | mark) == FREE;
}

/** Takes the lock if it is free, or becomes so while one looks: sections are that short. */
export function lockSpin(at: usize, mark: u32 = 0): bool {
  assert((at & 3) == 0);
  for (let i: u32 = 0; i < SPIN_ROUNDS; i++) {
    if (loadAcquire32(at) == FREE && lockTry(at, mark)) return true;
  }
  return false;
}
/** Some 200 ns: a section takes about as long. */
const SPIN_ROUNDS: u32 = isDefined(PGAIO_SIM) ? 2 : 200;

/** Takes the lock; the holder wakes a waiter when it leaves. Who may not block looks on. */
export function lockAcquire(at: usize): void {
  if (lockSpin(at)) return;
  while (true) { // each round the holder has changed, or 100 ms have passed
    const holder = loadAcquire32(at);
    if (holder == FREE) {
      if (lockTry(at, CONTENDED)) return; // it cannot know that it was the only one to wait
      continue;
    }
    assert((holder & ~CONTENDED) != my_thread, "a thread waits for itself");
    if (!may_block) continue; // the thread of a page looks on
    const contended = holder | CONTENDED;
    if (holder == contended || compareExchange32(at, holder, contended) == holder) {
      futexWait(at, contended, LOOK_AGAIN_NS);
    }
  }
}

/**
 * Takes the lock unless it stays taken for PATIENCE_NS: its holder may have been ended, and this
 * thread be the one that is to be told so and cannot while it waits.
 */
export function lockPatiently(at: usize): bool {
  assert((at & 3) == 0);
  if (lockSpin(at)) return true;
  for (let slept: i64 = 0; slept < PATIENCE_NS; slept += PATIENCE_STEP_NS) {
    const holder = loadAcquire32(at);
    const contended = holder | CONTENDED;
    const marked = holder != FREE
      && (holder == contended || compareExchange32(at, holder, contended) == holder);
    if (marked) futexWait(at, contended, PATIENCE_STEP_NS);
    if (lockSpin(at, CONTENDED)) return true;
  }
  futexWake(at, 1); // another waits perhaps, and this one was woken in its stead
  return false;
}
const PATIENCE_NS: i64 = 50_000_000;
const PATIENCE_STEP_NS: i64 = 10_000_000;

export function lockRelease(at: usize): void {
  const before = exchange32(at, FREE);
  assert((before & ~CONTENDED) == my_thread, "somebody else's lock");
  if ((before & CONTENDED) != 0) futexWake(at, 1);
}

/** Frees a lock that a thread which has ended still holds. */
export function lockBreak(at: usize, thread: u32): void {
  assert(thread != 0);
  while (true) { // a waiter may mark it contended meanwhile, once
    const holder = loadAcquire32(at);
    if ((holder & ~CONTENDED) != thread) {
      futexWake(at, -1); // the dead may have been the one that was woken to take it
      return;
    }
    if (compareExchange32(at, holder, FREE) == holder) {
      futexWake(at, -1);
      return;
    }
  }
}
