/**
 * io_method worker against Node's own thread pool: many direct reads at once, and one awaited read
 * of a cached page at a time. Both have 16 threads. The file of the direct reads is made once, in
 * dist/ or the directory for temporary files, whichever takes O_DIRECT.
 */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  read,
  readSync,
  statSync,
  writeSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { PGAIO_HCB_FILE } from '../bindings/layout.ts';
import { Aio, type AioFile, type PendingIo } from '../host/node/index.ts';
import { Random } from '../tests/explorer/random.ts';
import { bench, type Opener, type Runner, spreadOf, type Unavailable } from './harness.ts';

const PAGE = 8192;
const THREADS = 16;
const IN_FLIGHT = 64;
const FILE_BYTES = 2 ** 30;
const PIECE = 2 ** 22;
const CACHED_PAGES = 1024;
const SEED = 20;

// libuv reads this when the first thing goes to its pool: too late for this process to set it.
if (process.env.UV_THREADPOOL_SIZE !== String(THREADS)) {
  const [script = '', ...words] = process.argv.slice(1);
  const env = { ...process.env, UV_THREADPOOL_SIZE: String(THREADS) };
  const options = { stdio: 'inherit', env } as const;
  const { status } = spawnSync(process.execPath, [...process.execArgv, script, ...words], options);
  process.exit(status ?? 1);
}

/** A file with `bytes` bytes on the device, none of them a hole; made if it is not there. */
function makeFile(path: string, bytes: number): string {
  if (existsSync(path) && statSync(path).size === bytes) return path;
  const piece = new Uint8Array(Math.min(PIECE, bytes));
  const fd = openSync(path, 'w');
  for (let done = 0; done < bytes; done += piece.length) {
    new Uint32Array(piece.buffer).fill(done + 1);
    writeSync(fd, piece);
  }
  fsyncSync(fd); // or direct reads would wait for it to be written
  closeSync(fd);
  return path;
}

/** Page-aligned memory: O_DIRECT takes no other. */
function alignedPages(pages: number): Uint8Array[] {
  const { buffer } = new WebAssembly.Memory({ initial: Math.ceil((pages * PAGE) / 65536) });
  return Array.from({ length: pages }, (_, i) => new Uint8Array(buffer, i * PAGE, PAGE));
}

/** Folder whose file system reads past the page cache; undefined if none does. */
function directFolder(): string | undefined {
  for (const folder of ['dist/bench-data', tmpdir()]) {
    mkdirSync(folder, { recursive: true });
    const path = makeFile(`${folder}/pgaio-probe`, PAGE);
    try {
      const fd = openSync(path, constants.O_RDONLY | (constants.O_DIRECT ?? 0));
      const [page = new Uint8Array()] = alignedPages(1);
      const bytes = readSync(fd, page, 0, PAGE, 0);
      closeSync(fd);
      if (bytes === PAGE && constants.O_DIRECT !== undefined) return folder;
    } catch {
      // The next may.
    }
  }
  return undefined;
}
const folder = directFolder();
const NO_DIRECT: Unavailable = { unavailable: 'no file system here takes O_DIRECT' };
let directPath = '';
/** The opener with the path of the large file, if it can be read directly. */
function onDirect(opener: (path: string) => Promise<Runner>): Opener {
  return () => {
    if (folder === undefined) return NO_DIRECT;
    if (directPath === '') directPath = makeFile(`${folder}/pgaio-1GiB`, FILE_BYTES);
    return opener(directPath);
  };
}
const cachedPath = makeFile(`${folder ?? tmpdir()}/pgaio-cached`, CACHED_PAGES * PAGE);

async function engine(ioMethod: 'worker' | 'sync', ioMaxConcurrency = IN_FLIGHT): Promise<Aio> {
  return Aio.create({
    provider: 'direct',
    ioMethod,
    ioWorkers: THREADS,
    ioMaxConcurrency,
    ioFrames: 256,
    sharedBuffers: 16,
    maxBackends: 1,
  });
}

/** Keeps IN_FLIGHT of `one` under way until `operations` are done. */
async function lanes(operations: number, one: (lane: number) => PromiseLike<unknown>) {
  let left = operations;
  const lane = async (number: number): Promise<void> => {
    while (left-- > 0) await one(number);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, (_, number) => lane(number)));
}

function fsReads(path: string, pages: number): Promise<Runner> {
  const fd = openSync(path, constants.O_RDONLY | (constants.O_DIRECT ?? 0));
  const buffers = alignedPages(IN_FLIGHT);
  const random = new Random(SEED);
  const one = (lane: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const buffer = buffers[lane] ?? new Uint8Array();
      read(fd, buffer, 0, PAGE, random.below(pages) * PAGE, (error) =>
        error === null ? resolve() : reject(error),
      );
    });
  return Promise.resolve({
    run: (operations) => lanes(operations, one),
    close: () => closeSync(fd),
  });
}

async function fileReads(path: string, pages: number, direct: boolean): Promise<Runner> {
  const aio = await engine('worker');
  const file = aio.open(path, { direct });
  const frames = aio.frames(IN_FLIGHT);
  const buffers = Array.from({ length: IN_FLIGHT }, (_, i) => frames.slice(i, i + 1));
  const random = new Random(SEED);
  const one = (lane: number): PromiseLike<unknown> =>
    file.read(buffers[lane] ?? frames, random.below(pages) * PAGE);
  return {
    run: (operations) => lanes(operations, one),
    close: () => aio[Symbol.asyncDispose](),
  };
}

