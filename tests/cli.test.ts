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
import { encodePgControl, type PgControl } from '../bindings/pg-control.ts';
import { type DemoFacts, makeDemoDirectory } from '../host/node/demo-directory.ts';
import { referenceChecksum } from './page-vectors.ts';
import { skipped } from './real-postgres.ts';

const CLI = 'dist/cli.cjs';
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

test('demonstrates itself, and cleans up', () => {
  const temporary = fresh();
  mkdirSync(temporary);
  for (const args of [['demo'], ['demo', '--io-method', 'worker'], ['demo', '--max-rate', '100']]) {
    const { status, stdout, stderr } = run(args, { env: { TMPDIR: temporary } });
    assert.is(stderr, '');
    assert.is(status, 0);
    assertNarrow(stdout);
    assert.match(stdout, /^This is a demonstration\./);
    assert.is(lastLine(stdout), '3 damaged pages found: exactly those it contains.');
    assert.equal(readdirSync(temporary), []);
  }
});

test('keeps the demonstration when asked to, and says where', () => {
  const temporary = fresh();
  mkdirSync(temporary);
  const { status, stderr } = run(['demo', '--keep'], { env: { TMPDIR: temporary } });
  assert.is(status, 0);
  const [, path = ''] = /^pgaio: the demonstration directory is kept: (.+)\n$/.exec(stderr) ?? [];
  assert.ok(path.startsWith(temporary), stderr);
  assert.is(run(['verify', path]).status, 1);
});

test('says what is damaged, how, and where, and ends as pg_checksums does', () => {
  for (const args of [
    [facts.path],
    ['--jobs', '1', facts.path],
    ['--jobs', '5', '--io-method', 'worker', facts.path],
  ]) {
    const { status, stdout, stderr } = run(['verify', ...args]);
    assert.is(status, 1);
    assert.is(stderr, '');
    assertNarrow(stdout);
    assert.match(
      stdout,
      new RegExp(
        '^read {8}3\\.3 MB in [\\d.]+ s: [\\d,]+ MB/s, [\\d,]+ pages/s\n\n' +
          'base/5/16384\\.1\n' +
          '  block 21 \\(5 of the file, offset 40960\\): calculated checksum D4D but block\n' +
          '      contains 56C\n\n' +
          'base/5/16387\n' +
          '  block 3 \\(offset 24576\\): header makes no sense\n\n' +
          'base/5/16397\\.7\n' +
          '  block 117 \\(5 of the file, offset 40960\\): never used, and yet not zero\n\n' +
          '4 pages of zeros, never used\\.\n' +
          '3 damaged pages, 1 by checksum\\.\n\n' +
          'Checksum operation completed\n' +
          'Files scanned:   30\n' +
          'Blocks scanned:  400\n' +
          'Bad checksums:  1\n' +
          'Data checksum version: 1\n$',
        'm',
      ),
    );
    assert.match(stdout, new RegExp(`^directory {3}${facts.path}$`, 'm'));
    assert.match(stdout, /^cluster {5}PostgreSQL 18, shut down$/m);
  }
});

test('takes $PGDATA where no directory is given', () => {
  const { status, stdout } = run(['verify'], { env: { PGDATA: facts.path } });
  assert.is(status, 1);
  assert.match(stdout, /^Blocks scanned: {2}400$/m);
  assertRefused(
    run(['verify'], { env: { PGDATA: '' } }),
    'no data directory: give one, or set PGDATA; `pgaio demo` needs none',
  );
});

test('puts neighbours together as a range', () => {
  const path = sound();
  const file = join(path, 'base/5/16397.2');
  const bytes = readFileSync(file);
  for (let block = 3; block < 12; block++) bytes.writeUInt8(99, block * 8192 + 8000);
  writeFileSync(file, bytes);
  const { status, stdout } = run(['verify', path]);
  assert.is(status, 1);
  assertNarrow(stdout);
  const words = new RegExp(
    '^  blocks 35-43 \\(3-11 of the file, offset 24576\\): calculated/contained checksums\\n' +
      '      (?:[0-9A-F]+/[0-9A-F]+\\s+){4}and 5 more$',
    'm',
  );
  assert.match(stdout, words);
  assert.match(stdout, /^9 damaged pages, 9 by checksum\.$/m);
  assert.match(stdout, /^Bad checksums: {2}9$/m);
});

