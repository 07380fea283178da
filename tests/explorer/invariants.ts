/**
 * What must hold, whoever runs when. `afterStep` looks at what the last step changed; `afterCall`
 * at a backend's lists, when it is outside the core; `atRest` at sleepers when nobody can run;
 * `atEnd` at what everybody left behind.
 */
import { ECANCELED, REL_FD } from './files.ts';
import type { Thread, World } from './world.ts';

const STATES = [
  'IDLE',
  'HANDED_OUT',
  'DEFINED',
  'STAGED',
  'SUBMITTED',
  'COMPLETED_IO',
  'COMPLETED_SHARED',
  'COMPLETED_LOCAL',
] as const;
export const IDLE = 0;
export const HANDED_OUT = 1;
export const DEFINED = 2;
export const STAGED = 3;
export const SUBMITTED = 4;
export const COMPLETED_IO = 5;
export const COMPLETED_SHARED = 6;
export const COMPLETED_LOCAL = 7;
/** Bit `to` of entry `from`. */
const MOVES = [
  1 << HANDED_OUT,
  (1 << IDLE) | (1 << DEFINED),
  1 << STAGED,
  1 << SUBMITTED,
  1 << COMPLETED_IO,
  1 << COMPLETED_SHARED,
  1 << COMPLETED_LOCAL,
  1 << IDLE,
];

const RS_OK = 1;
const RS_PARTIAL = 2;
const RS_ERROR = 4;
const NONE = -1;
const SLOT_FREE = 0;
const SLOT_DEAD = 2;
const SLOT_MASK = 3;
/** Timeouts from here on are a wait's look for what cannot be; below, its clock. */
const LOOK_AGAIN_NS = 100_000_000;

/** Status and result of a PgAioResult. */
export interface Told {
  readonly status: number;
  readonly errno: number;
  readonly result: number;
}

/** What a chain of callbacks (PGAIO_HCB_FILE, or none) makes of a raw result. */
export function distilled(raw: number, length: number, callbacks: number): Told {
  if (raw < 0) return { status: RS_ERROR, errno: -raw, result: 0 };
  const status = raw === length || callbacks === 0 ? RS_OK : RS_PARTIAL;
  return { status, errno: 0, result: raw };
}

/** Status and result, for a message. */
export const wordsOf = ({ status, result }: Told) => `${status}, ${result}`;

export class Invariants {
  readonly #world: World;
  readonly #at: number;
  readonly #count: number;
  readonly #stride: number;
  readonly #concurrency: number;
  readonly #backendsAt: number;
  readonly #control: number;
  readonly #workersAt: number;
  readonly #field: Readonly<Record<string, number>>;
  readonly #states: Int32Array;
  readonly #generations: Int32Array;
  /** Generation when the handle was taken; thread that completed it. */
  readonly #taken: Int32Array;
  readonly #completer: (Thread | undefined)[] = [];
  #lock = 0;
  #queue: number[] = [];
  transitions = 0;
  /** Most handles that were in the queue at once. */
  longestQueue = 0;

