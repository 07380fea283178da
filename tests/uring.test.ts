/**
 * io_uring: what the shim lets through, what is left behind, how it is chosen, and that neither a
 * spoilt memory nor a thread that ends in the middle does harm.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, constants, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AioError } from '../bindings/errors.ts';
import * as layout from '../bindings/layout.ts';
import { Aio } from '../host/node/index.ts';
import { attach } from '../host/node/raw.ts';
import { bindShim, shim } from '../host/node/shim.ts';
import { probeUring, reasonOf, reasonWords, type SystemLimits } from '../host/node/uring.ts';
import { BLOCK, numberedBlocks } from './harness.ts';
import {
  BackendThread,
  blockFile,
  forbidding,
  openDirect,
  runChild,
  scratchDirectory,
  within,
} from './threads-fixture.ts';
import { OP, operationsOf } from './uring-entries.ts';

const folder = scratchDirectory('uring');
const path = blockFile(`${folder}/blocks`, 64);
chmodSync(folder, 0o755); // for a process without privileges
const probe = probeUring();
const RINGS = probe.sharedRings ? (['checked', 'shared'] as const) : (['checked'] as const);
const small = { ioFrames: 64, sharedBuffers: 16, ioMaxConcurrency: 8, maxBackends: 2 } as const;

/** Defines a test where the kernel has io_uring, else one that says why not. */
function uring(name: string) {
  const test = suite(name);
  return {
    case(sentence: string, body: () => void | Promise<void>): void {
      if (probe.reason === undefined) test(sentence, body);
      else test(sentence, () => void console.log(`skipped: ${name}: ${words(probe.reason)}`));
    },
    run: () => test.run(),
  };
}
function words(reason: typeof probe.reason): string {
  return reason === undefined ? '' : reasonWords(reason);
}

// What the shim refuses.

const IO_URING_SETUP = 425;
const EBADF = 9;
const EFAULT = 14;
const EINVAL = 22;

interface Entry {
  readonly op: number;
  readonly fd: number;
  readonly flags?: number;
  readonly address?: bigint;
  readonly length?: number;
  readonly opFlags?: number;
  readonly buffer?: number;
  readonly personality?: number;
}

