/**
 * The shared memory: its size out of the settings, what a derived io_max_concurrency comes to,
 * memory that cannot be taken, joining, slots, and page frames.
 */
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import type { Settings } from '../bindings/settings.ts';
import { attach } from '../host/node/raw.ts';
import {
  assertSame,
  type Bench,
  BLOCK,
  bareCore,
  endOf,
  forEachMethod,
  newMemory,
  numberedBlocks,
  ONE_VARIANT,
  ONE_WORKER,
  rejection,
  SMALL,
  usageOf,
} from './harness.ts';

const SLOT_FREE = 0;
const GUCS = {
  io_max_concurrency: layout.GUC_IO_MAX_CONCURRENCY,
  io_max_combine_limit: layout.GUC_IO_MAX_COMBINE_LIMIT,
  max_backends: layout.GUC_MAX_BACKENDS,
  shared_buffers: layout.GUC_SHARED_BUFFERS,
  io_frames: layout.GUC_IO_FRAMES,
  block_size: layout.GUC_BLOCK_SIZE,
  local_memory: layout.GUC_LOCAL_MEMORY,
  trace_size: layout.GUC_TRACE_SIZE,
  max_files: layout.GUC_MAX_FILES,
} as const;
type Shape = Readonly<Record<keyof typeof GUCS, number>>;
/** PostgreSQL's defaults, and ours where it has no such setting; local_memory in bytes. */
const DEFAULTS: Shape = {
  io_max_concurrency: -1,
  io_max_combine_limit: 16,
  max_backends: 16,
  shared_buffers: 16384,
  io_frames: 1024,
  block_size: 8192,
  local_memory: 65536,
  trace_size: 4096,
  max_files: 256,
};

async function coreWith(shape: Partial<Shape>) {
  const core = await bareCore(newMemory(1));
  for (const [name, guc] of Object.entries(GUCS)) {
    const value = shape[name as keyof Shape];
    if (value !== undefined) assert.is(core.pgaio_set_guc(guc, value), 0, name);
  }
  return core;
}

/** The size once more: regions one after the other, each from a border of its own. */
function sizeOf(shape: Shape): number {
  let end = layout.CTL_AT + layout.CTL_BYTES;
  const region = (bytes: number, align = 128) => {
    end = Math.ceil(end / align) * align + bytes;
  };
  const handles = shape.max_backends * shape.io_max_concurrency;
  region(shape.max_backends * 512);
  region(shape.max_backends * 256);
  region(handles * 128);
  region(handles * shape.io_max_combine_limit * 8);
  region(handles * shape.io_max_combine_limit * 8);
  const returns = 4 * (shape.io_max_concurrency + 1);
  region(shape.max_backends * Math.ceil(returns / 128) * 128);
  region(512);
  region(32 * 768);
  region(32 * 1024);
  region(shape.max_backends * 64 * 32);
  region(shape.max_files * 512);
  region(shape.io_frames * 2);
  region(shape.max_backends * (shape.io_max_concurrency + 16) * 32);
  region(512);
  region(shape.shared_buffers * 64);
  region(4 * 2 ** Math.ceil(Math.log2(shape.shared_buffers)));
  region(128 * 64);
  region(shape.max_backends * Math.ceil((shape.shared_buffers * 2) / 128) * 128);
  const eighth = Math.floor(shape.shared_buffers / (8 * shape.io_max_combine_limit));
  const slots = Math.max(2, Math.min(32, eighth));
  region(slots * 64);
  region(shape.max_backends * 2048);
  region(4096 * 32);
  region(shape.trace_size * 48);
  region(shape.max_backends * shape.local_memory, 4096);
  region(shape.io_frames * shape.block_size, 4096);
  region(slots * shape.io_max_combine_limit * shape.block_size, 4096);
  region(shape.shared_buffers * shape.block_size, 4096);
  return end;
}

