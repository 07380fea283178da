/**
 * The other thread of tests/wait.test.ts: a backend over the test's memory that waits, or issues an
 * I/O, and says what it sees. It is told what to do by messages, and held up by words of a control
 * memory, so that the test decides when it goes on.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { IoProvider } from '../bindings/host.ts';
import * as layout from '../bindings/layout.ts';
import type { RawCore } from '../bindings/raw.ts';
import { unpackResult } from '../bindings/result.ts';
import { directProvider } from '../host/node/direct-provider.ts';
import { attach } from '../host/node/raw.ts';
import { uringHost } from '../host/node/uring.ts';

/** What the thread is started with. */
export interface WorkerData {
  readonly role: 'wait' | 'issue' | 'lock';
  readonly memory: WebAssembly.Memory;
  readonly ioMethod: 'sync' | 'host';
  /** Words: what holds the issuer up is passed when its word is not 0. */
  readonly control: SharedArrayBuffer;
  readonly path: string;
  /** Where the issuer is held up. */
  readonly holdIn?: 'stage' | 'read';
}
/** What it says. */
export type Message =
  | { readonly said: 'attached'; readonly procno: number }
  | { readonly said: 'waiting' }
  | { readonly said: 'asked'; readonly io: number; readonly state: number }
  | { readonly said: 'held'; readonly ref: readonly number[] }
  | { readonly said: 'done'; readonly end: string; readonly ms: number; readonly result?: number };

const HELD = 0;
const HOLD_MS = 15_000;

function say(message: Message): void {
  parentPort?.postMessage(message);
}

/** Runs the thread's part to its end. */
export async function serve(): Promise<void> {
  const data = workerData as WorkerData;
  if (data.role === 'wait') await waitFor(data);
  else if (data.role === 'issue') await issue(data);
  else await takeFrames(data);
}

/** Takes page frames, for which it needs a lock, and gives them back. */
async function takeFrames({ memory }: WorkerData): Promise<void> {
  const pg = await attach({ memory });
  say({ said: 'waiting' });
  const started = performance.now();
  const result = pg.pgaio_frames_alloc(1);
  const end = endOf(() => pg.pgaio_frames_free(result, 1));
  say({ said: 'done', end, ms: performance.now() - started, result });
}

/** Attaches and waits for each reference it is sent. */
async function waitFor({ memory, ioMethod }: WorkerData): Promise<void> {
  const words = new Int32Array(memory.buffer);
  const device = {
    submit: () => undefined,
    waitOne: (id: number) => {
      const ioh = words[(layout.CTL_AT + layout.PgAioCtl.fields.io_handles.offset) / 4] ?? 0;
      const at = ioh + (id << layout.HANDLE_SHIFT);
      say({ said: 'asked', io: id, state: words[at / 4] ?? -1 });
      pg.pgaio_io_process_completion(at, 8192);
    },
  };
  const pg: RawCore = await attach({ memory, io_method: ioMethod, device });
  parentPort?.on('message', (ref: readonly number[]) => {
    const at = pg.alloc(16);
    words.set(ref, at / 4);
    say({ said: 'waiting' });
    const started = performance.now();
    say({
      said: 'done',
      end: endOf(() => pg.pgaio_wref_wait(at)),
      ms: performance.now() - started,
    });
    pg.pgaio_shutdown();
    parentPort?.close();
  });
  say({ said: 'attached', procno: pg.procno });
}

/** Reads one block, and is held up in the middle until the test lets it go. */
async function issue({ memory, control, path, holdIn }: WorkerData): Promise<void> {
  const words = new Int32Array(memory.buffer);
  const gate = new Int32Array(control);
  const ref: number[] = [];
  const hold = (): void => {
    say({ said: 'held', ref });
    Atomics.wait(gate, HELD, 0, HOLD_MS);
  };
  const inner = directProvider();
  const provider: IoProvider = {
    ...inner,
    rings: (over) => {
      const rings = uringHost(over);
      const enter: typeof rings.enter = (...call) => {
        if (holdIn === 'read') hold();
        return rings.enter(...call);
      };
      return { ...rings, enter };
    },
    bind: (over) => {
      const io = inner.bind(over);
      const read: typeof io.fd_pread = (...call) => {
        if (holdIn === 'read') hold();
        return io.fd_pread(...call);
      };
      return { ...io, fd_pread: read };
    },
  };
  const pg = await attach({ memory, provider });
  pg.pgaio_register_host_callback(32, {
    stage: () => {
      if (holdIn === 'stage') hold();
    },
    complete_shared: () => undefined,
  });
  const [ret, at] = [pg.alloc(32), pg.alloc(16)];
  const ioh = pg.pgaio_io_acquire(0, ret);
  pg.pgaio_io_set_target_file(ioh, 1, 0, 0);
  pg.pgaio_io_register_callbacks(ioh, 32, 0);
  pg.pgaio_io_get_iovec(ioh, at);
  const iovec = words[at / 4] ?? 0;
  words.set([pg.pgaio_frames_alloc(1), 8192], iovec / 4);
  pg.pgaio_io_get_wref(ioh, at);
  ref.push(...words.subarray(at / 4, at / 4 + 3));
  const started = performance.now();
  const fd = provider.open(path, {}, { memory, at: 0, bytes: 0 });
  const end = endOf(() => {
    pg.pgaio_io_start_readv(ioh, fd, 1, 0);
    pg.pgaio_wref_wait(at); // over already, where the issuer executes it
  });
  const { result } = unpackResult((words[ret / 4] ?? 0) >>> 0, words[ret / 4 + 1] ?? 0);
  say({ said: 'done', end, ms: performance.now() - started, result });
  pg.pgaio_shutdown();
}

function endOf(act: () => unknown): string {
  try {
    act();
    return 'done';
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}
