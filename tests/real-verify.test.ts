/**
 * Scans of directories that a real server wrote: no page of a sound cluster is found damaged, every
 * page is counted, and damage done on purpose is found, as the server finds it.
 */
import {
  chmodSync,
  chownSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openDataDirectory } from '../host/node/verify/pgdata.ts';
import {
  type Finding,
  Verification,
  type VerifyOptions,
} from '../host/node/verify/verification.ts';
import { VARIANTS } from './harness.ts';
import { RealClient } from './real-client.ts';
import {
  binariesOfSystem,
  makeCluster,
  makeCluster18,
  type RealCluster,
  skipped,
} from './real-postgres.ts';

const BLOCK = 8192;
const NOBODY = 65534;
const ROOT = process.getuid?.() === 0;

const FILL = (tablespace: string): string[] => [
  `CREATE TABLESPACE spc LOCATION '${tablespace}'`,
  "CREATE TABLE big AS SELECT g AS id, repeat('x', 250) AS note FROM generate_series(1, 40000) g",
  'CREATE INDEX big_id ON big (id)',
  'CREATE TABLE wide (id int, body text)',
  'ALTER TABLE wide ALTER body SET STORAGE EXTERNAL',
  `INSERT INTO wide SELECT g, repeat(md5(g::text), 300) FROM generate_series(1, 200) g`,
  'CREATE TABLE there TABLESPACE spc AS SELECT generate_series(1, 5000) AS id',
  'CREATE UNLOGGED TABLE loose AS SELECT generate_series(1, 1000) AS id',
  'CREATE TABLE none (id int)',
  'VACUUM big',
];

const test = suite('verify: a real cluster');
let cluster: RealCluster | undefined;
let reason = '';
let tablespace = '';
test.before(() => {
  tablespace = mkdtempSync(join(tmpdir(), 'pgaio-tablespace-'));
  if (ROOT) chownSync(tablespace, NOBODY, NOBODY);
  const made = makeCluster18();
  if ('reason' in made) reason = made.reason;
  else {
    cluster = made;
    made.sql(...FILL(tablespace));
  }
});
test.after(() => {
  cluster?.dispose();
  rmSync(tablespace, { recursive: true, force: true });
});

interface Scanned {
  readonly scan: Verification;
  readonly findings: readonly Finding[];
}
async function scanned(path: string, options: VerifyOptions = {}): Promise<Scanned> {
  const scan = new Verification(await openDataDirectory(path), options);
  const findings: Finding[] = [];
  for await (const finding of scan) findings.push(finding);
  return { scan, findings };
}
function lineOf(finding: Finding): string {
  if (finding.kind !== 'page') return `${finding.path} ${finding.kind}`;
  return `${finding.path} ${finding.block} ${finding.faults.join('+')}`;
}

/** Bytes of all files in which the server keeps pages, found without the code under test. */
function bytesOfPages(directory: string): number {
  let sum = 0;
  const walk = (path: string): void => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const full = join(path, entry.name);
      if (entry.isDirectory()) walk(full);
      else if (/^(?:t\d+_)?\d+(?:_\w+)?(?:\.\d+)?$/.test(entry.name)) sum += statSync(full).size;
    }
  };
  for (const part of ['global', 'base']) walk(join(directory, part));
  for (const link of readdirSync(join(directory, 'pg_tblspc'))) {
    walk(join(directory, 'pg_tblspc', `${link}/.`));
  }
  return sum;
}

/** What most tests are for: skips itself where there is no server. */
function withCluster(name: string, act: (cluster: RealCluster) => Promise<void>): void {
  test(name, async () => {
    if (cluster === undefined) {
      skipped(reason);
      return;
    }
    await act(cluster);
  });
}

/** Every way to execute I/O that the program can be told. */
const WAYS = VARIANTS.filter(({ method, provider }) => method !== 'host' && provider === 'direct');

