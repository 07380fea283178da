/**
 * What the suites take from Node's host, from the browser's: the same interface over other files.
 */
import type { IoProvider, ProviderSpec, WasiIo } from '../../../bindings/host.ts';
import { coreModule } from '../../../host/browser/module.ts';
import { attach, join } from '../../../host/browser/raw.ts';
import { iovecViews } from '../../../host/browser/transfer.ts';
import { initialisedProvider } from '../../../host/browser/wasmer-provider.ts';
import { faulty } from '../../test-device.ts';
import { closeSync, mount, openSync, readvSync, writevSync } from './fs.ts';

export { attach, coreModule, join };

export function wasiProvider(root: string): IoProvider {
  const provider = initialisedProvider();
  mount(root, provider);
  return provider;
}

/** Over the files of tests/browser/node/fs.ts: the device does most I/O, and reads them, too. */
export function directProvider(): IoProvider {
  const sync = (): number => 0;
  return {
    name: 'direct',
    sharedDescriptors: true,
    bind(memory) {
      const mover =
        (move: typeof readvSync): WasiIo['fd_pread'] =>
        (fd, iovs, count, offset, moved) => {
          const bytes = move(fd, iovecViews(memory, iovs, count), Number(offset));
          new DataView(memory.buffer).setUint32(moved, bytes, true);
          return 0;
        };
      const [fd_pread, fd_pwrite] = [mover(readvSync), mover(writevSync)];
      return { fd_pread, fd_pwrite, fd_sync: sync, fd_datasync: sync };
    },
    open: (path) => openSync(path),
    size: () => 0,
    close: closeSync,
  };
}

/** Only faults to order are asked for by name. */
export async function providerFrom(spec: ProviderSpec): Promise<IoProvider> {
  if (spec.name !== 'module') throw new RangeError(`provider ${spec.name}`);
  const { faults, counts, root } = spec.options as {
    faults: Parameters<typeof faulty>[1];
    counts: Int32Array;
    root: string | undefined;
  };
  return faulty(root === undefined ? directProvider() : wasiProvider(root), faults, counts);
}
