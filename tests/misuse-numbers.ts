/**
 * Misuse by numbers: what JavaScript offers for a number and a 32-bit integer cannot be. Cut to 32
 * bits it might be a good one, so every place for a number must refuse it as it came.
 */
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import { packResult } from '../bindings/result.ts';
import {
  assertSame,
  type Bench,
  type Case,
  endOf,
  errorOf,
  numberedBlocks,
  type Open,
} from './harness.ts';
import { refTo } from './misuse-row.ts';

/** A place for a number: one that is good there, and the call that takes it. */
type Place = readonly [
  name: string,
  good: (bench: Bench) => number,
  call: (bench: Bench, value: number) => unknown,
];

const TWO_32 = 2 ** 32;
const WRAPPING: readonly (readonly [name: string, bad: (good: number) => number])[] = [
  ['one past 2^32', (good) => good + TWO_32],
  ['with a fraction', (good) => good + 0.5],
  ['as far below zero', (good) => good - TWO_32],
  ['not a number', () => Number.NaN],
];

/** The handle that is handed out while these calls are made. */
const held = (bench: Bench) => bench.handleAt(0);
const local = (bench: Bench) => bench.ctl('local');
const one = () => 1;
/** Where a reference to that handle lies. */
const reference = (bench: Bench) => refTo(bench, 0, local(bench));
/** Where a result lies that can be reported. */
const result = (bench: Bench) => {
  bench.view.setUint32(local(bench), packResult(1, 'ERROR', 5), true);
  return local(bench);
};
const target = (bench: Bench) => local(bench) + layout.PgAioReturn.fields.target_data.offset;

/** pgaio_io_set_target_smgr with `value` in the place of one of its numbers. */
const relation = (name: string, place: number): Place => [
  name,
  one,
  (bench, value) => {
    const at = (index: number) => (index === place ? value : 1);
    const { pg } = bench;
    pg.pgaio_io_set_target_smgr(held(bench), at(0), at(1), at(2), at(3), at(4), at(5), at(6));
  },
];
const looked = (name: string, call: (bench: Bench, ioh: number) => unknown): Place => [
  `a handle to look at, ${name}`,
  held,
  call,
];
const asked = (name: string, call: (bench: Bench, ref: number) => unknown): Place => [
  `a wait reference, ${name}`,
  reference,
  call,
];

const PLACES: readonly Place[] = [
  ['a handle to release', held, ({ pg }, ioh) => pg.pgaio_io_release(ioh)],
  looked('get_id', ({ pg }, ioh) => pg.pgaio_io_get_id(ioh)),
  looked('get_state_name', ({ pg }, ioh) => pg.pgaio_io_get_state_name(ioh)),
  looked('get_op_name', ({ pg }, ioh) => pg.pgaio_io_get_op_name(ioh)),
  looked('get_target_name', ({ pg }, ioh) => pg.pgaio_io_get_target_name(ioh)),
  looked('has_target', ({ pg }, ioh) => pg.pgaio_io_has_target(ioh)),
  looked('get_iovec', (bench, ioh) => bench.pg.pgaio_io_get_iovec(ioh, local(bench))),
  ['a place for iovecs', local, (b, at) => b.pg.pgaio_io_get_iovec(held(b), at)],
  ['a flag', one, (b, flag) => b.pg.pgaio_io_set_flag(held(b), flag)],
  ['a callback', () => 5, (b, id) => b.pg.pgaio_io_register_callbacks(held(b), id, 0)],
  ['cb_data', one, (b, value) => b.pg.pgaio_io_register_callbacks(held(b), 5, value)],
  ['a target', one, (b, id) => b.pg.pgaio_io_set_target(held(b), id)],
  ['a count of page frames', one, (b, count) => b.pg.pgaio_frames_alloc(count)],
  ['the place of a wait reference', local, (b, at) => b.pg.pgaio_io_get_wref(held(b), at)],
  [
    'a count of data',
    one,
    (b, count) => b.pg.pgaio_io_set_handle_data_64(held(b), local(b), count),
  ],
  relation('a tablespace', 0),
  relation('a database', 1),
  relation('a relation', 2),
  relation('a fork', 3),
  relation('a first block', 4),
  relation('a count of blocks', 5),
  relation('flags of a relation', 6),
  ['a file', one, (b, file) => b.pg.pgaio_io_set_target_file(held(b), file, 0, 1)],
  ['a block of a file', one, (b, block) => b.pg.pgaio_io_set_target_file(held(b), 1, block, 0)],
  asked('valid', ({ pg }, ref) => pg.pgaio_wref_valid(ref)),
  asked('is_done', ({ pg }, ref) => pg.pgaio_wref_is_done(ref)),
  asked('check_done', ({ pg }, ref) => pg.pgaio_wref_check_done(ref)),
  asked('clear', ({ pg }, ref) => pg.pgaio_wref_clear(ref)),
  ['a result to report', result, (b, at) => b.pg.pgaio_result_report(at, target(b), 19)],
  [
    'a level',
    () => 19,
    (bench, level) => bench.pg.pgaio_result_report(result(bench), target(bench), level),
  ],
  ['the length of a path', one, (b, bytes) => b.pg.pgaio_file_register(local(b), bytes, 0)],
  ['flags of a file', one, (b, flags) => b.pg.pgaio_file_register(local(b), 1, flags)],
];

