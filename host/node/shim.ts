/**
 * The shim, in C: what JavaScript cannot ask the kernel for. Finding and loading it, and what it
 * has for a linear memory. Without it io_uring is missing, and the rest is slower.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { KernelAio, Parking, UringHost } from '../../bindings/host.ts';

/** The functions of host/shim/addon.c for one linear memory; results below 0 are -errno. */
export interface BoundShim extends KernelAio, Parking {
  setup: UringHost['setup'];
  enter: UringHost['enter'];
  reap: UringHost['reap'];
  wait: UringHost['wait'];
  taken: UringHost['taken'];
  refused: UringHost['refused'];
  leave: UringHost['leave'];
  listen: UringHost['listen'];
  unlisten: UringHost['unlisten'];
  read(fd: number, iovs: number, count: number, offset: number): number;
  write(fd: number, iovs: number, count: number, offset: number): number;
  unbind(): void;
}
export interface Shim {
  /** Fills in PROBE_WORDS numbers: stage, errno, missing operations, errno of shared rings. */
  probe(out: Int32Array): number;
  bind(memory: Uint8Array): BoundShim | number;
  allow(fd: number): number;
  forbid(fd: number): number;
  alignment(fd: number, out: Uint32Array): number;
  /** Lets the kernel back a linear memory with huge pages. 0, or -errno. */
  huge(memory: Uint8Array): number;
}

/** Why there is no shim, and what can be done about it. */
export interface ShimFailure {
  readonly stage: 'platform' | 'binary';
  readonly cause: string;
  readonly remedy: string;
}
type Loaded = { readonly shim: Shim } | { readonly shim?: never; readonly failure: ShimFailure };

let loaded: Loaded | undefined;

/** The shim, loaded once per thread, or why there is none. */
export function loadShim(): Loaded {
  loaded ??= load();
  return loaded;
}
export function shim(): Shim | undefined {
  return loadShim().shim;
}

function load(): Loaded {
  if (process.platform !== 'linux') {
    const cause = `io_uring is Linux's, this is ${process.platform}`;
    return failed('platform', cause, 'Use io_method "worker".');
  }
  if (process.env.PGAIO_NO_SHIM === '1') {
    return failed('binary', 'PGAIO_NO_SHIM is set in the environment', BUILD);
  }
  const path = shimPath();
  if (path === undefined) {
    return failed('binary', `this package has no shim for linux on ${process.arch}`, BUILD);
  }
  try {
    return { shim: createRequire(import.meta.url)(path) as Shim };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return failed('binary', `the shim could not be loaded: ${why}`, BUILD_ANEW);
  }
}
const BUILD = 'Build it with `npm run build` where a C compiler is, or use io_method "worker".';
const BUILD_ANEW = 'Build it anew with `npm run build`, or use io_method "worker".';

function failed(stage: ShimFailure['stage'], cause: string, remedy: string): Loaded {
  return { failure: { stage, cause, remedy } };
}

/** The binary for this machine, beside the bundle or one folder above it; undefined without one. */
function shimPath(): string | undefined {
  const name = `shim-linux-${process.arch}.node`;
  const near = [`./${name}`, `../${name}`].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  return near.find((path) => existsSync(path));
}

/** The shim's functions over a linear memory; undefined where there is none. */
export function bindShim(memory: WebAssembly.Memory): BoundShim | undefined {
  const bound = shim()?.bind(new Uint8Array(memory.buffer));
  return typeof bound === 'object' ? bound : undefined;
}

/** Asks this machine, by doing it, whether a thread can have several direct I/Os under way. */
export function hasKernelAio(): boolean {
  const bound = bindShim(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }));
  const rc = bound?.start(0, 0);
  bound?.unbind();
  return rc === 0;
}
