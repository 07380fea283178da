/** Several backends over one memory: joining, leaving, dying, and waiting for each other's I/O. */
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PGAIO_HCB_FILE } from '../bindings/layout.ts';
import { Aio, type AioOptions, type AioToken } from '../host/node/index.ts';
import { join as joinRaw } from '../host/node/raw.ts';
import {
  BackendThread,
  BLOCK,
  blockFile,
  endOf,
  filesRegistered,
  Gate,
  idleWorkers,
  runChild,
  scratchDirectory,
  until,
  within,
} from './threads-fixture.ts';

const FRAMES = 64;
const folder = scratchDirectory('backends');
const path = blockFile(`${folder}/blocks`, 32);
const small: AioOptions = {
  provider: 'direct',
  ioFrames: FRAMES,
  ioMaxConcurrency: 8,
  ioWorkers: 2,
  maxBackends: 3,
};

/** Everything that threads had is back: handles, frames, and their slots. */
async function nothingLeft(aio: Aio, procno: number): Promise<void> {
  await until('every handle is idle', () => {
    aio.submitStaged(); // a look at what came in
    return aio.inspect().length === 0;
  });
  assert.is(filesRegistered(aio.memory), 0, 'its files have left the table');
  using all = aio.frames(FRAMES);
  assert.is(all.count, FRAMES);
  all[Symbol.dispose]();
  const next = await BackendThread.start(aio.token, 'next');
  assert.is(next.procno, procno, 'its slot is used again');
  await next.ask('open', path);
  await next.ask('take', 8);
  await next.ask('start', 8);
  assert.equal(await next.ask('results'), Array(8).fill(BLOCK));
  await next.ask('disposeAsync');
  next.tell('return');
  assert.is(await next.end(), 0);
}

const attaching = suite('backends: attach');
attaching('in a thread gives the same API under a number of its own', async () => {
  await using aio = await Aio.create(small);
  const thread = await BackendThread.start(aio.token);
  assert.equal([aio.procno, thread.procno], [0, 1]);
  assert.is(await thread.ask('show', 'io_method'), 'worker');
  assert.is(await thread.ask('show', 'io_max_concurrency'), '8');
  await thread.ask('open', path);
  await thread.ask('take', 2);
  await thread.ask('start', 2);
  assert.equal(await thread.ask('results'), [BLOCK, BLOCK]);
  assert.equal([await thread.ask('byte', 0), await thread.ask('byte', BLOCK)], [1, 2]);
  assert.is(await thread.ask('readSync'), BLOCK);
  thread.tell('return');
  assert.is(await thread.end(), 0);
});
attaching('is refused in words when every slot is taken, and is not any more later', async () => {
  await using aio = await Aio.create(small);
  const threads = [await BackendThread.start(aio.token), await BackendThread.start(aio.token)];
  const refused = await BackendThread.start(aio.token, 'fourth').catch((error: unknown) => error);
  assert.instance(refused, Error);
  assert.is((refused as Error).message, 'aio requires a free backend slot');
  assert.is((refused as { code?: string }).code, 'PGAIO_NO_SLOT');
  for (const thread of threads) await thread.terminate();
  const fifth = await BackendThread.start(aio.token, 'fifth');
  assert.is(fifth.procno, 1);
  await fifth.terminate();
});
attaching('refuses what is no token', async () => {
  for (const wrong of [undefined, null, {}, { memory: new ArrayBuffer(8) }]) {
    const error = await Aio.attach(wrong as unknown as AioToken).catch((e: unknown) => e);
    assert.instance(error, TypeError, String(wrong));
    assert.match((error as Error).message, 'expected the token of an engine (aio.token)');
    assert.is(await endOf(() => joinRaw(wrong as unknown as AioToken)), String(error));
  }
});
attaching('refuses a memory that holds something else', async () => {
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true });
  new Uint8Array(memory.buffer).fill(7);
  await using aio = await Aio.create(small);
  assert.is(await endOf(() => Aio.attach({ ...aio.token, memory })), 'PGAIO_MEMORY_FOREIGN');
});
attaching('several times in one thread makes several backends', async () => {
  await using one = await Aio.create(small);
  await using two = await Aio.attach(one.token);
  assert.equal([one.procno, two.procno], [0, 1]);
  using file = two.open(path);
  using frames = two.frames(1);
  assert.is((await file.read(frames, 0)).result, BLOCK);
});
attaching.run();

