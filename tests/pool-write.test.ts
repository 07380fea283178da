/**
 * Pages on their way back: dirty buffers written asynchronously, what is combined, what a write
 * sees of a page that is being changed, flushing with syncs, evicting, and writes that fail.
 */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import {
  assertSame,
  type Bench,
  BLOCK,
  endOf,
  errorOf,
  forEachMethod,
  IN_FLIGHT_ONLY,
  type Open,
  type OpenOptions,
  SHARED_ONLY,
} from './harness.ts';
import { referenceChecksum, storedChecksum } from './page-vectors.ts';
import { NUMBER_AT, POOL, pageOf, Relation, type RelationOptions, rowsOf } from './pool-fixture.ts';

const { BLOCKED } = layout;

async function opened(open: Open, options: RelationOptions = {}, more: OpenOptions = {}) {
  const bench = await open({ ...POOL, inject: true, ...more });
  return { bench, rel: new Relation(bench, options).fill(100) };
}
/** A flush of one relation, or of everything. */
function flushOf(bench: Bench, { rel, sync = false }: { rel?: Relation; sync?: boolean } = {}) {
  const op = bench.pg.alloc(layout.FLUSH_OPERATION_BYTES);
  if (rel !== undefined) bench.u8.copyWithin(op, rel.at, rel.at + layout.REL_REF_BYTES);
  bench.set(op, layout.FlushOperation, 'sync', sync ? 1 : 0);
  return op;
}
function flush(bench: Bench, options: { rel?: Relation; sync?: boolean } = {}): number {
  const op = flushOf(bench, options);
  assert.is(bench.pg.FlushBuffers(op, 0), 0);
  return bench.get(op, layout.FlushOperation, 'synced');
}
const numberIn = (page: Uint8Array): number =>
  new DataView(page.buffer, page.byteOffset).getUint32(NUMBER_AT, true);
const writes = (bench: Bench): [count: number, bytes: number] => [
  bench.backend('smgr_writes'),
  bench.backend('smgr_write_bytes'),
];
function dirtyBuffers(rel: Relation): number {
  const { bench } = rel;
  let count = 0;
  for (let buffer = 1; buffer <= bench.ctl('shared_buffers'); buffer++) {
    if ((rel.state(buffer) & layout.BM_DIRTY) !== 0) count++;
  }
  return count;
}

