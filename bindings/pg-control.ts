/**
 * global/pg_control: what a cluster says about itself, read from bytes and written to bytes.
 *
 * Whoever reads a data directory needs its block size, segment size and checksum version from here,
 * since all three are choices of whoever compiled or initialised the server. Nothing is returned
 * unless the CRC holds and the values are ones a server can have written.
 * Mirrors ControlFileData (pg_control.h) of PostgreSQL 12 to 18 as compiled for 64-bit,
 * little-endian machines.
 */

/** Cluster states in the order of PostgreSQL's DBState, in pg_controldata's words. */
export const PG_CONTROL_STATES = [
  'starting up',
  'shut down',
  'shut down in recovery',
  'shutting down',
  'in crash recovery',
  'in archive recovery',
  'in production',
] as const;
export type PgControlState = (typeof PG_CONTROL_STATES)[number];

/** wal_level settings in the order of PostgreSQL's WalLevel. */
export const PG_WAL_LEVELS = ['minimal', 'replica', 'logical'] as const;
export type PgWalLevel = (typeof PG_WAL_LEVELS)[number];

/** Facts of one pg_control file. A log position (LSN) is text such as `'0/174B248'`. */
export interface PgControl {
  readonly systemIdentifier: bigint;
  /** Format of this file: 1201 (PostgreSQL 12), 1300 (13 to 16), 1700 (17), 1800 (18). */
  readonly controlVersion: number;
  readonly catalogVersion: number;
  readonly state: PgControlState;
  /** When the server last wrote this file, in seconds since 1970. */
  readonly modifiedSeconds: number;
  readonly checkpointLsn: string;

  // The copy of the last checkpoint's record.
  readonly redoLsn: string;
  readonly timeline: number;
  readonly previousTimeline: number;
  readonly fullPageWrites: boolean;
  /** wal_level at the checkpoint; undefined before PostgreSQL 17. */
  readonly checkpointWalLevel: PgWalLevel | undefined;
  /** Next transaction id, the epoch in its upper 32 bits. */
  readonly nextXid: bigint;
  readonly nextOid: number;
  readonly nextMulti: number;
  readonly nextMultiOffset: number;
  readonly oldestXid: number;
  readonly oldestXidDb: number;
  readonly oldestMulti: number;
  readonly oldestMultiDb: number;
  readonly checkpointSeconds: number;
  readonly oldestCommitTsXid: number;
  readonly newestCommitTsXid: number;
  readonly oldestActiveXid: number;

  readonly unloggedLsn: string;
  readonly minRecoveryLsn: string;
  readonly minRecoveryTimeline: number;
  readonly backupStartLsn: string;
  readonly backupEndLsn: string;
  readonly backupEndRequired: boolean;

  // Settings a standby must not undercut.
  readonly walLevel: PgWalLevel;
  readonly walLogHints: boolean;
  readonly maxConnections: number;
  readonly maxWorkerProcesses: number;
  readonly maxWalSenders: number;
  readonly maxPreparedTransactions: number;
  readonly maxLocksPerTransaction: number;
  readonly trackCommitTimestamp: boolean;

  // What the server was compiled with. Sizes in bytes unless the name says otherwise.
  readonly maxAlign: number;
  /** Always 1234567; a server with another floating-point format would read something else. */
  readonly floatFormat: number;
  readonly blockSize: number;
  /** Blocks per segment file of a relation (relseg_size). */
  readonly segmentBlocks: number;
  readonly walBlockSize: number;
  readonly walSegmentSize: number;
  readonly nameDataLength: number;
  readonly indexMaxKeys: number;
  readonly toastMaxChunkSize: number;
  readonly largeObjectBlockSize: number;
  /** Only in PostgreSQL 12's format, else undefined. */
  readonly float4ByVal: boolean | undefined;
  readonly float8ByVal: boolean;
  /** 0: pages have no checksums; 1: they have them. */
  readonly dataChecksumVersion: number;
  /** Whether `char` is signed where the cluster was made; undefined before PostgreSQL 18. */
  readonly defaultCharSigned: boolean | undefined;
  /** 32 random bytes. */
  readonly mockAuthenticationNonce: Uint8Array;
}

