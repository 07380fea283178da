/**
 * A caller and a device in WebAssembly, for what the core costs when no call crosses into
 * JavaScript: one module answers every read with all its bytes, one runs the lives of handles.
 */

import binaryen from 'binaryen';
import type { CoreExports } from '../../bindings/core-exports.ts';
import {
  GUC_IO_MAX_CONCURRENCY,
  GUC_MAX_BACKENDS,
  GUC_SHARED_BUFFERS,
  PGAIO_HCB_FILE,
  PGAIO_TID_FILE,
} from '../../bindings/layout.ts';
import { nodeHost } from '../../host/node/host.ts';

const WASM_PAGE = 65536;

const DEVICE = `(module
  (import "env" "memory" (memory 1 65536 shared))
  (func (export "transfer") (param i32 i32 i32 i64 i32) (result i32)
    (i32.store (local.get 4) (i32.const 8192))
    (i32.const 0)))`;

/** Acquire, reference, target, two callbacks, iovec, start: as the callers in JavaScript do. */
const CALLER = `(module
  (import "env" "memory" (memory 1 65536 shared))
  (import "core" "pgaio_io_acquire" (func $acquire (param i32 i32) (result i32)))
  (import "core" "pgaio_io_get_wref" (func $get_wref (param i32 i32) (result i32)))
  (import "core" "pgaio_io_set_target" (func $set_target (param i32 i32) (result i32)))
  (import "core" "pgaio_io_register_callbacks"
    (func $register (param i32 i32 i32) (result i32)))
  (import "core" "pgaio_io_get_iovec" (func $get_iovec (param i32) (result i32)))
  (import "core" "pgaio_io_start_readv" (func $start (param i32 i32 i32 f64) (result i32)))
  (func (export "run") (param $lives i32) (param $ret i32) (param $wref i32) (param $page i32)
    (local $ioh i32) (local $iov i32)
    (loop $again
      (local.set $ioh (call $acquire (i32.const 0) (local.get $ret)))
      (drop (call $get_wref (local.get $ioh) (local.get $wref)))
      (drop (call $set_target (local.get $ioh) (i32.const ${PGAIO_TID_FILE})))
      (drop (call $register (local.get $ioh) (i32.const ${PGAIO_HCB_FILE}) (i32.const 0)))
      (drop (call $register (local.get $ioh) (i32.const ${PGAIO_HCB_FILE}) (i32.const 0)))
      (local.set $iov (call $get_iovec (local.get $ioh)))
      (i32.store (local.get $iov) (local.get $page))
      (i32.store offset=4 (local.get $iov) (i32.const 8192))
      (if (call $start (local.get $ioh) (i32.const 0) (i32.const 1) (f64.const 0))
        (then (unreachable)))
      (br_if $again (local.tee $lives (i32.sub (local.get $lives) (i32.const 1)))))))`;

function assembled(text: string): WebAssembly.Module {
  const module = binaryen.parseText(text);
  module.setFeatures(binaryen.Features.All);
  return new WebAssembly.Module(module.emitBinary());
}

/** `run(lives)` of a backend with the sync method, all of it in WebAssembly. */
export async function wasmCaller(backends: number, handlesEach: number) {
  const { module } = await nodeHost({});
  const zero = (): number => 0;
  const instance = async (memory: WebAssembly.Memory, fd_pread: WebAssembly.ImportValue) => {
    const wasi = { fd_pread, fd_pwrite: zero, fd_sync: zero, fd_datasync: zero, fd_advise: zero };
    const asked = WebAssembly.Module.imports(module).filter((one) => one.module === 'pgaio');
    const pgaio = Object.fromEntries(asked.map(({ name }) => [name, zero]));
    const imports = { env: { memory }, wasi_snapshot_preview1: wasi, pgaio };
    const core = await WebAssembly.instantiate(module, imports);
    const exports = core.exports as unknown as CoreExports;
    exports.pgaio_set_guc(GUC_MAX_BACKENDS, backends);
    exports.pgaio_set_guc(GUC_IO_MAX_CONCURRENCY, handlesEach);
    exports.pgaio_set_guc(GUC_SHARED_BUFFERS, 16);
    return { exports, raw: core.exports as Record<string, WebAssembly.ImportValue> };
  };
  const sizing = await instance(sharedMemory(WASM_PAGE), zero);
  const memory = sharedMemory(sizing.exports.AioShmemSize());
  const env = { memory };
  const device = await WebAssembly.instantiate(assembled(DEVICE), { env });
  const { exports, raw } = await instance(
    memory,
    device.exports.transfer as WebAssembly.ImportValue,
  );
  if (exports.AioShmemInit() < 0 || exports.pgaio_init_backend(0) < 0) {
    throw new Error('the core did not start');
  }
  const caller = await WebAssembly.instantiate(assembled(CALLER), { env, core: raw });
  const run = caller.exports.run as (n: number, ret: number, wref: number, page: number) => void;
  const ret = exports.pgaio_local_memory();
  const page = exports.pgaio_frames_alloc(1);
  return { run: (lives: number) => run(lives, ret, ret + 32, page), close: () => undefined };
}

function sharedMemory(bytes: number): WebAssembly.Memory {
  const pages = Math.ceil(bytes / WASM_PAGE);
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}