type Ending = (thread: BackendThread) => Promise<void>;
const ORDERLY: Readonly<Record<string, Ending>> = {
  'returns from its script': async (thread) => {
    thread.tell('return');
    assert.is(await thread.end(), 0);
  },
  'calls process.exit': async (thread) => {
    thread.tell('exit', 3);
    assert.is(await thread.end(), 3);
  },
  'dies of an error': async (thread) => {
    thread.tell('fail');
    assert.is(await thread.end(), 1);
    assert.is(thread.error?.message, 'an error that nobody catches');
  },
};
const ENDINGS: Readonly<Record<string, Ending>> = {
  ...ORDERLY,
  'is terminated': (thread) => thread.terminate(),
};
type Possession = (thread: BackendThread) => Promise<unknown>;
const POSSESSIONS: Readonly<Record<string, Possession>> = {
  'nothing at all': async () => undefined,
  'a handle handed out': (thread) => thread.ask('acquire'),
  'a batch open and I/O staged': async (thread) => {
    await thread.ask('beginBatch');
    await thread.ask('start', 5);
  },
  'a resource owner and its I/O': async (thread) => {
    await thread.ask('ownIos');
    await thread.ask('start', 3);
    await thread.ask('results');
    await thread.ask('acquire');
  },
};

const leaving = suite('backends: a thread');
for (const [ending, end] of Object.entries(ENDINGS)) {
  for (const [possession, prepare] of Object.entries(POSSESSIONS)) {
    leaving(`that ${ending} with ${possession} leaves nothing behind`, async () => {
      await using aio = await Aio.create(small);
      await idleWorkers(aio, 2);
      const thread = await BackendThread.start(aio.token);
      await thread.ask('open', path);
      await thread.ask('take', 8);
      await prepare(thread);
      await end(thread);
      await nothingLeft(aio, thread.procno);
    });
  }
}
for (const [ending, end] of Object.entries(ENDINGS)) {
  leaving(`that ${ending} with I/O in flight ends when that is over, and is noticed`, async () => {
    const gate = new Gate();
    await using aio = await Aio.create({ ...small, provider: gate.provider() });
    await idleWorkers(aio, 2);
    const thread = await BackendThread.start(aio.token);
    const bystander = await BackendThread.start(aio.token, 'bystander');
    await thread.ask('open', path);
    await thread.ask('take', 8);
    const refs = await thread.ask('start', 4);
    await gate.crowd(2);
    assert.is(aio.inspect().length, 4);
    const [, , , last] = refs;
    assert.ok(last);
    const waits = bystander.ask('waitSync', last);
    const orderly = ending in ORDERLY;
    const over = end(thread);
    if (!orderly) await over; // gone, and its I/O is not
    assert.is(aio.inspect().length, 4, 'the I/O runs on');
    gate.open();
    await over;
    assert.is(await waits, true, 'who waited for it is told');
    await bystander.terminate();
    await nothingLeft(aio, thread.procno);
  });
}
leaving('that is terminated with writes queued touches no other file', async () => {
  const gate = new Gate();
  await using aio = await Aio.create({ ...small, provider: gate.provider() });
  await idleWorkers(aio, 2);
  const thread = await BackendThread.start(aio.token);
  const mine = blockFile(`${folder}/mine`, 8);
  const others = Array.from({ length: 40 }, (_, i) => blockFile(`${folder}/other-${i}`, 8));
  const before = readFileSync(mine);
  await thread.ask('open', mine, { write: true });
  await thread.ask('take', 8);
  await thread.ask('startWrites', 250, 8);
  await gate.crowd(2);
  await thread.terminate();
  const files = others.map((other) => aio.open(other, { write: true })); // and their descriptors
  gate.open();
  await until('every handle is idle', () => {
    aio.submitStaged();
    return aio.inspect().length === 0;
  });
  const changed = others.filter((other) => !readFileSync(other).equals(before));
  assert.equal(changed, []);
  for (const file of files) file.close();
});
leaving('that waits for its own I/O is terminated all the same', async () => {
  const gate = new Gate();
  await using aio = await Aio.create({ ...small, provider: gate.provider() });
  await idleWorkers(aio, 2);
  const thread = await BackendThread.start(aio.token);
  await thread.ask('open', path);
  await thread.ask('take', 8);
  thread.tell('readSync');
  await gate.crowd(1);
  await thread.terminate();
  gate.open();
  await nothingLeft(aio, thread.procno);
});
leaving('that executes its own I/O is terminated, and who waits for it is told', async () => {
  const gate = new Gate();
  const options: AioOptions = { ...small, ioMethod: 'sync', provider: gate.provider() };
  await using aio = await Aio.create(options);
  const thread = await BackendThread.start(aio.token);
  const bystander = await BackendThread.start(aio.token, 'bystander');
  await thread.ask('open', path);
  await thread.ask('take', 8);
  thread.tell('start', 1);
  await gate.crowd(1);
  const [row] = aio.inspect();
  assert.is(row?.state, 'SUBMITTED');
  const ref = { index: row?.io_id ?? -1, generation: row?.io_generation ?? 0n };
  const waits = bystander.ask('waitSync', ref);
  await thread.terminate();
  assert.is(await waits, true);
  gate.open();
  await bystander.terminate();
  await nothingLeft(aio, thread.procno);
});
leaving('that is the heir of another and dies, too, leaves both estates to the next', async () => {
  const gate = new Gate();
  await using aio = await Aio.create({ ...small, provider: gate.provider() });
  await idleWorkers(aio, 2);
  const first = await BackendThread.start(aio.token, 'first');
  const second = await BackendThread.start(aio.token, 'second');
  for (const thread of [first, second]) {
    await thread.ask('open', path);
    await thread.ask('take', 8);
    await thread.ask('start', 4);
  }
  await gate.crowd(2);
  await first.terminate();
  await second.terminate();
  gate.open();
  await nothingLeft(aio, 1);
});
leaving.run();

