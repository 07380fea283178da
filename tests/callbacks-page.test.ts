/**
 * PGAIO_HCB_PAGE_READV: what it makes of bad pages, the 23 bits, the words for one and for several,
 * what it logs page by page, and the counts that do not fit seven bits.
 */
import * as assert from 'uvu/assert';
import type { AioPageError } from '../bindings/errors.ts';
import * as layout from '../bindings/layout.ts';
import { packResult } from '../bindings/result.ts';
import { assertSame, type Bench, BLOCK, forEachMethod, type Io, ONE_VARIANT } from './harness.ts';
import {
  emptyPage,
  garbagePage,
  patternPage,
  putChecksum,
  referenceChecksum,
  storedChecksum,
  zeroPage,
} from './page-vectors.ts';

const { PGAIO_HCB_PAGE_READV: PAGE, PGAIO_HCB_MD_READV: MD } = layout;
const ZERO = layout.READ_BUFFERS_ZERO_ON_ERROR;
const IGNORE = layout.READ_BUFFERS_IGNORE_CHECKSUM_FAILURES;

/**
 * ok; new: all zero; hdr: bad header under a good checksum; sum: bad checksum; both; trash: new,
 * and not zero.
 */
type Kind = 'ok' | 'new' | 'hdr' | 'sum' | 'both' | 'trash';

function pageOf(kind: Kind, block: number): Uint8Array {
  const spoil = (page: Uint8Array) => {
    const view = new DataView(page.buffer);
    const wrong = storedChecksum(page) === 65535 ? 1 : storedChecksum(page) + 1;
    view.setUint16(8, wrong, true);
    return page;
  };
  switch (kind) {
    case 'ok':
      return putChecksum(patternPage(), block);
    case 'new':
      return zeroPage();
    case 'hdr':
      return putChecksum(emptyPage(BLOCK, { special: 8193 }), block);
    case 'sum':
      return spoil(putChecksum(patternPage(), block));
    case 'both':
      return spoil(putChecksum(emptyPage(BLOCK, { special: 8193 }), block));
    case 'trash':
      return garbagePage(5000);
    default:
      return kind satisfies never;
  }
}

function fileOf(kinds: readonly Kind[], first: number): Uint8Array {
  const bytes = new Uint8Array(kinds.length * BLOCK);
  for (const [i, kind] of kinds.entries()) bytes.set(pageOf(kind, first + i), i * BLOCK);
  return bytes;
}

interface ReadPages {
  readonly kinds: readonly Kind[];
  readonly flags?: number;
  /** @default 0 */
  readonly first?: number;
  /** Blocks asked for. @default as many as the file has */
  readonly nblocks?: number;
}

function readPages(bench: Bench, { kinds, flags = 0, first = 0, nblocks }: ReadPages) {
  const fd = bench.file('pages', fileOf(kinds, first));
  return bench.read({
    fd,
    block: first,
    offset: 0,
    nblocks: nblocks ?? kinds.length,
    callbacks: [[PAGE, flags], MD],
  });
}

/** Verification's own line about a page of that kind. */
function failedLine(kind: Kind, block: number): string {
  const page = pageOf(kind, block);
  const calculated = referenceChecksum(page, block);
  const stored = storedChecksum(page);
  const words = `calculated checksum ${calculated} but expected ${stored}`;
  return `LOG: page verification failed, ${words}`;
}

const REL = 'relation "base/5/16384"';

interface PageCase extends ReadPages {
  readonly sentence: string;
  readonly status: 'OK' | 'WARNING' | 'ERROR';
  readonly errorData: number;
  readonly message: string;
  readonly detail?: string;
  readonly hint?: string;
  /** What is logged, page by page. */
  readonly log: readonly string[];
}

const invalid = (block: number) => `LOG: invalid page in block ${block} of ${REL}`;
const zeroing = (block: number) => `${invalid(block)}; zeroing out page`;
const ignoring = (block: number) => `LOG: ignoring checksum failure in block ${block} of ${REL}`;

