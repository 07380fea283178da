/**
 * Numbers of threads over one memory, and how their end is noticed. A browser tells nobody that a
 * worker has ended. But a lock of the Web Locks API is given up when its holder ends, however it
 * does: so each thread holds one under its name, and the thread that made the memory queues for it.
 */
import type { CoreInstance } from '../../bindings/core.ts';

/** What threads over one memory share, as plain data. */
export interface ThreadRegistry {
  /** Of this memory, among all of the origin. */
  readonly name: string;
  /** A word that counts the threads so far; undefined where memory is plain, with one thread. */
  readonly count: Int32Array | undefined;
}

interface Joined {
  readonly thread: number;
}

export function newRegistry(shared: boolean): ThreadRegistry {
  const [a = 0, b = 0] = crypto.getRandomValues(new Uint32Array(2));
  const name = `pgaio-${a.toString(36)}${b.toString(36)}`;
  // A page that is not isolated can have a shared memory, and no thread to share it with.
  const counts = shared && typeof SharedArrayBuffer === 'function';
  return { name, count: counts ? new Int32Array(new SharedArrayBuffer(4)) : undefined };
}

/** The next number; 0 is the first. */
export function nextThread({ count }: ThreadRegistry): number {
  return count === undefined ? 0 : Atomics.add(count, 0, 1);
}

const lockName = (registry: ThreadRegistry, thread: number): string => `${registry.name}-${thread}`;

/** This thread has joined: as long as it lives, whoever watches can tell. */
export async function announceThread(registry: ThreadRegistry, core: CoreInstance): Promise<void> {
  const { locks } = navigator;
  if (registry.count === undefined || locks === undefined) return;
  const { thread } = core.host;
  await new Promise<void>((taken) => {
    locks.request(lockName(registry, thread), () => {
      taken();
      return new Promise<void>((release) => core.onLeaving(release));
    });
  });
  const channel = new BroadcastChannel(registry.name);
  channel.postMessage({ thread } satisfies Joined);
  channel.close();
}

/** Until it leaves, `core` cleans up after threads that join from now on and end. */
export function watchThreads(registry: ThreadRegistry, core: CoreInstance): void {
  const { locks } = navigator;
  if (registry.count === undefined || locks === undefined) return;
  const channel = new BroadcastChannel(registry.name);
  const leaving = new AbortController();
  channel.onmessage = ({ data }: MessageEvent<Joined>) => {
    const { thread } = data;
    locks
      .request(lockName(registry, thread), { signal: leaving.signal }, () => {
        core.threadEnded(thread);
      })
      .catch(() => undefined); // this backend has left before
  };
  core.onLeaving(() => {
    channel.close();
    leaving.abort();
  });
}
