/** Node's providers, `direct` over descriptors and `wasi` over node:wasi: what both must do. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { errnoName, errnoOfWasi } from '../bindings/errno.ts';
import {
  Aio,
  type AioOptions,
  constants,
  directProvider,
  type IoProvider,
  type WasiIo,
  wasiProvider,
} from '../host/node/index.ts';
import {
  endOf,
  fileOf,
  folder,
  goodPage,
  joined,
  openAio,
  PAGE_BYTES,
  RELATION,
  rejectionOf,
  thrownBy,
} from './aio-fixture.ts';
import { skipped } from './real-postgres.ts';

const { PGAIO_HCB_MD_READV, PGAIO_HCB_PAGE_READV } = constants;
const root = join(folder, 'root');
mkdirSync(join(root, 'base/5'), { recursive: true });
const inRoot = (name: string, content: string | Uint8Array) => {
  fileOf(join('root', name), content);
  return name;
};

/** Where a provider's paths begin, and the options that choose it. */
interface Way {
  readonly name: 'direct' | 'wasi';
  readonly options: AioOptions;
  readonly path: (name: string) => string;
}
const WAYS: readonly Way[] = [
  { name: 'direct', options: { provider: 'direct' }, path: (name) => join(root, name) },
  { name: 'wasi', options: { root }, path: (name) => name },
];

