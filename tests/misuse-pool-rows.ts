/** Rows of the table of misuse: relations and buffers. */
import * as layout from '../bindings/layout.ts';
import type { Bench } from './harness.ts';
import type { Row } from './misuse-row.ts';
import { POOL, Relation } from './pool-fixture.ts';

const SETTINGS = { ...POOL, temp_buffers: 100 };
const { BUFFER_LOCK_EXCLUSIVE, BUFFER_LOCK_SHARE, BUFFER_LOCK_UNLOCK } = layout;

function relation(bench: Bench, temp = false): Relation {
  return new Relation(bench, { temp }).fill(4);
}
/** Lets all buffers of this backend go that `pinned` has. */
function letGo(bench: Bench): void {
  const pins = bench.ctl('buffer_pins') + bench.pg.procno * 128;
  for (let buffer = 1; buffer <= SETTINGS.shared_buffers; buffer++) {
    for (;;) {
      const own = bench.view.getUint16(pins + 2 * (buffer - 1), true);
      if (own === 0) break;
      if ((own & layout.BP_IO) !== 0) bench.pg.TerminateBufferIO(buffer, 1, 0);
      if ((own & (layout.BP_SHARE | layout.BP_EXCLUSIVE)) !== 0)
        bench.pg.LockBuffer(buffer, BUFFER_LOCK_UNLOCK, 0);
      bench.pg.ReleaseBuffer(buffer);
    }
  }
  if (bench.backend('handed_out_io') !== layout.NONE) {
    bench.pg.pgaio_io_release(bench.handleAt(bench.backend('handed_out_io')));
  }
}

/** A buffer of block 1, pinned, with its page. */
function pinned(bench: Bench): number {
  return bench.pg.ReadBuffer(relation(bench).at, 1, 0, 0);
}

/** Each call about a buffer, for numbers that are none of this backend's. */
const BUFFER_CALLS: readonly (readonly [string, (bench: Bench, buffer: number) => unknown])[] = [
  ['ReleaseBuffer', ({ pg }, buffer) => pg.ReleaseBuffer(buffer)],
  ['IncrBufferRefCount', ({ pg }, buffer) => pg.IncrBufferRefCount(buffer)],
  ['BufferGetPage', ({ pg }, buffer) => pg.BufferGetPage(buffer)],
  ['BufferIsValid', ({ pg }, buffer) => pg.BufferIsValid(buffer)],
  ['GetBufferDescriptor', ({ pg }, buffer) => pg.GetBufferDescriptor(buffer)],
  ['LockBuffer', ({ pg }, buffer) => pg.LockBuffer(buffer, BUFFER_LOCK_SHARE, 0)],
  ['MarkBufferDirty', ({ pg }, buffer) => pg.MarkBufferDirty(buffer)],
  ['StartBufferIO', ({ pg }, buffer) => pg.StartBufferIO(buffer, 1, 1)],
  ['TerminateBufferIO', ({ pg }, buffer) => pg.TerminateBufferIO(buffer, 1, 1)],
  ['pgaio_buffer_arm', ({ pg }, buffer) => pg.pgaio_buffer_arm(buffer)],
];

const BUFFERS: readonly Row[] = BUFFER_CALLS.flatMap(([name, call]): Row[] => [
  ...[0, 65, -1, 2147483647, -2147483648].map(
    (buffer): Row => ({
      sentence: `knows no buffer ${buffer} for ${name}`,
      code: 'PGAIO_BAD_BUFFER',
      message: `bad buffer ID: ${buffer}`,
      settings: SETTINGS,
      arrange: (bench) => () => call(bench, buffer),
    }),
  ),
  {
    sentence: `refuses ${name} of a buffer that is not pinned`,
    code: 'PGAIO_NOT_PINNED',
    message: 'buffer 7 is not pinned by this backend',
    settings: SETTINGS,
    arrange: (bench) => () => call(bench, 7),
  },
]);

