/**
 * AioFile.readPages and skimPages: pages of a relation read from a file that was opened by its
 * path, on every method; the same reads through a handle are what they are compared with.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import type { Aio, AioFile, IoBuffer, IoResult } from '../host/node/index.ts';
import { Cluster, engineOver, LOCATOR, PLACES } from './relation-fixture.ts';
import { BLOCK, endOf } from './threads-fixture.ts';

/** What can be compared of a result: everything but who explains it. */
function partsOf(result: IoResult | undefined) {
  if (result === undefined) return undefined;
  const { status, errorData, result: blocks, target, verdicts, allValid, anyNew } = result;
  return { status, errorData, blocks, target, verdicts, allValid, anyNew };
}

/** The long way: a handle, its target, its callbacks. */
async function byHandle(aio: Aio, file: AioFile, buffer: IoBuffer, block: number) {
  const blocks = buffer.byteLength / BLOCK;
  const handle = aio.acquire().setTarget({ relation: LOCATOR, block, blocks });
  handle.register(layout.PGAIO_HCB_PAGE_READV).register(layout.PGAIO_HCB_MD_READV);
  const io = handle.startReadv(file, buffer, block * BLOCK);
  await io.then(
    () => undefined,
    () => undefined,
  );
  return partsOf(io.result);
}

for (const place of PLACES) {
  const test = suite(`pages of a file (${place.name})`);
  const cluster = new Cluster();
  const name = place.provider === 'wasi' ? 'base/5/16384' : cluster.path();
  const open = (options = {}) => engineOver(cluster, place, options);

  test('are verified as through a handle, good and bad, to the end of the file', async () => {
    cluster.fill(40, { bad: [17, 21] });
    await using aio = await open();
    using file = aio.open(name);
    using frames = aio.frames(8);
    const said: string[] = [];
    for (const block of [0, 8, 16, 35, 39, 40]) {
      const io = file.readPages(frames, block * BLOCK, { relation: LOCATOR, block });
      const words = await endOf(() => io);
      assert.equal(partsOf(io.result), await byHandle(aio, file, frames, block), `${block}`);
      said.push(words);
      assert.is(io.result?.allValid, block <= 8, `${block}`);
    }
    assert.equal(said, ['done', 'done', 'PGAIO_PAGE', 'done', 'done', 'PGAIO_SHORT']);
  });

  test('are passed over as long as they are in order, a few at a time', async () => {
    cluster.fill(40, { bad: [17, 21] });
    await using aio = await open();
    using file = aio.open(name);
    using frames = aio.frames(4);
    const skim = (from: number, blocks: number): number =>
      file.skimPages(frames, from * BLOCK, { relation: LOCATOR, block: from }, blocks);
    const before = aio.stats().relation;
    assert.is(skim(0, 16), 16);
    assert.is(skim(1, 7), 7, 'the last I/O is shorter');
    const { reads, readBytes } = aio.stats().relation;
    assert.equal([reads - before.reads, readBytes - before.readBytes], [6n, BigInt(23 * BLOCK)]);
    assert.is(skim(0, 40), 16, 'the I/O with block 17 in it does not count');
    assert.is(skim(17, 1), 0);
    assert.is(skim(22, 18), 18);
    assert.is(skim(36, 8), 4, 'the file ends');
    assert.is(skim(40, 4), 0);
    assert.is(skim(0, 0), 0);
    assert.is(file.skimPages(frames, 0, { relation: LOCATOR, block: 5 }, 4), 0, 'other blocks');
    assert.equal(aio.inspect(), [], 'nothing is in flight, nothing in hand');
    const batch = aio.batch();
    const held = file.readPages(frames.slice(3, 4), 0, { relation: LOCATOR, block: 0 });
    assert.is(file.skimPages(frames.slice(0, 2), 0, { relation: LOCATOR, block: 0 }, 4), 4);
    batch[Symbol.dispose]();
    assert.is((await held).allValid, true);
  });

  test('that are new, or cannot be read, end the passing over', async () => {
    cluster.fill(12, { zero: [8] });
    await using aio = await open();
    using file = aio.open(name);
    using frames = aio.frames(4);
    const of = { relation: LOCATOR, block: 0 };
    assert.is(file.skimPages(frames, 0, of, 12), 8);
  });

  test('know their block: another relation’s, or elsewhere, they are not valid', async () => {
    cluster.fill(4);
    await using aio = await open();
    using file = aio.open(name);
    using frames = aio.frames(2);
    const io = file.readPages(frames, BLOCK, { relation: LOCATOR, block: 7, fork: 'vm' });
    const error = await io.then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    assert.match(error?.message ?? '', /blocks 7\.\.8 .*"base\/5\/16384_vm"/);
    assert.equal(
      io.result?.verdicts.map(({ checksumFailed }) => checksumFailed),
      [true, true],
    );
  });

  test('wait for a handle in the order of the calls', async () => {
    cluster.fill(16);
    await using aio = await open({ ioMaxConcurrency: 2 });
    using file = aio.open(name);
    using frames = aio.frames(16);
    const reads = Array.from({ length: 16 }, (_, block) =>
      file.readPages(frames.slice(block, block + 1), block * BLOCK, { relation: LOCATOR, block }),
    );
    const results = await Promise.all(reads);
    assert.ok(results.every(({ allValid, result }) => allValid && result === 1));
    assert.equal(
      results.map(({ target }) => target.blockNum),
      reads.map((_, block) => block),
    );
  });

  test('are refused where the call makes no sense, and nothing is left over', async () => {
    cluster.fill(4);
    await using aio = await open();
    const file = aio.open(name);
    using frames = aio.frames(4);
    const whole = { relation: LOCATOR, block: 0 };
    const half: IoBuffer = { frames, address: frames.address, byteLength: BLOCK / 2 };
    const refusals: [() => unknown, string][] = [
      [() => file.readPages(half, 0, whole), 'PGAIO_BAD_NUMBER'],
      [() => file.readPages(frames, 0, { ...whole, block: -1 }), 'PGAIO_BAD_NUMBER'],
      [() => file.readPages(frames, 0, { ...whole, block: 2 ** 32 - 2 }), 'PGAIO_BAD_BLOCKS'],
      [() => file.readPages(frames, -1, whole), 'PGAIO_BAD_OFFSET'],
    ];
    refusals.push(
      [() => file.skimPages(half, 0, whole, 1), 'PGAIO_BAD_BLOCKS'],
      [() => file.skimPages(frames, 0, whole, -1), 'PGAIO_BAD_NUMBER'],
      [() => file.skimPages(frames, -1, whole, 1), 'PGAIO_BAD_OFFSET'],
      [() => file.skimPages(frames, 0, { ...whole, block: 2 ** 32 - 2 }, 4), 'PGAIO_BAD_BLOCKS'],
    );
    for (const [call, code] of refusals) assert.is(await endOf(call), code);
    file.close();
    for (const call of [
      () => file.readPages(frames, 0, whole),
      () => file.skimPages(frames, 0, whole, 1),
    ]) {
      assert.match(await endOf(call), /is closed/);
    }
    assert.equal(aio.inspect(), []);
  });
  test.run();
}
