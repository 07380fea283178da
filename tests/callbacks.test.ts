/**
 * Callbacks and results: order and data flow, what each of the core's callbacks makes of a raw
 * result, the words for it, and what host callbacks may do, may not do, and do wrong.
 */
import * as assert from 'uvu/assert';
import { AioCallbackError, type AioIoError } from '../bindings/errors.ts';
import type { CoreCallbacks } from '../bindings/instance.ts';
import * as layout from '../bindings/layout.ts';
import { packResult, unpackResult } from '../bindings/result.ts';
import {
  type Bench,
  BLOCK,
  endOf,
  errorOf,
  type Faults,
  forEachMethod,
  IN_FLIGHT_ONLY,
  type Io,
  numberedBlocks,
  SYNC_ONLY,
} from './harness.ts';

const {
  PGAIO_HCB_MD_READV: MD_READV,
  PGAIO_HCB_MD_WRITEV: MD_WRITEV,
  PGAIO_HCB_FILE: FILE,
  HOST_CALLBACK_THREW,
} = layout;
const THREW = { id: 32, status: 'ERROR', errorData: HOST_CALLBACK_THREW, result: 0 } as const;

/** Result words at an address, unpacked. */
function resultAt(bench: Bench, at: number) {
  return unpackResult(bench.view.getUint32(at, true), bench.view.getInt32(at + 4, true));
}
function putResult(bench: Bench, at: number, word: number, result: number): void {
  bench.view.setUint32(at, word, true);
  bench.view.setInt32(at + 4, result, true);
}

