/**
 * Making a backend in a browser: over a memory of its own, with I/O workers where the page may
 * have them, or over the memory of one in another thread, from its token.
 */
import { CoreInstance } from '../../bindings/core.ts';
import { AioUnavailableError } from '../../bindings/errors.ts';
import type { CoreHost, IoProvider, ProviderSpec } from '../../bindings/host.ts';
import type { Settings } from '../../bindings/settings.ts';
import { callbackBits, loadCallbacks, registerCallbacks } from '../callback-modules.ts';
import { BlobDevice } from './blob-device.ts';
import type { BlobProvider } from './blob-provider.ts';
import { type BrowserHostOptions, browserHost, providerOf } from './host.ts';
import { type AioChoice, notShareable, thisPlace } from './places.ts';
import { Recorder, type Step } from './recorder.ts';
import {
  announceThread,
  newRegistry,
  nextThread,
  type ThreadRegistry,
  watchThreads,
} from './threads.ts';
import { type BrowserPool, startWorkers } from './worker-pool.ts';

/** All another thread needs to join: plain data, for `postMessage`. */
export interface AioToken {
  readonly memory: WebAssembly.Memory;
  /** The core that laid the memory out. */
  readonly module: WebAssembly.Module;
  readonly provider: ProviderSpec | undefined;
  readonly callbackModules: readonly string[];
  readonly tablespaceVersionDirectory: string | undefined;
  readonly dataDirectory: string | undefined;
  readonly threads: ThreadRegistry;
}

export interface Backend {
  readonly core: CoreInstance;
  readonly token: AioToken;
  readonly choice: AioChoice;
  /** The I/O workers, in the thread that made the memory. */
  readonly pool: BrowserPool | undefined;
  readonly recorder: Recorder | undefined;
}

/** What is joined: a memory, and what its other threads know. */
export interface Joining {
  readonly memory: WebAssembly.Memory;
  readonly threads?: ThreadRegistry;
}

/** A backend over a new memory, or over that of `joining`. */
export async function createBackend(
  options: BrowserHostOptions,
  settings: Settings,
  joining?: Joining,
): Promise<Backend> {
  const urls = (options.callbackModules ?? []).map(String);
  const [table, provider] = await Promise.all([loadCallbacks(urls), providerOf(options)]);
  const choice = choose(options, settings, provider, joining);
  const shared = choice.build === 'shared';
  const threads = joining?.threads ?? newRegistry(shared && joining === undefined);
  const device = options.device ?? deviceFor(choice, provider);
  const recording = recorderFor(options.onStep, nextThread(threads));
  const host = await browserHost(options, {
    shared,
    provider,
    device,
    thread: recording.thread,
    mayBlock: !(shared && thisPlace().isPage),
    extraImports: recording.extraImports,
  });
  const core = await CoreInstance.create(
    host,
    { ...settings, io_method: choice.method as NonNullable<Settings['io_method']> },
    { memory: joining?.memory, callbacksEverywhere: callbackBits(table) },
  );
  try {
    registerCallbacks(core, table);
  } catch (error) {
    core.shutdown();
    throw error;
  }
  if (device instanceof BlobDevice) device.serve(core);
  const token: AioToken = {
    memory: core.memory,
    module: host.module,
    provider: provider.spec,
    callbackModules: urls,
    tablespaceVersionDirectory: options.tablespaceVersionDirectory,
    dataDirectory: options.dataDirectory,
    threads,
  };
  if (joining === undefined) watchThreads(threads, core);
  else await announceThread(threads, core);
  const pool = joining === undefined ? startPool(core, token, options) : undefined;
  await pool?.ready;
  return { core, token, choice, pool, recorder: recording.recorder };
}

/** A backend over the memory of another, from its token. */
export function joinBackend(token: AioToken, options: BrowserHostOptions): Promise<Backend> {
  if (!(token?.memory instanceof WebAssembly.Memory)) {
    throw new TypeError('attach: expected the token of an engine (aio.token)');
  }
  const provider = options.provider ?? token.provider;
  if (provider === undefined) throw unshareable('attach needs the option `provider`');
  const { memory, threads, module, callbackModules } = token;
  const { tablespaceVersionDirectory, dataDirectory } = token;
  const inherited = {
    wasmModule: module,
    callbackModules,
    ...(tablespaceVersionDirectory === undefined ? {} : { tablespaceVersionDirectory }),
    ...(dataDirectory === undefined ? {} : { dataDirectory }),
  };
  return createBackend({ ...inherited, ...options, provider }, {}, { memory, threads });
}

