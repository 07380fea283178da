/**
 * Settings under PostgreSQL's names: values with units, ranges, defaults, and PostgreSQL's messages
 * for those it would refuse (guc.c: parse_int, parse_and_validate_value; pg-style `SHOW`).
 */
import { AioSettingError } from './errors.ts';
import * as layout from './layout.ts';

interface IntegerSetting {
  readonly guc: number;
  readonly kind: 'integer';
  readonly fallback: number;
  readonly min: number;
  readonly max: number;
  /** What one is worth in bytes: 'block' stands for block_size. */
  readonly unit?: 'block' | 'kB' | 'ms';
  readonly late?: boolean;
}
interface BooleanSetting {
  readonly guc: number;
  readonly kind: 'boolean';
  readonly fallback: boolean;
  readonly late?: boolean;
}
interface EnumSetting {
  readonly guc: number;
  readonly kind: 'enum';
  readonly fallback: string;
  readonly values: Readonly<Record<string, number>>;
  readonly late?: boolean;
}
type Setting = IntegerSetting | BooleanSetting | EnumSetting;

/** `late`: may be changed at any time; the others shape the memory and are fixed at start. */
const TABLE = {
  io_method: {
    guc: layout.GUC_IO_METHOD,
    kind: 'enum',
    fallback: 'sync',
    values: {
      sync: layout.IOMETHOD_SYNC,
      worker: layout.IOMETHOD_WORKER,
      io_uring: layout.IOMETHOD_IO_URING,
      host: layout.IOMETHOD_HOST,
    },
  },
  ring: {
    guc: layout.GUC_RING,
    kind: 'enum',
    fallback: 'checked',
    values: { checked: layout.RING_CHECKED, shared: layout.RING_SHARED },
  },
  fixed_buffers: {
    guc: layout.GUC_FIXED_BUFFERS,
    kind: 'enum',
    fallback: 'frames',
    values: {
      off: layout.FIXED_NOTHING,
      frames: layout.FIXED_FRAMES,
      all: layout.FIXED_ALL,
    },
  },
  io_max_concurrency: {
    guc: layout.GUC_IO_MAX_CONCURRENCY,
    kind: 'integer',
    fallback: -1,
    min: -1,
    max: 1024,
  },
  io_max_combine_limit: {
    guc: layout.GUC_IO_MAX_COMBINE_LIMIT,
    kind: 'integer',
    fallback: 16,
    min: 1,
    max: 128,
    unit: 'block',
  },
  io_combine_limit: {
    guc: layout.GUC_IO_COMBINE_LIMIT,
    kind: 'integer',
    fallback: 16,
    min: 1,
    max: 128,
    unit: 'block',
    late: true,
  },
  effective_io_concurrency: {
    guc: layout.GUC_EFFECTIVE_IO_CONCURRENCY,
    kind: 'integer',
    fallback: 16,
    min: 0,
    max: 1000,
    late: true,
  },
  maintenance_io_concurrency: {
    guc: layout.GUC_MAINTENANCE_IO_CONCURRENCY,
    kind: 'integer',
    fallback: 16,
    min: 0,
    max: 1000,
    late: true,
  },
  max_backends: {
    guc: layout.GUC_MAX_BACKENDS,
    kind: 'integer',
    fallback: 16,
    min: 1,
    max: 1024,
  },
  shared_buffers: {
    guc: layout.GUC_SHARED_BUFFERS,
    kind: 'integer',
    fallback: 16384,
    min: 16,
    max: 1073741823,
    unit: 'block',
  },
  io_frames: {
    guc: layout.GUC_IO_FRAMES,
    kind: 'integer',
    fallback: 1024,
    min: 0,
    max: 1073741823,
    unit: 'block',
  },
  temp_buffers: {
    guc: layout.GUC_TEMP_BUFFERS,
    kind: 'integer',
    fallback: 1024,
    min: 100,
    max: 1073741823,
    unit: 'block',
    late: true,
  },
  zero_damaged_pages: {
    guc: layout.GUC_ZERO_DAMAGED_PAGES,
    kind: 'boolean',
    fallback: false,
    late: true,
  },
  ignore_checksum_failure: {
    guc: layout.GUC_IGNORE_CHECKSUM_FAILURE,
    kind: 'boolean',
    fallback: false,
    late: true,
  },
  block_size: {
    guc: layout.GUC_BLOCK_SIZE,
    kind: 'integer',
    fallback: 8192,
    min: 1024,
    max: 32768,
  },
  local_memory: {
    guc: layout.GUC_LOCAL_MEMORY,
    kind: 'integer',
    fallback: 64,
    min: 4,
    max: 65536,
    unit: 'kB',
  },
  trace_size: {
    guc: layout.GUC_TRACE_SIZE,
    kind: 'integer',
    fallback: 4096,
    min: 16,
    max: 1048576,
  },
  trace: { guc: layout.GUC_TRACE, kind: 'boolean', fallback: false, late: true },
  data_checksums: { guc: layout.GUC_DATA_CHECKSUMS, kind: 'boolean', fallback: true },
  segment_size: {
    guc: layout.GUC_SEGMENT_SIZE,
    kind: 'integer',
    fallback: 131072,
    min: 1,
    max: 1073741823,
    unit: 'block',
  },
  max_files: { guc: layout.GUC_MAX_FILES, kind: 'integer', fallback: 256, min: 1, max: 65536 },
  io_min_workers: {
    guc: layout.GUC_IO_MIN_WORKERS,
    kind: 'integer',
    fallback: 2,
    min: 1,
    max: 32,
    late: true,
  },
  io_max_workers: {
    guc: layout.GUC_IO_MAX_WORKERS,
    kind: 'integer',
    fallback: 8,
    min: 1,
    max: 32,
    late: true,
  },
  io_worker_idle_timeout: {
    guc: layout.GUC_IO_WORKER_IDLE_TIMEOUT,
    kind: 'integer',
    fallback: 60000,
    min: 0,
    max: 2147483647,
    unit: 'ms',
    late: true,
  },
  io_worker_launch_interval: {
    guc: layout.GUC_IO_WORKER_LAUNCH_INTERVAL,
    kind: 'integer',
    fallback: 100,
    min: 0,
    max: 2147483647,
    unit: 'ms',
    late: true,
  },
  io_worker_concurrency: {
    guc: layout.GUC_IO_WORKER_CONCURRENCY,
    kind: 'integer',
    fallback: 16,
    min: 1,
    max: 16,
    late: true,
  },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof TABLE;
export const SETTING_NAMES = Object.keys(TABLE) as readonly SettingName[];

/**
 * Settings by PostgreSQL's names. Numbers are in the setting's own unit (blocks, kB); text may
 * carry one (`'128MB'`). What is left out has PostgreSQL's default, where there is one.
 */
export interface Settings {
  /**
   * Who executes I/O: `sync` the issuer, `worker` I/O worker threads, `io_uring` the Linux kernel,
   * `host` your own device, `auto` io_uring where it can be used, else `worker`.
   */
  readonly io_method?: 'sync' | 'worker' | 'io_uring' | 'host' | 'auto';
  /**
   * Where io_uring's rings lie: `checked` out of reach, each entry looked at before the kernel sees
   * it; `shared` in the linear memory, where the kernel reads and writes it, and a stray write may
   * make it touch any address of the process. @default 'checked'
   */
  readonly ring?: 'checked' | 'shared';
  /**
   * What is registered with each io_uring, whose reads and writes then cost up to a microsecond of
   * CPU less: the page frames, or all pages. It counts as locked memory, of which a process takes a
   * quarter of what it may (`ulimit -l`): of more than that only the beginning is registered, and
   * where nothing is left a backend shows 'off'. @default 'frames'
   */
  readonly fixed_buffers?: 'off' | 'frames' | 'all';
  /** Handles per backend, 1 .. 1024; -1 derives it from shared_buffers. @default -1 */
  readonly io_max_concurrency?: number | string;
  /** Most blocks per I/O there can be, 1 .. 128: sizes each handle's slices. @default 16 */
  readonly io_max_combine_limit?: number | string;
  /** Blocks per I/O wanted, 1 .. 128; the one above caps it silently. @default 16 */
  readonly io_combine_limit?: number | string;
  /** I/Os at once of a read stream, 0 .. 1000; 0 reads synchronously. @default 16 */
  readonly effective_io_concurrency?: number | string;
  /** The same for streams with READ_STREAM_MAINTENANCE. @default 16 */
  readonly maintenance_io_concurrency?: number | string;
  /** Instances that may issue I/O over one memory, 1 .. 1024. @default 16 */
  readonly max_backends?: number | string;
  /** Pages of the buffer pool, 16 .. 1073741823, within 4 GiB in all. @default 16384 */
  readonly shared_buffers?: number | string;
  /** Page frames for I/O beside the pool, and for temporary relations. @default 1024 */
  readonly io_frames?: number | string;
  /** Local buffers, taken from the page frames on first use, 100 .. 1073741823. @default 1024 */
  readonly temp_buffers?: number | string;
  /** Whether invalid pages become zeros as buffers are read, with a warning. @default false */
  readonly zero_damaged_pages?: boolean | string;
  /** Whether a failed checksum is only warned of as buffers are read. @default false */
  readonly ignore_checksum_failure?: boolean | string;
  /** Bytes of a page: a power of two from 1024 to 32768. @default 8192 */
  readonly block_size?: number | string;
  /** kB of each backend's own area, 4 .. 65536, a multiple of 4. @default 64 */
  readonly local_memory?: number | string;
  /** Entries of the trace ring: a power of two from 16 to 1048576. @default 4096 */
  readonly trace_size?: number | string;
  /** Whether transitions are recorded in the trace ring. @default false */
  readonly trace?: boolean | string;
  /** Whether pages carry checksums. @default true */
  readonly data_checksums?: boolean | string;
  /** Blocks of a relation's file, for I/O workers that find it by its relation. @default 131072 */
  readonly segment_size?: number | string;
  /** Files that other threads can open again, 1 .. 65536. @default 256 */
  readonly max_files?: number | string;
  /** I/O workers there always are, 1 .. 32. @default 2 */
  readonly io_min_workers?: number | string;
  /** I/O workers there may be, 1 .. 32. @default 8 */
  readonly io_max_workers?: number | string;
  /** Sets both of the above: a pool of fixed size. */
  readonly io_workers?: number | string;
  /** ms until an idle I/O worker above the minimum leaves. @default 60000 */
  readonly io_worker_idle_timeout?: number | string;
  /** ms between launches of I/O workers above the minimum. @default 100 */
  readonly io_worker_launch_interval?: number | string;
  /**
   * Reads and writes of `direct` files that one I/O worker has under way at once, where Linux lets
   * it; 1: one after the other, as PostgreSQL's workers. 1 .. 16. @default 16
   */
  readonly io_worker_concurrency?: number | string;
}

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1024,
  MB: 1024 ** 2,
  GB: 1024 ** 3,
  TB: 1024 ** 4,
};
const POWERS_OF_TWO: ReadonlySet<string> = new Set(['block_size', 'trace_size']);

