/**
 * Relations, read streams and the buffer pool in TypeScript's idiom: pages in a loop, pins, sources
 * of blocks, errors, abort, pages written back.
 */
import { existsSync, statSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { relationOfPath } from '../bindings/relation.ts';
import { Aio, type PinnedBuffer, type ReadStream } from '../host/node/index.ts';
import { HoldingDevice, rejectionOf, thrownBy, turns } from './aio-fixture.ts';
import { storedChecksum } from './page-vectors.ts';
import {
  Cluster,
  engineOver,
  LOCATOR,
  numberedPage,
  numberIn,
  numbersOf,
  PLACES,
  pinnedIn,
  setNumber,
} from './relation-fixture.ts';
import { BLOCK, Gate, until, within } from './threads-fixture.ts';

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const EIO = 29; // WASI's number

/** What a call of next gave, and whether it was a promise. */
async function settled<Data>(
  stream: ReadStream<Data>,
): Promise<{ buffer: PinnedBuffer<Data> | undefined; promised: boolean }> {
  const next = stream.next();
  const promised = next instanceof Promise;
  return { buffer: await next, promised };
}

for (const place of PLACES) {
  const test = suite(`relations (${place.name})`);
  const cluster = new Cluster();
  const open = (options = {}) => engineOver(cluster, place, options);

  test('give each block once, in order, and merge their reads', async () => {
    cluster.fill(1000);
    await using aio = await open();
    using relation = aio.relation(LOCATOR);
    assert.is(relation.blocks, 1000);
    const blocks: number[] = [];
    for await (const buffer of relation.read()) {
      blocks.push(buffer.block);
      assert.is(numberIn(buffer.bytes), buffer.block);
    }
    assert.equal(blocks, range(0, 1000));
    assert.is(aio.stats().relation.reads, 66n, 'as a real server');
    assert.is(pinnedIn(aio), 0);
    assert.equal(await numbersOf(relation, 990, 1000), range(990, 1000));
    assert.is(aio.stats().relation.reads, 66n);
    assert.is(aio.buffers.stats().hits, 10n);
  });

  test('give a page that is in the pool without a promise', async () => {
    cluster.fill(500);
    await using aio = await open();
    using relation = aio.relation(LOCATOR);
    assert.is(await relation.prewarm(), 500);
    await using stream = relation.read();
    let pages = 0;
    for (;;) {
      const { buffer, promised } = await settled(stream);
      assert.not(promised);
      if (buffer === undefined) break;
      pages++;
    }
    assert.is(pages, 500);
    using one = relation.readBlock(77) as PinnedBuffer;
    assert.is(numberIn(one.bytes), 77);
    assert.is(aio.buffers.summary().pinned, 1);
    aio.buffers.evictAll();
    const later = relation.readBlock(78);
    if (place.ioMethod === 'worker') assert.instance(later, Promise);
    using other = await later;
    assert.is(numberIn(other.bytes), 78);
    assert.is(other.page.itemCount, 0);
  });

  test('block the thread where that is asked for', async () => {
    cluster.fill(100);
    await using aio = await open();
    using relation = aio.relation('base/5/16384');
    const stream = relation.read();
    const numbers: number[] = [];
    for (let page = stream.nextSync(); page !== undefined; page = stream.nextSync()) {
      numbers.push(numberIn(page.bytes));
    }
    assert.equal(numbers, range(0, 100));
    assert.is(stream.nextSync(), undefined);
  });

  test('read blocks in any order, duplicates too, with what came with them', async () => {
    cluster.fill(300);
    await using aio = await open();
    using relation = aio.relation(LOCATOR);
    const blocks = range(0, 1500).map((i) => (i * 7919) % 300);
    const read = relation.readBlocks(blocks);
    let i = 0;
    for await (const { block, data } of read) {
      assert.is(block, blocks[i]);
      assert.is(data, blocks[i]);
      i++;
    }
    assert.is(i, blocks.length);
    async function* entries() {
      for (const block of blocks.slice(0, 200)) {
        if (block % 50 === 0) await turns(1);
        yield { key: `k${block}`, block };
      }
    }
    const keys: string[] = [];
    for await (const { data, bytes } of relation.readEach(entries(), (entry) => entry.block)) {
      assert.is(`k${numberIn(bytes)}`, data.key);
      keys.push(data.key);
    }
    assert.equal(
      keys,
      blocks.slice(0, 200).map((block) => `k${block}`),
    );
    assert.is(pinnedIn(aio), 0);
  });

  test('say which page is invalid, and the stream is over', async () => {
    cluster.fill(100, { bad: [30] });
    const reports: string[] = [];
    await using aio = await open({
      onReport: ({ message }: { message: string }) => {
        reports.push(message);
      },
    });
    using relation = aio.relation(LOCATOR);
    const seen: number[] = [];
    const stream = relation.read();
    const error = await rejectionOf(
      (async () => {
        for await (const { block } of stream) seen.push(block);
      })(),
    );
    assert.is(error.code, 'PGAIO_PAGE');
    assert.is(error.message, 'invalid page in block 30 of relation "base/5/16384"');
    assert.is(error.sqlstate, 'XX001');
    assert.equal(seen, range(0, seen.length));
    assert.ok(seen.length >= 15 && seen.length <= 30, `${seen.length} pages came before`);
    assert.is(stream.next(), undefined);
    await stream[Symbol.asyncDispose]();
    assert.is(pinnedIn(aio), 0);
    const good = await numbersOf(relation, 31, 100);
    assert.equal(good, range(31, 100), 'good pages are not lost');
  });

  test('are written back with the right checksum when they were changed', async () => {
    cluster.fill(50);
    {
      await using aio = await open();
      using relation = aio.relation(LOCATOR);
      for (const block of [3, 4, 5, 49]) {
        using buffer = await relation.readBlock(block);
        await buffer.modify((bytes) => setNumber(bytes, 1000 + block));
        assert.ok(buffer.isDirty);
        assert.throws(() => {
          buffer.modify(() => {
            throw new TypeError('as you like it');
          });
        }, /as you like it/);
      }
      assert.is(aio.buffers.summary().dirty, 4);
      const { written, synced } = await aio.buffers.flush();
      assert.ok(written >= 2 && written <= 4, `${written} writes, of neighbours together`);
      assert.is(synced, 1);
      assert.is(aio.buffers.summary().dirty, 0);
      const expected = numberedPage(4);
      assert.not.equal(storedChecksum(cluster.page(4)), storedChecksum(expected));
    }
    await using aio = await open();
    using relation = aio.relation(LOCATOR);
    const numbers = await numbersOf(relation, 0, 50);
    assert.equal(
      numbers,
      range(0, 50).map((n) => ([3, 4, 5, 49].includes(n) ? 1000 + n : n)),
    );
  });

  test('are made, lengthened, cut and removed', async () => {
    await using aio = await open();
    using relation = aio.relation({ ...LOCATOR, relNumber: 777 });
    assert.not(relation.exists);
    relation.create();
    assert.is(thrownBy(() => relation.create()).code, 'PGAIO_SMGR_CREATE');
    relation.create({ ifMissing: true });
    assert.is(relation.blocks, 0);
    assert.is(relation.extend(), 0);
    assert.is(relation.extend(100), 1);
    assert.is(relation.blocks, 101);
    assert.is(statSync(cluster.path(777)).size, 101 * BLOCK);
    const fresh = await relation.readBlock(100);
    assert.ok(fresh.page.isNew);
    assert.is((await rejectionOf(relation.truncate(50))).code, 'PGAIO_BUFFER_BUSY');
    fresh[Symbol.dispose]();
    await relation.truncate(50);
    assert.is(relation.blocks, 50);
    assert.is(aio.buffers.summary().used, 50);
    using map = relation.otherFork('vm');
    assert.is(map.path, 'base/5/777_vm');
    assert.not(map.exists);
    await relation.drop();
    assert.not(existsSync(cluster.path(777)));
    assert.is(aio.buffers.summary().used, 0);
  });

  test.run();
}

const cluster = new Cluster();
const SYNC = { ioMethod: 'sync', provider: 'direct' } as const;
const WORKER = { ioMethod: 'worker', provider: 'direct' } as const;
const pages = suite('pages of a read stream');

pages('are pinned until the next is asked for, or as long as they are kept', async () => {
  cluster.fill(10);
  await using aio = await engineOver(cluster, SYNC);
  using relation = aio.relation(LOCATOR);
  await using stream = relation.read();
  const first = await stream.next();
  const kept = (await stream.next())?.keep();
  const third = await stream.next();
  assert.not(first?.isPinned);
  assert.is(thrownBy(() => first?.bytes).message, 'this buffer is not pinned any more');
  assert.is(thrownBy(() => first?.page).message, 'this buffer is not pinned any more');
  assert.is(thrownBy(() => first?.keep()).message, 'this buffer is not pinned any more');
  assert.is(kept?.block, 1);
  assert.is(third?.block, 2);
  third?.[Symbol.dispose]();
  third?.[Symbol.dispose]();
  assert.not(third?.isPinned);
  const rest: number[] = [];
  for await (const { block } of stream) rest.push(block);
  assert.equal(rest, range(3, 10));
  assert.is(numberIn(kept?.bytes ?? new Uint8Array()), 1);
  assert.is(pinnedIn(aio), 1);
  kept?.[Symbol.dispose]();
  assert.is(pinnedIn(aio), 0);
});

pages('that are cached are pinned no more than is given back', async () => {
  cluster.fill(200);
  await using aio = await engineOver(cluster, SYNC);
  using relation = aio.relation(LOCATOR);
  await relation.prewarm();
  const keeps: PinnedBuffer[] = [];
  for await (const buffer of relation.read()) {
    const { block } = buffer;
    if (block % 10 === 0) keeps.push(buffer.keep());
    if (block % 10 === 5) buffer[Symbol.dispose]();
    if (block === 150) break;
  }
  assert.is(pinnedIn(aio), 16);
  assert.equal(
    keeps.map(({ block }) => block),
    range(0, 16).map((i) => 10 * i),
  );
  for (const keep of keeps) keep[Symbol.dispose]();
  assert.is(pinnedIn(aio), 0);
});

pages('are given back when a loop is left, by break or by a throw', async () => {
  cluster.fill(200);
  await using aio = await engineOver(cluster, WORKER);
  using relation = aio.relation(LOCATOR);
  for await (const { block } of relation.read({ full: true })) if (block === 20) break;
  assert.is(pinnedIn(aio), 0);
  const wrong = new Error('as you like it');
  const error = await rejectionOf(
    (async () => {
      for await (const { block } of relation.read({ full: true })) if (block === 50) throw wrong;
    })(),
  );
  assert.is(error, wrong);
  assert.is(pinnedIn(aio), 0);
  let returned = false;
  function* blocks() {
    try {
      for (let block = 0; ; block = (block + 1) % 200) yield block;
    } finally {
      returned = true;
    }
  }
  for await (const { block } of relation.readBlocks(blocks())) if (block === 60) break;
  assert.ok(returned, 'the source was told');
});

pages('come before what their source has thrown', async () => {
  cluster.fill(50);
  await using aio = await engineOver(cluster, SYNC);
  using relation = aio.relation(LOCATOR);
  const wrong = new Error('as you like it');
  function* blocks() {
    yield* range(0, 20);
    throw wrong;
  }
  const seen: number[] = [];
  const loop = async (stream: AsyncIterable<{ readonly block: number }>) => {
    for await (const { block } of stream) seen.push(block);
  };
  assert.is(await rejectionOf(loop(relation.readBlocks(blocks()))), wrong);
  assert.equal(seen.splice(0), range(0, 20));
  let next = 0;
  const asked = (): number => {
    if (next === 20) throw wrong;
    return next++;
  };
  assert.is(await rejectionOf(loop(relation.readNext(asked, { full: true }))), wrong);
  assert.equal(seen.splice(0), range(0, 20));
  const bad = await rejectionOf(loop(relation.readBlocks([1, 2, -3])));
  assert.is(bad.code, 'PGAIO_BAD_NUMBER');
  assert.is(pinnedIn(aio), 0);
});

pages('stop at a pause, and go on after it', async () => {
  cluster.fill(100);
  await using aio = await engineOver(cluster, SYNC);
  using relation = aio.relation(LOCATOR);
  await using stream = relation.read();
  const parts: number[] = [];
  let all = 0;
  for (let part = 0; part < 5; part++) {
    for await (const { block } of stream) {
      assert.is(block, all++);
      if (all % 25 === 0) stream.pause();
    }
    parts.push(all);
    stream.resume();
  }
  assert.is(all, 100);
  assert.ok((parts[0] ?? 0) >= 25 && (parts[0] ?? 0) < 100, `${parts}`);
});

pages('can be ended from within the callback that gives their blocks', async () => {
  cluster.fill(50);
  await using aio = await engineOver(cluster, SYNC);
  using relation = aio.relation(LOCATOR);
  let next = 0;
  const stream: ReadStream = relation.readNext(() => {
    if (next === 20) stream[Symbol.dispose]();
    return next++;
  });
  for await (const _ of stream) assert.ok(next < 40);
  await stream[Symbol.asyncDispose]();
  assert.is(pinnedIn(aio), 0);
});

pages('of a bulk read use a few buffers again and again', async () => {
  cluster.fill(2000);
  await using aio = await engineOver(cluster, SYNC);
  using relation = aio.relation(LOCATOR);
  let count = 0;
  for await (const _ of relation.read({ strategy: 'bulkread', ioConcurrency: 4 })) count++;
  assert.is(count, 2000);
  const { used } = aio.buffers.summary();
  assert.ok(used <= 32 + 4 * 16, `${used} buffers`);
  assert.ok(aio.buffers.stats().reuses > 1800n);
});

pages('that are all cached let others have their turn', async () => {
  cluster.fill(100);
  await using aio = await engineOver(cluster, SYNC);
  using relation = aio.relation(LOCATOR);
  await relation.prewarm();
  function* blocks() {
    for (let i = 0; i < 400_000; i++) yield i % 100;
  }
  let turnsSeen = 0;
  let over = false;
  const count = (): void => {
    turnsSeen++;
    if (!over) setImmediate(count);
  };
  setImmediate(count);
  let seen = 0;
  for await (const _ of relation.readBlocks(blocks())) seen++;
  over = true;
  assert.is(seen, 400_000);
  assert.ok(turnsSeen > 1, `${turnsSeen} turns`);
});

pages('are read ahead by as many I/Os as settings and options say', async () => {
  cluster.fill(1000);
  await using aio = await engineOver(cluster, WORKER, { effectiveIoConcurrency: 3 });
  using relation = aio.relation(LOCATOR);
  const most = async (options: object): Promise<number> => {
    await relation.invalidate();
    const spread = range(0, 100).map((i) => 10 * i);
    await using stream = relation.readBlocks(spread, options);
    let highest = 0;
    for await (const _ of stream) highest = Math.max(highest, stream.stats().mostInFlight);
    return highest;
  };
  assert.is(await most({}), 3);
  assert.is(await most({ maintenance: true }), 16);
  assert.is(await most({ ioConcurrency: 7 }), 7);
  aio.set('effective_io_concurrency', 5);
  assert.is(aio.show('effective_io_concurrency'), '5');
  assert.is(await most({}), 5);
  assert.is(await most({ ioConcurrency: 0 }), 1);
  assert.is(await most({ lookAhead: 'waits', full: true }), 5);
});
pages.run();

const waits = suite('a read stream that waits');

waits('can be aborted; its I/O runs on, and its pins come back', async () => {
  cluster.fill(100);
  const gate = new Gate();
  await using aio = await engineOver(cluster, WORKER, { provider: gate.provider() });
  using relation = aio.relation(LOCATOR);
  const abort = new AbortController();
  const stream = relation.read({ signal: abort.signal });
  const next = stream.next();
  assert.instance(next, Promise);
  await gate.crowd(1);
  abort.abort(new Error('enough'));
  const error = await rejectionOf(Promise.resolve(next));
  assert.is(error.code, 'PGAIO_ABORTED');
  assert.is(error.message, 'the read stream was aborted; its IO runs on');
  assert.is((error.cause as Error).message, 'enough');
  assert.is(thrownBy(() => stream.next()).code, 'PGAIO_ABORTED');
  assert.is(aio.inspect().length, 1, 'the I/O');
  gate.open();
  await stream[Symbol.asyncDispose]();
  assert.equal([pinnedIn(aio), aio.inspect().length], [0, 0]);
  const late = relation.read({ signal: AbortSignal.abort() });
  assert.is(thrownBy(() => late.next()).code, 'PGAIO_ABORTED');
});

waits('serves calls that come too early in their order', async () => {
  cluster.fill(60);
  const gate = new Gate();
  await using aio = await engineOver(cluster, WORKER, { provider: gate.provider() });
  using relation = aio.relation(LOCATOR);
  await using stream = relation.read();
  const seen = Promise.all(
    range(0, 70).map(async () => {
      const buffer = await stream.next();
      return buffer === undefined ? -1 : numberIn(buffer.bytes);
    }),
  );
  await gate.crowd(1);
  gate.open();
  assert.equal(await seen, [...range(0, 60), ...Array(10).fill(-1)]);
});

waits('gives its handles to others who wait, though nobody waits for it', async () => {
  cluster.fill(60);
  const gate = new Gate();
  const options = { provider: gate.provider(), ioMaxConcurrency: 1 };
  await using aio = await engineOver(cluster, WORKER, options);
  using relation = aio.relation(LOCATOR);
  using frames = aio.frames(1);
  using file = aio.open(cluster.path());
  await using stream = relation.readBlocks([0, 10], { full: true });
  const next = stream.next();
  await gate.crowd(1);
  gate.admit();
  assert.is((await next)?.block, 0);
  await gate.crowd(1);
  const read = file.read(frames, 20 * BLOCK);
  assert.is(gate.waiting, 1, 'the only handle reads block 10');
  gate.open();
  await within('the other I/O', read);
  assert.is(numberIn(frames.page(0)), 20);
  assert.is((await stream.next())?.block, 10);
});

waits('does not keep the event loop from anything', async () => {
  cluster.fill(100);
  const gate = new Gate();
  await using aio = await engineOver(cluster, WORKER, { provider: gate.provider() });
  using relation = aio.relation(LOCATOR);
  const numbers = numbersOf(relation, 0, 100);
  await gate.crowd(1);
  await turns(10);
  assert.is(gate.waiting, 1);
  gate.open();
  assert.equal(await numbers, range(0, 100));
});

for (const fails of [false, true]) {
  const what = fails ? 'that fails, and reads the block itself' : ', and has its block from it';
  waits(`for another backend’s I/O${what}`, async () => {
    cluster.fill(100);
    const gate = new Gate().open();
    const options = { provider: gate.provider(), ioCombineLimit: 1 };
    await using a = await engineOver(cluster, WORKER, options);
    await using b = await engineOver(cluster, WORKER, { ...options, memory: a.memory });
    using ofA = a.relation(LOCATOR);
    using ofB = b.relation(LOCATOR);
    // In the pool already: nobody else is to come to the gate, and fail in their place.
    for (const block of [0, 2, 7]) (await ofA.readBlock(block))[Symbol.dispose]();
    gate.shut();
    const theirs = Promise.resolve(ofB.readBlock(5));
    theirs.catch(() => undefined);
    await gate.crowd(1);
    const blocks: number[] = [];
    const ours = (async () => {
      for await (const { block, bytes } of ofA.readBlocks([0, 2, 5, 7], { full: true })) {
        assert.is(numberIn(bytes), block);
        blocks.push(block);
      }
    })();
    await turns();
    if (fails) {
      gate.wasiErrno = EIO;
      gate.admit();
      await rejectionOf(theirs);
      gate.wasiErrno = 0;
    }
    gate.open();
    await ours;
    assert.equal(blocks, [0, 2, 5, 7]);
    if (fails) {
      const { message } = await rejectionOf(theirs);
      assert.match(message, /^could not read blocks 5\.\.5 in file "base\/5\/16384": /);
    } else {
      (await theirs)[Symbol.dispose]();
      assert.is(a.stats().relation.reads, 3n);
    }
    assert.is(pinnedIn(a), 0);
  });
}

waits('ends with its engine, in either way', async () => {
  cluster.fill(100);
  for (const way of ['asyncDispose', 'dispose'] as const) {
    const gate = new Gate();
    const aio = await engineOver(cluster, WORKER, { provider: gate.provider() });
    const relation = aio.relation(LOCATOR);
    const stream = relation.read({ full: true });
    const next = Promise.resolve(stream.next());
    next.catch(() => undefined);
    await gate.crowd(1);
    gate.open();
    if (way === 'dispose') aio[Symbol.dispose]();
    else await aio[Symbol.asyncDispose]();
    await next.catch(() => undefined);
    assert.is(thrownBy(() => relation.blocks).code, 'PGAIO_NO_BACKEND');
  }
});

waits(
  'cannot block for a device that cannot be waited for, and ends well all the same',
  async () => {
    cluster.fill(40);
    const device = new HoldingDevice();
    await using aio = await Aio.create({
      ioMethod: 'host',
      device,
      dataDirectory: cluster.directory,
      sharedBuffers: 1024,
      ioMaxConcurrency: 8,
    });
    device.aio = aio;
    using relation = aio.relation(LOCATOR);
    const stream = relation.read({ full: true });
    assert.is(thrownBy(() => stream.nextSync()).code, 'PGAIO_CANNOT_WAIT');
    assert.is(stream.nextSync(), undefined, 'it is over');
    assert.is(device.held.length, 1);
    const ended = stream[Symbol.asyncDispose]();
    await turns();
    device.end({ raw: -5 });
    await ended;
    assert.equal([pinnedIn(aio), aio.inspect().length], [0, 0]);
    assert.is(aio.stats().returnsLost, 0n);
  },
);

waits('with a device of one’s own goes on when that completes', async () => {
  cluster.fill(40);
  const device = new HoldingDevice();
  const aio = await Aio.create({
    ioMethod: 'host',
    device,
    dataDirectory: cluster.directory,
    sharedBuffers: 1024,
    ioMaxConcurrency: 8,
    dataChecksums: false,
    zeroDamagedPages: true,
    onReport: () => undefined,
  });
  device.aio = aio;
  const relation = aio.relation(LOCATOR);
  const count = (async () => {
    let pages_ = 0;
    for await (const _ of relation.read()) pages_++;
    return pages_;
  })();
  let over = false;
  count.finally(() => {
    over = true;
  });
  await until('all are read', () => {
    if (device.held.length > 0) device.end();
    return over;
  });
  assert.is(await count, 40);
  await aio[Symbol.asyncDispose]();
});
waits.run();

const pool = suite('the buffer pool');

pool('shows what is in it, how it is used, and how hot it is', async () => {
  cluster.fill(20);
  await using aio = await engineOver(cluster, SYNC, { sharedBuffers: 64 });
  using relation = aio.relation(LOCATOR);
  assert.is(aio.buffers.size, 64);
  assert.equal([...aio.buffers.rows()], []);
  await relation.prewarm({ to: 10 });
  await relation.prewarm({ to: 5 });
  using held = await relation.readBlock(2);
  await held.modify((bytes) => setNumber(bytes, 7));
  const rows = [...aio.buffers.rows()].sort((a, b) => a.block - b.block);
  assert.equal(
    rows.map(({ block }) => block),
    range(0, 10),
  );
  assert.equal(
    rows.map(({ usage }) => usage),
    [2, 2, 3, 2, 2, 1, 1, 1, 1, 1],
  );
  assert.equal(rows[2], {
    buffer: held.number,
    locator: LOCATOR,
    fork: 'main',
    block: 2,
    isDirty: true,
    isValid: true,
    inProgress: false,
    usage: 3,
    pins: 1,
  });
  const byUsage = [0, 5, 4, 1, 0, 0];
  assert.equal(aio.buffers.summary(), { buffers: 64, used: 10, dirty: 1, pinned: 1, byUsage });
  const heat = aio.buffers.heat();
  assert.is(heat[held.number - 1], 4 | 8 | 16);
  assert.is(heat.filter((one) => one === 0).length, 54);
});

pool('is not waited for when a relation grows and every page in it is dirty', async () => {
  cluster.fill(16);
  const gate = new Gate().open();
  const options = { provider: gate.provider(), sharedBuffers: 16 };
  await using aio = await engineOver(cluster, WORKER, options);
  using relation = aio.relation(LOCATOR);
  for (let block = 0; block < 16; block++) {
    using buffer = await relation.readBlock(block);
    await buffer.modify((bytes) => setNumber(bytes, 100 + block));
  }
  gate.shut();
  assert.is(relation.extend(4), 16, 'while no page can be written');
  assert.equal([relation.blocks, pinnedIn(aio)], [20, 0]);
  gate.open();
  assert.equal(await numbersOf(relation, 16, 20), [0, 0, 0, 0]);
  assert.equal(
    await numbersOf(relation, 0, 16),
    range(0, 16).map((block) => 100 + block),
  );
});

pool('gives up pages nobody uses', async () => {
  cluster.fill(30);
  cluster.fill(30, { relNumber: 5 });
  await using aio = await engineOver(cluster, SYNC);
  using relation = aio.relation(LOCATOR);
  using other = aio.relation({ ...LOCATOR, relNumber: 5 });
  await relation.prewarm();
  await other.prewarm();
  using held = await relation.readBlock(3);
  using dirty = await relation.readBlock(4);
  await dirty.modify((bytes) => setNumber(bytes, 1));
  dirty[Symbol.dispose]();
  assert.not(aio.buffers.evict(held.number));
  assert.equal(aio.buffers.evictAll(relation), { evicted: 28, kept: 2 });
  assert.is(aio.buffers.summary().used, 32);
  await aio.buffers.flush({ relation });
  assert.equal(aio.buffers.evictAll(), { evicted: 31, kept: 1 });
});

pool('has room for many streams, and says when there is none', async () => {
  cluster.fill(30);
  await using aio = await engineOver(cluster, SYNC);
  using relation = aio.relation(LOCATOR);
  for (let round = 0; round < 3; round++) {
    const streams: ReadStream[] = [];
    const error = thrownBy(() => {
      for (;;) streams.push(relation.read());
    });
    assert.is(error.code, 'PGAIO_LOCAL_MEMORY');
    assert.match(
      error.message,
      /^out of local memory: a read stream needs \d+ bytes, \d+ are left$/,
    );
    assert.ok(streams.length >= 30, `${streams.length} streams`);
    for (const stream of streams) stream[Symbol.dispose]();
  }
});

pool('knows relations by their paths', () => {
  const of = (path: string) => {
    const { locator, fork, temp } = relationOfPath(path);
    return [locator.spcOid, locator.dbOid, locator.relNumber, fork, temp];
  };
  assert.equal(of('base/5/16384'), [1663, 5, 16384, 'main', false]);
  assert.equal(of('base/5/16384_vm'), [1663, 5, 16384, 'vm', false]);
  assert.equal(of('global/1262_fsm'), [1664, 0, 1262, 'fsm', false]);
  assert.equal(of('pg_tblspc/16400/PG_18_202506291/5/77_init'), [16400, 5, 77, 'init', false]);
  assert.equal(of('base/5/t3_16384'), [1663, 5, 16384, 'main', true]);
  for (const path of ['', 'base/16384', 'base/5/16384.1', '/base/5/16384', 'base/5/16384_x']) {
    assert.is(thrownBy(() => relationOfPath(path)).message, `"${path}" is no path of a relation`);
  }
});
pool.run();
