/** Callbacks written in TypeScript, over objects instead of addresses. */
import type { CoreInstance } from './core.ts';
import type { CoreCallbacks } from './instance.ts';
import * as layout from './layout.ts';
import { memberOf, OP_NAMES, type OpName, type StatusName } from './names.ts';
import { packResult, unpackResult } from './result.ts';
import { readTargetData, type TargetData } from './target.ts';

/** The I/O a callback runs for. Valid during the callback only. */
export interface CallbackIo {
  readonly id: number;
  readonly generation: bigint;
  readonly op: OpName;
  readonly target: TargetData;
  /** Bytes asked for. */
  readonly length: number;
  /** Handle data, by value. */
  readonly data: readonly bigint[];
}

/** The result as the callbacks before left it, to be changed in place. */
export interface CallbackResult {
  /** PARTIAL, WARNING or ERROR take this callback's words; OK is what it starts from. */
  status: StatusName;
  /** 23 bits for this callback's `report`. */
  errorData: number;
  result: number;
}

/**
 * A callback, ids 32 .. 63. It needs one of the completions. Completions run inside the engine and
 * may run in any thread: they must not acquire, start or wait (PGAIO_CRITICAL). A phase that throws
 * turns the I/O into an ERROR with PGAIO_CALLBACK_THREW; the engine goes on.
 */
export interface AioCallback {
  /** Issuer, before the I/O is staged. May start other I/Os. */
  stage?(io: CallbackIo, data: number): void;
  /** Whoever completes the I/O. */
  completeShared?(io: CallbackIo, result: CallbackResult, data: number): void;
  /** Issuer, when it takes the handle back. What it changes, only the issuer sees. */
  completeLocal?(io: CallbackIo, result: CallbackResult, data: number): void;
  /** Words for results with this callback's id. */
  report?(errorData: number, result: number): string;
}

/** The same over addresses, for the core. */
export function overAddresses(
  core: CoreInstance,
  id: number,
  callback: AioCallback,
): CoreCallbacks {
  const complete =
    (phase: NonNullable<AioCallback['completeShared']>) =>
    (ioh: number, result: number, cbData: number): void => {
      const place = new ResultInPlace(core, id, result);
      phase(ioOf(core, ioh), place, cbData);
    };
  const { stage, completeShared, completeLocal, report } = callback;
  return {
    ...(stage && { stage: (ioh, cbData) => stage.call(callback, ioOf(core, ioh), cbData) }),
    ...(completeShared && { complete_shared: complete(completeShared.bind(callback)) }),
    ...(completeLocal && { complete_local: complete(completeLocal.bind(callback)) }),
    ...(report && { report: report.bind(callback) }),
  };
}

/** Reads and writes the PgAioResult where the core keeps it. */
class ResultInPlace implements CallbackResult {
  readonly #core: CoreInstance;
  readonly #id: number;
  readonly #at: number;

  constructor(core: CoreInstance, id: number, at: number) {
    this.#core = core;
    this.#id = id;
    this.#at = at >>> 2;
  }

  get status(): StatusName {
    return this.#unpacked().status;
  }
  set status(status: StatusName) {
    this.#core.u32[this.#at] = packResult(this.#id, status, this.errorData);
  }
  get errorData(): number {
    return this.#unpacked().errorData;
  }
  set errorData(errorData: number) {
    this.#core.u32[this.#at] = packResult(this.#id, this.status, errorData);
  }
  get result(): number {
    return this.#unpacked().result;
  }
  set result(result: number) {
    this.#core.i32[this.#at + 1] = result;
  }

  #unpacked() {
    return unpackResult(this.#core.u32[this.#at] ?? 0, this.#core.i32[this.#at + 1] ?? 0);
  }
}

const FIELDS = layout.PgAioHandle.fields;

function ioOf(core: CoreInstance, at: number): CallbackIo {
  const u32 = (offset: number): number => core.u32[(at + offset) >>> 2] ?? 0;
  return {
    id: core.check(core.exports.pgaio_io_get_id(at)),
    generation: core.u64[(at + FIELDS.generation.offset) >>> 3] ?? 0n,
    op: memberOf(OP_NAMES, core.u8[at + FIELDS.op.offset] ?? 0),
    target: readTargetData(core.u32, (at + FIELDS.target_data.offset) >>> 2),
    length: u32(FIELDS.length.offset),
    data: dataOf(core, at),
  };
}

function dataOf(core: CoreInstance, at: number): bigint[] {
  const count = core.u8[at + FIELDS.handle_data_len.offset] ?? 0;
  if (count === 0) return [];
  const from = core.check(core.exports.pgaio_io_get_handle_data(at)) >>> 3;
  return Array.from(core.u64.subarray(from, from + count));
}
