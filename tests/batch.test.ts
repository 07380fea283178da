/**
 * Batches, running out of handles, resource owners, and results whose place is gone: what is
 * submitted when, who is warned with which words, and that nothing is written where it must not be.
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
} from './harness.ts';

const BATCH = layout.PGAIO_SUBMIT_BATCH_SIZE;
const OPEN_BATCH = 'WARNING: open AIO batch at end of (sub-)transaction';
const LEAKED = 'WARNING: leaked AIO handle';
const NOT_SUBMITTED = 'WARNING: AIO handle was not submitted';
const OK_ONE = { id: 0, status: 'OK', errorData: 0, result: 1 } as const;

let files = 0;
/** Defines and starts `count` one-block reads of a file of their own. */
function startReads(bench: Bench, count: number, owner = 0): Io[] {
  const fd = bench.file(`data${files++}`, numberedBlocks(count));
  const at = bench.frames(count);
  return Array.from({ length: count }, (_, block) => {
    const io = bench.define({ fd, block, owner, at: at + block * 8192 });
    bench.start(io);
    return io;
  });
}
const MANY = { io_max_concurrency: 40, io_frames: 128 };

forEachMethod(
  'batch: staging',
  (test, open) => {
    test('keeps I/Os until the batch ends, and submits before it has ended', async () => {
      const bench = await open();
      const { pg, device } = bench;
      const seen: number[] = [];
      device.onSubmit = () => void seen.push(bench.backend('in_batchmode'));
      pg.pgaio_enter_batchmode();
      assert.is(pg.pgaio_have_staged(), false);
      const ios = startReads(bench, 3);
      assert.is(pg.pgaio_have_staged(), true);
      assert.equal(device.submissions, []);
      pg.pgaio_exit_batchmode();
      assert.equal(device.submissions, [[0, 1, 2]]);
      assert.equal(seen, [1]);
      assert.is(bench.backend('in_batchmode'), 0);
      assert.is(pg.pgaio_have_staged(), false);
      device.completeAll();
      for (const io of ios) assert.equal(bench.result(io), OK_ONE);
      bench.assertUsable();
    });

    test('submits at once outside a batch', async () => {
      const bench = await open();
      startReads(bench, 3);
      assert.equal(bench.device.submissions, [[0], [1], [2]]);
      bench.device.completeAll();
      bench.assertUsable();
    });

    test('submits on request in the middle, and goes on', async () => {
      const bench = await open();
      const { pg, device } = bench;
      pg.pgaio_submit_staged();
      pg.pgaio_enter_batchmode();
      pg.pgaio_submit_staged();
      startReads(bench, 2);
      pg.pgaio_submit_staged();
      startReads(bench, 1);
      assert.equal(device.submissions, [[0, 1]]);
      assert.is(pg.pgaio_have_staged(), true);
      pg.pgaio_exit_batchmode();
      assert.equal(device.submissions, [[0, 1], [2]]);
      assert.is(bench.backend('submissions'), 2);
      device.completeAll();
      bench.assertUsable();
    });

    for (const call of ['pgaio_io_acquire', 'pgaio_io_acquire_nb'] as const) {
      test(`submits 32 staged I/Os when a 33rd handle is wanted, ${call}`, async () => {
        const bench = await open(MANY);
        const { pg, device } = bench;
        pg.pgaio_enter_batchmode();
        startReads(bench, BATCH);
        assert.equal(device.submissions, [], 'not when the 32nd is staged');
        assert.is(bench.staged.length, BATCH);
        const ioh = pg[call](0, 0);
        assert.equal(device.submissions, [Array.from({ length: BATCH }, (_, i) => i)]);
        assert.equal(bench.staged, []);
        assert.is(bench.backend('in_batchmode'), 1, 'the batch goes on');
        pg.pgaio_io_release(ioh);
        pg.pgaio_exit_batchmode();
        assert.is(device.submissions.length, 1);
        device.completeAll();
        bench.assertUsable();
      });
    }

    test('makes room when stage callbacks have filled the batch', async () => {
      const bench = await open(MANY);
      const { pg, device } = bench;
      pg.pgaio_enter_batchmode();
      const ios = startReads(bench, BATCH - 1);
      const fd = ios[0]?.fd ?? 0;
      pg.pgaio_register_host_callback(32, {
        stage: () => bench.start(bench.define({ fd })),
        complete_shared: () => undefined,
      });
      const outer = bench.define({ fd, callbacks: [32] });
      bench.start(outer);
      assert.is(device.submissions.length, 1);
      assert.is(device.submissions[0]?.length, BATCH);
      assert.equal(bench.staged, [outer.id]);
      pg.pgaio_exit_batchmode();
      device.completeAll();
      bench.assertUsable();
    });

    test('lets a synchronous I/O pass, and does not submit for it', async () => {
      const bench = await open();
      const { pg, device } = bench;
      pg.pgaio_enter_batchmode();
      const [first] = startReads(bench, 1);
      const io = bench.define({ fd: first?.fd ?? 0, flags: layout.PGAIO_HF_SYNCHRONOUS });
      bench.start(io);
      assert.equal(bench.result(io), OK_ONE);
      assert.is(bench.u8[io.at], 1);
      assert.equal(device.submissions, []);
      assert.equal(bench.staged, [0]);
      assert.is(pg.pgaio_have_staged(), true);
      pg.pgaio_exit_batchmode();
      device.completeAll();
      bench.assertUsable();
    });

    test('submits everything before a descriptor is closed, and waits for its I/Os', async () => {
      const bench = await open();
      const { pg, device } = bench;
      const [a, b] = [bench.file('a', numberedBlocks(2)), bench.file('b', numberedBlocks(2))];
      pg.pgaio_enter_batchmode();
      for (const fd of [a, b, a, b]) bench.start(bench.define({ fd }));
      pg.pgaio_closing_fd(b);
      assert.equal(device.submissions, [[0, 1, 2, 3]], 'also what is on other descriptors');
      assert.equal(device.waits, [1, 3], 'oldest first');
      assert.equal(bench.inFlight, [0, 2]);
      assert.is(bench.backend('in_batchmode'), 1);
      pg.pgaio_exit_batchmode();
      device.completeAll();
      bench.assertUsable();
    });

    test('runs what was staged when the backend leaves, and waits for it', async () => {
      const bench = await open();
      const { pg, device } = bench;
      pg.pgaio_enter_batchmode();
      const ios = startReads(bench, 3);
      pg.pgaio_io_acquire(0, 0);
      pg.pgaio_shutdown();
      assert.equal(device.waits, [0, 1, 2], 'oldest first');
      for (const io of ios) assert.equal(bench.result(io), OK_ONE);
      const next = await bench.join();
      assert.is(next.pg.procno, 0);
      next.assertUsable();
    });

    test('fails what a device refuses, and stays usable', async () => {
      const bench = await open();
      const { pg, device } = bench;
      device.onSubmit = () => {
        throw new Error('no');
      };
      pg.pgaio_enter_batchmode();
      const ios = startReads(bench, 3);
      pg.pgaio_exit_batchmode();
      for (const io of ios) {
        assert.equal(bench.result(io), { id: 1, status: 'ERROR', errorData: 5, result: 0 });
      }
      bench.assertUsable();
    });
  },
  IN_FLIGHT_ONLY,
);

