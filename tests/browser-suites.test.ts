/**
 * The core's own suites in a real Chromium, over `@wasmer/wasi`: in a worker of an isolated page
 * with both builds, and in the main thread of a plain page with the unshared one.
 */
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { chromiumPath, NO_CHROMIUM, pageWith, startRig } from './browser/rig.ts';
import { bundleSuites } from './browser/suites-bundle.ts';
import type { Outcome } from './browser/uvu.ts';

interface SuitesWindow {
  readonly pgaioSuites: Record<'page' | 'worker', (part: number) => Promise<Outcome[]>> & {
    readonly parts: number;
  };
}

/** What holds on Node only, with the reason. Passing is no fault. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  'settings: names: that are not given have their defaults':
    'the default of io_method is the host’s, and sync over files in memory',
  'settings: text: io_method is the same in any case':
    'method worker needs files that other threads can open',
  'misuse: the table: has a row for every error of the core':
    'the rows of method worker are left out, and the table is run in parts',
};

if (chromiumPath() === undefined) {
  const left = suite('browser suites');
  left('needs a browser', () => void console.log(`skipped: browser suites: ${NO_CHROMIUM}`));
  left.run();
} else {
  const rig = await startRig({
    'index.html': pageWith('suites.js'),
    'suites.js': await bundleSuites(),
    'pgaio.wasm': readFileSync('dist/pgaio-small.wasm'),
    'pgaio-unshared.wasm': readFileSync('dist/pgaio-unshared.wasm'),
  });
  /** All parts, each in a page of its own, whose memories are gone when it is closed. */
  const run = async (path: string, where: 'page' | 'worker'): Promise<Outcome[]> => {
    const outcomes: Outcome[] = [];
    for (let part = 0, parts = 1; part < parts; part++) {
      const page = await rig.open(path);
      parts = await page.evaluate(() => (globalThis as unknown as SuitesWindow).pgaioSuites.parts);
      const call = ([place, number]: ['page' | 'worker', number]) =>
        (globalThis as unknown as SuitesWindow).pgaioSuites[place](number);
      outcomes.push(...(await page.evaluate(call, [where, part] as ['page' | 'worker', number])));
      await page.close();
    }
    return outcomes;
  };
  for (const { title, outcomes } of [
    { title: 'a worker', outcomes: await run('isolated/index.html', 'worker') },
    { title: 'the page', outcomes: await run('plain/index.html', 'page') },
  ]) {
    for (const name of new Set(outcomes.map(({ suite: of }) => of))) {
      const test = suite(`${name} in ${title}`);
      for (const outcome of outcomes.filter(({ suite: of }) => of === name)) {
        const reason = LEFT_OUT[`${name.replace(/ \(.*/, '')}: ${outcome.name}`];
        test(outcome.name, () => {
          if (reason === undefined || outcome.error === '') assert.is(outcome.error, '');
          else console.log(`\nskipped: ${name} in ${title} "${outcome.name}": ${reason}`);
        });
      }
      test.run();
    }
  }
  const end = suite('browser suites: the rig');
  end('has heard no complaint, and is taken down', async () => {
    await rig.close();
    assert.equal(rig.complaints, []);
  });
  end.run();
}
