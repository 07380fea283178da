/**
 * A PostgreSQL data directory: is it one, what does it say about itself, which files hold pages.
 *
 * Guarantees: every refusal is a `DataDirectoryError` whose one line says what to do, nothing is
 * written, and no link is followed but those that are tablespaces. Which files are looked at
 * follows pg_checksums (scan_directory, skipfile); which names are relations follows relpath.c and
 * parse_filename_for_nontemp_relation (reinit.c).
 */
import {
  closeSync,
  lstatSync,
  opendirSync,
  openSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs';
import { basename, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOfName, strerror } from '../../../bindings/errno.ts';
import {
  PG_CONTROL_FILE_SIZE,
  type PgControl,
  PgControlError,
  type PgControlErrorCode,
  parsePgControl,
} from '../../../bindings/pg-control.ts';
import { type DirectoryEntry, entriesInOrder } from './names.ts';

export type DataDirectoryErrorCode =
  /** Nothing has this path. */
  | 'PGAIO_DATADIR_MISSING'
  /** The path is not a directory. */
  | 'PGAIO_DATADIR_NOT_DIRECTORY'
  /** A file or directory cannot be read; `cause` is the system's error. */
  | 'PGAIO_DATADIR_ACCESS'
  /** PG_VERSION or global/pg_control is missing. */
  | 'PGAIO_DATADIR_NOT_PGDATA'
  /** PG_VERSION is not that of PostgreSQL 12 to 18, or contradicts pg_control. */
  | 'PGAIO_DATADIR_VERSION'
  /** pg_control is refused; `cause` is the `PgControlError`. */
  | 'PGAIO_DATADIR_CONTROL'
  /** A link in pg_tblspc does not lead to this cluster's tablespace. */
  | 'PGAIO_DATADIR_TABLESPACE'
  /** A demonstration was to be made where something is already. */
  | 'PGAIO_DATADIR_NOT_EMPTY'
  /** The demonstration could not be written; `cause` is the system's error. */
  | 'PGAIO_DATADIR_WRITE';

/** A data directory is refused; test `code`, show `message`. */
export class DataDirectoryError extends Error {
  readonly code: DataDirectoryErrorCode;
  readonly sqlstate = undefined;
  /** What the message is about. */
  readonly path: string;
  constructor(code: DataDirectoryErrorCode, path: string, words: string, cause?: unknown) {
    super(`${path}: ${words}`, cause === undefined ? undefined : { cause });
    this.name = 'DataDirectoryError';
    this.code = code;
    this.path = path;
  }
}

/** What is known of a data directory before its relations are looked at. */
export interface DataDirectory {
  /** Absolute path. */
  readonly path: string;
  /** PostgreSQL's major version, 12 to 18. */
  readonly majorVersion: number;
  readonly control: PgControl;
  /** Name of this cluster's directory in each tablespace, such as `'PG_18_202506291'`. */
  readonly tablespaceDirectory: string;
  /** postmaster.pid is there: a server runs, or one crashed. No proof in either direction. */
  readonly serverMayRun: boolean;
  /** Process that postmaster.pid names. */
  readonly serverPid: number | undefined;
}

export type ForkName = 'main' | 'fsm' | 'vm' | 'init';

/** Which relation fork a file belongs to. */
export interface RelationFileOwner {
  /** 1663 for `base`, 1664 for `global`, else the tablespace's own. */
  readonly spcOid: number;
  /** 0 in `global`. */
  readonly dbOid: number;
  readonly relNumber: number;
  readonly fork: ForkName;
  /** Process number of the backend whose temporary relation it is, else undefined. */
  readonly temp: number | undefined;
}

/** A file that pg_checksums would look at. */
export interface RelationFile {
  /** Relative to the data directory, with forward slashes. */
  readonly path: string;
  /** undefined: foreign, not a relation's file; `foreign` says why. */
  readonly relation: RelationFileOwner | undefined;
  /**
   * 'name': a file whose name or place no relation has. 'link': a link, or an entry of pg_tblspc,
   * that is no tablespace; not followed. 'special': a device, pipe or socket, or a name that is not
   * UTF-8: do not open it.
   */
  readonly foreign: 'name' | 'link' | 'special' | undefined;
  /** Number after the dot; its first block is `segment * control.segmentBlocks`. 0 if foreign. */
  readonly segment: number;
  /** Bytes when listed. */
  readonly size: number;
}

const OLDEST_MAJOR = 12;
const NEWEST_MAJOR = 18;
const DEFAULT_TABLESPACE = 1663;
const GLOBAL_TABLESPACE = 1664;
const OID_MAX = 4294967295;
const PROC_NUMBER_MAX = 262143; // MAX_BACKENDS: 18 bits
/** The last block number is 4294967294: the one above means "no block". */
const BLOCKS_MAX = 4294967295;
/** PG_VERSION and postmaster.pid are a few lines; whatever is longer is something else. */
const TEXT_BYTES_MAX = 8192;
/** A server that writes pg_control while we read it is done long before the second look. */
const CONTROL_ATTEMPTS_MAX = 10;
const CONTROL_PAUSE_MS = 10;

const WHICH_DIRECTORY = 'give the directory that holds PG_VERSION and global/';

/** Format that each major version writes, see pg-control.ts. */
function controlVersionOf(major: number): number {
  if (major === 12) return 1201;
  return major < 17 ? 1300 : major * 100;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** "Permission denied" for a system's error, its own message where there is no errno. */
function wordsOf(error: unknown): string {
  const errno = errnoOfName(codeOf(error));
  if (errno !== undefined) return strerror(errno);
  return error instanceof Error ? error.message : String(error);
}

function accessError(path: string, error: unknown): DataDirectoryError {
  const denied = ['EACCES', 'EPERM'].includes(codeOf(error));
  const advice = denied ? '; run as the user who owns the data directory' : '';
  return new DataDirectoryError(
    'PGAIO_DATADIR_ACCESS',
    path,
    `cannot be read (${wordsOf(error)})${advice}`,
    error,
  );
}

/** The result, or undefined if what is asked for is not there, or its parent is no directory. */
function unlessMissing<Result>(path: string, ask: () => Result): Result | undefined {
  try {
    return ask();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error))) return undefined;
    throw accessError(path, error);
  }
}

