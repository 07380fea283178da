/**
 * Reading into buffers: StartReadBuffers and WaitReadBuffers, beginning and ending I/O on a buffer,
 * and I/O that another backend has begun; after PostgreSQL's module test_aio, the same tables,
 * block numbers and rows, for every method.
 */
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import { type Bench, endOf, errorOf, forEachMethod, type Open, SHARED_ONLY } from './harness.ts';
import { POOL, Relation, type RelationOptions, rowOf, rowsOf, wrefOf } from './pool-fixture.ts';

const { BLOCKED } = layout;
const KINDS: readonly (readonly [string, RelationOptions])[] = [
  ['a table', {}],
  ['a temporary table', { temp: true }],
];

async function opened(open: Open, options: RelationOptions = {}, blocks = 16) {
  const bench = await open({ ...POOL, inject: true });
  return { bench, rel: new Relation(bench, options).fill(blocks) };
}
/** Nothing is pinned, and nothing is under way. */
function assertIdle(bench: Bench): void {
  bench.endAll();
  bench.pg.pgaio_drain_completed();
  for (let buffer = 1; buffer <= bench.ctl('shared_buffers'); buffer++) {
    const desc = bench.ctl('buffer_descs') + (buffer - 1) * layout.BUFFER_DESC_BYTES;
    const state = bench.get(desc, layout.BufferDesc, 'buf_state');
    assert.is(state & layout.BUF_REFCOUNT_MASK, 0, `pins of buffer ${buffer}`);
    assert.is(state & layout.BM_IO_IN_PROGRESS, 0, `I/O on buffer ${buffer}`);
    assert.is(bench.get(desc, layout.BufferDesc, 'content_lock'), 0);
  }
  assert.equal(bench.inFlight, []);
  assert.is(bench.backend('handed_out_io'), layout.NONE);
}

