/** Node: whether the memory is backed by huge pages, as Linux says of this process. */
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AioSettingError } from '../bindings/errors.ts';
import { Aio } from '../host/node/index.ts';
import { attach } from '../host/node/raw.ts';
import { shim } from '../host/node/shim.ts';
import { rejection } from './harness.ts';

const HUGE = 2 ** 21;
const small = { ioMethod: 'sync', sharedBuffers: 16, ioFrames: 64, maxBackends: 1 } as const;

/** Why nothing can be seen here; undefined if it can. */
function unavailable(): string | undefined {
  if (shim() === undefined) return 'there is no shim to ask the kernel';
  try {
    const enabled = readFileSync('/sys/kernel/mm/transparent_hugepage/enabled', 'latin1');
    return enabled.includes('[madvise]') ? undefined : `huge pages are not by request: ${enabled}`;
  } catch {
    return 'this kernel has no transparent huge pages';
  }
}

/** Bytes of this process that are in huge pages. */
function hugeBytes(): number {
  const rollup = readFileSync('/proc/self/smaps_rollup', 'latin1');
  return Number(/^AnonHugePages:\s*(\d+) kB$/m.exec(rollup)?.[1]) * 1024;
}

const huge = suite('huge pages');
const why = unavailable();
for (const shared of [true, false]) {
  const memory = shared ? 'shared' : 'plain';
  huge(`back a ${memory} memory that is written to, unless they are off`, async () => {
    if (why !== undefined) {
      console.log(`skipped: huge pages: ${why}`);
      return;
    }
    const gained: number[] = [];
    for (const wish of [{ hugePages: 'off' }, { hugePages: 'try' }, {}] as const) {
      const before = hugeBytes();
      await using aio = await Aio.create({ ...small, shared, ...wish });
      using frames = aio.frames(64);
      frames.bytes.fill(1);
      gained.push(hugeBytes() - before);
      assert.is(aio.memory.buffer.byteLength % HUGE === 0, gained.length > 1);
    }
    const [off, tried = 0, byDefault = 0] = gained;
    assert.is(off, 0);
    assert.ok(tried > 0 && byDefault > 0, `${tried} and ${byDefault} bytes`);
  });
}
huge('are tried or off: anything else is refused as a setting', async () => {
  for (const hugePages of ['on', 'TRY', '', 1, null]) {
    for (const open of [
      (options: object) => Aio.create(options),
      (options: object) => attach(options),
    ]) {
      const shown = typeof hugePages === 'string' ? `"${hugePages}"` : String(hugePages);
      const error = await rejection(open({ ...small, hugePages }));
      assert.instance(error, AioSettingError);
      assert.is(error.message, `invalid value for parameter "hugePages": ${shown}`);
      assert.is(error.hint, 'Available values: off, try.');
    }
  }
});
huge.run();
