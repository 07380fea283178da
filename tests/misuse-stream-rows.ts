/** The table of misuse, as far as read streams go. */
import * as layout from '../bindings/layout.ts';
import type { Bench } from './harness.ts';
import type { Row } from './misuse-row.ts';
import { type BeginOptions, RawStream, relationFile, relationRef } from './stream-fixture.ts';

const POOL = { data_checksums: false, shared_buffers: 64 } as const;

function opened(bench: Bench, options: BeginOptions = {}): RawStream {
  relationFile(bench, 4);
  return new RawStream(bench, { range: [0, 4], ...options });
}
/** Begins a stream with one number changed. */
function begun(
  bench: Bench,
  changes: { bytes?: number; flags?: number; ios?: number; dataSize?: number; ring?: number },
) {
  const { pg } = bench;
  const { flags = 0, ios = -1, dataSize = 0, ring = 0 } = changes;
  const bytes = changes.bytes ?? 4096;
  const at = pg.alloc(4096);
  const rel = relationRef(bench, 16384);
  return () => pg.read_stream_begin_relation(at, bytes, flags, 0, rel, ios, dataSize, ring);
}

export const STREAM_ROWS: readonly Row[] = [
  {
    sentence: 'has no read stream where there is none',
    code: 'PGAIO_BAD_STREAM',
    message: (bench) => `not a read stream of this backend: ${bench.ctl('local')}`,
    arrange: (bench) => () => bench.pg.read_stream_next_buffer(bench.ctl('local'), 0, 1),
  },
  {
    sentence: 'uses no read stream after its end',
    code: 'PGAIO_BAD_STREAM',
    message: (bench) => `not a read stream of this backend: ${bench.ctl('local')}`,
    settings: POOL,
    arrange: (bench) => {
      const stream = opened(bench);
      stream.end();
      return () => stream.ask();
    },
  },
  {
    sentence: 'uses no copy of a read stream',
    code: 'PGAIO_BAD_STREAM',
    message: (bench) => `not a read stream of this backend: ${bench.ctl('local') + 32768}`,
    settings: POOL,
    arrange: (bench) => {
      const stream = opened(bench);
      const copy = bench.ctl('local') + 32768;
      bench.u8.copyWithin(copy, stream.at, stream.at + layout.READ_STREAM_BYTES);
      return () => bench.pg.read_stream_reset(copy, 1);
    },
  },
  {
    sentence: 'lets no callback use its own read stream',
    code: 'PGAIO_STREAM_BUSY',
    message: 'a read stream cannot be used inside its own callback',
    settings: POOL,
    effects: true,
    arrange: (bench) => {
      let thrown: unknown;
      const stream: RawStream = opened(bench, {
        callback: () => {
          try {
            stream.ask();
          } catch (error) {
            thrown = error;
          }
          return -1;
        },
      });
      return () => {
        stream.ask();
        throw thrown;
      };
    },
  },
  {
    sentence: 'says that the callback of a read stream threw',
    code: 'PGAIO_STREAM_CALLBACK',
    message: 'the callback of a read stream threw',
    settings: POOL,
    effects: true,
    arrange: (bench) => {
      const stream = opened(bench, {
        callback: () => {
          throw new Error('as you like it');
        },
      });
      return () => stream.ask();
    },
  },
  {
    sentence: 'begins no read stream in too little memory',
    code: 'PGAIO_STREAM_MEMORY',
    sqlstate: '53200',
    message: (bench) => {
      const bytes = bench.pg.read_stream_size(0, 0, 0, -1, 0, 0);
      return `a read stream needs ${bytes} bytes, and was given 256`;
    },
    arrange: (bench) => begun(bench, { bytes: 256 }),
  },
  ...[
    ['flags that are none', { flags: 512 }, '512 and 0'],
    ['more I/Os than there can be', { ios: 1001 }, '1001 and 0'],
    ['data per buffer of odd size', { dataSize: 6 }, '-1 and 6'],
    ['a ring that is no power of two', { ring: 12 }, '-1 and 12'],
  ].map(
    ([what, changes, numbers]): Row => ({
      sentence: `begins no read stream with ${what}`,
      code: 'PGAIO_STREAM_FLAGS',
      message: `a read stream cannot be begun with ${numbers}`,
      arrange: (bench) => begun(bench, changes as object),
    }),
  ),
  {
    sentence: 'feeds no read stream that has another source',
    code: 'PGAIO_STREAM_SOURCE',
    message: 'this read stream is not fed with blocks, or not any more',
    settings: POOL,
    arrange: (bench) => {
      const stream = opened(bench);
      return () => stream.feed([1]);
    },
  },
  {
    sentence: 'feeds no read stream whose end was told',
    code: 'PGAIO_STREAM_SOURCE',
    message: 'this read stream is not fed with blocks, or not any more',
    settings: POOL,
    arrange: (bench) => {
      relationFile(bench, 4);
      const stream = new RawStream(bench, { blocks: [1] });
      return () => stream.feed([1]);
    },
  },
  {
    sentence: 'takes no range that ends before it begins',
    code: 'PGAIO_BAD_BLOCKS',
    message: 'block range is empty or passes the last block number: 3 from 4',
    settings: POOL,
    arrange: (bench) => {
      const stream = opened(bench);
      return () => bench.pg.read_stream_set_range(stream.at, 4, 3);
    },
  },
];