for (const { name, options, path } of WAYS) {
  for (const shared of [true, false]) {
    const test = suite(`provider ${name}, ${shared ? 'shared' : 'plain'} memory:`);
    const open = (more: AioOptions = {}) => openAio({ ...options, shared, ...more });

    test('reads, writes and measures files', async () => {
      const { aio } = await open();
      assert.is(aio.show('io_provider'), name);
      const file = aio.open(path(inRoot('rw', goodPage(5))), { write: true });
      const buffer = aio.frames(2);
      assert.is((await file.read(buffer.slice(0, 1), 0)).result, PAGE_BYTES);
      assert.ok(Buffer.compare(buffer.page(0), goodPage(5)) === 0);
      buffer.page(1).fill(3);
      assert.is((await file.write([buffer.slice(1), buffer.slice(0, 1)], 100)).result, 16384);
      assert.is(file.size(), 16484);
      const expected = joined(
        goodPage(5).subarray(0, 100),
        new Uint8Array(PAGE_BYTES).fill(3),
        goodPage(5),
      );
      assert.ok(Buffer.compare(readFileSync(join(root, 'rw')), expected) === 0);
      aio[Symbol.dispose]();
    });

    test('makes a file that is not there', async () => {
      const { aio } = await open();
      const made = `made-${name}-${shared}`;
      const file = aio.open(path(made), { create: true });
      await file.write(aio.frames(1), PAGE_BYTES);
      assert.is(file.size(), 2 * PAGE_BYTES);
      // Where PostgreSQL says who may read it, WASI has no word for that and umask decides.
      const mode = name === 'direct' ? 0o600 : 0o666 & ~process.umask();
      assert.is((statSync(join(root, made)).mode & 0o777).toString(8), mode.toString(8));
      aio[Symbol.dispose]();
    });

    test('reads as much as there is', async () => {
      const { aio } = await open();
      const file = aio.open(path(inRoot('short', new Uint8Array(PAGE_BYTES + 1))));
      const results = [];
      for (const offset of [0, 1, PAGE_BYTES, PAGE_BYTES + 1, 2 ** 40]) {
        const { status, result } = await file.read(aio.frames(2), offset);
        results.push([status, result]);
      }
      assert.equal(results, [
        ['PARTIAL', PAGE_BYTES + 1],
        ['PARTIAL', PAGE_BYTES],
        ['PARTIAL', 1],
        ['PARTIAL', 0],
        ['PARTIAL', 0],
      ]);
      aio[Symbol.dispose]();
    });

    test('verifies pages as they are read', async () => {
      const bad = goodPage(1).fill(0xff, 8000);
      const { aio } = await open();
      const file = aio.open(path(inRoot('pages', joined(goodPage(0), bad, goodPage(2)))));
      const error = await rejectionOf(
        aio
          .acquire()
          .setTarget({ relation: RELATION, block: 0, blocks: 3 })
          .register(PGAIO_HCB_PAGE_READV)
          .register(PGAIO_HCB_MD_READV)
          .startReadv(file, aio.frames(3), 0),
      );
      assert.is(error.message, 'invalid page in block 1 of relation "base/5/16384"');
      aio[Symbol.dispose]();
    });

    test('says in PostgreSQL’s words why a file cannot be opened', async () => {
      const { aio } = await open();
      inRoot('plain', 'a');
      for (const [file, flags, errno, sqlstate, words] of [
        ['none', {}, 2, '58P01', 'No such file or directory'],
        ['none/none', { create: true }, 2, '58P01', 'No such file or directory'],
        ['base', { write: true }, 21, '42809', 'Is a directory'],
        ['plain/none', {}, 20, '42809', 'Not a directory'],
        ['x'.repeat(300), {}, 36, '58P03', 'File name too long'],
      ] as const) {
        const error = thrownBy(() => aio.open(path(file), flags));
        assert.is(error.message, `could not open file "${path(file)}": ${words}`);
        assert.equal(
          [error.name, error.code, error.errno, error.sqlstate, error.path],
          ['AioIoError', 'PGAIO_OPEN', errno, sqlstate, path(file)],
        );
      }
      aio[Symbol.dispose]();
    });

    test('opens nothing for a path that is empty or has a NUL in it', async () => {
      const { aio } = await open();
      inRoot('nul', 'a');
      for (const file of ['', 'nul\0', 'nul\0x', '\0']) {
        const given = file === '' ? '' : path(file);
        assert.is(
          endOf(() => aio.open(given)),
          'PGAIO_OPEN',
          JSON.stringify(file),
        );
      }
      aio[Symbol.dispose]();
    });

    test('cannot read a directory', async () => {
      const { aio } = await open();
      let error: unknown;
      try {
        await aio.open(path('base')).read(aio.frames(1), 0);
      } catch (thrown) {
        error = thrown;
      }
      assert.ok(error instanceof Error);
      assert.match(error.message, /: Is a directory$/);
      aio[Symbol.dispose]();
    });

    test('cannot write a file that was opened for reading', async () => {
      const { aio } = await open();
      const file = aio.open(path(inRoot('kept', 'kept')));
      const error = await rejectionOf(file.write(aio.frames(1), 0));
      const words = name === 'direct' ? 'Bad file descriptor' : 'Permission denied';
      assert.is(error.message, `could not write file "${path('kept')}": ${words}`);
      assert.is(error.errno, name === 'direct' ? 9 : 13);
      assert.is(readFileSync(join(root, 'kept'), 'utf8'), 'kept');
      aio[Symbol.dispose]();
    });

    test('closes what it opened', async () => {
      const { aio } = await open();
      const before = aio.open(path(inRoot('closed', 'a')));
      const { fd } = before;
      before.close();
      assert.is(aio.open(path('closed')).fd, fd);
      aio[Symbol.dispose]();
    });

    test.run();
  }
}

const sandbox = suite('provider wasi: outside its root');

sandbox('reaches nothing, whatever the path', async () => {
  const secret = fileOf('secret', 'secret');
  symlinkSync(secret, join(root, 'link-out'));
  symlinkSync('..', join(root, 'link-up'));
  symlinkSync('plain-inside', join(root, 'link-in'));
  inRoot('plain-inside', 'inside');
  const { aio } = await openAio({ root });
  const paths = [
    '../secret',
    'base/../../secret',
    'link-out',
    'link-up/secret',
    secret,
    '/../secret',
  ];
  const ends = paths.map((path) => [path, endOf(() => aio.open(path))]);
  assert.equal(
    ends,
    paths.map((path) => [path, 'PGAIO_OPEN']),
  );
  assert.is(aio.open('base/../link-in').size(), 6);
  assert.is(aio.open('/plain-inside').size(), 6, 'root is what / means');
  aio[Symbol.dispose]();
});

