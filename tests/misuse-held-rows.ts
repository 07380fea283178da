/** The table of misuse, first part: about a handle and what is said of the I/O it is to be. */
import * as assert from 'uvu/assert';
import { type Bench, IN_FLIGHT_ONLY, SHARED_ONLY } from './harness.ts';
import {
  drain,
  HELD,
  IDLE,
  idle,
  type Row,
  refTo,
  releaseHeld,
  STAGED,
  SUBMITTED,
  staged,
  submitted,
} from './misuse-row.ts';

const HANDED_OUT: readonly Row[] = [
  {
    sentence: 'refuses to acquire while one is handed out',
    code: 'PGAIO_TWO_HANDED_OUT',
    message: 'API violation: Only one IO can be handed out',
    names: HELD,
    arrange: ({ pg }) => {
      pg.pgaio_io_acquire(0, 0);
      return () => pg.pgaio_io_acquire(0, 0);
    },
    repair: releaseHeld,
  },
  {
    sentence: 'refuses to acquire without waiting while one is handed out',
    code: 'PGAIO_TWO_HANDED_OUT',
    message: 'API violation: Only one IO can be handed out',
    names: HELD,
    arrange: ({ pg }) => {
      pg.pgaio_io_acquire(0, 0);
      return () => pg.pgaio_io_acquire_nb(0, 0);
    },
    repair: releaseHeld,
  },
  {
    sentence: 'refuses a handle given back before',
    code: 'PGAIO_RELEASE_STATE',
    message: 'release in unexpected state',
    names: IDLE,
    arrange: ({ pg }) => {
      const ioh = pg.pgaio_io_acquire(0, 0);
      pg.pgaio_io_release(ioh);
      return () => pg.pgaio_io_release(ioh);
    },
  },
  {
    sentence: 'refuses to release another handle than the one handed out',
    code: 'PGAIO_RELEASE_STATE',
    message: 'release in unexpected state',
    names: [1, 'IDLE'],
    arrange: (bench) => {
      bench.pg.pgaio_io_acquire(0, 0);
      return () => bench.pg.pgaio_io_release(bench.handleAt(1));
    },
    repair: releaseHeld,
  },
  {
    sentence: 'refuses to release a staged handle',
    code: 'PGAIO_RELEASE_STATE',
    message: 'release in unexpected state',
    names: STAGED,
    only: IN_FLIGHT_ONLY,
    arrange: (bench) => {
      const { ioh } = staged(bench);
      return () => bench.pg.pgaio_io_release(ioh);
    },
    repair: drain,
  },
  {
    sentence: 'refuses to release a submitted handle',
    code: 'PGAIO_RELEASE_STATE',
    message: 'release in unexpected state',
    names: SUBMITTED,
    only: IN_FLIGHT_ONLY,
    arrange: (bench) => {
      const { ioh } = submitted(bench);
      return () => bench.pg.pgaio_io_release(ioh);
    },
    repair: drain,
  },
];

