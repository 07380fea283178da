/**
 * From I/Os that end to promises that settle. Each I/O of the idiomatic API has a PgAioReturn of
 * its own in this backend's memory; the core fills it when it reclaims the handle, and counts.
 * After a call the counter says whether anything ended; only then are the pending ones looked at.
 */
import type { CoreInstance } from './core.ts';
import { AioError, type AioErrorWords } from './errors.ts';
import type { AioFile } from './file.ts';
import type { IoBuffer } from './frames.ts';
import * as layout from './layout.ts';
import { isOfPages, resultError } from './report.ts';
import { type PgAioResult, statusOf, unpackResult } from './result.ts';
import { type TargetData, type TargetWords, targetOfWords, targetWords } from './target.ts';
import { areValid, isAnyNew, type PageVerdict, unpackVerdicts } from './verdict.ts';
import type { WaitRef, WaitRefToken } from './wait-ref.ts';

/** How an I/O ended. */
export interface IoResult extends PgAioResult {
  readonly target: TargetData;
  /** Of each block, for I/Os with callback PGAIO_HCB_PAGE_READV. */
  readonly verdicts: readonly PageVerdict[];
  /** Whether each block was read and is valid: without a look at the verdicts one by one. */
  readonly allValid: boolean;
  /** Whether some block is new: added to the file and never written. */
  readonly anyNew: boolean;
  /** What PostgreSQL would say; undefined for OK. */
  readonly error: AioError | undefined;
}

/** An I/O whose resource owner was released before it ended: it ran on, nobody was told. */
export class AioAbandonedError extends AioError {}
const ABANDONED: AioErrorWords = {
  code: 'PGAIO_ABANDONED',
  message: 'the resource owner was released before the IO ended',
};
/** A wait that was given up; the I/O runs on, its frames stay in use until it ends. */
export class AioAbortError extends AioError {}
export const CLOSED: AioErrorWords = {
  code: 'PGAIO_CLOSED',
  message: 'the engine was closed before the IO ended',
};

/** What an I/O takes along from its handle. */
export interface Started {
  readonly slot: number;
  readonly handle: number;
  readonly owner: object | undefined;
  readonly buffers: readonly IoBuffer[];
  readonly file: number;
  /** Of the handle when the I/O was started. */
  readonly generation: number | bigint;
  /** Blocks whose verdicts are to be kept, 0 for none. */
  readonly verdicts: number;
}

/** What it is rejected with; undefined for what it is resolved with. */
function failureOf(outcome: IoResult | AioError): AioError | undefined {
  if (outcome instanceof AioError) return outcome;
  return outcome.status === 'ERROR' ? outcome.error : undefined;
}

// One executor for all promises of I/Os: a closure for each would be garbage with each.
let resolveCaptured: (result: IoResult) => void;
let rejectCaptured: (error: unknown) => void;
function capture(resolve: typeof resolveCaptured, reject: typeof rejectCaptured): void {
  resolveCaptured = resolve;
  rejectCaptured = reject;
}

/**
 * An I/O under way, or over. Await it for its result: ERROR rejects with AioIoError, AioPageError
 * or AioCallbackError; PARTIAL and WARNING resolve, with `error` saying what PostgreSQL would. What
 * is still staged is submitted first. It can be awaited any number of times, or never.
 */
export class PendingIo implements PromiseLike<IoResult> {
  readonly #completions: Completions;
  /** Starts an I/O that waits for a handle, blocking for one. */
  readonly #startNow: (() => void) | undefined;
  #started: Started | undefined;
  #outcome: IoResult | AioError | undefined;
  #promise: Promise<IoResult> | undefined;
  #resolve: ((result: IoResult) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;
  #ended: (() => void) | undefined;

  /** Use `handle.startReadv()`, `file.read()` and so on. */
  constructor(completions: Completions, startNow?: () => void) {
    this.#completions = completions;
    this.#startNow = startNow;
  }

