/**
 * Misuse: every call the engine refuses, with its code and words, and that nothing is lost by it:
 * the engine's memory is as it was, every handle can be used again, and a backend that stands by
 * sees nothing of it.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AioUsageError, USAGE } from '../bindings/errors.ts';
import * as layout from '../bindings/layout.ts';
import type { RawCore } from '../bindings/raw.ts';
import { packResult } from '../bindings/result.ts';
import {
  assertSame,
  type Bench,
  bareCore,
  endOf,
  forEachMethod,
  IN_FLIGHT_ONLY,
  numberedBlocks,
  ONE_VARIANT,
  ONE_WORKER,
  usageOf,
} from './harness.ts';
import { numberCases } from './misuse-numbers.ts';
import { type Row, releaseHeld } from './misuse-row.ts';
import { ROWS } from './misuse-rows.ts';

/** Codes that rows and tests of this file bring about. */
const seen = new Set<string>(ROWS.map(({ code }) => code));
function note<Thrown extends { readonly code: string }>(error: Thrown): Thrown {
  seen.add(error.code);
  return error;
}

/** All that a backend has of its own in the memory. */
function belongings(bench: Bench): Uint8Array[] {
  const handles = bench.ids.map((id) => bench.handleAt(id));
  const bytes = 1 << layout.HANDLE_SHIFT;
  return [
    bench.u8.slice(bench.backendAt, bench.backendAt + (1 << layout.BACKEND_SHIFT)),
    ...handles.map((at) => bench.u8.slice(at, at + bytes)),
  ];
}

/** A read by a bench whose pool should be as good as new. */
function assertReads(bench: Bench, name: string): void {
  bench.pg.reset();
  bench.device.onWait = undefined;
  if (bench.device.mode === 'never') bench.device.mode = 'wait';
  const { result, at } = bench.read({ fd: bench.file(name, numberedBlocks(2)), block: 1 });
  assert.equal(result, { id: 0, status: 'OK', errorData: 0, result: 1 });
  assert.is(bench.u8[at], 2, 'the second block was read');
}

function assertError(error: AioUsageError, row: Row, message: string): void {
  assert.instance(error, AioUsageError);
  assert.is(error.code, row.code);
  assert.is(error.message, message);
  assert.is(error.sqlstate, row.sqlstate ?? 'XX000');
  const [io, state] = row.names ?? [];
  assert.is(error.io, io, 'the handle it names');
  assert.is(error.state, state, 'its state');
  const detail = io === undefined ? undefined : `IO ${io} is in state ${state}.`;
  assert.is(error.detail, row.detail ?? detail);
}

forEachMethod(
  'misuse',
  (test, open, variant) => {
    for (const row of ROWS) {
      if (row.only?.(variant) !== undefined) continue;
      test(row.sentence, async () => {
        const bench = await open(row.settings);
        const bystander = row.code === 'PGAIO_NO_SLOT' ? undefined : await bench.join();
        const other = bystander === undefined ? [] : belongings(bystander);
        const act = await row.arrange(bench);
        const message = typeof row.message === 'string' ? row.message : row.message(bench);
        const before = bench.engine();
        const error = usageOf(act);
        if (row.effects === undefined) assertSame(bench.engine(), before, 'it had no effect');
        assertError(error, row, message);
        row.repair?.(bench);
        bench.assertUsable();
        assertReads(bench, 'after');
        if (bystander === undefined) return;
        assert.equal(belongings(bystander), other, 'the bystander is as it was');
        assert.equal(bystander.reports, [], 'the bystander was told nothing');
        bystander.assertUsable();
        assertReads(bystander, 'bystander');
      });
    }
  },
  ONE_WORKER,
);

