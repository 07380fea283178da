/**
 * Making a backend on Node: over a memory of its own, with I/O workers, or over the memory of one
 * in another thread, from its token.
 */
import { threadId } from 'node:worker_threads';
import { CoreInstance } from '../../bindings/core.ts';
import { AioUnavailableError, AioUsageError } from '../../bindings/errors.ts';
import type { CoreHost, ProviderSpec } from '../../bindings/host.ts';
import * as layout from '../../bindings/layout.ts';
import type { Settings } from '../../bindings/settings.ts';
import { callbackBits, loadCallbacks, registerCallbacks } from '../callback-modules.ts';
import { type NodeHostOptions, nodeHost } from './host.ts';
import { adoptModule } from './module.ts';
import { watchThreads } from './threads.ts';
import { probeUring, ringFailed, type UringReason, uringUnavailable } from './uring.ts';
import { type NodePool, startWorkers } from './worker-pool.ts';

/** All another thread needs to join: plain data, for `workerData` or `postMessage`. */
export interface AioToken {
  readonly memory: WebAssembly.Memory;
  readonly provider: ProviderSpec | undefined;
  readonly callbackModules: readonly string[];
  readonly tablespaceVersionDirectory: string | undefined;
  readonly dataDirectory: string | undefined;
  /** The core as compiled for this memory: another thread need not compile it again. */
  readonly module?: WebAssembly.Module;
}

export interface Backend {
  readonly core: CoreInstance;
  readonly token: AioToken;
  /** The I/O workers, in the thread that made the memory. */
  readonly pool: NodePool | undefined;
  /** Why io_method `auto` did not take io_uring. */
  readonly fallback: UringReason | undefined;
}

/** A backend over a new memory, or over `memory`. */
export async function createBackend(
  options: NodeHostOptions,
  settings: Settings,
  memory?: WebAssembly.Memory,
): Promise<Backend> {
  const urls = (options.callbackModules ?? []).map(String);
  const table = await loadCallbacks(urls);
  const choice = await chooseMethod(options, settings, memory);
  const { host, method } = choice;
  const core = await makeCore(
    host,
    method === undefined ? settings : { ...settings, io_method: method },
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
    module: host.module,
  };
  watchThreads(core);
  const pool = startPool(core, token, memory !== undefined);
  if (threadId !== 0) leaveWithThread(core);
  return { core, token, pool, fallback: choice.fallback };
}

/** A ring that the kernel refuses is this machine's affair, not the caller's. */
async function makeCore(...from: Parameters<typeof CoreInstance.create>): Promise<CoreInstance> {
  try {
    return await CoreInstance.create(...from);
  } catch (error) {
    if (!(error instanceof AioUsageError) || error.code !== 'PGAIO_URING_SETUP') throw error;
    throw ringFailed(error.number);
  }
}

/** A backend over the memory of another, from its token. */
export function joinBackend(token: AioToken, options: NodeHostOptions): Promise<Backend> {
  if (!(token?.memory instanceof WebAssembly.Memory)) {
    throw new TypeError('attach: expected the token of an engine (aio.token)');
  }
  const provider = options.provider ?? token.provider;
  if (provider === undefined) throw unshareable('attach needs the option `provider`');
  const { callbackModules, tablespaceVersionDirectory, dataDirectory, module } = token;
  if (module !== undefined) adoptModule(true, module);
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

/** A method, and a host that can do it. */
interface MethodChoice {
  readonly host: CoreHost;
  readonly method: Exclude<Settings['io_method'], 'auto'>;
  readonly fallback: UringReason | undefined;
}

/** Takes the method asked for, or refuses; `auto` looks for one. A memory has its method. */
async function chooseMethod(
  options: NodeHostOptions,
  { io_method, ring }: Settings,
  memory: WebAssembly.Memory | undefined,
): Promise<MethodChoice> {
  const host = await nodeHost(options);
  const wanted = memory === undefined ? String(io_method).toLowerCase() : methodOf(memory);
  if (wanted === 'auto' || wanted === 'io_uring') {
    const { provider } = host;
    const rings = provider.rings?.bind(provider);
    const reason = uringReason(host, ring === 'shared');
    if (reason === undefined && rings !== undefined) {
      return { host: { ...host, uring: rings }, method: 'io_uring', fallback: undefined };
    }
    if (wanted === 'io_uring' && reason !== undefined) throw uringUnavailable(reason);
    return { host, method: defaultMethod(host), fallback: reason };
  }
  if (memory !== undefined) return { host, method: undefined, fallback: undefined };
  const method = (
    io_method === undefined ? defaultMethod(host) : io_method
  ) as MethodChoice['method'];
  if (wanted === 'worker') requireWorkers(host);
  if (wanted === 'host' && host.device === undefined) throw deviceMissing();
  return { host, method, fallback: undefined };
}

/** What a memory was laid out for; empty if it was not. */
function methodOf(memory: WebAssembly.Memory): string {
  const words = new Uint32Array(memory.buffer);
  const { state, io_method } = layout.PgAioCtl.fields;
  const field = (offset: number): number => words[(layout.CTL_AT + offset) >>> 2] ?? 0;
  const ready = field(state.offset) === layout.CTL_READY;
  return ready && field(io_method.offset) === layout.IOMETHOD_IO_URING ? 'io_uring' : '';
}

/** Why this host cannot use io_uring. */
function uringReason(host: CoreHost, sharedRings: boolean): UringReason | undefined {
  const remedy = 'Use io_method "worker" or "sync".';
  if (!host.shared) {
    return { stage: 'platform', errno: 0, cause: 'it needs shared memory', remedy };
  }
  if (host.provider.rings === undefined) {
    const cause = `provider "${host.provider.name}" has no descriptors of the kernel's`;
    return { stage: 'platform', errno: 0, cause, remedy: 'Use provider "direct".' };
  }
  const probe = probeUring();
  if (probe.reason !== undefined || !sharedRings || probe.sharedRings) return probe.reason;
  return {
    stage: 'features',
    errno: 0,
    cause: 'this kernel cannot have rings in memory of ours (IORING_SETUP_NO_MMAP, Linux 6.5)',
    remedy: 'Leave out `ring: "shared"`.',
  };
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
