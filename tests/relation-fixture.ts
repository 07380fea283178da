/** Relations for tests of the idiomatic interface: their files, and engines over them. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Aio, type AioOptions, type Relation } from '../host/node/index.ts';
import { putChecksum, putHeader } from './page-vectors.ts';
import { idleWorkers, scratchDirectory } from './threads-fixture.ts';
import { VARIANTS, type Variant } from './variants.ts';

export const BLOCK = 8192;
/** Where a page holds its block's number, eight bytes after which nothing is. */
const NUMBER_AT = 4096;

export const LOCATOR = { spcOid: 1663, dbOid: 5, relNumber: 16384 } as const;

/** A good page with its block's number in it, and a right checksum. */
export function numberedPage(block: number): Uint8Array {
  const page = putHeader(new Uint8Array(BLOCK));
  new DataView(page.buffer).setUint32(NUMBER_AT, block, true);
  return putChecksum(page, block);
}
export function numberIn(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(NUMBER_AT, true);
}
export function setNumber(bytes: Uint8Array, value: number): void {
  new DataView(bytes.buffer, bytes.byteOffset, bytes.length).setUint32(NUMBER_AT, value, true);
}

/** A data directory of its own. */
export class Cluster {
  readonly directory = scratchDirectory('relation');

  path(relNumber: number = LOCATOR.relNumber): string {
    return join(this.directory, 'base', String(LOCATOR.dbOid), String(relNumber));
  }
  /** Makes the relation's file anew; blocks in `bad` are garbage. */
  fill(
    blocks: number,
    options: { relNumber?: number; bad?: readonly number[]; zero?: readonly number[] } = {},
  ): void {
    const { relNumber, bad = [], zero = [] } = options;
    const bytes = Buffer.alloc(blocks * BLOCK);
    for (let block = 0; block < blocks; block++) {
      const at = block * BLOCK;
      if (bad.includes(block)) bytes.fill(0xff, at, at + BLOCK);
      else if (!zero.includes(block)) bytes.set(numberedPage(block), at);
    }
    const path = this.path(relNumber);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
  }
  page(block: number, relNumber?: number): Uint8Array {
    const bytes = readFileSync(this.path(relNumber));
    return new Uint8Array(bytes.subarray(block * BLOCK, (block + 1) * BLOCK));
  }
}

export interface Place {
  readonly ioMethod: Variant['method'];
  readonly provider: 'direct' | 'wasi';
  readonly ring?: 'checked' | 'shared';
  readonly name?: string;
}
/** Ways to execute I/O that this machine has. */
export const PLACES: readonly Place[] = VARIANTS.filter(
  ({ shared, method }) => shared && method !== 'host',
).map(({ method, provider, ring = 'checked', name }) => ({
  ioMethod: method,
  provider,
  ring,
  name,
}));

/** An engine over the cluster, with its I/O workers waiting for work. */
export async function engineOver(
  cluster: Cluster,
  place: Place,
  options: AioOptions = {},
): Promise<Aio> {
  const root = cluster.directory;
  const { name: _, ...how } = place;
  const where = place.provider === 'wasi' ? { root } : { dataDirectory: root };
  const aio = await Aio.create({
    ...how,
    ...where,
    ioWorkers: WORKERS,
    ioMaxConcurrency: 32,
    maxBackends: 4,
    sharedBuffers: 4096,
    ioFrames: 256,
    ...options,
  });
  const starts = place.ioMethod === 'worker' && options.memory === undefined;
  if (starts) await idleWorkers(aio, WORKERS);
  return aio;
}
const WORKERS = 2;

/** Buffers that anybody has pinned. */
export function pinnedIn(aio: Aio): number {
  return aio.buffers.summary().pinned;
}

/** The numbers in the pages of a range. */
export async function numbersOf(relation: Relation, from: number, to: number): Promise<number[]> {
  const numbers: number[] = [];
  for await (const { bytes } of relation.read({ from, to })) numbers.push(numberIn(bytes));
  return numbers;
}
