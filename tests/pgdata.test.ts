/** Data directories: what is accepted, what is listed, and the demonstration directory. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { encodePgControl, PgControlError } from '../bindings/pg-control.ts';
import { type DemoFacts, makeDemoDirectory } from '../host/node/demo-directory.ts';
import { entriesInOrder } from '../host/node/verify/names.ts';
import {
  DataDirectoryError,
  type DataDirectoryErrorCode,
  listRelationFiles,
  openDataDirectory,
  parseRelationFileName,
  type RelationFile,
} from '../host/node/verify/pgdata.ts';
import { referenceChecksum } from './page-vectors.ts';
import {
  binariesOfSystem,
  makeCluster,
  makeCluster18,
  type RealCluster,
  skipped,
} from './real-postgres.ts';

const test = suite('data directory');

const PAGE_SIZE = 8192;
const NOBODY = 65534;

let scratch = '';
let folders = 0;
test.before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'pgaio-pgdata-'));
  chmodSync(scratch, 0o755);
});
test.after(() => rmSync(scratch, { recursive: true, force: true }));

/** A path in the scratch directory that nothing has yet. */
function fresh(): string {
  return join(scratch, `${folders++}`);
}

/** A directory with the given files; a path that ends in a slash is a directory. */
function tree(files: Readonly<Record<string, string | Uint8Array>>): string {
  const root = fresh();
  mkdirSync(root);
  for (const [path, data] of Object.entries(files)) {
    const full = join(root, path);
    mkdirSync(path.endsWith('/') ? full : dirname(full), { recursive: true });
    if (!path.endsWith('/')) writeFileSync(full, data);
  }
  return root;
}

const PLAIN = {
  PG_VERSION: '18\n',
  'global/pg_control': encodePgControl(),
  'base/': '',
  'pg_tblspc/': '',
} as const;
const SPACE = 'pg_tblspc/16500/PG_18_202506291';

async function list(path: string): Promise<RelationFile[]> {
  const files: RelationFile[] = [];
  for await (const file of listRelationFiles(await openDataDirectory(path))) files.push(file);
  return files;
}