const TIMES: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** PostgreSQL 18's name for a pool of fixed size: the two it became. */
export function withoutAliases(settings: Settings): Settings {
  const { io_workers, ...rest } = settings;
  if (io_workers === undefined) return rest;
  try {
    parseSetting('io_min_workers', io_workers, 8192);
  } catch (error) {
    throw error instanceof AioSettingError ? error.renamed('io_min_workers', 'io_workers') : error;
  }
  return { io_min_workers: io_workers, io_max_workers: io_workers, ...rest };
}

/** Whether `name` is a setting at all. */
export function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(TABLE, name);
}

/** Number of a setting in the core. */
export function gucOf(name: SettingName): number {
  return TABLE[name].guc;
}

/** Whether a setting may be changed after start. */
export function isLate(name: SettingName): boolean {
  const setting: Setting = TABLE[name];
  return setting.late === true;
}

/** PostgreSQL's answer to a name it does not know; `known` are those of the interface called. */
export function unknownSetting(
  name: string,
  known: readonly string[] = SETTING_NAMES,
): AioSettingError {
  return new AioSettingError({
    code: 'PGAIO_SETTING_UNKNOWN',
    message: `unrecognized configuration parameter "${name}"`,
    sqlstate: '42704',
    hint: `Available parameters: ${known.join(', ')}.`,
  });
}

