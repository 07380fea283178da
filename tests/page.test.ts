/**
 * Checksums and verdicts: the same vectors through the function that computes, the one that counts
 * and the callback that verifies what a read brought.
 */
import * as assert from 'uvu/assert';
import * as layout from '../bindings/layout.ts';
import { unpackVerdict } from '../bindings/verdict.ts';
import { assertSame, type Bench, forEachMethod, type Io, usageOf } from './harness.ts';
import {
  BLOCK_SIZES,
  CHECKSUM_VECTORS,
  emptyPage,
  garbagePage,
  headerCases,
  patternPage,
  putChecksum,
  randomPage,
  randomWords,
  referenceChecksum,
  VECTOR_BLOCK_SIZE,
  VERDICT_BLOCK,
  verdictCases,
  zeroPage,
} from './page-vectors.ts';

const SEED = Number(process.env.PGAIO_SEED ?? 20260501);
const RANDOM_PAGES = 50;
const PAGE_CALLBACKS = [layout.PGAIO_HCB_PAGE_READV, layout.PGAIO_HCB_MD_READV];
const VERDICT_FLAGS = 31;

/** The flags of the verdict that a read left for its block `index`. */
function flagsOf(bench: Bench, io: Io, index = 0): number {
  const at = bench.pg.pgaio_io_get_page_verdicts(io.ioh) + 8 * index;
  return bench.view.getUint32(at + 4, true) & VERDICT_FLAGS;
}

function verdictOf(bench: Bench, io: Io, index = 0) {
  const at = bench.pg.pgaio_io_get_page_verdicts(io.ioh) + 8 * index;
  return unpackVerdict(bench.view.getUint32(at, true), bench.view.getUint32(at + 4, true));
}

function joined(pages: readonly Uint8Array[]): Uint8Array {
  const size = pages[0]?.length ?? 0;
  const all = new Uint8Array(pages.length * size);
  for (const [i, page] of pages.entries()) all.set(page, i * size);
  return all;
}

forEachMethod('page: checksum', (test, open) => {
  for (const { name, make, checksums } of CHECKSUM_VECTORS) {
    test(`of ${name} is the known one for each block number`, async () => {
      const bench = await open();
      const at = bench.frames(1);
      bench.u8.set(make(), at);
      for (const [block, checksum] of checksums) {
        assert.is(bench.pg.pgaio_page_checksum(at, block), checksum, `block ${block}`);
        bench.u8.fill(0xa5, at + 8, at + 10);
        assert.is(bench.pg.pgaio_page_checksum(at, block), checksum, 'pd_checksum does not count');
      }
    });
  }

  for (const size of BLOCK_SIZES) {
    test(`of pages of ${size} bytes agrees with the description`, async () => {
      const bench = await open({ block_size: size });
      const at = bench.frames(1);
      const words = randomWords(SEED);
      const pages = Array.from({ length: RANDOM_PAGES }, () => randomPage(words, size));
      for (const page of [zeroPage(size), emptyPage(size), patternPage(size), ...pages]) {
        const block = words();
        bench.u8.set(page, at);
        const seed = `PGAIO_SEED=${SEED} block ${block}`;
        assert.is(bench.pg.pgaio_page_checksum(at, block), referenceChecksum(page, block), seed);
      }
    });
  }
});

