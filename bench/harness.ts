/**
 * Measures subjects against each other. Rounds are interleaved: each runs every subject once, in an
 * order that rotates, so that a machine that slows down slows all of them. What a run yields is
 * printed as tables, or as one JSON object with `--json`.
 */
import { availableParallelism, cpus, release } from 'node:os';
import Table from 'cli-table3';
import { ownSubject, serve, startApart, type Timed, type Timer } from './parts/apart.ts';

const ROUNDS = 7;
/** A round of one subject takes about this long unless its case fixes the number of operations. */
const ROUND_MS = 100;
const OPERATIONS_MAX = 2 ** 30;

/** What a subject's opener gives back. */
export interface Runner {
  /**
   * Does that many operations. All its time counts, unless it answers with a figure of its own, in
   * nanoseconds per operation: a median latency, say.
   */
  run(operations: number): void | number | Promise<void> | Promise<number>;
  close?(): void | Promise<void>;
}
/** Answer of an opener that cannot run here. */
export interface Unavailable {
  readonly unavailable: string;
}
/** Sets a subject up, outside the time measured. It stays open until its case ends. */
export type Opener = () => Runner | Unavailable | Promise<Runner | Unavailable>;

/** A subject whose process has an environment of its own. */
export interface SubjectApart {
  readonly open: Opener;
  readonly env: Readonly<Record<string, string>>;
}

export interface Around {
  readonly env: Readonly<Record<string, string>>;
  close(): void | Promise<void>;
}

export interface Case {
  /** By name; the name says what differs. */
  readonly subjects: Readonly<Record<string, Opener | SubjectApart>>;
  /**
   * Runs each subject in a process of its own, with these variables, as programs have one engine
   * and not five. @default all in one, but those with an environment
   */
  readonly apart?: Readonly<Record<string, string>>;
  /** Made before the subjects' processes, with variables for them, and closed after them. */
  readonly around?: () => Promise<Around | Unavailable>;
  /** Operations per round. @default as many as take about 100 ms, for each subject */
  readonly operations?: number;
}

export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}
export interface Row {
  readonly case: string;
  readonly subject: string;
  /** In each round. */
  readonly operations: number;
  readonly rounds: number;
  /** By the median round. */
  readonly operationsPerSecond: number;
  readonly nsPerOperation: Spread;
  /** Of all threads of the process, by the median round. */
  readonly cpuMicrosecondsPerOperation: number;
}
/** Gives the row of a case and subject. */
export type RowOf = (case_: string, subject: string) => Row;

export interface Bench {
  /** Declares a case; it runs when all are declared. */
  case(name: string, options: Case): void;
  /** Declares what a figure made of the rows must reach. */
  target(
    name: string,
    goal: number,
    comparison: '<=' | '>=',
    unit: string,
    measure: (row: RowOf) => number,
  ): void;
}

interface Target {
  readonly name: string;
  readonly goal: number;
  readonly comparison: '<=' | '>=';
  readonly unit: string;
  readonly measure: (row: RowOf) => number;
}
interface TargetResult {
  readonly name: string;
  readonly goal: string;
  /** null: a subject it needs cannot run here. */
  readonly measured: number | null;
  readonly met: boolean | null;
}
interface Options {
  readonly json: boolean;
  readonly strict: boolean;
  readonly rounds: number;
  readonly only: string;
}
interface Opened {
  readonly name: string;
  readonly timer: Timer;
  close(): void | Promise<void>;
  operations: number;
  readonly nanoseconds: number[];
  readonly cpuMicroseconds: number[];
}

/** A target asked for a row of a subject that cannot run here, or that was left out. */
class MissingRow extends Error {}

/** Declares, runs and reports a benchmark. Call it once, as the last thing of bench/NAME.ts. */
export async function bench(
  name: string,
  declare: (b: Bench) => void | Promise<void>,
): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  const cases: [string, Case][] = [];
  const targets: Target[] = [];
  await declare({
    case: (title, case_) => cases.push([title, case_]),
    target: (title, goal, comparison, unit, measure) =>
      targets.push({ name: title, goal, comparison, unit, measure }),
  });
  const own = ownSubject();
  if (own !== undefined) return serveSubject(own, cases);
  const machine = {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    node: process.version,
    kernel: release(),
  };
  const say = (text: string) => (options.json ? undefined : console.log(text));
  say(`${name}: ${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, ${machine.kernel}`);
  const rows: Row[] = [];
  for (const [title, case_] of cases.filter(([title]) => title.includes(options.only))) {
    const { rows: found, unavailable } = await runCase(title, case_, options.rounds);
    rows.push(...found);
    say(`\n${title}`);
    for (const reason of unavailable) say(`skipped: ${reason}`);
    if (found.length > 0) say(rowTable(found));
  }
  const results = targets.map((target) => judge(target, rows, cases));
  if (options.json) console.log(JSON.stringify({ bench: name, machine, rows, targets: results }));
  else if (results.length > 0) say(`\n${targetTable(results, targets)}`);
  if (options.strict && results.some(({ met }) => met === false)) process.exitCode = 1;
}