test('exits with 0 where nothing is damaged', () => {
  const path = sound();
  for (const more of [[], ['--jobs', '3'], ['--io-method', 'worker'], ['--max-rate', '50.5']]) {
    const { status, stdout, stderr } = run(['verify', path, ...more]);
    assert.is(stderr, '');
    assert.is(status, 0);
    assert.match(stdout, /\nBlocks scanned: {2}400\nBad checksums: {2}0\n/);
  }
});

test('reads past the page cache', () => {
  const ran = run(['verify', facts.path, '--direct']);
  if (/cannot be read past the page cache/.test(ran.stderr)) {
    skipped('the temporary directory has no O_DIRECT');
    return;
  }
  assert.is(ran.status, 1);
  assert.match(ran.stdout, /^method {6}sync, .*, past the page\n? +cache$/m);
});

test('keeps to the rate that is asked for', () => {
  const before = performance.now();
  assert.is(run(['verify', sound(), '--max-rate', '5']).status, 0); // 3.3 MB
  const seconds = (performance.now() - before) / 1000;
  assert.ok(seconds > 0.4, `${seconds} s`);
});

interface JsonLine {
  readonly type: string;
  readonly [name: string]: unknown;
}
function jsonLines(text: string): JsonLine[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line): JsonLine => JSON.parse(line));
}

test('hears the number of jobs however it is given', () => {
  for (const words of [['-j', '3'], ['-j3'], ['--jobs', '3'], ['--jobs=3']]) {
    const { stdout } = run(['verify', facts.path, '--json', ...words]);
    assert.is(JSON.parse(stdout.split('\n', 1)[0] ?? '').jobs, 3, words.join(' '));
  }
});

test('prints JSON, a line for each finding', () => {
  const { status, stdout, stderr } = run(['verify', facts.path, '--json', '--jobs', '1']);
  assert.is(stderr, '');
  assert.is(status, 1);
  const lines = jsonLines(stdout);
  assert.equal(
    lines.map(({ type }) => type),
    ['cluster', 'finding', 'finding', 'finding', 'summary'],
  );
  const [head, first] = lines;
  const { version, systemIdentifier, ...cluster } = head ?? { type: '' };
  assert.equal(cluster, {
    type: 'cluster',
    format: 1,
    directory: facts.path,
    majorVersion: 18,
    state: 'shut down',
    situation: 'shut down',
    dataChecksumVersion: 1,
    blockSize: 8192,
    segmentBlocks: 16,
    serverMayRun: false,
    ioMethod: 'sync',
    direct: false,
    jobs: 1,
    online: false,
    blocksPerRead: 128,
    readsInFlight: 1,
  });
  assert.is(version, JSON.parse(readFileSync('package.json', 'utf8')).version);
  assert.match(String(systemIdentifier), /^\d+$/);
  assert.equal(first, {
    type: 'finding',
    kind: 'page',
    path: 'base/5/16384.1',
    relation: { spcOid: 1663, dbOid: 5, relNumber: 16384, fork: 'main' },
    segment: 1,
    block: 21,
    blockInFile: 5,
    offset: 40960,
    faults: ['checksum'],
    calculated: 3405,
    stored: 1388,
    lsn: '0/1001528',
    recoverable: false,
  });
});

