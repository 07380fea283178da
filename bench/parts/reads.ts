/** What benchmarks of reads share: their files, page-aligned memory, many reads at once. */
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  read,
  readSync,
  statSync,
  writeSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import type { Aio } from '../../host/node/index.ts';
import { Random } from '../../tests/explorer/random.ts';
import { type Opener, type Runner, spreadOf, type Unavailable } from '../harness.ts';

export const PAGE = 8192;
export const IN_FLIGHT = 64;
export const FILE_BYTES = 2 ** 30;
export const FILE_PAGES = FILE_BYTES / PAGE;
export const CACHED_PAGES = 1024;
export const SEED = 20;
const PIECE = 2 ** 22;

/** A file with `bytes` bytes on the device, none of them a hole; made if it is not there. */
function makeFile(path: string, bytes: number): string {
  if (existsSync(path) && statSync(path).size === bytes) return path;
  const piece = new Uint8Array(Math.min(PIECE, bytes));
  const fd = openSync(path, 'w');
  for (let done = 0; done < bytes; done += piece.length) {
    new Uint32Array(piece.buffer).fill(done + 1);
    writeSync(fd, piece);
  }
  fsyncSync(fd); // or direct reads would wait for it to be written
  closeSync(fd);
  return path;
}

/** Page-aligned memory: O_DIRECT takes no other. */
export function alignedPages(pages: number): Uint8Array[] {
  const { buffer } = new WebAssembly.Memory({ initial: Math.ceil((pages * PAGE) / 65536) });
  return Array.from({ length: pages }, (_, i) => new Uint8Array(buffer, i * PAGE, PAGE));
}

/** Folder whose file system reads past the page cache; undefined if none does. */
function directFolder(): string | undefined {
  for (const folder of ['dist/bench-data', tmpdir()]) {
    mkdirSync(folder, { recursive: true });
    const path = makeFile(`${folder}/pgaio-probe`, PAGE);
    try {
      const fd = openSync(path, constants.O_RDONLY | (constants.O_DIRECT ?? 0));
      const [page = new Uint8Array()] = alignedPages(1);
      const bytes = readSync(fd, page, 0, PAGE, 0);
      closeSync(fd);
      if (bytes === PAGE && constants.O_DIRECT !== undefined) return folder;
    } catch {
      // The next may.
    }
  }
  return undefined;
}
const folder = directFolder();
const NO_DIRECT: Unavailable = { unavailable: 'no file system here takes O_DIRECT' };

let largePath = '';
/** The file of 1 GiB: made once, in dist/ or the directory for temporary files. */
export function largeFile(): string {
  if (largePath === '') largePath = makeFile(`${folder ?? tmpdir()}/pgaio-1GiB`, FILE_BYTES);
  return largePath;
}
/** The opener with the path of the large file, if it can be read directly. */
export function onDirect(opener: (path: string) => ReturnType<Opener>): Opener {
  return () => (folder === undefined ? NO_DIRECT : opener(largeFile()));
}
export const cachedPath = makeFile(`${folder ?? tmpdir()}/pgaio-cached`, CACHED_PAGES * PAGE);

/** Keeps IN_FLIGHT of `one` under way until `operations` are done. */
export async function lanes(operations: number, one: (lane: number) => PromiseLike<unknown>) {
  let left = operations;
  const lane = async (number: number): Promise<void> => {
    while (left-- > 0) await one(number);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, (_, number) => lane(number)));
}

/** Random reads by `file.read`, a promise for each, IN_FLIGHT at once. Closes the engine. */
export function fileReads(aio: Aio, path: string, pages: number, direct: boolean): Runner {
  const file = aio.open(path, { direct });
  const frames = aio.frames(IN_FLIGHT);
  const buffers = Array.from({ length: IN_FLIGHT }, (_, i) => frames.slice(i, i + 1));
  const random = new Random(SEED);
  const one = (lane: number): PromiseLike<unknown> =>
    file.read(buffers[lane] ?? frames, random.below(pages) * PAGE);
  return {
    run: (operations) => lanes(operations, one),
    close: () => aio[Symbol.asyncDispose](),
  };
}

/** Random reads by `fs.read`, IN_FLIGHT at once. */
export function fsReads(path: string, pages: number, direct: boolean): Promise<Runner> {
  const fd = openSync(path, constants.O_RDONLY | (direct ? (constants.O_DIRECT ?? 0) : 0));
  const buffers = alignedPages(IN_FLIGHT);
  const random = new Random(SEED);
  const one = (lane: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const buffer = buffers[lane] ?? new Uint8Array();
      read(fd, buffer, 0, PAGE, random.below(pages) * PAGE, (error) =>
        error === null ? resolve() : reject(error),
      );
    });
  return Promise.resolve({
    run: (operations) => lanes(operations, one),
    close: () => closeSync(fd),
  });
}

/** Awaits one read after the other; a round's figure is the median of its latencies. */
export async function latencies(
  operations: number,
  one: () => PromiseLike<unknown>,
): Promise<number> {
  const each = new Float64Array(operations);
  for (let i = 0; i < operations; i++) {
    const before = performance.now();
    await one();
    each[i] = performance.now() - before;
  }
  return spreadOf([...each]).median * 1e6;
}

/** The same by `FileHandle.read` of a cached page. */
export async function awaitedFileHandle(): Promise<Runner> {
  const handle: FileHandle = await open(cachedPath);
  const [page = new Uint8Array()] = alignedPages(1);
  const random = new Random(SEED);
  const one = () => handle.read(page, 0, PAGE, random.below(CACHED_PAGES) * PAGE);
  return { run: (operations) => latencies(operations, one), close: () => handle.close() };
}
