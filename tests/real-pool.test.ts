/**
 * The pool against a real PostgreSQL 18: the same damaged files read by both give the same verdict
 * for each block in the same words, and a cluster whose pages were changed and written back through
 * the pool starts, passes amcheck and shows the changes.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AioError } from '../bindings/errors.ts';
import * as layout from '../bindings/layout.ts';
import { type Bench, BLOCK, forEachMethod, type Restriction } from './harness.ts';
import { putChecksum } from './page-vectors.ts';
import { Relation } from './pool-fixture.ts';
import { RealClient, type ServerSays } from './real-client.ts';
import { makeCluster18, type RealCluster, skipped } from './real-postgres.ts';

const DIRECT_ONLY: Restriction = ({ provider, method }) =>
  provider === 'direct' && method !== 'host' ? undefined : 'one way to the files is enough';
const BLOCKS = 40;
const POOL = {
  shared_buffers: 256,
  io_max_concurrency: 8,
  max_backends: 2,
  io_frames: 16,
} as const;

const made = makeCluster18({
  sql: [
    "CREATE TABLE big AS SELECT g AS id, repeat('x', 250) AS note FROM generate_series(1, 40000) g",
    'CREATE INDEX big_id ON big (id)',
    "CREATE TABLE torn AS SELECT g AS id, repeat('x', 250) AS note FROM generate_series(1, 1500) g",
    'CHECKPOINT',
  ],
});
const cluster: RealCluster | undefined = 'reason' in made ? undefined : made;
process.once('exit', () => cluster?.dispose());
if (cluster === undefined) skipped('reason' in made ? made.reason : '');

interface Place {
  readonly path: string;
  readonly dbOid: number;
  readonly relNumber: number;
}
/** Where a relation's file is. */
function placeOf(real: RealCluster, name: string): Place {
  const [row] = real.sql(`SELECT pg_relation_filepath('${name}') AS path`);
  const path = row?.path ?? '';
  const [, dbOid, relNumber] = /^base\/(\d+)\/(\d+)$/.exec(path) ?? [];
  return { path, dbOid: Number(dbOid), relNumber: Number(relNumber) };
}

/** Ways to damage a page; what is not here stays sound. */
const DAMAGE: Readonly<Record<number, (page: Uint8Array, block: number) => void>> = {
  1: (page, block) => {
    new DataView(page.buffer).setUint16(16, 8193, true); // pd_special
    putChecksum(page, block);
  },
  2: (page) => {
    page[8000] = (page[8000] ?? 0) ^ 1;
  },
  3: (page) => {
    new DataView(page.buffer).setUint16(16, 8193, true);
  },
  5: (page) => new DataView(page.buffer).setUint16(14, 0, true), // pd_upper: new, and not zero
  6: (page) => void page.fill(0),
  7: (page, block) => {
    new DataView(page.buffer).setUint16(10, 8, true); // pd_flags
    putChecksum(page, block);
  },
  8: (page, block) => {
    new DataView(page.buffer).setUint16(12, 8192, true); // pd_lower above pd_upper
    putChecksum(page, block);
  },
  9: (page) => new DataView(page.buffer).setUint16(8, 0, true), // pd_checksum
  11: (page, block) => void putChecksum(page, block + 1), // of another block
};

/** Damages a file; the bytes it has then, to be put back when a server has mended what it could. */
function damage(real: RealCluster, { path }: Place): Uint8Array {
  const file = readFileSync(join(real.directory, path));
  for (const [block, spoil] of Object.entries(DAMAGE)) {
    const page = new Uint8Array(file.subarray(Number(block) * BLOCK, (Number(block) + 1) * BLOCK));
    spoil(page, Number(block));
    file.set(page, Number(block) * BLOCK);
  }
  writeFileSync(join(real.directory, path), file);
  return file;
}

type Verdict = Omit<ServerSays, 'severity'> & { readonly severity: string };
/** What the server says of each block; undefined where it says nothing. */
async function saidByServer(real: RealCluster, setting: string): Promise<(Verdict | undefined)[]> {
  real.start('-c', 'fsync=off', '-c', 'autovacuum=off');
  const client = await RealClient.open(real.socketDirectory);
  const said: (Verdict | undefined)[] = [];
  try {
    if (setting !== '') await client.rows(`SET ${setting} = on`);
    for (let block = 0; block < BLOCKS; block++) {
      const query = `SELECT id FROM torn WHERE ctid = '(${block},1)'`;
      const { error, notices } = await client.ask(query);
      said.push(error ?? notices.find(({ severity }) => severity === 'WARNING'));
    }
  } finally {
    client.end();
    real.stop();
  }
  return said;
}
function saidByPool(bench: Bench, rel: Relation, setting: string): (Verdict | undefined)[] {
  if (setting !== '') bench.pg.set(setting, true);
  return Array.from({ length: BLOCKS }, (_, block) => {
    bench.reports.splice(0);
    try {
      rel.readBuffers(block, 1);
    } catch (error) {
      if (!(error instanceof AioError)) throw error;
      const { sqlstate = '', message, detail, hint } = error;
      return { severity: 'ERROR', sqlstate, message, detail, hint };
    }
    const warning = bench.reports.find(({ severity }) => severity === 'WARNING');
    if (warning === undefined) return undefined;
    const { severity, sqlstate, message, detail, hint } = warning;
    return { severity, sqlstate, message, detail, hint };
  });
}

