/** global/pg_control of every version: parsed, refused, and written for a real server to read. */
import { readFileSync, writeFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  encodePgControl,
  PG_CONTROL_DEFAULTS,
  PG_CONTROL_FILE_SIZE,
  PG_CONTROL_STATES,
  type PgControl,
  PgControlError,
  type PgControlErrorCode,
  parsePgControl,
} from '../bindings/pg-control.ts';
import {
  binariesOfSystem,
  makeCluster,
  makeCluster18,
  type NoCluster,
  type RealCluster,
  type Row,
  skipped,
} from './real-postgres.ts';

const test = suite('pg_control');

const FORMATS = [1201, 1300, 1700, 1800];
/** Where PostgreSQL 18 stores what the tests break; found in the file of a real server. */
const AT_18 = {
  version: 8,
  state: 16,
  walLevel: 172,
  maxAlign: 204,
  floatFormat: 208,
  blockSize: 216,
  segmentBlocks: 220,
  walBlockSize: 224,
  walSegmentSize: 228,
  crc: 292,
} as const;
/** Where a 32-bit x86 server of version 18 would have the CRC: nothing is aligned to 8. */
const CRC_AT_18_X86 = 276;

/** CRC-32C by the shortest definition there is; the check value is that of "123456789". */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0x82f63b78n : crc >> 1n;
  }
  return Number(crc ^ 0xffffffffn);
}

function controlFile(cluster: RealCluster): string {
  return `${cluster.directory}/global/pg_control`;
}

function readControl(cluster: RealCluster): PgControl {
  return parsePgControl(readFileSync(controlFile(cluster)));
}

/** A file of version 18 with some bytes replaced; `seal` makes the CRC right again. */
function broken(change: (view: DataView) => void, seal: boolean): Uint8Array {
  const bytes = encodePgControl();
  const view = new DataView(bytes.buffer);
  change(view);
  if (seal) view.setUint32(AT_18.crc, crc32c(bytes.subarray(0, AT_18.crc)), true);
  return bytes;
}