  /** A reference to it. An I/O that still waits for a handle has none. */
  get ref(): WaitRef {
    if (this.#started !== undefined) return this.#completions.refTo(this.#started);
    throw new ReferenceError('this IO is still waiting for a handle');
  }
  /** For Completions: what it took along from its handle. */
  get started(): Started | undefined {
    return this.#started;
  }

  /** The result, or undefined while the I/O is not over. Makes no progress and does not throw. */
  get result(): IoResult | undefined {
    return this.#outcome instanceof AioError ? undefined : this.#outcome;
  }
  get settled(): boolean {
    return this.#outcome !== undefined;
  }

  /** Whether it is over; looks at the handle, reclaims it if so. */
  checkDone(): boolean {
    if (!this.settled && this.#started !== undefined) this.ref.checkDone();
    return this.settled;
  }

  /**
   * Blocks this thread until it is over, at most `timeoutMs`: PGAIO_TIMEOUT after that. Not for
   * event loops that others depend on.
   */
  waitSync(timeoutMs?: number): IoResult {
    if (!this.settled && this.#started === undefined) this.#startNow?.();
    this.#completions.flush();
    this.#submit();
    if (!this.settled) this.ref.waitSync(timeoutMs);
    if (!this.settled) throw timedOut(timeoutMs ?? 0);
    return this.#unwrap();
  }

  /**
   * Awaits it under a condition: until `signal` aborts (PGAIO_ABORTED) or `timeoutMs` have passed
   * (PGAIO_TIMEOUT). The I/O runs on; its frames stay in use until it ends.
   */
  within(limits: {
    readonly signal?: AbortSignal;
    readonly timeoutMs?: number;
  }): Promise<IoResult> {
    const { signal, timeoutMs } = limits;
    if (signal?.aborted === true) return Promise.reject(aborted(signal.reason));
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(aborted(signal?.reason));
      const timer =
        timeoutMs === undefined
          ? undefined
          : setTimeout(() => reject(timedOut(timeoutMs)), timeoutMs);
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#asPromise()
        .then(resolve, reject)
        .finally(() => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', onAbort);
        });
    });
  }

  // biome-ignore lint/suspicious/noThenProperty: an I/O is awaited
  then<Value = IoResult, Failure = never>(
    onResult?: ((result: IoResult) => Value | PromiseLike<Value>) | null,
    onError?: ((error: Error) => Failure | PromiseLike<Failure>) | null,
  ): Promise<Value | Failure> {
    return this.#asPromise().then(onResult, onError);
  }

  catch<Failure>(
    onError?: ((error: Error) => Failure | PromiseLike<Failure>) | null,
  ): Promise<IoResult | Failure> {
    return this.#asPromise().catch(onError);
  }
  finally(onEnd?: (() => void) | null): Promise<IoResult> {
    return this.#asPromise().finally(onEnd);
  }

  #asPromise(): Promise<IoResult> {
    if (this.#promise !== undefined) return this.#promise;
    this.#submit();
    const promise = new Promise(capture);
    this.#promise = promise;
    this.#resolve = resolveCaptured;
    this.#reject = rejectCaptured;
    if (this.#outcome !== undefined) this.#settle(this.#outcome);
    return promise;
  }
  #settle(outcome: IoResult | AioError): void {
    const error = failureOf(outcome);
    if (error !== undefined) this.#reject?.(error);
    else this.#resolve?.(outcome as IoResult);
  }

  #unwrap(): IoResult {
    const outcome = this.#outcome;
    if (outcome === undefined) throw new RangeError('the wait ended before the IO did');
    const error = failureOf(outcome);
    if (error !== undefined) throw error;
    return outcome as IoResult;
  }

  #submit(): void {
    if (this.settled || this.#started === undefined || this.#completions.flushing) return;
    this.#completions.submitIfStaged(this.#started.handle);
  }

  /** For the engine: `tell` is called once it is over, which it must not be yet. */
  whenEnded(tell: () => void): void {
    const before = this.#ended;
    this.#ended =
      before === undefined
        ? tell
        : () => {
            before();
            tell();
          };
  }
  /** For Completions: it has been started. */
  begin(started: Started): void {
    this.#started = started;
  }
  /** For Completions: it is over, for its issuer at least. */
  end(outcome: IoResult | AioError): void {
    this.#outcome = outcome;
    if (this.#promise !== undefined) this.#settle(outcome);
    this.#ended?.();
  }
}