/** Calls on a handle, the first argument. */
type HandleCall = readonly [name: string, call: (pg: RawCore, ioh: number) => unknown];
const ANY_HANDLE: readonly HandleCall[] = [
  ['pgaio_io_get_id', (pg, ioh) => pg.pgaio_io_get_id(ioh)],
  ['pgaio_io_get_owner', (pg, ioh) => pg.pgaio_io_get_owner(ioh)],
  ['pgaio_io_get_state', (pg, ioh) => pg.pgaio_io_get_state(ioh)],
  ['pgaio_io_get_op', (pg, ioh) => pg.pgaio_io_get_op(ioh)],
  ['pgaio_io_get_state_name', (pg, ioh) => pg.pgaio_io_get_state_name(ioh)],
  ['pgaio_io_get_op_name', (pg, ioh) => pg.pgaio_io_get_op_name(ioh)],
  ['pgaio_io_get_target', (pg, ioh) => pg.pgaio_io_get_target(ioh)],
  ['pgaio_io_get_target_name', (pg, ioh) => pg.pgaio_io_get_target_name(ioh)],
  ['pgaio_io_get_target_data', (pg, ioh) => pg.pgaio_io_get_target_data(ioh)],
  ['pgaio_io_get_target_description', (pg, ioh) => pg.pgaio_io_get_target_description(ioh)],
  ['pgaio_io_has_target', (pg, ioh) => pg.pgaio_io_has_target(ioh)],
  ['pgaio_io_get_handle_data', (pg, ioh) => pg.pgaio_io_get_handle_data(ioh, 0)],
  ['pgaio_io_get_page_verdicts', (pg, ioh) => pg.pgaio_io_get_page_verdicts(ioh)],
  ['pgaio_io_process_completion', (pg, ioh) => pg.pgaio_io_process_completion(ioh, 0)],
];
/** Those for which the handle must be the caller's own. `at`: any of its memory. */
const OWN_HANDLE: readonly (readonly [
  string,
  (pg: RawCore, ioh: number, at: number) => unknown,
])[] = [
  ['pgaio_io_release', (pg, ioh) => pg.pgaio_io_release(ioh)],
  ['pgaio_io_set_flag', (pg, ioh) => pg.pgaio_io_set_flag(ioh, 1)],
  ['pgaio_io_get_iovec', (pg, ioh, at) => pg.pgaio_io_get_iovec(ioh, at)],
  ['pgaio_io_start_readv', (pg, ioh) => pg.pgaio_io_start_readv(ioh, 0, 1, 0)],
  ['pgaio_io_start_writev', (pg, ioh) => pg.pgaio_io_start_writev(ioh, 0, 1, 0)],
  ['pgaio_io_set_target', (pg, ioh) => pg.pgaio_io_set_target(ioh, 1)],
  ['pgaio_io_set_target_smgr', (pg, ioh) => pg.pgaio_io_set_target_smgr(ioh, 1, 2, 3, 0, 0, 1, 0)],
  ['pgaio_io_set_target_file', (pg, ioh) => pg.pgaio_io_set_target_file(ioh, 1, 0, 1)],
  ['pgaio_io_register_callbacks', (pg, ioh) => pg.pgaio_io_register_callbacks(ioh, 1, 0)],
  ['pgaio_io_set_handle_data_64', (pg, ioh, at) => pg.pgaio_io_set_handle_data_64(ioh, at, 1)],
  ['pgaio_io_set_handle_data_32', (pg, ioh, at) => pg.pgaio_io_set_handle_data_32(ioh, at, 1)],
  ['pgaio_io_get_wref', (pg, ioh, at) => pg.pgaio_io_get_wref(ioh, at)],
  ['pgaio_io_set_file', (pg, ioh) => pg.pgaio_io_set_file(ioh, 0)],
  ['pgaio_io_start_fsync', (pg, ioh) => pg.pgaio_io_start_fsync(ioh, 0)],
  ['pgaio_io_start_fdatasync', (pg, ioh) => pg.pgaio_io_start_fdatasync(ioh, 0)],
  ['pgaio_io_start_flush_range', (pg, ioh) => pg.pgaio_io_start_flush_range(ioh, 0, 0, 0)],
];

