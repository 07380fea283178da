/**
 * Settings: each one's range, units and default, PostgreSQL's words for what it would refuse, what
 * SHOW prints, and what can be changed when.
 */
import * as assert from 'uvu/assert';
import { AioSettingError } from '../bindings/errors.ts';
import * as layout from '../bindings/layout.ts';
import { SETTING_NAMES, type SettingName } from '../bindings/settings.ts';
import { attach } from '../host/node/raw.ts';
import {
  assertSame,
  bareCore,
  endOf,
  errorOf,
  forEachMethod,
  newMemory,
  ONE_VARIANT,
  ONE_WORKER,
  rejection,
  SMALL,
} from './harness.ts';

interface Range {
  readonly min: number;
  readonly max: number;
  /** As in PostgreSQL's messages. */
  readonly unit?: '8kB' | 'kB' | 'ms';
  /** @default min and max */
  readonly good?: readonly number[];
  readonly fallback: string;
}
const INTEGERS = {
  io_max_concurrency: { min: -1, max: 1024, good: [1, 1024], fallback: '64' },
  io_max_combine_limit: { min: 1, max: 128, unit: '8kB', fallback: '128kB' },
  io_combine_limit: { min: 1, max: 128, unit: '8kB', fallback: '128kB' },
  effective_io_concurrency: { min: 0, max: 1000, fallback: '16' },
  maintenance_io_concurrency: { min: 0, max: 1000, fallback: '16' },
  max_backends: { min: 1, max: 1024, fallback: '16' },
  shared_buffers: { min: 16, max: 1073741823, unit: '8kB', good: [16, 99], fallback: '128MB' },
  io_frames: { min: 0, max: 1073741823, unit: '8kB', good: [1, 99], fallback: '8MB' },
  temp_buffers: { min: 100, max: 1073741823, unit: '8kB', good: [100, 101], fallback: '8MB' },
  block_size: { min: 1024, max: 32768, fallback: '8192' },
  local_memory: { min: 4, max: 65536, unit: 'kB', fallback: '64kB' },
  trace_size: { min: 16, max: 1048576, fallback: '4096' },
  segment_size: { min: 1, max: 1073741823, unit: '8kB', fallback: '1GB' },
  max_files: { min: 1, max: 65536, fallback: '256' },
  io_min_workers: { min: 1, max: 32, fallback: '2' },
  io_max_workers: { min: 1, max: 32, fallback: '8' },
  io_worker_idle_timeout: { min: 0, max: 2147483647, unit: 'ms', fallback: '1min' },
  io_worker_launch_interval: { min: 0, max: 2147483647, unit: 'ms', fallback: '100ms' },
  io_worker_concurrency: { min: 1, max: 16, fallback: '16' },
} as const satisfies Partial<Record<SettingName, Range>>;
type IntegerName = keyof typeof INTEGERS;

/** Small in everything that is not under test. */
const LITTLE = {
  ...SMALL,
  io_method: 'sync',
  max_backends: 1,
  shared_buffers: 16,
  io_frames: 16,
  local_memory: 4,
  trace_size: 16,
} as const;
/** io_min_workers above io_max_workers is warned of. */
const quietly = { onReport: () => undefined };
const attachWith = (settings: object) => attach({ ...LITTLE, ...quietly, ...settings });
const refused = (settings: object) => rejection(attachWith(settings));

async function assertRefused(
  settings: object,
  code: string,
  message: string,
  more: { readonly detail?: string; readonly hint?: string; readonly sqlstate?: string } = {},
): Promise<void> {
  const error = await refused(settings);
  assert.instance(error, AioSettingError);
  assert.is(error.message, message);
  assert.is(error.code, code);
  assert.is(error.detail, more.detail);
  assert.is(error.hint, more.hint);
  assert.is(error.sqlstate, more.sqlstate ?? '22023');
}

const value = (name: string, shown: string) => `invalid value for parameter "${name}": ${shown}`;
const INTEGER_MAX = 2147483647;
const TIMES_HINT = 'Valid units for this parameter are "us", "ms", "s", "min", "h", and "d".';
const UNITS_HINT = 'Valid units for this parameter are "B", "kB", "MB", "GB", and "TB".';

