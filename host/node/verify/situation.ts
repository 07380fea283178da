/**
 * What state a data directory is in, as far as it bears on its pages: shut down, in use by a
 * server, left by a crash, or copied from a server that was running.
 *
 * Pages of a crashed cluster or of a backup may be torn and yet be no damage: recovery writes them
 * anew from full-page images in the log. What it will write anew is a page changed since the
 * checkpoint that recovery begins with, hence a range of log positions; a position alone proves
 * nothing, since it may be what is damaged.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { DataDirectory } from './pgdata.ts';

/** Log positions in bytes from the start of the log. */
export interface LsnRange {
  readonly from: bigint;
  /** What the log in pg_wal reaches to; undefined if there is no log, as in a backup without it. */
  readonly to: bigint | undefined;
}

export interface Situation {
  /**
   * 'shut down': at rest. 'running': a server has it open. 'unclear': postmaster.pid names no
   * process of this machine, and the cluster was not shut down: a crash, or a server elsewhere.
   * 'crashed': neither shut down nor in use. 'backup': it has a backup_label.
   */
  readonly kind: 'shut down' | 'running' | 'unclear' | 'crashed' | 'backup';
  /** Pages with positions in here will be written anew by recovery. */
  readonly recovers: LsnRange | undefined;
}

const LABEL_BYTES_MAX = 8192;
const WAL_FILE = /^[0-9A-F]{8}([0-9A-F]{8})([0-9A-F]{8})$/;

/** A position such as `'0/174B248'`; undefined if it is not of that form. */
export function lsnOf(text: string): bigint | undefined {
  const [, high, low] = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i.exec(text) ?? [];
  if (high === undefined || low === undefined) return undefined;
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}
export function lsnText(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16)}`.toUpperCase();
}

/** Whether the process that postmaster.pid names is one of this machine, and a server. */
function serverIsHere({ serverPid }: DataDirectory): boolean {
  if (serverPid === undefined) return true; // the file is there and cannot be read
  try {
    process.kill(serverPid, 0);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
  }
  const name = textOf(`/proc/${serverPid}/comm`);
  return name === undefined || /^postgres|^postmaster/.test(name);
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').slice(0, LABEL_BYTES_MAX);
  } catch {
    return undefined;
  }
}

/** Looks at postmaster.pid, backup_label and pg_control's state. */
export function situationOf(directory: DataDirectory): Situation {
  const { control, path, serverMayRun } = directory;
  const atRest = ['shut down', 'shut down in recovery'].includes(control.state);
  if (serverMayRun && serverIsHere(directory)) return { kind: 'running', recovers: undefined };
  const label = textOf(`${path}/backup_label`);
  const [, start] = /^START WAL LOCATION: ([0-9A-F]+\/[0-9A-F]+)/m.exec(label ?? '') ?? [];
  const from = lsnOf(start ?? '');
  if (from !== undefined) return { kind: 'backup', recovers: { from, to: logEnd(directory) } };
  if (atRest) return { kind: 'shut down', recovers: undefined };
  if (serverMayRun) return { kind: 'unclear', recovers: undefined };
  const redo = lsnOf(control.redoLsn);
  const to = logEnd(directory);
  const images = control.fullPageWrites && redo !== undefined && to !== undefined;
  return { kind: 'crashed', recovers: images ? { from: redo, to } : undefined };
}

/** Where the last file of pg_wal ends. */
function logEnd({ path, control }: DataDirectory): bigint | undefined {
  let names: string[] = [];
  try {
    names = readdirSync(`${path}/pg_wal`);
  } catch {
    return undefined; // a link that is not there yet, in a backup
  }
  const size = BigInt(control.walSegmentSize);
  let end: bigint | undefined;
  for (const name of names) {
    const [, log, segment] = WAL_FILE.exec(name) ?? [];
    if (log === undefined || segment === undefined) continue;
    const after = (BigInt(`0x${log}`) << 32n) + (BigInt(`0x${segment}`) + 1n) * size;
    if (end === undefined || after > end) end = after;
  }
  return end;
}