function sizes(): void {
  const SHAPES: readonly Partial<Shape>[] = [
    { io_max_concurrency: 64 },
    { io_max_concurrency: 1, max_backends: 1, shared_buffers: 16, trace_size: 16 },
    { io_max_concurrency: 1024, io_max_combine_limit: 128, max_backends: 5 },
    { io_max_concurrency: 3, io_max_combine_limit: 1, block_size: 1024, local_memory: 4096 },
    { io_max_concurrency: 7, max_backends: 1024, block_size: 32768, shared_buffers: 17 },
    { io_max_concurrency: 1, shared_buffers: 480000 },
    { io_max_concurrency: 31, max_files: 1 },
    { io_max_concurrency: 32, max_files: 65536 },
  ];
  forEachMethod(
    'memory: AioShmemSize',
    (test) => {
      for (const shape of SHAPES) {
        test(`is the sum of the regions for ${JSON.stringify(shape)}`, async () => {
          const core = await coreWith(shape);
          assert.is(core.AioShmemSize(), sizeOf({ ...DEFAULTS, ...shape }));
          assert.is(core.AioShmemSize(), sizeOf({ ...DEFAULTS, ...shape }), 'asked again');
        });
      }

      const AUTO = [
        [136, 16384, 64],
        [136, 11136, 64],
        [136, 11135, 63],
        [136, 174, 1],
        [136, 173, 1],
        [136, 347, 1],
        [136, 348, 2],
        [1, 16, 1],
        [1, 2496, 64],
        [1, 2495, 63],
        [1024, 16384, 15],
        [1024, 500000, 64],
      ] as const;
      for (const [backends, buffers, expected] of AUTO) {
        test(`derives ${expected} for ${buffers} buffers, ${backends} backends`, async () => {
          const shape = { max_backends: backends, shared_buffers: buffers, block_size: 1024 };
          const core = await coreWith(shape);
          assert.is(core.pgaio_get_guc(layout.GUC_IO_MAX_CONCURRENCY), -1);
          const size = core.AioShmemSize();
          assert.is(core.pgaio_get_guc(layout.GUC_IO_MAX_CONCURRENCY), expected);
          assert.is(size, sizeOf({ ...DEFAULTS, ...shape, io_max_concurrency: expected }));
        });
      }

      test('leaves an explicit io_max_concurrency as it is', async () => {
        const core = await coreWith({ io_max_concurrency: 1024, shared_buffers: 16 });
        core.AioShmemSize();
        assert.is(core.pgaio_get_guc(layout.GUC_IO_MAX_CONCURRENCY), 1024);
      });

      test('answers what does not fit, and not what wraps around', async () => {
        const most = 4294901760;
        for (const shared_buffers of [524287, 524288, 1073741823]) {
          const core = await coreWith({ shared_buffers });
          assert.is(core.AioShmemSize(), layout.E_MEMORY_LIMIT, String(shared_buffers));
          const shape = { ...DEFAULTS, shared_buffers, io_max_concurrency: 64 };
          assert.is(core.pgaio_error_detail(2), sizeOf(shape));
          assert.ok(sizeOf(shape) > most);
        }
      });
    },
    ONE_VARIANT,
  );
}