test('prints a summary as the last line of JSON', () => {
  const { stdout } = run(['verify', facts.path, '--json']);
  const lines = jsonLines(stdout);
  const { seconds, mbPerSecond, ...summary } = lines.at(-1) ?? { type: '' };
  assert.ok(Number(seconds) > 0 && Number(mbPerSecond) > 0);
  assert.equal(summary, {
    type: 'summary',
    format: 1,
    status: 'damaged',
    filesScanned: 30,
    blocksScanned: 400,
    files: 30,
    bytes: 3276800,
    bytesDone: 3276800,
    blocks: 400,
    newPages: 4,
    damagedPages: 3,
    badChecksums: 1,
    randomPages: 1,
    recoverablePages: 0,
    rereadPages: 0,
    unreadBlocks: 0,
    foreignFiles: 0,
    vanishedFiles: 0,
    truncatedFiles: 0,
    changed: false,
    looksEncrypted: false,
  });
});

test('documents each member of that JSON, and each option', () => {
  const page = readFileSync('docs/verify.md', 'utf8');
  const path = sound();
  cpSync(join(facts.path, 'base'), join(path, 'base'), { recursive: true });
  writeFileSync(join(path, 'base/5/notes'), 'x');
  rmSync(join(path, 'base/5/16397.3'));
  writeFileSync(join(path, 'base/5/16391'), Buffer.alloc(5));
  for (const line of jsonLines(run(['verify', '--json', path]).stdout)) {
    for (const name of Object.keys(line)) assert.ok(page.includes(`\`${name}\``), name);
  }
  const help = run(['verify', '--help']);
  assert.match(help.stdout, /\(choices: "sync", "worker",\s+"io_uring", "auto", default: "sync"\)/);
  assert.is(help.status, 0);
  assertNarrow(help.stdout);
  for (const [, option = ''] of help.stdout.matchAll(/^ +(?:-\w, )?(--[a-z-]+)/gm)) {
    if (option !== '--help') assert.ok(page.includes(`\`${option}`), option);
  }
});

test('explains every command with --help, in 80 columns', () => {
  for (const command of ['verify', 'stat', 'page', 'bench', 'demo']) {
    const { status, stdout, stderr } = run([command, '--help']);
    assert.is(status, 0);
    assert.is(stderr, '');
    assertNarrow(stdout);
    assert.match(stdout, new RegExp(`^Usage: pgaio ${command} `));
  }
  const all = run(['--help']);
  assertNarrow(all.stdout);
  assert.match(all.stdout, /^ {2}verify \[options\] \[dir\] /m);
});

test('tells its version', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
  const { status, stdout } = run(['--version']);
  assert.is(status, 0);
  assert.is(stdout, `${version}\n`);
});

