/** The program `pgaio` as its users meet it: started, with what it prints and its exit status. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { encodePgControl } from '../bindings/pg-control.ts';
import { type DemoFacts, makeDemoDirectory } from '../host/node/demo-directory.ts';
import { referenceChecksum } from './page-vectors.ts';
import { skipped } from './real-postgres.ts';

const CLI = 'dist/cli.js';
const NOBODY = 65534;
const COLUMNS = 80;
const TIME_LIMIT_MS = 60_000;

const test = suite('pgaio');
let scratch = '';
let folders = 0;
let facts: DemoFacts;
test.before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'pgaio-cli-'));
  chmodSync(scratch, 0o755);
  facts = makeDemoDirectory(join(scratch, 'demo'), referenceChecksum);
});
test.after(() => rmSync(scratch, { recursive: true, force: true }));

function fresh(): string {
  return join(scratch, `${folders++}`);
}

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}
function run(args: readonly string[], options: { env?: object; uid?: number } = {}): Ran {
  const { env = {}, ...rest } = options;
  return spawnSync(process.execPath, [CLI, ...args], {
    encoding: 'utf8',
    timeout: TIME_LIMIT_MS,
    env: { ...process.env, ...env },
    ...rest,
  });
}

/** A copy of the demonstration with its damaged pages made new ones. */
function sound(): string {
  const path = fresh();
  cpSync(facts.path, path, { recursive: true });
  for (const { path: file, block } of facts.damaged) {
    const full = join(path, file);
    const bytes = readFileSync(full);
    const at = (block % facts.segmentBlocks) * facts.blockSize;
    writeFileSync(full, bytes.fill(0, at, at + facts.blockSize));
  }
  return path;
}

function assertNarrow(text: string): void {
  for (const line of text.split('\n')) assert.ok(line.length <= COLUMNS, line);
}
const lastLine = (text: string): string | undefined => text.trimEnd().split('\n').at(-1);

/** Nothing on standard output, one line on standard error, status 2. */
function assertRefused(ran: Ran, words: string | RegExp): void {
  assert.is(ran.stdout, '');
  const [, line] = /^pgaio: ([^\n]+)\n$/.exec(ran.stderr) ?? [];
  assert.ok(line !== undefined, `not one line: ${ran.stderr}`);
  if (typeof words === 'string') assert.is(line, words);
  else assert.match(line, words);
  assert.is(ran.status, 2);
}

test('demonstrates itself when it is given nothing, and cleans up', () => {
  const temporary = fresh();
  mkdirSync(temporary);
  for (const args of [[], ['scan'], ['scan', '--provider', 'direct'], ['--combine', '1']]) {
    const { status, stdout, stderr } = run(args, { env: { TMPDIR: temporary } });
    assert.is(stderr, '');
    assert.is(status, 0);
    assertNarrow(stdout);
    assert.match(stdout, /^No directory is given, so this is a demonstration\./);
    for (const line of [
      '  base/5/16384.1, block 21 (5 of segment 1): checksum is 1388, should be 3405',
      '  base/5/16387, block 3: header makes no sense',
      '  base/5/16397.7, block 117 (5 of segment 7): never used, and yet not zero',
    ]) {
      assert.ok(stdout.split('\n').includes(line), line);
    }
    assert.is(
      lastLine(stdout),
      '3 damaged pages found: exactly those that the demonstration contains.',
    );
    assert.equal(readdirSync(temporary), []);
  }
});

test('keeps the demonstration when asked to, and says where', () => {
  const temporary = fresh();
  mkdirSync(temporary);
  const { status, stderr } = run(['--keep'], { env: { TMPDIR: temporary } });
  assert.is(status, 0);
  const [, path = ''] = /^pgaio: the demonstration directory is kept: (.+)\n$/.exec(stderr) ?? [];
  assert.ok(path.startsWith(temporary), stderr);
  assert.is(run([path]).status, 1);
});

test('reports what it did, and the damage, in 80 columns', () => {
  for (const args of [[facts.path], ['scan', facts.path]]) {
    const { status, stdout, stderr } = run(args);
    assert.is(status, 1);
    assert.is(stderr, '');
    assertNarrow(stdout);
    const lines = stdout.split('\n');
    for (const line of [
      `directory   ${facts.path}`,
      'cluster     PostgreSQL 18, shut down',
      'checksums   on',
      'method      sync, 16 blocks of 8 kB per I/O',
      'provider    wasi',
      'files       30',
      'blocks      400, of which 4 new',
      'bytes       3,276,800 (3.3 MB)',
    ]) {
      assert.ok(lines.includes(line), `no line ${line}`);
    }
    assert.match(stdout, /\nseconds {5}\d+\.\d+\nspeed {7}[\d,]+ MB\/s, [\d,]+ pages\/s\n/);
    assert.is(lastLine(stdout), '3 damaged pages, in 3 files.');
  }
});