forEachMethod('batch: left open', (test, open, variant) => {
  const inFlight = IN_FLIGHT_ONLY(variant) === undefined;
  const stages = variant.method !== 'sync';

  for (const isCommit of [true, false]) {
    test(`is ended, submitted and warned about; commit ${isCommit}`, async () => {
      const bench = await open();
      const { pg, device } = bench;
      pg.AtEOXact_Aio(isCommit);
      assert.equal(bench.said, []);
      pg.pgaio_enter_batchmode();
      const ios = startReads(bench, 2);
      const staged = stages ? [0, 1] : [];
      assert.equal(bench.staged, staged);
      pg.AtEOXact_Aio(isCommit);
      assert.equal(bench.said, [OPEN_BATCH]);
      assert.is(bench.reports[0]?.level, layout.WARNING);
      assert.is(bench.reports[0]?.sqlstate, 'XX000');
      assert.is(bench.reports[0]?.io, undefined);
      assert.equal(device.submissions, inFlight ? [[0, 1]] : []);
      assert.is(bench.backend('in_batchmode'), 0);
      pg.AtEOXact_Aio(isCommit);
      assert.is(bench.said.length, 1);
      bench.endAll();
      for (const io of ios) assert.equal(bench.result(io), OK_ONE);
      bench.assertUsable();
    });
  }

  test('is ended without a word after an error, and no longer open when it submits', async () => {
    const bench = await open();
    const { pg, device } = bench;
    const seen: number[] = [];
    device.onSubmit = () => void seen.push(bench.backend('in_batchmode'));
    pg.pgaio_enter_batchmode();
    startReads(bench, 2);
    pg.pgaio_error_cleanup();
    pg.AtEOXact_Aio(false);
    assert.equal(bench.said, []);
    assert.equal(seen, inFlight ? [0] : []);
    pg.pgaio_error_cleanup();
    bench.endAll();
    bench.assertUsable();
    pg.pgaio_enter_batchmode();
    pg.pgaio_exit_batchmode();
  });

  test('stays as it was when a second one is refused', async () => {
    const bench = await open();
    const { pg } = bench;
    pg.pgaio_enter_batchmode();
    const ios = startReads(bench, 1);
    assert.is(
      endOf(() => pg.pgaio_enter_batchmode()),
      'PGAIO_BATCH_NESTED',
    );
    assert.is(pg.pgaio_have_staged(), stages);
    pg.pgaio_exit_batchmode();
    bench.endAll();
    for (const io of ios) assert.equal(bench.result(io), OK_ONE);
    bench.assertUsable();
  });
});