forEachMethod(
  'settings: integers',
  (test) => {
    for (const [name, range] of Object.entries(INTEGERS) as [IntegerName, Range][]) {
      const { min, max, unit, good = [min, max] } = range;
      test(`${name} takes ${good.join(' and ')}`, async () => {
        for (const number of good) {
          const { pg, shown } = await attachWith({ [name]: number }).then((core) => ({
            pg: core,
            shown: core.show(name),
          }));
          const bytes = unit === '8kB' ? number * 8192 : number * 1024;
          const time = unit === 'ms' ? `${number}ms` : undefined;
          const words = unit === undefined ? String(number) : (time ?? sizeWords(bytes));
          assert.is(shown, words);
          assert.is(pg.procno, 0);
        }
      });

      test(`${name} takes nothing outside ${min} .. ${max}`, async () => {
        const u = unit === undefined ? '' : ` ${unit}`;
        for (const number of [min - 1, max + 1, -2147483648, 2147483647]) {
          if (name === 'io_max_concurrency' && number === 0) continue;
          if (number >= min && number <= max) continue;
          const words = `is outside the valid range for parameter "${name}"`;
          const message = `${number}${u} ${words} (${min}${u} .. ${max}${u})`;
          await assertRefused({ [name]: number }, 'PGAIO_SETTING_RANGE', message);
          if (number > INTEGER_MAX) continue; // text has other words for that
          await assertRefused({ [name]: String(number) }, 'PGAIO_SETTING_RANGE', message);
        }
      });

      test(`${name} takes nothing that is no whole number`, async () => {
        for (const bad of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, null, true, [1]]) {
          const message = value(name, String(bad));
          await assertRefused({ [name]: bad }, 'PGAIO_SETTING_VALUE', message);
        }
        for (const bad of ['', 'many', '1 2', '--1', '16,5']) {
          const message = value(name, `"${bad}"`);
          await assertRefused({ [name]: bad }, 'PGAIO_SETTING_VALUE', message);
        }
      });

      test(`${name} takes ${unit === undefined ? 'no unit' : 'PostgreSQL’s units'}`, async () => {
        const words = unit === 'ms' ? TIMES_HINT : UNITS_HINT;
        const hint = unit === undefined ? {} : { hint: words };
        const other = unit === 'ms' ? '16kB' : '16ms';
        for (const bad of ['16 KB', '16mb', other, '16constructor', '16toString']) {
          const message = value(name, `"${bad}"`);
          await assertRefused({ [name]: bad }, 'PGAIO_SETTING_VALUE', message, hint);
        }
        if (unit === undefined) {
          await assertRefused({ [name]: '16kB' }, 'PGAIO_SETTING_VALUE', value(name, '"16kB"'));
        }
      });
    }

    test('is -1 or above 0 for io_max_concurrency', async () => {
      const detail = 'Only -1 or values bigger than 0 are valid.';
      for (const zero of [0, '0']) {
        const message = value('io_max_concurrency', '0');
        const settings = { io_max_concurrency: zero };
        await assertRefused(settings, 'PGAIO_SETTING_VALUE', message, { detail });
      }
      const core = await attachWith({ io_max_concurrency: -1 });
      assert.is(core.show('io_max_concurrency'), '1', 'as derived');
    });

    test('is a power of two for block_size and trace_size', async () => {
      const detail = 'Only powers of two are valid.';
      for (const [name, number] of [
        ['block_size', 1025],
        ['block_size', 12288],
        ['trace_size', 17],
        ['trace_size', 1048575],
      ] as const) {
        const message = value(name, String(number));
        await assertRefused({ [name]: number }, 'PGAIO_SETTING_VALUE', message, { detail });
      }
    });

    test('is a multiple of 4 for local_memory', async () => {
      const detail = 'Only multiples of 4 kB are valid.';
      const message = value('local_memory', '6');
      await assertRefused({ local_memory: 6 }, 'PGAIO_SETTING_VALUE', message, { detail });
    });

    test('has PostgreSQL’s words for io_combine_limit and io_max_concurrency', async () => {
      await assertRefused(
        { io_combine_limit: 129 },
        'PGAIO_SETTING_RANGE',
        '129 8kB is outside the valid range for parameter "io_combine_limit" (1 8kB .. 128 8kB)',
      );
      await assertRefused(
        { io_max_concurrency: 1025 },
        'PGAIO_SETTING_RANGE',
        '1025 is outside the valid range for parameter "io_max_concurrency" (-1 .. 1024)',
      );
    });

    test('names the block size that is set', async () => {
      await assertRefused(
        { io_combine_limit: 129, block_size: 1024 },
        'PGAIO_SETTING_RANGE',
        '129 1kB is outside the valid range for parameter "io_combine_limit" (1 1kB .. 128 1kB)',
      );
    });
  },
  ONE_VARIANT,
);

