/**
 * Pages that are not what they should be, read into buffers: zeroing, checksums, ignoring them, and
 * I/O that is short or fails; after PostgreSQL's module test_aio, with the same words.
 */
import * as assert from 'uvu/assert';
import type { AioError } from '../bindings/errors.ts';
import * as layout from '../bindings/layout.ts';
import { type Bench, errorOf, forEachMethod, type Open, SHARED_ONLY } from './harness.ts';
import { type Kind, POOL, Relation, type RelationOptions, rowsOf } from './pool-fixture.ts';

const ZERO = layout.READ_BUFFERS_ZERO_ON_ERROR;
const KINDS: readonly (readonly [string, RelationOptions])[] = [
  ['a table', {}],
  ['a temporary table', { temp: true }],
  ['a shared catalog', { spcOid: 1664, relNumber: 3592 }],
  ['a tablespace', { spcOid: 16500, dbOid: 16384, relNumber: 24576 }],
];

async function opened(open: Open, options: RelationOptions, kinds: number | readonly Kind[] = 16) {
  const bench = await open({ ...POOL, inject: true });
  return { bench, rel: new Relation(bench, options).fill(kinds) };
}
/** Sound pages, with others at some places. */
function withBad(bad: Readonly<Record<number, Kind>>, count = 16): Kind[] {
  return Array.from({ length: count }, (_, block) => bad[block] ?? 'ok');
}
/** What has been said since, of the severity. */
async function heard(bench: Bench, severity: string): Promise<string[]> {
  await bench.heard();
  const said = bench.reports.filter((report) => report.severity === severity);
  return said.map(({ message }) => message);
}
function words({ message, detail, hint, sqlstate }: AioError | Bench['reports'][number]) {
  assert.is(sqlstate, 'XX001');
  return { message, detail, hint };
}
function warnings(bench: Bench) {
  return bench.reports.filter(({ severity }) => severity === 'WARNING').map(words);
}
const failures = (bench: Bench): number =>
  bench.get(bench.backendAt + layout.STORAGE_OFFSET, layout.PgAioStorage, 'checksum_failures');
/** `page verification failed` is about numbers that other tests look at. */
const notNumbers = (lines: readonly string[]) =>
  lines.filter((line) => !line.startsWith('page verification failed'));