function layingOut(): void {
  forEachMethod(
    'memory: laid out',
    (test, open) => {
      test('has its regions in order, each inside the memory', async () => {
        const bench = await open();
        assert.is(bench.ctl('magic'), layout.SHMEM_MAGIC);
        assert.is(bench.ctl('layout_version'), layout.LAYOUT_VERSION);
        assert.is(bench.ctl('state'), layout.CTL_READY);
        const regions = [
          'backends',
          'doorbells',
          'io_handles',
          'iovecs',
          'handle_data',
          'done_returns',
          'worker_control',
          'workers',
          'worker_scratch',
          'resowners',
          'files',
          'frame_owners',
          'md_files',
          'buffer_control',
          'buffer_descs',
          'buffer_table',
          'buffer_partitions',
          'buffer_pins',
          'write_slots',
          'buffer_scratch',
          'sync_requests',
          'trace',
          'local',
          'frames',
          'write_frames',
          'buffers',
          'size',
        ] as const;
        const places = regions.map((name) => bench.ctl(name));
        assert.equal(
          places,
          [...places].sort((a, b) => a - b),
        );
        assert.is(bench.ctl('frames') % 4096, 0);
        assert.is(bench.ctl('local') % 4096, 0);
        assert.is(bench.ctl('size'), bench.ctl('buffers') + 64 * BLOCK);
        assert.ok(bench.ctl('size') <= bench.pg.memory.buffer.byteLength);
        assert.is(bench.pg.alloc(8), bench.ctl('local'));
        const guest = await bench.join();
        assert.is(guest.pg.alloc(8), bench.ctl('local') + 65536);
        const left = 65536 - 1024 - 8;
        assert.is(bench.pg.alloc(left), bench.ctl('local') + 8);
        assert.is(
          endOf(() => bench.pg.alloc(1)),
          'PGAIO_LOCAL_MEMORY',
          'the last 1024 bytes are the bindings’',
        );
      });
    },
    ONE_WORKER,
  );

  forEachMethod(
    'memory: laid out large',
    (test, open) => {
      test('gives addresses past 2 GiB as they are', async () => {
        const bench = await open({
          max_backends: 1024,
          io_max_concurrency: 1024,
          io_max_combine_limit: 128,
          shared_buffers: 16,
          local_memory: 4,
        });
        const { pg } = bench;
        assert.ok(bench.ctl('resowners') > 2 ** 31);
        const owner = pg.ResourceOwnerCreate(0);
        assert.is(owner, bench.ctl('resowners'));
        const at = pg.alloc(8);
        assert.ok(at > 2 ** 31);
        pg.pgaio_io_acquire(owner, 0);
        bench.pg.ResourceOwnerRelease(owner, false);
        assert.ok(pg.pgaio_frames_alloc(1) > 2 ** 31);
      });
    },
    ONE_VARIANT,
  );

  forEachMethod(
    'memory: joined',
    (test, open, variant) => {
      test('has the settings of the first', async () => {
        const bench = await open();
        const wishes: Settings = {
          io_max_concurrency: 9,
          io_max_combine_limit: 3,
          max_backends: 7,
          shared_buffers: 999,
          block_size: 1024,
          local_memory: 8,
          trace_size: 16,
          data_checksums: false,
          io_combine_limit: 5,
        };
        const guest = await bench.join(wishes);
        for (const [name, value] of [
          ['io_max_concurrency', '4'],
          ['io_max_combine_limit', '128kB'],
          ['max_backends', '3'],
          ['shared_buffers', '512kB'],
          ['block_size', '8192'],
          ['local_memory', '64kB'],
          ['trace_size', '256'],
          ['data_checksums', 'on'],
          ['io_method', variant.method],
        ] as const) {
          assert.is(guest.pg.show(name), value, name);
          assert.is(bench.pg.show(name), value, name);
        }
        assert.is(guest.pg.show('io_combine_limit'), '40kB', 'which each has for itself');
        assert.is(bench.pg.show('io_combine_limit'), '128kB');
        const fd = guest.file('data', numberedBlocks(1));
        assert.is(guest.read({ fd }).result.status, 'OK');
      });

      test('does not mind wishes that would need more than 4 GiB', async () => {
        const bench = await open();
        const guest = await bench.join({ shared_buffers: 1073741823 });
        assert.is(guest.pg.show('shared_buffers'), '512kB');
      });

      test('is refused while it is smaller than it says', async () => {
        const bench = await open();
        const size = bench.ctl('size');
        const most = bench.pg.memory.buffer.byteLength;
        bench.setCtl('size', most + 1);
        const error = await rejection(bench.join());
        bench.setCtl('size', size);
        assert.is(error.code, 'PGAIO_MEMORY_SIZE');
        assert.is(error.message, `shared memory has ${most} bytes and needs ${most + 1}`);
        bench.assertUsable();
      });
    },
    ONE_WORKER,
  );
}

