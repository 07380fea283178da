/**
 * Waiting: references that outlive their I/O, what asking has for effects, waits that need no
 * blocking, those that cannot be, and a waiter in another thread that came too early.
 */
import { on } from 'node:events';
import { isMainThread, Worker } from 'node:worker_threads';
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import {
  assertSame,
  type Bench,
  endOf,
  forEachMethod,
  IN_FLIGHT_ONLY,
  type Io,
  numberedBlocks,
  type Restriction,
  SHARED_ONLY,
  SYNC_ONLY,
  usageOf,
} from './harness.ts';
import {
  armed,
  doorbells,
  filledReturns,
  handOver,
  inFlight,
  OK_ONE,
  timedWaits,
} from './wait-cases.ts';
import { type Message, serve, type WorkerData } from './wait-worker.ts';

/** After that a sleeper looks again by itself. One that has just lain down is woken before. */
const SLEEP_MS = 100;

function references(): void {
  forEachMethod('wait: references', (test, open) => {
    test('are valid from when they are taken until they are cleared', async () => {
      const bench = await open();
      const { pg } = bench;
      const ref = pg.alloc(16);
      const ioh = pg.pgaio_io_acquire(0, 0);
      pg.pgaio_wref_clear(ref);
      assert.is(pg.pgaio_wref_valid(ref), false);
      assert.is(bench.u32[ref / 4], 0xffffffff);
      pg.pgaio_io_get_wref(ioh, ref);
      assert.is(pg.pgaio_wref_valid(ref), true);
      assert.is(pg.pgaio_wref_get_id(ref), 0);
      pg.pgaio_io_release(ioh);
      assert.is(pg.pgaio_wref_valid(ref), true, 'valid says nothing of the I/O');
      assert.is(pg.pgaio_wref_is_done(ref), true);
      bench.u32.set([11, 22], ref / 4 + 1);
      pg.pgaio_wref_clear(ref);
      const words = Array.from(bench.u32.subarray(ref / 4, ref / 4 + 3));
      assert.equal(words, [0xffffffff, 11, 22], 'clearing touches the index only');
      for (const ask of [
        () => pg.pgaio_wref_get_id(ref),
        () => pg.pgaio_wref_wait(ref),
        () => pg.pgaio_wref_is_done(ref),
        () => pg.pgaio_wref_check_done(ref),
      ]) {
        assert.is(endOf(ask), 'PGAIO_BAD_WREF');
      }
      bench.assertUsable();
    });

    test('are done once their handle was given back, without any wait', async () => {
      const bench = await open();
      const { pg } = bench;
      const ref = pg.alloc(16);
      const ioh = pg.pgaio_io_acquire(0, 0);
      pg.pgaio_io_get_wref(ioh, ref);
      assert.is(pg.pgaio_wref_is_done(ref), false);
      assert.is(pg.pgaio_wref_check_done(ref), false);
      pg.pgaio_io_release(ioh);
      pg.pgaio_wref_wait(ref);
      assert.is(pg.pgaio_wref_check_done(ref), true);
    });

    test('stay done while the handle serves other I/Os, 65539 times', async () => {
      const bench = await open({ trace: false });
      const guest = await bench.join();
      const { pg } = bench;
      const fd = bench.file('data', numberedBlocks(1));
      const io = bench.read({ fd });
      const theirs = handOver(io, bench, guest);
      const place = pg.alloc(16);
      for (let round = 0; round < 2 ** 16 + 3; round++) {
        const ioh = pg.pgaio_io_acquire(0, 0);
        if (round % 4096 !== 0) {
          pg.pgaio_io_release(ioh);
          continue;
        }
        pg.pgaio_io_get_wref(ioh, place);
        assert.is(pg.pgaio_wref_is_done(place), false);
        for (const [backend, ref] of [
          [bench, io.ref],
          [guest, theirs],
        ] as const) {
          assert.is(backend.pg.pgaio_wref_is_done(ref), true);
          assert.is(backend.pg.pgaio_wref_check_done(ref), true);
          backend.pg.pgaio_wref_wait(ref);
        }
        assert.is(bench.stateOf(0), 'HANDED_OUT', 'the I/O of today is not touched');
        pg.pgaio_io_release(ioh);
      }
      assert.is(bench.generation(0), 2n ** 16n + 5n);
      assert.equal(bench.result(io), OK_ONE);
    });

    test('of another generation are over, in either half of it', async () => {
      const bench = await open();
      const guest = await bench.join();
      const ref = bench.pg.alloc(16);
      bench.pg.pgaio_io_acquire(0, 0);
      for (const [high, low] of [
        [0, 0],
        [0, 2],
        [1, 1],
        [0xffffffff, 0xffffffff],
      ] as const) {
        bench.u32.set([0, high, low], ref / 4);
        assert.is(bench.pg.pgaio_wref_is_done(ref), true, `${high} ${low}`);
        assert.is(bench.pg.pgaio_wref_check_done(ref), true);
        bench.pg.pgaio_wref_wait(ref);
        guest.pg.pgaio_wref_wait(ref);
      }
    });

    test('need no wait when start has done it all', async () => {
      const bench = await open();
      const guest = await bench.join();
      const io = inFlight(bench, { flags: layout.PGAIO_HF_SYNCHRONOUS });
      assert.is(bench.stateOf(io.id), 'IDLE');
      assert.equal(bench.result(io), OK_ONE);
      const theirs = handOver(io, bench, guest);
      assert.is(guest.pg.pgaio_wref_is_done(theirs), true);
      guest.pg.pgaio_wref_wait(theirs);
      bench.pg.pgaio_wref_wait(io.ref);
      assert.equal(bench.device.waits, []);
    });
  });
}

