/**
 * From I/Os that end to promises that settle. Each I/O of the idiomatic API has a PgAioReturn of
 * its own in this backend's memory; the core fills it when it reclaims the handle, and counts.
 * After a call the counter says whether anything ended; only then are the pending ones looked at.
 */
import type { CoreInstance } from './core.ts';
import { AioError, type AioErrorWords } from './errors.ts';
import type { IoBuffer } from './frames.ts';
import * as layout from './layout.ts';
import { resultError } from './report.ts';
import { type PgAioResult, statusOf, unpackResult } from './result.ts';
import { readTargetData, type TargetData } from './target.ts';
import { type PageVerdict, unpackVerdict } from './verdict.ts';
import type { WaitRef } from './wait-ref.ts';

/** How an I/O ended. */
export interface IoResult extends PgAioResult {
  readonly target: TargetData;
  /** Of each block, for I/Os with callback PGAIO_HCB_PAGE_READV. */
  readonly verdicts: readonly PageVerdict[];
  /** What PostgreSQL would say; undefined for OK. */
  readonly error: AioError | undefined;
}

/** An I/O whose resource owner was released before it ended: it ran on, nobody was told. */
export class AioAbandonedError extends AioError {}
const ABANDONED: AioErrorWords = {
  code: 'PGAIO_ABANDONED',
  message: 'the resource owner was released before the IO ended',
};
const CLOSED: AioErrorWords = {
  code: 'PGAIO_CLOSED',
  message: 'the engine was closed before the IO ended',
};

/** What an I/O takes along from its handle. */
export interface Started {
  readonly slot: number;
  readonly handle: number;
  readonly owner: object | undefined;
  readonly buffers: readonly IoBuffer[];
  readonly ref: WaitRef;
  /** Blocks whose verdicts are to be kept, 0 for none. */
  readonly verdicts: number;
}

/**
 * An I/O under way, or over. Await it for its result: ERROR rejects with AioIoError, AioPageError
 * or AioCallbackError; PARTIAL and WARNING resolve, with `error` saying what PostgreSQL would. What
 * is still staged is submitted first. It can be awaited any number of times, or never.
 */
export class PendingIo implements PromiseLike<IoResult> {
  readonly ref: WaitRef;
  readonly started: Started;
  readonly #completions: Completions;
  #outcome: IoResult | AioError | undefined;
  #promise: Promise<IoResult> | undefined;
  #settle: (() => void) | undefined;

  constructor(completions: Completions, started: Started) {
    this.#completions = completions;
    this.started = started;
    this.ref = started.ref;
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
    if (!this.settled) this.ref.checkDone();
    return this.settled;
  }

  /** Blocks this thread until it is over. Not for event loops that others depend on. */
  waitSync(): IoResult {
    if (!this.settled) {
      this.#completions.submitIfStaged(this.started.handle);
      if (!this.settled) this.ref.waitSync();
    }
    return this.#unwrap();
  }

  // biome-ignore lint/suspicious/noThenProperty: an I/O is awaited
  then<Value = IoResult, Failure = never>(
    onResult?: ((result: IoResult) => Value | PromiseLike<Value>) | null,
    onError?: ((error: unknown) => Failure | PromiseLike<Failure>) | null,
  ): Promise<Value | Failure> {
    return this.#asPromise().then(onResult, onError);
  }

  #asPromise(): Promise<IoResult> {
    if (this.#promise !== undefined) return this.#promise;
    if (!this.settled) this.#completions.submitIfStaged(this.started.handle);
    this.#promise = new Promise((resolve, reject) => {
      this.#settle = () => {
        try {
          resolve(this.#unwrap());
        } catch (error) {
          reject(error);
        }
      };
    });
    if (this.settled) this.#settle?.();
    return this.#promise;
  }

  #unwrap(): IoResult {
    const outcome = this.#outcome;
    if (outcome === undefined) throw new RangeError('the wait ended before the IO did');
    if (outcome instanceof AioError) throw outcome;
    if (outcome.status === 'ERROR' && outcome.error !== undefined) throw outcome.error;
    return outcome;
  }

  /** For Completions. */
  end(outcome: IoResult | AioError): void {
    this.#outcome = outcome;
    for (const buffer of this.started.buffers) buffer.frames.unuse();
    this.#settle?.();
  }
}

const RECLAIMED = layout.PgAioBackend.fields.reclaimed.offset;
const TARGET_OFFSET = layout.PgAioReturn.fields.target_data.offset;

export class Completions {
  readonly #core: CoreInstance;
  readonly #free: number[] = [];
  readonly #pending = new Set<PendingIo>();
  readonly #reclaimed: number;
  #seen: number;
  #waiters: (() => void)[] = [];

  /** `slots`: addresses of PgAioReturns, one more than the backend has handles. */
  constructor(core: CoreInstance, slots: readonly number[]) {
    this.#core = core;
    this.#free.push(...slots);
    this.#reclaimed = (core.backend + RECLAIMED) >>> 2; // the low word: only change matters
    this.#seen = core.u32[this.#reclaimed] ?? 0;
    core.onCompleted = () => this.poll();
  }

  get inFlight(): number {
    return this.#pending.size;
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

  add(started: Started): PendingIo {
    const io = new PendingIo(this, started);
    for (const buffer of started.buffers) buffer.frames.use();
    this.#pending.add(io);
    this.poll();
    return io;
  }

  /** After a call that may have ended I/Os: settles those that are over. */
  poll(): void {
    const now = this.#core.u32[this.#reclaimed] ?? 0;
    if (now === this.#seen) return;
    this.#seen = now;
    for (const io of this.#pending) {
      const at = io.started.slot >>> 2;
      const word = this.#core.u32[at] ?? 0;
      if (statusOf(word) !== layout.PGAIO_RS_UNKNOWN) this.#end(io, this.#read(io, word));
    }
  }

  /** The I/Os of a resource owner that is gone will never be told. */
  abandon(owner: object): void {
    this.poll();
    for (const io of this.#pending) {
      if (io.started.owner === owner) this.#end(io, new AioAbandonedError(ABANDONED));
    }
  }

  /** The backend has left: what was in flight has ended, but not for these. */
  close(): void {
    this.poll();
    for (const io of this.#pending) this.#end(io, new AioAbandonedError(CLOSED));
  }

  /** Resolves when the next I/O ends. */
  next(): Promise<void> {
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

  #end(io: PendingIo, outcome: IoResult | AioError): void {
    this.#pending.delete(io);
    this.giveSlot(io.started.slot);
    io.end(outcome);
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }

  #read(io: PendingIo, word: number): IoResult {
    const core = this.#core;
    const at = io.started.slot >>> 2;
    const result = unpackResult(word, core.i32[at + 1] ?? 0);
    const target = readTargetData(core.u32, at + (TARGET_OFFSET >>> 2));
    const fine = result.status === 'OK';
    return {
      ...result,
      target,
      verdicts: this.#verdicts(io),
      error: fine ? undefined : resultError(result, target, core.words, core.procno),
    };
  }

  /** They lie in the handle's slice until its next I/O, so they are taken now. */
  #verdicts(io: PendingIo): PageVerdict[] {
    const { verdicts, handle } = io.started;
    if (verdicts === 0) return [];
    const at = this.#core.check(this.#core.exports.pgaio_io_get_page_verdicts(handle)) >>> 2;
    return Array.from({ length: verdicts }, (_, i) =>
      unpackVerdict(this.#core.u32[at + 2 * i] ?? 0, this.#core.u32[at + 2 * i + 1] ?? 0),
    );
  }
}