for (const { name, method, shared } of WAYS) {
  if (method !== 'host') {
    withCluster(`finds no page damaged and counts every page (${name})`, async ({ directory }) => {
      const { scan, findings } = await scanned(directory, { ioMethod: method, shared });
      assert.equal(findings, []);
      const { counts } = scan;
      const bytes = bytesOfPages(directory);
      assert.is(counts.bytesDone, bytes);
      assert.is(counts.bytes, bytes);
      assert.is(counts.blocks, bytes / BLOCK);
      assert.ok(counts.blocks > 2000, `${counts.blocks} blocks`);
      assert.is(counts.filesDone, counts.files);
      assert.is(counts.vanishedFiles + counts.truncatedFiles + counts.rereadPages, 0);
      assert.equal(scan.foreign, []);
      assert.is(scan.situation.kind, 'shut down');
      assert.not(scan.changed);
    });
  }
}

/** Paths of relations by name, with that of wide's toast table. */
function pathsOf({ sql }: RealCluster): ReadonlyMap<string, string> {
  const rows = sql(
    `SELECT CASE WHEN relkind = 't' THEN 'toast' ELSE relname::text END AS name,
       pg_relation_filepath(oid) AS path FROM pg_class WHERE relname IN ('big', 'big_id', 'there')
       OR oid = (SELECT reltoastrelid FROM pg_class WHERE relname = 'wide')`,
  );
  return new Map(rows.map(({ name = '', path = '' }) => [name, path]));
}

/** Changes one page of a file. */
function damage(path: string, block: number, change: (page: Buffer) => void): void {
  const bytes = readFileSync(path);
  change(bytes.subarray(block * BLOCK, (block + 1) * BLOCK));
  writeFileSync(path, bytes);
}

/** Runs `act`, and then writes files back as they were. */
async function restoring(
  directory: string,
  paths: readonly string[],
  act: (bytes: ReadonlyMap<string, Buffer>) => Promise<void>,
): Promise<void> {
  const kept = new Map(paths.map((path) => [path, readFileSync(join(directory, path))]));
  try {
    await act(kept);
  } finally {
    for (const [path, bytes] of kept) writeFileSync(join(directory, path), bytes);
  }
}

withCluster('finds the pages that were damaged, and those only', async (real) => {
  const { directory, sql } = real;
  const paths = pathsOf(real);
  const [big = '', index = '', toast = '', there = ''] = ['big', 'big_id', 'toast', 'there'].map(
    (name) => paths.get(name),
  );
  await restoring(directory, [big, index, toast, there], async (kept) => {
    const change = (path: string, block: number, act: (page: Buffer) => void): void =>
      damage(join(directory, path), block, act);
    const flip = (page: Buffer): void => {
      page[5000] = (page[5000] ?? 0) ^ 0x10;
    };
    change(big, 700, flip);
    change(big, 701, (page) => page.fill(0)); // as a file that was extended: a new page
    change(big, 15, (page) => page.writeUInt16LE(0xffff, 10)); // pd_flags
    change(big, 16, (page) => page.writeUInt16LE(0, 14)); // pd_upper: never used, it says
    change(big, 1000, (page) => page.set(kept.get(big)?.subarray(0, BLOCK) ?? [])); // block 0
    change(index, 2, flip);
    change(toast, 100, flip);
    change(there, 3, flip);
    const expected = [
      `${big} 700 checksum`,
      `${big} 15 header+checksum`,
      `${big} 16 garbage`,
      `${big} 1000 checksum`,
      `${index} 2 checksum`,
      `${toast} 100 checksum`,
      `${there} 3 checksum`,
    ].sort();
    for (const { method } of WAYS) {
      for (const combineLimit of [1, 16, 128]) {
        if (method === 'host') continue;
        const { scan, findings } = await scanned(directory, { ioMethod: method, combineLimit });
        assert.equal(findings.map(lineOf).sort(), expected, `${method}, ${combineLimit}`);
        assert.is(scan.counts.blocks, bytesOfPages(directory) / BLOCK);
      }
    }
    for (const block of [15, 16, 700, 1000]) {
      const query = `SELECT count(*) FROM big WHERE ctid = '(${block},1)'`;
      const words = new RegExp(`invalid page in block ${block} of relation "${big}"`);
      assert.throws(() => sql(query), words);
    }
    sql("SELECT count(*) FROM big WHERE ctid = '(701,1)'"); // the server takes it for new, too
  });
  assert.equal((await scanned(directory)).findings, []);
});