forEachMethod(
  'batch: running out of handles',
  (test, open) => {
    test('gives 0 without waiting, where that was asked for', async () => {
      const bench = await open();
      startReads(bench, 4);
      assert.is(bench.pg.pgaio_io_acquire_nb(0, 0), 0);
      assert.equal(bench.device.waits, []);
      assert.is(bench.backend('handed_out_io'), layout.NONE);
      bench.device.completeAll();
      bench.assertUsable();
    });

    test('waits for the oldest in flight, one at a time', async () => {
      const bench = await open();
      const { pg, device } = bench;
      startReads(bench, 4);
      device.complete(1);
      bench.start(bench.define({ fd: bench.handle(0, 'fd') }));
      assert.equal(bench.inFlight, [0, 2, 3, 1]);
      for (const expected of [0, 2, 3, 1]) {
        const ioh = pg.pgaio_io_acquire(0, 0);
        assert.is(pg.pgaio_io_get_id(ioh), expected);
        assert.is(device.waits.at(-1), expected);
        pg.pgaio_io_release(ioh);
        const io = bench.define({ fd: bench.handle(expected, 'fd') });
        bench.start(io);
      }
      assert.equal(device.waits, [0, 2, 3, 1]);
      device.completeAll();
      bench.assertUsable();
    });

    test('submits when all are staged, then waits for the oldest', async () => {
      const bench = await open();
      const { pg, device } = bench;
      pg.pgaio_enter_batchmode();
      startReads(bench, 4);
      assert.is(pg.pgaio_io_acquire_nb(0, 0), 0);
      assert.equal(device.submissions, []);
      const ioh = pg.pgaio_io_acquire(0, 0);
      assert.equal(device.submissions, [[0, 1, 2, 3]]);
      assert.equal(device.waits, [0]);
      assert.is(pg.pgaio_io_get_id(ioh), 0);
      assert.equal(bench.inFlight, [1, 2, 3]);
      pg.pgaio_io_release(ioh);
      pg.pgaio_exit_batchmode();
      device.completeAll();
      bench.assertUsable();
    });

    test('waits for nothing when submitting was enough', async () => {
      const bench = await open({ device: 'now' });
      const { pg, device } = bench;
      pg.pgaio_enter_batchmode();
      startReads(bench, 4);
      const ioh = pg.pgaio_io_acquire(0, 0);
      assert.equal(device.submissions, [[0, 1, 2, 3]]);
      assert.equal(device.waits, []);
      pg.pgaio_io_release(ioh);
      pg.pgaio_exit_batchmode();
      bench.assertUsable();
    });

    test('takes back first what others have completed, in index order', async () => {
      const bench = await open();
      const other = await bench.join();
      const { pg, device } = bench;
      pg.pgaio_enter_batchmode();
      startReads(bench, 3);
      pg.pgaio_submit_staged();
      bench.start(bench.define({ fd: bench.handle(0, 'fd') }));
      for (const id of [2, 1]) device.complete(id, undefined, other);
      const from = bench.ctl('trace_next');
      const ioh = pg.pgaio_io_acquire(0, 0);
      assert.equal(
        bench.trace(from).map(({ io, move }) => `${io} ${move}`),
        [
          '1 COMPLETED_SHARED>COMPLETED_LOCAL',
          '1 COMPLETED_LOCAL>IDLE',
          '2 COMPLETED_SHARED>COMPLETED_LOCAL',
          '2 COMPLETED_LOCAL>IDLE',
          '2 IDLE>HANDED_OUT',
        ],
      );
      assert.equal(device.waits, []);
      assert.equal(bench.staged, [3], 'what is staged stays so');
      pg.pgaio_io_release(ioh);
      pg.pgaio_exit_batchmode();
      device.completeAll();
      bench.assertUsable();
    });

    test('needs a device that can be waited for', async () => {
      const bench = await open({ device: 'never' });
      startReads(bench, 4);
      assert.is(
        endOf(() => bench.pg.pgaio_io_acquire(0, 0)),
        'PGAIO_CANNOT_WAIT',
      );
      assert.equal(bench.inFlight, [0, 1, 2, 3]);
      bench.device.completeAll();
      bench.assertUsable();
    });
  },
  IN_FLIGHT_ONLY,
);