/** SHOW's largest unit that leaves a whole number. */
function sizeWords(bytes: number): string {
  for (const [unit, size] of [
    ['TB', 2 ** 40],
    ['GB', 2 ** 30],
    ['MB', 2 ** 20],
  ] as const) {
    if (bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return `${bytes / 1024}kB`;
}

forEachMethod(
  'settings: text',
  (test) => {
    const QUANTITIES: readonly (readonly [IntegerName, string, string])[] = [
      ['shared_buffers', '16', '128kB'],
      ['shared_buffers', ' 17 ', '136kB'],
      ['shared_buffers', '256kB', '256kB'],
      ['shared_buffers', '256 kB', '256kB'],
      ['shared_buffers', '1MB', '1MB'],
      ['shared_buffers', '+1.5MB', '1536kB'],
      ['shared_buffers', '1048576B', '1MB'],
      ['shared_buffers', '16.4', '128kB'],
      ['io_combine_limit', '1MB', '1MB'],
      ['local_memory', '1MB', '1MB'],
      ['local_memory', '8', '8kB'],
      ['local_memory', '8192B', '8kB'],
      ['max_backends', ' 2', '2'],
    ];
    for (const [name, text, shown] of QUANTITIES) {
      test(`${name} = '${text}' is shown as ${shown}`, async () => {
        assert.is((await attachWith({ [name]: text })).show(name), shown);
      });
    }

    for (const [text, shown] of [
      ['0x20', '256kB'],
      ['132kB', '128kB'],
      ['0.0005GB', '1MB'],
      ['020', '128kB'],
      ['2e1', '160kB'],
      ['20.', '160kB'],
      ['.5MB', '512kB'],
    ] as const) {
      test(`is read as PostgreSQL reads it: ${text}`, async () => {
        assert.is((await attachWith({ shared_buffers: text })).show('shared_buffers'), shown);
      });
    }

    test('past the range of an integer is what PostgreSQL says it is', async () => {
      const hint = 'Value exceeds integer range.';
      for (const text of ['2147483648', '99999999999']) {
        const message = value('max_backends', `"${text}"`);
        await assertRefused({ max_backends: text }, 'PGAIO_SETTING_VALUE', message, { hint });
      }
    });

    const BOOLEANS: readonly (readonly [unknown, string])[] = [
      [true, 'on'],
      [false, 'off'],
      ['on', 'on'],
      ['OFF', 'off'],
      ['True', 'on'],
      ['false', 'off'],
      ['yes', 'on'],
      ['no', 'off'],
      ['1', 'on'],
      ['0', 'off'],
    ];
    for (const [given, shown] of BOOLEANS) {
      test(`data_checksums and trace = ${JSON.stringify(given)} are ${shown}`, async () => {
        const core = await attachWith({ data_checksums: given, trace: given });
        assert.is(core.show('data_checksums'), shown);
        assert.is(core.show('trace'), shown);
      });
    }
    for (const [given, shown] of [
      ['t', 'on'],
      ['fal', 'off'],
      ['y', 'on'],
      ['of', 'off'],
    ] as const) {
      test(`a Boolean can be cut short as PostgreSQL lets one: ${given}`, async () => {
        assert.is((await attachWith({ data_checksums: given })).show('data_checksums'), shown);
      });
    }
    for (const bad of ['maybe', '', 'o', 2, null, 'constructor', 'valueof']) {
      test(`data_checksums = ${JSON.stringify(bad)} is no Boolean`, async () => {
        const message = 'parameter "data_checksums" requires a Boolean value';
        await assertRefused({ data_checksums: bad }, 'PGAIO_SETTING_VALUE', message);
      });
    }

    test('io_method is taken in any case, and shown as it is called', async () => {
      for (const [given, shown] of [
        ['sync', 'sync'],
        ['SYNC', 'sync'],
        ['Host', 'host'],
      ]) {
        const core = await attachWith({ io_method: given, device: { submit: () => undefined } });
        assert.is(core.show('io_method'), shown);
      }
    });
    test('io_method is the same in any case', async () => {
      for (const given of ['host', 'HOST', 'Host']) {
        assert.is((await refused({ io_method: given })).code, 'PGAIO_NO_DEVICE', given);
      }
      for (const given of ['worker', 'WORKER', 'Worker']) {
        const error = await refused({ io_method: given, shared: false });
        assert.is(error.code, 'PGAIO_NOT_SHARED', given);
      }
    });
    for (const bad of ['invalid', '', 'worker ', 0, 3, null, 'constructor', '__proto__']) {
      test(`io_method = ${JSON.stringify(bad)} is none`, async () => {
        const error = await refused({ io_method: bad });
        assert.instance(error, AioSettingError);
        assert.is(error.message, `invalid value for parameter "io_method": "${bad}"`);
        assert.is(error.code, 'PGAIO_SETTING_VALUE');
        assert.match(error.hint ?? '', /^Available values: sync(?:, \w+)*\.$/);
        assert.is(error.sqlstate, '22023');
      });
    }
  },
  ONE_VARIANT,
);

forEachMethod(
  'settings: names',
  (test, open, variant) => {
    test('that are not given have their defaults', async () => {
      const core = await attach({ shared: variant.shared });
      const shown = Object.fromEntries(SETTING_NAMES.map((name) => [name, core.show(name)]));
      core.pgaio_shutdown();
      const integers = Object.entries(INTEGERS).map(([name, { fallback }]) => [name, fallback]);
      assert.equal(shown, {
        ...Object.fromEntries(integers),
        io_method: variant.shared ? 'worker' : 'sync',
        ring: 'checked',
        fixed_buffers: 'frames',
        trace: 'off',
        data_checksums: 'on',
        zero_damaged_pages: 'off',
        ignore_checksum_failure: 'off',
      });
    });

    test('that nobody knows are refused wherever they come', async () => {
      const bench = await open();
      const hint = `Available parameters: ${SETTING_NAMES.join(', ')}.`;
      for (const name of ['io_wokers', 'IO_METHOD', '', 'constructor', '__proto__', 'toString']) {
        const errors = [
          errorOf(() => bench.pg.show(name)),
          errorOf(() => bench.pg.set(name, 1)),
          await rejection(attach(Object.fromEntries([[name, 1]]) as object)),
        ];
        for (const error of errors) {
          assert.instance(error, AioSettingError);
          assert.is(error.code, 'PGAIO_SETTING_UNKNOWN');
          assert.is(error.message, `unrecognized configuration parameter "${name}"`);
          assert.is(error.sqlstate, '42704');
          assert.is(error.hint, hint);
        }
      }
      bench.assertUsable();
    });

    const EARLY: readonly (readonly [SettingName, unknown])[] = [
      ['io_method', 'sync'],
      ['ring', 'checked'],
      ['fixed_buffers', 'frames'],
      ['io_max_concurrency', 4],
      ['io_max_combine_limit', 16],
      ['max_backends', 3],
      ['shared_buffers', 64],
      ['io_frames', 64],
      ['block_size', 8192],
      ['local_memory', 64],
      ['trace_size', 256],
      ['data_checksums', true],
      ['segment_size', 131072],
      ['max_files', 16],
    ];
    const LATE = [
      'effective_io_concurrency',
      'ignore_checksum_failure',
      'io_combine_limit',
      'io_max_workers',
      'io_min_workers',
      'io_worker_concurrency',
      'io_worker_idle_timeout',
      'io_worker_launch_interval',
      'maintenance_io_concurrency',
      'temp_buffers',
      'trace',
      'zero_damaged_pages',
    ] as const;
    test('that shape the memory are fixed from then on, even to what they are', async () => {
      const bench = await open();
      const before = bench.engine();
      for (const [name, same] of EARLY) {
        const error = errorOf(() => bench.pg.set(name, same));
        assert.instance(error, AioSettingError);
        assert.is(error.code, 'PGAIO_SETTING_LATE', name);
        const words = 'cannot be changed without restarting the server';
        assert.is(error.message, `parameter "${name}" ${words}`);
        assert.is(error.sqlstate, '55P02');
      }
      assertSame(bench.engine(), before);
      assert.equal([...EARLY.map(([name]) => name), ...LATE].sort(), [...SETTING_NAMES].sort());
    });

    test('that can be changed are, and a bad value changes nothing', async () => {
      const bench = await open();
      const guest = await bench.join();
      const { pg } = bench;
      pg.set('io_combine_limit', 128);
      assert.is(
        pg.show('io_combine_limit'),
        '1MB',
        'what was set is shown, io_max_combine_limit or not',
      );
      assert.is(guest.pg.show('io_combine_limit'), '128kB', 'the other has its own');
      pg.set('io_combine_limit', '64kB');
      assert.is(pg.show('io_combine_limit'), '64kB');
      assert.is(
        endOf(() => pg.set('io_combine_limit', 0)),
        'PGAIO_SETTING_RANGE',
      );
      assert.is(
        endOf(() => pg.set('io_combine_limit', 'all')),
        'PGAIO_SETTING_VALUE',
      );
      assert.is(pg.show('io_combine_limit'), '64kB');
      for (const [on, shown] of [
        [false, 'off'],
        ['on', 'on'],
      ] as const) {
        pg.set('trace', on);
        assert.is(pg.show('trace'), shown);
        assert.is(guest.pg.show('trace'), shown, 'the trace is everybody’s');
      }
      for (const [name, value, shown] of [
        ['io_max_workers', 3, '3'],
        ['io_min_workers', 2, '2'],
        ['io_worker_idle_timeout', '90s', '90s'],
        ['io_worker_launch_interval', 0, '0ms'],
        ['io_worker_concurrency', 1, '1'],
        ['io_workers', 1, '1'],
      ] as const) {
        pg.set(name, value);
        assert.is(pg.show(name), shown);
        assert.is(guest.pg.show(name), shown, 'so are the workers');
      }
      assert.is(pg.show('io_min_workers'), '1');
      assert.is(pg.show('io_max_workers'), '1');
      assert.is(
        endOf(() => pg.set('trace', 'perhaps')),
        'PGAIO_SETTING_VALUE',
      );
      assert.is(pg.show('trace'), 'on');
    });
  },
  ONE_WORKER,
);

forEachMethod(
  'settings: the core',
  (test) => {
    const BORDERS: readonly (readonly [guc: number, good: number[], bad: number[]])[] = [
      [layout.GUC_IO_METHOD, [0, 3], [-1, 4]],
      [layout.GUC_IO_MAX_CONCURRENCY, [-1, 1, 1024], [-2, 0, 1025]],
      [layout.GUC_IO_MAX_COMBINE_LIMIT, [1, 128], [0, 129]],
      [layout.GUC_IO_COMBINE_LIMIT, [1, 128], [0, 129]],
      [layout.GUC_MAX_BACKENDS, [1, 1024], [0, 1025]],
      [layout.GUC_SHARED_BUFFERS, [16, 1073741823], [15, 1073741824]],
      [layout.GUC_BLOCK_SIZE, [1024, 8192, 32768], [512, 1023, 8193, 65536, -1024]],
      [layout.GUC_LOCAL_MEMORY, [4096, 67108864], [0, 4095, 4097, 67112960, -4096]],
      [layout.GUC_TRACE_SIZE, [16, 1048576], [8, 17, 2097152, -2147483648]],
      [layout.GUC_DATA_CHECKSUMS, [0, 1], [-1, 2]],
      [layout.GUC_SEGMENT_SIZE, [1, 2147483647], [0, -1]],
      [layout.GUC_MAX_FILES, [1, 65536], [0, 65537]],
    ];
    for (const [guc, good, bad] of BORDERS) {
      test(`takes what is in range of ${guc} and keeps it when it refuses`, async () => {
        const core = await bareCore(newMemory(1));
        for (const number of good) {
          assert.is(core.pgaio_set_guc(guc, number), 0);
          assert.is(core.pgaio_get_guc(guc), number);
        }
        for (const number of [...bad, 2147483647, -2147483648]) {
          if (good.includes(number)) continue;
          assert.is(core.pgaio_set_guc(guc, number), layout.E_BAD_SETTING, String(number));
          assert.is(core.pgaio_error_detail(2), guc);
          assert.is(core.pgaio_error_detail(3), number);
          assert.is(core.pgaio_get_guc(guc), good.at(-1));
        }
      });
    }
    test('knows no other number, no trace and no workers before there is a memory', async () => {
      const core = await bareCore(newMemory(1));
      for (const guc of [layout.GUC_COUNT, 4294967295]) {
        assert.is(core.pgaio_set_guc(guc, 1), layout.E_BAD_SETTING);
        assert.is(core.pgaio_get_guc(guc), layout.E_BAD_SETTING);
      }
      for (const guc of [
        layout.GUC_TRACE,
        layout.GUC_IO_MIN_WORKERS,
        layout.GUC_IO_MAX_WORKERS,
        layout.GUC_IO_WORKER_IDLE_TIMEOUT,
        layout.GUC_IO_WORKER_LAUNCH_INTERVAL,
      ]) {
        assert.is(core.pgaio_set_guc(guc, 1), layout.E_SETTING_LATE);
        assert.is(core.pgaio_get_guc(guc), 0);
      }
      assert.is(core.pgaio_init_backend(0), layout.E_NO_BACKEND, 'nor a backend');
    });
  },
  ONE_VARIANT,
);
