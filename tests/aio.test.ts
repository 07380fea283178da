/** The idiomatic API: engine, frames, files, handles, and I/Os under way. */
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  Aio,
  AioCallbackError,
  AioIoError,
  AioPageError,
  AioUsageError,
  constants,
  directProvider,
} from '../host/node/index.ts';
import { attach } from '../host/node/raw.ts';
import {
  endOf,
  fileOf,
  folder,
  goodPage,
  HoldingDevice,
  joined,
  openAio,
  openHeld,
  PAGE_BYTES,
  RELATION,
  rejectionOf,
  thrownBy,
  turns,
  WaitableDevice,
} from './aio-fixture.ts';

const { PGAIO_HCB_MD_READV, PGAIO_HCB_PAGE_READV } = constants;
const TWO_PAGES = fileOf('two', joined(goodPage(0), goodPage(1)));

const engine = suite('aio: the engine');

engine('gives its slot back when disposed, and others may take it', async () => {
  const { aio } = await openAio({ maxBackends: 1 });
  assert.is(aio.procno, 0);
  const refused = await rejectionOf(Aio.create({ memory: aio.memory }));
  assert.is(refused.code, 'PGAIO_NO_SLOT');
  assert.is(refused.message, 'aio requires a free backend slot');
  assert.is(refused.sqlstate, '53000');
  aio[Symbol.dispose]();
  const { aio: next } = await openAio({ memory: aio.memory });
  assert.is(next.procno, 0);
  next[Symbol.dispose]();
});

engine('can be disposed twice, in either way', async () => {
  const { aio } = await openAio();
  aio[Symbol.dispose]();
  aio[Symbol.dispose]();
  await aio[Symbol.asyncDispose]();
  const { aio: other } = await openAio();
  await Promise.all([other[Symbol.asyncDispose](), other[Symbol.asyncDispose]()]);
  other[Symbol.dispose]();
});

engine('waits for I/O in flight when disposed asynchronously', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  const io = aio.open(TWO_PAGES).read(aio.frames(1), 0);
  let left = false;
  const leaving = aio[Symbol.asyncDispose]().then(() => {
    left = true;
  });
  await turns();
  assert.is(left, false);
  device.end();
  await leaving;
  assert.is((await io).result, PAGE_BYTES);
});

engine('has the device end I/O in flight when disposed at once', async () => {
  const { aio, device } = await openHeld(new WaitableDevice());
  const io = aio.open(TWO_PAGES).read(aio.frames(1), 0);
  aio[Symbol.dispose]();
  assert.equal(device.held, []);
  assert.is(io.result?.result, PAGE_BYTES);
});

engine('refuses to leave while nobody can end its I/O, and leaves later', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  const io = aio.open(TWO_PAGES).read(aio.frames(1), 0);
  assert.is(
    endOf(() => aio[Symbol.dispose]()),
    'PGAIO_CANNOT_WAIT',
  );
  device.end();
  assert.is(io.result?.status, 'OK');
  aio[Symbol.dispose]();
  assert.is(
    endOf(() => aio.acquire()),
    'PGAIO_NO_BACKEND',
  );
});

engine('submits what a batch has staged when it is disposed', async () => {
  const { aio, device } = await openHeld(new WaitableDevice());
  const file = aio.open(TWO_PAGES);
  const batch = aio.batch();
  const io = file.read(aio.frames(1), 0);
  assert.equal(device.submissions, []);
  aio[Symbol.dispose]();
  assert.is(device.submissions.length, 1);
  assert.is(io.result?.status, 'OK');
  batch[Symbol.dispose]();
});

engine('waits for I/O whose owner was released when disposed asynchronously', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  const file = aio.open(TWO_PAGES);
  const owner = aio.owner();
  aio
    .acquire({ owner })
    .setTarget({ file })
    .register(constants.PGAIO_HCB_FILE)
    .startReadv(file, aio.frames(1), 0);
  owner.abort();
  const leaving = aio[Symbol.asyncDispose]().then(
    () => 'left',
    (error) => error.code,
  );
  await turns();
  if (device.held.length > 0) device.end();
  assert.is(await leaving, 'left');
});

