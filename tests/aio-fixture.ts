/**
 * What the tests of the idiomatic API stand on: a folder for their files, a device that holds I/Os
 * until a test lets them end, and short ways to ask how a call ended.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Aio, type AioOptions, type AioReport, type IoDevice } from '../host/node/index.ts';
import { patternPage, putChecksum } from './page-vectors.ts';

export const PAGE_BYTES = 8192;
/** A relation of the tests: its path in messages is base/5/16384. */
export const RELATION = { spcOid: 1663, dbOid: 5, relNumber: 16384 } as const;

/** A folder that is gone when the process ends. */
export const folder = mkdtempSync(join(tmpdir(), 'pgaio-test-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Writes a file into the folder; its path. */
export function fileOf(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** A good page, as block `block` of a relation. */
export function goodPage(block: number): Uint8Array {
  return putChecksum(patternPage(PAGE_BYTES), block);
}

/** Several pieces in a row. */
export function joined(...pieces: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(pieces));
}

/** Takes I/Os and ends none of them by itself: waiting for one while blocking is an error. */
export class HoldingDevice implements IoDevice {
  /** Ids of each submission. */
  readonly submissions: (readonly number[])[] = [];
  /** Ids taken and not ended, oldest first. */
  readonly held: number[] = [];
  /** The engine that is told. */
  aio: Aio | undefined;

  submit(ids: readonly number[]): void {
    this.submissions.push(ids);
    this.held.push(...ids);
  }

  /** Ends an I/O, the oldest unless another is named: all bytes asked for, or what is given. */
  end({ id = this.held[0], raw }: { id?: number | undefined; raw?: number } = {}): void {
    const { aio } = this;
    if (id === undefined || aio === undefined) throw new RangeError('there is no I/O to end');
    const length = aio.inspect().find((row) => row.io_id === id)?.length ?? 0;
    this.held.splice(this.held.indexOf(id), 1);
    aio.complete(id, raw ?? length);
  }
}

/** The same, and ends what somebody blocks for. */
export class WaitableDevice extends HoldingDevice {
  waitOne(id: number): void {
    this.end({ id });
  }
}

/** An engine with few frames; `reports` are what it said, `LOG message` each. */
export async function openAio(options: AioOptions = {}): Promise<{ aio: Aio; reports: string[] }> {
  const reports: string[] = [];
  const onReport = ({ severity, message }: AioReport) => {
    reports.push(`${severity} ${message}`);
  };
  const aio = await Aio.create({
    ioFrames: 64,
    sharedBuffers: 16,
    ioMaxConcurrency: 4,
    onReport,
    ...options,
  });
  return { aio, reports };
}

/** An engine of io_method host over a device. */
export async function openHeld<Device extends HoldingDevice>(
  device: Device,
  options: AioOptions = {},
): Promise<{ aio: Aio; device: Device; reports: string[] }> {
  const { aio, reports } = await openAio({ ioMethod: 'host', device, ...options });
  device.aio = aio;
  return { aio, device, reports };
}

function wordsOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  return 'code' in thrown ? String(thrown.code) : `${thrown.name}: ${thrown.message}`;
}

/** `done`, or the code of what was thrown, or its name and message if it has none. */
export function endOf(act: () => unknown): string {
  try {
    act();
    return 'done';
  } catch (thrown) {
    return wordsOf(thrown);
  }
}

/** What was thrown; fails if nothing was. */
export function thrownBy(act: () => unknown): Error & { readonly [field: string]: unknown } {
  try {
    act();
  } catch (thrown) {
    return thrown as Error & { readonly [field: string]: unknown };
  }
  throw new Error('nothing was thrown');
}

/** As `thrownBy`, for promises. */
export async function rejectionOf(
  promise: PromiseLike<unknown>,
): Promise<Error & { readonly [field: string]: unknown }> {
  try {
    await promise;
  } catch (thrown) {
    return thrown as Error & { readonly [field: string]: unknown };
  }
  throw new Error('nothing was rejected');
}

/** Lets everything that is ready to run do so. */
export async function turns(count = 3): Promise<void> {
  for (let turn = 0; turn < count; turn++) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}
