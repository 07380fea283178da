/**
 * The inspector in a real Chromium: each scenario with the states it must pass, every view, a
 * damaged relation file, and the live view of a process under load.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Aio } from '../host/node/index.ts';
import { probeUring, reasonWords } from '../host/node/uring.ts';
import { chromiumPath, NO_CHROMIUM, type Rig, startRig } from './browser/rig.ts';
import { patternPage, putChecksum, putHeader } from './page-vectors.ts';
import { blockFile, Gate, idleWorkers, openDirect, until } from './threads-fixture.ts';

const PAGE_BYTES = 8192;
/** For a page on a busy machine; what was measured is printed. */
const FIRST_DRAWING_MS = 5000;

const folder = mkdtempSync(join(tmpdir(), 'pgaio-inspector-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

interface Move {
  readonly seq: number;
  readonly io: number;
  readonly procno: number;
  readonly generation: bigint;
  readonly move: string;
  readonly word: number;
}
interface InspectorWindow {
  readonly pgaio: {
    readonly transitions: readonly Move[];
    readonly steps: number;
    readonly messages: readonly string[];
  };
}

/** What an I/O goes through. */
const ROUND = [
  'IDLE>HANDED_OUT',
  'HANDED_OUT>DEFINED',
  'DEFINED>STAGED',
  'STAGED>SUBMITTED',
  'SUBMITTED>COMPLETED_IO',
  'COMPLETED_IO>COMPLETED_SHARED',
  'COMPLETED_SHARED>COMPLETED_LOCAL',
  'COMPLETED_LOCAL>IDLE',
];
/** How many I/Os each scenario has, and what it says at its end. */
const SCENARIOS: Readonly<Record<string, { readonly ios: number; readonly says: RegExp }>> = {
  'one-read': { ios: 1, says: /^blocks 4 and 5: OK, 2 blocks$/ },
  batch: { ios: 4, says: /^block 9: OK, 1 block$/ },
  foreign: { ios: 1, says: /^block 7: OK, 1 block$/ },
  'short-read': { ios: 1, says: /^blocks 0 and 1: PARTIAL, 1 block$/ },
  checksum: {
    ios: 1,
    says: /^blocks 0 to 2: invalid page in block 1 of relation "base\/5\/16385"$/,
  },
  'full-pool': { ios: 8, says: /^all of them have ended$/ },
  leak: { ios: 0, says: /^WARNING: leaked AIO handle$/ },
};

/** Opens the page, waits until the scenario in its address is over, at its last step. */
async function opened(rig: Rig, query: string, isolation = 'isolated'): Promise<Page> {
  const page = await rig.open(`${isolation}/index.html?${query}`);
  await page.waitForSelector('[data-steps]:not([data-steps="0"])');
  await page.waitForFunction(
    () => (globalThis as unknown as InspectorWindow).pgaio.transitions.length > 0,
  );
  return page;
}

/** Moves of each I/O, by handle and generation. */
function byIo(moves: readonly Move[]): string[][] {
  const ios = new Map<string, string[]>();
  const held = new Map<number, string>();
  for (const { io, generation, move } of moves) {
    const key = held.get(io) ?? `${io}/${generation}`;
    ios.set(key, [...(ios.get(key) ?? []), move]);
    held.set(io, key);
    if (move.endsWith('>IDLE')) held.delete(io);
  }
  return [...ios.values()];
}

function scenarioTests(rig: Rig): void {
  const test = suite('inspector: scenario');
  for (const [isolation, method] of [
    ['isolated', 'sync'],
    ['isolated', 'worker'],
    ['isolated', 'host'],
    ['plain', 'sync'],
    ['plain', 'host'],
  ] as const) {
    for (const [id, { ios, says }] of Object.entries(SCENARIOS)) {
      test(`${id} passes its states, method ${method}, ${isolation} page`, async () => {
        const page = await opened(rig, `scenario=${id}&method=${method}&step=-1&play=0`, isolation);
        const { moves, messages, steps } = await page.evaluate(() => {
          const {
            transitions,
            steps: count,
            messages: said,
          } = (globalThis as unknown as InspectorWindow).pgaio;
          return { moves: [...transitions], steps: count, messages: [...said] };
        });
        const expected = id === 'leak' ? [['IDLE>HANDED_OUT', 'HANDED_OUT>IDLE']] : undefined;
        const all = Array.from({ length: ios }, () => ROUND);
        assert.equal(byIo(moves), expected ?? all, 'each I/O goes round, in order');
        assert.ok(
          messages.some((line) => says.test(line)),
          messages.join('\n'),
        );
        assert.ok(steps > 0.5 * moves.length, `${steps} steps of ${moves.length} moves`);
        if (method !== 'worker') assert.is(steps, moves.length, 'one step each');
        checkSpecial(id, method, moves);
        await page.close();
      });
    }
  }
  test('a load is drawn, and ends when another scenario is run', async () => {
    const page = await rig.open('isolated/index.html?scenario=load&method=worker&view=plots');
    await page.waitForFunction(() =>
      /depth [1-9].*, [1-9]\d* I\/Os a second/.test(
        document.querySelector('[data-latest]')?.textContent ?? '',
      ),
    );
    assert.is(await page.locator('[data-plot] canvas').count(), 3);
    await page.click('[data-scenario=one-read]');
    await page.waitForSelector('[data-steps="8"]');
    await page.close();
  });
  test('leaves no complaint in the console', () => assert.equal(rig.complaints, []));
  test.run();
}

/** What only this scenario shows. */
function checkSpecial(id: string, method: string, moves: readonly Move[]): void {
  const first = (move: string) => moves.findIndex((one) => one.move === move);
  const by = moves.find(({ move }) => move === 'SUBMITTED>COMPLETED_IO')?.procno;
  if (id === 'foreign') assert.is(by, { sync: 0, worker: -1, host: 1 }[method]);
  if (id === 'batch' && method !== 'sync') {
    const staged = moves.slice(0, first('STAGED>SUBMITTED'));
    assert.is(staged.filter(({ move }) => move === 'DEFINED>STAGED').length, 4);
  }
  const ended = moves.filter(({ move }) => move === 'COMPLETED_SHARED>COMPLETED_LOCAL').at(-1);
  const status = ended === undefined ? undefined : (ended.word >>> 6) & 7;
  const statuses: Readonly<Record<string, number>> = { checksum: 4, 'short-read': 2, foreign: 1 };
  if (statuses[id] !== undefined) assert.is(status, statuses[id]);
}

function viewTests(rig: Rig): void {
  const test = suite('inspector: the page');
  test('is drawn soon after it was asked for', async () => {
    const page = await rig.browser.newPage();
    await page.goto(`${rig.origin}isolated/index.html`);
    await page.waitForSelector('.machine [data-state=IDLE]');
    const ms = await page.evaluate(() => {
      const at = (name: string) => performance.getEntriesByName(name)[0]?.startTime ?? 0;
      return { paint: at('first-contentful-paint'), drawn: at('pgaio-drawn') };
    });
    console.log(`drawn ${ms.drawn.toFixed(0)} ms after it was asked for`);
    assert.ok(ms.drawn > 0 && ms.drawn < FIRST_DRAWING_MS, `${ms.drawn} ms`);
    await page.close();
  });
  test('steps by keyboard, lights the move, and keeps it in the URL', async () => {
    const page = await opened(rig, 'scenario=one-read&method=host&step=0&play=0');
    for (const [step, move] of ROUND.entries()) {
      assert.is(await page.locator(`.edge.lit[data-move="${move}"]`).count(), 1, move);
      const to = move.split('>')[1];
      const state = await page.locator('[data-handle="0"]').getAttribute('data-state');
      assert.is(state, to, `step ${step}`);
      await page.keyboard.press('ArrowRight');
    }
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowLeft');
    assert.match(page.url(), /step=5/);
    const again = await rig.browser.newPage();
    await again.goto(page.url());
    await again.waitForSelector('[data-handle="0"][data-state=COMPLETED_SHARED]');
    await again.close();
    await page.close();
  });
  test('plays slowly, and pauses', async () => {
    const page = await opened(rig, 'scenario=one-read&method=host&step=0&play=1&speed=50');
    await page.waitForFunction(() => /step=7/.test(location.search));
    await page.keyboard.press('Home');
    await page.keyboard.press(' '); // plays on from there
    await page.keyboard.press(' ');
    const held = new URL(page.url()).searchParams.get('play');
    assert.is(held, '0');
    await page.close();
  });
  test('opens a handle by keyboard: fields, bits, callbacks, history', async () => {
    const page = await opened(rig, 'scenario=checksum&method=host&step=-1&play=0&handles=3');
    await page.focus('[data-handle="0"]');
    await page.keyboard.press('Enter');
    const text = (await page.locator('.detail').textContent()) ?? '';
    for (const words of [
      'aio_page_readv_cb',
      'aio_md_readv_cb',
      'ERROR',
      'COMPLETED_IO → COMPLETED_SHARED',
      'generation 2',
      'distilled_word',
      '24576 bytes',
    ]) {
      assert.ok(text.includes(words), `${words} in ${text}`);
    }
    await page.close();
  });
  test('zooms from regions to the bytes of a field', async () => {
    const page = await opened(rig, 'scenario=batch&method=host&step=14&play=0&view=memory');
    await page.click('[data-region=io_handles]');
    await page.click('[data-element="2"]');
    assert.match(page.url(), /region=io_handles/);
    const row = (await page.locator('[data-field=state]').textContent()) ?? '';
    assert.match(row, /SUBMITTED/);
    assert.match(
      (await page.locator('[data-field=callbacks]').textContent()) ?? '',
      /aio_page_readv_cb/,
    );
    assert.match((await page.locator('.hex').textContent()) ?? '', /0x0000[0-9a-f]{4}0400/);
    const regions = await page.locator('[data-region]').count();
    assert.ok(regions >= 16, `${regions} regions`);
    await page.close();
  });
  test('shows the queue and what I/O workers do', async () => {
    const page = await opened(rig, 'scenario=full-pool&method=worker&step=-1&play=0&view=workers');
    const executed = await page.locator('[data-worker] td:nth-child(4)').allTextContents();
    assert.ok(executed.length >= 1, 'the second may still be starting');
    assert.ok(
      executed.some((count) => Number(count) > 0),
      executed.join(' '),
    );
    await page.close();
  });
  test('shows the buffer pool, and how far a read stream looked ahead', async () => {
    const page = await opened(rig, 'scenario=stream&method=worker&step=-1&play=0&view=buffers');
    const pool = (await page.locator('[data-pool]').textContent()) ?? '';
    assert.match(pool, /^216 of 800 buffers hold a page, 0 dirty, \d pinned, 0 being read/);
    assert.match((await page.locator('[data-counters]').textContent()) ?? '', /^64 hits/);
    const usage = (buffer: number) =>
      page.locator(`[data-buffer="${buffer}"]`).getAttribute('data-usage');
    assert.equal([await usage(1), await usage(150), await usage(800)], ['2', '1', '']);
    await page.click('[data-buffer="4"]');
    const state = (await page.locator('[data-field=buf_state]').textContent()) ?? '';
    assert.match(state, /TAG_VALID, VALID, usage 2, 0 pins/);
    await page.click('[data-view=stream]');
    const stream = (await page.locator('[data-stream]').textContent()) ?? '';
    const [, most] = /^280 pages, distance up to (\d+)/.exec(stream) ?? [];
    assert.ok(Number(most) > 8, stream);
    await page.waitForSelector('[data-plot=stream] canvas');
    await page.close();
  });
  test('goes from tab to tab with arrow keys', async () => {
    const page = await opened(rig, 'scenario=one-read&play=0');
    await page.focus('#tab-machine');
    await page.keyboard.press('ArrowRight');
    assert.match(page.url(), /view=memory/);
    assert.is(await page.evaluate(() => document.activeElement?.id), 'tab-memory');
    await page.close();
  });
  test('fits 1280 by 800 without scrolling sideways, in light and dark', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await rig.browser.newPage({
        viewport: { width: 1280, height: 800 },
        colorScheme,
      });
      for (const view of ['machine', 'memory', 'workers', 'buffers', 'stream', 'plots', 'file']) {
        await page.goto(`${rig.origin}isolated/index.html?view=${view}&play=0&scenario=batch`);
        await page.waitForSelector('[data-steps]:not([data-steps="0"])');
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(wide <= 1280, `${view}: ${wide}`);
      }
      await page.close();
    }
  });
  test('has the debug core with its source map for the debugger', async () => {
    const page = await rig.browser.newPage();
    const session = await page.context().newCDPSession(page);
    const parsed: { url: string; sourceMapURL?: string }[] = [];
    session.on('Debugger.scriptParsed', (script) => parsed.push(script));
    await session.send('Debugger.enable');
    await page.goto(`${rig.origin}isolated/index.html?core=debug&method=sync&view=memory`);
    await page.waitForSelector('[data-region=io_handles]');
    const core = parsed.find(({ url }) => url.endsWith('/pgaio-debug.wasm'));
    assert.ok(core?.sourceMapURL, 'the debugger learns of the map');
    const map = await page.request.get(new URL(core?.sourceMapURL ?? '', core?.url).href);
    const { sources, sourcesContent } = await map.json();
    const at = sources.indexOf('assembly/aio/handle.ts');
    assert.ok(at >= 0, 'the sources are in it');
    assert.match(sourcesContent[at], /export function pgaio_io_acquire/);
    await page.close();
  });
  test('prints a handle decoded in the developer tools', async () => {
    const page = await opened(rig, 'scenario=checksum&method=host&step=4&play=0');
    const printed = await page.evaluate(() => {
      const { devtoolsFormatters, pgaio } = globalThis as unknown as {
        devtoolsFormatters: { header(value: unknown): unknown; body(value: unknown): unknown }[];
        pgaio: { handle(id: number): unknown };
      };
      const [formatter] = devtoolsFormatters;
      const value = pgaio.handle(0);
      return JSON.stringify([
        formatter?.header(value),
        formatter?.body(value),
        formatter?.header(1),
      ]);
    });
    assert.match(printed, /IO 0 COMPLETED_IO readv of backend 0/);
    assert.match(printed, /"callbacks"\],\["span",\{\},"6 aio_page_readv_cb, 1 aio_md_readv_cb"/);
    assert.match(printed, /,null\]$/);
    const tags = [...printed.matchAll(/\["(\w+)",\{/g)].map(([, tag]) => tag);
    const allowed = ['div', 'span', 'ol', 'li', 'table', 'tr', 'td'];
    assert.equal(
      tags.filter((tag) => !allowed.includes(tag ?? '')),
      [],
      'Chrome takes no other',
    );
    await page.close();
  });
  test('leaves no complaint in the console after all this', () => assert.equal(rig.complaints, []));
  test.run();
}

/** Pages 0 to 5 of a relation: one damaged, one new, one with a bad header. */
function damagedRelation(): string {
  const pages = Array.from({ length: 6 }, (_, i) => putChecksum(patternPage(PAGE_BYTES), i));
  pages[2]?.fill(0xff, 5000, 5008);
  pages[3]?.fill(0);
  pages[4] = putHeader(patternPage(PAGE_BYTES), { lower: 9000 });
  const path = join(folder, '16384');
  writeFileSync(path, Buffer.concat(pages));
  return path;
}

function fileTests(rig: Rig): void {
  const test = suite('inspector: a relation file');
  for (const isolation of ['isolated', 'plain'] as const) {
    test(`that is damaged is verified and drawn, picked, ${isolation} page`, async () => {
      const page = await opened(rig, 'view=file&play=0', isolation);
      await page.setInputFiles('#relation-file', damagedRelation());
      await page.waitForSelector('[data-summary]:has-text("6 pages, 2 invalid, 1 new")');
      const labels = await page
        .locator('[data-page]')
        .evaluateAll((cells) => cells.map((cell) => cell.getAttribute('aria-label') ?? ''));
      assert.match(labels[2] ?? '', /^page 2: checksum \d+ stored, \d+ calculated$/);
      assert.is(labels[3], 'page 3: new: never written');
      assert.is(labels[0], 'page 0: valid');
      // The first that is damaged is opened by itself.
      assert.match((await page.locator('.page-open h2').textContent()) ?? '', /^Page 2/);
      await page.click('[data-page="0"]');
      assert.match((await page.locator('.page-open').textContent()) ?? '', /pd_lower\d+/);
      await page.close();
    });
  }
  test('is taken when it is dropped on any view', async () => {
    const page = await opened(rig, 'scenario=one-read&play=0');
    const bytes = [...readFileSync(damagedRelation())];
    await page.evaluate((content) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(content)], '16384'));
      document.body.dispatchEvent(
        new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }),
      );
    }, bytes);
    await page.waitForSelector('[data-summary]:has-text("6 pages, 2 invalid, 1 new")');
    await page.close();
  });
  test('leaves no complaint in the console either', () => assert.equal(rig.complaints, []));
  test.run();
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly cookie: string;
}
function ask(url: string, options: { method?: string; headers?: Record<string, string> } = {}) {
  return new Promise<Answer>((resolve, reject) => {
    const call = request(url, options, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => {
        const [cookie = ''] = response.headers['set-cookie'] ?? [];
        resolve({ status: response.statusCode ?? 0, text, cookie: cookie.split(';')[0] ?? '' });
      });
    });
    call.on('error', reject);
    call.end();
  });
}