forEachMethod('pool write: a dirty page', (test, open) => {
  test('is written with the checksum of what it holds then', async () => {
    const { bench, rel } = await opened(open);
    rel.change(3, 4711);
    assert.is(dirtyBuffers(rel), 1);
    assert.is(numberIn(rel.onDisk(3)), 3, 'not yet');
    flush(bench);
    const page = rel.onDisk(3);
    assert.is(numberIn(page), 4711);
    assert.is(storedChecksum(page), referenceChecksum(page, 3));
    assert.is(dirtyBuffers(rel), 0);
    assert.equal(writes(bench), [1, BLOCK]);
    rel.evict(3);
    assert.equal(rel.scan(4), [0, 1, 2, 4711], 'and is valid when it is read again');
  });

  test('keeps the checksum it was read with in its buffer', async () => {
    const { bench, rel } = await opened(open);
    rel.change(3, 4711);
    flush(bench);
    const buffer = bench.pg.ReadBuffer(rel.at, 3, 0, 0);
    const at = bench.pg.BufferGetPage(buffer);
    assert.is(bench.view.getUint16(at + 8, true), storedChecksum(pageOf('ok', 3)));
    bench.pg.ReleaseBuffer(buffer);
  });

  test('that is new has no checksum', async () => {
    const { bench, rel } = await opened(open);
    rel.modify(5, 'new');
    const buffer = bench.pg.ReadBuffer(rel.at, 5, 0, 0);
    bench.pg.LockBuffer(buffer, layout.BUFFER_LOCK_EXCLUSIVE, 0);
    bench.pg.MarkBufferDirty(buffer);
    bench.pg.LockBuffer(buffer, layout.BUFFER_LOCK_UNLOCK, 0);
    bench.pg.ReleaseBuffer(buffer);
    flush(bench);
    assertSame(rel.onDisk(5), new Uint8Array(BLOCK));
  });

  test('without checksums in the cluster has the one it came with', async () => {
    const { bench, rel } = await opened(open, {}, { data_checksums: false });
    rel.change(3, 4711);
    flush(bench);
    assert.is(storedChecksum(rel.onDisk(3)), storedChecksum(pageOf('ok', 3)));
  });

  test('is written with dirty neighbours, up to io_combine_limit and no further', async () => {
    const { bench, rel } = await opened(open);
    for (const block of [2, 3, 4, 5, 7, 20]) rel.change(block, block + 1000);
    flush(bench);
    assert.equal(writes(bench), [3, 6 * BLOCK], '2..5, 7 and 20');
    rel.combineLimit = 3;
    for (let block = 30; block < 38; block++) rel.change(block, block + 1000);
    flush(bench);
    assert.equal(writes(bench), [6, 14 * BLOCK], '30..32, 33..35, 36..37');
    for (const block of [2, 3, 4, 5, 7, 20, 30, 37]) {
      const page = rel.onDisk(block);
      assert.is(numberIn(page), block + 1000);
      assert.is(storedChecksum(page), referenceChecksum(page, block));
    }
    assertSame(rel.onDisk(6), pageOf('ok', 6));
  });

  test('ends a run at the end of its segment', async () => {
    const { bench, rel } = await opened(open, {}, { segment_size: 8 });
    rel.fill(8);
    writeFileSync(rel.file(1), Buffer.concat([8, 9, 10].map((block) => pageOf('ok', block))));
    for (let block = 6; block < 11; block++) rel.change(block, block + 1000);
    assert.is(flush(bench, { sync: true }), 2, 'both segments are synced');
    assert.equal(writes(bench), [2, 5 * BLOCK]);
    rel.evict();
    assert.equal(rel.scan(11).slice(6), [1006, 1007, 1008, 1009, 1010]);
  });

  test('is not written, nor evicted, while it is being changed', async () => {
    const { bench, rel } = await opened(open);
    const { pg } = bench;
    rel.change(3, 4711);
    const buffer = pg.ReadBuffer(rel.at, 3, 0, 0);
    pg.LockBuffer(buffer, layout.BUFFER_LOCK_EXCLUSIVE, 0);
    assert.is(
      endOf(() => pg.FlushBuffers(flushOf(bench), 0)),
      'PGAIO_LOCKED',
    );
    assert.is(pg.EvictUnpinnedBuffer(buffer), 0);
    pg.LockBuffer(buffer, layout.BUFFER_LOCK_UNLOCK, 0);
    pg.ReleaseBuffer(buffer);
    assert.is(pg.EvictUnpinnedBuffer(buffer), 0, 'dirty');
    flush(bench);
    assert.is(pg.EvictUnpinnedBuffer(buffer), 1);
    assert.is(numberIn(rel.onDisk(3)), 4711);
  });

  test('of another relation is not flushed with one', async () => {
    const { bench, rel } = await opened(open);
    const other = new Relation(bench, { relNumber: 16390 }).fill(4);
    rel.change(1, 1001);
    other.change(1, 2001);
    flush(bench, { rel: other });
    assert.equal([numberIn(rel.onDisk(1)), numberIn(other.onDisk(1))], [1, 2001]);
    flush(bench);
    assert.is(numberIn(rel.onDisk(1)), 1001);
  });

  test('makes room by being written, and loses nothing', async () => {
    const { bench, rel } = await opened(open);
    for (let round = 1; round <= 3; round++) {
      for (let block = 0; block < 100; block++) rel.change(block, block + 1000 * round);
    }
    assert.ok(bench.backend('smgr_writes') > 0);
    const storage = bench.backendAt + layout.STORAGE_OFFSET;
    assert.ok(bench.get(storage, layout.PgAioStorage, 'evictions') > 100);
    flush(bench);
    assert.is(dirtyBuffers(rel), 0);
    const expected = Array.from({ length: 100 }, (_, block) => block + 3000);
    assert.equal(
      expected.map((_, block) => numberIn(rel.onDisk(block))),
      expected,
    );
    assert.equal(rel.scan(100), expected);
  });
});

