/**
 * Interleavings of the core, a short walk: fixed seeds of every program, seeds that once led to a
 * finding, and the deliberate faults, which must be found. Longer walks: `npm run explore`.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readSources, simCore } from './explorer/build.ts';
import { Explorer, type Run } from './explorer/explore.ts';
import { FAULTS } from './explorer/faults.ts';
import { PROGRAMS } from './explorer/programs.ts';

const test = suite('explorer');
const STEPS = 120_000;
const STEPS_TO_A_FAULT = 1_000_000;
const FIRST_SEED = 1;

/** Program, seed, and what was wrong. Which interleaving a seed means changes with the core. */
const ONCE_FAILED: readonly (readonly [string, number, string])[] = [
  ['doorbell', 472, 'a late ringer cleared what the owner had just raised'],
  ['doorbell', 1070, 'a late ringer cleared what the owner had just raised'],
  ['death', 152, 'an heir believed a state that had moved on'],
  ['death', 174, 'an heir completed what ended while it looked who had it'],
  ['death', 618, 'a waiter that was woken for a lock and ended left the others asleep'],
  ['death', 751, 'an heir did not wake whom the dead had not'],
  ['death', 1489, 'a worker that ended while it left was counted for ever'],
  ['death', 2731, 'waiters of a dead worker slept on, their I/O reclaimed'],
  ['togetherAimed', 786326955, 'a thread that ended rang a doorbell, and woke nobody'],
  ['ringsAimed', 405, 'who had waited for a ring’s lock took it as if nobody else did'],
];

const words = ({ program, seed, finding }: Run) =>
  `${finding}\n    npm run explore -- --program ${program} --seed ${seed} --log`;

const explorer = new Explorer(await simCore(), readSources());

/** Runs until something is found, or for so many steps. */
function walk(by: Explorer, program: string, steps: number): { run: Run; steps: number } {
  let done = 0;
  for (let seed = FIRST_SEED; ; seed++) {
    const run = by.run(program, seed);
    done += run.steps;
    if (run.finding !== undefined || done >= steps) return { run, steps: done };
  }
}

for (const program of Object.keys(PROGRAMS)) {
  test(`finds nothing in ${STEPS} steps of ${program}`, () => {
    const { run } = walk(explorer, program, STEPS);
    assert.is(run.finding, undefined, words(run));
  });
}

for (const [program, seed, what] of ONCE_FAILED) {
  test(`finds nothing in ${program}, seed ${seed}: ${what}`, () => {
    const run = explorer.run(program, seed);
    assert.is(run.finding, undefined, words(run));
  });
}

test('goes the same way with the same seed', () => {
  const lines: string[][] = [[], []];
  for (const list of lines) explorer.run('death', 7, (line) => list.push(line));
  assert.ok((lines[0]?.length ?? 0) > 100);
  assert.equal(lines[0], lines[1]);
});

test('fills the queue, ends threads and comes to no standstill', () => {
  const runs = Array.from({ length: 40 }, (_, seed) => explorer.run('overflow', seed));
  assert.is(Math.max(...runs.map(({ queued }) => queued)), 63);
  const deaths = Array.from({ length: 40 }, (_, seed) => explorer.run('death', seed));
  assert.ok(deaths.filter((run) => run.deaths > 1).length > 5);
  assert.ok(deaths.filter((run) => run.abandoned).length < 4);
});

for (const fault of FAULTS.filter(({ once }) => once === undefined)) {
  test(`finds a deliberate fault: ${fault.words}`, async () => {
    const faulty = new Explorer(await simCore(fault), readSources(), fault);
    const { run, steps } = walk(faulty, fault.program, STEPS_TO_A_FAULT);
    assert.ok(run.finding !== undefined, `not found in ${steps} steps`);
  });
}

test.run();
