/**
 * host/node/verify on directories made by hand: which pages are damaged is known, and what a
 * provider does to a read can be ordered.
 */
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readvSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { encodePgControl } from '../bindings/pg-control.ts';
import { makeDemoDirectory } from '../host/node/demo-directory.ts';
import {
  Aio,
  AioIoError,
  type AioOptions,
  constants,
  directProvider,
  type IoProvider,
} from '../host/node/index.ts';
import { openDataDirectory } from '../host/node/verify/pgdata.ts';
import { Verification, type VerifyOptions } from '../host/node/verify/verification.ts';
import { VARIANTS } from './harness.ts';
import {
  BLOCK_SIZES,
  emptyPage,
  garbagePage,
  referenceChecksum,
  zeroPage,
} from './page-vectors.ts';
import {
  cluster,
  flipped,
  fresh,
  good,
  lineOf,
  openScratch,
  pages,
  removeScratch,
  SEGMENT_BLOCKS,
  SIZE,
  scanned,
  scratchPath,
  spoilt,
} from './verify-fixture.ts';

const WASI_EIO = 29;
/** What is ordered for a read: fail, move less, or change what came. */
interface Read {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
  /** Reads of this place so far, this one counted. */
  readonly time: number;
}
interface Orders {
  /** A WASI errno, or 0. */
  readonly fail?: (read: Read) => number;
  readonly most?: (read: Read) => number;
  /** Called with all bytes read, in order. */
  readonly change?: (read: Read, bytes: Uint8Array) => void;
  readonly open?: (path: string, direct: boolean) => void;
}

function ordered(inner: IoProvider, orders: Orders): IoProvider {
  const paths = new Map<number, string>();
  const times = new Map<string, number>();
  return {
    ...inner,
    open(path, flags, at) {
      orders.open?.(path, flags.direct === true);
      const fd = inner.open(path, flags, at);
      paths.set(fd, path);
      return fd;
    },
    bind(memory) {
      const io = inner.bind(memory);
      const view = new DataView(memory.buffer);
      return {
        ...io,
        fd_pread(fd, iovs, count, offset, moved) {
          const at = view.getUint32(iovs, true); // the scan reads into one piece
          const length = view.getUint32(iovs + 4, true);
          const place = `${paths.get(fd)}:${offset}`;
          const time = (times.get(place) ?? 0) + 1;
          times.set(place, time);
          const read = { path: paths.get(fd) ?? '', offset: Number(offset), length, time };
          const errno = orders.fail?.(read) ?? 0;
          if (errno !== 0) return errno;
          const result = io.fd_pread(fd, iovs, count, offset, moved);
          const done = view.getUint32(moved, true);
          orders.change?.(read, new Uint8Array(memory.buffer, at, done));
          view.setUint32(moved, Math.min(done, orders.most?.(read) ?? done), true);
          return result;
        },
      };
    },
  };
}
/** I/O workers cannot share a provider of the test's: its reads are the issuer's. */
function withOrders(orders: Orders): Pick<VerifyOptions, 'createEngine'> {
  return {
    createEngine: (options) => {
      const provider = ordered(directProvider(), orders);
      return Aio.create({ ...options, ioMethod: 'sync', provider });
    },
  };
}

/** Files below the scratch directory that this process has open, where that can be seen. */
function openFiles(): string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    const path = linkOf(`/proc/self/fd/${fd}`);
    return path.startsWith(scratchPath()) && lstatSync(path).isFile() ? [path] : [];
  });
}
/** Where a link leads; '' if it is gone, as that of the listing itself is. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** Every way to execute I/O that the program can be told. */
const WAYS = VARIANTS.filter(({ method, provider }) => method !== 'host' && provider === 'direct');

