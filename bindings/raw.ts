/**
 * The interface under PostgreSQL's own names: functions over addresses in `core.memory`, for code
 * that is written like PostgreSQL's. Structures are in layout.ts. What PostgreSQL would raise is
 * thrown as AioUsageError, AioIoError or AioPageError with its words; levels below ERROR go to
 * `onReport`.
 *
 * An address is a number of bytes from the start of the memory, 0 stands for NULL. Results, wait
 * references and page data lie in callers' memory: `alloc` gives of this backend's own area,
 * `pgaio_frames_alloc` gives page frames.
 */

import type { CoreInstance } from './core.ts';
import type { CoreExports } from './core-exports.ts';
import { AioUnavailableError } from './errors.ts';
import type { CoreCallbacks } from './instance.ts';
import * as layout from './layout.ts';
import { nameOf, OP_NAMES, STATE_NAMES, TARGET_NAMES } from './names.ts';
import { badNumber } from './numbers.ts';
import type { Settings } from './settings.ts';
import { describeTarget, readTargetData } from './target.ts';

/** Address in the memory of a core. */
export type Address = number;

/** Exports that raw passes on under their own names, with errors thrown. */
type Plain = Omit<
  CoreExports,
  | 'pgaio_error_detail'
  | 'pgaio_local_memory'
  | 'pgaio_get_guc'
  | 'pgaio_set_guc'
  | 'pgaio_register_host_callback'
  | 'pgaio_io_get_iovec'
  | 'pgaio_io_get_iovec_max'
  | 'pgaio_io_get_handle_data'
  | 'pgaio_io_get_handle_data_len'
  | 'pgaio_result_report'
  | 'AtEOXact_Aio'
  | 'ResourceOwnerRelease'
  | 'pgaio_wref_valid'
  | 'pgaio_wref_is_done'
  | 'pgaio_wref_check_done'
  | 'pgaio_have_staged'
  | 'pgaio_io_has_target'
  | 'pgaio_wref_wait_timed'
  | 'pgaio_set_thread'
  | 'pgaio_init_worker'
  | 'pgaio_worker_main'
  | 'pgaio_shutdown'
  | 'read_stream_set_callback'
  | 'read_stream_end'
  | 'pgaio_init_backend'
>;

/** A backend of the engine, attached. `shutdown` with pgaio_shutdown. */
export interface RawCore extends Plain {
  readonly memory: WebAssembly.Memory;
  /** This backend's number (MyProcNumber). */
  readonly procno: number;
  /** Bytes of this backend's area, aligned to 8 and zeroed: for PgAioReturn, PgAioWaitRef, data. */
  alloc(bytes: number): Address;
  /** Frees all that was allocated after the allocation at `mark`, and it. */
  reset(mark?: Address): void;
  show(name: string): string;
  set(name: string, value: unknown): void;

  /** Writes the address of the handle's iovecs at `iov`; their number, io_max_combine_limit. */
  pgaio_io_get_iovec(ioh: Address, iov: Address): number;
  /** Writes the number of entries at `len` (u8) unless it is 0; address of the handle's data. */
  pgaio_io_get_handle_data(ioh: Address, len: Address): Address;
  /** Registers TypeScript functions as callback 32 .. 63. */
  pgaio_register_host_callback(id: number, callbacks: CoreCallbacks): void;
  /**
   * Asks `next` for each block; 4294967295 (InvalidBlockNumber) ends the stream. `data`: address of
   * room for the block's data, or 0. A throw is PGAIO_STREAM_CALLBACK.
   */
  read_stream_set_callback(stream: Address, next: (data: Address) => number): void;
  /** Ends the stream: 0, or READ_STREAM_BLOCKED. */
  read_stream_end(stream: Address, nowait: number): number;
  pgaio_io_get_state_name(ioh: Address): string;
  pgaio_io_get_op_name(ioh: Address): string;
  pgaio_io_get_target_name(ioh: Address): string;
  /** As pg_aios shows it: `blocks 4..7 in file "base/5/16384"`. */
  pgaio_io_get_target_description(ioh: Address): string;
  pgaio_io_has_target(ioh: Address): boolean;
  pgaio_wref_valid(iow: Address): boolean;
  /** Whether the I/O is over, without any effect. PostgreSQL has no such function. */
  pgaio_wref_is_done(iow: Address): boolean;
  /** Whether the I/O is over; if so, and it is this backend's, it is reclaimed. */
  pgaio_wref_check_done(iow: Address): boolean;
  pgaio_have_staged(): boolean;
  /** Waits about `ms` milliseconds at the most; whether the I/O is over. */
  pgaio_wref_wait_timed(iow: Address, ms: number): boolean;
  /** What attach has done: a second time is PGAIO_BACKEND_TWICE. */
  pgaio_init_backend(): number;
  /** Leaves: waits for I/O in flight, gives back what is held, frees the slot. */
  pgaio_shutdown(): void;
  AtEOXact_Aio(isCommit: boolean): void;
  ResourceOwnerRelease(owner: Address, isCommit: boolean): void;
  /** Throws at ERROR and above, reports below. `result`: of a PgAioResult or PgAioReturn. */
  pgaio_result_report(result: Address, targetData: Address, elevel: number): void;
}

