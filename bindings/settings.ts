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
  readonly unit?: 'block' | 'kB';
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
    values: { sync: layout.IOMETHOD_SYNC, host: layout.IOMETHOD_HOST },
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
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof TABLE;
export const SETTING_NAMES = Object.keys(TABLE) as readonly SettingName[];

/**
 * Settings by PostgreSQL's names. Numbers are in the setting's own unit (blocks, kB); text may
 * carry one (`'128MB'`). What is left out has PostgreSQL's default, where there is one.
 */
export interface Settings {
  /** How I/O is executed: `sync`, or `host` with a device of the embedder's. @default 'sync' */
  readonly io_method?: 'sync' | 'host';
  /** Handles per backend, 1 .. 1024; -1 derives it from shared_buffers. @default -1 */
  readonly io_max_concurrency?: number | string;
  /** Most blocks per I/O there can be, 1 .. 128: sizes each handle's slices. @default 16 */
  readonly io_max_combine_limit?: number | string;
  /** Blocks per I/O wanted, 1 .. 128; the one above caps it silently. @default 16 */
  readonly io_combine_limit?: number | string;
  /** Instances that may issue I/O over one memory, 1 .. 1024. @default 16 */
  readonly max_backends?: number | string;
  /** Page frames in the memory, 16 .. 1073741823, within 4 GiB in all. @default 16384 */
  readonly shared_buffers?: number | string;
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
}

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1024,
  MB: 1024 ** 2,
  GB: 1024 ** 3,
  TB: 1024 ** 4,
};
const POWERS_OF_TWO: ReadonlySet<string> = new Set(['block_size', 'trace_size']);

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

/** PostgreSQL's answer to a name it does not know. */
export function unknownSetting(name: string): AioSettingError {
  return new AioSettingError({
    code: 'PGAIO_SETTING_UNKNOWN',
    message: `unrecognized configuration parameter "${name}"`,
    sqlstate: '42704',
    hint: `Available parameters: ${SETTING_NAMES.join(', ')}.`,
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

function refuse(name: string, value: unknown, extra: { detail?: string; hint?: string } = {}) {
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
  const number = typeof value === 'string' ? setting.values[value.toLowerCase()] : undefined;
  if (number !== undefined) return number;
  const available = Object.keys(setting.values).join(', ');
  throw refuse(name, String(value), { hint: `Available values: ${available}.` });
}

const BOOLEANS: Readonly<Record<string, 0 | 1>> = {
  on: 1,
  true: 1,
  yes: 1,
  '1': 1,
  off: 0,
  false: 0,
  no: 0,
  '0': 0,
};
function parseBoolean(name: string, value: unknown): number {
  const bit = BOOLEANS[String(value).toLowerCase()];
  if (bit !== undefined) return bit;
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

function unitBytes(setting: IntegerSetting, blockSize: number): number {
  return setting.unit === 'block' ? blockSize : 1024;
}
function unitName(setting: IntegerSetting, blockSize: number): string {
  return setting.unit === 'block' ? `${blockSize / 1024}kB` : 'kB';
}

/** Text to the setting's own unit, rounded to the nearest as PostgreSQL does. */
function parseQuantity(
  name: string,
  setting: IntegerSetting,
  text: string,
  blockSize: number,
): number {
  const parts = /^\s*([+-]?\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$/.exec(text);
  if (parts === null) throw refuse(name, text);
  const [, digits, unit = ''] = parts;
  if (unit === '') return Math.round(Number(digits));
  const bytes = UNITS[unit];
  if (setting.unit === undefined || bytes === undefined) {
    const hint = 'Valid units for this parameter are "B", "kB", "MB", "GB", and "TB".';
    throw refuse(name, text, setting.unit === undefined ? {} : { hint });
  }
  return Math.round((Number(digits) * bytes) / unitBytes(setting, blockSize));
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
      return showBytes(setting.unit === 'block' ? value * blockSize : value);
    default:
      return setting satisfies never;
  }
}

/** The largest unit that leaves a whole number, as PostgreSQL's convert_int_from_base_unit. */
function showBytes(bytes: number): string {
  const unit = ['TB', 'GB', 'MB', 'kB'].find((name) => bytes % (UNITS[name] ?? 1) === 0);
  return bytes === 0 || unit === undefined ? `${bytes}B` : `${bytes / (UNITS[unit] ?? 1)}${unit}`;
}
