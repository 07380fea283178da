/** Looking at the engine: the rows of pg_aios, counters, and the trace in PostgreSQL's words. */
import type { CoreInstance } from './core.ts';
import * as layout from './layout.ts';
import { nameOf, OP_NAMES, STATE_NAMES, STATUS_NAMES, TARGET_NAMES } from './names.ts';
import { statusOf, unpackResult } from './result.ts';
import { describeTarget, readTargetData } from './target.ts';

/** A row of pg_aios: one per handle that is not idle. Nulls as PostgreSQL has them. */
export interface PgAiosRow {
  /** Backend number, null when its slot is free. PostgreSQL has process ids here. */
  readonly pid: number | null;
  readonly io_id: number;
  readonly io_generation: bigint;
  readonly state: string;
  readonly operation: string | null;
  /** Bytes into the file. */
  readonly off: number | null;
  /** Bytes asked for. */
  readonly length: number | null;
  readonly target: string | null;
  readonly handle_data_len: number | null;
  /** Null before the I/O has ended. */
  readonly raw_result: number | null;
  readonly result: string | null;
  readonly target_desc: string | null;
  readonly f_sync: boolean | null;
  readonly f_localmem: boolean | null;
  readonly f_buffered: boolean | null;
}

const FIELDS = layout.PgAioHandle.fields;
const OWNER_ALIVE = 2;

/** All handles that are not idle, each as it was at one moment. `at`: 128 bytes to copy one to. */
export function inspectHandles(core: CoreInstance, at: number): PgAiosRow[] {
  const rows: PgAiosRow[] = [];
  for (let id = 0; id < core.ctl('io_handle_count'); id++) {
    const found = core.check(core.exports.pgaio_get_aio(id, at));
    if (found !== 0) rows.push(rowOf(core, at, id, (found & OWNER_ALIVE) !== 0));
  }
  return rows;
}

function rowOf(core: CoreInstance, at: number, id: number, alive: boolean): PgAiosRow {
  const u8 = (field: keyof typeof FIELDS): number => core.u8[at + FIELDS[field].offset] ?? 0;
  const i32 = (field: keyof typeof FIELDS): number =>
    core.i32[(at + FIELDS[field].offset) >>> 2] ?? 0;
  const u64 = (field: keyof typeof FIELDS): bigint =>
    core.u64[(at + FIELDS[field].offset) >>> 3] ?? 0n;
  const state = i32('state');
  const owner = i32('owner_procno');
  const head = {
    pid: alive ? owner : null,
    io_id: id,
    io_generation: u64('generation'),
    state: nameOf(STATE_NAMES, state),
  };
  if (state === layout.PGAIO_HS_HANDED_OUT) return { ...head, ...UNDEFINED_YET };
  const target = readTargetData(core.u32, (at + FIELDS.target_data.offset) >>> 2);
  const flags = u8('flags');
  return {
    ...head,
    operation: nameOf(OP_NAMES, u8('op')),
    off: Number(u64('offset')),
    length: i32('length'),
    target: nameOf(TARGET_NAMES, u8('target')),
    handle_data_len: u8('handle_data_len'),
    raw_result: state >= layout.PGAIO_HS_COMPLETED_IO ? i32('result') : null,
    result: nameOf(STATUS_NAMES, statusOf(i32('distilled_word'))),
    target_desc: describeTarget(target, core.words, owner),
    f_sync: (flags & layout.PGAIO_HF_SYNCHRONOUS) !== 0,
    f_localmem: (flags & layout.PGAIO_HF_REFERENCES_LOCAL) !== 0,
    f_buffered: (flags & layout.PGAIO_HF_BUFFERED) !== 0,
  };
}
const UNDEFINED_YET = {
  operation: null,
  off: null,
  length: null,
  target: null,
  handle_data_len: null,
  raw_result: null,
  result: null,
  target_desc: null,
  f_sync: null,
  f_localmem: null,
  f_buffered: null,
} as const;

/** Counters of one kind of target, as pg_stat_io has them: counted when an I/O is started. */
export interface TargetStats {
  readonly reads: bigint;
  readonly readBytes: bigint;
  readonly writes: bigint;
  readonly writeBytes: bigint;
  /** fsync, fdatasync and flush_range. */
  readonly fsyncs: bigint;
}
/** Counters of one backend since its slot was laid out. */
export interface BackendStats {
  readonly relation: TargetStats;
  readonly file: TargetStats;
  /** I/Os executed by the issuer inside start or submit. */
  readonly synchronous: bigint;
  readonly submissions: bigint;
  readonly errors: bigint;
  readonly partials: bigint;
  readonly reclaimed: bigint;
  readonly returnsLost: bigint;
}