/** Options of attach: settings under their PostgreSQL names, and what a host may fill in. */
export interface RawOptions extends Settings {
  /** Memory of another instance, to join; or one of AioShmemSize() bytes of zeros. */
  readonly memory?: WebAssembly.Memory;
}

const ALIGN = 8;

/** The raw face of an instance. */
export function rawOver(core: CoreInstance): RawCore {
  const calls = plain(core);
  return {
    ...calls,
    ...allocator(core),
    ...changed(core, calls),
    memory: core.memory,
    procno: core.procno,
    show: (name) => core.show(name),
    set: (name, value) => core.set(name, value),
  };
}

type Call = (...args: number[]) => number;
type Kind = 'u32' | 'i32' | 'f64';

/** Wraps each export so that error numbers are thrown and reports delivered. */
function plain(core: CoreInstance): CoreExports {
  const calls = Object.entries(layout.EXPORTS).map(([name, { parameters }]) => {
    const call = core.exports[name as keyof CoreExports] as Call;
    return [name, wrap(core, call, parameters)];
  });
  return Object.fromEntries(calls) as unknown as CoreExports;
}

/**
 * WebAssembly cuts a number to 32 bits, so that 2^32 more than an address would be that address.
 * Such numbers are refused; a negative one is what C makes of it.
 */
function fit(kind: Kind | undefined, value: number): number {
  return kind === 'f64' ? value : fit32(value);
}
function fit32(value: number): number {
  if ((value | 0) === value || value >>> 0 === value) return value;
  throw badNumber('argument', value);
}

/**
 * By arity, since a rest parameter costs an array for each call of a hot function; and for those
 * that take nothing but whole numbers without asking for each what it is.
 */
function wrap(core: CoreInstance, call: Call, kinds: readonly Kind[]): Call {
  const [, , , last] = kinds;
  const fraction = kinds.indexOf('f64');
  if (fraction !== -1 && fraction !== 3) return wrapAny(core, call, kinds);
  switch (kinds.length) {
    case 0:
      return () => core.check(call());
    case 1:
      return (a) => core.check(call(fit32(a as number)));
    case 2:
      return (a, b) => core.check(call(fit32(a as number), fit32(b as number)));
    case 3:
      return (a, b, c) =>
        core.check(call(fit32(a as number), fit32(b as number), fit32(c as number)));
    case 4:
      if (last !== 'f64') return wrapAny(core, call, kinds);
      return (a, b, c, d) =>
        core.check(call(fit32(a as number), fit32(b as number), fit32(c as number), d as number));
    default:
      return wrapAny(core, call, kinds);
  }
}
function wrapAny(core: CoreInstance, call: Call, kinds: readonly Kind[]): Call {
  return (...args) => core.check(call(...args.map((arg, i) => fit(kinds[i], arg))));
}

