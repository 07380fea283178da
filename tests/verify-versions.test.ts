/** `pgaio verify` on what each version of PostgreSQL wrote, as far as pg_control and paths tell. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cluster, flipped, openScratch, pages, removeScratch, scanned } from './verify-fixture.ts';

const once = suite('verify: versions');
once.before(openScratch);
once.after(removeScratch);

for (const [major, controlVersion] of [
  [12, 1201],
  [13, 1300],
  [14, 1300],
  [15, 1300],
  [16, 1300],
  [17, 1700],
  [18, 1800],
] as const) {
  once(`reads what PostgreSQL ${major} wrote`, async () => {
    const catalogVersion = 201900000 + major;
    const space = `pg_tblspc/16501/PG_${major}_${catalogVersion}/5`;
    const files = {
      'base/5/16384': pages(0, 3, { 2: flipped(2) }),
      [`${space}/16385`]: pages(0, 1),
    };
    const path = cluster(files, { controlVersion, catalogVersion });
    writeFileSync(join(path, 'PG_VERSION'), `${major}\n`);
    const { scan, lines } = await scanned(path);
    assert.equal(lines, ['base/5/16384 2 checksum']);
    assert.is(scan.counts.blocks, 6);
    assert.is(scan.directory.majorVersion, major);
  });
}

once('reads what PGlite wrote, whose server has 32 bits', async () => {
  const pglite = { float8ByVal: false, maxWorkerProcesses: 0, defaultCharSigned: true };
  const path = cluster({ 'base/5/16384': pages(0, 3, { 2: flipped(2) }) }, pglite);
  const { lines } = await scanned(path);
  assert.equal(lines, ['base/5/16384 2 checksum']);
});

once.run();