function taking(): void {
  forEachMethod(
    'memory: taken',
    (test, _, variant) => {
      const { shared } = variant;
      const words = (memory: WebAssembly.Memory) => new Uint32Array(memory.buffer);
      const field = (name: keyof typeof layout.PgAioCtl.fields) =>
        (layout.CTL_AT + layout.PgAioCtl.fields[name].offset) / 4;
      const over = (memory: WebAssembly.Memory) =>
        attach({ ...SMALL, io_method: 'sync', memory, shared });
      const NEEDED = 1753088;

      test('if it has just the bytes it needs', async () => {
        const pages = Math.ceil(NEEDED / 65536);
        const core = await over(newMemory(pages, shared));
        assert.is(core.procno, 0);
        assert.is((await over(core.memory)).procno, 1);
      });

      test('not if it is one page too small, and then stays as it was', async () => {
        const pages = Math.floor(NEEDED / 65536);
        for (const count of [1, 2, pages]) {
          const memory = newMemory(count, shared);
          const error = await rejection(over(memory));
          assert.is(error.code, 'PGAIO_MEMORY_SIZE');
          const have = count * 65536;
          assert.is(error.message, `shared memory has ${have} bytes and needs ${NEEDED}`);
          assert.ok(words(memory).every((word) => word === 0));
        }
      });

      const FOREIGN = [
        [
          'another magic',
          (w: Uint32Array) => w.fill(0x12345678, field('magic'), field('magic') + 1),
        ],
        [
          'a state without a magic',
          (w: Uint32Array) => w.fill(2, field('state'), field('state') + 1),
        ],
        ['a state there is not', (w: Uint32Array) => w.fill(9, field('state'), field('state') + 1)],
        ['text', (w: Uint32Array) => w.fill(0x20202020)],
      ] as const;
      for (const [what, spoil] of FOREIGN) {
        test(`not if it holds ${what}`, async () => {
          const memory = newMemory(16, shared);
          spoil(words(memory));
          const before = words(memory).slice();
          const error = await rejection(over(memory));
          assert.is(error.code, 'PGAIO_MEMORY_FOREIGN');
          assert.is(error.message, 'memory holds something else');
          assert.equal(words(memory).slice(), before);
        });
      }

      test('not if another version laid it out', async () => {
        for (const version of [0, layout.LAYOUT_VERSION + 1, 4294967295]) {
          const memory = newMemory(16, shared);
          words(memory).set([layout.SHMEM_MAGIC, version, layout.CTL_READY], field('magic'));
          const error = await rejection(over(memory));
          assert.is(error.code, 'PGAIO_LAYOUT_VERSION');
          const ours = `this engine has ${layout.LAYOUT_VERSION}`;
          assert.is(error.message, `shared memory has layout version ${version}, ${ours}`);
        }
      });

      if (shared) return; // the shared build waits ten seconds for the one who lays it out
      test('not if whoever laid it out did not finish', async () => {
        const memory = newMemory(16, shared);
        words(memory)[field('state')] = layout.CTL_LAYING_OUT;
        const error = await rejection(over(memory));
        assert.is(error.code, 'PGAIO_MEMORY_FOREIGN');
      });
    },
    ONE_WORKER,
  );
}

