/**
 * `pgaio verify` as a whole process: the same numbers as pg_checksums on clusters of hundreds of
 * thousands of blocks, clean and damaged, with every method; many small files; links that lead
 * outside; and how much memory it takes.
 */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeSyntheticCluster } from './synthetic-cluster.ts';
import {
  assertSame,
  CLI,
  change,
  DAMAGE,
  METHODS,
  PAGE,
  RSS_MAX_MB,
  SEGMENT_BLOCKS,
  verify,
} from './verify-process.ts';

const test = suite('pgaio verify: the whole of it');
let scratch = '';
let folders = 0;
test.before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'pgaio-system-'));
});
test.after(() => rmSync(scratch, { recursive: true, force: true }));
function fresh(): string {
  return join(scratch, `${folders++}`);
}

/** Of each of those. */
const PAGES_OF_EACH = 45;
/** Not divided by the blocks of a read, so that they lie anywhere in one. */
const STEP = 61;
const BIG = 'base/5/16384';
const NEXT = 'base/5/16390';

/** 288,000 blocks, most of them holes: two forks of several segments, and what is empty. */
async function largeCluster(): Promise<string> {
  const path = fresh();
  const forks = [
    { path: 'global/1262', blocks: 2 },
    { path: BIG, blocks: 270_000, newFrom: 20_000 },
    { path: `${BIG}_fsm`, blocks: 0 },
    { path: NEXT, blocks: 18_000, newFrom: 300 },
    { path: 'base/5/t3_16500', blocks: 7 },
  ];
  await makeSyntheticCluster(path, { forks });
  return path;
}

test('counts what pg_checksums counts, in a clean cluster and in a damaged one', async () => {
  const path = await largeCluster();
  const blocks = 270_000 + 18_000 + 2 + 7;
  for (const method of METHODS) {
    const clean = verify('--io-method', method, path);
    assert.is(clean.status, 0, method);
    assert.equal(clean.findings, []);
    assert.is(clean.summary.blocksScanned, blocks);
    assert.is(clean.summary.newPages, 250_000 + 17_700);
    assert.ok(clean.rssMb < RSS_MAX_MB, `${method}: ${clean.rssMb} MB`);
    assertSame(path, clean);
  }
  const expected: string[] = [];
  let block = 0;
  for (const [faults, act] of DAMAGE) {
    for (let n = 0; n < PAGES_OF_EACH; n++) {
      block += STEP;
      change(join(path, BIG), block, act);
      expected.push(`${BIG} ${block} ${faults.join()}`);
    }
  }
  for (const at of [SEGMENT_BLOCKS - 1, SEGMENT_BLOCKS, 269_999]) {
    change(join(path, BIG), at, (page) => page.writeUInt8(7, 100)); // in a hole
    const segment = Math.floor(at / SEGMENT_BLOCKS);
    expected.push(`${BIG}${segment === 0 ? '' : `.${segment}`} ${at} garbage`);
  }
  expected.sort();
  for (const method of METHODS) {
    for (const jobs of ['1', '2', '5']) {
      const damaged = verify('--io-method', method, '--jobs', jobs, path);
      const what = `${method}, ${jobs} jobs`;
      const found = damaged.findings.map((line) => `${line.path} ${line.block} ${line.faults}`);
      assert.equal(found.sort(), expected, what);
      assert.is(damaged.status, 1, what);
      assert.is(damaged.summary.blocksScanned, blocks, what);
      assert.is(damaged.summary.damagedPages, 6 * PAGES_OF_EACH + 3, what);
      assert.is(damaged.summary.badChecksums, 4 * PAGES_OF_EACH, what);
      assert.ok(damaged.rssMb < RSS_MAX_MB, `${what}: ${damaged.rssMb} MB`);
      if (jobs === '2') assertSame(path, damaged);
    }
  }
});

