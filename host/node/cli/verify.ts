/** `pgaio verify`: which directory, which of its files, whether it may be done, and doing it. */
import { existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import manifest from '../../../package.json' with { type: 'json' };
import type { Selection } from '../verify/listing.ts';
import { type DataDirectory, openDataDirectory, parseRelationFileName } from '../verify/pgdata.ts';
import type { JobThreads } from '../verify/threads.ts';
import { type Finding, Verification } from '../verify/verification.ts';
import { type Entry, FindingLog } from './finding-log.ts';
import { Progress, type ProgressWish } from './progress.ts';
import {
  EXITS,
  jsonCluster,
  jsonSummary,
  type Means,
  type Outcome,
  sayJson,
  sayReport,
  statusOf,
} from './report.ts';
import { MB, Refusal, runCommand } from './words.ts';

/** Ways to execute I/O. Not `host`: that is for programs that bring a device. */
export const IO_METHODS = ['sync', 'worker', 'io_uring', 'auto'] as const;

export interface VerifyFlags {
  readonly online?: boolean;
  readonly filenode?: number;
  readonly database?: number;
  readonly headers?: boolean;
  readonly jobs?: number;
  readonly ioMethod: (typeof IO_METHODS)[number];
  readonly direct?: boolean;
  /** MB per second. */
  readonly maxRate?: number;
  readonly json?: boolean;
  readonly verbose?: boolean;
  readonly progress?: ProgressWish;
}

/** A data directory, and what of it is meant. */
export interface Request {
  readonly directory: string;
  readonly selection: Selection;
}

const DEFAULT_TABLESPACE = 1663;
const GLOBAL_TABLESPACE = 1664;

/** A path is a data directory, or what is below one: a database's directory, a relation's file. */
export function requestOf(dir: string | undefined, flags: Partial<VerifyFlags>): Request {
  const given = dir ?? process.env.PGDATA;
  if (given === undefined || given === '') {
    throw new Refusal('no data directory: give one, or set PGDATA; `pgaio demo` needs none');
  }
  const path = resolve(given);
  const { filenode: relNumber, database: dbOid } = flags;
  const wanted = {
    ...(relNumber === undefined ? {} : { relNumber }),
    ...(dbOid === undefined ? {} : { dbOid }),
  };
  const root = existsSync(path) ? rootAbove(path) : undefined;
  if (root === undefined || root === path) return { directory: path, selection: wanted };
  const below = path.slice(root === '/' ? 1 : root.length + 1);
  return { directory: root, selection: { ...selectionOf(below, path), ...wanted } };
}

/** The innermost directory around a path that looks like a data directory. */
function rootAbove(path: string): string | undefined {
  for (let at = path; ; at = dirname(at)) {
    if (existsSync(`${at}/PG_VERSION`) && existsSync(`${at}/global`)) return at;
    if (dirname(at) === at) return undefined;
  }
}

/** What a path below the data directory names. */
function selectionOf(below: string, path: string): Selection {
  const place =
    /^(?:(global)|base(?:\/(\d+))?|pg_tblspc\/(\d+)(?:\/PG_[^/]+(?:\/(\d+))?)?)(?:\/|$)/;
  const match = place.exec(below);
  if (match === null) throw new Refusal(`${path}: no relations are kept there`);
  const [whole, global, inBase, spcOid, inTablespace] = match;
  const name = below.slice(whole.length);
  const spc = global === undefined ? Number(spcOid ?? DEFAULT_TABLESPACE) : GLOBAL_TABLESPACE;
  const dbOid = inBase ?? inTablespace;
  const inside = { spcOid: spc, ...(dbOid === undefined ? {} : { dbOid: Number(dbOid) }) };
  if (name === '' && statSync(path).isDirectory()) return inside;
  const file = parseRelationFileName(name, 1);
  if (file === undefined) throw new Refusal(`${path}: not the file of a relation`);
  return { ...inside, relNumber: file.relNumber };
}

/** Whether it may be verified as asked; each refusal says what to do instead. */
function checkSituation(verification: Verification, flags: VerifyFlags): void {
  const { directory, situation } = verification;
  const { control, path, serverPid } = directory;
  if (control.dataChecksumVersion === 0 && flags.headers !== true) {
    throw new Refusal(
      `${path}: data checksums are not enabled in cluster; enable them with pg_checksums ` +
        '--enable, or give --headers to check page headers alone',
    );
  }
  if (control.dataChecksumVersion > 1) {
    throw new Refusal(`${path}: data checksum version ${control.dataChecksumVersion} is not known`);
  }
  if (flags.online === true) return;
  const process = serverPid === undefined ? '' : ` names process ${serverPid}`;
  if (situation.kind === 'running') {
    throw new Refusal(
      `${path}: cluster must be shut down (postmaster.pid${process}); stop the server, or give ` +
        '--online',
    );
  }
  if (situation.kind === 'unclear') {
    throw new Refusal(
      `${path}: a server may run elsewhere (postmaster.pid${process}, and the cluster was not ` +
        'shut down); give --online, or remove the file if it is left over',
    );
  }
}

/** Until standard output takes more, or nobody reads it any more. */
async function drained(): Promise<void> {
  const events = ['drain', 'close', 'error'] as const;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      for (const event of events) process.stdout.off(event, end);
      resolve();
    };
    for (const event of events) process.stdout.on(event, end);
  });
}

