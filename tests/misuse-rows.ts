/**
 * The table of misuse: how each error of the core is brought about, and what it must say. A row
 * that only a broken memory can reach breaks it, and repairs it afterwards.
 */
import * as layout from '../bindings/layout.ts';
import type { RawCore } from '../bindings/raw.ts';
import { packResult } from '../bindings/result.ts';
import { attach } from '../host/node/raw.ts';
import {
  type Bench,
  IN_FLIGHT_ONLY,
  newMemory,
  numberedBlocks,
  ONE_VARIANT,
  type Restriction,
  SHARED_ONLY,
  SMALL,
} from './harness.ts';
import { HANDLE_ROWS, SLEEPLESS_ROW } from './misuse-held-rows.ts';
import { POOL_ROWS } from './misuse-pool-rows.ts';
import {
  drain,
  HELD,
  IDLE,
  idle,
  type Row,
  refTo,
  rejected,
  releaseHeld,
  returnOf,
  STAGED,
  SUBMITTED,
  staged,
  submitted,
} from './misuse-row.ts';
import { STREAM_ROWS } from './misuse-stream-rows.ts';
import { URING_ROWS } from './misuse-uring-rows.ts';

const METHOD_SYNC: Restriction = ({ method }) =>
  method === 'sync' ? undefined : 'a check of method sync';
const UNSHARED: Restriction = ({ shared }) =>
  shared ? 'the shared build has method worker' : undefined;

/** A call inside a completion callback, given a reference to the I/O that completes. */
function insideCallback(bench: Bench, call: (ref: number) => unknown): () => never {
  let thrown: unknown;
  const ref = bench.pg.alloc(16);
  bench.pg.pgaio_register_host_callback(32, {
    complete_shared: () => {
      try {
        call(refTo(bench, 0, ref));
      } catch (error) {
        thrown = error;
      }
    },
  });
  const fd = bench.file('data', numberedBlocks(1));
  return () => {
    bench.read({ fd, callbacks: [32] });
    throw thrown;
  };
}

