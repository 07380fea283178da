/**
 * `pgaio verify --online` on a PostgreSQL that is being written to: nothing is reported that is not
 * so, and pages that are damaged on disk are. A few seconds here; `npm run online` takes a minute.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { VARIANTS } from './harness.ts';
import { putChecksum } from './page-vectors.ts';
import { RealClient } from './real-client.ts';
import { makeCluster18, type RealCluster, skipped } from './real-postgres.ts';
import { makeSyntheticCluster } from './synthetic-cluster.ts';

const CLI = 'dist/cli.cjs';
const PAGE = 8192;
/** How long there is load. PGAIO_ONLINE_SECONDS says so for `npm run online`. */
const SECONDS = Number(process.env.PGAIO_ONLINE_SECONDS ?? 3);
const METHODS = [...new Set(VARIANTS.map(({ method }) => method))].filter((m) => m !== 'host');
const LOADS = 3;
/** Little is kept in the server's cache, so that it writes all the time. */
const SETTINGS = [
  'shared_buffers=1MB',
  'fsync=off',
  'autovacuum_naptime=1s',
  'checkpoint_timeout=30s',
  'bgwriter_delay=10ms',
  'max_wal_size=64MB',
];

const test = suite('pgaio verify --online');
let cluster: RealCluster | undefined;
let reason = '';
test.before(() => {
  const made = makeCluster18();
  if ('reason' in made) {
    reason = made.reason;
    return;
  }
  cluster = made;
  const rows = "SELECT g AS id, repeat('x', 250) AS note FROM generate_series(1, 40000) g";
  made.sql(
    `CREATE TABLE busy AS ${rows}`,
    'CREATE INDEX busy_id ON busy (id)',
    `CREATE TABLE quiet AS ${rows}`,
    'VACUUM (FREEZE) quiet',
    'CHECKPOINT',
  );
  made.start(...SETTINGS.flatMap((setting) => ['-c', setting]));
});
test.after(() => cluster?.dispose());

interface Line {
  readonly type: string;
  readonly [name: string]: unknown;
}
interface Verified {
  readonly status: number | null;
  readonly findings: readonly string[];
  readonly summary: Line;
}

async function verify(...args: readonly string[]): Promise<Verified> {
  const command = [CLI, 'verify', '--online', '--json', ...args];
  const child: ChildProcess = spawn(process.execPath, command);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
  assert.is(stderr, '');
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line): Line => JSON.parse(line));
  const findings = lines
    .filter(({ type }) => type === 'finding')
    .map(({ path, block, faults, kind }) => `${path} ${block} ${faults ?? kind}`);
  return { status, findings: findings.sort(), summary: lines.at(-1) ?? { type: 'none' } };
}

/** Writes to `busy` and to tables that come and go, until told to stop. */
async function load(client: RealClient, number: number, goesOn: () => boolean): Promise<number> {
  let rounds = 0;
  for (; goesOn(); rounds++) {
    await client.rows(
      `UPDATE busy SET note = note WHERE id % 30 = ${(rounds * LOADS + number) % 30}`,
    );
    await client.rows(`CREATE TABLE t${number} AS SELECT * FROM busy LIMIT 5000`);
    await client.rows(`UPDATE t${number} SET id = -id`);
    if (rounds % 7 === number) await client.rows('CHECKPOINT');
    if (rounds % 5 === 0) await client.rows(`TRUNCATE t${number}`);
    await client.rows(`DROP TABLE t${number}`);
    if (number === 0 && rounds % 20 === 19) await client.rows('VACUUM (FULL) busy');
  }
  return rounds;
}

/** Verifies again and again while the server writes for so many seconds. */
async function underLoad(
  { directory, socketDirectory }: RealCluster,
  check: (verified: Verified) => void,
): Promise<void> {
  const end = performance.now() + SECONDS * 1000;
  let runs = 0;
  const goesOn = (): boolean => performance.now() < end || runs < METHODS.length;
  const clients: RealClient[] = [];
  try {
    for (let i = 0; i < LOADS; i++) clients.push(await RealClient.open(socketDirectory));
    const loads = clients.map((client, i) => load(client, i, goesOn));
    const failed = Promise.all(loads);
    failed.catch(() => undefined); // awaited below, unless a run fails first
    let judged = 0;
    while (goesOn()) {
      const verified = await verify('--io-method', METHODS[runs % METHODS.length] ?? '', directory);
      check(verified);
      judged += Number(verified.summary.blocks);
      runs++;
    }
    const rounds = await failed;
    for (const done of rounds) assert.ok(done > 0, 'no load');
    console.log(`${runs} runs, ${judged} pages, ${rounds.join(' + ')} rounds of load`);
  } finally {
    for (const client of clients) client.end();
  }
}

