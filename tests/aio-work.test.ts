/** The idiomatic API: batches, units of work, waiting for a handle, references, callbacks. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Aio, type CallbackIo, constants, type PendingIo } from '../host/node/index.ts';
import {
  endOf,
  fileOf,
  goodPage,
  HoldingDevice,
  joined,
  openAio,
  openHeld,
  PAGE_BYTES,
  rejectionOf,
  thrownBy,
  turns,
  WaitableDevice,
} from './aio-fixture.ts';

const { PGAIO_HCB_FILE } = constants;
const PAGES = fileOf('pages', joined(...Array.from({ length: 4 }, (_, block) => goodPage(block))));

const batches = suite('aio: a batch');

batches('is submitted as one when its scope ends', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  const file = aio.open(PAGES);
  const buffer = aio.frames(3);
  const ios: PendingIo[] = [];
  {
    using _ = aio.batch();
    for (let i = 0; i < 3; i++) ios.push(file.read(buffer.slice(i, i + 1), i * PAGE_BYTES));
    assert.equal([device.submissions, aio.haveStaged], [[], true]);
  }
  assert.equal([device.submissions, aio.haveStaged], [[[0, 1, 2]], false]);
  while (device.held.length > 0) device.end();
  const results = await Promise.all(ios);
  assert.equal(
    results.map(({ result }) => result),
    [PAGE_BYTES, PAGE_BYTES, PAGE_BYTES],
  );
  aio[Symbol.dispose]();
});

batches('is submitted when its scope throws, and the error goes on', async () => {
  const { aio, device } = await openHeld(new WaitableDevice());
  const file = aio.open(PAGES);
  const words = endOf(() => {
    using _ = aio.batch();
    file.read(aio.frames(1), 0);
    throw new Error('as you command');
  });
  assert.is(words, 'Error: as you command');
  assert.is(device.submissions.length, 1);
  aio.batch()[Symbol.dispose]();
  aio[Symbol.dispose]();
});

batches('cannot be begun inside another', async () => {
  const { aio } = await openAio();
  const batch = aio.batch();
  const error = thrownBy(() => aio.batch());
  assert.is(error.code, 'PGAIO_BATCH_NESTED');
  assert.is(error.message, 'starting batch while batch already in progress');
  batch[Symbol.dispose]();
  batch[Symbol.dispose]();
  aio[Symbol.dispose]();
});

batches('is submitted early at 32 I/Os, and on request', async () => {
  const { aio, device } = await openHeld(new WaitableDevice(), { ioMaxConcurrency: 64 });
  const file = aio.open(PAGES);
  const buffer = aio.frames(1);
  const counts = () => device.submissions.map(({ length }) => length);
  {
    using _ = aio.batch();
    for (let i = 0; i < 33; i++) file.read(buffer, 0);
    assert.equal(counts(), [32]);
    aio.submitStaged();
    assert.equal(counts(), [32, 1]);
  }
  assert.equal(counts(), [32, 1]);
  assert.is(aio.stats().submissions, 2n);
  aio[Symbol.dispose]();
});

batches('ended by the failure of a unit of work is not missed at its own end', async () => {
  const { aio } = await openAio();
  const unit = async () => {
    using _ = aio.batch();
    await aio.withOwner(() => {
      throw new Error('as you command');
    });
  };
  assert.is((await rejectionOf(unit())).message, 'as you command');
  aio[Symbol.dispose]();
});

batches.run();

const numbers = suite('aio: numbers');

numbers('that do not fit are refused, not cut', async () => {
  const { aio } = await openAio();
  const relation = { spcOid: 1663, dbOid: 5, relNumber: 16384 };
  for (const target of [
    { relation, block: 2 ** 32, blocks: 1 },
    { relation, block: 0.5, blocks: 1 },
    { relation, block: 0, blocks: 2 ** 32 + 1 },
    { relation: { ...relation, relNumber: 2 ** 32 + 5 }, block: 0, blocks: 1 },
  ]) {
    using handle = aio.acquire();
    assert.not.equal(
      endOf(() => handle.setTarget(target)),
      'done',
      JSON.stringify(target),
    );
  }
  using handle = aio.acquire();
  for (const [id, data] of [
    [1.5, 0],
    [1, 0.5],
    [2 ** 32 + 1, 0],
    [1, 2 ** 32],
  ] as const) {
    assert.not.equal(
      endOf(() => handle.register(id, data)),
      'done',
      `${id}, ${data}`,
    );
  }
});

numbers.run();

const devices = suite('aio: a device');

devices('that is missing is said to be missing', async () => {
  const use = async () => {
    const { aio } = await openAio({ ioMethod: 'host' });
    await aio.open(PAGES).read(aio.frames(1), 0);
  };
  const error = await rejectionOf(use()); // of create or of the I/O, itself or its cause
  const { cause } = error as { cause?: { code?: string } };
  assert.ok([error.code, cause?.code].includes('PGAIO_NO_DEVICE'), String(error));
});

devices('that throws fails its I/O, and the reason is kept', async () => {
  const reason = new Error('as you command');
  const device = {
    submit() {
      throw reason;
    },
  };
  const { aio } = await openAio({ ioMethod: 'host', device });
  const error = await rejectionOf(aio.open(PAGES).read(aio.frames(1), 0));
  assert.is(error.errno, 5);
  assert.is(error.cause, reason);
  aio[Symbol.dispose]();
});

devices.run();

const owners = suite('aio: a unit of work');

owners('returns what the work returns, and warns of what it left behind', async () => {
  const { aio, reports } = await openAio();
  const value = await aio.withOwner(async (owner) => {
    await turns(1);
    aio.acquire({ owner });
    return 42;
  });
  assert.is(value, 42);
  assert.equal(reports, ['WARNING leaked AIO handle']);
  assert.equal(aio.inspect(), []);
  aio[Symbol.dispose]();
});

owners('warns of staged I/Os and of an open batch at its end', async () => {
  const { aio, device, reports } = await openHeld(new HoldingDevice());
  const file = aio.open(PAGES);
  let io: PendingIo | undefined;
  await aio.withOwner((owner) => {
    aio.batch();
    const handle = aio.acquire({ owner }).setTarget({ file }).register(PGAIO_HCB_FILE);
    io = handle.startReadv(file, aio.frames(1), 0);
  });
  assert.equal(reports, [
    'WARNING AIO handle was not submitted',
    'WARNING open AIO batch at end of (sub-)transaction',
  ]);
  assert.is(device.submissions.length, 1);
  assert.is(io?.settled, true);
  device.end();
  assert.is(aio.stats().returnsLost, 0n);
  aio[Symbol.dispose]();
});

owners('says nothing when the work throws, gives back and submits', async () => {
  const { aio, device, reports } = await openHeld(new WaitableDevice());
  const file = aio.open(PAGES);
  const error = await rejectionOf(
    aio.withOwner((owner) => {
      aio.batch();
      file.read(aio.frames(1), 0);
      aio.acquire({ owner });
      throw new Error('as you command');
    }),
  );
  assert.is(error.message, 'as you command');
  assert.equal(reports, []);
  assert.is(device.submissions.length, 1);
  assert.equal(
    aio.inspect().map(({ state }) => state),
    ['SUBMITTED'],
  );
  aio.acquire().release();
  aio[Symbol.dispose]();
});

owners('tells those who await its I/Os that it is over', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  const file = aio.open(PAGES);
  const owner = aio.owner();
  const child = aio.owner(owner);
  const start = (of: typeof owner) =>
    aio
      .acquire({ owner: of })
      .setTarget({ file })
      .register(PGAIO_HCB_FILE)
      .startReadv(file, aio.frames(1), 0);
  const ios = [start(owner), start(child)];
  const early = rejectionOf(ios[0] as PendingIo);
  owner.commit();
  for (const error of [await early, await rejectionOf(ios[1] as PendingIo)]) {
    assert.is(error.code, 'PGAIO_ABANDONED');
    assert.is(error.message, 'the resource owner was released before the IO ended');
    assert.is(error.name, 'AioAbandonedError');
  }
  assert.is(device.held.length, 2, 'they run on');
  assert.is(ios[0]?.result, undefined);
  device.end();
  device.end();
  assert.equal(aio.inspect(), []);
  for (const ended of [owner, child]) {
    assert.is(
      endOf(() => ended.commit()),
      'ReferenceError: this resource owner has ended',
    );
    ended[Symbol.dispose]();
  }
  aio[Symbol.dispose]();
});

owners('that has ended takes no handle and no child, even if its place is used again', async () => {
  const { aio } = await openAio();
  const ended = aio.owner();
  ended.commit();
  assert.not.equal(
    endOf(() => aio.acquire({ owner: ended })),
    'done',
  );
  aio.owner();
  assert.not.equal(
    endOf(() => aio.acquire({ owner: ended })),
    'done',
  );
  assert.not.equal(
    endOf(() => aio.owner(ended)),
    'done',
  );
  aio[Symbol.dispose]();
});

owners('are 64 at the most', async () => {
  const { aio } = await openAio();
  for (let i = 0; i < 64; i++) aio.owner();
  const error = thrownBy(() => aio.owner());
  assert.equal(
    [error.code, error.message, error.sqlstate],
    ['PGAIO_RESOWNER_FULL', 'out of resource owners, the max is 64', '53000'],
  );
  aio[Symbol.dispose]();
});

owners.run();

const acquiring = suite('aio: waiting for a handle');

async function allBusy() {
  const { aio, device } = await openHeld(new HoldingDevice(), { ioMaxConcurrency: 2 });
  const file = aio.open(PAGES);
  const read = () => file.read(aio.frames(1), 0);
  return { aio, device, file, ios: [read(), read()] };
}

acquiring('does not block: there is none, or there will be one', async () => {
  const { aio, device } = await allBusy();
  assert.is(aio.tryAcquire(), undefined);
  let taken = '';
  const waiting = aio.acquireAsync().then((handle) => {
    taken = handle.state;
    return handle;
  });
  await turns();
  assert.is(taken, '');
  device.end();
  const handle = await waiting;
  assert.is(taken, 'HANDED_OUT');
  handle.release();
  device.end();
  aio[Symbol.dispose]();
});

acquiring('submits what is staged, which nobody else would', async () => {
  const { aio, device } = await openHeld(new HoldingDevice(), { ioMaxConcurrency: 1 });
  const file = aio.open(PAGES);
  const batch = aio.batch();
  file.read(aio.frames(1), 0);
  const waiting = aio.acquireAsync();
  await turns();
  assert.is(device.held.length, 1);
  device.end();
  (await waiting).release();
  batch[Symbol.dispose]();
  aio[Symbol.dispose]();
});

acquiring('gives each of several tasks a handle, one after the other', async () => {
  const { aio, device, file } = await allBusy();
  const task = async () => {
    const handle = await aio.acquireAsync();
    handle.setTarget({ file }).register(PGAIO_HCB_FILE);
    return handle.startReadv(file, aio.frames(1), 0);
  };
  const ends = Promise.allSettled([task(), task()]);
  for (let round = 0; round < 4; round++) {
    await turns();
    if (device.held.length > 0) device.end();
  }
  assert.equal(
    (await ends).map((end) => (end.status === 'fulfilled' ? 'done' : end.reason.code)),
    ['done', 'done'],
  );
  aio[Symbol.dispose]();
});

acquiring('waits for I/O whose owner was released, too', async () => {
  const { aio, device } = await openHeld(new HoldingDevice(), { ioMaxConcurrency: 1 });
  const file = aio.open(PAGES);
  const owner = aio.owner();
  aio
    .acquire({ owner })
    .setTarget({ file })
    .register(PGAIO_HCB_FILE)
    .startReadv(file, aio.frames(1), 0);
  owner.abort();
  const waiting = aio.acquireAsync().then(
    () => 'done',
    (error) => error.code,
  );
  await turns();
  device.end();
  assert.is(await waiting, 'done');
  aio[Symbol.dispose]();
});

acquiring('blocks in acquire for the oldest I/O, where the device can end it', async () => {
  const { aio, device } = await openHeld(new WaitableDevice(), { ioMaxConcurrency: 2 });
  const file = aio.open(PAGES);
  const ios = [file.read(aio.frames(1), 0), file.read(aio.frames(1), 0)];
  aio.acquire().release();
  assert.equal(
    ios.map(({ settled }) => settled),
    [true, false],
  );
  assert.is(device.held.length, 1);
  aio[Symbol.dispose]();
});

acquiring.run();

const references = suite('aio: a wait reference');

/** Two engines over one memory, each with a device. */
async function twoOverOneMemory() {
  const first = await openHeld(new HoldingDevice());
  const second = await openHeld(new WaitableDevice(), { memory: first.aio.memory });
  return { first, second };
}

