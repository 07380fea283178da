/**
 * Making a backend on Node: over a memory of its own, with I/O workers, or over the memory of one
 * in another thread, from its token.
 */
import { threadId } from 'node:worker_threads';
import { CoreInstance } from '../../bindings/core.ts';
import { AioUnavailableError } from '../../bindings/errors.ts';
import type { CoreHost, ProviderSpec } from '../../bindings/host.ts';
import type { Settings } from '../../bindings/settings.ts';
import { callbackBits, loadCallbacks, registerCallbacks } from '../callback-modules.ts';
import { type NodeHostOptions, nodeHost } from './host.ts';
import { watchThreads } from './threads.ts';
import { type NodePool, startWorkers } from './worker-pool.ts';

/** All another thread needs to join: plain data, for `workerData` or `postMessage`. */
export interface AioToken {
  readonly memory: WebAssembly.Memory;
  readonly provider: ProviderSpec | undefined;
  readonly callbackModules: readonly string[];
  readonly tablespaceVersionDirectory: string | undefined;
  readonly dataDirectory: string | undefined;
}

export interface Backend {
  readonly core: CoreInstance;
  readonly token: AioToken;
  /** The I/O workers, in the thread that made the memory. */
  readonly pool: NodePool | undefined;
}

/** A backend over a new memory, or over `memory`. */
export async function createBackend(
  options: NodeHostOptions,
  settings: Settings,
  memory?: WebAssembly.Memory,
): Promise<Backend> {
  const urls = (options.callbackModules ?? []).map(String);
  const table = await loadCallbacks(urls);
  const host = await nodeHost(options);
  const method = settings.io_method === undefined ? defaultMethod(host) : settings.io_method;
  const chosen = String(method).toLowerCase();
  if (chosen === 'worker' && memory === undefined) requireWorkers(host);
  if (chosen === 'host' && host.device === undefined && memory === undefined) throw deviceMissing();
  const core = await CoreInstance.create(
    host,
    { ...settings, io_method: method },
    { memory, callbacksEverywhere: callbackBits(table) },
  );
  try {
    registerCallbacks(core, table);
  } catch (error) {
    core.shutdown();
    throw error;
  }
  const token: AioToken = {
    memory: core.memory,
    provider: host.provider.spec,
    callbackModules: urls,
    tablespaceVersionDirectory: options.tablespaceVersionDirectory,
    dataDirectory: options.dataDirectory,
  };
  watchThreads(core);
  const pool = startPool(core, token, memory !== undefined);
  if (threadId !== 0) leaveWithThread(core);
  return { core, token, pool };
}

/** A backend over the memory of another, from its token. */
export function joinBackend(token: AioToken, options: NodeHostOptions): Promise<Backend> {
  if (!(token?.memory instanceof WebAssembly.Memory)) {
    throw new TypeError('attach: expected the token of an engine (aio.token)');
  }
  const provider = options.provider ?? token.provider;
  if (provider === undefined) throw unshareable('attach needs the option `provider`');
  const { callbackModules, tablespaceVersionDirectory, dataDirectory } = token;
  const inherited = {
    provider,
    callbackModules,
    ...(tablespaceVersionDirectory === undefined ? {} : { tablespaceVersionDirectory }),
    ...(dataDirectory === undefined ? {} : { dataDirectory }),
  };
  return createBackend({ ...inherited, ...options, provider }, {}, token.memory);
}

function deviceMissing(): AioUnavailableError {
  return new AioUnavailableError({
    code: 'PGAIO_NO_DEVICE',
    message: 'io_method "host" needs a device',
    hint: 'Give one as the option `device`.',
  });
}

/** PostgreSQL's default is worker. */
function defaultMethod(host: CoreHost): 'worker' | 'sync' {
  return host.shared && host.provider.spec !== undefined ? 'worker' : 'sync';
}

function requireWorkers(host: CoreHost): void {
  if (!host.shared) {
    throw new AioUnavailableError({
      code: 'PGAIO_NOT_SHARED',
      message: 'io_method "worker" needs shared memory',
      hint: 'Leave out `shared: false`, or set io_method to "sync".',
    });
  }
  if (host.provider.spec === undefined) throw unshareable('io_method "worker" cannot be used');
}

function unshareable(consequence: string): AioUnavailableError {
  return new AioUnavailableError({
    code: 'PGAIO_PROVIDER_LOCAL',
    message: `the I/O provider cannot be made again in other threads: ${consequence}`,
    hint: 'Give it as { name: "module", url }, or set io_method to "sync".',
  });
}

function startPool(core: CoreInstance, token: AioToken, joined: boolean): NodePool | undefined {
  if (joined || core.show('io_method') !== 'worker' || token.provider === undefined) {
    return undefined;
  }
  return startWorkers(core, {
    memory: token.memory,
    module: core.host.module,
    provider: token.provider,
    callbackModules: token.callbackModules,
    tablespaceVersionDirectory: token.tablespaceVersionDirectory,
    dataDirectory: token.dataDirectory,
    starter: threadId,
  });
}

/**
 * A thread that ends in any way but being terminated leaves first: process.exit, an uncaught error,
 * or nothing more to do. Inside a callback that is refused; then its slot is found by the others.
 */
function leaveWithThread(core: CoreInstance): void {
  const leave = (): void => {
    try {
      if (!core.closed) core.shutdown();
    } catch {
      // Whoever watches this thread cleans up.
    }
  };
  process.once('exit', leave);
  core.onLeaving(() => process.off('exit', leave));
}