test('exits with 0 where nothing is damaged', () => {
  const path = sound();
  for (const args of [[path], [path, '--provider', 'direct'], [path, '--combine', '128']]) {
    const { status, stdout, stderr } = run(args);
    assert.is(stderr, '');
    assert.is(status, 0);
    assert.is(lastLine(stdout), 'No damage: 400 pages, all valid.');
  }
});

test('reads past the page cache', () => {
  const ran = run([facts.path, '--direct']);
  if (/cannot be read past the page cache/.test(ran.stderr)) {
    skipped('the temporary directory has no O_DIRECT');
    return;
  }
  assert.is(ran.status, 1);
  assert.match(ran.stdout, /^provider {4}direct, past the page cache$/m);
});

test('prints one JSON object', () => {
  const { status, stdout, stderr } = run([facts.path, '--json']);
  assert.is(stderr, '');
  assert.is(status, 1);
  const told = JSON.parse(stdout);
  const { findings, seconds, mbPerSecond, pagesPerSecond, systemIdentifier, version, ...rest } =
    told;
  assert.equal(rest, {
    directory: facts.path,
    majorVersion: 18,
    state: 'shut down',
    dataChecksums: true,
    blockSize: 8192,
    segmentBlocks: 16,
    serverMayRun: false,
    changed: false,
    ioMethod: 'sync',
    provider: 'wasi',
    direct: false,
    ioCombineLimit: 16,
    status: 'damaged',
    files: 30,
    filesDone: 30,
    bytes: 3276800,
    bytesDone: 3276800,
    blocks: 400,
    newPages: 4,
    damagedPages: 3,
    rereadPages: 0,
    unreadBlocks: 0,
    vanishedFiles: 0,
    truncatedFiles: 0,
    foreignFiles: [],
    findingsOmitted: 0,
  });
  assert.is(version, JSON.parse(readFileSync('package.json', 'utf8')).version);
  assert.match(systemIdentifier, /^\d+$/);
  assert.ok(seconds > 0 && mbPerSecond > 0 && pagesPerSecond > 0);
  assert.equal(findings[0], {
    kind: 'page',
    path: 'base/5/16384.1',
    relation: { spcOid: 1663, dbOid: 5, relNumber: 16384, fork: 'main' },
    segment: 1,
    block: 21,
    blockInFile: 5,
    faults: ['checksum'],
    calculated: 3405,
    stored: 1388,
  });
  assert.is(findings.length, 3);
});

test('prints JSON for the demonstration and for a clean directory too', () => {
  const demo = run(['--json']);
  assert.is(demo.status, 0);
  const { status, demo: told } = JSON.parse(demo.stdout);
  assert.is(status, 'damaged');
  assert.is(told.expected.length, 3);
  assert.equal(told.differences, []);
  const clean = run([sound(), '--json']);
  assert.is(clean.status, 0);
  assert.is(JSON.parse(clean.stdout).status, 'clean');
});

test('documents each member of that object', () => {
  const help = run(['scan', '--help']);
  assert.is(help.status, 0);
  assertNarrow(help.stdout);
  const object = JSON.parse(run(['--json']).stdout);
  for (const name of Object.keys(object)) assert.match(help.stdout, new RegExp(`\\b${name}\\b`));
});

test('tells its version', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
  for (const args of [['--version'], ['scan', '--version']]) {
    const { status, stdout } = run(args);
    assert.is(status, 0);
    assert.is(stdout, `${version}\n`);
  }
});

