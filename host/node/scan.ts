/**
 * Verifies a data directory: reads every page of every relation file through the engine and tells
 * which are damaged, and why. Reads only, and writes nothing.
 *
 * Reads are vectored, staged in batches, and as many in flight as there are handles; a method that
 * has done with an I/O when start returns reads into the same few frames again, which the
 * processor's cache then still holds. What is not a valid page is read again before it is reported:
 * a server may be writing it at this very moment, and nothing keeps one from being started.
 * Which files are looked at follows pg_checksums, what makes a page valid PageIsVerified.
 */
import { lstatSync } from 'node:fs';
import { lstat, realpath, stat } from 'node:fs/promises';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { Aio, AioIoError, type AioOptions, AioUnavailableError } from './index.ts';
import {
  type DataDirectory,
  DataDirectoryError,
  listRelationFiles,
  openDataDirectory,
  type RelationFile,
  type RelationFileOwner,
} from './pgdata.ts';
import { type ReaderJob, RootReader } from './scan-reader.ts';

/** What is wrong with a page. 'garbage': it says that it was never used, and yet is not zero. */
export type PageFault = 'header' | 'checksum' | 'garbage';

/** A page that PostgreSQL would refuse. */
export interface DamagedPage {
  readonly kind: 'page';
  /** File, relative to the data directory. */
  readonly path: string;
  readonly relation: RelationFileOwner;
  readonly segment: number;
  /** Counted over the whole relation fork, across its segments: what PostgreSQL's messages say. */
  readonly block: number;
  /** Counted in the file: what pg_checksums says. */
  readonly blockInFile: number;
  readonly faults: readonly PageFault[];
  /** What pd_checksum should be; 0 where none was calculated. */
  readonly calculated: number;
  readonly stored: number;
}
/** A file does not end with a whole block. PostgreSQL ignores the rest, and so do we. */
export interface PartialBlock {
  readonly kind: 'partial-block';
  readonly path: string;
  /** Of the rest. */
  readonly bytes: number;
}
/** A segment is missing or short though another follows, or is longer than a segment can be. */
export interface SegmentFault {
  readonly kind: 'segment';
  readonly path: string;
  readonly words: string;
}
/** What could not be read, and so not be judged. */
export interface Unreadable {
  readonly kind: 'unreadable';
  readonly path: string;
  /** First block concerned, counted over the relation fork; undefined: the file as a whole. */
  readonly block: number | undefined;
  /** How many blocks; 0 for the file as a whole. */
  readonly blocks: number;
  readonly words: string;
}
export type ScanFinding = DamagedPage | PartialBlock | SegmentFault | Unreadable;

/** How far a scan has come, and at the end its result. */
export interface ScanCounts {
  /** Relation files listed, foreign ones left out. */
  readonly files: number;
  /** Files that are done with, in whichever way. */
  readonly filesDone: number;
  /** Bytes to be read; follows the files when they turn out longer or shorter than listed. */
  readonly bytes: number;
  /** Bytes of the pages judged. */
  readonly bytesDone: number;
  /** Pages judged: good, new and damaged ones. */
  readonly blocks: number;
  /** Pages of zeros, which a file was extended by and which were not used since. */
  readonly newPages: number;
  readonly damagedPages: number;
  /** Pages that were not valid at first, and valid when read again. */
  readonly rereadPages: number;
  readonly unreadBlocks: number;
  /** Files listed and then not there any more. */
  readonly vanishedFiles: number;
  /** Files that were cut while they were read. */
  readonly truncatedFiles: number;
  /** Since the reading began. */
  readonly seconds: number;
}

/** The same while they are being counted. */
export type WritableCounts = { -readonly [Key in keyof ScanCounts]: number };

/** Where relation files are, as a provider sees it. */
export interface ScanRoot {
  /** Directory that the provider was given. */
  readonly path: string;
  /** What it replaces at the start of the files' paths: '' for the data directory itself. */
  readonly prefix: string;
  readonly provider: 'direct' | 'wasi';
}

