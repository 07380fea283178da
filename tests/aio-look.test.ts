/** The idiomatic API: pg_aios, the trace, counters, settings shown, reports and warnings. */
import { once } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Aio, type AioReport, constants, type PgAiosRow } from '../host/node/index.ts';
import {
  endOf,
  fileOf,
  goodPage,
  HoldingDevice,
  joined,
  openAio,
  openHeld,
  PAGE_BYTES,
  RELATION,
  thrownBy,
  WaitableDevice,
} from './aio-fixture.ts';

const { PGAIO_HCB_FILE, PGAIO_HCB_MD_READV, PGAIO_HCB_PAGE_READV } = constants;
const PAGES = fileOf('seen', joined(goodPage(0), goodPage(1)));

const rows = suite('aio: the rows of pg_aios');

/** A row of a read of block 3 of the relation, by its owner, backend 0. */
const ROW: PgAiosRow = {
  pid: 0,
  io_id: 0,
  io_generation: 1n,
  state: 'SUBMITTED',
  operation: 'readv',
  off: PAGE_BYTES,
  length: PAGE_BYTES,
  target: 'smgr',
  handle_data_len: 2,
  raw_result: null,
  result: 'UNKNOWN',
  target_desc: 'block 3 in file "base/5/16384"',
  f_sync: false,
  f_localmem: true,
  f_buffered: true,
};

/** Starts that read; registered last is callback 32, hence it runs first. */
function startRead(aio: Aio, callback = PGAIO_HCB_MD_READV) {
  return aio
    .acquire()
    .setTarget({ relation: RELATION, block: 3, blocks: 1 })
    .register(callback)
    .setData([1n, 2n])
    .setFlag('BUFFERED')
    .setFlag('REFERENCES_LOCAL')
    .startReadv(aio.open(PAGES), aio.frames(1), PAGE_BYTES);
}

rows('are PostgreSQL’s in the states from HANDED_OUT to COMPLETED_IO', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  assert.equal(aio.inspect(), [], 'IDLE handles have none');
  const handle = aio.acquire().setTarget({ relation: RELATION, block: 3, blocks: 1 });
  assert.equal(aio.inspect(), [
    {
      pid: 0,
      io_id: 0,
      io_generation: 1n,
      state: 'HANDED_OUT',
      operation: null,
      off: null,
      length: null,
      target: null,
      handle_data_len: null,
      raw_result: null,
      result: null,
      target_desc: null,
      f_sync: null,
      f_localmem: null,
      f_buffered: null,
    },
  ]);
  handle.release();
  const seen: PgAiosRow[][] = [];
  const look = () => {
    seen.push(aio.inspect());
  };
  aio.registerCallback(32, { stage: look, completeShared: look, completeLocal: look });
  const batch = aio.batch();
  startRead(aio, 32);
  look();
  batch[Symbol.dispose]();
  look();
  device.end({ raw: 4096 });
  const row = { ...ROW, io_generation: 2n };
  const ended = { raw_result: 4096, result: 'OK' };
  assert.equal(seen, [
    [{ ...row, state: 'DEFINED' }],
    [{ ...row, state: 'STAGED' }],
    [row],
    [{ ...row, state: 'COMPLETED_IO', raw_result: 4096 }],
    [{ ...row, state: 'COMPLETED_SHARED', ...ended }],
  ]);
  assert.equal(aio.inspect(), []);
  aio[Symbol.dispose]();
});

rows('of an I/O that another backend completed wait for their owner', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  const other = await openHeld(new WaitableDevice(), { memory: aio.memory });
  const io = startRead(aio);
  assert.equal(other.aio.inspect(), [ROW]);
  other.aio.waitRef(io.ref.token).waitSync();
  const expected = {
    ...ROW,
    state: 'COMPLETED_SHARED',
    raw_result: PAGE_BYTES,
    result: 'OK',
  };
  assert.equal(aio.inspect(), [expected]);
  assert.equal(other.aio.inspect(), [expected]);
  device.held.pop();
  io.checkDone();
  assert.equal(aio.inspect(), []);
  other.aio[Symbol.dispose]();
  aio[Symbol.dispose]();
});

rows('describe files, ranges and temporary relations', async () => {
  const { aio, device } = await openHeld(new WaitableDevice());
  const file = aio.open(PAGES);
  const buffer = aio.frames(1);
  const start = (target: Parameters<ReturnType<Aio['acquire']>['setTarget']>[0]) =>
    aio.acquire().setTarget(target).register(PGAIO_HCB_FILE).startReadv(file, buffer, 0);
  start({ file });
  start({ file, block: 7, blocks: 2 });
  start({ relation: RELATION, block: 0, blocks: 1, isTemp: true, skipFsync: true });
  start({
    relation: { spcOid: 1664, dbOid: 0, relNumber: 1260 },
    fork: 'vm',
    block: 2,
    blocks: 3,
  });
  assert.equal(
    aio.inspect().map(({ target, target_desc }) => [target, target_desc]),
    [
      ['file', `file "${PAGES}"`],
      ['file', `blocks 7..8 in file "${PAGES}"`],
      ['smgr', 'block 0 in file "base/5/t0_16384"'],
      ['smgr', 'blocks 2..4 in file "global/1260_vm"'],
    ],
  );
  assert.is(device.held.length, 4);
  aio[Symbol.dispose]();
});

