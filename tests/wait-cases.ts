/**
 * Ways to wait that do not block for good: for a while, armed for Atomics.waitAsync, at the
 * doorbell; and how a backend learns which of its results were filled in.
 */
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import {
  type Bench,
  endOf,
  forEachMethod,
  IN_FLIGHT_ONLY,
  type Io,
  numberedBlocks,
  ONE_WORKER,
  type Restriction,
  SHARED_ONLY,
} from './harness.ts';

export const OK_ONE = { id: 0, status: 'OK', errorData: 0, result: 1 } as const;
/** Bits of a doorbell's word. */
const LISTENING = 1;
const ONE_RING = 2;
/** Far below the time after which a sleeper looks again by itself. */
const AT_ONCE_MS = 50;

/** One I/O submitted and not completed. */
export function inFlight(bench: Bench, options: { readonly flags?: number } = {}): Io {
  const fd = bench.file('data', numberedBlocks(2));
  const io = bench.define({ fd, block: 1, ...options });
  bench.start(io);
  return io;
}

/** The same reference in the memory of another backend. */
export function handOver(io: Io, from: Bench, to: Bench): number {
  const at = to.pg.alloc(16);
  to.u8.copyWithin(at, io.ref, io.ref + 12);
  assert.is(from.pg.memory, to.pg.memory);
  return at;
}

/** Times to wait that are over at once, and those that are long enough for anything. */
const NO_TIME = [0, -0, -1, Number.NEGATIVE_INFINITY, Number.NaN, Number.MIN_VALUE] as const;
const LONG_TIMES = [10_000, 2 ** 53, 1e300, Number.POSITIVE_INFINITY] as const;

export function timedWaits(): void {
  forEachMethod('wait: for a while', (test, open) => {
    for (const ms of LONG_TIMES) {
      test(`of ${ms} ms ends when the I/O does, and reclaims it`, async () => {
        const bench = await open();
        const io = inFlight(bench);
        assert.is(bench.pg.pgaio_wref_wait_timed(io.ref, ms), true);
        assert.equal(bench.result(io), OK_ONE);
        assert.is(bench.u8[io.at], 2);
        assert.is(bench.handle(io.id, 'waiters'), 0);
        bench.assertUsable();
      });
    }

    for (const ms of [...NO_TIME, ...LONG_TIMES]) {
      test(`of ${ms} ms is over when the I/O is`, async () => {
        const bench = await open();
        const guest = await bench.join();
        const io = inFlight(bench);
        bench.pg.pgaio_wref_wait(io.ref);
        assert.is(bench.pg.pgaio_wref_wait_timed(io.ref, ms), true);
        assert.is(guest.pg.pgaio_wref_wait_timed(handOver(io, bench, guest), ms), true);
      });
    }
  });

  forEachMethod(
    'wait: in vain',
    (test, open) => {
      /** Waits of a guest for an I/O that is staged and stays so. */
      const vain = async (open_: typeof open, ms: number) => {
        const bench = await open_();
        const guest = await bench.join();
        const io = bench.define({ fd: bench.file('data', numberedBlocks(1)) });
        const theirs = handOver(io, bench, guest);
        bench.setHandle(io.id, 'state', layout.PGAIO_HS_STAGED);
        const started = performance.now();
        const done = guest.pg.pgaio_wref_wait_timed(theirs, ms);
        const elapsed = performance.now() - started;
        assert.is(done, false);
        assert.is(bench.handle(io.id, 'waiters'), 0);
        bench.setHandle(io.id, 'state', layout.PGAIO_HS_HANDED_OUT);
        bench.pg.pgaio_io_release(io.ioh);
        bench.assertUsable();
        guest.assertUsable();
        return elapsed;
      };
      for (const ms of NO_TIME) {
        test(`for ${ms} ms is given up at once`, async () => {
          const elapsed = await vain(open, ms);
          assert.ok(elapsed < AT_ONCE_MS, `${elapsed} ms`);
        });
      }
      for (const ms of [0.5, 20, 150]) {
        test(`for ${ms} ms lasts that long`, async () => {
          const elapsed = await vain(open, ms);
          assert.ok(elapsed >= 0.9 * ms, `${elapsed} ms`);
          assert.ok(elapsed < ms + 1000, `${elapsed} ms`);
        });
      }
    },
    (variant) => SHARED_ONLY(variant) ?? ONE_WORKER(variant),
  );
}

