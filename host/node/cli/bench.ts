/** `pgaio bench`: how fast a file, or the largest files of a directory, can be read. Reads only. */
import { readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { Aio, type AioFile, type PageFrames } from '../index.ts';
import type { VerifyFlags } from './verify.ts';
import {
  counted,
  digits,
  EXIT_CLEAN,
  MB,
  megabytes,
  perSecond,
  Refusal,
  runCommand,
  say,
  sayFact,
} from './words.ts';

export interface BenchFlags {
  readonly ioMethod: VerifyFlags['ioMethod'];
  readonly depth: number;
  /** kB of one read. */
  readonly readSize: number;
  readonly seconds: number;
  readonly random?: boolean;
  readonly direct?: boolean;
  readonly seed: number;
  readonly json?: boolean;
}

/** Files read by turns, the largest of a directory. */
const FILES_MAX = 16;
/** A page frame, in which reads are counted. */
const FRAME_BYTES = 4096;
/** None is needed, and the fewest there can be are these. */
const BUFFERS_MIN = 16;
/** Latencies kept, evenly over the run: enough for the hundredth part of a percent. */
const SAMPLES_MAX = 100_000;
/** Reads of one lane before the event loop has a turn, for methods that end inside start. */
const TURN_EVERY = 64;

interface Target {
  readonly path: string;
  readonly bytes: number;
}

function targetsOf(path: string): Target[] {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw new Refusal(`${path}: no such file or directory`);
  if (found.isFile()) return [{ path, bytes: found.size }];
  if (!found.isDirectory()) throw new Refusal(`${path}: neither a file nor a directory`);
  let files: Target[] = [];
  const walk = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const below = join(directory, entry.name);
      if (entry.isDirectory()) walk(below);
      else if (entry.isFile()) files.push({ path: below, bytes: statSync(below).size });
    }
    if (files.length > 100 * FILES_MAX) files = largest(files);
  };
  walk(path);
  return largest(files);
}
function largest(files: readonly Target[]): Target[] {
  return [...files].sort((a, b) => b.bytes - a.bytes).slice(0, FILES_MAX);
}

/** xorshift32: the same places in every run with the same seed. */
class Places {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }
  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }
}

/** Where to read next: on through each file, or anywhere. */
class Plan {
  readonly #files: readonly { readonly file: AioFile; readonly reads: number }[];
  readonly #places: Places | undefined;
  readonly #bytes: number;
  #file = 0;
  #read = 0;

  constructor(files: readonly [AioFile, number][], bytes: number, random: boolean, seed: number) {
    this.#bytes = bytes;
    this.#places = random ? new Places(seed) : undefined;
    this.#files = files
      .map(([file, size]) => ({ file, reads: Math.floor(size / bytes) }))
      .filter(({ reads }) => reads > 0);
    if (this.#files.length === 0) {
      throw new Refusal(
        `no file there has ${counted(bytes / 1024, 'kB', 'kB')}; lower --read-size`,
      );
    }
  }
  next(): { file: AioFile; offset: number } {
    const at = this.#places?.below(this.#files.length) ?? this.#file % this.#files.length;
    const { file, reads } = this.#files[at] ?? this.#never();
    const read = this.#places?.below(reads) ?? this.#read;
    if (this.#places === undefined && ++this.#read === reads) {
      this.#read = 0;
      this.#file++;
    }
    return { file, offset: read * this.#bytes };
  }
  #never(): never {
    throw new RangeError('no file to read');
  }
}

interface Measured {
  readonly reads: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** ms, sorted. */
  readonly latencies: Float64Array;
}

