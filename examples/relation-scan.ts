/** Scans a relation through the buffer pool, changes a page, and writes it back. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { Aio } from 'pgaio';

// A data directory with one relation of 1,000 new pages.
const dataDirectory = mkdtempSync(`${tmpdir()}/pgaio-example-`);
mkdirSync(`${dataDirectory}/base/5`, { recursive: true });
writeFileSync(`${dataDirectory}/base/5/16384`, new Uint8Array(1000 * 8192));

{
  await using aio = await Aio.create({ dataDirectory });
  using relation = aio.relation({ spcOid: 1663, dbOid: 5, relNumber: 16384 });

  let fresh = 0;
  for await (const { page } of relation.read()) if (page.isNew) fresh++;
  console.log(`${fresh} new pages in ${aio.stats().relation.reads} reads`);

  for await (const { block } of relation.readBlocks([998, 3, 998])) console.log(`block ${block}`);
  console.log(`${aio.buffers.stats().hits} of them were in the pool`);

  using buffer = await relation.readBlock(3); // pinned until the end of the scope
  await buffer.modify((bytes) => {
    const header = new DataView(bytes.buffer, bytes.byteOffset);
    header.setUint16(12, 24, true); // pd_lower
    header.setUint16(14, 8192, true); // pd_upper
    header.setUint16(16, 8192, true); // pd_special
    header.setUint16(18, 8192 | 4, true); // size and version
  });
  const { written, synced } = await aio.buffers.flush();
  console.log(`${written} write, ${synced} file synced`);
}
{
  await using aio = await Aio.create({ dataDirectory });
  using relation = aio.relation('base/5/16384');
  const { page } = await relation.readBlock(3);
  console.log(`checksum ${page.checksum}, ${page.freeBytes} bytes free`);
}
rmSync(dataDirectory, { recursive: true });