engine('opens no file after it was disposed', async () => {
  const { aio } = await openAio();
  aio[Symbol.dispose]();
  assert.not.equal(
    endOf(() => aio.open(TWO_PAGES)),
    'done',
  );
});

/** Of local memory, as much as the raw layer hands out. */
const AREA_BYTES = 63 * 1024;

engine('writes no byte of its slot after it was disposed', async () => {
  const { aio } = await openAio({ maxBackends: 1 });
  const { ref } = aio.open(TWO_PAGES).read(aio.frames(1), 0);
  aio[Symbol.dispose]();
  const next = await attach({ memory: aio.memory });
  const bytes = new Uint8Array(aio.memory.buffer, next.alloc(AREA_BYTES), AREA_BYTES);
  next.pgaio_io_acquire(0, 0); // something to see for inspect()
  endOf(() => ref.isDone());
  endOf(() => aio.inspect());
  assert.is(
    bytes.findIndex((byte) => byte !== 0),
    -1,
  );
  next.pgaio_shutdown();
});

engine('refuses a memory whose local areas are too small for it', async () => {
  const raw = await attach({ local_memory: 4, max_backends: 2, io_frames: 16 });
  const end = await Aio.create({ memory: raw.memory }).then(
    () => 'done',
    (error) => error.code,
  );
  assert.is(end, 'PGAIO_LOCAL_MEMORY');
});

engine('leaves even if a file cannot be closed, and closes it once', async () => {
  let closes = 0;
  const provider = {
    ...directProvider(),
    close() {
      closes++;
      throw new Error('as you command');
    },
  };
  const { aio } = await openAio({ provider, maxBackends: 1 });
  aio.open(TWO_PAGES);
  endOf(() => aio[Symbol.dispose]());
  aio[Symbol.dispose]();
  assert.is(closes, 1, 'the descriptor may be somebody else’s by now');
  const { aio: next } = await openAio({ memory: aio.memory });
  next[Symbol.dispose]();
});

engine('takes settings in TypeScript’s spelling', async () => {
  const { aio } = await openAio({
    ioMaxConcurrency: 3,
    ioMaxCombineLimit: '128kB',
    ioCombineLimit: 4,
    maxBackends: 2,
    ioFrames: '1MB',
    blockSize: 4096,
    traceSize: 32,
    trace: true,
    dataChecksums: false,
  });
  const shown = Object.entries({
    io_method: 'worker',
    io_max_concurrency: '3',
    io_max_combine_limit: '128kB',
    io_combine_limit: '16kB',
    max_backends: '2',
    io_frames: '1MB',
    block_size: '4096',
    trace_size: '32',
    trace: 'on',
    data_checksums: 'off',
    io_provider: 'direct',
  });
  for (const [name, value] of shown) assert.is(aio.show(name), value, name);
  assert.is(aio.blockSize, 4096);
  aio[Symbol.dispose]();
});

engine('refuses settings in PostgreSQL’s words', async () => {
  const zero = await rejectionOf(openAio({ ioMaxConcurrency: 0 }));
  assert.is(zero.message, 'invalid value for parameter "io_max_concurrency": 0');
  assert.is(zero.detail, 'Only -1 or values bigger than 0 are valid.');
  const large = await rejectionOf(openAio({ ioCombineLimit: 129 }));
  assert.is(large.code, 'PGAIO_SETTING_RANGE');
  assert.is(
    large.message,
    '129 8kB is outside the valid range for parameter "io_combine_limit" (1 8kB .. 128 8kB)',
  );
});

engine.run();

const frames = suite('aio: page frames');

frames('are seen as bytes, pages and slices of one memory', async () => {
  const { aio } = await openAio();
  const three = aio.frames(3);
  assert.is(three.byteLength, 3 * PAGE_BYTES);
  assert.is(three.address % 4096, 0);
  three.page(1).fill(7);
  assert.equal(
    [0, PAGE_BYTES - 1, PAGE_BYTES, 2 * PAGE_BYTES - 1, 2 * PAGE_BYTES].map(
      (at) => three.bytes[at],
    ),
    [0, 0, 7, 7, 0],
  );
  const { address, byteLength } = three.slice(1, 2);
  assert.equal([address - three.address, byteLength], [PAGE_BYTES, PAGE_BYTES]);
  assert.is(new Uint8Array(aio.memory.buffer, address, 1)[0], 7);
  aio[Symbol.dispose]();
});

