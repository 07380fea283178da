/**
 * Processes of tests/uring.test.ts, by their first word: what the choice of a method comes to, what
 * is registered with rings, what a memory full of nonsense does, what becomes of a terminated
 * thread's reads. The last one is also
 * for other versions of Node: `node dist/tests/uring-child.js terminated checked FILE 200`.
 */
import { fstatSync, openSync, readSync } from 'node:fs';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { AioError } from '../bindings/errors.ts';
import * as layout from '../bindings/layout.ts';
import { Aio, type AioToken } from '../host/node/index.ts';
import { reasonWords } from '../host/node/uring.ts';
import { Random } from './explorer/random.ts';
import { contextWord, operationsOf } from './uring-entries.ts';

const READS = 64;
const READ_PAGES = 16;
const BLOCK = 8192;
const PATTERN = 0xaa;
/** Turns of the event loop in which a late write would come. */
const TURNS = 2000;
const small = { sharedBuffers: 16, ioMaxConcurrency: READS, maxBackends: 2 } as const;

async function choice(path: string): Promise<void> {
  await using auto = await Aio.create({ ...small, ioMethod: 'auto' });
  const { fallback } = auto;
  const why = fallback === undefined ? '' : `, because ${reasonWords(fallback)}`;
  console.log(`auto: ${auto.show('io_method')}${why}`);
  try {
    await using exact = await Aio.create({ ...small, ioMethod: 'io_uring' });
    console.log(`io_uring: ${exact.show('io_method')}`);
  } catch (error) {
    if (!(error instanceof AioError)) throw error;
    console.log(`io_uring: ${error.code} ${error.message}`);
  }
  using file = auto.open(path);
  using frames = auto.frames(1);
  console.log(`read ${(await file.read(frames, 0)).result}`);
}

/** Overwrites all of the engine's memory, then closes what it has. */
async function spoilt(ring: 'checked' | 'shared', path: string, seed: number): Promise<void> {
  const others = Array.from({ length: 3 }, () => openSync(path, 'r'));
  const random = new Random(seed);
  const rounds = ring === 'checked' ? 20 : 3;
  for (let round = 0; round < rounds; round++) {
    const aio = await Aio.create({ ...small, ioFrames: 64, ioMethod: 'io_uring', ring });
    const file = aio.open(path);
    const frames = aio.frames(8);
    await file.read(frames, 0);
    for (let i = 0; i < 4; i++) void file.read(frames, 0).then(null, () => undefined);
    const words = new Uint32Array(aio.memory.buffer);
    for (let i = 0; i < words.length; i++) words[i] = random.below(2 ** 32);
    for (const act of [() => file.close(), () => aio.submitStaged(), () => aio[Symbol.dispose]()]) {
      try {
        act();
      } catch {
        // The engine is nonsense now, and says so in one way or another.
      }
    }
  }
  const page = new Uint8Array(1);
  const open = others.filter((fd) => fstatSync(fd).isFile() && readSync(fd, page, 0, 1, 0) === 1);
  console.log(`alive, ${open.length} of ${others.length} descriptors of others are open`);
  process.exit(0);
}

/** The thread: starts its reads and says so. */
async function issue(token: AioToken, path: string): Promise<void> {
  const aio = await Aio.attach(token);
  const file = openDirect(aio, path);
  const frames = aio.frames(READS * READ_PAGES);
  for (let i = 0; i < READS; i++) {
    const pages = frames.slice(i * READ_PAGES, (i + 1) * READ_PAGES);
    void file.read(pages, 0).then(null, () => undefined);
  }
  parentPort?.postMessage({ at: frames.address, bytes: frames.byteLength });
  for (;;) await new Promise((resolve) => setImmediate(resolve));
}
/** Past the page cache where that can be, so that reads take their time. */
function openDirect(aio: Aio, path: string) {
  try {
    return aio.open(path, { direct: true });
  } catch {
    return aio.open(path);
  }
}

async function terminated(ring: 'checked' | 'shared', path: string, rounds: number): Promise<void> {
  const ioFrames = READS * READ_PAGES;
  await using aio = await Aio.create({ ...small, ioFrames, ioMethod: 'io_uring', ring });
  const bytes = new Uint8Array(aio.memory.buffer);
  for (let round = 0; round < rounds; round++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: { token: aio.token, path } });
    const place = await new Promise<{ at: number; bytes: number }>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    await worker.terminate();
    const part = bytes.subarray(place.at, place.at + place.bytes);
    part.fill(PATTERN);
    for (let turn = 0; turn < TURNS; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    const first = part.findIndex((byte) => byte !== PATTERN);
    if (first >= 0) {
      console.log(`round ${round}: byte ${first} was written after the thread had ended`);
      process.exit(1);
    }
    while (aio.inspect().length > 0) await new Promise((resolve) => setImmediate(resolve));
  }
  console.log('nothing was written afterwards');
}

/** Four engines at once, the third with another backend; then the first is replaced. */
async function registered(path: string): Promise<void> {
  const settings = { ...small, ioFrames: 64, ioMethod: 'io_uring' } as const;
  const engines: Aio[] = [];
  const used = async (aio: Aio, name: string): Promise<void> => {
    engines.push(aio);
    using file = aio.open(path);
    using frames = aio.frames(1);
    const { result } = await file.read(frames, 0);
    const bytes = contextWord(aio, layout.PgAioUringContext.fields.fixed_bytes);
    console.log(`${name}: ${aio.show('fixed_buffers')}, ${bytes} bytes, read ${result}`);
  };
  for (let i = 1; i <= 4; i++) {
    const aio = await Aio.create(settings);
    await used(aio, `${i}`);
    if (i === 3) await used(await Aio.attach(aio.token), '3, another backend');
  }
  await engines.shift()?.[Symbol.asyncDispose]();
  await used(await Aio.create(settings), '1 again');
  for (const aio of engines.reverse()) await aio[Symbol.asyncDispose]();
}

/** Page frames beyond 1 GiB, and reads below, across and above the border. */
async function long(path: string): Promise<void> {
  const border = 2 ** 30 / BLOCK;
  const ioFrames = border + 64;
  await using aio = await Aio.create({ ...small, ioFrames, ioMethod: 'io_uring' });
  console.log(aio.show('fixed_buffers'));
  using file = aio.open(path);
  using frames = aio.frames(ioFrames);
  for (const first of [border - 2, border - 1, border]) {
    const read = () => file.read(frames.slice(first, first + 2), 0);
    const operations = await operationsOf(aio, async () => void (await read()));
    const pages = frames.bytes.subarray(first * BLOCK, (first + 2) * BLOCK);
    console.log(`operation ${operations}, pages ${pages[0]} ${pages[BLOCK]}`);
    pages.fill(0);
  }
}

const [what = '', first = '', second = '', third = ''] = process.argv.slice(2);
if (!isMainThread) {
  const { token, path } = workerData as { token: AioToken; path: string };
  await issue(token, path);
} else if (what === 'choice') await choice(first);
else if (what === 'registered') await registered(first);
else if (what === 'long') await long(first);
else if (what === 'spoilt') await spoilt(first as 'checked', second, Number(third));
else if (what === 'terminated') {
  await terminated(first as 'checked', second, Number(third));
} else throw new RangeError(`unknown word ${what}`);