forEachMethod('callbacks: order', (test, open) => {
  test('is last registered first in every phase, each with its own data', async () => {
    const bench = await open();
    const fd = bench.file('data', numberedBlocks(1));
    const ran: string[] = [];
    for (const id of [32, 33, 48, 63]) {
      bench.pg.pgaio_register_host_callback(id, {
        stage: (_, data) => void ran.push(`stage ${id} ${data}`),
        complete_shared: (_, __, data) => void ran.push(`shared ${id} ${data}`),
        complete_local: (_, __, data) => void ran.push(`local ${id} ${data}`),
      });
    }
    bench.read({
      fd,
      callbacks: [
        [48, 255],
        [32, 0],
        [63, 1],
        [48, 7],
      ],
    });
    const order = ['48 7', '63 1', '32 0', '48 255'];
    assert.equal(ran, [
      ...order.map((line) => `stage ${line}`),
      ...order.map((line) => `shared ${line}`),
      ...order.map((line) => `local ${line}`),
    ]);
  });

  test('passes each the result of the one before, shared and then local', async () => {
    const bench = await open();
    const fd = bench.file('data', numberedBlocks(1));
    const seen: string[] = [];
    const handles = new Set<number>();
    const step = (id: number, phase: string, status: 'OK' | 'PARTIAL' | 'WARNING') => {
      return (ioh: number, at: number): void => {
        handles.add(ioh);
        const { id: by, status: was, errorData, result } = resultAt(bench, at);
        seen.push(`${phase} ${id}: ${by} ${was} ${errorData} ${result}`);
        putResult(bench, at, packResult(id, status, errorData + 1), result + 1000);
      };
    };
    for (const [id, status] of [
      [32, 'WARNING'],
      [33, 'PARTIAL'],
    ] as const) {
      bench.pg.pgaio_register_host_callback(id, {
        complete_shared: step(id, 'shared', status),
        complete_local: step(id, 'local', status),
      });
    }
    const { result, ioh, id } = bench.read({ fd, callbacks: [32, 33] });
    assert.equal(seen, [
      'shared 33: 0 OK 0 8192',
      'shared 32: 33 PARTIAL 1 9192',
      'local 33: 32 WARNING 2 10192',
      'local 32: 33 PARTIAL 3 11192',
    ]);
    assert.equal(result, { id: 32, status: 'WARNING', errorData: 4, result: 12192 });
    assert.equal([...handles], [ioh]);
    const shared = bench.trace().find(({ move }) => move === 'COMPLETED_SHARED>COMPLETED_LOCAL');
    assert.equal(
      unpackResult(shared?.word ?? 0, shared?.result ?? 0),
      { id: 32, status: 'WARNING', errorData: 2, result: 10192 },
      'the handle keeps the shared result',
    );
    assert.is(bench.handle(id, 'distilled_word'), 0);
  });

  test('runs md before what was registered before it', async () => {
    const bench = await open();
    const fd = bench.file('data', numberedBlocks(4));
    let seen = -1;
    bench.pg.pgaio_register_host_callback(32, {
      complete_shared: (_, at) => {
        seen = resultAt(bench, at).result;
      },
    });
    bench.read({ fd, nblocks: 3, callbacks: [32, MD_READV] });
    assert.is(seen, 3, 'blocks');
    bench.read({ fd, nblocks: 3, callbacks: [MD_READV, 32] });
    assert.is(seen, 3 * BLOCK, 'bytes');
  });

  test('leaves out the phases a callback lacks', async () => {
    const bench = await open();
    const fd = bench.file('data', numberedBlocks(1));
    const ran: string[] = [];
    const shared = (_: number, at: number) => {
      ran.push('shared');
      putResult(bench, at, packResult(32, 'WARNING', 1), 1);
    };
    const local = (_: number, at: number) => {
      ran.push(`local ${resultAt(bench, at).result}`);
    };
    const stage = () => void ran.push('stage');
    const runs: readonly (readonly [CoreCallbacks, string[], number])[] = [
      [{ complete_shared: shared }, ['shared'], 1],
      [{ complete_local: local }, ['local 8192'], 8192],
      [{ stage, complete_local: local }, ['stage', 'local 8192'], 8192],
      [{ stage, complete_shared: shared }, ['stage', 'shared'], 1],
      [{ complete_shared: shared, complete_local: local }, ['shared', 'local 1'], 1],
    ];
    for (const [callbacks, expected, end] of runs) {
      ran.length = 0;
      bench.pg.pgaio_register_host_callback(32, callbacks);
      const { result } = bench.read({ fd, callbacks: [32] });
      assert.equal(ran, expected);
      assert.is(result.result, end);
    }
  });

  test('gives handle data to every callback', async () => {
    const bench = await open();
    const { pg } = bench;
    const fd = bench.file('data', numberedBlocks(1));
    const from = pg.alloc(64);
    const length = pg.alloc(1);
    for (let i = 0; i < 4; i++) bench.view.setUint32(from + 4 * i, 0xfffffff0 + i, true);
    const seen: string[] = [];
    const note = (phase: string) => (ioh: number) => {
      const at = pg.pgaio_io_get_handle_data(ioh, length);
      const words = Array.from({ length: bench.u8[length] ?? 0 }, (_, i) =>
        bench.view.getBigUint64(at + 8 * i, true).toString(16),
      );
      seen.push(`${phase} ${words.join(' ')}`);
    };
    pg.pgaio_register_host_callback(32, {
      stage: note('stage'),
      complete_shared: note('shared'),
      complete_local: note('local'),
    });
    for (const width of [32, 64]) {
      const io = bench.define({ fd, callbacks: [32] });
      if (width === 32) pg.pgaio_io_set_handle_data_32(io.ioh, from, 3);
      else pg.pgaio_io_set_handle_data_64(io.ioh, from, 2);
      bench.start(io);
      bench.finish(io);
    }
    const narrow = 'fffffff0 fffffff1 fffffff2';
    const wide = 'fffffff1fffffff0 fffffff3fffffff2';
    assert.equal(
      seen,
      [narrow, wide].flatMap((words) => ['stage', 'shared', 'local'].map((p) => `${p} ${words}`)),
    );
  });
});