function waits(): void {
  forEachMethod(
    'wait: in flight',
    (test, open) => {
      test('is not over, whoever asks', async () => {
        const bench = await open();
        const guest = await bench.join();
        const io = inFlight(bench);
        const theirs = handOver(io, bench, guest);
        const before = bench.engine();
        for (const { pg, ref } of [
          { pg: bench.pg, ref: io.ref },
          { pg: guest.pg, ref: theirs },
        ]) {
          assert.is(pg.pgaio_wref_is_done(ref), false);
          assert.is(pg.pgaio_wref_check_done(ref), false);
        }
        assertSame(bench.engine(), before);
        assert.equal(bench.device.waits, [], 'asking makes no progress');
        bench.device.completeAll();
        bench.assertUsable();
      });

      test('has the device complete it, and reclaims it', async () => {
        const bench = await open();
        const io = inFlight(bench);
        bench.pg.pgaio_wref_wait(io.ref);
        assert.equal(bench.device.waits, [io.id]);
        assert.equal(bench.result(io), OK_ONE);
        assert.is(bench.u8[io.at], 2);
        bench.pg.pgaio_wref_wait(io.ref);
        assert.equal(bench.device.waits, [io.id], 'once');
        bench.assertUsable();
      });

      test('by another backend asks that one’s device, and the rest is the owner’s', async () => {
        const bench = await open();
        const guest = await bench.join();
        const io = inFlight(bench);
        const theirs = handOver(io, bench, guest);
        guest.device.onWait = (id) => guest.device.complete(id, 8192);
        guest.pg.pgaio_wref_wait(theirs);
        assert.equal(guest.device.waits, [io.id]);
        assert.equal(bench.device.waits, []);
        assert.is(bench.stateOf(io.id), 'COMPLETED_SHARED');
        assert.is(bench.result(io).status, 'UNKNOWN', 'only its owner fills in the result');
        assert.is(guest.pg.pgaio_wref_check_done(theirs), true);
        assert.is(bench.stateOf(io.id), 'COMPLETED_SHARED', 'and reclaims it');
        assert.is(bench.pg.pgaio_wref_is_done(io.ref), true);
        assert.is(bench.stateOf(io.id), 'COMPLETED_SHARED', 'asking is not looking');
        assert.is(bench.pg.pgaio_wref_check_done(io.ref), true);
        assert.equal(bench.result(io), OK_ONE);
        bench.assertUsable();
        guest.assertUsable();
      });

      test('ends when the device completes others before it', async () => {
        const bench = await open();
        const fd = bench.file('data', numberedBlocks(4));
        const ios = [0, 1, 2].map((block) => {
          const io = bench.define({ fd, block });
          bench.start(io);
          return io;
        });
        bench.device.onWait = () => bench.device.completeAll();
        bench.pg.pgaio_wref_wait(ios[2]?.ref ?? 0);
        for (const io of ios) assert.equal(bench.result(io), OK_ONE);
        bench.assertUsable();
      });

      test('ends when the device reuses the handle meanwhile', async () => {
        const bench = await open({ io_max_concurrency: 1 });
        const io = inFlight(bench);
        let next: Io | undefined;
        bench.device.onWait = (id) => {
          bench.device.complete(id);
          next = bench.define({ fd: io.fd });
          bench.start(next);
        };
        bench.pg.pgaio_wref_wait(io.ref);
        assert.equal(bench.result(io), OK_ONE);
        assert.is(next?.id, io.id);
        assert.is(bench.stateOf(io.id), 'SUBMITTED');
        bench.device.completeAll();
        bench.assertUsable();
      });

      for (const [name, onWait] of [
        ['does nothing', () => undefined],
        ['throws', () => assert.unreachable()],
      ] as const) {
        test(`says that it cannot be when the device ${name}`, async () => {
          const bench = await open();
          const guest = await bench.join();
          const io = inFlight(bench);
          const theirs = handOver(io, bench, guest);
          bench.device.onWait = onWait;
          guest.device.onWait = onWait;
          for (const act of [
            () => bench.pg.pgaio_wref_wait(io.ref),
            () => guest.pg.pgaio_wref_wait(theirs),
            () => bench.pg.pgaio_closing_fd(io.fd),
            () => bench.pg.pgaio_shutdown(),
          ]) {
            const error = usageOf(act);
            assert.is(error.code, 'PGAIO_CANNOT_WAIT');
            assert.is(error.message, 'nobody can complete IO 0 while its waiter blocks');
            assert.is(error.io, 0);
            assert.is(error.state, 'SUBMITTED');
          }
          bench.device.completeAll();
          assert.equal(bench.result(io), OK_ONE);
          bench.assertUsable();
          guest.assertUsable();
        });
      }

      test('is refused for what is staged, which waiting never submits', async () => {
        const bench = await open();
        bench.pg.pgaio_enter_batchmode();
        const io = inFlight(bench);
        const error = usageOf(() => bench.pg.pgaio_wref_wait(io.ref));
        assert.is(error.message, 'waiting for own IO 0 in wrong state: STAGED');
        assert.equal(bench.device.submissions, []);
        bench.pg.pgaio_exit_batchmode();
        bench.device.completeAll();
        bench.assertUsable();
      });
    },
    IN_FLIGHT_ONLY,
  );

  const unshared: Restriction = (variant) =>
    IN_FLIGHT_ONLY(variant) ??
    (variant.shared ? 'another thread could still make progress' : undefined);
  forEachMethod(
    'wait: in plain memory',
    (test, open) => {
      test('cannot sleep for what another backend has only staged', async () => {
        const bench = await open();
        const guest = await bench.join();
        bench.pg.pgaio_enter_batchmode();
        const io = inFlight(bench);
        const theirs = handOver(io, bench, guest);
        const error = usageOf(() => guest.pg.pgaio_wref_wait(theirs));
        assert.is(error.code, 'PGAIO_CANNOT_WAIT');
        assert.is(error.io, 0);
        assert.is(error.state, 'STAGED');
        assert.is(bench.handle(0, 'waiters'), 0);
        bench.pg.pgaio_exit_batchmode();
        bench.device.completeAll();
        bench.assertUsable();
        guest.assertUsable();
      });
    },
    unshared,
  );
}