const DEFINITIONS: readonly [name: string, call: (bench: Bench, ioh: number) => unknown][] = [
  ['set a flag of', ({ pg }, ioh) => pg.pgaio_io_set_flag(ioh, 1)],
  ['set the target of', ({ pg }, ioh) => pg.pgaio_io_set_target(ioh, 1)],
  ['set a relation for', ({ pg }, ioh) => pg.pgaio_io_set_target_smgr(ioh, 1, 2, 3, 0, 0, 1, 0)],
  ['set a file for', ({ pg }, ioh) => pg.pgaio_io_set_target_file(ioh, 1, 0, 1)],
  ['get the iovecs of', (b, ioh) => b.pg.pgaio_io_get_iovec(ioh, b.ctl('local'))],
  ['set 64-bit data of', (b, ioh) => b.pg.pgaio_io_set_handle_data_64(ioh, b.ctl('local'), 1)],
  ['set 32-bit data of', (b, ioh) => b.pg.pgaio_io_set_handle_data_32(ioh, b.ctl('local'), 1)],
  ['register a callback of', ({ pg }, ioh) => pg.pgaio_io_register_callbacks(ioh, 1, 0)],
  ['start a read of', ({ pg }, ioh) => pg.pgaio_io_start_readv(ioh, 0, 1, 0)],
  ['start a write of', ({ pg }, ioh) => pg.pgaio_io_start_writev(ioh, 0, 1, 0)],
  ['start an fsync of', ({ pg }, ioh) => pg.pgaio_io_start_fsync(ioh, 0)],
  ['start an fdatasync of', ({ pg }, ioh) => pg.pgaio_io_start_fdatasync(ioh, 0)],
  ['start a flush of', ({ pg }, ioh) => pg.pgaio_io_start_flush_range(ioh, 0, 0, 0)],
  ['name the open file of', ({ pg }, ioh) => pg.pgaio_io_set_file(ioh, 0)],
];
const DEFINING: readonly Row[] = DEFINITIONS.flatMap(([name, call]): Row[] => [
  {
    sentence: `refuses to ${name} an idle handle`,
    code: 'PGAIO_NOT_HANDED_OUT',
    message: 'IO 0 is not handed out: IDLE',
    names: IDLE,
    arrange: (bench) => () => call(bench, idle(bench)),
  },
  {
    sentence: `refuses to ${name} a staged handle`,
    code: 'PGAIO_NOT_HANDED_OUT',
    message: 'IO 0 is not handed out: STAGED',
    names: STAGED,
    only: IN_FLIGHT_ONLY,
    arrange: (bench) => {
      const { ioh } = staged(bench);
      return () => call(bench, ioh);
    },
    repair: drain,
  },
  {
    sentence: `refuses to ${name} a submitted handle`,
    code: 'PGAIO_NOT_HANDED_OUT',
    message: 'IO 0 is not handed out: SUBMITTED',
    names: SUBMITTED,
    only: IN_FLIGHT_ONLY,
    arrange: (bench) => {
      const { ioh } = submitted(bench);
      return () => call(bench, ioh);
    },
    repair: drain,
  },
]);

/** Rows about a handle that is handed out and stays so. */
type HeldRow = readonly [
  sentence: string,
  code: string,
  message: string,
  call: (bench: Bench, ioh: number) => unknown,
  prepare?: (bench: Bench, ioh: number) => unknown,
];
const iovec =
  (...iovecs: readonly (readonly [number, number])[]) =>
  (bench: Bench, ioh: number) => {
    bench.pg.pgaio_io_set_target(ioh, 1);
    bench.setIovecs(ioh, iovecs);
  };
const withTarget = ({ pg }: Bench, ioh: number) => pg.pgaio_io_set_target(ioh, 1);
const readv =
  (fd: number, count: number, offset: number) =>
  ({ pg }: Bench, ioh: number) =>
    pg.pgaio_io_start_readv(ioh, fd, count, offset);
const callback =
  (id: number, data = 0) =>
  ({ pg }: Bench, ioh: number) =>
    pg.pgaio_io_register_callbacks(ioh, id, data);
const flag =
  (bits: number) =>
  ({ pg }: Bench, ioh: number) =>
    pg.pgaio_io_set_flag(ioh, bits);
const data = (count: number) => (bench: Bench, ioh: number) =>
  bench.pg.pgaio_io_set_handle_data_64(ioh, bench.ctl('local'), count);
const outside = (first: number) => `address ${first} is misaligned or outside the caller's memory`;

