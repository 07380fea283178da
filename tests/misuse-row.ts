/** A row of the table of misuse, and what rows are made of. */
import * as layout from '../bindings/layout.ts';
import type { StateName } from '../bindings/names.ts';
import {
  type Bench,
  type Io,
  numberedBlocks,
  type OpenOptions,
  type Restriction,
  rejection,
} from './harness.ts';

type Act = () => unknown;

export interface Row {
  /** Ends a sentence that begins with the name of the suite. */
  readonly sentence: string;
  readonly code: string;
  readonly message: string | ((bench: Bench) => string);
  readonly sqlstate?: string;
  readonly detail?: string;
  /** Handle and state the error names; none if it is about no handle. */
  readonly names?: readonly [io: number, state: StateName];
  readonly settings?: OpenOptions;
  readonly only?: Restriction;
  /** The refused call has an effect on the engine's memory all the same. */
  readonly effects?: true;
  /** Prepares everything and gives back the call that is refused. */
  readonly arrange: (bench: Bench) => Act | Promise<Act>;
  /** Ends what `arrange` began. */
  readonly repair?: (bench: Bench) => void;
}

export const HELD = [0, 'HANDED_OUT'] as const;
export const IDLE = [0, 'IDLE'] as const;
export const STAGED = [0, 'STAGED'] as const;
export const SUBMITTED = [0, 'SUBMITTED'] as const;

/** Gives back what is handed out. */
export function releaseHeld(bench: Bench): void {
  const id = bench.backend('handed_out_io');
  if (id !== layout.NONE) bench.pg.pgaio_io_release(bench.handleAt(id));
}

/** Ends the batch and all I/O of the device. */
export function drain(bench: Bench): void {
  if (bench.backend('in_batchmode') === 1) bench.pg.pgaio_exit_batchmode();
  bench.endAll();
  releaseHeld(bench);
}

/** A handle that has a target and one iovec. */
export function defined(bench: Bench): Io {
  return bench.define({ fd: bench.file('data', numberedBlocks(4)) });
}
export function staged(bench: Bench): Io {
  bench.pg.pgaio_enter_batchmode();
  return submitted(bench);
}
export function submitted(bench: Bench): Io {
  const io = defined(bench);
  bench.start(io);
  return io;
}
/** The address of a handle that is idle. */
export const idle = (bench: Bench) => bench.handleAt(0);

/** A reference to handle `id` as it is now, without its having been handed out. */
export function refTo(bench: Bench, id: number, into = bench.pg.alloc(16)): number {
  bench.view.setUint32(into, id, true);
  bench.view.setUint32(into + 4, Number(bench.generation(id) >> 32n), true);
  bench.view.setUint32(into + 8, Number(bench.generation(id) & 0xffffffffn), true);
  return into;
}

/** A PgAioReturn made by hand. */
export function returnOf(bench: Bench, word: number): readonly [result: number, target: number] {
  const at = bench.pg.alloc(layout.RETURN_BYTES);
  bench.view.setUint32(at, word, true);
  return [at, at + layout.PgAioReturn.fields.target_data.offset];
}

/** The call that ends with what a promise was rejected with. */
export const rejected = (promise: Promise<unknown>) =>
  rejection(promise).then((error) => () => {
    throw error;
  });