function withCluster(name: string, act: (cluster: RealCluster) => Promise<void>): void {
  test(name, async () => {
    if (cluster === undefined) skipped(reason);
    else await act(cluster);
  });
}

withCluster('reports nothing while a server writes', async (real) => {
  await underLoad(real, ({ status, findings, summary }) => {
    assert.equal(findings, []);
    assert.is(status, 0);
    assert.ok(Number(summary.blocks) > 2000, `${summary.blocks} blocks`);
  });
});

withCluster('reports five pages damaged on disk, and those only', async (real) => {
  const client = await RealClient.open(real.socketDirectory);
  const path = await client.value("SELECT pg_relation_filepath('quiet')");
  client.end();
  const blocks = [3, 4, 77, 500, 1100];
  const file = openSync(join(real.directory, path), 'r+');
  const kept = blocks.map((block) => {
    const page = Buffer.alloc(PAGE);
    readSync(file, page, 0, PAGE, block * PAGE);
    const changed = Buffer.from(page);
    changed.writeUInt8((page[6000] ?? 0) ^ 1, 6000);
    // A position far ahead of all the log there is: no reason to take the page for a new one.
    if (block === 77) changed.writeUInt32LE(0xffffffff, 0);
    writeSync(file, changed, 0, PAGE, block * PAGE);
    return page;
  });
  fsyncSync(file);
  try {
    await underLoad(real, ({ status, findings }) => {
      assert.equal(findings, blocks.map((block) => `${path} ${block} checksum`).sort());
      assert.is(status, 1);
    });
  } finally {
    blocks.forEach((block, i) => {
      writeSync(file, kept[i] ?? Buffer.alloc(0), 0, PAGE, block * PAGE);
    });
    closeSync(file);
  }
});

/**
 * Writes pages of one file for ever, each in two halves with a pause between: what a server does in
 * a moment that is hard to hit. Arguments: the file, and two files with versions of its pages.
 */
const TEARING = `
  const fs = require('node:fs');
  const [path, ...versions] = process.argv.slice(1);
  const pages = versions.map((version) => fs.readFileSync(version));
  const file = fs.openSync(path, 'r+');
  const word = new Int32Array(new SharedArrayBuffer(4));
  const half = ${PAGE / 2};
  process.stdout.write('begins');
  for (let round = 0; ; round++) {
    const bytes = pages[round % 2];
    for (let at = 0; at < bytes.length; at += 2 * half) {
      fs.writeSync(file, bytes, at, half, at);
      Atomics.wait(word, 0, 0, 2);
      fs.writeSync(file, bytes, at + half, half, at + half);
    }
  }
`;

test('reports no page that is written in two halves', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'pgaio-torn-'));
  const name = 'base/5/16384';
  const versions = await Promise.all(
    [1, 2].map(async (version) => {
      const path = join(scratch, String(version));
      await makeSyntheticCluster(path, { forks: [{ path: name, blocks: 64 }] });
      return join(path, name);
    }),
  );
  const other = readFileSync(versions[1] ?? '');
  for (let block = 0; block < 64; block++) {
    const page = other.subarray(block * PAGE, (block + 1) * PAGE);
    page.fill(block, 3000, 7000); // on both sides of the middle
    putChecksum(page, block);
  }
  writeFileSync(versions[1] ?? '', other);
  const path = join(scratch, 'torn');
  await makeSyntheticCluster(path, { forks: [{ path: name, blocks: 64 }] });
  const writer = spawn(process.execPath, ['-e', TEARING, join(path, name), ...versions]);
  try {
    await new Promise((resolve) => writer.stdout.once('data', resolve));
    let reread = 0;
    for (let run = 0; run < 6; run++) {
      const method = METHODS[run % METHODS.length] ?? '';
      const { findings, status, summary } = await verify('--io-method', method, path);
      assert.equal(findings, []);
      assert.is(status, 0);
      reread += Number(summary.rereadPages);
    }
    assert.ok(reread > 0, 'no page was torn: the test proves nothing');
  } finally {
    writer.kill('SIGKILL');
    rmSync(scratch, { recursive: true, force: true });
  }
});

test.run();
