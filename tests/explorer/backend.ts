/**
 * What a backend does in the programs: joins, starts I/O alone and in batches, learns of its end in
 * every way there is, checks each byte, waits for what others started, leaves.
 */
import { contentAt, POISON, READ_FD, WRITE_FD, writtenAt } from './files.ts';
import { distilled, wordsOf } from './invariants.ts';
import { Finding, type Part, type Thread, type World } from './world.ts';

/** How often a backend does what, relative to each other. */
export interface Habits {
  readonly rounds: number;
  /** Most I/Os of one round. */
  readonly most: number;
  readonly weights: Readonly<Partial<Record<Action, number>>>;
  /** One round in so many is a batch; 0 none. */
  readonly batches: number;
  /** May sleep on the doorbell: there is always somebody else who executes what is queued. */
  readonly loop: boolean;
}
/**
 * Whether other threads can use a descriptor of this one's, or have to open the file again; and
 * whether its file was opened past the page cache, so that several I/Os can be under way at once.
 */
export type FileKind = 'common' | 'own' | 'direct';
export type Action =
  | 'start'
  | 'wait'
  | 'timed'
  | 'check'
  | 'drain'
  | 'doorbell'
  | 'foreign'
  | 'old';

/** A reference anybody may wait for. */
export interface Reference {
  readonly handle: number;
  readonly generation: number;
}
/** References that threads show each other. */
export class Board {
  readonly all: Reference[] = [];
  readonly size: number;
  constructor(size: number) {
    this.size = size;
  }
  post(reference: Reference, at: number): void {
    if (this.all.length < this.size) this.all.push(reference);
    else this.all[at % this.size] = reference;
  }
}

const FRAME_BYTES = 1024;
const REF_BYTES = 12;
const RETURN_BYTES = 32;
const HCB_FILE = 5;
const IO_BYTES = 96;

interface Io {
  /** Index of its return, reference and buffer. */
  readonly place: number;
  readonly handle: number;
  readonly generation: number;
  readonly write: boolean;
  readonly offset: number;
  readonly length: number;
  readonly callbacks: number;
}

/** Joins: every thread sets the same, the first one lays the memory out. */
export function* attach(world: World, thread: Thread): Part<void> {
  for (const [name, value] of Object.entries(world.options.settings)) {
    yield* thread.ok('pgaio_set_guc', world.layout.number(`GUC_${name}`), value);
  }
  yield* thread.ok('AioShmemSize');
  yield* thread.ok('AioShmemInit');
  yield* thread.ok('pgaio_set_thread', thread.number);
}

export class Backend {
  readonly world: World;
  readonly thread: Thread;
  readonly board: Board;
  #local = 0;
  #refs = 0;
  #frames = 0;
  #places: number[] = [];
  pending: Io[] = [];
  finished = 0;

  readonly #files: FileKind;

  constructor(world: World, thread: Thread, board: Board, files: FileKind) {
    this.world = world;
    this.thread = thread;
    this.board = board;
    this.#files = files;
  }

