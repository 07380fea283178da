/**
 * How far a read stream looks ahead, what it merges and when it starts it: PostgreSQL 18's numbers,
 * call by call, and those of its development version; its sources, ends and beginnings.
 */
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import { type Bench, endOf, forEachMethod, type Open, usageOf } from './harness.ts';
import { type BeginOptions, RawStream, type Step } from './stream-fixture.ts';
import { evict, relationFile } from './storage-fixture.ts';

/** Pins enough for PostgreSQL's defaults: a limit of 272. */
const POOL = { shared_buffers: 16384, io_frames: 64, max_backends: 16, io_max_concurrency: 64 };
const BLOCKS = 1100;

async function opened(open: Open, settings = {}): Promise<Bench> {
  const bench = await open({ ...POOL, ...settings });
  relationFile(bench, BLOCKS);
  return bench;
}

const sizesOf = (steps: readonly Step[]) => steps.flatMap(({ sizes }) => sizes);
const repeated = (value: number, count: number) => Array<number>(count).fill(value);
/** What each of the calls named did, counted from 1. */
const atCalls = (steps: readonly Step[]) =>
  steps.flatMap(({ sizes }, i) => (sizes.length === 0 ? [] : [[i + 1, ...sizes]]));

forEachMethod('a read stream', (test, open) => {
  test('reads 1, 2, 4, 8, 16, 16 … blocks of a sequence, each when it is due', async () => {
    const bench = await opened(open);
    const stream = new RawStream(bench, { range: [0, 1000] });
    assert.is(stream.field('max_pinned_buffers'), 272);
    const steps = stream.rest();
    assert.is(steps.length, 1001, 'a call for each block, and one for the end');
    assert.equal(atCalls(steps).slice(0, 6), [
      [1, 1, 2],
      [3, 4],
      [7, 8],
      [15, 16],
      [16, 16],
      [31, 16, 16],
    ]);
    const sizes = sizesOf(steps);
    assert.equal(sizes.slice(0, 6), [1, 2, 4, 8, 16, 16]);
    assert.is(sizes.length, 66, 'as a real server: 66 reads for 1,000 blocks');
    assert.is(sizes.reduce((sum, size) => sum + size), 1000);
    stream.end();
  });
});
