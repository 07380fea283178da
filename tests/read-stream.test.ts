/**
 * How far a read stream looks ahead, what it merges and when it starts it: PostgreSQL 18's numbers,
 * call by call, and those of its development version, against a second implementation from the
 * description; where its blocks come from, how it ends and begins anew.
 */
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import { Random } from './explorer/random.ts';
import { type Bench, forEachMethod, ONE_WORKER, type Open } from './harness.ts';
import {
  blockIn,
  cache,
  invalidate,
  RawStream,
  relationFile,
  type Step,
} from './stream-fixture.ts';
import { StreamModel } from './stream-model.ts';

/** Pins enough for PostgreSQL's defaults: a limit of 272. */
const POOL = {
  data_checksums: false,
  shared_buffers: 16384,
  max_backends: 16,
  io_max_concurrency: 64,
  local_memory: 128,
} as const;
const BLOCKS = 1100;
const { READ_STREAM_FULL, READ_STREAM_WAIT_DRIVEN } = layout;

async function opened(open: Open, settings = {}): Promise<Bench> {
  const bench = await open({ ...POOL, ...settings });
  relationFile(bench, BLOCKS);
  return bench;
}

const sizesOf = (steps: readonly Step[]) => steps.flatMap(({ sizes }) => sizes);
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
/** The calls that started reads, counted from 1, with the sizes of these. */
const atCalls = (steps: readonly Step[]) =>
  steps.flatMap(({ sizes }, i) => (sizes.length === 0 ? [] : [[i + 1, ...sizes]]));
/** Calls for as many buffers. */
const calls = (stream: RawStream, count: number) =>
  Array.from({ length: count }, () => stream.next());

forEachMethod(
  'a read stream of PostgreSQL 18',
  (test, open) => {
    test('reads 1, 2, 4, 8, 16, 16 … blocks of a sequence, each when it is due', async () => {
      const bench = await opened(open);
      const stream = new RawStream(bench, { range: [0, 1000] });
      assert.is(stream.field('max_pinned_buffers'), 272);
      assert.is(stream.field('queue_size'), 273);
      const before = bench.backend('smgr_reads');
      const steps = stream.rest();
      assert.is(steps.length, 1001, 'a call for each block, and one for the end');
      assert.equal(atCalls(steps).slice(0, 6), [
        [1, 1, 2],
        [3, 4],
        [7, 8],
        [15, 16],
        [16, 16],
        [31, 16],
      ]);
      const sizes = sizesOf(steps);
      assert.equal(sizes.slice(0, 6), [1, 2, 4, 8, 16, 16]);
      assert.ok(sizes.slice(4, -1).every((size) => size === 16));
      assert.is(
        sizes.reduce((sum, size) => sum + size),
        1000,
      );
      assert.is(sizes.length, 66, 'as a real server: 66 reads for 1,000 blocks');
      assert.is(bench.backend('smgr_reads') - before, 66);
      assert.is(steps.at(-1)?.buffer, 0);
      assert.is(steps.at(-1)?.distance, 0);
      stream.end();
    });

    test('that will read everything begins with whole I/Os', async () => {
      const bench = await opened(open);
      const stream = new RawStream(bench, { flags: READ_STREAM_FULL, range: [0, 64] });
      assert.equal(atCalls(stream.rest()), [
        [1, 16, 16],
        [16, 16],
        [17, 16],
      ]);
      stream.end();
    });

    test('has 1, 3, 7, 15, 16 I/Os in flight when nothing can be merged', async () => {
      const bench = await opened(open);
      const stream = new RawStream(bench, { blocks: range(0, 60).map((i) => 10 * i) });
      const steps = calls(stream, 12);
      assert.equal(steps.map(({ ios }) => ios).slice(0, 7), [1, 3, 7, 15, 16, 16, 16]);
      const distances = [2, 4, 8, 16, 32, 64, 128, 256, 272, 272];
      assert.equal(steps.map(({ distance }) => distance).slice(0, 10), distances);
      assert.equal(
        steps.map(({ sizes }) => sizes.length),
        [2, 3, 5, 9, 2, 1, 1, 1, 1, 1, 1, 1],
      );
      assert.ok(sizesOf(steps).every((size) => size === 1));
      stream.end();
    });

    test('keeps to the I/Os it was allowed', async () => {
      const bench = await opened(open);
      const blocks = range(0, 60).map((i) => 10 * i);
      const stream = new RawStream(bench, { ios: 4, blocks });
      assert.equal(
        calls(stream, 6).map(({ ios }) => ios),
        [1, 3, 4, 4, 4, 4],
      );
      assert.is(stream.field('most_ios'), 4);
      stream.end();
    });

    test('does not look further for blocks that are there', async () => {
      const bench = await opened(open);
      cache(bench, range(0, 10));
      const stream = new RawStream(bench, { range: [0, 40] });
      const steps = stream.rest();
      assert.equal(
        steps.slice(0, 9).map(({ distance }) => distance),
        Array(9).fill(1),
      );
      assert.equal(sizesOf(steps), [1, 2, 4, 8, 15]);
      assert.is(stream.field('hits'), 10);
      stream.end();
    });

    test('takes the short way while all is there, with one buffer pinned', async () => {
      const bench = await opened(open);
      cache(bench, range(0, 20));
      const stream = new RawStream(bench, { range: [0, 30] });
      const ways: string[] = [];
      const blocks: number[] = [];
      for (;;) {
        const { buffer } = stream.step();
        ways.push(`${stream.field('fast_path')}${stream.field('pinned_buffers')}`);
        if (buffer === 0) break;
        blocks.push(blockIn(bench, buffer));
        bench.pg.ReleaseBuffer(buffer);
      }
      assert.equal(blocks, range(0, 30));
      assert.equal(ways.slice(0, 19), Array(19).fill('11'));
      assert.is(ways[19], '01', 'block 20 has to be read');
      stream.end();
      const cached = new RawStream(bench, { range: [0, 3] });
      assert.equal(
        calls(cached, 4).map(({ buffer }) => buffer > 0),
        [true, true, true, false],
      );
      assert.equal([cached.field('pinned_buffers'), cached.field('distance')], [0, 0]);
      cached.end();
    });

    test('shrinks its distance by one for each block that was there', async () => {
      const bench = await opened(open);
      cache(bench, range(15, 60));
      const stream = new RawStream(bench, { range: [0, 60] });
      const steps = stream.rest();
      const distances = steps.map(({ distance }) => distance);
      assert.is(distances[7], 16, 'after the read of eight');
      const since = distances.slice(7, 55);
      assert.ok(since.every((distance, i) => distance <= (since[i - 1] ?? 16)));
      assert.is(Math.min(...distances.slice(0, 55)), 1);
      stream.end();
    });

    test('reads synchronously with no I/O allowed, and merges all the same', async () => {
      const bench = await opened(open);
      const stream = new RawStream(bench, { ios: 0, range: [0, 40] });
      assert.equal(
        [stream.field('max_ios'), stream.field('max_pinned_buffers')],
        [1, 16],
        'one I/O, and pins for as many blocks',
      );
      const before = bench.backend('synchronous');
      const sizes = sizesOf(stream.rest());
      assert.is(
        sizes.reduce((sum, size) => sum + size),
        40,
      );
      assert.ok(sizes.some((size) => size > 1));
      assert.is(bench.backend('synchronous') - before, sizes.length, 'in this thread, each');
      stream.end();
    });

    test('submits what it looks at in one go together, if told to', async () => {
      const bench = await opened(open);
      const submissions = (flags: number) => {
        invalidate(bench);
        const stream = new RawStream(bench, { flags, blocks: range(0, 60).map((i) => 10 * i) });
        const before = bench.backend('submissions');
        stream.next();
        stream.next();
        stream.next();
        const each = bench.backend('submissions') - before;
        stream.end();
        return each;
      };
      if (bench.variant.method === 'sync') return assert.is(submissions(0), 0);
      assert.is(submissions(0), 10, '2, 3 and 5 reads');
      assert.is(submissions(layout.READ_STREAM_USE_BATCHING), 4);
      assert.is(bench.backend('in_batchmode'), 0);
    });

    test('counts duplicates, neighbours and blocks in any order as what they are', async () => {
      const bench = await opened(open);
      const random = new Random(7);
      const blocks = Array.from({ length: 400 }, () => random.below(200));
      const stream = new RawStream(bench, { blocks });
      const seen: number[] = [];
      for (let step = stream.step(); step.buffer !== 0; step = stream.step()) {
        seen.push(blockIn(bench, step.buffer));
        bench.pg.ReleaseBuffer(step.buffer);
      }
      assert.equal(seen, blocks);
      stream.end();
    });
  },
  ONE_WORKER,
);