/** At most `most` bytes from the start of a regular file; undefined if there is no such file. */
function readStart(path: string, most: number): Uint8Array | undefined {
  const found = unlessMissing(path, () => statSync(path));
  if (found?.isFile() !== true) return undefined; // opening a pipe would wait for ever
  const file = unlessMissing(path, () => openSync(path, 'r'));
  if (file === undefined) return undefined;
  try {
    const bytes = new Uint8Array(most);
    let length = 0;
    for (let more = most; more > 0 && length < most; length += more) {
      more = readSync(file, bytes, length, most - length, length);
    }
    return bytes.subarray(0, length);
  } catch (error) {
    throw accessError(path, error);
  } finally {
    closeSync(file);
  }
}

function readText(path: string): string | undefined {
  const bytes = readStart(path, TEXT_BYTES_MAX);
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

const CONTROL_ADVICE: Readonly<Record<PgControlErrorCode, string>> = {
  PGAIO_CONTROL_SHORT: 'restore it from a backup',
  PGAIO_CONTROL_ENDIAN: 'read it on a machine of that byte order',
  PGAIO_CONTROL_VERSION: 'give the data directory of a version that is known',
  PGAIO_CONTROL_CRC: 'restore it from a backup, or rebuild it with pg_resetwal',
  PGAIO_CONTROL_VALUE: 'give the data directory of a 64-bit PostgreSQL server',
};

/**
 * Reads and checks global/pg_control. Worth repeating at the end of a long look at the directory:
 * nothing keeps a server from starting meanwhile, and `state` and `checkpointLsn` tell.
 * @param directory path of the data directory
 * @throws DataDirectoryError PGAIO_DATADIR_NOT_PGDATA, _ACCESS, _CONTROL
 */
export async function readControlFile(directory: string): Promise<PgControl> {
  const path = `${directory}/global/pg_control`;
  for (let attempt = 1; ; attempt++) {
    const bytes = readStart(path, PG_CONTROL_FILE_SIZE);
    if (bytes === undefined) throw notPgdata(directory, 'global/pg_control');
    try {
      return parsePgControl(bytes);
    } catch (error) {
      if (!(error instanceof PgControlError)) throw error;
      const torn = error.code === 'PGAIO_CONTROL_CRC' || error.code === 'PGAIO_CONTROL_SHORT';
      if (!torn || attempt === CONTROL_ATTEMPTS_MAX) {
        const words = `${error.message}; ${CONTROL_ADVICE[error.code]}`;
        throw new DataDirectoryError('PGAIO_DATADIR_CONTROL', path, words, error);
      }
    }
    await sleep(CONTROL_PAUSE_MS);
  }
}

function notPgdata(directory: string, lacking: string): DataDirectoryError {
  return new DataDirectoryError(
    'PGAIO_DATADIR_NOT_PGDATA',
    directory,
    `not a PostgreSQL data directory (no ${lacking}); ${WHICH_DIRECTORY}`,
  );
}

function checkDirectory(path: string): void {
  let found: Stats;
  try {
    found = statSync(path);
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR', 'ERR_INVALID_ARG_VALUE'].includes(codeOf(error))) {
      throw accessError(path, error);
    }
    const words = `no such directory; ${WHICH_DIRECTORY}`;
    throw new DataDirectoryError('PGAIO_DATADIR_MISSING', path, words, error);
  }
  if (!found.isDirectory()) {
    const words = `not a directory; ${WHICH_DIRECTORY}`;
    throw new DataDirectoryError('PGAIO_DATADIR_NOT_DIRECTORY', path, words);
  }
  try {
    opendirSync(path).closeSync();
  } catch (error) {
    throw accessError(path, error);
  }
}

