// @layout
/**
 * Method WORKER: I/O workers, threads that do nothing but execute I/O (method_worker.c of
 * PostgreSQL's development version). A submission puts handles into a bounded queue and wakes one
 * worker; a worker that takes one wakes the next. What does not fit, or finds the queue's lock
 * taken, is executed by the issuer. Neither issuer nor worker ever waits for room.
 *
 * Unlike PostgreSQL's, a waiter does not depend on workers: it executes what is still queued when
 * there are none. And a worker keeps what it executes in its slot, so that an I/O survives it.
 */
import { E_BAD_WORKER, E_NO_SLOT, OK, fail } from "../errors";
import { finishCompletion, performSynchronously, prepareSubmit } from "../aio/io";
import { PgAioHandle, announceCompletion, stateOf } from "../aio/handle";
import { onlyOwnerCompletes } from "../aio/callback";
import { generationOf } from "../aio/wait";
import { my_backend, my_place, my_procno, my_thread, takePlace, threadMark } from "../aio/backend";
import { host_park, host_reopen, host_unpark } from "../aio/host";
import { targetCanReopen } from "../aio/target";
import {
  EAGAIN, ENOSYS, IO_WORKER_QUEUE_SIZE, MAX_IO_WORKERS, NONE, PGAIO_HANDLE_MAX_CALLBACKS,
  PGAIO_HF_REFERENCES_LOCAL, PGAIO_HS_COMPLETED_IO, PGAIO_HS_COMPLETED_SHARED, PGAIO_HS_SUBMITTED,
  PGAIO_SUBMIT_BATCH_SIZE,
} from "../aio/types";
import {
  compareExchange32, exchange32, fetchAdd32, futexWait, futexWake, loadAcquire32, storeRelease32,
} from "../shm/atomics";
import { backendAt, ctl, handleAt, handleId, worker_control_at, workers_at } from "../shm/layout";
import { lockAcquire, lockHolder, lockRelease, lockSpin } from "../shm/lock";
import { WORKER_BYTES, WORKER_CONTROL_BYTES } from "../shm/sizes";
import {
  KERNEL_IOS_BYTES, PgAioKernelIos, kaioFinish, kaioHold, kaioRoom, kaioStart, kaioTakes,
} from "./kaio";

/** Everything but `pool_doorbell`, `stop` and `spinner` is read and written under `lock`. */
@unmanaged export class PgAioWorkerControl {
  lock: u32; //            0  lock.ts
  head: u32; //            4  number of the next entry to be taken, wraps
  tail: u32; //            8  number of the next entry to be added, wraps
  idle: u32; //           12  bit per worker: sleeps, or is about to
  nworkers: u32; //       16  workers there are
  grow: u32; //           20  1 while the queue is too long for the workers there are
  pool_doorbell: u32; //  24  futex word of whoever starts workers; rung when `grow` was raised
  stop: u32; //           28  1 when all workers are to leave
  spinner: u32; //        32  thread that looks at the queue without sleeping, 0 for none
  entries: u32; //        36  handle ids (IO_WORKER_QUEUE_SIZE x u32)
}
if (offsetof<PgAioWorkerControl>("entries") + 4 * IO_WORKER_QUEUE_SIZE > WORKER_CONTROL_BYTES) {
  ERROR("PgAioWorkerControl outgrew its place");
}

@unmanaged export class PgAioWorker {
  cb_word: u32; //         0  PgAioPlace
  cb_result: i32; //       4
  transferred: u32; //     8
  host_callbacks: u32; // 12
  io: i32; //             16
  generation: u64; //     24
  in_use: u32; //         32  WORKER_*
  thread: u32; //         36  who has the slot
  wake: u32; //           40  futex word: how often it was woken, wraps
  asleep: u32; //         44  how it sleeps on `wake`, or is about to: ASLEEP_*
  executed: u64; //       48  I/Os it has executed
  starter: u32; //        56  thread that started it, with which it ends
  kernel: u64; //         64  PgAioKernelIos
}
if (offsetof<PgAioWorker>("kernel") + KERNEL_IOS_BYTES > WORKER_BYTES) {
  ERROR("PgAioWorker outgrew its place");
}