/** PostgreSQL's answer to a change that comes too late. */
export function lateSetting(name: SettingName): AioSettingError {
  return new AioSettingError({
    code: 'PGAIO_SETTING_LATE',
    message: `parameter "${name}" cannot be changed without restarting the server`,
    sqlstate: '55P02',
  });
}

/** PostgreSQL's error for a value it would not take. */
export function refuse(
  name: string,
  value: unknown,
  extra: { detail?: string; hint?: string } = {},
): AioSettingError {
  const shown = typeof value === 'string' ? `"${value}"` : String(value);
  return new AioSettingError({
    code: 'PGAIO_SETTING_VALUE',
    message: `invalid value for parameter "${name}": ${shown}`,
    sqlstate: '22023',
    ...extra,
  });
}

/**
 * The core's number for a value as a caller gives it. AioSettingError with PostgreSQL's words when
 * it is of the wrong kind, has a wrong unit or is out of range.
 */
export function parseSetting(name: SettingName, value: unknown, blockSize: number): number {
  const setting: Setting = TABLE[name];
  switch (setting.kind) {
    case 'enum':
      return parseEnum(name, setting, value);
    case 'boolean':
      return parseBoolean(name, value);
    case 'integer':
      return parseInteger(name, setting, value, blockSize);
    default:
      return setting satisfies never;
  }
}

