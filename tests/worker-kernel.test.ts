/**
 * io_method worker past the page cache: what one I/O worker has under way at once, with whom it
 * ends, and what is left when the kernel will not have it or the worker dies.
 */
import { spawnSync } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Aio, type AioFile, type AioOptions, type PendingIo } from '../host/node/index.ts';
import { bindShim } from '../host/node/shim.ts';
import { Random } from './explorer/random.ts';
import {
  BLOCK,
  blockFile,
  forbidding,
  Gate,
  idleWorkers,
  living,
  openDirect,
  runChild,
  scratchDirectory,
  until,
  within,
} from './threads-fixture.ts';

const folder = scratchDirectory('kernel');
const path = blockFile(`${folder}/blocks`, 64);
const EIO = 5;
const EAGAIN = 11;
const _EFAULT = 14;
const EINVAL = 22;
const ENOSYS = 38;

interface Rig {
  readonly aio: Aio;
  readonly gate: Gate;
  readonly file: AioFile;
}

/** Defines a test that has one worker and a file past the page cache, where there can be one. */
function kernelSuite(name: string) {
  const test = suite(name);
  return {
    case(sentence: string, body: (rig: Rig) => Promise<void>, options: AioOptions = {}): void {
      test(sentence, async () => {
        const gate = new Gate();
        const ioWorkers = options.ioWorkers ?? 1;
        await using aio = await Aio.create({
          ...{ provider: gate.provider(), ioFrames: 256, ioMaxConcurrency: 64, maxBackends: 2 },
          ...{ ...options, ioWorkers },
        });
        await idleWorkers(aio, Number(ioWorkers));
        const file = openDirect(aio, path, true);
        try {
          if (file !== undefined && bindShim(aio.memory) === undefined) {
            console.log(`skipped: ${sentence}: there is no shim`);
          } else if (file !== undefined) await body({ aio, gate, file });
        } finally {
          gate.open();
        }
      });
    },
    run: () => test.run(),
  };
}

/** Reads of one block each, from block `first` on, all of them queued behind one that waits. */
async function queued({ aio, gate, file }: Rig, count: number): Promise<() => Promise<void>> {
  const frames = aio.frames(count + 1);
  const read = (i: number): PendingIo => file.read(frames.slice(i, i + 1), (i % 64) * BLOCK);
  const ios = [read(0)];
  await gate.crowd(1); // it holds the worker
  for (let i = 1; i <= count; i++) ios.push(read(i));
  await until('they wait', () => aio.stats().submissions >= 2n);
  return async () => {
    const results = await within('the reads', Promise.all(ios));
    assert.ok(results.every(({ result, status }) => result === BLOCK && status === 'OK'));
    results.forEach((_, i) => {
      assert.equal([frames.page(i)[0], frames.page(i)[BLOCK - 1]], [(i % 64) + 1, (i % 64) + 1]);
    });
    frames[Symbol.dispose]();
  };
}

/** Lets one call pass; comes back when `count` more I/Os are with the kernel and held there. */
async function handedOver(gate: Gate, count: number): Promise<void> {
  const before = gate.started;
  gate.admit();
  await until(`${count} are handed over`, () => gate.started === before + count);
  await gate.crowd(1);
}