export function readStats(core: CoreInstance): BackendStats {
  const fields = layout.PgAioBackend.fields;
  const count = (field: keyof typeof fields): bigint =>
    core.u64[(core.backend + fields[field].offset) >>> 3] ?? 0n;
  const target = (kind: 'smgr' | 'file'): TargetStats => ({
    reads: count(`${kind}_reads`),
    readBytes: count(`${kind}_read_bytes`),
    writes: count(`${kind}_writes`),
    writeBytes: count(`${kind}_write_bytes`),
    fsyncs: count(`${kind}_fsyncs`),
  });
  return {
    relation: target('smgr'),
    file: target('file'),
    synchronous: count('synchronous'),
    submissions: count('submissions'),
    errors: count('errors'),
    partials: count('partials'),
    reclaimed: count('reclaimed'),
    returnsLost: count('returns_lost'),
  };
}

/** One transition of one handle. */
export interface TraceEntry {
  /** Counted from 1 over all backends; wraps after 2^32. */
  readonly seq: number;
  /** Backend that made it. */
  readonly procno: number;
  readonly io: number;
  readonly generation: bigint;
  readonly from: string;
  readonly to: string;
  readonly op: string;
  readonly target: string;
  /** PostgreSQL's debug line: `io 3         |op readv|target smgr|state SUBMITTED       : ...`. */
  readonly line: string;
}

const ENTRY = layout.PgAioTraceEntry.fields;

/** What the ring still holds, oldest first. Entries being written at this moment are left out. */
export function readTrace(core: CoreInstance): TraceEntry[] {
  const size = core.ctl('trace_size');
  const next = core.ctl('trace_next');
  const entries: TraceEntry[] = [];
  for (let back = Math.min(size, next); back > 0; back--) {
    const number = next - back;
    const at = core.ctl('trace') + (number & (size - 1)) * layout.PgAioTraceEntry.size;
    if (core.u32[at >>> 2] === number + 1) entries.push(entryOf(core, at));
  }
  return entries;
}

function entryOf(core: CoreInstance, at: number): TraceEntry {
  const u8 = (field: keyof typeof ENTRY): number => core.u8[at + ENTRY[field].offset] ?? 0;
  const i32 = (field: keyof typeof ENTRY): number =>
    core.i32[(at + ENTRY[field].offset) >>> 2] ?? 0;
  const from = nameOf(STATE_NAMES, u8('from'));
  const to = nameOf(STATE_NAMES, u8('to'));
  const op = nameOf(OP_NAMES, u8('op'));
  const target = nameOf(TARGET_NAMES, u8('target'));
  const io = i32('io');
  const prefix = `io ${pad(io, 10)}|op ${pad(op, 5)}|target ${pad(target, 4)}|state ${pad(to, 16)}`;
  const result = unpackResult(i32('distilled_word') >>> 0, i32('distilled_result'));
  const raw = i32('raw_result');
  return {
    seq: i32('seq') >>> 0,
    procno: i32('procno'),
    io,
    generation: core.u64[(at + ENTRY.generation.offset) >>> 3] ?? 0n,
    from,
    to,
    op,
    target,
    line: `${prefix}: ${wordsOf(u8('from'), u8('to'), raw, result)}`,
  };
}

function pad(value: string | number, width: number): string {
  return String(value).padEnd(width);
}

function wordsOf(
  from: number,
  to: number,
  raw: number,
  result: ReturnType<typeof unpackResult>,
): string {
  switch (to) {
    case layout.PGAIO_HS_IDLE:
      return from === layout.PGAIO_HS_HANDED_OUT ? 'released' : 'reclaimed';
    case layout.PGAIO_HS_HANDED_OUT:
      return 'handed out';
    case layout.PGAIO_HS_DEFINED:
      return 'defined';
    case layout.PGAIO_HS_STAGED:
      return 'staged';
    case layout.PGAIO_HS_SUBMITTED:
      return 'submitted';
    case layout.PGAIO_HS_COMPLETED_IO:
      return `completed with raw result ${raw}`;
    default:
      return (
        `after ${to === layout.PGAIO_HS_COMPLETED_SHARED ? 'shared' : 'local'} completion: ` +
        `status ${result.status}, id ${result.id}, error_data ${result.errorData}, ` +
        `result ${result.result}, raw result ${raw}`
      );
  }
}