/** Verifies as told and hands each finding on. Returns what came of it, complete or not. */
async function carryOut(
  verification: Verification,
  means: Means,
  progress: Progress,
  signal: AbortSignal,
  take: (finding: Finding) => void,
): Promise<Outcome> {
  const kinds = new Set<Entry['kind']>();
  try {
    for await (const finding of verification) {
      if (finding.kind !== 'page') kinds.add(finding.kind);
      else if (!finding.recoverable) kinds.add('pages');
      take(finding);
      if (process.stdout.writableNeedDrain) await drained();
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    progress.stop(verification.counts);
  }
  return { verification, means, interrupted: signal.aborted, kinds };
}

/** What `verify` and `demo` share: verifies, tells, and returns the exit status. */
export async function verifyDirectory(
  directory: DataDirectory,
  selection: Selection,
  flags: VerifyFlags,
  threads: JobThreads,
  signal: AbortSignal,
): Promise<{ outcome: Outcome; log: FindingLog }> {
  const { ioMethod, direct = false, online = false, json = false, maxRate } = flags;
  const progress = new Progress(flags.progress);
  const verification: Verification = new Verification(directory, {
    ioMethod,
    direct,
    online,
    selection,
    ...(maxRate === undefined ? {} : { maxRate: maxRate * MB }),
    ...(threads.count > 0 ? { others: threads } : {}),
    signal,
    onProgress: (counts) => progress.update(counts, verification.listed),
  });
  checkSituation(verification, flags);
  const means: Means = { ioMethod, direct, jobs: 1 + threads.count, online };
  const log = new FindingLog();
  if (json) sayJson('cluster', jsonCluster(verification, means, manifest.version));
  const take = (finding: Finding): void => {
    if (json) sayJson('finding', finding);
    else log.add(finding);
  };
  const outcome = await carryOut(verification, means, progress, signal, take);
  if (json) {
    for (const { path, foreign } of verification.foreign) {
      sayJson('foreign', { path, reason: foreign });
    }
    sayJson('summary', jsonSummary(outcome));
  } else sayReport(outcome, log, flags.verbose ?? false);
  return { outcome, log };
}

export async function runVerify(
  dir: string | undefined,
  flags: VerifyFlags,
  threads: JobThreads,
): Promise<void> {
  await runCommand(
    async (signal) => {
      const { directory, selection } = requestOf(dir, flags);
      const opened = await openDataDirectory(directory);
      const { outcome } = await verifyDirectory(opened, selection, flags, threads, signal);
      return EXITS[statusOf(outcome)];
    },
    { verbose: flags.verbose ?? false },
  );
}
