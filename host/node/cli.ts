#!/usr/bin/env node
/**
 * Program `pgaio`: verifies a PostgreSQL data directory and says what it found, in words or JSON.
 * What is on standard output is the result; progress, notes and failures go to standard error.
 * The exit status tells the outcome even when nobody reads the output.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import cliProgress from 'cli-progress';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import manifest from '../../package.json' with { type: 'json' };
import { addInspect } from './cli/inspect.ts';
import { type DemoFacts, makeDemoDirectory } from './demo-directory.ts';
import { AioError, type AioOptions } from './index.ts';
import { type DataDirectory, DataDirectoryError, openDataDirectory } from './pgdata.ts';
import { attach } from './raw.ts';
import {
  DirectoryScan,
  type PageFault,
  SCAN_DEFAULTS,
  type ScanCounts,
  type ScanFinding,
  type ScanRoot,
} from './scan.ts';

const EXIT_CLEAN = 0;
const EXIT_DAMAGED = 1;
const EXIT_FAILED = 2;
/** Shells add the signal's number to this. */
const EXIT_SIGNAL = 128;
const SIGNALS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;

const COLUMNS = 80;
/** A scan that is over sooner needs no progress bar. */
const PROGRESS_AFTER_SECONDS = 0.5;
/** Findings kept; more are only counted. */
const FINDINGS_MAX = 100_000;
/** Findings shown in words without --verbose. */
const FINDINGS_SHOWN = 1000;
const MB = 1e6;

interface ScanFlags {
  readonly ioMethod: string;
  readonly provider?: 'direct' | 'wasi';
  readonly direct: boolean;
  readonly combine: number;
  readonly json: boolean;
  readonly verbose: boolean;
  readonly progress: boolean;
  readonly keep: boolean;
}
/** What the command line need not say. */
const FLAGS_OFF = { direct: false, json: false, verbose: false, keep: false } as const;

/** A request that cannot be carried out: the message is all there is to say. */
class Refusal extends Error {}

/** A scan and what came of it, complete or not. */
interface Outcome {
  readonly scan: DirectoryScan;
  readonly findings: readonly ScanFinding[];
  readonly omitted: number;
  readonly roots: readonly ScanRoot[];
  readonly provider: 'direct' | 'wasi';
  /** Whether it was left early. */
  readonly interrupted: boolean;
}

const HELP = `
Without DIR a small demonstration directory with three damaged pages is made
in a fresh temporary directory, scanned, and removed.

Exit status:
  0    every page is valid; for the demonstration: it found what it should
  1    something is damaged
  2    the job could not be done, or not all of it
  130  interrupted (Ctrl-C)

With --json one object is printed:
  version, directory, majorVersion, systemIdentifier, state, dataChecksums,
  blockSize, segmentBlocks  what was scanned
  serverMayRun              a server may have been writing meanwhile
  changed                   one was started or stopped meanwhile
  ioMethod, provider, direct, ioCombineLimit
                            how
  status                    clean, damaged, incomplete or interrupted
  files, filesDone, blocks, newPages, bytes, bytesDone
                            what there is and what was read of it
  seconds, mbPerSecond, pagesPerSecond
                            1 MB is 1000000 bytes
  damagedPages              pages that PostgreSQL would refuse
  rereadPages               not valid at first, valid when read again
  unreadBlocks, vanishedFiles, truncatedFiles
                            what could not be read or was gone
  foreignFiles              paths of files that are no relation's
  findings                  list of objects, by kind:
    page           path, relation, segment, block, blockInFile, faults (header,
                   checksum, garbage), calculated, stored
    partial-block  path, bytes
    segment        path, words
    unreadable     path, block, blocks, words
  findingsOmitted           how many more there are
  demo                      expected, differences; without DIR only
`;