sandbox('has no O_DIRECT', async () => {
  const { aio } = await openAio({ root });
  const error = thrownBy(() => aio.open('plain', { direct: true }));
  assert.equal(
    [error.name, error.code, error.message],
    ['AioUnavailableError', 'PGAIO_NO_DIRECT', 'could not open file "plain": WASI has no O_DIRECT'],
  );
  aio[Symbol.dispose]();
});

sandbox('needs a root that is there', async () => {
  const error = await rejectionOf(openAio({ root: join(folder, 'no-root') }));
  assert.equal(
    [error.name, error.code, error.message],
    [
      'AioUnavailableError',
      'PGAIO_WASI_ROOT',
      `could not open directory "${join(folder, 'no-root')}" for WASI`,
    ],
  );
});

sandbox('is announced by no warning, and keeps no other from being printed', () => {
  const index = new URL('../index.js', import.meta.url).href;
  const script = `
    const { Aio } = await import(${JSON.stringify(index)});
    const aio = await Aio.create({ root: ${JSON.stringify(root)}, ioFrames: 16 });
    process.stdout.write(aio.show('io_provider'));
    aio[Symbol.dispose]();
    process.emitWarning('another');
  `;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', script],
    { encoding: 'utf8' },
  );
  assert.equal([status, stdout], [0, 'wasi']);
  assert.not.match(stderr, /Experimental|WASI/);
  assert.match(stderr, /Warning: another/);
});

sandbox.run();

const direct = suite('provider direct: O_DIRECT');

direct('reads and writes aligned pages past the page cache', async () => {
  const path = join(root, 'direct');
  const { aio } = await openAio();
  try {
    const file = aio.open(path, { create: true, direct: true });
    const buffer = aio.frames(2);
    buffer.page(0).set(goodPage(0));
    buffer.page(1).set(goodPage(1));
    assert.is((await file.write(buffer, PAGE_BYTES)).result, 2 * PAGE_BYTES);
    buffer.bytes.fill(0);
    assert.is((await file.read(buffer, PAGE_BYTES)).result, 2 * PAGE_BYTES);
    assert.ok(Buffer.compare(buffer.bytes, joined(goodPage(0), goodPage(1))) === 0);
    const error = await rejectionOf(file.read(buffer, 100));
    assert.is(error.message, `could not read file "${path}": Invalid argument`);
    assert.is(error.errno, 22);
  } catch (error) {
    const { code, errno } = error as { code?: string; errno?: number };
    if (code !== 'PGAIO_OPEN' || errno !== 22) throw error;
    skipped(`the file system of ${folder} has no O_DIRECT`);
  }
  aio[Symbol.dispose]();
});

direct('says Invalid argument of a length that is not aligned', () => {
  const it = directProvider();
  const { scratch, read } = bound(it, 2);
  const path = join(root, inRoot('aligned', goodPage(0)));
  let fd: number;
  try {
    fd = it.open(path, { direct: true }, scratch);
  } catch {
    skipped(`the file system of ${folder} has no O_DIRECT`);
    return;
  }
  assert.is(read(fd, [[65536, 4096]]), 4096);
  assert.is(read(fd, [[65536, 100]]), 'errno 28');
  assert.is(read(fd, [[65536 + 100, 4096]]), 'errno 28');
  assert.is(read(fd, [[65536, 4096]], 100n), 'errno 28');
  it.close(fd);
});

direct.run();

/** Calls a provider's functions without an engine: a memory with iovecs at 0, results at 65528. */
function bound(provider: IoProvider, pages: number) {
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const view = new DataView(memory.buffer);
  const io = provider.bind(memory);
  const call =
    (name: 'fd_pread' | 'fd_pwrite') =>
    (fd: number, iovecs: readonly (readonly [number, number])[], offset = 0n) => {
      iovecs.forEach(([at, bytes], i) => {
        view.setUint32(8 * i, at, true);
        view.setUint32(8 * i + 4, bytes, true);
      });
      view.setUint32(65528, 0xdeadbeef, true);
      const errno = io[name](fd, 0, iovecs.length, offset, 65528);
      return errno === 0 ? view.getUint32(65528, true) : `errno ${errno}`;
    };
  const scratch = { memory, at: 32768, bytes: 8192 };
  return { memory, scratch, read: call('fd_pread'), write: call('fd_pwrite') };
}