/** Requests for a sync that have a status; they can be given another, and another segment. */
function requestsOf(bench: Bench, status: number) {
  const size = layout.SYNC_REQUEST_BYTES;
  return Array.from(
    { length: layout.SYNC_REQUESTS },
    (_, i) => bench.ctl('sync_requests') + i * size,
  )
    .filter((at) => bench.get(at, layout.SyncRequest, 'status') === status)
    .map((at) => ({
      become(next: number, relNumber?: number): void {
        bench.set(at, layout.SyncRequest, 'status', next);
        if (relNumber !== undefined) bench.set(at, layout.SyncRequest, 'relNumber', relNumber);
      },
    }));
}
function countRequests(bench: Bench, count: number): void {
  bench.set(bench.ctl('buffer_control'), layout.PgAioBufferControl, 'sync_count', count);
}

forEachMethod('pool write: a sync', (test, open) => {
  test('follows the writes, once for each segment, and not again', async () => {
    const { bench, rel } = await opened(open);
    const other = new Relation(bench, { relNumber: 16390, fork: 2 }).fill(4);
    for (const block of [1, 50, 99]) rel.change(block, 1);
    other.change(2, 1);
    assert.is(bench.pg.pgaio_sync_requests(), 0);
    assert.is(flush(bench), 0, 'not asked for');
    assert.is(bench.pg.pgaio_sync_requests(), 2);
    assert.is(flush(bench, { sync: true }), 2);
    assert.is(bench.backend('smgr_fsyncs'), 2);
    assert.is(flush(bench, { sync: true }), 0);
    assert.is(bench.pg.pgaio_sync_requests(), 0);
  });

  test('that fails is owed still, and so is one whose flush was given up', async () => {
    const { bench, rel } = await opened(open);
    rel.change(1, 1);
    flush(bench);
    bench.pg.smgrclose(rel.at);
    renameSync(rel.file(), `${rel.file()}.away`);
    const op = flushOf(bench, { sync: true });
    assert.is(errorOf(() => bench.pg.FlushBuffers(op, 0)).code, 'PGAIO_SMGR_OPEN');
    assert.is(bench.pg.pgaio_sync_requests(), 1);
    renameSync(`${rel.file()}.away`, rel.file());
    assert.is(flush(bench, { sync: true }), 1, 'the next flush syncs it');
    rel.change(1, 2);
    flush(bench);
    requestsOf(bench, layout.SYNC_WANTED)[0]?.become(layout.SYNC_UNDERWAY);
    assert.is(flush(bench, { sync: true }), 1, 'as if somebody had begun, and ended');
    assert.is(bench.pg.pgaio_sync_requests(), 0);
  });

  test('is asked for anew by a write while it is under way', async () => {
    const { bench, rel } = await opened(open);
    rel.change(1, 1);
    flush(bench);
    const [request] = requestsOf(bench, layout.SYNC_WANTED);
    request?.become(layout.SYNC_UNDERWAY);
    rel.change(2, 1);
    flush(bench);
    assert.is(requestsOf(bench, layout.SYNC_WANTED).length, 1);
    assert.is(bench.pg.pgaio_sync_requests(), 1, 'for the same segment');
  });

  test('comes at once where no more requests can be kept', async () => {
    const { bench, rel } = await opened(open);
    const others = requestsOf(bench, layout.SYNC_FREE);
    for (const [number, request] of others.entries()) request.become(layout.SYNC_WANTED, number);
    countRequests(bench, others.length);
    rel.change(1, 4711);
    flush(bench, { rel });
    assert.is(bench.backend('smgr_fsyncs'), 1);
    assert.is(bench.pg.pgaio_sync_requests(), others.length);
    others[7]?.become(layout.SYNC_GONE);
    countRequests(bench, others.length - 1);
    rel.change(1, 4712);
    flush(bench, { rel });
    assert.is(bench.backend('smgr_fsyncs'), 1, 'the place of a former request serves');
    assert.is(bench.pg.pgaio_sync_requests(), others.length);
    for (const request of others) request.become(layout.SYNC_FREE);
    countRequests(bench, 0);
  });

  test('of a relation that is removed is not needed any more', async () => {
    const { bench, rel } = await opened(open);
    rel.change(1, 1);
    flush(bench);
    bench.pg.pgaio_drop_relation(rel.at, 0);
    assert.is(rel.exists, false);
    assert.is(bench.pg.pgaio_sync_requests(), 0);
    assert.is(flush(bench, { sync: true }), 0);
  });
});