for (const [kind, options] of KINDS) {
  forEachMethod(`pool: reading ${kind}`, (test, open) => {
    test('is one I/O for neighbours, and none for what is there', async () => {
      const { bench, rel } = await opened(open, options);
      assert.equal(rowsOf(rel.readBuffers(0, 2)), ['0|0|t|2']);
      assert.equal(rowsOf(rel.readBuffers(0, 2)), ['0|0|f|1', '1|1|f|1']);
      assert.equal(rel.scan(16), [...Array(16).keys()]);
      assertIdle(bench);
    });

    test('is cut where a page is there', async () => {
      const { bench, rel } = await opened(open, options);
      assert.equal(rowsOf(rel.readBuffers(3, 1)), ['0|3|t|1']);
      assert.equal(rowsOf(rel.readBuffers(2, 4)), ['0|2|t|1', '1|3|f|1', '2|4|t|2']);
      assertIdle(bench);
    });

    test('misses, hits, and reads what is left', async () => {
      const { rel } = await opened(open, options);
      assert.equal(rowsOf(rel.readBuffers(0, 1)), ['0|0|t|1']);
      assert.equal(rowsOf(rel.readBuffers(0, 1)), ['0|0|f|1']);
      assert.equal(rowsOf(rel.readBuffers(1, 1)), ['0|1|t|1']);
      assert.equal(rowsOf(rel.readBuffers(1, 1)), ['0|1|f|1']);
      assert.equal(rowsOf(rel.readBuffers(0, 2)), ['0|0|f|1', '1|1|f|1']);
      assert.equal(rowsOf(rel.readBuffers(0, 3)), ['0|0|f|1', '1|1|f|1', '2|2|t|1']);
    });

    test('reads anew what was taken out', async () => {
      const { rel } = await opened(open, options);
      rel.readBuffers(0, 5);
      if (options.temp === true) return; // a local buffer is taken out with all that follow it
      rel.evict(0);
      assert.equal(rowsOf(rel.readBuffers(0, 3)), ['0|0|t|1', '1|1|f|1', '2|2|f|1']);
      rel.evict(1);
      rel.evict(2);
      assert.equal(rowsOf(rel.readBuffers(1, 4)), ['0|1|t|2', '2|3|f|1', '3|4|f|1']);
    });

    test('is of io_combine_limit blocks at the most', async () => {
      const { rel } = await opened(open, options);
      rel.combineLimit = 3;
      assert.equal(rowsOf(rel.readBuffers(1, 5)), ['0|1|t|3', '3|4|t|2']);
    });

    for (const [block, expected] of [
      [1, ['f1', 't2']],
      [2, ['t1', 'f1', 't1']],
      [3, ['t2', 'f1']],
    ] as const) {
      test(`joins one’s own unfinished read of block ${block}`, async () => {
        const { bench, rel } = await opened(open, options);
        const own = rel.startLowLevel(block);
        const started = rel.startAll(1, 3);
        assert.equal(
          started.map(({ io, foreign, nblocks }) => `${io && !foreign ? 't' : 'f'}${nblocks}`),
          expected,
        );
        rel.finishAll(started);
        rel.finishLowLevel(own);
        assertIdle(bench);
      });
    }

    test('counts a hit for each block that was there', async () => {
      const { bench, rel } = await opened(open, options);
      const hits = () =>
        bench.get(bench.backendAt + layout.STORAGE_OFFSET, layout.PgAioStorage, 'hits');
      rel.readBuffers(0, 4);
      assert.is(hits(), 0);
      assert.is(bench.backend('smgr_reads'), 1);
      assert.is(bench.backend('smgr_read_bytes'), 4 * 8192);
      rel.readBuffers(0, 5);
      assert.is(hits(), 4);
      assert.is(bench.backend('smgr_reads'), 2);
    });

    test('ends at the end of the file with the words of PostgreSQL', async () => {
      const { bench, rel } = await opened(open, options, 4);
      assert.is(bench.pg.smgrnblocks(rel.at), 4);
      const error = errorOf(() => rel.readBuffers(2, 4));
      const words = `could not read blocks 4..5 in file "${rel.path}": read only 0 of 16384 bytes`;
      assert.is(error.message, words);
      assert.is(error.sqlstate, 'XX001');
      assert.equal(rowsOf(rel.readBuffers(2, 2)), ['0|2|f|1', '1|3|f|1'], 'what was read stays');
      assertIdle(bench);
    });

    test('of blocks that the next call asks for finds them pinned', async () => {
      const { bench, rel } = await opened(open, options);
      rel.readBuffers(2, 1);
      const buffers = bench.pg.alloc(16);
      const op = rel.operation();
      assert.equal(rel.start(op, buffers, 0, 4), { rc: 1, nblocks: 2 });
      bench.pg.WaitReadBuffers(op, 0);
      const [, , forwarded = 0, none] = rel.buffersAt(buffers, 4);
      assert.not.equal(forwarded, 0, 'block 2 is pinned and was not asked for');
      assert.is(none, 0);
      assert.equal(rel.start(op, buffers + 8, 2, 2), { rc: 0, nblocks: 1 });
      assert.is(rel.buffersAt(buffers, 4)[2], forwarded);
      for (const buffer of rel.buffersAt(buffers, 3)) bench.pg.ReleaseBuffer(buffer);
      assertIdle(bench);
    });

    test('refuses a forwarded buffer that is not the one', async () => {
      const { bench, rel } = await opened(open, options);
      const buffers = bench.pg.alloc(16);
      for (const wrong of [7, -7, 65, 1 << 30, -(2 ** 31)]) {
        bench.i32[buffers / 4] = wrong;
        const op = rel.operation();
        const error = errorOf(() => rel.start(op, buffers, 0, 1));
        assert.is(error.code, 'PGAIO_BAD_BUFFER');
        assert.is(error.message, `bad buffer ID: ${wrong}`);
      }
      assertIdle(bench);
    });
  });

  forEachMethod(`pool: an invalid page of ${kind}`, (test, open) => {
    const message = (rel: Relation) => `invalid page in block 1 of relation "${rel.path}"`;
    test('is an error of whoever reads it', async () => {
      const { bench, rel } = await opened(open, options);
      rel.modify(1, 'hdr');
      for (const read of [
        () => rel.finishLowLevel(rel.startLowLevel(1)),
        () => rel.scan(16),
        () => rel.readBuffers(1, 1),
      ]) {
        const error = errorOf(read);
        assert.is(error.message, message(rel));
        assert.is(error.code, 'PGAIO_PAGE');
        assert.is(error.sqlstate, 'XX001');
      }
      assert.equal(rowsOf(rel.readBuffers(0, 1)), [options.temp ? '0|0|f|1' : '0|0|f|1']);
      await bench.heard();
      assert.ok(bench.said.includes(`LOG: ${message(rel)}`), bench.said.join('\n'));
      assertIdle(bench);
    });

    test('does not keep good pages of the same read from being used', async () => {
      const { rel } = await opened(open, options);
      rel.modify(1, 'hdr');
      assert.is(errorOf(() => rel.readBuffers(0, 4)).message, message(rel));
      assert.equal(rowsOf(rel.readBuffers(0, 1)), ['0|0|f|1']);
      assert.equal(rowsOf(rel.readBuffers(2, 2)), ['0|2|f|1', '1|3|f|1']);
    });
  });
}