async function refusal(act: () => Promise<unknown>): Promise<DataDirectoryError> {
  try {
    await act();
  } catch (error) {
    if (error instanceof DataDirectoryError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

/** Root may read everything, so it reads as nobody; others take their own permissions away. */
async function asNobody(act: () => Promise<void>): Promise<void> {
  const root = process.getuid?.() === 0;
  if (root) process.seteuid?.(NOBODY);
  try {
    await act();
  } finally {
    if (root) process.seteuid?.(0);
  }
}

const WHICH = 'give the directory that holds PG_VERSION and global/';
type Refused = readonly [string, () => string, DataDirectoryErrorCode, string];
const REFUSED: readonly Refused[] = [
  ['a path that is empty', () => '', 'PGAIO_DATADIR_MISSING', `'': no path; ${WHICH}`],
  [
    'a path that nothing has',
    () => fresh(),
    'PGAIO_DATADIR_MISSING',
    `PATH: no such directory; ${WHICH}`,
  ],
  [
    'a path through a file',
    () => join(tree(PLAIN), 'PG_VERSION/x'),
    'PGAIO_DATADIR_MISSING',
    `PATH: no such directory; ${WHICH}`,
  ],
  [
    'a path with a zero byte',
    () => `${scratch}/a\0b`,
    'PGAIO_DATADIR_MISSING',
    `PATH: no such directory; ${WHICH}`,
  ],
  [
    'a path that is too long',
    () => `${scratch}/${'x'.repeat(300)}`,
    'PGAIO_DATADIR_ACCESS',
    'PATH: cannot be read (File name too long)',
  ],
  [
    'a file',
    () => join(tree(PLAIN), 'PG_VERSION'),
    'PGAIO_DATADIR_NOT_DIRECTORY',
    `PATH: not a directory; ${WHICH}`,
  ],
  [
    'an empty directory',
    () => tree({}),
    'PGAIO_DATADIR_NOT_PGDATA',
    `PATH: not a PostgreSQL data directory (no PG_VERSION); ${WHICH}`,
  ],
  [
    'the directory of one database',
    () => tree({ PG_VERSION: '18\n', '1259': '' }),
    'PGAIO_DATADIR_NOT_PGDATA',
    `PATH: not a PostgreSQL data directory (no global/pg_control); ${WHICH}`,
  ],
  [
    'a directory with a file named global',
    () => tree({ PG_VERSION: '18\n', global: '' }),
    'PGAIO_DATADIR_NOT_PGDATA',
    `PATH: not a PostgreSQL data directory (no global/pg_control); ${WHICH}`,
  ],
  [
    'a directory whose PG_VERSION is a directory',
    () => tree({ 'PG_VERSION/x': '' }),
    'PGAIO_DATADIR_NOT_PGDATA',
    `PATH: not a PostgreSQL data directory (no PG_VERSION); ${WHICH}`,
  ],
  [
    'PostgreSQL 9.6',
    () => tree({ ...PLAIN, PG_VERSION: '9.6\n' }),
    'PGAIO_DATADIR_VERSION',
    'PATH: the data directory of PostgreSQL 9.6; known are 12 to 18',
  ],
  [
    'PostgreSQL 19',
    () => tree({ ...PLAIN, PG_VERSION: '19' }),
    'PGAIO_DATADIR_VERSION',
    'PATH: the data directory of PostgreSQL 19; known are 12 to 18',
  ],
  [
    'a PG_VERSION with something else in it',
    () => tree({ ...PLAIN, PG_VERSION: '\u0000\u0001 what is this, then?' }),
    'PGAIO_DATADIR_VERSION',
    'PATH: PG_VERSION holds no version ("\\u0000\\u0001 what is this, the"); known are 12 to 18',
  ],
  [
    'an empty PG_VERSION',
    () => tree({ ...PLAIN, PG_VERSION: '' }),
    'PGAIO_DATADIR_VERSION',
    'PATH: PG_VERSION holds no version (""); known are 12 to 18',
  ],
  [
    'a PG_VERSION of another cluster',
    () => tree({ ...PLAIN, PG_VERSION: '17\n' }),
    'PGAIO_DATADIR_VERSION',
    "PATH: PG_VERSION says 17, pg_control has version 1800, which is another's; " +
      'restore both from one backup',
  ],
  [
    'an empty pg_control',
    () => tree({ ...PLAIN, 'global/pg_control': '' }),
    'PGAIO_DATADIR_CONTROL',
    'PATH/global/pg_control: pg_control has 0 bytes, at least 12 are needed; ' +
      'restore it from a backup',
  ],
  [
    'a pg_control of the other byte order',
    () => tree({ ...PLAIN, 'global/pg_control': new Uint8Array(8192).fill(7, 10, 12) }),
    'PGAIO_DATADIR_CONTROL',
    'PATH/global/pg_control: pg_control was written by a server of the other byte order ' +
      '(version 1799 reads as 117899264); read it on a machine of that byte order',
  ],
  [
    'a damaged pg_control',
    () => tree({ ...PLAIN, 'global/pg_control': encodePgControl().fill(0, 292, 296) }),
    'PGAIO_DATADIR_CONTROL',
    'PATH/global/pg_control: pg_control is damaged: its CRC is CRC, stored is 00000000; ' +
      'restore it from a backup, or rebuild it with pg_resetwal',
  ],
];
for (const [what, make, code, message] of REFUSED) {
  test(`refuses ${what}`, async () => {
    const path = make();
    const error = await refusal(() => openDataDirectory(path));
    const said = error.message.replace(path || '\n', 'PATH').replace(/CRC is \w+/, 'CRC is CRC');
    assert.is(said, message);
    assert.is(error.code, code);
    assert.is(error.sqlstate, undefined);
    assert.is(error.cause instanceof PgControlError, code === 'PGAIO_DATADIR_CONTROL');
  });
}

test('refuses what it may not read, and names the remedy', async () => {
  const closed = tree(PLAIN);
  const half = tree(PLAIN);
  const inside = tree({ ...PLAIN, 'base/5/1259': '' });
  chmodSync(closed, 0);
  chmodSync(join(half, 'global/pg_control'), 0);
  chmodSync(join(inside, 'base/5'), 0);
  const remedy = 'cannot be read (Permission denied); run as the user who owns the data directory';
  await asNobody(async () => {
    const cases: readonly (readonly [string, string])[] = [
      [closed, closed],
      [half, join(half, 'global/pg_control')],
      [inside, join(inside, 'base/5')],
    ];
    for (const [path, about] of cases) {
      const error = await refusal(() => list(path));
      assert.is(error.code, 'PGAIO_DATADIR_ACCESS');
      assert.is(error.message, `${about}: ${remedy}`);
      assert.is(error.path, about);
    }
  });
  for (const path of [closed, join(inside, 'base/5')]) chmodSync(path, 0o755);
});

test('waits for a server that is writing pg_control', async () => {
  const path = tree({ ...PLAIN, 'global/pg_control': encodePgControl().fill(0, 292, 296) });
  const opened = openDataDirectory(path);
  writeFileSync(join(path, 'global/pg_control'), encodePgControl());
  assert.is((await opened).control.blockSize, 8192);
});

test('says what postmaster.pid hints at', async () => {
  const cases: readonly (readonly [string | undefined, boolean, number | undefined])[] = [
    [undefined, false, undefined],
    ['4711\n/data\n1795617674\n', true, 4711],
    ['-4711\n/data\n', true, 4711],
    ['4711', true, 4711],
    ['', true, undefined],
    ['nonsense', true, undefined],
  ];
  for (const [text, mayRun, pid] of cases) {
    const more = text === undefined ? {} : { 'postmaster.pid': text };
    const directory = await openDataDirectory(tree({ ...PLAIN, ...more }));
    assert.equal([directory.serverMayRun, directory.serverPid], [mayRun, pid], text);
  }
});

test('knows a relation’s file by its name', () => {
  const main = { fork: 'main', temp: undefined, segment: 0 };
  const cases: readonly (readonly [string, object | undefined])[] = [
    ['1', { ...main, relNumber: 1 }],
    ['16384', { ...main, relNumber: 16384 }],
    ['4294967295', { ...main, relNumber: 4294967295 }],
    ['16384.1', { ...main, relNumber: 16384, segment: 1 }],
    ['16384.32767', { ...main, relNumber: 16384, segment: 32767 }],
    ['16384_fsm', { ...main, relNumber: 16384, fork: 'fsm' }],
    ['16384_vm.3', { ...main, relNumber: 16384, fork: 'vm', segment: 3 }],
    ['16384_init', { ...main, relNumber: 16384, fork: 'init' }],
    ['t9_16391', { ...main, relNumber: 16391, temp: 9 }],
    ['t0_16391_fsm.2', { relNumber: 16391, fork: 'fsm', temp: 0, segment: 2 }],
    ['t262143_1', { ...main, relNumber: 1, temp: 262143 }],
    ['0', undefined],
    ['016384', undefined],
    ['4294967296', undefined],
    ['99999999999', undefined],
    ['16384.0', undefined],
    ['16384.01', undefined],
    ['16384.', undefined],
    ['16384.1.2', undefined],
    ['16384.32768', undefined],
    ['16384_main', undefined],
    ['16384_FSM', undefined],
    ['16384_fsm_vm', undefined],
    ['16384_', undefined],
    ['t262144_1', undefined],
    ['t09_1', undefined],
    ['t_1', undefined],
    ['t9', undefined],
    ['T9_1', undefined],
    ['-1', undefined],
    ['1e3', undefined],
    ['16384\n', undefined],
    ['', undefined],
    ['pg_filenode.map.tmp', undefined],
  ];
  for (const [name, expected] of cases) {
    assert.equal(parseRelationFileName(name, 131072), expected, JSON.stringify(name));
  }
});

/** Names of every kind, good and foreign. */
const ALL_KINDS = {
  ...PLAIN,
  'global/1262': 'x',
  'global/1262_fsm': '',
  'global/t3_1262': '',
  'global/pg_filenode.map': '',
  'global/pg_internal.init.4711': '',
  'base/1259': '',
  'base/pgsql_tmp/pgsql_tmp4711.0': '',
  'base/5/PG_VERSION': '18\n',
  'base/5/PG_VERSION.old': '',
  'base/5/pg_filenode.map': '',
  'base/5/pg_internal.init': '',
  'base/5/pgsql_tmp1': '',
  'base/5/.DS_Store': '',
  'base/5/2': '',
  'base/5/16384': '',
  'base/5/16384.2': 'xy',
  'base/5/16384.10': 'xyz',
  'base/5/16384.1': '',
  'base/5/16384_vm': '',
  'base/5/t9_16391': '',
  'base/5/t9_16391.10': '',
  'base/5/t9_16391.2': '',
  'base/5/16384.bak': '',
  'base/5/core': '',
  'base/5/sub/77': '',
  'base/10/3': '',
  'base/old/3': '',
  'pg_tblspc/readme': '',
  [`${SPACE}/5/16400`]: '',
  [`${SPACE}/pgsql_tmp/pgsql_tmp1.0`]: '',
  'pg_tblspc/16500/PG_17_202406281/5/16400': '',
  'pg_wal/000000010000000000000001': '',
};

test('lists relations in order, with foreign files beside them', async () => {
  const path = tree(ALL_KINDS);
  symlinkSync('16384', join(path, 'base/5/16385'));
  symlinkSync('.', join(path, 'base/6'));
  symlinkSync('nowhere', join(path, 'pg_tblspc/elsewhere'));
  const pipe = spawnSync('mkfifo', [join(path, 'base/5/16386')]).status === 0;
  const files = await list(path);
  const lines = files.map(({ path: file, relation, foreign, segment, size }) => {
    if (relation === undefined) return `${file}: ${foreign}`;
    const { spcOid, dbOid, relNumber, fork, temp } = relation;
    const owner = temp === undefined ? '' : ` temp ${temp}`;
    return `${file}: ${spcOid}/${dbOid}/${relNumber} ${fork} ${segment} ${size}${owner}`;
  });
  assert.equal(lines, [
    'global/1262: 1664/0/1262 main 0 1',
    'global/1262_fsm: 1664/0/1262 fsm 0 0',
    'global/t3_1262: name',
    'base/5/2: 1663/5/2 main 0 0',
    'base/5/16384: 1663/5/16384 main 0 0',
    'base/5/16384.1: 1663/5/16384 main 1 0',
    'base/5/16384.2: 1663/5/16384 main 2 2',
    'base/5/16384.10: 1663/5/16384 main 10 3',
    'base/5/16384_vm: 1663/5/16384 vm 0 0',
    'base/5/16385: link',
    ...(pipe ? ['base/5/16386: special'] : []),
    'base/5/t9_16391: 1663/5/16391 main 0 0 temp 9',
    'base/5/t9_16391.2: 1663/5/16391 main 2 0 temp 9',
    'base/5/t9_16391.10: 1663/5/16391 main 10 0 temp 9',
    'base/5/16384.bak: name',
    'base/5/PG_VERSION.old: name',
    'base/5/core: name',
    'base/5/sub/77: name',
    'base/6: link',
    'base/10/3: 1663/10/3 main 0 0',
    'base/1259: name',
    'base/old/3: name',
    `${SPACE}/5/16400: 16500/5/16400 main 0 0`,
    'pg_tblspc/elsewhere: link',
    'pg_tblspc/readme: name',
  ]);
  assert.ok(
    files.every(({ foreign, relation }) => (foreign === undefined) !== (relation === undefined)),
  );
});

test('reads a directory in slices, each name once and in order', () => {
  const path = tree({ 'base/5/7/1': '' });
  const expected = [
    ...['1.524288', '2', '7', '0071', '16384', '16384.1', '16384.10', '16384_fsm', '16384_fsm.2'],
    ...['16384_init', '16384_vm', 't3_16384', '4294967295', '4294967295_vm.524287'],
    ...['4294967296', '16384.bak', 'notes'],
  ];
  for (const name of expected) if (name !== '7') writeFileSync(join(path, 'base/5', name), '');
  for (const keysMax of [2, 3, 4, 9, 10, 11, undefined]) {
    const entries = [...entriesInOrder(join(path, 'base/5'), keysMax)];
    assert.equal(
      entries.map(({ name }) => name),
      expected,
      `${keysMax} at once`,
    );
    assert.equal(
      entries.filter(({ kind }) => kind !== 'file').map(({ name }) => name),
      ['7'],
    );
  }
});

test('lists a file whose name is not UTF-8 as special', async () => {
  const path = tree({ ...PLAIN, 'base/5/1': '' });
  try {
    writeFileSync(Buffer.from(`${path}/base/5/2\xff`, 'latin1'), '');
  } catch {
    skipped('this file system takes only UTF-8 names');
    return;
  }
  const [, file] = await list(path);
  assert.is(file?.foreign, 'special');
});

test('refuses a tablespace that is not there, after listing what is', async () => {
  const target = tree({ 'PG_18_202506291/5/16400': '', 'PG_17_202406281/5/1': '' });
  const other = tree({ 'PG_17_202406281/5/1': '' });
  const path = tree(PLAIN);
  symlinkSync(target, join(path, 'pg_tblspc/16500'));
  assert.equal(
    (await list(path)).map((file) => file.path),
    [`${SPACE}/5/16400`],
  );
  for (const to of [other, join(path, 'nowhere'), join(path, 'PG_VERSION')]) {
    symlinkSync(to, join(path, 'pg_tblspc/16501'));
    const seen: string[] = [];
    const error = await refusal(async () => {
      const directory = await openDataDirectory(path);
      for await (const file of listRelationFiles(directory)) seen.push(file.path);
    });
    assert.is(error.code, 'PGAIO_DATADIR_TABLESPACE');
    assert.is(
      error.message,
      `${path}/pg_tblspc/16501: does not lead to a tablespace with PG_18_202506291; ` +
        "restore the tablespace's directory or its link",
    );
    assert.equal(seen, [`${SPACE}/5/16400`]);
    rmSync(join(path, 'pg_tblspc/16501'));
  }
});

test('does not pass over a directory that every cluster has', async () => {
  for (const lacking of ['base', 'pg_tblspc']) {
    const path = tree(PLAIN);
    rmSync(join(path, lacking), { recursive: true });
    const error = await refusal(() => list(path));
    assert.is(error.code, 'PGAIO_DATADIR_ACCESS');
    assert.is(error.message, `${path}/${lacking}: cannot be read (No such file or directory)`);
  }
});

test('passes over what a server drops meanwhile', async () => {
  const path = tree({ ...PLAIN, 'base/5/1': '', 'base/5/2': '', 'base/6/1': '' });
  const seen: string[] = [];
  for await (const file of listRelationFiles(await openDataDirectory(path))) {
    seen.push(file.path);
    rmSync(join(path, 'base/5/2'), { force: true });
    rmSync(join(path, 'base/6'), { recursive: true, force: true });
  }
  assert.equal(seen, ['base/5/1']);
});

const MIXED_SQL = (tablespace: string): string[] => [
  `CREATE TABLESPACE spc LOCATION '${tablespace}'`,
  'CREATE TABLE here (id int PRIMARY KEY, note text)',
  "INSERT INTO here SELECT g, repeat('x', 100) FROM generate_series(1, 5000) g",
  'CREATE UNLOGGED TABLE loose (id int)',
  'CREATE TABLE there (id int) TABLESPACE spc',
  'INSERT INTO there SELECT generate_series(1, 5000)',
  'VACUUM here',
];

/** A cluster with a tablespace, an unlogged relation and all forks, and what else it needs. */
async function withMixedCluster(
  bin: string | undefined,
  act: (cluster: RealCluster) => Promise<void>,
): Promise<void> {
  const cluster = bin === undefined ? makeCluster18() : makeCluster(bin);
  if ('reason' in cluster) {
    skipped(cluster.reason);
    return;
  }
  try {
    cluster.sql(...MIXED_SQL(cluster.socketDirectory));
    await act(cluster);
  } finally {
    cluster.dispose();
  }
}

test('holds every relation that PostgreSQL 18 has, where it has it', async () => {
  await withMixedCluster(undefined, async (cluster) => {
    const rows = cluster.sql(
      `SELECT pg_relation_filepath(c.oid) AS path, c.relname AS name,
         coalesce(nullif(c.reltablespace, 0), 1663) AS spc,
         CASE WHEN c.relisshared THEN 0 ELSE d.oid END AS db,
         pg_relation_size(c.oid, 'main') AS main, pg_relation_size(c.oid, 'fsm') AS fsm,
         pg_relation_size(c.oid, 'vm') AS vm
       FROM pg_class c, pg_database d
       WHERE d.datname = current_database() AND pg_relation_filepath(c.oid) IS NOT NULL`,
    );
    const directory = await openDataDirectory(cluster.directory);
    const files = new Map((await list(cluster.directory)).map((file) => [file.path, file]));
    assert.ok(rows.length > 200, `${rows.length} relations`);
    for (const { path = '', spc, db, main, fsm, vm } of rows) {
      const relation = files.get(path)?.relation;
      assert.equal([`${relation?.spcOid}`, `${relation?.dbOid}`], [spc, db], path);
      const sizes = ['', '_fsm', '_vm'].map((fork) => `${files.get(path + fork)?.size ?? 0}`);
      assert.equal(sizes, [main, fsm, vm], path);
    }
    const paths = new Map(rows.map(({ name, path }) => [name, path]));
    assert.is(files.get(`${paths.get('loose')}_init`)?.relation?.fork, 'init');
    assert.match(paths.get('there') ?? '', /^pg_tblspc\/\d+\/PG_18_202506291\/5\/\d+$/);
    assert.equal(
      [...files.values()].filter(({ foreign }) => foreign !== undefined),
      [],
    );
    assert.is(directory.majorVersion, 18);
    assert.is(directory.tablespaceDirectory, 'PG_18_202506291');
    assert.is(directory.serverMayRun, false);
    cluster.start();
    const running = await openDataDirectory(cluster.directory);
    assert.is(running.control.state, 'in production');
    assert.ok(running.serverMayRun);
    assert.is(existsSync(`/proc/${running.serverPid}`), true);
    cluster.stop();
    assert.not.ok((await openDataDirectory(cluster.directory)).serverMayRun);
  });
});

const checker = binariesOfSystem(15);
const hasChecker = typeof checker === 'string' && existsSync(join(checker, 'pg_checksums'));
const noChecker = `no pg_checksums of PostgreSQL 15 in /usr/lib/postgresql/15/bin`;

test('has the files and pages that pg_checksums scans', async () => {
  if (typeof checker !== 'string' || !hasChecker) {
    skipped(noChecker);
    return;
  }
  await withMixedCluster(checker, async (cluster) => {
    const base = join(cluster.directory, 'base/5');
    writeFileSync(join(base, 't9_99999'), new Uint8Array(PAGE_SIZE));
    writeFileSync(join(base, 'foreign'), new Uint8Array(PAGE_SIZE));
    mkdirSync(join(base, 'pgsql_tmp'));
    writeFileSync(join(base, 'pgsql_tmp/1'), new Uint8Array(PAGE_SIZE));
    spawnSync('chown', ['-R', '--reference', cluster.directory, base]);
    const { stdout, stderr } = cluster.run('pg_checksums', '-c', '-D', cluster.directory);
    const files = await list(cluster.directory);
    const pages = files.reduce((sum, { size }) => sum + size / PAGE_SIZE, 0);
    assert.is(stderr, '');
    assert.match(stdout, `Files scanned:   ${files.length}\n`);
    assert.match(stdout, `Blocks scanned:  ${pages}\n`);
    assert.match(stdout, 'Bad checksums:  0\n');
    assert.is((await openDataDirectory(cluster.directory)).tablespaceDirectory, 'PG_15_202209061');
    assert.equal(
      files.filter(({ foreign }) => foreign !== undefined).map(({ path }) => path),
      ['base/5/foreign'],
    );
  });
});

function makeDemo(): DemoFacts {
  return makeDemoDirectory(fresh(), referenceChecksum);
}

/** Files below a directory and a digest of them all. */
function digestOf(root: string): string {
  const hash = createHash('sha256');
  const walk = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) walk(path);
      else hash.update(relative(root, path)).update(readFileSync(path));
    }
  };
  walk(root);
  return hash.digest('hex');
}

