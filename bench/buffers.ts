/**
 * The buffer pool and its read stream: pins of cached pages, called from WebAssembly; a scan of
 * cached pages given to JavaScript; and a table brought into the pool, against PostgreSQL's own
 * pg_prewarm on the same files, from the page cache and from the device; each in a process of its
 * own there.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { Aio, type PinnedBuffer, probeUring, type Relation } from '../host/node/index.ts';
import { type Around, bench, type Opener, type Runner, type Unavailable } from './harness.ts';
import { fio, hasFio, NO_FIO } from './parts/fio.ts';
import { dropCaches, type PostgresTable, postgresTable } from './parts/postgres-table.ts';
import { pagesOnDisk, wasmPinner } from './parts/wasm-pinner.ts';

const PAGE = 8192;
const LOCATOR = { spcOid: 1663, dbOid: 5, relNumber: 16384 } as const;
/** 128 MiB, PostgreSQL's default for shared_buffers. */
const CACHED_PAGES = 16384;
/** 1.27 GiB, in two segments. */
const TABLE_PAGES = 166_400;

const PIN = 'pin and unpin a cached page, from WebAssembly';
const SCAN = `scan of ${CACHED_PAGES.toLocaleString('en')} cached pages, in JavaScript`;
const WARM = '1.3 GiB into the pool, from the page cache';
const COLD = '1.3 GiB into the pool, from the device';

/** A scan; each page's free space is looked up, or its number, so that it cannot be left out. */
type Scan = (relation: Relation, pages: number) => Promise<number> | number;
async function forAwait(relation: Relation, pages: number): Promise<number> {
  let sum = 0;
  for await (const buffer of relation.read({ to: pages })) sum += buffer.number;
  return sum;
}
async function byNext(relation: Relation, pages: number): Promise<number> {
  await using stream = relation.read({ to: pages });
  let sum = 0;
  for (let next = stream.next(); ; next = stream.next()) {
    const buffer: PinnedBuffer | undefined = next instanceof Promise ? await next : next;
    if (buffer === undefined) return sum;
    sum += buffer.number;
  }
}
async function lookingAtBytes(relation: Relation, pages: number): Promise<number> {
  let sum = 0;
  for await (const { bytes } of relation.read({ to: pages })) sum += bytes[14] ?? 0;
  return sum;
}

/** Scans of a relation that is all in the pool, again and again. */
function cachedScan(scan: Scan): Opener {
  return async () => {
    const { directory, remove } = pagesOnDisk(CACHED_PAGES);
    const aio = await Aio.create({
      dataDirectory: directory,
      dataChecksums: false,
      sharedBuffers: Math.ceil(CACHED_PAGES * 1.25),
      maxBackends: 1,
    });
    const relation = aio.relation(LOCATOR);
    await relation.prewarm();
    return {
      async run(operations) {
        for (let left = operations; left > 0; left -= CACHED_PAGES) {
          await scan(relation, Math.min(left, CACHED_PAGES));
        }
      },
      close: async () => {
        await aio[Symbol.asyncDispose]();
        remove();
      },
    };
  };
}

/** Every page read from the page cache, one call each: what there is without a pool. */
const plainReads: Opener = () => {
  const { directory, remove } = pagesOnDisk(CACHED_PAGES);
  const fd = openSync(join(directory, 'base/5/16384'), 'r');
  const page = new Uint8Array(PAGE);
  return {
    run(operations) {
      let sum = 0;
      for (let i = 0; i < operations; i++) {
        sum += readSync(fd, page, 0, PAGE, (i % CACHED_PAGES) * PAGE);
      }
      if (sum !== operations * PAGE) throw new Error('a read was short');
    },
    close: () => {
      closeSync(fd);
      remove();
    },
  };
};

const NO_DROP: Unavailable = { unavailable: 'only root can empty the page cache (drop_caches)' };

const TABLE = 'PGAIO_BENCH_TABLE';
/** A server with the table, for the processes of all subjects. */
async function withTable(): Promise<Around | Unavailable> {
  const made = await postgresTable(TABLE_PAGES);
  if ('unavailable' in made) return made;
  return { env: { [TABLE]: JSON.stringify(made.table) }, close: made.close };
}
/** A subject over the server's table. */
function overTable(open: (table: PostgresTable) => Promise<Runner>): Opener {
  return () => open(JSON.parse(process.env[TABLE] ?? '') as PostgresTable);
}

interface Prewarm {
  /** Takes the table out of the pool. */
  evict(): Promise<void>;
  /** Brings it in; how many pages. */
  prewarm(): Promise<number>;
  close(): Promise<void>;
}

/** One operation is a page; only bringing it in counts. */
function prewarmed(subject: Prewarm, cold: boolean): Runner {
  return {
    async run(operations) {
      await subject.evict();
      if (cold) dropCaches();
      const before = performance.now();
      const pages = await subject.prewarm();
      const elapsed = performance.now() - before;
      if (pages !== operations) throw new Error(`${pages} pages, not ${operations}`);
      return (elapsed * 1e6) / operations;
    },
    close: () => subject.close(),
  };
}