/** A ring over a memory of the test's own, without an engine. */
class BareRing {
  readonly memory = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true });
  readonly view = new DataView(this.memory.buffer);
  readonly base: bigint;
  readonly #shim: NonNullable<ReturnType<typeof bindShim>>;
  readonly #ring: number;
  #next = 0;
  static readonly SQES = 8192;
  static readonly OUT = 16384;
  static readonly FIXED = 20480;

  constructor(fixedBytes = 0) {
    const bound = bindShim(this.memory);
    if (bound === undefined) throw new Error('there is no shim');
    this.#shim = bound;
    const fixed = [BareRing.FIXED, fixedBytes] as const;
    this.#ring = bound.setup(
      64,
      0,
      4096,
      4096,
      BareRing.SQES,
      12288,
      12292,
      ...fixed,
      BareRing.OUT,
    );
    assert.ok(this.#ring >= 0, `setup: ${this.#ring}`);
    this.base = this.view.getBigUint64(BareRing.OUT, true);
  }
  /** Submits an entry and reaps: what it ended with. */
  submit(entry: Entry) {
    const { op, fd, flags = 0, address = 0n, length = 0, opFlags = 0 } = entry;
    const { buffer = 0, personality = 0 } = entry;
    const at = BareRing.SQES + (this.#next % 32) * 64;
    for (let i = 0; i < 64; i += 8) this.view.setBigUint64(at + i, 0n, true);
    this.view.setUint8(at, op);
    this.view.setUint8(at + 1, flags);
    this.view.setInt32(at + 4, fd, true);
    this.view.setBigUint64(at + 16, address, true);
    this.view.setUint32(at + 24, length, true);
    this.view.setUint32(at + 28, opFlags, true);
    this.view.setBigUint64(at + 32, BigInt(this.#next), true);
    this.view.setUint16(at + 40, buffer, true);
    this.view.setUint16(at + 42, personality, true);
    const taken = this.#shim.enter(this.#ring, this.#next, 1);
    assert.is(taken, 1);
    const word = (index: number) => this.view.getUint32(BareRing.OUT + 4 * index, true);
    while (this.view.getUint32(word(6), true) === this.#next) {
      if (this.#shim.reap(this.#ring) === 0) this.#shim.wait(this.#ring, this.#next, 100);
    }
    const cqe = word(8) + (this.#next % word(7)) * 16;
    assert.is(this.view.getBigUint64(cqe, true), BigInt(this.#next), 'the answer is to this entry');
    this.#next++;
    this.view.setUint32(word(5), this.#next, true); // its place is free again
    return this.view.getInt32(cqe + 8, true);
  }
  get refused(): number {
    return this.#shim.refused(this.#ring);
  }
  end(): void {
    this.#shim.leave(this.#ring);
    this.#shim.unbind();
  }
}

const forged = uring('io_uring: a forged entry');
forged.case('is answered with an error and counted, and the kernel never sees it', () => {
  const ring = new BareRing();
  const ours = openSync(path, 'r');
  const theirs = openSync(path, 'r');
  shim()?.allow(ours);
  const good = { op: OP.READ, fd: ours, address: ring.base + 20480n, length: BLOCK };
  assert.is(ring.submit(good), BLOCK, 'one that is in order is executed');
  assert.is(ring.view.getUint8(20480), 1, 'it was read to where it was to go');
  assert.is(ring.refused, 0);
  const end = ring.base + BigInt(ring.memory.buffer.byteLength);
  const refused: readonly (readonly [number, Entry])[] = [
    [EBADF, { ...good, fd: theirs }],
    [EBADF, { ...good, fd: -1 }],
    [EBADF, { ...good, fd: 2 ** 31 - 1 }],
    [EBADF, { ...good, fd: 0 }],
    [EFAULT, { ...good, address: 0n }],
    [EFAULT, { ...good, address: ring.base - 1n }],
    [EFAULT, { ...good, address: end - BigInt(BLOCK) + 1n }],
    [EFAULT, { ...good, address: 2n ** 64n - 4096n }],
    [EFAULT, { ...good, length: 2 ** 32 - 1 }],
    [EFAULT, { op: OP.READV, fd: ours, address: end - 8n, length: 1 }],
    [EINVAL, { op: OP.READV, fd: ours, address: ring.base, length: 129 }],
    [EINVAL, { op: OP.READV, fd: ours, address: ring.base, length: 0 }],
    ...[OP.POLL, OP.CLOSE, OP.OPENAT, 0, 40, 255].map((op) => [EINVAL, { op, fd: ours }] as const),
    ...[1, 2, 4, 8, 32, 64, 128].map((flags) => [EINVAL, { ...good, flags }] as const),
    [EINVAL, { ...good, personality: 1 }],
    [EINVAL, { ...good, buffer: 1 }],
    [EINVAL, { ...good, op: OP.READ_FIXED, buffer: 4 }],
    [EFAULT, { ...good, op: OP.READ_FIXED, address: end }],
    [EINVAL, { ...good, opFlags: 1 }],
    [EINVAL, { op: OP.FSYNC, fd: ours, opFlags: 2 }],
  ];
  for (const [errno, entry] of refused) {
    const text = JSON.stringify(entry, (_, value) =>
      typeof value === 'bigint' ? `${value}` : value,
    );
    assert.is(ring.submit(entry), -errno, text);
  }
  assert.is(ring.refused, refused.length);
  // An iovec that points elsewhere, in memory that is ours.
  ring.view.setBigUint64(24576, ring.base + 20480n, true);
  ring.view.setBigUint64(24584, 16n, true);
  ring.view.setBigUint64(24592, 4096n, true);
  ring.view.setBigUint64(24600, 16n, true);
  const vector = { op: OP.READV, fd: ours, address: ring.base + 24576n };
  assert.is(ring.submit({ ...vector, length: 1 }), 16);
  assert.is(ring.submit({ ...vector, length: 2 }), -EFAULT);
  assert.is(ring.submit(good), BLOCK, 'the ring goes on');
  shim()?.forbid(ours);
  assert.is(ring.submit(good), -EBADF, 'a descriptor that was given back is nobody’s');
  ring.end();
});
forged.case('reaches no registered memory but through its own buffer', () => {
  const ring = new BareRing(4 * BLOCK);
  const ours = openSync(path, 'r');
  shim()?.allow(ours);
  const address = ring.base + BigInt(BareRing.FIXED);
  const good = { op: OP.READ_FIXED, fd: ours, address, length: 2 * BLOCK };
  assert.is(ring.submit(good), 2 * BLOCK);
  assert.equal([ring.view.getUint8(20480), ring.view.getUint8(20480 + BLOCK)], [1, 2]);
  for (const entry of [
    { ...good, buffer: 1 },
    { ...good, address: address - 1n },
    { ...good, address: address + BigInt(2 * BLOCK) + 1n },
    { ...good, op: OP.WRITE_FIXED, address: ring.base },
  ]) {
    assert.is(ring.submit(entry), -EFAULT, 'memory of ours that is not registered');
  }
  assert.is(ring.refused, 0, 'the kernel has seen to that');
  shim()?.forbid(ours);
  ring.end();
});
forged.case('cannot put a ring outside the linear memory', () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const bound = bindShim(memory);
  const good = [64, 0, 4096, 4096, 8192, 12288, 12292, 20480, 4096, 16384] as const;
  for (const [index, value] of [
    [0, 0],
    [0, 2 ** 31],
    [2, 65536],
    [2, 4097],
    [3, 2 ** 31],
    [4, 65536 - 64],
    [4, 8193],
    [5, 65536],
    [6, 65533],
    [7, 65536],
    [7, 20481],
    [8, 65536 - 20480 + 1],
    [8, 2 ** 32 - 1],
    [9, 65536 - 8],
  ] as const) {
    const asked = good.map((word, i) => (i === index ? value : word));
    const rc = bound?.setup(...(asked as unknown as typeof good)) ?? 0;
    assert.ok(rc < 0, `${index} = ${value}: ${rc}`);
  }
  for (const number of [-1, 0, 17, 4096, 2 ** 31 - 1]) {
    assert.ok((bound?.enter(number, 0, 1) ?? 0) < 0, `ring ${number} is not of this memory`);
    assert.ok((bound?.reap(number) ?? 0) < 0);
    assert.ok((bound?.wait(number, 0, 0) ?? 0) < 0);
    assert.ok((bound?.leave(number) ?? 0) < 0);
  }
  bound?.unbind();
});
forged.run();

// What is left behind.

interface Resources {
  readonly descriptors: number;
  readonly mappings: number;
  readonly locked: string;
  readonly pinned: string;
}
/** Descriptors, mappings of rings, locked and pinned memory of this process. */
function resources(): Resources {
  const status = readFileSync('/proc/self/status', 'latin1');
  const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
  const maps = readFileSync('/proc/self/maps', 'latin1');
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    mappings: maps.split('\n').filter((line) => line.includes('io_uring')).length,
    locked: field('VmLck'),
    pinned: field('VmPin'),
  };
}

const CYCLES = 1000;
const FAILING_CYCLES = 200;
const cycles = uring('io_uring: opened and closed');
for (const ring of RINGS) {
  cycles.case(`${CYCLES} times leaves nothing behind, rings ${ring}`, async () => {
    const cycle = async (): Promise<void> => {
      await using aio = await Aio.create({ ...small, ioMethod: 'io_uring', ring });
      using file = aio.open(path);
      using frames = aio.frames(8);
      assert.is((await file.read(frames, 0)).result, 8 * BLOCK);
    };
    await cycle(); // whatever is made once
    const before = resources();
    for (let i = 0; i < CYCLES; i++) await cycle();
    assert.equal(resources(), before);
  });
  cycles.case(
    `${FAILING_CYCLES} times and broken leaves nothing behind, rings ${ring}`,
    async () => {
      const cycle = async (): Promise<void> => {
        await using aio = await Aio.create({ ...small, ioMethod: 'io_uring', ring });
        using file = aio.open(path);
        using frames = aio.frames(8);
        const reads = Array.from({ length: 4 }, () => file.read(frames, 0));
        spoil(aio); // its ring is gone: waiting for it is an error, and what is in flight ends
        assert.is(await codeOf(() => reads[0]?.waitSync()), 'done or PGAIO_URING_WAIT');
        restore(aio);
        await Promise.all(reads);
      };
      await cycle();
      const before = resources();
      for (let i = 0; i < FAILING_CYCLES; i++) await cycle();
      assert.equal(resources(), before);
    },
  );
}
const kept = new WeakMap<Aio, number>();
function ringWord(aio: Aio): [Uint32Array, number] {
  const u32 = new Uint32Array(aio.memory.buffer);
  const { uring_contexts } = layout.PgAioCtl.fields;
  const context = u32[(layout.CTL_AT + uring_contexts.offset) >>> 2] ?? 0;
  return [u32, (context + layout.PgAioUringContext.fields.ring.offset) >>> 2];
}
function spoil(aio: Aio): void {
  const [u32, word] = ringWord(aio);
  kept.set(aio, u32[word] ?? 0);
  u32[word] = 0;
}
function restore(aio: Aio): void {
  const [u32, word] = ringWord(aio);
  u32[word] = kept.get(aio) ?? 0;
}
async function codeOf(act: () => unknown): Promise<string> {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof AioError) || error.code !== 'PGAIO_URING_WAIT') throw error;
  }
  return 'done or PGAIO_URING_WAIT';
}
cycles.run();

// Operations beside reading.

const operations = uring('io_uring: operations');
for (const ring of RINGS) {
  operations.case(`write, sync and flush, alone and in a batch, rings ${ring}`, async () => {
    await using aio = await Aio.create({ ...small, ioMethod: 'io_uring', ring });
    using file = aio.open(`${folder}/written-${ring}`, { create: true });
    using frames = aio.frames(4);
    frames.bytes.set(numberedBlocks(4));
    assert.is((await file.write(frames, 0)).result, 4 * BLOCK);
    for (const io of [file.fsync(), file.fdatasync(), file.flushRange(BLOCK, 2 * BLOCK)]) {
      const { status, result } = await io;
      assert.equal([status, result], ['OK', 0]);
    }
    const batch = aio.batch();
    const pieces = [frames.slice(2, 4), frames.slice(0, 2)]; // not in a row: two iovecs
    const ios = [file.write(pieces, 4 * BLOCK), file.fdatasync(), file.read(pieces, 0)];
    assert.is(aio.haveStaged, true);
    batch[Symbol.dispose]();
    await aio.allEnded(ios);
    assert.equal(
      ios.map((io) => io.result?.result),
      [4 * BLOCK, 0, 4 * BLOCK],
    );
    assert.is(aio.stats().synchronous, 0n, 'the kernel did all of it');
    assert.is(aio.stats().submissions < 8n, true, 'the batch went as one');
    const written = readFileSync(`${folder}/written-${ring}`);
    assert.is(written.length, 8 * BLOCK);
    assert.equal([written[4 * BLOCK], written[6 * BLOCK]].sort(), [1, 3]);
  });
  operations.case(
    `lets the event loop have its turn between cached reads, rings ${ring}`,
    async () => {
      await using aio = await Aio.create({ ...small, ioMethod: 'io_uring', ring });
      using file = aio.open(path);
      using frames = aio.frames(1);
      let turned = false;
      setImmediate(() => {
        turned = true;
      });
      for (let reads = 0; !turned; reads++) {
        assert.ok(reads < 10_000, 'reads go on and nothing else does');
        await file.read(frames, 0);
      }
    },
  );
  operations.case(
    `another thread’s read is awaited though it never looks, rings ${ring}`,
    async () => {
      await using aio = await Aio.create({ ...small, ioMethod: 'io_uring', ring });
      const thread = await BackendThread.start(aio.token);
      const opened = await thread.ask('open', path, { direct: true }).catch(() => 'no O_DIRECT');
      if (opened !== undefined) {
        console.log(`skipped: the file system of ${folder} has no O_DIRECT`);
      } else {
        await thread.ask('take', 1);
        await thread.ask('beginBatch');
        const [token] = await thread.ask('start', 1);
        assert.ok(token);
        const ref = aio.waitRef(token);
        await thread.sleep('endBatchAndSleep');
        await within('the read of a thread that sleeps', ref.done());
        assert.is(ref.isDone(), true);
      }
      await thread.terminate();
    },
  );
  operations.case(`deals with as many as it is asked to, rings ${ring}`, async () => {
    const pg = await attach({
      ...{ provider: 'direct', io_method: 'io_uring', ring, max_backends: 1 },
      ...{ io_max_concurrency: 8, io_frames: 64, shared_buffers: 16 },
    });
    const fd = pg.open(path, {});
    const frames = pg.pgaio_frames_alloc(5);
    pg.pgaio_enter_batchmode();
    const refs = Array.from({ length: 5 }, (_, block) => {
      const ioh = pg.pgaio_io_acquire(0, 0);
      const ref = pg.alloc(8);
      pg.pgaio_io_get_wref(ioh, ref);
      const iovec = pg.alloc(4);
      pg.pgaio_io_set_target_file(ioh, 1, 0, 0);
      pg.pgaio_io_register_callbacks(ioh, layout.PGAIO_HCB_FILE, 0);
      pg.pgaio_io_get_iovec(ioh, iovec);
      const words = new Uint32Array(pg.memory.buffer);
      words.set([frames + block * BLOCK, BLOCK], (words[iovec >>> 2] ?? 0) >>> 2);
      pg.pgaio_io_start_readv(ioh, fd, 1, block * BLOCK);
      return ref;
    });
    pg.pgaio_exit_batchmode();
    const told: number[] = [];
    const sum = () => told.reduce((all, some) => all + some, 0);
    for (let looks = 0; sum() < 5; looks++) {
      assert.ok(looks < 1_000_000, 'they are in the page cache');
      const some = pg.pgaio_drain_some(2);
      if (some > 0) told.push(some);
    }
    assert.ok(told.length >= 3 && Math.max(...told) <= 2, `${told}`);
    assert.is(pg.pgaio_drain_some(2), 0);
    for (const ref of refs) assert.is(pg.pgaio_wref_is_done(ref), true);
    pg.pgaio_shutdown();
  });
  operations.case(
    `what is started upon the first is on its way before the last is told, rings ${ring}`,
    async () => {
      await using aio = await Aio.create({
        ...{ ...small, ioMethod: 'io_uring', ring, ioMaxConcurrency: 32 },
      });
      using file = aio.open(path);
      using frames = aio.frames(32);
      const read = (block: number) => file.read(frames.slice(block, block + 1), block * BLOCK);
      const ios = Array.from({ length: 31 }, (_, block) => read(block));
      const submissions: bigint[] = [];
      let another: PromiseLike<unknown> | undefined;
      void ios.at(0)?.then(() => {
        submissions.push(aio.stats().submissions);
        another = read(31);
      });
      await ios.at(-1)?.then(() => submissions.push(aio.stats().submissions));
      const [first = 0n, last = 0n] = submissions;
      assert.ok(last > first, `${first} system calls before, ${last} when the last was told`);
      await another;
      assert.is(frames.bytes[31 * BLOCK], 32);
    },
  );
}
operations.run();

// What is registered with a ring.

const registered = uring('io_uring: registered memory');
const PLAIN = [OP.WRITE, OP.READ, OP.READV];
const FIXED = [OP.WRITE_FIXED, OP.READ_FIXED, OP.READV];
const OPERATIONS = {
  off: { frames: PLAIN, pool: [OP.READ, OP.WRITE] },
  frames: { frames: FIXED, pool: [OP.READ, OP.WRITE] },
  all: { frames: FIXED, pool: [OP.READ_FIXED, OP.WRITE_FIXED] },
} as const;
mkdirSync(`${folder}/base/5`, { recursive: true });
for (const ring of RINGS) {
  for (const fixedBuffers of ['off', 'frames', 'all'] as const) {
    registered.case(`is what fixedBuffers says: ${fixedBuffers}, rings ${ring}`, async () => {
      const settings = { ...small, ring, fixedBuffers, dataChecksums: false };
      await using aio = await Aio.create({
        ...{ ...settings, ioMethod: 'io_uring', dataDirectory: folder },
      });
      assert.is(aio.show('fixed_buffers'), fixedBuffers);
      using file = aio.open(`${folder}/base/5/16384`, { create: true });
      using frames = aio.frames(4);
      const firsts = () => [0, 1, 2, 3].map((frame) => frames.bytes[frame * BLOCK]);
      frames.bytes.set(numberedBlocks(4));
      const ofFrames = await operationsOf(aio, async () => {
        await file.write(frames, 0);
        frames.bytes.fill(0);
        await file.read(frames.slice(0, 3), BLOCK);
        assert.equal(firsts(), [2, 3, 4, 0]);
        await file.read([frames.slice(2, 4), frames.slice(0, 2)], 0);
        assert.equal(firsts(), [3, 4, 1, 2]);
      });
      assert.equal(ofFrames, OPERATIONS[fixedBuffers].frames);
      frames.bytes.fill(0); // pages that are in order in a pool, whatever they are to hold
      await file.write(frames, 0);
      using relation = aio.relation('base/5/16384');
      const ofPool = await operationsOf(aio, async () => {
        using buffer = await relation.readBlock(1);
        await buffer.modify((page) => page.fill(7, 100, 200));
        await aio.buffers.flush();
      });
      assert.equal(
        ofPool.filter((op) => op !== OP.FSYNC),
        OPERATIONS[fixedBuffers].pool,
      );
      await file.read(frames, 0);
      assert.equal([frames.bytes[BLOCK + 99], frames.bytes[BLOCK + 100]], [0, 7]);
    });
  }
}
registered.case('is shared by backends, and no more than a quarter of what may be locked', () => {
  const words_ = ['--memlock=5242880:5242880', process.execPath, 'dist/tests/uring-child.js'];
  const { stdout, stderr } = spawnSync('prlimit', [...words_, 'registered', path], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  const lines = [
    '1: frames, 524288 bytes, read 8192',
    '2: frames, 524288 bytes, read 8192',
    '3: frames, 262144 bytes, read 8192',
    '3, another backend: frames, 262144 bytes, read 8192',
    '4: off, 0 bytes, read 8192',
    '1 again: frames, 524288 bytes, read 8192',
  ];
  assert.equal(stdout.trim().split('\n'), lines, stderr);
});
registered.case('is more than the kernel takes in one piece', () => {
  const words_ = ['--memlock=unlimited', process.execPath, 'dist/tests/uring-child.js'];
  const { stdout, stderr, status } = spawnSync('prlimit', [...words_, 'long', path], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  if (status !== 0 && /prlimit: failed/.test(stderr)) {
    console.log('skipped: registered memory of more than 1 GiB: the limit cannot be raised');
    return;
  }
  const { READ, READ_FIXED } = OP;
  const lines = [READ_FIXED, READ, READ_FIXED].map((op) => `operation ${op}, pages 1 2`);
  assert.equal(stdout.trim().split('\n'), ['frames', ...lines], stderr);
});
registered.run();

// A memory that anybody may have written over.

const spoilt = uring('io_uring: random bytes over the whole memory');
for (const ring of RINGS) {
  spoilt.case(`harm neither the process nor descriptors of others, rings ${ring}`, async () => {
    const seed = process.env.PGAIO_SEED ?? `${process.hrtime.bigint() % 1_000_000n}`;
    const { code, signal, output } = await runChild(
      'uring-child',
      ['spoilt', ring, path, seed],
      90_000,
    );
    assert.equal([code, signal], [0, null], `seed ${seed}\n${output}`);
    assert.match(output, /^alive, 3 of 3 descriptors of others are open$/m);
  });
}
spoilt.run();

// A thread that is ended with its reads in flight.

const ended = uring('io_uring: a thread terminated with 64 reads in flight');
for (const ring of RINGS) {
  ended.case(`takes nothing along, and nothing is written afterwards, rings ${ring}`, async () => {
    const { code, signal, output } = await runChild(
      'uring-child',
      ['terminated', ring, path, '20'],
      90_000,
    );
    assert.equal([code, signal], [0, null], output);
    assert.match(output, /^nothing was written afterwards$/m);
  });
}
ended.run();

// Choosing.

const choice = suite('io_uring: the choice');
const LIMITS: SystemLimits = {
  disabled: 0,
  memlock: '8388608',
  descriptors: '1024',
  seccomp: false,
};
choice('names stage, errno, cause and remedy', () => {
  const rows = [
    [1, { disabled: 2 }, 'io_uring is disabled: kernel.io_uring_disabled is 2', /sysctl/],
    [1, { seccomp: true }, /^a seccomp filter forbids io_uring/, /io_uring_setup/],
    [1, {}, /security module/, /worker/],
    [12, { memlock: '65536' }, 'the limit of locked memory is too low: 65536 bytes', /ulimit -l/],
    [24, {}, 'the limit of open files is reached: 1024', /ulimit -n/],
    [38, {}, 'this kernel has no io_uring', /worker/],
    [22, {}, /does not know what is asked/, /worker/],
    [5, {}, 'io_uring_setup failed: Input/output error', /worker/],
  ] as const;
  for (const [errno, limits, cause, remedy] of rows) {
    const reason = reasonOf('setup', errno, 0, { ...LIMITS, ...limits });
    assert.is(reason.stage, 'setup');
    assert.is(reason.errno, errno);
    if (typeof cause === 'string') assert.is(reason.cause, cause);
    else assert.match(reason.cause, cause);
    assert.match(reason.remedy, remedy);
  }
  const missing = reasonOf('operations', 0, 0b100001, LIMITS);
  assert.is(missing.cause, "this kernel's io_uring lacks READ, SYNC_FILE_RANGE");
});

/** Runs the choice in a process of its own; what `auto` and `io_uring` did there. */
function choose(command: string, before: readonly string[], env: Record<string, string> = {}) {
  const words_ = [...before, process.execPath, 'dist/tests/uring-child.js', 'choice', path];
  const options = { env: { ...process.env, ...env }, encoding: 'utf8', timeout: 30_000 } as const;
  const { stdout, stderr } = spawnSync(command, words_, options);
  return { lines: stdout.trim().split('\n'), stderr };
}
choice('without the binary: workers, and why', () => {
  const { lines } = choose('env', [], { PGAIO_NO_SHIM: '1' });
  assert.equal(lines, [
    'auto: worker, because PGAIO_NO_SHIM is set in the environment (binary)',
    'io_uring: PGAIO_NO_URING io_method "io_uring" cannot be used: ' +
      'PGAIO_NO_SHIM is set in the environment (binary)',
    'read 8192',
  ]);
});
const asked = uring('io_uring: asked for');
asked.case('is taken by auto where it can be used', () => {
  const { lines } = choose('env', []);
  assert.equal(lines, ['auto: io_uring', 'io_uring: io_uring', 'read 8192']);
});
asked.case('falls back where the limit of locked memory is too low, or does without it', () => {
  const unprivileged = process.getuid?.() === 0 ? ['setpriv', '--reuid', '65534', '--'] : [];
  const { lines, stderr } = choose('prlimit', ['--memlock=65536:65536', ...unprivileged]);
  const [auto = '', exact = '', read] = lines;
  // Kernels before 5.12 and from 6.14 on count rings; the others take no notice.
  assert.match(
    auto,
    /^auto: (io_uring|worker, because the limit of locked memory is too low)/,
    stderr,
  );
  assert.match(exact, /^io_uring: (io_uring|PGAIO_NO_URING .*locked memory.*65536)/);
  assert.is(read, 'read 8192');
});
asked.case('falls back where a filter forbids it, and says which', () => {
  const [program, ...words_] = forbidding(IO_URING_SETUP) ?? [];
  if (program === undefined) {
    console.log('skipped: a filter that forbids io_uring: there is no C compiler');
    return;
  }
  const { lines } = choose(program, words_);
  const why = 'a seccomp filter forbids io_uring, as container runtimes do by default';
  assert.equal(lines, [
    `auto: worker, because ${why} (setup, EPERM)`,
    `io_uring: PGAIO_NO_URING io_method "io_uring" cannot be used: ${why} (setup, EPERM)`,
    'read 8192',
  ]);
});
asked.case('needs descriptors of the kernel’s and shared memory', async () => {
  for (const [options, cause] of [
    [{ shared: false }, 'it needs shared memory (platform)'],
    [{ root: folder }, 'provider "wasi" has no descriptors of the kernel\'s (platform)'],
  ] as const) {
    const error = await Aio.create({ ...small, ...options, ioMethod: 'io_uring' }).catch((e) => e);
    assert.is(error.message, `io_method "io_uring" cannot be used: ${cause}`);
    assert.is(error.code, 'PGAIO_NO_URING');
    await using aio = await Aio.create({ ...small, ...options, ioMethod: 'auto' });
    assert.is(words(aio.fallback), cause);
  }
});
choice.run();
asked.run();

// Past the page cache.

const direct = suite('direct files');
direct('refuse what is not aligned, and name what is needed', async () => {
  if (constants.O_DIRECT === undefined) return void console.log('skipped: no O_DIRECT here');
  await using aio = await Aio.create({ ...small, ioMethod: 'sync', ioFrames: 16, blockSize: 1024 });
  const opened = openDirect(aio, path);
  if (opened === undefined) return;
  using file = opened;
  const { memory, offset } = file.alignment ?? { memory: 0, offset: 0 };
  assert.ok(memory >= 4 && offset >= 512 && (offset & (offset - 1)) === 0, `${memory} ${offset}`);
  using frames = aio.frames(16);
  const good = await file.read(frames.slice(0, 8), 0);
  assert.is(good.result, 8192);
  assert.equal(frames.bytes.slice(0, 8192), numberedBlocks(1));
  const step = `is not a multiple of ${offset}`;
  for (const at of [1, 256, offset - 1, offset + 1]) {
    assert.throws(() => file.read(frames, at), new RegExp(`^offset ${at} ${step}`));
  }
  const half = { frames, address: frames.address, byteLength: offset - 1 };
  assert.throws(() => file.read(half, 0), new RegExp(`^length ${offset - 1} ${step}`));
  const odd = { frames, address: frames.address + 2, byteLength: offset };
  assert.throws(() => file.read(odd, 0), /^address \d+ is not a multiple of \d+/);
  using plain = aio.open(path);
  assert.is(plain.alignment, undefined);
  assert.is((await plain.read(odd, 1)).result, offset, 'a plain file takes anything');
});
direct.run();