frames('end where they end', async () => {
  const { aio } = await openAio();
  const two = aio.frames(2);
  for (const [from, to] of [
    [-1, 1],
    [0, 3],
    [1, 1],
    [2, 2],
    [0.5, 1],
    [0, Number.NaN],
  ] as const) {
    assert.is(
      endOf(() => two.slice(from, to)),
      `RangeError: frames ${from} to ${to} of 2`,
    );
  }
  assert.is(
    endOf(() => two.page(2)),
    'RangeError: frames 2 to 3 of 2',
  );
  aio[Symbol.dispose]();
});

frames('run out with a hint, and come back when disposed', async () => {
  const { aio } = await openAio({ ioFrames: 16 });
  const all = aio.frames(16);
  const error = thrownBy(() => aio.frames(1));
  assert.is(error.code, 'PGAIO_NO_FRAMES');
  assert.is(error.message, 'no 1 neighbouring page frames are free');
  assert.is(error.sqlstate, '53200');
  assert.is(error.hint, 'Raise io_frames (now 128kB), or dispose frames sooner.');
  all[Symbol.dispose]();
  all[Symbol.dispose]();
  aio.frames(16)[Symbol.dispose]();
  assert.is(
    endOf(() => aio.frames(0)),
    'PGAIO_BAD_FRAME',
  );
  aio[Symbol.dispose]();
});

frames('are a whole number of frames', async () => {
  const { aio } = await openAio();
  for (const count of [-1, 0.5, 1.5, Number.NaN, 65, 2 ** 32 + 1]) {
    assert.not.equal(
      endOf(() => aio.frames(count)),
      'done',
      String(count),
    );
  }
  aio[Symbol.dispose]();
});

frames('given back while an I/O uses them go when it has ended', async () => {
  const { aio, device } = await openHeld(new HoldingDevice(), { ioFrames: 16 });
  const buffer = aio.frames(16);
  const io = aio.open(TWO_PAGES).read(buffer.slice(0, 1), 0);
  buffer[Symbol.dispose]();
  assert.is(
    endOf(() => aio.frames(1)),
    'PGAIO_NO_FRAMES',
  );
  device.end();
  assert.is((await io).status, 'OK');
  aio.frames(16);
  aio[Symbol.dispose]();
});

frames('stay while an I/O runs whose owner was released', async () => {
  const { aio, device } = await openHeld(new HoldingDevice(), { ioFrames: 16 });
  const file = aio.open(TWO_PAGES);
  const owner = aio.owner();
  const buffer = aio.frames(16);
  aio
    .acquire({ owner })
    .setTarget({ file })
    .register(constants.PGAIO_HCB_FILE)
    .startReadv(file, buffer.slice(0, 1), 0);
  owner.abort();
  buffer[Symbol.dispose]();
  const before = endOf(() => aio.frames(1)); // the device still writes into them
  device.end();
  assert.is(before, 'PGAIO_NO_FRAMES');
  aio[Symbol.dispose]();
});

const GIVEN_BACK = 'ReferenceError: these page frames have been given back';

frames('cannot be used after disposal', async () => {
  const { aio } = await openAio({ ioFrames: 16 });
  const buffer = aio.frames(1);
  buffer[Symbol.dispose]();
  for (const use of [
    () => buffer.bytes,
    () => buffer.page(0),
    () => buffer.slice(0, 1),
    () => buffer.address,
    () => aio.open(TWO_PAGES).read(buffer, 0),
  ]) {
    assert.is(endOf(use), GIVEN_BACK, String(use));
  }
  aio[Symbol.dispose]();
});

frames('cannot be used through a slice after disposal', async () => {
  const { aio } = await openAio({ ioFrames: 16 });
  const buffer = aio.frames(1);
  const slice = buffer.slice(0, 1);
  buffer[Symbol.dispose]();
  const others = aio.frames(16);
  assert.is(
    endOf(() => aio.open(TWO_PAGES).read(slice, 0)),
    GIVEN_BACK,
  );
  assert.equal(others.bytes.subarray(24, 32), new Uint8Array(8), 'nothing was read into them');
  aio[Symbol.dispose]();
});