const HELD_ROWS: readonly HeldRow[] = [
  [
    'refuses a second target',
    'PGAIO_TARGET_TWICE',
    'IO 0 has a target already',
    withTarget,
    withTarget,
  ],
  [
    'refuses a relation after a file',
    'PGAIO_TARGET_TWICE',
    'IO 0 has a target already',
    ({ pg }, ioh) => pg.pgaio_io_set_target_smgr(ioh, 1, 2, 3, 0, 0, 1, 0),
    ({ pg }, ioh) => pg.pgaio_io_set_target_file(ioh, 1, 0, 0),
  ],
  ['refuses data twice', 'PGAIO_DATA_TWICE', 'IO 0 has handle data already', data(1), data(2)],
  [
    'refuses no data at all',
    'PGAIO_DATA_LENGTH',
    'handle data of 0 entries is outside 1 .. 16',
    data(0),
  ],
  [
    'refuses more data than io_max_combine_limit',
    'PGAIO_DATA_LENGTH',
    'handle data of 17 entries is outside 1 .. 16',
    data(17),
  ],
  [
    'has no data to give before some was set',
    'PGAIO_DATA_NONE',
    'IO 0 has no handle data',
    ({ pg }, ioh) => pg.pgaio_io_get_handle_data(ioh, 0),
  ],
  [
    'refuses data from the engine',
    'PGAIO_BAD_ADDRESS',
    outside(128),
    ({ pg }, ioh) => pg.pgaio_io_set_handle_data_64(ioh, 128, 1),
  ],
  [
    'refuses a callback past the end of the table',
    'PGAIO_CALLBACK_RANGE',
    'callback 64 is out of range',
    callback(64),
  ],
  [
    'refuses callback 0',
    'PGAIO_CALLBACK_COMPLETION',
    'callback 0 does not have a completion callback',
    callback(0),
  ],
  ...[8, 31, 32, 63].map(
    (id): HeldRow => [
      `refuses callback ${id}, which nobody has registered`,
      'PGAIO_CALLBACK_COMPLETION',
      `callback ${id} does not have a completion callback`,
      callback(id),
    ],
  ),
  [
    'refuses a fifth callback',
    'PGAIO_CALLBACK_COUNT',
    'too many callbacks, the max is 4',
    callback(1),
    (bench, ioh) => {
      for (let i = 0; i < 4; i++) callback(5)(bench, ioh);
    },
  ],
  ...[0, 8, 9, 0x80000001].map(
    (bits): HeldRow => [
      `refuses flag ${bits}`,
      'PGAIO_BAD_FLAG',
      `unknown handle flag: ${bits}`,
      flag(bits),
    ],
  ),
  ...[0, 3, 255, 4294967295].map(
    (id): HeldRow => [
      `refuses target ${id}`,
      'PGAIO_BAD_TARGET',
      `unknown target: ${id}`,
      ({ pg }, ioh) => pg.pgaio_io_set_target(ioh, id),
    ],
  ),
  ['refuses to start without a target', 'PGAIO_NO_TARGET', 'IO 0 has no target', readv(0, 1, 0)],
  [
    'refuses to start on no descriptor',
    'PGAIO_BAD_FD',
    'not a file descriptor: -1',
    readv(-1, 1, 0),
    withTarget,
  ],
  ...[-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53].map(
    (offset): HeldRow => [
      `refuses offset ${offset}`,
      'PGAIO_BAD_OFFSET',
      `offset is not a whole number in 0 .. 9007199254740991: ${offset}`,
      readv(0, 1, offset),
      withTarget,
    ],
  ),
  ...[0, 17, 4294967295].map(
    (count): HeldRow => [
      `refuses ${count} iovecs`,
      'PGAIO_BAD_IOVCNT',
      `iovec count ${count} is outside 1 .. 16`,
      readv(0, count, 0),
      withTarget,
    ],
  ),
  [
    'refuses an iovec over the engine',
    'PGAIO_BAD_IOVEC',
    "iovec 0 lies outside the caller's memory: 640",
    readv(0, 1, 0),
    iovec([640, 8192]),
  ],
  [
    'refuses the second iovec if it wraps around',
    'PGAIO_BAD_IOVEC',
    "iovec 1 lies outside the caller's memory: 4294967288",
    (bench, ioh) => readv(0, 2, 0)(bench, ioh),
    (bench, ioh) => iovec([bench.ctl('frames'), 8192], [0xfffffff8, 16])(bench, ioh),
  ],
  [
    'refuses to write from the engine',
    'PGAIO_BAD_IOVEC',
    "iovec 0 lies outside the caller's memory: 128",
    ({ pg }, ioh) => pg.pgaio_io_start_writev(ioh, 1, 1, 0),
    iovec([128, 512]),
  ],
  ...[-1, 0.5, Number.NaN, 2147479553].map(
    (bytes): HeldRow => [
      `refuses to flush ${bytes} bytes`,
      'PGAIO_BAD_LENGTH',
      `IO of ${bytes} bytes is longer than 2147479552`,
      ({ pg }, ioh) => pg.pgaio_io_start_flush_range(ioh, 0, 0, bytes),
      withTarget,
    ],
  ),
  ...(['fsync', 'fdatasync'] as const).map(
    (op): HeldRow => [
      `refuses to start an ${op} without a target`,
      'PGAIO_NO_TARGET',
      'IO 0 has no target',
      ({ pg }, ioh) => pg[`pgaio_io_start_${op}`](ioh, 0),
    ],
  ),
  [
    'refuses to flush from an offset that is none',
    'PGAIO_BAD_OFFSET',
    'offset is not a whole number in 0 .. 9007199254740991: -1',
    ({ pg }, ioh) => pg.pgaio_io_start_flush_range(ioh, 0, -1, 0),
    withTarget,
  ],
  ...[9, 17, 4294967295].map(
    (file): HeldRow => [
      `refuses file ${file}, which is not open`,
      'PGAIO_BAD_FILE',
      `not the number of an open file: ${file}`,
      ({ pg }, ioh) => pg.pgaio_io_set_file(ioh, file),
    ],
  ),
  [
    'refuses to wait for what is only handed out',
    'PGAIO_WAIT_OWN',
    'waiting for own IO 0 in wrong state: HANDED_OUT',
    (bench) => bench.pg.pgaio_wref_wait(bench.ctl('local') + 1024),
    (bench) => refTo(bench, 0, bench.ctl('local') + 1024),
  ],
  [
    'refuses the completion of what is only handed out',
    'PGAIO_COMPLETION_STATE',
    'completion of IO 0, which is not submitted: HANDED_OUT',
    ({ pg }, ioh) => pg.pgaio_io_process_completion(ioh, 0),
  ],
];
const HELD_TABLE: readonly Row[] = HELD_ROWS.map(([sentence, code, message, call, prepare]) => ({
  sentence,
  code,
  message,
  names: HELD,
  arrange: (bench) => {
    const ioh = bench.pg.pgaio_io_acquire(0, 0);
    prepare?.(bench, ioh);
    return () => call(bench, ioh);
  },
  repair: releaseHeld,
}));

export const HANDLE_ROWS: readonly Row[] = [...HANDED_OUT, ...DEFINING, ...HELD_TABLE];

/** The main thread of a page, which may not sleep. */
export const SLEEPLESS_ROW: Row = {
  sentence: 'sleeps in no thread that may not block',
  code: 'PGAIO_MAY_NOT_BLOCK',
  message: 'this thread may not block: await instead',
  names: STAGED,
  only: (variant) => IN_FLIGHT_ONLY(variant) ?? SHARED_ONLY(variant),
  arrange: async (bench) => {
    staged(bench);
    const guest = await bench.join();
    guest.pg.pgaio_forbid_blocking();
    const ref = refTo(guest, 0);
    assert.is(guest.pg.pgaio_wref_wait_timed(ref, 0), false, 'a look is no wait');
    return () => guest.pg.pgaio_wref_wait(ref);
  },
  repair: drain,
};
