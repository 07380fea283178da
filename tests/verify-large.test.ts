/**
 * `pgaio verify` where there is much: a hundred thousand files in one directory, in bounded memory,
 * and 1.5 GiB of pages that are really there, with the same numbers as pg_checksums.
 */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, statfsSync } from 'node:fs';
import { freemem, tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { skipped } from './real-postgres.ts';
import { makeSyntheticCluster } from './synthetic-cluster.ts';
import {
  change,
  DAMAGE,
  METHODS,
  PAGE,
  pgChecksums,
  RSS_MAX_MB,
  SEGMENT_BLOCKS,
  verify,
} from './verify-process.ts';

const test = suite('pgaio verify: much of everything');
let scratch = '';
test.before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'pgaio-large-'));
});
test.after(() => rmSync(scratch, { recursive: true, force: true }));

/** Half of them empty, half of a page that was never used, as a hole: the disk need not hold it. */
const FILES = 100_000;
/**
 * With how many jobs, and how many MB so many files may add to what few take. A list of names adds
 * twice as much. I/O workers come and go as they are needed, so nothing is added up there.
 */
const RUNS: readonly (readonly [method: string, jobs: string, addedMb: number | undefined])[] = [
  ['sync', '1', 20],
  ['sync', '2', 20],
  ['worker', '4', undefined],
  ['io_uring', '4', 24],
];

function addFiles(folder: string): void {
  for (let i = 0; i < FILES; i++) {
    const file = openSync(join(folder, `${20000 + i}`), 'wx');
    if (i % 2 === 1) ftruncateSync(file, PAGE);
    closeSync(file);
  }
}

test('keeps its memory small with a hundred thousand files in one directory', async () => {
  const few = join(scratch, 'few');
  const many = join(scratch, 'many');
  const forks = [{ path: 'base/5/16384', blocks: 10_000, newFrom: 10 }];
  for (const path of [few, many]) await makeSyntheticCluster(path, { forks });
  addFiles(join(many, 'base/5'));
  for (const [method, jobs, addedMb] of RUNS) {
    if (!METHODS.has(method)) continue;
    const what = `${method}, ${jobs} jobs`;
    const { status, summary, rssMb } = verify('--io-method', method, '--jobs', jobs, many);
    assert.is(status, 0, what);
    assert.is(summary.filesScanned, FILES + 1, what);
    assert.is(summary.blocksScanned, FILES / 2 + 10_000, what);
    assert.ok(rssMb < RSS_MAX_MB, `${what}: ${rssMb} MB`);
    if (addedMb === undefined) continue;
    const basis = verify('--io-method', method, '--jobs', jobs, few).rssMb;
    assert.ok(rssMb < basis + addedMb, `${what}: ${rssMb} MB, ${basis} MB with few files`);
  }
  rmSync(many, { recursive: true });
});

const BLOCKS = 200_500;
const BIG = 'base/5/16384';
const NEEDED_BYTES = 4 * 2 ** 30;
/** Of each way of damage. */
const PAGES_OF_EACH = 40;
/** Not divided by the blocks of a read, and so wide that both segments have some. */
const STEP = 809;

/** Why there is no place for a large cluster; undefined if there is. */
function noRoom(): string | undefined {
  const { bavail, bsize } = statfsSync(scratch);
  const disk = bavail * bsize;
  if (disk < NEEDED_BYTES) return `4 GiB of disk are needed, ${disk} bytes are free`;
  const memory = freemem();
  return memory < NEEDED_BYTES ? `4 GiB of memory are needed, ${memory} bytes are free` : undefined;
}

/** Damages pages all over the relation. Returns what is to be found, a line each. */
function damageAll(path: string): string[] {
  const expected: string[] = [];
  let block = 0;
  for (let n = 0; n < PAGES_OF_EACH; n++) {
    for (const [faults, act] of DAMAGE) {
      block += STEP;
      change(join(path, BIG), block, act);
      const segment = Math.floor(block / SEGMENT_BLOCKS);
      expected.push(`${BIG}${segment === 0 ? '' : `.${segment}`} ${block} ${faults}`);
    }
  }
  assert.ok(block > SEGMENT_BLOCKS && block < BLOCKS);
  return expected.sort();
}

test('counts what pg_checksums counts in 1.5 GiB of pages, clean and damaged', async () => {
  const reason = noRoom();
  if (reason !== undefined) return skipped(reason);
  const path = join(scratch, 'large');
  await makeSyntheticCluster(path, { forks: [{ path: BIG, blocks: BLOCKS }] });
  let expected: string[] = [];
  for (const state of ['clean', 'damaged']) {
    if (state === 'damaged') expected = damageAll(path);
    const theirs = pgChecksums(path);
    if (typeof theirs === 'string') skipped(`not compared with pg_checksums: ${theirs}`);
    for (const method of METHODS) {
      const what = `${state}, ${method}`;
      const { status, findings, summary, rssMb } = verify('--io-method', method, path);
      const found = findings.map((line) => `${line.path} ${line.block} ${line.faults}`);
      assert.equal(found.sort(), expected, what);
      assert.is(status, state === 'clean' ? 0 : 1, what);
      assert.is(summary.newPages, 0, what);
      const { filesScanned: files, blocksScanned: blocks, badChecksums: bad } = summary;
      assert.is(blocks, BLOCKS, what);
      if (typeof theirs !== 'string') assert.equal({ files, blocks, bad }, theirs, what);
      assert.ok(rssMb < RSS_MAX_MB, `${what}: ${rssMb} MB`);
    }
  }
  rmSync(path, { recursive: true });
});

test.run();