/** The scenarios of PostgreSQL's test_aio about handles and batches, as one command each. */
interface Scenario {
  readonly sentence: string;
  /** `owner` is the command's own resource owner, `top` the transaction's. */
  readonly act: (bench: Bench, owner: number, top: number) => void;
  readonly commit: boolean;
  readonly said: readonly string[];
}
const get = ({ pg }: Bench, owner: number) => pg.pgaio_io_acquire(owner, 0);
const SCENARIOS: readonly Scenario[] = [
  {
    sentence: 'a handle taken and forgotten is warned about',
    act: get,
    commit: true,
    said: [LEAKED],
  },
  {
    sentence: 'a handle forgotten in a subtransaction is warned about',
    act: (bench, owner) => get(bench, bench.pg.ResourceOwnerCreate(owner)),
    commit: true,
    said: [LEAKED],
  },
  {
    sentence: 'a handle taken and given back is not',
    act: (bench, owner) => bench.pg.pgaio_io_release(get(bench, owner)),
    commit: true,
    said: [],
  },
  {
    sentence: 'a handle forgotten in an error is not',
    act: get,
    commit: false,
    said: [],
  },
  {
    sentence: 'a second handle is refused and the first one warned about',
    act: (bench, owner) => {
      get(bench, owner);
      assert.is(
        endOf(() => get(bench, owner)),
        'PGAIO_TWO_HANDED_OUT',
      );
    },
    commit: true,
    said: [LEAKED],
  },
  {
    sentence: 'a batch left open is warned about',
    act: ({ pg }) => pg.pgaio_enter_batchmode(),
    commit: true,
    said: [OPEN_BATCH],
  },
  {
    sentence: 'a batch begun and ended is not',
    act: ({ pg }) => {
      pg.pgaio_enter_batchmode();
      pg.pgaio_exit_batchmode();
    },
    commit: true,
    said: [],
  },
  {
    sentence: 'a batch left open in an error is not',
    act: ({ pg }) => pg.pgaio_enter_batchmode(),
    commit: false,
    said: [],
  },
  {
    sentence: 'a handle and a batch are warned about in this order',
    act: (bench, owner) => {
      bench.pg.pgaio_enter_batchmode();
      get(bench, owner);
    },
    commit: true,
    said: [LEAKED, OPEN_BATCH],
  },
];