forEachMethod(
  'misuse: handles',
  (test, open, variant) => {
    for (const [name, call] of [...ANY_HANDLE, ...OWN_HANDLE]) {
      test(`${name} refuses what is not the address of a handle`, async () => {
        const bench = await open();
        const at = bench.pg.alloc(64);
        const [first, end] = [bench.handleAt(0), bench.ctl('iovecs')];
        const before = bench.engine();
        for (const ioh of [
          0,
          1,
          layout.CTL_AT,
          bench.backendAt,
          first - 128,
          first - 1,
          first + 1,
          first + 64,
          end,
          bench.ctl('local'),
          bench.ctl('size'),
          0x80000000,
          0xffffff80,
          -1,
          -128,
          -first,
        ]) {
          const error = note(usageOf(() => call(bench.pg, ioh, at)));
          assert.is(error.code, 'PGAIO_BAD_HANDLE', String(ioh));
          assert.is(error.message, `not an IO handle: ${ioh >>> 0}`);
          assert.is(error.io, undefined);
        }
        assertSame(bench.engine(), before);
        bench.assertUsable();
      });
    }

    for (const [name, call] of OWN_HANDLE) {
      test(`${name} refuses the handle of another backend`, async () => {
        const bench = await open();
        const guest = await bench.join();
        const at = bench.pg.alloc(64);
        const ioh = guest.pg.pgaio_io_acquire(0, 0);
        const before = bench.engine();
        const held = note(usageOf(() => call(bench.pg, ioh, at)));
        assert.is(held.code, 'PGAIO_FOREIGN_HANDLE');
        assert.is(held.message, 'IO 4 belongs to backend 1');
        assert.is(held.io, 4);
        assert.is(held.state, 'HANDED_OUT');
        const idle = usageOf(() => call(bench.pg, bench.handleAt(11), at));
        assert.is(idle.message, 'IO 11 belongs to backend 2');
        assert.is(idle.state, 'IDLE');
        assertSame(bench.engine(), before);
        guest.pg.pgaio_io_release(ioh);
        guest.assertUsable();
        bench.assertUsable();
      });
    }

    test('names the handle whose target is refused', async () => {
      const bench = await open();
      const { pg } = bench;
      const ioh = pg.pgaio_io_acquire(0, 0);
      const calls = [
        () => pg.pgaio_io_set_target_smgr(ioh, 1, 2, 3, 4, 0, 1, 0),
        () => pg.pgaio_io_set_target_smgr(ioh, 1, 2, 3, 0, 0, 0, 0),
        () => pg.pgaio_io_set_target_file(ioh, 1, 4294967295, 1),
        () => pg.pgaio_io_get_wref(ioh, 128),
        () => pg.pgaio_io_set_handle_data_64(ioh, 128, 1),
      ];
      const names = calls.map((call) => {
        const { code, io, state } = usageOf(call);
        return `${code} ${io} ${state}`;
      });
      assert.equal(names, [
        'PGAIO_BAD_FORK 0 HANDED_OUT',
        'PGAIO_BAD_BLOCKS 0 HANDED_OUT',
        'PGAIO_BAD_BLOCKS 0 HANDED_OUT',
        'PGAIO_BAD_ADDRESS 0 HANDED_OUT',
        'PGAIO_BAD_ADDRESS 0 HANDED_OUT',
      ]);
    });

    test('refuses forks and block ranges there are not', async () => {
      const bench = await open();
      const { pg } = bench;
      const ioh = pg.pgaio_io_acquire(0, 0);
      const before = bench.engine();
      for (const fork of [4, 255, 256, 4294967295]) {
        const error = note(usageOf(() => pg.pgaio_io_set_target_smgr(ioh, 1, 2, 3, fork, 0, 1, 0)));
        assert.is(error.code, 'PGAIO_BAD_FORK');
        assert.is(error.message, `unknown fork: ${fork}`);
      }
      const ranges = [
        [0, 0],
        [4294967295, 1],
        [4294967294, 2],
        [1, 4294967295],
      ] as const;
      for (const [first, count] of ranges) {
        const calls = [() => pg.pgaio_io_set_target_smgr(ioh, 1, 2, 3, 0, first, count, 0)];
        if (count !== 0) calls.push(() => pg.pgaio_io_set_target_file(ioh, 1, first, count));
        for (const call of calls) {
          const error = note(usageOf(call));
          assert.is(error.code, 'PGAIO_BAD_BLOCKS');
          const words = 'block range is empty or passes the last block number';
          assert.is(error.message, `${words}: ${count} from ${first}`);
        }
      }
      assertSame(bench.engine(), before);
      pg.pgaio_io_set_target_smgr(ioh, 1, 2, 3, 3, 4294967294, 1, 3);
      assert.is(
        pg.pgaio_io_get_target_description(ioh),
        'block 4294967294 in file "pg_tblspc/1/PG_18_202506291/2/t0_3_init"',
      );
      releaseHeld(bench);
    });

    test('refuses an I/O longer than 2147479552 bytes', async () => {
      const bench = await open({
        io_max_combine_limit: 128,
        io_max_concurrency: 1,
        io_frames: 2048,
      });
      const ioh = bench.pg.pgaio_io_acquire(0, 0);
      bench.pg.pgaio_io_set_target(ioh, layout.PGAIO_TID_FILE);
      const at = bench.ctl('frames');
      const long = Array.from({ length: 128 }, () => [at, 16777184] as const);
      const most = 128 * 16777184; // 2147479552
      bench.setIovecs(ioh, [[at, 16777185], ...long.slice(1)]);
      const before = bench.engine();
      const error = note(usageOf(() => bench.pg.pgaio_io_start_readv(ioh, 0, 128, 0)));
      assert.is(error.code, 'PGAIO_BAD_LENGTH');
      assert.is(error.message, `IO of ${most + 1} bytes is longer than ${most}`);
      assert.is(error.io, 0);
      assert.is(error.state, 'HANDED_OUT');
      assertSame(bench.engine(), before);
      bench.setIovecs(ioh, long);
      const fd = bench.file('short', new Uint8Array(10));
      bench.pg.pgaio_io_start_readv(ioh, fd, 128, 0);
      assert.is(bench.handle(0, 'length'), most, 'that many it takes');
      bench.endAll();
      bench.assertUsable();
    });

    test('answers every call after it has left', async () => {
      const bench = await open();
      const { pg } = bench;
      const ref = pg.alloc(16);
      const at = pg.alloc(256);
      const ioh = bench.handleAt(0);
      const guest = await bench.join(); // workers leave with the last backend only
      pg.pgaio_shutdown();
      const before = bench.engine();
      const calls: (() => unknown)[] = [
        () => pg.pgaio_io_acquire(0, 0),
        () => pg.pgaio_io_acquire_nb(0, 0),
        () => pg.pgaio_wref_wait(ref),
        () => pg.pgaio_wref_is_done(ref),
        () => pg.pgaio_wref_check_done(ref),
        () => pg.pgaio_wref_get_id(ref),
        () => pg.pgaio_wref_wait_timed(ref, 0),
        () => pg.pgaio_wref_arm(ref),
        () => pg.pgaio_wref_disarm(ref),
        () => pg.pgaio_take_returns(),
        () => pg.pgaio_doorbell(),
        () => pg.pgaio_arm_doorbell(),
        () => pg.pgaio_drain_completed(),
        () => pg.pgaio_drain_some(1),
        () => pg.pgaio_spin_completed(1),
        () => pg.pgaio_thread_ended(1),
        () => pg.pgaio_file_register(at, 1, 0),
        () => pg.pgaio_enter_batchmode(),
        () => pg.pgaio_exit_batchmode(),
        () => pg.pgaio_submit_staged(),
        () => pg.pgaio_have_staged(),
        () => pg.pgaio_error_cleanup(),
        () => pg.AtEOXact_Aio(true),
        () => pg.pgaio_shutdown(),
        () => pg.pgaio_io_process_completion(ioh, 0),
        () => pg.pgaio_register_host_callback(32, { complete_shared: () => undefined }),
        () => pg.ResourceOwnerCreate(0),
        () => pg.ResourceOwnerRelease(0, true),
        () => pg.ResourceOwnerDelete(0),
        () => pg.pgaio_frames_alloc(1),
        () => pg.pgaio_frames_free(bench.ctl('frames'), 1),
        ...OWN_HANDLE.map(
          ([, call]) =>
            () =>
              call(pg, ioh, at),
        ),
      ];
      for (const call of calls) {
        const error = note(usageOf(call));
        assert.is(error.code, 'PGAIO_NO_BACKEND', String(call));
        assert.is(error.message, 'pgaio_init_backend() has not been called');
      }
      assert.is(
        endOf(() => pg.pgaio_closing_fd(3)),
        'done',
        'closing a descriptor needs no backend',
      );
      assertSame(bench.engine(), before);
      const next = await bench.join();
      assert.is(next.pg.procno, 0, 'the slot is free');
      next.assertUsable();
      assertReads(next, 'next');
      guest.assertUsable();
    });

    if (variant.method !== 'worker') return;
    test('has no slot for an I/O worker that is there already', async () => {
      const bench = await open();
      const core = await bareCore(bench.pg.memory);
      assert.is(core.AioShmemInit(), 0);
      const before = bench.engine();
      assert.is(core.pgaio_init_worker(0, 1), layout.E_NO_SLOT);
      assert.is(core.pgaio_error_detail(2), 0);
      assert.is(core.pgaio_worker_main(0), layout.E_BAD_WORKER, 'nor is it that one');
      assertSame(bench.engine(), before);
      bench.assertUsable();
    });
  },
  ONE_WORKER,
);