export const WORKER_FREE: u32 = 0;
export const WORKER_RUNNING: u32 = 1;
/** Its thread has ended; `thread` finishes what that had. */
export const WORKER_DEAD: u32 = 2;

export const ASLEEP_NOT: u32 = 0;
export const ASLEEP_WAITING: u32 = 1; // by atomic.wait
export const ASLEEP_PARKED: u32 = 2; // by the host's park

const QUEUE_MASK: u32 = IO_WORKER_QUEUE_SIZE - 1;
/** One entry stays empty, as in PostgreSQL: head = tail means empty. */
const QUEUE_MAX: u32 = IO_WORKER_QUEUE_SIZE - 1;

@inline export function workerControl(): PgAioWorkerControl {
  return changetype<PgAioWorkerControl>(worker_control_at);
}
@inline export function workerAt(id: u32): PgAioWorker {
  return changetype<PgAioWorker>(workers_at + <usize>id * WORKER_BYTES);
}
@inline export function kernelIos(slot: PgAioWorker): PgAioKernelIos {
  return changetype<PgAioKernelIos>(changetype<usize>(slot) + offsetof<PgAioWorker>("kernel"));
}
@inline function workersPlace(id: u32): usize { return changetype<usize>(workerAt(id)); }
@inline function entryAt(number: u32): usize {
  return worker_control_at + offsetof<PgAioWorkerControl>("entries") + 4 * (number & QUEUE_MASK);
}
@inline function controlWord(offset: usize): usize { return worker_control_at + offset; }

/** Whoever reads or writes the queue or the set of workers holds the lock. */
@inline function isLocked(): bool { return lockHolder(worker_control_at) == my_thread; }

// The issuer's side.

/** Memory or target that only the issuer has, or a callback only the issuer has loaded. */
export function workerNeedsSynchronous(ioh: PgAioHandle): bool {
  assert(ioh.num_callbacks <= <u8>PGAIO_HANDLE_MAX_CALLBACKS);
  if ((ioh.flags & PGAIO_HF_REFERENCES_LOCAL) != 0) return true;
  if (my_backend.private_descriptors == 1 && !targetCanReopen(ioh)) return true;
  return onlyOwnerCompletes(ioh);
}

/** Queues what fits and wakes one worker; executes the rest here. */
export function workerSubmit(count: u32, ids: usize): i32 {
  assert(count <= PGAIO_SUBMIT_BATCH_SIZE);
  for (let i: u32 = 0; i < count; i++) prepareSubmit(handleAt(idAt(ids, i)));
  let queued: u32 = 0;
  let woken = NONE;
  const control = workerControl();
  // Without workers (not started yet, or stopped) nobody would take them.
  if (control.nworkers > 0 && lockSpin(worker_control_at)) {
    // Somebody is to look at what was in the queue before, and passes a wake-up on if need be.
    const looked_at = control.tail != control.head;
    while (queued < count && control.tail - control.head < QUEUE_MAX) {
      storeRelease32(entryAt(control.tail), idAt(ids, queued++));
      storeRelease32(controlWord(offsetof<PgAioWorkerControl>("tail")), control.tail + 1);
    }
    if (queued > 0 && !looked_at && !somebodySpins()) woken = chooseIdle();
    lockRelease(worker_control_at);
  }
  if (woken != NONE) wake(woken);
  for (let i = queued; i < count; i++) {
    my_backend.synchronous++;
    performSynchronously(handleAt(idAt(ids, i)), handleAt(idAt(ids, i)).fd);
  }
  return count;
}
@inline function idAt(ids: usize, index: u32): u32 { return load<u32>(ids + 4 * <usize>index); }

/** The lowest idle worker, no longer idle; NONE if there is none. Under the lock. */
function chooseIdle(): i32 {
  assert(isLocked());
  const control = workerControl();
  if (control.idle == 0) return NONE;
  const id = ctz<u32>(control.idle);
  control.idle &= ~((1 as u32) << id);
  return id;
}