withCluster('reports a file that was cut within a page', async (real) => {
  const { directory } = real;
  const there = pathsOf(real).get('there') ?? '';
  await restoring(directory, [there], async (kept) => {
    truncateSync(join(directory, there), (kept.get(there)?.length ?? 0) - 100);
    const { scan, findings } = await scanned(directory);
    assert.is(findings.length, 1);
    assert.equal(findings[0]?.kind === 'partial-block' && findings[0].bytes, BLOCK - 100);
    assert.is(scan.counts.bytesDone, Math.floor(bytesOfPages(directory) / BLOCK) * BLOCK);
  });
});

withCluster(
  'reports nothing while a server writes all the time',
  async ({ start, stop, ...real }) => {
    const little = ['shared_buffers=1MB', 'fsync=off', 'full_page_writes=off', 'autovacuum=off'];
    start(...little.flatMap((setting) => ['-c', setting]));
    const client = await RealClient.open(real.socketDirectory);
    let scans = 0;
    let changes = 0;
    try {
      let done = false;
      const load = (async () => {
        for (let round = 0; round < 12; round++) {
          await client.rows('UPDATE big SET note = note WHERE id % 3 = 0');
          await client.rows(`CREATE TABLE t${round} AS SELECT * FROM big`);
          await client.rows('CHECKPOINT');
          if (round > 0) await client.rows(`DROP TABLE t${round - 1}`);
          if (round % 4 === 3) await client.rows('VACUUM (FULL) big');
          changes++;
        }
      })().finally(() => {
        done = true;
      });
      load.catch(() => undefined); // awaited below, unless a scan fails first
      while (!done) {
        const ioMethod = scans % 2 === 0 ? 'sync' : 'worker';
        const { scan, findings } = await scanned(real.directory, { ioMethod, online: true });
        assert.equal(findings, []);
        assert.is(scan.situation.kind, 'running');
        scans++;
      }
      await load;
    } finally {
      client.end();
      stop();
    }
    assert.is(changes, 12);
    assert.ok(scans > 2, `${scans} scans`);
    assert.equal((await scanned(real.directory)).findings, []);
  },
);

test('agrees with pg_checksums on an older cluster', async () => {
  const bin = binariesOfSystem(15);
  if (typeof bin !== 'string') {
    skipped(bin.reason);
    return;
  }
  const older = makeCluster(bin);
  if ('reason' in older) {
    skipped(older.reason);
    return;
  }
  const space = mkdtempSync(join(tmpdir(), 'pgaio-tablespace-'));
  chmodSync(space, 0o700);
  if (ROOT) chownSync(space, NOBODY, NOBODY);
  try {
    older.sql(...FILL(space));
    const check = (): { blocks: number; bad: number } => {
      const { stdout } = older.run('pg_checksums', '--check', '-D', older.directory);
      const [, blocks] = /Blocks scanned: +(\d+)/.exec(stdout) ?? [];
      const [, bad] = /Bad checksums: +(\d+)/.exec(stdout) ?? [];
      return { blocks: Number(blocks), bad: Number(bad) };
    };
    const sound = await scanned(older.directory);
    assert.equal(sound.findings, []);
    assert.equal(check(), { blocks: sound.scan.counts.blocks, bad: 0 });
    const path = join(older.directory, pathsOf(older).get('big') ?? '');
    for (const block of [0, 1, 500, 1300]) {
      damage(path, block, (page) => page.writeUInt8((page[8000] ?? 0) ^ 1, 8000));
    }
    const damaged = await scanned(older.directory);
    assert.is(damaged.scan.counts.damagedPages, 4);
    assert.equal(check(), { blocks: damaged.scan.counts.blocks, bad: 4 });
  } finally {
    older.dispose();
    rmSync(space, { recursive: true, force: true });
  }
});

test.run();