forEachMethod('pool write: of a temporary table', (test, open) => {
  test('makes room by being written, with a checksum, and needs no sync', async () => {
    const bench = await open({ ...POOL, temp_buffers: 100, io_frames: 128 });
    const rel = new Relation(bench, { temp: true }).fill(150);
    for (let round = 1; round <= 2; round++) {
      for (let block = 0; block < 150; block++) rel.change(block, block + 1000 * round);
    }
    assert.ok(bench.backend('smgr_writes') >= 50);
    flush(bench, { rel });
    assert.is(bench.pg.pgaio_sync_requests(), 0);
    for (let block = 0; block < 150; block++) {
      const page = rel.onDisk(block);
      assert.is(numberIn(page), block + 2000);
      assert.is(storedChecksum(page), referenceChecksum(page, block));
    }
  });

  test('takes no more page frames than it uses, and says when there are none', async () => {
    const bench = await open({ ...POOL, temp_buffers: 100, io_frames: 8 });
    const rel = new Relation(bench, { temp: true }).fill(20);
    const error = errorOf(() => rel.readBuffers(0, 16));
    assert.is(error.code, 'PGAIO_NO_LOCAL_MEMORY');
    assert.is(error.sqlstate, '53200');
  });

  test('has an end of its buffers when all are pinned', async () => {
    const bench = await open({ ...POOL, temp_buffers: 100, io_frames: 128 });
    const rel = new Relation(bench, { temp: true }).fill(101);
    assert.is(bench.pg.GetLocalPinLimit(), 100);
    const buffers = Array.from({ length: 100 }, (_, block) => rel.readTemp(block));
    assert.is(bench.pg.GetAdditionalLocalPinLimit(), 0);
    const error = errorOf(() => rel.readTemp(100));
    assert.is(error.message, 'no empty local buffer available');
    assert.is(error.sqlstate, '53200');
    for (const buffer of buffers) bench.pg.ReleaseBuffer(buffer);
    rel.readTemp(100);
  });
});

forEachMethod('pool write: a write that fails', (test, open, variant) => {
  /** Writing to the relation fails: its file is a device that takes nothing. */
  function spoil(rel: Relation): void {
    rel.bench.pg.smgrclose(rel.at);
    rmSync(rel.file());
    if (variant.provider === 'wasi') return;
    writeFileSync(rel.file(), '');
  }

  test('is told to whoever flushes, and leaves the page dirty', async () => {
    if (variant.provider === 'wasi') return;
    const { bench, rel } = await opened(
      open,
      {},
      { faults: { failAt: 2, errno: 'ENOSPC' }, inject: false },
    );
    rel.readBuffers(1, 1); // the first operation
    rel.change(1, 4711);
    const error = errorOf(() => flush(bench));
    const words = `could not write blocks 1..1 in file "${rel.path}": No space left on device`;
    assert.is(error.message, words);
    assert.is(error.sqlstate, '53100');
    assert.is(dirtyBuffers(rel), 1);
    flush(bench);
    assert.is(numberIn(rel.onDisk(1)), 4711, 'the next one succeeds');
    assert.is(dirtyBuffers(rel), 0);
  });

  test('keeps nobody from what else is in the pool', async () => {
    const { bench, rel } = await opened(open);
    const other = new Relation(bench, { relNumber: 16390 }).fill(100);
    for (let block = 0; block < 8; block++) rel.change(block, 1);
    spoil(rel);
    if (variant.provider === 'wasi') {
      const codes = new Set<string>();
      for (let block = 0; block < 100; block++) codes.add(endOf(() => other.readBuffers(block, 1)));
      assert.ok(codes.has('done'));
      assert.ok(codes.has('PGAIO_SMGR_OPEN'), [...codes].join());
    }
    mkdirSync(dirname(rel.file()), { recursive: true });
    rel.fill(100);
    bench.pg.smgrclose(rel.at);
    assert.ok(existsSync(rel.file()));
    flush(bench);
    assert.equal(other.scan(100), [...Array(100).keys()]);
    assert.is(numberIn(rel.onDisk(7)), 1);
  });
});