/** What a callback of the core makes of a raw result. */
interface ResultCase {
  readonly sentence: string;
  readonly faults?: Faults;
  /** Blocks asked for; the file has 4. @default 4 */
  readonly nblocks?: number;
  readonly block?: number;
  readonly result: readonly [id: number, status: string, errorData: number, result: number];
  /** Words and SQLSTATE of the report; none for OK. */
  readonly words?: readonly [message: string, sqlstate: string];
  /** Whether it was logged on the spot. */
  readonly logged?: boolean;
}
const READ = 'could not read blocks 0..3 in file "base/5/16384":';
const MD_CASES: readonly ResultCase[] = [
  { sentence: 'a full read is so many blocks', result: [0, 'OK', 0, 4] },
  {
    sentence: 'a hard error keeps its errno',
    faults: { failAt: 1, errno: 'EIO' },
    result: [MD_READV, 'ERROR', 5, 0],
    words: [`${READ} Input/output error`, '58030'],
    logged: true,
  },
  {
    sentence: 'a read-only file system has its words',
    faults: { failAt: 1, errno: 'EROFS' },
    result: [MD_READV, 'ERROR', 30, 0],
    words: [`${READ} Read-only file system`, '42501'],
    logged: true,
  },
  {
    sentence: 'a missing file has the SQLSTATE of one',
    faults: { failAt: 1, errno: 'ENOENT' },
    result: [MD_READV, 'ERROR', 2, 0],
    words: [`${READ} No such file or directory`, '58P01'],
    logged: true,
  },
  {
    sentence: 'less than a block is an error without errno',
    faults: { shortAt: 1, shortBytes: 17 },
    result: [MD_READV, 'ERROR', 0, 0],
    words: [`${READ} read only 0 of 32768 bytes`, 'XX001'],
    logged: true,
  },
  {
    sentence: 'one byte less than a block is an error',
    faults: { shortAt: 1, shortBytes: 8191 },
    result: [MD_READV, 'ERROR', 0, 0],
    words: [`${READ} read only 0 of 32768 bytes`, 'XX001'],
    logged: true,
  },
  {
    sentence: 'nothing at the end of the file is an error, and a range even for one block',
    block: 4,
    nblocks: 1,
    result: [MD_READV, 'ERROR', 0, 0],
    words: [
      'could not read blocks 4..4 in file "base/5/16384": read only 0 of 8192 bytes',
      'XX001',
    ],
    logged: true,
  },
  {
    sentence: 'some blocks are a partial read, the odd bytes dropped',
    faults: { shortAt: 1, shortBytes: 2 * 8192 + 100 },
    result: [MD_READV, 'PARTIAL', 0, 2],
    words: [`${READ} read only 16384 of 32768 bytes`, 'XX001'],
  },
  {
    sentence: 'a read over the end of the file is partial',
    block: 3,
    nblocks: 2,
    result: [MD_READV, 'PARTIAL', 0, 1],
    words: [
      'could not read blocks 3..4 in file "base/5/16384": read only 8192 of 16384 bytes',
      'XX001',
    ],
  },
];
const FILE_READ = 'could not read file "file 7":';
const FILE_CASES: readonly ResultCase[] = [
  { sentence: 'a full read is so many bytes', result: [0, 'OK', 0, 32768] },
  {
    sentence: 'a hard error keeps its errno',
    faults: { failAt: 1, errno: 'EIO' },
    result: [FILE, 'ERROR', 5, 0],
    words: [`${FILE_READ} Input/output error`, '58030'],
    logged: true,
  },
  {
    sentence: 'a short read is partial, to the byte',
    faults: { shortAt: 1, shortBytes: 17 },
    result: [FILE, 'PARTIAL', 0, 17],
    words: [`${FILE_READ} read only 17 of 32768 bytes`, 'XX001'],
  },
  {
    sentence: 'nothing at the end of the file is partial',
    block: 4,
    nblocks: 1,
    result: [FILE, 'PARTIAL', 0, 0],
    words: [`${FILE_READ} read only 0 of 8192 bytes`, 'XX001'],
  },
];

function assertReported(bench: Bench, io: Io, it: ResultCase): void {
  if (it.words === undefined) {
    assert.equal(bench.said, []);
    return;
  }
  const [message, sqlstate] = it.words;
  assert.equal(bench.said, it.logged ? [`LOG: ${message}`] : []);
  if (it.logged) assert.is(bench.reports[0]?.level, layout.LOG_SERVER_ONLY);
  const error = bench.reportOf(io);
  assert.is(error?.message, message);
  assert.is(error?.sqlstate, sqlstate);
  const [, , errno] = it.result;
  assert.is(error?.code, errno === 0 ? 'PGAIO_SHORT' : 'PGAIO_IO');
  assert.is((error as AioIoError).errno, errno);
  bench.reports.length = 0;
  assert.is(bench.reportOf(io, layout.WARNING), undefined, 'below ERROR nothing is thrown');
  assert.equal(bench.said, [`WARNING: ${message}`]);
  assert.is(bench.reports[0]?.sqlstate, sqlstate);
  assert.is(bench.reportOf(io, layout.DEBUG1), undefined);
  assert.is(bench.said[1], `DEBUG: ${message}`);
}