const WAITING: readonly Row[] = [
  {
    sentence: 'refuses to wait for its own idle handle',
    code: 'PGAIO_WAIT_OWN',
    message: 'waiting for own IO 0 in wrong state: IDLE',
    names: IDLE,
    arrange: (bench) => {
      const ref = refTo(bench, 0);
      return () => bench.pg.pgaio_wref_wait(ref);
    },
  },
  {
    sentence: 'refuses to wait for its own staged I/O',
    code: 'PGAIO_WAIT_OWN',
    message: 'waiting for own IO 0 in wrong state: STAGED',
    names: STAGED,
    only: IN_FLIGHT_ONLY,
    arrange: (bench) => {
      const { ref } = staged(bench);
      return () => bench.pg.pgaio_wref_wait(ref);
    },
    repair: drain,
  },
  {
    sentence: 'lets nobody else wait for an idle handle',
    code: 'PGAIO_WAIT_STATE',
    message: 'IO in wrong state: 0',
    names: IDLE,
    arrange: async (bench) => {
      const guest = await bench.join();
      const ref = refTo(guest, 0);
      return () => guest.pg.pgaio_wref_wait(ref);
    },
  },
  {
    sentence: 'lets nobody else wait for a handle that is only handed out',
    code: 'PGAIO_WAIT_STATE',
    message: 'IO in wrong state: 1',
    names: HELD,
    arrange: async (bench) => {
      const guest = await bench.join();
      bench.pg.pgaio_io_acquire(0, 0);
      const ref = refTo(guest, 0);
      return () => guest.pg.pgaio_wref_wait(ref);
    },
    repair: releaseHeld,
  },
  SLEEPLESS_ROW,
  {
    sentence: 'says that a device which ends I/O later cannot be waited for',
    code: 'PGAIO_CANNOT_WAIT',
    message: 'nobody can complete IO 0 while its waiter blocks',
    names: SUBMITTED,
    settings: { device: 'never' },
    only: IN_FLIGHT_ONLY,
    arrange: (bench) => {
      const { ref } = submitted(bench);
      return () => bench.pg.pgaio_wref_wait(ref);
    },
    repair: drain,
  },
  {
    sentence: 'says that a device which throws cannot be waited for',
    code: 'PGAIO_CANNOT_WAIT',
    message: 'nobody can complete IO 0 while its waiter blocks',
    names: SUBMITTED,
    only: IN_FLIGHT_ONLY,
    arrange: (bench) => {
      const { ref } = submitted(bench);
      bench.device.onWait = () => {
        throw new Error('device');
      };
      return () => bench.pg.pgaio_wref_wait(ref);
    },
    repair: drain,
  },
  ...[layout.NONE >>> 0, 12, 2 ** 31].map(
    (index): Row => ({
      sentence: `refuses a wait reference to handle ${index}`,
      code: 'PGAIO_BAD_WREF',
      message: `wait reference is not valid: ${index}`,
      arrange: (bench) => {
        const ref = bench.pg.alloc(16);
        bench.view.setUint32(ref, index, true);
        return () => bench.pg.pgaio_wref_wait(ref);
      },
    }),
  ),
  ...(
    [
      ['for a while', (pg, ref) => pg.pgaio_wref_wait_timed(ref, 1)],
      ['without blocking', (pg, ref) => pg.pgaio_wref_arm(ref)],
      ['no longer', (pg, ref) => pg.pgaio_wref_disarm(ref)],
    ] as const satisfies readonly (readonly [string, (pg: RawCore, ref: number) => unknown])[]
  ).map(
    ([how, wait]): Row => ({
      sentence: `refuses to wait ${how} for a reference that was cleared`,
      code: 'PGAIO_BAD_WREF',
      message: 'wait reference is not valid: 4294967295',
      arrange: ({ pg }) => {
        const ref = pg.alloc(16);
        pg.pgaio_wref_clear(ref);
        return () => wait(pg, ref);
      },
    }),
  ),
  {
    sentence: 'refuses to end a wait that was not begun',
    code: 'PGAIO_NOT_ARMED',
    message: 'nothing of this instance is armed to wait for IO 0',
    names: IDLE,
    arrange: (bench) => {
      const ref = refTo(bench, 0);
      return () => bench.pg.pgaio_wref_disarm(ref);
    },
  },
  {
    sentence: 'refuses to wait for a while for its own idle handle',
    code: 'PGAIO_WAIT_OWN',
    message: 'waiting for own IO 0 in wrong state: IDLE',
    names: IDLE,
    arrange: (bench) => {
      const ref = refTo(bench, 0);
      return () => bench.pg.pgaio_wref_wait_timed(ref, 0);
    },
  },
  {
    sentence: 'refuses to wait inside a completion callback for a while',
    code: 'PGAIO_CRITICAL',
    message: 'not allowed inside a completion callback',
    effects: true,
    arrange: (bench) => insideCallback(bench, (ref) => bench.pg.pgaio_wref_wait_timed(ref, 0)),
  },
  {
    sentence: 'gives no wait reference to an idle handle',
    code: 'PGAIO_WREF_STATE',
    message: 'a wait reference is taken before submission, but IO 0 is IDLE',
    names: IDLE,
    arrange: (bench) => {
      const ref = bench.pg.alloc(16);
      return () => bench.pg.pgaio_io_get_wref(idle(bench), ref);
    },
  },
  {
    sentence: 'gives no wait reference to a submitted handle',
    code: 'PGAIO_WREF_STATE',
    message: 'a wait reference is taken before submission, but IO 0 is SUBMITTED',
    names: SUBMITTED,
    only: IN_FLIGHT_ONLY,
    arrange: (bench) => {
      const { ioh, ref } = submitted(bench);
      return () => bench.pg.pgaio_io_get_wref(ioh, ref);
    },
    repair: drain,
  },
];