function parseOptions(given: readonly string[]): Options {
  const options = { json: false, strict: false, rounds: ROUNDS, only: '' };
  const words = [...given];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === '--json') options.json = true;
    else if (word === '--strict') options.strict = true;
    else if (word === '--rounds') options.rounds = Number(words.shift());
    else if (word === '--only') options.only = words.shift() ?? '';
    else refuse(`unknown option ${word}; known: --json, --rounds N, --only WORD, --strict`);
  }
  if (!Number.isInteger(options.rounds) || options.rounds < 1) {
    refuse('--rounds takes a whole number from 1');
  }
  return options;
}

function refuse(message: string): never {
  console.error(`bench: ${message}`);
  process.exit(2);
}

/** This process is for one subject of one case. */
async function serveSubject(
  [title, name]: readonly [string, string],
  cases: readonly [string, Case][],
): Promise<void> {
  const subject = cases.find(([of]) => of === title)?.[1].subjects[name];
  if (subject === undefined) throw new Error(`there is no case ${title} with subject ${name}`);
  const runner = await openerOf(subject)();
  if ('unavailable' in runner) return serve(runner);
  await serve((operations) => timed(runner, operations));
  await runner.close?.();
}

function openerOf(subject: Opener | SubjectApart): Opener {
  return typeof subject === 'function' ? subject : subject.open;
}

async function open(
  title: string,
  name: string,
  case_: Case,
  around: Readonly<Record<string, string>>,
): Promise<Opened | Unavailable> {
  const subject = case_.subjects[name] as Opener | SubjectApart;
  const measured = { name, operations: 0, nanoseconds: [], cpuMicroseconds: [] };
  const env = { ...around, ...case_.apart, ...(typeof subject === 'function' ? {} : subject.env) };
  if (case_.apart !== undefined || typeof subject !== 'function') {
    const apart = await startApart(title, name, env);
    return 'unavailable' in apart ? apart : { ...measured, ...apart };
  }
  const runner = await subject();
  if ('unavailable' in runner) return runner;
  const timer: Timer = (operations) => timed(runner, operations);
  return { ...measured, timer, close: () => runner.close?.() };
}

async function runCase(
  title: string,
  case_: Case,
  rounds: number,
): Promise<{ rows: Row[]; unavailable: string[] }> {
  const opened: Opened[] = [];
  const unavailable: string[] = [];
  const around = await case_.around?.();
  if (around !== undefined && 'unavailable' in around) {
    return { rows: [], unavailable: [around.unavailable] };
  }
  try {
    for (const name of Object.keys(case_.subjects)) {
      const subject = await open(title, name, case_, around?.env ?? {});
      if ('unavailable' in subject) unavailable.push(`${name}: ${subject.unavailable}`);
      else opened.push(subject);
    }
    for (const subject of opened) await warmUp(subject, case_.operations);
    for (let round = 0; round < rounds; round++) {
      for (let turn = 0; turn < opened.length; turn++) {
        const subject = opened[(round + turn) % opened.length];
        if (subject !== undefined) await measureRound(subject);
      }
    }
  } finally {
    for (const { close } of opened) await close();
    await around?.close();
  }
  return { rows: opened.map((subject) => rowOf(title, subject)), unavailable };
}

/** Runs twice what a round runs, at least, and finds out how many operations that is. */
async function warmUp(subject: Opened, operations: number | undefined): Promise<void> {
  if (operations !== undefined) {
    subject.operations = operations;
    for (let run = 0; run < 2; run++) await subject.timer(operations);
    return;
  }
  for (let count = 1; ; count *= 2) {
    const { nanoseconds } = await subject.timer(count);
    if (nanoseconds < ROUND_MS * 1e6 && count < OPERATIONS_MAX) continue;
    subject.operations = count;
    return;
  }
}

async function timed(runner: Runner, operations: number): Promise<Timed> {
  const cpuBefore = process.cpuUsage();
  const before = process.hrtime.bigint();
  const own = await runner.run(operations);
  const elapsed = Number(process.hrtime.bigint() - before);
  const nanoseconds = own === undefined ? elapsed : own * operations;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { nanoseconds, cpuMicroseconds: user + system };
}

