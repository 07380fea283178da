/**
 * What tests of the core share: every case for every method and build, a core over temporary files,
 * a device whose I/Os end when the test says so, faults to order, and a look at the memory.
 *
 * `forEachMethod` makes one suite per row of VARIANTS and runs it. A row more is a method more: a
 * case that is written with `define`, `start` and `finish` holds for it without a change.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { CoreExports } from '../bindings/core-exports.ts';
import { AioError, AioUsageError } from '../bindings/errors.ts';
import type { IoProvider } from '../bindings/host.ts';
import * as layout from '../bindings/layout.ts';
import { STATE_NAMES, type StateName } from '../bindings/names.ts';
import type { RawCore } from '../bindings/raw.ts';
import { packFlags } from '../bindings/reopen.ts';
import type { AioReport } from '../bindings/report.ts';
import { type PgAioResult, unpackResult } from '../bindings/result.ts';
import type { Settings } from '../bindings/settings.ts';
import { directProvider } from '../host/node/direct-provider.ts';
import { providerFrom } from '../host/node/host.ts';
import { coreModule } from '../host/node/module.ts';
import { attach } from '../host/node/raw.ts';
import { wasiProvider } from '../host/node/wasi-provider.ts';
import type { FaultyOptions } from './faulty-module.ts';
import type { Restriction } from './restrictions.ts';
import { type DeviceMode, type Faults, Injection, newCounts, TestDevice } from './test-device.ts';
import { ALL_VARIANTS, unavailable, type Variant } from './variants.ts';

export * from './restrictions.ts';
export type { Faults } from './test-device.ts';
export * from './variants.ts';

export const BLOCK = 8192;

export interface OpenOptions extends Settings {
  readonly faults?: Faults;
  /** Faults that the test puts in as it goes: `bench.injection`. @default false */
  readonly inject?: boolean;
  /** A cluster instead of the bench's own directory. */
  readonly dataDirectory?: string;
  /** How the device of method host begins. @default 'wait' */
  readonly device?: DeviceMode;
}

export type Open = (options?: OpenOptions) => Promise<Bench>;
export type Case = (name: string, body: () => void | Promise<void>) => void;

const TEST_TIMEOUT_MS = 20_000;
const WORKER_START_MS = 10_000;
/** Looks that come before sleeping: some microseconds, in which a worker goes to sleep. */
const QUIET_LOOKS = 10_000;
/** A word that nobody writes: address 0. */
const QUIET_WORD = 0;
/** The loop comes round to the messages, hands them on, and is over with that. */
const MESSAGE_TURNS = 3;

/**
 * Defines a suite `NAME (VARIANT)` for every variant and runs it. `open` attaches a core for the
 * test that calls it, and removes its files afterwards. `restrict` gives the reason for leaving a
 * variant out, which is printed and counted as one skipped test.
 */
export function forEachMethod(
  name: string,
  define: (test: Case, open: Open, variant: Variant) => void,
  restrict: Restriction = () => undefined,
): void {
  const reasons = new Map<string, string[]>();
  for (const variant of ALL_VARIANTS) {
    const reason = unavailable(variant) ?? restrict(variant);
    if (reason === undefined) runVariant(`${name} (${variant.name})`, define, variant);
    else reasons.set(reason, [...(reasons.get(reason) ?? []), variant.name]);
  }
  if (reasons.size === 0) return;
  const left = suite(`${name} (left out)`);
  for (const [reason, names] of reasons) {
    const line = `\nskipped: ${name}; ${names.join('; ')}: ${reason}\n`;
    left(reason, () => void process.stdout.write(line));
  }
  left.run();
}

function runVariant(
  name: string,
  define: (test: Case, open: Open, variant: Variant) => void,
  variant: Variant,
): void {
  const test = suite(name);
  const open: { benches: Bench[] } = { benches: [] };
  const opener: Open = async (options = {}) => {
    const bench = await Bench.open(variant, options);
    open.benches.push(bench);
    return bench;
  };
  define(
    (sentence, body) => {
      test(sentence, async () => {
        try {
          await bounded(`${name}: ${sentence}`, body);
        } finally {
          for (const bench of open.benches.splice(0)) bench.remove();
        }
      });
    },
    opener,
    variant,
  );
  test.run();
}

