/** The engine of this page: one per scenario, recorded step by step, or one under a load. */
import { Aio, type AioOptions, constants, type PageVerdict, type Step } from '../index.ts';
import { demoFiles, GOOD, PAGE_BYTES, PAGES } from './demo.ts';
import { LaterDevice } from './device.ts';
import { SCENARIOS } from './scenarios.ts';
import {
  about,
  type Chosen,
  choose,
  chosen,
  log,
  type Method,
  running,
  say,
  sayReport,
  source,
  tick,
} from './state.ts';

const FILES: Readonly<Record<string, string | undefined>> = {
  recorded: 'pgaio-sim.wasm',
  debug: 'pgaio-debug.wasm',
};
/** Pages of the buffer pool where a scenario does not use it. */
const BUFFERS = 16;
/** Steps kept of one scenario. */
const STEPS_KEPT = 600;
/** What an I/O worker records arrives a moment after what it is about. */
const AFTERMATH_MS = 60;
/** Drawing takes the time of the thread that issues the I/O. */
const LOOK_MS = 100;

interface Engine {
  readonly aio: Aio;
  readonly device: LaterDevice | undefined;
  readonly options: AioOptions;
  readonly method: Method;
}

/** The method that is asked for, or what can be had of it here. */
function possible(method: string): Method {
  if (method === 'worker' && !globalThis.crossOriginIsolated) {
    say('NOTE: I/O workers need a cross-origin isolated page; method host is used');
    return 'host';
  }
  return method as Method;
}

async function openEngine(
  settings: Chosen,
  path: string,
  buffers: number,
  onStep: ((step: Step) => void) | undefined,
): Promise<Engine> {
  const files = await demoFiles();
  const method = possible(settings.method);
  const device = method === 'host' ? new LaterDevice(() => files[path] ?? EMPTY) : undefined;
  const file = FILES[settings.core];
  const options: AioOptions = {
    ioMethod: method,
    ioMaxConcurrency: settings.handles,
    maxBackends: settings.backends,
    sharedBuffers: buffers,
    ioFrames: 64,
    traceSize: 1024,
    maxFiles: 8,
    ioWorkers: 2,
    trace: true,
    files,
    provider: method === 'worker' ? 'blob' : 'memory',
    onReport: sayReport,
    ...(device && { device }),
    ...(file === undefined ? {} : { wasmModule: new URL(file, document.baseURI) }),
    ...(file === undefined ? {} : { shared: true }), // these cores are built for shared memory
    ...(onStep && settings.core === 'recorded' && { onStep }),
  };
  const aio = await Aio.create(options);
  device?.serve(aio);
  const isolated = `${globalThis.crossOriginIsolated ? '' : 'not '}cross-origin isolated`;
  about.value = [`${aio.choice.build} build`, `method ${method}`, aio.choice.reason, isolated];
  return { aio, device, options, method };
}
const EMPTY = new Uint8Array(0);

let current: Engine | undefined;
/** Goes up when something else is to be shown: what was under way ends by itself. */
let turn = 0;

async function closeCurrent(): Promise<void> {
  turn++;
  const engine = current;
  current = undefined;
  await engine?.aio[Symbol.asyncDispose]();
}