for (const [kind, options] of KINDS) {
  forEachMethod(`pool pages: zeroing in ${kind}`, (test, open) => {
    const both = (rel: Relation) =>
      [
        (block: number, n: number, flags: number) =>
          rel.finishLowLevel(rel.startLowLevel(block, n, flags)),
        (block: number, n: number, flags: number) => void rel.readBuffers(block, n, flags),
      ] as const;

    test('is not done unless it is asked for', async () => {
      const { bench, rel } = await opened(open, options, withBad({ 0: 'hdr' }));
      const one = { message: `invalid page in block 0 of relation "${rel.path}"` };
      for (const read of both(rel)) {
        assert.equal(words(errorOf(() => read(0, 1, 0))), { ...NOTHING, ...one });
        read(0, 1, ZERO);
        const [warning, ...more] = warnings(bench);
        assert.equal(more, []);
        assert.is(warning?.message, `${one.message}; zeroing out page`);
        bench.reports.splice(0);
        rel.modify(0, 'hdr');
      }
      rel.modify(0, 'new');
      for (const read of both(rel)) {
        read(0, 1, 0);
        rel.evict(0);
      }
      assert.equal(warnings(bench), []);
    });

    test('names one block', async () => {
      const { bench, rel } = await opened(open, options, withBad({ 3: 'hdr' }));
      rel.readBuffers(3, 1, ZERO);
      const message = `invalid page in block 3 of relation "${rel.path}"; zeroing out page`;
      assert.equal(warnings(bench), [{ ...NOTHING, message }]);
      const buffer = rel.temp ? rel.readTemp(3) : bench.pg.ReadBuffer(rel.at, 3, 0, 0);
      const at = bench.pg.BufferGetPage(buffer);
      assert.ok(bench.u8.subarray(at, at + 8192).every((byte) => byte === 0));
      bench.pg.ReleaseBuffer(buffer);
    });

    test('counts several, or says so when it is not to be done', async () => {
      const { bench, rel } = await opened(open, options, withBad({ 2: 'hdr', 3: 'hdr' }));
      const among = `among blocks 1..4 of relation "${rel.path}"`;
      const zeroed = {
        message: `zeroing out 2 invalid pages ${among}`,
        detail: 'Block 2 held the first zeroed page.',
        hint: 'See server log for the other 1 zeroed block(s).',
      };
      for (const read of both(rel)) {
        rel.evict();
        assert.equal(words(errorOf(() => read(1, 4, 0))), {
          message: `2 invalid pages ${among}`,
          detail: 'Block 2 held the first invalid page.',
          hint: 'See server log for the other 1 invalid block(s).',
        });
        rel.evict();
        bench.reports.splice(0);
        read(1, 4, ZERO);
        assert.equal(warnings(bench), [zeroed]);
      }
      rel.evict();
      bench.reports.splice(0);
      bench.pg.set('zero_damaged_pages', true);
      rel.readBuffers(1, 4);
      assert.equal(warnings(bench), [zeroed], 'zero_damaged_pages does the same');
    });

    test('ends a scan at the first bad page, or none with zero_damaged_pages', async () => {
      const { bench, rel } = await opened(open, options, withBad({ 2: 'hdr', 3: 'new' }));
      const message = `invalid page in block 2 of relation "${rel.path}"`;
      assert.is(errorOf(() => rel.scan(16)).message, message);
      bench.pg.set('zero_damaged_pages', true);
      bench.reports.splice(0);
      const sound = [0, 1, ...Array.from({ length: 12 }, (_, i) => i + 4)];
      assert.equal(
        rel.scan(16).filter((number, block) => number === block),
        sound,
      );
      assert.equal(warnings(bench), [{ ...NOTHING, message: `${message}; zeroing out page` }]);
    });
  });

  forEachMethod(`pool pages: checksums in ${kind}`, (test, open) => {
    test('that fail are errors, and are counted', async () => {
      const { bench, rel } = await opened(open, options, withBad({ 3: 'sum', 4: 'sum' }));
      const among = `among blocks 3..4 of relation "${rel.path}"`;
      assert.is(failures(bench), 0);
      assert.is(
        errorOf(() => rel.readBuffers(4, 2)).message,
        `invalid page in block 4 of relation "${rel.path}"`,
      );
      assert.is(failures(bench), 1);
      assert.equal(words(errorOf(() => rel.readBuffers(3, 2))), {
        message: `2 invalid pages ${among}`,
        detail: 'Block 3 held the first invalid page.',
        hint: 'See server log for the other 1 invalid block(s).',
      });
      assert.is(failures(bench), 3);
    });

    test('that fail under a bad header are zeroed, and not ignored', async () => {
      const { bench, rel } = await opened(open, options, withBad({ 3: 'both' }));
      const message = `invalid page in block 3 of relation "${rel.path}"`;
      bench.pg.set('ignore_checksum_failure', true);
      assert.is(errorOf(() => rel.readBuffers(3, 1)).message, message);
      rel.readBuffers(3, 1, ZERO);
      assert.equal(warnings(bench), [{ ...NOTHING, message: `${message}; zeroing out page` }]);
    });

    test('that fail may be ignored', async () => {
      const bad = { 1: 'sum', 5: 'sum', 6: 'sum' } as const;
      const { bench, rel } = await opened(open, options, withBad(bad));
      const message = `invalid page in block 1 of relation "${rel.path}"`;
      assert.is(errorOf(() => rel.scan(16)).message, message);
      bench.pg.set('ignore_checksum_failure', true);
      rel.evict();
      rel.readBuffers(0, 16);
      assert.equal(warnings(bench), [
        {
          message: `ignoring 3 checksum failures among blocks 0..15 of relation "${rel.path}"`,
          detail: 'Block 1 held the first ignored page.',
          hint: 'See server log for the other 2 ignored block(s).',
        },
      ]);
      assert.equal(rowsOf(rel.readBuffers(1, 1)), ['0|1|f|1']);
      assert.is(failures(bench), 4);
    });

    test('are ignored page by page, where the header is sound', async () => {
      const bad = { 2: 'new', 3: 'sum', 4: 'hdr' } as const;
      const { bench, rel } = await opened(open, options, withBad(bad));
      bench.pg.set('ignore_checksum_failure', true);
      rel.readBuffers(3, 1);
      const ignoring = `ignoring checksum failure in block 3 of relation "${rel.path}"`;
      assert.equal(warnings(bench), [{ ...NOTHING, message: ignoring }]);
      assert.equal(notNumbers(await heard(bench, 'LOG')), [ignoring]);
      rel.evict();
      const error = errorOf(() => rel.readBuffers(2, 3));
      assert.is(error.message, `invalid page in block 4 of relation "${rel.path}"`);
    });

    test('ignored and pages zeroed in one read are told together', async () => {
      const bad = { 1: 'new', 2: 'sum', 3: 'both', 4: 'hdr', 5: 'hdr' } as const;
      const { bench, rel } = await opened(open, options, withBad(bad));
      bench.pg.set('ignore_checksum_failure', true);
      const read = rel.startLowLevel(1, 5, ZERO | layout.READ_BUFFERS_IGNORE_CHECKSUM_FAILURES);
      rel.finishLowLevel(read);
      assert.is(bench.view.getUint32(read.ret, true) >>> 9, 132111, 'error_data');
      const among = `among blocks 1..5 of relation "${rel.path}"`;
      assert.equal(warnings(bench), [
        {
          message: `zeroing 3 page(s) and ignoring 2 checksum failure(s) ${among}`,
          detail: 'Block 3 held the first zeroed page.',
          hint: 'See server log for details about the other 4 invalid blocks.',
        },
      ]);
      const page = (block: number) => `invalid page in block ${block} of relation "${rel.path}"`;
      assert.equal(notNumbers(await heard(bench, 'LOG')), [
        `ignoring checksum failure in block 2 of relation "${rel.path}"`,
        `${page(3)}; zeroing out page`,
        `${page(4)}; zeroing out page`,
        `${page(5)}; zeroing out page`,
      ]);
    });
  });
}
const NOTHING = { detail: undefined, hint: undefined } as const;