const settled = suite('backends: an estate');
settled('is settled when its I/O ends though the heir itself has nothing to do', async () => {
  const gate = new Gate();
  await using aio = await Aio.create({ ...small, provider: gate.provider() });
  await idleWorkers(aio, 2);
  const thread = await BackendThread.start(aio.token);
  await thread.ask('open', path);
  await thread.ask('take', 8);
  await thread.ask('start', 4);
  await gate.crowd(2);
  await thread.terminate();
  gate.open();
  await until('every handle is idle', () => aio.inspect().length === 0);
});
settled.run();

const waiting = suite('backends: one that waits for the I/O of another');
async function two(gate: Gate): Promise<{ aio: Aio; a: BackendThread; b: BackendThread }> {
  const aio = await Aio.create({ ...small, provider: gate.provider() });
  await idleWorkers(aio, 2);
  const a = await BackendThread.start(aio.token, 'A');
  const b = await BackendThread.start(aio.token, 'B');
  await b.ask('open', path);
  await b.ask('take', 8);
  return { aio, a, b };
}
waiting('blocks until it is over, and time is up before', async () => {
  const gate = new Gate();
  const { aio, a, b } = await two(gate);
  await using _ = aio;
  const [ref] = await b.ask('start', 1);
  assert.ok(ref);
  await gate.crowd(1);
  assert.is(await a.ask('isDone', ref), false);
  assert.is(await a.ask('checkDone', ref), false);
  assert.is(await a.ask('waitSync', ref, 20), false, 'time is up');
  assert.is(aio.waitRef(ref).waitSync(5), false, 'in the main thread, too');
  const waits = a.ask('waitSync', ref);
  gate.open();
  assert.is(await waits, true);
  assert.is(await a.ask('isDone', ref), true);
  assert.is(aio.waitRef(ref).checkDone(), true);
  assert.equal(await b.ask('results'), [BLOCK], 'its owner has the result');
  assert.is(await a.ask('waitSync', ref, 0), true, 'when the handle is idle again');
  await b.ask('start', 8);
  await b.ask('results');
  assert.is(await a.ask('waitSync', ref, 0), true, 'when it has been used again');
  await a.terminate();
  await b.terminate();
});
waiting('is told though the other thread never looks again', async () => {
  const gate = new Gate();
  const { aio, a, b } = await two(gate);
  await using _ = aio;
  const [ref] = await b.ask('start', 1);
  assert.ok(ref);
  await b.sleep();
  await gate.crowd(1);
  const waits = a.ask('waitSync', ref);
  gate.open();
  assert.is(await waits, true);
  assert.is(await a.ask('checkDone', ref), true);
  assert.is(aio.inspect()[0]?.state, 'COMPLETED_SHARED', 'its owner alone may reclaim it');
  await a.terminate();
  await b.terminate();
});
waiting('since it was only staged is woken after the other has submitted it', async () => {
  const gate = new Gate().open();
  const { aio, a, b } = await two(gate);
  await using _ = aio;
  await b.ask('beginBatch');
  const refs = await b.ask('start', 2);
  const [first, second] = refs;
  assert.ok(first && second);
  assert.equal(
    aio.inspect().map(({ state }) => state),
    ['STAGED', 'STAGED'],
  );
  assert.is(await a.ask('waitSync', first, 10), false);
  const waits = a.ask('waitSync', second);
  await b.ask('submit');
  assert.is(await waits, true);
  assert.is(await a.ask('waitSync', first), true);
  await b.ask('endBatch');
  await a.terminate();
  await b.terminate();
});
waiting('is told in words when the other only has the handle', async () => {
  const { aio, a, b } = await two(new Gate());
  await using _ = aio;
  const ref = await b.ask('acquire');
  assert.is(await endOf(() => a.ask('waitSync', ref)), 'PGAIO_WAIT_STATE');
  await a.terminate();
  await b.terminate();
});
waiting('learns that a handle belongs to the other, not to itself', async () => {
  const { aio, a, b } = await two(new Gate().open());
  await using _ = aio;
  const raw = await joinRaw(aio.token).catch((error: { code?: string }) => error.code);
  assert.is(raw, 'PGAIO_NO_SLOT');
  await a.terminate();
  const pg = await joinRaw(aio.token);
  const { index } = await b.ask('acquire');
  const layout = await import('../bindings/layout.ts');
  const u32 = new Uint32Array(aio.memory.buffer);
  const handles = u32[(layout.CTL_AT + layout.PgAioCtl.fields.io_handles.offset) >>> 2] ?? 0;
  const at = handles + index * (1 << layout.HANDLE_SHIFT);
  for (const call of [
    () => pg.pgaio_io_release(at),
    () => pg.pgaio_io_set_flag(at, 1),
    () => pg.pgaio_io_register_callbacks(at, PGAIO_HCB_FILE, 0),
  ]) {
    assert.is(await endOf(call), 'PGAIO_FOREIGN_HANDLE');
  }
  pg.pgaio_shutdown();
  await b.terminate();
});
waiting.run();

