/** fsync, fdatasync, flush_range: operations that move no bytes, in every method and provider. */
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PGAIO_HCB_FILE, PGAIO_HCB_MD_WRITEV } from '../bindings/layout.ts';
import {
  Aio,
  type AioFile,
  type AioOptions,
  type IoHandle,
  type IoResult,
  type PendingIo,
} from '../host/node/index.ts';
import { BLOCK, blockFile, endOf, Gate, idleWorkers, scratchDirectory } from './threads-fixture.ts';

const folder = scratchDirectory('operations');
blockFile(`${folder}/blocks`, 8);

interface Operation {
  readonly name: string;
  readonly verb: string;
  readonly start: (handle: IoHandle, file: AioFile) => PendingIo;
  readonly ofFile: (file: AioFile) => PendingIo;
}
const OPERATIONS: readonly Operation[] = [
  {
    name: 'fsync',
    verb: 'fsync',
    start: (handle, file) => handle.startFsync(file),
    ofFile: (file) => file.fsync(),
  },
  {
    name: 'fdatasync',
    verb: 'fdatasync',
    start: (handle, file) => handle.startFdatasync(file),
    ofFile: (file) => file.fdatasync(),
  },
  {
    name: 'flush_range',
    verb: 'flush',
    start: (handle, file) => handle.startFlushRange(file, BLOCK, 2 * BLOCK),
    ofFile: (file) => file.flushRange(BLOCK, 2 * BLOCK),
  },
];
const PLACES = (['sync', 'worker'] as const).flatMap((ioMethod) =>
  (['direct', 'wasi'] as const).map((provider) => ({ ioMethod, provider })),
);
const EIO = 29; // WASI's number
const ENOSPC = 51;

interface Opened extends AsyncDisposable {
  readonly aio: Aio;
  readonly gate: Gate;
  readonly file: AioFile;
  readonly path: string;
}
async function open(place: (typeof PLACES)[number], options: AioOptions = {}): Promise<Opened> {
  const gate = new Gate().open();
  const wasi = place.provider === 'wasi';
  const aio = await Aio.create({
    provider: gate.provider(wasi ? folder : undefined),
    ioMethod: place.ioMethod,
    ioMaxConcurrency: 16,
    ioFrames: 64,
    maxBackends: 2,
    ioWorkers: 2,
    onReport: () => undefined,
    ...options,
  });
  if (place.ioMethod === 'worker') await idleWorkers(aio, 2);
  const path = wasi ? 'blocks' : `${folder}/blocks`;
  const file = aio.open(path, { write: true });
  return { aio, gate, file, path, [Symbol.asyncDispose]: () => aio[Symbol.asyncDispose]() };
}

function fine({ status, result, error, errorData, id }: IoResult): void {
  assert.equal(
    { status, result, error, errorData, id },
    {
      status: 'OK',
      result: 0,
      error: undefined,
      errorData: 0,
      id: 0,
    },
  );
}

