/**
 * Runs the tests: builds what is out of date, checks types and lint, then every tests/*.test.ts in
 * a process of its own, two at a time. The last line is `N passed, N failed`.
 *
 *   node tests/run.mjs               all
 *   node tests/run.mjs page handle   files whose name contains one of the words; no types, no lint
 *
 * The tests run in the project's folder. PGAIO_SEED goes through to them.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleScripts } from '../tools/bundle.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const PARALLEL = 2;
const OUTPUT_MAX_BYTES = 4 << 20;
const FILE_TIMEOUT_MS = 120_000;
/** For a process that was told to end. */
const GRACE_MS = 2_000;
/** Files that may take longer, with the reason. @type {Record<string, number>} */
const LONG_TIMEOUTS_MS = {
  'cli.test': 300_000, // starts the program a hundred times
  'online.test': 600_000, // as long as it is told to
  'verify-system.test': 300_000, // the same, over a gigabyte of holes
  // It compiles the core anew for each deliberate fault.
  'explorer.test': 300_000,
  'browser-suites.test': 300_000, // most of the core's cases once more, in a browser
  'bundlers.test': 240_000, // three bundlers and six pages
  'inspector.test': 420_000, // some sixty pages
};

/**
 * @typedef {object} Outcome
 * @property {number} passed
 * @property {number} failed
 * @property {number} skipped
 * @property {string[]} problems what is wrong beside failing tests
 * @property {string} output all that was printed
 * @property {string[]} notes lines to show even if all is well
 * @property {number} milliseconds
 */

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();

/**
 * @param {string[]} arguments_ for node
 * @param {{ timeoutMs: number, onEvent?: (event: Record<string, string>) => void }} options
 * @returns {Promise<{ output: string, ending: string | undefined }>}
 *   `ending`: undefined if it ended with 0, else words
 */
function runNode(arguments_, { timeoutMs, onEvent }) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, arguments_, {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      env: { ...process.env, PGAIO_TEST_RUNNER: '1', NO_COLOR: '1', FORCE_COLOR: undefined },
    });
    running.add(child);
    let output = '';
    let overrun = false;
    let events = '';
    const keep = (/** @type {Buffer} */ chunk) => {
      if (output.length < OUTPUT_MAX_BYTES) output += chunk.toString();
    };
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    child.stdio[3]?.on('data', (chunk) => {
      const lines = (events + chunk).split('\n');
      events = lines.pop() ?? '';
      for (const line of lines) onEvent?.(JSON.parse(line));
    });
    const kill = setTimeout(() => child.kill('SIGKILL'), timeoutMs + GRACE_MS);
    const stop = setTimeout(() => {
      overrun = true;
      child.kill('SIGTERM');
    }, timeoutMs);
    const end = (/** @type {string | undefined} */ ending) => {
      clearTimeout(stop);
      clearTimeout(kill);
      running.delete(child);
      resolve({ output, ending: overrun ? `still running after ${timeoutMs / 1000} s` : ending });
    };
    child.on('error', (error) => end(error.message));
    child.on('exit', (code, signal) => {
      const ending = signal ? `killed by ${signal}` : code ? `exit ${code}` : undefined;
      child.on('close', () => end(ending));
      // A process that a test leaves behind may hold the pipes open.
      setTimeout(() => end(ending), GRACE_MS).unref();
    });
  });
}

/** Last number after `label:` in uvu's totals. @param {string} output @param {string} label */
function totalOf(output, label) {
  const found = [...output.matchAll(new RegExp(`^ {2}${label}: +(\\d+)$`, 'gm'))].at(-1);
  return found ? Number(found[1]) : undefined;
}

/** @param {string} name of tests/NAME.ts @returns {Promise<Outcome>} */
async function runTestFile(name) {
  const started = performance.now();
  let current = '';
  /** @type {string[]} */
  const problems = [];
  const { output, ending } = await runNode(['--enable-source-maps', `dist/tests/${name}.js`], {
    timeoutMs: LONG_TIMEOUTS_MS[name] ?? FILE_TIMEOUT_MS,
    onEvent(event) {
      if (event.started) current = event.started;
      if (event.neverRun) problems.push(`suite never run, call run(): ${event.neverRun}`);
    },
  });
  const total = totalOf(output, 'Total');
  let passed = totalOf(output, 'Passed') ?? 0;
  const failed = (total ?? 0) - passed;
  const notes = output.split('\n').filter((line) => line.startsWith('skipped:'));
  const skippedByUvu = totalOf(output, 'Skipped') ?? 0;
  const skippedWhileRunning = Math.max(0, notes.length - skippedByUvu);
  passed -= Math.min(passed, skippedWhileRunning); // it said so and returned
  const unfinished = total === undefined;
  if (ending !== undefined && (failed === 0 || unfinished)) problems.push(ending);
  else if (unfinished) problems.push('no totals: it calls no run()');
  if (total === 0 && skippedByUvu === 0) problems.push('not one test');
  if (unfinished && current) problems.push(`last test begun: ${current}`);
  return {
    passed,
    failed: problems.length > 0 ? Math.max(failed, 1) : failed,
    skipped: skippedByUvu + skippedWhileRunning,
    problems,
    output,
    notes,
    milliseconds: performance.now() - started,
  };
}

