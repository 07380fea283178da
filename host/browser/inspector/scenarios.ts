/** What the buttons run: small programs over the public interface, each to show one thing. */
import { type Aio, type AioFile, constants, type IoBuffer, type PendingIo } from '../index.ts';
import { DAMAGED, GOOD, PAGE_BYTES, RELATION, SHORT } from './demo.ts';
import type { LaterDevice } from './device.ts';
import type { Method } from './state.ts';
import { type StreamSample, samples } from './stream.ts';

/** What a scenario plays on. */
export interface Stage {
  readonly aio: Aio;
  readonly method: Method;
  /** There with method `host`. */
  readonly device: LaterDevice | undefined;
  readonly handles: number;
  readonly depth: number;
  /** Another backend over the same memory. */
  second(): Promise<Aio>;
  say(line: string): void;
}

export interface Scenario {
  readonly id: string;
  readonly title: string;
  readonly about: string;
  /** File that the device reads. */
  readonly path: string;
  /** Pages of the buffer pool. @default 16 */
  readonly buffers?: number;
  run(stage: Stage): Promise<void>;
}

const relNumber = (path: string): number => Number(path.split('/').at(-1));

/** Starts a read of blocks with verification. */
function readBlocks(
  aio: Aio,
  file: AioFile,
  into: IoBuffer,
  block: number,
  blocks: number,
): PendingIo {
  return aio
    .acquire()
    .setTarget({ relation: { ...RELATION, relNumber: relNumber(file.path) }, block, blocks })
    .register(constants.PGAIO_HCB_PAGE_READV)
    .register(constants.PGAIO_HCB_MD_READV)
    .startReadv(file, into, block * PAGE_BYTES);
}

/** How an I/O ended, in a line; its words if it failed. */
async function ending(io: PendingIo): Promise<string> {
  try {
    const { status, result } = await io;
    return `${status}, ${result === 1 ? '1 block' : `${result} blocks`}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const ONE_READ: Scenario = {
  id: 'one-read',
  title: 'One read',
  about: 'Two blocks of a relation, verified: each state once, from IDLE round to IDLE.',
  path: GOOD,
  async run({ aio, say }) {
    using file = aio.open(GOOD);
    using frames = aio.frames(2);
    say(`blocks 4 and 5: ${await ending(readBlocks(aio, file, frames, 4, 2))}`);
  },
};

const BATCH: Scenario = {
  id: 'batch',
  title: 'A batch',
  about: 'I/Os are STAGED until the batch ends, and go to the method together.',
  path: GOOD,
  async run({ aio, handles, say }) {
    using file = aio.open(GOOD);
    const count = Math.min(4, handles);
    using frames = aio.frames(count);
    const ios: PendingIo[] = [];
    {
      using _batch = aio.batch();
      for (let i = 0; i < count; i++) {
        ios.push(readBlocks(aio, file, frames.slice(i, i + 1), 3 * i, 1));
      }
    }
    for (const [i, io] of ios.entries()) say(`block ${3 * i}: ${await ending(io)}`);
  },
};

const FOREIGN: Scenario = {
  id: 'foreign',
  title: 'Foreign completion',
  about:
    'Two backends: 0 issues, 1 waits and completes (method host); with method worker an I/O ' +
    'worker completes; with sync there is nothing left to complete.',
  path: GOOD,
  async run({ aio, device, second, say }) {
    const other = await second();
    using file = aio.open(GOOD);
    using frames = aio.frames(1);
    if (device !== undefined) device.holds = true;
    const handle = aio.acquire();
    const token = handle.waitRef().token;
    const io = handle
      .setTarget({ relation: { ...RELATION, relNumber: relNumber(GOOD) }, block: 7, blocks: 1 })
      .register(constants.PGAIO_HCB_PAGE_READV)
      .register(constants.PGAIO_HCB_MD_READV)
      .startReadv(file, frames, 7 * PAGE_BYTES);
    aio.submitStaged();
    const done = other.waitRef(token).done();
    device?.end(other);
    if (device !== undefined) device.holds = false;
    await done;
    say('backend 1 has seen the I/O of backend 0 end');
    say(`block 7: ${await ending(io)}`);
    other[Symbol.dispose]();
  },
};

const SHORT_READ: Scenario = {
  id: 'short-read',
  title: 'Short read',
  about: 'Two blocks are asked for and the file ends in the second: PARTIAL, one block.',
  path: SHORT,
  async run({ aio, say }) {
    using file = aio.open(SHORT);
    using frames = aio.frames(2);
    say(`blocks 0 and 1: ${await ending(readBlocks(aio, file, frames, 0, 2))}`);
  },
};

const CHECKSUM: Scenario = {
  id: 'checksum',
  title: 'Checksum failure',
  about: 'Block 1 is damaged: the page callback makes an ERROR of the result.',
  path: DAMAGED,
  async run({ aio, say }) {
    using file = aio.open(DAMAGED);
    using frames = aio.frames(3);
    say(`blocks 0 to 2: ${await ending(readBlocks(aio, file, frames, 0, 3))}`);
  },
};

const FULL_POOL: Scenario = {
  id: 'full-pool',
  title: 'Full pool',
  about: 'More reads than handles: those that find none wait, first come first served.',
  path: GOOD,
  async run({ aio, handles, say }) {
    using file = aio.open(GOOD);
    const count = 2 * handles;
    using frames = aio.frames(count);
    const ios = Array.from({ length: count }, (_, i) =>
      file.read(frames.slice(i, i + 1), i * PAGE_BYTES),
    );
    const waiting = ios.length - aio.inspect().length;
    say(`${count} reads, ${handles} handles: ${Math.max(0, waiting)} wait for one`);
    for (const io of ios) await io;
    say('all of them have ended');
  },
};

const STREAM: Scenario = {
  id: 'stream',
  title: 'Read stream',
  about:
    'A relation through the buffer pool: the distance grows while pages must be read, and falls ' +
    'while they are there. See the views of buffers and of the read stream.',
  path: GOOD,
  buffers: 800, // a backend may pin its share of them: 20
  async run({ aio, say }) {
    samples.value = [];
    using relation = aio.relation(GOOD);
    const row = Array.from({ length: 192 }, (_, i) => i);
    const again = row.slice(0, 64);
    const jumps = Array.from({ length: 24 }, (_, i) => 192 + ((i * 29) % 64));
    const taken: StreamSample[] = [];
    const stream = relation.readBlocks([...row, ...again, ...jumps]);
    for await (const { block } of stream) {
      const { distance, inFlight, pinned, waits } = stream.stats();
      taken.push({ block, distance, inFlight, pinned, waits });
    }
    samples.value = taken;
    const { used, buffers } = aio.buffers.summary();
    say(`${taken.length} pages; ${used} of ${buffers} buffers hold one`);
  },
};

const LEAK: Scenario = {
  id: 'leak',
  title: 'Leak',
  about: 'A handle is taken and forgotten; the end of its unit of work gives it back, and warns.',
  path: GOOD,
  async run({ aio, say }) {
    const owner = aio.owner();
    const handle = aio.acquire({ owner });
    say(`IO ${handle.id} is ${handle.state}, and its unit of work ends`);
    owner.commit();
  },
};

export const SCENARIOS: readonly Scenario[] = [
  ONE_READ,
  BATCH,
  FOREIGN,
  SHORT_READ,
  CHECKSUM,
  FULL_POOL,
  STREAM,
  LEAK,
];
