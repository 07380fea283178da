/**
 * The state machine: every transition with its effects in order, as the trace ring and the memory
 * show them, for I/O that runs inside start and for I/O that is in flight; generations; lists; and
 * who reclaims what another backend has completed.
 */
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import { type Bench, forEachMethod, IN_FLIGHT_ONLY, type Io, numberedBlocks } from './harness.ts';

const WHOLE_LIFE = [
  'IDLE>HANDED_OUT',
  'HANDED_OUT>DEFINED',
  'DEFINED>STAGED',
  'STAGED>SUBMITTED',
  'SUBMITTED>COMPLETED_IO',
  'COMPLETED_IO>COMPLETED_SHARED',
  'COMPLETED_SHARED>COMPLETED_LOCAL',
  'COMPLETED_LOCAL>IDLE',
];
const { PGAIO_HCB_MD_READV: MD, PGAIO_HF_SYNCHRONOUS } = layout;

/** Every place a handle is at. It is at one, or at none while it is DEFINED. */
function placesOf(bench: Bench, id: number): string[] {
  return [
    ...(bench.idle.includes(id) ? ['idle'] : []),
    ...(bench.backend('handed_out_io') === id ? ['handed out'] : []),
    ...(bench.staged.includes(id) ? ['staged'] : []),
    ...(bench.inFlight.includes(id) ? ['in flight'] : []),
  ];
}

/** State, place and what else is promised of a handle at this moment. */
function look(bench: Bench, io: Pick<Io, 'id' | 'ret'>): string {
  const { id } = io;
  const parts = [
    bench.stateOf(id),
    placesOf(bench, id).join(' and ') || 'nowhere',
    `op ${bench.handle(id, 'op')}`,
    `raw ${bench.handle(id, 'result')}`,
    `distilled ${bench.handle(id, 'distilled_word') >>> 6}:${bench.handle(id, 'distilled_result')}`,
    `generation ${bench.generation(id)}`,
    `ret ${bench.result(io).status}`,
  ];
  return parts.join(', ');
}
/** As `look` shows an OK status, which is 1 above the six bits of the id. */
const OK_RESULT = 1;

function moves(bench: Bench, from: number, id?: number): string[] {
  const lines = bench.trace(from);
  return lines.filter(({ io }) => id === undefined || io === id).map(({ move }) => move);
}

forEachMethod('states: at start', (test, open) => {
  test('every handle is idle, in index order, with generation 1 and a fixed owner', async () => {
    const bench = await open();
    const guest = await bench.join();
    assert.equal(bench.ids, [0, 1, 2, 3]);
    assert.equal(guest.ids, [4, 5, 6, 7]);
    for (const backend of [bench, guest]) {
      assert.equal(backend.idle, backend.ids);
      for (const id of backend.ids) {
        assert.is(backend.stateOf(id), 'IDLE');
        assert.is(backend.generation(id), 1n);
        assert.is(backend.handle(id, 'owner_procno'), backend.pg.procno);
        assert.is(backend.pg.pgaio_io_get_owner(backend.handleAt(id)), backend.pg.procno);
        assert.is(backend.handle(id, 'iovec_off'), id * 16);
        assert.is(backend.handle(id, 'distilled_word'), 0);
        assert.is(bench.pg.pgaio_io_get_owner(backend.handleAt(id)), backend.pg.procno);
      }
    }
  });
});

