/**
 * Stands in for `uvu` in the bundled tests (tests/run.mjs puts it there), because uvu on its own is
 * content with too little: a suite that nobody runs and a forgotten `.only` both exit with 0, and a
 * promise that never settles ends the process without the test's name. Reports on descriptor 3, a
 * JSON line per event, which the runner reads.
 */
import { fstatSync, writeSync } from 'node:fs';
import { exec, suite as uvuSuite } from 'uvu';

export { exec };

const REPORT_FD = 3;
/** Suites with tests that were not run yet. */
const waiting = new Set();

/** Whether a runner listens: without one, the descriptor may be anything or nothing. */
function listened() {
  try {
    return process.env.PGAIO_TEST_RUNNER !== undefined && fstatSync(REPORT_FD).isSocket();
  } catch {
    return false;
  }
}
const reports = listened();

/** @param {object} event */
function report(event) {
  if (reports) writeSync(REPORT_FD, `${JSON.stringify(event)}\n`);
}

/** @param {string} name @param {any} [state] */
export function suite(name = '', state = {}) {
  const inner = uvuSuite(name, state);
  /** @param {string} test @param {(state: any) => any} handler */
  const outer = (test, handler) => {
    waiting.add(outer);
    inner(test, async (/** @type {any} */ context) => {
      report({ started: `${name ? `${name}: ` : ''}${test}` });
      await handler(context);
    });
  };
  const run = () => {
    waiting.delete(outer);
    inner.run();
  };
  const only = () => {
    throw new Error(`${name}: .only would leave out the other tests; name the file instead`);
  };
  const { before, after, skip } = inner;
  return Object.assign(outer, { suiteName: name, before, after, skip, run, only });
}

export const test = suite();

process.on('exit', () => {
  for (const { suiteName } of waiting) report({ neverRun: suiteName || 'the unnamed suite' });
});