const CASES: readonly PageCase[] = [
  {
    sentence: 'one bad header, at offset 3',
    kinds: ['ok', 'ok', 'ok', 'hdr'],
    first: 10,
    status: 'ERROR',
    errorData: 196612,
    message: `invalid page in block 13 of ${REL}`,
    log: [invalid(13)],
  },
  {
    sentence: 'one bad header and checksum, at offset 3',
    kinds: ['ok', 'ok', 'ok', 'both'],
    status: 'ERROR',
    errorData: 197124,
    message: `invalid page in block 3 of ${REL}`,
    log: [failedLine('both', 3), invalid(3)],
  },
  {
    sentence: 'one bad checksum',
    kinds: ['sum'],
    first: 3,
    status: 'ERROR',
    errorData: 4 + 512,
    message: `invalid page in block 3 of ${REL}`,
    log: [failedLine('sum', 3), invalid(3)],
  },
  {
    sentence: 'a new page with bytes in it, without checksum failure',
    kinds: ['ok', 'trash'],
    status: 'ERROR',
    errorData: 4 + 65536,
    message: `invalid page in block 1 of ${REL}`,
    log: [invalid(1)],
  },
  {
    sentence: 'several in error',
    kinds: ['ok', 'hdr', 'sum', 'ok'],
    first: 1,
    status: 'ERROR',
    errorData: 8 + 512 + 65536,
    message: `2 invalid pages among blocks 1..4 of ${REL}`,
    detail: 'Block 2 held the first invalid page.',
    hint: 'See server log for the other 1 invalid block(s).',
    log: [invalid(2), failedLine('sum', 3), invalid(3)],
  },
  {
    sentence: 'one zeroed',
    kinds: ['hdr'],
    flags: ZERO,
    status: 'WARNING',
    errorData: 1 + 4,
    message: `invalid page in block 0 of ${REL}; zeroing out page`,
    log: [zeroing(0)],
  },
  {
    sentence: 'two zeroed, the first at offset 1',
    kinds: ['ok', 'hdr', 'trash', 'ok'],
    flags: ZERO,
    first: 1,
    status: 'WARNING',
    errorData: 65545,
    message: `zeroing out 2 invalid pages among blocks 1..4 of ${REL}`,
    detail: 'Block 2 held the first zeroed page.',
    hint: 'See server log for the other 1 zeroed block(s).',
    log: [zeroing(2), zeroing(3)],
  },
  {
    sentence: 'one ignored',
    kinds: ['ok', 'sum'],
    flags: IGNORE,
    first: 2,
    status: 'WARNING',
    errorData: 2 + 512 + 65536,
    message: `ignoring checksum failure in block 3 of ${REL}`,
    log: [failedLine('sum', 3), ignoring(3)],
  },
  {
    sentence: 'two ignored, the first at offset 0',
    kinds: ['sum', 'sum'],
    flags: IGNORE,
    first: 5,
    status: 'WARNING',
    errorData: 1026,
    message: `ignoring 2 checksum failures among blocks 5..6 of ${REL}`,
    detail: 'Block 5 held the first ignored page.',
    hint: 'See server log for the other 1 ignored block(s).',
    log: [failedLine('sum', 5), ignoring(5), failedLine('sum', 6), ignoring(6)],
  },
  {
    sentence: 'one ignored before one in error',
    kinds: ['ok', 'sum', 'hdr'],
    flags: IGNORE,
    first: 2,
    status: 'ERROR',
    errorData: 2 + 4 + 512 + 2 * 65536,
    message: `invalid page in block 4 of ${REL}`,
    log: [failedLine('sum', 3), ignoring(3), invalid(4)],
  },
  {
    sentence: 'three zeroed and two failed checksums, one of them ignored',
    kinds: ['new', 'sum', 'both', 'hdr', 'hdr'],
    flags: ZERO | IGNORE,
    first: 1,
    status: 'WARNING',
    errorData: 132111,
    message:
      'zeroing 3 page(s) and ignoring 2 checksum failure(s) among blocks 1..5 of relation ' +
      '"base/5/16384"',
    detail: 'Block 3 held the first zeroed page.',
    hint: 'See server log for details about the other 4 invalid blocks.',
    log: [
      failedLine('sum', 2),
      ignoring(2),
      failedLine('both', 3),
      zeroing(3),
      zeroing(4),
      zeroing(5),
    ],
  },
  {
    sentence: 'one zeroed and one ignored',
    kinds: ['sum', 'hdr'],
    flags: ZERO | IGNORE,
    status: 'WARNING',
    errorData: 1 + 2 + 4 + 512 + 65536,
    message: `zeroing 1 page(s) and ignoring 1 checksum failure(s) among blocks 0..1 of ${REL}`,
    hint: 'See server log for details about the other 1 invalid block.',
    log: [failedLine('sum', 0), ignoring(0), zeroing(1)],
  },
  {
    sentence: 'a bad header and checksum, which is not ignored but zeroed',
    kinds: ['both'],
    flags: ZERO | IGNORE,
    status: 'WARNING',
    errorData: 1 + 4 + 512,
    message: `invalid page in block 0 of ${REL}; zeroing out page`,
    log: [failedLine('both', 0), zeroing(0)],
  },
];

