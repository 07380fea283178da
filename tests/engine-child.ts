/** A process of a test: what an engine does to its process's life. Words: what, method, file. */
import { Aio } from '../host/node/index.ts';
import {
  BackendThread,
  BLOCK,
  endOf,
  Gate,
  idleWorkers,
  openDirect,
  within,
} from './threads-fixture.ts';

const [what = '', method = '', path = '', more = ''] = process.argv.slice(2);
const gate = new Gate();
const aio = await Aio.create({
  provider: gate.provider(),
  ioMethod: method === 'sync' ? 'sync' : 'worker',
  ioWorkers: 2,
});
if (method === 'worker') await idleWorkers(aio, 2);

async function inFlight(): Promise<void> {
  using file = aio.open(path);
  using frames = aio.frames(1);
  const read = file.read(frames, 0);
  console.log('started');
  // Nothing else keeps the process alive; the gate is opened from a task that does not either.
  if (method === 'worker') await gate.crowd(1);
  queueMicrotask(() => gate.open());
  console.log(`read ${(await read).result}`);
}

const WORKS: Readonly<Record<string, () => Promise<void>>> = {
  async idle() {
    console.log('ready');
  },
  inFlight,
  async exit() {
    const file = aio.open(path);
    void file.read(aio.frames(1), 0);
    console.log('started');
    gate.open();
    process.exit(7);
  },
  async thread() {
    gate.open();
    const thread = await BackendThread.start(aio.token);
    await thread.ask('open', path);
    await thread.ask('take', 1);
    await thread.ask('readAll', 3);
    thread.tell('return');
    thread.ended.then((code) => console.log(`thread left with ${code}`));
  },
  /** Reads a little, then prints the CPU time of an idle second in percent. */
  async idleCpu() {
    gate.open();
    using file = aio.open(path);
    using frames = aio.frames(1);
    for (let i = 0; i < 100; i++) await file.read(frames, 0);
    const before = process.cpuUsage();
    const started = performance.now();
    await endOf(() => within('idle', new Promise(() => undefined), Number(more)));
    const { user, system } = process.cpuUsage(before);
    const percent = (user + system) / 10 / (performance.now() - started);
    console.log(`cpu ${percent.toFixed(2)}`);
  },
  /** Reads all blocks at once, past the page cache where that can be. */
  async direct() {
    gate.open();
    const file = openDirect(aio, path) ?? aio.open(path);
    using frames = aio.frames(64);
    const pages = Array.from({ length: 64 }, (_, i) => i);
    await Promise.all(pages.map((i) => file.read(frames.slice(i, i + 1), i * BLOCK)));
    const right = pages.filter((i) => frames.page(i)[0] === i + 1);
    console.log(`read ${right.length} blocks, ${gate.started > 0 ? 'some' : 'none'} together`);
  },
};
await WORKS[what]?.();