export interface ScanOptions {
  /** @default 'sync' */
  readonly ioMethod?: AioOptions['ioMethod'];
  /**
   * 'wasi' reaches the data directory and nothing else; what a link leads out of it, a tablespace,
   * is then read by another instance that has that directory as its root. @default 'wasi'
   */
  readonly provider?: 'direct' | 'wasi';
  /** Reads past the page cache (O_DIRECT), for provider 'direct'. @default false */
  readonly direct?: boolean;
  /** Blocks per I/O, 1 .. 128. @default 16 */
  readonly combineLimit?: number;
  /** I/Os in flight at most, 1 .. 1024, within 64 MiB. @default 64 */
  readonly concurrency?: number;
  /** Whether the engine's memory is a shared one. @default true */
  readonly shared?: boolean;
  /** Ends the scan between two batches: the iteration throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called after each batch. The object is the same each time. */
  readonly onProgress?: (counts: ScanCounts) => void;
  /** Called for each directory that gets an instance of its own. */
  readonly onRoot?: (root: ScanRoot) => void;
  /** Makes an engine of the settings the scan needs. @default Aio.create */
  readonly createEngine?: (options: AioOptions) => Promise<Aio>;
}
export const SCAN_DEFAULTS = {
  ioMethod: 'sync',
  provider: 'wasi',
  direct: false,
  combineLimit: 16,
  concurrency: 64,
  shared: true,
} as const satisfies ScanOptions;

type Settled = Required<Pick<ScanOptions, keyof typeof SCAN_DEFAULTS>>;

/** Frames for I/Os in flight take no more, however many blocks an I/O has. */
const WINDOW_BYTES_MAX = 64 << 20;
/** Reads of a page that is not valid. A server has written it long before the last. */
const ATTEMPTS_OFFLINE = 2;
const ATTEMPTS_LIVE = 6;
const PAUSE_MS = 10;

/**
 * A scan of one data directory. Iterating does the work: it yields what is found, in the order in
 * which reads end, and leaves nothing open when the loop is left. Iterate once.
 * Errors: DataDirectoryError from `plan`; AioSettingError and AioUnavailableError when the engine
 * cannot be had; the signal's reason. What goes wrong with a file is a finding, not an error.
 * @example
 * const scan = await DirectoryScan.plan(await openDataDirectory(path));
 * for await (const finding of scan) console.log(finding.path, finding.kind);
 * console.log(scan.counts.blocks, scan.counts.damagedPages);
 */
export class DirectoryScan implements AsyncIterable<ScanFinding> {
  readonly directory: DataDirectory;
  /** Files to verify. */
  readonly relations: readonly RelationFile[];
  /** Files that are no relation's: they are left alone. */
  readonly foreign: readonly RelationFile[];
  /** Whether a server may be writing to the directory: running, or not cleanly shut down. */
  readonly live: boolean;
  readonly #options: ScanOptions;
  readonly #settled: Settled;
  readonly #counts: WritableCounts;
  #begun = false;
  #changed = false;

  private constructor(
    directory: DataDirectory,
    relations: readonly RelationFile[],
    foreign: readonly RelationFile[],
    options: ScanOptions,
  ) {
    this.directory = directory;
    this.relations = relations;
    this.foreign = foreign;
    const { state } = directory.control;
    this.live = directory.serverMayRun || !['shut down', 'shut down in recovery'].includes(state);
    this.#options = options;
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    this.#settled = { ...SCAN_DEFAULTS, ...Object.fromEntries(given) };
    this.#counts = noCounts(relations);
  }

  /** Lists the files: from here on the total is known. They are all held in memory. */
  static async plan(directory: DataDirectory, options: ScanOptions = {}): Promise<DirectoryScan> {
    const relations: RelationFile[] = [];
    const foreign: RelationFile[] = [];
    for await (const file of listRelationFiles(directory)) {
      options.signal?.throwIfAborted();
      (file.relation === undefined ? foreign : relations).push(file);
    }
    return new DirectoryScan(directory, relations, foreign, options);
  }