function wake(id: i32): void {
  assert(id >= 0);
  const word = changetype<usize>(workerAt(id)) + offsetof<PgAioWorker>("wake");
  fetchAdd32(word, 1);
  // It notes that it sleeps before it compares the word: one of the two is seen.
  const how = loadAcquire32(changetype<usize>(workerAt(id)) + offsetof<PgAioWorker>("asleep"));
  if (how == ASLEEP_PARKED) host_unpark(word);
  else if (how != ASLEEP_NOT) futexWake(word, 1);
}

@inline function spinnerWord(): usize {
  return controlWord(offsetof<PgAioWorkerControl>("spinner"));
}
/** It looks at the queue once more after it has given that up, so what was added before is seen. */
@inline function somebodySpins(): bool { return loadAcquire32(spinnerWord()) != 0; }
/** A thread that has ended does not spin any more. */
export function forgetSpinner(thread: u32): void {
  assert(thread != 0);
  compareExchange32(spinnerWord(), thread, 0);
}

/**
 * A waiter's help: takes a handle out of the queue, if it is still there, and executes it. With
 * workers about that is not needed; without any it is what keeps a wait from lasting for ever.
 */
export function workerHelp(ioh: PgAioHandle): bool {
  assert(changetype<usize>(my_place) != 0);
  lockAcquire(worker_control_at);
  const at = placeInQueue(handleId(ioh));
  if (at != 0) {
    undertake(handleId(ioh), generationOf(ioh));
    storeRelease32(at, NONE); // one store, should this thread be ended right here
  }
  lockRelease(worker_control_at);
  if (at != 0) executeUndertaken();
  return at != 0;
}

/**
 * Notes which handle this thread is about to execute, before others may forget about it: whoever
 * cleans up after this thread finds it there. Under the lock.
 */
export function undertake(id: u32, generation: u64): void {
  assert(my_place.io == NONE, "one at a time");
  my_place.generation = generation;
  my_place.io = id;
}

/** Executes that handle; what its death left half done is finished, too. */
export function executeUndertaken(): void {
  const id = my_place.io;
  assert(id != NONE);
  const ioh = handleAt(id);
  const state = stateOf(ioh);
  const current = generationOf(ioh) == my_place.generation;
  if (current && state == PGAIO_HS_SUBMITTED) performSynchronously(ioh, descriptorFor(ioh));
  else if (current && state == PGAIO_HS_COMPLETED_IO) {
    finishCompletion(ioh, id, ioh.owner_procno, 0);
  } else if (current && state == PGAIO_HS_COMPLETED_SHARED) announceCompletion(ioh, id);
  my_place.io = NONE;
}

/** Address of the entry that holds handle `id`, 0 if none does. Under the lock. */
function placeInQueue(id: u32): usize {
  assert(isLocked());
  const control = workerControl();
  for (let number = control.head; number != control.tail; number++) {
    if (load<u32>(entryAt(number)) == id) return entryAt(number);
  }
  return 0;
}
/** Whether handle `id` waits for a worker. Under the lock. */
export function queueHolds(id: u32): bool { return placeInQueue(id) != 0; }

export function workersRunning(): u32 {
  return loadAcquire32(controlWord(offsetof<PgAioWorkerControl>("nworkers")));
}

// The worker's side.

/** Makes this instance I/O worker `id`, started by thread `starter`. Its slot must be free. */
export function pgaio_init_worker(id: u32, starter: u32): i32 {
  if (id >= MAX_IO_WORKERS) return fail(E_BAD_WORKER, NONE, 0, id);
  assert(my_procno == NONE);
  const slot = workerAt(id);
  lockAcquire(worker_control_at);
  const free = slot.in_use == WORKER_FREE;
  if (free) {
    assert(kernelIos(slot).places == 0);
    slot.thread = my_thread;
    slot.starter = threadMark(starter);
    slot.io = NONE;
    slot.host_callbacks = 0;
    slot.in_use = WORKER_RUNNING;
    countWorkers();
  }
  lockRelease(worker_control_at);
  if (!free) return fail(E_NO_SLOT, NONE, 0, id);
  takePlace(changetype<usize>(slot));
  wakeAllWorkers(); // who was the highest of them may not be any longer
  return OK;
}

