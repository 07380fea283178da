/**
 * The buffer pool and its read stream: pins of cached pages, called from WebAssembly; a scan of
 * cached pages given to JavaScript; and a table brought into the pool, against PostgreSQL's own
 * pg_prewarm on the same file, from the page cache and from the device.
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Aio, type Relation } from '../host/node/index.ts';
import { bench, type Opener, type Runner } from './harness.ts';
import { dropCaches, type PostgresTable, postgresTable } from './parts/postgres-table.ts';
import { wasmPinner } from './parts/wasm-pinner.ts';

const PAGE = 8192;
const CACHED_PAGES = 16384;
/** 1.3 GiB: two segments. */
const TABLE_PAGES = 166_400;
const LOCATOR = { spcOid: 1663, dbOid: 5, relNumber: 16384 } as const;

const PIN = 'pin and unpin a cached page, from WebAssembly';
const SCAN = 'scan of cached pages, given to JavaScript';
const WARM = 'a table of 1.3 GiB into the pool, from the page cache';
const COLD = 'a table of 1.3 GiB into the pool, from the device';