/** PostgreSQL's verdict on a page (bufpage.c): undefined if it is good. */
function verdict(page: Uint8Array, block: number): string | undefined {
  const view = new DataView(page.buffer, page.byteOffset, PAGE_SIZE);
  const [checksum, flags, lower, upper, special] = [8, 10, 12, 14, 16].map((at) =>
    view.getUint16(at, true),
  ) as [number, number, number, number, number];
  if (upper === 0) return page.every((byte) => byte === 0) ? undefined : 'new';
  if (checksum !== referenceChecksum(page, block)) return 'checksum';
  const ordered = lower <= upper && upper <= special && special <= PAGE_SIZE;
  return (flags & ~7) === 0 && ordered && special % 8 === 0 ? undefined : 'header';
}

test('for demonstration has 400 pages, three of them damaged', async () => {
  const demo = makeDemo();
  const directory = await openDataDirectory(demo.path);
  const { control } = directory;
  assert.equal(
    [control.state, control.blockSize, control.segmentBlocks, control.dataChecksumVersion],
    ['shut down', demo.blockSize, demo.segmentBlocks, 1],
  );
  const files = await list(demo.path);
  const found: object[] = [];
  let blocks = 0;
  let zeros = 0;
  for (const { path, segment, size, foreign } of files) {
    assert.is(foreign, undefined);
    assert.ok(size % PAGE_SIZE === 0 && size <= demo.segmentBlocks * PAGE_SIZE);
    const bytes = readFileSync(join(demo.path, path));
    for (let i = 0; i < size / PAGE_SIZE; i++) {
      const block = segment * demo.segmentBlocks + i;
      const page = bytes.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE);
      const kind = verdict(page, block);
      if (kind !== undefined) found.push({ path, segment, block, kind });
      if (page.every((byte) => byte === 0)) zeros++;
      blocks++;
    }
  }
  assert.equal(found, demo.damaged);
  assert.equal(demo.damaged, [
    { path: 'base/5/16384.1', segment: 1, block: 21, kind: 'checksum' },
    { path: 'base/5/16387', segment: 0, block: 3, kind: 'header' },
    { path: 'base/5/16397.7', segment: 7, block: 117, kind: 'new' },
  ]);
  assert.equal([blocks, files.length, zeros], [400, demo.files, 4]);
  assert.is(demo.blocks, 400);
  const names = new Map(files.map((file) => [file.path, file.size / PAGE_SIZE]));
  const sizes = ['16384', '16384.1', '16384.2', '16387', '16387_fsm', '16387_vm', '16390'];
  assert.equal(
    sizes.map((name) => names.get(`base/5/${name}`)),
    [16, 16, 8, 15, 3, 1, 0],
  );
});

