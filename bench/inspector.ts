/**
 * What the live view costs the process it shows: reads of cached pages through I/O workers, without
 * a viewer and with one that takes ten snapshots a second in a thread of its own, in turns.
 */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { Aio, type Inspector } from '../host/node/index.ts';

const PAGE_BYTES = 8192;
const PAGES = 1024;
const DEPTH = 16;
const ROUNDS = 7;
const ROUND_MS = 2000;
const SNAPSHOT_MS = 100;

/** A viewer: exchanges the token for a cookie, reads the stream, counts bytes. */
const VIEWER = `
const { parentPort, workerData } = require('node:worker_threads');
const { get } = require('node:http');
get(workerData, (opened) => {
  opened.resume();
  const cookie = opened.headers['set-cookie'][0].split(';')[0];
  get(new URL('/snapshots', workerData), { headers: { cookie } }, (stream) => {
    let bytes = 0;
    stream.on('data', (chunk) => { bytes += chunk.length; });
    parentPort.on('message', () => parentPort.postMessage(bytes));
    parentPort.postMessage('ready');
  });
});
`;

function next(worker: Worker): Promise<unknown> {
  return new Promise((resolve) => worker.once('message', resolve));
}

/** Reads at random for a while; I/Os per second. */
async function measure(aio: Aio, path: string): Promise<number> {
  using file = aio.open(path);
  const started = performance.now();
  const end = started + ROUND_MS;
  let done = 0;
  const lane = async (first: number): Promise<void> => {
    using frames = aio.frames(1);
    for (let seed = first; performance.now() < end; done++) {
      seed = (seed * 48271) % 2147483647;
      await file.read(frames, (seed % PAGES) * PAGE_BYTES);
    }
  };
  await Promise.all(Array.from({ length: DEPTH }, (_, i) => lane(i + 1)));
  return (done * 1000) / (performance.now() - started);
}

async function watched(aio: Aio, inspector: Inspector, path: string) {
  const viewer = new Worker(VIEWER, { eval: true, workerData: inspector.newUrl() });
  await next(viewer);
  const before = inspector.cost;
  const began = performance.now();
  const rate = await measure(aio, path);
  const { milliseconds, snapshots } = inspector.cost;
  const share = (100 * (milliseconds - before.milliseconds)) / (performance.now() - began);
  viewer.postMessage('how many');
  const bytes = Number(await next(viewer));
  await viewer.terminate();
  return { rate, bytes, share, snapshots: snapshots - before.snapshots };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

const folder = mkdtempSync(join(tmpdir(), 'pgaio-bench-'));
const path = join(folder, 'relation');
const fd = openSync(path, 'w');
for (let page = 0; page < PAGES; page++) writeSync(fd, new Uint8Array(PAGE_BYTES).fill(page));
closeSync(fd);
const aio = await Aio.create({ sharedBuffers: 256, ioMaxConcurrency: 64, trace: true });
const inspector = await aio.serveInspector({ intervalMs: SNAPSHOT_MS });
try {
  await measure(aio, path); // threads started, code compiled
  const pairs: { alone: number; seen: number; share: number }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const alone = await measure(aio, path);
    const { rate, bytes, share, snapshots } = await watched(aio, inspector, path);
    pairs.push({ alone, seen: rate, share });
    const lost = (100 * (alone - rate)) / alone;
    console.log(
      `round ${round + 1}: ${alone.toFixed(0)} I/Os/s alone, ${rate.toFixed(0)} watched, ` +
        `${lost.toFixed(1)} % lost; ${snapshots} snapshots of ` +
        `${(bytes / 1024 / snapshots).toFixed(0)} KiB took ${share.toFixed(2)} % of the thread`,
    );
  }
  const lost = median(pairs.map(({ alone, seen }) => (100 * (alone - seen)) / alone));
  const share = median(pairs.map((pair) => pair.share));
  console.log(
    `median at ${1000 / SNAPSHOT_MS} snapshots a second: ${share.toFixed(2)} % of the thread, ` +
      `${lost.toFixed(1)} % fewer I/Os (the viewer takes a core as well)`,
  );
} finally {
  await inspector.close();
  await aio[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
}
