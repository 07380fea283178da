/** An issuing thread of the stress programs: random I/O of every kind until it is told to stop. */
import { parentPort, workerData } from 'node:worker_threads';
import type { IoResult } from '../../bindings/completions.ts';
import type { PageFrames } from '../../bindings/frames.ts';
import { PGAIO_HCB_FILE } from '../../bindings/layout.ts';
import type { ResourceOwner } from '../../bindings/owner.ts';
import { Aio, type AioFile, type AioToken, type PendingIo } from '../../host/node/index.ts';
import { Random } from '../explorer/random.ts';
import { BLOCK, BLOCKS_PER_FILE, FILES, faultOf, fillBlock, isDirect, pathOf } from './blocks.ts';
import { Board } from './board.ts';

export interface StressStart {
  readonly token: AioToken;
  readonly folder: string;
  /** Whether files there can be opened past the page cache. */
  readonly direct: boolean;
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly number: number;
  readonly threads: number;
  readonly seed: number;
  /** Threads are being killed: what is on disk is nobody's to say. */
  readonly kills: boolean;
}
/** What a thread says at its end. */
export interface StressEnd {
  readonly finding?: string;
  readonly counts: Readonly<Record<string, number>>;
}

const start = workerData as StressStart;
const random = new Random(start.seed);
const board = new Board(start.words);
const aio = await Aio.attach(start.token, { onReport: () => undefined });
const files = new Map<number, AioFile>();
const counts: Record<string, number> = {};
/** I/Os whose claims are to be released when they are over, though nobody is told. */
const runningOn: { over: () => boolean; done: () => void }[] = [];
const tasks = new Set<Promise<void>>();
const IN_FLIGHT = 24;

class Finding extends Error {}

function count(what: string): void {
  counts[what] = (counts[what] ?? 0) + 1;
}
/** How many ranges of each file are in use: a read that waits for a handle needs its file open. */
const uses = new Map<number, number>();
function fileOf(number: number): AioFile {
  const known = files.get(number);
  if (known !== undefined) return known;
  const idle = [...files.keys()].find((other) => (uses.get(other) ?? 0) === 0);
  if (files.size >= 12 && idle !== undefined) {
    files.get(idle)?.close();
    files.delete(idle);
  }
  const direct = start.direct && isDirect(number);
  const file = aio.open(pathOf(start.folder, number), { write: true, direct });
  files.set(number, file);
  return file;
}
const codeOf = (error: unknown): string => (error as { code?: string }).code ?? String(error);

/** Neighbouring blocks of a file, claimed. */
interface Range {
  readonly file: number;
  readonly block: number;
  readonly blocks: number;
  readonly writes: boolean;
  /** Before a write, and of what is read. */
  readonly versions: readonly number[];
}
function claimRange(): Range | undefined {
  const file = random.below(FILES);
  const block = random.below(BLOCKS_PER_FILE);
  const most = Math.min(4, BLOCKS_PER_FILE - block);
  const writes = random.once(3);
  let blocks = 0;
  if (start.kills) blocks = 1 + random.below(most);
  else while (blocks < most && board.claim(file, block + blocks, writes)) blocks++;
  if (blocks === 0) return undefined;
  uses.set(file, (uses.get(file) ?? 0) + 1);
  const versions = Array.from({ length: blocks }, (_, i) => board.version(file, block + i));
  return { file, block, blocks, writes, versions };
}
function releaseRange({ file, block, blocks, writes }: Range): void {
  uses.set(file, (uses.get(file) ?? 0) - 1);
  if (start.kills) return;
  for (let i = 0; i < blocks; i++) board.release(file, block + i, writes);
}