function readMajorVersion(directory: string): number {
  const text = readText(`${directory}/PG_VERSION`);
  if (text === undefined) throw notPgdata(directory, 'PG_VERSION');
  const version = text.trimEnd();
  const major = /^\d{1,4}(\.\d+)?$/.test(version) ? Math.trunc(Number(version)) : 0;
  if (major >= OLDEST_MAJOR && major <= NEWEST_MAJOR) return major;
  const known = `known are ${OLDEST_MAJOR} to ${NEWEST_MAJOR}`;
  const words =
    major === 0
      ? `PG_VERSION holds no version (${JSON.stringify(version.slice(0, 20))}); ${known}`
      : `the data directory of PostgreSQL ${version}; ${known}`;
  throw new DataDirectoryError('PGAIO_DATADIR_VERSION', directory, words);
}

/** The process in postmaster.pid's first line; a single-user server writes it negated. */
function readServerPid(directory: string): [boolean, number | undefined] {
  let text: string | undefined;
  try {
    text = readText(`${directory}/postmaster.pid`);
  } catch {
    return [true, undefined]; // it is there, though not for us to read
  }
  const [, pid] = /^-?(\d{1,10})\s/.exec(`${text ?? ''}\n`) ?? [];
  return [text !== undefined, pid === undefined ? undefined : Number(pid)];
}

/**
 * Looks at a data directory: exists, readable, PG_VERSION and global/pg_control of one version.
 * Holds nothing open. Whether the cluster was shut down and has checksums is left to the caller:
 * `control.state`, `control.dataChecksumVersion`, `serverMayRun`.
 * @param path absolute, or relative to the working directory
 * @throws DataDirectoryError by its codes, except _TABLESPACE, _NOT_EMPTY and _WRITE
 * @example
 * const directory = await openDataDirectory('/var/lib/postgresql/18/main');
 * for await (const file of listRelationFiles(directory)) console.log(file.path, file.size);
 */
export async function openDataDirectory(path: string): Promise<DataDirectory> {
  if (path === '') {
    throw new DataDirectoryError('PGAIO_DATADIR_MISSING', "''", `no path; ${WHICH_DIRECTORY}`);
  }
  const directory = resolve(path);
  checkDirectory(directory);
  const majorVersion = readMajorVersion(directory);
  const control = await readControlFile(directory);
  if (control.controlVersion !== controlVersionOf(majorVersion)) {
    throw new DataDirectoryError(
      'PGAIO_DATADIR_VERSION',
      directory,
      `PG_VERSION says ${majorVersion}, pg_control has version ${control.controlVersion}, ` +
        "which is another's; restore both from one backup",
    );
  }
  const [serverMayRun, serverPid] = readServerPid(directory);
  const tablespaceDirectory = `PG_${majorVersion}_${control.catalogVersion}`;
  return { path: directory, majorVersion, control, tablespaceDirectory, serverMayRun, serverPid };
}