const limits = suite('provider limits');

for (const [name, provider, path] of [
  ['direct', directProvider, (file: string) => join(root, file)],
  ['wasi', () => wasiProvider(root), (file: string) => file],
] as const) {
  limits(`${name}: says how many of more than 1024 buffers it moved`, () => {
    const it = provider();
    const { memory, scratch, read, write } = bound(it, 2);
    const bytes = new Uint8Array(memory.buffer);
    const text = Uint8Array.from({ length: 1100 }, (_, i) => 1 + (i % 255));
    const fd = it.open(path(inRoot('many', text)), { write: true }, scratch);
    const iovecs = Array.from({ length: 1100 }, (_, i) => [70000 + i, 1] as const);
    const many = Number(read(fd, iovecs));
    assert.ok(many === 1024 || (name === 'wasi' && many === 1100), `${many}`);
    assert.ok(Buffer.compare(bytes.subarray(70000, 70000 + many), text.subarray(0, many)) === 0);
    assert.ok(bytes.subarray(70000 + many, 71100).every((byte) => byte === 0));
    bytes.fill(255, 70000, 71100);
    const written = Number(write(fd, iovecs));
    const file = readFileSync(join(root, 'many'));
    assert.is(it.size(fd, scratch), 1100);
    assert.ok(file.subarray(0, written).every((byte) => byte === 255));
    assert.ok(Buffer.compare(file.subarray(written), text.subarray(written)) === 0);
    it.close(fd);
  });

  limits(`${name}: answers for a descriptor that is none`, () => {
    const { read, write } = bound(provider(), 2);
    assert.is(read(9999, [[70000, 1]]), 'errno 8');
    assert.is(write(9999, [[70000, 1]]), 'errno 8');
  });
}

limits('direct: moves 2147479552 bytes of more, and says so', () => {
  const it = directProvider();
  const { scratch, write } = bound(it, 40000); // address space; nothing is touched
  const fd = it.open('/dev/null', { write: true }, scratch);
  const length = 0x90000000;
  assert.is(write(fd, [[65536, length]]), 0x7ffff000);
  assert.is(
    write(fd, [
      [65536, 0x70000000],
      [65536, 0x70000000],
    ]),
    0x7ffff000,
  );
  it.close(fd);
});

limits.run();

/** A provider over the direct one whose reads and writes go through `wrap`. */
function wrapped(wrap: (call: WasiIo['fd_pread']) => WasiIo['fd_pread']): IoProvider {
  const inner = directProvider();
  return {
    ...inner,
    bind(memory) {
      const io = inner.bind(memory);
      return { ...io, fd_pread: wrap(io.fd_pread), fd_pwrite: wrap(io.fd_pwrite) };
    },
  };
}

const results = suite('provider results');

results('that were interrupted are asked for again, as often as it takes', async () => {
  let interruptions = 0;
  let calls = 0;
  const provider = wrapped((call) => (...given) => {
    calls++;
    return interruptions-- > 0 ? 27 : call(...given);
  });
  const { aio } = await openAio({ provider });
  const file = aio.open(join(root, inRoot('signals', goodPage(0))), { write: true });
  const buffer = aio.frames(1);
  for (const count of [0, 1, 100]) {
    interruptions = count;
    calls = 0;
    assert.is((await file.read(buffer, 0)).result, PAGE_BYTES);
    interruptions = count;
    assert.is((await file.write(buffer, 0)).result, PAGE_BYTES);
    assert.is(calls, 2 * (count + 1));
  }
  aio[Symbol.dispose]();
});

