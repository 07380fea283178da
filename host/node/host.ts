/** Puts Node's host together: the module, a provider, and where reports go. */
import type { CoreHost, IoDevice, IoProvider } from '../../bindings/host.ts';
import { WARNING } from '../../bindings/layout.ts';
import type { AioReport } from '../../bindings/report.ts';
import { directProvider } from './direct-provider.ts';
import { coreModule } from './module.ts';
import { wasiProvider } from './wasi-provider.ts';

/** What Node's `create` and `attach` take besides settings. */
export interface NodeHostOptions {
  /**
   * Who does the I/O: `direct` over this process's descriptors, any path; `wasi` through node:wasi,
   * paths below `root` only; or one of your own. @default 'direct', 'wasi' if `root` is given
   */
  readonly provider?: 'direct' | 'wasi' | IoProvider;
  /** The only directory that provider `wasi` can reach. @default the current directory */
  readonly root?: string;
  /** Shared memory, which other threads can join; plain memory otherwise. @default true */
  readonly shared?: boolean;
  /** The device of io_method `host`. */
  readonly device?: IoDevice;
  /** Receives what PostgreSQL would log. @default process warnings for WARNING and above */
  readonly onReport?: (report: AioReport) => void;
  /** Name of the version directory in tablespaces. @default PostgreSQL 18's */
  readonly tablespaceVersionDirectory?: string;
}

export async function nodeHost(options: NodeHostOptions): Promise<CoreHost> {
  const shared = options.shared ?? true;
  return {
    module: await coreModule(shared),
    shared,
    provider: providerOf(options),
    device: options.device,
    onReport: options.onReport ?? warn,
    tablespaceVersionDirectory: options.tablespaceVersionDirectory,
  };
}

function providerOf(options: NodeHostOptions): IoProvider {
  const { provider = options.root === undefined ? 'direct' : 'wasi' } = options;
  switch (provider) {
    case 'direct':
      return directProvider();
    case 'wasi':
      return wasiProvider(options.root ?? process.cwd());
    default:
      return provider;
  }
}

function warn(report: AioReport): void {
  if (report.level < WARNING) return;
  process.emitWarning(report.message, {
    type: 'PgAioWarning',
    code: report.sqlstate,
    ...(report.detail === undefined ? {} : { detail: report.detail }),
  });
}

/** Splits options into the host's and the rest. */
export function splitOptions<Options extends NodeHostOptions>(
  options: Options,
): { host: NodeHostOptions; rest: Omit<Options, keyof NodeHostOptions> } {
  const { provider, root, shared, device, onReport, tablespaceVersionDirectory, ...rest } = options;
  const host = { provider, root, shared, device, onReport, tablespaceVersionDirectory };
  const given = Object.entries(host).filter(([, value]) => value !== undefined);
  return { host: Object.fromEntries(given) as NodeHostOptions, rest };
}
