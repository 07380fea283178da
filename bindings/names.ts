/**
 * The names of the core's numbers, as pg_aios and the debug line show them: PostgreSQL's, without
 * prefix. One table each; everything that prints a name looks here.
 */

export const STATE_NAMES = [
  'IDLE',
  'HANDED_OUT',
  'DEFINED',
  'STAGED',
  'SUBMITTED',
  'COMPLETED_IO',
  'COMPLETED_SHARED',
  'COMPLETED_LOCAL',
] as const;
export type StateName = (typeof STATE_NAMES)[number];

export const OP_NAMES = [
  'invalid',
  'readv',
  'writev',
  'fsync',
  'fdatasync',
  'flush_range',
] as const;
export type OpName = (typeof OP_NAMES)[number];

export const TARGET_NAMES = ['invalid', 'smgr', 'file'] as const;
export type TargetName = (typeof TARGET_NAMES)[number];

export const STATUS_NAMES = ['UNKNOWN', 'OK', 'PARTIAL', 'WARNING', 'ERROR'] as const;
export type StatusName = (typeof STATUS_NAMES)[number];

/** Callback ids below 32 by name; PostgreSQL's C symbols where it has them. */
export const CALLBACK_NAMES = [
  'aio_invalid_cb',
  'aio_md_readv_cb',
  'aio_shared_buffer_readv_cb',
  'aio_local_buffer_readv_cb',
  'aio_md_writev_cb',
  'aio_file_cb',
  'aio_page_readv_cb',
] as const;

/** Name of a number out of one of the tables; the number itself when the table does not know it. */
export function nameOf(names: readonly string[], number: number): string {
  return names[number] ?? String(number);
}

/** Name of a callback: the table's, or `aio_host_cb_32` and so on. */
export function callbackName(id: number): string {
  return CALLBACK_NAMES[id] ?? `aio_host_cb_${id}`;
}

/** As `nameOf`, for tables whose members are a type. */
export function memberOf<Name extends string>(names: readonly Name[], number: number): Name {
  const name = names[number];
  if (name === undefined) throw new RangeError(`${number} is not one of ${names.join(', ')}`);
  return name;
}
