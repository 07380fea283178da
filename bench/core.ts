/**
 * What the core itself costs: the whole life of a handle against a device that does nothing, called
 * from WebAssembly and through the raw layer from JavaScript, and verifying pages.
 */

import type { IoProvider } from '../bindings/host.ts';
import { PGAIO_HCB_FILE, PGAIO_TID_FILE } from '../bindings/layout.ts';
import { attach } from '../host/node/raw.ts';
import { bench } from './harness.ts';
import { wasmCaller } from './parts/wasm-caller.ts';

const PAGE_BYTES = 8192;

/** Answers every read at once with all the bytes asked for. */
function nullProvider(): IoProvider {
  return {
    name: 'null',
    sharedDescriptors: true,
    bind(memory) {
      const words = new Uint32Array(memory.buffer);
      const transfer = (_: number, __: number, ___: number, ____: bigint, moved: number) => {
        words[moved >>> 2] = PAGE_BYTES;
        return 0;
      };
      const sync = (): number => 0;
      return { fd_pread: transfer, fd_pwrite: transfer, fd_sync: sync, fd_datasync: sync };
    },
    open: () => 0,
    size: () => 0,
    close: () => undefined,
  };
}

/**
 * Acquire, reference, target, two callbacks, iovec, start; the end follows at once.
 */
async function lifeOfAHandle(backends: number, handlesEach: number) {
  const pg = await attach({
    provider: nullProvider(),
    max_backends: backends,
    io_max_concurrency: handlesEach,
    shared_buffers: 16,
    io_frames: 16,
  });
  const ret = pg.alloc(32);
  const wref = pg.alloc(12);
  const iov = pg.alloc(4);
  const page = pg.pgaio_frames_alloc(1);
  const words = new Uint32Array(pg.memory.buffer);
  return {
    run(operations: number): void {
      for (let i = 0; i < operations; i++) {
        const ioh = pg.pgaio_io_acquire(0, ret);
        pg.pgaio_io_get_wref(ioh, wref);
        pg.pgaio_io_set_target(ioh, PGAIO_TID_FILE);
        pg.pgaio_io_register_callbacks(ioh, PGAIO_HCB_FILE, 0);
        pg.pgaio_io_register_callbacks(ioh, PGAIO_HCB_FILE, 0);
        pg.pgaio_io_get_iovec(ioh, iov);
        const slice = (words[iov >>> 2] ?? 0) >>> 2;
        words[slice] = page;
        words[slice + 1] = PAGE_BYTES;
        pg.pgaio_io_start_readv(ioh, 0, 1, 0);
      }
    },
    close: () => void pg.pgaio_shutdown(),
  };
}

/** Pages that are all valid: a header, some bytes, the right checksum. */
async function verification(pages: number) {
  const pg = await attach({ shared_buffers: 16, io_frames: pages, max_backends: 1 });
  const at = pg.pgaio_frames_alloc(pages);
  const view = new DataView(pg.memory.buffer);
  for (let i = 0; i < pages; i++) {
    const page = at + i * PAGE_BYTES;
    for (let word = 24; word < PAGE_BYTES; word += 4) view.setUint32(page + word, word * i, true);
    for (const [offset, value] of HEADER) view.setUint16(page + offset, value, true);
    view.setUint16(page + 8, pg.pgaio_page_checksum(page, i), true);
  }
  if (pg.pgaio_page_verify(at, 0, pages) !== 0) throw new RangeError('a page is not valid');
  return {
    run(operations: number): void {
      for (let done = 0; done < operations; done += pages) pg.pgaio_page_verify(at, 0, pages);
    },
    close: () => void pg.pgaio_shutdown(),
  };
}
/** pd_lower, pd_upper, pd_special, size and version. */
const HEADER = [
  [12, 24],
  [14, 8192],
  [16, 8192],
  [18, 0x2004],
] as const;

const LIFE = 'life of a handle, from WebAssembly';
const RAW_LIFE = 'life of a handle, through the raw layer';
const VERIFY = 'verify a page';

await bench('core', (b) => {
  b.case(LIFE, {
    subjects: {
      '64 handles': () => wasmCaller(1, 64),
      '1,024 handles': () => wasmCaller(1, 1024),
      '16,384 handles': () => wasmCaller(16, 1024),
    },
  });
  b.case(RAW_LIFE, { subjects: { '64 handles': () => lifeOfAHandle(1, 64) } });
  b.case(VERIFY, {
    subjects: {
      '64 pages (512 KiB)': () => verification(64),
      '8,192 pages (64 MiB)': () => verification(8192),
    },
  });
  const life = (row: Parameters<Parameters<typeof b.target>[4]>[0], handles: string): number =>
    row(LIFE, `${handles} handles`).nsPerOperation.median;
  b.target('a life, 64 handles', 150, '<=', 'ns', (row) => life(row, '64'));
  b.target('a life, 16,384 handles', 150, '<=', 'ns', (row) => life(row, '16,384'));
  b.target(
    'flat: 16,384 to 64 handles',
    1.1,
    '<=',
    '',
    (row) => life(row, '16,384') / life(row, '64'),
  );
  b.target(
    'pages verified',
    3e6,
    '>=',
    '1/s',
    (row) => row(VERIFY, '64 pages (512 KiB)').operationsPerSecond,
  );
});
