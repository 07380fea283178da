/** io_method worker: who executes an I/O, opening files again, and the size of the pool. */
import { mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { IO_WORKER_QUEUE_SIZE, PGAIO_HCB_FILE, PGAIO_HCB_MD_READV } from '../bindings/layout.ts';
import type { AioReport } from '../bindings/report.ts';
import {
  Aio,
  type AioFile,
  type AioOptions,
  type IoBuffer,
  type IoFlag,
  type PendingIo,
  type PgAioResult,
} from '../host/node/index.ts';
import {
  BLOCK,
  blockFile,
  eventsOf,
  Gate,
  idleWorkers,
  living,
  noThreads,
  runChild,
  scratchDirectory,
  until,
  WorkersView,
  within,
} from './threads-fixture.ts';

const folder = scratchDirectory('workers');
const path = blockFile(`${folder}/blocks`, 32);
const RELATION = { spcOid: 1663, dbOid: 5, relNumber: 16384 } as const;
const relationFile = `${folder}/base/5/16384`;
mkdirSync(dirname(relationFile), { recursive: true });
blockFile(relationFile, 8);
blockFile(`${relationFile}.1`, 8);

function engine(gate: Gate, options: AioOptions = {}): Promise<Aio> {
  return Aio.create({
    provider: gate.provider(),
    ioFrames: 256,
    ioMaxConcurrency: 128,
    maxBackends: 2,
    ...(options.ioMinWorkers === undefined ? { ioWorkers: 1 } : {}),
    ...options,
  });
}

function startRead(
  aio: Aio,
  file: AioFile,
  buffer: IoBuffer,
  options: { offset?: number; flag?: IoFlag; callbacks?: readonly number[] } = {},
): PendingIo {
  const handle = aio.acquire().setTarget({ file });
  for (const id of options.callbacks ?? [PGAIO_HCB_FILE]) handle.register(id);
  if (options.flag !== undefined) handle.setFlag(options.flag);
  return handle.startReadv(file, buffer, options.offset ?? 0);
}

const who = suite('worker: I/O');
who('is executed by I/O workers, each in a thread of its own', async () => {
  const gate = new Gate();
  await using aio = await engine(gate, { ioWorkers: 3 });
  const view = await idleWorkers(aio, 3);
  using file = aio.open(path);
  using frames = aio.frames(3);
  const reads = [0, 1, 2].map((i) => file.read(frames.slice(i, i + 1), i * BLOCK));
  await gate.crowd(3);
  gate.open();
  assert.equal(
    (await Promise.all(reads)).map(({ result }) => result),
    [BLOCK, BLOCK, BLOCK],
  );
  assert.equal(
    [0, 1, 2].map((i) => frames.page(i)[0]),
    [1, 2, 3],
  );
  await until('it is counted', () => [0, 1, 2].every((id) => view.executed(id) === 1));
  assert.equal(
    [0, 1, 2].map((id) => gate.callsBy(view.thread(id))),
    [1, 1, 1],
  );
  assert.is(gate.callsBy(0), 0);
  const { synchronous, submissions, file: counters } = aio.stats();
  assert.equal([synchronous, submissions, counters.reads], [0n, 3n, 3n]);
});
who('that fails is reported with the words of who executed it for whom', async () => {
  const reports: AioReport[] = [];
  const gate = new Gate().open();
  await using aio = await engine(gate, { onReport: (report) => reports.push(report) });
  await idleWorkers(aio, 1);
  using file = aio.open(path);
  using frames = aio.frames(1);
  gate.wasiErrno = 29; // EIO
  const error = await file.read(frames, 0).catch((e: unknown) => e);
  const message = `could not read file "${path}": Input/output error`;
  assert.is((error as Error).message, message);
  assert.is((error as { errno: number }).errno, 5);
  await until('the report', () => reports.length === 1);
  assert.is(reports[0]?.message, message);
  assert.is(reports[0]?.severity, 'LOG');
  assert.is(reports[0]?.context, 'I/O worker executing I/O on behalf of backend 0');
});
who('that moves too little is PARTIAL', async () => {
  const gate = new Gate().open();
  await using aio = await engine(gate);
  await idleWorkers(aio, 1);
  using file = aio.open(path);
  using frames = aio.frames(1);
  gate.mostBytes = 1000;
  const { status, result, error } = await file.read(frames, 0);
  assert.equal([status, result], ['PARTIAL', 1000]);
  assert.is(error?.message, `could not read file "${path}": read only 1000 of ${BLOCK} bytes`);
});
who('that finds the queue full is executed by its issuer, in order', async () => {
  const gate = new Gate();
  await using aio = await engine(gate);
  const view = await idleWorkers(aio, 1);
  using file = aio.open(path);
  using frames = aio.frames(100);
  const ios: PendingIo[] = [startRead(aio, file, frames.slice(0, 1))];
  await gate.crowd(1);
  const room = IO_WORKER_QUEUE_SIZE - 1;
  for (let i = 1; i < 100; i++) ios.push(startRead(aio, file, frames.slice(i, i + 1)));
  const overflow = BigInt(100 - 1 - room);
  assert.is(aio.stats().synchronous, overflow);
  assert.is(gate.callsBy(0), Number(overflow));
  assert.is(view.control('tail') - view.control('head'), room);
  assert.equal(ios.map((io) => io.settled).indexOf(true), room + 1, 'the last ones are over');
  gate.open();
  const results = await Promise.all(ios);
  assert.ok(results.every(({ result }) => result === BLOCK));
  await until('all is counted', () => view.executed(0) === room + 1);
});
who('in a batch longer than the queue is split between workers and issuer', async () => {
  const gate = new Gate();
  await using aio = await engine(gate);
  await idleWorkers(aio, 1);
  using file = aio.open(path);
  using frames = aio.frames(96);
  const ios: PendingIo[] = [];
  {
    using _ = aio.batch();
    for (let i = 0; i < 96; i++) ios.push(startRead(aio, file, frames.slice(i, i + 1)));
  }
  // 32 at a time, and the worker may have taken one already.
  assert.ok([32n, 33n].includes(aio.stats().synchronous), String(aio.stats().synchronous));
  assert.is(aio.stats().submissions, 3n);
  gate.open();
  assert.ok((await Promise.all(ios)).every(({ result }) => result === BLOCK));
});
who('that finds the queue locked is executed by its issuer', async () => {
  const gate = new Gate();
  await using aio = await engine(gate);
  const view = await idleWorkers(aio, 1);
  using file = aio.open(path);
  using frames = aio.frames(1);
  const lock = view.lockIndex;
  assert.is(Atomics.compareExchange(view.i32, lock, 0, 0x7fff), 0);
  const io = startRead(aio, file, frames);
  Atomics.store(view.i32, lock, 0);
  assert.is(io.settled, true);
  assert.equal([aio.stats().synchronous, gate.callsBy(0)], [1n, 1]);
});
const ISSUERS: readonly [string, { flag?: IoFlag; callbacks?: number[] }][] = [
  ['with flag SYNCHRONOUS', { flag: 'SYNCHRONOUS' }],
  ['with flag REFERENCES_LOCAL', { flag: 'REFERENCES_LOCAL' }],
  ['with a callback that I/O workers have not loaded', { callbacks: [40, PGAIO_HCB_FILE] }],
];
for (const [sentence, options] of ISSUERS) {
  who(`${sentence} stays with its issuer`, async () => {
    const gate = new Gate();
    await using aio = await engine(gate);
    await idleWorkers(aio, 1);
    let threads = '';
    aio.registerCallback(40, {
      completeShared: () => {
        threads += 'here';
      },
    });
    using file = aio.open(path);
    using frames = aio.frames(1);
    const io = startRead(aio, file, frames, options);
    assert.is(io.settled, true, 'it is over when start returns');
    assert.is(io.waitSync().result, BLOCK);
    assert.equal([aio.stats().synchronous, gate.callsBy(0)], [1n, 1]);
    assert.is(threads, options.callbacks === undefined ? '' : 'here');
  });
}
who('with a callback that only looks at it locally may go to a worker', async () => {
  const gate = new Gate();
  await using aio = await engine(gate);
  await idleWorkers(aio, 1);
  let seen = 0;
  aio.registerCallback(40, {
    completeLocal: (_, result) => {
      seen = result.result;
    },
  });
  using file = aio.open(path);
  using frames = aio.frames(1);
  const io = startRead(aio, file, frames, { callbacks: [40, PGAIO_HCB_FILE] });
  await gate.crowd(1);
  gate.open();
  await io;
  assert.equal([seen, aio.stats().synchronous], [BLOCK, 0n]);
});
who('on a file that has no place in the table is executed by its issuer, with wasi', async () => {
  const gate = new Gate();
  await using aio = await engine(gate, { provider: gate.provider(folder), maxFiles: 1 });
  await idleWorkers(aio, 1);
  using first = aio.open('blocks');
  using second = aio.open('base/5/16384');
  assert.equal([first.reopenable, second.reopenable], [true, false]);
  using frames = aio.frames(1);
  const io = startRead(aio, second, frames);
  assert.is(io.settled, true);
  assert.is(io.waitSync().result, BLOCK);
  assert.is(aio.stats().synchronous, 1n);
});
who('is executed by its issuer while there is no worker yet', async () => {
  const gate = new Gate();
  await using aio = await engine(gate);
  assert.is(new WorkersView(aio.memory).running, 0);
  using file = aio.open(path);
  using frames = aio.frames(1);
  assert.is(file.read(frames, 0).waitSync().result, BLOCK);
  assert.is(aio.stats().synchronous, 1n);
});
who.run();

interface Reopening {
  readonly sentence: string;
  readonly open: string;
  readonly spoil?: () => void;
  readonly mend?: () => void;
  readonly end: string;
}
const gone = `${folder}/gone`;
const REOPENINGS: readonly Reopening[] = [
  { sentence: 'by the table of files', open: 'blocks', end: 'done' },
  { sentence: 'below a directory', open: 'base/5/16384', end: 'done' },
  {
    sentence: 'that was removed meanwhile, with ENOENT',
    open: 'gone',
    spoil: () => rmSync(gone),
    mend: () => void blockFile(gone, 4),
    end: 'could not read file "gone": No such file or directory',
  },
  {
    sentence: 'that has become a directory, with EISDIR',
    open: 'gone',
    spoil: () => {
      rmSync(gone);
      mkdirSync(gone);
    },
    mend: () => {
      rmSync(gone, { recursive: true, force: true });
      blockFile(gone, 4);
    },
    end: 'could not read file "gone": Is a directory',
  },
];
const reopening = suite('worker: with wasi, a file is opened again');
for (const { sentence, open, spoil, mend, end } of REOPENINGS) {
  reopening(sentence, async () => {
    mend?.();
    const gate = new Gate().open();
    await using aio = await engine(gate, { provider: gate.provider(folder) });
    const view = await idleWorkers(aio, 1);
    using file = aio.open(open);
    using frames = aio.frames(1);
    spoil?.();
    const ended = await file.read(frames, BLOCK).catch((error: unknown) => error);
    if (end === 'done') {
      assert.is((ended as PgAioResult).result, BLOCK);
      assert.is(frames.page(0)[0], 2);
      assert.is(gate.callsBy(view.thread(0)), 1);
    } else {
      assert.is((ended as Error).message, end);
      assert.is(gate.calls, 0);
    }
    assert.is(aio.stats().synchronous, 0n);
    mend?.();
  });
}
reopening('once for many I/Os, and anew when the number stands for another file', async () => {
  const gate = new Gate().open();
  await using aio = await engine(gate, { provider: gate.provider(folder) });
  await idleWorkers(aio, 1);
  using frames = aio.frames(1);
  const first = aio.open('blocks');
  for (let i = 0; i < 5; i++) await first.read(frames, 0);
  first.close();
  using second = aio.open('base/5/16384.1');
  assert.is(second.number, first.number);
  await second.read(frames, 7 * BLOCK);
  assert.is(frames.page(0)[0], 8);
  assert.is((await second.read(frames, 8 * BLOCK)).result, 0, 'this file has 8 blocks only');
  assert.is(aio.stats().synchronous, 0n);
});
reopening('for writing, if it was opened for that', async () => {
  blockFile(`${folder}/written`, 2);
  const gate = new Gate().open();
  await using aio = await engine(gate, { provider: gate.provider(folder) });
  await idleWorkers(aio, 1);
  using frames = aio.frames(1);
  using file = aio.open('written', { write: true });
  frames.bytes.fill(99);
  await file.write(frames, BLOCK);
  frames.bytes.fill(0);
  await file.read(frames, BLOCK);
  assert.is(frames.page(0)[100], 99);
  assert.is(aio.stats().synchronous, 0n);
});

/** Reads a block of the relation; the file it is given has no number, so only the name helps. */
async function readRelation(aio: Aio, file: AioFile, block: number, fork: 'main' | 'fsm' = 'main') {
  using frames = aio.frames(1);
  const handle = aio.acquire().setTarget({ relation: RELATION, fork, block, blocks: 1 });
  handle.register(PGAIO_HCB_MD_READV);
  const result = await handle.startReadv(file, frames, (block % 8) * BLOCK);
  return { result, byte: frames.page(0)[0] };
}
reopening('by the path of its relation, segment by segment', async () => {
  const gate = new Gate().open();
  const options = { provider: gate.provider(folder), segmentSize: 8, maxFiles: 1 };
  await using aio = await engine(gate, options);
  await idleWorkers(aio, 1);
  using _ = aio.open('blocks');
  using other = aio.open('blocks');
  assert.is(other.reopenable, false);
  const first = await readRelation(aio, other, 3);
  assert.equal([first.result.result, first.byte], [1, 4]);
  const second = await readRelation(aio, other, 13);
  assert.equal([second.result.result, second.byte], [1, 6]);
  const third = await readRelation(aio, other, 16).catch((error: Error) => error.message);
  const path16 = 'base/5/16384';
  assert.is(third, `could not read blocks 16..16 in file "${path16}": No such file or directory`);
  const fsm = await readRelation(aio, other, 0, 'fsm').catch((error: Error) => error.message);
  assert.is(fsm, `could not read blocks 0..0 in file "${path16}_fsm": No such file or directory`);
  assert.is(aio.stats().synchronous, 0n);
});
reopening.run();

const pool = suite('worker: the pool');
pool('has io_workers threads, whatever the load', async () => {
  await noThreads(); // of other tests, which would have events, too
  await eventsOf('worker', async (events) => {
    const gate = new Gate();
    await using aio = await engine(gate, { ioWorkers: 3 });
    const view = await idleWorkers(aio, 3);
    using file = aio.open(path);
    using frames = aio.frames(60);
    const ios = Array.from({ length: 60 }, (_, i) => startRead(aio, file, frames.slice(i, i + 1)));
    await gate.crowd(3);
    gate.open();
    await Promise.all(ios);
    assert.is(view.running, 3);
    assert.equal(
      events.map(({ what, id }) => `${what} ${id}`),
      ['started 0', 'started 1', 'started 2'],
    );
    assert.equal([aio.show('io_min_workers'), aio.show('io_max_workers')], ['3', '3']);
  });
});
const growing: AioOptions = {
  ioMinWorkers: 1,
  ioMaxWorkers: 4,
  ioWorkerLaunchInterval: 0,
  ioWorkerIdleTimeout: 600_000,
};
/** Starts 60 reads, and lets one pass at a time until `enough`; then all. */
async function flood(aio: Aio, gate: Gate, enough: () => boolean): Promise<void> {
  using file = aio.open(path);
  using frames = aio.frames(60);
  gate.shut();
  const ios = Array.from({ length: 60 }, (_, i) => startRead(aio, file, frames.slice(i, i + 1)));
  const view = new WorkersView(aio.memory);
  try {
    for (let passed = 0; passed < 40 && !enough(); passed++) {
      await until('all launched run', () => view.running === living.size);
      await gate.crowd(view.running);
      gate.admit();
      await until('it takes the next', () => ios.filter((io) => io.checkDone()).length > passed);
    }
    await until('enough', enough);
  } finally {
    gate.open();
    await Promise.all(ios);
  }
}
pool('grows from the minimum to the maximum under load, and stays there', async () => {
  await noThreads();
  await eventsOf('worker', async (events) => {
    const gate = new Gate();
    await using aio = await engine(gate, growing);
    const view = await idleWorkers(aio, 1);
    await flood(aio, gate, () => view.running === 4);
    await flood(aio, gate, () => gate.waiting === 4);
    assert.is(view.running, 4);
    assert.equal(
      events.map(({ what, id }) => `${what} ${id}`),
      ['started 0', 'started 1', 'started 2', 'started 3'],
    );
  });
});
pool('does not grow without load', async () => {
  const gate = new Gate().open();
  await using aio = await engine(gate, growing);
  const view = await idleWorkers(aio, 1);
  using file = aio.open(path);
  using frames = aio.frames(1);
  for (let i = 0; i < 300; i++) await file.read(frames, 0);
  assert.is(view.running, 1);
  assert.is(view.control('grow'), 0);
});
pool('launches one worker per io_worker_launch_interval', async () => {
  await noThreads();
  const gate = new Gate();
  const hour = { ...growing, ioWorkerLaunchInterval: '1h' };
  await using aio = await engine(gate, hour);
  const view = await idleWorkers(aio, 1);
  await flood(aio, gate, () => view.running === 2);
  let looks = 0;
  await flood(aio, gate, () => gate.waiting === 2 && looks++ > 20);
  assert.is(view.running, 2, 'the third is due in an hour');
});
pool('shrinks to the minimum when idle for io_worker_idle_timeout, the last first', async () => {
  await noThreads(); // of other tests, which would have events, too
  await eventsOf('worker', async (events) => {
    const gate = new Gate().open();
    await using aio = await engine(gate, { ...growing, ioMinWorkers: 4 });
    const view = await idleWorkers(aio, 4);
    aio.set('io_worker_idle_timeout', 20);
    aio.set('io_min_workers', 1);
    await until('one worker', () => view.running === 1);
    await until('events', () => events.filter(({ what }) => what === 'ended').length === 3);
    const ended = events.filter(({ what }) => what === 'ended').map(({ id }) => id);
    assert.equal(ended, [3, 2, 1]);
    using file = aio.open(path);
    using frames = aio.frames(1);
    assert.is((await file.read(frames, 0)).result, BLOCK);
    assert.is(aio.stats().synchronous, 0n);
  });
});
pool('follows its settings while it runs', async () => {
  const warnings: string[] = [];
  const onReport = ({ message }: AioReport): void => void warnings.push(message);
  const gate = new Gate().open();
  await using aio = await engine(gate, { ioWorkers: 2, onReport });
  const view = await idleWorkers(aio, 2);
  aio.set('io_workers', 5);
  await until('5 workers', () => view.running === 5);
  aio.set('io_workers', 1);
  await until('1 worker', () => view.running === 1);
  using file = aio.open(path);
  using frames = aio.frames(1);
  for (let i = 0; i < 10; i++) assert.is((await file.read(frames, 0)).result, BLOCK);
  aio.set('io_min_workers', 3);
  aio.set('io_max_workers', 2);
  await until('2 workers, the smaller of both', () => view.running === 2);
  assert.is(aio.show('io_min_workers'), '3');
  const words = (max: number): string =>
    `"io_min_workers" (3) should be less than or equal to "io_max_workers" (${max})`;
  assert.equal(warnings, [words(1), words(2)]);
});
pool('replaces a worker that is terminated, and its I/O ends with a result', async () => {
  const gate = new Gate();
  await using aio = await engine(gate, { ioWorkers: 2 });
  const view = await idleWorkers(aio, 2);
  using file = aio.open(path);
  using frames = aio.frames(2);
  const reads = [0, 1].map((i) => file.read(frames.slice(i, i + 1), i * BLOCK));
  await gate.crowd(2);
  const victims = [0, 1].map((id) => living.get(view.thread(id)));
  const [victim] = victims;
  assert.ok(victim, 'process.on("worker") told of it');
  await within('it is terminated', victim.terminate());
  gate.open();
  const results = await within('the reads', Promise.all(reads));
  assert.equal(
    results.map(({ result }) => result),
    [BLOCK, BLOCK],
  );
  await until('another', () => view.running === 2);
  assert.is((await file.read(frames, 0)).result, 2 * BLOCK);
});
pool('survives that all workers are terminated at once', async () => {
  const gate = new Gate();
  await using aio = await engine(gate, { ioWorkers: 3 });
  const view = await idleWorkers(aio, 3);
  using file = aio.open(path);
  using frames = aio.frames(32);
  const ios = Array.from({ length: 32 }, (_, i) => startRead(aio, file, frames.slice(i, i + 1)));
  await gate.crowd(3);
  for (const id of [0, 1, 2]) void living.get(view.thread(id))?.terminate();
  gate.open();
  const results = await within('the reads', Promise.all(ios));
  assert.ok(results.every(({ result }) => result === BLOCK));
  await idleWorkers(aio, 3);
});
const EXITING = `import { isMainThread } from 'node:worker_threads';
export const callbacks = { 41: { completeShared(io, result) {
  if (!isMainThread) process.exit(9);
  result.result = 7;
} } };`;
pool('replaces a worker that a callback ends; the I/O ends where it is cleaned up', async () => {
  const gate = new Gate().open();
  const url = `data:text/javascript,${encodeURIComponent(EXITING)}`;
  await using aio = await engine(gate, { callbackModules: [url] });
  const view = await idleWorkers(aio, 1);
  const thread = view.thread(0);
  using file = aio.open(path);
  using frames = aio.frames(1);
  const io = startRead(aio, file, frames, { callbacks: [41, PGAIO_HCB_FILE] });
  const { result, status } = await within('it', io);
  assert.equal([result, status], [7, 'OK']);
  await until('another worker', () => view.running === 1 && view.thread(0) !== thread);
  assert.is((await file.read(frames, 0)).result, BLOCK);
});
pool('leaves when its engine is disposed', async () => {
  const aio = await engine(new Gate(), { ioWorkers: 3 });
  const view = await idleWorkers(aio, 3);
  await aio[Symbol.asyncDispose]();
  await until('no worker', () => view.running === 0);
});
pool('costs no CPU while it is idle', async () => {
  const words = ['idleCpu', 'worker', path, '1000'];
  const { code, output } = await runChild('engine-child', words);
  const percent = Number(/^cpu ([\d.]+)$/m.exec(output)?.[1]);
  assert.ok(percent < 2, `${output}, exit ${code}`);
  assert.is(code, 0);
});
pool.run();