for (const [name, callback, target, cases] of [
  ['MD_READV', MD_READV, 'smgr', MD_CASES],
  ['FILE', FILE, 'file', FILE_CASES],
] as const) {
  forEachMethod(`callbacks: ${name}`, (test, open) => {
    for (const it of cases) {
      test(it.sentence, async () => {
        const bench = await open(it.faults === undefined ? {} : { faults: it.faults });
        const fd = bench.file('data', numberedBlocks(4));
        const { block = 0, nblocks = 4 } = it;
        const io = bench.read({ fd, block, nblocks, target, callbacks: [callback] });
        const [id, status, errorData, result] = it.result;
        assert.equal(io.result, { id, status, errorData, result } as typeof io.result);
        await bench.heard();
        assertReported(bench, io, it);
        assert.is(bench.backend('errors'), status === 'ERROR' ? 1 : 0);
        assert.is(bench.backend('partials'), status === 'PARTIAL' ? 1 : 0);
        bench.assertUsable();
      });
    }
  });
}

forEachMethod('callbacks: MD_WRITEV', (test, open) => {
  const write = (bench: Bench, nblocks = 2): Io => {
    const fd = bench.file('data', numberedBlocks(2));
    const io = bench.define({ fd, nblocks, callbacks: [MD_WRITEV] });
    bench.u8.fill(0x77, io.at, io.at + nblocks * BLOCK);
    bench.pg.pgaio_io_start_writev(io.ioh, fd, 1, 0);
    return io;
  };
  const words = 'could not write blocks 0..1 in file "base/5/16384":';

  test('counts blocks, and the file has them', async () => {
    const bench = await open();
    const io = write(bench);
    assert.equal(bench.finish(io), { id: 0, status: 'OK', errorData: 0, result: 2 });
    assert.is(bench.backend('smgr_writes'), 1);
    assert.is(bench.backend('smgr_write_bytes'), 2 * BLOCK);
    assert.is(bench.backend('smgr_reads'), 0);
    const back = bench.read({ fd: io.fd, nblocks: 2 });
    assert.is(bench.u8[back.at], 0x77);
    assert.is(bench.u8[back.at + 2 * BLOCK - 1], 0x77);
  });

  test('fails, stops short and moves less than a block in its own words', async () => {
    for (const [faults, result, message] of [
      [{ failAt: 1, errno: 'ENOSPC' }, ['ERROR', 28, 0], `${words} No space left on device`],
      [{ shortAt: 1, shortBytes: 8191 }, ['ERROR', 0, 0], `${words} wrote only 0 of 16384 bytes`],
      [
        { shortAt: 1, shortBytes: 8192 },
        ['PARTIAL', 0, 1],
        `${words} wrote only 8192 of 16384 bytes`,
      ],
    ] as const) {
      const bench = await open({ faults });
      const io = write(bench);
      const [status, errorData, blocks] = result;
      assert.equal(bench.finish(io), { id: MD_WRITEV, status, errorData, result: blocks });
      assert.is(bench.reportOf(io)?.message, message);
    }
  });

  test('of a plain file has words of its own', async () => {
    const bench = await open({ faults: { shortAt: 1, shortBytes: 5 } });
    const fd = bench.file('data', numberedBlocks(1));
    const io = bench.define({ fd, target: 'file', callbacks: [FILE] });
    bench.pg.pgaio_io_start_writev(io.ioh, fd, 1, 0);
    assert.equal(bench.finish(io), { id: FILE, status: 'PARTIAL', errorData: 0, result: 5 });
    assert.is(
      bench.reportOf(io)?.message,
      'could not write file "file 7": wrote only 5 of 8192 bytes',
    );
  });
});