/** Waiting without blocking: what JavaScript does with Atomics.waitAsync. */
export function armed(): void {
  const stateAt = (bench: Bench, id: number) =>
    bench.handleAt(id) + layout.PgAioHandle.fields.state.offset;

  forEachMethod('wait: armed', (test, open, variant) => {
    test('gives 0 for what is over, and counts nobody', async () => {
      const bench = await open();
      const io = inFlight(bench);
      bench.pg.pgaio_wref_wait(io.ref);
      assert.is(bench.pg.pgaio_wref_arm(io.ref), 0);
      assert.is(bench.handle(io.id, 'waiters'), 0);
    });

    test('gives the word to sleep on, and counts who does', async () => {
      const bench = await open();
      const guest = await bench.join();
      const io = bench.define({ fd: bench.file('data', numberedBlocks(2)), block: 1 });
      const theirs = handOver(io, bench, guest);
      assert.is(bench.pg.pgaio_wref_arm(io.ref), stateAt(bench, io.id));
      assert.is(guest.pg.pgaio_wref_arm(theirs), stateAt(bench, io.id));
      assert.is(bench.handle(io.id, 'waiters'), 2);
      guest.pg.pgaio_wref_disarm(theirs);
      assert.is(bench.handle(io.id, 'waiters'), 1);
      bench.start(io);
      assert.equal(bench.finish(io), OK_ONE);
      assert.is(bench.handle(io.id, 'waiters'), 1, 'until it is ended, done or not');
      bench.pg.pgaio_wref_disarm(io.ref);
      assert.is(bench.handle(io.id, 'waiters'), 0);
      assert.is(guest.pg.pgaio_wref_arm(theirs), 0, 'it is over');
      bench.assertUsable();
    });

    test('ended once too often leaves the others counted', async () => {
      const bench = await open();
      const guest = await bench.join();
      const io = bench.define({ fd: bench.file('data', numberedBlocks(2)) });
      const theirs = handOver(io, bench, guest);
      endOf(() => bench.pg.pgaio_wref_disarm(io.ref));
      guest.pg.pgaio_wref_arm(theirs);
      assert.is(bench.handle(io.id, 'waiters'), 1, 'or nobody would wake it');
    });

    if (!variant.shared) return;
    test('is woken by whoever completes the I/O', async () => {
      const bench = await open();
      const guest = await bench.join();
      const fd = bench.file('data', numberedBlocks(2));
      for (let round = 0; round < 8; round++) {
        const io = bench.define({ fd, block: 1 });
        const theirs = handOver(io, bench, guest);
        const at = guest.pg.pgaio_wref_arm(theirs);
        const state = Atomics.load(bench.i32, at / 4);
        const wait = Atomics.waitAsync(bench.i32, at / 4, state);
        bench.start(io);
        if (variant.method === 'host') bench.device.completeAll();
        if (variant.method === 'io_uring') bench.endAll();
        await wait.value;
        guest.pg.pgaio_wref_disarm(theirs);
        bench.quiet();
        assert.is(guest.pg.pgaio_wref_is_done(theirs), true);
        assert.equal(bench.finish(io), OK_ONE);
        assert.is(bench.handle(io.id, 'waiters'), 0);
      }
      bench.assertUsable();
    });
  });
}

/** Starts so many reads of a block each. */
function start(bench: Bench, count: number): Io[] {
  const fd = bench.file('data', numberedBlocks(count));
  return Array.from({ length: count }, (_, block) => {
    const io = bench.define({ fd, block });
    bench.start(io);
    return io;
  });
}