/** Runs a scenario with what is chosen, and shows its first step. */
export async function runScenario(id: string): Promise<void> {
  if (running.value) return;
  const scenario = SCENARIOS.find((one) => one.id === id) ?? SCENARIOS[0];
  if (scenario === undefined) return;
  running.value = true;
  try {
    await closeCurrent();
    log.value = [];
    say(scenario.about);
    const recorded = new Map<number, Step>();
    const settings = chosen.value;
    const pool = scenario.buffers ?? BUFFERS;
    const engine = await openEngine(settings, scenario.path, pool, (step) => {
      if (recorded.size < STEPS_KEPT && !recorded.has(step.seq)) recorded.set(step.seq, step);
    });
    current = engine;
    await scenario.run({
      aio: engine.aio,
      method: engine.method,
      device: engine.device,
      handles: settings.handles,
      depth: settings.depth,
      second: () => Aio.create({ ...secondOptions(engine.options), memory: engine.aio.memory }),
      say,
    });
    engine.aio.lookAgain();
    await new Promise((resolve) => setTimeout(resolve, AFTERMATH_MS));
    showRecorded(engine.aio, recorded);
  } catch (error) {
    say(`ERROR: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    running.value = false;
  }
}

/** Settings are the memory's; a backend that joins brings its host's part. */
function secondOptions({ files, provider, device, wasmModule, shared, onStep }: AioOptions) {
  return {
    ...(files && { files }),
    ...(provider && { provider }),
    ...(device && { device }),
    ...(wasmModule && { wasmModule }),
    ...(shared === undefined ? {} : { shared }),
    ...(onStep && { onStep }),
    onReport: sayReport,
  };
}

function showRecorded(aio: Aio, recorded: ReadonlyMap<number, Step>): void {
  const steps = [...recorded.values()].sort((a, b) => a.seq - b.seq);
  if (steps.length === 0) {
    const bytes = new Uint8Array(aio.memory.buffer);
    source.value = { kind: 'live', bytes };
    return;
  }
  source.value = { kind: 'steps', steps };
}

/** Reads at random, `depth` at a time, until something else is shown. */
export async function runLoad(): Promise<void> {
  await closeCurrent();
  log.value = [];
  const mine = turn;
  const settings = chosen.value;
  const core = settings.core === 'recorded' ? 'release' : settings.core;
  const engine = await openEngine({ ...settings, core }, GOOD, BUFFERS, undefined);
  current = engine;
  say(`Reads single blocks at random, ${settings.depth} at a time, until a scenario is run.`);
  source.value = { kind: 'live', bytes: new Uint8Array(engine.aio.memory.buffer) };
  choose({ play: 1 });
  const lanes = Array.from({ length: settings.depth }, (_, lane) => load(engine, lane, mine));
  const look = (): void => {
    if (turn !== mine) return;
    if (chosen.value.play === 1) tick.value++;
    setTimeout(look, LOOK_MS);
  };
  look();
  await Promise.all(lanes).catch((error) => {
    if (turn === mine) throw error; // else its engine was closed meanwhile
  });
}

async function load({ aio, method }: Engine, lane: number, mine: number): Promise<void> {
  const file = aio.open(GOOD);
  using frames = aio.frames(1);
  let seed = lane + 1;
  while (turn === mine) {
    seed = (seed * 48271) % 2147483647; // the minimal standard generator: repeatable
    await file.read(frames, (seed % PAGES) * PAGE_BYTES);
    // The page is to be drawn in between; a method that never waits would not let it.
    if (method === 'sync' || seed % 16 === 0) await new Promise((next) => setTimeout(next));
  }
}

/** Verifies a file that was dropped: the engine reads it in pieces and tells of each page. */
export async function readRelation(
  file: File,
  onPages: (first: number, pages: readonly RelationPage[]) => void,
): Promise<void> {
  const segment = Number(/\.(\d+)$/.exec(file.name)?.[1] ?? 0);
  const firstBlock = segment * SEGMENT_BLOCKS;
  await using aio = await Aio.create({
    files: { relation: file },
    ioMaxConcurrency: 8,
    sharedBuffers: 16,
    ioFrames: 64,
    maxBackends: 1,
    onReport: () => undefined, // each page is told of by its verdict
  });
  using opened = aio.open('relation');
  using frames = aio.frames(PIECE);
  const count = Math.floor(file.size / PAGE_BYTES);
  for (let block = 0; block < count; block += PIECE) {
    const blocks = Math.min(PIECE, count - block);
    const handle = await aio.acquireAsync();
    const io = handle
      .setTarget({
        relation: { spcOid: 1663, dbOid: 5, relNumber: 1 },
        block: firstBlock + block,
        blocks,
      })
      .register(constants.PGAIO_HCB_PAGE_READV)
      .register(constants.PGAIO_HCB_MD_READV)
      .startReadv(opened, frames.slice(0, blocks), block * PAGE_BYTES);
    await Promise.resolve(io).catch(() => undefined); // its verdicts say more
    const verdicts = io.result?.verdicts ?? [];
    const pages = verdicts.map((verdict, i) => ({ verdict, bytes: frames.page(i).slice() }));
    onPages(block, pages);
  }
}
const PIECE = 16;
/** Blocks of a segment of 1 GiB, PostgreSQL's default. */
const SEGMENT_BLOCKS = 131072;

export interface RelationPage {
  readonly verdict: PageVerdict;
  readonly bytes: Uint8Array;
}