const LONG = "option '-j, --jobs <number>' argument";
const METHOD = "option '--io-method <name>' argument";
/** Arguments made when the test runs, and the one line that answers them. */
const REFUSED: readonly (readonly [string, () => readonly string[], string | RegExp])[] = [
  ['a directory that is not there', () => [fresh()], /^\S+: no such directory; give the /],
  ['a file of something else', () => [join(tmpdir(), '/.')], /^\S+: not a PostgreSQL data dir/],
  ['a file that is no relation', () => [join(facts.path, 'PG_VERSION')], /no relations are kept/],
  ['a name no relation has', () => [withFile('base/5/notes')], /notes: not the file of a rel/],
  ['a directory of something else', () => [tmpdir()], /^\S+: not a PostgreSQL data directory /],
  ['a damaged pg_control', () => [withControl((bytes) => bytes.fill(7, 40, 44))], / CRC/],
  [
    'a pg_control that is cut off',
    () => [withControl((bytes) => bytes.subarray(0, 100))],
    /pg_con/,
  ],
  [
    'the other byte order',
    () => [withControl((bytes) => bytes.fill(bytes.subarray(8, 12).reverse(), 8, 12))],
    /written by a server of the other byte order .*; read it on a machine of that byte order$/,
  ],
  ['a link to a tablespace that is gone', () => [withoutTablespace()], /pg_tblspc\/16500/],
  ['an unknown option', () => ['--jsom'], "unknown option '--jsom' (Did you mean --json?)"],
  ['two directories', () => [facts.path, facts.path], /^too many arguments/],
  [
    'no jobs',
    () => ['--jobs', '0'],
    `${LONG} '0' is invalid. Expected a whole number from 1 to 64.`,
  ],
  ['no rate', () => ['--max-rate', '0'], /'0' is invalid. Expected a number above 0\.$/],
  [
    'an unknown method',
    () => ['--io-method', 'aio', facts.path],
    `${METHOD} 'aio' is invalid. Allowed choices are sync, worker, io_uring, auto.`,
  ],
  ['a method that needs a device', () => ['--io-method', 'host', facts.path], /'host' is invalid/],
  [
    'a cluster without checksums',
    () => [withFacts({ dataChecksumVersion: 0 })],
    /: data checksums are not enabled in cluster; enable them with pg_checksums --enable, or give/,
  ],
  ['checksums of another kind', () => [withFacts({ dataChecksumVersion: 2 })], /version 2 is not/],
  [
    'the directory of a server that runs',
    () => [withServer(undefined, 'shut down')],
    /: cluster must be shut down \(postmaster\.pid\); stop the server, or give --online$/,
  ],
  [
    'the directory of a server that may run elsewhere',
    () => [withServer(PID_OF_NOBODY, 'in production')],
    /: a server may run elsewhere \(postmaster.pid names process \d+, and the cluster was not /,
  ],
];
/** Above any that Linux gives. */
const PID_OF_NOBODY = 4194305;

function withFile(name: string): string {
  const path = join(sound(), name);
  writeFileSync(path, 'x');
  return path;
}
function withFacts(facts: Partial<PgControl>): string {
  const path = sound();
  const control = { blockSize: 8192, segmentBlocks: 16, dataChecksumVersion: 1, ...facts };
  writeFileSync(join(path, 'global/pg_control'), encodePgControl(control));
  return path;
}
/** Without a number the process that runs may be any. */
function withServer(pid: number | undefined, state: PgControl['state']): string {
  const path = withFacts({ state });
  writeFileSync(join(path, 'postmaster.pid'), `${pid ?? 'starting'}\n`);
  return path;
}
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
  test(`refuses ${what} in one line`, () => assertRefused(run(['verify', ...args()]), words));
}