/**
 * The life of I/O worker `id`: executes I/Os until it is told to stop (1), has been idle too long
 * (2), or the maximum was lowered below it (3). Parked on its futex word while there is nothing.
 */
export function pgaio_worker_main(id: u32): i32 {
  const mine = id < MAX_IO_WORKERS && workersPlace(id) == changetype<usize>(my_place);
  if (!mine) return fail(E_BAD_WORKER, NONE, 0, id);
  assert(my_procno == NONE);
  const slot = workerAt(id);
  const kernel = kernelIos(slot);
  while (true) { // each round an I/O ends, or it sleeps
    takeWork(id);
    if (slot.io != NONE) {
      executeUndertaken();
      slot.executed++;
      continue;
    }
    if (kernel.places != 0) {
      slot.executed += kaioStart(kernel, fresh);
      if (kernel.places != 0) slot.executed += kaioFinish(kernel);
      continue;
    }
    const reason = sleepIdle(id);
    if (reason != 0) {
      leaveWorker(id);
      return reason;
    }
  }
}

/** Bits of those I/Os that were taken for the kernel and are not started yet. */
let fresh: u32 = 0;

/**
 * Takes the oldest entry to execute it, or some to be under way together, and passes the wake-up
 * on. Idle if there is nothing to take nor anything under way.
 */
function takeWork(id: u32): void {
  const control = workerControl();
  const bit = (1 as u32) << id;
  let woken = NONE;
  fresh = 0;
  lockAcquire(worker_control_at);
  assert(control.tail - control.head <= QUEUE_MAX);
  control.idle &= ~bit;
  skipTaken();
  if (control.head == control.tail) {
    control.grow = 0;
    if (kernelIos(workerAt(id)).places == 0) control.idle |= bit;
  } else {
    takeOldest(kernelIos(workerAt(id)));
    const left = control.tail - control.head;
    if (left > 0) {
      // Always, since who adds to a queue that is not empty wakes nobody; PostgreSQL's worker does
      // it when its recent wake-ups found work, and relies on the submitter else.
      woken = chooseIdle();
      if (woken == NONE && left > control.nworkers) requestGrowth();
    }
  }
  lockRelease(worker_control_at);
  if (woken != NONE) wake(woken);
}

/**
 * One alone is executed by this thread, as is what the kernel does not do by itself; for that a
 * worker with something under way leaves it to the others, who would have to wait for both.
 */
function takeOldest(kernel: PgAioKernelIos): void {
  assert(isLocked());
  const control = workerControl();
  const room = kaioRoom(kernel);
  let together: u32 = 0;
  for (let number = control.head; number != control.tail && together < room; number++) {
    const io = load<i32>(entryAt(number));
    if (io == NONE) continue;
    if (!kaioTakes(handleAt(io))) break;
    together++;
  }
  if (together < 2 && kernel.places == 0) {
    const io = load<i32>(entryAt(control.head));
    undertake(io, generationOf(handleAt(io)));
    advanceHead();
    return;
  }
  for (; together > 0; together--) {
    const io = load<i32>(entryAt(control.head));
    fresh |= kaioHold(kernel, io, handleAt(io));
    advanceHead();
  }
}

/** The oldest entry goes: it is noted where this thread's heir finds it. Under the lock. */
function advanceHead(): void {
  assert(isLocked());
  const control = workerControl();
  storeRelease32(controlWord(offsetof<PgAioWorkerControl>("head")), control.head + 1);
  skipTaken();
}
/** Entries that a waiter helped itself to. Under the lock. */
function skipTaken(): void {
  assert(isLocked());
  const control = workerControl();
  const head = controlWord(offsetof<PgAioWorkerControl>("head"));
  while (control.head != control.tail && load<i32>(entryAt(control.head)) == NONE) {
    storeRelease32(head, control.head + 1);
  }
}

/** Asks for one more worker, once until it is answered or the queue ran empty. Under the lock. */
function requestGrowth(): void {
  assert(isLocked());
  const control = workerControl();
  if (control.grow == 1 || control.nworkers >= ctl().io_max_workers) return;
  control.grow = 1;
  ringPool();
}

