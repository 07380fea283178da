/** Error numbers, names, words and SQLSTATEs: against the system, node:wasi and PostgreSQL. */
import { readFileSync, symlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { WASI } from 'node:wasi';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  errnoName,
  errnoOfName,
  errnoOfWasi,
  sqlstateOfErrno,
  strerror,
  wasiOfErrno,
  wasiOfErrnoName,
} from '../bindings/errno.ts';
import { binaries18, makeCluster18, skipped } from './real-postgres.ts';

const test = suite('errno');

const LAST_ERRNO = 133;
const WASI_ERRNOS = 77;
/** Names, numbers and words as glibc has them, the SQLSTATE's name as PostgreSQL has it. */
const KNOWN: readonly (readonly [string, number, string, string])[] = [
  ['EPERM', 1, 'Operation not permitted', 'ERRCODE_INSUFFICIENT_PRIVILEGE'],
  ['ENOENT', 2, 'No such file or directory', 'ERRCODE_UNDEFINED_FILE'],
  ['EINTR', 4, 'Interrupted system call', 'ERRCODE_INTERNAL_ERROR'],
  ['EIO', 5, 'Input/output error', 'ERRCODE_IO_ERROR'],
  ['EBADF', 9, 'Bad file descriptor', 'ERRCODE_INTERNAL_ERROR'],
  ['EAGAIN', 11, 'Resource temporarily unavailable', 'ERRCODE_INTERNAL_ERROR'],
  ['ENOMEM', 12, 'Cannot allocate memory', 'ERRCODE_OUT_OF_MEMORY'],
  ['EACCES', 13, 'Permission denied', 'ERRCODE_INSUFFICIENT_PRIVILEGE'],
  ['EEXIST', 17, 'File exists', 'ERRCODE_DUPLICATE_FILE'],
  ['ENOTDIR', 20, 'Not a directory', 'ERRCODE_WRONG_OBJECT_TYPE'],
  ['EISDIR', 21, 'Is a directory', 'ERRCODE_WRONG_OBJECT_TYPE'],
  ['EINVAL', 22, 'Invalid argument', 'ERRCODE_INTERNAL_ERROR'],
  ['ENFILE', 23, 'Too many open files in system', 'ERRCODE_INSUFFICIENT_RESOURCES'],
  ['EMFILE', 24, 'Too many open files', 'ERRCODE_INSUFFICIENT_RESOURCES'],
  ['ENOSPC', 28, 'No space left on device', 'ERRCODE_DISK_FULL'],
  ['EROFS', 30, 'Read-only file system', 'ERRCODE_INSUFFICIENT_PRIVILEGE'],
  ['EDEADLK', 35, 'Resource deadlock avoided', 'ERRCODE_INTERNAL_ERROR'],
  ['ENAMETOOLONG', 36, 'File name too long', 'ERRCODE_FILE_NAME_TOO_LONG'],
  ['ENOTEMPTY', 39, 'Directory not empty', 'ERRCODE_WRONG_OBJECT_TYPE'],
  ['ELOOP', 40, 'Too many levels of symbolic links', 'ERRCODE_INTERNAL_ERROR'],
  ['EOVERFLOW', 75, 'Value too large for defined data type', 'ERRCODE_INTERNAL_ERROR'],
  ['EOPNOTSUPP', 95, 'Operation not supported', 'ERRCODE_INTERNAL_ERROR'],
  ['ETIMEDOUT', 110, 'Connection timed out', 'ERRCODE_INTERNAL_ERROR'],
  ['EUCLEAN', 117, 'Structure needs cleaning', 'ERRCODE_INTERNAL_ERROR'],
  ['EDQUOT', 122, 'Disk quota exceeded', 'ERRCODE_INTERNAL_ERROR'],
  ['ECANCELED', 125, 'Operation canceled', 'ERRCODE_INTERNAL_ERROR'],
  ['EHWPOISON', 133, 'Memory page has hardware error', 'ERRCODE_INTERNAL_ERROR'],
];

test('has a name and words for each of 131 numbers, and the number for each name', () => {
  const words = new Set<string>();
  for (let errno = 1; errno <= LAST_ERRNO; errno++) {
    const name = errnoName(errno);
    if (name === undefined) continue;
    assert.match(name, /^E[A-Z0-9]+$/);
    assert.is(errnoOfName(name), errno);
    assert.not.match(strerror(errno), /^(Unknown error .*)?$/);
    words.add(strerror(errno));
  }
  assert.is(words.size, 131);
});

test('gives glibc’s words for what file operations fail with', () => {
  for (const [name, errno, words] of KNOWN) {
    assert.is(errnoName(errno), name);
    assert.is(strerror(errno), words);
  }
});

test('agrees with the system’s own numbers', () => {
  if (process.platform !== 'linux') {
    skipped(`${process.platform} numbers its errors otherwise`);
    return;
  }
  const known = Object.entries(constants.errno);
  assert.ok(known.length > 70);
  for (const [name, errno] of known) assert.is(errnoOfName(name), errno, name);
});

test('knows the second names of a number', () => {
  assert.is(errnoOfName('EWOULDBLOCK'), 11);
  assert.is(errnoOfName('EDEADLOCK'), 35);
  assert.is(errnoOfName('ENOTSUP'), 95);
});

test('says so of numbers and names that Linux does not use', () => {
  assert.is(strerror(0), 'Success');
  for (const errno of [41, 58, 134, 4095, -1, -2, 1.5, Number.NaN]) {
    assert.is(strerror(errno), `Unknown error ${errno}`);
    assert.is(errnoName(errno), undefined);
  }
  assert.is(errnoName(0), undefined);
  for (const name of ['', 'E', 'enoent', 'ENOENT ', 'UNKNOWN', 'constructor']) {
    assert.is(errnoOfName(name), undefined, name);
  }
});

