/**
 * What a verification found, in words or as JSON. The last lines in words are those of
 * pg_checksums, so that what reads its output reads ours.
 */
import type { Verification } from '../verify/verification.ts';
import { type Entry, type FindingLog, wordsOf } from './finding-log.ts';
import {
  counted,
  digits,
  EXIT_CLEAN,
  EXIT_DAMAGED,
  EXIT_FAILED,
  MB,
  megabytes,
  perSecond,
  say,
  sayFact,
  sayWrapped,
} from './words.ts';

/** Version of what --json prints: raised when a member changes its meaning or goes. */
export const JSON_FORMAT = 1;
/** Entries shown in words without --verbose. */
const ENTRIES_SHOWN = 1000;
/** So many of the damaged pages look random before it is said. */
const RANDOM_PAGES_MIN = 8;
const RANDOM_SHARE_MIN = 0.5;

/** How it was done. */
export interface Means {
  readonly ioMethod: string;
  readonly direct: boolean;
  readonly jobs: number;
  readonly online: boolean;
}
/** A verification that has ended, complete or not. */
export interface Outcome {
  readonly verification: Verification;
  readonly means: Means;
  readonly interrupted: boolean;
  /** Whether a finding of a kind was made; `pages` are damaged ones. */
  readonly kinds: ReadonlySet<Entry['kind']>;
}

export type Status = 'clean' | 'damaged' | 'incomplete' | 'interrupted';
export function statusOf({ verification, interrupted, kinds, means }: Outcome): Status {
  if (interrupted) return 'interrupted';
  if (kinds.has('unreadable') || (verification.changed && !means.online)) return 'incomplete';
  return kinds.size > 0 ? 'damaged' : 'clean';
}
export const EXITS = {
  clean: EXIT_CLEAN,
  damaged: EXIT_DAMAGED,
  incomplete: EXIT_FAILED,
  interrupted: EXIT_FAILED, // the signal's own takes its place
} as const satisfies Record<Status, number>;

/** In words, on standard output. */
export function sayReport(outcome: Outcome, log: FindingLog, verbose: boolean): void {
  sayHead(outcome);
  sayEntries(log, verbose);
  if (verbose) sayForeign(outcome);
  const notes = notesOf(outcome, verbose);
  if (notes.length > 0) say();
  for (const note of notes) sayWrapped(note, { rest: '  ' });
  say();
  saySummary(outcome);
}

function sayHead({ verification, means }: Outcome): void {
  const { directory, counts, combineLimit, concurrency } = verification;
  const { control, majorVersion, path } = directory;
  const { blockSize } = control;
  const depth = concurrency === 1 ? 'one read' : `${concurrency} reads`;
  const read = `${counted(means.jobs, 'job')} with ${depth} of up to ${
    (combineLimit * blockSize) / 1024
  } kB`;
  sayFact('directory', path);
  sayFact('cluster', `PostgreSQL ${majorVersion}, ${control.state}`);
  sayFact('method', `${means.ioMethod}, ${read}${means.direct ? ', past the page cache' : ''}`);
  const { bytesDone, seconds, blocks } = counts;
  const rate = perSecond(bytesDone, seconds);
  const pages = `${digits(perSecond(blocks, seconds))} pages/s`;
  const took = `${seconds.toFixed(seconds < 10 ? 3 : 1)} s`;
  sayFact('read', `${megabytes(bytesDone)} MB in ${took}: ${digits(rate / MB)} MB/s, ${pages}`);
}

function sayEntries(log: FindingLog, verbose: boolean): void {
  const entries = log.entries();
  const shown = verbose ? entries : entries.slice(0, ENTRIES_SHOWN);
  let path = '';
  for (const entry of shown) {
    if (entry.path !== path) say(`\n${entry.path}`);
    path = entry.path;
    sayWrapped(wordsOf(entry), { first: '  ', rest: '      ' });
  }
  const hidden = entries.length - shown.length;
  if (hidden + log.omitted === 0) return;
  const hint = hidden > 0 ? '; --verbose names them, --json all there are' : '; --json names all';
  say(`\nand ${digits(hidden + log.omitted)} more findings${hint}`);
}

const FOREIGN_WORDS = {
  name: 'no relation has this name here',
  link: 'a link, and no tablespace',
  special: 'not a file, or its name is not text',
} as const;
function sayForeign({ verification }: Outcome): void {
  const { foreign } = verification;
  if (foreign.length === 0) return;
  say('\nFiles left alone:');
  for (const { path, foreign: why } of foreign) {
    sayWrapped(`${path}: ${FOREIGN_WORDS[why ?? 'name']}`, { first: '  ', rest: '      ' });
  }
}