function serverTests(): void {
  const test = suite('inspector: the live view');
  test('is for whoever has its address, once, for reading, on loopback', async () => {
    await using aio = await Aio.create({ sharedBuffers: 64, ioMethod: 'sync' });
    await using inspector = await aio.serveInspector();
    const { origin, port, hostname } = new URL(inspector.url);
    assert.is(hostname, '127.0.0.1');
    assert.is((await ask(`${origin}/`)).status, 403);
    assert.is((await ask(`${origin}/snapshots`)).status, 403);
    assert.is((await ask(`${origin}/open/wrong`)).status, 403);
    const { status, cookie } = await ask(inspector.url);
    assert.is(status, 303);
    assert.is((await ask(inspector.url)).status, 403, 'the second time');
    const headers = { cookie };
    assert.match((await ask(`${origin}/`, { headers })).text, /pgaio-live/);
    assert.is((await ask(`${origin}/`, { headers, method: 'POST' })).status, 405);
    assert.is((await ask(`${origin}/../package.json`, { headers })).status, 404);
    const named = { ...headers, host: `localhost:${port}` };
    assert.is((await ask(`${origin}/`, { headers: named })).status, 403, 'under another name');
    const piece = await ask(`${origin}/memory?from=128&bytes=4`, { headers });
    assert.is(piece.text, 'PGAI');
    for (const wrong of ['from=-1&bytes=4', 'from=0&bytes=70000', 'from=4294967290&bytes=16', '']) {
      assert.is((await ask(`${origin}/memory?${wrong}`, { headers })).status, 400, wrong);
    }
    assert.is((await ask(inspector.newUrl())).status, 303, 'another address');
  });
  test('ends with its engine', async () => {
    const aio = await Aio.create({ sharedBuffers: 64, ioMethod: 'sync' });
    const { url } = await aio.serveInspector();
    aio[Symbol.dispose]();
    const refused = await ask(url).catch((error: NodeJS.ErrnoException) => error.code);
    assert.is(refused, 'ECONNREFUSED');
  });
  test.run();
}