forEachMethod('states: acquire and release', (test, open) => {
  test('pops the top of the stack, notes owner and result', async () => {
    const bench = await open();
    const { pg } = bench;
    const owner = pg.ResourceOwnerCreate(0);
    const ret = pg.alloc(32);
    bench.u8.fill(0xff, ret, ret + 32);
    const from = bench.ctl('trace_next');
    const ioh = pg.pgaio_io_acquire(owner, ret);
    assert.is(ioh, bench.handleAt(0));
    assert.equal(placesOf(bench, 0), ['handed out']);
    assert.equal(bench.idle, [1, 2, 3]);
    assert.is(bench.backend('idle_count'), 3);
    assert.is(bench.handle(0, 'resowner'), owner);
    assert.equal(bench.ownedBy(owner), [0]);
    assert.is(bench.handle(0, 'report_return'), ret);
    assert.is(bench.result({ ret }).status, 'UNKNOWN');
    assert.equal(moves(bench, from), ['IDLE>HANDED_OUT']);
    const rest = ['flags', 'op', 'target', 'num_callbacks', 'handle_data_len', 'result'] as const;
    for (const field of rest) assert.is(bench.handle(0, field), 0, field);
  });

  test('gives the handle back to the top, with a new generation and nothing owned', async () => {
    const bench = await open();
    const { pg } = bench;
    const owner = pg.ResourceOwnerCreate(0);
    const ret = pg.alloc(32);
    const ioh = pg.pgaio_io_acquire(owner, ret);
    pg.pgaio_io_set_flag(ioh, 6);
    pg.pgaio_io_set_target(ioh, 2);
    pg.pgaio_io_register_callbacks(ioh, MD, 0);
    const from = bench.ctl('trace_next');
    pg.pgaio_io_release(ioh);
    const [entry] = bench.trace(from);
    assert.is(entry?.move, 'HANDED_OUT>IDLE');
    assert.is(entry?.generation, 2, 'the generation moves before the state');
    assert.is(bench.generation(0), 2n);
    assert.equal(bench.idle, [0, 1, 2, 3]);
    assert.equal(bench.ownedBy(owner), []);
    assert.is(bench.handle(0, 'resowner'), 0);
    assert.is(bench.result({ ret }).status, 'UNKNOWN', 'the result is not touched');
    for (const field of ['flags', 'target', 'num_callbacks', 'report_return'] as const) {
      assert.is(bench.handle(0, field), 0, field);
    }
    bench.assertUsable();
  });

  test('uses what was used last', async () => {
    const bench = await open();
    const { pg } = bench;
    for (let generation = 1n; generation < 20n; generation++) {
      assert.is(bench.generation(0), generation);
      pg.pgaio_io_release(pg.pgaio_io_acquire(0, 0));
    }
    assert.is(bench.generation(1), 1n);
    assert.is(bench.backend('reclaimed'), 19);
  });
});

