/**
 * A pool that is too small, and backends that end: which buffers make room, rings, pins and their
 * limits, what must not wait, and what a thread that ends leaves behind.
 */
import { mkdirSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import { type AttachOptions, attach } from '../host/node/raw.ts';
import {
  type Bench,
  endOf,
  errorOf,
  forEachMethod,
  IN_FLIGHT_ONLY,
  type Open,
  SHARED_ONLY,
} from './harness.ts';
import { NUMBER_AT, POOL, Relation, rowsOf } from './pool-fixture.ts';
import { blockFile, scratchDirectory, within } from './threads-fixture.ts';

const { BLOCKED } = layout;
const storage = (bench: Bench, name: keyof typeof layout.PgAioStorage.fields): number =>
  bench.get(bench.backendAt + layout.STORAGE_OFFSET, layout.PgAioStorage, name);

async function opened(open: Open, blocks: number, buffers = 64) {
  const bench = await open({ ...POOL, shared_buffers: buffers });
  return { bench, rel: new Relation(bench).fill(blocks) };
}

forEachMethod('pool pressure: which page makes room', (test, open) => {
  test('one that was used least', async () => {
    const { bench, rel } = await opened(open, 200, 32);
    for (let use = 0; use < 5; use++) rel.scan(4);
    for (let block = 100; block < 128; block++) rel.readBuffers(block, 1);
    const before = storage(bench, 'hits');
    rel.scan(4);
    assert.is(storage(bench, 'hits') - before, 4, 'what is used often stays');
    assert.is(storage(bench, 'evictions'), 0);
    for (let block = 130; block < 160; block++) rel.readBuffers(block, 1);
    assert.is(storage(bench, 'evictions'), 30);
  });

  test('none of those that are pinned', async () => {
    const { bench, rel } = await opened(open, 200, 16);
    const buffers = [0, 1, 2].map((block) => bench.pg.ReadBuffer(rel.at, block, 0, 0));
    for (let block = 10; block < 100; block++) rel.readBuffers(block, 1);
    buffers.forEach((buffer, block) => {
      const at = bench.pg.BufferGetPage(buffer);
      assert.is(bench.view.getUint32(at + NUMBER_AT, true), block);
      bench.pg.ReleaseBuffer(buffer);
    });
  });

  for (const [name, kind, blocks] of [
    ['a bulk read', layout.BAS_BULKREAD, 8],
    ['a vacuum', layout.BAS_VACUUM, 8],
    ['a bulk write', layout.BAS_BULKWRITE, 8],
  ] as const) {
    test(`those of its own ring, for ${name}`, async () => {
      const { bench, rel } = await opened(open, 200, 64);
      const { pg } = bench;
      rel.scan(40);
      const strategy = pg.alloc(layout.AccessStrategy.size + 256);
      assert.is(pg.GetAccessStrategy(strategy, 256, kind, 16), blocks, 'an eighth of the pool');
      const limit = kind === layout.BAS_BULKREAD ? blocks : blocks / 2;
      assert.is(pg.GetAccessStrategyPinLimit(strategy), limit);
      for (let block = 50; block < 200; block++) {
        pg.ReleaseBuffer(pg.ReadBuffer(rel.at, block, 0, strategy));
      }
      assert.ok(storage(bench, 'reuses') >= 150 - 2 * blocks, 'its own again and again');
      const before = storage(bench, 'hits');
      rel.scan(40);
      assert.is(storage(bench, 'hits') - before, 40, 'nobody else lost a page');
      assert.is(pg.GetAccessStrategyPinLimit(0), 64);
    });
  }

  test('written first, if a ring comes round to it dirty', async () => {
    const { bench, rel } = await opened(open, 200, 64);
    const { pg } = bench;
    const strategy = pg.alloc(256);
    pg.GetAccessStrategy(strategy, 256, layout.BAS_BULKWRITE, 0);
    for (let block = 0; block < 100; block++) {
      const buffer = pg.ReadBuffer(rel.at, block, 0, strategy);
      pg.LockBuffer(buffer, layout.BUFFER_LOCK_EXCLUSIVE, 0);
      bench.view.setUint32(pg.BufferGetPage(buffer) + NUMBER_AT, block + 1000, true);
      pg.MarkBufferDirty(buffer);
      pg.LockBuffer(buffer, layout.BUFFER_LOCK_UNLOCK, 0);
      pg.ReleaseBuffer(buffer);
    }
    assert.is(pg.FlushBuffers(pg.alloc(layout.FLUSH_OPERATION_BYTES), 0), 0);
    rel.evict();
    assert.equal(
      rel.scan(100),
      Array.from({ length: 100 }, (_, block) => block + 1000),
    );
  });

  test('a ring that somebody has written nonsense into does no harm', async () => {
    const { bench, rel } = await opened(open, 100, 64);
    const { pg } = bench;
    const strategy = pg.alloc(256);
    const n = pg.GetAccessStrategy(strategy, 256, layout.BAS_BULKREAD, 0);
    for (const nonsense of [0xffffffff, 65, 1 << 30, 3]) {
      bench.u32.fill(nonsense, strategy / 4 + 3, strategy / 4 + 3 + n);
      bench.u32[strategy / 4 + 2] = nonsense;
      pg.ReleaseBuffer(pg.ReadBuffer(rel.at, nonsense % 50, 0, strategy));
    }
    bench.u32[strategy / 4 + 1] = 0xffffffff;
    assert.is(
      endOf(() => pg.ReadBuffer(rel.at, 60, 0, strategy)),
      'PGAIO_BAD_STRATEGY',
    );
  });
});

forEachMethod('pool pressure: pins', (test, open) => {
  test('are counted by buffer, and shared out fairly', async () => {
    const { bench, rel } = await opened(open, 100, 1024);
    const { pg } = bench;
    const share = Math.floor(1024 / (3 + 38));
    assert.is(pg.GetPinLimit(), share);
    assert.is(pg.GetAdditionalPinLimit(), share);
    const buffer = pg.ReadBuffer(rel.at, 1, 0, 0);
    assert.is(pg.ReadBuffer(rel.at, 1, 0, 0), buffer);
    pg.IncrBufferRefCount(buffer);
    assert.is(pg.GetAdditionalPinLimit(), share - 1, 'one buffer, three pins');
    assert.is(rel.state(buffer) & layout.BUF_REFCOUNT_MASK, 1, 'one backend');
    for (let pins = 0; pins < 3; pins++) pg.ReleaseBuffer(buffer);
    assert.is(rel.state(buffer) & layout.BUF_REFCOUNT_MASK, 0);
    assert.is(
      endOf(() => pg.ReleaseBuffer(buffer)),
      'PGAIO_NOT_PINNED',
    );
    const buffers = Array.from({ length: share + 2 }, (_, block) =>
      pg.ReadBuffer(rel.at, block, 0, 0),
    );
    assert.is(pg.GetAdditionalPinLimit(), 0);
    for (const one of buffers) pg.ReleaseBuffer(one);
    assert.is(pg.GetAdditionalPinLimit(), share);
  });

  test('count a use up to five', async () => {
    const { bench, rel } = await opened(open, 100);
    const usage = (buffer: number) =>
      (rel.state(buffer) & layout.BUF_USAGECOUNT_MASK) / layout.BUF_USAGECOUNT_ONE;
    const buffer = bench.pg.ReadBuffer(rel.at, 1, 0, 0);
    bench.pg.ReleaseBuffer(buffer);
    assert.is(usage(buffer), 1);
    for (let use = 0; use < 10; use++) bench.pg.ReleaseBuffer(bench.pg.ReadBuffer(rel.at, 1, 0, 0));
    assert.is(usage(buffer), 5);
  });

  test('of all but one leave a reader that one, and of all an error', async () => {
    const { bench, rel } = await opened(open, 100, 16);
    const { pg } = bench;
    const pins = Array.from({ length: 14 }, (_, block) => pg.ReadBuffer(rel.at, block, 0, 0));
    assert.equal(rowsOf(rel.startAll(20, 1)), ['0|20|t|1']);
    const buffers = pg.alloc(64);
    const op = rel.operation();
    assert.equal(
      rel.start(op, buffers, 30, 4),
      { rc: 1, nblocks: 1 },
      'as many as there is room for',
    );
    const error = errorOf(() => rel.start(rel.operation(), buffers + 4, 31, 4));
    assert.is(error.message, 'no unpinned buffers available');
    assert.is(error.sqlstate, '53200');
    pg.WaitReadBuffers(op, 0);
    assert.is(
      bench.view.getUint32(pg.BufferGetPage(rel.buffersAt(buffers, 1)[0] ?? 0) + NUMBER_AT, true),
      30,
    );
    for (const buffer of [...pins, ...rel.buffersAt(buffers, 1)]) pg.ReleaseBuffer(buffer);
  });
});

forEachMethod(
  'pool pressure: two readers',
  (test, open) => {
    test('of a pool of 16 with 12 pins elsewhere both come to their end', async () => {
      const { bench, rel } = await opened(open, 60, 16);
      const guest = await bench.join();
      const theirs = rel.seenBy(guest);
      const pins = Array.from({ length: 12 }, (_, block) =>
        guest.pg.ReadBuffer(theirs.at, block, 0, 0),
      );
      const readers = [rel, theirs].map((relation) => ({
        relation,
        block: 20,
        seen: [] as number[],
      }));
      for (let turn = 0; turn < 200 && readers.some(({ block }) => block < 60); turn++) {
        for (const reader of readers) {
          if (reader.block >= 60) continue;
          const { pg, view } = reader.relation.bench;
          const mark = pg.alloc(0);
          const op = reader.relation.operation();
          const buffers = pg.alloc(64);
          const { rc, nblocks } = reader.relation.start(op, buffers, reader.block, 2);
          if (rc === 1) pg.WaitReadBuffers(op, 0);
          for (const buffer of reader.relation.buffersAt(buffers, 2).filter((n) => n !== 0)) {
            if (reader.seen.length < reader.block - 20 + nblocks) {
              reader.seen.push(view.getUint32(pg.BufferGetPage(buffer) + NUMBER_AT, true));
            }
            pg.ReleaseBuffer(buffer);
          }
          reader.block += nblocks;
          pg.reset(mark);
        }
      }
      for (const { seen } of readers) {
        assert.equal(
          seen,
          Array.from({ length: 40 }, (_, i) => i + 20),
        );
      }
      for (const buffer of pins) guest.pg.ReleaseBuffer(buffer);
    });
  },
  SHARED_ONLY,
);

forEachMethod(
  'pool pressure: who must not wait',
  (test, open) => {
    test('is told when there is no handle, and goes on when there is', async () => {
      const bench = await open({ ...POOL, io_max_concurrency: 2 });
      const rel = new Relation(bench).fill(100);
      bench.device.mode = 'never';
      const nowait = layout.READ_BUFFERS_NOWAIT;
      const buffers = bench.pg.alloc(64);
      const ops = [0, 10, 20].map((block, i) => {
        const op = rel.operation();
        return { op, rc: rel.start(op, buffers + 4 * i, block, 1, nowait).rc };
      });
      assert.equal(
        ops.map(({ rc }) => rc),
        [1, 1, BLOCKED],
      );
      const last = ops[2]?.op ?? 0;
      assert.is(rel.field(last, 'io_wref'), rel.field(ops[0]?.op ?? 0, 'io_wref'), 'the oldest');
      const forwarded = rel.buffersAt(buffers, 3)[2];
      bench.device.completeAll();
      assert.is(rel.start(last, buffers + 8, 20, 1, nowait).rc, 1);
      assert.is(rel.buffersAt(buffers, 3)[2], forwarded, 'it had been pinned');
      bench.device.completeAll();
      for (const { op } of ops) assert.ok(bench.pg.WaitReadBuffers(op, 1) <= 1);
      for (const buffer of rel.buffersAt(buffers, 3)) bench.pg.ReleaseBuffer(buffer);
    });

    test('finds a page that is there, or 0', async () => {
      const { bench, rel } = await opened(open, 100);
      bench.device.mode = 'never';
      const nowait = layout.READ_BUFFERS_NOWAIT;
      assert.is(bench.pg.ReadBuffer(rel.at, 7, nowait, 0), 0);
      assert.is(bench.device.queue.length, 0);
      bench.pg.ReleaseBuffer(bench.pg.ReadBuffer(rel.at, 7, 0, 0));
      const buffer = bench.pg.ReadBuffer(rel.at, 7, nowait, 0);
      assert.ok(buffer > 0);
      bench.pg.ReleaseBuffer(buffer);
      assert.is(bench.device.queue.length, 0, 'ReadBuffer reads in this thread');
    });

    test('reads on after a short read, step by step', async () => {
      const { bench, rel } = await opened(open, 100);
      bench.device.mode = 'never';
      const buffers = bench.pg.alloc(64);
      const op = rel.operation();
      assert.is(rel.start(op, buffers, 0, 4, layout.READ_BUFFERS_NOWAIT).rc, 1);
      assert.is(bench.pg.WaitReadBuffers(op, 1), BLOCKED);
      bench.device.complete(bench.device.queue[0] ?? 0, 8192);
      assert.is(bench.pg.WaitReadBuffers(op, 1), BLOCKED, 'the rest is under way');
      assert.is(rel.field(op, 'nblocks_done'), 1);
      bench.device.completeAll();
      assert.is(bench.pg.WaitReadBuffers(op, 1), 0, 'this call had nothing to wait for');
      assert.is(rel.field(op, 'nblocks_done'), 4);
      for (const buffer of rel.buffersAt(buffers, 4)) bench.pg.ReleaseBuffer(buffer);
    });
  },
  IN_FLIGHT_ONLY,
);

const ends = suite('pool pressure: a thread that ends');
for (const io_method of ['sync', 'worker'] as const) {
  ends(`leaves no buffer pinned, locked or under I/O (${io_method})`, async () => {
    const directory = scratchDirectory('pool');
    mkdirSync(`${directory}/base/5`, { recursive: true });
    blockFile(`${directory}/base/5/16384`, 0);
    const options: AttachOptions = {
      ...POOL,
      io_method,
      io_workers: 1,
      dataDirectory: directory,
      data_checksums: false,
      onReport: () => undefined,
    };
    const pg = await attach(options);
    const u32 = new Uint32Array(pg.memory.buffer);
    const rel = pg.alloc(16);
    u32.set([1663, 5, 16384, 0], rel / 4);
    pg.smgrzeroextend(rel, 16);
    const thread = new Worker(new URL('./pool-thread.js', import.meta.url), {
      workerData: { token: pg.token },
    });
    const held = new Promise((resolve, reject) => {
      thread.once('message', resolve);
      thread.once('error', reject);
    });
    await within('the thread holds its buffers', held);
    const descs = u32[(layout.CTL_AT + layout.PgAioCtl.fields.buffer_descs.offset) / 4] ?? 0;
    const look = (field: keyof typeof layout.BufferDesc.fields) =>
      Array.from({ length: POOL.shared_buffers }, (_, i) => {
        const at = descs + i * layout.BUFFER_DESC_BYTES + layout.BufferDesc.fields[field].offset;
        return u32[at / 4] ?? 0;
      });
    const pinned = () => look('buf_state').filter((state) => (state & 0x3ffff) !== 0).length;
    assert.is(pinned(), 5);
    assert.is(look('content_lock').filter((word) => word !== 0).length, 2);
    const ended = new Promise((resolve) => thread.once('exit', resolve));
    await thread.terminate();
    await within('the thread ends', ended);
    await new Promise(setImmediate);
    assert.is(pinned(), 0);
    assert.equal(
      look('content_lock').filter((word) => word !== 0),
      [],
    );
    const { BM_IO_IN_PROGRESS, BM_DIRTY } = layout;
    assert.equal(
      look('buf_state').filter((state) => (state & BM_IO_IN_PROGRESS) !== 0),
      [],
    );
    assert.is(look('buf_state').filter((state) => (state & BM_DIRTY) !== 0).length, 1);
    for (let block = 0; block < 16; block++) {
      const buffer = pg.ReadBuffer(rel, block, 0, 0);
      const number = u32[(pg.BufferGetPage(buffer) + 4000) / 4];
      assert.is(number, block === 2 ? 4711 : 0, `block ${block}`);
      pg.LockBuffer(buffer, layout.BUFFER_LOCK_EXCLUSIVE, 1);
      pg.LockBuffer(buffer, layout.BUFFER_LOCK_UNLOCK, 0);
      pg.ReleaseBuffer(buffer);
    }
    assert.is(pg.FlushBuffers(pg.alloc(layout.FLUSH_OPERATION_BYTES), 0), 0);
    pg.pgaio_shutdown();
  });
}
ends.run();