test('for demonstration is the same each time', () => {
  const first = makeDemo();
  const second = makeDemo();
  assert.is(digestOf(first.path), digestOf(second.path));
  assert.equal({ ...first, path: '' }, { ...second, path: '' });
  const differ = new Set<string>();
  for (const name of readdirSync(join(first.path, 'base/5'))) {
    differ.add(readFileSync(join(first.path, 'base/5', name), 'latin1').slice(0, PAGE_SIZE));
  }
  assert.ok(differ.size > 20, 'its pages differ from each other');
});

test('for demonstration is made in an empty directory only', async () => {
  const empty = tree({});
  assert.is(makeDemoDirectory(empty, () => 1).path, empty);
  const cases: readonly (readonly [string, string, string])[] = [
    [
      empty,
      'PGAIO_DATADIR_NOT_EMPTY',
      'not empty; give a directory that is, or one that does not exist',
    ],
    [
      join(empty, 'PG_VERSION'),
      'PGAIO_DATADIR_WRITE',
      'cannot be written (File exists); give a directory that can',
    ],
    [
      join(empty, 'PG_VERSION/x'),
      'PGAIO_DATADIR_WRITE',
      'cannot be written (Not a directory); give a directory that can',
    ],
  ];
  for (const [path, code, words] of cases) {
    const error = await refusal(async () => makeDemoDirectory(path, () => 1));
    assert.is(error.code, code);
    assert.is(error.message, `${path}: ${words}`);
  }
  const untouched = fresh();
  assert.throws(() => makeDemoDirectory(untouched, () => 0), /pageChecksum gave 0; .* 1 to 65535/);
  assert.not.ok(existsSync(untouched));
});