forEachMethod('callbacks: none', (test, open) => {
  test('leave the bytes as they are', async () => {
    const bench = await open();
    const fd = bench.file('data', numberedBlocks(1));
    const { result } = bench.read({ fd, callbacks: [] });
    assert.equal(result, { id: 0, status: 'OK', errorData: 0, result: 8192 });
  });
  test('do not let an error pass for a success', async () => {
    const bench = await open({ faults: { failAt: 1, errno: 'EIO' } });
    const fd = bench.file('data', numberedBlocks(1));
    const io = bench.read({ fd, callbacks: [] });
    assert.equal(io.result, { id: FILE, status: 'ERROR', errorData: 5, result: 0 });
    const words = 'could not read file "base/5/16384": Input/output error';
    assert.is(bench.reportOf(io)?.message, words);
    assert.is(bench.backend('errors'), 1);
  });
});

forEachMethod('callbacks: operations that fail', (test, open) => {
  test('lose no handle, whichever it is', async () => {
    for (let failAt = 1, failed = true; failed; failAt++) {
      const bench = await open({ faults: { failAt } });
      const fd = bench.file('data', numberedBlocks(8));
      const mark = bench.pg.alloc(0);
      const at = bench.frames(1);
      const ends = Array.from({ length: 8 }, (_, block) => {
        bench.pg.reset(mark);
        return bench.read({ fd, block, at }).result.status;
      });
      const expected = ends.map((_, i) => (i + 1 === failAt ? 'ERROR' : 'OK'));
      assert.equal(ends, expected, `after failing operation ${failAt}`);
      bench.assertUsable();
      failed = ends.includes('ERROR');
      assert.ok(failAt <= 9);
    }
  });
});

forEachMethod(
  'callbacks: interrupted calls',
  (test, open) => {
    for (const interruptions of [1, 2, 7]) {
      test(`are made again, ${interruptions} times`, async () => {
        const bench = await open({ faults: { interruptions } });
        const fd = bench.file('data', numberedBlocks(2));
        const { result, at } = bench.read({ fd, block: 1 });
        assert.equal(result, { id: 0, status: 'OK', errorData: 0, result: 1 });
        assert.is(bench.u8[at], 2);
        await bench.heard();
        assert.equal(bench.said, []);
      });
    }
  },
  SYNC_ONLY,
);

forEachMethod('callbacks: the host’s', (test, open) => {
  test('have words for their results', async () => {
    const bench = await open();
    const fd = bench.file('data', numberedBlocks(1));
    bench.pg.pgaio_register_host_callback(40, {
      complete_shared: (_, at) => putResult(bench, at, packResult(40, 'ERROR', 0x7ffffe), -3),
      report: (errorData, result) => `our own: ${errorData} ${result}`,
    });
    const io = bench.read({ fd, callbacks: [40] });
    assert.equal(io.result, { id: 40, status: 'ERROR', errorData: 0x7ffffe, result: -3 });
    const error = bench.reportOf(io);
    assert.is(error?.code, 'PGAIO_CALLBACK');
    assert.is(error?.message, 'our own: 8388606 -3');
    assert.is(error?.sqlstate, 'XX000');
    bench.pg.pgaio_register_host_callback(40, { complete_shared: () => undefined });
    const plain = 'callback 40 reports 8388606 for file "base/5/16384"';
    assert.is(bench.reportOf(io)?.message, plain);
  });

  for (const status of [0, 5, 6, 7]) {
    test(`that leave status ${status} behind say nothing`, async () => {
      const bench = await open();
      const fd = bench.file('data', numberedBlocks(1));
      bench.pg.pgaio_register_host_callback(32, {
        complete_shared: (_, at) => bench.view.setUint32(at, 32 | (status << 6), true),
        complete_local: (_, at) => bench.view.setUint32(at, 32 | (status << 6), true),
      });
      const { result } = bench.read({ fd, callbacks: [32, MD_READV] });
      assert.equal(result, { id: 0, status: 'OK', errorData: 0, result: 1 });
    });
  }
  test('that leave UNKNOWN behind do not change the number either', async () => {
    const bench = await open();
    const fd = bench.file('data', numberedBlocks(1));
    bench.pg.pgaio_register_host_callback(32, {
      complete_shared: (_, at) => putResult(bench, at, 0, 77),
    });
    const { result } = bench.read({ fd, callbacks: [32, MD_READV] });
    assert.equal(result, { id: 0, status: 'OK', errorData: 0, result: 1 });
  });
});