function parseEnum(name: string, setting: EnumSetting, value: unknown): number {
  const name_ = typeof value === 'string' ? value.toLowerCase() : '';
  if (Object.hasOwn(setting.values, name_)) return setting.values[name_] ?? 0;
  const available = Object.keys(setting.values).join(', ');
  throw refuse(name, String(value), { hint: `Available values: ${available}.` });
}

/** Full words; any beginning that is not also another's will do (parse_bool_with_len). */
const BOOLEAN_WORDS = [
  ['true', 1, 1],
  ['yes', 1, 1],
  ['on', 1, 2],
  ['1', 1, 1],
  ['false', 0, 1],
  ['no', 0, 1],
  ['off', 0, 2],
  ['0', 0, 1],
] as const satisfies readonly (readonly [word: string, value: 0 | 1, shortest: number])[];

function parseBoolean(name: string, value: unknown): number {
  const given = String(value).toLowerCase();
  const known = BOOLEAN_WORDS.find(
    ([word, , shortest]) => given.length >= shortest && word.startsWith(given),
  );
  if (known !== undefined) return known[1];
  throw new AioSettingError({
    code: 'PGAIO_SETTING_VALUE',
    message: `parameter "${name}" requires a Boolean value`,
    sqlstate: '22023',
  });
}

function parseInteger(
  name: string,
  setting: IntegerSetting,
  value: unknown,
  blockSize: number,
): number {
  const number = typeof value === 'string' ? parseQuantity(name, setting, value, blockSize) : value;
  if (typeof number !== 'number' || !Number.isSafeInteger(number)) throw refuse(name, value);
  if (name === 'io_max_concurrency' && number === 0) {
    throw refuse(name, number, { detail: 'Only -1 or values bigger than 0 are valid.' });
  }
  if (number < setting.min || number > setting.max) {
    const unit = setting.unit === undefined ? '' : ` ${unitName(setting, blockSize)}`;
    throw new AioSettingError({
      code: 'PGAIO_SETTING_RANGE',
      message:
        `${number}${unit} is outside the valid range for parameter "${name}" ` +
        `(${setting.min}${unit} .. ${setting.max}${unit})`,
      sqlstate: '22023',
    });
  }
  if (POWERS_OF_TWO.has(name) && (number & (number - 1)) !== 0) {
    throw refuse(name, number, { detail: 'Only powers of two are valid.' });
  }
  if (name === 'local_memory' && number % 4 !== 0) {
    throw refuse(name, number, { detail: 'Only multiples of 4 kB are valid.' });
  }
  return setting.unit === 'kB' ? number * 1024 : number;
}