forEachMethod('batch: resource owners', (test, open, variant) => {
  const inFlight = IN_FLIGHT_ONLY(variant) === undefined;
  const stages = variant.method !== 'sync';

  for (const { sentence, act, commit, said } of SCENARIOS) {
    test(sentence, async () => {
      const bench = await open();
      const { pg } = bench;
      const top = pg.ResourceOwnerCreate(0);
      const owner = pg.ResourceOwnerCreate(top);
      act(bench, owner, top);
      if (!commit) pg.pgaio_error_cleanup();
      pg.ResourceOwnerRelease(owner, commit);
      pg.AtEOXact_Aio(commit);
      assert.equal(bench.said, said);
      pg.ResourceOwnerRelease(top, true);
      assert.equal(bench.said, said, 'the transaction has nothing left to say');
      bench.assertUsable();
      pg.pgaio_io_release(get(bench, top));
      assert.equal(bench.ownedBy(top), []);
    });
  }

  test('a leaked handle cannot be given back by the next command', async () => {
    const bench = await open();
    const { pg } = bench;
    const owner = pg.ResourceOwnerCreate(0);
    const ioh = get(bench, owner);
    pg.ResourceOwnerRelease(owner, true);
    assert.equal(bench.said, [LEAKED]);
    assert.is(bench.reports[0]?.io, 0);
    assert.is(bench.reports[0]?.level, layout.WARNING);
    assert.is(
      endOf(() => pg.pgaio_io_release(ioh)),
      'PGAIO_RELEASE_STATE',
    );
    bench.assertUsable();
  });

  test('an owner can be used again, and deleted when it is empty', async () => {
    const bench = await open();
    const { pg } = bench;
    const owner = pg.ResourceOwnerCreate(0);
    const child = pg.ResourceOwnerCreate(owner);
    get(bench, child);
    assert.is(
      endOf(() => pg.ResourceOwnerDelete(child)),
      'PGAIO_RESOWNER_BUSY',
    );
    assert.is(
      endOf(() => pg.ResourceOwnerDelete(owner)),
      'PGAIO_RESOWNER_BUSY',
    );
    pg.ResourceOwnerRelease(owner, false);
    assert.is(
      endOf(() => pg.ResourceOwnerDelete(owner)),
      'PGAIO_RESOWNER_BUSY',
      'the child stays',
    );
    pg.ResourceOwnerDelete(child);
    pg.pgaio_io_release(get(bench, owner));
    pg.ResourceOwnerDelete(owner);
    assert.is(
      endOf(() => get(bench, owner)),
      'PGAIO_BAD_RESOWNER',
    );
    assert.is(pg.ResourceOwnerCreate(0), owner, 'its place is used again');
    bench.assertUsable();
  });

  test('there are 64, and all can be deleted and made again', async () => {
    const bench = await open();
    const { pg } = bench;
    for (let round = 0; round < 2; round++) {
      const owners: number[] = [];
      for (let i = 0; i < 64; i++) owners.push(pg.ResourceOwnerCreate(owners.at(-1) ?? 0));
      assert.is(new Set(owners).size, 64);
      get(bench, owners.at(-1) ?? 0);
      pg.ResourceOwnerRelease(owners[0] ?? 0, true);
      assert.is(bench.said.length, round + 1, 'the deepest child is reached');
      for (const owner of owners.reverse()) pg.ResourceOwnerDelete(owner);
    }
    bench.assertUsable();
  });

  test('releases children before their parent', async () => {
    const bench = await open();
    const { pg } = bench;
    const parent = pg.ResourceOwnerCreate(0);
    const [first, second] = [pg.ResourceOwnerCreate(parent), pg.ResourceOwnerCreate(parent)];
    const grandchild = pg.ResourceOwnerCreate(second);
    pg.pgaio_enter_batchmode();
    startReads(bench, 1, parent);
    startReads(bench, 1, grandchild);
    get(bench, first);
    pg.ResourceOwnerRelease(parent, true);
    const warned = bench.reports.map(({ io, message }) => `${io} ${message}`);
    assert.equal(
      warned,
      stages ? ['2 leaked AIO handle', '1 AIO handle was not submitted'] : ['0 leaked AIO handle'],
    );
    pg.pgaio_exit_batchmode();
    bench.endAll();
    bench.assertUsable();
  });

  test('a handle is with its owner from acquire to reclaim', async () => {
    const bench = await open();
    const { pg } = bench;
    const [owner, other] = [pg.ResourceOwnerCreate(0), pg.ResourceOwnerCreate(0)];
    const ios = [...startReads(bench, 2, owner), ...startReads(bench, 1, other)];
    const held = get(bench, owner);
    const id = pg.pgaio_io_get_id(held);
    const before = variant.method === 'worker' ? bench.inFlight.filter((io) => io < 2) : [0, 1];
    const owned = variant.method === 'sync' ? [id] : [...before, id];
    assert.equal(bench.ownedBy(owner), owned);
    assert.is(bench.get(owner, layout.ResourceOwner, 'io_count'), owned.length);
    if (inFlight) bench.device.complete(1);
    assert.equal(bench.ownedBy(owner), inFlight ? [0, 3] : owned);
    pg.pgaio_io_release(held);
    bench.endAll();
    assert.equal(bench.ownedBy(owner), []);
    assert.equal(bench.ownedBy(other), []);
    for (const io of ios) assert.equal(bench.result(io), OK_ONE);
    bench.assertUsable();
  });

  test('released while its I/O is being defined lets it run, and tells nobody', async () => {
    const bench = await open();
    const { pg } = bench;
    const fd = bench.file('data', numberedBlocks(1));
    const owner = pg.ResourceOwnerCreate(0);
    pg.pgaio_register_host_callback(32, {
      stage: () => pg.ResourceOwnerRelease(owner, true),
      complete_shared: () => undefined,
    });
    const io = bench.define({ fd, owner, callbacks: [32] });
    bench.start(io);
    bench.endAll();
    assert.equal(bench.said, [NOT_SUBMITTED]);
    assert.is(bench.result(io).status, 'UNKNOWN');
    assert.is(bench.u8[io.at], 1, 'it was read all the same');
    bench.assertUsable();
  });
});

