/**
 * `pgaio verify` beside pg_checksums: whole processes, from start to end, on clusters made for it
 * and removed afterwards. From the page cache wall time and CPU time; cold, beside fio, too.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { makeSyntheticCluster } from '../tests/synthetic-cluster.ts';
import { bench, type Opener, type RowOf, type Unavailable } from './harness.ts';
import { fio, hasFio, NO_FIO } from './parts/fio.ts';

const CLI = 'dist/cli.cjs';
const GIB = 2 ** 30;
const PAGE = 8192;
/** On two cores, however many there are. */
const CORES = 2;
/** What must be free beside a cluster, on disk and in memory. */
const SPARE_BYTES = 2 * GIB;

/** Where clusters are made. Everything in it goes at the end. */
const folder = resolve('dist/bench-data/verify');
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

function found(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
}
/** Of the newest server there is. */
function pgChecksums(): string | undefined {
  const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql') : [];
  return versions
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => `/usr/lib/postgresql/${version}/bin/pg_checksums`)
    .find((path) => existsSync(path));
}
/** pg_control's format that a server of a major version wants to see. */
function controlOf(version: number): { controlVersion: number; catalogVersion: number } {
  const controlVersion = version === 12 ? 1201 : version < 17 ? 1300 : version * 100;
  return { controlVersion, catalogVersion: 202209061 };
}

/** A cluster of so many GiB, made when it is first asked for; or why there is none. */
const made = new Map<number, string>();
async function clusterOf(gib: number): Promise<string | Unavailable> {
  const known = made.get(gib);
  if (known !== undefined) return known;
  mkdirSync(folder, { recursive: true });
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize < gib * GIB + SPARE_BYTES) {
    return { unavailable: `${gib} GiB and some more are not free on disk` };
  }
  const [, kb] = /^MemAvailable: +(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8')) ?? [];
  if (Number(kb) * 1024 < gib * GIB + SPARE_BYTES) {
    return { unavailable: `the page cache has no room for ${gib} GiB` };
  }
  const path = `${folder}/${gib}GiB`;
  const [, major = '15'] = /postgresql\/(\d+)\//.exec(pgChecksums() ?? '') ?? [];
  await makeSyntheticCluster(path, {
    forks: [{ path: 'base/5/16384', blocks: (gib * GIB) / PAGE }],
    control: controlOf(Number(major)),
    version: major,
  });
  spawnSync('sync');
  made.set(gib, path);
  return path;
}

interface Took {
  /** Seconds. */
  readonly wall: number;
  readonly cpu: number;
  readonly stdout: string;
}
/** Without what has each Node read a file of certificates at its start, in some shells. */
const { NODE_EXTRA_CA_CERTS: _, ...ENVIRONMENT } = process.env;
/** Runs a command on two cores. bash tells what it took, its children included. */
function timed(command: readonly string[]): Took {
  const pinned = availableParallelism() > CORES ? ['taskset', '-c', '0,1'] : [];
  const line = 'TIMEFORMAT="took %3R %3U %3S"; time "$@"';
  const ran = spawnSync('bash', ['-c', line, 'bash', ...pinned, ...command], {
    encoding: 'utf8',
    env: ENVIRONMENT,
  });
  const [, wall, user, system] = /took (\S+) (\S+) (\S+)/.exec(ran.stderr) ?? [];
  if (ran.status !== 0 || wall === undefined) {
    throw new Error(`${command.join(' ')}: status ${ran.status}, ${ran.stderr.slice(-300)}`);
  }
  return { wall: Number(wall), cpu: Number(user) + Number(system), stdout: ran.stdout };
}

/** Commands over a cluster, by the name of their subject. */
const SUBJECTS = {
  pg_checksums: (path: string) => [pgChecksums() ?? '', '--check', '-D', path],
  pgaio: (path: string) => [process.execPath, CLI, 'verify', path],
  'pgaio, 1 job': (path: string) => [process.execPath, CLI, 'verify', '-j', '1', path],
  'pgaio, worker': (path: string) => [
    process.execPath,
    CLI,
    'verify',
    '--io-method',
    'worker',
    path,
  ],
} as const;
type Subject = keyof typeof SUBJECTS;