const LOCKS: readonly Row[] = [
  ...[BUFFER_LOCK_SHARE, BUFFER_LOCK_EXCLUSIVE].map(
    (mode): Row => ({
      sentence: `locks no buffer twice, in mode ${mode}`,
      code: 'PGAIO_LOCKED',
      message: 'buffer 1 is locked by this backend already',
      settings: SETTINGS,
      arrange: (bench) => {
        const buffer = pinned(bench);
        bench.pg.LockBuffer(buffer, BUFFER_LOCK_SHARE, 0);
        return () => bench.pg.LockBuffer(buffer, mode, 0);
      },
      repair: letGo,
    }),
  ),
  ...(
    [
      ['unlocks no buffer that is not locked', BUFFER_LOCK_UNLOCK],
      ['knows no lock mode 3', 3],
    ] as const
  ).map(
    ([sentence, mode]): Row => ({
      sentence,
      code: 'PGAIO_NOT_LOCKED',
      message: 'buffer 1 is not locked as needed by this backend',
      settings: SETTINGS,
      arrange: (bench) => {
        const buffer = pinned(bench);
        return () => bench.pg.LockBuffer(buffer, mode, 0);
      },
      repair: letGo,
    }),
  ),
  {
    sentence: 'takes no more pins of one buffer than it can count',
    code: 'PGAIO_PINS_FULL',
    message: 'buffer 1 has as many pins as can be counted',
    settings: SETTINGS,
    arrange: (bench) => {
      const buffer = pinned(bench);
      for (let i = 1; i < layout.BP_COUNT; i++) bench.pg.IncrBufferRefCount(buffer);
      return () => bench.pg.IncrBufferRefCount(buffer);
    },
    repair: letGo,
  },
  {
    sentence: 'ends no I/O that was not begun',
    code: 'PGAIO_BUFFER_IO',
    message: 'I/O on buffer 1 has not begun, or has',
    settings: SETTINGS,
    arrange: (bench) => {
      const buffer = pinned(bench);
      return () => bench.pg.TerminateBufferIO(buffer, 1, 1);
    },
    repair: letGo,
  },
  {
    sentence: 'lets no buffer go on which I/O has begun',
    code: 'PGAIO_BUFFER_IO',
    message: 'I/O on buffer 1 has not begun, or has',
    settings: SETTINGS,
    arrange: (bench) => {
      const buffer = relation(bench).pin(1);
      bench.pg.StartBufferIO(buffer, 1, 1);
      return () => bench.pg.ReleaseBuffer(buffer);
    },
    repair: letGo,
  },
  {
    sentence: 'refuses the buffers’ callback for buffers without I/O begun',
    code: 'PGAIO_BUFFER_IO',
    message: 'I/O on buffer 1 has not begun, or has',
    names: [0, 'HANDED_OUT'],
    settings: SETTINGS,
    arrange: (bench) => {
      const buffer = pinned(bench);
      const data = bench.pg.alloc(4);
      bench.i32[data / 4] = buffer;
      const ioh = bench.pg.pgaio_io_acquire(0, 0);
      bench.pg.pgaio_io_set_handle_data_32(ioh, data, 1);
      const { PGAIO_HCB_SHARED_BUFFER_READV } = layout;
      return () => bench.pg.pgaio_io_register_callbacks(ioh, PGAIO_HCB_SHARED_BUFFER_READV, 0);
    },
    repair: letGo,
  },
];

const READING: readonly Row[] = [
  ...(
    [
      ['no blocks', 0, 0, 'a read of buffers cannot be of 0 blocks from 0'],
      ['blocks past the last', 4294967295, 1, 'of 1 blocks from 4294967295'],
      ['blocks up to the last and on', 4294967290, 16, 'of 16 blocks from 4294967290'],
    ] as const
  ).map(
    ([what, block, count, words]): Row => ({
      sentence: `reads ${what} into no buffers`,
      code: 'PGAIO_READ_BLOCKS',
      message: words.startsWith('a read') ? words : `a read of buffers cannot be ${words}`,
      settings: SETTINGS,
      effects: true,
      arrange: (bench) => {
        const rel = relation(bench);
        const buffers = bench.pg.alloc(64);
        const op = rel.operation();
        return () => rel.start(op, buffers, block, count);
      },
    }),
  ),
  {
    sentence: 'waits for no read that has ended',
    code: 'PGAIO_NO_READ',
    message: "waiting for read operation that didn't read",
    settings: SETTINGS,
    arrange: (bench) => {
      const rel = relation(bench);
      const [started] = rel.startAll(0, 2);
      if (started === undefined) throw new Error('nothing was started');
      bench.pg.WaitReadBuffers(started.op, 0);
      return () => bench.pg.WaitReadBuffers(started.op, 0);
    },
    repair: letGo,
  },
  ...(
    [
      ['a number past the forks', [1663, 5, 16384, 4], '16384, 4'],
      ['a bit that means nothing', [1663, 5, 16384, 0x200], '16384, 512'],
      ['no number', [1663, 5, 0, 0], '0, 0'],
    ] as const
  ).map(
    ([what, fields, words]): Row => ({
      sentence: `takes nothing for a relation that has ${what}`,
      code: 'PGAIO_BAD_RELATION',
      message: `not a relation fork: ${words}`,
      settings: SETTINGS,
      arrange: (bench) => {
        const rel = bench.pg.alloc(16);
        bench.u32.set(fields, rel / 4);
        return () => bench.pg.smgrnblocks(rel);
      },
    }),
  ),
  ...[1, 4].map(
    (at): Row => ({
      sentence: `takes no relation at address ${at}`,
      code: 'PGAIO_BAD_ADDRESS',
      message: `address ${at} is misaligned or outside the caller's memory`,
      settings: SETTINGS,
      arrange: (bench) => () => bench.pg.smgrexists(at),
    }),
  ),
  {
    sentence: 'has one buffer for a block of a temporary relation only by an operation',
    code: 'PGAIO_BAD_RELATION',
    message: 'not a relation fork: 16384, 256',
    settings: SETTINGS,
    arrange: (bench) => {
      const rel = relation(bench, true);
      return () => bench.pg.ReadBuffer(rel.at, 0, 0, 0);
    },
  },
  {
    sentence: 'takes nothing for an access strategy that is none',
    code: 'PGAIO_BAD_STRATEGY',
    message: (bench) => `not an access strategy: ${bench.ctl('local')}`,
    settings: SETTINGS,
    arrange: (bench) => () => bench.pg.GetAccessStrategyPinLimit(bench.ctl('local')),
  },
  {
    sentence: 'makes no access strategy of a kind that is none',
    code: 'PGAIO_BAD_STRATEGY',
    message: 'not an access strategy: 1',
    settings: SETTINGS,
    arrange: (bench) => {
      const at = bench.pg.alloc(64);
      return () => bench.pg.GetAccessStrategy(at, 64, 4, 0);
    },
  },
];