const BATCHES: readonly Row[] = [
  {
    sentence: 'refuses a batch within a batch',
    code: 'PGAIO_BATCH_NESTED',
    message: 'starting batch while batch already in progress',
    arrange: ({ pg }) => {
      pg.pgaio_enter_batchmode();
      return () => pg.pgaio_enter_batchmode();
    },
    repair: drain,
  },
  {
    sentence: 'refuses to end a batch when none is open',
    code: 'PGAIO_BATCH_NONE',
    message: 'no batch is in progress',
    arrange:
      ({ pg }) =>
      () =>
        pg.pgaio_exit_batchmode(),
  },
  {
    sentence: 'refuses the completion of an idle handle',
    code: 'PGAIO_COMPLETION_STATE',
    message: 'completion of IO 0, which is not submitted: IDLE',
    names: IDLE,
    arrange: (bench) => () => bench.pg.pgaio_io_process_completion(idle(bench), 0),
  },
  {
    sentence: 'refuses the completion of a staged handle',
    code: 'PGAIO_COMPLETION_STATE',
    message: 'completion of IO 0, which is not submitted: STAGED',
    names: STAGED,
    only: IN_FLIGHT_ONLY,
    arrange: (bench) => {
      const { ioh } = staged(bench);
      return () => bench.pg.pgaio_io_process_completion(ioh, 0);
    },
    repair: drain,
  },
  ...[8193, -4096, 2147483647, -2147483648].map(
    (raw): Row => ({
      sentence: `refuses ${raw} as the result of 8192 bytes`,
      code: 'PGAIO_BAD_RESULT',
      message: `raw result ${raw} is neither a length up to 8192 nor a negative errno`,
      names: SUBMITTED,
      only: IN_FLIGHT_ONLY,
      arrange: (bench) => {
        const { ioh } = submitted(bench);
        return () => bench.pg.pgaio_io_process_completion(ioh, raw);
      },
      repair: drain,
    }),
  ),
  {
    sentence: 'refuses to acquire inside a completion callback',
    code: 'PGAIO_CRITICAL',
    message: 'not allowed inside a completion callback',
    effects: true,
    arrange: (bench) => insideCallback(bench, () => bench.pg.pgaio_io_acquire(0, 0)),
  },
];

const REPORTS: readonly Row[] = [
  ...(['UNKNOWN', 'OK'] as const).map(
    (status): Row => ({
      sentence: `has nothing to report for ${status}`,
      code: 'PGAIO_REPORT_STATUS',
      message: `there is nothing to report for status ${status}`,
      arrange: (bench) => {
        const [result, target] = returnOf(bench, packResult(1, status, 0));
        return () => bench.pg.pgaio_result_report(result, target, layout.ERROR_LEVEL);
      },
    }),
  ),
  ...(
    [
      [0, 'aio_invalid_cb'],
      [40, 'aio_host_cb_40'],
    ] as const
  ).map(
    ([id, symbol]): Row => ({
      sentence: `has no words for results of callback ${id}`,
      code: 'PGAIO_REPORT_NONE',
      message: `callback ${id}/${symbol} does not have report callback`,
      arrange: (bench) => {
        const [result, target] = returnOf(bench, packResult(id, 'ERROR', 5));
        return () => bench.pg.pgaio_result_report(result, target, layout.ERROR_LEVEL);
      },
    }),
  ),
  ...[9, 24, -1].map(
    (level): Row => ({
      sentence: `refuses to report at level ${level}`,
      code: 'PGAIO_BAD_LEVEL',
      message: `unknown error level: ${level}`,
      arrange: (bench) => {
        const [result, target] = returnOf(bench, packResult(1, 'ERROR', 5));
        return () => bench.pg.pgaio_result_report(result, target, level);
      },
    }),
  ),
  {
    sentence: 'refuses a host callback that only another backend has loaded',
    code: 'PGAIO_CALLBACK_MISSING',
    message: 'callback 40 is not loaded in this thread',
    names: HELD,
    arrange: async (bench) => {
      const guest = await bench.join();
      guest.pg.pgaio_register_host_callback(40, { complete_shared: () => undefined });
      const ioh = bench.pg.pgaio_io_acquire(0, 0);
      return () => bench.pg.pgaio_io_register_callbacks(ioh, 40, 0);
    },
    repair: releaseHeld,
  },
  {
    sentence: 'refuses to register a host callback below 32',
    code: 'PGAIO_CALLBACK_RANGE',
    message: 'callback 31 is out of range',
    arrange:
      ({ pg }) =>
      () =>
        pg.pgaio_register_host_callback(31, { complete_shared: () => undefined }),
  },
  {
    sentence: 'refuses to register a host callback above 63',
    code: 'PGAIO_CALLBACK_RANGE',
    message: 'callback 64 is out of range',
    arrange:
      ({ pg }) =>
      () =>
        pg.pgaio_register_host_callback(64, { complete_shared: () => undefined }),
  },
  {
    sentence: 'refuses to register a host callback that completes nothing',
    code: 'PGAIO_CALLBACK_COMPLETION',
    message: 'callback 32 does not have a completion callback',
    arrange:
      ({ pg }) =>
      () =>
        pg.pgaio_register_host_callback(32, { stage: () => undefined }),
  },
];

