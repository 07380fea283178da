/**
 * Files of relations: paths of every kind, segments, the table of open files, what fails and in
 * which words; closing files and dropping relations under I/O, after PostgreSQL's test_aio.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { AioIoError } from '../bindings/errors.ts';
import type { IoProvider } from '../bindings/host.ts';
import * as layout from '../bindings/layout.ts';
import { wasmerProvider } from '../host/browser/wasmer-provider.ts';
import { directProvider } from '../host/node/direct-provider.ts';
import { attach } from '../host/node/raw.ts';
import {
  BLOCK,
  endOf,
  errorOf,
  forEachMethod,
  IN_FLIGHT_ONLY,
  ONE_VARIANT,
  type Open,
  SHARED_ONLY,
} from './harness.ts';
import { POOL, pageOf, Relation, type RelationOptions, rowsOf } from './pool-fixture.ts';

const KINDS: readonly (readonly [string, RelationOptions, string])[] = [
  ['in the default tablespace', {}, 'base/5/16384'],
  ['shared by all databases', { spcOid: 1664, relNumber: 1262 }, 'global/1262'],
  [
    'in another tablespace',
    { spcOid: 16500, dbOid: 16384, relNumber: 24576 },
    'pg_tblspc/16500/PG_18_202506291/16384/24576',
  ],
  ['that is temporary', { temp: true }, 'base/5/t0_16384'],
  ['as its free space map', { fork: 1 }, 'base/5/16384_fsm'],
  ['as its visibility map', { fork: 2 }, 'base/5/16384_vm'],
  ['as its initialization fork', { fork: 3 }, 'base/5/16384_init'],
];

async function opened(open: Open, options: RelationOptions = {}, segment = 131072) {
  const bench = await open({ ...POOL, segment_size: segment });
  const rel = new Relation(bench, options);
  mkdirSync(dirname(rel.file()), { recursive: true });
  return { bench, rel };
}
const sizeOf = (path: string): number => statSync(path).size / BLOCK;

for (const [kind, options, path] of KINDS) {
  forEachMethod(`smgr: a relation ${kind}`, (test, open) => {
    test('is made, lengthened, cut and removed', async () => {
      const { bench, rel } = await opened(open, options);
      const { pg } = bench;
      assert.is(rel.path, path);
      assert.is(pg.smgrexists(rel.at), 0);
      pg.smgrcreate(rel.at, 0);
      assert.is(pg.smgrexists(rel.at), 1);
      assert.ok(rel.exists);
      assert.is(pg.smgrnblocks(rel.at), 0);
      assert.is(pg.smgrzeroextend(rel.at, 3), 0);
      assert.is(pg.smgrzeroextend(rel.at, 2), 3, 'its length before');
      assert.is(pg.smgrnblocks(rel.at), 5);
      assert.is(sizeOf(rel.file()), 5);
      assert.equal(rowsOf(rel.readBuffers(0, 5)), ['0|0|t|5'], 'pages of zeros are valid');
      pg.smgrtruncate(rel.at, 2);
      assert.is(pg.smgrnblocks(rel.at), 2);
      pg.pgaio_drop_relation(rel.at, 0);
      assert.is(rel.exists, false);
      assert.is(pg.smgrexists(rel.at), 0);
      pg.smgrunlink(rel.at); // not there: nothing to do
    });

    test('that is missing is named', async () => {
      const { bench, rel } = await opened(open, options);
      const message = `could not open file "${path}": No such file or directory`;
      for (const act of [
        () => bench.pg.smgrnblocks(rel.at),
        () => rel.readBuffers(0, 1),
        () => bench.pg.smgrtruncate(rel.at, 0),
        () => bench.pg.smgrzeroextend(rel.at, 1),
      ]) {
        const error = errorOf(act);
        assert.is(error.message, message);
        assert.is(error.sqlstate, '58P01');
        assert.is((error as { errno?: number }).errno, 2);
      }
      bench.assertUsable();
    });
  });
}

forEachMethod('smgr: segments', (test, open) => {
  test('follow each other, and a read ends where one does', async () => {
    const { bench, rel } = await opened(open, {}, 8);
    const { pg } = bench;
    pg.smgrcreate(rel.at, 0);
    pg.smgrzeroextend(rel.at, 20);
    assert.equal(
      [0, 1, 2].map((n) => sizeOf(rel.file(n))),
      [8, 8, 4],
    );
    assert.is(pg.smgrnblocks(rel.at), 20);
    assert.is(pg.smgrmaxcombine(rel.at, 6), 2);
    assert.equal(rowsOf(rel.readBuffers(6, 12)), ['0|6|t|2', '2|8|t|8', '10|16|t|2']);
    rel.change(17, 4711);
    const op = pg.alloc(layout.FLUSH_OPERATION_BYTES);
    assert.is(pg.FlushBuffers(op, 0), 0);
    const third = readFileSync(rel.file(2));
    assert.is(third.readUInt32LE(BLOCK + 4000), 4711);
  });

  test('are cut from the last on, and stay, empty', async () => {
    const { bench, rel } = await opened(open, {}, 8);
    const { pg } = bench;
    pg.smgrcreate(rel.at, 0);
    pg.smgrzeroextend(rel.at, 20);
    pg.smgrtruncate(rel.at, 9);
    assert.equal(
      [0, 1, 2].map((n) => sizeOf(rel.file(n))),
      [8, 1, 0],
    );
    assert.is(pg.smgrnblocks(rel.at), 9);
    assert.is(pg.smgrzeroextend(rel.at, 10), 9);
    assert.equal(
      [0, 1, 2].map((n) => sizeOf(rel.file(n))),
      [8, 8, 3],
    );
    const error = errorOf(() => pg.smgrtruncate(rel.at, 20));
    const words = 'could not truncate file "base/5/16384" to 20 blocks: it\'s only 19 blocks now';
    assert.is(error.message, words);
    pg.smgrunlink(rel.at);
    assert.equal(
      [0, 1, 2].map((n) => existsSync(rel.file(n))),
      [false, false, false],
    );
  });

  test('before the one that is opened must be full', async () => {
    const { bench, rel } = await opened(open, {}, 8);
    writeFileSync(rel.file(), new Uint8Array(5 * BLOCK));
    writeFileSync(rel.file(1), new Uint8Array(8 * BLOCK));
    const error = errorOf(() => rel.readBuffers(9, 1));
    const words =
      'could not open file "base/5/16384.1" (target block 9): previous segment is only 5 blocks';
    assert.is(error.message, words);
    assert.is(error.sqlstate, '58P01');
    assert.is(bench.pg.smgrnblocks(rel.at), 5);
  });

  test('that are missing are named, with the block they were wanted for', async () => {
    const { bench, rel } = await opened(open, {}, 8);
    writeFileSync(rel.file(), new Uint8Array(8 * BLOCK));
    const error = errorOf(() => rel.readBuffers(9, 1));
    const words =
      'could not open file "base/5/16384.1" (target block 9): No such file or directory';
    assert.is(error.message, words);
    assert.is(bench.pg.smgrnblocks(rel.at), 8);
    bench.assertUsable();
  });

  test('are not crossed by one I/O', async () => {
    const { bench, rel } = await opened(open, {}, 8);
    const { pg } = bench;
    pg.smgrcreate(rel.at, 0);
    pg.smgrzeroextend(rel.at, 16);
    const pages = pg.alloc(16);
    bench.u32.fill(bench.frames(1), pages / 4, pages / 4 + 4);
    for (const [start, message] of [
      [pg.smgrstartreadv, 'read crossing segment boundary'],
      [pg.smgrstartwritev, 'write crossing segment boundary'],
    ] as const) {
      const ioh = pg.pgaio_io_acquire(0, 0);
      assert.is(errorOf(() => start(ioh, rel.at, 6, pages, 4)).message, message);
      pg.pgaio_io_release(ioh);
    }
    bench.assertUsable();
  });

  test('have as many blocks as are whole', async () => {
    const { bench, rel } = await opened(open, {}, 8);
    writeFileSync(rel.file(), new Uint8Array(5 * BLOCK + 17));
    assert.is(bench.pg.smgrnblocks(rel.at), 5);
    truncateSync(rel.file(), 0);
    assert.is(bench.pg.smgrnblocks(rel.at), 0);
  });
});

forEachMethod('smgr: vectors of pages', (test, open) => {
  test('are written and read where they lie, neighbours in one piece', async () => {
    const { bench, rel } = await opened(open);
    const { pg, u32, u8 } = bench;
    pg.smgrcreate(rel.at, 0);
    pg.smgrzeroextend(rel.at, 8);
    const frames = bench.frames(6);
    for (let i = 0; i < 6; i++) u8.fill(i + 1, frames + i * BLOCK, frames + (i + 1) * BLOCK);
    const run = (start: typeof pg.smgrstartreadv, order: readonly number[]) => {
      const ret = pg.alloc(layout.RETURN_BYTES);
      const ref = pg.alloc(16);
      const ioh = pg.pgaio_io_acquire(0, ret);
      const id = pg.pgaio_io_get_id(ioh);
      pg.pgaio_io_get_wref(ioh, ref);
      const pages = pg.alloc(4 * order.length);
      u32.set(
        order.map((i) => frames + i * BLOCK),
        pages / 4,
      );
      start(ioh, rel.at, 2, pages, order.length);
      const iovecs = bench.handle(id, 'iov_length');
      pg.pgaio_submit_staged();
      pg.pgaio_wref_wait(ref);
      return { iovecs, result: bench.result({ ret }).result };
    };
    assert.equal(run(pg.smgrstartwritev, [3, 0, 1, 5]), { iovecs: 3, result: 4 });
    const file = readFileSync(rel.file());
    assert.equal(
      [2, 3, 4, 5].map((block) => file[block * BLOCK]),
      [4, 1, 2, 6],
    );
    u8.fill(0, frames, frames + 6 * BLOCK);
    assert.equal(run(pg.smgrstartreadv, [0, 1, 2, 3]), { iovecs: 1, result: 4 });
    assert.equal(
      [0, 1, 2, 3].map((i) => u8[frames + i * BLOCK]),
      [4, 1, 2, 6],
    );
  });
});

forEachMethod('smgr: open files', (test, open) => {
  test('are not more than the table holds, whatever is read', async () => {
    const { bench } = await opened(open);
    const most = 8 + 16;
    const relations = Array.from({ length: 40 }, (_, i) =>
      new Relation(bench, { relNumber: 20000 + i }).fill(2),
    );
    for (let round = 0; round < 3; round++) {
      for (const rel of relations) {
        rel.evict();
        assert.equal(rel.scan(2), [0, 1]);
        assert.ok(bench.pg.smgropenfiles() <= most);
      }
    }
    assert.is(bench.pg.smgropenfiles(), most);
    bench.pg.smgrreleaseall();
    assert.is(bench.pg.smgropenfiles(), 0);
    assert.equal(relations[0]?.scan(2), [0, 1]);
  });

  test('are closed by the relation', async () => {
    const { bench, rel } = await opened(open, {}, 1);
    rel.fill(1);
    writeFileSync(rel.file(1), pageOf('ok', 1));
    const other = new Relation(bench, { relNumber: 16390 }).fill(1);
    rel.scan(2);
    other.scan(1);
    assert.is(bench.pg.smgropenfiles(), 3);
    bench.pg.smgrclose(rel.at);
    assert.is(bench.pg.smgropenfiles(), 1);
  });

  test('can be made once', async () => {
    const { bench, rel } = await opened(open);
    bench.pg.smgrcreate(rel.at, 0);
    const error = errorOf(() => bench.pg.smgrcreate(rel.at, 0));
    assert.is(error.message, 'could not create file "base/5/16384": File exists');
    bench.pg.smgrcreate(rel.at, 1);
  });

  for (const [kind, options] of [
    ['a table', {}],
    ['a temporary table', { temp: true }],
  ] as const) {
    for (const waits of [true, false]) {
      const then = waits ? 'and are waited for' : 'which nobody waits for';
      test(`of ${kind} are all closed in a batch with a read staged, ${then}`, async () => {
        const { bench, rel } = await opened(open, options);
        const { pg } = bench;
        rel.fill(4);
        pg.pgaio_enter_batchmode();
        const read = rel.startLowLevel(1);
        pg.smgrreleaseall();
        pg.pgaio_exit_batchmode();
        if (waits) rel.finishLowLevel(read);
        else for (const buffer of read.buffers) pg.ReleaseBuffer(buffer);
        assert.equal(rel.scan(4), [0, 1, 2, 3], 'the block can be read afterwards');
        bench.endAll();
        bench.assertUsable();
      });
    }

    test(`of ${kind} are removed while a read is under way`, async () => {
      const { bench, rel } = await opened(open, options);
      const { pg } = bench;
      rel.fill(4);
      const read = rel.startLowLevel(1);
      for (const buffer of read.buffers) pg.ReleaseBuffer(buffer);
      pg.pgaio_drop_relation(rel.at, 0);
      assert.is(rel.exists, false);
      assert.equal(
        bench.said.filter((line) => /^(WARNING|ERROR)/.test(line)),
        [],
      );
      pg.pgaio_wref_wait(read.ref);
      assert.is(bench.result(read).status, 'OK');
      bench.assertUsable();
    });

    test(`of ${kind} are not removed while a page is in use`, async () => {
      const { bench, rel } = await opened(open, options);
      const { pg } = bench;
      rel.fill(4).readBuffers(0, 4);
      const buffer = rel.pin(2);
      const error = errorOf(() => pg.pgaio_drop_relation(rel.at, 0));
      assert.is(error.code, 'PGAIO_BUFFER_BUSY');
      assert.match(error.message, /^block 2 is still referenced/);
      assert.ok(rel.exists);
      pg.ReleaseBuffer(buffer);
      pg.pgaio_drop_relation(rel.at, 0);
    });
  }
});

forEachMethod(
  'smgr: I/O in flight',
  (test, open) => {
    test('keeps its file open, however many others are opened', async () => {
      const { bench, rel } = await opened(open);
      rel.fill(4);
      bench.device.mode = 'never';
      const read = rel.startLowLevel(1);
      const [id = 0] = bench.inFlight;
      const fd = bench.handle(id, 'fd');
      for (let i = 0; i < 40; i++) {
        const other = new Relation(bench, { relNumber: 20000 + i }).fill(1);
        assert.is(bench.pg.smgrnblocks(other.at), 1);
      }
      assert.ok(existsSync(`/proc/self/fd/${fd}`));
      bench.device.completeAll();
      bench.device.mode = 'wait';
      rel.finishLowLevel(read);
    });

    test('makes closing everything wait for it', async () => {
      const { bench, rel } = await opened(open);
      rel.fill(4);
      bench.device.mode = 'wait';
      const read = rel.startLowLevel(1);
      assert.is(bench.device.queue.length, 1);
      bench.pg.smgrreleaseall();
      assert.is(bench.device.queue.length, 0);
      rel.finishLowLevel(read);
    });

    test('is waited for by who drops the relation, or not', async () => {
      const { bench, rel } = await opened(open);
      rel.fill(4);
      bench.device.mode = 'never';
      const read = rel.startLowLevel(1);
      for (const buffer of read.buffers) bench.pg.ReleaseBuffer(buffer);
      assert.is(bench.pg.DropRelationBuffers(rel.at, 0, 1), layout.BLOCKED);
      bench.device.completeAll();
      assert.is(bench.pg.DropRelationBuffers(rel.at, 0, 1), 0);
    });
  },
  IN_FLIGHT_ONLY,
);

forEachMethod('smgr: lengthening with buffers', (test, open) => {
  for (const [kind, options] of [
    ['a table', {}],
    ['a temporary table', { temp: true }],
  ] as const) {
    test(`gives pinned pages of zeros of ${kind}, and no I/O reads them`, async () => {
      const { bench, rel } = await opened(open, options, 8);
      const { pg } = bench;
      pg.smgrcreate(rel.at, 0);
      const numbers = pg.alloc(40);
      assert.is(pg.ExtendBufferedRelBy(rel.at, 3, numbers, 0), 0);
      const first = rel.buffersAt(numbers, 3);
      for (const buffer of first) pg.ReleaseBuffer(buffer);
      assert.is(pg.ExtendBufferedRelBy(rel.at, 10, numbers, 0), 3);
      assert.is(pg.smgrnblocks(rel.at), 13);
      for (const buffer of rel.buffersAt(numbers, 10)) {
        const at = pg.BufferGetPage(buffer);
        assert.ok(bench.u8.subarray(at, at + BLOCK).every((byte) => byte === 0));
        pg.ReleaseBuffer(buffer);
      }
      assert.is(bench.backend('smgr_reads'), 0);
      rel.change(12, 4711);
      const op = pg.alloc(layout.FLUSH_OPERATION_BYTES);
      bench.u8.copyWithin(op, rel.at, rel.at + layout.REL_REF_BYTES);
      assert.is(pg.FlushBuffers(op, 0), 0);
      assert.is(readFileSync(rel.file(1)).readUInt32LE(4 * BLOCK + 4000), 4711);
    });
  }
});

forEachMethod(
  'smgr: two backends',
  (test, open) => {
    test('have temporary relations of the same number each for itself', async () => {
      const { bench, rel } = await opened(open, { temp: true });
      rel.fill(2);
      const guest = await bench.join();
      const theirs = rel.seenBy(guest);
      assert.is(theirs.path, 'base/5/t1_16384');
      assert.is(
        endOf(() => theirs.scan(1)),
        'PGAIO_SMGR_OPEN',
      );
      theirs.fill(3);
      assert.is(guest.pg.smgrnblocks(theirs.at), 3);
      assert.is(bench.pg.smgrnblocks(rel.at), 2);
    });
    test('both see that a relation was removed, and made anew', async () => {
      const { bench, rel } = await opened(open);
      rel.fill(4);
      const guest = await bench.join();
      const theirs = rel.seenBy(guest);
      assert.equal(theirs.scan(2), [0, 1]);
      bench.pg.pgaio_drop_relation(rel.at, 0);
      const words = 'could not open file "base/5/16384": No such file or directory';
      assert.is(errorOf(() => theirs.scan(1)).message, words);
      rel.fill(7);
      assert.is(guest.pg.smgrnblocks(theirs.at), 7);
      assert.equal(theirs.scan(7), [0, 1, 2, 3, 4, 5, 6]);
      theirs.change(6, 4711);
      assert.is(guest.pg.FlushBuffers(guest.pg.alloc(layout.FLUSH_OPERATION_BYTES), 0), 0);
      assert.is(new DataView(rel.onDisk(6).buffer).getUint32(4000, true), 4711);
    });
    test('read and write the same pages', async () => {
      const { bench, rel } = await opened(open);
      rel.fill(4);
      const guest = await bench.join();
      const theirs = rel.seenBy(guest);
      rel.change(1, 4711);
      assert.equal(theirs.scan(4), [0, 4711, 2, 3]);
      assert.is(guest.backend('smgr_reads'), 3);
      assert.is(guest.pg.FlushBuffers(guest.pg.alloc(layout.FLUSH_OPERATION_BYTES), 0), 0);
      assert.is(new DataView(rel.onDisk(1).buffer).getUint32(4000, true), 4711);
    });
  },
  SHARED_ONLY,
);

forEachMethod(
  'smgr: files in memory',
  (test) => {
    test('of @wasmer/wasi are read, written, lengthened, cut and removed', async () => {
      const pages = Buffer.concat([0, 1, 2].map((block) => pageOf('ok', block)));
      const provider = await wasmerProvider({ 'data/base/5/16384': new Uint8Array(pages) });
      const pg = await attach({ ...POOL, io_method: 'sync', provider, dataDirectory: '/data' });
      const view = new DataView(pg.memory.buffer);
      const rel = pg.alloc(16);
      new Uint32Array(pg.memory.buffer).set([1663, 5, 16384, 0], rel / 4);
      assert.is(pg.smgrnblocks(rel), 3);
      const buffer = pg.ReadBuffer(rel, 2, 0, 0);
      pg.LockBuffer(buffer, layout.BUFFER_LOCK_EXCLUSIVE, 0);
      view.setUint32(pg.BufferGetPage(buffer) + 4000, 4711, true);
      pg.MarkBufferDirty(buffer);
      pg.LockBuffer(buffer, layout.BUFFER_LOCK_UNLOCK, 0);
      pg.ReleaseBuffer(buffer);
      const op = pg.alloc(layout.FLUSH_OPERATION_BYTES);
      view.setUint32(op + layout.FlushOperation.fields.sync.offset, 1, true);
      assert.is(pg.FlushBuffers(op, 0), 0);
      const written = provider.bytesOf('data/base/5/16384');
      assert.is(
        new DataView(written.buffer, written.byteOffset).getUint32(2 * BLOCK + 4000, true),
        4711,
      );
      assert.is(pg.smgrzeroextend(rel, 2), 3);
      assert.is(pg.smgrnblocks(rel), 5);
      pg.smgrtruncate(rel, 1);
      assert.is(pg.smgrnblocks(rel), 1);
      pg.pgaio_drop_relation(rel, 0);
      assert.is(pg.smgrexists(rel), 0);
      pg.smgrcreate(rel, 0);
      assert.is(pg.smgrnblocks(rel), 0);
      pg.pgaio_shutdown();
    });
  },
  ONE_VARIANT,
);

forEachMethod(
  'smgr: what the system refuses',
  (test) => {
    const refuse = (errno: number) => () => {
      throw new AioIoError({ code: 'PGAIO_IO', message: 'no', errno, path: '' });
    };
    for (const [what, broken, act, message] of [
      [
        'its size',
        { size: refuse(5) },
        'smgrnblocks',
        'seek to end of file "X": Input/output error',
      ],
      [
        'being longer',
        { truncate: refuse(28) },
        'smgrzeroextend',
        'extend file "X": No space left on device',
      ],
      [
        'being cut',
        { truncate: refuse(1) },
        'smgrtruncate',
        'truncate file "X" to 1 blocks: Operation not permitted',
      ],
      ['being removed', { unlink: refuse(13) }, 'smgrunlink', 'remove file "X": Permission denied'],
      [
        'a provider that cannot',
        { truncate: undefined },
        'smgrtruncate',
        'truncate file "X" to 1 blocks: Function not implemented',
      ],
    ] as const) {
      test(`is told in its words: ${what}`, async () => {
        const directory = mkdtempSync(join(tmpdir(), 'pgaio-smgr-'));
        const provider = { ...directProvider(), ...broken } as IoProvider;
        const pg = await attach({ ...POOL, io_method: 'sync', provider, dataDirectory: directory });
        try {
          mkdirSync(join(directory, 'base/5'), { recursive: true });
          writeFileSync(join(directory, 'base/5/16384'), new Uint8Array(2 * BLOCK));
          const rel = pg.alloc(16);
          new Uint32Array(pg.memory.buffer).set([1663, 5, 16384, 0], rel / 4);
          const error = errorOf(() => pg[act](rel, 1));
          assert.is(error.message, `could not ${message.replace('X', 'base/5/16384')}`);
          assert.is(error.hint, act === 'smgrzeroextend' ? 'Check free disk space.' : undefined);
        } finally {
          pg.pgaio_shutdown();
          rmSync(directory, { recursive: true });
        }
      });
    }
  },
  ONE_VARIANT,
);