export type PgControlErrorCode =
  /** Fewer bytes than the format has. */
  | 'PGAIO_CONTROL_SHORT'
  /** Written by a server of the other byte order. */
  | 'PGAIO_CONTROL_ENDIAN'
  /** Not a format of PostgreSQL 12 to 18. */
  | 'PGAIO_CONTROL_VERSION'
  /** The bytes do not have the CRC that is stored with them. */
  | 'PGAIO_CONTROL_CRC'
  /** A value that no 64-bit server writes, or that the format cannot hold. */
  | 'PGAIO_CONTROL_VALUE';

/** pg_control is refused; `code` says why, the message what was found. */
export class PgControlError extends Error {
  readonly code: PgControlErrorCode;
  readonly sqlstate = undefined;
  constructor(code: PgControlErrorCode, message: string) {
    super(message);
    this.name = 'PgControlError';
    this.code = code;
  }
}

/** Size of the file: its facts end before byte 296, the rest is zero. */
export const PG_CONTROL_FILE_SIZE = 8192;

const VERSION_12 = 1201;
const VERSION_13 = 1300;
const VERSION_17 = 1700;
const VERSION_18 = 1800;
const VERSIONS: readonly number[] = [VERSION_12, VERSION_13, VERSION_17, VERSION_18];
/** pg_control_version sits here in every format there ever was. */
const VERSION_AT = 8;
const VERSION_END = 12;
const FLOAT_FORMAT = 1234567;
const NONCE_BYTES = 32;

/** PostgreSQL 18.4's values after initdb; `encodePgControl` takes from here what it is not told. */
export const PG_CONTROL_DEFAULTS: PgControl = {
  systemIdentifier: 1n,
  controlVersion: VERSION_18,
  catalogVersion: 202506291,
  state: 'shut down',
  modifiedSeconds: 0,
  checkpointLsn: '0/1000028',
  redoLsn: '0/1000028',
  timeline: 1,
  previousTimeline: 1,
  fullPageWrites: true,
  checkpointWalLevel: 'replica',
  nextXid: 752n,
  nextOid: 16384,
  nextMulti: 1,
  nextMultiOffset: 0,
  oldestXid: 744,
  oldestXidDb: 1,
  oldestMulti: 1,
  oldestMultiDb: 1,
  checkpointSeconds: 0,
  oldestCommitTsXid: 0,
  newestCommitTsXid: 0,
  oldestActiveXid: 0,
  unloggedLsn: '0/3E8',
  minRecoveryLsn: '0/0',
  minRecoveryTimeline: 0,
  backupStartLsn: '0/0',
  backupEndLsn: '0/0',
  backupEndRequired: false,
  walLevel: 'replica',
  walLogHints: false,
  maxConnections: 100,
  maxWorkerProcesses: 8,
  maxWalSenders: 10,
  maxPreparedTransactions: 0,
  maxLocksPerTransaction: 64,
  trackCommitTimestamp: false,
  maxAlign: 8,
  floatFormat: FLOAT_FORMAT,
  blockSize: 8192,
  segmentBlocks: 131072,
  walBlockSize: 8192,
  walSegmentSize: 16777216,
  nameDataLength: 64,
  indexMaxKeys: 32,
  toastMaxChunkSize: 1996,
  largeObjectBlockSize: 2048,
  float4ByVal: undefined,
  float8ByVal: true,
  dataChecksumVersion: 1,
  defaultCharSigned: true,
  mockAuthenticationNonce: new Uint8Array(NONCE_BYTES),
};

/** How a field lies in the file, with the type its value has here. */
interface Kinds {
  u32: number;
  i32: number;
  seconds: number;
  f64: number;
  u64: bigint;
  lsn: string;
  state: PgControlState;
  walLevel: PgWalLevel;
  bool: boolean;
  nonce: Uint8Array;
}
type Kind = keyof Kinds;
/** Name, kind and, if not every format has the field, the formats that do. */
type Field = {
  [Name in keyof PgControl]: {
    [K in Kind]: Exclude<PgControl[Name], undefined> extends Kinds[K]
      ? readonly [name: Name, kind: K, versions?: readonly number[]]
      : never;
  }[Kind];
}[keyof PgControl];