forEachMethod('callbacks: that throw', (test, open) => {
  const boom = () => {
    throw new Error('boom');
  };
  const setUp = async (bench: Bench, callbacks: CoreCallbacks) => {
    const seen: string[] = [];
    bench.pg.pgaio_register_host_callback(32, {
      complete_shared: () => undefined,
      ...callbacks,
    });
    bench.pg.pgaio_register_host_callback(33, {
      stage: () => void seen.push('stage'),
      complete_shared: (_, at) => void seen.push(`shared ${resultAt(bench, at).status}`),
      complete_local: (_, at) => void seen.push(`local ${resultAt(bench, at).status}`),
    });
    return { seen, fd: bench.file('data', numberedBlocks(1)) };
  };
  const assertThrown = (bench: Bench, io: Io, message: string) => {
    const error = bench.reportOf(io);
    assert.instance(error, AioCallbackError);
    assert.is(error?.code, 'PGAIO_CALLBACK_THREW');
    assert.is(error?.message, message);
    assert.is((error as AioCallbackError).callback, 32);
    bench.assertUsable();
    const next = bench.read({ fd: io.fd });
    assert.equal(next.result, { id: 0, status: 'OK', errorData: 0, result: 1 });
  };

  test('in stage end the I/O before it runs', async () => {
    const bench = await open();
    const { seen, fd } = await setUp(bench, { stage: boom });
    const from = bench.ctl('trace_next');
    const at = bench.frames(1);
    bench.u8.fill(0xee, at, at + BLOCK);
    const io = bench.read({ fd, at, callbacks: [33, MD_READV, 32] });
    assert.equal(io.result, THREW);
    assert.is(bench.u8[at], 0xee, 'nothing was read');
    assert.equal(seen, ['shared ERROR', 'local ERROR'], 'and no stage callback after it ran');
    const lines = bench.trace(from);
    assert.is(lines.length, 8, 'it passed every state');
    assert.is(lines.at(-1)?.raw, -layout.ECANCELED);
    assert.equal(bench.said, ['LOG: callback 32 threw: boom']);
    assertThrown(bench, io, 'callback 32 threw: boom');
  });

  test('in shared completion make an error of it', async () => {
    const bench = await open();
    const { seen, fd } = await setUp(bench, { complete_shared: boom });
    const io = bench.read({ fd, callbacks: [33, 32, MD_READV] });
    assert.equal(io.result, THREW);
    assert.equal(seen, ['stage', 'shared ERROR', 'local ERROR']);
    assert.equal(bench.said, ['LOG: callback 32 threw: boom']);
    assertThrown(bench, io, 'callback 32 threw: boom');
  });

  test('in local completion make an error of it for the issuer', async () => {
    const bench = await open();
    const { seen, fd } = await setUp(bench, { complete_local: boom });
    const io = bench.read({ fd, callbacks: [33, 32, MD_READV] });
    assert.equal(io.result, THREW);
    assert.equal(seen, ['stage', 'shared OK', 'local ERROR']);
    assert.equal(bench.said, ['LOG: callback 32 threw: boom']);
    assertThrown(bench, io, 'callback 32 threw: boom');
  });

  test('in every phase, and not even an Error, are survived', async () => {
    const bench = await open();
    const thrower = () => {
      const value: unknown = 'words';
      throw value;
    };
    const { fd } = await setUp(bench, {
      stage: thrower,
      complete_shared: thrower,
      complete_local: thrower,
    });
    const io = bench.read({ fd, callbacks: [33, 32] });
    assert.equal(io.result, THREW);
    assert.equal(bench.said, Array(3).fill('LOG: callback 32 threw: words'));
    assertThrown(bench, io, 'callback 32 threw: words');
  });

  test('in report do no harm', async () => {
    const bench = await open();
    const { fd } = await setUp(bench, {
      complete_shared: (_, at) => putResult(bench, at, packResult(32, 'ERROR', 1), 0),
      report: boom,
    });
    const io = bench.read({ fd, callbacks: [32] });
    assertThrown(bench, io, 'callback 32 threw: boom');
  });
});