/** Numbers that are no address of 4-byte words in the caller's memory. */
function badAddresses(bench: Bench, bytes: number): number[] {
  const [local, size] = [bench.ctl('local'), bench.ctl('size')];
  return [
    1,
    2,
    layout.CTL_AT,
    bench.backendAt,
    bench.handleAt(0),
    bench.ctl('iovecs'),
    bench.ctl('handle_data'),
    bench.ctl('resowners'),
    bench.ctl('frame_owners'),
    bench.ctl('trace'),
    bench.ctl('doorbells'),
    bench.ctl('done_returns'),
    bench.ctl('worker_control'),
    bench.ctl('workers'),
    bench.ctl('worker_scratch'),
    bench.ctl('files'),
    local - 4,
    local + 1,
    local + 2,
    local + 3,
    size - bytes + 4,
    size,
    size + 4,
    0x80000000,
    0xfffffffc,
    -4,
    -8,
    -local,
  ];
}

forEachMethod(
  'misuse: addresses',
  (test, open) => {
    const CALLS: readonly (readonly [
      name: string,
      bytes: number,
      call: (bench: Bench, at: number) => unknown,
    ])[] = [
      ['pgaio_io_acquire', 32, ({ pg }, at) => pg.pgaio_io_acquire(0, at)],
      ['pgaio_io_acquire_nb', 32, ({ pg }, at) => pg.pgaio_io_acquire_nb(0, at)],
      ['pgaio_wref_valid', 12, ({ pg }, at) => pg.pgaio_wref_valid(at)],
      ['pgaio_wref_clear', 12, ({ pg }, at) => pg.pgaio_wref_clear(at)],
      ['pgaio_wref_get_id', 12, ({ pg }, at) => pg.pgaio_wref_get_id(at)],
      ['pgaio_wref_wait', 12, ({ pg }, at) => pg.pgaio_wref_wait(at)],
      ['pgaio_wref_is_done', 12, ({ pg }, at) => pg.pgaio_wref_is_done(at)],
      ['pgaio_wref_check_done', 12, ({ pg }, at) => pg.pgaio_wref_check_done(at)],
      ['pgaio_wref_wait_timed', 12, ({ pg }, at) => pg.pgaio_wref_wait_timed(at, 0)],
      ['pgaio_wref_arm', 12, ({ pg }, at) => pg.pgaio_wref_arm(at)],
      ['pgaio_wref_disarm', 12, ({ pg }, at) => pg.pgaio_wref_disarm(at)],
      ['pgaio_get_aio', 128, ({ pg }, at) => pg.pgaio_get_aio(0, at)],
      [
        'pgaio_result_report, result',
        8,
        (bench, at) => bench.pg.pgaio_result_report(at, bench.ctl('local'), 21),
      ],
      [
        'pgaio_result_report, target',
        24,
        (bench, at) => bench.pg.pgaio_result_report(bench.ctl('local'), at, 21),
      ],
    ];
    for (const [name, bytes, call] of CALLS) {
      test(`${name} refuses what is not the caller’s memory`, async () => {
        const bench = await open();
        bench.u32[bench.ctl('local') / 4] = packResult(1, 'ERROR', 5);
        const before = bench.engine();
        const mine = bench.u8.slice(bench.ctl('local'));
        for (const at of badAddresses(bench, bytes)) {
          const error = note(usageOf(() => call(bench, at)));
          assert.is(error.code, 'PGAIO_BAD_ADDRESS', String(at));
          assert.match(error.message, /^address \d+ is misaligned or outside the caller's memory$/);
          if (!name.endsWith('target')) {
            assert.match(error.message, `address ${at >>> 0} is`);
          }
        }
        assertSame(bench.engine(), before);
        assertSame(bench.u8.slice(bench.ctl('local')), mine);
        bench.assertUsable();
      });
    }

    test('names the address that was wrong when a report is refused', async () => {
      const bench = await open();
      const good = bench.pg.alloc(32);
      bench.view.setUint32(good, packResult(1, 'ERROR', 5), true);
      const error = usageOf(() => bench.pg.pgaio_result_report(good, 640, 21));
      assert.is(error.message, "address 640 is misaligned or outside the caller's memory");
    });

    const HELD_CALLS: typeof CALLS = [
      ['pgaio_io_get_wref', 12, (b, at) => b.pg.pgaio_io_get_wref(b.handleAt(0), at)],
      ['pgaio_io_get_iovec', 4, (b, at) => b.pg.pgaio_io_get_iovec(b.handleAt(0), at)],
      ['set_handle_data_32', 8, (b, at) => b.pg.pgaio_io_set_handle_data_32(b.handleAt(0), at, 2)],
      ['set_handle_data_64', 16, (b, at) => b.pg.pgaio_io_set_handle_data_64(b.handleAt(0), at, 2)],
    ];
    for (const [name, bytes, call] of HELD_CALLS) {
      test(`${name} refuses what is not the caller’s memory`, async () => {
        const bench = await open();
        bench.pg.pgaio_io_acquire(0, 0);
        const before = bench.engine();
        const mine = bench.u8.slice(bench.ctl('local'));
        for (const at of [0, ...badAddresses(bench, bytes)]) {
          assert.is(note(usageOf(() => call(bench, at))).code, 'PGAIO_BAD_ADDRESS', String(at));
        }
        assertSame(bench.engine(), before);
        assertSame(bench.u8.slice(bench.ctl('local')), mine);
        releaseHeld(bench);
        bench.assertUsable();
      });
    }

    test('takes iovecs within the caller’s memory only', async () => {
      const bench = await open();
      const { pg } = bench;
      const ioh = pg.pgaio_io_acquire(0, 0);
      pg.pgaio_io_set_target(ioh, layout.PGAIO_TID_FILE);
      const [local, size] = [bench.ctl('local'), bench.ctl('size')];
      const bad = [
        [0, 8],
        [layout.CTL_AT, 1],
        [local - 1, 8],
        [local, size - local + 1],
        [size - 7, 8],
        [size + 1, 0],
        [0xffffffff, 1],
        [0xffffffff, 0xffffffff],
        [local, 0xffffffff],
      ] as const;
      for (const iovec of bad) {
        bench.setIovecs(ioh, [iovec]);
        const before = bench.engine();
        for (const start of [pg.pgaio_io_start_readv, pg.pgaio_io_start_writev]) {
          const error = note(usageOf(() => start(ioh, 0, 1, 0)));
          assert.is(error.code, 'PGAIO_BAD_IOVEC', String(iovec));
          assert.is(error.message, `iovec 0 lies outside the caller's memory: ${iovec[0]}`);
        }
        assertSame(bench.engine(), before);
        pg.reset();
      }
      releaseHeld(bench);
      bench.assertUsable();
    });
  },
  ONE_WORKER,
);

/** What JavaScript offers for a number, and a 32-bit integer cannot be: each must be refused. */
forEachMethod('misuse: numbers', numberCases, ONE_VARIANT);

forEachMethod(
  'misuse: traps',
  (test, open, variant) => {
    test('a status that does not exist is not reported', async () => {
      const bench = await open();
      const at = bench.pg.alloc(32);
      for (const status of [5, 6, 7]) {
        bench.view.setUint32(at, 1 | (status << 6), true);
        const error = usageOf(() => bench.pg.pgaio_result_report(at, at + 8, layout.WARNING));
        assert.is(error.code, 'PGAIO_REPORT_STATUS');
        assert.is(error.message, `there is nothing to report for status ${status}`);
      }
    });

    if (IN_FLIGHT_ONLY(variant) !== undefined) return;
    test('asking for staged I/Os while they are submitted is no trap', async () => {
      const bench = await open();
      const fd = bench.file('data', numberedBlocks(1));
      let answer: unknown;
      bench.device.onSubmit = () => {
        answer = endOf(() => bench.pg.pgaio_have_staged());
      };
      bench.start(bench.define({ fd }));
      assert.ok(answer === 'done' || answer === 'PGAIO_CRITICAL', String(answer));
      bench.device.completeAll();
      bench.assertUsable();
    });
  },
  ONE_WORKER,
);

const every = suite('misuse: the table');
/** What a system refused is an AioIoError: the tests of smgr and of the pool have them. */
const TOLD_OTHERWISE = [
  'PGAIO_SMGR_OPEN',
  'PGAIO_SMGR_OPEN_BLOCK',
  'PGAIO_SMGR_PREVIOUS',
  'PGAIO_SMGR_SIZE',
  'PGAIO_SMGR_CREATE',
  'PGAIO_SMGR_TRUNCATE',
  'PGAIO_SMGR_REMOVE',
  'PGAIO_SMGR_EXTEND',
  'PGAIO_IO_FAILED',
];
/** Cannot come about: both methods take all that is staged, or have an error of their own. */
const UNREACHED = ['PGAIO_SUBMIT_COUNT', ...TOLD_OTHERWISE];
every('has a row for every error of the core', () => {
  const codes = Object.values(USAGE).map(([code]) => code);
  assert.equal(codes.filter((code) => !seen.has(code)).sort(), [...UNREACHED].sort());
});
every.run();
