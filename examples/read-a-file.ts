/** Reads a file in pieces, as one batch: what is started goes to the method together. */
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { Aio, type PendingIo } from 'pgaio';

const path = `${tmpdir()}/pgaio-example-${process.pid}`;
writeFileSync(path, 'x'.repeat(20_000));
try {
  await using aio = await Aio.create();
  using file = aio.open(path);
  const blocks = Math.ceil(file.size() / aio.blockSize);
  using frames = aio.frames(blocks);

  const reads: PendingIo[] = [];
  {
    using _ = aio.batch();
    for (let block = 0; block < blocks; block++) {
      reads.push(file.read(frames.slice(block, block + 1), block * aio.blockSize));
    }
  }
  for (const { status, result, error } of await Promise.all(reads)) {
    console.log(status, result);
    if (error !== undefined) console.log(error.message.replace(path, 'FILE'));
  }
  console.log(new TextDecoder().decode(frames.page(0).slice(0, 8)));
  console.log(`${aio.stats().file.readBytes} bytes asked for in ${aio.stats().file.reads} reads`);
} finally {
  rmSync(path);
}
