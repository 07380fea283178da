/** Puts a browser's host together: the module, a provider, this thread, and where reports go. */
import type { CoreHost, IoDevice, IoProvider, ProviderSpec } from '../../bindings/host.ts';
import { WARNING } from '../../bindings/layout.ts';
import type { AioReport } from '../../bindings/report.ts';
import { blobProvider } from './blob-provider.ts';
import { type CoreSource, coreModule } from './module.ts';
import { opfsProvider } from './opfs-provider.ts';
import { providerFrom } from './provider-from.ts';
import type { Step } from './recorder.ts';

/** What a browser's `create` and `attach` take besides settings. */
export interface BrowserHostOptions {
  /** Files by path: bytes, or what the person picked (a File is a Blob). @default none */
  readonly files?: Readonly<Record<string, Uint8Array | Blob>>;
  /**
   * Who does the I/O: `memory`, copies of `files` over `@wasmer/wasi`, for reading and writing;
   * `blob`, `files` as they are, for reading, shared with I/O workers; `opfs`, the Origin Private
   * File System, in workers only; a spec, or a provider of your own.
   * @default 'blob' if a Blob is among the files, else 'memory'
   */
  readonly provider?: 'memory' | 'blob' | 'opfs' | ProviderSpec | IoProvider;
  /** Folder of provider `opfs`. @default '' */
  readonly root?: string;
  /** Shared memory, which other threads can join; plain memory otherwise. @default where it can */
  readonly shared?: boolean;
  /** The device of io_method `host`. */
  readonly device?: IoDevice;
  /** Receives what PostgreSQL would log. @default none */
  readonly onReport?: (report: AioReport) => void;
  /** Name of the version directory in tablespaces. @default PostgreSQL 18's */
  readonly tablespaceVersionDirectory?: string;
  /** Folder of the relations' files, for `aio.relation()`. @default '' */
  readonly dataDirectory?: string;
  /** Modules with callbacks that every backend and I/O worker loads, by absolute URL. */
  readonly callbackModules?: readonly (string | URL)[];
  /**
   * The core, compiled, or its URL: `pgaio/pgaio.wasm` for shared memory,
   * `pgaio/pgaio-unshared.wasm` for plain. @default the one embedded in the bundle
   */
  readonly wasmModule?: CoreSource;
  /** Script of I/O workers, for pages that forbid workers from a blob. @default embedded */
  readonly workerUrl?: string | URL;
  /** With a core of target `sim` and setting `trace`: told the memory after each transition. */
  readonly onStep?: (step: Step) => void;
}

export async function providerOf(options: BrowserHostOptions): Promise<IoProvider> {
  const files = options.files ?? {};
  const holdsBlob = Object.values(files).some((file) => file instanceof Blob);
  const { provider = holdsBlob ? 'blob' : 'memory' } = options;
  if (provider === 'blob') return blobProvider(asBlobs(files));
  if (provider === 'opfs') return opfsProvider(options.root);
  if (provider === 'memory') {
    // Half a megabyte, which is loaded by those who use it.
    const { wasmerProvider } = await import('./wasmer-provider.ts');
    return wasmerProvider(await asBytes(files));
  }
  return 'bind' in provider ? provider : providerFrom(provider);
}

type Files = NonNullable<BrowserHostOptions['files']>;

function asBlobs(files: Files): Record<string, Blob> {
  const blobs = Object.entries(files).map(([path, file]): [string, Blob] => [
    path,
    file instanceof Blob ? file : new Blob([new Uint8Array(file)]),
  ]);
  return Object.fromEntries(blobs);
}

async function asBytes(files: Files): Promise<Record<string, Uint8Array>> {
  const bytes = Object.entries(files).map(
    async ([path, file]): Promise<[string, Uint8Array]> => [
      path,
      file instanceof Blob ? new Uint8Array(await file.arrayBuffer()) : file,
    ],
  );
  return Object.fromEntries(await Promise.all(bytes));
}

/** What is known of a host before a provider is. */
export interface HostParts {
  readonly shared: boolean;
  readonly provider: IoProvider;
  readonly device: IoDevice | undefined;
  readonly thread: number;
  readonly mayBlock: boolean;
  readonly extraImports: CoreHost['extraImports'];
}

export async function browserHost(
  options: BrowserHostOptions,
  parts: HostParts,
): Promise<CoreHost> {
  return {
    ...parts,
    module: await coreModule(parts.shared, options.wasmModule),
    onReport: options.onReport ?? warn,
    tablespaceVersionDirectory: options.tablespaceVersionDirectory,
    dataDirectory: options.dataDirectory,
  };
}

/** As an event, since what a library prints nobody can handle. */
function warn(report: AioReport): void {
  if (report.level < WARNING || typeof dispatchEvent !== 'function') return;
  dispatchEvent(new CustomEvent('pgaio-report', { detail: report }));
}

const HOST_OPTIONS = [
  'files',
  'provider',
  'root',
  'shared',
  'device',
  'onReport',
  'tablespaceVersionDirectory',
  'dataDirectory',
  'callbackModules',
  'wasmModule',
  'workerUrl',
  'onStep',
] as const satisfies readonly (keyof BrowserHostOptions)[];

/** Splits options into the host's and the rest. */
export function splitOptions<Options extends BrowserHostOptions>(
  options: Options,
): { host: BrowserHostOptions; rest: Omit<Options, keyof BrowserHostOptions> } {
  const known: ReadonlySet<string> = new Set(HOST_OPTIONS);
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const host = Object.fromEntries(given.filter(([name]) => known.has(name)));
  const rest = Object.fromEntries(given.filter(([name]) => !known.has(name)));
  return { host, rest: rest as Omit<Options, keyof BrowserHostOptions> };
}