forEachMethod('states: a whole life', (test, open, variant) => {
  const inFlight = IN_FLIGHT_ONLY(variant) === undefined;
  const queued = variant.method === 'worker' || variant.method === 'io_uring';
  const kernels = variant.method === 'io_uring';

  for (const flags of [0, PGAIO_HF_SYNCHRONOUS]) {
    test(`passes every state in order, flags ${flags}`, async () => {
      const bench = await open();
      const fd = bench.file('data', numberedBlocks(2));
      const from = bench.ctl('trace_next');
      const io = bench.define({ fd, block: 1, flags });
      bench.start(io);
      if (flags !== 0) assert.is(bench.stateOf(io.id), 'IDLE', 'it was executed inside start');
      bench.finish(io);
      const lines = bench.trace(from);
      assert.equal(
        lines.map(({ move }) => move),
        WHOLE_LIFE,
      );
      const okWord = OK_RESULT << 6;
      const column = (pick: (line: (typeof lines)[number]) => number) => lines.map(pick);
      assert.equal(
        column(({ seq }) => seq),
        lines.map((_, i) => from + i + 1),
      );
      assert.equal(
        column(({ generation }) => generation),
        [1, 1, 1, 1, 1, 1, 1, 2],
      );
      assert.equal(
        column(({ raw }) => raw),
        [0, 0, 0, 0, 8192, 8192, 8192, 8192],
      );
      assert.equal(
        column(({ word }) => word),
        [0, 0, 0, 0, 0, okWord, okWord, 0],
      );
      assert.equal(
        column(({ result }) => result),
        [0, 0, 0, 0, 0, 1, 1, 0],
      );
      assert.equal(
        column(({ op }) => op),
        [0, 1, 1, 1, 1, 1, 1, 1],
      );
      assert.equal(
        column(({ target }) => target),
        [0, 1, 1, 1, 1, 1, 1, 1],
      );
      assert.equal(column(({ offset }) => offset).slice(1), Array(7).fill(8192));
      // Whoever completes it does both: a worker, or the issuer where it found the queue taken.
      const completer = lines[4]?.by ?? 0;
      assert.ok(
        completer === 0 || (queued && flags === 0 && completer === layout.NONE),
        `${completer}`,
      );
      assert.equal(
        column(({ by }) => by),
        [0, 0, 0, 0, completer, completer, 0, 0],
      );
      assert.equal(
        column(({ owner }) => owner),
        Array(8).fill(0),
      );
      const here = completer === 0 && !inFlight && !kernels;
      assert.is(bench.backend('synchronous'), flags !== 0 || here ? 1 : 0);
      assert.is(bench.backend('submissions'), flags === 0 && (inFlight || queued) ? 1 : 0);
    });
  }

  test('shows each callback the state it may rely on', async () => {
    const bench = await open();
    const fd = bench.file('data', numberedBlocks(2));
    const seen: string[] = [];
    let io: Io | undefined;
    const note = (phase: string) => {
      if (io !== undefined) seen.push(`${phase}: ${look(bench, io)}`);
    };
    bench.pg.pgaio_register_host_callback(32, {
      stage: () => note('stage'),
      complete_shared: () => note('shared'),
      complete_local: () => note('local'),
    });
    io = bench.define({ fd, callbacks: [32] });
    bench.setHandle(io.id, 'result', 77);
    bench.start(io);
    if (inFlight) note('started');
    bench.finish(io);
    note('over');
    const zero = 'raw 0, distilled 0:0, generation 1, ret UNKNOWN';
    assert.equal(seen, [
      `stage: DEFINED, nowhere, op 1, ${zero}`,
      ...(inFlight ? [`started: SUBMITTED, in flight, op 1, ${zero}`] : []),
      'shared: COMPLETED_IO, in flight, op 1, raw 8192, distilled 0:0, generation 1, ret UNKNOWN',
      'local: COMPLETED_SHARED, in flight, op 1, raw 8192, distilled 1:8192, generation 1, ' +
        'ret UNKNOWN',
      'over: IDLE, idle, op 0, raw 0, distilled 0:0, generation 2, ret OK',
    ]);
    bench.assertUsable();
  });

  test('resets what the next user may rely on, and leaves the rest stale', async () => {
    const bench = await open();
    const { pg } = bench;
    const fd = bench.file('data', numberedBlocks(4));
    const owner = pg.ResourceOwnerCreate(0);
    const io = bench.define({ fd, block: 2, nblocks: 2, owner, flags: 6, callbacks: [MD, [5, 9]] });
    const data = pg.alloc(16);
    bench.u32[data / 4] = 42;
    pg.pgaio_io_set_handle_data_32(io.ioh, data, 1);
    const dataAt = pg.pgaio_io_get_handle_data(io.ioh, 0);
    bench.start(io);
    bench.finish(io);
    for (const field of [
      'op',
      'target',
      'flags',
      'num_callbacks',
      'handle_data_len',
      'report_return',
      'result',
      'distilled_word',
      'distilled_result',
      'resowner',
    ] as const) {
      assert.is(bench.handle(io.id, field), 0, field);
    }
    assert.is(bench.handle(io.id, 'callbacks'), MD | (5 << 8));
    assert.is(bench.handle(io.id, 'callbacks_data'), 9 << 8);
    assert.is(bench.handle(io.id, 'fd'), fd);
    assert.is(bench.handle(io.id, 'offset'), 16384);
    assert.is(bench.handle(io.id, 'iov_length'), 1);
    assert.is(bench.u32[dataAt / 4], 42);
    assert.is(bench.u32[pg.pgaio_io_get_target_data(io.ioh) / 4], 1663);
    assert.equal(bench.ownedBy(owner), []);
  });

  test('copies the target with the result', async () => {
    const bench = await open();
    const fd = bench.file('data', numberedBlocks(4));
    const { ret, result } = bench.read({ fd, block: 1, nblocks: 2 });
    assert.equal(result, { id: 0, status: 'OK', errorData: 0, result: 2 });
    const words = Array.from(bench.u32.subarray(ret / 4 + 2, ret / 4 + 8));
    assert.equal(words, [1663, 5, 16384, 1, 2, 1 << 16]);
  });

  for (const [name, generation] of [
    ['2^32 - 1', 2n ** 32n - 1n],
    ['2^32', 2n ** 32n],
    ['2^53', 2n ** 53n],
    ['2^63', 2n ** 63n],
  ] as const) {
    test(`counts on past generation ${name}`, async () => {
      const bench = await open();
      const fd = bench.file('data', numberedBlocks(1));
      bench.setGeneration(0, generation);
      const io = bench.define({ fd });
      assert.is(io.id, 0);
      const low = Number(generation & 0xffffffffn);
      const high = Number(generation >> 32n);
      const ref = Array.from(bench.u32.subarray(io.ref / 4, io.ref / 4 + 3));
      assert.equal(ref, [0, high, low]);
      assert.is(bench.pg.pgaio_wref_is_done(io.ref), false);
      bench.start(io);
      assert.is(bench.finish(io).status, 'OK');
      assert.is(bench.generation(0), generation + 1n);
      assert.is(bench.pg.pgaio_wref_is_done(io.ref), true);
      bench.pg.pgaio_wref_wait(io.ref);
      const again = bench.define({ fd });
      assert.is(bench.pg.pgaio_wref_is_done(io.ref), true, 'the old one stays done');
      assert.is(bench.pg.pgaio_wref_is_done(again.ref), false);
      bench.pg.pgaio_io_release(again.ioh);
      assert.is(bench.generation(0), generation + 2n);
    });
  }
});

