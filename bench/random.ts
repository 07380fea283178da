/**
 * Random reads of 8 KiB through io_uring, 64 in flight: past the page cache and out of it, beside
 * fio where it is installed, and Node's fs.read with pools of 4 and 16 threads and over libuv's own
 * io_uring. And one awaited read of a cached page at a time.
 */
import { spawnSync } from 'node:child_process';
import { PGAIO_HCB_FILE } from '../bindings/layout.ts';
import { Aio, type PendingIo, probeUring } from '../host/node/index.ts';
import { attach } from '../host/node/raw.ts';
import { Random } from '../tests/explorer/random.ts';
import { bench, type Opener, type Runner, type Unavailable } from './harness.ts';
import { fio, hasFio, NO_FIO } from './parts/fio.ts';
import {
  awaitedFileHandle,
  CACHED_PAGES,
  cachedPath,
  FILE_BYTES,
  FILE_PAGES,
  fileReads,
  fsReads,
  IN_FLIGHT,
  largeFile,
  latencies,
  onDirect,
  PAGE,
  SEED,
} from './parts/reads.ts';

// Node's pool and libuv's io_uring are chosen by the environment, before anything runs.
const POOL_OF_16 = { UV_THREADPOOL_SIZE: '16' };
const POOL_OF_4 = { UV_THREADPOOL_SIZE: '4' };
const LIBUV_URING = { UV_USE_IO_URING: '1' };

const FIO_MS = 1000;
/** fio for a second a round, whatever the number of operations; a thread, as we are one. */
function fioReads(direct: boolean, fixed = false): Opener {
  return () => {
    if (!hasFio()) return NO_FIO;
    const words = [
      ...['--name=random', `--filename=${largeFile()}`, '--rw=randread'],
      ...[`--bs=${PAGE}`, `--size=${FILE_BYTES}`, '--ioengine=io_uring', '--thread'],
      ...[`--iodepth=${IN_FLIGHT}`, `--direct=${direct ? 1 : 0}`, `--randseed=${SEED}`],
      `--fixedbufs=${fixed ? 1 : 0}`,
      ...[`--runtime=${FIO_MS}ms`, '--time_based', '--norandommap', '--invalidate=0'],
    ];
    return { run: () => 1e9 / (fio(words)[0]?.read.iops ?? Number.NaN) };
  };
}

const SETTINGS = { provider: 'direct' } as const;
const URING: Unavailable | undefined =
  probeUring().reason === undefined ? undefined : { unavailable: 'there is no io_uring here' };
const onUring =
  (opener: (path: string) => Promise<Runner>) =>
  (path: string): Promise<Runner> | Unavailable =>
    URING ?? opener(path);
const onLarge = (opener: (path: string) => Promise<Runner>) => () => onUring(opener)(largeFile());

/**
 * I/Os per system call. Devices answer together what they are given together: with many in a call
 * the device is done with one half while it is given the other, and never has all of them.
 */
const SUBMITTED = 2;
/** Under PostgreSQL's names: a batch is open all the time. */
function rawReads(ring: 'checked' | 'shared', direct: boolean, buffered = false) {
  return async (path: string): Promise<Runner> => {
    const pg = await attach({
      ...SETTINGS,
      io_method: 'io_uring',
      ring,
      io_max_concurrency: IN_FLIGHT,
      shared_buffers: 16,
      io_frames: IN_FLIGHT,
      max_backends: 1,
    });
    const fd = pg.open(path, { direct });
    const u32 = new Uint32Array(pg.memory.buffer);
    const frames = pg.pgaio_frames_alloc(IN_FLIGHT);
    const place = pg.alloc(8);
    const random = new Random(SEED);
    return {
      run(operations) {
        pg.pgaio_enter_batchmode();
        for (let i = 0; i < operations; i++) {
          const ioh = pg.pgaio_io_acquire(0, 0);
          pg.pgaio_io_set_target_file(ioh, 1, 0, 0);
          pg.pgaio_io_register_callbacks(ioh, PGAIO_HCB_FILE, 0);
          if (buffered) pg.pgaio_io_set_flag(ioh, 4);
          pg.pgaio_io_get_iovec(ioh, place);
          const iovec = (u32[place >>> 2] ?? 0) >>> 2;
          u32[iovec] = frames + pg.pgaio_io_get_id(ioh) * PAGE;
          u32[iovec + 1] = PAGE;
          pg.pgaio_io_start_readv(ioh, fd, 1, random.below(FILE_PAGES) * PAGE);
          if (i % SUBMITTED === SUBMITTED - 1) pg.pgaio_submit_staged();
        }
        pg.pgaio_exit_batchmode();
      },
      close: () => pg.pgaio_shutdown(),
    };
  };
}

function engine(): Promise<Aio> {
  return Aio.create({
    ...SETTINGS,
    ioMethod: 'io_uring',
    ioMaxConcurrency: IN_FLIGHT,
    sharedBuffers: 16,
    ioFrames: IN_FLIGHT,
    maxBackends: 1,
  });
}

/** A promise for each read. */
function readsByFile(direct: boolean) {
  return async (path: string): Promise<Runner> =>
    fileReads(await engine(), path, FILE_PAGES, direct);
}