for (const { name, method, shared } of WAYS) {
  if (method !== 'host') {
    const basis = { ioMethod: method, shared };
    const test = suite(`verify: ${name}`);
    test.before(openScratch);
    test.after(removeScratch);

    test("finds the demonstration's three damaged pages and nothing else", async () => {
      const facts = makeDemoDirectory(fresh(), referenceChecksum);
      const { scan, findings, lines } = await scanned(facts.path, basis);
      assert.equal(lines, [
        'base/5/16384.1 21 checksum',
        'base/5/16387 3 header',
        'base/5/16397.7 117 garbage',
      ]);
      const first = findings.find(({ path }) => path === 'base/5/16384.1');
      assert.ok(first?.kind === 'page');
      assert.equal(
        [first.segment, first.blockInFile, first.calculated, first.stored],
        [1, 5, 3405, 1388],
      );
      const { counts } = scan;
      assert.is(counts.files, facts.files);
      assert.is(counts.filesDone, facts.files);
      assert.is(counts.blocks, facts.blocks);
      assert.is(counts.bytesDone, facts.blocks * facts.blockSize);
      assert.is(counts.bytes, counts.bytesDone);
      assert.is(counts.newPages, 4);
      assert.is(counts.damagedPages, 3);
      assert.not(scan.changed);
      assert.is(scan.situation.kind, 'shut down');
    });

    for (const size of BLOCK_SIZES) {
      test(`counts blocks of ${size} bytes across segments`, async () => {
        const path = cluster(
          {
            'base/5/16384': pages(0, 7, {}, size),
            'base/5/16384.1': pages(8, 15, { 9: flipped(9, size), 10: good(2, size) }, size),
            'base/5/16384.2': pages(
              16,
              18,
              { 17: spoilt(17, size), 18: garbagePage(99, size) },
              size,
            ),
            'base/5/16384_fsm': pages(0, 1, { 1: zeroPage(size) }, size),
            'global/1262': pages(0, 0, {}, size),
          },
          { blockSize: size },
        );
        const { scan, lines } = await scanned(path, basis);
        assert.equal(lines, [
          'base/5/16384.1 10 checksum', // right for block 2 of the segment, not of the relation
          'base/5/16384.1 9 checksum',
          'base/5/16384.2 17 header',
          'base/5/16384.2 18 garbage',
        ]);
        assert.is(scan.counts.blocks, 8 + 8 + 3 + 2 + 1);
        assert.is(scan.counts.bytesDone, 22 * size);
        assert.is(scan.counts.newPages, 1);
      });
    }

    test('says every fault of a page', async () => {
      const both = spoilt(1);
      both[SIZE - 1] = 1;
      const path = cluster({ 'base/5/16384': pages(0, 2, { 1: both }) });
      const { lines } = await scanned(path, basis);
      assert.equal(lines, ['base/5/16384 1 header+checksum']);
    });

    test('finds the same however many blocks and I/Os there are', async () => {
      const path = cluster(
        {
          'base/5/16384': pages(0, 299, { 0: flipped(0), 131: spoilt(131), 299: flipped(299) }),
          'base/5/16385': pages(0, 16, { 15: flipped(15), 16: flipped(16) }),
        },
        { segmentBlocks: 1024 },
      );
      for (const combineLimit of [1, 2, 3, 16, 127, 128]) {
        for (const concurrency of [1, 2, 64]) {
          const { scan, lines } = await scanned(path, { ...basis, combineLimit, concurrency });
          const what = `${combineLimit} blocks, ${concurrency} I/Os`;
          assert.equal(
            lines,
            [
              'base/5/16384 0 checksum',
              'base/5/16384 131 header',
              'base/5/16384 299 checksum',
              'base/5/16385 15 checksum',
              'base/5/16385 16 checksum',
            ],
            what,
          );
          assert.is(scan.counts.blocks, 317, what);
        }
      }
    });

    test('compares no checksum where the cluster has none', async () => {
      const files = {
        'base/5/16384': pages(0, 3, { 1: flipped(1), 2: emptyPage(SIZE, { flags: 8 }) }),
      };
      const path = cluster(files, { dataChecksumVersion: 0 });
      const { lines } = await scanned(path, basis);
      assert.equal(lines, ['base/5/16384 2 header']);
    });

    test('takes empty files, and reports one that ends within a block', async () => {
      const path = cluster({
        'base/5/16384': new Uint8Array(0),
        'base/5/16385': Buffer.concat([pages(0, 1), new Uint8Array(100)]),
        'base/5/16386': new Uint8Array(17),
      });
      const { scan, findings, lines } = await scanned(path, basis);
      assert.equal(lines, ['base/5/16385 partial-block', 'base/5/16386 partial-block']);
      assert.equal(
        findings.map((finding) => finding.kind === 'partial-block' && finding.bytes).sort(),
        [100, 17],
      );
      assert.is(scan.counts.blocks, 2);
      assert.is(scan.counts.filesDone, 3);
      assert.is(scan.counts.bytes, scan.counts.bytesDone);
    });

    test('reports segments that are missing, short or too long', async () => {
      const path = cluster({
        'base/5/16384': pages(0, 5),
        'base/5/16384.1': pages(8, 15),
        'base/5/16385': pages(0, 7),
        'base/5/16385.2': pages(16, 16),
        'base/5/16386': pages(0, 8, { 8: flipped(8) }),
        'base/5/16387': pages(0, 3),
        'base/5/16387.1': new Uint8Array(0), // what truncation leaves
        'base/5/16388.3': pages(24, 24),
      });
      const { scan, findings, lines } = await scanned(path, basis);
      assert.equal(lines, [
        'base/5/16384 segment',
        'base/5/16385.1 segment',
        'base/5/16386 segment',
        'base/5/16388 segment',
      ]);
      const words = findings.map((finding) => finding.kind === 'segment' && finding.words);
      assert.equal(words, [
        '9 blocks, but a segment has at most 8',
        '6 blocks of 8, but another segment follows',
        'missing, but segment 2 is there',
        'missing, as are all up to segment 2, but segment 3 is there',
      ]);
      assert.is(scan.counts.blocks, 6 + 8 + 8 + 1 + 8 + 4 + 1);
    });

    test('reads temporary relations and leaves foreign files alone', async () => {
      const path = cluster({
        'base/5/t3_16400': pages(0, 1, { 1: flipped(1) }),
        'base/5/16384.bak': flipped(0),
        'base/5/notes': new Uint8Array(5),
        'base/pgsql_tmp/1': new Uint8Array(5),
      });
      const { scan, lines } = await scanned(path, basis);
      assert.equal(lines, ['base/5/t3_16400 1 checksum']);
      assert.equal(
        scan.foreign.map((file) => file.path),
        ['base/5/16384.bak', 'base/5/notes'],
      );
    });

    test('reads tablespaces inside the directory and behind a link', async () => {
      const version = 'PG_18_202506291';
      const outside = fresh();
      mkdirSync(join(outside, version, '5'), { recursive: true });
      writeFileSync(join(outside, version, '5', '16384'), pages(0, 2, { 2: flipped(2) }));
      const path = cluster({
        'base/5/16384': pages(0, 0),
        [`pg_tblspc/16501/${version}/5/16385`]: pages(0, 1, { 1: flipped(1) }),
      });
      symlinkSync(outside, join(path, 'pg_tblspc/16502'));
      const { scan, lines } = await scanned(path, basis);
      assert.equal(lines, [
        `pg_tblspc/16501/${version}/5/16385 1 checksum`,
        `pg_tblspc/16502/${version}/5/16384 2 checksum`,
      ]);
      assert.is(scan.counts.blocks, 6);
    });

    test('counts a file that vanished and one that was cut, and reports neither', async () => {
      const path = cluster({
        'base/5/16384': pages(0, 3),
        'base/5/16385': pages(0, 3),
        'base/5/16386': pages(0, 3, { 1: flipped(1) }),
        'base/5/16387': pages(0, 3),
      });
      const { scan, lines } = await scanned(path, basis, () => {
        rmSync(join(path, 'base/5/16384'));
        truncateSync(join(path, 'base/5/16385'), 2 * SIZE);
        writeFileSync(join(path, 'base/5/16387'), pages(0, 5)); // grown
      });
      assert.equal(lines, ['base/5/16386 1 checksum']);
      assert.is(scan.counts.vanishedFiles, 1);
      assert.is(scan.counts.blocks, 2 + 4 + 6);
      assert.is(scan.counts.filesDone, 4);
      assert.is(scan.counts.bytes, scan.counts.bytesDone);
    });

    test('notices that a file is cut while it is read', async () => {
      const path = cluster({ 'base/5/16384': pages(0, 99) }, { segmentBlocks: 1024 });
      const cut = (blocks: number): number => {
        truncateSync(join(path, 'base/5/16384'), blocks * SIZE);
        return 0;
      };
      for (const blocks of [50, 48, 0]) {
        writeFileSync(join(path, 'base/5/16384'), pages(0, 99));
        // The batch after the cut begins with block 40, and its first read asks for 40 to 47.
        const { scan, findings } = await scanned(path, {
          ...basis,
          combineLimit: 8,
          ...withOrders({ fail: ({ offset }) => (offset === 40 * SIZE ? cut(blocks) : 0) }),
        });
        assert.equal(findings, [], `${blocks} blocks`);
        assert.is(scan.counts.blocks, blocks === 0 ? 40 : blocks);
        assert.is(scan.counts.truncatedFiles, 1);
        assert.is(scan.counts.bytes, scan.counts.bytesDone);
      }
    });

    for (const size of [SIZE, 8192]) {
      // With small blocks the directory has some to read, with large ones it ends within the first.
      test(`reports a file that is a directory now, with blocks of ${size}`, async () => {
        const files = {
          'base/5/16384': pages(0, 3, {}, size),
          'base/5/16385': pages(0, 3, {}, size),
        };
        const path = cluster(files, { blockSize: size });
        const { scan, lines } = await scanned(path, basis, () => {
          rmSync(join(path, 'base/5/16384'));
          mkdirSync(join(path, 'base/5/16384'));
          for (let i = 0; i < 9; i++) writeFileSync(join(path, `base/5/16384/${i}`), '');
        });
        assert.equal(lines, ['base/5/16384 unreadable']);
        assert.is(scan.counts.filesDone, 2);
        assert.is(scan.counts.blocks, 4);
      });
    }

    test('has few files open at a time', async () => {
      const files = Object.fromEntries(
        Array.from({ length: 200 }, (_, i) => [`base/5/${20000 + i}`, pages(0, i % 3)]),
      );
      let most = 0;
      const onProgress = (): void => {
        most = Math.max(most, openFiles().length);
      };
      const { scan } = await scanned(cluster(files), { ...basis, onProgress });
      assert.is(scan.counts.filesDone, 200);
      assert.ok(most <= 32, `${most} files`);
    });

    test('reads block by block where a read fails, and reports what cannot be read', async () => {
      const path = cluster(
        { 'base/5/16384': pages(0, 63, { 20: flipped(20) }), 'base/5/16385': pages(0, 3) },
        { segmentBlocks: 1024 },
      );
      const bad = (block: number) => (read: Read) =>
        read.path.endsWith('16384') &&
        read.offset <= block * SIZE &&
        read.offset + read.length > block * SIZE
          ? WASI_EIO
          : 0;
      const { scan, findings, lines } = await scanned(path, {
        ...basis,
        ...withOrders({ fail: (read) => bad(17)(read) || bad(30)(read) }),
      });
      assert.equal(lines, ['base/5/16384 20 checksum', 'base/5/16384 unreadable']);
      const unreadable = findings.find(({ kind }) => kind === 'unreadable');
      assert.ok(unreadable?.kind === 'unreadable');
      assert.is(unreadable.blocks, 2);
      assert.is(unreadable.block, 17);
      assert.is(
        unreadable.words,
        'could not read blocks 17..17 in file "base/5/16384": Input/output error',
      );
      assert.is(scan.counts.blocks, 66);
      assert.is(scan.counts.unreadBlocks, 2);
    });

    test('gives a file up of which nothing can be read', async () => {
      const path = cluster(
        { 'base/5/16384': pages(0, 299), 'base/5/16385': pages(0, 3) },
        { segmentBlocks: 1024 },
      );
      let reads = 0;
      const fail = (read: Read): number => {
        reads++;
        return read.path.endsWith('16384') ? WASI_EIO : 0;
      };
      const { scan, lines } = await scanned(path, { ...basis, ...withOrders({ fail }) });
      assert.equal(lines, ['base/5/16384 unreadable']);
      assert.is(scan.counts.unreadBlocks, 300);
      assert.is(scan.counts.blocks, 4);
      assert.ok(reads < 300, `${reads} reads`);
    });

    test('goes on where a read came short, and gives up on one that brings nothing', async () => {
      const path = cluster(
        { 'base/5/16384': pages(0, 39, { 33: flipped(33) }) },
        { segmentBlocks: 1024 },
      );
      const most = () => SIZE + SIZE / 2;
      const { scan, lines } = await scanned(path, { ...basis, ...withOrders({ most }) });
      assert.equal(lines, ['base/5/16384 33 checksum']);
      assert.is(scan.counts.blocks, 40);
      const slow = ({ time, length }: Read) => (time > 3 ? length : 0);
      const late = await scanned(path, { ...basis, ...withOrders({ most: slow }) });
      assert.equal(late.lines, ['base/5/16384 33 checksum']);
      assert.is(late.scan.counts.blocks, 40);
      const stuck = await scanned(path, { ...basis, ...withOrders({ most: () => SIZE - 1 }) });
      assert.equal(stuck.lines, ['base/5/16384 unreadable']);
      assert.is(stuck.scan.counts.unreadBlocks, 40);
    });

    test('reads a page again before it reports it', async () => {
      const path = cluster({ 'base/5/16384': pages(0, 7) });
      const torn = (times: number): Orders => ({
        change({ offset, time, length }, bytes) {
          const at = 3 * SIZE - offset;
          const again = length === SIZE ? time + 1 : 1; // by itself it is a second look
          if (at >= 0 && at < length && again <= times) bytes[at + SIZE - 1] = 0;
        },
      });
      const once = await scanned(path, { ...basis, ...withOrders(torn(1)) });
      assert.equal(once.lines, []);
      assert.is(once.scan.counts.rereadPages, 1);
      assert.is(once.scan.counts.blocks, 8);
      const twice = await scanned(path, { ...basis, ...withOrders(torn(2)) });
      assert.equal(twice.lines, ['base/5/16384 3 checksum']);
      const online = { ...basis, online: true }; // now it may be a server's doing
      const live = await scanned(path, { ...online, ...withOrders(torn(4)) });
      assert.equal(live.lines, []);
      const never = await scanned(path, { ...online, ...withOrders(torn(99)) });
      assert.equal(never.lines, ['base/5/16384 3 checksum']);
    });

    test('leaves nothing open, whether it ends, breaks, is aborted or fails', async () => {
      const path = cluster(
        { 'base/5/16384': pages(0, 199, { 0: flipped(0) }), 'base/5/16385': pages(0, 0) },
        { segmentBlocks: 1024 },
      );
      await scanned(path, basis);
      assert.equal(openFiles(), [], 'ended');
      const options = { ...basis, combineLimit: 1 };
      for await (const finding of new Verification(await openDataDirectory(path), options)) {
        assert.is(finding.path, 'base/5/16384');
        assert.is(openFiles().length, process.platform === 'linux' ? 1 : 0);
        break;
      }
      assert.equal(openFiles(), [], 'left by break');
      const stop = new AbortController();
      const abort = { ...options, signal: stop.signal, onProgress: () => stop.abort() };
      await rejects(scanned(path, abort), (error) => error === stop.signal.reason);
      assert.equal(openFiles(), [], 'aborted');
      const onProgress: VerifyOptions['onProgress'] = ({ blocks }) => {
        if (blocks > 0) throw new RangeError('as it was to');
      };
      const failed = scanned(path, { ...options, onProgress });
      await rejects(failed, (error) => error instanceof RangeError);
      assert.equal(openFiles(), [], 'failed');
    });

    test('stops between two batches when it is aborted', async () => {
      const path = cluster({ 'base/5/16384': pages(0, 999) }, { segmentBlocks: 1024 });
      const stop = new AbortController();
      let calls = 0;
      const options: VerifyOptions = {
        ...basis,
        combineLimit: 1,
        signal: stop.signal,
        onProgress(counts) {
          if (counts.blocks === 0) return; // while files are listed
          calls++;
          stop.abort();
        },
      };
      const scan = new Verification(await openDataDirectory(path), options);
      await rejects(drain(scan), (error) => error === stop.signal.reason);
      const { blocks } = scan.counts; // a batch, or less where the machine was busy
      assert.ok(blocks > 0 && blocks <= 32, `${blocks} blocks`);
      assert.is(calls, 1);
    });

    test('shows its progress up to the end', async () => {
      const path = cluster({ 'base/5/16384': pages(0, 199) }, { segmentBlocks: 1024 });
      const seen: number[] = [];
      const onProgress: NonNullable<VerifyOptions['onProgress']> = (counts) => {
        assert.is(counts.bytes, 200 * SIZE);
        seen.push(counts.bytesDone);
      };
      await scanned(path, { ...basis, combineLimit: 2, onProgress });
      assert.equal(
        seen,
        [...seen].sort((a, b) => a - b),
      );
      assert.is(seen[0], 0);
      assert.is(seen.at(-1), 200 * SIZE);
      assert.ok(seen.length >= 4);
    });
    test.run();
  }
}