references('is plain data that another engine over the same memory understands', async () => {
  const { first, second } = await twoOverOneMemory();
  const io = first.aio.open(PAGES).read(first.aio.frames(1), 0);
  const token = structuredClone(io.ref.token);
  assert.equal(token, { index: 0, generation: 1n });
  const ref = second.aio.waitRef(token);
  assert.equal([ref.isDone(), ref.checkDone(), io.settled], [false, false, false]);
  ref.waitSync(); // the other engine's device completes it
  assert.equal([ref.isDone(), ref.checkDone()], [true, true]);
  assert.is(io.settled, false, 'only its owner can take the result');
  assert.is(io.ref.isDone(), true);
  assert.is(io.settled, false, 'and isDone() changes nothing');
  assert.is(io.checkDone(), true);
  assert.is((await io).result, PAGE_BYTES);
  second.aio[Symbol.dispose]();
  first.aio[Symbol.dispose]();
});

references('is understood by an engine in another thread', async () => {
  const { aio } = await openHeld(new HoldingDevice());
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    (async () => {
      const { Aio } = await import(workerData.index);
      const device = { submit: (ids) => undefined };
      const aio = await Aio.create({ memory: workerData.memory, device });
      const io = aio.open(workerData.path).read(aio.frames(1), 0);
      parentPort.once('message', () => {
        const done = io.checkDone();
        parentPort.postMessage([done, io.result?.result, aio.procno]);
        aio[Symbol.dispose]();
      });
      parentPort.postMessage(io.ref.token);
    })();
  `;
  const worker = new Worker(script, {
    eval: true,
    workerData: {
      memory: aio.memory,
      path: PAGES,
      index: new URL('../index.js', import.meta.url).href,
    },
  });
  const [token] = await once(worker, 'message');
  const ref = aio.waitRef(token);
  assert.is(ref.isDone(), false);
  const [row] = aio.inspect();
  assert.equal([row?.pid, row?.io_id, row?.state], [1, token.index, 'SUBMITTED']);
  aio.complete(token.index, PAGE_BYTES);
  assert.is(ref.isDone(), true);
  ref.waitSync();
  assert.is(aio.inspect()[0]?.state, 'COMPLETED_SHARED');
  const exited = once(worker, 'exit'); // it may follow its last message at once
  worker.postMessage('look');
  const [answer] = await once(worker, 'message');
  assert.equal(answer, [true, PAGE_BYTES, 1]);
  await exited;
  assert.equal(aio.inspect(), []);
  aio[Symbol.dispose]();
});

references('is done when the handle serves another I/O', async () => {
  const { first, second } = await twoOverOneMemory();
  const file = first.aio.open(PAGES);
  const { token } = file.read(first.aio.frames(1), 0).ref;
  first.device.end();
  const later = file.read(first.aio.frames(1), 0);
  assert.is(later.ref.index, token.index);
  assert.is(second.aio.waitRef(token).isDone(), true);
  assert.is(second.aio.waitRef(later.ref.token).isDone(), false);
  second.aio.waitRef(token).waitSync();
  first.device.end();
  second.aio[Symbol.dispose]();
  first.aio[Symbol.dispose]();
});

references('to one’s own I/O that is staged cannot be waited for, as in PostgreSQL', async () => {
  const { aio, device } = await openHeld(new WaitableDevice());
  const file = aio.open(PAGES);
  const batch = aio.batch();
  const { ref } = file.read(aio.frames(1), 0);
  const error = thrownBy(() => ref.waitSync());
  assert.is(error.code, 'PGAIO_WAIT_OWN');
  assert.is(error.message, 'waiting for own IO 0 in wrong state: STAGED');
  batch[Symbol.dispose]();
  ref.waitSync();
  assert.equal(device.held, []);
  aio[Symbol.dispose]();
});

references('that was made up is refused', async () => {
  const { aio } = await openAio();
  const error = thrownBy(() => aio.waitRef({ index: 64, generation: 1n }).isDone());
  assert.is(error.code, 'PGAIO_BAD_WREF');
  assert.is(aio.waitRef({ index: 0, generation: 7n }).isDone(), true);
  aio[Symbol.dispose]();
});

references.run();

const callbacks = suite('aio: callbacks in TypeScript');

callbacks('run last registered first, and see what the one before made of it', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  const calls: unknown[] = [];
  const logged = (id: number) => ({
    stage: (io: CallbackIo, data: number) => {
      calls.push(['stage', id, data, io.op, io.data]);
    },
    completeShared: (io: CallbackIo, result: { result: number; status: string }, data: number) => {
      calls.push(['shared', id, data, io.length, result.status, result.result]);
      result.result += 1;
    },
    completeLocal: (io: CallbackIo, result: { result: number }) => {
      calls.push(['local', id, io.id, result.result]);
      result.result += 10;
    },
  });
  aio.registerCallback(32, logged(32));
  aio.registerCallback(63, logged(63));
  const file = aio.open(PAGES);
  const io = aio
    .acquire()
    .setTarget({ file })
    .register(32, 1)
    .register(63, 255)
    .register(PGAIO_HCB_FILE)
    .setData([9n])
    .startReadv(file, aio.frames(1), 0);
  assert.equal(calls.splice(0), [
    ['stage', 63, 255, 'readv', [9n]],
    ['stage', 32, 1, 'readv', [9n]],
  ]);
  device.end();
  assert.equal(calls, [
    ['shared', 63, 255, PAGE_BYTES, 'OK', 8192],
    ['shared', 32, 1, PAGE_BYTES, 'OK', 8193],
    ['local', 63, 0, 8194],
    ['local', 32, 0, 8204],
  ]);
  assert.is((await io).result, 8214);
  aio[Symbol.dispose]();
});

callbacks('change the result in place, and put it into words', async () => {
  const { aio } = await openAio();
  aio.registerCallback(40, {
    completeShared(_, result) {
      assert.equal([result.status, result.errorData, result.result], ['OK', 0, PAGE_BYTES]);
      result.status = 'ERROR';
      result.errorData = 0x7ffffe;
      result.result = -3;
      assert.equal([result.status, result.errorData, result.result], ['ERROR', 0x7ffffe, -3]);
    },
    report: (errorData, result) => `it said ${errorData} and ${result}`,
  });
  aio.registerCallback(41, {
    completeShared(_, result) {
      result.status = 'WARNING';
      result.errorData = 5;
    },
  });
  const file = aio.open(PAGES);
  const read = (id: number) =>
    aio.acquire().setTarget({ file }).register(id).startReadv(file, aio.frames(1), 0);
  const failed = read(40);
  const error = await rejectionOf(failed);
  assert.equal(
    [error.name, error.code, error.message, error.sqlstate],
    ['AioIoError', 'PGAIO_CALLBACK', 'it said 8388606 and -3', 'XX000'],
  );
  const { id, status, errorData, result } = failed.result ?? {};
  assert.equal([id, status, errorData, result], [40, 'ERROR', 0x7ffffe, -3]);
  const warned = await read(41);
  assert.equal([warned.status, warned.result], ['WARNING', PAGE_BYTES]);
  assert.is(warned.error?.message, `callback 41 reports 5 for file "${PAGES}"`);
  aio.registerCallback(42, {
    completeLocal(_, result) {
      result.status = 'PARTIAL'; // and nothing else: the words are this callback's all the same
    },
  });
  const partial = await read(42);
  assert.equal([partial.id, partial.status, partial.result], [42, 'PARTIAL', PAGE_BYTES]);
  aio[Symbol.dispose]();
});

callbacks('that throw make the I/O an error, whichever phase it was', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  const thrower = () => {
    throw new RangeError('as you command');
  };
  const nothing = () => undefined;
  aio.registerCallback(32, { stage: thrower, completeShared: nothing });
  aio.registerCallback(33, { completeShared: thrower });
  aio.registerCallback(34, { completeLocal: thrower });
  const file = aio.open(PAGES);
  for (const id of [32, 33, 34]) {
    const io = aio
      .acquire()
      .setTarget({ file })
      .register(id)
      .register(PGAIO_HCB_FILE)
      .startReadv(file, aio.frames(1), 0);
    assert.is(device.held.length, id === 32 ? 0 : 1, 'a stage that throws keeps it from running');
    if (id !== 32) device.end();
    const error = await rejectionOf(io);
    assert.is(error.code, 'PGAIO_CALLBACK_THREW', String(id));
    assert.is(error.message, `callback ${id} threw: as you command`);
    assert.is((error.cause as Error).name, 'RangeError');
    assert.equal(aio.inspect(), []);
  }
  aio[Symbol.dispose]();
});

callbacks('whose words throw do not lose the I/O', async () => {
  const { aio, device } = await openHeld(new HoldingDevice());
  aio.registerCallback(32, {
    completeShared(_, result) {
      result.status = 'ERROR';
    },
    report() {
      throw new Error('no words');
    },
  });
  const file = aio.open(PAGES);
  const io = aio.acquire().setTarget({ file }).register(32).startReadv(file, aio.frames(1), 0);
  assert.is(
    endOf(() => device.end()),
    'done',
  );
  assert.is(io.settled, true);
  assert.is((await rejectionOf(io)).code, 'PGAIO_CALLBACK_THREW');
  aio[Symbol.dispose]();
});

callbacks('may start other I/O at stage, and must not once I/O completes', async () => {
  const { aio } = await openAio();
  const file = aio.open(PAGES);
  const inner: PendingIo[] = [];
  const refused: string[] = [];
  aio.registerCallback(32, {
    stage() {
      if (inner.length === 0) inner.push(file.read(aio.frames(1), PAGE_BYTES));
    },
    completeShared() {
      refused.push(endOf(() => aio.acquire()));
      refused.push(endOf(() => aio.submitStaged()));
      refused.push(endOf(() => aio.batch()));
    },
  });
  const outer = aio.acquire().setTarget({ file }).register(32).startReadv(file, aio.frames(1), 0);
  assert.is((await outer).result, PAGE_BYTES);
  assert.is((await (inner[0] as PendingIo)).result, PAGE_BYTES);
  assert.equal(refused, ['PGAIO_CRITICAL', 'PGAIO_CRITICAL', 'PGAIO_CRITICAL']);
  aio[Symbol.dispose]();
});

callbacks('need a completion and an id of the host’s', async () => {
  const { aio } = await openAio();
  const completeShared = () => undefined;
  for (const [id, callback, code] of [
    [32, { stage: completeShared }, 'PGAIO_CALLBACK_COMPLETION'],
    [31, { completeShared }, 'PGAIO_CALLBACK_RANGE'],
    [64, { completeShared }, 'PGAIO_CALLBACK_RANGE'],
    [1, { completeShared }, 'PGAIO_CALLBACK_RANGE'],
  ] as const) {
    assert.is(
      endOf(() => aio.registerCallback(id, callback)),
      code,
      String(id),
    );
  }
  aio[Symbol.dispose]();
});

callbacks('belong to the engine that registered them', async () => {
  const { aio } = await openAio();
  aio.registerCallback(32, { completeShared: () => undefined });
  const other = await Aio.create({ memory: aio.memory });
  const handle = other.acquire();
  assert.is(
    endOf(() => handle.register(32)),
    'PGAIO_CALLBACK_MISSING',
  );
  handle.release();
  other[Symbol.dispose]();
  aio[Symbol.dispose]();
});

callbacks('run where the I/O completes; an engine without them is no silent success', async () => {
  const { first, second } = await (async () => {
    const a = await openHeld(new HoldingDevice());
    const b = await openHeld(new WaitableDevice(), { memory: a.aio.memory });
    return { first: a, second: b };
  })();
  let ran = 0;
  first.aio.registerCallback(32, {
    completeShared() {
      ran++;
    },
  });
  const file = first.aio.open(PAGES);
  const io = first.aio
    .acquire()
    .setTarget({ file })
    .register(32)
    .startReadv(file, first.aio.frames(1), 0);
  second.aio.waitRef(io.ref.token).waitSync(); // completes it, and knows no callback 32
  io.checkDone();
  assert.ok(ran > 0 || io.result?.status === 'ERROR', `ran ${ran} times: ${io.result?.status}`);
  second.aio[Symbol.dispose]();
  first.aio[Symbol.dispose]();
});

callbacks.run();