/** A thread of tests/wait-worker.ts and what it says, in order. */
class Thread {
  readonly worker: Worker;
  readonly #messages: AsyncIterator<[Message]>;

  constructor(data: WorkerData) {
    this.worker = new Worker(new URL(import.meta.url), { workerData: data });
    this.worker.unref(); // one that hangs must not keep the process from ending
    this.#messages = on(this.worker, 'message') as AsyncIterator<[Message]>;
  }
  async hear<Said extends Message['said']>(said: Said): Promise<Message & { said: Said }> {
    const { value } = await this.#messages.next();
    const [message] = value as [Message];
    assert.is(message.said, said, JSON.stringify(message));
    return message as Message & { said: Said };
  }
  ended(): Promise<void> {
    return new Promise((resolve) => this.worker.once('exit', () => resolve()));
  }
}

/** Turns the event loop until the word at `at` is not `value` any more. */
async function changed(bench: Bench, at: number, value: number): Promise<void> {
  const words = new Int32Array(bench.pg.memory.buffer);
  while (Atomics.load(words, at / 4) === value) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
/** Address of a word of backend `procno`'s ring. */
function ringWord(
  bench: Bench,
  procno: number,
  field: keyof typeof layout.PgAioUringContext.fields,
): number {
  const { offset } = layout.PgAioUringContext.fields[field];
  return bench.ctl('uring_contexts') + procno * layout.URING_CONTEXT_BYTES + offset;
}
/**
 * Turns the event loop until a thread sleeps on handle `id`, then looks on without a pause until it
 * has got up and lain down again: SLEEP_MS are before it.
 */
async function asleep(bench: Bench, id: number): Promise<void> {
  if (bench.variant.method === 'io_uring' && bench.stateOf(id) === 'SUBMITTED') {
    await changed(bench, ringWord(bench, bench.handle(id, 'owner_procno'), 'leader'), 0);
    return;
  }
  const at = bench.handleAt(id) + layout.PgAioHandle.fields.waiters.offset;
  await changed(bench, at, 0);
  const deadline = performance.now() + 3 * SLEEP_MS;
  const sleeps = () => Atomics.load(bench.i32, at / 4) !== 0;
  while (sleeps() && performance.now() < deadline);
  while (!sleeps() && performance.now() < deadline);
}

function threads(): void {
  const gate = () => new SharedArrayBuffer(4);

  forEachMethod(
    'wait: in another thread',
    (test, open) => {
      test('a waiter that came while it was staged is woken and drives it on', async () => {
        const bench = await open({ trace: true });
        const { memory } = bench.pg;
        const data = { role: 'wait', memory, ioMethod: 'host', control: gate(), path: '' } as const;
        const thread = new Thread(data);
        const exit = thread.ended();
        assert.is((await thread.hear('attached')).procno, 1);
        bench.pg.pgaio_enter_batchmode();
        const io = inFlight(bench);
        thread.worker.postMessage(Array.from(bench.u32.subarray(io.ref / 4, io.ref / 4 + 3)));
        await thread.hear('waiting');
        await asleep(bench, io.id);
        assert.is(bench.stateOf(io.id), 'STAGED');
        const submitted = performance.now();
        bench.pg.pgaio_exit_batchmode();
        const asked = await thread.hear('asked');
        assert.is(asked.io, io.id);
        assert.is(asked.state, layout.PGAIO_HS_SUBMITTED);
        assert.is((await thread.hear('done')).end, 'done');
        const elapsed = performance.now() - submitted;
        assert.ok(elapsed < SLEEP_MS / 2, `woken, not by time: ${elapsed} ms`);
        await exit;
        assert.is(bench.stateOf(io.id), 'COMPLETED_SHARED');
        const by = bench.trace().map(({ move, by: procno }) => `${procno} ${move}`);
        assert.equal(by.slice(-2), ['1 SUBMITTED>COMPLETED_IO', '1 COMPLETED_IO>COMPLETED_SHARED']);
        bench.pg.pgaio_wref_wait(io.ref);
        assert.equal(bench.result(io), OK_ONE);
        bench.assertUsable();
      });
    },
    (variant) => IN_FLIGHT_ONLY(variant) ?? SHARED_ONLY(variant),
  );

  forEachMethod(
    'wait: for another thread',
    (test, open) => {
      /** A read held up at `holdIn`, waited for meanwhile, and let go. Gives back its handle. */
      const play = async (bench: Bench, holdIn: 'stage' | 'read', state: string) => {
        bench.file('data', numberedBlocks(1));
        const { memory } = bench.pg;
        const control = gate();
        const path = bench.path('data');
        const common = { memory, ioMethod: 'sync', control, path } as const;
        const issuer = new Thread({ ...common, role: 'issue', holdIn });
        const { ref } = await issuer.hear('held');
        const id = ref[0] ?? -1;
        assert.is(bench.stateOf(id), state);
        const waiter = new Thread({ ...common, role: 'wait' });
        const exits = Promise.all([issuer.ended(), waiter.ended()]);
        await waiter.hear('attached');
        waiter.worker.postMessage(ref);
        await waiter.hear('waiting');
        await asleep(bench, id);
        const word = new Int32Array(control);
        const released = performance.now();
        Atomics.store(word, 0, 1);
        Atomics.notify(word, 0);
        assert.is((await waiter.hear('done')).end, 'done');
        const elapsed = performance.now() - released;
        const done = await issuer.hear('done');
        assert.is(done.end, 'done');
        assert.is(done.result, 8192);
        await exits;
        assert.is(bench.stateOf(id), 'IDLE');
        return { id, elapsed };
      };

      for (const [holdIn, state] of [
        ['stage', 'DEFINED'],
        ['read', 'SUBMITTED'],
      ] as const) {
        test(`a waiter that came while it was ${state} is woken at the end`, async () => {
          const bench = await open();
          const { elapsed } = await play(bench, holdIn, state);
          assert.ok(elapsed < SLEEP_MS / 2, `woken, not by time: ${elapsed} ms`);
          bench.assertUsable();
        });
      }

      test('a waiter that has gone is not counted any more, and left nothing behind', async () => {
        const bench = await open();
        const { id } = await play(bench, 'read', 'SUBMITTED');
        assert.is(bench.handle(id, 'waiters'), 0, 'nobody waits any more');
        assert.is(bench.u32[0], 0, 'nothing lies at address 0');
      });
    },
    (variant) =>
      SYNC_ONLY(variant) ??
      SHARED_ONLY(variant) ??
      (variant.provider === 'direct' ? undefined : 'the threads bring a provider of their own'),
  );
}

function locks(): void {
  const HELD = 1; // by the thread of that number
  const CONTENDED = HELD | 0x80000000;
  forEachMethod(
    'wait: for a lock',
    (test, open) => {
      test('that another thread holds, and gets it when it is free', async () => {
        const bench = await open();
        const at = layout.CTL_AT + layout.PgAioCtl.fields.frame_lock.offset;
        const words = new Int32Array(bench.pg.memory.buffer);
        Atomics.store(words, at / 4, HELD);
        const control = new SharedArrayBuffer(4);
        const { memory } = bench.pg;
        const thread = new Thread({ role: 'lock', memory, ioMethod: 'sync', control, path: '' });
        await thread.hear('waiting');
        await changed(bench, at, HELD);
        assert.is(Atomics.load(words, at / 4), CONTENDED);
        const first = bench.u8.slice(0, layout.CTL_AT);
        Atomics.store(words, at / 4, 0);
        Atomics.notify(words, at / 4);
        const done = await thread.hear('done');
        assert.is(done.end, 'done');
        assert.is(done.result, bench.ctl('frames'));
        assert.is(bench.ctl('frame_lock'), 0, 'it is free again');
        assert.equal(bench.u8.slice(0, layout.CTL_AT), first, 'nothing lies before the head');
      });
    },
    (variant) =>
      SYNC_ONLY(variant) ??
      SHARED_ONLY(variant) ??
      (variant.provider === 'direct' ? undefined : 'does not depend on how I/O is executed'),
  );
}

if (isMainThread) {
  references();
  waits();
  timedWaits();
  armed();
  filledReturns();
  doorbells();
  threads();
  locks();
} else {
  await serve();
}