/**
 * Looks at the queue without sleeping, when the last sleep was short: a wake-up from another core
 * takes some 20 µs, longer than reading a cached page. One worker, and only while no other executes
 * anything: else something is in flight all the time, and who spins takes a core from those who
 * work. 16,000 looks are about 20 µs. The clock is a first sleep of SHORT_NS: one that ends before
 * it makes the next looks worth while.
 */
let spin_rounds: u32 = 0;
const SPIN_ROUNDS: u32 = isDefined(PGAIO_SIM) ? 2 : 16000;
const SHORT_NS: i64 = 200_000;
const MS_NS: i64 = 1_000_000;

/** Sleeps until woken. 0 to look at the queue again, else why this worker leaves. */
function sleepIdle(id: u32): i32 {
  const slot = workerAt(id);
  assert(slot.io == NONE);
  const word = wakeWord(slot);
  const tail = controlWord(offsetof<PgAioWorkerControl>("tail"));
  const seen = loadAcquire32(word);
  const before = workerControl().head;
  if (spin_rounds > 0 && allIdle() && spin(tail, before)) return 0;
  if (loadAcquire32(controlWord(offsetof<PgAioWorkerControl>("stop"))) != 0) return 1;
  if (id >= ctl().io_max_workers) return 3;
  // Woken between takeWork and here: `wake` moved on, or the queue did. Both are seen below.
  if (loadAcquire32(tail) != before || isWoken(id)) return 0;
  if (allIdle()) {
    if (wait(slot, seen, SHORT_NS)) {
      spin_rounds = SPIN_ROUNDS;
      return 0;
    }
    spin_rounds = 0;
  }
  if (park(slot, seen)) return 0;
  const timeout = mayTimeOut(id) ? <i64>ctl().io_worker_idle_timeout * MS_NS : -1;
  if (!wait(slot, seen, timeout) && mayTimeOut(id)) return 2;
  return 0;
}

/** A guess, read without the lock: it decides about speed only. */
@inline function allIdle(): bool {
  return popcnt<u32>(workerControl().idle) == workerControl().nworkers;
}

/** True when the queue's tail moved while this thread, the only one to, looked at it. */
function spin(tail: usize, before: u32): bool {
  assert(spin_rounds > 0);
  if (compareExchange32(spinnerWord(), 0, my_thread) != 0) return false;
  let moved = false;
  for (let i: u32 = 0; i < spin_rounds && !moved; i++) moved = loadAcquire32(tail) != before;
  storeRelease32(spinnerWord(), 0);
  return moved || loadAcquire32(tail) != before;
}

@inline function wakeWord(slot: PgAioWorker): usize {
  return changetype<usize>(slot) + offsetof<PgAioWorker>("wake");
}
@inline function asleepWord(slot: PgAioWorker): usize {
  return changetype<usize>(slot) + offsetof<PgAioWorker>("asleep");
}

/** Sleeps while `wake` is `seen`; false when the time was up. */
function wait(slot: PgAioWorker, seen: u32, ns: i64): bool {
  assert(slot.io == NONE);
  storeRelease32(asleepWord(slot), ASLEEP_WAITING);
  const woken = futexWait(wakeWord(slot), seen, ns);
  storeRelease32(asleepWord(slot), ASLEEP_NOT);
  return woken != 2;
}

/** False once the host has said that it has no other way to sleep than atomic.wait. */
let may_park: bool = true;
const PARK_US: u32 = 5000;

/**
 * The same as the system has it, for a moment, where the host can: atomic.wait and notify take a
 * mutex of the whole process, five system calls for a sleep instead of two. A thread cannot be
 * terminated meanwhile, hence a moment. False when that was up.
 */
function park(slot: PgAioWorker, seen: u32): bool {
  assert(slot.io == NONE);
  if (!may_park) return false;
  storeRelease32(asleepWord(slot), ASLEEP_PARKED);
  const rc = host_park(wakeWord(slot), seen, PARK_US);
  storeRelease32(asleepWord(slot), ASLEEP_NOT);
  if (rc == -ENOSYS) may_park = false;
  return rc == 0 || rc == -EAGAIN;
}