/** What the page should hold after the read. */
function pageAfter(kind: Kind, block: number, flags: number): Uint8Array {
  const zeroed =
    (flags & ZERO) !== 0 &&
    (kind === 'hdr' ||
      kind === 'both' ||
      kind === 'trash' ||
      (kind === 'sum' && (flags & IGNORE) === 0));
  return zeroed ? zeroPage() : pageOf(kind, block);
}

function assertWords(bench: Bench, io: Io, it: PageCase): void {
  const error = bench.reportOf(io) as AioPageError;
  const { first = 0, kinds } = it;
  assert.is(error.message, it.message);
  assert.is(error.detail, it.detail);
  assert.is(error.hint, it.hint);
  assert.is(error.sqlstate, 'XX001');
  assert.is(error.code, it.status === 'ERROR' ? 'PGAIO_PAGE' : 'PGAIO_PAGE_WARNING');
  assert.is(error.path, 'base/5/16384');
  assert.is(error.firstBlock, first);
  assert.is(error.lastBlock, first + kinds.length - 1);
  bench.reports.length = 0;
  bench.reportOf(io, layout.WARNING);
  const [report] = bench.reports;
  assert.is(report?.message, it.message);
  assert.is(report?.detail, it.detail);
  assert.is(report?.hint, it.hint);
}