/** The same calls, of the core and of the second implementation. */
function compare(bench: Bench, seed: number, waitDriven: boolean): void {
  const random = new Random(seed);
  const combine = random.pick([1, 2, 5, 16]);
  const maxIos = random.pick([1, 2, 4, 16]);
  const full = random.once(3);
  bench.pg.set('io_combine_limit', combine);
  invalidate(bench);
  const cached = range(0, BLOCKS).filter(() => random.once(seed % 2 === 0 ? 3 : 20));
  cache(bench, cached);
  const blocks: number[] = [];
  for (let block = 0; block < BLOCKS - 20 && blocks.length < 300; ) {
    block += random.once(4) ? random.range(1, 9) : 1;
    blocks.push(block);
  }
  const flags = (waitDriven ? READ_STREAM_WAIT_DRIVEN : 0) | (full ? READ_STREAM_FULL : 0);
  const stream = new RawStream(bench, { flags, ios: maxIos, blocks });
  const maxPinned = stream.field('max_pinned_buffers');
  const there = new Set(cached);
  const model = new StreamModel(blocks, there, { maxIos, combine, maxPinned, full, waitDriven });
  for (let call = 1; ; call++) {
    const expected = model.step();
    const { buffer, sizes, firsts, ios, distance } = stream.step();
    const block = buffer === 0 ? -1 : blockIn(bench, buffer);
    if (buffer !== 0) bench.pg.ReleaseBuffer(buffer);
    const what = `seed ${seed}, call ${call}`;
    assert.equal({ block, sizes, firsts, ios, distance }, expected, what);
    if (block === -1) break;
  }
  stream.end();
}

forEachMethod(
  'read streams',
  (test, open) => {
    for (const waitDriven of [false, true]) {
      const name = waitDriven ? 'the development version' : 'PostgreSQL 18';
      test(`of ${name} do what their description says, whatever is there`, async () => {
        const bench = await opened(open);
        for (let seed = 0; seed < 12; seed++) compare(bench, seed, waitDriven);
      });
    }
  },
  ({ method, shared, provider }) =>
    method === 'host' && shared && provider === 'direct'
      ? undefined
      : 'how I/O is executed makes no difference to these numbers',
);