results('that are short are results, not asked for again', async () => {
  let calls = 0;
  const provider = wrapped((call) => (fd, iovs, _, offset, moved) => {
    calls++;
    return call(fd, iovs, 1, offset, moved);
  });
  const { aio } = await openAio({ provider });
  const file = aio.open(join(root, inRoot('cut', joined(goodPage(0), goodPage(1)))));
  const buffer = aio.frames(2);
  const { status, result } = await file.read([buffer.slice(0, 1), buffer.slice(1)], 0);
  assert.equal([status, result, calls], ['PARTIAL', PAGE_BYTES, 1]);
  aio[Symbol.dispose]();
});

results('are never taken for more than was asked', async () => {
  const provider = wrapped(() => () => 0);
  const liar: IoProvider = {
    ...provider,
    bind: (memory) => ({
      ...provider.bind(memory),
      fd_pread: (_fd, _iovs, _count, _offset, moved) => {
        new DataView(memory.buffer).setUint32(moved, 0xffffffff, true);
        return 0;
      },
      fd_pwrite: () => 0,
    }),
  };
  const { aio } = await openAio({ provider: liar });
  const file = aio.open(join(root, inRoot('lie', 'a')), { write: true });
  assert.is((await file.read(aio.frames(1), 0)).result, PAGE_BYTES);
  const { status, result } = await file.write(aio.frames(1), 0);
  assert.equal([status, result], ['PARTIAL', 0], 'what it left unsaid is 0');
  aio[Symbol.dispose]();
});

results('of every WASI errno are Linux’s, the same in the core as in the bindings', async () => {
  let answer = 0;
  const provider = wrapped(() => () => answer);
  const { aio } = await openAio({ provider });
  let raw = 0;
  aio.registerCallback(32, {
    completeShared(_, result) {
      raw = result.result;
    },
  });
  const file = aio.open(join(root, inRoot('errnos', 'a')), { write: true });
  const buffer = aio.frames(1);
  const interrupted = 27;
  for (answer = 1; answer <= 300; answer++) {
    if (answer === interrupted) continue;
    const handle = aio.acquire().setTarget({ file }).register(32);
    const io =
      answer % 2 === 0 ? handle.startReadv(file, buffer, 0) : handle.startWritev(file, buffer, 0);
    const expected = answer < 77 ? errnoOfWasi(answer) : 5;
    assert.is(raw, -expected, `WASI ${answer}`);
    const { result } = io;
    assert.equal([result?.status, result?.errorData], ['ERROR', expected], `WASI ${answer}`);
    assert.ok(errnoName(expected));
  }
  for (answer of [-1, 65535, 2 ** 31]) {
    assert.is((await rejectionOf(file.read(buffer, 0))).errno, 5, `WASI ${answer}`);
  }
  aio[Symbol.dispose]();
});

results('of a provider that throws do not keep a handle for ever', async () => {
  let fails = true;
  const provider = wrapped((call) => (...given) => {
    if (fails) throw new Error('as you command');
    return call(...given);
  });
  const { aio } = await openAio({ provider });
  const file = aio.open(join(root, inRoot('throws', goodPage(0))));
  let error: unknown;
  try {
    await file.read(aio.frames(1), 0);
  } catch (thrown) {
    error = thrown;
  }
  assert.ok(error instanceof Error);
  fails = false;
  assert.is((await file.read(aio.frames(1), 0)).result, PAGE_BYTES);
  assert.equal(aio.inspect(), []);
});

results.run();

const lifetime = suite('provider lifetime');

lifetime('of wasi ends with its engine: no descriptor of the root is left', async () => {
  if (process.platform !== 'linux') {
    skipped(`${process.platform} has no /proc/self/fd`);
    return;
  }
  const count = () => readdirSync('/proc/self/fd').length;
  const one = async () => {
    const aio = await Aio.create({ root, ioFrames: 16, ioMethod: 'sync' });
    aio[Symbol.dispose]();
  };
  await one();
  const before = count();
  for (let i = 0; i < 20; i++) await one();
  assert.ok(count() - before < 10, `${count() - before} more descriptors after 20 engines`);
});

lifetime.run();