frames.run();

const fileSuite = suite('aio: files');

fileSuite('are read, written and measured', async () => {
  const path = `${folder}/written`;
  const { aio } = await openAio();
  const file = aio.open(path, { create: true });
  assert.is(file.size(), 0);
  const two = aio.frames(2);
  two.page(0).set(goodPage(0));
  two.page(1).set(goodPage(1));
  const written = await file.write([two.slice(1, 2), two.slice(0, 1)], PAGE_BYTES);
  assert.equal([written.status, written.result], ['OK', 2 * PAGE_BYTES]);
  assert.is(file.size(), 3 * PAGE_BYTES);
  const expected = joined(new Uint8Array(PAGE_BYTES), goodPage(1), goodPage(0));
  assert.ok(Buffer.compare(readFileSync(path), expected) === 0);
  two.bytes.fill(0);
  const { status, result, error, target, verdicts } = await file.read(two, PAGE_BYTES);
  assert.equal([status, result, error, verdicts], ['OK', 2 * PAGE_BYTES, undefined, []]);
  assert.is(target.target, constants.PGAIO_TID_FILE);
  assert.ok(Buffer.compare(two.page(0), goodPage(1)) === 0);
  assert.ok(Buffer.compare(two.page(1), goodPage(0)) === 0);
  aio[Symbol.dispose]();
});

fileSuite('can be closed twice and not used afterwards', async () => {
  const { aio } = await openAio();
  const buffer = aio.frames(1);
  const closed = `ReferenceError: file "${TWO_PAGES}" is closed`;
  using file = aio.open(TWO_PAGES);
  file.close();
  file.close();
  for (const use of [() => file.fd, () => file.size(), () => file.read(buffer, 0)]) {
    assert.is(endOf(use), closed, String(use));
  }
  aio[Symbol.dispose]();
});

fileSuite('leave no handle behind when they are closed', async () => {
  const { aio } = await openAio();
  const file = aio.open(TWO_PAGES);
  file.close();
  endOf(() => file.write(aio.frames(1), 0));
  assert.equal(aio.inspect(), []);
  aio[Symbol.dispose]();
});

fileSuite('leave no handle behind when a read is refused', async () => {
  const { aio } = await openAio();
  const file = aio.open(TWO_PAGES);
  const buffer = aio.frames(1);
  for (const [code, read] of [
    ['PGAIO_BAD_OFFSET', () => file.read(buffer, -1)],
    ['PGAIO_BAD_OFFSET', () => file.read(buffer, 0.5)],
    ['PGAIO_BAD_IOVCNT', () => file.read([], 0)],
    [
      'PGAIO_BAD_IOVCNT',
      () =>
        file.read(
          Array.from({ length: 17 }, () => buffer),
          0,
        ),
    ],
  ] as const) {
    assert.is(endOf(read), code);
    assert.equal(aio.inspect(), [], code);
  }
  assert.is((await file.read(buffer, 0)).status, 'OK');
  aio[Symbol.dispose]();
});

fileSuite('say in messages which file it was, after it was closed too', async () => {
  const { aio, device } = await openHeld(new WaitableDevice());
  const file = aio.open(TWO_PAGES);
  const io = file.read(aio.frames(1), 0);
  device.end({ raw: -5 });
  file.close();
  const error = await rejectionOf(io);
  assert.is(error.message, `could not read file "${TWO_PAGES}": Input/output error`);
  assert.is(error.path, TWO_PAGES);
  aio[Symbol.dispose]();
});

fileSuite('wait for their I/O before they close, where the device does the I/O', async () => {
  const { aio, device } = await openHeld(new WaitableDevice());
  const [one, other] = [aio.open(TWO_PAGES), aio.open(TWO_PAGES)];
  const buffer = aio.frames(2);
  const [ofOne, ofOther] = [one.read(buffer.slice(0, 1), 0), other.read(buffer.slice(1, 2), 0)];
  one.close();
  assert.equal([ofOne.settled, ofOther.settled], [true, false]);
  assert.is(device.held.length, 1);
  aio[Symbol.dispose]();
});

fileSuite.run();

const handles = suite('aio: handles');

