/**
 * The programs: who takes part, with which settings and habits. All is drawn from the run's seed.
 * In each, a host thread (a backend, too) does what a process's main thread does: it starts I/O
 * workers, tells itself of threads that ended, and at the end sends the workers home.
 */
import { attach, Backend, Board, type FileKind, type Habits } from './backend.ts';
import { Changes, PoolUser } from './pool.ts';
import type { Random } from './random.ts';
import type { Part, Program, Settings, Thread, World } from './world.ts';

interface Plan {
  readonly settings: Settings;
  readonly backends: number;
  readonly workers: number;
  readonly habits: Habits;
  /** One system call in so many fails; 0 none. */
  readonly errors: number;
  /** Threads that end somewhere in the middle. */
  readonly deaths: number;
  /** They end at moments that are hard to hit by chance. */
  readonly aimed?: boolean;
  /** I/O workers come and go. */
  readonly pool: boolean;
  readonly board: number;
  readonly files: FileKind;
  /** Rounds with the buffer pool instead of plain I/O; 0 none. */
  readonly buffers?: number;
}

const SETTINGS: Settings = {
  IO_METHOD: 1,
  IO_MAX_CONCURRENCY: 2,
  IO_MAX_COMBINE_LIMIT: 2,
  MAX_BACKENDS: 4,
  SHARED_BUFFERS: 16,
  IO_FRAMES: 32,
  BLOCK_SIZE: 1024,
  LOCAL_MEMORY: 4096,
  TRACE_SIZE: 16,
  MAX_FILES: 64,
};

const ALL_WAYS = {
  start: 6,
  wait: 2,
  timed: 1,
  check: 2,
  drain: 1,
  doorbell: 1,
  foreign: 3,
  old: 1,
};

const BASE: Plan = {
  settings: SETTINGS,
  backends: 2,
  workers: 1,
  habits: { rounds: 24, most: 2, weights: ALL_WAYS, batches: 4, loop: true },
  errors: 12,
  deaths: 0,
  pool: false,
  board: 6,
  files: 'common',
};

/** Some of the ways, to have more of each. */
const waysOf = (random: Random) =>
  random.pick<Habits['weights']>([
    ALL_WAYS,
    { start: 3, foreign: 5, old: 1 },
    { start: 4, doorbell: 5, drain: 1 },
    { start: 4, wait: 3, timed: 1 },
  ]);

const habits = (more: Partial<Habits>): Habits => ({ ...BASE.habits, ...more });
const settings = (more: Settings): Settings => ({ ...SETTINGS, ...more });

const deathPlan = (random: Random): Plan => ({
  ...BASE,
  settings: settings({ IO_MAX_CONCURRENCY: random.range(1, 3), MAX_BACKENDS: 5 }),
  files: random.once(4) ? 'own' : 'common',
  backends: 3,
  workers: random.below(3),
  habits: habits({ rounds: 16, most: 3, batches: random.range(1, 4), weights: waysOf(random) }),
  deaths: random.range(1, 6),
});

/** Workers have several I/Os under way at once. */
const togetherPlan = (random: Random): Plan => ({
  ...BASE,
  settings: settings({ IO_MAX_CONCURRENCY: random.range(3, 7), MAX_BACKENDS: 5 }),
  files: 'direct',
  backends: random.range(1, 3),
  workers: random.range(1, 3),
  habits: habits({ rounds: 16, most: 6, batches: random.range(1, 3), weights: waysOf(random) }),
});

/** Method io_uring: the kernel executes, and anybody deals with what has ended. */
const ringsPlan = (random: Random): Plan => ({
  ...BASE,
  settings: settings({
    IO_METHOD: 2,
    RING: random.below(2),
    IO_MAX_CONCURRENCY: random.range(1, 4),
    MAX_BACKENDS: 5,
  }),
  backends: random.range(1, 3),
  workers: 0,
  habits: habits({ rounds: 16, most: 4, batches: random.range(1, 3), weights: waysOf(random) }),
});