function byServer(ioCombineLimit: number) {
  return async ({ server }: PostgresTable): Promise<Prewarm> => {
    const client = new pg.Client(server);
    await client.connect();
    await client.query(`SET io_combine_limit = ${ioCombineLimit}`);
    return {
      async evict() {
        await client.query("SELECT pg_buffercache_evict_relation('big')");
      },
      async prewarm() {
        const { rows } = await client.query("SELECT pg_prewarm('big', 'buffer')::int AS pages");
        return Number(rows[0]?.pages);
      },
      close: () => client.end(),
    };
  };
}

function byEngine(ioMethod: 'worker' | 'sync' | 'io_uring', ioCombineLimit: number) {
  return async ({ directory, locator, pages }: PostgresTable): Promise<Prewarm> => {
    const aio = await Aio.create({
      ioMethod,
      dataDirectory: directory,
      sharedBuffers: pages + 1024,
      ioMaxConcurrency: 64,
      ioMaxCombineLimit: ioCombineLimit,
      ioCombineLimit,
      ioWorkers: 3, // as many as PostgreSQL 18 has by default
      maxBackends: 1,
    });
    const relation = aio.relation(locator);
    return {
      evict: () => relation.invalidate(),
      prewarm: () => relation.prewarm(),
      close: () => aio[Symbol.asyncDispose](),
    };
  };
}

/** What the device needs for the table when nothing else is done: nobody can be faster. */
async function byFio({ directory, locator }: PostgresTable): Promise<Runner> {
  const path = join(directory, 'base', `${locator.dbOid}`, `${locator.relNumber}`);
  const jobs = [path, `${path}.1`].flatMap((file, i) => [`--name=job${i}`, `--filename=${file}`]);
  const how = ['--rw=read', '--bs=1M', '--ioengine=io_uring', '--iodepth=16', '--direct=1'];
  return {
    run(operations) {
      const ended = fio([...how, ...jobs]).map(({ read }) => read.runtime);
      return (Math.max(...ended) * 1e6) / operations;
    },
  };
}

/** PostgreSQL's default for io_combine_limit, and the most there can be. */
const BLOCKS = 16;
const MOST_BLOCKS = 128;
const SUBJECTS = {
  'pgaio, worker': byEngine('worker', BLOCKS),
  'pg_prewarm, worker': byServer(BLOCKS),
  'pgaio, worker, 128 blocks': byEngine('worker', MOST_BLOCKS),
  'pg_prewarm, worker, 128 blocks': byServer(MOST_BLOCKS),
  ...(probeUring().reason === undefined
    ? {
        'pgaio, io_uring': byEngine('io_uring', BLOCKS),
        'pgaio, io_uring, 128 blocks': byEngine('io_uring', MOST_BLOCKS),
      }
    : {}),
  'pgaio, sync': byEngine('sync', BLOCKS),
} as const;
function subjects(cold: boolean): Record<string, Opener> {
  const ours = Object.entries(SUBJECTS).map(([name, open]) => {
    const opener = overTable(async (table) => prewarmed(await open(table), cold));
    return [name, () => (cold && !dropCaches() ? NO_DROP : opener())] as const;
  });
  return Object.fromEntries([
    ...ours,
    ...(cold ? [['fio', hasFio() ? overTable(byFio) : () => NO_FIO] as const] : []),
  ]);
}

await bench('buffers', (b) => {
  b.case(PIN, {
    subjects: {
      '1,024 pages': () => wasmPinner(1024),
      [`${CACHED_PAGES.toLocaleString('en')} pages`]: () => wasmPinner(CACHED_PAGES),
    },
  });
  b.case(SCAN, {
    subjects: {
      'for await': cachedScan(forAwait),
      'next()': cachedScan(byNext),
      'for await, bytes': cachedScan(lookingAtBytes),
      'fs.readSync, no pool': plainReads,
    },
  });
  const table = { operations: TABLE_PAGES, apart: {}, around: withTable };
  b.case(WARM, { ...table, subjects: subjects(false) });
  b.case(COLD, { ...table, subjects: subjects(true) });
  b.target(
    'pins and unpins',
    8e6,
    '>=',
    '1/s',
    (row) => row(PIN, '1,024 pages').operationsPerSecond,
  );
  b.target('cached pages', 1.5e6, '>=', '1/s', (row) => row(SCAN, 'for await').operationsPerSecond);
  for (const [name, title] of [
    ['warm', WARM],
    ['cold', COLD],
  ] as const) {
    b.target(`into the pool, ${name}, to pg_prewarm`, 0.5, '<=', '', (row) => {
      const of = (subject: string): number => row(title, subject).nsPerOperation.median;
      const ours = Math.min(of('pgaio, worker'), of('pgaio, worker, 128 blocks'));
      return ours / of('pg_prewarm, worker');
    });
  }
});