/** pg_checksums' exclusions: by prefix, and by exact name. */
function isSkipped(name: string, isFile: boolean): boolean {
  if (name.startsWith('pgsql_tmp') || name === '.DS_Store') return true;
  if (!isFile) return false;
  return (
    name.startsWith('pg_internal.init') ||
    name === 'pg_control' ||
    name === 'pg_filenode.map' ||
    name === 'PG_VERSION'
  );
}

function oidOf(text: string | undefined): number | undefined {
  if (text === undefined || !/^[1-9]\d{0,9}$/.test(text)) return undefined;
  const oid = Number(text);
  return oid <= OID_MAX ? oid : undefined;
}

const FORKS: readonly ForkName[] = ['main', 'fsm', 'vm', 'init'];
const RELATION_FILE = /^(?:t(0|[1-9]\d*)_)?(\d+)(?:_(fsm|vm|init))?(?:\.([1-9]\d*))?$/;

/**
 * What a file name in a database's directory says: `16384`, `16384_fsm.2`, `t9_16391`.
 * undefined for a name that PostgreSQL gives to no relation.
 * @param segmentBlocks blocks per segment, which bound the segment number
 */
export function parseRelationFileName(
  name: string,
  segmentBlocks: number,
):
  | {
      readonly relNumber: number;
      readonly fork: ForkName;
      readonly temp: number | undefined;
      readonly segment: number;
    }
  | undefined {
  const match = RELATION_FILE.exec(name);
  if (match === null) return undefined;
  const relNumber = oidOf(match[2]);
  const temp = match[1] === undefined ? undefined : Number(match[1]);
  const segment = Number(match[4] ?? 0);
  if (relNumber === undefined || (temp ?? 0) > PROC_NUMBER_MAX) return undefined;
  if (segment * segmentBlocks >= BLOCKS_MAX) return undefined;
  const fork = FORKS.find((word) => word === match[3]) ?? 'main';
  return { relNumber, fork, temp, segment };
}

/** Where in the directory tree we are; `elsewhere` no file can be a relation's. */
type Place =
  | { readonly kind: 'tablespace'; readonly spcOid: number }
  | { readonly kind: 'database'; readonly spcOid: number; readonly dbOid: number }
  | { readonly kind: 'elsewhere' };

function placeBelow(place: Place, name: string): Place {
  const dbOid = oidOf(name);
  if (place.kind !== 'tablespace' || dbOid === undefined) return { kind: 'elsewhere' };
  return { kind: 'database', spcOid: place.spcOid, dbOid };
}

function classify(path: string, found: Stats, place: Place, segmentBlocks: number): RelationFile {
  const { size } = found;
  if (found.isSymbolicLink())
    return { path, relation: undefined, foreign: 'link', segment: 0, size };
  if (!found.isFile()) return { path, relation: undefined, foreign: 'special', segment: 0, size };
  const parsed =
    place.kind === 'database' ? parseRelationFileName(basename(path), segmentBlocks) : undefined;
  const global = place.kind === 'database' && place.dbOid === 0;
  if (place.kind !== 'database' || parsed === undefined || (global && parsed.temp !== undefined)) {
    return { path, relation: undefined, foreign: 'name', segment: 0, size };
  }
  const { relNumber, fork, temp, segment } = parsed;
  const relation = { spcOid: place.spcOid, dbOid: place.dbOid, relNumber, fork, temp };
  return { path, relation, foreign: undefined, segment, size };
}

/** A missing directory is an error if `required`; else it was just dropped. */
function* entriesOf(path: string, required: boolean): Generator<DirectoryEntry, void, undefined> {
  try {
    yield* entriesInOrder(path);
  } catch (error) {
    if (!required && codeOf(error) === 'ENOENT') return;
    throw accessError(path, error);
  }
}

/** A file that vanished since its directory was read was dropped by a server: undefined. */
function look(directory: DataDirectory, path: string, place: Place): RelationFile | undefined {
  if (path.includes('\ufffd')) {
    return { path, relation: undefined, foreign: 'special', segment: 0, size: 0 };
  }
  const full = `${directory.path}/${path}`;
  const found = unlessMissing(full, () => lstatSync(full, { throwIfNoEntry: false }));
  return found && classify(path, found, place, directory.control.segmentBlocks);
}