if (cluster !== undefined) {
  const real = cluster;
  const torn = placeOf(real, 'torn');
  const damaged = damage(real, torn);
  const verdicts = new Map<string, readonly (Verdict | undefined)[]>();
  const settings = ['', 'ignore_checksum_failure', 'zero_damaged_pages'] as const;
  const server = suite('a real PostgreSQL');
  for (const setting of settings) {
    server(`has read the damaged table${setting === '' ? '' : ` with ${setting}`}`, async () => {
      const said = await saidByServer(real, setting);
      verdicts.set(setting, said);
      writeFileSync(join(real.directory, torn.path), damaged);
      const bad = said.flatMap((one, block) => (one === undefined ? [] : [block]));
      assert.equal(bad, [1, 2, 3, 5, 7, 8, 9, 11], 'it has something to say about these');
    });
  }
  server.run();

  forEachMethod(
    'pool and a real PostgreSQL',
    (test, open) => {
      for (const setting of settings) {
        const how = setting === '' ? '' : ` with ${setting}`;
        test(`say the same of each block of a damaged table${how}`, async () => {
          const bench = await open({ ...POOL, dataDirectory: real.directory });
          const rel = new Relation(bench, torn);
          assert.ok(bench.pg.smgrnblocks(rel.at) >= BLOCKS);
          const said = saidByPool(bench, rel, setting);
          assert.equal(said, verdicts.get(setting));
        });
      }

      test('read what the pool has written back, and find nothing amiss', async () => {
        const heap = placeOf(real, 'big');
        const index = placeOf(real, 'big_id');
        const bench = await open({ ...POOL, dataDirectory: real.directory });
        const changed = rewrite(bench, new Relation(bench, heap), true);
        rewrite(bench, new Relation(bench, index), false);
        const op = bench.pg.alloc(layout.FLUSH_OPERATION_BYTES);
        bench.set(op, layout.FlushOperation, 'sync', 1);
        assert.is(bench.pg.FlushBuffers(op, 0), 0);
        assert.ok(bench.backend('smgr_writes') < changed, 'neighbours are written together');
        bench.pg.smgrreleaseall();
        await assertSound(real, changed);
      });
    },
    DIRECT_ONLY,
  );
}

/**
 * Has every page of a relation written again; in a heap, with one row of it changed. How many
 * pages were changed.
 */
function rewrite(bench: Bench, rel: Relation, changes: boolean): number {
  const { pg, u8 } = bench;
  const blocks = pg.smgrnblocks(rel.at);
  let changed = 0;
  for (let block = 0; block < blocks; block++) {
    const buffer = pg.ReadBuffer(rel.at, block, 0, 0);
    pg.LockBuffer(buffer, layout.BUFFER_LOCK_EXCLUSIVE, 0);
    const at = pg.BufferGetPage(buffer);
    const page = Buffer.from(u8.buffer as ArrayBuffer, at, BLOCK);
    // A row that an earlier run has changed, or one more; none on a page that is still empty.
    const rows = ['y', 'x'].map((letter) => page.lastIndexOf(Buffer.alloc(250, letter)));
    const [again = -1, fresh = -1] = rows;
    const row = again > 0 ? again : fresh;
    if (changes && row > 0) {
      page.fill('y', row, row + 250);
      changed++;
    }
    pg.MarkBufferDirty(buffer);
    pg.LockBuffer(buffer, layout.BUFFER_LOCK_UNLOCK, 0);
    pg.ReleaseBuffer(buffer);
  }
  return changed;
}

/** The server starts, its own checks find nothing, and the changed rows are what it reads. */
async function assertSound(real: RealCluster, changed: number): Promise<void> {
  real.start('-c', 'fsync=off', '-c', 'autovacuum=off');
  const client = await RealClient.open(real.socketDirectory);
  try {
    await client.rows('CREATE EXTENSION IF NOT EXISTS amcheck');
    assert.equal(await client.rows("SELECT * FROM verify_heapam('big')"), []);
    await client.rows("SELECT bt_index_parent_check('big_id', true, true)");
    assert.is(await client.value('SELECT count(*) FROM big'), '40000');
    const rows = await client.value("SELECT count(*) FROM big WHERE note = repeat('y', 250)");
    assert.is(rows, String(changed), 'a row of each page');
    const rest = await client.value("SELECT count(*) FROM big WHERE note = repeat('x', 250)");
    assert.is(Number(rest) + changed, 40000);
    await client.rows('VACUUM big');
    await client.rows('CHECKPOINT');
  } finally {
    client.end();
    real.stop();
  }
}
