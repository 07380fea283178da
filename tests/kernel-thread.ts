/** A thread that has reads under way beside an engine, says so, and then does nothing more. */
import { parentPort, workerData } from 'node:worker_threads';
import * as layout from '../bindings/layout.ts';
import { bindShim } from '../host/node/shim.ts';

export interface KernelThreadStart {
  readonly memory: WebAssembly.Memory;
  readonly fd: number;
  readonly reads: number;
  /** Where each reads to: one after the other from `at` on. */
  readonly at: number;
  readonly bytes: number;
}

const { memory, fd, reads, at, bytes } = workerData as KernelThreadStart;
const view = new DataView(memory.buffer);
const IOS = 1024;
const IOVECS = 4096;
const { fields } = layout.PgAioKernelIo;
for (let place = 0; place < reads; place++) {
  const io = IOS + place * layout.KAIO_IO_BYTES;
  const iovec = IOVECS + place * layout.IOVEC_BYTES;
  view.setUint32(iovec, at + place * bytes, true);
  view.setUint32(iovec + 4, bytes, true);
  view.setInt32(io + fields.fd.offset, fd, true);
  view.setUint32(io + fields.iovecs.offset, iovec, true);
  view.setUint16(io + fields.iov_length.offset, 1, true);
}
const started = bindShim(memory)?.start(IOS, 2 ** reads - 1) ?? -1;
parentPort?.postMessage(started);
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