function started(aio: Aio, file: AioFile, buffer: Parameters<AioFile['read']>[0], at: number) {
  const handle = aio.acquire().setTarget({ file }).register(PGAIO_HCB_FILE);
  return handle.startReadv(file, buffer, at);
}

/** IN_FLIGHT handles started in one batch, all of them awaited, and again. */
async function batches(path: string, pages: number, direct: boolean): Promise<Runner> {
  const aio = await engine('worker');
  const file = aio.open(path, { direct });
  const frames = aio.frames(IN_FLIGHT);
  const random = new Random(SEED);
  return {
    async run(operations) {
      for (let done = 0; done < operations; done += IN_FLIGHT) {
        const ios: PendingIo[] = [];
        const batch = aio.batch();
        for (let i = 0; i < IN_FLIGHT; i++) {
          ios.push(started(aio, file, frames.slice(i, i + 1), random.below(pages) * PAGE));
        }
        batch[Symbol.dispose]();
        await Promise.all(ios);
      }
    },
    close: () => aio[Symbol.asyncDispose](),
  };
}

/** The issuer's own reads, one after the other. */
async function syncReads(path: string, pages: number, direct: boolean): Promise<Runner> {
  const aio = await engine('sync', 4);
  const file = aio.open(path, { direct });
  const frames = aio.frames(1);
  const random = new Random(SEED);
  return {
    run(operations) {
      for (let i = 0; i < operations; i++) file.read(frames, random.below(pages) * PAGE).waitSync();
    },
    close: () => aio[Symbol.asyncDispose](),
  };
}

/** Awaits one read after the other; a round's figure is the median of its latencies. */
async function latencies(operations: number, one: () => PromiseLike<unknown>): Promise<number> {
  const each = new Float64Array(operations);
  for (let i = 0; i < operations; i++) {
    const before = performance.now();
    await one();
    each[i] = performance.now() - before;
  }
  return spreadOf([...each]).median * 1e6;
}

async function awaited(ioMethod: 'worker' | 'sync'): Promise<Runner> {
  const aio = await engine(ioMethod);
  const file = aio.open(cachedPath);
  const frames = aio.frames(1);
  const random = new Random(SEED);
  const one = () => file.read(frames, random.below(CACHED_PAGES) * PAGE);
  return {
    run: (operations) => latencies(operations, one),
    close: () => aio[Symbol.asyncDispose](),
  };
}
async function awaitedFileHandle(): Promise<Runner> {
  const handle: FileHandle = await open(cachedPath);
  const [page = new Uint8Array()] = alignedPages(1);
  const random = new Random(SEED);
  const one = () => handle.read(page, 0, PAGE, random.below(CACHED_PAGES) * PAGE);
  return { run: (operations) => latencies(operations, one), close: () => handle.close() };
}

const DIRECT = `direct reads of 8 KiB, ${IN_FLIGHT} in flight`;
const LATENCY = 'one cached read at a time, median latency';
const FILE_PAGES = FILE_BYTES / PAGE;

await bench('worker', (b) => {
  b.case(DIRECT, {
    operations: 6400,
    subjects: {
      'file.read': onDirect((path) => fileReads(path, FILE_PAGES, true)),
      'fs.read': onDirect((path) => fsReads(path, FILE_PAGES)),
      'batches of 64': onDirect((path) => batches(path, FILE_PAGES, true)),
    },
  });
  b.case('direct reads of 8 KiB, one at a time', {
    operations: 800,
    subjects: { sync: onDirect((path) => syncReads(path, FILE_PAGES, true)) },
  });
  b.case(LATENCY, {
    operations: 4000,
    subjects: {
      'file.read, worker': () => awaited('worker'),
      'FileHandle.read': awaitedFileHandle,
      'file.read, sync': () => awaited('sync'),
    },
  });
  b.case(`cached reads of 8 KiB, ${IN_FLIGHT} in flight`, {
    subjects: {
      'file.read': () => fileReads(cachedPath, CACHED_PAGES, false),
      'batches of 64': () => batches(cachedPath, CACHED_PAGES, false),
      'sync, one at a time': () => syncReads(cachedPath, CACHED_PAGES, false),
    },
  });
  b.target(
    'direct reads, file.read to fs.read',
    1,
    '>=',
    '',
    (row) =>
      row(DIRECT, 'file.read').operationsPerSecond / row(DIRECT, 'fs.read').operationsPerSecond,
  );
  b.target(
    'their CPU, file.read to fs.read',
    0.8,
    '<=',
    '',
    (row) =>
      row(DIRECT, 'file.read').cpuMicrosecondsPerOperation /
      row(DIRECT, 'fs.read').cpuMicrosecondsPerOperation,
  );
  b.target(
    'cached latency, file.read to FileHandle',
    1,
    '<=',
    '',
    (row) =>
      row(LATENCY, 'file.read, worker').nsPerOperation.median /
      row(LATENCY, 'FileHandle.read').nsPerOperation.median,
  );
});
