/**
 * Records an engine transition by transition. It needs the core of target `sim`, which calls
 * `sim.point` before each atomic operation: whenever the trace ring has one more entry by then, all
 * that lies before the callers' memory is copied. So each step holds the memory as it was right
 * after one handle changed its state, in whichever thread that was.
 */
import {
  CTL_AT,
  HANDLE_SHIFT,
  PgAioCtl,
  PgAioTraceEntry,
  TRACE_BYTES,
} from '../../bindings/layout.ts';

/** The engine's memory after a transition. */
export interface Step {
  /** Number of the newest entry in the trace ring, counted from 1. */
  readonly seq: number;
  /** Thread that recorded it. */
  readonly thread: number;
  /** From address 0 to where the callers' memory begins. */
  readonly bytes: Uint8Array;
}

const word = (field: keyof typeof PgAioCtl.fields): number =>
  (CTL_AT + PgAioCtl.fields[field].offset) >>> 2;
const TRACE_NEXT = word('trace_next');
const TRACE_SIZE = word('trace_size');
const TRACE = word('trace');
const LOCAL = word('local');
const SEQ = PgAioTraceEntry.fields.seq.offset;
const IO = PgAioTraceEntry.fields.io.offset;
const TO = PgAioTraceEntry.fields.to.offset;
const HANDLES = word('io_handles');
const NS_PER_MS = 1e6;

export class Recorder {
  readonly #i32: Int32Array;
  readonly #u8: Uint8Array;
  readonly #thread: number;
  readonly #onStep: (step: Step) => void;
  #seen = 0;

  constructor(memory: WebAssembly.Memory, thread: number, onStep: (step: Step) => void) {
    this.#i32 = new Int32Array(memory.buffer);
    this.#u8 = new Uint8Array(memory.buffer);
    this.#thread = thread;
    this.#onStep = onStep;
  }

  /** What the module imports beside the core's own imports. */
  imports(): WebAssembly.Imports {
    return {
      sim: {
        point: () => this.look(),
        wait: (at: number, expected: number, timeoutNs: bigint) =>
          this.#wait(at, expected, timeoutNs),
        wake: (at: number, count: number) =>
          Atomics.notify(this.#i32, at >>> 2, count < 0 ? Number.POSITIVE_INFINITY : count),
      },
    };
  }

  /** Takes a step if there was a transition since the last. */
  look(): void {
    const seq = Atomics.load(this.#i32, TRACE_NEXT);
    if (seq === this.#seen || seq === 0) return;
    const size = this.#i32[TRACE_SIZE] ?? 1;
    const at = (this.#i32[TRACE] ?? 0) + ((seq - 1) & (size - 1)) * TRACE_BYTES;
    if (Atomics.load(this.#i32, (at + SEQ) >>> 2) !== seq) return; // it is being written
    const handle = (this.#i32[HANDLES] ?? 0) + ((this.#i32[(at + IO) >>> 2] ?? 0) << HANDLE_SHIFT);
    // A transition is traced first and made then.
    if (Atomics.load(this.#i32, handle >>> 2) !== this.#u8[at + TO]) return;
    this.#seen = seq;
    const bytes = this.#u8.slice(0, this.#i32[LOCAL] ?? 0);
    this.#onStep({ seq, thread: this.#thread, bytes });
  }

  #wait(at: number, expected: number, timeoutNs: bigint): number {
    this.look();
    const ms = timeoutNs < 0n ? undefined : Number(timeoutNs) / NS_PER_MS;
    const end = Atomics.wait(this.#i32, at >>> 2, expected, ms);
    return ENDS.indexOf(end);
  }
}
/** What atomic.wait answers. */
const ENDS = ['ok', 'not-equal', 'timed-out'];
