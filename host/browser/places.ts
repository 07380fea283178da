/**
 * Where this thread is, and what can be done there: the choice between the shared build with I/O
 * workers and the plain one, at run time, with the reason.
 */
import { AioUnavailableError } from '../../bindings/errors.ts';

/** What was chosen for an engine. */
export interface AioChoice {
  /** The build of the core: `shared` memory, which other threads can join, or `unshared`. */
  readonly build: 'shared' | 'unshared';
  readonly method: string;
  /** Why, in a sentence. */
  readonly reason: string;
}

export interface Place {
  /** The main thread of a page: it must not sleep. */
  readonly isPage: boolean;
  /** Why memory cannot be shared here; undefined where it can. */
  readonly unshareable: string | undefined;
}

export function thisPlace(): Place {
  return { isPage: typeof document !== 'undefined', unshareable: whyUnshareable() };
}

function whyUnshareable(): string | undefined {
  if (!globalThis.crossOriginIsolated) return 'the page is not cross-origin isolated';
  if (typeof Atomics.waitAsync !== 'function') return 'this browser has no Atomics.waitAsync';
  return undefined;
}

export function notShareable(why: string): AioUnavailableError {
  return new AioUnavailableError({
    code: 'PGAIO_NOT_ISOLATED',
    message: `memory cannot be shared between threads: ${why}`,
    hint:
      'Send the headers Cross-Origin-Opener-Policy: same-origin and ' +
      'Cross-Origin-Embedder-Policy: require-corp, or leave out `shared: true`.',
  });
}