forEachMethod('page: verify', (test, open) => {
  for (const size of BLOCK_SIZES) {
    for (const checksums of [true, false]) {
      const kind = `${size} bytes, checksums ${checksums ? 'on' : 'off'}`;
      test(`judges each rule of the header; ${kind}`, async () => {
        const bench = await open({ block_size: size, data_checksums: checksums });
        const at = bench.frames(1);
        for (const [sentence, fields, sane] of headerCases(size)) {
          bench.u8.set(putChecksum(emptyPage(size, fields), VERDICT_BLOCK), at);
          assert.is(bench.pg.pgaio_page_verify(at, VERDICT_BLOCK, 1), sane ? 0 : 1, sentence);
        }
      });

      test(`counts what is not valid; ${kind}`, async () => {
        const bench = await open({ block_size: size, data_checksums: checksums });
        const at = bench.frames(1);
        for (const [sentence, make, needs, flags] of verdictCases(size)) {
          if (needs !== checksums) continue;
          bench.u8.set(make(), at);
          const invalid = (flags & ~(1 | 2)) === 0 ? 0 : 1;
          assert.is(bench.pg.pgaio_page_verify(at, VERDICT_BLOCK, 1), invalid, sentence);
        }
      });
    }

    test(`numbers neighbours from the first block on; ${size} bytes`, async () => {
      const bench = await open({ block_size: size });
      const first = 4294967294 - 7;
      const at = bench.frames(8);
      const pages = Array.from({ length: 8 }, (_, i) => putChecksum(patternPage(size), first + i));
      bench.u8.set(joined(pages), at);
      assert.is(bench.pg.pgaio_page_verify(at, first, 8), 0);
      assert.is(bench.pg.pgaio_page_verify(at, first, 0), 0);
      assert.is(bench.pg.pgaio_page_verify(at + size, first + 1, 7), 0);
      assert.is(bench.pg.pgaio_page_verify(at, first + 1, 8), 8);
      bench.u8.set(garbagePage(100, size), at + 3 * size);
      bench.u8.set(zeroPage(size), at + 5 * size);
      assert.is(bench.pg.pgaio_page_verify(at, first, 8), 1);
    });
  }

  test('refuses pages outside the caller’s memory', async () => {
    const bench = await open();
    const { pg } = bench;
    const end = bench.ctl('size');
    const before = bench.engine();
    for (const [at, count] of [
      [0, 1],
      [bench.ctl('local') - 1, 1],
      [end - VECTOR_BLOCK_SIZE + 1, 1],
      [end - 64 * VECTOR_BLOCK_SIZE, 65],
      [bench.ctl('frames'), 2 ** 31],
      [bench.ctl('frames'), 524288],
    ] as const) {
      const error = usageOf(() => pg.pgaio_page_verify(at, 0, count));
      assert.is(error.code, 'PGAIO_BAD_ADDRESS', `${count} at ${at}`);
      const words = `address ${at} is misaligned or outside the caller's memory`;
      assert.is(error.message, words);
      if (count === 1) assert.is(usageOf(() => pg.pgaio_page_checksum(at, 0)).message, words);
    }
    assertSame(bench.engine(), before);
  });
});

forEachMethod('page: reads', (test, open) => {
  for (const size of BLOCK_SIZES) {
    for (const checksums of [true, false]) {
      const on = checksums ? 'on' : 'off';
      test(`leave the verdict of a page of ${size} bytes, checksums ${on}`, async () => {
        const bench = await open({ block_size: size, data_checksums: checksums });
        const cases = verdictCases(size).filter(([, , needs]) => needs === checksums);
        const fd = bench.file('pages', joined(cases.map(([, make]) => make())));
        const at = bench.frames(1);
        const mark = bench.pg.alloc(0);
        for (const [index, [sentence, make, , flags]] of cases.entries()) {
          bench.pg.reset(mark);
          const io = bench.read({
            fd,
            at,
            block: VERDICT_BLOCK,
            offset: index * size,
            callbacks: PAGE_CALLBACKS,
          });
          assert.is(flagsOf(bench, io), flags, sentence);
          const valid = (flags & ~(1 | 2)) === 0;
          assert.is(io.result.status, valid ? 'OK' : 'ERROR', sentence);
          assertSame(bench.u8.slice(at, at + size), make(), `${sentence}: the page is as it was`);
        }
      });
    }

    test(`leave one verdict per block, over one and several iovecs; ${size} bytes`, async () => {
      const bench = await open({ block_size: size });
      const pages = Array.from({ length: 7 }, (_, i) => putChecksum(patternPage(size), 10 + i));
      pages[2] = zeroPage(size);
      pages[4] = garbagePage(size - 1, size);
      const fd = bench.file('pages', joined(pages));
      for (const iovecs of [1, 2, 3, 7]) {
        const io = bench.read({
          fd,
          block: 10,
          offset: 0,
          nblocks: 8,
          iovecs,
          callbacks: PAGE_CALLBACKS,
        });
        const seen = Array.from({ length: 8 }, (_, i) => flagsOf(bench, io, i));
        assert.equal(seen, [0, 0, 3, 0, 17, 0, 0, 0], `${iovecs} iovecs`);
        assert.is(verdictOf(bench, io, 6).notRead, false);
        assert.is(verdictOf(bench, io, 7).notRead, true, 'past the end of the file');
        assert.is(verdictOf(bench, io, 7).valid, false);
        const stored = verdictOf(bench, io, 1);
        assert.is(stored.calculated, referenceChecksum(patternPage(size), 11));
        assert.is(stored.stored, stored.calculated);
        bench.pg.pgaio_frames_free(io.at, 8);
      }
    });
  }
});