forEachMethod(
  'states: in flight',
  (test, open) => {
    /** Starts `count` reads. */
    const startAll = (bench: Bench, count: number): Io[] => {
      const fd = bench.file('data', numberedBlocks(8));
      return Array.from({ length: count }, (_, block) => {
        const io = bench.define({ fd, block });
        bench.start(io);
        return io;
      });
    };

    test('are staged in order, then in flight in order, oldest first', async () => {
      const bench = await open();
      bench.pg.pgaio_enter_batchmode();
      const from = bench.ctl('trace_next');
      startAll(bench, 3);
      assert.equal(bench.staged, [0, 1, 2]);
      assert.equal(
        [0, 1, 2].flatMap((id) => placesOf(bench, id)),
        ['staged', 'staged', 'staged'],
      );
      assert.equal(moves(bench, from, 1), WHOLE_LIFE.slice(0, 3));
      bench.pg.pgaio_exit_batchmode();
      assert.equal(bench.staged, []);
      assert.equal(bench.inFlight, [0, 1, 2]);
      assert.equal(bench.device.submissions, [[0, 1, 2]]);
      assert.is(bench.backend('in_flight_count'), 3);
      assert.equal(moves(bench, from, 1), WHOLE_LIFE.slice(0, 4));
      bench.device.completeAll();
      bench.assertUsable();
    });

    test('keep their order when others end before them, and stack up as they end', async () => {
      const bench = await open();
      const ios = startAll(bench, 4);
      assert.equal(bench.idle, []);
      bench.device.complete(2);
      assert.equal(bench.inFlight, [0, 1, 3]);
      assert.equal(bench.idle, [2]);
      bench.device.complete(0);
      assert.equal(bench.inFlight, [1, 3]);
      assert.equal(bench.idle, [0, 2]);
      bench.device.complete(3);
      assert.equal(bench.inFlight, [1]);
      bench.start(bench.define({ fd: ios[0]?.fd ?? 0 }));
      assert.equal(bench.inFlight, [1, 3], 'the last one that ended is used first, and is newest');
      bench.device.complete(1);
      bench.device.complete(3);
      assert.equal(bench.idle, [3, 1, 0, 2]);
      assert.equal(
        bench.ids.map((id) => bench.generation(id)),
        [2n, 2n, 2n, 3n],
      );
      bench.assertUsable();
    });

    test('end with the bytes that belong to each, in whatever order', async () => {
      const bench = await open();
      const ios = startAll(bench, 4);
      for (const id of [3, 1, 0, 2]) bench.device.complete(id);
      for (const [block, io] of ios.entries()) {
        assert.is(bench.result(io).status, 'OK');
        assert.is(bench.u8[io.at], block + 1);
        assert.is(bench.u8[io.at + 8191], block + 1);
      }
    });
  },
  IN_FLIGHT_ONLY,
);

