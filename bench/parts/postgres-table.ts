/**
 * A table of a real PostgreSQL 18, to be brought into a buffer pool by the server and by us: the
 * same file, in a cluster made for the benchmark and removed after it.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import pg from 'pg';
import { makeCluster18 } from '../../tests/real-postgres.ts';

const BLOCK = 8192;
/** One row fills a page: 7,600 of 8,160 bytes. */
const ROW_BYTES = 7600;
const DROP_CACHES = '/proc/sys/vm/drop_caches';

/** What other processes need to know of the table. */
export interface PostgresTable {
  readonly directory: string;
  readonly pages: number;
  /** As the engine names it. */
  readonly locator: { readonly spcOid: number; readonly dbOid: number; readonly relNumber: number };
  /** How its server is reached. */
  readonly server: { readonly host: string; readonly user: string; readonly database: string };
}

/** Starts a server with room for the table, makes it and writes it out. Or says why not. */
export async function postgresTable(
  pages: number,
): Promise<{ readonly table: PostgresTable; close(): void } | { readonly unavailable: string }> {
  const cluster = makeCluster18();
  if ('reason' in cluster) return { unavailable: cluster.reason };
  const all = {
    shared_buffers: `${Math.ceil((pages * BLOCK * 1.1) / 2 ** 20) + 16}MB`,
    io_method: 'worker',
    io_max_combine_limit: '128',
    fsync: 'off',
    autovacuum: 'off',
    max_wal_size: '8GB',
  };
  try {
    cluster.start(...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]));
    const user = process.getuid?.() === 0 ? 'nobody' : userInfo().username;
    const server = { host: cluster.socketDirectory, user, database: 'postgres' };
    const client = new pg.Client(server);
    await client.connect();
    const locator = await makeTable(client, pages);
    await client.end();
    const { directory } = cluster;
    return { table: { directory, pages, locator, server }, close: () => cluster.dispose() };
  } catch (error) {
    cluster.dispose();
    throw error;
  }
}

async function makeTable(client: pg.Client, pages: number) {
  for (const statement of [
    'CREATE EXTENSION pg_prewarm',
    'CREATE EXTENSION pg_buffercache',
    'CREATE UNLOGGED TABLE big (id int, body text)',
    'ALTER TABLE big ALTER body SET STORAGE PLAIN',
    `INSERT INTO big SELECT g, repeat(chr(65 + g % 26), ${ROW_BYTES})
      FROM generate_series(1, ${pages}) g`,
    'CHECKPOINT',
  ]) {
    await client.query(statement);
  }
  const { rows } = await client.query<{ path: string; node: number; db: number; size: string }>(
    `SELECT pg_relation_filepath('big') AS path, pg_relation_filenode('big')::int AS node,
      (SELECT oid::int FROM pg_database WHERE datname = 'postgres') AS db,
      pg_relation_size('big') AS size`,
  );
  const [{ node = 0, db = 0, size = '0' } = {}] = rows;
  if (Number(size) !== pages * BLOCK) {
    throw new Error(`the table has ${Number(size) / BLOCK} pages, not ${pages}`);
  }
  return { spcOid: 1663, dbOid: db, relNumber: node };
}

/** Makes the system forget all files it has read; false where we may not. */
export function dropCaches(): boolean {
  if (process.getuid?.() !== 0 || !existsSync(DROP_CACHES)) return false;
  try {
    writeFileSync(DROP_CACHES, '1');
    return true;
  } catch {
    return false;
  }
}
