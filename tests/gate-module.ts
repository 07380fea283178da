/**
 * An I/O provider for tests whose calls wait at a gate, count themselves by thread and fail when
 * told to. Engines load it by its URL; Gate in threads-fixture.ts is the other end.
 */
import { isMainThread, threadId } from 'node:worker_threads';
import type { IoProvider, KernelAio, WasiIo } from '../bindings/host.ts';
import { directProvider } from '../host/node/direct-provider.ts';
import { wasiProvider } from '../host/node/wasi-provider.ts';

/** Places in `GateOptions.words`. */
export const GATE = {
  /** How many calls may pass, -1: all. The others wait, save those of the main thread. */
  passes: 0,
  /** Calls that wait now. */
  waiting: 1,
  /** WASI errno that calls answer instead of being made; 0 for none. */
  wasiErrno: 2,
  /** Most bytes a transfer moves; 0 for no limit. Only for one buffer. */
  mostBytes: 3,
  /** I/Os handed to the kernel together, and how often some were. */
  started: 4,
  starts: 5,
  /** errno that handing them over ends with; 0 for none. */
  startErrno: 6,
  /** What each of them ended with instead; 0 for what it did. */
  ended: 7,
  /** Calls made by thread n are counted at `byThread + n`. */
  byThread: 8,
} as const;
export const GATE_WORDS = 1024;

export interface GateOptions {
  readonly words: Int32Array;
  /** Through node:wasi, below this directory; over plain descriptors without it. */
  readonly root: string | undefined;
}

export function createProvider(options: unknown): IoProvider {
  const { words, root } = options as GateOptions;
  const inner = root === undefined ? directProvider() : wasiProvider(root);
  const pass = (): number => {
    while (!isMainThread) {
      const passes = Atomics.load(words, GATE.passes);
      if (passes < 0) break;
      if (passes === 0) {
        Atomics.add(words, GATE.waiting, 1);
        Atomics.wait(words, GATE.passes, 0);
        Atomics.sub(words, GATE.waiting, 1);
      } else if (Atomics.compareExchange(words, GATE.passes, passes, passes - 1) === passes) break;
    }
    Atomics.add(words, GATE.byThread + threadId, 1);
    return Atomics.load(words, GATE.wasiErrno);
  };
  return {
    ...inner,
    name: 'gated',
    bind(memory) {
      const { fd_pread, fd_pwrite, fd_sync, fd_datasync, kernelAio } = inner.bind(memory);
      const view = new DataView(memory.buffer);
      const transfer =
        (call: WasiIo['fd_pread']): WasiIo['fd_pread'] =>
        (fd, iovs, count, offset, moved) => {
          const errno = pass();
          if (errno !== 0) return errno;
          const most = Atomics.load(words, GATE.mostBytes);
          if (most > 0) view.setUint32(iovs + 4, most, true);
          return call(fd, iovs, count, offset, moved);
        };
      return {
        fd_pread: transfer(fd_pread),
        fd_pwrite: transfer(fd_pwrite),
        fd_sync: (fd) => pass() || fd_sync(fd),
        fd_datasync: (fd) => pass() || fd_datasync(fd),
        kernelAio: kernelAio && gated(kernelAio, words, pass, new Int32Array(memory.buffer)),
      };
    },
  };
}

/** They wait at the gate until they may be told that some have ended. */
function gated(
  inner: KernelAio,
  words: Int32Array,
  pass: () => number,
  i32: Int32Array,
): KernelAio {
  return {
    start(ios, places) {
      Atomics.add(words, GATE.starts, 1);
      const errno = Atomics.load(words, GATE.startErrno);
      if (errno !== 0) return -errno;
      const started = inner.start(ios, places);
      Atomics.add(words, GATE.started, Math.max(started, 0));
      return started;
    },
    finish(events, most) {
      pass();
      const count = inner.finish(events, most);
      const ended = Atomics.load(words, GATE.ended);
      for (let i = 0; i < count && ended !== 0; i++) i32[(events >>> 2) + 2 * i + 1] = ended;
      return count;
    },
  };
}