for (const place of PLACES) {
  const byWorker = place.ioMethod === 'worker';
  const test = suite(`operations: ${place.ioMethod}, ${place.provider}:`);
  for (const { name, verb, start, ofFile } of OPERATIONS) {
    test(`${name} of a file ends well with 0`, async () => {
      await using opened = await open(place);
      const { aio, file, gate } = opened;
      fine(await ofFile(file));
      fine(ofFile(file).waitSync());
      assert.is(gate.calls, 2);
      assert.is(aio.stats().file.fsyncs, 2n);
      assert.is(aio.stats().synchronous, byWorker ? 0n : 2n, 'an I/O worker does it');
    });
    test(`${name} through a handle ends well, with callbacks and without`, async () => {
      await using opened = await open(place);
      const { aio, file } = opened;
      fine(await start(aio.acquire().setTarget({ file }).register(PGAIO_HCB_FILE), file));
      fine(await start(aio.acquire().setTarget({ file }), file));
      const relation = { spcOid: 1663, dbOid: 5, relNumber: 1 };
      const handle = aio.acquire().setTarget({ relation, block: 0, blocks: 1 });
      fine(await start(handle.register(PGAIO_HCB_MD_WRITEV), file));
      assert.equal([aio.stats().relation.fsyncs, aio.stats().file.fsyncs], [1n, 2n]);
    });
    test(`${name} in a batch is submitted with it`, async () => {
      await using opened = await open(place);
      const { aio, file } = opened;
      const ios: PendingIo[] = [];
      {
        using _ = aio.batch();
        for (let i = 0; i < 5; i++) {
          ios.push(start(aio.acquire().setTarget({ file }).register(PGAIO_HCB_FILE), file));
        }
        assert.is(aio.haveStaged, byWorker);
        if (byWorker) {
          const rows = aio.inspect().map(({ operation, state }) => `${operation} ${state}`);
          assert.equal(rows, Array(5).fill(`${name} STAGED`));
        }
      }
      for (const io of ios) fine(await io);
      assert.is(aio.stats().submissions, byWorker ? 1n : 0n);
    });
    test(`${name} that fails says what PostgreSQL would`, async () => {
      await using opened = await open(place);
      const { file, gate, path, aio } = opened;
      const errors: [number, string, number, string][] = [
        [EIO, 'Input/output error', 5, '58030'],
        [ENOSPC, 'No space left on device', 28, '53100'],
      ];
      for (const [wasiErrno, words, errno, sqlstate] of errors) {
        gate.wasiErrno = wasiErrno;
        const found = await ofFile(file).catch((thrown: unknown) => thrown);
        const error = found as Error & { code: string; errno: number; sqlstate: string };
        assert.is(error.message, `could not ${verb} file "${path}": ${words}`);
        assert.equal([error.code, error.errno, error.sqlstate], ['PGAIO_IO', errno, sqlstate]);
      }
      assert.is(aio.stats().errors, 2n);
      gate.wasiErrno = 0;
      fine(await ofFile(file));
    });
    test(`${name} without callbacks does not pass for a success when it fails`, async () => {
      await using opened = await open(place);
      const { aio, file, gate, path } = opened;
      gate.wasiErrno = EIO;
      const io = start(aio.acquire().setTarget({ file }), file);
      const error = await io.catch((thrown: unknown) => thrown);
      assert.match((error as Error).message, `file "${path}": Input/output error`);
      assert.is((error as { code: string }).code, 'PGAIO_IO');
    });
    test(`${name} of a relation that fails names it`, async () => {
      await using opened = await open(place);
      const { aio, file, gate } = opened;
      gate.wasiErrno = EIO;
      const relation = { spcOid: 1663, dbOid: 5, relNumber: 77 };
      const handle = aio.acquire().setTarget({ relation, block: 0, blocks: 1 });
      const io = start(handle.register(PGAIO_HCB_MD_WRITEV), file);
      const error = await io.catch((thrown: unknown) => thrown);
      const words = `could not ${verb} file "base/5/77": Input/output error`;
      assert.is((error as Error).message, words);
    });
    test(`${name} is a row of pg_aios while it is under way`, async () => {
      if (!byWorker) return; // it is over before anybody can look
      await using opened = await open(place);
      const { aio, file, gate, path } = opened;
      gate.shut();
      const io = ofFile(file);
      await gate.crowd(1);
      const [row] = aio.inspect();
      assert.is(row?.operation, name);
      assert.is(row?.state, 'SUBMITTED');
      assert.is(row?.target_desc, `file "${path}"`);
      const range = name === 'flush_range';
      assert.equal([row?.off, row?.length], range ? [BLOCK, 2 * BLOCK] : [0, 0]);
      assert.is(row?.raw_result, null);
      gate.open();
      fine(await io);
    });
    test(`${name} shows its name in the trace`, async () => {
      await using opened = await open(place, { trace: true });
      const { aio, file } = opened;
      fine(await ofFile(file));
      const states = aio.trace().filter(({ op }) => op === name);
      assert.equal(
        states.map(({ to }) => to),
        [
          'DEFINED',
          'STAGED',
          'SUBMITTED',
          'COMPLETED_IO',
          'COMPLETED_SHARED',
          'COMPLETED_LOCAL',
          'IDLE',
        ],
      );
    });
  }
  test('writes and what brings them to the device keep the order of awaiting', async () => {
    await using opened = await open(place);
    const { aio, file } = opened;
    using frames = aio.frames(1);
    for (let i = 0; i < 4; i++) {
      frames.bytes.fill(100 + i);
      assert.is((await file.write(frames, i * BLOCK)).result, BLOCK);
      fine(await file.fdatasync());
    }
    const bytes = readFileSync(`${folder}/blocks`);
    assert.equal(
      [0, 1, 2, 3].map((i) => bytes[i * BLOCK + 17]),
      [100, 101, 102, 103],
    );
  });
  test('a range that is none is refused, and the handle is still good', async () => {
    await using opened = await open(place);
    const { aio, file } = opened;
    const ranges: [number, number, string][] = [
      [-1, BLOCK, 'PGAIO_BAD_OFFSET'],
      [0.5, BLOCK, 'PGAIO_BAD_OFFSET'],
      [0, -1, 'PGAIO_BAD_LENGTH'],
      [0, 0.5, 'PGAIO_BAD_LENGTH'],
      [0, 2147479553, 'PGAIO_BAD_LENGTH'],
      [0, Number.NaN, 'PGAIO_BAD_LENGTH'],
    ];
    for (const [offset, bytes, code] of ranges) {
      using handle = aio.acquire().setTarget({ file });
      assert.is(await endOf(() => handle.startFlushRange(file, offset, bytes)), code);
      assert.is(handle.state, 'HANDED_OUT');
    }
    assert.is(await endOf(() => file.flushRange(-1, 1)), 'PGAIO_BAD_OFFSET');
    fine(await file.flushRange(0, 0));
    fine(await file.flushRange(0, 2147479552));
    assert.equal(aio.inspect(), []);
  });
  test('an operation without target is refused', async () => {
    await using opened = await open(place);
    const { aio, file } = opened;
    for (const { start } of OPERATIONS) {
      using handle = aio.acquire();
      assert.is(await endOf(() => start(handle, file)), 'PGAIO_NO_TARGET');
    }
  });
  test.run();
}

const raw = suite('operations: the raw result');
raw('of an operation that moves no bytes is 0 or an errno, from any device', async () => {
  const submitted: number[] = [];
  const aio = await Aio.create({
    provider: 'direct',
    ioMethod: 'host',
    ioFrames: 64,
    ioMaxConcurrency: 8,
    device: { submit: (ids) => void submitted.push(...ids) },
    onReport: () => undefined,
  });
  const file = aio.open(`${folder}/blocks`, { write: true });
  for (const { ofFile, name } of OPERATIONS) {
    const io = ofFile(file);
    const [id = -1] = submitted.splice(0);
    for (const wrong of [1, BLOCK, -4096]) {
      assert.is(await endOf(() => aio.complete(id, wrong)), 'PGAIO_BAD_RESULT', `${name} ${wrong}`);
    }
    assert.is(io.settled, false);
    aio.complete(id, 0);
    fine(await io);
    const failing = ofFile(file);
    aio.complete(submitted.splice(0)[0] ?? -1, -4095);
    assert.is(await endOf(() => failing), 'PGAIO_IO');
  }
  await aio[Symbol.asyncDispose]();
});
raw.run();