handles('are defined step by step', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  const file = aio.open(TWO_PAGES);
  const handle = aio.acquire();
  assert.equal([handle.state, handle.generation], ['HANDED_OUT', 1n]);
  const io = handle
    .setTarget({ relation: RELATION, fork: 'fsm', block: 7, blocks: 2, skipFsync: true })
    .register(PGAIO_HCB_PAGE_READV, constants.READ_BUFFERS_ZERO_ON_ERROR)
    .register(PGAIO_HCB_MD_READV)
    .setData([1n, 2n ** 64n - 1n])
    .setFlag('BUFFERED')
    .startReadv(file, aio.frames(2), 0);
  assert.is(handle.state, 'SUBMITTED');
  assert.equal(io.ref.token, { index: handle.id, generation: 1n });
  device.end({ raw: PAGE_BYTES });
  const { target, result, status } = await io;
  assert.equal(target, {
    target: constants.PGAIO_TID_SMGR,
    locator: RELATION,
    fork: 'fsm',
    blockNum: 7,
    nblocks: 2,
    isTemp: false,
    skipFsync: true,
  });
  assert.equal([status, result], ['PARTIAL', 1]);
  aio[Symbol.dispose]();
});

handles('go back when disposed before they were started', async () => {
  const { aio } = await openAio();
  {
    using handle = aio.acquire();
    assert.is(handle.state, 'HANDED_OUT');
    assert.is(
      endOf(() => aio.acquire()),
      'PGAIO_TWO_HANDED_OUT',
    );
    assert.is(
      endOf(() => aio.tryAcquire()),
      'PGAIO_TWO_HANDED_OUT',
    );
  }
  assert.equal(aio.inspect(), []);
  assert.is(aio.acquire().generation, 2n);
  aio[Symbol.dispose]();
});

handles('refuse everything once started or given back', async () => {
  const { aio } = await openAio();
  const file = aio.open(TWO_PAGES);
  const buffer = aio.frames(1);
  const started = aio.acquire().setTarget({ file });
  await started.register(constants.PGAIO_HCB_FILE).startReadv(file, buffer, 0);
  const released = aio.acquire();
  released.release();
  for (const handle of [started, released]) {
    for (const use of [
      () => handle.setTarget({ file }),
      () => handle.register(PGAIO_HCB_MD_READV),
      () => handle.setData([1n]),
      () => handle.setFlag('BUFFERED'),
      () => handle.startReadv(file, buffer, 0),
      () => handle.startWritev(file, buffer, 0),
      () => handle.release(),
    ]) {
      const error = thrownBy(use);
      assert.ok(error instanceof AioUsageError);
      assert.is(error.code, 'PGAIO_NOT_HANDED_OUT', String(use));
      assert.is(error.message, `IO ${handle.id} is not handed out: IDLE`);
    }
    handle[Symbol.dispose]();
  }
  aio[Symbol.dispose]();
});

handles('refuse everything once their owner was released, and cost nothing', async () => {
  const { aio } = await openAio({ ioMaxConcurrency: 2 });
  for (let round = 0; round < 10; round++) {
    const owner = aio.owner();
    const handle = aio.acquire({ owner });
    owner.abort();
    assert.is(
      endOf(() => handle.setFlag('BUFFERED')),
      'PGAIO_NOT_HANDED_OUT',
    );
    handle[Symbol.dispose]();
    assert.equal(aio.inspect(), []);
  }
  aio[Symbol.dispose]();
});

handles('keep their hands off a later I/O of the same handle', async () => {
  const { aio } = await openAio();
  const owner = aio.owner();
  const early = aio.acquire({ owner });
  owner.abort();
  const late = aio.acquire();
  assert.is(late.id, early.id);
  assert.is(
    endOf(() => early.release()),
    'PGAIO_NOT_HANDED_OUT',
  );
  early[Symbol.dispose]();
  assert.is(late.state, 'HANDED_OUT');
  aio[Symbol.dispose]();
});