forEachMethod('pool: beginning I/O on a buffer', (test, open) => {
  test('is for one: true once, then false', async () => {
    const { bench, rel } = await opened(open);
    const { pg } = bench;
    const buffer = rel.pin(1);
    assert.is(pg.StartBufferIO(buffer, 1, 1), 1);
    assert.is(pg.StartBufferIO(buffer, 1, 1), BLOCKED);
    assert.is(
      endOf(() => pg.StartBufferIO(buffer, 1, 0)),
      'PGAIO_BUFFER_IO',
      'for ever',
    );
    assert.is(
      endOf(() => pg.ReleaseBuffer(buffer)),
      'PGAIO_BUFFER_IO',
    );
    pg.TerminateBufferIO(buffer, 1, 0);
    assert.is(pg.StartBufferIO(buffer, 1, 1), 1, 'it failed: again');
    pg.TerminateBufferIO(buffer, 1, 1);
    assert.is(pg.StartBufferIO(buffer, 1, 1), 0, 'it is there');
    assert.is(
      endOf(() => pg.TerminateBufferIO(buffer, 1, 1)),
      'PGAIO_BUFFER_IO',
    );
    pg.ReleaseBuffer(buffer);
    assertIdle(bench);
  });

  test('of a temporary table has no bit: true until it is there', async () => {
    const { bench, rel } = await opened(open, { temp: true });
    const { pg } = bench;
    const buffer = rel.pin(1);
    assert.is(pg.StartBufferIO(buffer, 1, 1), 1);
    assert.is(pg.StartBufferIO(buffer, 1, 1), 1);
    pg.TerminateBufferIO(buffer, 1, 0);
    assert.is(pg.StartBufferIO(buffer, 1, 1), 1);
    pg.TerminateBufferIO(buffer, 1, 1);
    assert.is(pg.StartBufferIO(buffer, 1, 1), 0);
    pg.ReleaseBuffer(buffer);
  });
});