  get counts(): ScanCounts {
    return this.#counts;
  }
  /** At the end: whether a server was started or stopped meanwhile. Findings may be its doing. */
  get changed(): boolean {
    return this.#changed;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ScanFinding, void, undefined> {
    if (this.#begun) throw new RangeError('a scan is iterated once; plan another');
    this.#begun = true;
    const { signal } = this.#options;
    let started: number | undefined;
    const tick = (): void => {
      const now = performance.now();
      this.#counts.seconds = (now - (started ?? now)) / 1000;
      this.#options.onProgress?.(this.#counts);
      signal?.throwIfAborted();
    };
    tick();
    for (const doubt of segmentDoubts(this.relations, this.directory.control)) {
      if (await this.#isCertain(doubt)) yield doubt.fault;
    }
    for (const { root, files } of await this.#roots()) {
      await using engine = await this.#engine(root);
      started ??= performance.now();
      const reader = new RootReader(engine, this.#job(root), files);
      while (!reader.done) {
        await reader.step();
        yield* reader.found.splice(0);
        tick();
        await turn(); // a synchronous method leaves the event loop no other chance
      }
    }
    this.#changed = await this.#hasChanged();
  }

  /** Looks again at what the listing says of segments: it saw one file after the other. */
  async #isCertain({ path, first, follower, full }: SegmentDoubt): Promise<boolean> {
    const attempts = this.live ? ATTEMPTS_LIVE : 1;
    for (let attempt = 1; attempt <= attempts; attempt++) {
      this.#options.signal?.throwIfAborted();
      if (attempt > 1) await sleep(PAUSE_MS);
      if ((await this.#sizeOf(path)) >= full) return false;
      if (this.live && (await this.#sizeOf(first)) === 0) return false; // it is being dropped
      if ((await this.#sizeOf(follower)) === 0) return false;
    }
    return true;
  }
  /** Bytes; 0 if it is not there. */
  async #sizeOf(path: string): Promise<number> {
    const found = await stat(`${this.directory.path}/${path}`).catch(() => undefined);
    return found?.size ?? 0;
  }

  /** The files, by the directory that the provider is given for them. */
  async #roots(): Promise<{ root: ScanRoot; files: RelationFile[] }[]> {
    const { provider } = this.#settled;
    const main: ScanRoot = { path: this.directory.path, prefix: '', provider };
    if (provider === 'direct') return [{ root: main, files: [...this.relations] }];
    const groups: { root: ScanRoot; files: RelationFile[] }[] = [];
    const known = new Map<string, ScanRoot>();
    for (const file of this.relations) {
      const [part = ''] = /^(?:pg_tblspc\/[^/]+|[^/]+)/.exec(file.path) ?? [];
      const root = known.get(part) ?? (await this.#rootOf(part, main));
      known.set(part, root);
      const last = groups.at(-1);
      if (last?.root === root) last.files.push(file);
      else groups.push({ root, files: [file] });
    }
    return groups;
  }
  /** What a link leads to is a root of its own: the sandbox ends at links. */
  async #rootOf(part: string, main: ScanRoot): Promise<ScanRoot> {
    const full = `${this.directory.path}/${part}`;
    try {
      if (!(await lstat(full)).isSymbolicLink()) return main;
      return { path: await realpath(full), prefix: `${part}/`, provider: main.provider };
    } catch {
      return main; // it is gone, and the files will be found to be
    }
  }

  async #engine(root: ScanRoot): Promise<Aio> {
    const { ioMethod, provider, combineLimit, concurrency, shared } = this.#settled;
    const { control, tablespaceDirectory } = this.directory;
    const fits = Math.floor(WINDOW_BYTES_MAX / (combineLimit * control.blockSize));
    const ioMaxConcurrency = Math.min(concurrency, Math.max(1, fits));
    const create = this.#options.createEngine ?? ((options: AioOptions) => Aio.create(options));
    this.#options.onRoot?.(root);
    const aio = await create({
      ioMethod,
      provider,
      ...(provider === 'wasi' ? { root: root.path } : {}),
      shared,
      blockSize: control.blockSize,
      dataChecksums: control.dataChecksumVersion !== 0,
      ioMaxCombineLimit: combineLimit,
      ioCombineLimit: combineLimit,
      ioMaxConcurrency,
      sharedBuffers: 16,
      ioFrames: Math.max(16, ioMaxConcurrency * combineLimit),
      tablespaceVersionDirectory: tablespaceDirectory,
      onReport: () => undefined, // the verdicts say the same
    });
    if (this.#settled.direct) await this.#checkDirect(aio);
    return aio;
  }

  /** Better one refusal than one for each file. */
  async #checkDirect(aio: Aio): Promise<void> {
    const path = `${this.directory.path}/global/pg_control`;
    try {
      aio.open(path, { direct: true }).close();
    } catch (error) {
      await aio[Symbol.asyncDispose]();
      if (!(error instanceof AioIoError)) throw error;
      throw new AioUnavailableError({
        code: 'PGAIO_NO_DIRECT',
        message: `the file system of "${this.directory.path}" cannot be read past the page cache`,
        hint: 'Leave `direct` out.',
        cause: error,
      });
    }
  }

  #job(root: ScanRoot): ReaderJob {
    const { combineLimit, direct, provider } = this.#settled;
    const { blockSize, segmentBlocks } = this.directory.control;
    return {
      counts: this.#counts,
      pathOf: (path) => {
        const below = path.slice(root.prefix.length);
        return provider === 'wasi' ? below : `${root.path}/${below}`;
      },
      isRegular: (path) => {
        const full = `${this.directory.path}/${path}`;
        return lstatSync(full, { throwIfNoEntry: false })?.isFile() ?? true;
      },
      direct,
      combineLimit,
      blockSize,
      segmentBlocks,
      pauseMs: this.live ? PAUSE_MS : 0,
      attempts: this.live ? ATTEMPTS_LIVE : ATTEMPTS_OFFLINE,
    };
  }

  async #hasChanged(): Promise<boolean> {
    const before = this.directory;
    try {
      const { control, serverMayRun } = await openDataDirectory(before.path);
      if (serverMayRun !== before.serverMayRun) return true;
      const { state, checkpointLsn } = control;
      if (this.live && state === before.control.state) return false; // it goes on as it was
      return state !== before.control.state || checkpointLsn !== before.control.checkpointLsn;
    } catch (error) {
      if (error instanceof DataDirectoryError) return true;
      throw error;
    }
  }
}

function noCounts(relations: readonly RelationFile[]): WritableCounts {
  return {
    files: relations.length,
    filesDone: 0,
    bytes: relations.reduce((sum, { size }) => sum + size, 0),
    bytesDone: 0,
    blocks: 0,
    newPages: 0,
    damagedPages: 0,
    rereadPages: 0,
    unreadBlocks: 0,
    vanishedFiles: 0,
    truncatedFiles: 0,
    seconds: 0,
  };
}

/** A segment that looks faulty in the listing. */
interface SegmentDoubt {
  /** File that is missing or short. */
  readonly path: string;
  /** The fork's first segment, which a server that drops the relation empties first. */
  readonly first: string;
  /** A later segment, not empty. */
  readonly follower: string;
  /** Bytes of a full segment. */
  readonly full: number;
  readonly fault: SegmentFault;
}

/** What is wrong if nothing has changed since. The last segments may be empty: cut off. */
function* segmentDoubts(
  files: readonly RelationFile[],
  { segmentBlocks, blockSize }: { readonly segmentBlocks: number; readonly blockSize: number },
): Generator<SegmentDoubt, void, undefined> {
  const full = segmentBlocks * blockSize;
  for (const { base, segments } of forksOf(files)) {
    const last = segments.reduce((most, { size }, index) => (size > 0 ? index : most), -1);
    const pathOf = (segment: number): string => (segment === 0 ? base : `${base}.${segment}`);
    let expected = 0;
    for (const { path, segment, size } of segments.slice(0, last + 1)) {
      const about = { first: base, follower: segments[last]?.path ?? path, full };
      if (segment > expected) {
        const words =
          expected + 1 === segment
            ? `missing, but segment ${segment} is there`
            : `missing, as are all up to segment ${segment - 1}, but segment ${segment} is there`;
        const missing = pathOf(expected);
        yield { path: missing, ...about, fault: { kind: 'segment', path: missing, words } };
      }
      if (size < full && path !== about.follower) {
        const blocks = Math.floor(size / blockSize);
        const words = `${blocks} blocks of ${segmentBlocks}, but another segment follows`;
        yield { path, ...about, fault: { kind: 'segment', path, words } };
      }
      expected = segment + 1;
    }
  }
}

/** Files of each relation fork, in order: the listing has them side by side. */
function* forksOf(
  files: readonly RelationFile[],
): Generator<{ base: string; segments: RelationFile[] }, void, undefined> {
  let fork: { base: string; segments: RelationFile[] } | undefined;
  for (const file of files) {
    const base = file.segment === 0 ? file.path : file.path.replace(/\.\d+$/, '');
    if (fork?.base === base) {
      fork.segments.push(file);
      continue;
    }
    if (fork !== undefined) yield fork;
    fork = { base, segments: [file] };
  }
  if (fork !== undefined) yield fork;
}