forEachMethod(
  'pool write: writes under way',
  (test, open) => {
    test('leave the page to be changed again, and see one state of it', async () => {
      const { bench, rel } = await opened(open);
      bench.device.mode = 'never';
      rel.change(3, 1001);
      const op = flushOf(bench);
      assert.is(bench.pg.FlushBuffers(op, 1), BLOCKED);
      assert.is(bench.device.queue.length, 1);
      const buffer = bench.pg.ReadBuffer(rel.at, 3, 0, 0);
      bench.pg.LockBuffer(buffer, layout.BUFFER_LOCK_EXCLUSIVE, 1);
      bench.view.setUint32(bench.pg.BufferGetPage(buffer) + NUMBER_AT, 2002, true);
      bench.pg.MarkBufferDirty(buffer);
      bench.pg.LockBuffer(buffer, layout.BUFFER_LOCK_UNLOCK, 0);
      bench.pg.ReleaseBuffer(buffer);
      bench.device.completeAll();
      assert.is(bench.pg.FlushBuffers(op, 1), 0);
      const page = rel.onDisk(3);
      assert.is(numberIn(page), 1001);
      assert.is(storedChecksum(page), referenceChecksum(page, 3));
      assert.is(dirtyBuffers(rel), 1, 'it was changed since');
      bench.device.mode = 'wait';
      flush(bench);
      assert.is(numberIn(rel.onDisk(3)), 2002);
    });

    test('keep nobody who must not wait, until all could be had is on its way', async () => {
      const { bench, rel } = await opened(open);
      for (let block = 0; block < 64; block++) rel.change(block, block + 1000);
      bench.device.mode = 'never';
      const buffers = bench.pg.alloc(64);
      const op = rel.operation();
      const nowait = layout.READ_BUFFERS_NOWAIT;
      assert.is(rel.start(op, buffers, 70, 1, nowait).rc, BLOCKED);
      assert.not.equal(rel.field(op, 'io_wref'), 0xffffffff, 'what to wait for');
      assert.ok(bench.device.queue.length > 0);
      for (let looks = 0; ; looks++) {
        // each round some of the writes have ended
        bench.device.completeAll();
        bench.pg.pgaio_drain_completed();
        const { rc } = rel.start(op, buffers, 70, 1, nowait);
        if (rc === 1) break;
        assert.is(rc, BLOCKED);
        assert.ok(looks < 20);
      }
      bench.device.completeAll();
      assert.ok(bench.pg.WaitReadBuffers(op, 1) <= 1);
      bench.pg.ReleaseBuffer(rel.buffersAt(buffers, 1)[0] ?? 0);
      bench.device.mode = 'wait';
      flush(bench);
      assert.equal(
        Array.from({ length: 64 }, (_, block) => numberIn(rel.onDisk(block))),
        Array.from({ length: 64 }, (_, block) => block + 1000),
      );
    });

    test('keep a flush from being done, step by step', async () => {
      const { bench, rel } = await opened(open);
      bench.device.mode = 'never';
      for (const block of [1, 2, 50]) rel.change(block, 1);
      const op = flushOf(bench, { sync: true });
      let steps = 0;
      while (bench.pg.FlushBuffers(op, 1) === BLOCKED) {
        assert.ok(bench.device.queue.length > 0, 'there is something to wait for');
        const [oldest = 0] = bench.device.queue;
        bench.device.complete(oldest);
        assert.ok(++steps < 10);
      }
      assert.is(steps, 3, 'two writes and a sync');
      assert.is(bench.get(op, layout.FlushOperation, 'written'), 2);
      assert.is(bench.get(op, layout.FlushOperation, 'synced'), 1);
    });

    test('that fail are told when a buffer is needed next, once', async () => {
      const { bench, rel } = await opened(open);
      bench.device.mode = 'never';
      rel.change(1, 4711);
      assert.is(bench.pg.FlushBuffers(flushOf(bench), 1), BLOCKED);
      bench.device.complete(bench.device.queue[0] ?? 0, -28);
      bench.device.mode = 'wait';
      const error = errorOf(() => rel.readBuffers(2, 1));
      assert.match(
        error.message,
        /^could not write blocks 1..1 in file .*: No space left on device$/,
      );
      assert.equal(rowsOf(rel.readBuffers(2, 1)), ['0|2|t|1']);
      assert.is(dirtyBuffers(rel), 1);
      flush(bench);
      assert.is(numberIn(rel.onDisk(1)), 4711);
    });

    test('that are short leave the rest dirty', async () => {
      const { bench, rel } = await opened(open);
      bench.device.mode = 'never';
      for (const block of [1, 2, 3]) rel.change(block, block + 1000);
      const op = flushOf(bench);
      assert.is(bench.pg.FlushBuffers(op, 1), BLOCKED);
      bench.device.complete(bench.device.queue[0] ?? 0, BLOCK);
      assert.is(dirtyBuffers(rel), 2);
      bench.device.mode = 'wait';
      while (bench.pg.FlushBuffers(op, 0) !== 0);
      assert.is(dirtyBuffers(rel), 0);
      assert.equal(
        [2, 3].map((block) => numberIn(rel.onDisk(block))),
        [1002, 1003],
      );
    });
  },
  IN_FLIGHT_ONLY,
);

