/**
 * The packed result of an I/O, unpacked: 64 bits that hold who can explain it, how it went, 23 bits
 * for the explanation, and a number (aio_types.h: PgAioResult).
 */
import { memberOf, STATUS_NAMES, type StatusName } from './names.ts';

/** An unpacked PgAioResult. */
export interface PgAioResult {
  /** Callback that set it and can put it into words; 0 when none had anything to say. */
  readonly id: number;
  readonly status: StatusName;
  /** What that callback encoded, 23 bits. */
  readonly errorData: number;
  /** Bytes or blocks, as the callbacks made of it; 0 for ERROR. */
  readonly result: number;
}

const ID_MASK = 0x3f;
const STATUS_SHIFT = 6;
const STATUS_MASK = 0x7;
const ERROR_SHIFT = 9;
const ERROR_MAX = 0x7fffff;

/** From the two words in memory. */
export function unpackResult(word: number, result: number): PgAioResult {
  return {
    id: word & ID_MASK,
    status: memberOf(STATUS_NAMES, (word >>> STATUS_SHIFT) & STATUS_MASK),
    errorData: word >>> ERROR_SHIFT,
    result,
  };
}

/** To the first word in memory; the second is `result` as it is. */
export function packResult(id: number, status: StatusName, errorData: number): number {
  if (!(id >= 0 && id <= ID_MASK)) throw new RangeError(`callback id ${id} is outside 0 .. 63`);
  if (!(errorData >= 0 && errorData <= ERROR_MAX)) {
    throw new RangeError(`error data ${errorData} is outside 0 .. ${ERROR_MAX}`);
  }
  const number = STATUS_NAMES.indexOf(status);
  return (id | (number << STATUS_SHIFT) | (errorData << ERROR_SHIFT)) >>> 0;
}

/** Number of a status in the first word, without unpacking the rest. */
export function statusOf(word: number): number {
  return (word >>> STATUS_SHIFT) & STATUS_MASK;
}

/** What went wrong with the pages of a read, out of the 23 bits of a buffer or page callback. */
export interface PageFaults {
  readonly zeroed: boolean;
  readonly ignored: boolean;
  /** Pages in error, else pages zeroed. */
  readonly count: number;
  readonly checkfails: number;
  /** Offset from the first block of the first page in error, else zeroed, else ignored. */
  readonly firstOffset: number;
}

/** Decodes them; a field of 0 where 0 is impossible means 128 (assembly/storage/readv_error.ts). */
export function unpackPageFaults(errorData: number, status: StatusName): PageFaults {
  const zeroed = (errorData & 1) !== 0;
  const ignored = (errorData & 2) !== 0;
  const count = (errorData >>> 2) & 0x7f;
  const checkfails = (errorData >>> 9) & 0x7f;
  return {
    zeroed,
    ignored,
    count: count === 0 && (zeroed || status === 'ERROR') ? 128 : count,
    checkfails: checkfails === 0 && ignored ? 128 : checkfails,
    firstOffset: (errorData >>> 16) & 0x7f,
  };
}