/** Which PgAioReturns were filled since somebody looked. */
export function filledReturns(): void {
  forEachMethod('wait: filled returns', (test, open) => {
    const list = (bench: Bench) => {
      const bytes = Math.ceil((4 * (bench.ctl('io_max_concurrency') + 1)) / 128) * 128;
      const at = bench.ctl('done_returns') + bench.pg.procno * bytes;
      return Array.from(bench.u32.subarray(at / 4, at / 4 + 5));
    };
    test('are counted until they are taken, and listed in order', async () => {
      const bench = await open();
      const guest = await bench.join();
      assert.is(bench.pg.pgaio_take_returns(), 0);
      const ios = start(bench, 3);
      for (const io of ios) assert.equal(bench.finish(io), OK_ONE);
      assert.is(guest.pg.pgaio_take_returns(), 0, 'each has its own');
      assert.is(bench.pg.pgaio_take_returns(), 3);
      assert.equal(
        list(bench)
          .slice(0, 3)
          .sort((a, b) => a - b),
        ios.map(({ ret }) => ret),
      );
      assert.is(bench.pg.pgaio_take_returns(), 0);
    });

    test('that nobody took count on, and leave what is behind the list alone', async () => {
      const bench = await open();
      const guest = await bench.join();
      const fd = bench.file('data', numberedBlocks(1));
      const ret = bench.pg.alloc(32);
      const at = bench.frames(1);
      for (let i = 0; i < 40; i++) bench.read({ fd, ret, at });
      assert.is(bench.pg.pgaio_take_returns(), 40);
      assert.equal(list(bench), Array(5).fill(ret));
      assert.equal(list(guest), [0, 0, 0, 0, 0]);
    });

    test('are not those without a place, or whose place was overwritten', async () => {
      const bench = await open();
      const fd = bench.file('data', numberedBlocks(1));
      const none = bench.define({ fd, ret: 0 });
      bench.start(none);
      bench.endAll();
      const lost = bench.define({ fd });
      bench.u8.fill(0, lost.ret, lost.ret + 32);
      bench.start(lost);
      bench.endAll();
      assert.is(bench.pg.pgaio_take_returns(), 0);
    });
  });
}

