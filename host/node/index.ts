/** `pgaio`: the engine in TypeScript's idiom, on Node. */
import { AioEngine, type AioSettings, settingsOf } from '../../bindings/aio.ts';
import { type AioToken, type Backend, createBackend, joinBackend } from './backend.ts';
import { type NodeHostOptions, splitOptions } from './host.ts';
import type { Inspector, InspectorOptions } from './inspector-server.ts';
import type { UringReason } from './uring.ts';

export * from '../../bindings/index.ts';
export * as constants from '../../bindings/layout.ts';
export type { AioToken } from './backend.ts';
export { directProvider } from './direct-provider.ts';
export type { NodeHostOptions } from './host.ts';
export type { Inspector, InspectorOptions } from './inspector-server.ts';
export { probeUring, type UringProbe, type UringReason } from './uring.ts';
export { wasiProvider } from './wasi-provider.ts';

/** Options of `Aio.create`: settings, and Node's part. */
export interface AioOptions extends AioSettings, NodeHostOptions {
  /** Memory of another instance, to become a backend over it. @default a memory of its own */
  readonly memory?: WebAssembly.Memory;
}

/**
 * A backend of the engine. Errors of `create`: AioSettingError, AioUnavailableError, and
 * AioUsageError PGAIO_NO_SLOT when every slot of a given memory is taken.
 * @example
 * await using aio = await Aio.create({ root: dataDirectory });
 * using file = aio.open('global/pg_control');
 * using frames = aio.frames(1);
 * const { result } = await file.read(frames, 0);
 */
export class Aio extends AioEngine {
  /** What `Aio.attach` takes in another thread: plain data, for `workerData` or `postMessage`. */
  readonly token: AioToken;
  /** Why ioMethod `auto` did not take io_uring; undefined if it did, or was not asked to. */
  readonly fallback: UringReason | undefined;

  private constructor({ core, token, fallback }: Backend) {
    super(core);
    this.token = token;
    this.fallback = fallback;
  }

  static async create(options: AioOptions = {}): Promise<Aio> {
    const { host, rest } = splitOptions(options);
    const { memory, ...settings } = rest;
    return new Aio(await createBackend(host, settingsOf(settings), memory));
  }

  /**
   * Joins the engine of another thread: a backend of its own over the same memory, with the same
   * provider and callback modules. A thread that ends leaves; one that is terminated is cleaned up
   * after by the backend in the thread that started it.
   */
  static async attach(token: AioToken, options: NodeHostOptions = {}): Promise<Aio> {
    return new Aio(await joinBackend(token, options));
  }

  /**
   * Shows this engine, live, in a browser on this machine: the address is good once, on loopback
   * only, and nothing can be changed through it. Whoever has it can read the engine's memory, pages
   * included. Ends with this backend; keeps no process alive. Also `pgaio inspect URL`.
   * @example
   * await using inspector = await aio.serveInspector();
   * console.log(inspector.url);
   */
  async serveInspector(options: InspectorOptions = {}): Promise<Inspector> {
    const { serveInspector } = await import('./inspector-server.ts'); // those who want it load it
    const inspector = await serveInspector(this, options);
    this.onLeaving(() => void inspector.close());
    return inspector;
  }
}