const BYTE_WORDS = '"B", "kB", "MB", "GB", and "TB"';
const UNIT_WORDS: Readonly<Record<string, string>> = {
  block: BYTE_WORDS,
  kB: BYTE_WORDS,
  ms: '"us", "ms", "s", "min", "h", and "d"',
};
function unitWorth(setting: IntegerSetting, blockSize: number): number {
  if (setting.unit === 'ms') return 1;
  return setting.unit === 'block' ? blockSize : 1024;
}
function unitName(setting: IntegerSetting, blockSize: number): string {
  return setting.unit === 'block' ? `${blockSize / 1024}kB` : (setting.unit ?? '');
}

const INTEGER_MAX = 2147483647;
/** What strtol and strtod take in C: decimal, octal, hexadecimal; with a point or an exponent. */
const NUMBER = /0[xX][\da-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/.source;
const QUANTITY = new RegExp(`^\\s*([+-]?(?:${NUMBER}))\\s*([A-Za-z]*)\\s*$`);

/** Text to the setting's own unit, as parse_int does. */
function parseQuantity(
  name: string,
  setting: IntegerSetting,
  text: string,
  blockSize: number,
): number {
  const [, digits, unit = ''] = QUANTITY.exec(text) ?? [];
  if (digits === undefined) throw refuse(name, text);
  const plain = parseNumber(digits);
  const value = unit === '' ? plain : inUnits(name, setting, text, plain, unit, blockSize);
  const rounded = roundHalfEven(value);
  if (rounded > INTEGER_MAX || rounded < -INTEGER_MAX - 1) {
    throw refuse(name, text, { hint: 'Value exceeds integer range.' });
  }
  return rounded;
}

function parseNumber(digits: string): number {
  const [, sign = '', octal] = /^([+-]?)0([0-7]+)$/.exec(digits) ?? [];
  if (octal !== undefined) return Number.parseInt(`${sign}${octal}`, 8);
  const unsigned = digits.replace(/^[+-]/, '');
  return digits.startsWith('-') ? -Number(unsigned) : Number(unsigned);
}

/** A fraction of a unit is rounded to a whole number of the next smaller one first. */
function inUnits(
  name: string,
  setting: IntegerSetting,
  text: string,
  value: number,
  unit: string,
  blockSize: number,
): number {
  const units = setting.unit === 'ms' ? TIMES : UNITS;
  if (setting.unit === undefined || !Object.hasOwn(units, unit)) {
    const hint = `Valid units for this parameter are ${UNIT_WORDS[setting.unit ?? ''] ?? ''}.`;
    throw refuse(name, text, setting.unit === undefined ? {} : { hint });
  }
  const worth = (units[unit] ?? 1) / unitWorth(setting, blockSize);
  const below = Object.values(units).filter((other) => other < (units[unit] ?? 1));
  const smaller = below.at(-1); // both tables ascend
  if (smaller === undefined) return value * worth;
  const step = smaller / unitWorth(setting, blockSize);
  return roundHalfEven((value * worth) / step) * step;
}

/** C's rint. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** A value of the core's as SHOW prints it: `16` blocks as `128kB`, `1` as `on`. */
export function showSetting(name: SettingName, value: number, blockSize: number): string {
  const setting: Setting = TABLE[name];
  switch (setting.kind) {
    case 'enum':
      return Object.keys(setting.values).find((key) => setting.values[key] === value) ?? '';
    case 'boolean':
      return value === 1 ? 'on' : 'off';
    case 'integer':
      if (setting.unit === undefined || value < 0) return String(value);
      if (setting.unit === 'ms') return showIn(TIMES, value, 'ms');
      return showIn(UNITS, setting.unit === 'block' ? value * blockSize : value, 'B');
    default:
      return setting satisfies never;
  }
}

/** The largest unit that leaves a whole number, as PostgreSQL's convert_int_from_base_unit. */
function showIn(units: Readonly<Record<string, number>>, value: number, base: string): string {
  const names = Object.keys(units).reverse();
  const unit = names.find((name) => (units[name] ?? 0) >= 1 && value % (units[name] ?? 1) === 0);
  return value === 0 || unit === undefined
    ? `${value}${base}`
    : `${value / (units[unit] ?? 1)}${unit}`;
}