const FULL: readonly Row[] = [
  {
    sentence: 'has no buffer when all are pinned',
    code: 'PGAIO_NO_BUFFERS',
    message: 'no unpinned buffers available',
    sqlstate: '53200',
    settings: { ...SETTINGS, shared_buffers: 16 },
    effects: true,
    arrange: (bench) => {
      const rel = new Relation(bench).fill(20);
      for (let block = 0; block < 16; block++) rel.pin(block);
      return () => bench.pg.ReadBuffer(rel.at, 16, 0, 0);
    },
    repair: (bench) => {
      for (let buffer = 1; buffer <= 16; buffer++) bench.pg.ReleaseBuffer(buffer);
    },
  },
  {
    sentence: 'has no local buffer when all are pinned',
    code: 'PGAIO_NO_LOCAL_BUFFERS',
    message: 'no empty local buffer available',
    sqlstate: '53200',
    settings: { ...SETTINGS, io_frames: 128 },
    arrange: (bench) => {
      const rel = new Relation(bench, { temp: true }).fill(101);
      for (let block = 0; block < 100; block++) rel.pin(block);
      return () => rel.pin(100);
    },
    repair: (bench) => {
      for (let buffer = -100; buffer < 0; buffer++) bench.pg.ReleaseBuffer(buffer);
    },
  },
  {
    sentence: 'has no local buffers without page frames',
    code: 'PGAIO_NO_LOCAL_MEMORY',
    message: 'no 1 page frames for local buffers',
    sqlstate: '53200',
    settings: { ...SETTINGS, io_frames: 4 },
    arrange: (bench) => {
      const rel = relation(bench, true);
      bench.frames(4);
      return () => rel.pin(0);
    },
    repair: (bench) => void bench.pg.pgaio_frames_free(bench.ctl('frames'), 4),
  },
];

const FILES: readonly Row[] = [
  {
    sentence: 'cuts no relation to more than it has',
    code: 'PGAIO_SMGR_TRUNCATE_UP',
    message: 'could not truncate file "base/5/16384" to 5 blocks: it\'s only 4 blocks now',
    settings: SETTINGS,
    effects: true,
    arrange: (bench) => {
      const rel = relation(bench);
      return () => bench.pg.smgrtruncate(rel.at, 5);
    },
  },
  {
    sentence: 'lengthens no relation past the last block number',
    code: 'PGAIO_SMGR_BEYOND',
    message: 'cannot extend file "base/5/16384" beyond 4294967295 blocks',
    sqlstate: '54000',
    settings: SETTINGS,
    effects: true,
    arrange: (bench) => {
      const rel = relation(bench);
      return () => bench.pg.smgrzeroextend(rel.at, 4294967295);
    },
  },
  ...(['read', 'write'] as const).map(
    (verb): Row => ({
      sentence: `${verb}s nothing across the end of a segment`,
      code: `PGAIO_SMGR_${verb.toUpperCase()}_CROSSES`,
      message: `${verb} crossing segment boundary`,
      settings: { ...SETTINGS, segment_size: 2 },
      effects: true,
      arrange: (bench) => {
        const rel = relation(bench);
        const pages = bench.pg.alloc(8);
        bench.u32.fill(bench.frames(1), pages / 4, pages / 4 + 2);
        const ioh = bench.pg.pgaio_io_acquire(0, 0);
        const { smgrstartreadv, smgrstartwritev } = bench.pg;
        const start = verb === 'read' ? smgrstartreadv : smgrstartwritev;
        return () => start(ioh, rel.at, 1, pages, 2);
      },
      repair: letGo,
    }),
  ),
  {
    sentence: 'removes no relation whose page is in use',
    code: 'PGAIO_BUFFER_BUSY',
    message: 'block 1 is still referenced (1)',
    settings: SETTINGS,
    effects: true,
    arrange: (bench) => {
      pinned(bench);
      const rel = new Relation(bench);
      return () => bench.pg.pgaio_drop_relation(rel.at, 0);
    },
    repair: letGo,
  },
];

export const POOL_ROWS: readonly Row[] = [...BUFFERS, ...LOCKS, ...READING, ...FULL, ...FILES];