/** Where the resource owners of backend `procno` begin. */
function ownersOf(bench: Bench, procno: number): number {
  return bench.ctl('resowners') + procno * layout.RESOURCE_OWNERS * layout.RESOWNER_BYTES;
}

const OWNERS: readonly Row[] = [
  ...[8, 640].map(
    (at): Row => ({
      sentence: `refuses ${at} as a resource owner`,
      code: 'PGAIO_BAD_RESOWNER',
      message: `not a resource owner: ${at}`,
      arrange:
        ({ pg }) =>
        () =>
          pg.ResourceOwnerRelease(at, true),
    }),
  ),
  {
    sentence: 'refuses to acquire for an owner that was deleted',
    code: 'PGAIO_BAD_RESOWNER',
    message: (bench) => `not a resource owner: ${bench.ctl('resowners')}`,
    arrange: ({ pg }) => {
      const owner = pg.ResourceOwnerCreate(0);
      pg.ResourceOwnerDelete(owner);
      return () => pg.pgaio_io_acquire(owner, 0);
    },
  },
  {
    sentence: 'refuses the resource owner of another backend',
    code: 'PGAIO_BAD_RESOWNER',
    message: (bench) => `not a resource owner: ${ownersOf(bench, 2)}`,
    arrange: async (bench) => {
      const guest = await bench.join();
      const owner = guest.pg.ResourceOwnerCreate(0);
      return () => bench.pg.pgaio_io_acquire(owner, 0);
    },
  },
  {
    sentence: 'runs out of resource owners after 64',
    code: 'PGAIO_RESOWNER_FULL',
    message: 'out of resource owners, the max is 64',
    sqlstate: '53000',
    arrange: ({ pg }) => {
      for (let i = 0; i < layout.RESOURCE_OWNERS; i++) pg.ResourceOwnerCreate(0);
      return () => pg.ResourceOwnerCreate(0);
    },
  },
  {
    sentence: 'refuses to delete an owner that holds a handle, and says in which state that is',
    code: 'PGAIO_RESOWNER_BUSY',
    message: 'resource owner still holds 1 IOs and 0 children',
    names: HELD,
    arrange: ({ pg }) => {
      const owner = pg.ResourceOwnerCreate(0);
      pg.pgaio_io_acquire(owner, 0);
      return () => pg.ResourceOwnerDelete(owner);
    },
    repair: releaseHeld,
  },
  {
    sentence: 'refuses to delete an owner that has a child',
    code: 'PGAIO_RESOWNER_BUSY',
    message: 'resource owner still holds 0 IOs and 1 children',
    arrange: ({ pg }) => {
      const owner = pg.ResourceOwnerCreate(0);
      pg.ResourceOwnerCreate(owner);
      return () => pg.ResourceOwnerDelete(owner);
    },
  },
];