function timedOut(timeoutMs: number): AioAbortError {
  const message = `the IO was not over after ${timeoutMs} ms; it runs on`;
  return new AioAbortError({ code: 'PGAIO_TIMEOUT', message });
}
function aborted(cause: unknown): AioAbortError {
  const message = 'the wait for the IO was aborted; it runs on';
  return new AioAbortError({ code: 'PGAIO_ABORTED', message, cause });
}

const TARGET_OFFSET = layout.PgAioReturn.fields.target_data.offset;
const NO_VERDICTS = new Uint32Array(0);

/** A result whose parts are unpacked when somebody asks: of most I/Os nobody asks for more. */
class Outcome implements IoResult {
  readonly id: number;
  readonly status: IoResult['status'];
  readonly errorData: number;
  readonly result: number;
  readonly #core: CoreInstance;
  #error: AioError | undefined;
  readonly #target: TargetWords;
  readonly #words: Uint32Array;
  readonly #flags: number;
  #verdicts: readonly PageVerdict[] | undefined;

  /** `at`: index (in units of u32) of the PgAioReturn; `words`, `flags`: of verdicts. */
  constructor(core: CoreInstance, at: number, words: Uint32Array, flags: number) {
    const { id, status, errorData, result } = unpackResult(
      core.u32[at] ?? 0,
      core.i32[at + 1] ?? 0,
    );
    this.id = id;
    this.status = status;
    this.errorData = errorData;
    this.result = result;
    this.#target = targetWords(core.u32, at + (TARGET_OFFSET >>> 2));
    this.#words = words;
    this.#flags = flags;
    this.#core = core;
    // What is said of pages depends on the result alone, and making an error takes long.
    if (status !== 'OK' && !isOfPages(id)) this.#error = this.#inWords();
  }

