/** Waiting for I/O under conditions: signals, limits, handles that are all busy, old references. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import { Aio, type AioOptions, type IoDevice, type PendingIo } from '../host/node/index.ts';
import { attach, join } from '../host/node/raw.ts';
import { BLOCK, blockFile, endOf, scratchDirectory, within } from './threads-fixture.ts';

const path = blockFile(`${scratchDirectory('waiting')}/blocks`, 4);
const HANDLES = 4;

/** A device that holds what it is given until it is told. */
class Held implements IoDevice {
  readonly ids: number[] = [];
  submit(ids: readonly number[]): void {
    this.ids.push(...ids);
  }
  /** Ends the oldest it holds, or `id`. */
  end(aio: { complete(id: number, raw: number): void }, raw = BLOCK, id = this.ids[0] ?? -1): void {
    this.ids.splice(this.ids.indexOf(id), 1);
    aio.complete(id, raw);
  }
}
async function held(options: AioOptions = {}): Promise<{ aio: Aio; device: Held }> {
  const device = new Held();
  const aio = await Aio.create({
    provider: 'direct',
    ioMethod: 'host',
    device,
    ioFrames: 16,
    maxBackends: 1,
    ioMaxConcurrency: HANDLES,
    ...options,
  });
  return { aio, device };
}
const free = (aio: Aio): boolean => {
  try {
    aio.frames(16)[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
};

interface Limit {
  readonly name: string;
  /** Waits for `io`, and what makes it give up. */
  readonly wait: (io: PendingIo) => { promise: Promise<unknown>; giveUp: () => void };
  readonly code: string;
  readonly message: string;
}
const because = new Error('the reader went away');
const LIMITS: readonly Limit[] = [
  {
    name: 'a signal',
    wait: (io) => {
      const controller = new AbortController();
      const promise = io.within({ signal: controller.signal });
      return { promise, giveUp: () => controller.abort(because) };
    },
    code: 'PGAIO_ABORTED',
    message: 'the wait for the IO was aborted; it runs on',
  },
  {
    name: 'a time limit',
    wait: (io) => ({ promise: io.within({ timeoutMs: 5 }), giveUp: () => undefined }),
    code: 'PGAIO_TIMEOUT',
    message: 'the IO was not over after 5 ms; it runs on',
  },
  {
    name: 'a time limit beside a signal',
    wait: (io) => {
      const { signal } = new AbortController();
      return { promise: io.within({ timeoutMs: 5, signal }), giveUp: () => undefined };
    },
    code: 'PGAIO_TIMEOUT',
    message: 'the IO was not over after 5 ms; it runs on',
  },
  {
    name: 'a time limit of 0',
    wait: (io) => ({ promise: io.within({ timeoutMs: 0 }), giveUp: () => undefined }),
    code: 'PGAIO_TIMEOUT',
    message: 'the IO was not over after 0 ms; it runs on',
  },
];

const giving = suite('waiting: under');
for (const { name, wait, code, message } of LIMITS) {
  giving(`${name} rejects, while the I/O runs on and keeps its frames`, async () => {
    const { aio, device } = await held();
    await using _ = aio;
    using file = aio.open(path);
    const frames = aio.frames(1);
    const io = file.read(frames, 0);
    const { promise, giveUp } = wait(io);
    giveUp();
    const error = await within(name, promise).then(
      () => assert.unreachable('it must not resolve'),
      (thrown: Error & { code?: string }) => thrown,
    );
    assert.equal([error?.code, error?.message], [code, message]);
    if (code === 'PGAIO_ABORTED') assert.is(error?.cause, because);
    assert.is(io.settled, false);
    assert.is(aio.inspect()[0]?.state, 'SUBMITTED');
    frames[Symbol.dispose]();
    assert.is(free(aio), false, 'the frame stays with the I/O');
    device.end(aio);
    assert.is((await io).result, BLOCK, 'who still waits has the result');
    assert.is(free(aio), true);
    assert.equal(aio.inspect(), []);
  });
  giving(`${name} resolves when the I/O ends in time`, async () => {
    const { aio, device } = await held();
    await using _ = aio;
    using file = aio.open(path);
    using frames = aio.frames(1);
    const io = file.read(frames, 0);
    const { promise } = wait(io);
    device.end(aio);
    assert.is(((await within(name, promise)) as { result: number }).result, BLOCK);
  });
  giving(`${name} rejects with the error of the I/O if that comes first`, async () => {
    const { aio, device } = await held({ onReport: () => undefined });
    await using _ = aio;
    using file = aio.open(path);
    using frames = aio.frames(1);
    const { promise } = wait(file.read(frames, 0));
    device.end(aio, -5);
    assert.is(await endOf(() => within(name, promise)), 'PGAIO_IO');
  });
}
giving('a signal that has aborted already rejects at once', async () => {
  const { aio, device } = await held();
  await using _ = aio;
  using file = aio.open(path);
  using frames = aio.frames(1);
  const io = file.read(frames, 0);
  const error = await io.within({ signal: AbortSignal.abort(because) }).catch((e: unknown) => e);
  assert.is((error as { code?: string }).code, 'PGAIO_ABORTED');
  assert.is((error as Error).cause, because);
  device.end(aio);
  assert.is((await io).result, BLOCK);
});
giving('a signal leaves no listener behind', async () => {
  const { aio, device } = await held();
  await using _ = aio;
  using file = aio.open(path);
  using frames = aio.frames(1);
  const { signal } = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    listeners++;
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    listeners--;
    removeEventListener.apply(signal, args);
  };
  const io = file.read(frames, 0);
  const waits = io.within({ signal });
  assert.is(listeners, 1);
  device.end(aio);
  await waits;
  await new Promise(setImmediate);
  assert.is(listeners, 0);
});
giving('no condition at all is the same as awaiting', async () => {
  const { aio, device } = await held();
  await using _ = aio;
  using file = aio.open(path);
  using frames = aio.frames(1);
  const waits = file.read(frames, 0).within({});
  device.end(aio);
  assert.is((await waits).result, BLOCK);
});
giving.run();

const blocking = suite('waiting: blocking');
/** Blocks on futexes instead of a device: nobody ends the I/O meanwhile. */
async function stuck(): Promise<{ aio: Aio; end: () => void }> {
  const { aio, device } = await held();
  return { aio, end: () => device.end(aio) };
}
blocking('for an I/O of a device that cannot be asked is refused', async () => {
  const { aio, end } = await stuck();
  await using _ = aio;
  using file = aio.open(path);
  using frames = aio.frames(1);
  const io = file.read(frames, 0);
  assert.is(await endOf(() => io.waitSync()), 'PGAIO_CANNOT_WAIT');
  assert.is(await endOf(() => io.waitSync(5)), 'PGAIO_CANNOT_WAIT');
  end();
  assert.is(io.waitSync().result, BLOCK);
});
blocking('asks a device that can end it', async () => {
  const device = new Held();
  let engine: Aio | undefined;
  const asking: IoDevice = {
    submit: (ids) => device.submit(ids),
    waitOne: (id) => {
      if (engine !== undefined) device.end(engine, BLOCK, id);
    },
  };
  const { aio } = await held({ device: asking });
  await using _ = aio;
  engine = aio;
  using file = aio.open(path);
  using frames = aio.frames(2);
  const ios = [file.read(frames.slice(0, 1), 0), file.read(frames.slice(1, 2), 0)];
  assert.is(ios[1]?.waitSync(1).result, BLOCK);
  assert.equal(
    ios.map((io) => io.settled),
    [false, true],
  );
  assert.is(ios[0]?.waitSync().result, BLOCK);
});
blocking('under the raw names gives up after about the time it was told', async () => {
  const options = { provider: 'direct', io_method: 'worker', io_frames: 16 } as const;
  const pg = await attach({ ...options, max_backends: 2 });
  const other = await join(pg.token);
  const wref = pg.alloc(12);
  const theirs = other.alloc(12);
  const ioh = other.pgaio_io_acquire(0, 0);
  other.pgaio_io_get_wref(ioh, theirs);
  new Uint8Array(pg.memory.buffer).copyWithin(wref, theirs, theirs + 12);
  other.pgaio_enter_batchmode();
  other.pgaio_io_set_target_file(ioh, 1, 0, 0);
  other.pgaio_io_start_fdatasync(ioh, 0);
  assert.is(other.pgaio_io_get_state_name(ioh), 'STAGED');
  for (const ms of [30, 0, -1, Number.NaN]) {
    const before = performance.now();
    assert.is(pg.pgaio_wref_wait_timed(wref, ms), false, String(ms));
    const took = performance.now() - before;
    const least = ms > 0 ? ms - 1 : 0;
    assert.ok(took >= least, `${ms} ms took ${took}`);
    assert.ok(took < least + 1000, `${ms} ms took ${took}`);
  }
  assert.is(await endOf(() => other.pgaio_wref_wait_timed(theirs, 1)), 'PGAIO_WAIT_OWN');
  assert.is(other.pgaio_wref_is_done(theirs), false);
  other.pgaio_exit_batchmode();
  other.pgaio_wref_wait(theirs);
  assert.is(pg.pgaio_wref_wait_timed(wref, 0), true);
  other.pgaio_shutdown();
  pg.pgaio_shutdown();
});
blocking.run();

const busy = suite('waiting: when every handle is busy');
busy('acquire without waiting has none, and blocking for one asks the device', async () => {
  const { aio, device } = await held();
  await using _ = aio;
  using file = aio.open(path);
  using frames = aio.frames(HANDLES);
  for (let i = 0; i < HANDLES; i++) void file.read(frames.slice(i, i + 1), 0);
  assert.is(aio.tryAcquire(), undefined);
  assert.is(await endOf(() => aio.acquire()), 'PGAIO_CANNOT_WAIT');
  while (device.ids.length > 0) device.end(aio);
  aio.tryAcquire()?.release();
});
busy('acquireAsync has one as soon as an I/O has ended, first come first served', async () => {
  const { aio, device } = await held();
  await using _ = aio;
  using file = aio.open(path);
  using frames = aio.frames(HANDLES);
  for (let i = 0; i < HANDLES; i++) void file.read(frames.slice(i, i + 1), 0);
  const order: string[] = [];
  const takes = ['first', 'second'].map(async (name) => {
    const handle = await aio.acquireAsync();
    order.push(name);
    handle.release();
  });
  await new Promise(setImmediate);
  assert.equal(order, []);
  device.end(aio);
  await within('both', Promise.all(takes));
  assert.equal(order, ['first', 'second']);
  while (device.ids.length > 0) device.end(aio);
});
busy('reads start in the order of the calls as handles come back', async () => {
  const { aio, device } = await held();
  await using _ = aio;
  using file = aio.open(path);
  using frames = aio.frames(16);
  const ended: number[] = [];
  const reads = Array.from({ length: 16 }, async (_, i) => {
    const { result } = await file.read(frames.slice(i, i + 1), 0);
    ended.push(i);
    return result;
  });
  assert.is(device.ids.length, HANDLES);
  for (let i = 0; i < 16; i++) {
    device.end(aio);
    await new Promise(setImmediate);
    assert.is(device.ids.length, Math.min(HANDLES, 15 - i));
  }
  assert.equal(await within('all', Promise.all(reads)), Array(16).fill(BLOCK));
  assert.equal(
    ended,
    Array.from({ length: 16 }, (_, i) => i),
  );
  assert.equal(aio.inspect(), []);
});
busy(
  'a read that waits for a handle can be given up, and the frames stay until it is over',
  async () => {
    const { aio, device } = await held();
    await using _ = aio;
    using file = aio.open(path);
    using frames = aio.frames(HANDLES);
    for (let i = 0; i < HANDLES; i++) void file.read(frames.slice(i, i + 1), 0);
    const extra = aio.frames(1);
    const late = file.read(extra, 0);
    const controller = new AbortController();
    const waits = late.within({ signal: controller.signal });
    controller.abort();
    assert.is(await endOf(() => waits), 'PGAIO_ABORTED');
    for (let i = 0; i < HANDLES; i++) device.end(aio);
    await new Promise(setImmediate);
    assert.is(device.ids.length, 1, 'it starts all the same');
    device.end(aio);
    assert.is((await late).result, BLOCK);
  },
);
busy('a read that waits for a handle is refused when its file is closed meanwhile', async () => {
  const device = new Held();
  let engine: Aio | undefined;
  const asking: IoDevice = {
    submit: (ids) => device.submit(ids),
    waitOne: (id) => {
      if (engine !== undefined) device.end(engine, BLOCK, id);
    },
  };
  const { aio } = await held({ device: asking });
  await using _ = aio;
  engine = aio;
  const file = aio.open(path);
  using frames = aio.frames(HANDLES + 2);
  const reads = Array.from({ length: HANDLES + 2 }, (_, i) => {
    return file.read(frames.slice(i, i + 1), 0).then(
      () => 'done',
      (error: Error) => error.name,
    );
  });
  assert.is(device.ids.length, HANDLES);
  file.close();
  assert.equal(device.ids, [], 'nothing is in flight on a closed descriptor');
  const ends = await within('all', Promise.all(reads));
  assert.equal(ends.slice(0, HANDLES), Array(HANDLES).fill('done'));
  assert.ok(ends.slice(HANDLES).every((end) => end !== 'done'));
  assert.equal(aio.inspect(), []);
});
busy.run();

const many = suite('waiting: many times');
many('for one I/O gives everybody the same result, before and after its end', async () => {
  const { aio, device } = await held();
  await using _ = aio;
  using file = aio.open(path);
  using frames = aio.frames(1);
  const io = file.read(frames, 0);
  const before = Array.from({ length: 100 }, () => io.then((result) => result));
  device.end(aio);
  const results = await within('all', Promise.all([...before, io, io, io.within({})]));
  const [first] = results;
  assert.ok(results.every((result) => result === first));
  assert.is(await io, first);
  assert.is(io.waitSync(), first);
  assert.is(io.result, first);
});
many('for one that fails rejects each time', async () => {
  const { aio, device } = await held({ onReport: () => undefined });
  await using _ = aio;
  using file = aio.open(path);
  using frames = aio.frames(1);
  const io = file.read(frames, 0);
  const ends = Array.from({ length: 10 }, () => endOf(() => io));
  device.end(aio, -5);
  assert.equal(await Promise.all(ends), Array(10).fill('PGAIO_IO'));
  assert.is(await endOf(() => io), 'PGAIO_IO');
  assert.is(await endOf(() => io.waitSync()), 'PGAIO_IO');
});
many('nobody awaits an I/O that fails, and the process lives on', async () => {
  const { aio, device } = await held({ onReport: () => undefined });
  await using _ = aio;
  using file = aio.open(path);
  using frames = aio.frames(1);
  const io = file.read(frames, 0);
  device.end(aio, -5);
  await new Promise(setImmediate);
  assert.is(io.settled, true);
  assert.is(aio.stats().errors, 1n);
});
many.run();

const old = suite('waiting: an old reference');
const GENERATION = layout.PgAioHandle.fields.generation.offset >>> 3;
function generations(aio: Aio): { words: BigUint64Array; at: number } {
  const u32 = new Uint32Array(aio.memory.buffer);
  const handles = u32[(layout.CTL_AT + layout.PgAioCtl.fields.io_handles.offset) >>> 2] ?? 0;
  return { words: new BigUint64Array(aio.memory.buffer), at: (handles >>> 3) + GENERATION };
}
old('is over when its handle was used again 65,539 times', async () => {
  const { aio, device } = await held({ ioMaxConcurrency: 1 });
  await using _ = aio;
  using file = aio.open(path);
  using frames = aio.frames(1);
  const first = file.read(frames, 0);
  const { ref } = first;
  device.end(aio);
  await first;
  for (let i = 0; i < 2 ** 16 + 3; i++) aio.acquire().release();
  const later = file.read(frames, 0);
  assert.equal([later.ref.index, later.ref.generation], [ref.index, ref.generation + 65540n]);
  assert.equal([ref.isDone(), ref.checkDone(), ref.waitSync(0)], [true, true, true]);
  ref.waitSync();
  assert.equal([later.settled, later.ref.isDone()], [false, false]);
  device.end(aio);
  assert.is((await later).result, BLOCK);
});
for (const [name, edge] of [
  ['2^32 - 1', 2n ** 32n - 1n],
  ['2^53 - 1', 2n ** 53n - 1n],
  ['2^63 - 1', 2n ** 63n - 1n],
] as const) {
  old(`survives that generations pass ${name}`, async () => {
    const { aio, device } = await held({ ioMaxConcurrency: 1 });
    await using _ = aio;
    using file = aio.open(path);
    using frames = aio.frames(1);
    const { words, at } = generations(aio);
    words[at] = edge - 1n;
    for (let i = 0n; i < 4n; i++) {
      const io = file.read(frames, 0);
      assert.is(io.ref.generation, edge - 1n + i);
      assert.is(aio.inspect()[0]?.io_generation, edge - 1n + i);
      const { token } = io.ref;
      const { token: copy } = aio.waitRef(structuredClone(token));
      assert.equal(copy, token);
      assert.is(aio.waitRef(copy).isDone(), false);
      assert.is(aio.waitRef({ ...copy, generation: copy.generation - 1n }).isDone(), true);
      device.end(aio);
      assert.is((await io).result, BLOCK);
      assert.is(aio.waitRef(copy).isDone(), true);
    }
  });
}
old.run();