/** What takes part in each program, for a seed. */
export const PROGRAMS: Readonly<Record<string, (random: Random) => Plan>> = {
  /** Backends that finish each other's I/O. */
  exchange: (random) => ({
    ...BASE,
    settings: settings({ IO_MAX_CONCURRENCY: random.range(2, 4) }),
    files: random.once(4) ? 'own' : 'common',
    workers: random.below(3),
  }),
  /** Waiters that come while an I/O is only staged. */
  staged: (random) => ({
    ...BASE,
    settings: settings({ IO_MAX_CONCURRENCY: random.range(2, 3) }),
    backends: random.range(2, 3),
    workers: random.below(3),
    habits: habits({ batches: 1, most: 3, weights: { start: 3, foreign: 5, check: 1 } }),
    board: 3,
  }),
  /** More I/O than handles: acquire has to wait. */
  exhausted: (random) => ({
    ...BASE,
    settings: settings({ IO_MAX_CONCURRENCY: random.range(1, 3) }),
    workers: random.range(0, 2),
    habits: habits({ most: 4, batches: 3, weights: { start: 5, foreign: 1, drain: 1 } }),
  }),
  /** More I/O than the queue holds. */
  overflow: (random) => ({
    ...BASE,
    settings: settings({ IO_MAX_CONCURRENCY: random.range(40, 75), IO_FRAMES: 240 }),
    workers: random.below(2),
    habits: habits({ rounds: 5, most: 60, batches: 2, weights: { start: 3, drain: 1, check: 1 } }),
    deaths: random.below(3),
  }),
  /** Threads that end anywhere. */
  death: (random) => deathPlan(random),
  /** Threads that end with the queue locked, or just after they moved a handle. */
  aimed: (random) => ({ ...deathPlan(random), aimed: true }),
  /** Owners that sleep on their doorbell. */
  doorbell: (random) => ({
    ...BASE,
    settings: settings({ IO_MAX_CONCURRENCY: random.range(1, 4) }),
    backends: random.range(1, 3),
    workers: random.range(1, 2),
    habits: habits({ weights: { start: 4, doorbell: 5, drain: 1, foreign: 1 } }),
  }),
  /** References to handles that were used again many times. */
  reuse: (random) => ({
    ...BASE,
    settings: settings({ IO_MAX_CONCURRENCY: 1 }),
    backends: random.range(2, 3),
    workers: random.below(2),
    habits: habits({
      rounds: 40,
      most: 1,
      weights: { start: 4, wait: 2, check: 1, foreign: 4, old: 4 },
    }),
    board: 12,
  }),
  /** A buffer pool that is too small for what is read and changed in it. */
  buffers: (random) => ({
    ...BASE,
    settings: settings({ IO_MAX_CONCURRENCY: random.range(2, 4), DATA_CHECKSUMS: 0 }),
    backends: random.range(2, 3),
    workers: random.below(3),
    buffers: 20,
  }),
  /** The same, and threads end while they hold it. */
  buffersDeath: (random) => ({
    ...deathPlan(random),
    settings: settings({
      IO_MAX_CONCURRENCY: random.range(2, 4),
      MAX_BACKENDS: 5,
      DATA_CHECKSUMS: 0,
    }),
    files: 'common',
    buffers: 16,
  }),
  /** Workers that have several I/Os under way at once. */
  together: (random) => togetherPlan(random),
  /** The same, and threads end meanwhile. */
  togetherDeath: (random) => ({ ...togetherPlan(random), deaths: random.range(1, 6) }),
  /** The same at moments that are hard to hit. */
  togetherAimed: (random) => ({
    ...togetherPlan(random),
    deaths: random.range(1, 6),
    aimed: true,
  }),
  /** Rings of the kernel's. */
  rings: (random) => ringsPlan(random),
  /** The same, and threads end meanwhile. */
  ringsDeath: (random) => ({ ...ringsPlan(random), deaths: random.range(1, 6) }),
  /** The same at moments that are hard to hit. */
  ringsAimed: (random) => ({ ...ringsPlan(random), deaths: random.range(1, 6), aimed: true }),
  /** A buffer pool whose pages rings bring, and take back. */
  buffersRings: (random) => ({
    ...ringsPlan(random),
    settings: settings({
      IO_METHOD: 2,
      RING: random.below(2),
      IO_MAX_CONCURRENCY: random.range(2, 4),
      MAX_BACKENDS: 5,
      DATA_CHECKSUMS: 0,
    }),
    backends: random.range(2, 3),
    deaths: random.once(2) ? random.range(1, 4) : 0,
    buffers: 16,
  }),
  /** Workers that come when there is much to do, and leave when there is not. */
  pool: (random) => ({
    ...BASE,
    settings: settings({ IO_MAX_CONCURRENCY: random.range(3, 6) }),
    workers: 1,
    habits: habits({
      most: 6,
      batches: 1,
      weights: { start: 4, wait: 2, doorbell: 1, foreign: 1 },
    }),
    deaths: random.below(3),
    pool: true,
  }),
};