async function drain(scan: Verification): Promise<void> {
  for await (const finding of scan) assert.unreachable(lineOf(finding));
}

async function rejects(
  promise: Promise<unknown>,
  accept: (error: unknown) => boolean,
): Promise<void> {
  const error = await promise.then(
    () => assert.unreachable('it did not reject'),
    (reason: unknown) => reason,
  );
  assert.ok(accept(error), String(error));
}

const once = suite('verify');
once.before(openScratch);
once.after(removeScratch);

once('notices that a server was started meanwhile', async () => {
  const path = cluster({ 'base/5/16384': pages(0, 0) });
  const control = join(path, 'global/pg_control');
  const basis = { blockSize: SIZE, segmentBlocks: SEGMENT_BLOCKS };
  const started = encodePgControl({ ...basis, state: 'in production' });
  const byControl = await scanned(path, {}, () => writeFileSync(control, started));
  assert.ok(byControl.scan.changed);
  const running = await scanned(path);
  assert.is(running.scan.situation.kind, 'crashed');
  assert.not(running.scan.changed);
  writeFileSync(control, encodePgControl(basis));
  const pid = join(path, 'postmaster.pid');
  const byPid = await scanned(path, {}, () => writeFileSync(pid, '1\n'));
  assert.ok(byPid.scan.changed);
  rmSync(pid);
  const gone = await scanned(path, {}, () => rmSync(control));
  assert.ok(gone.scan.changed);
});