/** Nothing but a broken memory, or a callback that breaks it, leads here. */
const BROKEN: readonly Row[] = [
  {
    sentence: 'does not submit under sync what is staged against its rules',
    code: 'PGAIO_SYNC_SUBMIT',
    message: 'IO should have been executed synchronously',
    names: HELD,
    only: METHOD_SYNC,
    arrange: (bench) => {
      bench.pg.pgaio_io_acquire(0, 0);
      bench.setBackend('num_staged_ios', 1);
      bench.setBackend('staged_ios', 0);
      return () => bench.pg.pgaio_submit_staged();
    },
    repair: (bench) => {
      bench.setBackend('num_staged_ios', 0);
      releaseHeld(bench);
    },
  },
  {
    sentence: 'does not execute an operation that was lost',
    code: 'PGAIO_OP_INVALID',
    message: 'trying to execute invalid IO operation',
    names: SUBMITTED,
    effects: true,
    arrange: (bench) => {
      bench.pg.pgaio_register_host_callback(32, {
        stage: () => bench.setHandle(0, 'op', layout.PGAIO_OP_INVALID),
        complete_shared: () => undefined,
      });
      const io = bench.define({
        fd: bench.file('data', numberedBlocks(1)),
        callbacks: [32],
        flags: layout.PGAIO_HF_SYNCHRONOUS,
      });
      return () => bench.start(io);
    },
    repair: (bench) => bench.pg.pgaio_io_process_completion(bench.handleAt(0), -5),
  },
  {
    sentence: 'finds an idle handle among those of a resource owner',
    code: 'PGAIO_RESOWNER_IDLE',
    message: 'unexpected',
    names: IDLE,
    effects: true,
    arrange: (bench) => {
      const owner = bench.pg.ResourceOwnerCreate(0);
      bench.pg.pgaio_io_acquire(owner, 0);
      bench.setHandle(0, 'state', layout.PGAIO_HS_IDLE);
      return () => bench.pg.ResourceOwnerRelease(owner, true);
    },
    repair: (bench) => {
      bench.setHandle(0, 'state', layout.PGAIO_HS_HANDED_OUT);
      releaseHeld(bench);
    },
  },
  {
    sentence: 'finds no handle that could become free',
    code: 'PGAIO_NO_FREE_IO',
    message: 'no free IOs despite no in-flight IOs',
    detail: '0 pending, 0 in-flight, 0 idle IOs',
    settings: { io_max_concurrency: 1 },
    effects: true,
    arrange: (bench) => {
      let thrown: unknown;
      bench.pg.pgaio_register_host_callback(32, {
        stage: () => {
          try {
            bench.pg.pgaio_io_acquire(0, 0);
          } catch (error) {
            thrown = error;
          }
        },
        complete_shared: () => undefined,
      });
      const fd = bench.file('data', numberedBlocks(1));
      return () => {
        bench.read({ fd, callbacks: [32] });
        throw thrown;
      };
    },
  },
  ...(['HANDED_OUT', 'COMPLETED_LOCAL'] as const).map(
    (state): Row => ({
      sentence: `finds the oldest I/O in flight ${state}`,
      code: 'PGAIO_OLDEST_STATE',
      message: `shouldn't get here with io:0 in state ${state === 'HANDED_OUT' ? 1 : 7}`,
      names: [0, state],
      settings: { io_max_concurrency: 2 },
      only: IN_FLIGHT_ONLY,
      arrange: (bench) => {
        const io = submitted(bench);
        bench.start(bench.define({ fd: io.fd }));
        bench.setHandle(0, 'state', state === 'HANDED_OUT' ? 1 : 7);
        return () => bench.pg.pgaio_io_acquire(0, 0);
      },
      repair: (bench) => {
        bench.setHandle(0, 'state', layout.PGAIO_HS_SUBMITTED);
        drain(bench);
      },
    }),
  ),
  {
    sentence: 'finds no handle idle after it has waited for one',
    code: 'PGAIO_STILL_NO_IDLE',
    message: 'no idle IO after waiting for IO to terminate',
    names: IDLE,
    settings: { io_max_concurrency: 1 },
    only: IN_FLIGHT_ONLY,
    effects: true,
    arrange: (bench) => {
      submitted(bench);
      bench.device.onWait = (id) => {
        bench.setBackend('idle_count', -1);
        bench.device.complete(id);
      };
      return () => bench.pg.pgaio_io_acquire(0, 0);
    },
    repair: (bench) => bench.setBackend('idle_count', 1),
  },
];