  /** Becomes a backend; false if all slots are taken. */
  *join(): Part<boolean> {
    const { world, thread } = this;
    yield* attach(world, thread);
    const procno = yield* thread.invoke('pgaio_init_backend', this.#files === 'own' ? 1 : 0);
    if (procno === world.layout.number('E_NO_SLOT')) return false;
    if (procno < 0) world.fail(`${thread.name}: pgaio_init_backend() = ${procno}`);
    thread.procno = procno;
    this.#local = yield* thread.ok('pgaio_local_memory');
    return true;
  }

  /** Memory for I/O: one more of each than there are handles. */
  *prepare(): Part<void> {
    const { world, thread } = this;
    const places = world.ctl('io_max_concurrency') + 1;
    this.#refs = this.#local + places * RETURN_BYTES;
    for (let place = 0; place < places; place++) this.#places.push(place);
    this.#frames = yield* thread.ok('pgaio_frames_alloc', places);
    if (this.#frames === 0) world.fail(`${thread.name}: no frames are free`);
    if (this.#files === 'common') return;
    const flags = this.#files === 'direct' ? world.layout.number('FILE_DIRECT') : 0;
    world.bytes.set([47, 97], this.#local);
    this.#file = yield* thread.ok('pgaio_file_register', this.#local, 2, flags);
  }
  #file = 1;

  *leave(): Part<void> {
    const { world, thread } = this;
    if (world.random.once(2)) {
      for (const io of [...this.pending]) yield* this.wait(io);
      this.harvest();
      if (this.pending.length > 0) world.fail(`${thread.name} has waited and has I/O pending`);
      if (this.#frames !== 0 && world.random.once(2)) {
        yield* thread.ok('pgaio_frames_free', this.#frames, world.ctl('io_max_concurrency') + 1);
      }
    }
    if (this.#files !== 'common' && this.#frames !== 0) {
      yield* thread.ok('pgaio_closing_fd', READ_FD);
      yield* thread.ok('pgaio_closing_fd', WRITE_FD);
      yield* thread.ok('pgaio_file_unregister', this.#file);
    }
    yield* thread.ok('pgaio_shutdown');
  }

  /** `between`: what else the thread does between two rounds. */
  *live(habits: Habits, between: () => Part<void>): Part<void> {
    const choices = Object.entries(habits.weights).flatMap(([action, weight]) =>
      Array.from({ length: weight }, () => action as Action),
    );
    const { random } = this.world;
    for (let round = 0; round < habits.rounds; round++) {
      this.harvest();
      yield* between();
      yield* this.#act(choices[random.below(choices.length)] ?? 'start', habits);
    }
  }

  *#act(action: Action, habits: Habits): Part<void> {
    const { random } = this.world;
    const io = this.pending[random.below(this.pending.length || 1)];
    switch (action) {
      case 'start': {
        const batch = habits.batches > 0 && random.once(habits.batches);
        return yield* this.start(random.range(1, habits.most), batch);
      }
      case 'wait':
        if (io !== undefined) yield* this.wait(io);
        return;
      case 'timed':
        if (io !== undefined) yield* this.#waitTimed(io);
        return;
      case 'check':
        if (io !== undefined) yield* this.#check(io);
        return;
      case 'drain':
        yield* this.thread.ok(random.once(3) ? 'pgaio_spin_completed' : 'pgaio_drain_completed', 3);
        return;
      case 'doorbell':
        if (habits.loop) yield* this.#sleepOnDoorbell();
        return;
      case 'foreign':
        return yield* this.#foreign(false);
      case 'old':
        return yield* this.#foreign(true);
      default:
        action satisfies never;
    }
  }

  *start(count: number, batch: boolean): Part<void> {
    const { thread, world } = this;
    if (batch) yield* thread.ok('pgaio_enter_batchmode');
    for (let i = 0; i < count; i++) {
      yield* this.#startOne();
      if (batch && world.random.once(4)) this.harvest();
    }
    if (batch && world.random.once(8)) yield* thread.ok('pgaio_submit_staged');
    if (batch) yield* thread.ok('pgaio_exit_batchmode');
  }

  *#startOne(): Part<void> {
    const { thread, world } = this;
    const { random } = world;
    if (this.#places.length === 0) this.harvest();
    const place = this.#places.pop();
    if (place === undefined) throw new Finding(`${thread.name}: more pending than handles`);
    let ioh = 0;
    if (random.once(4)) ioh = yield* thread.ok('pgaio_io_acquire_nb', 0, this.#returnAt(place));
    if (ioh === 0) ioh = yield* thread.ok('pgaio_io_acquire', 0, this.#returnAt(place));
    const ref = this.#refAt(place);
    yield* thread.ok('pgaio_io_get_wref', ioh, ref);
    if (random.once(16)) {
      yield* thread.ok('pgaio_io_release', ioh);
      this.#places.push(place);
      return;
    }
    const handle = world.word(ref);
    const generation = world.word(ref + 8);
    const write = random.once(3);
    const length = random.range(1, IO_BYTES);
    const offset = write ? handle * 128 : random.below(60000);
    const callbacks = random.once(4) ? 0 : 1;
    yield* thread.ok('pgaio_io_set_target_file', ioh, this.#file, 0, 0);
    if (this.#files === 'direct') yield* thread.ok('pgaio_io_set_file', ioh, this.#file);
    if (callbacks === 1) yield* thread.ok('pgaio_io_register_callbacks', ioh, HCB_FILE, 0);
    const iovecs = yield* this.#fill(
      ioh,
      place,
      world.files.keyOf(handle, generation),
      write,
      length,
    );
    const call = write ? 'pgaio_io_start_writev' : 'pgaio_io_start_readv';
    this.pending.push({ place, handle, generation, write, offset, length, callbacks });
    yield* thread.ok(call, ioh, write ? WRITE_FD : READ_FD, iovecs, offset);
    this.board.post({ handle, generation }, random.bits());
  }

  *#fill(ioh: number, place: number, key: number, write: boolean, length: number): Part<number> {
    const { thread, world } = this;
    const { bytes, view } = world;
    const buffer = this.#bufferAt(place);
    if (write) for (let i = 0; i < length; i++) bytes[buffer + i] = writtenAt(key, i);
    else bytes.fill(POISON, buffer, buffer + IO_BYTES);
    const iovec = yield* thread.ok('pgaio_io_get_iovec', ioh);
    const first = length > 1 && world.random.once(2) ? world.random.range(1, length - 1) : length;
    view.setUint32(iovec, buffer, true);
    view.setUint32(iovec + 4, first, true);
    if (first === length) return 1;
    view.setUint32(iovec + 8, buffer + first, true);
    view.setUint32(iovec + 12, length - first, true);
    return 2;
  }

  #returnAt(place: number): number {
    return this.#local + place * RETURN_BYTES;
  }
  #refAt(place: number): number {
    return this.#refs + place * REF_BYTES;
  }
  #bufferAt(place: number): number {
    return this.#frames + place * FRAME_BYTES;
  }

  #statusOf(io: Io): number {
    return (this.world.word(this.#returnAt(io.place)) >>> 6) & 7;
  }

  /** Takes off the list what the returns say is over, and checks it. */
  harvest(): void {
    for (const io of [...this.pending]) if (this.#statusOf(io) !== 0) this.#verify(io);
  }

  #verify(io: Io): void {
    const { world, thread } = this;
    const what = `${thread.name}: I/O ${io.handle} generation ${io.generation}`;
    const key = world.files.keyOf(io.handle, io.generation);
    const raw = world.files.outcomes.get(key);
    if (raw === undefined) throw new Finding(`${what} has a result and never ended`);
    const expected = distilled(raw, io.length, io.callbacks);
    const word = world.word(this.#returnAt(io.place));
    const result = world.word(this.#returnAt(io.place) + 4);
    if (this.#statusOf(io) !== expected.status || result !== expected.result) {
      const told = `${this.#statusOf(io)}, ${result}`;
      world.fail(`${what} is told ${told}; raw ${raw} makes ${wordsOf(expected)}`);
    }
    if (raw < 0 && ((word >>> 9) & 0xfff) !== expected.errno) {
      world.fail(`${what} is told errno ${word >>> 9}, not ${expected.errno}`);
    }
    if (raw > 0) this.#verifyBytes(io, key, raw, what);
    this.pending.splice(this.pending.indexOf(io), 1);
    this.#places.push(io.place);
    this.finished++;
  }

  #verifyBytes(io: Io, key: number, raw: number, what: string): void {
    const { bytes, files } = this.world;
    const buffer = this.#bufferAt(io.place);
    for (let i = 0; i < io.length; i++) {
      if (io.write) {
        if (i < raw && files.written[io.offset + i] !== writtenAt(key, i)) {
          this.world.fail(`${what} did not write byte ${i}`);
        }
      } else if (i < raw || !files.repeated.has(key)) {
        const expected = i < raw ? contentAt(io.offset + i) : POISON;
        if (bytes[buffer + i] !== expected)
          this.world.fail(`${what} reads ${bytes[buffer + i]} as byte ${i}, not ${expected}`);
      }
    }
  }

  #mustBeTold(io: Io, after: string): void {
    if (!this.pending.includes(io)) return;
    if (this.#statusOf(io) === 0)
      this.world.fail(
        `${this.thread.name}: after ${after} the result of ${io.handle} is not there`,
      );
    this.#verify(io);
  }

  *wait(io: Io): Part<void> {
    if (!this.pending.includes(io)) return;
    yield* this.thread.ok('pgaio_wref_wait', this.#refAt(io.place));
    this.#mustBeTold(io, 'pgaio_wref_wait');
  }

  *#waitTimed(io: Io): Part<void> {
    const ms = this.world.random.pick([0, 0.05, 0.3, 5]);
    const over = yield* this.thread.ok('pgaio_wref_wait_timed', this.#refAt(io.place), ms);
    if (over === 1) this.#mustBeTold(io, 'pgaio_wref_wait_timed');
  }

  *#check(io: Io): Part<void> {
    const done = yield* this.thread.ok('pgaio_wref_check_done', this.#refAt(io.place));
    if (done === 1) this.#mustBeTold(io, 'pgaio_wref_check_done');
  }

  /** As an event loop: arms, and sleeps only if nothing had come. */
  *#sleepOnDoorbell(): Part<void> {
    const { thread, world } = this;
    this.harvest();
    if (this.pending.length === 0) return;
    const doorbell = yield* thread.ok('pgaio_doorbell');
    const rung = yield* thread.ok('pgaio_arm_doorbell');
    this.harvest();
    if (rung === 0 || this.pending.length === 0) return;
    yield* world.waitWord(thread, doorbell, rung);
    yield* thread.ok('pgaio_drain_completed');
    this.harvest();
  }

  /** Waits for, or looks at, whatever is on the board; `old`: only what should be long over. */
  *#foreign(old: boolean): Part<void> {
    const { thread, world, board } = this;
    const { random } = world;
    const reference = board.all[random.below(board.all.length || 1)];
    if (reference === undefined) return;
    const { handle, generation } = reference;
    const ref = this.#refs + (world.ctl('io_max_concurrency') + 1) * REF_BYTES;
    world.view.setUint32(ref, handle, true);
    world.view.setUint32(ref + 4, 0, true);
    world.view.setUint32(ref + 8, generation, true);
    const wasOver = world.invariants.isOver(handle, generation);
    if (old && !wasOver) return;
    const call = random.pick([
      'pgaio_wref_wait',
      'pgaio_wref_check_done',
      'pgaio_wref_is_done',
      'pgaio_wref_wait_timed',
    ]);
    const result = yield* thread.ok(call, ref, random.pick([0, 0.1, 3]));
    const saysOver = result === 1 || call === 'pgaio_wref_wait';
    if (saysOver && !world.invariants.isOver(handle, generation)) {
      world.fail(
        `${thread.name}: ${call} says ${handle} generation ${generation} is over, and it is not`,
      );
    }
    if (wasOver && !saysOver) {
      world.fail(`${thread.name}: ${call} says ${handle} generation ${generation} is not over`);
    }
    this.harvest();
  }
}