once('is iterated once', async () => {
  const { scan } = await scanned(cluster({ 'base/5/16384': pages(0, 0) }));
  await rejects(drain(scan), (error) => error instanceof RangeError);
  assert.is(scan.counts.blocks, 1);
});

once('refuses once what no file can be opened with', async () => {
  const path = cluster({ 'base/5/16384': pages(0, 0), 'base/5/16385': pages(0, 0) });
  const open = (file: string, direct: boolean): void => {
    if (!direct) return;
    const errno = 22;
    throw new AioIoError({ code: 'PGAIO_OPEN', message: 'Invalid argument', errno, path: file });
  };
  const options = { direct: true, ...withOrders({ open }) } as const;
  await rejects(
    scanned(path, options),
    (error) => error instanceof Error && 'code' in error && error.code === 'PGAIO_NO_DIRECT',
  );
});

once('takes a file out of the count when its opening fails', async () => {
  const path = cluster({ 'base/5/16384': pages(0, 3), 'base/5/16385': pages(0, 0) });
  const open = (file: string): void => {
    if (!file.endsWith('16384')) return;
    const words = `could not open file "${file}": Permission denied`;
    throw new AioIoError({ code: 'PGAIO_OPEN', message: words, errno: 13, path: file });
  };
  const { scan, findings } = await scanned(path, withOrders({ open }));
  assert.equal(findings, [
    {
      kind: 'unreadable',
      path: 'base/5/16384',
      block: undefined,
      blocks: 0,
      words: `could not open file "${path}/base/5/16384": Permission denied`,
    },
  ]);
  assert.is(scan.counts.bytes, SIZE);
  assert.is(scan.counts.filesDone, 2);
});