forEachMethod('callbacks: in stage', (test, open, variant) => {
  const modes = variant.method === 'host' ? (['wait', 'now'] as const) : (['wait'] as const);
  for (const device of modes) {
    const how = variant.method === 'host' ? `, device ${device}` : '';
    test(`another I/O can be acquired and started${how}`, async () => {
      const bench = await open({ device });
      const fd = bench.file('data', numberedBlocks(3));
      let inner: Io | undefined;
      bench.pg.pgaio_register_host_callback(32, {
        stage: () => {
          inner = bench.define({ fd, block: 2 });
          bench.start(inner);
        },
        complete_shared: () => undefined,
      });
      const outer = bench.read({ fd, block: 1, callbacks: [32, MD_READV] });
      assert.ok(inner);
      assert.not.equal(inner.id, outer.id);
      const ok = { id: 0, status: 'OK', errorData: 0, result: 1 };
      assert.equal(outer.result, ok as typeof outer.result);
      assert.equal(bench.finish(inner), ok as typeof outer.result);
      assert.is(bench.u8[outer.at], 2);
      assert.is(bench.u8[inner.at], 3);
      bench.assertUsable();
    });
  }

  test('another I/O can be waited for', async () => {
    const bench = await open();
    const fd = bench.file('data', numberedBlocks(3));
    const ends: string[] = [];
    bench.pg.pgaio_register_host_callback(32, {
      stage: () => {
        const inner = bench.define({ fd, block: 2 });
        bench.start(inner);
        ends.push(endOf(() => bench.finish(inner)));
        ends.push(bench.result(inner).status);
      },
      complete_shared: () => undefined,
    });
    const { result } = bench.read({ fd, block: 1, callbacks: [32, MD_READV] });
    bench.device.completeAll();
    assert.equal(ends, ['done', 'OK']);
    assert.is(result.status, 'OK');
    bench.assertUsable();
  });

  test('leaving is refused, and the head of the memory stays as it is', async () => {
    const bench = await open();
    const fd = bench.file('data', numberedBlocks(1));
    let end = '';
    bench.pg.pgaio_register_host_callback(32, {
      stage: () => {
        end = endOf(() => bench.pg.pgaio_shutdown());
      },
      complete_shared: () => undefined,
    });
    const fields = ['state', 'io_max_concurrency', 'size', 'io_method', 'magic'] as const;
    const before = fields.map((field) => bench.ctl(field));
    const io = bench.define({ fd, callbacks: [32] });
    try {
      bench.start(io);
    } catch {
      // What became of it is judged below.
    }
    assert.equal(
      fields.map((field) => bench.ctl(field)),
      before,
    );
    assert.is.not(end, 'done');
    bench.finish(io);
    bench.assertUsable();
  });
});

/** What is refused inside a completion callback, given a handle and a place for a reference. */
const REFUSED: readonly (readonly [string, (bench: Bench, io: Io) => unknown])[] = [
  ['acquire', ({ pg }) => pg.pgaio_io_acquire(0, 0)],
  ['acquire_nb', ({ pg }) => pg.pgaio_io_acquire_nb(0, 0)],
  ['release', ({ pg }, { ioh }) => pg.pgaio_io_release(ioh)],
  ['start_readv', ({ pg }, { ioh }) => pg.pgaio_io_start_readv(ioh, 0, 1, 0)],
  ['start_writev', ({ pg }, { ioh }) => pg.pgaio_io_start_writev(ioh, 0, 1, 0)],
  ['wref_wait', ({ pg }, { ref }) => pg.pgaio_wref_wait(ref)],
  ['wref_wait_timed', ({ pg }, { ref }) => pg.pgaio_wref_wait_timed(ref, 0)],
  ['start_fsync', ({ pg }, { ioh }) => pg.pgaio_io_start_fsync(ioh, 0)],
  ['start_fdatasync', ({ pg }, { ioh }) => pg.pgaio_io_start_fdatasync(ioh, 0)],
  ['start_flush_range', ({ pg }, { ioh }) => pg.pgaio_io_start_flush_range(ioh, 0, 0, 0)],
  ['submit_staged', ({ pg }) => pg.pgaio_submit_staged()],
  ['enter_batchmode', ({ pg }) => pg.pgaio_enter_batchmode()],
  ['exit_batchmode', ({ pg }) => pg.pgaio_exit_batchmode()],
  ['process_completion', ({ pg }, { ioh }) => pg.pgaio_io_process_completion(ioh, 0)],
  ['closing_fd', ({ pg }, { fd }) => pg.pgaio_closing_fd(fd)],
  ['error_cleanup', ({ pg }) => pg.pgaio_error_cleanup()],
  ['AtEOXact_Aio', ({ pg }) => pg.AtEOXact_Aio(true)],
  ['ResourceOwnerRelease', ({ pg }) => pg.ResourceOwnerRelease(0, true)],
  ['shutdown', ({ pg }) => pg.pgaio_shutdown()],
];