/** The threads of a run and what they share. */
export class Cast {
  readonly world: World;
  readonly plan: Plan;
  readonly board: Board;
  readonly #changes = new Changes();
  #backendsLeft: number;
  #begun = 0;
  #joined = 0;
  #stopping = false;
  #deaths: number;
  readonly backends: Thread[] = [];
  readonly workers: (Thread | undefined)[] = [];
  #host: Thread | undefined;

  constructor(world: World, plan: Plan) {
    this.world = world;
    this.plan = plan;
    this.board = new Board(plan.board);
    this.#backendsLeft = plan.backends;
    this.#deaths = plan.deaths;
    world.files.errors = world.random.once(3) ? 0 : plan.errors;
    world.files.kernel = plan.files === 'direct' && !world.random.once(8);
    world.onDeath = (dead) => this.#chooseTeller(dead);
    world.onRest = () => {
      for (const dead of world.untold) dead.teller = this.#host;
    };
    this.#host = world.spawn('host', (thread) => this.#hostProgram(thread));
    for (let i = 0; i < plan.backends; i++) this.#spawnBackend();
  }

  #spawnBackend(): void {
    const name = `backend ${String.fromCharCode(65 + (this.#begun++ % 26))}`;
    this.backends.push(this.world.spawn(name, (thread) => this.#backendProgram(thread)));
  }

  *#backendProgram(thread: Thread): Program {
    const backend = new Backend(this.world, thread, this.board, this.plan.files);
    if (!(yield* backend.join())) {
      if (this.world.deaths === 0) this.world.fail(`${thread.name} finds no slot`);
      this.#backendsLeft--; // those of the dead are not settled yet
      return;
    }
    yield* backend.prepare();
    this.#joined++;
    if (this.#joined === this.plan.backends) this.#planDeath();
    if (this.plan.buffers === undefined) {
      yield* backend.live({ ...this.plan.habits, loop: this.plan.workers > 0 }, () =>
        this.#tell(thread),
      );
    } else {
      const user = new PoolUser(this.world, thread, this.#changes, this.plan.deaths > 0);
      yield* user.live(this.plan.buffers, () => this.#tell(thread));
    }
    yield* backend.leave();
    this.#backendsLeft--;
  }

  #spawnWorker(id: number): void {
    const name = `worker ${id}`;
    this.workers[id] = this.world.spawn(name, (thread) => this.#workerProgram(thread, id));
  }

  *#workerProgram(thread: Thread, id: number): Program {
    yield* attach(this.world, thread);
    yield* thread.ok('pgaio_init_worker', id);
    yield* thread.ok('pgaio_worker_main', id);
    this.workers[id] = undefined;
  }

  /** Chooses whom to end, and when. */
  #planDeath(): void {
    if (this.#deaths === 0) return;
    const { world } = this;
    this.#deaths--;
    world.killAt = world.steps + world.random.below(1500);
    const mayEnd = (thread: Thread | undefined): thread is Thread =>
      thread !== undefined &&
      (thread.procno >= 0 || thread.name.startsWith('worker')) &&
      thread.status !== 'done' &&
      thread.status !== 'dead';
    if (this.plan.aimed === true) {
      this.#aim(mayEnd);
      return;
    }
    world.victim = () => {
      const alive = [...this.backends, ...this.workers].filter(mayEnd);
      return alive[world.random.below(alive.length || 1)];
    };
  }

  /** Whoever is at such a moment ends. */
  #aim(mayEnd: (thread: Thread) => boolean): void {
    const { world } = this;
    const { invariants, random } = world;
    const locks = this.#locks();
    const locked = random.once(2);
    let moved = invariants.transitions;
    let passed = random.below(6);
    world.isMoment = (current) => {
      const isNow = locked
        ? locks.some((lock) => (world.word(lock) & 0x7fffffff) === current.number + 1)
        : invariants.transitions !== moved;
      moved = invariants.transitions;
      return isNow && current !== this.#host && mayEnd(current) && passed-- <= 0;
    };
    world.victim = (current) => current;
  }

  /** Of the queue, or of the rings. */
  #locks(): readonly number[] {
    const { layout } = this.world;
    const queue = this.world.ctl('worker_control') + layout.at('PgAioWorkerControl.lock');
    if (this.plan.settings.IO_METHOD !== 2) return [queue];
    const first = this.world.ctl('uring_contexts') + layout.at('PgAioUringContext.lock');
    const bytes = layout.number('URING_CONTEXT_BYTES');
    const count = this.plan.settings.MAX_BACKENDS ?? 0;
    return Array.from({ length: count }, (_, procno) => first + procno * bytes);
  }