export function numberCases(test: Case, open: Open): void {
  for (const [place, good, call] of PLACES) {
    test(`are refused for ${place}`, async () => {
      const bench = await open();
      const taken: string[] = [];
      for (const [kind, bad] of WRAPPING) {
        if (bench.backend('handed_out_io') === layout.NONE) bench.pg.pgaio_io_acquire(0, 0);
        const value = bad(good(bench));
        const before = bench.engine();
        const end = endOf(() => call(bench, value));
        if (end === 'done') taken.push(kind);
        else assertSame(bench.engine(), before);
      }
      assert.equal(taken, [], 'taken for a good number');
    });
  }

  test('are refused for a resource owner', async () => {
    const { pg } = await open();
    const owner = pg.ResourceOwnerCreate(0);
    const taken = WRAPPING.filter(([, bad]) => {
      return endOf(() => pg.ResourceOwnerRelease(bad(owner), true)) === 'done';
    });
    assert.equal(
      taken.map(([kind]) => kind),
      [],
      'taken for a good number',
    );
  });

  test('are refused for an I/O to wait for', async () => {
    const bench = await open();
    const { ref } = bench.read({ fd: bench.file('data', numberedBlocks(1)) });
    const taken = WRAPPING.filter(([, bad]) => {
      return endOf(() => bench.pg.pgaio_wref_wait_timed(bad(ref), 0)) === 'done';
    });
    assert.equal(
      taken.map(([kind]) => kind),
      [],
      'taken for a good number',
    );
  });

  test('are refused for a descriptor that is not a number', async () => {
    const bench = await open();
    const io = bench.define({ fd: bench.file('data', numberedBlocks(1)) });
    const before = bench.engine();
    const error = errorOf(() => bench.pg.pgaio_io_start_readv(io.ioh, Number.NaN, 1, 0));
    assert.is(error.code, 'PGAIO_BAD_NUMBER');
    assertSame(bench.engine(), before);
  });

  for (const data of [256, 4294967295, -1]) {
    test(`are refused for cb_data: ${data}`, async () => {
      const bench = await open();
      const ioh = bench.pg.pgaio_io_acquire(0, 0);
      const before = bench.engine();
      errorOf(() => bench.pg.pgaio_io_register_callbacks(ioh, 5, data));
      assertSame(bench.engine(), before);
    });
  }

  test('are refused for ids of handles', async () => {
    const bench = await open();
    const at = bench.pg.alloc(128);
    for (const id of [12, 4294967295, -1, 2 ** 31]) {
      const error = errorOf(() => bench.pg.pgaio_get_aio(id, at));
      assert.is(error.code, 'PGAIO_BAD_HANDLE');
      assert.is(error.message, `not an IO handle: ${id >>> 0}`);
    }
  });

  test('are refused by alloc and reset', async () => {
    const { pg } = await open();
    for (const bytes of [-1, 0.5, Number.NaN]) {
      assert.throws(
        () => pg.alloc(bytes),
        new RegExp(`^alloc: expected a whole number of bytes, got ${bytes}$`),
      );
    }
    assert.is(
      errorOf(() => pg.alloc(2 ** 32)).message,
      'out of local memory: 64512 of 4294967296 bytes left',
    );
    const mark = pg.alloc(8);
    for (const at of [mark - 1, mark + 9, Number.NaN, 0]) {
      assert.throws(
        () => pg.reset(at),
        new RegExp(`^reset: ${at} is not an address that alloc gave$`),
      );
    }
    pg.reset(mark);
    assert.is(pg.alloc(8), mark);
  });
}
