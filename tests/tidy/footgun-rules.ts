/** What hurts sooner or later, and what to use instead. */
import { isBelow, isCode, isScript, isTypeScript, perMatch, type Rule } from './rule.ts';
import { importsOf } from './source.ts';

const inCore = isBelow('assembly');

export const FOOTGUN_RULES: readonly Rule[] = [
  {
    name: 'touches shared words through shm/atomics.ts only',
    applies: (path) => inCore(path) && path !== 'assembly/shm/atomics.ts',
    check: (text) =>
      perMatch(text, /\batomic\.|\bmemory\.atomic|\bAtomics\./g, 'an atomic; see shm/atomics.ts'),
    good: { path: 'assembly/a.ts', text: 'loadAcquire32(at); // atomic.load\n' },
    bad: { path: 'assembly/a.ts', text: 'atomic.load<u32>(at);\n' },
  },
  {
    name: 'uses no state word as a field',
    applies: inCore,
    check: (text) =>
      perMatch(text, /\.(?:slot_)?state\b(?!\s*\()/g, 'a plain access to a state word; offsetof'),
    good: { path: 'assembly/a.ts', text: 'offsetof<PgAioHandle>("state");\n' },
    bad: { path: 'assembly/a.ts', text: 'ioh.state = 1;\n' },
  },
  {
    name: 'lets the memory be as large as it is',
    applies: (path) => isTypeScript(path) && /^(?:assembly|bindings|host)\//.test(path),
    check: (text) =>
      perMatch(
        text,
        /\bmemory\.grow\b/g,
        'growth leaves stale views in other threads; allocate once',
      ),
    good: { path: 'assembly/a.ts', text: 'memory.size();\n' },
    bad: { path: 'assembly/a.ts', text: 'memory.grow(1);\n' },
  },
  {
    name: 'takes chance from a seed and time from a clock that can be replaced',
    applies: (path) => isScript(path) && !/(?:^|\/)(?:random|prng|clock)\.ts$/.test(path),
    check: (text) =>
      perMatch(
        text,
        /\bMath\.random\b|\bDate\.now\b|\bnew Date\(\s*\)|\brandom(?:Bytes|Int|UUID)\b/g,
        'not repeatable; take it from the seeded generator or the clock',
      ),
    good: { path: 'tests/random.ts', text: 'Math.random();\n' },
    bad: { path: 'tests/a.ts', text: 'Math.random();\n' },
    exceptions: { 'tests/pg-control.test.ts': 'a real server stamps files by the real clock' },
  },
  {
    name: 'waits for events in tests, not for time',
    applies: (path) => isTypeScript(path) && path.startsWith('tests/'),
    check: (text) =>
      perMatch(
        text,
        /\bset(?:Timeout|Interval)\b|\btimers\/promises\b/g,
        'wait for what is to happen, with a bound',
        { strings: true },
      ),
    good: { path: 'tests/a.ts', text: 'await handle.done; // not setTimeout\n' },
    bad: { path: 'tests/a.ts', text: 'setTimeout(done, 100);\n' },
    exceptions: {
      'tests/tidy/footgun-rules.ts': 'holds the samples of this rule',
      'tests/harness.ts': 'bounds each test in time, so that one that hangs is named',
    },
  },
  {
    name: 'knows no Node in bindings',
    applies: isBelow('bindings'),
    check: (text) => [
      ...importsOf(text)
        .filter(({ specifier }) => specifier.startsWith('node:'))
        .map(
          ({ line, specifier }) => `${line}: ${specifier}; bindings run in browsers, ask the host`,
        ),
      ...perMatch(text, /\b(?:process|Buffer|require|__dirname)\b(?=[.([])/g, 'Node; ask the host'),
    ],
    good: { path: 'bindings/a.ts', text: "import { a } from './b.ts'; // import 'node:fs'\n" },
    bad: { path: 'bindings/a.ts', text: "import fs from 'node:fs';\n" },
  },
  {
    name: 'calls the kernel in the shim only',
    applies: (path) => isCode(path) && !path.startsWith('host/shim/'),
    check: (text) => perMatch(text, /\bsyscall\s*\(/g, 'a system call; it belongs in host/shim'),
    good: { path: 'host/shim/a.c', text: 'syscall(1);\n' },
    bad: { path: 'host/node/a.c', text: 'syscall(1);\n' },
  },
];