test('refuses a temporary directory it cannot write to in one line', () => {
  const ran = run(['demo'], { env: { TMPDIR: join(scratch, 'none') } });
  assertRefused(ran, /^no temporary directory can be made \(ENOENT: .*\/none\/pgaio-demo-/);
});

test('exits with 2 when a file cannot be read', () => {
  const path = sound();
  const file = join(path, 'base/5/16387');
  chmodSync(file, 0);
  const root = process.getuid?.() === 0;
  if (root) giveAway(path);
  const { status, stdout, stderr } = run(['verify', path], root ? { uid: NOBODY } : {});
  if (/Cannot find module|EACCES.*cli\.js/.test(stderr)) {
    skipped('nobody may not read this project');
    return;
  }
  assert.is(stderr, '');
  assert.is(status, 2);
  assert.match(stdout, /^base\/5\/16387\n {2}could not open file [^:]+: Permission\s+denied$/m);
  assert.match(stdout, /^Files scanned: {3}30$/m);
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

test('checks headers alone where there are no checksums', () => {
  const path = withFacts({ dataChecksumVersion: 0 });
  const file = join(path, 'base/5/16387');
  const bytes = readFileSync(file);
  bytes.writeUInt16LE(0xffff, 8192 + 10); // pd_flags
  bytes.writeUInt8(1, 4 * 8192 + 8000); // a checksum would tell
  writeFileSync(file, bytes);
  const { status, stdout } = run(['verify', '--headers', path]);
  assert.is(status, 1);
  assert.match(stdout, /^base\/5\/16387\n {2}block 1 \(offset 8192\): header makes no sense$/m);
  assert.match(stdout, /\nBad checksums: {2}0\nData checksum version: 0\n$/);
});

test('says what a directory is that was not shut down', () => {
  const crashed = run(['verify', withFacts({ state: 'in production' })]);
  assert.is(crashed.status, 0);
  assert.match(crashed.stdout, /^The cluster was not shut down cleanly: /m);
  const leftOver = run(['verify', withServer(PID_OF_NOBODY, 'shut down')]);
  assert.is(leftOver.status, 0);
  assert.match(leftOver.stdout, /^postmaster\.pid is left over: /m);
  const online = run(['verify', '--online', withServer(undefined, 'in production')]);
  assert.is(online.status, 0);
});

test('takes torn pages of a backup for what recovery mends, and damage for damage', () => {
  const path = withFacts({ state: 'in production' });
  const file = join(path, 'base/5/16387');
  const bytes = readFileSync(file);
  const lsnOf = (block: number, lsn: number): void => {
    bytes.writeUInt32LE(lsn, block * 8192 + 4);
    bytes.writeUInt8(1, block * 8192 + 8000);
  };
  lsnOf(1, 0x2000100); // after the backup began: torn
  lsnOf(2, 0x1fffff0); // before: damaged
  lsnOf(4, 0x2000200);
  bytes.writeUInt16LE(0x4004, 4 * 8192 + 18); // and of no size that pages have here: damaged
  lsnOf(5, 0xf0000000); // beyond all the log there is: damaged
  writeFileSync(file, bytes);
  writeFileSync(join(path, 'backup_label'), 'START WAL LOCATION: 0/2000028 (file 0)\nBACKUP\n');
  mkdirSync(join(path, 'pg_wal'));
  writeFileSync(join(path, 'pg_wal/000000010000000000000003'), '');
  const { status, stdout } = run(['verify', path]);
  assert.is(status, 1);
  assertNarrow(stdout);
  assert.match(stdout, /block 1 \(offset 8192\): [^;]*;\s+changed at 0\/2000100, recovery/);
  assert.match(stdout, /^3 damaged pages, 3 by checksum\.\n1 torn page that recovery writes anew/m);
  assert.match(stdout, /^A backup of a running server \(backup_label\)/m);
  assert.match(stdout, /^Bad checksums: {2}3$/m);
});

test('says that pages look encrypted', () => {
  const path = sound();
  const file = join(path, 'base/5/16397.2');
  const bytes = readFileSync(file);
  let state = 1;
  for (let at = 0; at < bytes.length; at += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes.writeInt32LE(state, at);
  }
  writeFileSync(file, bytes);
  const { status, stdout } = run(['verify', path]);
  assert.is(status, 1);
  assert.match(stdout, /^1[456] damaged pages look like random bytes: encrypted/m);
});

test('verifies one relation, one database, or what a path names', () => {
  const path = sound();
  const blocksOf = (...args: string[]): number => {
    const { stdout, stderr } = run(['verify', ...args]);
    assert.is(stderr, '');
    return Number(/^Blocks scanned: {2}(\d+)$/m.exec(stdout)?.[1]);
  };
  assert.is(blocksOf('--filenode', '16387', path), 15 + 3 + 1); // with its maps
  assert.is(blocksOf('-f', '16384', path), 40);
  assert.is(blocksOf('-f', '99', path), 0);
  assert.is(blocksOf('--database', '5', path), 399);
  assert.is(blocksOf('--database', '0', path), 1); // what all databases share
  assert.is(blocksOf(join(path, 'base/5/16384')), 40);
  assert.is(blocksOf(join(path, 'base/5/16384.1')), 40);
  assert.is(blocksOf(join(path, 'base/5')), 399);
  assert.is(blocksOf(join(path, 'base')), 399);
  assert.is(blocksOf(join(path, 'global')), 1);
  assert.is(blocksOf(join(path, 'global'), '-f', '16384'), 0);
});

test('names the files it left alone', () => {
  const path = sound();
  writeFileSync(join(path, 'base/5/16384.bak'), 'x');
  const brief = run(['verify', path]);
  assert.is(brief.status, 0);
  assert.match(brief.stdout, /^1 foreign file left alone; --verbose names them\.$/m);
  const { status, stdout, stderr } = run(['verify', path, '--verbose']);
  assert.is(status, 0);
  assert.is(stderr, '');
  assert.match(stdout, /^Files left alone:\n {2}base\/5\/16384\.bak: no relation has this name/m);
  const lines = jsonLines(run(['verify', path, '--json']).stdout);
  assert.equal(lines[1], { type: 'foreign', path: 'base/5/16384.bak', reason: 'name' });
});

test('shows progress a line a second where there is no terminal', () => {
  const { status, stderr } = run(['verify', sound(), '--progress', '--max-rate', '2.5']);
  assert.is(status, 0);
  const lines = stderr.trimEnd().split('\n');
  for (const line of lines) {
    assert.match(line, /^\d+\/3 MB \(\d+%\) computed, \d+ MB\/s, (?:\?|\d+:\d\d) left$/);
  }
  assert.match(lines.at(-1) ?? '', /^3\/3 MB \(100%\) computed, /);
  assert.is(run(['verify', sound(), '--no-progress']).stderr, '');
});

test('draws a bar on a terminal of 80 columns, and takes it away', () => {
  const command = `stty cols 80; "${process.execPath}" ${CLI} verify --max-rate 3 ${sound()}`;
  const ran = spawnSync('script', ['-qec', command, '/dev/null'], {
    encoding: 'utf8',
    timeout: TIME_LIMIT_MS,
  });
  if (ran.error !== undefined) {
    skipped('there is no `script` to make a terminal with');
    return;
  }
  const drawn = ran.stdout.replaceAll('\u001b', '\n').split(/\n\[[0-9;?]*[a-zA-Z]|[\r\n]/);
  const bars = drawn.filter((text) =>
    /^[#.]+ \d+% {2}[\d.]+ of 3\.3 MB, \d+ MB\/s, .* left$/.test(text),
  );
  assert.ok(bars.length > 2, `${bars.length} bars in ${ran.stdout}`);
  for (const text of drawn) assert.ok(text.length < COLUMNS, text);
  assert.match(ran.stdout, /Checksum operation completed\r\n/);
});

test('reports other findings beside damaged pages', () => {
  const path = sound();
  writeFileSync(join(path, 'base/5/16387'), Buffer.alloc(8192 * 3 + 5));
  rmSync(join(path, 'base/5/16384'));
  const { status, stdout } = run(['verify', path]);
  assert.is(status, 1);
  assert.match(
    stdout,
    new RegExp(
      '\\nbase/5/16384\\n  missing, but segment 1 is there\\n\\n' +
        'base/5/16387\\n  5 bytes after the last whole block\\n',
    ),
  );
  assert.match(stdout, /^Bad checksums: {2}0$/m);
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
      const child = spawn(process.execPath, [CLI, 'verify', path, ...more], {
        timeout: TIME_LIMIT_MS,
      });
      child.stdout.destroy();
      assert.equal(await ended(child), { status: expected, stderr: '' });
    }
  }
});

test('exits with 2 when its output cannot be written', () => {
  if (!existsSync('/dev/full')) return skipped('there is no /dev/full');
  const command = `"${process.execPath}" ${CLI} verify "${sound()}" > /dev/full`;
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
      const args = [CLI, 'verify', path, '--max-rate', '500', ...more];
      const child = spawn(process.execPath, args, { timeout: TIME_LIMIT_MS });
      let stdout = '';
      child.stdout.on('data', (chunk) => {
        stdout += chunk;
      });
      const end = ended(child);
      await untilReading(child.pid ?? 0, path);
      const before = performance.now();
      child.kill(signal);
      assert.equal(await end, { status, stderr: '' });
      const ms = performance.now() - before;
      assert.ok(ms < 1000, `it took ${ms} ms`);
      assertNarrow(more.length === 0 ? stdout : '');
      if (more.length === 0) {
        assert.match(
          stdout,
          /^Interrupted at \d+%: [\d.,]+ of (?:at least )?[\d,]+ MB\nFiles scanned: /m,
        );
      } else assert.is(jsonLines(stdout).at(-1)?.status, 'interrupted');
    }
  });
}

test.run();