forEachMethod('callbacks: PAGE_READV', (test, open) => {
  for (const it of CASES) {
    test(it.sentence, async () => {
      const bench = await open();
      const io = readPages(bench, it);
      await bench.heard();
      const { first = 0, flags = 0, kinds, status, errorData } = it;
      assert.equal(io.result, { id: PAGE, status, errorData, result: kinds.length });
      const log = bench.reports.filter(({ level }) => level >= layout.LOG);
      assert.equal(
        log.map(({ severity, message }) => `${severity}: ${message}`),
        it.log,
      );
      for (const { level, message } of log) {
        const own = message.startsWith('page verification failed');
        assert.is(level, own ? layout.LOG : layout.LOG_SERVER_ONLY);
      }
      for (const [i, kind] of kinds.entries()) {
        const at = io.at + i * BLOCK;
        assertSame(
          bench.u8.slice(at, at + BLOCK),
          pageAfter(kind, first + i, flags),
          `block ${first + i}`,
        );
      }
      assertWords(bench, io, it);
      bench.assertUsable();
    });
  }

  test('nothing to say about good and new pages', async () => {
    const bench = await open();
    const io = readPages(bench, { kinds: ['ok', 'new', 'ok'], flags: ZERO | IGNORE });
    assert.equal(io.result, { id: 0, status: 'OK', errorData: 0, result: 3 });
    await bench.heard();
    assert.equal(bench.said, []);
  });

  test('takes any checksum when there are none', async () => {
    const bench = await open({ data_checksums: false });
    assert.is(readPages(bench, { kinds: ['sum', 'ok'] }).result.status, 'OK');
    const { result } = readPages(bench, { kinds: ['both'] });
    assert.equal(result, { id: PAGE, status: 'ERROR', errorData: 4, result: 1 });
  });

  test('a partial read stays one if its pages are good', async () => {
    const bench = await open();
    const { result } = readPages(bench, { kinds: ['ok', 'new'], nblocks: 4 });
    assert.equal(result, { id: MD, status: 'PARTIAL', errorData: 0, result: 2 });
  });

  test('a warning hides that the read was partial, the number does not', async () => {
    const bench = await open();
    const { result } = readPages(bench, { kinds: ['ok', 'hdr'], nblocks: 4, flags: ZERO });
    assert.equal(result, { id: PAGE, status: 'WARNING', errorData: 65541, result: 2 });
  });

  test('an error of md passes through, and no page is looked at', async () => {
    const bench = await open({ faults: { failAt: 1 } });
    const io = readPages(bench, { kinds: ['hdr', 'sum'] });
    assert.equal(io.result, { id: MD, status: 'ERROR', errorData: 5, result: 0 });
    await bench.heard();
    const words = 'could not read blocks 0..1 in file "base/5/16384": Input/output error';
    assert.equal(bench.said, [`LOG: ${words}`]);
  });

  test('a page cut short is not looked at', async () => {
    const bench = await open({ faults: { shortAt: 1, shortBytes: BLOCK + 100 } });
    const { result } = readPages(bench, { kinds: ['ok', 'hdr'] });
    assert.equal(result, { id: MD, status: 'PARTIAL', errorData: 0, result: 1 });
    await bench.heard();
    assert.equal(bench.said, []);
  });

  test('the sum is reported at DEBUG1 besides, as PostgreSQL does', async () => {
    const bench = await open();
    readPages(bench, { kinds: ['hdr', 'hdr'] });
    await bench.heard();
    assert.equal(
      bench.reports.filter(({ level }) => level === layout.DEBUG1).map(({ message }) => message),
      [`2 invalid pages among blocks 0..1 of ${REL}`],
    );
  });

  test('iovecs that cut pages apart are refused', async () => {
    const bench = await open();
    const fd = bench.file('pages', fileOf(['ok', 'ok'], 0));
    const io = bench.define({ fd, nblocks: 2, callbacks: [PAGE, MD] });
    bench.setIovecs(io.ioh, [
      [io.at, 100],
      [io.at + 100, 2 * BLOCK - 100],
    ]);
    bench.start(io, 2);
    assert.equal(bench.finish(io), { id: MD, status: 'ERROR', errorData: 22, result: 0 });
    assert.is(
      bench.reportOf(io)?.message,
      'could not read blocks 0..1 in file "base/5/16384": Invalid argument',
    );
    bench.assertUsable();
  });
});

interface ManyCase {
  readonly kind: Kind;
  readonly flags: number;
  readonly status: 'WARNING' | 'ERROR';
  readonly errorData: number;
  readonly message: string;
  readonly detail: string;
  readonly hint: string;
}
const AMONG = 'among blocks 0..127 of relation "base/5/16384"';
const MANY: readonly ManyCase[] = [
  {
    kind: 'hdr',
    flags: 0,
    status: 'ERROR',
    errorData: 0,
    message: `128 invalid pages ${AMONG}`,
    detail: 'Block 0 held the first invalid page.',
    hint: 'See server log for the other 127 invalid block(s).',
  },
  {
    kind: 'sum',
    flags: 0,
    status: 'ERROR',
    errorData: 127 << 9,
    message: `128 invalid pages ${AMONG}`,
    detail: 'Block 0 held the first invalid page.',
    hint: 'See server log for the other 127 invalid block(s).',
  },
  {
    kind: 'sum',
    flags: IGNORE,
    status: 'WARNING',
    errorData: 2,
    message: `ignoring 128 checksum failures ${AMONG}`,
    detail: 'Block 0 held the first ignored page.',
    hint: 'See server log for the other 127 ignored block(s).',
  },
  {
    kind: 'hdr',
    flags: ZERO,
    status: 'WARNING',
    errorData: 1,
    message: `zeroing out 128 invalid pages ${AMONG}`,
    detail: 'Block 0 held the first zeroed page.',
    hint: 'See server log for the other 127 zeroed block(s).',
  },
  {
    kind: 'both',
    flags: ZERO,
    status: 'WARNING',
    errorData: 1 + (127 << 9),
    message: `zeroing out 128 invalid pages ${AMONG}`,
    detail: 'Block 0 held the first zeroed page.',
    hint: 'See server log for the other 127 zeroed block(s).',
  },
];

