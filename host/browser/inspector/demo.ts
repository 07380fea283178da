/** Files for the scenarios: relations of pages with true checksums, one of them damaged. */
import { attach } from '../raw.ts';

export const PAGE_BYTES = 8192;
export const RELATION = { spcOid: 1663, dbOid: 5 } as const;
export const GOOD = 'base/5/16384';
export const DAMAGED = 'base/5/16385';
export const SHORT = 'base/5/16386';
export const PAGES = 256;

const HEADER_BYTES = 24;
const LINE_POINTER_BYTES = 4;
const TUPLE_BYTES = 64;
const NORMAL = 1;

/** A page with `tuples` line pointers, and what they point to; no checksum yet. */
function heapPage(page: Uint8Array, block: number, tuples: number): void {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const lower = HEADER_BYTES + tuples * LINE_POINTER_BYTES;
  let upper = PAGE_BYTES;
  for (let i = 0; i < tuples; i++) {
    upper -= TUPLE_BYTES;
    page.fill(0x20 + ((block + i) % 64), upper + 8, upper + TUPLE_BYTES);
    view.setUint32(HEADER_BYTES + 4 * i, upper | (NORMAL << 15) | (TUPLE_BYTES << 17), true);
  }
  view.setUint32(4, 0x16b3740 + block * PAGE_BYTES, true); // pd_lsn
  view.setUint16(12, lower, true);
  view.setUint16(14, upper, true);
  view.setUint16(16, PAGE_BYTES, true);
  view.setUint16(18, PAGE_BYTES | 4, true);
}

async function build(): Promise<Readonly<Record<string, Uint8Array<ArrayBuffer>>>> {
  const pg = await attach({
    io_method: 'sync',
    shared_buffers: 16,
    io_max_concurrency: 1,
    max_backends: 1,
    shared: false,
  });
  const frame = pg.pgaio_frames_alloc(1);
  const place = new Uint8Array(pg.memory.buffer, frame, PAGE_BYTES);
  const file = new Uint8Array(PAGES * PAGE_BYTES);
  for (let block = 0; block < PAGES; block++) {
    const page = file.subarray(block * PAGE_BYTES, (block + 1) * PAGE_BYTES);
    heapPage(page, block, 20 + ((block * 37) % 80));
    place.set(page);
    const checksum = pg.pgaio_page_checksum(frame, block);
    new DataView(page.buffer, page.byteOffset).setUint16(8, checksum, true);
  }
  pg.pgaio_shutdown();
  const damaged = file.slice(0, 8 * PAGE_BYTES);
  damaged.fill(0xee, PAGE_BYTES + 4000, PAGE_BYTES + 4016);
  return {
    [GOOD]: file,
    [DAMAGED]: damaged,
    [SHORT]: file.slice(0, PAGE_BYTES + PAGE_BYTES / 2),
  };
}

let files: ReturnType<typeof build> | undefined;

/** The files by path, made once. */
export function demoFiles(): ReturnType<typeof build> {
  files ??= build();
  return files;
}
