/** The stress programs for a moment each; `npm run stress` runs them for as long as one likes. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { THREAD_METHODS } from './harness.ts';
import { runChild } from './threads-fixture.ts';

const SECONDS = '3';
const seed = process.env.PGAIO_SEED ?? String(process.hrtime.bigint() % 1_000_000n);
const LIMIT_MS = 45_000;

const test = suite('stress');
for (const mode of ['verify', 'kill']) {
  for (const { name, method, ring = 'checked' } of THREAD_METHODS) {
    test(`${mode} finds nothing, ${name}`, async () => {
      const words = [
        mode,
        '--method',
        method,
        '--ring',
        ring,
        '--seconds',
        SECONDS,
        '--seed',
        seed,
      ];
      const { code, signal, output } = await runChild('stress', words, LIMIT_MS);
      assert.equal([code, signal], [0, null], output);
      assert.match(output, /^nothing found$/m);
    });
  }
}
test('verify finds a byte that is wrong', async () => {
  const words = ['verify', '--method', 'sync', '--seconds', SECONDS, '--seed', seed, '--canary'];
  const { code, output } = await runChild('stress', words, LIMIT_MS);
  assert.is(code, 1, output);
  assert.match(output, /^FOUND .*byte 4000 is wrong/m);
  assert.match(output, /^again: npm run stress -- verify --method sync /m);
});
test.run();
