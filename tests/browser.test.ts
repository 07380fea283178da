/** The browser's host in a real Chromium: isolated pages and plain ones, and their workers. */
import { readFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  bundleForBrowser,
  chromiumPath,
  type Isolation,
  NO_CHROMIUM,
  pageWith,
  type Rig,
  startRig,
} from './browser/rig.ts';

interface Listed {
  readonly name: string;
  readonly where: readonly ('page' | 'worker')[];
  readonly isolated: boolean | null;
}
interface CasesWindow {
  readonly pgaioCases: readonly Listed[];
  pgaioRun(name: string, where: string): Promise<string>;
}

function define(rig: Rig, isolation: Isolation, page: Page, cases: readonly Listed[]): void {
  for (const where of ['page', 'worker'] as const) {
    const test = suite(`browser: ${isolation}, in the ${where}`);
    for (const { name, where: places, isolated } of cases) {
      if (!places.includes(where) || isolated === (isolation === 'plain')) continue;
      test(name, async () => {
        const run = ([case_ = '', place = '']: string[]) =>
          (globalThis as unknown as CasesWindow).pgaioRun(case_, place);
        assert.is(await page.evaluate(run, [name, where]), '');
      });
    }
    test('has complained of nothing', () => {
      assert.equal(rig.complaints, []);
    });
    test.run();
  }
}

if (chromiumPath() === undefined) {
  const left = suite('browser');
  left('needs a browser', () => void console.log(`skipped: browser: ${NO_CHROMIUM}`));
  left.run();
} else {
  const rig = await startRig({
    'index.html': pageWith('page.js'),
    'page.js': await bundleForBrowser('tests/browser/page.ts'),
    'pgaio.wasm': readFileSync('dist/pgaio-small.wasm'),
    'pgaio-unshared.wasm': readFileSync('dist/pgaio-unshared.wasm'),
  });
  const list = () => (globalThis as unknown as CasesWindow).pgaioCases;
  const isolated = await rig.open('isolated/index.html');
  const plain = await rig.open('plain/index.html');
  const cases = await isolated.evaluate(list);
  define(rig, 'isolated', isolated, cases); // no await from here on: uvu starts at the next
  define(rig, 'plain', plain, cases);
  const end = suite('browser: the rig');
  end('is taken down', () => rig.close());
  end.run();
}