function* scan(
  directory: DataDirectory,
  path: string,
  place: Place,
  required: boolean,
): Generator<RelationFile, void, undefined> {
  for (const { name, kind } of entriesOf(`${directory.path}/${path}`, required)) {
    const below = `${path}/${name}`;
    if (isSkipped(name, kind === 'file')) continue;
    if (kind === 'directory' && !name.includes('\ufffd')) {
      yield* scan(directory, below, placeBelow(place, name), false);
    } else {
      const file = look(directory, below, place);
      if (file !== undefined) yield file;
    }
  }
}

/** One entry of pg_tblspc: a link, or a directory if allow_in_place_tablespaces was on. */
function* scanTablespace(
  directory: DataDirectory,
  name: string,
): Generator<RelationFile, void, undefined> {
  const path = `pg_tblspc/${name}`;
  const below = `${path}/${directory.tablespaceDirectory}`;
  const spcOid = oidOf(name);
  if (spcOid === undefined) {
    yield { path, relation: undefined, foreign: 'link', segment: 0, size: 0 };
    return;
  }
  const refuse = (words: string, error?: unknown): DataDirectoryError =>
    new DataDirectoryError(
      'PGAIO_DATADIR_TABLESPACE',
      `${directory.path}/${path}`,
      `${words}; restore the tablespace's directory or its link`,
      error,
    );
  let found: Stats;
  try {
    found = lstatSync(`${directory.path}/${below}`);
  } catch (error) {
    const missing = ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error));
    if (!missing) throw accessError(`${directory.path}/${below}`, error);
    throw refuse(`does not lead to a tablespace with ${directory.tablespaceDirectory}`, error);
  }
  if (!found.isDirectory())
    throw refuse(`${directory.tablespaceDirectory} is not a directory there`);
  yield* scan(directory, below, { kind: 'tablespace', spcOid }, true);
}

/**
 * Files that pg_checksums would look at, in `global`, then `base`, then each tablespace; in a
 * directory relations by number, each one's segments in order. Foreign files are among them.
 * Files that a running server removes meanwhile are left out; those it adds may be.
 * Synchronous: a look at a file takes some microseconds, and a detour through threads many times
 * that. Who lists a large directory gives the event loop its turns between files.
 * @throws DataDirectoryError PGAIO_DATADIR_ACCESS for what cannot be read, PGAIO_DATADIR_TABLESPACE
 *   for a link that leads nowhere; at the place concerned, after which the listing is over
 */
export function* listRelationFiles(
  directory: DataDirectory,
): Generator<RelationFile, void, undefined> {
  const global: Place = { kind: 'database', spcOid: GLOBAL_TABLESPACE, dbOid: 0 };
  yield* scan(directory, 'global', global, true);
  yield* scan(directory, 'base', { kind: 'tablespace', spcOid: DEFAULT_TABLESPACE }, true);
  for (const { name, kind } of entriesOf(`${directory.path}/pg_tblspc`, true)) {
    if (isSkipped(name, kind === 'file')) continue;
    if (kind === 'directory' || kind === 'link') yield* scanTablespace(directory, name);
    else {
      const file = look(directory, `pg_tblspc/${name}`, { kind: 'elsewhere' });
      if (file !== undefined) yield file;
    }
  }
}

/**
 * Path of a file, relative to the data directory: the reverse of what the listing makes of it.
 * For toFixed see names.ts.
 */
export function relationPath(
  { spcOid, dbOid, relNumber, fork, temp }: RelationFileOwner,
  segment: number,
  tablespaceDirectory: string,
): string {
  const name = `${temp === undefined ? '' : `t${temp}_`}${relNumber.toFixed(0)}`;
  const file = `${name}${fork === 'main' ? '' : `_${fork}`}${segment === 0 ? '' : `.${segment}`}`;
  if (spcOid === GLOBAL_TABLESPACE) return `global/${file}`;
  if (spcOid === DEFAULT_TABLESPACE) return `base/${dbOid}/${file}`;
  return `pg_tblspc/${spcOid}/${tablespaceDirectory}/${dbOid}/${file}`;
}