const together = kernelSuite('worker, direct files: I/Os that wait together');
together.case('are handed to the kernel together', async (rig) => {
  const all = await queued(rig, 8);
  await handedOver(rig.gate, 8);
  assert.is(rig.gate.starts, 1);
  rig.gate.open();
  await all();
  assert.is(rig.aio.stats().synchronous, 0n);
});
together.case('are no more than io_worker_concurrency', async (rig) => {
  assert.is(rig.aio.show('io_worker_concurrency'), '16');
  for (const [most, first] of [
    [3, 3],
    [16, 16],
    [1, 0],
  ] as const) {
    rig.aio.set('io_worker_concurrency', most);
    rig.gate.shut();
    const all = await queued(rig, 20);
    const before = rig.gate.started;
    if (first > 0) await handedOver(rig.gate, first);
    rig.gate.open();
    await all();
    if (first === 0) assert.is(rig.gate.started, before, `${most} at a time`);
  }
});
together.case('may be of several buffers, and reads and writes', async ({ aio, gate, file }) => {
  using frames = aio.frames(25);
  const one = file.read(frames.slice(24, 25), 0);
  await gate.crowd(1);
  const ios = Array.from({ length: 8 }, (_, i) => {
    const [a, b, c] = [0, 1, 2].map((n) => frames.slice(3 * i + n, 3 * i + n + 1));
    assert.ok(a && b && c);
    if (i % 2 === 0) return file.read([a, b, c], 3 * i * BLOCK);
    for (let n = 0; n < 3; n++) frames.page(3 * i + n).fill(100 + 3 * i + n);
    return file.write([a, b, c], 3 * i * BLOCK);
  });
  gate.open();
  await within('all', Promise.all([one, ...ios]));
  assert.is(gate.started, 8);
  for (let i = 0; i < 8; i += 2) {
    for (let n = 0; n < 3; n++) assert.is(frames.page(3 * i + n)[7], 3 * i + n + 1);
  }
  frames.bytes.fill(0);
  const back = await file.read(frames.slice(0, 24), 0);
  assert.is(back.result, 24 * BLOCK);
  for (let block = 0; block < 24; block++) {
    const was = Math.floor(block / 3) % 2 === 0 ? block + 1 : 100 + block;
    assert.is(frames.page(block)[4000], was);
  }
  blockFile(path, 64);
});
together.case(
  'leave what is not like them to another worker',
  async ({ aio, gate, file }) => {
    const view = await idleWorkers(aio, 2);
    using plain = aio.open(path);
    using frames = aio.frames(12);
    const page = (i: number) => frames.slice(i, i + 1);
    const held = [file.read(page(0), 0), plain.read(page(1), BLOCK)];
    await gate.crowd(2); // both workers
    const ios = [2, 3, 4].map((i) => file.read(page(i), i * BLOCK));
    const other = plain.read(page(5), 5 * BLOCK);
    gate.admit();
    await until('one is free', () => held.some((io) => io.checkDone()));
    await until('it has three under way', () => gate.started === 3);
    assert.is(view.control('tail') - view.control('head'), 1, 'the fourth still waits');
    gate.open();
    await within('all', Promise.all([...ios, other]));
    assert.equal(
      [2, 3, 4, 5].map((i) => frames.page(i)[9]),
      [3, 4, 5, 6],
    );
  },
  { ioWorkers: 2 },
);
together.run();

const alone = kernelSuite('worker, direct files: the worker itself executes');
alone.case('one that waits alone', async ({ aio, gate, file }) => {
  gate.open();
  using frames = aio.frames(1);
  for (let i = 0; i < 20; i++) await file.read(frames, i * BLOCK);
  assert.is(gate.starts, 0);
});
alone.case('files that go through the page cache', async ({ aio, gate, file }) => {
  using plain = aio.open(path);
  const all = await queued({ aio, gate, file: plain }, 20);
  gate.open();
  await all();
  assert.is(gate.starts, 0);
  void file;
});
alone.case('fsync, and what the kernel takes before and after it', async ({ aio, gate, file }) => {
  using frames = aio.frames(9);
  const ios: PendingIo[] = [file.read(frames.slice(0, 1), 0)];
  await gate.crowd(1);
  for (let i = 1; i < 5; i++) ios.push(file.read(frames.slice(i, i + 1), i * BLOCK));
  ios.push(file.fsync());
  for (let i = 5; i < 9; i++) ios.push(file.read(frames.slice(i, i + 1), i * BLOCK));
  gate.open();
  await within('all', Promise.all(ios));
  assert.equal([gate.starts, gate.started], [2, 8]);
});
alone.case('what the kernel does not take, and asks it the next time', async (rig) => {
  for (const [errno, asked] of [
    [EINVAL, 7],
    [EAGAIN, 7],
    [ENOSYS, 1],
    [0, 0],
  ] as const) {
    rig.gate.shut();
    rig.gate.startErrno = errno;
    const before = rig.gate.starts;
    const all = await queued(rig, 7);
    rig.gate.open();
    await all();
    assert.is(rig.gate.starts - before, asked, `errno ${errno}`);
  }
  assert.is(rig.gate.started, 0, 'who has nothing of the kind is not asked again');
});
alone.case('what ends with EAGAIN', async (rig) => {
  const all = await queued(rig, 8);
  rig.gate.ended = -EAGAIN;
  rig.gate.open();
  await all();
});
alone.run();