rows('of another backend do not name this backend’s files', async () => {
  const { aio } = await openHeld(new WaitableDevice());
  const other = await openHeld(new WaitableDevice(), { memory: aio.memory });
  aio.open(fileOf('mine', 'a'));
  const theirs = fileOf('theirs', 'b');
  other.aio.open(theirs).read(other.aio.frames(1), 0);
  const [row] = aio.inspect();
  assert.is(row?.pid, 1);
  assert.not.match(row?.target_desc ?? '', /mine/);
  other.aio[Symbol.dispose]();
  aio[Symbol.dispose]();
});

rows.run();

const traces = suite('aio: the trace');

traces('has a line of PostgreSQL’s form for each transition', async () => {
  const { aio } = await openAio({ trace: true });
  aio.acquire().release();
  const read = aio
    .acquire()
    .setTarget({ relation: RELATION, block: 0, blocks: 2 })
    .register(PGAIO_HCB_MD_READV)
    .startReadv(aio.open(fileOf('one', goodPage(0))), aio.frames(2), 0);
  assert.is((await read).status, 'PARTIAL');
  const result = 'completion: status PARTIAL, id 1, error_data 0, result 1, raw result 8192';
  const readv = 'io 0         |op readv|target smgr|state';
  assert.equal(
    aio.trace().map(({ line }) => line),
    [
      'io 0         |op invalid|target invalid|state HANDED_OUT      : handed out',
      'io 0         |op invalid|target invalid|state IDLE            : released',
      'io 0         |op invalid|target invalid|state HANDED_OUT      : handed out',
      `${readv} DEFINED         : defined`,
      `${readv} STAGED          : staged`,
      `${readv} SUBMITTED       : submitted`,
      `${readv} COMPLETED_IO    : completed with raw result 8192`,
      `${readv} COMPLETED_SHARED: after shared ${result}`,
      `${readv} COMPLETED_LOCAL : after local ${result}`,
      `${readv} IDLE            : reclaimed`,
    ],
  );
  const { line, ...entry } = aio.trace()[3] ?? {};
  assert.ok(line);
  assert.equal(entry, {
    seq: 4,
    procno: 0,
    io: 0,
    generation: 2n,
    from: 'HANDED_OUT',
    to: 'DEFINED',
    op: 'readv',
    target: 'smgr',
  });
  aio[Symbol.dispose]();
});

traces('keeps the newest entries, and is off unless asked for', async () => {
  const { aio } = await openAio({ traceSize: 16 });
  aio.acquire().release();
  assert.equal([aio.show('trace'), aio.trace()], ['off', []]);
  aio.set('trace', true);
  for (let i = 0; i < 10; i++) aio.acquire().release();
  assert.equal(
    aio.trace().map(({ seq }) => seq),
    Array.from({ length: 16 }, (_, i) => 5 + i),
  );
  aio.set('trace', 'off');
  aio.acquire().release();
  assert.is(aio.trace().at(-1)?.seq, 20);
  aio[Symbol.dispose]();
});

traces.run();

const counters = suite('aio: counters and settings');

counters('count each I/O once, by its issuer', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  const file = aio.open(PAGES);
  const buffer = aio.frames(2);
  file.read(buffer, 0);
  file.write(buffer.slice(0, 1), 0);
  aio.acquire().setTarget({ file }).setFlag('SYNCHRONOUS').startReadv(file, buffer.slice(0, 1), 0);
  aio.acquire().release();
  device.end({ raw: 100 });
  device.end({ raw: -5 });
  assert.equal(aio.stats(), {
    relation: { reads: 0n, readBytes: 0n, writes: 0n, writeBytes: 0n, fsyncs: 0n },
    file: {
      reads: 2n,
      readBytes: BigInt(3 * PAGE_BYTES),
      writes: 1n,
      writeBytes: BigInt(PAGE_BYTES),
      fsyncs: 0n,
    },
    synchronous: 1n,
    submissions: 2n,
    errors: 1n,
    partials: 1n,
    reclaimed: 4n,
    returnsLost: 0n,
  });
  aio[Symbol.dispose]();
});

