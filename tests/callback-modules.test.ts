/** Callbacks that every thread loads from modules, so that I/O workers run them, too. */
import { threadId } from 'node:worker_threads';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PGAIO_HCB_FILE } from '../bindings/layout.ts';
import type { AioReport } from '../bindings/report.ts';
import { Aio, type AioOptions, type PendingIo } from '../host/node/index.ts';
import { attach, join as joinRaw } from '../host/node/raw.ts';
import {
  BackendThread,
  BLOCK,
  blockFile,
  endOf,
  Gate,
  idleWorkers,
  scratchDirectory,
  until,
  within,
} from './threads-fixture.ts';

const path = blockFile(`${scratchDirectory('callbacks')}/blocks`, 8);

/** A module as a URL. */
function moduleOf(text: string): string {
  return `data:text/javascript,${encodeURIComponent(text)}`;
}
const CALLBACKS = moduleOf(`
  import { threadId } from 'node:worker_threads';
  export const callbacks = {
    32: { // who ran it
      completeShared(io, result) { result.result = threadId; },
    },
    33: { // what it was given
      completeShared(io, result, data) {
        result.errorData = io.data.reduce((sum, value) => sum + Number(value), data);
        result.status = 'WARNING';
        result.result = io.length;
      },
      report: (errorData, result) => 'sum ' + errorData + ' of ' + result + ' bytes',
    },
    34: {
      completeShared() { throw new Error('not today'); },
    },
    35: {
      completeShared(io, result) { result.result += 1; },
      completeLocal(io, result) { result.result += 100; },
    },
  };`);
const options: AioOptions = {
  ioFrames: 64,
  ioMaxConcurrency: 8,
  ioWorkers: 2,
  maxBackends: 3,
  callbackModules: [CALLBACKS],
};

function read(aio: Aio, id: number, values: readonly bigint[] = [], data = 0): PendingIo {
  const file = aio.open(path);
  const handle = aio.acquire().setTarget({ file }).register(id, data).register(PGAIO_HCB_FILE);
  if (values.length > 0) handle.setData(values);
  return handle.startReadv(file, aio.frames(1), 0);
}

const running = suite('callback modules: a callback');
running('runs in the I/O worker that executes the I/O', async () => {
  const gate = new Gate();
  await using aio = await Aio.create({ ...options, provider: gate.provider() });
  const view = await idleWorkers(aio, 2);
  const ios = [read(aio, 32), read(aio, 32)];
  await gate.crowd(2);
  gate.open();
  const threads = (await Promise.all(ios)).map(({ result }) => result);
  assert.equal(threads.sort(), [view.thread(0), view.thread(1)].sort());
  assert.is(aio.stats().synchronous, 0n);
});
running('runs in the issuer when the issuer executes the I/O', async () => {
  await using aio = await Aio.create({ ...options, provider: 'direct', ioMethod: 'sync' });
  assert.is((await read(aio, 32)).result, threadId);
});
running('sees data and byte of the I/O, and its words are known to the issuer', async () => {
  await using aio = await Aio.create({ ...options, provider: 'direct' });
  await idleWorkers(aio, 2);
  const { status, errorData, result, error } = await read(aio, 33, [10n, 20n, 1n << 20n], 5);
  assert.equal([status, errorData, result], ['WARNING', 35 + (1 << 20), BLOCK]);
  assert.is(error?.message, `sum ${35 + (1 << 20)} of ${BLOCK} bytes`);
  assert.is(error?.code, 'PGAIO_CALLBACK');
});
running('has one part where the I/O ends and one where its issuer takes it back', async () => {
  await using aio = await Aio.create({ ...options, provider: 'direct' });
  await idleWorkers(aio, 2);
  assert.is((await read(aio, 35)).result, BLOCK + 101);
});
running('that throws makes an error of the I/O and no more', async () => {
  const reports: AioReport[] = [];
  await using aio = await Aio.create({
    ...options,
    provider: 'direct',
    onReport: (report) => reports.push(report),
  });
  const view = await idleWorkers(aio, 2);
  const thread = view.thread(0);
  const error = await read(aio, 34).catch((thrown: unknown) => thrown as Error);
  assert.instance(error, Error);
  assert.equal(
    [(error as { code?: string }).code, (error as { callback?: number }).callback],
    ['PGAIO_CALLBACK_THREW', 34],
  );
  assert.match((error as Error).message, /^callback 34 threw/);
  await within(
    'a report',
    until('a report', () => reports.length > 0),
  );
  assert.match(reports[0]?.message ?? '', /^callback 34 threw: not today/);
  assert.is(reports[0]?.context, 'I/O worker executing I/O on behalf of backend 0');
  for (let i = 0; i < 10; i++) assert.is((await read(aio, 35)).result, BLOCK + 101);
  assert.is(view.thread(0), thread, 'its worker lives on');
  assert.is(aio.stats().synchronous, 0n);
});
running('that throws says so the same way in the issuer', async () => {
  const reports: AioReport[] = [];
  await using aio = await Aio.create({
    ...options,
    provider: 'direct',
    ioMethod: 'sync',
    onReport: (report) => reports.push(report),
  });
  const error = await read(aio, 34).catch((thrown: unknown) => thrown as Error);
  assert.is((error as Error).message, 'callback 34 threw: not today');
  assert.equal(
    reports.map(({ message, severity }) => [severity, message]),
    [['LOG', 'callback 34 threw: not today']],
  );
  assert.is((await read(aio, 35)).result, BLOCK + 101);
});
running('is loaded by threads that join', async () => {
  await using aio = await Aio.create({ ...options, provider: 'direct' });
  const thread = await BackendThread.start(aio.token);
  assert.equal(aio.token.callbackModules, [CALLBACKS]);
  await using other = await Aio.attach(aio.token);
  await idleWorkers(aio, 2);
  assert.is((await read(other, 35)).result, BLOCK + 101);
  await thread.terminate();
});
running.run();

