/**
 * `pgaio verify` as a process, with how much memory it took; pg_checksums on the same directory;
 * and the ways in which a page can be damaged.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { VARIANTS } from './harness.ts';
import { putChecksum } from './page-vectors.ts';
import { binariesOfSystem, skipped } from './real-postgres.ts';

export const CLI = 'dist/cli.cjs';
export const PAGE = 8192;
export const SEGMENT_BLOCKS = 131072;
const TIME_LIMIT_MS = 90_000;
/** What docs/verify.md promises for the jobs there are by default. */
export const RSS_MAX_MB = 150;
/** Every method that the program can be told. */
export const METHODS: ReadonlySet<string> = new Set(
  VARIANTS.map(({ method }) => method).filter((name) => name !== 'host'),
);

export interface Line {
  readonly type: string;
  readonly [name: string]: unknown;
}
export interface Verified {
  readonly status: number | null;
  readonly findings: readonly Line[];
  readonly foreign: readonly unknown[];
  readonly summary: Line;
  readonly rssMb: number;
}

/** Has the process say at its end how much memory it took at most; its threads load this, too. */
const TELL_RSS = `data:text/javascript,${encodeURIComponent(
  'import { writeSync } from "node:fs";' +
    'import { isMainThread } from "node:worker_threads";' +
    'const tell = () => writeSync(2, "rss " + process.resourceUsage().maxRSS);' +
    'if (isMainThread) process.on("exit", tell);',
)}`;

export function verify(...args: string[]): Verified {
  const ran = spawnSync(
    process.execPath,
    ['--import', TELL_RSS, CLI, 'verify', '--json', ...args],
    {
      encoding: 'utf8',
      timeout: TIME_LIMIT_MS,
      maxBuffer: 1 << 28,
    },
  );
  const [, kb] = /^rss (\d+)$/.exec(ran.stderr) ?? [];
  assert.ok(kb !== undefined, ran.stderr);
  const lines = ran.stdout
    .trimEnd()
    .split('\n')
    .map((line): Line => JSON.parse(line));
  return {
    status: ran.status,
    findings: lines.filter(({ type }) => type === 'finding'),
    foreign: lines.filter(({ type }) => type === 'foreign').map(({ path }) => path),
    summary: lines.at(-1) ?? { type: 'none' },
    rssMb: Number(kb) / 1024,
  };
}

/** What pg_checksums says; or a reason why it does not. */
export function pgChecksums(path: string): { files: number; blocks: number; bad: number } | string {
  const bin = binariesOfSystem(15);
  if (typeof bin !== 'string') return bin.reason;
  const { stdout, stderr } = spawnSync(join(bin, 'pg_checksums'), ['--check', '-D', path], {
    encoding: 'utf8',
    timeout: TIME_LIMIT_MS,
    maxBuffer: 1 << 28,
  });
  const number = (words: string): number => {
    const [, found] = new RegExp(`^${words}: +(\\d+)$`, 'm').exec(stdout) ?? [];
    assert.ok(found !== undefined, `${words}: ${stderr.slice(0, 500)}`);
    return Number(found);
  };
  return {
    files: number('Files scanned'),
    blocks: number('Blocks scanned'),
    bad: number('Bad checksums'),
  };
}

/** The same numbers from pg_checksums, where there is one. */
export function assertSame(path: string, { summary }: Verified): void {
  const theirs = pgChecksums(path);
  if (typeof theirs === 'string') {
    skipped(`not compared with pg_checksums: ${theirs}`);
    return;
  }
  const { filesScanned: files, blocksScanned: blocks, badChecksums: bad } = summary;
  assert.equal({ files, blocks, bad }, theirs);
}

export type Change = (page: Buffer, block: number) => void;
export function change(path: string, block: number, act: Change): void {
  const segment = Math.floor(block / SEGMENT_BLOCKS);
  const file = openSync(segment === 0 ? path : `${path}.${segment}`, 'r+');
  const at = (block % SEGMENT_BLOCKS) * PAGE;
  const page = Buffer.alloc(PAGE);
  readSync(file, page, 0, PAGE, at);
  act(page, block);
  writeSync(file, page, 0, PAGE, at);
  closeSync(file);
}

/** One for each way in which a page can be damaged, with what is to be found. */
export const DAMAGE: readonly (readonly [faults: readonly string[], act: Change])[] = [
  [['checksum'], (page) => page.writeUInt8((page[5000] ?? 0) ^ 1, 5000)],
  [['checksum'], (page) => page.writeUInt8((page[8] ?? 0) ^ 1, 8)],
  [['header', 'checksum'], (page) => page.writeUInt16LE(0xffff, 10)],
  [['header', 'checksum'], (page) => page.fill(0xa5)],
  [
    ['header'],
    (page, block) => {
      page.writeUInt16LE(8184, 12); // pd_lower above pd_upper
      putChecksum(page, block);
    },
  ],
  [['garbage'], (page) => page.writeUInt16LE(0, 14)],
];
