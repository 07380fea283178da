/** Puts Node's host together: the module, a provider, this thread, and where reports go. */
import { isMainThread, MessageChannel, threadId } from 'node:worker_threads';
import { AioUnavailableError } from '../../bindings/errors.ts';
import type { CoreHost, IoDevice, IoProvider, ProviderSpec } from '../../bindings/host.ts';
import { WARNING } from '../../bindings/layout.ts';
import type { AioReport } from '../../bindings/report.ts';
import { refuse } from '../../bindings/settings.ts';
import { directProvider, withSpec } from './direct-provider.ts';
import { publishEvent } from './events.ts';
import { coreModule } from './module.ts';
import { shim } from './shim.ts';
import { wasiProvider } from './wasi-provider.ts';

/** What Node's `create` and `attach` take besides settings. */
export interface NodeHostOptions {
  /**
   * Who does the I/O: `direct` over this process's descriptors, any path; `wasi` through node:wasi,
   * paths below `root` only; `{ name: 'module', url, options }`, a module that exports
   * `createProvider(options)`; or a provider of your own, which I/O workers cannot share.
   * @default 'direct', 'wasi' if `root` is given
   */
  readonly provider?: 'direct' | 'wasi' | ProviderSpec | IoProvider;
  /** The only directory that provider `wasi` can reach. @default the current directory */
  readonly root?: string;
  /** Shared memory, which other threads can join; plain memory otherwise. @default true */
  readonly shared?: boolean;
  /** The device of io_method `host`. */
  readonly device?: IoDevice;
  /**
   * Whether the memory is to be backed by huge pages, where Linux has transparent ones: devices
   * read into them faster, and they are found faster. `off` saves up to 2 MiB for each piece that
   * is used of a memory. @default 'try'
   */
  readonly hugePages?: 'try' | 'off';
  /** Receives what PostgreSQL would log. @default process warnings for WARNING and above */
  readonly onReport?: (report: AioReport) => void;
  /** Name of the version directory in tablespaces. @default PostgreSQL 18's */
  readonly tablespaceVersionDirectory?: string;
  /**
   * The cluster that relations are of: a directory, below `root` with provider `wasi`.
   * @default the provider's own, or the current directory
   */
  readonly dataDirectory?: string;
  /**
   * Modules with callbacks that every backend and I/O worker loads: each exports `callbacks`, an
   * object from id (32 .. 63) to AioCallback. I/Os with other callbacks stay with their issuer.
   */
  readonly callbackModules?: readonly (string | URL)[];
}

export async function nodeHost(options: NodeHostOptions): Promise<CoreHost> {
  const shared = options.shared ?? true;
  return {
    module: await coreModule(shared),
    shared,
    provider: await providerOf(options),
    device: options.device,
    onReport: options.onReport ?? warn,
    tablespaceVersionDirectory: options.tablespaceVersionDirectory,
    dataDirectory: options.dataDirectory,
    hugePages: hugePages(options.hugePages),
    thread: threadId,
    descriptorsEndWithThread: !isMainThread, // Node closes them, see trackUnmanagedFds
    keepAlive: keepAlive(),
    turn: () => new Promise((resolve) => void setImmediate(resolve)),
    // From a microtask: Node calls what is due at the next tick before all microtasks.
    afterMicrotasks: (act) => queueMicrotask(() => process.nextTick(act)),
    onEvent: publishEvent,
  };
}

/** Of x86-64, and of arm64 with pages of 4 KiB. */
const HUGE_PAGE_BYTES = 2 ** 21;

/** Transparent huge pages; undefined where nothing asks the kernel for them. */
function hugePages(wanted: NodeHostOptions['hugePages'] = 'try'): CoreHost['hugePages'] {
  if (wanted !== 'try' && wanted !== 'off') {
    throw refuse('hugePages', wanted, { hint: 'Available values: off, try.' });
  }
  const asked = wanted === 'off' ? undefined : shim();
  if (asked === undefined) return undefined;
  return {
    bytes: HUGE_PAGE_BYTES,
    // Where the kernel has none nothing is lost but speed.
    advise: (memory) => void asked.huge(new Uint8Array(memory.buffer)),
  };
}

async function providerOf(options: NodeHostOptions): Promise<IoProvider> {
  const { provider = options.root === undefined ? 'direct' : 'wasi' } = options;
  if (provider === 'direct') return directProvider();
  if (provider === 'wasi') return wasiProvider(options.root ?? process.cwd());
  return 'bind' in provider ? provider : providerFrom(provider);
}

/** The provider that a spec describes: how other threads get the same. */
export async function providerFrom(spec: ProviderSpec): Promise<IoProvider> {
  switch (spec.name) {
    case 'direct':
      return directProvider();
    case 'wasi':
      return wasiProvider(spec.root);
    case 'module':
      return withSpec(await importProvider(spec.url, spec.options), spec);
    case 'blob':
    case 'opfs':
      throw new AioUnavailableError({
        code: 'PGAIO_PROVIDER_BROWSER',
        message: `provider "${spec.name}" is a browser's`,
        hint: 'Give provider "direct" or "wasi".',
      });
    default:
      return spec satisfies never;
  }
}

async function importProvider(url: string, options: unknown): Promise<IoProvider> {
  const module: unknown = await import(url);
  if (typeof module === 'object' && module !== null && 'createProvider' in module) {
    const { createProvider } = module;
    if (typeof createProvider === 'function') return createProvider(options) as IoProvider;
  }
  throw new AioUnavailableError({
    code: 'PGAIO_PROVIDER_MODULE',
    message: `module ${url} has no function createProvider`,
    hint: 'Export `createProvider(options)` that returns an IoProvider.',
  });
}

/** A port is referenced while I/O is in flight, and costs nothing otherwise. */
function keepAlive(): { hold(): void; release(): void } {
  let port: InstanceType<typeof MessageChannel>['port1'] | undefined;
  let holds = 0;
  return {
    hold() {
      if (holds++ > 0) return;
      if (port === undefined) {
        port = new MessageChannel().port1;
        port.on('message', () => undefined);
      }
      port.ref();
    },
    release() {
      if (--holds === 0) port?.unref();
    },
  };
}

function warn(report: AioReport): void {
  if (report.level < WARNING) return;
  process.emitWarning(report.message, {
    type: 'PgAioWarning',
    code: report.sqlstate,
    ...(report.detail === undefined ? {} : { detail: report.detail }),
  });
}

const HOST_OPTIONS = [
  'provider',
  'root',
  'shared',
  'hugePages',
  'device',
  'onReport',
  'tablespaceVersionDirectory',
  'dataDirectory',
  'callbackModules',
] as const satisfies readonly (keyof NodeHostOptions)[];

/** Splits options into the host's and the rest. */
export function splitOptions<Options extends NodeHostOptions>(
  options: Options,
): { host: NodeHostOptions; rest: Omit<Options, keyof NodeHostOptions> } {
  const known: ReadonlySet<string> = new Set(HOST_OPTIONS);
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const host = Object.fromEntries(given.filter(([name]) => known.has(name)));
  const rest = Object.fromEntries(given.filter(([name]) => !known.has(name)));
  return { host, rest: rest as Omit<Options, keyof NodeHostOptions> };
}
