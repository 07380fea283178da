/**
 * Builds the core that the explorer runs: target `sim`, in which every atomic operation is preceded
 * by an import, put through binaryen's asyncify, so that a call can be left at any such import and
 * gone on with later.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Fault } from './faults.ts';

/** Imports at which a call may be left. */
const LEFT_AT = [
  'sim.point',
  'sim.wait',
  'sim.wake',
  'wasi_snapshot_preview1.fd_pread',
  'wasi_snapshot_preview1.fd_pwrite',
  'wasi_snapshot_preview1.fd_sync',
  'wasi_snapshot_preview1.fd_datasync',
  'pgaio.reopen',
  'pgaio.kaio_start',
  'pgaio.kaio_finish',
  'pgaio.park',
  'pgaio.unpark',
  'pgaio.uring_setup',
  'pgaio.uring_enter',
  'pgaio.uring_reap',
  'pgaio.uring_wait',
];

/** Text of every file of the core, by path. */
export function readSources(): Map<string, string> {
  const paths = readdirSync('assembly', { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => `assembly/${path.replaceAll('\\', '/')}`)
    .sort();
  return new Map(paths.map((path) => [path, readFileSync(path, 'utf8')]));
}

/** The core for the explorer, built if its sources have changed. `fault`: with a deliberate one. */
export async function simCore(fault?: Fault): Promise<Uint8Array<ArrayBuffer>> {
  const sources = readSources();
  for (const [path, replacements] of Object.entries(fault?.replace ?? {})) {
    sources.set(path, replaceAll(path, sources.get(path) ?? '', replacements));
  }
  const hash = createHash('sha256').update(
    JSON.stringify([LEFT_AT, readFileSync('asconfig.json', 'utf8')]),
  );
  for (const entry of sources) hash.update(JSON.stringify(entry));
  const digest = hash.digest('hex');
  const path = fault?.replace === undefined ? 'dist/pgaio-sim.wasm' : `dist/sim/${fault.name}.wasm`;
  const stamp = `${path}.sha256`;
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return readFileSync(path);
  const bytes = await asyncified(await compile(sources));
  mkdirSync('dist/sim', { recursive: true });
  writeFileSync(path, bytes);
  writeFileSync(stamp, digest);
  return bytes;
}

/** Each `from` must stand there exactly once, or the fault would not be what it says. */
function replaceAll(path: string, text: string, pairs: readonly (readonly [string, string])[]) {
  let result = text;
  for (const [from, to] of pairs) {
    const parts = result.split(from);
    if (parts.length !== 2) {
      throw new Error(`${path}: ${parts.length - 1} times, must be once: ${JSON.stringify(from)}`);
    }
    result = parts.join(to);
  }
  return result;
}

interface Compiler {
  main(
    words: readonly string[],
    api: {
      readFile(name: string): string | null;
      writeFile(name: string, contents: Uint8Array | string): void;
      listFiles(): string[];
    },
  ): Promise<{ error: Error | null; stderr: { toString(): string } }>;
}
/** Under a name that the type checker does not follow: the compiler's types redefine globals. */
async function loadCompiler(): Promise<Compiler> {
  const name: string = 'assemblyscript/asc';
  const loaded: { default: Compiler } = await import(name);
  return loaded.default;
}

async function compile(sources: ReadonlyMap<string, string>): Promise<Uint8Array> {
  let written: Uint8Array | undefined;
  const { error, stderr } = await (await loadCompiler()).main(['--target', 'sim', '--noColors'], {
    readFile: (name) => sources.get(name) ?? (existsSync(name) ? readFileSync(name, 'utf8') : null),
    writeFile(_name, contents) {
      if (typeof contents !== 'string') written = contents;
    },
    listFiles: () => [],
  });
  if (error !== null || written === undefined) {
    throw new Error(`asc --target sim\n${stderr.toString()}${error?.message ?? ''}`);
  }
  return written;
}

async function asyncified(core: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const { default: binaryen } = await import('binaryen');
  const module = binaryen.readBinary(core);
  try {
    const { Features } = binaryen;
    module.setFeatures(
      Features.Atomics |
        Features.BulkMemory |
        Features.BulkMemoryOpt |
        Features.MutableGlobals |
        Features.SIMD128,
    );
    binaryen.setOptimizeLevel(2);
    binaryen.setShrinkLevel(0);
    binaryen.setDebugInfo(true); // names for the stack of a trap
    binaryen.setPassArgument('asyncify-imports', LEFT_AT.join(','));
    module.runPasses(['asyncify']);
    module.optimize();
    return new Uint8Array(module.emitBinary());
  } finally {
    binaryen.clearPassArguments();
    module.dispose();
  }
}
