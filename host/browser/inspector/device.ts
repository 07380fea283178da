/** The device of method `host` in scenarios: ends I/Os later, by whichever backend it is told. */
import * as layout from '../../../bindings/layout.ts';
import { MemoryView } from '../../../bindings/memory-view.ts';
import type { Aio, IoDevice } from '../index.ts';

const HANDLE = layout.PgAioHandle;

export class LaterDevice implements IoDevice {
  /** Keeps what is submitted until `end` is called. */
  holds = false;
  readonly #bytes: () => Uint8Array;
  readonly #held: number[] = [];
  #aio: Aio | undefined;

  /** `bytes`: of the file that is read. */
  constructor(bytes: () => Uint8Array) {
    this.#bytes = bytes;
  }

  /** The backend that completes what is not held. */
  serve(aio: Aio): void {
    this.#aio = aio;
  }

  submit(ids: readonly number[]): void {
    this.#held.push(...ids);
    if (!this.holds) setTimeout(() => this.end());
  }

  /** Ends all that is held. `by`: the backend that completes it. */
  end(by = this.#aio): void {
    if (by === undefined) return;
    for (const id of this.#held.splice(0)) by.complete(id, this.#transfer(by, id));
  }

  /** Reads what handle `id` asks for; bytes. */
  #transfer(aio: Aio, id: number): number {
    const memory = new MemoryView(new Uint8Array(aio.memory.buffer));
    const at = memory.handleAt(id);
    const field = (name: string): number => memory.field(HANDLE, at, name);
    let from = field('offset');
    const begin = from;
    const first = memory.ctl('iovecs') + field('iovec_off') * layout.IOVEC_BYTES;
    for (let i = 0; i < field('iov_length'); i++) {
      const address = memory.u32(first + 8 * i);
      const piece = this.#bytes().subarray(from, from + memory.u32(first + 8 * i + 4));
      memory.bytes.set(piece, address);
      from += piece.length;
    }
    return from - begin;
  }
}