forEachMethod('callbacks: PAGE_READV of 128 pages', (test, open) => {
  const settings = { io_max_combine_limit: 128, io_frames: 128 };
  for (const { kind, flags, status, errorData, message, detail, hint } of MANY) {
    test(`all ${kind}, flags ${flags}, lets no count run into the next field`, async () => {
      const bench = await open(settings);
      const io = readPages(bench, { kinds: Array<Kind>(128).fill(kind), flags });
      assert.equal(io.result, { id: PAGE, status, errorData, result: 128 });
      const error = bench.reportOf(io);
      assert.is(error?.message, message);
      assert.is(error?.detail, detail);
      assert.is(error?.hint, hint);
    });
  }

  test('127 zeroed and all 128 checksums failed, the last one ignored', async () => {
    const bench = await open(settings);
    const kinds: Kind[] = [...Array<Kind>(127).fill('both'), 'sum'];
    const io = readPages(bench, { kinds, flags: ZERO | IGNORE });
    const errorData = 1 + 2 + (127 << 2);
    assert.equal(io.result, { id: PAGE, status: 'WARNING', errorData, result: 128 });
    const error = bench.reportOf(io);
    assert.is(error?.message, `zeroing 127 page(s) and ignoring 128 checksum failure(s) ${AMONG}`);
    assert.is(error?.hint, 'See server log for details about the other 254 invalid blocks.');
  });

  test('the last alone is at offset 127', async () => {
    const bench = await open(settings);
    const kinds: Kind[] = [...Array<Kind>(127).fill('ok'), 'sum'];
    const io = readPages(bench, { kinds });
    const errorData = 4 + 512 + (127 << 16);
    assert.equal(io.result, { id: PAGE, status: 'ERROR', errorData, result: 128 });
    assert.is(bench.reportOf(io)?.message, `invalid page in block 127 of ${REL}`);
  });
});

forEachMethod(
  'callbacks: PAGE_READV and a callback that lies',
  (test, open) => {
    test('never looks past the iovecs, whatever the callback before says', async () => {
      const bench = await open({ faults: { failAt: 1 } });
      const { pg } = bench;
      const guarded = bench.frames(8);
      bench.u8.set(fileOf(['hdr', 'hdr', 'hdr', 'hdr', 'hdr', 'hdr', 'hdr', 'hdr'], 0), guarded);
      pg.pgaio_register_host_callback(32, {
        complete_shared: (_, at) => {
          bench.view.setUint32(at, packResult(32, 'OK', 0), true);
          bench.view.setInt32(at + 4, 8, true);
        },
      });
      const fd = bench.file('pages', fileOf(['ok'], 0));
      const io = bench.define({ fd, nblocks: 8, at: guarded, callbacks: [[PAGE, ZERO], 32] });
      // Iovecs beyond the first are left over from another I/O, over the engine itself.
      bench.setIovecs(
        io.ioh,
        Array.from({ length: 16 }, () => [layout.CTL_AT, BLOCK] as const),
      );
      bench.setIovecs(io.ioh, [[guarded, BLOCK]]);
      const before = bench.ctl('magic');
      bench.start(io);
      bench.finish(io);
      assert.is(bench.ctl('magic'), before, 'the engine was not zeroed');
      assert.ok(bench.u8[guarded + BLOCK + 16] !== 0, 'nor was a page outside of the I/O');
      bench.assertUsable();
    });
  },
  ONE_VARIANT,
);