forEachMethod('callbacks: in completion', (test, open) => {
  for (const phase of ['complete_shared', 'complete_local'] as const) {
    for (const [name, call] of REFUSED) {
      test(`${name} is refused, ${phase}`, async () => {
        const bench = await open();
        const fd = bench.file('data', numberedBlocks(1));
        let io: Io | undefined;
        let refused = '';
        bench.pg.pgaio_register_host_callback(32, {
          [phase]: () => {
            if (io === undefined) return;
            const current = io;
            const error = errorOf(() => call(bench, current));
            refused = `${error.code} ${error.message}`;
          },
        });
        io = bench.define({ fd, callbacks: [32] });
        bench.start(io);
        assert.is(bench.finish(io).status, 'OK');
        assert.is(refused, 'PGAIO_CRITICAL not allowed inside a completion callback');
        bench.assertUsable();
      });
    }
    test(`looking is allowed, ${phase}`, async () => {
      const bench = await open();
      const { pg } = bench;
      const fd = bench.file('data', numberedBlocks(1));
      const snapshot = pg.alloc(128);
      let io: Io | undefined;
      const seen: unknown[] = [];
      pg.pgaio_register_host_callback(32, {
        [phase]: () => {
          if (io === undefined) return;
          seen.push(pg.pgaio_io_get_state_name(io.ioh));
          seen.push(pg.pgaio_wref_is_done(io.ref), pg.pgaio_wref_check_done(io.ref));
          seen.push(pg.pgaio_get_aio(io.id, snapshot));
          seen.push(pg.pgaio_drain_completed(), pg.pgaio_spin_completed(1));
        },
      });
      io = bench.define({ fd, callbacks: [32] });
      bench.start(io);
      bench.finish(io);
      const done = phase === 'complete_local';
      assert.equal(seen, [done ? 'COMPLETED_SHARED' : 'COMPLETED_IO', done, done, 3, 0, 0]);
      bench.assertUsable();
    });
  }
});

forEachMethod(
  'callbacks: completion inside another’s',
  (test, open) => {
    test('is refused and leaves both as they were', async () => {
      const bench = await open();
      const fd = bench.file('data', numberedBlocks(2));
      const other = bench.define({ fd });
      bench.start(other);
      let refused = '';
      bench.pg.pgaio_register_host_callback(32, {
        complete_shared: () => {
          const error = errorOf(() => bench.pg.pgaio_io_process_completion(other.ioh, 0));
          refused = `${error.code} ${bench.stateOf(other.id)}`;
        },
      });
      const io = bench.define({ fd, callbacks: [32, MD_READV] });
      bench.start(io);
      bench.device.complete(io.id);
      assert.is(refused, 'PGAIO_CRITICAL SUBMITTED');
      assert.is(bench.result(io).status, 'OK');
      bench.device.complete(other.id);
      assert.is(bench.result(other).status, 'OK');
      bench.assertUsable();
    });

    test('a device that throws fails what it did not complete', async () => {
      const bench = await open();
      const fd = bench.file('data', numberedBlocks(3));
      bench.pg.pgaio_enter_batchmode();
      const ios = [0, 1, 2].map((block) => {
        const io = bench.define({ fd, block });
        bench.start(io);
        return io;
      });
      bench.device.onSubmit = ([first]) => {
        bench.device.complete(first ?? 0);
        throw new Error('gone');
      };
      bench.pg.pgaio_exit_batchmode();
      assert.equal(
        ios.map((io) => bench.result(io).status),
        ['OK', 'ERROR', 'ERROR'],
      );
      assert.is(bench.result(ios[1] ?? { ret: 0 }).errorData, 5);
      bench.assertUsable();
    });
  },
  IN_FLIGHT_ONLY,
);