/** Arguments made when the test runs, and the one line that answers them. */
const REFUSED: readonly (readonly [string, () => readonly string[], string | RegExp])[] = [
  ['a directory that is not there', () => [fresh()], /^\S+: no such directory; give the /],
  ['a file', () => [join(facts.path, 'PG_VERSION')], /^\S+: not a directory; give the /],
  ['an empty path', () => [''], /^'': no path; give the /],
  ['a directory of something else', () => [tmpdir()], /^\S+: not a PostgreSQL data directory /],
  ['a damaged pg_control', () => [withControl((bytes) => bytes.fill(7, 40, 44))], / CRC/],
  [
    'a pg_control that is cut off',
    () => [withControl((bytes) => bytes.subarray(0, 100))],
    /pg_con/,
  ],
  ['a link to a tablespace that is gone', () => [withoutTablespace()], /pg_tblspc\/16500/],
  ['an unknown option', () => ['--jsom'], "unknown option '--jsom' (Did you mean --json?)"],
  ['two directories', () => [facts.path, facts.path], /^too many arguments/],
  ['no block per I/O', () => ['--combine', '0'], /--combine .* Expected a whole number from 1 to/],
  ['129 blocks per I/O', () => ['--combine', '129'], /Expected a whole number from 1 to 128\.$/],
  ['part of a block per I/O', () => ['--combine', '1.5'], /Expected a whole number/],
  ['an unknown provider', () => ['--provider', 'uring'], /Allowed choices are direct, wasi\.$/],
  [
    'an unknown method',
    () => ['--io-method', 'aio'],
    /^invalid value for parameter "io_method": "aio"; Available values: sync/,
  ],
  ['a method that needs a device', () => ['--io-method', 'host'], /brings? a device/],
  [
    'O_DIRECT of WASI',
    () => ['--direct', '--provider', 'wasi'],
    'provider wasi cannot read past the page cache; use --provider direct',
  ],
  [
    'to keep what is not its own',
    () => ['--keep', facts.path],
    '--keep is for the demonstration, without DIR',
  ],
];

function withControl(change: (bytes: Buffer) => Uint8Array): string {
  const path = fresh();
  cpSync(facts.path, path, { recursive: true });
  const control = join(path, 'global/pg_control');
  writeFileSync(control, change(readFileSync(control)));
  return path;
}
function withoutTablespace(): string {
  const path = sound();
  symlinkSync(fresh(), join(path, 'pg_tblspc/16500'));
  return path;
}
for (const [what, args, words] of REFUSED) {
  test(`refuses ${what} in one line`, () => assertRefused(run(args()), words));
}

test('refuses a temporary directory it cannot write to in one line', () => {
  const ran = run([], { env: { TMPDIR: join(scratch, 'none') } });
  assertRefused(ran, /^no temporary directory can be made \(ENOENT: .*\/none\/pgaio-demo-/);
});

test('exits with 2 when a file cannot be read', () => {
  const path = sound();
  const file = join(path, 'base/5/16387');
  chmodSync(file, 0);
  const root = process.getuid?.() === 0;
  if (root) giveAway(path);
  const { status, stdout, stderr } = run([path], root ? { uid: NOBODY } : {});
  if (/Cannot find module|EACCES.*cli\.js/.test(stderr)) {
    skipped('nobody may not read this project');
    return;
  }
  assert.is(stderr, '');
  assert.is(status, 2);
  assert.match(
    stdout,
    / {2}base\/5\/16387: could not open file "base\/5\/16387": Permission denied/,
  );
  assert.match(
    stdout,
    /\nIncomplete: not everything could be read\. 0 damaged pages in what could\.\n$/,
  );
  assertNarrow(stdout);
});
function giveAway(path: string): void {
  chownSync(path, NOBODY, NOBODY);
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const below = join(path, entry.name);
    if (entry.isDirectory()) giveAway(below);
    else chownSync(below, NOBODY, NOBODY);
  }
}

test('says so where there are no checksums, a server runs, or files are not its own', () => {
  const path = sound();
  const control = { blockSize: 8192, segmentBlocks: 16, dataChecksumVersion: 0 };
  writeFileSync(join(path, 'global/pg_control'), encodePgControl(control));
  writeFileSync(join(path, 'postmaster.pid'), '4711\n');
  writeFileSync(join(path, 'base/5/16384.bak'), 'x');
  const { status, stdout, stderr } = run([path, '--verbose']);
  assert.is(status, 0);
  assert.match(stdout, /^checksums {3}off: only headers are checked$/m);
  assert.match(stdout, /^foreign {5}1 file skipped$/m);
  assert.match(stdout, /^A server may be running \(process 4711\)/m);
  assert.is(lastLine(stdout), 'No damage in 400 headers; without checksums that says little.');
  assert.is(stderr, 'pgaio: skipped base/5/16384.bak: no relation has this name here\n');
  assertNarrow(stdout);
});