forEachMethod(
  'states: completion by another backend',
  (test, open) => {
    interface Scene {
      readonly owner: Bench;
      readonly other: Bench;
      readonly io: Io;
      readonly from: number;
      /** Phases of callback 32, each behind the backend it ran in. */
      readonly ran: string[];
    }
    /** An I/O of `owner` that `other` has completed. */
    const scene = async (bench: Bench, settings = {}): Promise<Scene> => {
      const other = await bench.join(settings);
      const ran: string[] = [];
      for (const backend of [bench, other]) {
        const note = (phase: string) => ran.push(`${phase} in ${backend.pg.procno}`);
        backend.pg.pgaio_register_host_callback(32, {
          stage: () => void note('stage'),
          complete_shared: () => void note('shared'),
          complete_local: () => void note('local'),
        });
      }
      const fd = bench.file('data', numberedBlocks(2));
      const from = bench.ctl('trace_next');
      const io = bench.define({ fd, block: 1, callbacks: [32, MD] });
      bench.start(io);
      bench.device.complete(io.id, undefined, other);
      return { owner: bench, other, io, from, ran };
    };
    const assertWaiting = ({ owner, io, ran }: Scene) => {
      assert.is(owner.stateOf(io.id), 'COMPLETED_SHARED');
      assert.equal(owner.inFlight, [io.id], 'it stays in flight until its owner looks');
      assert.is(owner.result(io).status, 'UNKNOWN');
      assert.is(owner.generation(io.id), 1n);
      assert.equal(ran, ['stage in 0', 'shared in 1']);
    };
    const assertReclaimed = ({ owner, io, from, ran }: Scene) => {
      assert.equal(owner.result(io), { id: 0, status: 'OK', errorData: 0, result: 1 });
      assert.is(owner.u8[io.at], 2);
      assert.equal(ran, ['stage in 0', 'shared in 1', 'local in 0']);
      const lines = owner.trace(from).filter((line) => line.io === io.id);
      assert.equal(
        lines.slice(0, 8).map(({ move, by }) => `${move} by ${by}`),
        WHOLE_LIFE.map((move, i) => `${move} by ${i === 4 || i === 5 ? 1 : 0}`),
      );
    };

    const RECLAIMS: readonly (readonly [string, (scene: Scene) => unknown])[] = [
      ['waiting', ({ owner, io }) => owner.pg.pgaio_wref_wait(io.ref)],
      ['check_done', ({ owner, io }) => assert.is(owner.pg.pgaio_wref_check_done(io.ref), true)],
      ['closing the descriptor', ({ owner, io }) => owner.pg.pgaio_closing_fd(io.fd)],
      ['leaving', ({ owner }) => owner.pg.pgaio_shutdown()],
    ];
    for (const [name, reclaim] of RECLAIMS) {
      test(`is noticed by the owner when ${name}`, async () => {
        const it = await scene(await open());
        assertWaiting(it);
        reclaim(it);
        assertReclaimed(it);
        assert.equal(it.owner.device.waits, [], 'nobody had to wait');
        if (name !== 'leaving') it.owner.assertUsable();
        it.other.assertUsable();
      });
    }

    test('is noticed by the owner when it needs a handle', async () => {
      const bench = await open({ io_max_concurrency: 1 });
      const it = await scene(bench);
      assert.is(bench.pg.pgaio_io_acquire_nb(0, 0), 0, 'which acquire_nb does not look for');
      assertWaiting(it);
      const ioh = bench.pg.pgaio_io_acquire(0, 0);
      assertReclaimed(it);
      assert.is(ioh, it.io.ioh);
      bench.pg.pgaio_io_release(ioh);
      bench.assertUsable();
    });

    test('is left alone by is_done, closing another descriptor, and the other’s wait', async () => {
      const it = await scene(await open());
      const { owner, other, io } = it;
      assert.is(owner.pg.pgaio_wref_is_done(io.ref), true);
      owner.pg.pgaio_closing_fd(io.fd + 1000);
      assert.is(other.pg.pgaio_wref_is_done(io.ref), true);
      assert.is(other.pg.pgaio_wref_check_done(io.ref), true);
      other.pg.pgaio_wref_wait(io.ref);
      assertWaiting(it);
      owner.pg.pgaio_wref_wait(io.ref);
      assertReclaimed(it);
      assert.is(other.backend('reclaimed'), 0);
    });

    test('reports an error where it was seen and counts it with the issuer', async () => {
      const bench = await open();
      const other = await bench.join();
      const fd = bench.file('data', numberedBlocks(2));
      const io = bench.define({ fd });
      bench.start(io);
      bench.device.complete(io.id, -5, other);
      assert.equal(other.said, [
        'LOG: could not read blocks 0..0 in file "base/5/16384": Input/output error',
      ]);
      assert.equal(bench.said, []);
      bench.pg.pgaio_wref_wait(io.ref);
      assert.equal(bench.said, [], 'the issuer looks at its result instead');
      assert.equal(bench.result(io), { id: MD, status: 'ERROR', errorData: 5, result: 0 });
      assert.is(other.backend('errors'), 0);
      assert.is(bench.backend('errors'), 1);
    });

    test('of a temporary relation names the issuer’s file', async () => {
      const bench = await open();
      const other = await bench.join();
      const third = await bench.join();
      const fd = other.file('data', numberedBlocks(2));
      const io = other.define({ fd, target: 'temp' });
      other.start(io);
      other.device.complete(io.id, -5, third);
      assert.equal(third.said, [
        'LOG: could not read blocks 0..0 in file "base/5/t1_16384": Input/output error',
      ]);
      other.pg.pgaio_wref_wait(io.ref);
      assert.is(
        other.reportOf(io)?.message,
        'could not read blocks 0..0 in file "base/5/t1_16384": Input/output error',
      );
    });
  },
  IN_FLIGHT_ONLY,
);

