/** Providers as data, for other threads. */
import { AioUnavailableError } from '../../bindings/errors.ts';
import type { IoProvider, ProviderSpec } from '../../bindings/host.ts';
import { blobProvider } from './blob-provider.ts';
import { opfsProvider } from './opfs-provider.ts';

/** The provider that a spec describes: how other threads get the same. */
export async function providerFrom(spec: ProviderSpec): Promise<IoProvider> {
  switch (spec.name) {
    case 'blob':
      return blobProvider(spec.files);
    case 'opfs':
      return opfsProvider(spec.root);
    case 'module':
      return { ...(await importProvider(spec.url, spec.options)), spec };
    case 'direct':
    case 'wasi':
      throw new AioUnavailableError({
        code: 'PGAIO_PROVIDER_NODE',
        message: `provider "${spec.name}" is Node's`,
        hint: 'Give provider "memory", "blob" or "opfs".',
      });
    default:
      return spec satisfies never;
  }
}

async function importProvider(url: string, options: unknown): Promise<IoProvider> {
  const module: unknown = await import(/* webpackIgnore: true */ /* @vite-ignore */ url);
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