/** The build and the method: what was asked for, else the best this place has. */
function choose(
  options: BrowserHostOptions,
  settings: Settings,
  provider: IoProvider,
  joining: Joining | undefined,
): AioChoice {
  const { isPage, unshareable: why } = thisPlace();
  const shared = joining
    ? !(joining.memory.buffer instanceof ArrayBuffer)
    : (options.shared ?? why === undefined);
  const asked = settings.io_method;
  const wanted = asked === undefined ? 'auto' : String(asked).toLowerCase();
  const method = wanted === 'auto' ? undefined : wanted;
  const build = shared ? 'shared' : 'unshared';
  if (joining) return { build, method: method ?? 'sync', reason: 'as the memory it joins' };
  const threads = shared && why === undefined;
  if (method === 'worker') {
    if (!threads) throw notShareable(why ?? 'the option `shared` is false');
    if (!workersCan(provider)) throw unshareable('io_method "worker" cannot be used');
  }
  if (method === 'host' && options.device === undefined && !isBlobs(provider)) {
    throw deviceMissing();
  }
  if (method !== undefined) return { build, method, reason: `io_method "${method}" was asked for` };
  const memory = memoryWords(options.shared, why);
  if (threads && workersCan(provider)) {
    return { build, method: 'worker', reason: `${memory}, I/O workers` };
  }
  if (isPage && isBlobs(provider)) {
    return { build, method: 'host', reason: `${memory}; the page reads files as promises` };
  }
  const local = threads ? `; files of provider "${provider.name}" belong to one thread` : '';
  return { build, method: 'sync', reason: `${memory}${local}` };
}

function memoryWords(asked: boolean | undefined, why: string | undefined): string {
  if (asked !== undefined) return `${asked ? 'shared' : 'plain'} memory was asked for`;
  return why === undefined
    ? 'the page is cross-origin isolated: shared memory'
    : `${why}: plain memory`;
}

/** OPFS opens files with promises, which the loop of an I/O worker never gets round to. */
function workersCan(provider: IoProvider): boolean {
  return provider.spec !== undefined && provider.spec.name !== 'opfs';
}

function isBlobs(provider: IoProvider): provider is BlobProvider {
  return 'blobOf' in provider;
}

function deviceFor({ method }: AioChoice, provider: IoProvider): BlobDevice | undefined {
  return method === 'host' && isBlobs(provider) ? new BlobDevice(provider) : undefined;
}

interface Recording {
  readonly thread: number;
  /** Of the instance made last: the first is only asked for a size. */
  recorder: Recorder | undefined;
  extraImports: CoreHost['extraImports'];
}

function recorderFor(onStep: ((step: Step) => void) | undefined, thread: number): Recording {
  const recording: Recording = { thread, recorder: undefined, extraImports: undefined };
  if (onStep === undefined) return recording;
  recording.extraImports = (memory) => {
    recording.recorder = new Recorder(memory, thread, onStep);
    return recording.recorder.imports();
  };
  return recording;
}

function deviceMissing(): AioUnavailableError {
  return new AioUnavailableError({
    code: 'PGAIO_NO_DEVICE',
    message: 'io_method "host" needs a device',
    hint: 'Give one as the option `device`.',
  });
}

function unshareable(consequence: string): AioUnavailableError {
  return new AioUnavailableError({
    code: 'PGAIO_PROVIDER_LOCAL',
    message: `the I/O provider cannot be used in I/O workers: ${consequence}`,
    hint: 'Give files as Blobs, or a provider as { name: "module", url }; or use io_method "sync".',
  });
}

function startPool(
  core: CoreInstance,
  token: AioToken,
  options: BrowserHostOptions,
): BrowserPool | undefined {
  if (core.show('io_method') !== 'worker' || token.provider === undefined) return undefined;
  const start = {
    memory: token.memory,
    module: token.module,
    provider: token.provider,
    callbackModules: token.callbackModules,
    tablespaceVersionDirectory: token.tablespaceVersionDirectory,
    dataDirectory: token.dataDirectory,
    starter: core.host.thread,
    records: options.onStep !== undefined,
  };
  return startWorkers(core, start, {
    registry: token.threads,
    workerUrl: options.workerUrl === undefined ? undefined : String(options.workerUrl),
    onStep: options.onStep,
  });
}