async function underLoad(act: (aio: Aio) => Promise<void>): Promise<void> {
  const path = join(folder, 'load');
  writeFileSync(path, Buffer.alloc(64 * PAGE_BYTES));
  await using aio = await Aio.create({ sharedBuffers: 64, ioMaxConcurrency: 8, trace: true });
  using file = aio.open(path);
  let over = false;
  const lane = async (at: number): Promise<void> => {
    using frames = aio.frames(1);
    for (let block = at; !over; block = (block + 7) % 64) {
      await file.read(frames, block * PAGE_BYTES);
    }
  };
  const lanes = [0, 1, 2, 3].map(lane);
  try {
    await act(aio);
  } finally {
    over = true;
    await Promise.all(lanes);
  }
}

function liveTests(rig: Rig): void {
  const test = suite('inspector: the live view of a process under load');
  test('shows its handles, its counters and its pages', async () => {
    await underLoad(async (aio) => {
      await using inspector = await aio.serveInspector();
      const page = await rig.browser.newPage();
      const heard: string[] = [];
      page.on('console', (message) => message.type() === 'error' && heard.push(message.text()));
      page.on('pageerror', (error) => heard.push(error.message));
      await page.goto(inspector.url);
      await page.waitForSelector(`[data-about]:has-text("live view of process ${process.pid}")`);
      await page.waitForSelector('[data-handle]:not([data-state=IDLE])');
      await page.click('[data-view=plots]');
      await page.waitForFunction(() =>
        /depth [1-9].*, [1-9]\d* I\/Os a second/.test(
          document.querySelector('[data-latest]')?.textContent ?? '',
        ),
      );
      await page.click('[data-view=memory]');
      await page.click('[data-region=frames]');
      await page.click('[data-element="0"]');
      await page.waitForSelector('.hex');
      assert.is(await page.locator('[data-scenario]').count(), 0, 'nothing to start there');
      const { snapshots, bytes } = inspector.cost;
      assert.ok(snapshots >= 2, `${snapshots} snapshots`);
      assert.ok(bytes > 0);
      assert.equal(heard, []);
      await page.close();
    });
  });
  test('shows what an I/O worker has under way', async () => {
    const gate = new Gate();
    await using aio = await Aio.create({ provider: gate.provider(), ioWorkers: 1, ioFrames: 16 });
    const file = openDirect(aio, blockFile(`${folder}/held`, 8));
    if (file === undefined) return gate.open();
    try {
      await idleWorkers(aio, 1);
      using frames = aio.frames(5);
      const read = (i: number) => file.read(frames.slice(i, i + 1), i * PAGE_BYTES);
      const ios = [read(0)];
      await gate.crowd(1);
      ios.push(read(1), read(2), read(3), read(4));
      await until('they wait', () => aio.stats().submissions > 1n);
      gate.admit();
      await until('they are with the kernel', () => gate.started === 4);
      await using inspector = await aio.serveInspector();
      const page = await rig.browser.newPage();
      await page.goto(inspector.url);
      await page.waitForSelector('[data-handle]:not([data-state=IDLE])');
      await page.click('[data-view=workers]');
      const row = page.locator('[data-worker="0"]');
      assert.match((await row.textContent()) ?? '', /^worker 0has 4 under way/);
      assert.match((await page.textContent('.workers')) ?? '', /This memory has no rings/);
      assert.is(await row.locator('button').count(), 4);
      await row.locator('button').first().click();
      assert.match(page.url(), /\?handle=1$/);
      await page.close();
      gate.open();
      await Promise.all(ios);
    } finally {
      gate.open();
    }
  });
  test('shows what each ring has gone through', async () => {
    const { reason } = probeUring();
    if (reason !== undefined) return console.log(`skipped: rings: ${reasonWords(reason)}`);
    await using aio = await Aio.create({ ioMethod: 'io_uring', maxBackends: 2, ioFrames: 16 });
    using file = aio.open(blockFile(`${folder}/ringed`, 8));
    using frames = aio.frames(1);
    for (let i = 0; i < 5; i++) await file.read(frames, i * PAGE_BYTES);
    await using inspector = await aio.serveInspector();
    const page = await rig.browser.newPage();
    await page.goto(inspector.url);
    await page.click('[data-view=workers]');
    const row = page.locator('[data-ring="0"]');
    await row.waitFor();
    const cells = await row.locator('td').allTextContents();
    assert.equal(cells, ['5', '5', '0', '0', '0', '0', '0']);
    assert.is(await page.locator('[data-ring]').count(), 1, 'the other slot has none');
    await row.locator('button').click();
    await page.waitForSelector('[data-field=cursor]');
    await page.close();
  });
  test.run();
}