/** @param {string[]} arguments_ @returns {Promise<Outcome>} */
async function runCheck(arguments_) {
  const started = performance.now();
  const { output, ending } = await runNode(arguments_, { timeoutMs: FILE_TIMEOUT_MS });
  return {
    passed: 0,
    failed: ending === undefined ? 0 : 1,
    skipped: 0,
    problems: ending === undefined ? [] : [ending],
    output,
    notes: [],
    milliseconds: performance.now() - started,
  };
}

/** Puts tests/guard.mjs in the place of uvu. @type {import('esbuild').Plugin} */
const GUARD = {
  name: 'guard',
  setup({ onResolve }) {
    const guard = `${ROOT}/tests/guard.mjs`;
    onResolve({ filter: /^uvu$/ }, ({ importer }) =>
      importer === guard ? { path: 'uvu', external: true } : { path: guard },
    );
  },
};

/** What tests start or load by its URL: threads, processes, modules. */
function started() {
  return ['tests', 'tests/stress'].flatMap((folder) =>
    readdirSync(folder)
      .filter((file) => /-(?:thread|child|module)\.ts$|^stress\.ts$/.test(file))
      .map((file) => `${folder}/${file}`),
  );
}

/** @param {string} name @param {Outcome} outcome */
function print(name, outcome) {
  const { passed, failed, skipped, problems, output, notes, milliseconds } = outcome;
  const seconds = `${(milliseconds / 1000).toFixed(1)} s`;
  if (failed > 0) {
    console.log(`\n✘ ${name}  ${passed} passed, ${failed} failed  ${seconds}`);
    console.log(output.trimEnd());
    for (const problem of problems) console.log(`✘ ${name}: ${problem}`);
    console.log('');
    return;
  }
  const counts =
    passed + skipped > 0 ? `${passed} passed${skipped ? `, ${skipped} skipped` : ''}  ` : '';
  console.log(`✔ ${name}  ${counts}${seconds}`);
  for (const note of notes) console.log(`  ${note}`);
}

/** @param {string[]} words */
async function main(words) {
  const all = readdirSync('tests')
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => file.slice(0, -'.ts'.length))
    .sort();
  const chosen = all.filter((n) => words.length === 0 || words.some((word) => n.includes(word)));
  if (chosen.length === 0) {
    console.log(`no test file matches ${words.join(' ')}; there are ${all.join(', ')}`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const totals = { passed: 0, failed: 0, skipped: 0 };
  const built = await runNode(['build.mjs', '--quiet'], { timeoutMs: 10 * FILE_TIMEOUT_MS });
  process.stdout.write(built.output);
  if (built.ending !== undefined) {
    console.log(`✘ build: ${built.ending}`);
    totals.failed++; // what was built before may still be worth testing
  }
  await bundleScripts([...chosen.map((name) => `tests/${name}.ts`), ...started()], 'dist/tests', [
    GUARD,
  ]);
  /** @type {[string, () => Promise<Outcome>][]} */
  const jobs = chosen.map((name) => [name, () => runTestFile(name)]);
  if (words.length === 0) {
    const [tsc, biome] = [
      'node_modules/typescript/bin/tsc',
      'node_modules/@biomejs/biome/bin/biome',
    ];
    const lint = [biome, 'check', '--error-on-warnings', '--colors=off'];
    jobs.unshift(
      ['types', () => runCheck([tsc, '-p', 'tsconfig.json'])],
      ['types of the browser', () => runCheck([tsc, '-p', 'tsconfig.browser.json'])],
      ['types of its tests', () => runCheck([tsc, '-p', 'tests/browser/tsconfig.json'])],
      ['lint', () => runCheck(lint)],
    );
  }
  const lanes = Array.from({ length: PARALLEL }, async () => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
      const outcome = await job[1]();
      print(job[0], outcome);
      totals.passed += outcome.passed;
      totals.failed += outcome.failed;
      totals.skipped += outcome.skipped;
    }
  });
  await Promise.all(lanes);
  return totals;
}

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
process.on('SIGINT', () => process.exit(130));
process.on('SIGTERM', () => process.exit(143));

process.chdir(ROOT);
const { passed, failed, skipped } = await main(process.argv.slice(2)).catch((error) => {
  console.log(error instanceof Error ? (error.stack ?? error.message) : error);
  return { passed: 0, failed: 1, skipped: 0 };
});
if (skipped > 0) console.log(`${skipped} skipped, for the reasons above`);
const totals = `${passed} passed, ${failed} failed\n`;
process.stdout.write(totals, () => process.exit(failed > 0 ? 1 : 0));