function slots(): void {
  forEachMethod(
    'memory: slots',
    (test, open) => {
      test('are claimed in order, run out, and are used again', async () => {
        const bench = await open();
        const [second, third] = [await bench.join(), await bench.join()];
        assert.equal(
          [bench, second, third].map(({ pg }) => pg.procno),
          [0, 1, 2],
        );
        const error = await rejection(bench.join());
        assert.is(error.code, 'PGAIO_NO_SLOT');
        assert.is(error.message, 'aio requires a free backend slot');
        second.pg.pgaio_shutdown();
        const next = await bench.join();
        assert.is(next.pg.procno, 1);
        next.assertUsable();
        bench.assertUsable();
        third.assertUsable();
      });

      test('leave nothing of their last user behind', async () => {
        const bench = await open();
        const guest = await bench.join();
        const { pg } = guest;
        const owner = pg.ResourceOwnerCreate(0);
        pg.ResourceOwnerCreate(owner);
        pg.pgaio_register_host_callback(32, { complete_shared: () => undefined });
        guest.frames(60);
        pg.pgaio_enter_batchmode();
        pg.pgaio_io_acquire(owner, pg.alloc(32));
        pg.pgaio_shutdown();
        assert.equal(guest.said, [], 'leaving is not a leak');
        const next = await bench.join();
        assert.is(next.pg.procno, 1);
        next.assertUsable();
        const ioh = next.pg.pgaio_io_acquire(0, 0);
        const register = () => next.pg.pgaio_io_register_callbacks(ioh, 32, 0);
        assert.is(endOf(register), 'PGAIO_CALLBACK_MISSING', 'its instance had it');
        assert.is(
          endOf(() => next.pg.ResourceOwnerRelease(owner, true)),
          'PGAIO_BAD_RESOWNER',
        );
        assert.is(next.frames(64), bench.ctl('frames'), 'every frame is free');
      });

      test('tell a reader of pg_aios whether their user is there', async () => {
        const bench = await open();
        const guest = await bench.join();
        const at = bench.pg.alloc(128);
        guest.pg.pgaio_io_acquire(0, 0);
        assert.is(bench.pg.pgaio_get_aio(4, at), 3);
        assert.is(bench.u32[at / 4], layout.PGAIO_HS_HANDED_OUT);
        bench.set(guest.backendAt, layout.PgAioBackend, 'slot_state', SLOT_FREE);
        assert.is(bench.pg.pgaio_get_aio(4, at), 1);
        assert.is(bench.pg.pgaio_get_aio(5, at), 0, 'idle');
      });
    },
    ONE_WORKER,
  );
}

function frames(): void {
  /** Frame numbers with the backend that has them, -1 for none. */
  const owners = (bench: Bench) => {
    const from = bench.ctl('frame_owners');
    return Array.from({ length: 64 }, (_, i) => bench.view.getUint16(from + 2 * i, true) - 1);
  };
  const held = (bench: Bench, procno: number) =>
    owners(bench).flatMap((owner, frame) => (owner === procno ? [frame] : []));

  forEachMethod(
    'memory: page frames',
    (test, open) => {
      test('are taken in runs, given back and taken again', async () => {
        const bench = await open();
        const { pg } = bench;
        const start = bench.ctl('frames');
        assert.is(pg.pgaio_frames_alloc(3), start);
        assert.is(pg.pgaio_frames_alloc(2), start + 3 * BLOCK);
        assert.equal(held(bench, 0), [0, 1, 2, 3, 4]);
        pg.pgaio_frames_free(start + BLOCK, 3);
        assert.equal(
          held(bench, 0),
          [0, 4],
          'any run of one’s own, not only what was taken at once',
        );
        pg.pgaio_frames_free(start, 1);
        pg.pgaio_frames_free(start + 4 * BLOCK, 1);
        assert.equal(held(bench, 0), []);
      });

      test('run out, answer 0, and are all there again', async () => {
        const bench = await open();
        const { pg } = bench;
        const all = Array.from({ length: 64 }, () => pg.pgaio_frames_alloc(1));
        assert.is(new Set(all).size, 64);
        assert.is(pg.pgaio_frames_alloc(1), 0);
        for (const at of all) pg.pgaio_frames_free(at, 1);
        assert.is(pg.pgaio_frames_alloc(64), bench.ctl('frames'));
        assert.is(pg.pgaio_frames_alloc(1), 0);
      });

      test('in pieces give no run longer than the longest piece', async () => {
        const bench = await open();
        const { pg } = bench;
        const start = pg.pgaio_frames_alloc(64);
        for (let frame = 0; frame < 64; frame += 2) pg.pgaio_frames_free(start + frame * BLOCK, 1);
        assert.is(pg.pgaio_frames_alloc(2), 0);
        pg.pgaio_frames_free(start + 21 * BLOCK, 1);
        assert.is(pg.pgaio_frames_alloc(4), 0);
        assert.is(pg.pgaio_frames_alloc(3), start + 20 * BLOCK);
        assert.is(pg.pgaio_frames_alloc(2), 0);
        assert.is(held(bench, 0).length, 34);
      });

      test('are found across the place where the last search ended', async () => {
        const bench = await open();
        const { pg } = bench;
        const start = pg.pgaio_frames_alloc(32);
        pg.pgaio_frames_free(start + 30 * BLOCK, 2);
        assert.is(pg.pgaio_frames_alloc(34), start + 30 * BLOCK);
        assert.is(pg.pgaio_frames_alloc(1), 0);
      });

      test('belong to one backend, and go with it', async () => {
        const bench = await open();
        const guest = await bench.join();
        const mine = bench.frames(2);
        const theirs = guest.frames(2);
        const again = bench.frames(2);
        assert.equal(owners(bench).slice(0, 7), [0, 0, 1, 1, 0, 0, -1]);
        for (const [at, count] of [
          [theirs, 2],
          [theirs, 1],
          [mine, 4],
          [mine + BLOCK, 2],
          [mine, 6],
          [mine + 1, 1],
          [mine + 512, 1],
          [again, 3],
          [bench.ctl('frames') - BLOCK, 1],
          [bench.ctl('local'), 1],
          [0, 1],
          [mine, 0],
          [mine, 4294967295],
          [bench.ctl('size'), 1],
        ] as const) {
          const error = usageOf(() => bench.pg.pgaio_frames_free(at, count));
          assert.is(error.code, 'PGAIO_BAD_FRAME', `${count} from ${at}`);
          assert.is(error.message, `not a run of page frames of this backend: ${count} from ${at}`);
        }
        assert.equal(owners(bench).slice(0, 7), [0, 0, 1, 1, 0, 0, -1], 'refused as a whole');
        guest.pg.pgaio_shutdown();
        assert.equal(owners(bench).slice(0, 7), [0, 0, -1, -1, 0, 0, -1]);
        bench.pg.pgaio_frames_free(mine, 2);
        bench.pg.pgaio_frames_free(again, 2);
        assert.is(bench.frames(64), bench.ctl('frames'));
        assert.is(bench.ctl('frame_lock'), 0);
      });
    },
    ONE_WORKER,
  );
}