/** Has the kernel forget what it has cached of the files of a cluster. */
function forget(path: string): void {
  for (const file of readdirSync(`${path}/base/5`)) {
    const of = `of=${path}/base/5/${file}`;
    const dd = spawnSync('dd', [of, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0']);
    if (dd.status !== 0) throw new Error(`dd ${of}: ${dd.stderr}`);
  }
}

/** The line of a report with a number of blocks: the same for both programs, or it is no race. */
function checkCount(gib: number, stdout: string): void {
  const [, blocks] = /^Blocks scanned: +(\d+)$/m.exec(stdout) ?? [];
  const [, bad] = /^Bad checksums: +(\d+)$/m.exec(stdout) ?? [];
  if (Number(blocks) === (gib * GIB) / PAGE && bad === '0') return;
  throw new Error(`${blocks} blocks, ${bad} bad, of ${gib} GiB`);
}

const NANO = 1e9;
function opener(gib: number, subject: Subject, what: 'wall' | 'cpu' | 'cold'): Opener {
  return async () => {
    if (!found('bash')) return { unavailable: 'there is no bash to measure with' };
    if (subject === 'pg_checksums' && pgChecksums() === undefined) {
      return { unavailable: 'there is no pg_checksums (apt-get install postgresql)' };
    }
    const path = await clusterOf(gib);
    if (typeof path !== 'string') return path;
    return {
      run: async (operations) => {
        let sum = 0;
        for (let n = 0; n < operations; n++) {
          if (what === 'cold') forget(path);
          const took = timed(SUBJECTS[subject](path));
          checkCount(gib, took.stdout);
          sum += what === 'cpu' ? took.cpu : took.wall;
        }
        return (sum / operations) * NANO;
      },
    };
  };
}

/** How fast the files are read by the program's own clock, beside fio's: without their starts. */
function readRate(gib: number, subject: 'pgaio' | 'fio'): Opener {
  return async () => {
    if (subject === 'fio' && !hasFio()) return NO_FIO;
    const path = await clusterOf(gib);
    if (typeof path !== 'string') return path;
    const once = subject === 'fio' ? fioSeconds : ownSeconds;
    return {
      run: async (operations) => {
        let sum = 0;
        for (let n = 0; n < operations; n++) {
          forget(path);
          sum += once(path);
        }
        return (sum / operations) * NANO;
      },
    };
  };
}
function ownSeconds(path: string): number {
  const { stdout } = timed([process.execPath, CLI, 'verify', '--json', path]);
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '').seconds;
}
/** As many jobs as the program has, each reading its share from begin to end, 1 MiB at a time. */
function fioSeconds(path: string): number {
  const options = ['--rw=read', '--bs=1M', '--ioengine=psync', '--invalidate=0'];
  const jobs = readdirSync(`${path}/base/5`).flatMap((file, i) => [
    `--name=job${i}`,
    `--filename=${path}/base/5/${file}`,
  ]);
  const ended = fio([...options, ...jobs]);
  return Math.max(...ended.map(({ read }) => read.runtime)) / 1000;
}

const ratio =
  (title: string, subject: string, base = 'pg_checksums') =>
  (row: RowOf): number =>
    row(title, subject).nsPerOperation.median / row(title, base).nsPerOperation.median;

await bench('verify', (b) => {
  const subjects = Object.keys(SUBJECTS) as Subject[];
  for (const gib of [2, 8]) {
    for (const [what, title] of [
      ['wall', `${gib} GiB from the page cache`],
      ['cpu', `${gib} GiB from the page cache: CPU time`],
    ] as const) {
      const some = gib === 2 ? subjects : subjects.slice(0, 2);
      b.case(title, {
        operations: 1,
        subjects: Object.fromEntries(some.map((name) => [name, opener(gib, name, what)])),
      });
    }
  }
  b.case('2 GiB cold', {
    operations: 1,
    subjects: Object.fromEntries(subjects.map((name) => [name, opener(2, name, 'cold')])),
  });
  b.case('2 GiB cold: reading alone', {
    operations: 1,
    subjects: { fio: readRate(2, 'fio'), pgaio: readRate(2, 'pgaio') },
  });
  b.target(
    '2 GiB: time of pg_checksums’',
    0.5,
    '<=',
    '',
    ratio('2 GiB from the page cache', 'pgaio'),
  );
  b.target(
    '8 GiB: time of pg_checksums’',
    0.4,
    '<=',
    '',
    ratio('8 GiB from the page cache', 'pgaio'),
  );
  for (const gib of [2, 8]) {
    const title = `${gib} GiB from the page cache: CPU time`;
    b.target(`${gib} GiB: CPU of pg_checksums’`, 0.85, '<=', '', ratio(title, 'pgaio'));
  }
  b.target('cold: time of pg_checksums’', 1, '<=', '', ratio('2 GiB cold', 'pgaio'));
  const cold = ratio('2 GiB cold: reading alone', 'fio', 'pgaio');
  b.target('cold: rate of fio’s', 0.95, '>=', '', cold);
});
