/**
 * Beside a real PostgreSQL 18, on the same files: as many reads for the same scan, and a cluster
 * whose pages we wrote back is as sound as before.
 */
import { userInfo } from 'node:os';
import pg from 'pg';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Aio, PageView } from '../host/node/index.ts';
import { makeCluster18, type RealCluster, skipped } from './real-postgres.ts';

const BLOCKS = 1000;
const FILL = [
  'CREATE EXTENSION amcheck',
  'CREATE EXTENSION pg_buffercache',
  'CREATE TABLE rows (id int, body text)',
  'ALTER TABLE rows ALTER body SET STORAGE PLAIN',
  // A row fills a page.
  `INSERT INTO rows SELECT g, repeat(chr(65 + g % 26), 7600) FROM generate_series(1, ${BLOCKS}) g`,
  'CREATE INDEX rows_id ON rows (id)',
  'VACUUM rows',
];

async function connected<Value>(
  cluster: RealCluster,
  use: (client: pg.Client) => Promise<Value>,
): Promise<Value> {
  const user = process.getuid?.() === 0 ? 'nobody' : userInfo().username;
  const client = new pg.Client({ host: cluster.socketDirectory, user, database: 'postgres' });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** Reads of tables that this session has made since it last asked, and their bytes. */
async function readsOf(client: pg.Client): Promise<{ reads: number; bytes: number }> {
  await client.query('SELECT pg_stat_force_next_flush()');
  const { rows } = await client.query<{ reads: number; bytes: number }>(
    `SELECT sum(reads)::int AS reads, sum(read_bytes)::int AS bytes FROM pg_stat_io
      WHERE object = 'relation' AND backend_type = 'client backend'`,
  );
  return rows[0] ?? { reads: -1, bytes: -1 };
}

const test = suite('beside a real PostgreSQL 18');
let cluster: RealCluster | undefined;
let reason = '';
test.before(() => {
  const made = makeCluster18({ sql: FILL });
  if ('reason' in made) reason = made.reason;
  else cluster = made;
});
test.after(() => cluster?.dispose());

/** Path of a relation's file below the data directory. */
function pathOf(cluster_: RealCluster, name: string): string {
  const [{ path = '' } = {}] = cluster_.sql(`SELECT pg_relation_filepath('${name}') AS path`);
  return path;
}

for (const ioMethod of ['worker', 'sync'] as const) {
  test(`a scan of ${BLOCKS} blocks takes 66 reads on either side, with ${ioMethod}`, async () => {
    if (cluster === undefined) return skipped(reason);
    const path = pathOf(cluster, 'rows');
    cluster.start('-c', `io_method=${ioMethod}`, '-c', 'autovacuum=off');
    try {
      const theirs = await connected(cluster, async (client) => {
        const scan = 'SELECT count(*)::int AS count FROM rows WHERE body IS NOT NULL';
        await client.query('SET max_parallel_workers_per_gather = 0');
        await client.query(scan); // the catalogs are read by it
        await readsOf(client);
        await client.query("SELECT pg_buffercache_evict_relation('rows')");
        const before = await readsOf(client);
        const { rows } = await client.query<{ count: number }>(scan);
        assert.is(rows[0]?.count, BLOCKS);
        const after = await readsOf(client);
        return { reads: after.reads - before.reads, bytes: after.bytes - before.bytes };
      });
      assert.equal(theirs, { reads: 66, bytes: BLOCKS * 8192 });
    } finally {
      cluster.stop();
    }
    await using aio = await Aio.create({ ioMethod, dataDirectory: cluster.directory });
    using relation = aio.relation(path);
    assert.is(relation.blocks, BLOCKS);
    let rows = 0;
    for await (const { block, page } of relation.read()) {
      assert.is(page.itemCount, 1);
      const item = page.itemBytes(1) ?? new Uint8Array();
      assert.is(item.at(-1), 65 + ((block + 1) % 26), 'the last letter of the row');
      rows++;
    }
    assert.is(rows, BLOCKS);
    const { reads, readBytes } = aio.stats().relation;
    assert.equal([reads, readBytes], [66n, BigInt(BLOCKS * 8192)]);
  });
}

test('pages we wrote back are found sound by amcheck and by the server', async () => {
  if (cluster === undefined) return skipped(reason);
  const paths = [pathOf(cluster, 'rows'), pathOf(cluster, 'rows_id')];
  {
    await using aio = await Aio.create({ dataDirectory: cluster.directory });
    for (const path of paths) {
      using relation = aio.relation(path);
      for await (const buffer of relation.read()) {
        // A byte between line pointers and items: in no row, but in the checksum.
        await buffer.modify((bytes, page) => {
          assert.instance(page, PageView);
          if (page.freeBytes > 0) bytes[page.lower + 2] = (buffer.block & 0x7f) + 1;
        });
      }
    }
    const { written, synced } = await aio.buffers.flush();
    assert.ok(written > 0 && written < BLOCKS, `${written} writes, neighbours together`);
    assert.is(synced, 2);
  }
  cluster.start();
  try {
    await connected(cluster, async (client) => {
      const heap = await client.query("SELECT * FROM verify_heapam('rows')");
      assert.equal(heap.rows, []);
      await client.query("SELECT bt_index_check('rows_id', true)");
      const { rows } = await client.query<{ sum: string }>('SELECT sum(length(body)) FROM rows');
      assert.is(rows[0]?.sum, String(BLOCKS * 7600));
    });
  } finally {
    cluster.stop();
  }
});

test.run();