async function measure(
  aio: Aio,
  plan: Plan,
  { depth, seconds, readSize }: BenchFlags,
  signal: AbortSignal,
): Promise<Measured> {
  const frames = (readSize * 1024) / FRAME_BYTES;
  const samples: number[] = [];
  let stride = 1;
  let reads = 0;
  let bytes = 0;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const end = start + seconds * 1000;
  const lane = async (buffer: PageFrames): Promise<void> => {
    for (let n = 1; performance.now() < end && !signal.aborted; n++) {
      const { file, offset } = plan.next();
      const before = performance.now();
      const io = file.read(buffer, offset);
      const { result } = io.result ?? (await io);
      bytes += result;
      if (reads++ % stride === 0) samples.push(performance.now() - before);
      if (samples.length >= SAMPLES_MAX) {
        stride *= 2;
        samples.splice(0, samples.length, ...samples.filter((_, i) => i % 2 === 0));
      }
      if (n % TURN_EVERY === 0) await turn();
    }
  };
  await Promise.all(Array.from({ length: depth }, () => lane(aio.frames(frames))));
  const { user, system } = process.cpuUsage(cpu);
  const took = (performance.now() - start) / 1000;
  const cpuSeconds = (user + system) / 1e6;
  const latencies = Float64Array.from(samples).sort();
  return { reads, bytes, seconds: took, cpuSeconds, latencies };
}

function percentile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
function timeText(ms: number): string {
  return ms < 1 ? `${Math.round(ms * 1000)} µs` : `${ms.toFixed(ms < 10 ? 2 : 1)} ms`;
}

function sayResult(targets: readonly Target[], flags: BenchFlags, measured: Measured): void {
  const { reads, bytes, seconds, cpuSeconds, latencies } = measured;
  const all = targets.reduce((sum, target) => sum + target.bytes, 0);
  const order = flags.random === true ? `random, seed ${flags.seed}` : 'sequential';
  const cache = flags.direct === true ? ', past the page cache' : '';
  sayFact('files', `${counted(targets.length, 'file')}, ${megabytes(all)} MB`);
  sayFact('reads', `${flags.readSize} kB, ${flags.depth} in flight, ${order}${cache}`);
  sayFact('method', flags.ioMethod);
  sayFact('done', `${counted(reads, 'read')}, ${megabytes(bytes)} MB in ${seconds.toFixed(1)} s`);
  say();
  const rate = digits(perSecond(bytes, seconds) / MB);
  sayFact('speed', `${rate} MB/s, ${digits(perSecond(reads, seconds))} reads/s`);
  const shares: readonly [string, number][] = [
    ['median', 0.5],
    ['95 %', 0.95],
    ['99 %', 0.99],
  ];
  const parts = shares.map(([name, share]) => `${name} ${timeText(percentile(latencies, share))}`);
  sayFact('latency', `${parts.join(', ')}, most ${timeText(latencies.at(-1) ?? 0)}`);
  const each = timeText((cpuSeconds * 1000) / Math.max(1, reads));
  sayFact('CPU', `${((100 * cpuSeconds) / seconds).toFixed(0)} % of a core, ${each} each`);
}

export async function runBench(path: string, flags: BenchFlags): Promise<void> {
  await runCommand(async (signal) => {
    const targets = targetsOf(resolve(path));
    const bytes = flags.readSize * 1024;
    await using aio = await Aio.create({
      ioMethod: flags.ioMethod,
      provider: 'direct',
      blockSize: FRAME_BYTES,
      sharedBuffers: BUFFERS_MIN,
      ioFrames: Math.max(FRAME_BYTES / 256, (flags.depth * bytes) / FRAME_BYTES),
      ioMaxConcurrency: flags.depth,
      maxBackends: 1,
      traceSize: 16,
    });
    const open = flags.direct === true ? { direct: true } : {};
    const files = targets.map((target): [AioFile, number] => [
      aio.open(target.path, open),
      target.bytes,
    ]);
    const plan = new Plan(files, bytes, flags.random ?? false, flags.seed);
    const measured = await measure(aio, plan, flags, signal);
    if (flags.json === true) {
      const { latencies, ...rest } = measured;
      const [medianMs, p99Ms] = [percentile(latencies, 0.5), percentile(latencies, 0.99)];
      const speed = { mbPerSecond: perSecond(rest.bytes / MB, rest.seconds), medianMs, p99Ms };
      say(JSON.stringify({ path: resolve(path), ...flags, ...rest, ...speed }, null, 2));
    } else sayResult(targets, flags, measured);
    return EXIT_CLEAN;
  });
}