forEachMethod(
  'batch: owners of I/O in flight',
  (test, open) => {
    for (const commit of [true, false]) {
      test(`submit what was staged; commit ${commit}`, async () => {
        const bench = await open();
        const { pg, device } = bench;
        const owner = pg.ResourceOwnerCreate(0);
        pg.pgaio_enter_batchmode();
        const [other] = startReads(bench, 1);
        const ios = startReads(bench, 2, owner);
        pg.ResourceOwnerRelease(owner, commit);
        assert.equal(bench.said, commit ? [NOT_SUBMITTED] : []);
        if (commit) assert.is(bench.reports[0]?.io, 1, 'the first; it took the others along');
        assert.equal(device.submissions, [[0, 1, 2]]);
        assert.equal(bench.ownedBy(owner), []);
        assert.is(bench.backend('in_batchmode'), 1);
        pg.pgaio_exit_batchmode();
        device.completeAll();
        for (const io of ios) assert.is(bench.result(io).status, 'UNKNOWN', 'nobody is told');
        assert.equal(bench.result(other ?? { ret: 0 }), OK_ONE);
        assert.is(bench.backend('returns_lost'), 0);
        bench.assertUsable();
      });

      test(`let what was submitted run on, and drop its result; commit ${commit}`, async () => {
        const bench = await open();
        const { pg, device } = bench;
        const owner = pg.ResourceOwnerCreate(0);
        const ios = startReads(bench, 2, owner);
        pg.ResourceOwnerRelease(owner, commit);
        pg.ResourceOwnerDelete(owner);
        assert.equal(bench.said, []);
        assert.equal(bench.inFlight, [0, 1]);
        assert.equal(device.waits, [], 'nothing is waited for');
        for (const io of ios) bench.u8.fill(0x55, io.ret, io.ret + 32);
        device.completeAll();
        for (const [block, io] of ios.entries()) {
          const bytes = bench.u8.subarray(io.ret, io.ret + 32);
          assert.ok(
            bytes.every((byte) => byte === 0x55),
            'their memory is somebody else’s',
          );
          assert.is(bench.u8[io.at], block + 1);
        }
        assert.equal(bench.said, []);
        assert.is(bench.backend('returns_lost'), 0);
        bench.assertUsable();
      });
    }

    test('forget what another backend has completed', async () => {
      const bench = await open();
      const other = await bench.join();
      const owner = bench.pg.ResourceOwnerCreate(0);
      const [io] = startReads(bench, 1, owner);
      assert.ok(io);
      bench.device.complete(io.id, undefined, other);
      bench.pg.ResourceOwnerRelease(owner, true);
      assert.is(bench.stateOf(io.id), 'COMPLETED_SHARED');
      bench.pg.pgaio_wref_wait(io.ref);
      assert.is(bench.result(io).status, 'UNKNOWN');
      assert.equal(bench.said, []);
      bench.assertUsable();
    });
  },
  IN_FLIGHT_ONLY,
);