/** Ends a test that does not settle, by name. One that blocks the thread the runner ends. */
export async function bounded(name: string, body: () => void | Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const overrun = new Promise<never>((_, reject) => {
    const fail = () => reject(new Error(`still running after ${TEST_TIMEOUT_MS} ms: ${name}`));
    timer = setTimeout(fail, TEST_TIMEOUT_MS);
  });
  try {
    await Promise.race([body(), overrun]);
  } finally {
    clearTimeout(timer);
  }
}

/** Small, so that everything runs out soon; the trace is on. */
export const SMALL = {
  io_max_concurrency: 4,
  io_max_combine_limit: 16,
  max_backends: 3,
  shared_buffers: 64,
  io_frames: 64,
  local_memory: 64,
  trace_size: 256,
  trace: true,
  max_files: 16,
  io_workers: 1,
} as const satisfies Settings;

interface Field {
  readonly offset: number;
  readonly bytes: number;
  readonly type: string;
}
interface Struct<Name extends string> {
  readonly fields: Readonly<Record<Name, Field>>;
}

/** What a test of an I/O needs to know of it. */
export interface Io {
  readonly ioh: number;
  readonly id: number;
  readonly ret: number;
  readonly ref: number;
  /** Address of the frames. */
  readonly at: number;
  readonly bytes: number;
  readonly fd: number;
  readonly offset: number;
}

export interface DefineOptions {
  readonly fd: number;
  /** First block of the relation. @default 0 */
  readonly block?: number;
  /** Where it lies in the file. @default block times the block size */
  readonly offset?: number;
  /** @default 1 */
  readonly nblocks?: number;
  /** Ids, or ids with cb_data, in order of registration. @default MD_READV */
  readonly callbacks?: readonly (number | readonly [id: number, data: number])[];
  readonly owner?: number;
  readonly flags?: number;
  /** @default a relation: base/5/16384 */
  readonly target?: 'smgr' | 'temp' | 'file';
  /** Use this memory instead of new frames. */
  readonly at?: number;
  /** Iovecs the blocks are spread over. @default 1 */
  readonly iovecs?: number;
  /** @default a new one; 0 for none */
  readonly ret?: number;
}

/** A backend under test, with its files, its reports and its memory. */
export class Bench {
  readonly pg: RawCore;
  readonly variant: Variant;
  readonly device: TestDevice;
  readonly injection: Injection;
  readonly reports: AioReport[];
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly view: DataView;
  readonly #provider: IoProvider;
  readonly #directory: string;
  readonly #owned: boolean;
  readonly #options: OpenOptions;
  readonly #fds: number[] = [];
  readonly #guests: Bench[] = [];
  /** Numbers in the table of files, by descriptor: what a worker opens over node:wasi. */
  readonly #numbers = new Map<number, number>();

  private constructor(made: Made, variant: Variant, options: OpenOptions) {
    this.pg = made.pg;
    this.device = made.device;
    this.injection = made.injection;
    this.reports = made.reports;
    this.#provider = made.provider;
    this.#directory = made.directory;
    this.#owned = made.owned;
    this.variant = variant;
    this.#options = options;
    const { buffer } = this.pg.memory;
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.view = new DataView(buffer);
    made.device.serve(this);
  }

  static async open(variant: Variant, options: OpenOptions, host?: Bench): Promise<Bench> {
    const { faults, device: mode, inject = false, dataDirectory, ...settings } = options;
    const directory =
      host === undefined ? mkdtempSync(join(tmpdir(), 'pgaio-test-')) : host.#directory;
    const injection = host?.injection ?? new Injection();
    const provider = await providerOf(variant, directory, inject ? {} : faults, injection);
    const device = new TestDevice(mode ?? 'wait', faults, injection);
    const reports: AioReport[] = [];
    const pg = await attach({
      ...SMALL,
      io_method: variant.method,
      ...(variant.ring === undefined ? {} : { ring: variant.ring }),
      ...(variant.fixedBuffers === undefined ? {} : { fixed_buffers: variant.fixedBuffers }),
      ...settings,
      ...(host === undefined ? {} : { memory: host.pg.memory }),
      shared: variant.shared,
      provider,
      device,
      dataDirectory: dataDirectory ?? (variant.provider === 'wasi' ? '' : directory),
      onReport: (report) => reports.push(report),
    });
    const owned = host === undefined;
    const made = { pg, provider, device, injection, reports, directory, owned };
    const bench = new Bench(made, variant, options);
    if (owned && variant.method === 'worker') await bench.#workerReady();
    return bench;
  }