  constructor(world: World) {
    this.#world = world;
    const { layout } = world;
    this.#at = world.ctl('io_handles');
    this.#count = world.ctl('io_handle_count');
    this.#stride = 1 << layout.number('HANDLE_SHIFT');
    this.#concurrency = world.ctl('io_max_concurrency');
    this.#backendsAt = world.ctl('backends');
    this.#control = world.ctl('worker_control');
    this.#workersAt = world.ctl('workers');
    this.#states = new Int32Array(this.#count);
    this.#generations = new Int32Array(this.#count);
    this.#taken = new Int32Array(this.#count);
    const names = [
      'PgAioHandle.generation',
      'PgAioHandle.result',
      'PgAioHandle.distilled_word',
      'PgAioHandle.distilled_result',
      'PgAioHandle.num_callbacks',
      'PgAioHandle.length',
      'PgAioHandle.fd',
      'PgAioHandle.node_next',
      'PgAioHandle.node_prev',
      'PgAioBackend.slot_state',
      'PgAioBackend.heir',
      'PgAioBackend.idle_head',
      'PgAioBackend.idle_count',
      'PgAioBackend.in_flight_head',
      'PgAioBackend.in_flight_tail',
      'PgAioBackend.in_flight_count',
      'PgAioBackend.handed_out_io',
      'PgAioBackend.num_staged_ios',
      'PgAioBackend.staged_ios',
      'PgAioBackend.estates',
      'PgAioBackend.io',
      'PgAioWorkerControl.lock',
      'PgAioWorkerControl.head',
      'PgAioWorkerControl.tail',
      'PgAioWorkerControl.nworkers',
      'PgAioWorkerControl.entries',
      'PgAioKernelIo.io',
      'PgAioKernelIos.places',
      'PgAioKernelIos.ios',
      'PgAioWorker.io',
      'PgAioWorker.kernel',
      'PgAioWorker.wake',
      'PgAioWorker.in_use',
    ];
    this.#field = Object.fromEntries(
      names.map((name) => [name.replace('.', '_'), layout.at(name)]),
    );
    if (layout.at('PgAioHandle.state') !== 0) throw new Error('the state is not the first word');
  }

  #of(name: string): number {
    return this.#field[name] ?? 0;
  }
  handleAt(id: number): number {
    return this.#at + id * this.#stride;
  }
  ownerOf(id: number): number {
    return Math.floor(id / this.#concurrency);
  }
  #backend(procno: number, field: string): number {
    const { layout } = this.#world;
    return this.#world.word(this.#backendAt(procno) + layout.at(`PgAioBackend.${field}`));
  }
  #backendAt(procno: number): number {
    return this.#backendsAt + (procno << this.#world.layout.number('BACKEND_SHIFT'));
  }
  #handle(id: number, field: string): number {
    return this.#world.word(this.handleAt(id) + this.#world.layout.at(`PgAioHandle.${field}`));
  }
  #controlWord(field: string): number {
    return this.#world.word(this.#control + this.#of(`PgAioWorkerControl_${field}`));
  }
  get workers(): number {
    return this.#controlWord('nworkers');
  }
  state(id: number): number {
    return this.#states[id] ?? 0;
  }
  generation(id: number): number {
    return this.#generations[id] ?? 0;
  }
  /** Whether the I/O of a reference is over. */
  isOver(id: number, generation: number): boolean {
    return this.generation(id) !== generation || this.state(id) >= COMPLETED_SHARED;
  }
  /** Generation of the handle whose state word this is, 0 for other words. */
  generationAt(at: number): number {
    const id = this.#idAt(at);
    return id < 0 ? 0 : this.generation(id);
  }
  #idAt(at: number): number {
    const id = (at - this.#at) / this.#stride;
    return Number.isInteger(id) && id >= 0 && id < this.#count ? id : -1;
  }
  isCompletedShared(at: number): boolean {
    return this.#idAt(at) >= 0 && this.#world.word(at) === COMPLETED_SHARED;
  }
  /** Words for a futex word. */
  place(at: number): string {
    const id = this.#idAt(at);
    if (id >= 0) return `state of ${id}`;
    if (at === this.#control) return 'queue lock';
    const worker =
      (at - this.#workersAt - this.#of('PgAioWorker_wake')) /
      this.#world.layout.number('WORKER_BYTES');
    if (Number.isInteger(worker) && worker >= 0 && worker < 32) return `worker ${worker}`;
    return `word ${at}`;
  }

  // At every step.

  afterStep(thread: Thread): void {
    const { words } = this.#world;
    const step = this.#stride >>> 2;
    const generationWord = this.#of('PgAioHandle_generation') >>> 2;
    const count = this.#count;
    for (let id = 0, at = this.#at >>> 2; id < count; id++, at += step) {
      if (words[at] !== this.#states[id] || words[at + generationWord] !== this.#generations[id]) {
        this.#changed(thread, id, words[at] ?? 0, words[at + generationWord] ?? 0);
      }
    }
    const lock = words[this.#control >>> 2] ?? 0;
    if (lock !== this.#lock) {
      this.#lock = lock;
      if (lock === 0) this.#checkQueue(thread);
    }
  }

  #changed(thread: Thread, id: number, state: number, generation: number): void {
    const before = this.state(id);
    const generationBefore = this.generation(id);
    this.#states[id] = state;
    this.#generations[id] = generation;
    if (generation !== generationBefore)
      this.#bumped(thread, id, before, generationBefore, generation);
    if (state !== before) this.#moved(thread, id, before, state);
  }

  #bumped(thread: Thread, id: number, state: number, before: number, now: number): void {
    if (before === 0 && now === 1) return; // laid out
    if (now !== before + 1) this.#world.fail(`generation of ${id} goes from ${before} to ${now}`);
    if (state !== HANDED_OUT && state !== COMPLETED_LOCAL) {
      this.#world.fail(`generation of ${id} moves while it is ${STATES[state]}`);
    }
    this.#mustOwn(thread, id, 'moves the generation');
  }

  #moved(thread: Thread, id: number, from: number, to: number): void {
    this.transitions++;
    const world = this.#world;
    world.note(
      () =>
        `${thread.name} moves ${id} from ${STATES[from]} to ${STATES[to]}, ` +
        `generation ${this.generation(id)}`,
    );
    if (((MOVES[from] ?? 0) & (1 << to)) === 0) {
      world.fail(`${thread.name} moves ${id} from ${STATES[from]} to ${STATES[to]}`);
    }
    if (to === COMPLETED_IO) this.#completedIo(thread, id);
    else if (to === COMPLETED_SHARED) this.#completedShared(thread, id);
    else this.#mustOwn(thread, id, `moves it to ${STATES[to]}`);
    if (to === HANDED_OUT) this.#taken[id] = this.generation(id);
    if (to !== IDLE) return;
    const more = this.generation(id) - (this.#taken[id] ?? 0);
    // Who ended between the two stores is cleaned up after with a further generation.
    if (more !== 1 && !(more === 2 && world.deaths > 0)) {
      world.fail(
        `${id} is IDLE with generation ${this.generation(id)}, was taken with ${this.#taken[id]}`,
      );
    }
  }

  /** The owner, or the heir of a dead one. */
  #mustOwn(thread: Thread, id: number, what: string): void {
    const owner = this.ownerOf(id);
    if (thread.procno === owner) return;
    const dead = (this.#backend(owner, 'slot_state') & SLOT_MASK) === SLOT_DEAD;
    if (dead && this.#backend(owner, 'heir') === thread.procno && thread.procno >= 0) return;
    this.#world.fail(`${thread.name} ${what}, handle ${id} is of backend ${owner}`);
  }

  #completedIo(thread: Thread, id: number): void {
    const { files } = this.#world;
    const generation = this.generation(id);
    const raw = this.#handle(id, 'result');
    const inRing = files.kernelThread.ended.get(id);
    const ended = thread.ended.get(id) ?? inRing;
    const executed = ended?.generation === generation && ended.raw === raw;
    if (!executed && raw !== -ECANCELED) {
      const had = ended?.raw ?? 'nothing';
      this.#world.fail(`${thread.name} completes ${id} with raw result ${raw}, had ${had} for it`);
    }
    const key = files.keyOf(id, generation);
    if (files.outcomes.has(key)) this.#world.fail(`${id} generation ${generation} ends twice`);
    files.outcomes.set(key, raw);
    this.#completer[id] = thread;
    thread.ended.delete(id);
    files.kernelThread.ended.delete(id);
  }

  #completedShared(thread: Thread, id: number): void {
    const world = this.#world;
    const completer = this.#completer[id];
    if (completer !== thread && completer?.status !== 'dead') {
      world.fail(`${thread.name} finishes ${id}, which ${completer?.name} completes`);
    }
    const raw = this.#handle(id, 'result');
    const callbacksAt = this.handleAt(id) + this.#of('PgAioHandle_num_callbacks');
    // What pages make of it their readers check.
    if (world.view.getInt32(this.handleAt(id) + this.#of('PgAioHandle_fd'), true) === REL_FD)
      return;
    const expected = distilled(raw, this.#handle(id, 'length'), world.view.getUint8(callbacksAt));
    const word = this.#handle(id, 'distilled_word');
    const result = this.#handle(id, 'distilled_result');
    if (((word >>> 6) & 7) !== expected.status || result !== expected.result) {
      const told = `${(word >>> 6) & 7}, ${result}`;
      world.fail(`${id} is COMPLETED_SHARED with ${told}; raw ${raw} makes ${wordsOf(expected)}`);
    }
  }

  /** A system call for `id` begins. Its generation. */
  startExecution(thread: Thread, id: number): number {
    if (!Number.isInteger(id) || id < 0 || id >= this.#count) this.#world.fail(`no handle ${id}`);
    const state = this.#world.word(this.handleAt(id));
    if (state !== SUBMITTED && thread.status !== 'dead') {
      this.#world.fail(`${thread.name} executes ${id}, which is ${STATES[state]}`);
    }
    return this.generation(id);
  }

  #entries(): number[] {
    const mask = this.#world.layout.number('IO_WORKER_QUEUE_SIZE') - 1;
    const found: number[] = [];
    const tail = this.#controlWord('tail');
    for (let number = this.#controlWord('head'); number !== tail; number = (number + 1) | 0) {
      if (found.length > mask) this.#world.fail('more entries than the queue has');
      found.push(
        this.#world.word(
          this.#control + this.#of('PgAioWorkerControl_entries') + 4 * (number & mask),
        ),
      );
    }
    return found.filter((id) => id !== NONE);
  }

  /** The queue's lock was given back: each entry once, each submitted, none gone astray. */
  #checkQueue(thread: Thread): void {
    const entries = this.#entries();
    if (entries.length > this.longestQueue) this.longestQueue = entries.length;
    for (const [index, id] of entries.entries()) {
      if (entries.indexOf(id) !== index) this.#world.fail(`${id} is queued twice`);
      const state = this.#world.word(this.handleAt(id));
      if (state !== SUBMITTED)
        this.#world.fail(`${id} is queued and ${STATES[state]} (${thread.name})`);
    }
    for (const id of this.#queue) {
      if (!entries.includes(id) && !this.#isUndertaken(id)) {
        this.#world.fail(`${thread.name} takes ${id} out of the queue and nobody has it`);
      }
    }
    this.#queue = entries;
  }

  #isUndertaken(id: number): boolean {
    for (let worker = 0; worker < 32; worker++) if (this.#workerHas(worker, id)) return true;
    for (let procno = 0; procno * this.#concurrency < this.#count; procno++) {
      if (this.#backend(procno, 'io') === id) return true;
    }
    return false;
  }

  /** Whether it executes that handle, or has it under way. */
  #workerHas(worker: number, id: number): boolean {
    const { layout } = this.#world;
    const at = this.#workersAt + worker * layout.number('WORKER_BYTES');
    if (this.#world.word(at + this.#of('PgAioWorker_io')) === id) return true;
    const kernel = at + this.#of('PgAioWorker_kernel');
    const ios = kernel + this.#of('PgAioKernelIos_ios') + this.#of('PgAioKernelIo_io');
    const places = this.#world.word(kernel + this.#of('PgAioKernelIos_places'));
    for (let place = 0; places >>> place !== 0; place++) {
      const io = this.#world.word(ios + place * layout.number('KAIO_IO_BYTES'));
      if (((places >>> place) & 1) === 1 && io === id) return true;
    }
    return false;
  }

  // When a backend is outside the core.

  afterCall(thread: Thread): void {
    if (thread.callName === 'pgaio_shutdown' && thread.result >= 0) thread.procno = -1;
    const procno = thread.procno;
    if (procno < 0) return;
    const at = this.#backendAt(procno);
    const word = (name: string) => this.#world.word(at + this.#of(`PgAioBackend_${name}`));
    const next = this.#of('PgAioHandle_node_next');
    let seen = 0;
    const visit = (id: number, what: string, from: number, to: number) => {
      const state = this.#world.word(this.handleAt(id));
      if (this.ownerOf(id) !== procno || state < from || state > to) {
        this.#world.fail(`${id} is ${STATES[state]} and in ${what} of backend ${procno}`);
      }
      if (++seen > this.#concurrency) this.#world.fail(`lists of backend ${procno} hold too much`);
    };
    let idle = 0;
    for (
      let id = word('idle_head');
      id !== NONE;
      id = this.#world.word(this.handleAt(id) + next), idle++
    ) {
      visit(id, 'the idle stack', IDLE, IDLE);
    }
    let inFlight = 0;
    for (
      let id = word('in_flight_head');
      id !== NONE;
      id = this.#world.word(this.handleAt(id) + next), inFlight++
    ) {
      visit(id, 'the in-flight list', SUBMITTED, COMPLETED_SHARED);
    }
    const staged = word('num_staged_ios');
    const stagedAt = at + this.#of('PgAioBackend_staged_ios');
    for (let i = 0; i < staged; i++) {
      visit(this.#world.word(stagedAt + 4 * i), 'the staged array', STAGED, STAGED);
    }
    if (word('handed_out_io') !== NONE)
      visit(word('handed_out_io'), 'handed_out_io', HANDED_OUT, HANDED_OUT);
    if (
      idle !== word('idle_count') ||
      inFlight !== word('in_flight_count') ||
      seen !== this.#concurrency
    ) {
      this.#world.fail(
        `backend ${procno}: ${idle} of ${word('idle_count')} idle, ` +
          `${inFlight} of ${word('in_flight_count')} in flight, ${seen} in all`,
      );
    }
  }

  // When nobody can run.

  /** Nobody may sleep although what he waits for has come. */
  atRest(): void {
    const world = this.#world;
    if (world.untold.length > 0) return;
    for (const thread of world.threads) {
      if (thread.status !== 'waiting') continue;
      const now = world.word(thread.waitAt);
      if (now === thread.waitExpected && this.generationAt(thread.waitAt) === thread.waitGeneration)
        continue;
      const id = this.#idAt(thread.waitAt);
      // On these two moves nobody is woken, and nobody needs to be.
      if (id >= 0 && this.generation(id) === thread.waitGeneration) {
        if (thread.waitExpected === SUBMITTED && now === COMPLETED_IO) continue;
        if (thread.waitExpected === DEFINED && now === STAGED) continue;
      }
      world.fail(
        `lost wake-up: ${thread.name} sleeps on ${this.place(thread.waitAt)} = ` +
          `${thread.waitExpected}, is ${now}`,
      );
    }
    for (let id = 0; id < this.#count; id++) this.#restingHandle(id);
  }

  #restingHandle(id: number): void {
    const world = this.#world;
    const state = this.state(id);
    if (state === COMPLETED_SHARED) {
      const owner = world.threads.find(
        (thread) =>
          thread.procno === this.ownerOf(id) && thread.status === 'waiting' && !thread.inCall,
      );
      if (owner !== undefined)
        world.fail(`lost wake-up: ${owner.name} sleeps on its doorbell, ${id} is COMPLETED_SHARED`);
    }
    if (state === COMPLETED_IO) world.fail(`nobody runs, and ${id} stays COMPLETED_IO`);
    // A completion in a ring is seen by who waits for it, or when its owner looks.
    if (state !== SUBMITTED || world.rings.any) return;
    if (!this.#entries().includes(id)) world.fail(`nobody runs, and ${id} stays SUBMITTED`);
    if (this.workers > 0)
      world.fail(
        `nobody runs, ${this.workers} workers sleep, and ${id} is queued: ${world.describe()}`,
      );
  }

  /** A wait may look up after a while, but must not depend on it. */
  beforeTimeout(thread: Thread): void {
    const world = this.#world;
    const inKernel = thread.status === 'kernel';
    if ((!inKernel && thread.status !== 'waiting') || thread.waitNs !== LOOK_AGAIN_NS) return;
    if (world.untold.length > 0 || world.threads.some(({ status }) => status === 'sleeping'))
      return;
    // Who waits in the kernel for an I/O that a thread had not got there before it ended.
    if (inKernel && world.deaths > 0) return;
    // The last worker left or died: waiters that counted on it help themselves after a while.
    if (this.workers === 0 && this.#entries().length > 0) return;
    world.fail(`${thread.name} goes on only because its time is up: ${world.describe()}`);
  }

  // When everybody has left.

  atEnd(): void {
    const world = this.#world;
    for (let id = 0; id < this.#count; id++) {
      if (this.state(id) !== IDLE) world.fail(`in the end ${id} is ${STATES[this.state(id)]}`);
    }
    for (let procno = 0; procno * this.#concurrency < this.#count; procno++) {
      const state = this.#backend(procno, 'slot_state') & SLOT_MASK;
      if (state !== SLOT_FREE) world.fail(`in the end slot ${procno} is in state ${state}`);
      if (this.#backend(procno, 'idle_count') !== this.#concurrency)
        world.fail(`in the end backend ${procno} lacks handles`);
      if (this.#backend(procno, 'estates') !== 0)
        world.fail(`in the end backend ${procno} is heir`);
    }
    const owners = world.ctl('frame_owners');
    for (let frame = 0; frame < world.ctl('io_frames'); frame++) {
      const owner = world.view.getUint16(owners + 2 * frame, true);
      if (owner !== 0) world.fail(`in the end frame ${frame} is backend ${owner - 1}'s`);
    }
    this.#buffersAtEnd();
    if (this.#entries().length > 0) world.fail('in the end the queue is not empty');
    if (this.workers !== 0) world.fail(`in the end there are ${this.workers} workers`);
    for (const lock of ['frame_lock', 'file_lock']) {
      if (world.ctl(lock) !== 0) world.fail(`in the end ${lock} is held`);
    }
    if (this.#controlWord('lock') !== 0) world.fail('in the end the queue is locked');
  }

  /** Nobody holds a buffer, and no write slot is taken. */
  #buffersAtEnd(): void {
    const world = this.#world;
    const { layout } = world;
    for (let buffer = 0; buffer < world.ctl('shared_buffers'); buffer++) {
      const at = world.ctl('buffer_descs') + buffer * 64;
      const state = world.word(at);
      const held = state & layout.number('BUF_REFCOUNT_MASK');
      if (held !== 0) world.fail(`in the end buffer ${buffer + 1} has ${held} pins`);
      if ((state & layout.number('BM_IO_IN_PROGRESS')) !== 0) {
        world.fail(`in the end I/O on buffer ${buffer + 1} is under way`);
      }
      if (world.word(at + 4) !== 0) world.fail(`in the end buffer ${buffer + 1} is locked`);
    }
    const slots = world.ctl('write_slots');
    for (let slot = slots; slot < world.ctl('buffer_scratch'); slot += 64) {
      if (world.word(slot) !== 0) world.fail('in the end a write slot is taken');
    }
  }
}