forEachMethod('batch: the place of a result', (test, open) => {
  const LOST = 'WARNING: result of IO 0 was not delivered: its PgAioReturn was overwritten';
  for (const byte of [0, 0x55, 0xff]) {
    test(`that was overwritten by ${byte} is left alone`, async () => {
      const bench = await open();
      const fd = bench.file('data', numberedBlocks(1));
      const io = bench.define({ fd });
      bench.u8.fill(byte, io.ret, io.ret + 32);
      bench.start(io);
      bench.pg.pgaio_wref_wait(io.ref);
      assert.ok(bench.u8.subarray(io.ret, io.ret + 32).every((value) => value === byte));
      assert.equal(bench.said, [LOST]);
      assert.is(bench.reports[0]?.io, 0);
      assert.is(bench.backend('returns_lost'), 1);
      bench.assertUsable();
    });
  }

  test('that another I/O was given meanwhile receives that one’s', async () => {
    const bench = await open();
    const { pg } = bench;
    const fd = bench.file('data', numberedBlocks(2));
    const ret = pg.alloc(32);
    let inner: Io | undefined;
    pg.pgaio_register_host_callback(32, {
      stage: () => {
        inner = bench.define({ fd, ret, block: 1 });
        bench.start(inner);
      },
      complete_shared: () => undefined,
    });
    const first = bench.define({ fd, ret, callbacks: [32, 1] });
    bench.start(first);
    bench.endAll();
    assert.ok(inner);
    assert.equal(bench.result({ ret }), OK_ONE);
    assert.is(bench.u32[ret / 4 + 5], 1, 'block 1: the result of the second');
    assert.equal(bench.said, [LOST]);
    bench.assertUsable();
  });

  test('receives every result while it is untouched', async () => {
    const bench = await open();
    const fd = bench.file('data', numberedBlocks(4));
    const ret = bench.pg.alloc(32);
    for (let block = 0; block < 4; block++) {
      bench.read({ fd, ret, block });
      assert.equal(bench.result({ ret }), OK_ONE);
      assert.is(bench.u32[ret / 4 + 5], block);
    }
    assert.equal(bench.said, []);
    assert.is(bench.backend('returns_lost'), 0);
  });

  test('need not be given', async () => {
    const bench = await open();
    const fd = bench.file('data', numberedBlocks(1));
    const io = bench.define({ fd, ret: 0 });
    bench.start(io);
    if (bench.stateOf(io.id) !== 'IDLE') bench.pg.pgaio_wref_wait(io.ref);
    assert.is(bench.u8[io.at], 1);
    assert.equal(bench.said, []);
    bench.assertUsable();
  });
});