test('leads from each of WASI’s 77 numbers to Linux and back', () => {
  const seen = new Set<number>();
  for (let wasi = 0; wasi < WASI_ERRNOS - 1; wasi++) {
    const errno = errnoOfWasi(wasi);
    assert.is(wasiOfErrno(errno), wasi, `WASI ${wasi}`);
    if (wasi > 0) assert.is(wasiOfErrnoName(errnoName(errno) ?? ''), wasi, `WASI ${wasi}`);
    seen.add(errno);
  }
  assert.is(seen.size, WASI_ERRNOS - 1);
  assert.is(errnoOfWasi(0), 0);
  assert.is(errnoOfWasi(29), errnoOfName('EIO'));
  assert.is(errnoOfWasi(44), errnoOfName('ENOENT'));
  assert.is(errnoOfWasi(58), errnoOfName('EOPNOTSUPP'));
  assert.is(errnoOfWasi(75), errnoOfName('EXDEV'));
});

test('takes ENOTCAPABLE, which Linux lacks, for EACCES', () => {
  assert.is(errnoOfWasi(76), errnoOfName('EACCES'));
  assert.is(wasiOfErrnoName('ENOTCAPABLE'), 76);
  assert.is(wasiOfErrnoName('EACCES'), 2);
  assert.is(wasiOfErrno(13), 2);
});

test('answers EIO where the other side has no such error', () => {
  for (const wasi of [77, 1000, -1, 0.5]) assert.is(errnoOfWasi(wasi), 5);
  for (const errno of [15, 41, 117, 133, 134, -1]) assert.is(wasiOfErrno(errno), 29);
  for (const name of ['EUCLEAN', 'UNKNOWN', 'EOF', '', 'toString']) {
    assert.is(wasiOfErrnoName(name), 29, name);
  }
  assert.is(wasiOfErrnoName('ENOTSUP'), 58);
  assert.is(wasiOfErrnoName('EOPNOTSUPP'), 58);
});

test('reads the numbers that node:wasi returns', () => {
  const wasi = new WASI({ version: 'preview1', preopens: { '/': '/' } });
  const memory = new WebAssembly.Memory({ initial: 1 });
  wasi.initialize({ exports: { memory } });
  const { fd_close: close, fd_sync: sync, path_open: open } = wasi.wasiImport;
  const path = new TextEncoder().encode('no/such/file');
  new Uint8Array(memory.buffer).set(path, 64);
  assert.is(errnoName(errnoOfWasi(close(99))), 'EBADF');
  assert.is(errnoName(errnoOfWasi(sync(99))), 'EBADF');
  assert.is(errnoName(errnoOfWasi(open(3, 0, 64, path.length, 0, 2n, 0n, 0, 0))), 'ENOENT');
});

test('has the SQLSTATEs that PostgreSQL’s own list names', () => {
  const bin = binaries18();
  if (typeof bin !== 'string') {
    skipped(bin.reason);
    return;
  }
  const list = readFileSync(join(dirname(bin), 'share/postgresql/errcodes.txt'), 'utf8');
  const states = new Map<string, string>();
  for (const [, state = '', name = ''] of list.matchAll(/^(\w{5})\s+[EWS]\s+(ERRCODE_\w+)/gm)) {
    states.set(name, state);
  }
  for (const [name, errno, , state] of KNOWN) {
    assert.is(sqlstateOfErrno(errno), states.get(state), name);
  }
});

test('gives every number it does not sort XX000', () => {
  const sorted: string[] = [];
  for (let errno = -1; errno <= LAST_ERRNO + 1; errno++) {
    const state = sqlstateOfErrno(errno);
    if (state !== 'XX000') sorted.push(`${errnoName(errno)} ${state}`);
  }
  assert.equal(sorted, [
    'EPERM 42501',
    'ENOENT 58P01',
    'EIO 58030',
    'ENOMEM 53200',
    'EACCES 42501',
    'EEXIST 58P02',
    'ENOTDIR 42809',
    'EISDIR 42809',
    'ENFILE 53000',
    'EMFILE 53000',
    'ENOSPC 53100',
    'EROFS 42501',
    'ENAMETOOLONG 58P03',
    'ENOTEMPTY 42809',
  ]);
});

test('reports SQLSTATE and words as a PostgreSQL 18 server does', () => {
  const cluster = makeCluster18();
  if ('reason' in cluster) {
    skipped(cluster.reason);
    return;
  }
  try {
    symlinkSync('loop', join(cluster.directory, 'loop'));
    const cases: readonly (readonly [string, string])[] = [
      ['nosuch', 'ENOENT'],
      ['base', 'EISDIR'],
      ['PG_VERSION/x', 'ENOTDIR'],
      ['x'.repeat(300), 'ENAMETOOLONG'],
      ['loop', 'ELOOP'],
    ];
    for (const [path, name] of cases) {
      const errno = errnoOfName(name) ?? 0;
      let said = '';
      try {
        cluster.sql("SET log_error_verbosity = 'verbose'", `SELECT pg_read_file('${path}')`);
      } catch (error) {
        said = error instanceof Error ? error.message : '';
      }
      const [, state, words] = /ERROR: {2}(\w{5}): .*: ([^:]+)$/.exec(said) ?? [];
      assert.equal([state, words], [sqlstateOfErrno(errno), strerror(errno)], said);
    }
  } finally {
    cluster.dispose();
  }
});

test.run();