handles('say what is wrong, and are still there afterwards', async () => {
  const { aio } = await openAio();
  const file = aio.open(TWO_PAGES);
  const handle = aio.acquire();
  for (const [code, use] of [
    ['PGAIO_CALLBACK_COMPLETION', () => handle.register(40)],
    ['PGAIO_CALLBACK_RANGE', () => handle.register(64)],
    ['PGAIO_DATA_LENGTH', () => handle.setData([])],
    ['PGAIO_DATA_LENGTH', () => handle.setData(Array.from({ length: 200 }, () => 1n))],
    ['PGAIO_NO_TARGET', () => handle.startReadv(file, aio.frames(1), 0)],
    ['PGAIO_BAD_BLOCKS', () => handle.setTarget({ relation: RELATION, block: 0, blocks: 0 })],
  ] as const) {
    assert.is(endOf(use), code);
  }
  assert.is(handle.state, 'HANDED_OUT');
  handle.release();
  aio[Symbol.dispose]();
});

handles.run();

const pending = suite('aio: an I/O under way');

pending('can be awaited any number of times, late too', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  const io = aio.open(TWO_PAGES).read(aio.frames(1), 0);
  assert.equal([io.settled, io.result], [false, undefined]);
  assert.is(io.checkDone(), false);
  const early = Promise.all([io, io]);
  device.end();
  assert.is(io.settled, true);
  const [first, second] = await early;
  assert.is(first, second);
  assert.is(await io, first);
  assert.is(io.result, first);
  assert.is(io.waitSync(), first);
  assert.is(io.checkDone(), true);
  aio[Symbol.dispose]();
});

pending('is over when start returns, with method sync', async () => {
  const { aio } = await openAio();
  const io = aio.open(TWO_PAGES).read(aio.frames(1), 0);
  assert.is(io.result?.result, PAGE_BYTES);
  assert.is(io.ref.isDone(), true);
  aio[Symbol.dispose]();
});

pending('is waited for in the thread by waitSync', async () => {
  const { aio } = await openHeld(new WaitableDevice());
  const file = aio.open(TWO_PAGES);
  assert.is(file.read(aio.frames(1), 0).waitSync().result, PAGE_BYTES);
  using _ = aio.batch();
  assert.is(file.read(aio.frames(1), 0).waitSync().result, PAGE_BYTES, 'staged in a batch');
});

pending('cannot be waited for in the thread when the device cannot end it', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  const io = aio.open(TWO_PAGES).read(aio.frames(1), 0);
  const error = thrownBy(() => io.waitSync());
  assert.is(error.code, 'PGAIO_CANNOT_WAIT');
  assert.is(error.message, 'nobody can complete IO 0 while its waiter blocks');
  device.end();
  aio[Symbol.dispose]();
});

pending('ends when the device completes it at once, inside submit', async () => {
  let aio: Aio | undefined;
  const device = {
    submit: (ids: readonly number[]) => {
      for (const id of ids) aio?.complete(id, PAGE_BYTES);
    },
  };
  ({ aio } = await openAio({ ioMethod: 'host', device }));
  const io = aio.open(TWO_PAGES).read(aio.frames(1), 0);
  assert.is(io.checkDone(), true);
  assert.is(io.result?.result, PAGE_BYTES);
  aio[Symbol.dispose]();
});

pending('is submitted first when it is staged and awaited', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  const file = aio.open(TWO_PAGES);
  using _ = aio.batch();
  const io = file.read(aio.frames(1), 0);
  assert.is(aio.haveStaged, true);
  const result = Promise.resolve(io);
  await turns(1);
  assert.is(aio.haveStaged, false);
  device.end();
  assert.is((await result).status, 'OK');
});

pending('resolves with the words of PARTIAL', async () => {
  const path = fileOf('short', new Uint8Array(10000));
  const { aio, reports } = await openAio();
  const file = aio.open(path);
  const buffer = aio.frames(2);
  const { status, result, error } = await file.read(buffer, 0);
  assert.equal([status, result], ['PARTIAL', 10000]);
  assert.ok(error instanceof AioIoError);
  assert.is(error.message, `could not read file "${path}": read only 10000 of 16384 bytes`);
  assert.equal([error.code, error.sqlstate, error.errno], ['PGAIO_SHORT', 'XX001', 0]);
  const atEnd = await file.read(buffer, 10000);
  assert.equal([atEnd.status, atEnd.result], ['PARTIAL', 0]);
  const relation = { relation: RELATION, block: 0, blocks: 2 };
  const blocks = await aio
    .acquire()
    .setTarget(relation)
    .register(PGAIO_HCB_MD_READV)
    .startReadv(file, buffer, 0);
  assert.equal([blocks.status, blocks.result], ['PARTIAL', 1]);
  assert.is(
    blocks.error?.message,
    'could not read blocks 0..1 in file "base/5/16384": read only 8192 of 16384 bytes',
  );
  assert.equal(reports, []);
  aio[Symbol.dispose]();
});

