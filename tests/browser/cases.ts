/**
 * What the browser's host must do, run in a page and in its workers: tests/browser.test.ts asks
 * for the cases by name. Node's assert is uvu's here, too.
 */
import * as assert from 'uvu/assert';
import {
  Aio,
  AioError,
  type AioOptions,
  AioPageError,
  constants,
} from '../../host/browser/index.ts';
import { patternPage, putChecksum } from '../page-vectors.ts';

const PAGE_BYTES = 8192;
const SMALL: AioOptions = { sharedBuffers: 64, ioFrames: 64, ioMaxConcurrency: 4, maxBackends: 4 };
const RELATION = { spcOid: 1663, dbOid: 5, relNumber: 16384 } as const;

export interface BrowserCase {
  /** Threads it runs in: the page's main thread, a dedicated worker. */
  readonly where: readonly ('page' | 'worker')[];
  /** Whether the page must be cross-origin isolated. @default both */
  readonly isolated?: boolean;
  run(): Promise<void>;
}

const isPage = typeof document !== 'undefined';
const EVERYWHERE = ['page', 'worker'] as const;

function goodPage(block: number): Uint8Array {
  return putChecksum(patternPage(PAGE_BYTES), block);
}
function pages(count: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(count * PAGE_BYTES);
  for (let block = 0; block < count; block++) bytes.set(goodPage(block), block * PAGE_BYTES);
  return bytes;
}
function same(actual: Uint8Array, expected: Uint8Array): void {
  assert.is(actual.length, expected.length);
  const differs = actual.findIndex((byte, at) => byte !== expected[at]);
  assert.is(differs, -1, `byte ${differs} differs`);
}
async function codeOf(act: () => unknown): Promise<string> {
  try {
    await act();
    return 'done';
  } catch (error) {
    if (error instanceof AioError) return error.code;
    throw error;
  }
}

/** Reads all of a file in one I/O per page, several in flight. */
async function readAll(aio: Aio, path: string): Promise<Uint8Array> {
  using file = aio.open(path);
  const count = Math.ceil(file.size() / PAGE_BYTES);
  using frames = aio.frames(count);
  const ios = Array.from({ length: count }, (_, i) =>
    file.read(frames.slice(i, i + 1), i * PAGE_BYTES),
  );
  for (const io of ios) assert.is((await io).result, PAGE_BYTES);
  return frames.bytes.slice();
}

/** In another thread, over the token of this one; ends when the returned function is called. */
async function guest(aio: Aio, task: string): Promise<{ answer: string; end(): void }> {
  const worker = new Worker(import.meta.url, { type: 'module' });
  const answer = await new Promise<string>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data.answer);
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage({ guest: task, token: aio.token });
  });
  return { answer, end: () => worker.terminate() };
}

/** Holds the lock of the page frames for a while, as a thread that is slow in there. */
function holdLock(memory: WebAssembly.Memory): string {
  const words = new Int32Array(memory.buffer);
  const at = (constants.CTL_AT + constants.PgAioCtl.fields.frame_lock.offset) >>> 2;
  Atomics.store(words, at, SOMEBODY);
  postMessage({ answer: 'held' });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, HELD_MS);
  Atomics.store(words, at, 0);
  Atomics.notify(words, at);
  return 'released';
}
/** A thread's mark that no engine here has. */
const SOMEBODY = 0x7777;
const HELD_MS = 100;

/** What `guest` runs in its thread. */
export async function runGuest(task: string, token: Aio['token']): Promise<string> {
  if (task === 'lock') return holdLock(token.memory);
  const aio = await Aio.attach(token);
  if (task === 'hold') {
    aio.acquire();
    return String(aio.procno);
  }
  if (task === 'frames') {
    for (let i = 0; i < 3000; i++) aio.frames(1 + (i % 3))[Symbol.dispose]();
    aio[Symbol.dispose]();
    return 'done';
  }
  const bytes = await readAll(aio, 'relation');
  aio[Symbol.dispose]();
  return String(bytes[PAGE_BYTES + 100]);
}