function prepare(range: Range, frames: PageFrames): void {
  const { file, block, blocks, writes, versions } = range;
  for (let i = 0; i < blocks; i++) {
    const page = frames.page(i);
    if (writes) fillBlock(page, file, block + i, (versions[i] ?? 0) + 1);
    else page.fill(0xee);
  }
}
/** The I/O of a range is over, and well. */
function conclude(range: Range, frames: PageFrames, result: IoResult): void {
  const { file, block, blocks, writes, versions } = range;
  if (result.status !== 'OK' || result.result !== blocks * BLOCK) {
    throw new Finding(`${blocks} blocks: status ${result.status}, result ${result.result}`);
  }
  if (start.kills) return;
  const faults: (string | undefined)[] = [];
  for (let i = 0; i < blocks; i++) {
    const version = versions[i] ?? 0;
    if (writes) board.setVersion(file, block + i, version + 1);
    else faults.push(faultOf(frames.page(i), file, block + i, version));
  }
  const found = faults.filter((fault) => fault !== undefined);
  if (found.length === 0) return;
  throw new Finding(`in memory, ${found.length} of ${blocks} blocks: ${found.join('; ')}`);
}

let shown = 0;
function show(io: PendingIo): void {
  try {
    board.show(start.number, shown++, io.ref.token);
  } catch {
    // It still waits for a handle.
  }
}

function begin(range: Range, frames: PageFrames, owner?: ResourceOwner): PendingIo {
  prepare(range, frames);
  const file = fileOf(range.file);
  const buffers =
    range.blocks > 1 && random.once(2)
      ? [frames.slice(0, 1), frames.slice(1, range.blocks)]
      : frames.slice(0, range.blocks);
  const at = range.block * BLOCK;
  if (owner === undefined && random.once(2)) {
    return range.writes ? file.write(buffers, at) : file.read(buffers, at);
  }
  const handle = aio.acquire({ owner }).setTarget({ file }).register(PGAIO_HCB_FILE);
  return range.writes
    ? handle.startWritev(file, buffers, at)
    : handle.startReadv(file, buffers, at);
}

/** One I/O from claim to release; `follow` is what is done with it meanwhile. */
async function oneIo(follow: (io: PendingIo) => Promise<IoResult>, what: string): Promise<void> {
  const range = claimRange();
  if (range === undefined) return;
  count(what);
  const frames = aio.frames(range.blocks);
  try {
    const io = begin(range, frames);
    show(io);
    conclude(range, frames, await follow(io));
  } finally {
    frames[Symbol.dispose]();
    releaseRange(range);
  }
}

async function abandonWait(io: PendingIo): Promise<IoResult> {
  const controller = new AbortController();
  const waits = io.within({ signal: controller.signal });
  if (random.once(2)) await Promise.resolve();
  controller.abort();
  const code = await waits.then(() => 'done', codeOf);
  if (code !== 'done' && code !== 'PGAIO_ABORTED') throw new Finding(`aborted: ${code}`);
  return io;
}

/** Several I/Os handed to the method together. */
async function batch(): Promise<void> {
  count('batch');
  const works: { range: Range; frames: PageFrames; io: PendingIo }[] = [];
  {
    using _ = aio.batch();
    for (let i = random.range(2, 12); i > 0; i--) {
      const range = claimRange();
      if (range === undefined) continue;
      const frames = aio.frames(range.blocks);
      works.push({ range, frames, io: begin(range, frames) });
    }
    if (random.once(3)) aio.submitStaged();
  }
  for (const { io } of works) show(io);
  await Promise.all(
    works.map(async ({ range, frames, io }) => {
      try {
        conclude(range, frames, await io);
      } finally {
        frames[Symbol.dispose]();
        releaseRange(range);
      }
    }),
  );
}