const BATCHES = 8;
/** A promise for each batch of eight, eight of them under way. */
function batchReads(direct: boolean) {
  return async (path: string): Promise<Runner> => {
    const aio = await engine();
    const file = aio.open(path, { direct });
    const frames = aio.frames(IN_FLIGHT);
    const buffers = Array.from({ length: IN_FLIGHT }, (_, i) => frames.slice(i, i + 1));
    const random = new Random(SEED);
    const size = IN_FLIGHT / BATCHES;
    return {
      async run(operations) {
        let left = operations;
        const lane = async (first: number): Promise<void> => {
          for (; left > 0; left -= size) {
            const ios: PendingIo[] = [];
            const batch = aio.batch();
            for (let i = first; i < first + size; i++) {
              ios.push(file.read(buffers[i] ?? frames, random.below(FILE_PAGES) * PAGE));
              if (i % SUBMITTED === SUBMITTED - 1) aio.submitStaged();
            }
            batch[Symbol.dispose]();
            await aio.allEnded(ios);
          }
        };
        await Promise.all(Array.from({ length: BATCHES }, (_, i) => lane(i * size)));
      },
      close: () => aio[Symbol.asyncDispose](),
    };
  };
}

async function awaited(): Promise<Runner | Unavailable> {
  if (URING !== undefined) return URING;
  const aio = await engine();
  const file = aio.open(cachedPath);
  const frames = aio.frames(1);
  const random = new Random(SEED);
  const one = () => file.read(frames, random.below(CACHED_PAGES) * PAGE);
  return {
    run: (operations) => latencies(operations, one),
    close: () => aio[Symbol.asyncDispose](),
  };
}

/** All of the large file is in the page cache from here on. */
function warm(opener: Opener): Opener {
  return async () => {
    spawnSync('cat', [largeFile()], { stdio: 'ignore' });
    return opener();
  };
}

const fsDirect = onDirect((path) => fsReads(path, FILE_PAGES, true));
const fsCached = warm(() => fsReads(largeFile(), FILE_PAGES, false));

const DIRECT = `direct, ${IN_FLIGHT} in flight`;
const CACHED = `page cache, ${IN_FLIGHT} in flight`;
const LATENCY = 'one cached read at a time, median latency';

await bench('random', (b) => {
  const rate = (row: Parameters<Parameters<typeof b.target>[4]>[0], case_: string, of: string) =>
    row(case_, of).operationsPerSecond;
  b.case(DIRECT, {
    operations: 64000,
    apart: POOL_OF_16,
    subjects: {
      fio: fioReads(true),
      'fio, registered buffers': fioReads(true, true),
      'raw, checked': onDirect(onUring(rawReads('checked', true))),
      'raw, shared': onDirect(onUring(rawReads('shared', true))),
      'promise per batch': onDirect(onUring(batchReads(true))),
      'promise per read': onDirect(onUring(readsByFile(true))),
      'fs.read, 16 threads': fsDirect,
      'fs.read, 4 threads': { open: fsDirect, env: POOL_OF_4 },
      'fs.read, libuv io_uring': { open: fsDirect, env: LIBUV_URING },
    },
  });
  b.case(CACHED, {
    operations: 64000,
    apart: POOL_OF_16,
    subjects: {
      fio: warm(fioReads(false)),
      'raw, checked': warm(onLarge(rawReads('checked', false))),
      'raw, shared': warm(onLarge(rawReads('shared', false))),
      'raw, to kernel threads': warm(onLarge(rawReads('checked', false, true))),
      'promise per batch': warm(onLarge(batchReads(false))),
      'promise per read': warm(onLarge(readsByFile(false))),
      'fs.read, 16 threads': fsCached,
      'fs.read, 4 threads': { open: fsCached, env: POOL_OF_4 },
      'fs.read, libuv io_uring': { open: fsCached, env: LIBUV_URING },
    },
  });
  b.case(LATENCY, {
    operations: 4000,
    apart: POOL_OF_16,
    subjects: { 'file.read': awaited, 'FileHandle.read': awaitedFileHandle },
  });
  const best = (row: Parameters<typeof rate>[0], case_: string) =>
    Math.max(rate(row, case_, 'raw, checked'), rate(row, case_, 'raw, shared'));
  b.target(
    'direct, raw to fio',
    1,
    '>=',
    '',
    (row) => best(row, DIRECT) / rate(row, DIRECT, 'fio'),
  );
  b.target('direct, promise per batch to fio', 0.95, '>=', '', (row) => {
    return rate(row, DIRECT, 'promise per batch') / rate(row, DIRECT, 'fio');
  });
  b.target('direct, promise per read to fio', 0.85, '>=', '', (row) => {
    return rate(row, DIRECT, 'promise per read') / rate(row, DIRECT, 'fio');
  });
  b.target('direct, CPU per read to fs.read', 0.4, '<=', '', (row) => {
    return (
      row(DIRECT, 'promise per read').cpuMicrosecondsPerOperation /
      row(DIRECT, 'fs.read, 16 threads').cpuMicrosecondsPerOperation
    );
  });
  b.target(
    'cached, raw to fio',
    0.95,
    '>=',
    '',
    (row) => best(row, CACHED) / rate(row, CACHED, 'fio'),
  );
  b.target('cached, promise per batch to fs.read', 1.5, '>=', '', (row) => {
    return rate(row, CACHED, 'promise per batch') / rate(row, CACHED, 'fs.read, 16 threads');
  });
  b.target('cached latency to FileHandle.read', 0.3, '<=', '', (row) => {
    return (
      row(LATENCY, 'file.read').nsPerOperation.median /
      row(LATENCY, 'FileHandle.read').nsPerOperation.median
    );
  });
});