const good = 'export const callbacks = { 32: { completeShared() {} } };';
const REFUSED: readonly [string, string[], RegExp][] = [
  ['cannot be found', ['file:///nowhere/at/all.mjs'], /Cannot find module/],
  ['cannot be parsed', [moduleOf('export const callbacks = {')], /Unexpected|Expected/],
  ['throws', [moduleOf('throw new Error("broken");')], /: broken$/],
  ['exports no callbacks', [moduleOf('export const other = 1;')], /: it exports no object `callb/],
  ['exports callbacks that are none', [moduleOf('export const callbacks = 3;')], /no object `c/],
  ['has an id below 32', [moduleOf(good.replace('32', '31'))], /: callback id 31 is not in 32 /],
  ['has an id above 63', [moduleOf(good.replace('32', '64'))], /: callback id 64 is not in 32 /],
  ['has an id that is no number', [moduleOf(good.replace('32', 'a'))], /: callback id a is not in/],
  ['has an id with a fraction', [moduleOf(good.replace('32', '32.5'))], /: callback id 32\.5 is/],
  [
    'has an id that another has',
    [moduleOf(good), moduleOf(`${good}//`)],
    /: callback 32 is given by two modules$/,
  ],
];
const refusing = suite('callback modules: create refuses a module that');
for (const [sentence, callbackModules, words] of REFUSED) {
  for (const method of ['sync', 'worker'] as const) {
    refusing(`${sentence}, ${method}`, async () => {
      const made = Aio.create({
        ...options,
        provider: 'direct',
        ioMethod: method,
        callbackModules,
      });
      const error = await made.then(
        () => assert.unreachable('it was made'),
        (thrown: Error & { code?: string; hint?: string }) => thrown,
      );
      assert.is(error?.code, 'PGAIO_CALLBACK_MODULE');
      assert.match(error?.message ?? '', words);
      assert.match(error?.message ?? '', /^could not load callbacks from /);
      assert.match(error?.hint ?? '', 'Export `callbacks`');
    });
  }
}
refusing('has a callback without completion', async () => {
  const callbackModules = [moduleOf('export const callbacks = { 32: { stage() {} } };')];
  const made = Aio.create({ ...options, provider: 'direct', callbackModules });
  assert.is(await endOf(() => made), 'PGAIO_CALLBACK_MODULE');
});
refusing.run();

const raw = suite('callback modules: a raw backend');
raw('that lacks a callback another has is told so at registration', async () => {
  const settings = { io_method: 'worker', io_frames: 64, max_backends: 3 } as const;
  const one = await attach({ ...settings, provider: 'direct' });
  const two = await joinRaw(one.token);
  one.pgaio_register_host_callback(50, { complete_shared: () => undefined });
  const acquired = two.pgaio_io_acquire(0, 0);
  const error = (() => {
    try {
      two.pgaio_io_register_callbacks(acquired, 50, 0);
    } catch (thrown) {
      return thrown as Error & { code?: string };
    }
    return undefined;
  })();
  assert.is(error?.code, 'PGAIO_CALLBACK_MISSING');
  assert.is(error?.message, 'callback 50 is not loaded in this thread');
  assert.is(
    await endOf(() => two.pgaio_io_register_callbacks(acquired, 51, 0)),
    'PGAIO_CALLBACK_COMPLETION',
  );
  two.pgaio_io_release(acquired);
  two.pgaio_register_host_callback(50, { complete_shared: () => undefined });
  const again = two.pgaio_io_acquire(0, 0);
  two.pgaio_io_register_callbacks(again, 50, 0);
  two.pgaio_io_release(again);
  two.pgaio_shutdown();
  one.pgaio_shutdown();
});
raw('of a thread that left its slot leaves no callbacks to the next', async () => {
  const one = await attach({ provider: 'direct', io_frames: 64, max_backends: 2 });
  const two = await joinRaw(one.token);
  two.pgaio_register_host_callback(50, { complete_shared: () => undefined });
  two.pgaio_shutdown();
  const three = await joinRaw(one.token);
  assert.is(three.procno, two.procno);
  const acquired = three.pgaio_io_acquire(0, 0);
  assert.is(
    await endOf(() => three.pgaio_io_register_callbacks(acquired, 50, 0)),
    'PGAIO_CALLBACK_MISSING',
  );
  three.pgaio_shutdown();
  one.pgaio_shutdown();
});
raw.run();