function fileTable(): void {
  /** Registers `path` and gives back its number. */
  const register = ({ pg, u8 }: Bench, path: string, flags = 0) => {
    const bytes = new TextEncoder().encode(path);
    const at = pg.alloc(bytes.length);
    u8.set(bytes, at);
    return pg.pgaio_file_register(at, bytes.length, flags);
  };
  const field = (bench: Bench, file: number, name: keyof typeof layout.PgAioFile.fields) =>
    bench.get(bench.ctl('files') + (file - 1) * layout.FILE_BYTES, layout.PgAioFile, name);
  const pathOf = (bench: Bench, file: number) => {
    const at = bench.ctl('files') + (file - 1) * layout.FILE_BYTES;
    const from = at + layout.PgAioFile.fields.path.offset;
    return new TextDecoder().decode(bench.u8.slice(from, from + field(bench, file, 'path_bytes')));
  };

  forEachMethod(
    'memory: table of files',
    (test, open) => {
      test('gives numbers from 1 on, and keeps what another thread needs', async () => {
        const bench = await open();
        const guest = await bench.join();
        assert.is(register(bench, 'base/5/16384', 3), 1);
        assert.is(register(guest, '/tmp/ä', 1), 2);
        for (const [file, path, flags, owner] of [
          [1, 'base/5/16384', 3, 1],
          [2, '/tmp/ä', 1, 2],
        ] as const) {
          assert.is(pathOf(bench, file), path);
          assert.is(field(bench, file, 'flags'), flags);
          assert.is(field(bench, file, 'owner'), owner);
          assert.is(field(bench, file, 'in_use'), 1);
        }
        assert.is(bench.ctl('file_lock'), 0);
      });

      test('gives the lowest number that is free, with a serial of its own', async () => {
        const bench = await open();
        for (let file = 1; file <= 3; file++) assert.is(register(bench, `f${file}`), file);
        const serial = field(bench, 2, 'serial');
        bench.pg.pgaio_file_unregister(2);
        assert.is(register(bench, 'again'), 2);
        assert.is(pathOf(bench, 2), 'again');
        assert.is.not(field(bench, 2, 'serial'), serial);
        assert.is(register(bench, 'f4'), 4);
      });

      test('is full after max_files, and takes one again when one is given back', async () => {
        const bench = await open({ max_files: 2 });
        const guest = await bench.join();
        register(bench, 'a');
        register(guest, 'b');
        for (const backend of [bench, guest]) {
          assert.is(
            endOf(() => register(backend, 'c')),
            'PGAIO_FILES_FULL',
          );
        }
        assert.is(bench.ctl('file_lock'), 0, 'the lock is given back');
        assert.is(
          endOf(() => bench.pg.pgaio_file_unregister(2)),
          'PGAIO_BAD_FILE',
          'somebody else’s',
        );
        guest.pg.pgaio_file_unregister(2);
        assert.is(register(bench, 'c'), 2);
      });

      test('takes paths of up to 492 bytes', async () => {
        const bench = await open();
        const path = 'x'.repeat(492);
        assert.is(register(bench, path), 1);
        assert.is(pathOf(bench, 1), path);
        assert.is(register(bench, 'next'), 2);
        assert.is(pathOf(bench, 1), path);
      });

      test('takes no path from outside the caller’s memory', async () => {
        const bench = await open();
        const { pg } = bench;
        const before = bench.engine();
        for (const [at, bytes] of [
          [0, 1],
          [layout.CTL_AT, 8],
          [bench.ctl('files'), 8],
          [bench.ctl('local') - 1, 1],
          [bench.ctl('local'), 0],
          [bench.ctl('size'), 1],
          [bench.ctl('size') - 8, 9],
          [bench.ctl('local'), 4294967295],
        ] as const) {
          const error = usageOf(() => pg.pgaio_file_register(at, bytes, 0));
          assert.is(error.code, 'PGAIO_BAD_ADDRESS', `${bytes} at ${at}`);
        }
        assertSame(bench.engine(), before);
      });

      test('forgets the files of a backend that leaves, and no others', async () => {
        const bench = await open();
        const guest = await bench.join();
        register(guest, 'theirs');
        register(bench, 'mine');
        register(guest, 'theirs too');
        guest.pg.pgaio_shutdown();
        assert.equal(
          [1, 2, 3].map((file) => field(bench, file, 'in_use')),
          [0, 1, 0],
        );
        assert.is(register(bench, 'next'), 1);
      });
    },
    ONE_WORKER,
  );
}

