/**
 * What relations, streams and the pool share of their engine, and how they go on after the core has
 * answered that it would have had to wait.
 */
import type { Arena } from './arena.ts';
import type { CoreInstance } from './core.ts';
import * as layout from './layout.ts';
import type { PinOwner } from './pinned-buffer.ts';
import { WaitRef, type WaitRefContext } from './wait-ref.ts';

const WREF_INVALID = 0xffffffff;
const RETRY_MS_MAX = 16;

export class Storage implements PinOwner {
  readonly core: CoreInstance;
  readonly arena: Arena;
  readonly refs: WaitRefContext;
  /** Streams that have not ended. */
  readonly streams = new Set<Disposable>();

  constructor(core: CoreInstance, arena: Arena, refs: WaitRefContext) {
    this.core = core;
    this.arena = arena;
    this.refs = refs;
  }

  /** Resolves in a later turn of the event loop. */
  turn(): Promise<void> {
    const { turn } = this.core.host;
    if (turn !== undefined) return turn();
    return new Promise((resolve) => {
      setTimeout(resolve, 0);
    });
  }

  /**
   * Resolves when what a call was kept from may be over: the I/O whose reference the core left at
   * `wref`, or, without one, whatever ends next. `round`: how often it was in vain.
   */
  blocked(wref: number, round: number): Promise<void> {
    const { core, refs } = this;
    refs.poll();
    const at = wref >>> 2;
    const [index = WREF_INVALID, upper = 0, lower = 0] =
      wref === 0 ? [] : core.u32.subarray(at, at + 3);
    if (index !== WREF_INVALID) {
      const generation = (BigInt(upper) << 32n) | BigInt(lower);
      return new WaitRef(refs, { index, generation }).done();
    }
    if (core.inFlight > 0 && round === 0) return refs.next();
    // Somebody else's lock, pin or I/O: nothing tells when it is over.
    return new Promise((resolve) => {
      setTimeout(resolve, Math.min(RETRY_MS_MAX, 2 ** Math.min(round, 10)));
    });
  }

  /** Calls until the answer is no longer BLOCKED; `wref` as above. */
  async unblock(attempt: () => number, wref = 0): Promise<number> {
    for (let round = 0; ; round++) {
      const answer = attempt();
      if (answer !== layout.BLOCKED) return answer;
      await this.blocked(wref, round);
    }
  }
}
