/** The shim by itself: what it refuses, and threads that end while they use it. */
import { closeSync, constants, openSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import { bindShim } from '../host/node/shim.ts';
import type { KernelThreadStart } from './kernel-thread.ts';
import type { ParkThreadStart } from './park-thread.ts';
import { BLOCK, blockFile, runChild, scratchDirectory, until, within } from './threads-fixture.ts';

const folder = scratchDirectory('shim');
const path = blockFile(`${folder}/blocks`, 64);
const EBADF = 9;
const EAGAIN = 11;
const EFAULT = 14;
const EINVAL = 22;
const ETIMEDOUT = 110;

const shim = suite('the shim');
shim('takes no direct I/O outside the linear memory', () => {
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
  const view = new DataView(memory.buffer);
  const bound = bindShim(memory);
  if (bound === undefined) return void console.log('skipped: there is no shim');
  const end = memory.buffer.byteLength;
  const { fields } = layout.PgAioKernelIo;
  const fd = openSync(path, constants.O_RDONLY | (constants.O_DIRECT ?? 0));
  const entry = (place: number, iovecs: number, count: number) => {
    const io = 1024 + place * layout.KAIO_IO_BYTES;
    view.setInt32(io + fields.fd.offset, fd, true);
    view.setUint32(io + fields.iovecs.offset, iovecs, true);
    view.setUint16(io + fields.iov_length.offset, count, true);
  };
  const iovec = (at: number, base: number, length: number) => {
    view.setUint32(at, base, true);
    view.setUint32(at + 4, length, true);
  };
  assert.is(bound.finish(2048, 4), -EINVAL, 'nothing was ever started');
  for (const at of [end, end - 256, 4, 2 ** 32 - 8]) assert.is(bound.start(at, 1), -EFAULT);
  for (const [base, length] of [
    [end, 8192],
    [end - 4096, 8192],
    [2 ** 32 - 4096, 8192],
    [8192, 2 ** 32 - 1],
  ] as const) {
    iovec(4096, base, length);
    entry(0, 4096, 1);
    assert.is(bound.start(1024, 1), -EFAULT, `${base} ${length}`);
  }
  entry(0, end - 4, 1);
  assert.is(bound.start(1024, 1), -EFAULT, 'iovecs');
  entry(0, 4098, 1);
  assert.is(bound.start(1024, 1), -EFAULT, 'iovecs that are not aligned');
  iovec(4096, 8192, 8192);
  entry(0, 4096, 1);
  entry(1, end, 1);
  entry(2, 4096, 1);
  assert.is(bound.start(1024, 0b111), 1, 'those before the first bad one');
  for (const at of [end, end - 4, 2, 2 ** 32 - 4]) assert.is(bound.finish(at, 1), -EFAULT);
  assert.is(bound.finish(2048, 99), 1);
  assert.equal([view.getUint32(2048, true), view.getInt32(2052, true)], [0, 8192]);
  view.setInt32(1024 + fields.fd.offset, 987_654, true);
  assert.is(bound.start(1024, 1), -EBADF, 'no such descriptor');
  bound.unbind();
  closeSync(fd);
});
shim('writes nothing after its thread has ended', async () => {
  const [reads, bytes, at] = [16, 1 << 18, 1 << 16];
  const memory = new WebAssembly.Memory({ initial: 65, maximum: 65, shared: true });
  const large = blockFile(`${folder}/large`, bytes / BLOCK);
  const fd = openSync(large, constants.O_RDONLY | (constants.O_DIRECT ?? 0));
  const target = new Uint8Array(memory.buffer).subarray(at, at + reads * bytes);
  const untouched = Buffer.alloc(reads * bytes, 0xa5);
  const start: KernelThreadStart = { memory, fd, reads, at, bytes };
  for (let round = 0; round < 10; round++) {
    const thread = new Worker(new URL('./kernel-thread.js', import.meta.url), {
      workerData: start,
    });
    const started = await new Promise((resolve) => thread.once('message', resolve));
    if (started === -1) return void console.log('skipped: there is no shim');
    assert.is(started, reads);
    await within('it is terminated', thread.terminate());
    target.fill(0xa5);
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
    assert.is(Buffer.compare(target, untouched), 0);
  }
  closeSync(fd);
});
shim('lets a thread sleep on a word, for a while and not elsewhere', async () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const bound = bindShim(memory);
  if (bound === undefined) return void console.log('skipped: there is no shim');
  assert.is(bound.park(64, 1, 1_000_000), -EAGAIN, 'it has another value');
  assert.is(bound.park(64, 0, 1), -ETIMEDOUT);
  for (const word of [65536, 66, 2 ** 32 - 4]) {
    assert.equal([bound.park(word, 0, 1), bound.unpark(word)], [-EINVAL, -EINVAL]);
  }
  assert.is(bound.unpark(64), 0, 'nobody sleeps there');
  const start: ParkThreadStart = { memory, word: 64 };
  const thread = new Worker(new URL('./park-thread.js', import.meta.url), { workerData: start });
  let ended: unknown;
  await within('the thread', new Promise((resolve) => thread.once('message', resolve)));
  thread.once('message', (result) => {
    ended = result;
  });
  await until('it is woken', () => bound.unpark(64) === 1);
  await until('it says so', () => ended !== undefined);
  assert.is(ended, 0);
  bound.unbind();
});
shim('outlives threads that are terminated while they bind memories', async () => {
  const seed = process.env.PGAIO_SEED ?? `${process.hrtime.bigint() % 1_000_000n}`;
  const { code, signal, output } = await runChild('shim-child', ['200', seed], 60_000);
  assert.equal([code, signal, output], [0, null, 'all ended\n'], `seed ${seed}`);
});
shim.run();