forEachMethod(
  'pool: two backends',
  (test, open, variant) => {
    async function two(blocks = 16) {
      const { bench, rel } = await opened(open, {}, blocks);
      const guest = await bench.join();
      return { bench, rel, guest, theirs: rel.seenBy(guest) };
    }

    test('begin I/O on a buffer one after the other', async () => {
      const { bench, rel, guest, theirs } = await two();
      const buffer = rel.pin(1);
      assert.is(theirs.pin(1), buffer);
      assert.is(bench.pg.StartBufferIO(buffer, 1, 1), 1);
      assert.is(guest.pg.StartBufferIO(buffer, 1, 1), BLOCKED);
      const word = guest.pg.GetBufferDescriptor(buffer) / 4;
      const seen = guest.pg.pgaio_buffer_arm(buffer);
      assert.is(seen, Atomics.load(guest.u32, word));
      const woken = Atomics.waitAsync(guest.i32, word, seen | 0, 10_000);
      bench.pg.TerminateBufferIO(buffer, 1, 0);
      assert.is(await woken.value, 'ok', 'the end wakes who waits');
      assert.is(guest.pg.pgaio_buffer_arm(buffer), 0);
      assert.is(guest.pg.StartBufferIO(buffer, 1, 0), 1, 'it failed: the waiter may');
      assert.is(bench.pg.StartBufferIO(buffer, 1, 1), BLOCKED);
      guest.pg.TerminateBufferIO(buffer, 1, 1);
      assert.is(bench.pg.StartBufferIO(buffer, 1, 0), 0, 'it is there: nothing to do');
      bench.pg.ReleaseBuffer(buffer);
      guest.pg.ReleaseBuffer(buffer);
      assertIdle(bench);
    });

    for (const [outcome, succeeded, expected] of [
      ['fails', 0, ['0|1|t|f|2', '2|3|t|f|3']],
      ['succeeds', 1, ['0|1|t|f|2', '2|3|f|f|1', '3|4|t|f|2']],
    ] as const) {
      test(`wait for one that has no I/O yet, and ${outcome}`, async () => {
        if (variant.method === 'sync') return; // it reads when it waits, all at once
        const { bench, rel, guest, theirs } = await two();
        const toy = theirs.pin(3);
        assert.is(guest.pg.StartBufferIO(toy, 1, 1), 1);
        const buffers = bench.pg.alloc(20);
        const first = rel.operation();
        const rows = [{ off: 0, block: 1, ...rel.start(first, buffers, 1, 5), op: first }];
        assert.is(rows[0]?.nblocks, 2, 'it ends before the one that is being read');
        const op = rel.operation();
        const nowait = layout.READ_BUFFERS_NOWAIT;
        assert.is(rel.start(op, buffers + 8, 3, 3, nowait).rc, BLOCKED);
        assert.is(wrefOf(rel, op), undefined, 'there is nothing to wait for but the buffer');
        guest.pg.TerminateBufferIO(toy, 1, succeeded);
        guest.pg.ReleaseBuffer(toy);
        for (let off = 2; off < 5; ) {
          const next = rel.operation();
          const started = rel.start(next, buffers + 4 * off, 1 + off, 5 - off, nowait);
          rows.push({ off, block: 1 + off, ...started, op: next });
          off += started.nblocks;
        }
        const shown = rows.map(({ rc, op: one, ...row }) =>
          rowOf({ ...row, io: rc === 1, foreign: rel.field(one, 'foreign_io') === 1 }),
        );
        assert.equal(rowsOf(shown, true), expected);
        for (const { rc, op: one } of rows) if (rc === 1) bench.pg.WaitReadBuffers(one, 0);
        for (const buffer of rel.buffersAt(buffers, 5)) bench.pg.ReleaseBuffer(buffer);
        assertIdle(bench);
      });
    }

    test('read what the other has begun to read, who does nothing more', async () => {
      const { bench, rel, guest, theirs } = await two();
      const begun = rel.startLowLevel(1);
      assert.equal(theirs.scan(3), [0, 1, 2]);
      assert.equal(
        guest.said.filter((line) => !line.startsWith('DEBUG')),
        [],
      );
      rel.finishLowLevel(begun);
      assertIdle(bench);
    });

    test('read what one has begun that leaves', async () => {
      const { bench, rel, guest, theirs } = await two();
      theirs.startLowLevel(1);
      guest.pg.pgaio_shutdown();
      assert.equal(rel.scan(3), [0, 1, 2]);
      assertIdle(bench);
    });

    test('read a page that is invalid each with its own error', async () => {
      const { bench, rel, theirs } = await two();
      rel.modify(1, 'hdr');
      const words = `invalid page in block 1 of relation "${rel.path}"`;
      const begun = rel.startLowLevel(1);
      assert.is(errorOf(() => theirs.readBuffers(1, 1)).message, words);
      assert.is(errorOf(() => rel.finishLowLevel(begun)).message, words);
      await bench.heard();
      assertIdle(bench);
    });

    if (variant.method === 'sync') return;

    /** Has the guest read blocks, and what it reads not complete until `release`. */
    async function holding(first: number, count: number) {
      const { bench, rel, guest, theirs } = await two();
      const device = variant.method === 'host';
      if (device) bench.device.mode = guest.device.mode = 'never';
      else guest.injection.hold();
      const begun = theirs.startLowLevel(first, count);
      const release = () => {
        if (!device) return guest.injection.release();
        bench.device.mode = guest.device.mode = 'wait';
        guest.device.completeAll();
        bench.device.completeAll();
      };
      return { bench, rel, guest, theirs, begun, release };
    }

    test('join the I/O of the other on the first block', async () => {
      const { bench, rel, theirs, begun, release } = await holding(1, 1);
      const started = rel.startAll(1, 4);
      assert.equal(rowsOf(started, true), ['0|1|t|t|1', '1|2|t|f|3']);
      const [first] = started;
      assert.ok(first);
      assert.is(bench.pg.WaitReadBuffers(first.op, 1), BLOCKED);
      assert.ok(wrefOf(rel, first.op) !== undefined, 'what to wait for');
      release();
      rel.finishAll(started);
      theirs.finishLowLevel(begun);
      assertIdle(bench);
    });

    test('join one I/O of the other twice', async () => {
      const { bench, rel, theirs, begun, release } = await holding(2, 2);
      const started = rel.startAll(0, 4);
      assert.equal(rowsOf(started, true), ['0|0|t|f|2', '2|2|t|t|1', '3|3|t|t|1']);
      const ids = started.slice(1).map(({ op }) => rel.field(op, 'io_wref'));
      assert.is(ids[0], ids[1]);
      release();
      rel.finishAll(started);
      theirs.finishLowLevel(begun);
      assertIdle(bench);
    });

    test('retry what the other failed to read', async () => {
      const { bench, rel, guest, theirs, begun, release } = await holding(1, 1);
      const started = rel.startAll(1, 1);
      assert.is(started[0]?.foreign, true);
      if (variant.method === 'host') {
        guest.device.complete(guest.device.queue[0] ?? 0, -5);
        bench.device.mode = guest.device.mode = 'wait';
      } else {
        guest.injection.errno = 5;
        release();
        guest.pg.pgaio_wref_wait(begun.ref);
        guest.injection.errno = 0;
      }
      rel.finishAll(started);
      const words = `could not read blocks 1..1 in file "${rel.path}": Input/output error`;
      assert.is(errorOf(() => theirs.finishLowLevel(begun)).message, words);
      assertIdle(bench);
    });
  },
  SHARED_ONLY,
);
