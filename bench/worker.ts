/**
 * io_method worker against Node's own thread pool: many direct reads at once, and one awaited read
 * of a cached page at a time. Both have 16 threads. The file of the direct reads is made once, in
 * dist/ or the directory for temporary files, whichever takes O_DIRECT.
 */
import { PGAIO_HCB_FILE } from '../bindings/layout.ts';
import { Aio, type AioFile, type PendingIo } from '../host/node/index.ts';
import { Random } from '../tests/explorer/random.ts';
import { bench, type Runner } from './harness.ts';
import {
  awaitedFileHandle,
  CACHED_PAGES,
  cachedPath,
  FILE_PAGES,
  fileReads,
  fsReads,
  IN_FLIGHT,
  latencies,
  onDirect,
  PAGE,
  SEED,
} from './parts/reads.ts';

const THREADS = 16;
/** libuv reads it when the first thing goes to its pool. */
const POOL = { UV_THREADPOOL_SIZE: String(THREADS) };

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
const DIRECT = `direct reads of 8 KiB, ${IN_FLIGHT} in flight`;
const LATENCY = 'one cached read at a time, median latency';

await bench('worker', (b) => {
  b.case(DIRECT, {
    operations: 32000,
    apart: POOL,
    subjects: {
      'file.read': onDirect(async (path) =>
        fileReads(await engine('worker'), path, FILE_PAGES, true),
      ),
      'fs.read': onDirect((path) => fsReads(path, FILE_PAGES, true)),
      'batches of 64': onDirect((path) => batches(path, FILE_PAGES, true)),
    },
  });
  b.case('direct reads of 8 KiB, one at a time', {
    operations: 800,
    subjects: { sync: onDirect((path) => syncReads(path, FILE_PAGES, true)) },
  });
  b.case(LATENCY, {
    operations: 4000,
    apart: POOL,
    subjects: {
      'file.read, worker': () => awaited('worker'),
      'FileHandle.read': awaitedFileHandle,
      'file.read, sync': () => awaited('sync'),
    },
  });
  b.case(`cached reads of 8 KiB, ${IN_FLIGHT} in flight`, {
    apart: POOL,
    subjects: {
      'file.read': async () => fileReads(await engine('worker'), cachedPath, CACHED_PAGES, false),
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
