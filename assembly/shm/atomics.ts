/**
 * Every atomic operation of the core. A class field is a plain load or store, so a word that two
 * threads touch is reached through here, or it is a race. WebAssembly knows one order, sequential
 * consistency; the names say acquire and release so that each store can be matched with its load.
 * In the unshared build the memory has one user and these are plain loads and stores. In the sim
 * build each is preceded by a point at which another thread may be scheduled.
 */
import { sim_point, sim_wait, sim_wake } from "../aio/host";

@inline function point(): void {
  if (isDefined(PGAIO_SIM)) sim_point();
}

@inline export function loadAcquire32(at: usize): u32 {
  if (isDefined(PGAIO_UNSHARED)) return load<u32>(at);
  point();
  return atomic.load<u32>(at);
}

@inline export function storeRelease32(at: usize, value: u32): void {
  if (isDefined(PGAIO_UNSHARED)) store<u32>(at, value);
  else {
    point();
    atomic.store<u32>(at, value);
  }
}

/** Aligned to 8: a misaligned 64-bit atomic traps. */
@inline export function loadAcquire64(at: usize): u64 {
  if (isDefined(PGAIO_UNSHARED)) return load<u64>(at);
  point();
  return atomic.load<u64>(at);
}

@inline export function storeRelease64(at: usize, value: u64): void {
  if (isDefined(PGAIO_UNSHARED)) store<u64>(at, value);
  else {
    point();
    atomic.store<u64>(at, value);
  }
}

/** Stores `value` and gives back what was there. */
@inline export function exchange32(at: usize, value: u32): u32 {
  if (isDefined(PGAIO_UNSHARED)) {
    const before = load<u32>(at);
    store<u32>(at, value);
    return before;
  }
  point();
  return atomic.xchg<u32>(at, value);
}

/** Stores `value` if `expected` is there. Gives back what was there: `expected` means it did. */
@inline export function compareExchange32(at: usize, expected: u32, value: u32): u32 {
  if (isDefined(PGAIO_UNSHARED)) {
    const before = load<u32>(at);
    if (before == expected) store<u32>(at, value);
    return before;
  }
  point();
  return atomic.cmpxchg<u32>(at, expected, value);
}

/** Adds and gives back the value before. */
@inline export function fetchAdd32(at: usize, value: u32): u32 {
  if (isDefined(PGAIO_UNSHARED)) {
    const before = load<u32>(at);
    store<u32>(at, before + value);
    return before;
  }
  point();
  return atomic.add<u32>(at, value);
}

/** Sets the bits of `value` and gives back what was there. */
@inline export function fetchOr32(at: usize, value: u32): u32 {
  assert((at & 3) == 0);
  if (isDefined(PGAIO_UNSHARED)) {
    const before = load<u32>(at);
    store<u32>(at, before | value);
    return before;
  }
  point();
  return atomic.or<u32>(at, value);
}

/**
 * Sleeps while the word at `at` is `expected`, at most `timeout_ns` (-1: until woken).
 * 0 woken, 1 it was not `expected`, 2 timed out. The unshared build never gets here: the engine
 * answers E_CANNOT_WAIT before, since nobody could wake the only thread there is.
 */
export function futexWait(at: usize, expected: u32, timeout_ns: i64): i32 {
  if (isDefined(PGAIO_UNSHARED)) {
    assert(false);
    return 1;
  }
  if (isDefined(PGAIO_SIM)) return sim_wait(at, expected, timeout_ns);
  // V8's baseline compiler (seen in 11.3, Node 20) loses what registers hold across this
  // instruction, so it stands in a function of its own in which nothing is needed afterwards. The
  // call never happens: it keeps the optimiser from putting the rest back into the callers.
  const woken = atomic.wait<i32>(at, <i32>expected, timeout_ns);
  return woken > 2 ? futexWait(at, expected, timeout_ns) : woken;
}

@inline export function futexWake(at: usize, count: i32): i32 {
  if (isDefined(PGAIO_UNSHARED)) return 0;
  if (isDefined(PGAIO_SIM)) return sim_wake(at, count);
  return atomic.notify(at, count);
}

/** Stores `value` if `expected` is there. Gives back what was there: `expected` means it did. */
export function compareExchange64(at: usize, expected: u64, value: u64): u64 {
  assert((at & 7) == 0);
  if (isDefined(PGAIO_UNSHARED)) {
    const before = load<u64>(at);
    if (before == expected) store<u64>(at, value);
    return before;
  }
  point();
  return atomic.cmpxchg<u64>(at, expected, value);
}
