/** The interface under PostgreSQL's own names, step by step as bufmgr.c and md.c use it. */
import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { ERROR_LEVEL, PGAIO_HCB_MD_READV, RETURN_BYTES } from 'pgaio/layout';
import { attach, unpackResult } from 'pgaio/raw';

const BLCKSZ = 8192;
const path = `${tmpdir()}/pgaio-example-${process.pid}`;
writeFileSync(path, new Uint8Array(BLCKSZ).fill(7)); // one block, where two will be asked for
const fd = openSync(path, 'r');

const pg = await attach({ io_method: 'sync', trace: true });
const words = new Uint32Array(pg.memory.buffer);
const ioret = pg.alloc(RETURN_BYTES);
const iow = pg.alloc(12);
const pages = pg.pgaio_frames_alloc(2);

const readBlocks = (block: number) => {
  const ioh = pg.pgaio_io_acquire(0, ioret);
  pg.pgaio_io_get_wref(ioh, iow);
  pg.pgaio_io_set_target_smgr(ioh, 1663, 5, 16384, 0, block, 2, 0);
  pg.pgaio_io_register_callbacks(ioh, PGAIO_HCB_MD_READV, 0);
  const iov = pg.alloc(4);
  pg.pgaio_io_get_iovec(ioh, iov); // writes the address of the handle's iovecs there
  words.set([pages, 2 * BLCKSZ], (words[iov / 4] ?? 0) / 4);
  console.log(pg.pgaio_io_get_state_name(ioh), pg.pgaio_io_get_target_description(ioh));
  pg.pgaio_io_start_readv(ioh, fd, 1, block * BLCKSZ);
  pg.pgaio_wref_wait(iow);
  const { status, result } = unpackResult(words[ioret / 4] ?? 0, words[ioret / 4 + 1] ?? 0);
  console.log(status, result);
};

readBlocks(0);
readBlocks(1);
try {
  pg.pgaio_result_report(ioret, ioret + 8, ERROR_LEVEL);
} catch (error) {
  console.log(String(error));
}
pg.pgaio_shutdown();
closeSync(fd);
rmSync(path);