pending('rejects with AioIoError when the device refuses', async () => {
  const { aio, device, reports } = await openHeld(new HoldingDevice());
  const file = aio.open(TWO_PAGES);
  const io = file.read(aio.frames(1), 0);
  device.end({ raw: -28 });
  assert.is(io.settled, true);
  assert.is(io.result?.status, 'ERROR');
  const error = await rejectionOf(io);
  assert.ok(error instanceof AioIoError);
  const message = `could not read file "${TWO_PAGES}": No space left on device`;
  assert.equal(
    [error.name, error.code, error.sqlstate, error.errno, error.message],
    ['AioIoError', 'PGAIO_IO', '53100', 28, message],
  );
  assert.is(
    thrownBy(() => io.waitSync()),
    error,
  );
  assert.equal(reports, [`LOG ${message}`]);
  aio[Symbol.dispose]();
});

pending('rejects with AioPageError when a page is not valid', async () => {
  const bad = goodPage(1).fill(0xff, 8000);
  const path = fileOf('bad', joined(goodPage(0), bad));
  const { aio, reports } = await openAio();
  const io = aio
    .acquire()
    .setTarget({ relation: RELATION, block: 0, blocks: 2 })
    .register(PGAIO_HCB_PAGE_READV)
    .register(PGAIO_HCB_MD_READV)
    .startReadv(aio.open(path), aio.frames(2), 0);
  const error = await rejectionOf(io);
  assert.ok(error instanceof AioPageError);
  assert.is(error.message, 'invalid page in block 1 of relation "base/5/16384"');
  assert.equal(
    [error.code, error.sqlstate, error.firstBlock, error.lastBlock, error.path],
    ['PGAIO_PAGE', 'XX001', 0, 1, 'base/5/16384'],
  );
  const verdicts = io.result?.verdicts ?? [];
  assert.equal(
    verdicts.map(({ valid, checksumFailed }) => [valid, checksumFailed]),
    [
      [true, false],
      [false, true],
    ],
  );
  const { calculated, stored } = verdicts[1] ?? {};
  assert.equal(reports, [
    `LOG page verification failed, calculated checksum ${calculated} but expected ${stored}`,
    'LOG invalid page in block 1 of relation "base/5/16384"',
    'DEBUG invalid page in block 1 of relation "base/5/16384"',
  ]);
  aio[Symbol.dispose]();
});

pending('rejects with AioCallbackError when a callback threw', async () => {
  const { aio } = await openAio();
  const cause = new Error('as you command');
  aio.registerCallback(32, {
    completeShared() {
      throw cause;
    },
  });
  const file = aio.open(TWO_PAGES);
  const error = await rejectionOf(
    aio.acquire().setTarget({ file }).register(32).startReadv(file, aio.frames(1), 0),
  );
  assert.ok(error instanceof AioCallbackError);
  assert.equal(
    [error.code, error.message, error.sqlstate, error.cause, error.callback],
    ['PGAIO_CALLBACK_THREW', 'callback 32 threw: as you command', 'XX000', cause, 32],
  );
  aio[Symbol.dispose]();
});

pending('need not be awaited: a failure nobody asks for is no unhandled rejection', async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', note);
  const { aio, device } = await openHeld(new HoldingDevice());
  const file = aio.open(TWO_PAGES);
  const ios = [file.read(aio.frames(1), 0), file.read(aio.frames(1), 0)];
  device.end({ raw: -5 });
  await turns();
  device.end({ raw: -5 });
  await turns();
  process.off('unhandledRejection', note);
  assert.equal(unhandled, []);
  assert.equal(
    ios.map(({ result }) => result?.status),
    ['ERROR', 'ERROR'],
  );
  aio[Symbol.dispose]();
});

pending.run();
