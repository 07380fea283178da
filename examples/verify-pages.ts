/** Reads four pages of a relation in one I/O and has them verified as it completes. */
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { Aio, constants } from 'pgaio';

const path = `${tmpdir()}/pgaio-example-${process.pid}`;
writeFileSync(path, new Uint8Array(4 * 8192).fill(255, 3 * 8192)); // block 3 is garbage

await using aio = await Aio.create();
using file = aio.open(path);
using frames = aio.frames(4);
const io = aio
  .acquire()
  .setTarget({ relation: { spcOid: 1663, dbOid: 5, relNumber: 16384 }, block: 0, blocks: 4 })
  .register(constants.PGAIO_HCB_PAGE_READV) // registered first, runs last
  .register(constants.PGAIO_HCB_MD_READV)
  .startReadv(file, frames, 0);
await io.then(null, (error) => console.log(String(error)));
console.log(io.result?.verdicts.map(({ valid }) => valid));
rmSync(path);