function programTests(rig: Rig): void {
  const test = suite('inspector: the program');
  test('serves the page for an engine of its own, isolated', async () => {
    const child = spawn(process.execPath, ['dist/cli.cjs', 'inspect', '--no-open']);
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout.once('data', (chunk) => resolve(String(chunk).trim()));
      child.once('exit', () => reject(new Error('it has ended')));
    });
    try {
      const page = await rig.browser.newPage();
      await page.goto(`${url}?method=worker`);
      await page.waitForSelector('[data-about]:has-text("method worker")');
      assert.is(await page.evaluate(() => globalThis.crossOriginIsolated), true);
      await page.close();
    } finally {
      child.kill('SIGINT');
      await new Promise((resolve) => child.once('exit', resolve));
    }
    assert.is(child.exitCode, 0);
  });
  test('refuses an address that is not a live view’s', async () => {
    const child = spawn(process.execPath, ['dist/cli.cjs', 'inspect', 'http://example.org/open/a']);
    let said = '';
    child.stderr.on('data', (chunk) => {
      said += chunk;
    });
    await new Promise((resolve) => child.once('close', resolve));
    assert.is(child.exitCode, 2);
    assert.match(said, /Expected what aio\.serveInspector\(\) gave/);
  });
  test('is done with the browser', () => rig.close());
  test.run();
}

serverTests();
if (chromiumPath() === undefined) {
  const left = suite('inspector');
  left('needs a browser', () => void console.log(`skipped: inspector: ${NO_CHROMIUM}`));
  left.run();
} else {
  const names = readdirSync('dist/inspector').filter((name) => !name.startsWith('.'));
  const rig = await startRig(
    Object.fromEntries(names.map((name) => [name, readFileSync(`dist/inspector/${name}`)])),
  );
  scenarioTests(rig);
  viewTests(rig);
  fileTests(rig);
  liveTests(rig);
  programTests(rig);
}