/** What raw.ts does not declare, and hands on all the same. */
interface Undeclared {
  pgaio_set_guc(guc: number, value: number): number;
  pgaio_init_worker(id: number, starter: number): number;
  pgaio_worker_main(id: number): number;
}
const SETTING_UP: readonly Row[] = [
  {
    sentence: 'is a backend once',
    code: 'PGAIO_BACKEND_TWICE',
    message: 'this instance is backend 0 already',
    arrange:
      ({ pg }) =>
      () =>
        pg.pgaio_init_backend(),
  },
  {
    sentence: 'has no slot for one backend more than max_backends',
    code: 'PGAIO_NO_SLOT',
    message: 'aio requires a free backend slot',
    sqlstate: '53000',
    settings: { max_backends: 1 },
    arrange: (bench) => rejected(bench.join()),
  },
  {
    sentence: 'does not change what shaped the memory',
    code: 'PGAIO_SETTING_LATE',
    message: 'setting 1 cannot be changed after start',
    sqlstate: '55P02',
    arrange: (bench) => {
      const undeclared = bench.pg as unknown as Undeclared;
      return () => undeclared.pgaio_set_guc(layout.GUC_IO_MAX_CONCURRENCY, 8);
    },
  },
  {
    sentence: 'joins no memory of a method this build lacks',
    code: 'PGAIO_BAD_SETTING',
    message: `setting 0 cannot be ${layout.IOMETHOD_WORKER}`,
    sqlstate: '22023',
    only: UNSHARED,
    arrange: (bench) => {
      const before = bench.ctl('io_method');
      bench.setCtl('io_method', layout.IOMETHOD_WORKER);
      const refused = rejected(bench.join());
      return refused.finally(() => bench.setCtl('io_method', before));
    },
  },
  ...URING_ROWS,
  {
    sentence: 'has its shared memory once',
    code: 'PGAIO_INIT_TWICE',
    message: 'this instance has its shared memory already',
    arrange:
      ({ pg }) =>
      () =>
        pg.AioShmemInit(),
  },
  ...[32, 4294967295].map(
    (id): Row => ({
      sentence: `is no I/O worker ${id}`,
      code: 'PGAIO_BAD_WORKER',
      message: `not the number of an I/O worker: ${id}`,
      only: SHARED_ONLY,
      arrange: (bench) => {
        const undeclared = bench.pg as unknown as Undeclared;
        return () => undeclared.pgaio_init_worker(id, 1);
      },
    }),
  ),
  ...[0, 31, 32].map(
    (id): Row => ({
      sentence: `does not live the life of I/O worker ${id}, which it is not`,
      code: 'PGAIO_BAD_WORKER',
      message: `not the number of an I/O worker: ${id}`,
      only: SHARED_ONLY,
      arrange: (bench) => {
        const undeclared = bench.pg as unknown as Undeclared;
        return () => undeclared.pgaio_worker_main(id);
      },
    }),
  ),
  {
    sentence: 'joins no memory of another layout version',
    code: 'PGAIO_LAYOUT_VERSION',
    message: `shared memory has layout version 99, this engine has ${layout.LAYOUT_VERSION}`,
    arrange: (bench) => {
      bench.setCtl('layout_version', 99);
      const refused = rejected(bench.join());
      return refused.finally(() => bench.setCtl('layout_version', layout.LAYOUT_VERSION));
    },
  },
  {
    sentence: 'takes no memory that holds something else',
    code: 'PGAIO_MEMORY_FOREIGN',
    message: 'memory holds something else',
    only: ONE_VARIANT,
    arrange: () => {
      const memory = newMemory(64);
      new Uint32Array(memory.buffer)[layout.CTL_AT / 4] = 1;
      return rejected(attach({ ...SMALL, memory }));
    },
  },
  {
    sentence: 'takes no memory that is too small',
    code: 'PGAIO_MEMORY_SIZE',
    message: 'shared memory has 65536 bytes and needs 1753088',
    only: ONE_VARIANT,
    arrange: () => rejected(attach({ ...SMALL, memory: newMemory(1) })),
  },
  {
    sentence: 'refuses settings that need more than 4 GiB',
    code: 'PGAIO_MEMORY_LIMIT',
    message: 'settings need 8875555069952 bytes of shared memory, the most is 4294901760',
    sqlstate: '53200',
    only: ONE_VARIANT,
    arrange: () => rejected(attach({ ...SMALL, shared_buffers: 1073741823 })),
  },
];