test('tells every page of a file of which all are damaged', async () => {
  const path = fresh();
  const forks = [
    { path: BIG, blocks: 20_000 },
    { path: NEXT, blocks: 10 },
  ];
  await makeSyntheticCluster(path, { forks });
  const file = openSync(join(path, BIG), 'r+');
  for (let block = 0; block < 20_000; block++) writeSync(file, 'x', block * PAGE + 6000);
  closeSync(file);
  const verified = verify(path);
  assert.is(verified.status, 1);
  const blocks = verified.findings.map(({ block }) => Number(block)).sort((a, b) => a - b);
  assert.equal(
    blocks,
    blocks.map((_, i) => i),
  );
  assert.is(blocks.length, 20_000);
  assert.ok(verified.rssMb < RSS_MAX_MB, `${verified.rssMb} MB`);
  assertSame(path, verified);
  const { stdout } = spawnSync(process.execPath, [CLI, 'verify', path], { encoding: 'utf8' });
  assert.match(stdout, /^ {2}blocks 0-19999 \(offset 0\): calculated\/contained/m);
});

test('reads ten thousand small relations, five thousand of them in one directory', async () => {
  const path = fresh();
  const forks = Array.from({ length: 10_000 }, (_, i) => ({
    path: `base/${i % 2 === 0 ? 5 : 100 + (i % 50)}/${16384 + i}`,
    blocks: i % 4,
  }));
  await makeSyntheticCluster(path, { forks });
  change(join(path, forks[5002]?.path ?? ''), 1, (page) => page.writeUInt8(1, 7000));
  change(join(path, forks[9999]?.path ?? ''), 0, (page) => page.writeUInt8(1, 7000));
  for (const method of METHODS) {
    const verified = verify('--io-method', method, path);
    const found = verified.findings.map(({ path: file, block }) => `${file} ${block}`);
    assert.equal(found.sort(), [`${forks[9999]?.path} 0`, `${forks[5002]?.path} 1`].sort());
    assert.is(verified.summary.filesScanned, 10_000);
    assert.is(verified.summary.blocksScanned, 15_000);
    assert.ok(verified.rssMb < RSS_MAX_MB, `${method}: ${verified.rssMb} MB`);
    assertSame(path, verified);
  }
});

test('follows no link but those of tablespaces', async () => {
  const version = 'PG_15_202209061';
  const outside = fresh();
  const elsewhere = { path: 'base/5/16384', blocks: 3 };
  await makeSyntheticCluster(outside, { forks: [elsewhere] });
  change(join(outside, 'base/5/16384'), 1, (page) => page.fill(1));
  const space = fresh();
  mkdirSync(join(space, version), { recursive: true });
  mkdirSync(join(space, 'PG_14_202107181/5'), { recursive: true }); // another cluster's
  writeFileSync(join(space, 'PG_14_202107181/5/16384'), Buffer.alloc(PAGE, 1));
  const path = fresh();
  const forks = [
    { path: 'base/5/16384', blocks: 2 },
    { path: `pg_tblspc/16600/${version}/5/16390`, blocks: 4 },
  ];
  await makeSyntheticCluster(path, { forks });
  await makeSyntheticCluster(join(scratch, 'copy'), { forks: [{ path: 'base/5/7', blocks: 5 }] });
  mkdirSync(join(space, version, '5'));
  writeFileSync(join(space, version, '5/16391'), Buffer.alloc(PAGE, 1));
  symlinkSync(space, join(path, 'pg_tblspc/16601'));
  symlinkSync(join(outside, 'base/5/16384'), join(path, 'base/5/16385')); // a file
  symlinkSync(join(outside, 'base/5'), join(path, 'base/6')); // a directory
  symlinkSync(join(outside, 'base'), join(path, 'base/5/17000'));
  symlinkSync('.', join(path, 'base/5/17001')); // a circle
  symlinkSync(outside, join(path, 'global/16384'));
  symlinkSync(join(space, version), join(path, 'pg_tblspc/16600', version, '6'));
  for (const method of METHODS) {
    const { findings, foreign, summary, status } = verify('--io-method', method, path);
    assert.is(status, 1);
    assert.equal(
      findings.map((line) => `${line.path} ${line.block} ${line.faults}`),
      [`pg_tblspc/16601/${version}/5/16391 0 header,checksum`],
    );
    assert.equal(foreign.toString().split(',').sort(), [
      'base/5/16385',
      'base/5/17000',
      'base/5/17001',
      'base/6',
      'global/16384',
      `pg_tblspc/16600/${version}/6`,
    ]);
    assert.is(summary.blocksScanned, 2 + 4 + 1);
  }
});

test.run();