function commandLine(): Command {
  const program = new Command('pgaio');
  program
    .description('Verifies PostgreSQL data directories through an engine for asynchronous I/O.')
    .version(manifest.version)
    .exitOverride()
    .configureOutput({ outputError: (text) => complain(text.replace(/^error: /, '')) });
  program
    .command('scan', { isDefault: true })
    .description('Reads all pages of a data directory and names the damaged ones.')
    .argument('[dir]', 'data directory: the one that holds PG_VERSION and global/')
    .option('--io-method <name>', 'how I/O is executed', SCAN_DEFAULTS.ioMethod)
    .addOption(
      new Option('--provider <name>', 'who does it (default: wasi, direct for --direct)').choices([
        'direct',
        'wasi',
      ]),
    )
    .option('--direct', 'read past the page cache (O_DIRECT)')
    .option('--combine <blocks>', 'blocks per I/O', parseCombine, SCAN_DEFAULTS.combineLimit)
    .option('--json', 'print one JSON object')
    .option('--verbose', 'name skipped files, and all findings')
    .option('--no-progress', 'show no progress on a terminal')
    .option('--keep', 'keep the demonstration directory')
    .version(manifest.version, '--version')
    .addHelpText('after', HELP)
    .action((dir: string | undefined, flags: ScanFlags) =>
      runScan(dir, { ...FLAGS_OFF, ...flags }),
    );
  addInspect(program);
  return program;
}

function parseCombine(text: string): number {
  const blocks = Number(text);
  if (/^\d+$/.test(text) && blocks >= 1 && blocks <= 128) return blocks;
  throw new InvalidArgumentError('Expected a whole number from 1 to 128.');
}

/** One line on standard error. */
function complain(words: string): void {
  console.error(`pgaio: ${words.trim().replaceAll(/\s*\n\s*/g, ' ')}`);
}

function say(line = ''): void {
  process.stdout.write(`${line}\n`);
}

/** Says a text, broken at blanks where it is wider than a terminal. */
function sayWrapped(text: string, { first = '', rest = '' } = {}): void {
  let line = first;
  let empty = true;
  for (const word of text.split(' ')) {
    if (!empty && line.length + 1 + word.length > COLUMNS) {
      say(line);
      line = rest;
      empty = true;
    }
    line += empty ? word : ` ${word}`;
    empty = false;
  }
  say(line);
}

function counted(number: number, one: string, several = `${one}s`): string {
  return `${digits(number)} ${number === 1 ? one : several}`;
}
function digits(number: number): string {
  return String(Math.round(number)).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}
function megabytes(bytes: number): string {
  const size = bytes / MB;
  return size < 10 ? size.toFixed(1) : digits(size);
}
function perSecond(amount: number, { seconds }: ScanCounts): number {
  return seconds > 0 ? amount / seconds : 0;
}

/** A bar on the terminal, while the scan takes long enough for one. */
class Progress {
  #bar: cliProgress.SingleBar | undefined;
  readonly #wanted: boolean;

  constructor(wanted: boolean) {
    this.#wanted = wanted && process.stderr.isTTY === true;
  }