const ends = kernelSuite('worker, direct files: an I/O of several');
for (const [sentence, raw, end] of [
  ['that fails has the errno', -EIO, `could not read file "${path}": Input/output error`],
  ['that moves too little is PARTIAL', 4096, 'PARTIAL 4096'],
  ['cannot move more than was asked for', 2 ** 30, `OK ${BLOCK}`],
] as const) {
  ends.case(sentence, async ({ aio, gate, file }) => {
    using frames = aio.frames(4);
    const first = file.read(frames.slice(0, 1), 0);
    await gate.crowd(1);
    const ios = [1, 2, 3].map((i) => file.read(frames.slice(i, i + 1), 0));
    gate.ended = raw;
    gate.open();
    await first;
    for (const io of ios) {
      const words = await io.then(
        ({ status, result }) => `${status} ${result}`,
        (error: Error) => error.message,
      );
      assert.is(words, end);
    }
  });
}
ends.case('at the end of the file is as short as the file', async ({ aio, gate, file }) => {
  using frames = aio.frames(8);
  const first = file.read(frames.slice(0, 1), 0);
  await gate.crowd(1);
  const ios = [62, 63, 64, 70].map((block, i) => {
    return file.read(frames.slice(2 * i, 2 * i + 2), block * BLOCK);
  });
  gate.open();
  await first;
  const results = await within('the reads', Promise.all(ios));
  assert.equal(
    results.map(({ result }) => result),
    [2 * BLOCK, BLOCK, 0, 0],
  );
  assert.is(gate.started, 4);
});
ends.run();

const dying = kernelSuite('worker, direct files: a worker that dies');
dying.case('with several under way leaves them to others', async (rig) => {
  const view = await idleWorkers(rig.aio, 1);
  const all = await queued(rig, 8);
  await handedOver(rig.gate, 8);
  const victim = living.get(view.thread(0));
  assert.ok(victim);
  await within('it is terminated', victim.terminate());
  rig.gate.open();
  await all();
  await until('another', () => view.running === 1);
});
dying.case(
  'at any moment loses none',
  async ({ aio, gate, file }) => {
    gate.open();
    const seed = Number(process.env.PGAIO_SEED ?? process.hrtime.bigint() % 1_000_000n);
    console.log(`seed ${seed}`);
    const random = new Random(seed);
    using frames = aio.frames(64);
    const view = await idleWorkers(aio, 2);
    for (let round = 0; round < 8; round++) {
      frames.bytes.fill(0xee);
      const blocks = Array.from({ length: 64 }, () => random.below(64));
      const ios = blocks.map((block, i) => file.read(frames.slice(i, i + 1), block * BLOCK));
      for (let turn = random.below(4); turn > 0; turn--) await new Promise(setImmediate);
      const victim = living.get(view.thread(random.below(2)));
      const ended = victim?.terminate();
      const results = await within('the reads', Promise.all(ios));
      assert.ok(results.every(({ result }) => result === BLOCK));
      const found = blocks.map((_, i) => [frames.page(i)[0], frames.page(i)[BLOCK - 1]]);
      assert.equal(
        found,
        blocks.map((block) => [block + 1, block + 1]),
      );
      await ended;
      await until('two workers', () => view.running === 2);
    }
    assert.ok(gate.started > 20, `${gate.started} were handed over`);
    assert.is(aio.inspect().length, 0);
  },
  { ioWorkers: 2 },
);
dying.run();

const forbidden = suite('worker, direct files: where the system’s part is forbidden');
forbidden('each is executed by itself', async () => {
  const { code, output } = await runChild('engine-child', ['direct', 'worker', path]);
  assert.equal([code, output], [0, 'read 64 blocks, some together\n']);
  const numbers: Readonly<Record<string, number>> = { x64: 206, arm64: 0 };
  const words = forbidding(numbers[process.arch] ?? 0);
  if (words === undefined) return void console.log('skipped: there is no C compiler');
  const [program = '', ...more] = words;
  const child = [process.execPath, 'dist/tests/engine-child.js', 'direct', 'worker', path];
  const options = { encoding: 'utf8', timeout: 30_000 } as const;
  const { stdout, stderr, status } = spawnSync(program, [...more, ...child], options);
  assert.equal([status, stdout], [0, 'read 64 blocks, none together\n'], stderr);
});
forbidden.run();