counters('of settings show PostgreSQL’s units, and some may change at any time', async () => {
  const { aio } = await openAio();
  aio.set('io_combine_limit', '1MB');
  assert.is(aio.show('io_combine_limit'), '1MB', 'what was set, though io_max_combine_limit caps');
  assert.is(aio.show('io_max_combine_limit'), '128kB');
  assert.is(aio.show('io_frames'), '512kB');
  const late = thrownBy(() => aio.set('io_method', 'host'));
  assert.equal(
    [late.code, late.message, late.sqlstate],
    [
      'PGAIO_SETTING_LATE',
      'parameter "io_method" cannot be changed without restarting the server',
      '55P02',
    ],
  );
  aio.set('io_workers', 3);
  const pool = ['io_workers', 'io_min_workers', 'io_max_workers'].map((name) => aio.show(name));
  assert.equal(pool, ['3', '3', '3'], 'PostgreSQL 18’s name sets both');
  for (const use of [() => aio.show('io_nothing'), () => aio.set('io_nothing', 3)]) {
    const unknown = thrownBy(use);
    assert.is(unknown.code, 'PGAIO_SETTING_UNKNOWN');
    assert.is(unknown.message, 'unrecognized configuration parameter "io_nothing"');
  }
  aio[Symbol.dispose]();
});

counters('under the names of the other interface are refused with those of this one', async () => {
  const misnamed: Record<string, number> = { io_workers: 3 };
  const error = await Aio.create(misnamed).then(
    () => assert.unreachable('it was taken'),
    (reason) => reason,
  );
  assert.is(error.code, 'PGAIO_SETTING_UNKNOWN');
  assert.match(error.hint, /^Available parameters: .*\bioWorkers\b/);
  assert.not.match(error.hint, /io_/);
});

counters('and the rest derive from what was given, as in PostgreSQL', async () => {
  for (const [sharedBuffers, maxBackends, handles] of [
    [16384, 136, '64'],
    [640, 26, '10'],
    [16, 16, '1'],
  ] as const) {
    const aio = await Aio.create({ sharedBuffers, maxBackends });
    assert.is(aio.show('io_max_concurrency'), handles, `${sharedBuffers} / ${maxBackends} + 38`);
    aio[Symbol.dispose]();
  }
});

counters.run();

const reports = suite('aio: reports');

reports('come with all that PostgreSQL would say', async () => {
  const seen: AioReport[] = [];
  const { aio } = await openAio({ onReport: (report) => seen.push(report) });
  const bad = goodPage(0).fill(0, 18, 20).fill(9, 10, 12); // flags no page has
  aio
    .acquire()
    .setTarget({ relation: RELATION, block: 10, blocks: 2 })
    .register(PGAIO_HCB_PAGE_READV, constants.READ_BUFFERS_ZERO_ON_ERROR)
    .register(PGAIO_HCB_MD_READV)
    .startReadv(aio.open(fileOf('bad', joined(bad, bad))), aio.frames(2), 0);
  const zeroed = seen.filter(({ level }) => level === constants.LOG_SERVER_ONLY);
  assert.equal(
    zeroed.map(({ error: _, ...rest }) => rest),
    [10, 11].map((block) => ({
      level: 16,
      severity: 'LOG',
      message: `invalid page in block ${block} of relation "base/5/16384"; zeroing out page`,
      detail: undefined,
      hint: undefined,
      sqlstate: 'XX001',
      io: 0,
    })),
  );
  assert.is(seen[0]?.level, constants.LOG);
  assert.match(
    seen[0]?.message ?? '',
    /^page verification failed, calculated checksum \d+ but expected \d+$/,
  );
  aio[Symbol.dispose]();
});

reports('are delivered when the call into the engine has returned', async () => {
  const seen: string[] = [];
  const { aio } = await openAio({
    onReport: () => {
      seen.push(endOf(() => aio.acquire().release()));
    },
  });
  const file = aio.open(fileOf('nothing', ''));
  aio
    .acquire()
    .setTarget({ relation: RELATION, block: 0, blocks: 1 })
    .register(PGAIO_HCB_MD_READV)
    .startReadv(file, aio.frames(1), 0);
  assert.equal(seen, ['done']);
  aio[Symbol.dispose]();
});

reports('become process warnings from WARNING on, unless somebody takes them', async () => {
  const warnings: Error[] = [];
  const note = (warning: Error) => warnings.push(warning);
  process.on('warning', note);
  const aio = await Aio.create({ sharedBuffers: 16 });
  const owner = aio.owner();
  const file = aio.open(fileOf('empty', ''));
  const failing = aio
    .acquire()
    .setTarget({ relation: RELATION, block: 0, blocks: 1 })
    .register(PGAIO_HCB_MD_READV)
    .startReadv(file, aio.frames(1), 0); // only a LOG line, hence no warning
  assert.is(failing.result?.status, 'ERROR');
  aio.acquire({ owner });
  const warned = once(process, 'warning');
  owner.commit();
  const [warning] = await warned;
  process.off('warning', note);
  assert.equal(
    [warning.name, warning.code, warning.message],
    ['PgAioWarning', 'XX000', 'leaked AIO handle'],
  );
  assert.is(warnings.length, 1);
  aio[Symbol.dispose]();
});

reports.run();
