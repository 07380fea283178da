/** The core, shared and plain, over `@wasmer/wasi`: the checks of the other providers once more. */
import { init, WASI } from '@wasmer/wasi';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { wasmerProvider } from '../host/browser/wasmer-provider.ts';
import { AioPageError, constants } from '../host/node/index.ts';
import {
  goodPage,
  joined,
  openAio,
  PAGE_BYTES,
  RELATION,
  rejectionOf,
  thrownBy,
} from './aio-fixture.ts';

const { PGAIO_HCB_MD_READV, PGAIO_HCB_PAGE_READV } = constants;

for (const shared of [true, false]) {
  const test = suite(`wasmer, ${shared ? 'shared' : 'plain'} memory:`);

  const open = async (files: Readonly<Record<string, Uint8Array>> = {}) => {
    const provider = await wasmerProvider(files);
    const { aio } = await openAio({ provider, shared });
    return { aio, provider };
  };

  test('reads files it was given, also in folders', async () => {
    const { aio } = await open({
      'base/5/16384': joined(goodPage(0), goodPage(1)),
      'base/5/16385': goodPage(7),
      PG_VERSION: new TextEncoder().encode('18\n'),
    });
    assert.is(aio.show('io_provider'), 'wasmer');
    const file = aio.open('base/5/16384');
    const two = aio.frames(2);
    assert.is(file.size(), 2 * PAGE_BYTES);
    assert.is((await file.read([two.slice(1), two.slice(0, 1)], 0)).result, 2 * PAGE_BYTES);
    assert.ok(Buffer.compare(two.bytes, joined(goodPage(1), goodPage(0))) === 0);
    assert.is((await aio.open('/base/5/16385').read(two.slice(0, 1), 0)).result, PAGE_BYTES);
    assert.ok(Buffer.compare(two.page(0), goodPage(7)) === 0);
    assert.is(aio.open('PG_VERSION').size(), 3);
    aio[Symbol.dispose]();
  });

  test('overwrites in place, appends, and fills what lies between with zeros', async () => {
    const { aio, provider } = await open({ file: new Uint8Array(3 * PAGE_BYTES).fill(1) });
    const file = aio.open('file', { write: true });
    const other = aio.open('file');
    const buffer = aio.frames(1);
    const expected = new Uint8Array(6 * PAGE_BYTES);
    expected.fill(1, 0, 3 * PAGE_BYTES);
    for (const [value, offset] of [
      [2, PAGE_BYTES],
      [3, 0],
      [4, 100],
      [5, 3 * PAGE_BYTES - 10],
      [6, 5 * PAGE_BYTES],
    ] as const) {
      buffer.bytes.fill(value);
      const { status, result } = await file.write(buffer, offset);
      assert.equal([status, result], ['OK', PAGE_BYTES]);
      expected.fill(value, offset, offset + PAGE_BYTES);
    }
    assert.ok(Buffer.compare(provider.bytesOf('file'), expected) === 0);
    assert.is(file.size(), 6 * PAGE_BYTES);
    assert.is(other.size(), 6 * PAGE_BYTES);
    await other.read(buffer, 5 * PAGE_BYTES);
    assert.is(buffer.bytes[0], 6);
    aio[Symbol.dispose]();
  });

  test('makes files, and keeps them for the next engine', async () => {
    const { aio, provider } = await open();
    const buffer = aio.frames(1);
    buffer.bytes.set(goodPage(0));
    await aio.open('made', { create: true }).write(buffer, 0);
    aio[Symbol.dispose]();
    const { aio: next } = await openAio({ provider, shared });
    const file = next.open('made');
    const again = next.frames(1);
    assert.is((await file.read(again, 0)).result, PAGE_BYTES);
    assert.ok(Buffer.compare(again.bytes, goodPage(0)) === 0);
    next[Symbol.dispose]();
  });

  test('reads as much as there is', async () => {
    const { aio } = await open({ file: new Uint8Array(PAGE_BYTES + 1) });
    const file = aio.open('file');
    const results = [];
    for (const offset of [0, 1, PAGE_BYTES, PAGE_BYTES + 1, 2 ** 31]) {
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
    const { aio } = await open({ 'base/5/16384': joined(goodPage(0), bad, goodPage(2)) });
    const io = aio
      .acquire()
      .setTarget({ relation: RELATION, block: 0, blocks: 3 })
      .register(PGAIO_HCB_PAGE_READV)
      .register(PGAIO_HCB_MD_READV)
      .startReadv(aio.open('base/5/16384'), aio.frames(3), 0);
    const error = await rejectionOf(io);
    assert.ok(error instanceof AioPageError);
    assert.is(error.message, 'invalid page in block 1 of relation "base/5/16384"');
    assert.equal(
      io.result?.verdicts.map(({ valid }) => valid),
      [true, false, true],
    );
    aio[Symbol.dispose]();
  });

  test('says in PostgreSQL’s words why a file cannot be opened', async () => {
    const { aio } = await open({ 'base/file': new Uint8Array(1) });
    for (const [path, flags, errno, words] of [
      ['none', {}, 2, 'No such file or directory'],
      ['none/none', { create: true }, 2, 'No such file or directory'],
      ['base', {}, 21, 'Is a directory'],
      ['base', { write: true }, 21, 'Is a directory'],
      ['base/file/none', {}, 20, 'Not a directory'],
      ['x'.repeat(9000), {}, 36, 'File name too long'],
    ] as const) {
      const error = thrownBy(() => aio.open(path, flags));
      assert.is(error.message, `could not open file "${path}": ${words}`);
      assert.equal([error.code, error.errno, error.path], ['PGAIO_OPEN', errno, path]);
    }
    assert.is(thrownBy(() => aio.open('base/file', { direct: true })).code, 'PGAIO_NO_DIRECT');
    aio[Symbol.dispose]();
  });

  test('cannot write a file that was opened for reading', async () => {
    const { aio, provider } = await open({ file: new TextEncoder().encode('kept') });
    const error = await rejectionOf(aio.open('file').write(aio.frames(1), 0));
    assert.is(error.message, 'could not write file "file": Bad file descriptor');
    assert.is(new TextDecoder().decode(provider.bytesOf('file')), 'kept');
    aio[Symbol.dispose]();
  });

  test('answers for a descriptor that was closed', async () => {
    const provider = await wasmerProvider({ file: new Uint8Array(9) });
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared });
    const io = provider.bind(memory);
    const scratch = { memory, at: 4096, bytes: 4096 };
    const fd = provider.open('file', { write: true }, scratch);
    assert.is(provider.size(fd, scratch), 9);
    provider.close(fd);
    new DataView(memory.buffer).setUint32(4, 8, true); // one iovec: 8 bytes at 0
    assert.is(io.fd_pread(fd, 0, 1, 0n, 64), 8);
    assert.is(io.fd_pwrite(fd, 0, 1, 0n, 64), 8);
    assert.is(thrownBy(() => provider.size(fd, scratch)).code, 'PGAIO_STAT');
  });

  test.run();
}

