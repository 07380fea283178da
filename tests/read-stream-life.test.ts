/**
 * Read streams from begin to end: where their blocks come from, data per buffer, pause and resume,
 * reset and end, errors, readers that must not wait, few pins; and the scenarios of PostgreSQL's
 * own tests of read streams.
 */
import { truncateSync } from 'node:fs';
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import { directProvider } from '../host/node/direct-provider.ts';
import { attach } from '../host/node/raw.ts';
import {
  type Bench,
  BLOCK,
  endOf,
  errorOf,
  forEachMethod,
  IN_FLIGHT_ONLY,
  ONE_WORKER,
  type Open,
  type Restriction,
} from './harness.ts';
import {
  blockIn,
  cache,
  invalidate,
  pinned,
  RawStream,
  relationFile,
  relationRef,
} from './stream-fixture.ts';

const POOL = {
  data_checksums: false,
  shared_buffers: 16384,
  max_backends: 16,
  io_max_concurrency: 64,
  local_memory: 128,
} as const;
const BLOCKS = 200;
const END = 0xffffffff;

async function opened(open: Open, settings = {}): Promise<Bench> {
  const bench = await open({ ...POOL, ...settings });
  relationFile(bench, BLOCKS);
  return bench;
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

/** The blocks a stream hands out until its end, or `count` of them. */
function blocksOf(stream: RawStream, count = Number.POSITIVE_INFINITY): number[] {
  const blocks: number[] = [];
  while (blocks.length < count && stream.ask() === 1) {
    blocks.push(blockIn(stream.bench, stream.buffer));
    stream.bench.pg.ReleaseBuffer(stream.buffer);
  }
  return blocks;
}

forEachMethod(
  'a read stream, and its source',
  (test, open) => {
    test('that is a callback is asked when the stream looks further, not before', async () => {
      const bench = await opened(open);
      let next = 0;
      const stream = new RawStream(bench, { callback: () => (next < 20 ? next++ : -1) });
      assert.is(next, 0);
      stream.next();
      assert.is(next, 3, 'block 0, then blocks 1 and 2');
      assert.equal(blocksOf(stream), range(1, 20));
      assert.is(next, 20);
      stream.end();
    });

    test('that is a callback leaves data with each buffer', async () => {
      const bench = await opened(open);
      let block = 0;
      const callback = (data: number) => {
        bench.view.setUint32(data + 4, 1000 + block, true);
        return block < 100 ? block++ : -1;
      };
      const stream = new RawStream(bench, { callback, dataSize: 8 });
      for (let expected = 0; expected < 100; expected++) {
        const { buffer, data } = stream.step();
        assert.is(blockIn(bench, buffer), expected);
        assert.is(bench.view.getUint32(data + 4, true), 1000 + expected);
        assert.is(stream.field('fast_path'), 0, 'which the short way has no place for');
        bench.pg.ReleaseBuffer(buffer);
      }
      assert.is(stream.step().buffer, 0);
      stream.end();
    });

    test('that is a callback may throw: what is pinned is handed out first', async () => {
      const bench = await opened(open);
      let next = 0;
      const stream = new RawStream(bench, {
        flags: layout.READ_STREAM_FULL,
        callback: () => {
          if (next === 10) throw new Error('as you like it');
          return next++;
        },
      });
      assert.equal(blocksOf(stream, 10), range(0, 10));
      const error = errorOf(() => stream.ask());
      assert.is(error.code, 'PGAIO_STREAM_CALLBACK');
      assert.is(error.message, 'the callback of a read stream threw');
      assert.is(stream.ask(), 0, 'it is over then');
      stream.end();
      assert.is(pinned(bench), 0);
    });

    test('that is a callback must not use its stream', async () => {
      const bench = await opened(open);
      const codes: string[] = [];
      const stream: RawStream = new RawStream(bench, {
        callback: () => {
          codes.push(
            endOf(() => stream.ask()),
            endOf(() => bench.pg.read_stream_end(stream.at, 1)),
            endOf(() => bench.pg.read_stream_set_range(stream.at, 0, 1)),
          );
          return -1;
        },
      });
      assert.is(stream.ask(), 0);
      assert.equal(codes, Array(3).fill('PGAIO_STREAM_BUSY'));
      stream.end();
    });

    test('that is fed says when it has to be, and takes what it has room for', async () => {
      const bench = await opened(open);
      const stream = new RawStream(bench, { ring: 8 });
      assert.is(stream.ask(), layout.READ_STREAM_STARVED);
      assert.is(stream.feed(range(0, 12)), 8);
      assert.is(stream.feed([8]), 0);
      assert.equal(blocksOf(stream, 8), range(0, 8));
      assert.is(stream.ask(), layout.READ_STREAM_STARVED, 'nothing is left unread in it');
      for (let round = 0; round < 20; round++) {
        const blocks = range(0, 7).map((i) => (round * 31 + i * 3) % BLOCKS);
        assert.is(stream.feed(blocks), 7);
        assert.equal(blocksOf(stream, 7), blocks);
      }
      assert.is(stream.feed([5], true), 1);
      assert.equal(blocksOf(stream), [5]);
      assert.is(
        endOf(() => stream.feed([1])),
        'PGAIO_STREAM_SOURCE',
      );
      stream.end();
    });

    test('gives its next block without reading it', async () => {
      const bench = await opened(open);
      const { pg } = bench;
      const stream = new RawStream(bench, { range: [7, 9] });
      assert.equal(
        [1, 2, 3].map(() => pg.read_stream_next_block(stream.at)),
        [7, 8, END],
      );
      assert.is(stream.field('reads'), 0);
      stream.end();
      const fed = new RawStream(bench, { ring: 4 });
      assert.is(pg.read_stream_next_block(fed.at), END + 1, 'it has to be fed first');
      fed.end();
    });

    test('of no blocks ends at once; one without a source, too', async () => {
      const bench = await opened(open);
      const empty = new RawStream(bench, { range: [3, 3] });
      assert.is(empty.ask(), 0);
      assert.is(empty.ask(), 0);
      empty.end();
      const none = new RawStream(bench, {});
      assert.is(none.ask(), 0);
      none.end();
    });
  },
  ONE_WORKER,
);

const SYNC_METHOD: Restriction = ({ method }) =>
  method === 'sync' ? undefined : 'other methods give no advice';

/** Blocks of each piece of advice that a stream over these blocks gives. */
async function adviceOf(bench: Bench, blocks: readonly number[], flags = 0): Promise<number[][]> {
  const given: number[][] = [];
  const inner = directProvider();
  const pg = await attach({
    ...POOL,
    io_method: 'sync',
    shared: bench.variant.shared,
    dataDirectory: bench.path(''),
    provider: {
      ...inner,
      bind: (memory) => ({
        ...inner.bind(memory),
        fd_advise: (_: number, offset: bigint, length: bigint, advice: number) => {
          assert.is(advice, 3, 'will be needed');
          given.push([Number(offset) / BLOCK, Number(length) / BLOCK]);
          return 0;
        },
      }),
    },
  });
  const bytes = pg.read_stream_size(flags, 0, 0, -1, 0, 256);
  const [at, out, rel] = [pg.alloc(bytes), pg.alloc(8), pg.alloc(16)];
  const list = pg.alloc(4 * blocks.length);
  const words = new Uint32Array(pg.memory.buffer);
  words.set([1663, 5, 16384, 0], rel / 4);
  words.set(blocks, list / 4);
  pg.read_stream_begin_relation(at, bytes, flags, 0, rel, -1, 0, 256);
  pg.read_stream_feed(at, list, blocks.length);
  pg.read_stream_feed_end(at);
  while (pg.read_stream_next_buffer(at, out, 0) === 1) pg.ReleaseBuffer((words[out / 4] ?? 0) | 0);
  pg.read_stream_end(at, 0);
  pg.pgaio_shutdown();
  return given;
}

forEachMethod(
  'the kernel',
  (test, open) => {
    test('is told of each jump but the first, and of what follows until it was read', async () => {
      const bench = await opened(open);
      const jumps = range(0, 12).map((i) => 10 * i);
      // Of 0, 10 and 20 the reader has nothing else in hand: they are read at once.
      const told = jumps.slice(3).map((block) => [block, 1]);
      assert.equal(await adviceOf(bench, jumps), told);
      const region = await adviceOf(bench, [...jumps.slice(0, 6), ...range(60, 200)]);
      const until = [60, 76, 92, 108].map((block) => [block, 16]);
      assert.equal(region, [...told.slice(0, 3), ...until], 'then block 60 has been waited for');
    });

    test('sees for itself what is read in a row, or said to be', async () => {
      const bench = await opened(open);
      assert.equal(await adviceOf(bench, range(0, 150)), []);
      const jumps = range(0, 12).map((i) => 10 * i);
      assert.equal(await adviceOf(bench, jumps, layout.READ_STREAM_SEQUENTIAL), []);
    });

    test('is told through WASI, and not again where there is no call for it', async () => {
      const bench = await opened(open);
      const stream = new RawStream(bench, { blocks: range(0, 12).map((i) => 10 * i) });
      assert.is(stream.field('advice_enabled'), 1);
      blocksOf(stream);
      const told = bench.variant.provider === 'wasi' ? 1 : 0;
      assert.is(stream.field('advice_enabled'), told);
      stream.end();
    });
  },
  SYNC_METHOD,
);

forEachMethod(
  'a read stream that is stopped',
  (test, open) => {
    test('by pause ends there, and goes on with the distance it had', async () => {
      const bench = await opened(open);
      const stream = new RawStream(bench, { range: [0, BLOCKS] });
      const before = blocksOf(stream, 40);
      const { distance, pinned: held } = {
        distance: stream.field('distance'),
        pinned: stream.field('pinned_buffers') + stream.field('pending_nblocks'),
      };
      bench.pg.read_stream_pause(stream.at);
      bench.pg.read_stream_pause(stream.at);
      const rest = blocksOf(stream);
      assert.is(rest.length, held, 'what it had in hand still comes');
      assert.is(pinned(bench), 0);
      bench.pg.read_stream_resume(stream.at);
      assert.is(stream.field('distance'), distance);
      assert.equal([...before, ...rest, ...blocksOf(stream)], range(0, BLOCKS));
      stream.end();
    });

    test('by its own callback, too', async () => {
      const bench = await opened(open);
      let next = 0;
      const stream: RawStream = new RawStream(bench, {
        callback: () => {
          if (next % 10 !== 9) return next++;
          next++;
          bench.pg.read_stream_pause(stream.at);
          return -1;
        },
      });
      const parts: number[][] = [];
      for (let part = 0; part < 3; part++) {
        parts.push(blocksOf(stream));
        bench.pg.read_stream_resume(stream.at);
      }
      assert.equal(parts, [range(0, 9), range(10, 19), range(20, 29)]);
      stream.end();
    });

    for (const what of ['reset', 'end'] as const) {
      test(`by ${what} gives back every pin, whatever it has under way`, async () => {
        const bench = await opened(open);
        cache(bench, [3, 9, 10, 40]);
        for (let count = 0; count < 60; count += 3) {
          invalidate(bench, 11);
          const stream = new RawStream(bench, { range: [0, BLOCKS] });
          assert.equal(blocksOf(stream, count), range(0, count));
          if (what === 'reset') {
            stream.reset();
            assert.is(pinned(bench), 0);
            assert.equal(
              [stream.field('distance'), stream.field('ios_in_progress')],
              [1, 0],
              'as new, but for its source',
            );
            bench.pg.read_stream_set_range(stream.at, 5, 8);
            assert.equal(blocksOf(stream), [5, 6, 7]);
          }
          stream.end();
          assert.is(pinned(bench), 0);
          assert.is(
            endOf(() => stream.ask()),
            'PGAIO_BAD_STREAM',
          );
        }
        bench.assertUsable();
      });
    }

    test('by an error hands out what came before it, says it once, and is over', async () => {
      const bench = await opened(open);
      truncateSync(bench.path('base/5/16384'), 20 * BLOCK);
      const stream = new RawStream(bench, { range: [0, 30] });
      const blocks: number[] = [];
      const error = errorOf(() => {
        for (;;) blocks.push(...blocksOf(stream, 1));
      });
      assert.is(error.code, 'PGAIO_SHORT');
      assert.match(
        error.message,
        /^could not read blocks \d+\.\.29 in file "base\/5\/16384": read/,
      );
      assert.is(error.sqlstate, 'XX001');
      assert.equal(blocks, range(0, blocks.length));
      assert.is(stream.ask(), 0);
      stream.end();
      assert.is(pinned(bench), 0);
      bench.assertUsable();
    });

    test('by the lack of its file says so, and leaves nothing behind', async () => {
      const bench = await opened(open);
      const stream = new RawStream(bench, { relNumber: 4711, range: [0, 10] });
      const error = errorOf(() => stream.ask());
      assert.is(error.code, 'PGAIO_SMGR_OPEN');
      assert.is(error.message, 'could not open file "base/5/4711": No such file or directory');
      stream.end();
      assert.is(pinned(bench), 0);
      bench.assertUsable();
    });
  },
  ONE_WORKER,
);

forEachMethod(
  'a reader that must not wait',
  (test, open) => {
    test('is told what to wait for, and misses nothing', async () => {
      const bench = await opened(open, { device: 'never' });
      const { device, pg } = bench;
      const stream = new RawStream(bench, { range: [0, 100], nowait: true });
      const blocks: number[] = [];
      let refusals = 0;
      for (let rc = stream.ask(); rc !== 0; rc = stream.ask()) {
        if (rc === 1) {
          blocks.push(blockIn(bench, stream.buffer));
          pg.ReleaseBuffer(stream.buffer);
          continue;
        }
        assert.is(rc, layout.READ_STREAM_BLOCKED);
        assert.is(stream.field('blocked'), layout.BLOCKED_IO);
        const wref = stream.at + layout.ReadStream.fields.wait_ref.offset;
        assert.is(pg.pgaio_wref_get_id(wref), device.queue[0], 'the oldest of its own');
        assert.is(stream.ask(), rc, 'asking again changes nothing');
        device.complete(device.queue[0] ?? -1);
        refusals++;
      }
      assert.equal(blocks, range(0, 100));
      assert.equal(device.waits, []);
      assert.ok(refusals > 5, `${refusals} refusals`);
      stream.end();
    });

    test('looks as far ahead as one that waits', async () => {
      const bench = await opened(open, { device: 'never' });
      const sizes = (nowait: boolean) => {
        invalidate(bench);
        const { device } = bench;
        device.mode = nowait ? 'never' : 'wait';
        const stream = new RawStream(bench, { blocks: range(0, 30).map((i) => 5 * i), nowait });
        const distances: number[] = [];
        for (let rc = stream.ask(); rc !== 0; rc = stream.ask()) {
          if (rc !== 1) {
            device.complete(device.queue[0] ?? -1);
            continue;
          }
          bench.pg.ReleaseBuffer(stream.buffer);
          distances.push(stream.field('distance'));
        }
        stream.end();
        return distances;
      };
      assert.equal(sizes(true), sizes(false));
    });

    test('goes on when a handle comes free', async () => {
      const bench = await opened(open, { device: 'never', io_max_concurrency: 2 });
      const { device } = bench;
      const other = new RawStream(bench, {
        blocks: [150, 160],
        nowait: true,
        flags: layout.READ_STREAM_FULL,
      });
      assert.is(other.ask(), layout.READ_STREAM_BLOCKED);
      assert.is(device.queue.length, 2, 'every handle is in use');
      const stream = new RawStream(bench, { range: [0, 3], nowait: true });
      assert.is(stream.ask(), layout.READ_STREAM_BLOCKED);
      assert.is(stream.field('ios_in_progress'), 0);
      device.completeAll();
      bench.pg.pgaio_drain_completed();
      const blocks: number[] = [];
      for (let rc = stream.ask(); rc !== 0; rc = stream.ask()) {
        if (rc === 1) {
          blocks.push(blockIn(bench, stream.buffer));
          bench.pg.ReleaseBuffer(stream.buffer);
        } else device.completeAll();
      }
      assert.equal(blocks, [0, 1, 2]);
      assert.equal(blocksOf(other), [150, 160]);
      stream.end();
      other.end();
      assert.is(pinned(bench), 0);
    });

    test('ends its stream in steps', async () => {
      const bench = await opened(open, { device: 'never' });
      const { device, pg } = bench;
      const flags = layout.READ_STREAM_FULL;
      const stream = new RawStream(bench, { flags, range: [0, 100], nowait: true });
      assert.is(stream.ask(), layout.READ_STREAM_BLOCKED);
      assert.is(device.queue.length, 1);
      assert.is(pg.read_stream_end(stream.at, 1), layout.READ_STREAM_BLOCKED);
      assert.is(stream.ask(), 0, 'nothing is handed out any more');
      device.completeAll();
      assert.is(pg.read_stream_end(stream.at, 1), 0);
      assert.is(pinned(bench), 0);
      bench.assertUsable();
    });
  },
  IN_FLIGHT_ONLY,
);

forEachMethod(
  'read streams with few pins',
  (test, open) => {
    test('get on with one pin each in a pool of 16, 12 of which are pinned', async () => {
      const bench = await open({
        ...POOL,
        shared_buffers: 16,
        max_backends: 2,
        io_max_concurrency: 4,
      });
      relationFile(bench, BLOCKS);
      const { pg } = bench;
      const rel = relationRef(bench, 16384);
      const held = range(100, 112).map((block) => pg.ReadBuffer(rel, block, 0, 0));
      const [a, b] = [
        new RawStream(bench, { range: [0, 50] }),
        new RawStream(bench, { range: [50, 100] }),
      ];
      assert.equal([a.field('max_pinned_buffers'), b.field('max_pinned_buffers')], [1, 1]);
      const seen: [number[], number[]] = [[], []];
      for (let i = 0; i < 50; i++) {
        seen[0].push(...blocksOf(a, 1));
        seen[1].push(...blocksOf(b, 1));
        assert.ok(pinned(bench) <= 14, 'one each, at the most');
      }
      assert.equal(seen, [range(0, 50), range(50, 100)]);
      for (const buffer of held) pg.ReleaseBuffer(buffer);
      a.end();
      b.end();
      assert.is(pinned(bench), 0);
    });

    test('fail only when there is no buffer at all, and go on when there is one', async () => {
      const bench = await open({
        ...POOL,
        shared_buffers: 16,
        max_backends: 2,
        io_max_concurrency: 4,
      });
      relationFile(bench, BLOCKS);
      const { pg } = bench;
      const rel = relationRef(bench, 16384);
      const held = range(100, 116).map((block) => pg.ReadBuffer(rel, block, 0, 0));
      const stream = new RawStream(bench, { range: [0, 5] });
      const error = errorOf(() => stream.ask());
      assert.is(error.code, 'PGAIO_NO_BUFFERS');
      assert.is(error.message, 'no unpinned buffers available');
      assert.is(error.sqlstate, '53200');
      stream.end();
      pg.ReleaseBuffer(held.pop() ?? 0);
      const again = new RawStream(bench, { range: [0, 5] });
      assert.equal(blocksOf(again), range(0, 5));
      again.end();
      for (const buffer of held) pg.ReleaseBuffer(buffer);
      assert.is(pinned(bench), 0);
    });

    test('look less far while their backend holds pins elsewhere', async () => {
      const bench = await opened(open, { shared_buffers: 54 * 30 });
      const { pg } = bench;
      const rel = relationRef(bench, 16384);
      assert.is(pg.GetPinLimit(), 30);
      const most = (others: number): number => {
        invalidate(bench);
        const held = range(0, others).map((i) => pg.ReadBuffer(rel, 190 - i, 0, 0));
        const stream = new RawStream(bench, { flags: layout.READ_STREAM_FULL, range: [0, 100] });
        assert.is(stream.field('max_pinned_buffers'), 30, 'frozen when it was begun');
        let highest = 0;
        while (stream.ask() === 1) {
          highest = Math.max(highest, stream.field('pinned_buffers'));
          pg.ReleaseBuffer(stream.buffer);
        }
        stream.end();
        for (const buffer of held) pg.ReleaseBuffer(buffer);
        return highest;
      };
      assert.equal([most(0), most(20), most(29), most(30)], [29, 9, 1, 1]);
    });

    test('have the pins of their strategy, and of local buffers', async () => {
      const bench = await opened(open, { temp_buffers: 100, io_frames: 200 });
      const { pg } = bench;
      const strategy = (kind: number) => {
        const at = pg.alloc(8192);
        const ring = pg.GetAccessStrategy(at, 8192, kind, 16);
        const stream = new RawStream(bench, { strategy: at, ios: 100, range: [0, 1] });
        const most = stream.field('max_pinned_buffers');
        stream.end();
        return [ring, most];
      };
      const [bulk, bulkPins] = strategy(layout.BAS_BULKREAD);
      assert.is(bulkPins, bulk, 'the whole ring');
      const [vacuum = 0, vacuumPins] = strategy(layout.BAS_VACUUM);
      assert.is(vacuumPins, vacuum / 2, 'half of it');
      const local = new RawStream(bench, { temporary: true, range: [0, 1] });
      assert.is(local.field('max_pinned_buffers'), 100);
      local.end();
    });
  },
  ONE_WORKER,
);

forEachMethod(
  'read streams of PostgreSQL’s tests',
  (test, open) => {
    /** read_stream_for_blocks: a stream that will read everything. */
    const streamed = (bench: Bench, blocks: readonly number[], temporary = false): number[] => {
      const stream = new RawStream(bench, { flags: layout.READ_STREAM_FULL, blocks, temporary });
      const seen = blocksOf(stream);
      stream.end();
      assert.is(pinned(bench), 0);
      return seen;
    };
    const up = range(0, 7);
    const PATTERNS = [
      [0, 2, 2, 4, 4],
      [...up, ...[...up].reverse()],
    ];

    test('read a block twice while its I/O is pending, and again when it is there', async () => {
      const bench = await opened(open, { io_combine_limit: 1 });
      for (const blocks of PATTERNS) {
        invalidate(bench);
        assert.equal(streamed(bench, blocks), blocks);
        const before = bench.backend('smgr_reads');
        assert.equal(streamed(bench, blocks), blocks);
        assert.is(bench.backend('smgr_reads'), before, 'all hits');
      }
    });

    test('do so with temporary relations', async () => {
      const bench = await opened(open, { io_combine_limit: 1, temp_buffers: 100, io_frames: 200 });
      relationFile(bench, 20, { temporary: true });
      for (const blocks of PATTERNS) {
        assert.equal(streamed(bench, blocks, true), blocks);
        assert.equal(streamed(bench, blocks, true), blocks);
      }
    });
  },
  ONE_WORKER,
);

forEachMethod(
  'a read stream that meets another backend’s I/O',
  (test, open) => {
    /** Two backends; B has begun to read the blocks and its device holds the I/O. */
    const meeting = async (settings: object, blocks: readonly number[]) => {
      const a = await opened(open, settings);
      const b = await a.join({ device: 'never' });
      const theirs = new RawStream(b, { flags: layout.READ_STREAM_FULL, blocks, nowait: true });
      assert.is(theirs.ask(), layout.READ_STREAM_BLOCKED);
      const [held = -1] = b.device.queue;
      a.device.onWait = (id) => {
        if (id === held) b.device.complete(id, undefined, a);
        else a.device.complete(id);
      };
      return { a, b, theirs, held };
    };

    test('waits for it, and has its block from it', async () => {
      const { a, b, theirs, held } = await meeting({ io_combine_limit: 1 }, [5]);
      const stream = new RawStream(a, { flags: layout.READ_STREAM_FULL, blocks: [0, 2, 5, 7] });
      assert.equal(blocksOf(stream), [0, 2, 5, 7]);
      assert.ok(a.device.waits.includes(held), 'it waited for B’s I/O');
      assert.is(a.backend('smgr_reads'), 3, 'and did not read block 5 itself');
      stream.end();
      assert.equal(blocksOf(theirs), [5]);
      theirs.end();
      assert.equal([pinned(a), pinned(b)], [0, 0]);
    });

    test('reads the block itself when that I/O fails', async () => {
      const { a, b, theirs, held } = await meeting({ io_combine_limit: 1 }, [5]);
      a.device.onWait = (id) => {
        if (id === held) b.device.complete(id, -5, a);
        else a.device.complete(id);
      };
      const stream = new RawStream(a, { flags: layout.READ_STREAM_FULL, blocks: [0, 2, 5, 7] });
      assert.equal(blocksOf(stream), [0, 2, 5, 7]);
      assert.is(a.backend('smgr_reads'), 4);
      stream.end();
      const error = errorOf(() => theirs.ask());
      assert.is(
        error.message,
        'could not read blocks 5..5 in file "base/5/16384": Input/output error',
      );
      theirs.end();
      assert.equal([pinned(a), pinned(b)], [0, 0]);
    });

    test('has two of its blocks from one of that backend’s', async () => {
      const { a, b, theirs } = await meeting({}, [2, 3, 4]);
      const stream = new RawStream(a, { flags: layout.READ_STREAM_FULL, blocks: [0, 2, 4] });
      assert.equal(blocksOf(stream), [0, 2, 4]);
      assert.is(a.backend('smgr_reads'), 1);
      stream.end();
      assert.equal(blocksOf(theirs), [2, 3, 4]);
      theirs.end();
      assert.equal([pinned(a), pinned(b)], [0, 0]);
    });
  },
  (variant) =>
    IN_FLIGHT_ONLY(variant) ??
    (variant.shared ? undefined : 'another thread cannot join plain memory'),
);