const creator = suite('backends: the creator');
creator('may leave first: I/O workers go on until the last backend has left', async () => {
  const workersGone: Promise<unknown>[] = [];
  process.on('worker', (worker) => {
    workersGone.push(new Promise((resolve) => worker.once('exit', resolve)));
  });
  const aio = await Aio.create(small);
  await idleWorkers(aio, 2);
  const thread = await BackendThread.start(aio.token);
  await thread.ask('open', path);
  await thread.ask('take', 8);
  await aio[Symbol.asyncDispose]();
  const before = await thread.ask('synchronous');
  assert.is(await thread.ask('readAll', 20), 20 * BLOCK);
  assert.is(await thread.ask('synchronous'), before, 'I/O workers did all of it');
  await thread.ask('disposeAsync');
  thread.tell('return');
  await thread.end();
  await within('the I/O workers end', Promise.all(workersGone));
});
creator('waits for its own I/O and not for that of others', async () => {
  const gate = new Gate();
  const aio = await Aio.create({ ...small, provider: gate.provider() });
  await idleWorkers(aio, 2);
  const thread = await BackendThread.start(aio.token);
  await thread.ask('open', path);
  await thread.ask('take', 8);
  await thread.ask('start', 2);
  await gate.crowd(2);
  await within('the creator leaves', aio[Symbol.asyncDispose]());
  gate.open();
  assert.equal(await thread.ask('results'), [BLOCK, BLOCK]);
  await thread.ask('disposeAsync');
  thread.tell('return');
  assert.is(await thread.end(), 0);
});
creator('disposed without blocking lets the event loop run until its I/O is over', async () => {
  const gate = new Gate();
  const aio = await Aio.create({ ...small, provider: gate.provider() });
  await idleWorkers(aio, 2);
  const file = aio.open(path);
  const read = file.read(aio.frames(1), 0);
  await gate.crowd(1);
  const left = aio[Symbol.asyncDispose]();
  await new Promise(setImmediate);
  gate.open();
  await within('it leaves', left);
  assert.is((await read).result, BLOCK);
  assert.is(await endOf(() => aio.acquire()), 'PGAIO_NO_BACKEND');
});
creator.run();

const processes = suite('backends: a process');
for (const method of ['sync', 'worker']) {
  processes(`with nothing in flight ends by itself, ${method}`, async () => {
    const { code, output } = await runChild('engine-child', ['idle', method, path]);
    assert.equal([code, output], [0, 'ready\n']);
  });
  processes(`stays alive until its I/O is over, ${method}`, async () => {
    const { code, output } = await runChild('engine-child', ['inFlight', method, path]);
    assert.equal([code, output], [0, `started\nread ${BLOCK}\n`]);
  });
  processes(`that calls process.exit with I/O in flight ends, ${method}`, async () => {
    const { code, output } = await runChild('engine-child', ['exit', method, path]);
    assert.equal([code, output], [7, 'started\n']);
  });
  processes(`with a thread that has a backend ends when that thread ends, ${method}`, async () => {
    const { code, output } = await runChild('engine-child', ['thread', method, path]);
    assert.equal([code, output], [0, 'thread left with 0\n']);
  });
}
processes.run();