const upstream = suite('wasmer, the package itself:');

/** The package’s own functions over a memory, and a file of it that is open. */
async function bareFile(content: string) {
  await init();
  const memory = new WebAssembly.Memory({ initial: 1 });
  const view = new DataView(memory.buffer);
  const bytes = new Uint8Array(memory.buffer);
  const wasi = new WASI({ preopens: { '/': '/' } });
  const file = wasi.fs.open('/file', { create: true, write: true });
  file.writeString(content);
  file.free();
  // (import "wasi_snapshot_preview1" "fd_close") (import "env" "memory") (export "memory")
  const module = new WebAssembly.Module(
    Uint8Array.from(
      Buffer.from(
        '0061736d01000000010601' +
          '60017f017f023102' +
          '16776173695f736e617073686f745f7072657669657731' +
          '0866645f636c6f73650000' +
          '03656e76066d656d6f7279020000' +
          '070a01066d656d6f72790200',
        'hex',
      ),
    ),
  );
  type Functions = Record<string, (...parameters: (number | bigint)[]) => number>;
  const { wasi_snapshot_preview1: functions } = wasi.getImports(module) as {
    wasi_snapshot_preview1: Functions;
  };
  wasi.instantiate(
    new WebAssembly.Instance(module, { env: { memory }, wasi_snapshot_preview1: functions }),
  );
  bytes.set(new TextEncoder().encode('file'), 256);
  const rights = 0x47n | (3n << 21n);
  assert.is(functions.path_open?.(4, 1, 256, 4, 0, rights, 0n, 0, 0), 0);
  const fd = view.getUint32(0, true);
  const transfer = (name: 'fd_pread' | 'fd_pwrite', count: number) => {
    view.setUint32(8, 512, true);
    view.setUint32(12, count, true);
    assert.is(functions[name]?.(fd, 8, 1, 0n, 16), 0);
    return view.getUint32(16, true);
  };
  return {
    write(text: string) {
      bytes.set(new TextEncoder().encode(text), 512);
      return transfer('fd_pwrite', text.length);
    },
    read: () => new TextDecoder().decode(bytes.slice(512, 512 + transfer('fd_pread', 64))),
    size() {
      assert.is(functions.fd_filestat_get?.(fd, 64), 0);
      return Number(view.getBigUint64(96, true));
    },
  };
}

upstream('still inserts where it should overwrite; else drop our fd_pwrite', async () => {
  const file = await bareFile('hello world');
  assert.is(file.write('HE'), 2);
  assert.is(file.read(), 'HEhello world', 'mended: see host/browser/wasmer-provider.ts');
});

upstream('still reports the size from before a write; else drop our resizing', async () => {
  const file = await bareFile('hello world');
  file.write('HE');
  assert.is(file.size(), 11, 'mended: see host/browser/wasmer-provider.ts');
});

upstream.run();