function allocator(core: CoreInstance): Pick<RawCore, 'alloc' | 'reset'> {
  const { at: start, bytes: whole } = core.local;
  const end = start + whole;
  let next = start;
  return {
    alloc(bytes) {
      if (!Number.isInteger(bytes) || bytes < 0) {
        throw new RangeError(`alloc: expected a whole number of bytes, got ${bytes}`);
      }
      const at = next;
      if (at + bytes > end) {
        throw new AioUnavailableError({
          code: 'PGAIO_LOCAL_MEMORY',
          message: `out of local memory: ${end - at} of ${bytes} bytes left`,
          sqlstate: '53200',
          hint: 'Raise local_memory, or reset() what is no longer used.',
        });
      }
      next = at + Math.ceil(bytes / ALIGN) * ALIGN;
      core.u8.fill(0, at, at + bytes);
      return at;
    },
    reset(mark = start) {
      if (!(mark >= start && mark <= next)) {
        throw new RangeError(`reset: ${mark} is not an address that alloc gave`);
      }
      next = mark;
    },
  };
}

/** Functions whose C signature differs from the core's export; `calls` are the checked exports. */
function changed(
  core: CoreInstance,
  calls: CoreExports,
): Omit<RawCore, keyof Plain | 'alloc' | 'reset' | 'memory' | 'procno' | 'show' | 'set'> {
  const iovecs = calls.pgaio_io_get_iovec_max();
  const target = (ioh: Address) =>
    readTargetData(core.u32, calls.pgaio_io_get_target_data(ioh) >>> 2);
  return {
    pgaio_io_get_iovec(ioh, iov) {
      core.checkCallers(iov, 4, 4);
      core.u32[iov >>> 2] = calls.pgaio_io_get_iovec(ioh);
      return iovecs;
    },
    pgaio_io_get_handle_data(ioh, len) {
      const at = calls.pgaio_io_get_handle_data(ioh);
      if (len === 0) return at;
      core.checkCallers(len, 1, 1);
      core.u8[len] = calls.pgaio_io_get_handle_data_len(ioh);
      return at;
    },
    pgaio_register_host_callback: (id, callbacks) => core.registerCallback(id, callbacks),
    read_stream_set_callback: (stream, next) => {
      core.check(core.exports.read_stream_set_callback(fit('u32', stream)));
      core.setBlockSource(stream, next);
    },
    read_stream_end(stream, nowait) {
      const rc = calls.read_stream_end(stream, nowait);
      if (rc === 0) core.setBlockSource(stream, undefined);
      return rc;
    },
    pgaio_io_get_state_name: (ioh) => nameOf(STATE_NAMES, calls.pgaio_io_get_state(ioh)),
    pgaio_io_get_op_name: (ioh) => nameOf(OP_NAMES, calls.pgaio_io_get_op(ioh)),
    pgaio_io_get_target_name: (ioh) => nameOf(TARGET_NAMES, calls.pgaio_io_get_target(ioh)),
    pgaio_io_get_target_description: (ioh) =>
      describeTarget(target(ioh), core.words, calls.pgaio_io_get_owner(ioh)),
    pgaio_io_has_target: (ioh) => calls.pgaio_io_has_target(ioh) === 1,
    pgaio_wref_valid: (iow) => calls.pgaio_wref_valid(iow) === 1,
    pgaio_wref_is_done: (iow) => calls.pgaio_wref_is_done(iow) === 1,
    pgaio_wref_check_done: (iow) => calls.pgaio_wref_check_done(iow) === 1,
    pgaio_wref_wait_timed: (iow, ms) => calls.pgaio_wref_wait_timed(iow, ms) === 1,
    pgaio_init_backend: () => calls.pgaio_init_backend(0),
    pgaio_shutdown: () => core.shutdown(),
    pgaio_have_staged: () => calls.pgaio_have_staged() > 0,
    AtEOXact_Aio: (isCommit) => void calls.AtEOXact_Aio(isCommit ? 1 : 0),
    ResourceOwnerRelease: (owner, isCommit) =>
      void calls.ResourceOwnerRelease(owner, isCommit ? 1 : 0),
    pgaio_result_report(result, targetData, elevel) {
      if (elevel < layout.ERROR_LEVEL) {
        calls.pgaio_result_report(result, targetData, elevel);
        return;
      }
      const { exports } = core;
      const rc = exports.pgaio_result_report(
        fit('u32', result),
        fit('u32', targetData),
        fit('i32', elevel),
      );
      const [report] = rc < 0 ? [] : core.takeReports();
      core.check(rc);
      if (report?.error !== undefined) throw report.error;
    },
  };
}