  /** Another backend over the same memory. */
  async join(options: OpenOptions = {}): Promise<Bench> {
    const guest = await Bench.open(this.variant, { ...this.#options, ...options }, this);
    this.#guests.push(guest);
    return guest;
  }

  /** A file with this content, open for reading and writing. Its descriptor. */
  file(name: string, content: Uint8Array): number {
    writeFileSync(join(this.#directory, name), content);
    return this.openFile(name);
  }
  openFile(name: string): number {
    const path = join(this.#directory, name);
    if (this.variant.provider === 'wasi') {
      const scratch = { memory: this.pg.memory, at: this.pg.alloc(1024), bytes: 1024 };
      const fd = this.#provider.open(name, { write: true }, scratch);
      if (this.variant.method === 'worker') this.#numbers.set(fd, this.#register(name));
      return fd;
    }
    const scratch = { memory: this.pg.memory, at: 0, bytes: 0 };
    const fd = this.#provider.open(path, { write: true }, scratch);
    this.#fds.push(fd);
    return fd;
  }
  path(name: string): string {
    return join(this.#directory, name);
  }

  /** A number by which I/O workers can open the file. */
  #register(name: string): number {
    const path = new TextEncoder().encode(name);
    const at = this.pg.alloc(path.length);
    this.u8.set(path, at);
    return this.pg.pgaio_file_register(at, path.length, packFlags({ write: true }));
  }

  remove(): void {
    for (const guest of this.#guests) guest.remove();
    this.device.mode = 'wait';
    this.device.onWait = undefined;
    this.device.onSubmit = undefined;
    try {
      this.pg.pgaio_shutdown();
    } catch {
      // It has left before, or what it left half done is what the test was about.
    }
    if (this.#owned) this.pg.pgaio_stop_workers();
    for (const fd of this.#fds) this.#provider.close(fd);
    if (this.#owned) rmSync(this.#directory, { recursive: true, force: true });
  }

  // The I/O worker.

  control(name: keyof typeof layout.PgAioWorkerControl.fields): number {
    return this.get(this.ctl('worker_control'), layout.PgAioWorkerControl, name);
  }
  /** Its thread has started, has a slot and looks for work. */
  async #workerReady(): Promise<void> {
    const deadline = performance.now() + WORKER_START_MS;
    while (this.control('nworkers') === 0) {
      assert.ok(performance.now() < deadline, `no I/O worker after ${WORKER_START_MS} ms`);
      await Atomics.waitAsync(this.i32, QUIET_WORD, 0, 1).value; // its start is told to nobody
    }
    this.quiet();
  }
  /** Returns when no I/O worker has anything to do: they sleep, or are about to. */
  quiet(): void {
    if (this.variant.method !== 'worker') return;
    const control = this.ctl('worker_control');
    const word = (name: keyof typeof layout.PgAioWorkerControl.fields) =>
      Atomics.load(this.i32, (control + layout.PgAioWorkerControl.fields[name].offset) / 4);
    const deadline = performance.now() + WORKER_START_MS;
    for (let looks = 0; ; looks++) {
      const still = word('head') === word('tail') && word('lock') === 0 && word('spinner') === 0;
      if (still && word('idle') === 2 ** word('nworkers') - 1) return;
      if (looks < QUIET_LOOKS) continue;
      assert.ok(performance.now() < deadline, 'the I/O worker has no end of its work');
      Atomics.wait(this.i32, QUIET_WORD, 0, 1); // lets it run
    }
  }
  /** What I/O workers have reported so far is in `reports` afterwards. */
  async heard(): Promise<void> {
    if (this.variant.method !== 'worker') return;
    this.quiet();
    for (let turn = 0; turn < MESSAGE_TURNS; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  // Looking at the memory.

  get<Name extends string>(at: number, struct: Struct<Name>, name: Name): number {
    const { offset, bytes, type } = struct.fields[name];
    const signed = type.startsWith('i');
    switch (bytes) {
      case 1:
        return this.view.getUint8(at + offset);
      case 2:
        return this.view.getUint16(at + offset, true);
      case 4:
        return signed
          ? this.view.getInt32(at + offset, true)
          : this.view.getUint32(at + offset, true);
      default:
        return Number(this.view.getBigUint64(at + offset, true));
    }
  }
  set<Name extends string>(at: number, struct: Struct<Name>, name: Name, value: number): void {
    const { offset, bytes } = struct.fields[name];
    if (bytes === 1) this.view.setUint8(at + offset, value);
    else if (bytes === 2) this.view.setUint16(at + offset, value, true);
    else if (bytes === 4) this.view.setUint32(at + offset, value >>> 0, true);
    else this.view.setBigUint64(at + offset, BigInt(value), true);
  }
  ctl(name: keyof typeof layout.PgAioCtl.fields): number {
    return this.get(layout.CTL_AT, layout.PgAioCtl, name);
  }
  setCtl(name: keyof typeof layout.PgAioCtl.fields, value: number): void {
    this.set(layout.CTL_AT, layout.PgAioCtl, name, value);
  }
  get backendAt(): number {
    return this.ctl('backends') + (this.pg.procno << layout.BACKEND_SHIFT);
  }
  backend(name: keyof typeof layout.PgAioBackend.fields): number {
    return this.get(this.backendAt, layout.PgAioBackend, name);
  }
  setBackend(name: keyof typeof layout.PgAioBackend.fields, value: number): void {
    this.set(this.backendAt, layout.PgAioBackend, name, value);
  }
  handleAt(id: number): number {
    return this.ctl('io_handles') + (id << layout.HANDLE_SHIFT);
  }
  handle(id: number, name: keyof typeof layout.PgAioHandle.fields): number {
    return this.get(this.handleAt(id), layout.PgAioHandle, name);
  }
  setHandle(id: number, name: keyof typeof layout.PgAioHandle.fields, value: number): void {
    this.set(this.handleAt(id), layout.PgAioHandle, name, value);
  }
  generation(id: number): bigint {
    const { offset } = layout.PgAioHandle.fields.generation;
    return this.view.getBigUint64(this.handleAt(id) + offset, true);
  }
  setGeneration(id: number, value: bigint): void {
    const { offset } = layout.PgAioHandle.fields.generation;
    this.view.setBigUint64(this.handleAt(id) + offset, value, true);
  }
  stateOf(id: number): StateName {
    return STATE_NAMES[this.handle(id, 'state')] ?? 'IDLE';
  }
  /** Ids of this backend's handles. */
  get ids(): number[] {
    const first = this.backend('io_handle_off');
    return Array.from({ length: this.ctl('io_max_concurrency') }, (_, i) => first + i);
  }
  /** Ids on the idle stack, top first. */
  get idle(): number[] {
    return this.#list('idle_head');
  }
  /** Ids in flight, oldest first. */
  get inFlight(): number[] {
    return this.#list('in_flight_head');
  }
  #list(head: 'idle_head' | 'in_flight_head'): number[] {
    const ids: number[] = [];
    for (let id = this.backend(head); id !== layout.NONE; id = this.handle(id, 'node_next')) {
      ids.push(id);
      if (ids.length > 1024) throw new Error(`${head}: a list without end`);
    }
    return ids;
  }
  get staged(): number[] {
    const at = this.backendAt + layout.PgAioBackend.fields.staged_ios.offset;
    return Array.from(this.u32.subarray(at / 4, at / 4 + this.backend('num_staged_ios')));
  }
  /** Ids a resource owner holds, oldest first. */
  ownedBy(owner: number): number[] {
    const ids: number[] = [];
    const { ResourceOwner } = layout;
    for (let id = this.get(owner, ResourceOwner, 'io_head'); id !== layout.NONE; ) {
      ids.push(id);
      id = this.handle(id, 'resowner_next');
    }
    return ids;
  }
  /** A copy of all that belongs to the engine: what no caller's mistake may change. */
  engine(): Uint8Array {
    this.quiet();
    const copy = this.u8.slice(0, this.ctl('local'));
    // Only this changes while it has nothing to do: between a short sleep and a long one.
    const { offset } = layout.PgAioWorker.fields.asleep;
    for (let id = 0; id < layout.MAX_IO_WORKERS; id++) {
      const at = this.ctl('workers') + id * layout.WORKER_BYTES + offset;
      copy.fill(0, at, at + 4);
    }
    return copy;
  }
  /** Each transition since `from`, as `HANDED_OUT>DEFINED`, `io 3:` before it if not `id`. */
  trace(from = 0): readonly TraceLine[] {
    const size = this.ctl('trace_size');
    const end = this.ctl('trace_next');
    const lines: TraceLine[] = [];
    for (let number = Math.max(from, end - size); number < end; number++) {
      const at = this.ctl('trace') + (number % size) * layout.TRACE_BYTES;
      const field = (name: keyof typeof layout.PgAioTraceEntry.fields) =>
        this.get(at, layout.PgAioTraceEntry, name);
      const [before, after] = [STATE_NAMES[field('from')], STATE_NAMES[field('to')]];
      lines.push({
        move: `${before}>${after}`,
        io: field('io'),
        by: field('procno'),
        owner: field('owner_procno'),
        generation: field('generation'),
        raw: field('raw_result'),
        word: field('distilled_word'),
        result: field('distilled_result'),
        op: field('op'),
        target: field('target'),
        offset: this.view.getFloat64(at + layout.PgAioTraceEntry.fields.offset.offset, true),
        seq: field('seq'),
      });
    }
    return lines;
  }

  // One I/O.

  /** Ends all that is in flight, whoever executes it, and reclaims it. */
  endAll(): void {
    this.device.completeAll();
    this.quiet();
    if (this.variant.method === 'worker') this.pg.pgaio_drain_completed();
    if (this.variant.method === 'io_uring') this.#drainAll();
  }

  /** What the kernel has ends when it ends; nobody learns of it without a look. */
  #drainAll(): void {
    const deadline = performance.now() + WORKER_START_MS;
    while (this.backend('in_flight_count') > 0) {
      assert.ok(performance.now() < deadline, 'the kernel does not end an I/O');
      this.pg.pgaio_drain_completed();
    }
  }

  /** Acquires and defines a read of blocks; `start` starts it. */
  define(options: DefineOptions): Io {
    const { fd, block = 0, nblocks = 1, callbacks = [layout.PGAIO_HCB_MD_READV] } = options;
    const { pg } = this;
    const ret = options.ret ?? pg.alloc(layout.RETURN_BYTES);
    const ref = pg.alloc(16);
    const ioh = pg.pgaio_io_acquire(options.owner ?? 0, ret);
    const number = this.#numbers.get(fd);
    if (number !== undefined) pg.pgaio_io_set_file(ioh, number);
    if (options.target === 'file') pg.pgaio_io_set_target_file(ioh, 7, block, nblocks);
    else {
      const flags = options.target === 'temp' ? 1 : 0;
      pg.pgaio_io_set_target_smgr(ioh, 1663, 5, 16384, 0, block, nblocks, flags);
    }
    for (const callback of callbacks) {
      const [id, data] = typeof callback === 'number' ? [callback, 0] : callback;
      pg.pgaio_io_register_callbacks(ioh, id, data);
    }
    if (options.flags) pg.pgaio_io_set_flag(ioh, options.flags);
    const size = this.ctl('block_size');
    const at = options.at ?? this.frames(nblocks);
    const iovecs = options.iovecs ?? 1;
    this.setIovecs(ioh, split(at, nblocks, iovecs, size));
    pg.pgaio_io_get_wref(ioh, ref);
    const id = pg.pgaio_io_get_id(ioh);
    const offset = options.offset ?? block * size;
    return { ioh, id, ret, ref, at, bytes: nblocks * size, fd, offset };
  }

  frames(count: number): number {
    const at = this.pg.pgaio_frames_alloc(count);
    assert.ok(at !== 0, `no run of ${count} free frames`);
    return at;
  }

  setIovecs(ioh: number, iovecs: readonly (readonly [at: number, bytes: number])[]): void {
    const place = this.pg.alloc(4);
    this.pg.pgaio_io_get_iovec(ioh, place);
    const first = this.view.getUint32(place, true) / 4;
    iovecs.forEach(([at, bytes], i) => {
      this.u32[first + 2 * i] = at;
      this.u32[first + 2 * i + 1] = bytes;
    });
  }

  start(io: Io, iovecs = 1): void {
    this.pg.pgaio_io_start_readv(io.ioh, io.fd, iovecs, io.offset);
  }

  /** Waits for the I/O, submitting first if need be, and reads its result. */
  finish(io: Io): PgAioResult {
    if (this.stateOf(io.id) === 'STAGED') this.pg.pgaio_submit_staged();
    this.pg.pgaio_wref_wait(io.ref);
    return this.result(io);
  }

  /** Defines, starts and finishes a read. */
  read(options: DefineOptions): Io & { readonly result: PgAioResult } {
    const io = this.define(options);
    this.start(io, options.iovecs ?? 1);
    return { ...io, result: this.finish(io) };
  }

  result(io: Pick<Io, 'ret'>): PgAioResult {
    return unpackResult(this.view.getUint32(io.ret, true), this.view.getInt32(io.ret + 4, true));
  }

  /** What pgaio_result_report throws at ERROR, or hands to onReport below. */
  reportOf(io: Pick<Io, 'ret'>, level = layout.ERROR_LEVEL): AioError | undefined {
    const target = io.ret + layout.PgAioReturn.fields.target_data.offset;
    try {
      this.pg.pgaio_result_report(io.ret, target, level);
    } catch (error) {
      if (error instanceof AioError) return error;
      throw error;
    }
    return undefined;
  }

  /** Words of the reports so far, each behind its severity. */
  get said(): string[] {
    return this.reports.map(({ severity, message }) => `${severity}: ${message}`);
  }

  /** Every handle of this backend is idle, on the stack once, and can be used again. */
  assertUsable(): void {
    assert.is(this.backend('handed_out_io'), layout.NONE, 'nothing is handed out');
    assert.equal(this.inFlight, [], 'nothing is in flight');
    assert.is(this.backend('in_flight_count'), 0);
    assert.equal(this.staged, [], 'nothing is staged');
    assert.is(this.backend('in_batchmode'), 0, 'no batch is open');
    assert.equal(
      [...this.idle].sort((a, b) => a - b),
      this.ids,
      'every handle is on the idle stack',
    );
    assert.is(this.backend('idle_count'), this.ids.length);
    const snapshot = this.pg.alloc(1 << layout.HANDLE_SHIFT);
    for (const id of this.ids) {
      assert.is(this.pg.pgaio_get_aio(id, snapshot), 0, 'every handle is idle again');
    }
    this.useEachHandle();
    this.pg.reset(snapshot);
  }

  /** Acquires every handle in turn and releases it, reordering the stack back as it was. */
  useEachHandle(): void {
    const order = this.idle;
    order.forEach((expected, index) => {
      this.#rotate([expected, ...order.filter((_, i) => i !== index)]);
      const ioh = this.pg.pgaio_io_acquire(0, 0);
      assert.is(this.pg.pgaio_io_get_id(ioh), expected);
      this.pg.pgaio_io_release(ioh);
    });
    this.#rotate(order);
  }
  #rotate(ids: readonly number[]): void {
    this.setBackend('idle_head', ids[0] ?? layout.NONE);
    for (const [i, id] of ids.entries()) {
      this.setHandle(id, 'node_next', ids[i + 1] ?? layout.NONE);
    }
  }
}

export interface TraceLine {
  readonly move: string;
  readonly io: number;
  readonly by: number;
  readonly owner: number;
  readonly generation: number;
  readonly raw: number;
  readonly word: number;
  readonly result: number;
  readonly op: number;
  readonly target: number;
  readonly offset: number;
  readonly seq: number;
}

async function providerOf(
  variant: Variant,
  directory: string,
  faults: Faults | undefined,
  injection: Injection,
): Promise<IoProvider> {
  const root = variant.provider === 'wasi' ? directory : undefined;
  if (faults === undefined) return root === undefined ? directProvider() : wasiProvider(root);
  const injected = injection.words;
  const options: FaultyOptions = { faults, counts: newCounts(), injected, root };
  const url = new URL('./faulty-module.js', import.meta.url).href;
  return providerFrom({ name: 'module', url, options });
}

interface Made {
  readonly pg: RawCore;
  readonly provider: IoProvider;
  readonly device: TestDevice;
  readonly injection: Injection;
  readonly reports: AioReport[];
  readonly directory: string;
  readonly owned: boolean;
}

/** Blocks over iovecs: the first ones take one block more when it does not come out even. */
function split(at: number, nblocks: number, iovecs: number, size: number): [number, number][] {
  const parts: [number, number][] = [];
  let from = at;
  for (let i = 0; i < iovecs; i++) {
    const blocks = Math.floor(nblocks / iovecs) + (i < nblocks % iovecs ? 1 : 0);
    parts.push([from, blocks * size]);
    from += blocks * size;
  }
  return parts;
}

/** assert.equal of bytes, in one comparison: it looks at each only when they differ. */
export function assertSame(actual: Uint8Array, expected: Uint8Array, message?: string): void {
  const [a, b] = [actual, expected].map((u8) => Buffer.from(u8.buffer, u8.byteOffset, u8.length));
  if (a === undefined || b === undefined || !a.equals(b)) assert.equal(actual, expected, message);
}

/** `done`, or the code of the error a call ended with. */
export function endOf(act: () => unknown): string {
  try {
    act();
    return 'done';
  } catch (error) {
    if (error instanceof AioError) return error.code;
    throw error;
  }
}

/** The error a call ends with; fails if it does not end with one of ours. */
export function errorOf(act: () => unknown): AioError {
  try {
    act();
  } catch (error) {
    if (error instanceof AioError) return error;
    throw error;
  }
  throw new Error('there was no error');
}

/** The same for a call that must be refused as misuse. */
export function usageOf(act: () => unknown): AioUsageError {
  const error = errorOf(act);
  assert.instance(error, AioUsageError);
  return error as AioUsageError;
}

/** The error of a promise. */
export async function rejection(promise: Promise<unknown>): Promise<AioError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof AioError) return error;
    throw error;
  }
  throw new Error('it was fulfilled');
}

/** The core's exports over a memory, without bindings: for what comes before a backend. */
export async function bareCore(memory: WebAssembly.Memory, shared = true): Promise<CoreExports> {
  const module = await coreModule(shared);
  const nothing = () => 0;
  const instance = await WebAssembly.instantiate(module, {
    env: { memory },
    wasi_snapshot_preview1: {
      fd_pread: nothing,
      fd_pwrite: nothing,
      fd_sync: nothing,
      fd_datasync: nothing,
      fd_advise: nothing,
    },
    pgaio: {
      report: nothing,
      callback: nothing,
      submit: nothing,
      wait_one: nothing,
      reopen: nothing,
      kaio_start: nothing,
      kaio_finish: nothing,
      park: nothing,
      unpark: nothing,
      uring_setup: nothing,
      uring_enter: nothing,
      uring_reap: nothing,
      uring_wait: nothing,
      uring_taken: nothing,
      uring_leave: nothing,
      segment_open: nothing,
      segment_close: nothing,
      segment_size: nothing,
      segment_truncate: nothing,
      segment_unlink: nothing,
    },
  });
  return instance.exports as unknown as CoreExports;
}

export function newMemory(pages: number, shared = true): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
}

/** `count` blocks, each filled with its number plus 1: an easy file to recognise. */
export function numberedBlocks(count: number, size: number = BLOCK): Uint8Array {
  const bytes = new Uint8Array(count * size);
  for (let block = 0; block < count; block++) {
    bytes.fill((block + 1) & 0xff, block * size, (block + 1) * size);
  }
  return bytes;
}