export const CASES: Readonly<Record<string, BrowserCase>> = {
  'says which build and method it chose, and why': {
    where: EVERYWHERE,
    async run() {
      await using memory = await Aio.create({ ...SMALL, files: { a: pages(1) } });
      await using picked = await Aio.create({ ...SMALL, files: { a: new Blob([pages(1)]) } });
      const isolated = globalThis.crossOriginIsolated;
      const because = isolated
        ? 'the page is cross-origin isolated: shared memory'
        : 'the page is not cross-origin isolated: plain memory';
      assert.equal(memory.choice, {
        build: isolated ? 'shared' : 'unshared',
        method: 'sync',
        reason: isolated ? `${because}; files of provider "wasmer" belong to one thread` : because,
      });
      const method = isolated ? 'worker' : isPage ? 'host' : 'sync';
      const tail = {
        worker: ', I/O workers',
        host: '; the page reads files as promises',
        sync: '',
      };
      assert.equal(picked.choice, {
        build: isolated ? 'shared' : 'unshared',
        method,
        reason: because + tail[method],
      });
      assert.is(picked.show('io_method'), method);
      const files = { a: new Blob([pages(1)]) };
      await using auto = await Aio.create({ ...SMALL, files, ioMethod: 'auto' as never });
      assert.equal(auto.choice, picked.choice, 'what is left to the engine');
    },
  },
  'reads, writes and verifies files in memory': {
    where: EVERYWHERE,
    async run() {
      await using aio = await Aio.create({ ...SMALL, files: { 'base/5/16384': pages(4) } });
      same(await readAll(aio, 'base/5/16384'), pages(4));
      using file = aio.open('base/5/16384', { write: true });
      using frames = aio.frames(1);
      frames.bytes.fill(7);
      assert.is((await file.write(frames, 2 * PAGE_BYTES)).result, PAGE_BYTES);
      await file.fsync();
      using three = aio.frames(4);
      const io = aio
        .acquire()
        .setTarget({ relation: RELATION, block: 0, blocks: 4 })
        .register(constants.PGAIO_HCB_PAGE_READV)
        .register(constants.PGAIO_HCB_MD_READV)
        .startReadv(file, three, 0);
      const error = await Promise.resolve(io).catch((e: unknown) => e);
      assert.instance(error, AioPageError);
      assert.is((error as Error).message, 'invalid page in block 2 of relation "base/5/16384"');
      assert.equal(
        io.result?.verdicts.map(({ valid }) => valid),
        [true, true, false, true],
      );
    },
  },
  'reads a picked file, several at once': {
    where: EVERYWHERE,
    async run() {
      const files = { relation: new File([pages(16)], 'relation') };
      await using aio = await Aio.create({ ...SMALL, files });
      same(await readAll(aio, 'relation'), pages(16));
      const own = aio.choice.method === 'sync' ? 16n : 0n;
      if (aio.choice.method !== 'worker') assert.is(aio.stats().synchronous, own);
      assert.is(aio.stats().file.reads, 16n);
      using file = aio.open('relation');
      using two = aio.frames(2);
      const { status, result } = await file.read(two, 15 * PAGE_BYTES);
      assert.equal([status, result], ['PARTIAL', PAGE_BYTES]);
      assert.is(await codeOf(() => file.write(two, 0)), 'PGAIO_IO');
      assert.is(await codeOf(() => aio.open('other')), 'PGAIO_OPEN');
      assert.is(await codeOf(() => aio.open('relation', { write: true })), 'PGAIO_OPEN');
    },
  },
  'leaves reads of a picked file to I/O workers': {
    where: EVERYWHERE,
    isolated: true,
    async run() {
      const files = { relation: new Blob([pages(16)]) };
      await using aio = await Aio.create({ ...SMALL, files, trace: true });
      same(await readAll(aio, 'relation'), pages(16));
      const ended = aio.trace().filter(({ to }) => to === 'COMPLETED_IO');
      assert.is(ended.length, 16);
      assert.ok(
        ended.some(({ procno }) => procno === -1),
        'no I/O worker completed anything',
      );
    },
  },
  'reads a picked file in the issuer where that is asked for': {
    where: EVERYWHERE,
    async run() {
      const files = { relation: new Blob([pages(2)]) };
      await using aio = await Aio.create({ ...SMALL, files, ioMethod: 'sync' });
      same(await readAll(aio, 'relation'), pages(2));
      assert.is(aio.stats().synchronous, 2n);
      assert.is(aio.choice.reason, 'io_method "sync" was asked for');
    },
  },
  'reads and writes the Origin Private File System': {
    where: ['worker'],
    async run() {
      await using aio = await Aio.create({ ...SMALL, provider: 'opfs', root: 'pgaio-test' });
      assert.is(aio.choice.method, 'sync');
      assert.is(await codeOf(() => aio.open('base/relation')), 'PGAIO_NOT_PREPARED');
      {
        using file = await aio.openAsync('base/relation', { create: true });
        using frames = aio.frames(4);
        frames.bytes.set(pages(4));
        assert.is(
          (await file.write([frames.slice(0, 1), frames.slice(1)], 0)).result,
          4 * PAGE_BYTES,
        );
        await file.fdatasync();
        assert.is(file.size(), 4 * PAGE_BYTES);
      }
      {
        using first = await aio.openAsync('base/relation');
        using second = await aio.openAsync('base/relation');
        using frames = aio.frames(5);
        const { status, result } = await second.read(frames, 0);
        assert.equal([status, result], ['PARTIAL', 4 * PAGE_BYTES]);
        same(frames.bytes.slice(0, 4 * PAGE_BYTES), pages(4));
        assert.is(await codeOf(() => first.write(frames.slice(0, 1), 0)), 'PGAIO_IO');
      }
      const missing = await aio.openAsync('base/none').catch((error: Error) => error.message);
      assert.is(missing, 'could not open file "base/none": No such file or directory');
      const folder = await aio.openAsync('base').catch((error: Error) => error.message);
      assert.is(folder, 'could not open file "base": Is a directory');
      const root = await navigator.storage.getDirectory();
      await root.removeEntry('pgaio-test', { recursive: true });
    },
  },
  'says that the Origin Private File System is for workers': {
    where: ['page'],
    async run() {
      await using aio = await Aio.create({ ...SMALL, provider: 'opfs' });
      assert.is(
        await codeOf(() => aio.openAsync('file', { create: true })),
        'PGAIO_NO_ACCESS_HANDLE',
      );
    },
  },
  'makes a wait that would sleep an error in the page': {
    where: EVERYWHERE,
    isolated: true,
    async run() {
      const files = { relation: new Blob([pages(2)]) };
      await using aio = await Aio.create({ ...SMALL, files });
      await using other = await Aio.create({ memory: aio.memory, files });
      using file = aio.open('relation');
      using frames = aio.frames(1);
      const batch = aio.batch();
      const handle = aio.acquire().setTarget({ file });
      const ref = other.waitRef(handle.waitRef().token);
      const io = handle.register(constants.PGAIO_HCB_FILE).startReadv(file, frames, 0);
      assert.is(ref.waitSync(0), false);
      if (isPage) {
        const error = await Promise.resolve()
          .then(() => ref.waitSync())
          .catch((e: Error) => e.message);
        assert.is(error, 'this thread may not block: await instead');
      }
      batch[Symbol.dispose]();
      await ref.done();
      assert.is((await io).result, PAGE_BYTES);
    },
  },
  'is joined by another thread, from its token': {
    where: EVERYWHERE,
    isolated: true,
    async run() {
      const files = { relation: new Blob([pages(4)]) };
      await using aio = await Aio.create({ ...SMALL, files });
      const { answer, end } = await guest(aio, 'read');
      assert.is(answer, String(pages(2)[PAGE_BYTES + 100]));
      end();
      same(await readAll(aio, 'relation'), pages(4));
    },
  },
  'cleans up after a worker that is ended in the middle': {
    where: EVERYWHERE,
    isolated: true,
    async run() {
      await using aio = await Aio.create({ ...SMALL, files: { relation: new Blob([pages(1)]) } });
      const { answer, end } = await guest(aio, 'hold');
      const held = () => aio.inspect().filter(({ state }) => state === 'HANDED_OUT').length;
      assert.is(answer, '1');
      assert.is(held(), 1);
      end();
      for (let look = 0; look < 500 && held() > 0; look++) {
        await navigator.locks.request('pgaio-test-pause', () => fetch('data:,'));
      }
      assert.is(held(), 0);
    },
  },
  'shares its locks with busy workers without sleeping': {
    where: EVERYWHERE,
    isolated: true,
    async run() {
      await using aio = await Aio.create({ ...SMALL, files: { relation: new Blob([pages(1)]) } });
      const guests = [guest(aio, 'frames'), guest(aio, 'frames')];
      let over = false;
      const done = Promise.all(guests).then((all) => {
        over = true;
        return all;
      });
      let taken = 0;
      while (!over) {
        for (let i = 0; i < 200; i++, taken++) aio.frames(2)[Symbol.dispose]();
        await fetch('data:,');
      }
      for (const { answer, end } of await done) {
        assert.is(answer, 'done');
        end();
      }
      assert.ok(taken > 200, `${taken} times`);
    },
  },
  'takes a lock that is held for long by looking on': {
    where: EVERYWHERE,
    isolated: true,
    async run() {
      await using aio = await Aio.create({ ...SMALL, files: { relation: new Blob([pages(1)]) } });
      const { answer, end } = await guest(aio, 'lock');
      assert.is(answer, 'held');
      using frames = aio.frames(1);
      assert.is(frames.count, 1);
      end();
    },
  },
  'runs callbacks of modules in I/O workers': {
    where: EVERYWHERE,
    isolated: true,
    async run() {
      const text =
        'export const callbacks = { 40: { completeShared(io, result) {' +
        ' result.status = "WARNING"; result.errorData = 77; },' +
        ' report: () => "seen" } };';
      const callbackModules = [`data:text/javascript,${encodeURIComponent(text)}`];
      const files = { relation: new Blob([pages(1)]) };
      await using aio = await Aio.create({ ...SMALL, files, callbackModules });
      using file = aio.open('relation');
      using frames = aio.frames(1);
      const { status, errorData } = await aio
        .acquire()
        .setTarget({ file })
        .register(40)
        .startReadv(file, frames, 0);
      assert.equal([status, errorData], ['WARNING', 77]);
    },
  },
  'takes the core as a URL and as a module': {
    where: EVERYWHERE,
    async run() {
      const name = globalThis.crossOriginIsolated ? 'pgaio.wasm' : 'pgaio-unshared.wasm';
      const url = new URL(name, location.href);
      const module = await WebAssembly.compile(await (await fetch(url)).arrayBuffer());
      for (const wasmModule of [url, module]) {
        const files = { relation: new Blob([pages(2)]) };
        await using aio = await Aio.create({ ...SMALL, files, wasmModule });
        same(await readAll(aio, 'relation'), pages(2));
      }
    },
  },
  'refuses shared memory and I/O workers where the page is not isolated': {
    where: EVERYWHERE,
    isolated: false,
    async run() {
      const files = { relation: new Blob([pages(1)]) };
      const worker = () => Aio.create({ ...SMALL, files, ioMethod: 'worker' });
      assert.is(await codeOf(worker), 'PGAIO_NOT_ISOLATED');
      assert.is(await codeOf(() => Aio.create({ ...SMALL, ioMethod: 'host' })), 'PGAIO_NO_DEVICE');
    },
  },
  'settles what is in flight when it is disposed': {
    where: EVERYWHERE,
    async run() {
      const aio = await Aio.create({ ...SMALL, files: { relation: new Blob([pages(8)]) } });
      const file = aio.open('relation');
      const frames = aio.frames(8);
      const ios = Array.from({ length: 4 }, (_, i) =>
        Promise.resolve(file.read(frames.slice(i, i + 1), i * PAGE_BYTES)),
      );
      await aio[Symbol.asyncDispose]();
      const results = await Promise.all(ios.map((io) => io.then(({ result }) => result)));
      assert.equal(results, [PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, PAGE_BYTES]);
      assert.is(await codeOf(() => aio.frames(1)), 'PGAIO_NO_BACKEND');
    },
  },
};