/** A unit of work that fails: its I/O runs on and nobody is told. */
async function abandonOwner(): Promise<void> {
  count('owner');
  const owner = aio.owner();
  const works: { range: Range; io: PendingIo; frames: PageFrames }[] = [];
  for (let i = random.range(1, 4); i > 0; i--) {
    const range = claimRange();
    if (range === undefined) continue;
    const frames = aio.frames(range.blocks);
    works.push({ range, io: begin(range, frames, owner), frames });
  }
  if (random.once(4)) aio.acquire({ owner });
  owner[Symbol.dispose]();
  for (const { range, io, frames } of works) {
    frames[Symbol.dispose](); // in use until the I/O is over
    const end = await io.then((result) => result, codeOf);
    if (typeof end === 'string' && end !== 'PGAIO_ABANDONED') throw new Finding(`owner: ${end}`);
    const { ref } = io;
    runningOn.push({
      over: () => ref.isDone(),
      done: () => {
        const { file, block, blocks, writes, versions } = range;
        // What was written is there: nothing but the I/O failing could prevent that.
        for (let i = 0; writes && i < blocks; i++) {
          board.setVersion(file, block + i, (versions[i] ?? 0) + 1);
        }
        releaseRange(range);
      },
    });
  }
}
function settleRunningOn(): void {
  for (let i = runningOn.length - 1; i >= 0; i--) {
    const entry = runningOn[i];
    if (entry?.over() !== true) continue;
    runningOn.splice(i, 1);
    entry.done();
  }
}

/** Waits for an I/O of another thread. */
function foreign(): void {
  const ref = board.look(random.below(start.threads), random.bits() % 64);
  if (ref === undefined) return;
  count('foreign');
  const wait = aio.waitRef(ref);
  if (random.once(3)) wait.checkDone();
  else {
    try {
      if (!wait.waitSync(random.below(4))) return;
    } catch (error) {
      if (codeOf(error) === 'PGAIO_WAIT_OWN') return; // its own, and staged
      throw error;
    }
    if (!wait.isDone()) throw new Finding(`a wait ended before IO ${ref.index} did`);
  }
}

/** More reads at once than there are handles. */
async function exhaust(): Promise<void> {
  count('exhaust');
  const max = Number(aio.show('io_max_concurrency'));
  await Promise.all(
    Array.from({ length: 2 * max }, () => oneIo((io) => Promise.resolve(io), 'read')),
  );
}

async function sync(): Promise<void> {
  count('sync');
  const number = random.below(FILES);
  const file = fileOf(number);
  uses.set(number, (uses.get(number) ?? 0) + 1);
  await (random.once(2) ? file.fdatasync() : file.flushRange(0, BLOCK));
  uses.set(number, (uses.get(number) ?? 0) - 1);
}

/** Something of everything, the common things more often. */
function next(): Promise<void> | undefined {
  const dice = random.below(100);
  if (dice < 40) return oneIo((io) => Promise.resolve(io), 'awaited');
  if (dice < 50) return oneIo(async (io) => io.waitSync(), 'blocked for');
  if (dice < 58) return oneIo(abandonWait, 'aborted');
  if (dice < 72) return batch();
  if (dice < 78) return abandonOwner();
  if (dice < 80) return exhaust();
  if (dice < 81) return sync();
  if (dice < 85) {
    const handle = aio.tryAcquire();
    if (random.once(2)) handle?.waitRef();
    handle?.release();
    return undefined;
  }
  foreign();
  return undefined;
}

async function main(): Promise<void> {
  while (!board.stopped) {
    board.advance(start.number);
    settleRunningOn();
    const task = next();
    if (task !== undefined) {
      const tracked = task.finally(() => tasks.delete(tracked));
      tracked.catch(fail);
      tasks.add(tracked);
    }
    while (tasks.size >= IN_FLIGHT) await Promise.race(tasks);
    if (random.once(8)) await new Promise(setImmediate);
  }
  await Promise.all(tasks);
  while (runningOn.length > 0) {
    settleRunningOn();
    await new Promise(setImmediate);
  }
  for (const file of files.values()) file.close();
  await aio[Symbol.asyncDispose]();
}

function end(finding?: string): void {
  const message: StressEnd = { counts, ...(finding === undefined ? {} : { finding }) };
  parentPort?.postMessage(message);
}
let failed = false;
function fail(error: unknown): void {
  if (failed) return;
  failed = true;
  const text = error instanceof Finding ? error.message : ((error as Error).stack ?? String(error));
  end(`thread ${start.number}: ${text}`);
}
main().then(() => end(), fail);