function errorOf(act: () => unknown): PgControlError {
  try {
    act();
  } catch (error) {
    if (error instanceof PgControlError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

/** Runs with a cluster, or prints why there is none. */
function withCluster(made: RealCluster | NoCluster, act: (cluster: RealCluster) => void): void {
  if ('reason' in made) {
    skipped(made.reason);
    return;
  }
  try {
    act(made);
  } finally {
    made.dispose();
  }
}

/** What the server's SQL functions say of its own pg_control, in their column names. */
function rowOf(control: PgControl): Row {
  const flag = (value: boolean | undefined): string => (value === true ? 't' : 'f');
  const { nextXid } = control;
  return {
    pg_control_version: `${control.controlVersion}`,
    catalog_version_no: `${control.catalogVersion}`,
    system_identifier: `${control.systemIdentifier}`,
    checkpoint_lsn: control.checkpointLsn,
    redo_lsn: control.redoLsn,
    timeline_id: `${control.timeline}`,
    prev_timeline_id: `${control.previousTimeline}`,
    full_page_writes: flag(control.fullPageWrites),
    next_xid: `${nextXid >> 32n}:${nextXid & 0xffffffffn}`,
    next_oid: `${control.nextOid}`,
    next_multixact_id: `${control.nextMulti}`,
    next_multi_offset: `${control.nextMultiOffset}`,
    oldest_xid: `${control.oldestXid}`,
    oldest_xid_dbid: `${control.oldestXidDb}`,
    oldest_active_xid: `${control.oldestActiveXid}`,
    oldest_multi_xid: `${control.oldestMulti}`,
    oldest_multi_dbid: `${control.oldestMultiDb}`,
    oldest_commit_ts_xid: `${control.oldestCommitTsXid}`,
    newest_commit_ts_xid: `${control.newestCommitTsXid}`,
    checkpoint_seconds: `${control.checkpointSeconds}`,
    min_recovery_end_lsn: control.minRecoveryLsn,
    min_recovery_end_timeline: `${control.minRecoveryTimeline}`,
    backup_start_lsn: control.backupStartLsn,
    backup_end_lsn: control.backupEndLsn,
    end_of_backup_record_required: flag(control.backupEndRequired),
    max_data_alignment: `${control.maxAlign}`,
    database_block_size: `${control.blockSize}`,
    blocks_per_segment: `${control.segmentBlocks}`,
    wal_block_size: `${control.walBlockSize}`,
    bytes_per_wal_segment: `${control.walSegmentSize}`,
    max_identifier_length: `${control.nameDataLength}`,
    max_index_columns: `${control.indexMaxKeys}`,
    max_toast_chunk_size: `${control.toastMaxChunkSize}`,
    large_object_chunk_size: `${control.largeObjectBlockSize}`,
    float8_pass_by_value: flag(control.float8ByVal),
    data_page_checksum_version: `${control.dataChecksumVersion}`,
    default_char_signedness: flag(control.defaultCharSigned),
  };
}

const ASK_SERVER = [
  'SELECT pg_control_version, catalog_version_no, system_identifier FROM pg_control_system()',
  `SELECT *, extract(epoch FROM checkpoint_time)::int8 AS checkpoint_seconds
   FROM pg_control_checkpoint()`,
  'SELECT * FROM pg_control_recovery()',
  'SELECT * FROM pg_control_init()',
];

/** pg_controldata's lines without those that need a calendar or a WAL file's name. */
function linesOf(control: PgControl): string[] {
  const { nextXid } = control;
  const onOff = (value: boolean): string => (value ? 'on' : 'off');
  const nonce = Buffer.from(control.mockAuthenticationNonce).toString('hex');
  return [
    ['pg_control version number', control.controlVersion],
    ['Catalog version number', control.catalogVersion],
    ['Database system identifier', control.systemIdentifier],
    ['Database cluster state', control.state],
    ['Latest checkpoint location', control.checkpointLsn],
    ["Latest checkpoint's REDO location", control.redoLsn],
    ["Latest checkpoint's TimeLineID", control.timeline],
    ["Latest checkpoint's PrevTimeLineID", control.previousTimeline],
    ["Latest checkpoint's full_page_writes", onOff(control.fullPageWrites)],
    ["Latest checkpoint's NextXID", `${nextXid >> 32n}:${nextXid & 0xffffffffn}`],
    ["Latest checkpoint's NextOID", control.nextOid],
    ["Latest checkpoint's NextMultiXactId", control.nextMulti],
    ["Latest checkpoint's NextMultiOffset", control.nextMultiOffset],
    ["Latest checkpoint's oldestXID", control.oldestXid],
    ["Latest checkpoint's oldestXID's DB", control.oldestXidDb],
    ["Latest checkpoint's oldestActiveXID", control.oldestActiveXid],
    ["Latest checkpoint's oldestMultiXid", control.oldestMulti],
    ["Latest checkpoint's oldestMulti's DB", control.oldestMultiDb],
    ["Latest checkpoint's oldestCommitTsXid", control.oldestCommitTsXid],
    ["Latest checkpoint's newestCommitTsXid", control.newestCommitTsXid],
    ['Fake LSN counter for unlogged rels', control.unloggedLsn],
    ['Minimum recovery ending location', control.minRecoveryLsn],
    ["Min recovery ending loc's timeline", control.minRecoveryTimeline],
    ['Backup start location', control.backupStartLsn],
    ['Backup end location', control.backupEndLsn],
    ['End-of-backup record required', control.backupEndRequired ? 'yes' : 'no'],
    ['wal_level setting', control.walLevel],
    ['wal_log_hints setting', onOff(control.walLogHints)],
    ['max_connections setting', control.maxConnections],
    ['max_worker_processes setting', control.maxWorkerProcesses],
    ['max_wal_senders setting', control.maxWalSenders],
    ['max_prepared_xacts setting', control.maxPreparedTransactions],
    ['max_locks_per_xact setting', control.maxLocksPerTransaction],
    ['track_commit_timestamp setting', onOff(control.trackCommitTimestamp)],
    ['Maximum data alignment', control.maxAlign],
    ['Database block size', control.blockSize],
    ['Blocks per segment of large relation', control.segmentBlocks],
    ['WAL block size', control.walBlockSize],
    ['Bytes per WAL segment', control.walSegmentSize],
    ['Maximum length of identifiers', control.nameDataLength],
    ['Maximum columns in an index', control.indexMaxKeys],
    ['Maximum size of a TOAST chunk', control.toastMaxChunkSize],
    ['Size of a large-object chunk', control.largeObjectBlockSize],
    ['Float8 argument passing', control.float8ByVal ? 'by value' : 'by reference'],
    ['Data page checksum version', control.dataChecksumVersion],
    ['Mock authentication nonce', nonce],
  ].map(([label, value]) => `${label}: ${value}`);
}

function controldataLines(cluster: RealCluster): string[] {
  const { status, stdout, stderr } = cluster.run('pg_controldata', '-D', cluster.directory);
  assert.is(stderr, '');
  assert.is(status, 0);
  const left = /^(pg_control last modified|Time of latest|Latest checkpoint's REDO WAL|Date\/time)/;
  const lines = stdout.trimEnd().split('\n');
  return lines.filter((line) => !left.test(line)).map((line) => line.replace(/: */, ': '));
}

/** Something else in every field, so that two swapped fields do not pass unseen. */
const UNLIKE: PgControl = {
  ...PG_CONTROL_DEFAULTS,
  systemIdentifier: 0xfedcba9876543210n,
  state: 'in archive recovery',
  modifiedSeconds: 1795617674,
  checkpointLsn: 'FFFFFFFF/FFFFFFFE',
  redoLsn: '12/3456789A',
  timeline: 7,
  previousTimeline: 6,
  fullPageWrites: false,
  checkpointWalLevel: 'logical',
  nextXid: 0x500000123n,
  nextOid: 4294967295,
  nextMulti: 11,
  nextMultiOffset: 12,
  oldestXid: 13,
  oldestXidDb: 14,
  oldestMulti: 15,
  oldestMultiDb: 16,
  checkpointSeconds: 1795617000,
  oldestCommitTsXid: 17,
  newestCommitTsXid: 18,
  oldestActiveXid: 19,
  unloggedLsn: '0/14',
  minRecoveryLsn: '15/16',
  minRecoveryTimeline: 23,
  backupStartLsn: '18/19',
  backupEndLsn: '1A/1B',
  backupEndRequired: true,
  walLevel: 'minimal',
  walLogHints: true,
  maxConnections: 101,
  maxWorkerProcesses: 102,
  maxWalSenders: 103,
  maxPreparedTransactions: 104,
  maxLocksPerTransaction: 105,
  trackCommitTimestamp: true,
  blockSize: 16384,
  segmentBlocks: 16,
  walBlockSize: 4096,
  walSegmentSize: 1 << 26,
  nameDataLength: 128,
  indexMaxKeys: 64,
  toastMaxChunkSize: 1000,
  largeObjectBlockSize: 4096,
  dataChecksumVersion: 0,
  defaultCharSigned: false,
  mockAuthenticationNonce: Uint8Array.from({ length: 32 }, (_, i) => 200 + i),
};

/** What a format has no room for comes back as undefined. */
function asIn(controlVersion: number, control: PgControl): PgControl {
  return {
    ...control,
    controlVersion,
    checkpointWalLevel: controlVersion < 1700 ? undefined : control.checkpointWalLevel,
    float4ByVal: controlVersion === 1201 ? true : undefined,
    defaultCharSigned: controlVersion < 1800 ? undefined : control.defaultCharSigned,
  };
}

test('is understood as PostgreSQL 18 itself understands it', () => {
  withCluster(makeCluster18(), (cluster) => {
    const bytes = readFileSync(controlFile(cluster));
    const control = parsePgControl(bytes);
    const asked: Row = Object.assign({}, ...cluster.sql(...ASK_SERVER)); // the file of before
    for (const [column, value] of Object.entries(rowOf(control))) {
      assert.is(value, asked[column], column);
    }
    assert.is(control.controlVersion, 1800);
    assert.is(control.state, 'shut down');
    assert.is(control.dataChecksumVersion, 1);
    assert.ok(Math.abs(control.modifiedSeconds - Date.now() / 1000) < 600);
    assert.equal(new Uint8Array(bytes), encodePgControl(control), 'the same bytes again');
    const settings = ['block_size', 'wal_block_size', 'wal_segment_size', 'data_checksums'];
    const said = settings.map((name) =>
      cluster.run('postgres', '-D', cluster.directory, '-C', name),
    );
    assert.equal(
      said.map(({ stdout }) => stdout.trim()),
      [`${control.blockSize}`, `${control.walBlockSize}`, `${control.walSegmentSize}`, 'on'],
    );
  });
});

test('follows a server through its states and settings', () => {
  const initdb = ['--wal-segsize=1', '--no-data-checksums'];
  withCluster(makeCluster18({ initdb }), (cluster) => {
    const before = readControl(cluster);
    assert.is(before.walSegmentSize, 1 << 20);
    assert.is(before.dataChecksumVersion, 0);
    cluster.start('-c', 'max_connections=33', '-c', 'wal_level=logical');
    const running = readControl(cluster);
    assert.is(running.state, 'in production');
    assert.is(running.maxConnections, 33);
    assert.is(running.walLevel, 'logical');
    cluster.run('pg_ctl', 'stop', '-D', cluster.directory, '-m', 'immediate', '-w');
    assert.is(readControl(cluster).state, 'in production');
    cluster.start();
    cluster.stop();
    const after = readControl(cluster);
    assert.is(after.state, 'shut down');
    assert.is(after.systemIdentifier, before.systemIdentifier);
    assert.is.not(after.checkpointLsn, before.checkpointLsn);
  });
});

test('is accepted by PostgreSQL 18 when we wrote it', () => {
  withCluster(makeCluster18(), (cluster) => {
    const control = readControl(cluster);
    const changed = encodePgControl({ ...control, nextOid: 777777, oldestCommitTsXid: 0 });
    writeFileSync(controlFile(cluster), changed);
    const [row] = cluster.sql('SELECT next_oid FROM pg_control_checkpoint()');
    assert.is(row?.next_oid, '777777');
    assert.is(readControl(cluster).nextOid, 777777);
    // All that the server checks before segment size, CRC included, has then passed.
    writeFileSync(controlFile(cluster), encodePgControl({ segmentBlocks: 16 }));
    const { status, stderr } = cluster.run(
      'postgres',
      '-D',
      cluster.directory,
      '-C',
      'data_checksums',
    );
    assert.is(status, 1);
    assert.match(stderr, 'initialized with RELSEG_SIZE 16, but the server was compiled with');
  });
});

for (const major of [12, 13, 14, 15, 16, 17]) {
  const bin = binariesOfSystem(major);
  if (typeof bin !== 'string') continue; // a machine has one of them, seldom two
  test(`is understood as PostgreSQL ${major}'s pg_controldata does`, () => {
    withCluster(makeCluster(bin), (cluster) => {
      const bytes = readFileSync(controlFile(cluster));
      const control = parsePgControl(bytes);
      assert.equal(linesOf(control), controldataLines(cluster));
      assert.equal(new Uint8Array(bytes), encodePgControl(control));
    });
  });

  test(`is read without complaint by PostgreSQL ${major}'s pg_controldata when we wrote it`, () => {
    withCluster(makeCluster(bin), (cluster) => {
      const { controlVersion } = readControl(cluster);
      for (const state of PG_CONTROL_STATES) {
        const control = asIn(controlVersion, { ...UNLIKE, state });
        writeFileSync(controlFile(cluster), encodePgControl(control));
        assert.equal(linesOf(control), controldataLines(cluster));
      }
    });
  });
}
if (![12, 13, 14, 15, 16, 17].some((major) => typeof binariesOfSystem(major) === 'string')) {
  test("is understood as an older server's pg_controldata does", () => {
    skipped('no PostgreSQL 12 to 17 in /usr/lib/postgresql');
  });
}

test('comes back as it was written, in every format', () => {
  for (const controlVersion of FORMATS) {
    const facts = asIn(controlVersion, UNLIKE);
    const bytes = encodePgControl(facts);
    assert.is(bytes.length, PG_CONTROL_FILE_SIZE);
    assert.equal(parsePgControl(bytes), facts);
    assert.equal(encodePgControl(parsePgControl(bytes)), bytes);
  }
  assert.equal(parsePgControl(encodePgControl()), PG_CONTROL_DEFAULTS);
});

test('has its fields where PostgreSQL 18 has them', () => {
  const bytes = encodePgControl({ ...UNLIKE, controlVersion: 1800 });
  const view = new DataView(bytes.buffer);
  assert.is(view.getUint32(AT_18.version, true), 1800);
  assert.is(view.getUint32(AT_18.state, true), 5);
  assert.is(view.getFloat64(AT_18.floatFormat, true), 1234567);
  assert.is(view.getUint32(AT_18.blockSize, true), 16384);
  assert.is(view.getUint32(AT_18.segmentBlocks, true), 16);
  assert.is(view.getUint32(AT_18.crc, true), crc32c(bytes.subarray(0, AT_18.crc)));
  assert.is(crc32c(new TextEncoder().encode('123456789')), 0xe3069283);
  assert.ok(bytes.subarray(AT_18.crc + 4).every((byte) => byte === 0));
});

test('may lie anywhere in a buffer, in a file that ends with the CRC', () => {
  const bytes = encodePgControl(UNLIKE);
  const around = new Uint8Array(1000).fill(0xaa);
  around.set(bytes.subarray(0, 296), 333);
  assert.equal(parsePgControl(around.subarray(333, 629)), UNLIKE);
});

const KNOWN_VERSIONS = 'known are 1201 (PostgreSQL 12), 1300 (13 to 16), 1700 (17) and 1800 (18)';
const SWAPPED = broken((view) => view.setUint32(AT_18.version, 1800, false), false);
const SEALED_X86 = (() => {
  const bytes = encodePgControl();
  const crc = crc32c(bytes.subarray(0, CRC_AT_18_X86));
  new DataView(bytes.buffer).setUint32(CRC_AT_18_X86, crc, true);
  return bytes;
})();
const REFUSED: readonly (readonly [string, Uint8Array, PgControlErrorCode, string])[] = [
  [
    'an empty file',
    new Uint8Array(0),
    'PGAIO_CONTROL_SHORT',
    'pg_control has 0 bytes, at least 12 are needed',
  ],
  [
    'a file that ends within its version',
    encodePgControl().subarray(0, 11),
    'PGAIO_CONTROL_SHORT',
    'pg_control has 11 bytes, at least 12 are needed',
  ],
  [
    'a file that ends within its CRC',
    encodePgControl().subarray(0, 295),
    'PGAIO_CONTROL_SHORT',
    'pg_control has 295 bytes, at least 296 are needed',
  ],
  [
    'an older file that ends within its CRC',
    encodePgControl({ controlVersion: 1300 }).subarray(0, 291),
    'PGAIO_CONTROL_SHORT',
    'pg_control has 291 bytes, at least 292 are needed',
  ],
  [
    'the other byte order',
    SWAPPED,
    'PGAIO_CONTROL_ENDIAN',
    'pg_control was written by a server of the other byte order (version 1800 reads as 134676480)',
  ],
  [
    'a file of zeros',
    new Uint8Array(PG_CONTROL_FILE_SIZE),
    'PGAIO_CONTROL_VERSION',
    `pg_control has version 0; ${KNOWN_VERSIONS}`,
  ],
  [
    'a version before 12',
    broken((view) => view.setUint32(AT_18.version, 1100, true), true),
    'PGAIO_CONTROL_VERSION',
    `pg_control has version 1100; ${KNOWN_VERSIONS}`,
  ],
  [
    'a version after 18',
    broken((view) => view.setUint32(AT_18.version, 1901, true), true),
    'PGAIO_CONTROL_VERSION',
    `pg_control has version 1901; ${KNOWN_VERSIONS}`,
  ],
  [
    'a wrong CRC',
    broken((view) => view.setUint32(AT_18.crc, 0x1234, true), false),
    'PGAIO_CONTROL_CRC',
    `pg_control is damaged: its CRC is ${crc32c(encodePgControl().subarray(0, AT_18.crc))
      .toString(16)
      .toUpperCase()
      .padStart(8, '0')}, stored is 00001234`,
  ],
  [
    'a 32-bit server’s file',
    SEALED_X86,
    'PGAIO_CONTROL_VALUE',
    'pg_control field maxAlign is 4; a 32-bit server wrote it, 64-bit servers have 8',
  ],
  [
    'another alignment',
    broken((view) => view.setUint32(AT_18.maxAlign, 4, true), true),
    'PGAIO_CONTROL_VALUE',
    'pg_control field maxAlign is 4; 64-bit servers have 8',
  ],
  [
    'another floating-point format',
    broken((view) => view.setFloat64(AT_18.floatFormat, 1234567.5, true), true),
    'PGAIO_CONTROL_VALUE',
    'pg_control field floatFormat is 1234567.5; IEEE doubles make it 1234567',
  ],
  [
    'a state that does not exist',
    broken((view) => view.setUint32(AT_18.state, 7, true), true),
    'PGAIO_CONTROL_VALUE',
    'pg_control field state is 7; 0 to 6 are defined',
  ],
  [
    'a wal_level that does not exist',
    broken((view) => view.setInt32(AT_18.walLevel, -1, true), true),
    'PGAIO_CONTROL_VALUE',
    'pg_control field walLevel is 4294967295; 0 to 2 are defined',
  ],
  [
    'a block size of 0',
    broken((view) => view.setUint32(AT_18.blockSize, 0, true), true),
    'PGAIO_CONTROL_VALUE',
    'pg_control field blockSize is 0; a server has a power of two from 1024 to 32768',
  ],
  [
    'a block size that is no power of two',
    broken((view) => view.setUint32(AT_18.blockSize, 8193, true), true),
    'PGAIO_CONTROL_VALUE',
    'pg_control field blockSize is 8193; a server has a power of two from 1024 to 32768',
  ],
  [
    'a segment size of 0',
    broken((view) => view.setUint32(AT_18.segmentBlocks, 0, true), true),
    'PGAIO_CONTROL_VALUE',
    'pg_control field segmentBlocks is 0; a segment has at least one block',
  ],
  [
    'a WAL segment size beyond 1 GB',
    broken((view) => view.setUint32(AT_18.walSegmentSize, 2147483648, true), true),
    'PGAIO_CONTROL_VALUE',
    'pg_control field walSegmentSize is 2147483648; a server has a power of two from 1 MB to 1 GB',
  ],
];
for (const [what, bytes, code, message] of REFUSED) {
  test(`is refused: ${what}`, () => {
    const error = errorOf(() => parsePgControl(bytes));
    assert.is(error.code, code);
    assert.is(error.message, message);
    assert.is(error.sqlstate, undefined);
  });
}

test('is refused whichever byte of it changes', () => {
  for (const controlVersion of FORMATS) {
    const bytes = encodePgControl({ ...UNLIKE, controlVersion, float4ByVal: true });
    const end = controlVersion < 1800 ? 292 : 296;
    for (let at = 0; at < end; at++) {
      const kept = bytes[at] ?? 0;
      bytes[at] = kept ^ (1 << (at % 8));
      const { code } = errorOf(() => parsePgControl(bytes));
      const inVersion = at >= AT_18.version && at < AT_18.version + 4;
      assert.is(code, inVersion ? 'PGAIO_CONTROL_VERSION' : 'PGAIO_CONTROL_CRC', `byte ${at}`);
      bytes[at] = kept;
    }
  }
});

test('is not crashed by any file of random bytes', () => {
  let state = 20260101;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  };
  for (let round = 0; round < 300; round++) {
    const bytes = Uint8Array.from({ length: random() * 2 }, random);
    if (bytes.length > 12 && round % 2 === 0) {
      new DataView(bytes.buffer).setUint32(8, FORMATS[round % 4] ?? 0, true);
    }
    errorOf(() => parsePgControl(bytes));
  }
});

const UNWRITABLE: readonly (readonly [string, object, string])[] = [
  ['an LSN without a slash', { redoLsn: '12345678' }, 'redoLsn is '],
  ['an LSN with nine digits', { redoLsn: '0/123456789' }, 'redoLsn is '],
  ['a number above 32 bits', { nextOid: 4294967296 }, 'nextOid is 4294967296'],
  ['a negative number', { timeline: -1 }, 'timeline is -1'],
  ['a fraction', { maxConnections: 1.5 }, 'maxConnections is 1.5'],
  ['no number', { nextMulti: Number.NaN }, 'nextMulti is NaN'],
  ['an identifier above 64 bits', { systemIdentifier: 1n << 64n }, 'systemIdentifier is 1844'],
  ['a state that does not exist', { state: 'asleep' }, "state is 'asleep'"],
  ['a short nonce', { mockAuthenticationNonce: new Uint8Array(31) }, 'mockAuthenticationNonce is'],
  ['text for a flag', { walLogHints: 'off' }, "walLogHints is 'off'"],
  ['a moment that is no number', { modifiedSeconds: Infinity }, 'modifiedSeconds is Infinity'],
  ['a block size of 8193', { blockSize: 8193 }, 'blockSize is 8193'],
];
test('is not written with values that have no place in it', () => {
  for (const [what, facts, words] of UNWRITABLE) {
    const error = errorOf(() => encodePgControl(facts));
    assert.is(error.code, 'PGAIO_CONTROL_VALUE', what);
    assert.ok(error.message.startsWith(`pg_control field ${words}`), `${what}: ${error.message}`);
  }
  for (const controlVersion of [0, 1900, Number.NaN]) {
    assert.is(errorOf(() => encodePgControl({ controlVersion })).code, 'PGAIO_CONTROL_VERSION');
  }
});

test.run();
