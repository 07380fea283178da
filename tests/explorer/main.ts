/**
 * Explores interleavings of the core:
 *
 *   npm run explore                                 all programs, seeds by chance, until Ctrl-C
 *   npm run explore -- --steps 1000000              as many steps
 *   npm run explore -- --program death --seed 7     that very run
 *   npm run explore -- --faults                     finds each deliberate fault
 *   --fault NAME     with that deliberate fault (faults.ts)
 *   --keep-going     up to ten different findings instead of the first
 *   --log            what happened, step by step
 *
 * With --seed and --steps it begins at that seed. Exits with 1 after a finding, or if a deliberate
 * fault is not found.
 */
import { readSources, simCore } from './build.ts';
import { Explorer, type Run } from './explore.ts';
import { FAULTS, type Fault } from './faults.ts';
import { PROGRAMS } from './programs.ts';

const MAX_FINDINGS = 10;
const SAY_MS = 10_000;
const STEPS_TO_A_FAULT = 1_000_000;

class Options {
  program: string | undefined;
  seed: number | undefined;
  steps: number | undefined;
  fault: Fault | undefined;
  faults = false;
  log = false;
  keepGoing = false;

  constructor(words: readonly string[]) {
    for (let i = 0; i < words.length; i++) {
      const word = words[i] ?? '';
      if (word === '--log') this.log = true;
      else if (word === '--keep-going') this.keepGoing = true;
      else if (word === '--faults') this.faults = true;
      else this.#take(word, words[++i]);
    }
  }

  #take(word: string, value: string | undefined): void {
    if (value === undefined) throw new Error(`${word}: unknown, or lacks its value`);
    if (word === '--program') this.program = oneOf(value, Object.keys(PROGRAMS));
    else if (word === '--seed') this.seed = wholeNumber(word, value);
    else if (word === '--steps') this.steps = wholeNumber(word, value);
    else if (word === '--fault') {
      const name = oneOf(
        value,
        FAULTS.map((fault) => fault.name),
      );
      this.fault = FAULTS.find((fault) => fault.name === name);
    } else throw new Error(`unknown option ${word}`);
  }
}

function oneOf(value: string, known: readonly string[]): string {
  if (!known.includes(value)) throw new Error(`${value}: unknown; there are ${known.join(', ')}`);
  return value;
}

function wholeNumber(word: string, value: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number) || number < 0) throw new Error(`${word} ${value}: no number`);
  return number;
}

/** What has been done so far. */
class Totals {
  readonly #begun = performance.now();
  #spoken = this.#begun;
  steps = 0;
  runs = 0;
  systemCalls = 0;
  deaths = 0;
  abandoned = 0;
  readonly findings = new Set<string>();

  /** Takes a run in; true if it found something new. */
  add(run: Run): boolean {
    this.runs++;
    this.steps += run.steps;
    this.systemCalls += run.ios;
    this.deaths += run.deaths;
    if (run.abandoned) this.abandoned++;
    if (run.finding === undefined) return false;
    const kind = run.finding.replace(/\d+|backend [A-Z]/g, 'N').slice(0, 60);
    const isNew = !this.findings.has(kind);
    this.findings.add(kind);
    return isNew;
  }

  say(): void {
    const seconds = (performance.now() - this.#begun) / 1000;
    const { steps, runs, systemCalls, deaths, abandoned } = this;
    const speed = Math.round(steps / seconds);
    console.log(
      `${steps} steps in ${runs} runs, ${systemCalls} system calls, ${deaths} threads ended, ` +
        `${abandoned} runs abandoned, ${this.findings.size} findings, ${speed} steps/s`,
    );
  }

  sayNowAndThen(): void {
    if (performance.now() - this.#spoken < SAY_MS) return;
    this.#spoken = performance.now();
    this.say();
  }
}

let stopped = false;
process.on('SIGINT', () => {
  stopped = true;
});
const letSignalsThrough = () => new Promise((resolve) => setImmediate(resolve));

async function explore(options: Options): Promise<number> {
  const { fault, seed: given, log } = options;
  const explorer = new Explorer(await simCore(fault), readSources(), fault);
  const programs = options.program === undefined ? Object.keys(PROGRAMS) : [options.program];
  const byChance = (process.pid * 7919 + Math.floor(performance.timeOrigin)) % 1_000_000_000;
  const first = given ?? byChance;
  if (given === undefined) console.log(`first seed ${first}`);
  const most = options.steps ?? (given === undefined ? Number.POSITIVE_INFINITY : 1);
  const totals = new Totals();
  for (let seed = first; !stopped && totals.steps < most; seed++) {
    for (const program of programs) {
      const run = explorer.run(program, seed, log ? (line) => console.log(line) : undefined);
      if (!totals.add(run)) continue;
      const more = fault === undefined ? '' : ` --fault ${fault.name}`;
      console.log(
        `\nfinding after ${totals.steps} steps: ${program}, seed ${seed}: ${run.finding}`,
      );
      console.log(`  npm run explore -- --program ${program} --seed ${seed}${more} --log`);
      stopped = !options.keepGoing || totals.findings.size >= MAX_FINDINGS;
      if (stopped) break;
    }
    totals.sayNowAndThen();
    await letSignalsThrough();
  }
  totals.say();
  return totals.findings.size > 0 ? 1 : 0;
}

/** Every deliberate fault with its program, until it is found. */
async function findFaults(): Promise<number> {
  let missed = 0;
  for (const fault of FAULTS) {
    const explorer = new Explorer(await simCore(fault), readSources(), fault);
    const most = Math.max(STEPS_TO_A_FAULT, fault.once ?? 0);
    let steps = 0;
    let finding: string | undefined;
    for (let seed = 1; finding === undefined && steps < most && !stopped; seed++) {
      const run = explorer.run(fault.program, seed);
      steps += run.steps;
      finding = run.finding;
      await letSignalsThrough();
    }
    if (finding === undefined) missed++;
    console.log(
      `${fault.name}: ${finding === undefined ? 'not found' : 'found'} in ${steps} steps`,
    );
    console.log(`  ${fault.words}\n  ${finding ?? ''}`);
    if (stopped) break;
  }
  return missed > 0 ? 1 : 0;
}

try {
  const options = new Options(process.argv.slice(2));
  process.exitCode = await (options.faults ? findFaults() : explore(options));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