test('says where a tablespace is read from', () => {
  const path = sound();
  const outside = fresh();
  mkdirSync(join(outside, 'PG_18_202506291/5'), { recursive: true });
  cpSync(join(path, 'base/5/16387'), join(outside, 'PG_18_202506291/5/16387'));
  symlinkSync(outside, join(path, 'pg_tblspc/16500'));
  const { status, stderr, stdout } = run([path, '--verbose']);
  assert.is(status, 0);
  assert.is(stderr, `pgaio: pg_tblspc/16500/ is read by provider wasi in ${outside}\n`);
  assert.is(lastLine(stdout), 'No damage: 415 pages, all valid.');
});

test('reports other findings beside damaged pages', () => {
  const path = sound();
  writeFileSync(join(path, 'base/5/16387'), Buffer.alloc(8192 * 3 + 5));
  rmSync(join(path, 'base/5/16384'));
  const { status, stdout } = run([path]);
  assert.is(status, 1);
  assert.match(
    stdout,
    new RegExp(
      '\\nOther findings:\\n' +
        '  base/5/16384: missing, but segment 1 is there\\n' +
        '  base/5/16387: 5 bytes after the last whole block\\n\\n' +
        '0 damaged pages, 2 other findings, in 2 files\\.\\n$',
    ),
  );
});

/** The end of a process that was started: its status and what it wrote to standard error. */
function ended(child: ChildProcess): Promise<{ status: number | null; stderr: string }> {
  let stderr = '';
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  return new Promise((resolve) => {
    child.on('close', (status) => resolve({ status, stderr }));
  });
}

test('tells the outcome by its status when nobody reads its output', async () => {
  for (const [path, expected] of [
    [facts.path, 1],
    [sound(), 0],
  ] as const) {
    for (const more of [[], ['--json']]) {
      const child = spawn(process.execPath, [CLI, path, ...more], { timeout: TIME_LIMIT_MS });
      child.stdout.destroy();
      assert.equal(await ended(child), { status: expected, stderr: '' });
    }
  }
});

test('exits with 2 when its output cannot be written', () => {
  if (!existsSync('/dev/full')) return skipped('there is no /dev/full');
  const command = `"${process.execPath}" ${CLI} "${sound()}" > /dev/full`;
  const { status, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' });
  assert.is(status, 2);
  assert.match(stderr, /^pgaio: could not write the result: ENOSPC[^\n]*\n$/);
});

/** New pages without end, as holes: a scan of them takes as long as a test needs. */
function endless(): string {
  const path = fresh();
  mkdirSync(join(path, 'base/5'), { recursive: true });
  mkdirSync(join(path, 'global'));
  mkdirSync(join(path, 'pg_tblspc'));
  writeFileSync(join(path, 'PG_VERSION'), '18\n');
  writeFileSync(join(path, 'global/pg_control'), encodePgControl());
  for (let i = 0; i < 64; i++) {
    const file = join(path, `base/5/${20000 + i}`);
    writeFileSync(file, '');
    truncateSync(file, 1 << 30);
  }
  return path;
}
/** Resolves when the process has a file of that directory open. */
async function untilReading(pid: number, path: string): Promise<void> {
  for (;;) {
    const links = readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch {
        return ''; // closed meanwhile
      }
    });
    if (links.some((link) => link.startsWith(join(path, 'base/5/')))) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`stops at ${signal} and says what it covered`, async () => {
    if (process.platform !== 'linux') return skipped('there is no /proc');
    const path = endless();
    for (const more of [[], ['--json']]) {
      const args = [CLI, path, '--combine', '1', ...more];
      const child = spawn(process.execPath, args, { timeout: TIME_LIMIT_MS });
      let stdout = '';
      child.stdout.on('data', (chunk) => {
        stdout += chunk;
      });
      const end = ended(child);
      await untilReading(child.pid ?? 0, path);
      child.kill(signal);
      const outcome = await end;
      assert.is(outcome.status, status);
      assert.match(
        outcome.stderr,
        /^pgaio: interrupted at \d+%: [\d.,]+ of 68,719 MB, [\d,]+ pages?, 0 damaged\n$/,
      );
      assertNarrow(outcome.stderr);
      if (more.length === 0) assert.is(stdout, '');
      else assert.is(JSON.parse(stdout).status, 'interrupted');
    }
  });
}

test.run();