/** The demonstration as a server with segments of 131072 blocks would have written it. */
function joinSegments(demo: DemoFacts): Map<string, Buffer> {
  const relations = new Map<string, Buffer>();
  for (const folder of ['global', 'base/5']) {
    const names = readdirSync(join(demo.path, folder)).filter((name) => /^\d+(_|$)/.test(name));
    for (const name of names) {
      const parts: Buffer[] = [];
      for (let segment = 0; ; segment++) {
        const part = join(demo.path, folder, segment === 0 ? name : `${name}.${segment}`);
        if (!existsSync(part)) break;
        parts.push(readFileSync(part));
      }
      relations.set(`${folder}/${name}`, Buffer.concat(parts));
    }
  }
  return relations;
}

test('for demonstration has one bad checksum for pg_checksums', () => {
  if (typeof checker !== 'string' || !hasChecker) {
    skipped(noChecker);
    return;
  }
  const demo = makeDemo();
  const path = fresh();
  cpSync(demo.path, path, { recursive: true, filter: (name) => !/\/\d+\.\d+$/.test(name) });
  const relations = joinSegments(demo);
  for (const [name, bytes] of relations) writeFileSync(join(path, name), bytes);
  const control = encodePgControl({ controlVersion: 1300, catalogVersion: 202209061 });
  writeFileSync(join(path, 'global/pg_control'), control);
  const { status, stdout, stderr } = spawnSync(join(checker, 'pg_checksums'), ['-c', '-D', path], {
    encoding: 'utf8',
    env: { LC_ALL: 'C' },
  });
  assert.match(stdout, `Files scanned:   ${relations.size}\n`);
  assert.match(stdout, 'Blocks scanned:  400\n');
  assert.match(stdout, 'Bad checksums:  1\n');
  assert.match(stderr, `checksum verification failed in file "${path}/base/5/16384", block 21:`);
  assert.is(status, 1);
});