async function measureRound(subject: Opened): Promise<void> {
  globalThis.gc?.(); // what others left behind is not this subject's time
  const { nanoseconds, cpuMicroseconds } = await subject.timer(subject.operations);
  subject.nanoseconds.push(nanoseconds / subject.operations);
  subject.cpuMicroseconds.push(cpuMicroseconds / subject.operations);
}

function rowOf(title: string, subject: Opened): Row {
  const nsPerOperation = spreadOf(subject.nanoseconds);
  return {
    case: title,
    subject: subject.name,
    operations: subject.operations,
    rounds: subject.nanoseconds.length,
    operationsPerSecond: 1e9 / nsPerOperation.median,
    nsPerOperation,
    cpuMicrosecondsPerOperation: spreadOf(subject.cpuMicroseconds).median,
  };
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (index: number) => sorted[index] ?? Number.NaN;
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2;
  return { min: at(0), median, max: at(sorted.length - 1) };
}

function judge(
  target: Target,
  rows: readonly Row[],
  cases: readonly [string, Case][],
): TargetResult {
  const { name, comparison, unit } = target;
  const goal = `${comparison} ${target.goal} ${unit}`;
  const find: RowOf = (title, subject) => {
    const row = rows.find((r) => r.case === title && r.subject === subject);
    if (row !== undefined) return row;
    const declared = cases.some(
      ([t, { subjects }]) => t === title && Object.hasOwn(subjects, subject),
    );
    if (declared) throw new MissingRow();
    throw new Error(`target ${name}: there is no case ${title} with subject ${subject}`);
  };
  try {
    const measured = target.measure(find);
    const met = comparison === '<=' ? measured <= target.goal : measured >= target.goal;
    return { name, goal, measured, met };
  } catch (error) {
    if (!(error instanceof MissingRow)) throw error;
    return { name, goal, measured: null, met: null };
  }
}

/** A table is at most 80 columns wide: widths with padding, and a border on each side of each. */
const ROW_WIDTHS = [23, 10, 10, 10, 10, 10];
const TARGET_WIDTHS = [38, 17, 13, 7];

function tableOf(head: string[], colWidths: number[], cells: string[][], numbersFrom: number) {
  const table = new Table({
    head,
    colWidths,
    wordWrap: true,
    colAligns: head.map((_, column) => (column >= numbersFrom ? 'right' : 'left')),
    style: { head: [], border: [] },
  });
  table.push(...cells);
  return table.toString();
}

function rowTable(rows: readonly Row[]): string {
  const head = ['subject', 'op/s', 'median', 'min', 'max', 'CPU'];
  const cells = rows.map((row) => [
    row.subject,
    formatCount(row.operationsPerSecond),
    formatTime(row.nsPerOperation.median),
    formatTime(row.nsPerOperation.min),
    formatTime(row.nsPerOperation.max),
    formatTime(row.cpuMicrosecondsPerOperation * 1e3),
  ]);
  return tableOf(head, ROW_WIDTHS, cells, 1);
}

function targetTable(results: readonly TargetResult[], targets: readonly Target[]): string {
  const cells = results.map(({ name, goal, measured, met }, index) => [
    name,
    goal,
    measured === null ? '-' : `${Number(measured.toPrecision(4))} ${targets[index]?.unit ?? ''}`,
    met === null ? '-' : met ? 'yes' : 'NO',
  ]);
  return tableOf(['target', 'goal', 'measured', 'met'], TARGET_WIDTHS, cells, 1);
}

/** Three figures and a unit: 950, 12.3 k, 4.56 M. */
export function formatCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toPrecision(3)} G`;
  if (count >= 1e6) return `${Number((count / 1e6).toPrecision(3))} M`;
  if (count >= 1e3) return `${Number((count / 1e3).toPrecision(3))} k`;
  return String(Number(count.toPrecision(3)));
}

/** Three figures and a unit: 950 ns, 12.3 µs, 4.56 ms, 7 s. */
export function formatTime(nanoseconds: number): string {
  if (nanoseconds >= 1e9) return `${Number((nanoseconds / 1e9).toPrecision(3))} s`;
  if (nanoseconds >= 1e6) return `${Number((nanoseconds / 1e6).toPrecision(3))} ms`;
  if (nanoseconds >= 1e3) return `${Number((nanoseconds / 1e3).toPrecision(3))} µs`;
  return `${Number(nanoseconds.toPrecision(3))} ns`;
}
