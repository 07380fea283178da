/**
 * What the suites take from Node's host, from the browser's: the same interface over other files.
 */
import type { IoProvider, ProviderSpec, WasiIo } from '../../../bindings/host.ts';
import { failure } from '../../../host/browser/failure.ts';
import { coreModule } from '../../../host/browser/module.ts';
import { attach, join } from '../../../host/browser/raw.ts';
import { iovecViews } from '../../../host/browser/transfer.ts';
import { initialisedProvider } from '../../../host/browser/wasmer-provider.ts';
import { createProvider } from '../../faulty-module.ts';
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mount,
  openSync,
  readvSync,
  sizeOf,
  unlinkSync,
  writeFileSync,
  writevSync,
} from './fs.ts';

const ENOENT = 2;

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
    open(path, { create = false }) {
      if (create && !existsSync(path)) writeFileSync(path, new Uint8Array(0));
      try {
        return openSync(path);
      } catch {
        throw failure('open', path, ENOENT);
      }
    },
    size: (fd) => sizeOf(fd),
    close: closeSync,
    truncate: (fd, bytes) => ftruncateSync(fd, bytes),
    unlink: (path) => unlinkSync(path),
  };
}

/** Only faults to order are asked for by name. */
export async function providerFrom(spec: ProviderSpec): Promise<IoProvider> {
  if (spec.name !== 'module') throw new RangeError(`provider ${spec.name}`);
  return createProvider(spec.options);
}

/** Named by the rows about rings, which are left out. */
export function nodeHost(): never {
  throw new RangeError('a browser has no rings of the kernel');
}