/** A device that answers later, the last I/O first. */
function lateDevice(): {
  options: (given: AioOptions) => AioOptions;
  serve: (aio: Aio) => void;
  most: () => number;
} {
  let aio: Aio | undefined;
  let most = 0;
  const waiting: number[] = [];
  const answer = (): void => {
    const id = waiting.pop();
    if (aio === undefined || id === undefined) return;
    aio.complete(id, readFor(aio, id));
    if (waiting.length > 0) setImmediate(answer);
  };
  return {
    options: (given) => ({
      ...given,
      ioMethod: 'host',
      device: {
        submit(ids) {
          if (waiting.length === 0) setImmediate(answer);
          waiting.push(...ids);
          most = Math.max(most, waiting.length);
        },
      },
    }),
    serve(engine) {
      aio = engine;
    },
    most: () => most,
  };
}

/** Reads what a handle asks for, as its device. */
function readFor(aio: Aio, id: number): number {
  const { PgAioCtl, PgAioHandle, CTL_AT, HANDLE_SHIFT } = constants;
  const view = new DataView(aio.memory.buffer);
  const control = (field: 'io_handles' | 'iovecs'): number =>
    view.getUint32(CTL_AT + PgAioCtl.fields[field].offset, true);
  const at = control('io_handles') + (id << HANDLE_SHIFT);
  const { fd, offset, iovec_off, iov_length } = PgAioHandle.fields;
  const first = control('iovecs') + 8 * view.getUint32(at + iovec_off.offset, true);
  const buffers = Array.from({ length: view.getUint16(at + iov_length.offset, true) }, (_, i) => {
    const length = view.getUint32(first + 8 * i + 4, true);
    return new Uint8Array(aio.memory.buffer, view.getUint32(first + 8 * i, true), length);
  });
  const position = Number(view.getBigUint64(at + offset.offset, true));
  return readvSync(view.getInt32(at + fd.offset, true), buffers, position);
}