function binary(): void {
  const SECTION_CODE = 10;
  /** The code section of a module. */
  const codeOf = (bytes: Uint8Array): Uint8Array => {
    let at = 8;
    const leb = () => {
      for (let shift = 0, value = 0; ; shift += 7) {
        const byte = bytes[at++] ?? 0;
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) return value;
      }
    };
    while (at < bytes.length) {
      const id = bytes[at++];
      const length = leb();
      if (id === SECTION_CODE) return bytes.subarray(at, at + length);
      at += length;
    }
    throw new Error('a module without code');
  };
  /** How often 0xfe `op` with a four-byte alignment occurs: an atomic instruction. */
  const count = (code: Uint8Array, op: number) => {
    let found = 0;
    for (let i = 0; i < code.length; i++) {
      if (code[i] === 0xfe && code[i + 1] === op && code[i + 2] === 2) found++;
    }
    return found;
  };
  const NOTIFY = 0;
  const WAIT32 = 1;

  forEachMethod(
    'memory: the binary',
    (test) => {
      // One function has it and needs nothing afterwards, see futexWait in assembly/shm/atomics.ts.
      test('has one instruction that sleeps, and the unshared one none', () => {
        const shared = codeOf(readFileSync('dist/pgaio.wasm'));
        assert.is(count(shared, WAIT32), 1);
        assert.ok(count(shared, NOTIFY) > 0, 'it wakes');
        const unshared = codeOf(readFileSync('dist/pgaio-unshared.wasm'));
        assert.is(count(unshared, WAIT32), 0);
        assert.is(count(unshared, NOTIFY), 0);
      });
    },
    ONE_VARIANT,
  );
}

sizes();
layingOut();
taking();
slots();
frames();
fileTable();
binary();