/** What tells a backend, and those who sleep for it, that others completed its I/Os. */
export function doorbells(): void {
  const bell = (bench: Bench, name: keyof typeof layout.PgAioDoorbell.fields) => {
    const at = bench.ctl('doorbells') + bench.pg.procno * layout.DOORBELL_BYTES;
    return bench.get(at, layout.PgAioDoorbell, name);
  };
  forEachMethod(
    'wait: at the doorbell',
    (test, open) => {
      test('what another completed is reclaimed by draining, once', async () => {
        const bench = await open();
        const guest = await bench.join();
        const ios = start(bench, 3);
        assert.is(bench.pg.pgaio_drain_completed(), 0);
        for (const io of ios) bench.device.complete(io.id, undefined, guest);
        assert.is(bell(bench, 'bits'), 0b111);
        assert.is(bell(bench, 'rung'), 3 * ONE_RING);
        assert.is(guest.pg.pgaio_drain_completed(), 0, 'they are not its own');
        assert.is(bench.pg.pgaio_drain_completed(), 3);
        assert.is(bell(bench, 'bits'), 0);
        for (const io of ios) assert.equal(bench.result(io), OK_ONE);
        assert.is(bench.pg.pgaio_drain_completed(), 0);
        bench.assertUsable();
      });

      test('a bit that was set again does no harm', async () => {
        const bench = await open();
        const guest = await bench.join();
        const [io] = start(bench, 1);
        bench.device.complete(io?.id ?? 0, undefined, guest);
        bench.pg.pgaio_wref_wait(io?.ref ?? 0);
        assert.is(bell(bench, 'bits'), 1, 'waiting does not look at it');
        assert.is(bench.pg.pgaio_drain_completed(), 0);
        bench.assertUsable();
      });

      test('who listens is told what the word is until it rings', async () => {
        const bench = await open();
        const guest = await bench.join();
        assert.is(bench.pg.pgaio_arm_doorbell(), LISTENING);
        assert.is(bell(bench, 'rung'), LISTENING);
        assert.is(bench.pg.pgaio_arm_doorbell(), LISTENING, 'once more is the same');
        const [first, second] = start(bench, 2);
        bench.device.complete(first?.id ?? 0, undefined, guest);
        assert.is(bell(bench, 'rung'), ONE_RING, 'whoever rings ends that');
        assert.is(bench.pg.pgaio_arm_doorbell(), 0, 'something had come, and is reclaimed');
        assert.equal(bench.result(first ?? { ret: 0 }), OK_ONE);
        assert.is(bench.pg.pgaio_drain_completed(), 0);
        assert.is(bell(bench, 'rung'), ONE_RING | LISTENING, 'draining does not');
        assert.is(bench.pg.pgaio_arm_doorbell(), ONE_RING | LISTENING);
        bench.device.complete(second?.id ?? 0, undefined, guest);
        assert.is(bench.pg.pgaio_drain_completed(), 1);
        bench.assertUsable();
      });

      test('the count of rings goes round, and is never a result below 0', async () => {
        const bench = await open();
        const guest = await bench.join();
        const [io] = start(bench, 1);
        const at = bench.pg.pgaio_doorbell();
        bench.view.setUint32(at, 0x7ffffffe, true);
        assert.is(bench.pg.pgaio_arm_doorbell(), 0x7fffffff);
        bench.device.complete(io?.id ?? 0, undefined, guest);
        assert.is(bell(bench, 'rung'), 0);
        assert.is(bench.pg.pgaio_drain_completed(), 1);
        bench.assertUsable();
      });

      test('spinning drains, and ends after its rounds', async () => {
        const bench = await open();
        const guest = await bench.join();
        const [io] = start(bench, 1);
        assert.is(bench.pg.pgaio_spin_completed(0), 0);
        assert.is(bench.pg.pgaio_spin_completed(1000), 0);
        bench.device.complete(io?.id ?? 0, undefined, guest);
        assert.is(bench.pg.pgaio_spin_completed(0), 1);
        bench.assertUsable();
      });

      test('each has one of its own', async () => {
        const bench = await open();
        const guest = await bench.join();
        const at = bench.ctl('doorbells');
        assert.is(bench.pg.pgaio_doorbell(), at);
        assert.is(guest.pg.pgaio_doorbell(), at + layout.DOORBELL_BYTES);
      });
    },
    IN_FLIGHT_ONLY,
  );

  const WORKERS: Restriction = ({ method }) =>
    method === 'worker' ? undefined : 'only I/O workers complete by themselves';
  forEachMethod(
    'wait: at the doorbell for workers',
    (test, open) => {
      test('what they completed is reclaimed by draining', async () => {
        const bench = await open();
        const ios = start(bench, 3);
        bench.quiet();
        const waiting = ios.filter(({ id }) => bench.stateOf(id) === 'COMPLETED_SHARED');
        assert.is(bench.pg.pgaio_drain_completed(), waiting.length);
        for (const io of ios) assert.equal(bench.result(io), OK_ONE);
        assert.is(bench.pg.pgaio_take_returns(), 3);
        bench.assertUsable();
      });

      test('a sleeper is woken', async () => {
        const bench = await open();
        const word = bench.pg.pgaio_doorbell() / 4;
        const ios = start(bench, 3);
        while (bench.inFlight.length > 0) {
          const listening = bench.pg.pgaio_arm_doorbell();
          if (listening === 0) continue;
          if (bench.inFlight.length > 0) {
            await Atomics.waitAsync(bench.i32, word, listening).value;
          }
        }
        for (const io of ios) assert.equal(bench.result(io), OK_ONE);
        bench.assertUsable();
      });

      test('spinning sees them come', async () => {
        const bench = await open();
        const ios = start(bench, 3);
        const deadline = performance.now() + 10_000;
        while (bench.inFlight.length > 0 && performance.now() < deadline) {
          bench.pg.pgaio_spin_completed(100_000);
        }
        for (const io of ios) assert.equal(bench.result(io), OK_ONE);
        bench.assertUsable();
      });
    },
    WORKERS,
  );
}