/** How many are to be in flight at once, at least: with many handles, more than one batch. */
for (const [concurrency, expected] of [
  [1, 1],
  [5, 5],
  [64, 33],
] as const) {
  once(`keeps I/Os that end later in flight, ${expected} of ${concurrency} at least`, async () => {
    const path = cluster(
      {
        'base/5/16384': pages(0, 299, { 7: flipped(7), 298: spoilt(298) }),
        'base/5/16385': pages(0, 1, { 0: flipped(0) }),
        'base/5/16386': Buffer.concat([pages(0, 0), new Uint8Array(1)]),
      },
      { segmentBlocks: 1024 },
    );
    const device = lateDevice();
    const { scan, lines } = await scanned(path, {
      combineLimit: 2,
      concurrency,
      async createEngine(options) {
        const aio = await Aio.create(device.options(options));
        device.serve(aio);
        return aio;
      },
    });
    assert.equal(lines, [
      'base/5/16384 298 header',
      'base/5/16384 7 checksum',
      'base/5/16385 0 checksum',
      'base/5/16386 partial-block',
    ]);
    assert.is(scan.counts.blocks, 303);
    const most = device.most();
    assert.ok(most >= expected && most <= concurrency, `${most} in flight`);
  });
}

once('has pages that the tests of pages agree with', () => {
  const path = cluster({ 'base/5/16384': pages(0, 1) });
  const bytes = readFileSync(join(path, 'base/5/16384'));
  assert.is(bytes.readUInt16LE(SIZE + 8), referenceChecksum(bytes.subarray(SIZE), 1));
});
once.run();
