/** Resource owners: what an error must clean up after. */
import type { Completions } from './completions.ts';
import type { CoreInstance } from './core.ts';

/**
 * Collects the I/Os of a unit of work. `commit` and `abort` end it, children first: a handle never
 * started is given back, staged I/Os are submitted, and results of I/Os still under way are no
 * longer awaited (PGAIO_ABANDONED) though they run on. `commit` warns of what was left behind.
 * Disposing one that was not ended aborts it.
 */
export class ResourceOwner implements Disposable {
  readonly #core: CoreInstance;
  readonly #completions: Completions;
  readonly #at: number;
  readonly #children = new Set<ResourceOwner>();
  readonly #parent: ResourceOwner | undefined;
  #ended = false;

  /** Use `aio.owner()`. */
  constructor(core: CoreInstance, completions: Completions, parent?: ResourceOwner) {
    this.#core = core;
    this.#completions = completions;
    this.#parent = parent;
    this.#at = core.check(core.exports.ResourceOwnerCreate(parent?.address ?? 0));
    if (parent !== undefined) parent.#children.add(this);
  }

  get address(): number {
    if (this.#ended) throw new ReferenceError('this resource owner has ended');
    return this.#at;
  }

  commit(): void {
    this.#end(true);
  }
  abort(): void {
    this.#end(false);
  }
  [Symbol.dispose](): void {
    if (!this.#ended && !this.#core.closed) this.#end(false);
  }

  #end(isCommit: boolean): void {
    const { exports } = this.#core;
    this.#core.check(exports.ResourceOwnerRelease(this.address, isCommit ? 1 : 0));
    this.#finish();
  }

  /** The core has released the whole tree; each of us forgets its I/Os and goes. */
  #finish(): void {
    for (const child of this.#children) child.#finish();
    this.#completions.abandon(this);
    this.#core.check(this.#core.exports.ResourceOwnerDelete(this.#at));
    this.#ended = true;
    if (this.#parent !== undefined) this.#parent.#children.delete(this);
  }
}