test('for demonstration has tables that PostgreSQL 18 reads, up to the damage', () => {
  const cluster = makeCluster18({ sql: ['CREATE TABLE t (id int, note text)'] });
  if ('reason' in cluster) {
    skipped(cluster.reason);
    return;
  }
  try {
    const [row] = cluster.sql("SELECT pg_relation_filepath('t') AS path");
    const relations = joinSegments(makeDemo());
    const file = join(cluster.directory, row?.path ?? '');
    const { uid, gid } = statSync(file);
    const read = (name: string, blocks: number): string => {
      const bytes = relations.get(name)?.subarray(0, blocks * PAGE_SIZE) ?? '';
      writeFileSync(file, bytes);
      assert.equal([statSync(file).uid, statSync(file).gid], [uid, gid]);
      try {
        const sql = `SELECT count(*) > 50 * ${blocks} AND min(id) = 1 AND min(length(note)) >= 8
          AND max(length(note)) < 88 AND count(DISTINCT note) = count(*) AS good,
          max(id) / 1000 + 1 AS blocks FROM t`;
        const [found] = cluster.sql(sql);
        return `${found?.good} ${found?.blocks}`;
      } catch (error) {
        return error instanceof Error ? error.message.replace(/^.*ERROR: +/, '') : '';
      }
    };
    const at = row?.path;
    assert.is(read('base/5/16391', 12), 't 8');
    assert.is(read('base/5/16384', 21), 't 21');
    assert.is(read('base/5/16384', 22), `invalid page in block 21 of relation "${at}"`);
    assert.is(read('base/5/16387', 3), 't 3');
    assert.is(read('base/5/16387', 4), `invalid page in block 3 of relation "${at}"`);
    assert.is(read('base/5/16397', 117), 't 117');
    assert.is(read('base/5/16397', 118), `invalid page in block 117 of relation "${at}"`);
  } finally {
    cluster.dispose();
  }
});

test.run();
