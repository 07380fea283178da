/**
 * A caller in WebAssembly that pins cached pages and lets them go: what the pool costs when no call
 * crosses into JavaScript.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import binaryen from 'binaryen';
import { READ_BUFFERS_NOWAIT } from '../../bindings/layout.ts';
import { nodeHost } from '../../host/node/host.ts';
import { attach } from '../../host/node/raw.ts';
import type { Runner } from '../harness.ts';

const BLOCK = 8192;
/** Blocks follow each other at this distance, so that no two in a row are neighbours. */
const STEP = 7919;

const CALLER = `(module
  (import "env" "memory" (memory 1 65536 shared))
  (import "core" "ReadBuffer" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "core" "ReleaseBuffer" (func $release (param i32) (result i32)))
  (func (export "run") (param $pairs i32) (param $rel i32) (param $blocks i32)
    (local $block i32) (local $buffer i32)
    (loop $again
      (local.set $block (i32.add (local.get $block) (i32.const ${STEP})))
      (if (i32.ge_u (local.get $block) (local.get $blocks))
        (then (local.set $block (i32.rem_u (local.get $block) (local.get $blocks)))))
      (local.set $buffer (call $read (local.get $rel) (local.get $block)
        (i32.const ${READ_BUFFERS_NOWAIT}) (i32.const 0)))
      (if (i32.le_s (local.get $buffer) (i32.const 0)) (then (unreachable)))
      (if (call $release (local.get $buffer)) (then (unreachable)))
      (br_if $again (local.tee $pairs (i32.sub (local.get $pairs) (i32.const 1)))))))`;

/** A data directory with one relation of so many empty pages, base/5/16384. */
export function pagesOnDisk(blocks: number): { directory: string; remove: () => void } {
  const directory = mkdtempSync(join(tmpdir(), 'pgaio-bench-'));
  const page = Buffer.alloc(BLOCK);
  page.writeUInt16LE(24, 12); // pd_lower
  page.writeUInt16LE(BLOCK, 14); // pd_upper
  page.writeUInt16LE(BLOCK, 16); // pd_special
  page.writeUInt16LE(BLOCK | 4, 18);
  mkdirSync(join(directory, 'base/5'), { recursive: true });
  writeFileSync(join(directory, 'base/5/16384'), Buffer.concat(Array(blocks).fill(page)));
  return { directory, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

/** `run(pairs)` over `blocks` pages that are in the pool. */
export async function wasmPinner(blocks: number): Promise<Runner> {
  const { directory, remove } = pagesOnDisk(blocks);
  // The instance that the caller calls must be one whose exports are at hand: the second one.
  const filler = await attach({
    io_method: 'sync',
    max_backends: 2,
    shared_buffers: Math.ceil(blocks * 1.25),
    data_checksums: false,
    dataDirectory: directory,
  });
  const { memory } = filler;
  const rel = filler.alloc(16);
  new Uint32Array(memory.buffer).set([1663, 5, 16384, 0], rel / 4);
  for (let block = 0; block < blocks; block++) {
    filler.ReleaseBuffer(filler.ReadBuffer(rel, block, 0, 0));
  }
  const { module } = await nodeHost({});
  const nothing = (): number => 0;
  const imports: WebAssembly.Imports = { env: { memory } };
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    if (kind === 'function') imports[from] = { ...imports[from], [name]: nothing };
  }
  const core = await WebAssembly.instantiate(module, imports);
  const call = core.exports as Record<string, (...words: number[]) => number>;
  const begun = (call.AioShmemInit?.() ?? -1) >= 0 && (call.pgaio_init_backend?.(0) ?? -1) >= 0;
  if (!begun) throw new Error('the core did not start');
  const text = binaryen.parseText(CALLER);
  text.setFeatures(binaryen.Features.All);
  const caller = await WebAssembly.instantiate(new WebAssembly.Module(text.emitBinary()), {
    env: { memory },
    core: core.exports as Record<string, WebAssembly.ImportValue>,
  });
  const run = caller.exports.run as (pairs: number, rel: number, blocks: number) => void;
  return {
    run: (pairs) => run(pairs, rel, blocks),
    close: () => {
      call.pgaio_shutdown?.();
      filler.pgaio_shutdown();
      remove();
    },
  };
}