/** In the order of the file. Each field follows the one before, aligned to its own width. */
const FIELDS: readonly Field[] = [
  ['systemIdentifier', 'u64'],
  ['controlVersion', 'u32'],
  ['catalogVersion', 'u32'],
  ['state', 'state'],
  ['modifiedSeconds', 'seconds'],
  ['checkpointLsn', 'lsn'],
  ['redoLsn', 'lsn'],
  ['timeline', 'u32'],
  ['previousTimeline', 'u32'],
  ['fullPageWrites', 'bool'],
  ['checkpointWalLevel', 'walLevel', [VERSION_17, VERSION_18]],
  ['nextXid', 'u64'],
  ['nextOid', 'u32'],
  ['nextMulti', 'u32'],
  ['nextMultiOffset', 'u32'],
  ['oldestXid', 'u32'],
  ['oldestXidDb', 'u32'],
  ['oldestMulti', 'u32'],
  ['oldestMultiDb', 'u32'],
  ['checkpointSeconds', 'seconds'],
  ['oldestCommitTsXid', 'u32'],
  ['newestCommitTsXid', 'u32'],
  ['oldestActiveXid', 'u32'],
  ['unloggedLsn', 'lsn'],
  ['minRecoveryLsn', 'lsn'],
  ['minRecoveryTimeline', 'u32'],
  ['backupStartLsn', 'lsn'],
  ['backupEndLsn', 'lsn'],
  ['backupEndRequired', 'bool'],
  ['walLevel', 'walLevel'],
  ['walLogHints', 'bool'],
  ['maxConnections', 'i32'],
  ['maxWorkerProcesses', 'i32'],
  ['maxWalSenders', 'i32'],
  ['maxPreparedTransactions', 'i32'],
  ['maxLocksPerTransaction', 'i32'],
  ['trackCommitTimestamp', 'bool'],
  ['maxAlign', 'u32'],
  ['floatFormat', 'f64'],
  ['blockSize', 'u32'],
  ['segmentBlocks', 'u32'],
  ['walBlockSize', 'u32'],
  ['walSegmentSize', 'u32'],
  ['nameDataLength', 'u32'],
  ['indexMaxKeys', 'u32'],
  ['toastMaxChunkSize', 'u32'],
  ['largeObjectBlockSize', 'u32'],
  ['float4ByVal', 'bool', [VERSION_12]],
  ['float8ByVal', 'bool'],
  ['dataChecksumVersion', 'u32'],
  ['defaultCharSigned', 'bool', [VERSION_18]],
  ['mockAuthenticationNonce', 'nonce'],
];

const WIDTHS: Readonly<Record<Kind, number>> = {
  u32: 4,
  i32: 4,
  state: 4,
  walLevel: 4,
  u64: 8,
  seconds: 8,
  lsn: 8,
  f64: 8,
  bool: 1,
  nonce: 32,
};

interface Placed {
  readonly name: keyof PgControl;
  readonly kind: Kind;
  readonly offset: number;
}

/**
 * Where each field of a format lies, and the CRC behind the last. `maxAlign` is 8 on the machines
 * supported and 4 on 32-bit x86, where the same structure is packed more tightly.
 */
function layoutOf(version: number, maxAlign: number): { fields: Placed[]; crcAt: number } {
  const fields: Placed[] = [];
  let end = 0;
  const place = (width: number, alignment: number): number => {
    const offset = Math.ceil(end / alignment) * alignment;
    end = offset + width;
    return offset;
  };
  for (const [name, kind, versions] of FIELDS) {
    if (versions !== undefined && !versions.includes(version)) continue;
    const alignment = kind === 'nonce' ? 1 : Math.min(WIDTHS[kind], maxAlign);
    fields.push({ name, kind, offset: place(WIDTHS[kind], alignment) });
  }
  return { fields, crcAt: place(4, 4) };
}

const CRC32C_REVERSED = 0x82f63b78;

