/** `pgaio` in a browser: the engine in TypeScript's idiom, in a page and in workers. */
import { AioEngine, type AioSettings, settingsOf } from '../../bindings/aio.ts';
import type { AioFile } from '../../bindings/file.ts';
import type { OpenFlags } from '../../bindings/host.ts';
import { type AioToken, type Backend, createBackend, joinBackend } from './backend.ts';
import { type BrowserHostOptions, splitOptions } from './host.ts';
import type { AioChoice } from './places.ts';

export * from '../../bindings/index.ts';
export * as constants from '../../bindings/layout.ts';
export type { AioToken } from './backend.ts';
export { blobProvider } from './blob-provider.ts';
export type { BrowserHostOptions } from './host.ts';
export type { CoreSource } from './module.ts';
export { opfsProvider } from './opfs-provider.ts';
export type { AioChoice } from './places.ts';
export type { Step } from './recorder.ts';

/** Options of `Aio.create`: settings, and the browser's part. */
export interface AioOptions extends AioSettings, BrowserHostOptions {
  /** Memory of another instance in this thread, to become a backend over it. @default its own */
  readonly memory?: WebAssembly.Memory;
}

/**
 * A backend of the engine. In the main thread of a page whatever would sleep is an AioUsageError
 * PGAIO_MAY_NOT_BLOCK: await instead. Errors of `create`: AioSettingError, AioUnavailableError, and
 * AioUsageError PGAIO_NO_SLOT when every slot of a given memory is taken.
 * @example
 * await using aio = await Aio.create({ files: { relation: input.files[0] } });
 * using file = aio.open('relation');
 * using frames = aio.frames(1);
 * const { result } = await file.read(frames, 0);
 */
export class Aio extends AioEngine {
  /** What `Aio.attach` takes in another thread: plain data, for `postMessage`. */
  readonly token: AioToken;
  /** Build and method, and why. */
  readonly choice: AioChoice;
  readonly #backend: Backend;

  private constructor(backend: Backend) {
    super(backend.core);
    this.#backend = backend;
    this.token = backend.token;
    this.choice = backend.choice;
  }

  static async create(options: AioOptions = {}): Promise<Aio> {
    const { host, rest } = splitOptions(options);
    const { memory, ...settings } = rest;
    const joining = memory === undefined ? undefined : { memory };
    return new Aio(await createBackend(host, settingsOf(settings), joining));
  }

  /**
   * Joins the engine of another thread: a backend of its own over the same memory, with the same
   * provider and callback modules. A worker that ends is cleaned up after by the thread that made
   * the memory.
   */
  static async attach(token: AioToken, options: BrowserHostOptions = {}): Promise<Aio> {
    return new Aio(await joinBackend(token, options));
  }

  /** As `open`, for providers that open files with promises; for all others the same. */
  async openAsync(path: string, flags: OpenFlags = {}): Promise<AioFile> {
    await this.#backend.core.host.provider.prepare?.(path, flags);
    return this.open(path, flags);
  }

  /** With option `onStep`: hands on the last transition, if no other has followed it. */
  lookAgain(): void {
    this.#backend.recorder?.look();
  }
}