const FRAMES: readonly Row[] = [
  ...(
    [
      ['none', 0],
      ['more than there are', 65],
      ['2^32 - 1', 4294967295],
    ] as const
  ).map(
    ([words, count]): Row => ({
      sentence: `allocates no run of page frames of ${words}`,
      code: 'PGAIO_BAD_FRAME',
      message: `not a run of page frames of this backend: ${count} from 0`,
      arrange:
        ({ pg }) =>
        () =>
          pg.pgaio_frames_alloc(count),
    }),
  ),
  {
    sentence: 'frees no page frames of another backend',
    code: 'PGAIO_BAD_FRAME',
    message: (bench) => `not a run of page frames of this backend: 2 from ${bench.ctl('frames')}`,
    arrange: async (bench) => {
      const guest = await bench.join();
      const at = guest.frames(2);
      return () => bench.pg.pgaio_frames_free(at, 2);
    },
  },
  {
    sentence: 'frees no page frames twice',
    code: 'PGAIO_BAD_FRAME',
    message: (bench) => `not a run of page frames of this backend: 2 from ${bench.ctl('frames')}`,
    arrange: (bench) => {
      const at = bench.frames(2);
      bench.pg.pgaio_frames_free(at, 2);
      return () => bench.pg.pgaio_frames_free(at, 2);
    },
  },
];

const FILES: readonly Row[] = [
  {
    sentence: 'has no number for one file more than max_files',
    code: 'PGAIO_FILES_FULL',
    sqlstate: '53000',
    message: 'no room for another file, or for so long a path: 16, 492',
    arrange: ({ pg }) => {
      const path = pg.alloc(8);
      for (let i = 0; i < SMALL.max_files; i++) pg.pgaio_file_register(path, 8, 0);
      return () => pg.pgaio_file_register(path, 8, 0);
    },
    repair: ({ pg }) => {
      for (let file = 1; file <= SMALL.max_files; file++) pg.pgaio_file_unregister(file);
    },
  },
  {
    sentence: 'has no room for a path of 493 bytes',
    code: 'PGAIO_FILES_FULL',
    sqlstate: '53000',
    message: 'no room for another file, or for so long a path: 493, 492',
    arrange: ({ pg }) => {
      const path = pg.alloc(493);
      return () => pg.pgaio_file_register(path, 493, 0);
    },
  },
  {
    sentence: 'takes no path of no bytes',
    code: 'PGAIO_BAD_ADDRESS',
    message: (bench) =>
      `address ${bench.ctl('local')} is misaligned or outside the caller's memory`,
    arrange: (bench) => () => bench.pg.pgaio_file_register(bench.ctl('local'), 0, 0),
  },
  ...[0, 1, 17, 4294967295].map(
    (file): Row => ({
      sentence: `gives back no file ${file}, which is not open`,
      code: 'PGAIO_BAD_FILE',
      message: `not the number of an open file: ${file}`,
      arrange:
        ({ pg }) =>
        () =>
          pg.pgaio_file_unregister(file),
    }),
  ),
  {
    sentence: 'gives back no file twice',
    code: 'PGAIO_BAD_FILE',
    message: 'not the number of an open file: 1',
    arrange: ({ pg }) => {
      const file = pg.pgaio_file_register(pg.alloc(8), 8, 0);
      pg.pgaio_file_unregister(file);
      return () => pg.pgaio_file_unregister(file);
    },
  },
];

export const ROWS: readonly Row[] = [
  ...HANDLE_ROWS,
  ...WAITING,
  ...BATCHES,
  ...REPORTS,
  ...OWNERS,
  ...BROKEN,
  ...SETTING_UP,
  ...FRAMES,
  ...FILES,
  ...STREAM_ROWS,
  ...POOL_ROWS,
];