/** What the reader must know to judge the result. */
function notesOf(outcome: Outcome, verbose: boolean): string[] {
  const { verification, means } = outcome;
  const { counts, changed, situation, directory } = verification;
  const notes: string[] = [];
  const note = (number: number, one: string, several = `${one}s`, rest = ''): void => {
    if (number > 0) notes.push(`${counted(number, one, several)}${rest}`);
  };
  const { damagedPages, badChecksums, recoverablePages, rereadPages, newPages } = counts;
  note(newPages, 'page', 'pages', ' of zeros, never used.');
  note(damagedPages, 'damaged page', undefined, `, ${digits(badChecksums)} by checksum.`);
  note(recoverablePages, 'torn page', undefined, ' that recovery writes anew; verify after it.');
  note(rereadPages, 'page', undefined, ', not valid at first and valid when read again.');
  note(counts.vanishedFiles, 'file', undefined, ', dropped since listed.');
  note(counts.truncatedFiles, 'file', undefined, ', cut while being read.');
  note(counts.unreadBlocks, 'block', undefined, ' could not be read.');
  const hint = verbose ? '' : '; --verbose names them';
  note(counts.foreignFiles, 'foreign file', undefined, ` left alone${hint}.`);
  if (looksEncrypted(outcome)) {
    notes.push(
      `${counted(counts.randomPages, 'damaged page looks', 'damaged pages look')} like random ` +
        'bytes: encrypted, or compressed below PostgreSQL? Then nothing can be said of them here.',
    );
  }
  if (situation.kind === 'backup') {
    notes.push(
      'A backup of a running server (backup_label): pages may be torn until it is recovered.',
    );
  } else if (situation.kind === 'crashed') {
    notes.push('The cluster was not shut down cleanly: its recovery may repair pages.');
  } else if (directory.serverMayRun && !means.online) {
    notes.push('postmaster.pid is left over: the process it names does not run.');
  }
  if (changed) {
    notes.push(
      means.online
        ? 'The server was started or stopped meanwhile.'
        : 'A server was started or stopped meanwhile: verify again to be sure.',
    );
  }
  return notes;
}

export function looksEncrypted({ verification }: Outcome): boolean {
  const { randomPages, damagedPages } = verification.counts;
  return randomPages >= RANDOM_PAGES_MIN && randomPages >= damagedPages * RANDOM_SHARE_MIN;
}

/** pg_checksums' last lines. */
function saySummary({ verification, interrupted }: Outcome): void {
  const { counts, directory } = verification;
  const { bytes, bytesDone } = counts;
  if (interrupted) {
    const part = bytes > 0 ? Math.floor((100 * bytesDone) / bytes) : 100;
    const listed = verification.listed ? '' : ' at least';
    say(`Interrupted at ${part}%: ${megabytes(bytesDone)} of${listed} ${megabytes(bytes)} MB`);
  } else say('Checksum operation completed');
  say(`Files scanned:   ${counts.filesDone}`);
  say(`Blocks scanned:  ${counts.blocks}`);
  say(`Bad checksums:  ${counts.badChecksums}`);
  say(`Data checksum version: ${directory.control.dataChecksumVersion}`);
}

/** One line of --json. */
export function sayJson(type: string, members: object): void {
  say(JSON.stringify({ type, ...members }));
}

/** The first line of --json: what is verified, and how. */
export function jsonCluster(verification: Verification, means: Means, version: string): object {
  const { directory, situation, combineLimit, concurrency } = verification;
  const { control, path, majorVersion, serverMayRun } = directory;
  return {
    format: JSON_FORMAT,
    version,
    directory: path,
    majorVersion,
    systemIdentifier: String(control.systemIdentifier),
    state: control.state,
    situation: situation.kind,
    dataChecksumVersion: control.dataChecksumVersion,
    blockSize: control.blockSize,
    segmentBlocks: control.segmentBlocks,
    serverMayRun,
    ...means,
    blocksPerRead: combineLimit,
    readsInFlight: concurrency,
  };
}
/** The last line. */
export function jsonSummary(outcome: Outcome): object {
  const { verification } = outcome;
  const { filesDone, bytesDone, seconds, ...counts } = verification.counts;
  return {
    format: JSON_FORMAT,
    status: statusOf(outcome),
    filesScanned: filesDone,
    blocksScanned: counts.blocks,
    ...counts,
    bytesDone,
    changed: verification.changed,
    looksEncrypted: looksEncrypted(outcome),
    seconds,
    mbPerSecond: perSecond(bytesDone / MB, seconds),
  };
}