/** CRC-32C, bit by bit: less than 300 bytes are read once, so a table would not pay. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? CRC32C_REVERSED : 0);
  }
  return ~crc >>> 0;
}

function formatLsn(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16)}`.toUpperCase();
}

/** The position that text such as `'0/174B248'` names; undefined if it is not of that form. */
function parseLsn(text: string): bigint | undefined {
  const [, high, low] = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i.exec(text) ?? [];
  if (high === undefined || low === undefined) return undefined;
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

function wordOf<Word extends string>(words: readonly Word[], at: number, name: string): Word {
  const word = words[at];
  if (word === undefined) throw valueError(name, at, `0 to ${words.length - 1} are defined`);
  return word;
}

function valueError(name: string, value: unknown, expected: string): PgControlError {
  const found = typeof value === 'string' ? `'${value}'` : String(value);
  return new PgControlError(
    'PGAIO_CONTROL_VALUE',
    `pg_control field ${name} is ${found}; ${expected}`,
  );
}

function readField(view: DataView, { name, kind, offset }: Placed): PgControl[keyof PgControl] {
  switch (kind) {
    case 'u32':
      return view.getUint32(offset, true);
    case 'i32':
      return view.getInt32(offset, true);
    case 'f64':
      return view.getFloat64(offset, true);
    case 'u64':
      return view.getBigUint64(offset, true);
    case 'seconds':
      return Number(view.getBigInt64(offset, true));
    case 'lsn':
      return formatLsn(view.getBigUint64(offset, true));
    case 'state':
      return wordOf(PG_CONTROL_STATES, view.getUint32(offset, true), name);
    case 'walLevel':
      return wordOf(PG_WAL_LEVELS, view.getUint32(offset, true), name);
    case 'bool':
      return view.getUint8(offset) !== 0;
    case 'nonce':
      return new Uint8Array(view.buffer, view.byteOffset + offset, NONCE_BYTES).slice();
    default:
      return kind satisfies never;
  }
}

/** Writes a field that does not fit as nothing at all: false, and the caller reports it. */
function writeField(view: DataView, kind: Kind, offset: number, value: unknown): boolean {
  switch (kind) {
    case 'u32':
      if (typeof value !== 'number' || value >>> 0 !== value) return false;
      view.setUint32(offset, value, true);
      return true;
    case 'i32':
      if (typeof value !== 'number' || (value | 0) !== value) return false;
      view.setInt32(offset, value, true);
      return true;
    case 'seconds':
      if (typeof value !== 'number' || !Number.isSafeInteger(value)) return false;
      view.setBigInt64(offset, BigInt(value), true);
      return true;
    case 'f64':
      if (typeof value !== 'number') return false;
      view.setFloat64(offset, value, true);
      return true;
    case 'u64':
      if (typeof value !== 'bigint' || BigInt.asUintN(64, value) !== value) return false;
      view.setBigUint64(offset, value, true);
      return true;
    case 'lsn': {
      const lsn = typeof value === 'string' ? parseLsn(value) : undefined;
      if (lsn === undefined) return false;
      view.setBigUint64(offset, lsn, true);
      return true;
    }
    case 'state':
    case 'walLevel': {
      const words: readonly unknown[] = kind === 'state' ? PG_CONTROL_STATES : PG_WAL_LEVELS;
      const at = words.indexOf(value);
      if (at < 0) return false;
      view.setUint32(offset, at, true);
      return true;
    }
    case 'bool':
      if (typeof value !== 'boolean') return false;
      view.setUint8(offset, value ? 1 : 0);
      return true;
    case 'nonce':
      if (!(value instanceof Uint8Array) || value.length !== NONCE_BYTES) return false;
      new Uint8Array(view.buffer, view.byteOffset + offset, NONCE_BYTES).set(value);
      return true;
    default:
      return kind satisfies never;
  }
}

/** Throws unless the version is one we read; tells the other byte order as PostgreSQL does. */
function checkVersion(view: DataView): number {
  const version = view.getUint32(VERSION_AT, true);
  if (VERSIONS.includes(version)) return version;
  if (version !== 0 && version % 65536 === 0) {
    throw new PgControlError(
      'PGAIO_CONTROL_ENDIAN',
      'pg_control was written by a server of the other byte order ' +
        `(version ${view.getUint32(VERSION_AT, false)} reads as ${version})`,
    );
  }
  throw new PgControlError(
    'PGAIO_CONTROL_VERSION',
    `pg_control has version ${version}; known are 1201 (PostgreSQL 12), 1300 (13 to 16),` +
      ' 1700 (17) and 1800 (18)',
  );
}

function isPowerOfTwo(value: number, least: number, most: number): boolean {
  return value >= least && value <= most && (value & (value - 1)) === 0;
}

/** A right CRC says that a server wrote the file, not that it is one whose files we can read. */
function checkValues(control: PgControl): PgControl {
  const { blockSize, walBlockSize, walSegmentSize } = control;
  const size = 'a server has a power of two from';
  if (control.floatFormat !== FLOAT_FORMAT) {
    throw valueError('floatFormat', control.floatFormat, `IEEE doubles make it ${FLOAT_FORMAT}`);
  }
  if (control.maxAlign !== 8) {
    throw valueError('maxAlign', control.maxAlign, '64-bit servers have 8');
  }
  if (!isPowerOfTwo(blockSize, 1024, 32768)) {
    throw valueError('blockSize', blockSize, `${size} 1024 to 32768`);
  }
  if (control.segmentBlocks === 0) {
    throw valueError('segmentBlocks', 0, 'a segment has at least one block');
  }
  if (!isPowerOfTwo(walBlockSize, 1024, 65536)) {
    throw valueError('walBlockSize', walBlockSize, `${size} 1024 to 65536`);
  }
  if (!isPowerOfTwo(walSegmentSize, 1 << 20, 1 << 30)) {
    throw valueError('walSegmentSize', walSegmentSize, `${size} 1 MB to 1 GB`);
  }
  return control;
}

function crcHolds(bytes: Uint8Array, view: DataView, crcAt: number): boolean {
  return crc32c(bytes.subarray(0, crcAt)) === view.getUint32(crcAt, true);
}

/**
 * Facts of a pg_control file of PostgreSQL 12 to 18, 64-bit and little-endian.
 * A running server may be writing the file while it is read: after PGAIO_CONTROL_CRC read it again
 * before believing that it is damaged.
 * @throws PgControlError by its codes.
 * @example
 * const control = parsePgControl(await readFile(`${pgdata}/global/pg_control`));
 * console.log(control.state, control.blockSize, control.segmentBlocks);
 */
export function parsePgControl(bytes: Uint8Array): PgControl {
  const short = (needed: number): PgControlError =>
    new PgControlError(
      'PGAIO_CONTROL_SHORT',
      `pg_control has ${bytes.length} bytes, at least ${needed} are needed`,
    );
  if (bytes.length < VERSION_END) throw short(VERSION_END);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = checkVersion(view);
  const { fields, crcAt } = layoutOf(version, 8);
  if (bytes.length < crcAt + 4) throw short(crcAt + 4);
  if (!crcHolds(bytes, view, crcAt)) {
    if (crcHolds(bytes, view, layoutOf(version, 4).crcAt)) {
      throw valueError('maxAlign', 4, 'a 32-bit server wrote it, 64-bit servers have 8');
    }
    throw new PgControlError(
      'PGAIO_CONTROL_CRC',
      'pg_control is damaged: its CRC is ' +
        `${hex(crc32c(bytes.subarray(0, crcAt)))}, stored is ${hex(view.getUint32(crcAt, true))}`,
    );
  }
  const found: Record<string, unknown> = {};
  for (const [name] of FIELDS) found[name] = undefined;
  for (const field of fields) found[field.name] = readField(view, field);
  return checkValues(found as unknown as PgControl); // FIELDS names every property of PgControl
}

function hex(crc: number): string {
  return crc.toString(16).toUpperCase().padStart(8, '0');
}

/**
 * A pg_control file of 8192 bytes with these facts, the others as in `PG_CONTROL_DEFAULTS`.
 * What `parsePgControl` returned for a file gives the same bytes again.
 * @throws PgControlError PGAIO_CONTROL_VALUE for a value that does not fit its field;
 *   PGAIO_CONTROL_VERSION for a format other than those of PostgreSQL 12 to 18.
 */
export function encodePgControl(facts: Partial<PgControl> = {}): Uint8Array {
  const control: PgControl = { ...PG_CONTROL_DEFAULTS, float4ByVal: true, ...facts };
  const bytes = new Uint8Array(PG_CONTROL_FILE_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(VERSION_AT, control.controlVersion, true);
  const { fields, crcAt } = layoutOf(checkVersion(view), 8);
  for (const { name, kind, offset } of fields) {
    if (!writeField(view, kind, offset, control[name])) {
      throw valueError(name, control[name], `a value of kind ${kind} is needed`);
    }
  }
  checkValues(control);
  view.setUint32(crcAt, crc32c(bytes.subarray(0, crcAt)), true);
  return bytes;
}