  get error(): AioError | undefined {
    if (this.status !== 'OK') this.#error ??= this.#inWords();
    return this.#error;
  }
  #inWords(): AioError {
    return resultError(this, this.target, this.#core.words, this.#core.procno);
  }
  get target(): TargetData {
    return targetOfWords(...this.#target);
  }
  get verdicts(): readonly PageVerdict[] {
    this.#verdicts ??= unpackVerdicts(this.#words);
    return this.#verdicts;
  }
  get allValid(): boolean {
    return this.status === 'OK' && areValid(this.#flags);
  }
  get anyNew(): boolean {
    return isAnyNew(this.#flags);
  }
}

/**
 * Cached reads end inside the submission, so that one awaited after the other would go on for ever
 * without the event loop: after so many submissions it has its turn.
 */
const TURNLESS_MOST = 64;
/**
 * Transfers submitted by one system call, at most. Devices tend to answer together what they were
 * given together: with half of the handles in one call they wait for us half of the time.
 */
const GATHER_MOST = 8;
/**
 * Of many that ended together so many are told at once: what is started upon these keeps the device
 * busy while the others are told.
 */
const TELL_MOST = GATHER_MOST;
// Of pgaio_io_start_file and pgaio_io_start_pages.
const WRITE = 1;
/** Not submitted yet. */
const STAGE = 2;
const BUFFERED = 4;
/** How pages of a file are read. */
export const howPages = ({ alignment }: AioFile): number =>
  alignment === undefined ? BUFFERED : 0;
/** Looks at the doorbell before sleeping on it: some 20 µs, what a wake-up takes. */
const SPIN_ROUNDS = 16_000;
/** With more than that in flight something always ends soon, and wake-ups are shared. */
const SPIN_PENDING = 4;
/** A sleep shorter than this makes looking before the next one worth while. */
const SHORT_MS = 0.2;

/** PgAioReturns that the I/Os of a backend need. */
export function slotCount(core: CoreInstance): number {
  return core.ctl('io_max_concurrency') + 1;
}
const NOBODY = Object.freeze({});

/**
 * The I/Os of this backend that are pending, and its ear at the doorbell. One wake-up drains all
 * that has ended; its cost is per wake-up and per I/O that ended, never per I/O pending.
 */
export class Completions {
  readonly #core: CoreInstance;
  readonly #free: number[] = [];
  /**
   * By place of their slots. Arrays and no maps: a map that entries come to and go from leaves a
   * chain of old tables behind, which keeps what they held alive until the next full collection.
   */
  readonly #pending: (PendingIo | undefined)[];
  #pendingCount = 0;
  /** Owners of handles that are handed out, by place of their slots; NOBODY for those without. */
  readonly #held: (object | undefined)[];
  readonly #firstSlot: number;
  /** I/Os that run on without anybody being told; their frames stay in use until they end. */
  #ghosts: Started[] = [];
  /** Where the core lists filled PgAioReturns, and how many that holds. */
  readonly #listAt: number;
  readonly #listMax: number;
  readonly #doorbell: number;
  readonly #keeper: { hold(): void; release(): void } | undefined;
  #waiters: (() => void)[] = [];
  #onChange: (() => void) | undefined;
  #reclaimed = 0;
  #listening: 'no' | 'soon' | 'yes' = 'no';
  #spins = true;
  /** Submissions since the event loop came round, as far as is known here. */
  #turnless = 0;
  /** Whether transfers are gathered and submitted together. */
  #gathers = false;
  /** Transfers staged since some were submitted last. */
  #gathered = 0;
  /** Whether more of what has ended is told when the microtasks have run. */
  #telling = false;
  /** Whether what is staged is going to be submitted at the end of this turn. */
  flushing = false;
  #holding = false;
  #announced = false;
  #closed = false;

  /** `firstSlot`: address of PgAioReturns, one more than the backend has handles. */
  constructor(core: CoreInstance, firstSlot: number) {
    this.#core = core;
    this.#firstSlot = firstSlot;
    const slots = slotCount(core);
    for (let i = 0; i < slots; i++) this.#free.push(firstSlot + i * layout.RETURN_BYTES);
    this.#pending = new Array(slots).fill(undefined);
    this.#held = new Array(slots).fill(undefined);
    this.#listMax = slots;
    const listBytes = Math.ceil((4 * this.#listMax) / 128) * 128;
    this.#listAt = (core.ctl('done_returns') + core.procno * listBytes) >>> 2;
    this.#doorbell = core.check(core.exports.pgaio_doorbell()) >>> 2;
    // A device of the embedder's knows itself what it waits for.
    this.#keeper = core.show('io_method') === 'host' ? undefined : core.host.keepAlive;
    const look = (): void => {
      this.#turnless = 0;
      this.#pollSome();
    };
    core.onCompleted = look;
    const stop = core.listenToRing(core.procno, look);
    if (stop === undefined) return;
    core.onLeaving(stop);
    this.#spins = false; // the doorbell tells what others completed; one's own are in the ring
    this.#gathers = true;
  }

  /** Set by the engine: how a reference is made. */
  makeRef: ((token: WaitRefToken) => WaitRef) | undefined;

  /** Set while somebody waits for a handle: an I/O has ended, or a handle was given back. */
  get onChange(): (() => void) | undefined {
    return this.#onChange;
  }
  set onChange(told: (() => void) | undefined) {
    this.#onChange = told;
    if (told !== undefined) this.#listenSoon(); // what has the handles may be told nobody here
  }

  /** A PgAioReturn for the next I/O. */
  takeSlot(): number {
    const slot = this.#free.pop();
    if (slot === undefined) throw new RangeError('more results pending than there are handles');
    return slot;
  }
  giveSlot(slot: number): void {
    this.#free.push(slot);
  }
  #placeOf(slot: number): number {
    return (slot - this.#firstSlot) / layout.RETURN_BYTES;
  }
  get #pendingIos(): PendingIo[] {
    return this.#pending.filter((io) => io !== undefined);
  }

  /** A handle is handed out whose result will come to `slot`. */
  hold(slot: number, owner: object | undefined): void {
    this.#held[this.#placeOf(slot)] = owner ?? NOBODY;
  }
  /** It was started, or given back, or its owner gave it back. */
  letGo(slot: number): void {
    const place = this.#placeOf(slot);
    if (this.#held[place] === undefined) return;
    this.#held[place] = undefined;
    this.#changed();
  }

  /** `io` has been started. */
  add(io: PendingIo, started: Started): void {
    this.#begin(io, started);
    this.poll();
    if (this.#busy) this.#listenSoon();
  }
  #begin(io: PendingIo, started: Started): void {
    io.begin(started);
    for (const buffer of started.buffers) buffer.frames.use();
    this.#pending[this.#placeOf(started.slot)] = io;
    this.#pendingCount++;
    this.#settle(started.slot); // a device may have ended it inside submit
  }

  /**
   * Starts a transfer of one buffer; undefined when no handle is idle. With rings those that one
   * turn of the microtasks starts are submitted a few at a time, the last of them at its end, and
   * looked at once: fewer system calls than transfers.
   */
  startFile(
    file: AioFile,
    writes: boolean,
    buffer: IoBuffer,
    offset: number,
  ): PendingIo | undefined {
    const { pgaio_io_start_file } = this.#core.exports;
    const { address, byteLength } = buffer;
    const how = (writes ? WRITE : 0) | (this.#gathers ? STAGE : 0);
    const slot = this.takeSlot();
    const { fd, number } = file;
    const handle = pgaio_io_start_file(slot, how, fd, number, address, byteLength, offset);
    return this.#startedAs(handle, slot, file, buffer, 0);
  }

  /** The same for a read of `blocks` pages, each looked at; the target lies at `targetAt`. */
  startPages(
    file: AioFile,
    buffer: IoBuffer,
    offset: number,
    targetAt: number,
    blocks: number,
  ): PendingIo | undefined {
    const { pgaio_io_start_pages } = this.#core.exports;
    const { address, byteLength } = buffer;
    const how = howPages(file) | (this.#gathers ? STAGE : 0);
    const slot = this.takeSlot();
    const { fd, number } = file;
    const handle = pgaio_io_start_pages(
      slot,
      how,
      fd,
      number,
      targetAt,
      address,
      byteLength,
      offset,
    );
    return this.#startedAs(handle, slot, file, buffer, blocks);
  }

  /** The I/O of a handle that one call has started, if it was a handle and not 0 or an error. */
  #startedAs(
    handle: number,
    slot: number,
    file: AioFile,
    buffer: IoBuffer,
    verdicts: number,
  ): PendingIo | undefined {
    if (handle <= 0) {
      this.giveSlot(slot);
      this.#core.check(handle);
      this.poll();
      return undefined;
    }
    this.#core.check(handle);
    const io = new PendingIo(this);
    this.#begin(io, {
      slot,
      handle,
      owner: undefined,
      buffers: [buffer],
      file: file.number,
      generation: this.#generationOf(handle, slot),
      verdicts,
    });
    if (this.#gathers) this.#gather();
    else {
      this.poll();
      if (this.#busy) this.#listenSoon();
    }
    return io;
  }

  /** Generation an I/O was started with; its handle may have been reclaimed inside start. */
  #generationOf(handle: number, slot: number): number | bigint {
    const now = this.#core.generationAt(handle);
    const word = this.#core.u32[slot >>> 2] ?? 0;
    if (statusOf(word) === layout.PGAIO_RS_UNKNOWN) return now;
    return typeof now === 'bigint' ? now - 1n : now - 1;
  }

  /** Another transfer is staged. */
  #gather(): void {
    if (++this.#gathered >= GATHER_MOST) this.#submitGathered();
    if (this.flushing) return;
    this.flushing = true;
    const { turn } = this.#core.host;
    if (++this.#turnless < TURNLESS_MOST || turn === undefined) {
      queueMicrotask(this.#flush);
      return;
    }
    this.#turnless = 0;
    void turn().then(this.#flush);
  }
  readonly #flush = (): void => {
    if (!this.flushing) return;
    this.flushing = false;
    if (this.#closed || this.#core.closed || !this.#submitGathered()) return;
    this.#orFailAll(() => this.#pollSome());
  };
  #submitGathered(): boolean {
    this.#gathered = 0;
    return this.#orFailAll(() => this.#core.check(this.#core.exports.pgaio_submit_staged()));
  }
  /** What cannot be told to a caller is told to all that is pending; false then. */
  #orFailAll(act: () => void): boolean {
    try {
      act();
      return true;
    } catch (error) {
      if (!(error instanceof AioError)) throw error;
      for (const io of this.#pendingIos) this.#end(io, error, false);
      return false;
    }
  }
  /** Submits what is to be submitted at the end of this turn, now. */
  flush(): void {
    this.#flush();
  }

  get #busy(): boolean {
    return this.#pendingCount + this.#ghosts.length > 0;
  }
  /**
   * Whether the doorbell may ring: also for what a dead thread left this backend to clean up, and
   * while somebody waits for I/Os that are not told here, as those of read streams.
   */
  get #hears(): boolean {
    if (this.#busy || this.#core.estates > 0) return true;
    const waited = this.#waiters.length > 0 || this.onChange !== undefined;
    return waited && this.#core.inFlight > 0;
  }
  /** The process stays alive while an I/O is in flight; one that is only staged does not count. */
  #updateHold(): void {
    const alive = !this.#closed && this.#core.inFlight > 0;
    if (alive === this.#holding) return;
    this.#holding = alive;
    if (alive) this.#keeper?.hold();
    else this.#keeper?.release();
  }

  /** After a call that may have ended I/Os: settles those that are over. */
  poll(): void {
    if (this.#closed || this.#core.closed) return;
    this.#core.check(this.#core.exports.pgaio_drain_completed());
    this.#settleFilled();
  }
  /**
   * After a wake-up: the same a few at a time, and whoever awaits them goes on in between. The rest
   * may have left the kernel's ring already, which would wake nobody: it is looked at in any case.
   */
  #pollSome(): void {
    if (this.#telling || this.#closed || this.#core.closed) return;
    const { afterMicrotasks } = this.#core.host;
    if (afterMicrotasks === undefined || !this.#gathers) this.poll();
    else {
      const told = this.#core.check(this.#core.exports.pgaio_drain_some(TELL_MOST));
      this.#telling = told === TELL_MOST;
      if (this.#telling) afterMicrotasks(this.#tellMore);
      this.#settleFilled();
    }
    if (!this.#telling && this.#hears) this.#listenSoon();
  }
  readonly #tellMore = (): void => {
    this.#telling = false;
    this.#orFailAll(() => this.#pollSome());
  };

  #settleFilled(): void {
    const { exports } = this.#core;
    const { reclaimed } = this.#core;
    if (reclaimed !== this.#reclaimed) {
      this.#reclaimed = reclaimed;
      if (this.#waiters.length > 0 || this.onChange !== undefined) this.#changed();
    }
    if (this.#ghosts.length > 0) this.#layGhosts();
    const filled = exports.pgaio_take_returns();
    this.#updateHold();
    if (filled === 0) return;
    // Settling runs whatever awaits, which may start more: the list is read before.
    const slots = filled > this.#listMax ? this.#pendingSlots : this.#filled(filled);
    for (const slot of slots) this.#settle(slot);
  }

  get #pendingSlots(): number[] {
    return this.#pendingIos.map(({ started }) => started?.slot ?? 0);
  }
  #filled(count: number): number[] {
    const slots: number[] = [];
    for (let i = 0; i < count; i++) slots.push(this.#core.u32[this.#listAt + i] ?? 0);
    return slots;
  }

  /** A reference to an I/O that was started. */
  refTo({ handle, generation }: Started): WaitRef {
    if (this.makeRef === undefined) throw new RangeError('nobody makes references here');
    return this.makeRef({ index: this.#core.idOf(handle), generation: BigInt(generation) });
  }

  #layGhosts(): void {
    const over = this.#ghosts.filter((ghost) => this.refTo(ghost).isDone());
    if (over.length === 0) return;
    this.#ghosts = this.#ghosts.filter((ghost) => !over.includes(ghost));
    for (const { buffers } of over) for (const { frames } of buffers) frames.unuse();
    this.#changed();
  }
  #settle(slot: number): void {
    const io = this.#pending[this.#placeOf(slot)];
    const word = this.#core.u32[slot >>> 2] ?? 0;
    if (io?.started === undefined || statusOf(word) === layout.PGAIO_RS_UNKNOWN) return;
    this.#end(io, this.#outcomeOf(io.started), false);
  }

  /** The I/Os of a resource owner that is gone will never be told; its handles are given back. */
  abandon(owner: object): void {
    this.poll();
    for (const [place, holder] of this.#held.entries()) {
      if (holder !== owner) continue;
      const slot = this.#firstSlot + place * layout.RETURN_BYTES;
      this.letGo(slot);
      this.giveSlot(slot);
    }
    for (const io of this.#pendingIos) {
      if (io.started?.owner === owner) this.#end(io, new AioAbandonedError(ABANDONED), true);
    }
  }

  /** The backend has left: what was in flight has ended, and nothing will be told any more. */
  close(): void {
    this.#closed = true;
    for (const io of this.#pendingIos) this.#end(io, new AioAbandonedError(CLOSED), false);
    this.#ghosts = [];
    this.#updateHold();
    if (this.#listening === 'yes') Atomics.notify(this.#core.i32, this.#doorbell);
    this.#changed();
  }

  /** Whether any I/O of this backend is pending on file number `file`. */
  usesFile(file: number): boolean {
    const started = this.#pendingIos.map((io) => io.started);
    return [...started, ...this.#ghosts].some((io) => io?.file === file);
  }

  /** Resolves when the next I/O ends. */
  next(): Promise<void> {
    this.#listenSoon();
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
    });
  }

  submitIfStaged(handle: number): void {
    const { exports } = this.#core;
    if (this.#core.check(exports.pgaio_io_get_state(handle)) < layout.PGAIO_HS_SUBMITTED) {
      this.#core.check(exports.pgaio_submit_staged());
    }
    this.poll();
  }

  /** When the caller gives the thread back: once for all that was started meanwhile. */
  #listenSoon(): void {
    if (this.#listening !== 'no' || !this.#core.host.shared) return;
    this.#listening = 'soon';
    queueMicrotask(() => this.#listen());
  }

  /** Sleeps on the doorbell while its word is what it was when the core looked last. */
  #listen(): void {
    this.#listening = 'no';
    if (this.#closed || this.#core.closed || !this.#hears) return;
    const { exports, i32 } = this.#core;
    if (this.#spins && this.#busy && this.#pendingCount <= SPIN_PENDING) {
      this.#spins = exports.pgaio_spin_completed(SPIN_ROUNDS) > 0;
      this.poll();
      if (!this.#hears) return;
    }
    const rung = this.#core.check(exports.pgaio_arm_doorbell());
    const wait = rung === 0 ? undefined : Atomics.waitAsync(i32, this.#doorbell, rung);
    if (wait?.async !== true) {
      this.poll();
      this.#listenSoon();
      return;
    }
    this.#listening = 'yes';
    const since = performance.now();
    wait.value.then(() => {
      this.#listening = 'no';
      this.#spins = !this.#gathers && performance.now() - since < SHORT_MS;
      this.poll();
      if (this.#hears) this.#listenSoon();
    });
  }

  /** `runsOn`: the I/O itself is not over, only nobody will be told when it is. */
  #end(io: PendingIo, outcome: IoResult | AioError, runsOn: boolean): void {
    const { started } = io;
    if (started === undefined) return;
    this.#pending[this.#placeOf(started.slot)] = undefined;
    this.#pendingCount--;
    if (runsOn) this.#ghosts.push(started);
    this.giveSlot(started.slot);
    if (!runsOn) for (const { frames } of started.buffers) frames.unuse();
    io.end(outcome);
    if (runsOn) this.#layGhosts();
    this.#changed();
  }

  /** Whoever waits for a handle is told in a turn of its own, when all that ended is settled. */
  #changed(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
    if (this.onChange === undefined || this.#announced) return;
    this.#announced = true;
    queueMicrotask(() => {
      this.#announced = false;
      this.onChange?.();
    });
  }

  #outcomeOf({ slot, handle, verdicts }: Started): Outcome {
    const core = this.#core;
    if (verdicts === 0) return new Outcome(core, slot >>> 2, NO_VERDICTS, 0);
    const { exports } = core;
    // They lie in the handle's slice until its next I/O, so they are taken now.
    const at = core.check(exports.pgaio_io_get_page_verdicts(handle)) >>> 2;
    const flags = core.check(exports.pgaio_io_get_page_flags(handle, verdicts));
    return new Outcome(core, slot >>> 2, core.u32.slice(at, at + 2 * verdicts), flags);
  }
}