  update(counts: ScanCounts): void {
    if (!this.#wanted || counts.seconds < PROGRESS_AFTER_SECONDS) return;
    const { bytes, bytesDone } = counts;
    const rate = perSecond(bytesDone, counts);
    const payload = {
      done: megabytes(bytesDone),
      all: megabytes(bytes),
      rate: digits(rate / MB),
      left: rate > 0 ? durationOf((bytes - bytesDone) / rate) : '?',
    };
    if (this.#bar === undefined) {
      this.#bar = newBar();
      this.#bar.start(bytes, bytesDone, payload);
      return;
    }
    this.#bar.setTotal(bytes);
    this.#bar.update(bytesDone, payload);
  }

  /** Removes the bar. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

function newBar(): cliProgress.SingleBar {
  const room = (process.stderr.columns ?? COLUMNS) - 56;
  return new cliProgress.SingleBar({
    format: '{bar} {percentage}%  {done} of {all} MB, {rate} MB/s, {left} left',
    stream: process.stderr,
    barsize: Math.max(5, Math.min(30, room)),
    barCompleteChar: '#',
    barIncompleteChar: '.',
    hideCursor: true,
    clearOnComplete: true,
    gracefulExit: false,
  });
}

function durationOf(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (number: number): string => String(Math.floor(number)).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)}`;
  return `${Math.floor(whole / 3600)}:${two((whole % 3600) / 60)}:${two(whole % 60)}`;
}

/** The engine checks what it is given. */
function methodOf({ ioMethod }: ScanFlags): NonNullable<AioOptions['ioMethod']> {
  return ioMethod as NonNullable<AioOptions['ioMethod']>;
}

/** Scans a directory, or as much of it as there is time for. */
async function scanDirectory(
  directory: DataDirectory,
  flags: ScanFlags,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  const provider = flags.provider ?? (flags.direct ? 'direct' : 'wasi');
  const progress = new Progress(flags.progress);
  const roots: ScanRoot[] = [];
  const findings: ScanFinding[] = [];
  let omitted = 0;
  let scan: DirectoryScan | undefined;
  const outcome = (): Outcome | undefined => {
    if (scan === undefined) return undefined;
    findings.sort(byPlace);
    return { scan, findings, omitted, roots, provider, interrupted: signal.aborted };
  };
  try {
    scan = await DirectoryScan.plan(directory, {
      ioMethod: methodOf(flags),
      provider,
      direct: flags.direct,
      combineLimit: flags.combine,
      signal,
      onProgress: (counts) => progress.update(counts),
      onRoot: (root) => roots.push(root),
    });
    for await (const finding of scan) {
      if (findings.length < FINDINGS_MAX) findings.push(finding);
      else omitted++;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    progress.stop();
  }
  return outcome();
}

function byPlace(a: ScanFinding, b: ScanFinding): number {
  const order = a.path.localeCompare(b.path, 'en', { numeric: true });
  return order !== 0 ? order : blockOf(a) - blockOf(b);
}
function blockOf(finding: ScanFinding): number {
  return 'block' in finding ? (finding.block ?? 0) : 0;
}

type Status = 'clean' | 'damaged' | 'incomplete' | 'interrupted';
function statusOf({ findings, interrupted }: Outcome): Status {
  if (interrupted) return 'interrupted';
  if (findings.some(({ kind }) => kind === 'unreadable')) return 'incomplete';
  return findings.length > 0 ? 'damaged' : 'clean';
}
const EXITS = {
  clean: EXIT_CLEAN,
  damaged: EXIT_DAMAGED,
  incomplete: EXIT_FAILED,
  interrupted: EXIT_SIGNAL + SIGNALS.SIGINT,
} as const satisfies Record<Status, number>;

/** What the demonstration was to find and did not, or found and was not to. */
function demoDifferences(facts: DemoFacts, { scan, findings }: Outcome): string[] {
  const faultOf = { checksum: 'checksum', header: 'header', new: 'garbage' } as const;
  const expected = facts.damaged.map(
    ({ path, block, kind }) => `${path}, block ${block}: ${faultOf[kind]}`,
  );
  const found = findings.map((finding) =>
    finding.kind === 'page'
      ? `${finding.path}, block ${finding.block}: ${finding.faults.join(', ')}`
      : `${finding.path}: ${wordsOf(finding)}`,
  );
  const differences = [
    ...expected.filter((page) => !found.includes(page)).map((page) => `did not find ${page}`),
    ...found.filter((page) => !expected.includes(page)).map((page) => `also found ${page}`),
  ];
  const { files, blocks } = scan.counts;
  if (files !== facts.files) differences.push(`listed ${files} files of ${facts.files}`);
  if (blocks !== facts.blocks) differences.push(`read ${blocks} pages of ${facts.blocks}`);
  return differences;
}

const FAULT_WORDS: Readonly<Record<PageFault, string>> = {
  header: 'header makes no sense',
  checksum: 'checksum is',
  garbage: 'never used, and yet not zero',
};
function wordsOf(finding: ScanFinding): string {
  switch (finding.kind) {
    case 'page': {
      const { block, blockInFile, segment, faults, calculated, stored } = finding;
      const place = segment === 0 ? '' : ` (${blockInFile} of segment ${segment})`;
      const reasons = faults.map((fault) => {
        const sums = fault === 'checksum' ? ` ${stored}, should be ${calculated}` : '';
        return `${FAULT_WORDS[fault]}${sums}`;
      });
      return `block ${block}${place}: ${reasons.join('; ')}`;
    }
    case 'partial-block':
      return `${counted(finding.bytes, 'byte')} after the last whole block`;
    case 'segment':
      return finding.words;
    case 'unreadable': {
      const { block, blocks, words } = finding;
      if (block === undefined) return words;
      return `${counted(blocks, 'block')} not read, from block ${block} on: ${words}`;
    }
    default:
      return finding satisfies never;
  }
}

function sayFindings({ findings, omitted }: Outcome, verbose: boolean): void {
  const shown = verbose ? findings : findings.slice(0, FINDINGS_SHOWN);
  const pages = shown.filter(({ kind }) => kind === 'page');
  const others = shown.filter(({ kind }) => kind !== 'page');
  const list = (heading: string, some: readonly ScanFinding[]): void => {
    if (some.length === 0) return;
    say(`\n${heading}:`);
    for (const finding of some) {
      const { path, kind } = finding;
      const text = `${path}${kind === 'page' ? ',' : ':'} ${wordsOf(finding)}`;
      sayWrapped(text, { first: '  ', rest: '      ' });
    }
  };
  list('Damaged pages', pages);
  list('Other findings', others);
  const more = findings.length - shown.length + omitted;
  if (more > 0) say(`  and ${digits(more)} more${verbose ? '' : '; --verbose names them'}`);
}

function rowsOf(outcome: Outcome, flags: ScanFlags): [string, string][] {
  const { scan, provider } = outcome;
  const { counts, directory, foreign } = scan;
  const { control, majorVersion } = directory;
  const { blockSize } = control;
  const rate = perSecond(counts.bytesDone, counts);
  const reads = `${counted(flags.combine, 'block')} of ${blockSize / 1024} kB per I/O`;
  const rows: [string, string][] = [
    ['directory', directory.path],
    ['cluster', `PostgreSQL ${majorVersion}, ${control.state}`],
    ['checksums', control.dataChecksumVersion === 0 ? 'off: only headers are checked' : 'on'],
    ['method', `${flags.ioMethod}, ${reads}`],
    ['provider', `${provider}${flags.direct ? ', past the page cache' : ''}`],
    ['files', digits(counts.filesDone)],
    ['blocks', `${digits(counts.blocks)}, of which ${digits(counts.newPages)} new`],
    ['bytes', `${digits(counts.bytesDone)} (${megabytes(counts.bytesDone)} MB)`],
    ['seconds', counts.seconds.toFixed(counts.seconds < 10 ? 3 : 1)],
    ['speed', `${digits(rate / MB)} MB/s, ${digits(rate / blockSize)} pages/s`],
  ];
  const row = (name: string, number: number, words: string): void => {
    if (number > 0) rows.push([name, words]);
  };
  const { rereadPages, vanishedFiles, truncatedFiles, unreadBlocks } = counts;
  row('reread', rereadPages, `${counted(rereadPages, 'page')}, valid when read again`);
  row('vanished', vanishedFiles, `${counted(vanishedFiles, 'file')}, dropped since listed`);
  row('truncated', truncatedFiles, `${counted(truncatedFiles, 'file')}, cut while being read`);
  row('not read', unreadBlocks, counted(unreadBlocks, 'block'));
  const hint = flags.verbose ? '' : '; --verbose names them';
  row('foreign', foreign.length, `${counted(foreign.length, 'file')} skipped${hint}`);
  return rows;
}

/** What the reader must know to judge the result. */
function notesOf({ scan }: Outcome): string[] {
  const { directory, live, changed } = scan;
  const notes: string[] = [];
  if (directory.serverMayRun) {
    const pid = directory.serverPid === undefined ? '' : ` (process ${directory.serverPid})`;
    notes.push(`A server may be running${pid}: a page is reported only if it stays invalid.`);
  } else if (live) {
    notes.push('The cluster was not shut down cleanly: its recovery may repair pages.');
  }
  if (changed) {
    notes.push('A server was started or stopped during the scan: scan again to be sure.');
  }
  return notes;
}

const FOREIGN_WORDS = {
  name: 'no relation has this name here',
  link: 'a link, and no tablespace',
  special: 'not a file, or its name is not text',
} as const;

/** What was read elsewhere, and what was left alone. */
function sayVerbosely({ scan, roots }: Outcome): void {
  for (const { path, prefix, provider } of roots) {
    if (prefix !== '') complain(`${prefix} is read by provider ${provider} in ${path}`);
  }
  for (const { path, foreign } of scan.foreign) {
    complain(`skipped ${path}: ${FOREIGN_WORDS[foreign ?? 'name']}`);
  }
}

/** The last line: the outcome in a sentence. */
function verdictOf(outcome: Outcome, demo: readonly string[] | undefined): string {
  const { scan, findings, omitted } = outcome;
  const { damagedPages, blocks } = scan.counts;
  const others = findings.filter(({ kind }) => kind !== 'page').length;
  const files = new Set(findings.map(({ path }) => path)).size;
  const pages = counted(damagedPages, 'damaged page');
  if (demo !== undefined) {
    return demo.length === 0
      ? `${pages} found: exactly those that the demonstration contains.`
      : `Not what the demonstration contains: ${demo.join('; ')}.`;
  }
  switch (statusOf(outcome)) {
    case 'clean':
      return scan.directory.control.dataChecksumVersion === 0
        ? `No damage in ${counted(blocks, 'header')}; without checksums that says little.`
        : `No damage: ${counted(blocks, 'page')}, all valid.`;
    case 'damaged':
    case 'interrupted':
      return `${pages}${others > 0 ? `, ${counted(others, 'other finding')}` : ''}, in ${
        omitted > 0 ? 'at least ' : ''
      }${counted(files, 'file')}.`;
    case 'incomplete':
      return `Incomplete: not everything could be read. ${pages} in what could.`;
  }
}

function sayReport(outcome: Outcome, flags: ScanFlags, demo: readonly string[] | undefined): void {
  for (const [name, value] of rowsOf(outcome, flags)) {
    sayWrapped(value, { first: name.padEnd(12), rest: ' '.repeat(12) });
  }
  sayFindings(outcome, flags.verbose);
  say();
  for (const note of notesOf(outcome)) sayWrapped(note);
  sayWrapped(verdictOf(outcome, demo));
}

function sayJson(outcome: Outcome, flags: ScanFlags, demo: object | undefined): void {
  const { scan, provider, findings, omitted } = outcome;
  const { counts, directory, foreign, changed } = scan;
  const { control, path, majorVersion, serverMayRun } = directory;
  const object = {
    version: manifest.version,
    directory: path,
    majorVersion,
    systemIdentifier: String(control.systemIdentifier),
    state: control.state,
    dataChecksums: control.dataChecksumVersion !== 0,
    blockSize: control.blockSize,
    segmentBlocks: control.segmentBlocks,
    serverMayRun,
    changed,
    ioMethod: flags.ioMethod,
    provider,
    direct: flags.direct,
    ioCombineLimit: flags.combine,
    status: statusOf(outcome),
    ...counts,
    mbPerSecond: perSecond(counts.bytesDone / MB, counts),
    pagesPerSecond: perSecond(counts.blocks, counts),
    foreignFiles: foreign.map((file) => file.path),
    findings,
    findingsOmitted: omitted,
    ...(demo === undefined ? {} : { demo }),
  };
  say(JSON.stringify(object, null, 2));
}

/** Covers a scan that was stopped, on standard error. */
function sayInterrupted(outcome: Outcome | undefined): void {
  if (outcome === undefined) {
    complain('interrupted before anything was read');
    return;
  }
  const { bytes, bytesDone, blocks, damagedPages } = outcome.scan.counts;
  const part = bytes > 0 ? Math.floor((100 * bytesDone) / bytes) : 100;
  const pages = `${counted(blocks, 'page')}, ${digits(damagedPages)} damaged`;
  complain(`interrupted at ${part}%: ${megabytes(bytesDone)} of ${megabytes(bytes)} MB, ${pages}`);
}

/** Scans and reports. Returns the exit status. */
async function scanAndReport(
  path: string,
  flags: ScanFlags,
  signal: AbortSignal,
  facts: DemoFacts | undefined,
): Promise<number> {
  const outcome = await scanDirectory(await openDataDirectory(path), flags, signal);
  if (outcome !== undefined) {
    const whole = facts !== undefined && !outcome.interrupted;
    const differences = whole ? demoDifferences(facts, outcome) : undefined;
    if (flags.verbose) sayVerbosely(outcome);
    if (flags.json) {
      sayJson(outcome, flags, differences && { expected: facts?.damaged, differences });
    } else if (!outcome.interrupted) sayReport(outcome, flags, differences);
    else sayFindings(outcome, flags.verbose);
    if (differences !== undefined) return differences.length === 0 ? EXIT_CLEAN : EXIT_DAMAGED;
    if (!outcome.interrupted) return EXITS[statusOf(outcome)];
  }
  sayInterrupted(outcome);
  return EXITS.interrupted;
}

function temporaryDirectory(): string {
  try {
    return mkdtempSync(join(tmpdir(), 'pgaio-demo-'));
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new Refusal(`no temporary directory can be made (${words}); set TMPDIR to one that can`);
  }
}

/** Makes the demonstration directory, scans it, and removes it. */
async function demonstrate(flags: ScanFlags, signal: AbortSignal): Promise<number> {
  const path = temporaryDirectory();
  try {
    const pg = await attach({ shared_buffers: 16, io_frames: 16, io_method: methodOf(flags) });
    const page = pg.pgaio_frames_alloc(1);
    const bytes = new Uint8Array(pg.memory.buffer);
    const facts = makeDemoDirectory(path, (content, block) => {
      bytes.set(content, page);
      return pg.pgaio_page_checksum(page, block);
    });
    pg.pgaio_shutdown();
    if (!flags.json) {
      sayWrapped(
        `No directory is given, so this is a demonstration. A small PostgreSQL data directory ` +
          `has been made: ${counted(facts.blocks, 'page')} in ${counted(facts.files, 'file')}, ` +
          `of which ${counted(facts.damaged.length, 'page')} are damaged. Now every page is read ` +
          'and verified.',
      );
      say();
    }
    return await scanAndReport(path, flags, signal, facts);
  } finally {
    if (flags.keep) complain(`the demonstration directory is kept: ${path}`);
    else rmSync(path, { recursive: true, force: true });
  }
}

function check(dir: string | undefined, { direct, provider, ioMethod, keep }: ScanFlags): void {
  if (direct && provider === 'wasi') {
    throw new Refusal('provider wasi cannot read past the page cache; use --provider direct');
  }
  if (ioMethod === 'host') {
    throw new Refusal('io_method host is for programs that bring a device; leave it out');
  }
  if (keep && dir !== undefined) throw new Refusal('--keep is for the demonstration, without DIR');
}

/** A failure in one line. */
function explain(error: unknown, verbose: boolean): void {
  if (error instanceof Refusal || error instanceof DataDirectoryError) complain(error.message);
  else if (error instanceof AioError) {
    const { message, detail, hint } = error;
    complain([message, detail, hint].filter((words) => words !== undefined).join('; '));
  } else {
    complain(`failed: ${error instanceof Error ? error.message : String(error)}`);
    if (verbose && error instanceof Error) console.error(error.stack);
  }
}

async function runScan(dir: string | undefined, flags: ScanFlags): Promise<void> {
  const stop = new AbortController();
  let signalled = 0;
  const handlers = Object.entries(SIGNALS).map(([name, number]) => {
    const handler = (): void => {
      signalled = EXIT_SIGNAL + number;
      stop.abort();
    };
    process.once(name, handler); // a second one ends the process as usual
    return [name, handler] as const;
  });
  try {
    check(dir, flags);
    const status =
      dir === undefined
        ? await demonstrate(flags, stop.signal)
        : await scanAndReport(dir, flags, stop.signal, undefined);
    process.exitCode = stop.signal.aborted ? signalled : status;
  } catch (error) {
    explain(error, flags.verbose);
    process.exitCode = EXIT_FAILED;
  } finally {
    for (const [name, handler] of handlers) process.removeListener(name, handler);
  }
}

/** Whoever reads the output may have gone; the exit status says it all the same. */
function surviveClosedPipes(): void {
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return;
    complain(`could not write the result: ${error.message}`);
    process.exitCode = EXIT_FAILED;
  });
}

surviveClosedPipes();
try {
  await commandLine().parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? EXIT_CLEAN : EXIT_FAILED;
}