forEachMethod(
  'pool write: content locks',
  (test, open) => {
    test('are shared, or one’s alone', async () => {
      const { bench, rel } = await opened(open);
      const guest = await bench.join();
      const theirs = rel.seenBy(guest);
      const buffer = bench.pg.ReadBuffer(rel.at, 1, 0, 0);
      assert.is(guest.pg.ReadBuffer(theirs.at, 1, 0, 0), buffer);
      const { BUFFER_LOCK_SHARE, BUFFER_LOCK_EXCLUSIVE, BUFFER_LOCK_UNLOCK } = layout;
      assert.is(bench.pg.LockBuffer(buffer, BUFFER_LOCK_SHARE, 1), 0);
      assert.is(guest.pg.LockBuffer(buffer, BUFFER_LOCK_SHARE, 1), 0);
      assert.is(
        endOf(() => bench.pg.LockBuffer(buffer, BUFFER_LOCK_SHARE, 1)),
        'PGAIO_LOCKED',
      );
      guest.pg.LockBuffer(buffer, BUFFER_LOCK_UNLOCK, 0);
      assert.is(guest.pg.LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE, 1), BLOCKED);
      assert.is(
        endOf(() => guest.pg.MarkBufferDirty(buffer)),
        'PGAIO_NOT_LOCKED',
      );
      assert.is(
        endOf(() => bench.pg.MarkBufferDirty(buffer)),
        'PGAIO_NOT_LOCKED',
        'shared',
      );
      bench.pg.LockBuffer(buffer, BUFFER_LOCK_UNLOCK, 0);
      assert.is(guest.pg.LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE, 1), 0);
      assert.is(bench.pg.LockBuffer(buffer, BUFFER_LOCK_SHARE, 1), BLOCKED);
      assert.is(
        endOf(() => guest.pg.ReleaseBuffer(buffer)),
        'PGAIO_LOCKED',
      );
      guest.pg.MarkBufferDirty(buffer);
      const op = flushOf(bench);
      assert.is(bench.pg.FlushBuffers(op, 1), BLOCKED, 'who changes it is waited for');
      guest.pg.LockBuffer(buffer, BUFFER_LOCK_UNLOCK, 0);
      assert.is(
        endOf(() => guest.pg.LockBuffer(buffer, BUFFER_LOCK_UNLOCK, 0)),
        'PGAIO_NOT_LOCKED',
      );
      assert.is(bench.pg.FlushBuffers(op, 0), 0);
      assert.is(dirtyBuffers(rel), 0);
      bench.pg.ReleaseBuffer(buffer);
      guest.pg.ReleaseBuffer(buffer);
    });

    test('of one that leaves are free', async () => {
      const { bench, rel } = await opened(open);
      const guest = await bench.join();
      const theirs = rel.seenBy(guest);
      const buffer = guest.pg.ReadBuffer(theirs.at, 1, 0, 0);
      guest.pg.LockBuffer(buffer, layout.BUFFER_LOCK_EXCLUSIVE, 0);
      guest.pg.pgaio_shutdown();
      assert.is(rel.state(buffer) & layout.BUF_REFCOUNT_MASK, 0);
      rel.change(1, 4711);
    });
  },
  SHARED_ONLY,
);
