/**
 * How a backend learns that others completed I/Os of its own. Whoever completes one sets the
 * handle's bit and rings the owner's doorbell; the owner takes the bits and reclaims. A bit, unlike
 * a link in a list, may be set again or come late without harm: the state of the handle decides.
 *
 * The bell is one word: how often it was rung, and in its lowest bit whether the owner listens. The
 * owner raises that bit before it looks at the handles for the last time, and sleeps while the word
 * is what it was then. A ring changes the word, so it comes before the sleep, which then ends at
 * once, or finds the bit, takes it down and wakes: one wake-up for each time of listening.
 */
import { E_NO_BACKEND, fail } from "../errors";
import {
  compareExchange32, exchange32, fetchOr32, futexWake, loadAcquire32,
} from "../shm/atomics";
import { backendAt, doorbells_at, handleAt } from "../shm/layout";
import { DOORBELL_BYTES } from "../shm/sizes";
import { io_max_concurrency, max_backends } from "../shm/settings";
import { SLOT_DEAD, crit_section_count, my_backend, my_procno, slotState } from "./backend";
import { PgAioHandle, reclaimIfCompleted } from "./handle";
import { finishIfLeft } from "./io";
import { settleEstates } from "./sweep";
import { methodPoll } from "../method/method";
import { ALL_ENDED, NONE } from "./types";

@unmanaged export class PgAioDoorbell {
  rung: u32; // 0  futex word: bit 0 somebody listens, above it how often it was rung (31 bits)
  bits: u32; // 4  bit per handle of the backend: completed by another (1024 bits)
}
if (offsetof<PgAioDoorbell>("bits") + 128 > DOORBELL_BYTES) ERROR("PgAioDoorbell has no room");

@inline function doorbellAt(procno: u32): usize {
  return doorbells_at + <usize>procno * DOORBELL_BYTES;
}

/** Tells the owner of handle `id` that it is shared-completed; a dead owner's heir instead. */
export function ringOwner(id: u32, procno: u32): void {
  const index = id - backendAt(procno).io_handle_off;
  assert(index < <u32>io_max_concurrency);
  const word = doorbellAt(procno) + offsetof<PgAioDoorbell>("bits") + 4 * <usize>(index >>> 5);
  fetchOr32(word, 1 << (index & 31));
  ring(procno);
  if (slotState(procno) != SLOT_DEAD) return;
  const heir = backendAt(procno).heir;
  if (heir != NONE) ring(heir);
}

function ring(procno: u32): void {
  assert(procno < max_backends);
  const rung = doorbellAt(procno);
  while (true) { // fails when another rang or the owner began to listen, which is progress, too
    const before = loadAcquire32(rung);
    const after = ((before & ~LISTENING) + ONE_RING) & RUNG_MASK;
    if (compareExchange32(rung, before, after) != before) continue;
    if ((before & LISTENING) != 0) futexWake(rung, -1);
    return;
  }
}
/** A thread that has ended may have rung a bell, and not have woken who listens. */
export function wakeListeners(): void {
  assert(doorbells_at != 0);
  for (let procno: u32 = 0; procno < max_backends; procno++) futexWake(doorbellAt(procno), -1);
}
const LISTENING: u32 = 1;
const ONE_RING: u32 = 2;
/** Without the top bit, so that the word can be a result. */
const RUNG_MASK: u32 = 0x7fffffff;

/** Reclaims what others completed. How many handles. */
export function pgaio_drain_completed(): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  assert(my_backend.procno == <u32>my_procno);
  return drain();
}

/**
 * The same, but of the completions that the method tells this backend of at most `most`: who starts
 * the next I/Os in between lets a device that answers many together go on at once. How many of
 * those there were; `most` says that there may be more.
 */
export function pgaio_drain_some(most: u32): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  assert(my_backend.procno == <u32>my_procno);
  return <i32>drainSome(most);
}

/** Reclaims what others completed; how many. */
export function drain(): i32 {
  assert(my_procno != NONE);
  const before = my_backend.reclaimed;
  drainSome(ALL_ENDED);
  return <i32>(my_backend.reclaimed - before);
}
function drainSome(most: u32): u32 {
  assert(my_procno != NONE);
  if (crit_section_count > 0) return 0; // a callback's look at the world; its caller drains later
  const bits = doorbellAt(my_procno) + offsetof<PgAioDoorbell>("bits");
  const told = my_backend.in_flight_count > 0 ? methodPoll(my_procno, most) : 0;
  for (let word: u32 = 0; word < (<u32>io_max_concurrency + 31) >>> 5; word++) {
    const at = bits + 4 * <usize>word;
    if (loadAcquire32(at) == 0) continue;
    let set = exchange32(at, 0);
    while (set != 0) { // one bit fewer each round
      const index = ctz<u32>(set);
      set &= set - 1;
      const ioh = handleAt(my_backend.io_handle_off + (word << 5) + index);
      if (!finishIfLeft(ioh)) reclaimIfCompleted(ioh);
    }
  }
  if (my_backend.estates != 0) settleEstates();
  return told;
}

/**
 * Spins until the doorbell rings, `rounds` looks at the most: a wake-up from another core costs
 * more than a cached read takes. Drains; how many handles were reclaimed.
 */
export function pgaio_spin_completed(rounds: u32): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  assert(my_backend.procno == <u32>my_procno);
  const rung = doorbellAt(my_procno);
  let reclaimed = drain();
  let before = loadAcquire32(rung);
  for (let i: u32 = 0; i < rounds && reclaimed == 0; i++) {
    const now = loadAcquire32(rung);
    if (now == before) continue;
    before = now;
    reclaimed = drain();
  }
  return reclaimed;
}

/**
 * The owner is about to sleep on the doorbell. What its word is to be meanwhile: never 0. Or 0:
 * something had come, there is no need to sleep.
 */
export function pgaio_arm_doorbell(): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  assert(my_backend.procno == <u32>my_procno);
  const listening = fetchOr32(doorbellAt(my_procno), LISTENING) | LISTENING;
  return drain() == 0 ? <i32>listening : 0;
}

/** Address of the doorbell's futex word, for Atomics.waitAsync. */
export function pgaio_doorbell(): i32 {
  return my_procno == NONE ? fail(E_NO_BACKEND) : doorbellAt(my_procno) as i32;
}
