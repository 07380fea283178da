/** A caller in WebAssembly that pins cached pages and lets them go: no call crosses the border. */
import binaryen from 'binaryen';
import { READ_BUFFERS_NOWAIT } from '../../bindings/layout.ts';
import { createBackend } from '../../host/node/backend.ts';
import type { Runner } from '../harness.ts';

const RELATION = [1663, 5, 16384, 0] as const;
/** Steps through the blocks by a prime, so that no two in a row share a cache line. */
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
        (then (local.set $block
          (i32.rem_u (local.get $block) (local.get $blocks)))))
      (local.set $buffer (call $read (local.get $rel) (local.get $block)
        (i32.const ${READ_BUFFERS_NOWAIT}) (i32.const 0)))
      (if (i32.le_s (local.get $buffer) (i32.const 0)) (then (unreachable)))
      (if (call $release (local.get $buffer)) (then (unreachable)))
      (br_if $again (local.tee $pairs (i32.sub (local.get $pairs) (i32.const 1)))))))`;