forEachMethod('states: the trace', (test, open) => {
  test('goes round, and holds nothing while it is off', async () => {
    const bench = await open({ trace_size: 16 });
    const { pg } = bench;
    for (let i = 0; i < 20; i++) pg.pgaio_io_release(pg.pgaio_io_acquire(0, 0));
    assert.is(bench.ctl('trace_next'), 40);
    const lines = bench.trace();
    assert.is(lines.length, 16);
    assert.equal(
      lines.map(({ seq }) => seq),
      Array.from({ length: 16 }, (_, i) => 25 + i),
    );
    pg.set('trace', false);
    pg.pgaio_io_release(pg.pgaio_io_acquire(0, 0));
    assert.is(bench.ctl('trace_next'), 40);
    pg.set('trace', 'on');
    pg.pgaio_io_release(pg.pgaio_io_acquire(0, 0));
    assert.is(bench.ctl('trace_next'), 42);
    assert.is(bench.generation(0), 23n, 'off or on, the engine does the same');
  });

  test('survives the end of its count', async () => {
    const bench = await open({ trace_size: 16 });
    const { pg } = bench;
    bench.setCtl('trace_next', 4294967295);
    pg.pgaio_io_release(pg.pgaio_io_acquire(0, 0));
    assert.is(bench.ctl('trace_next'), 1);
    bench.assertUsable();
  });
});