/** Whoever wakes a worker takes its idle bit first. */
@inline function isWoken(id: u32): bool {
  return ((loadAcquire32(controlWord(offsetof<PgAioWorkerControl>("idle"))) >>> id) & 1) == 0;
}

@inline function isRunning(id: u32): bool {
  assert(id < MAX_IO_WORKERS);
  const in_use = changetype<usize>(workerAt(id)) + offsetof<PgAioWorker>("in_use");
  return loadAcquire32(in_use) == WORKER_RUNNING;
}

/** Only the highest-numbered worker above the minimum leaves for want of work, one by one. */
function mayTimeOut(id: u32): bool {
  assert(id < MAX_IO_WORKERS);
  if (id < ctl().io_min_workers) return false;
  for (let other = id + 1; other < MAX_IO_WORKERS; other++) {
    if (isRunning(other)) return false;
  }
  return true;
}

/** A worker in good order gives its slot back. */
function leaveWorker(id: u32): void {
  assert(workerAt(id).io == NONE);
  takePlace(0);
  lockAcquire(worker_control_at);
  removeWorker(id);
  lockRelease(worker_control_at);
  wakeAllWorkers(); // one that was told to wait for a higher one, or missed a job meant for this
}

/** Its thread has ended; this one finishes what it had. Under the lock. */
export function loseWorker(id: u32): void {
  assert(isLocked());
  const slot = workerAt(id);
  slot.thread = my_thread;
  slot.in_use = WORKER_DEAD;
  workerControl().idle &= ~((1 as u32) << id);
  countWorkers();
}

/** Takes a worker off the books. Under the lock. */
export function removeWorker(id: u32): void {
  assert(isLocked());
  workerAt(id).in_use = WORKER_FREE;
  workerControl().idle &= ~((1 as u32) << id);
  countWorkers();
}

/** After a thread has ended, which may have been joining or leaving. */
export function recountWorkers(): void {
  assert(my_procno != NONE);
  lockAcquire(worker_control_at);
  countWorkers();
  lockRelease(worker_control_at);
}

/** Counted anew each time: a thread may have ended between its slot and a counter. */
function countWorkers(): void {
  assert(isLocked());
  let count: u32 = 0;
  for (let id: u32 = 0; id < MAX_IO_WORKERS; id++) count += <u32>isRunning(id);
  storeRelease32(controlWord(offsetof<PgAioWorkerControl>("nworkers")), count);
}

/** All look again: at the queue, at the settings, at who is the highest. */
export function wakeAllWorkers(): void {
  assert(workers_at != 0);
  for (let id: u32 = 0; id < MAX_IO_WORKERS; id++) {
    if (isRunning(id)) wake(id);
  }
}

/** All workers leave when they have executed what they have taken. */
export function pgaio_stop_workers(): i32 {
  assert(worker_control_at != 0);
  exchange32(controlWord(offsetof<PgAioWorkerControl>("stop")), 1);
  wakeAllWorkers();
  return OK;
}

/** After a setting of the pool was changed: workers and whoever starts them look at it. */
export function pgaio_wake_workers(): i32 {
  assert(worker_control_at != 0);
  wakeAllWorkers();
  ringPool();
  return OK;
}

function ringPool(): void {
  assert(worker_control_at != 0);
  const doorbell = controlWord(offsetof<PgAioWorkerControl>("pool_doorbell"));
  fetchAdd32(doorbell, 1);
  futexWake(doorbell, -1);
}

/** Takes back a request for growth: 1 if there was one. Whoever starts workers asks this. */
export function pgaio_take_growth(): i32 {
  assert(worker_control_at != 0);
  const control = workerControl();
  lockAcquire(worker_control_at);
  const asked = control.grow;
  control.grow = 0;
  lockRelease(worker_control_at);
  return asked;
}

/** The issuer's descriptor where that is good here, or one of this thread's own. */
function descriptorFor(ioh: PgAioHandle): i32 {
  assert(ioh.owner_procno >= 0);
  const common = backendAt(ioh.owner_procno).private_descriptors == 0;
  return common || ioh.owner_procno == my_procno ? ioh.fd : host_reopen(handleId(ioh));
}