  *#hostProgram(thread: Thread): Program {
    const { world, plan } = this;
    const backend = new Backend(world, thread, this.board, plan.files);
    if (!(yield* backend.join())) world.fail('the host finds no slot');
    if (plan.pool) yield* this.#shrinkTimes(thread);
    if (plan.files === 'direct') yield* this.#limitTogether(thread);
    for (let id = 0; id < plan.workers; id++) this.#spawnWorker(id);
    const bell = world.ctl('worker_control') + world.layout.at('PgAioWorkerControl.pool_doorbell');
    let rung = world.word(bell);
    while (this.#backendsLeft > 0 || world.untold.length > 0) {
      yield* world.until(
        thread,
        () =>
          (this.#backendsLeft === 0 && world.untold.length === 0) ||
          this.#isTeller(thread) ||
          (plan.pool && world.word(bell) !== rung),
      );
      yield* this.#tell(thread);
      if (plan.pool && world.word(bell) !== rung) rung = yield* this.#grow(thread, bell);
      if (plan.pool && world.random.once(4)) yield* this.#changePool(thread);
      if (plan.deaths > 0) yield* thread.ok('pgaio_drain_completed');
    }
    yield* thread.ok('pgaio_stop_workers');
    this.#stopping = true;
    while (this.workers.some((worker) => worker !== undefined)) {
      yield* world.until(
        thread,
        () => this.#isTeller(thread) || this.workers.every((worker) => worker === undefined),
      );
      yield* this.#tell(thread);
    }
    yield* backend.leave();
  }

  /** The host, as a rule, or a backend that comes by. */
  #chooseTeller(dead: Thread): void {
    const { random } = this.world;
    const others = this.backends.filter(({ status }) => status !== 'done' && status !== 'dead');
    dead.teller = random.once(2) ? others[random.below(others.length || 1)] : undefined;
    dead.teller ??= this.#host;
    for (const other of this.world.untold) {
      if (other.teller?.status === 'dead') other.teller = this.#host; // it may have got half way
    }
  }

  #isTeller(thread: Thread): boolean {
    return this.world.untold.some(({ teller }) => teller === thread);
  }

  *#tell(thread: Thread): Part<void> {
    while (true) {
      const dead = this.world.untold.find(({ teller }) => teller === thread);
      if (dead === undefined) return;
      yield* this.#bury(thread, dead);
    }
  }

  /** A thread has ended: somebody tells the core, and begins another in its place. */
  *#bury(thread: Thread, dead: Thread): Part<void> {
    const { world } = this;
    yield* thread.ok('pgaio_thread_ended', dead.number);
    const at = world.untold.indexOf(dead);
    if (at < 0) return; // another was faster
    world.untold.splice(at, 1);
    const id = this.workers.indexOf(dead);
    if (id >= 0) {
      this.workers[id] = undefined;
      if (!this.#stopping) this.#spawnWorker(id);
    }
    const index = this.backends.indexOf(dead);
    if (index >= 0) {
      this.backends.splice(index, 1);
      if (world.random.once(3) && !this.#stopping) this.#spawnBackend();
      else this.#backendsLeft--;
    }
    this.#planDeath();
  }

  *#limitTogether(thread: Thread): Part<void> {
    const { layout, random } = this.world;
    const most = random.pick([1, 2, 3, 8]);
    yield* thread.ok('pgaio_set_guc', layout.number('GUC_IO_WORKER_CONCURRENCY'), most);
  }

  *#shrinkTimes(thread: Thread): Part<void> {
    const { layout } = this.world;
    yield* thread.ok('pgaio_set_guc', layout.number('GUC_IO_MIN_WORKERS'), 1);
    yield* thread.ok('pgaio_set_guc', layout.number('GUC_IO_MAX_WORKERS'), 3);
    yield* thread.ok('pgaio_set_guc', layout.number('GUC_IO_WORKER_IDLE_TIMEOUT'), 1);
  }

  /** The doorbell of the pool was rung: one more worker, if that is still wanted. */
  *#grow(thread: Thread, bell: number): Part<number> {
    const rung = this.world.word(bell);
    const wanted = yield* thread.ok('pgaio_take_growth');
    const free = [0, 1, 2].find((id) => this.workers[id] === undefined);
    if (wanted === 1 && free !== undefined) this.#spawnWorker(free);
    return rung;
  }

  *#changePool(thread: Thread): Part<void> {
    const { layout, random } = this.world;
    const most = random.range(1, 3);
    yield* thread.ok('pgaio_set_guc', layout.number('GUC_IO_MAX_WORKERS'), most);
    yield* thread.ok('pgaio_wake_workers');
  }
}