forEachMethod('pool pages: 128 bad pages', (test, open) => {
  test('in one read are counted as such', async () => {
    const bench = await open({
      ...POOL,
      shared_buffers: 256,
      io_max_combine_limit: 128,
      io_combine_limit: 128,
    });
    const rel = new Relation(bench).fill(Array.from({ length: 128 }, () => 'both'));
    rel.combineLimit = 128;
    const among = `among blocks 0..127 of relation "${rel.path}"`;
    assert.is(errorOf(() => rel.readBuffers(0, 128)).message, `128 invalid pages ${among}`);
    rel.readBuffers(0, 128, ZERO);
    assert.is(warnings(bench)[0]?.message, `zeroing out 128 invalid pages ${among}`);
  });
});

forEachMethod(
  'pool pages: zeroed by one',
  (test, open) => {
    test('are told to the other as little as to anybody else', async () => {
      const { bench, rel } = await opened(open, {}, withBad({ 1: 'hdr' }));
      const guest = await bench.join();
      const theirs = rel.seenBy(guest);
      const begun = rel.startLowLevel(1, 1, ZERO);
      theirs.scan(16);
      assert.equal(warnings(guest), []);
      rel.finishLowLevel(begun);
      const message = `invalid page in block 1 of relation "${rel.path}"; zeroing out page`;
      assert.equal(warnings(bench), [{ ...NOTHING, message }]);
    });
  },
  SHARED_ONLY,
);

for (const [kind, options] of KINDS.slice(0, 2)) {
  forEachMethod(`pool pages: injected into ${kind}`, (test, open, variant) => {
    test('a read that is as short as it was asked for is none', async () => {
      const { bench, rel } = await opened(open, options);
      bench.injection.shortBytes = 8192;
      rel.readBuffers(2, 1);
      assert.equal(rowsOf(rel.readBuffers(2, 1)), ['0|2|f|1']);
    });

    test('a read of less than a block is an error', async () => {
      const { bench, rel } = await opened(open, options);
      bench.injection.shortBytes = 17;
      const words_ = `could not read blocks 2..2 in file "${rel.path}": read only 0 of 8192 bytes`;
      for (let again = 0; again < 2; again++) {
        assert.is(errorOf(() => rel.readBuffers(2, 1)).message, words_);
      }
      bench.injection.shortBytes = undefined;
      rel.readBuffers(2, 1);
    });

    for (const blocks of [1, 2]) {
      test(`reads cut to ${blocks} of several blocks are read on`, async () => {
        const { bench, rel } = await opened(open, options);
        bench.injection.shortBytes = blocks * 8192;
        assert.equal(rowsOf(rel.readBuffers(0, 16)), ['0|0|t|16']);
        assert.equal(rel.scan(16), [...Array(16).keys()]);
        assert.is(bench.backend('smgr_reads'), 16 / blocks);
        assert.equal(warnings(bench), []);
        const [first] = await heard(bench, 'DEBUG');
        const short = `read only ${blocks * 8192} of 131072 bytes`;
        assert.is(first, `could not read blocks 0..15 in file "${rel.path}": ${short}`);
      });
    }

    test('a short read, and a bad page in the rest', async () => {
      const { bench, rel } = await opened(open, options, withBad({ 1: 'hdr' }));
      bench.injection.shortBytes = 8192;
      assert.is(
        errorOf(() => rel.readBuffers(0, 4)).message,
        `invalid page in block 1 of relation "${rel.path}"`,
      );
    });

    for (const [errno, text, sqlstate] of [
      [5, 'Input/output error', '58030'],
      [30, 'Read-only file system', '58030'],
    ] as const) {
      test(`errno ${errno} is told in its words, as often as it comes`, async () => {
        const { bench, rel } = await opened(open, options);
        bench.injection.errno = errno;
        for (let again = 0; again < 2; again++) {
          const error = errorOf(() => rel.readBuffers(2, 1));
          const message = `could not read blocks 2..2 in file "${rel.path}": ${text}`;
          assert.is(error.message, message);
          assert.is(error.code, 'PGAIO_IO');
          if (errno === 5) assert.is(error.sqlstate, sqlstate);
        }
        bench.injection.errno = 0;
        assert.equal(rel.scan(16), [...Array(16).keys()]);
      });
    }

    if (variant.method !== 'worker' || variant.provider !== 'wasi' || options.temp) return;
    test('a file that an I/O worker cannot open again', async () => {
      const { bench, rel } = await opened(open, options);
      bench.injection.openErrno = 2;
      const path = `could not read blocks 1..1 in file "${rel.path}"`;
      assert.is(errorOf(() => rel.readBuffers(1, 1)).message, `${path}: No such file or directory`);
      bench.injection.openErrno = 13;
      assert.is(errorOf(() => rel.readBuffers(1, 1)).message, `${path}: Permission denied`);
      bench.injection.openErrno = 0;
      rel.readBuffers(1, 1);
    });
  });
}
