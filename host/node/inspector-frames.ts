/**
 * Snapshots of the engine's part of the memory, for a viewer: each holds the pieces that have
 * changed since the one before. A viewer gets, in words of 32 bits, little-endian: bytes of the
 * whole snapshot, bytes of the memory copied, number of pieces, 0; then for each piece where it
 * goes, its length, and its bytes.
 */
import { CTL_AT, PgAioCtl } from '../../bindings/layout.ts';

const HEAD_BYTES = 16;
const PIECE_HEAD_BYTES = 8;
/** Compared as a whole: half a microsecond, and small beside what a busy engine changes. */
const PIECE_BYTES = 1024;

export class Snapshots {
  readonly #memory: Buffer;
  readonly #seen: Buffer;
  #first = true;

  /** Over an engine's memory that is laid out. */
  constructor(memory: WebAssembly.Memory) {
    const at = CTL_AT + PgAioCtl.fields.local.offset;
    const bytes = new Uint32Array(memory.buffer)[at >>> 2] ?? 0;
    this.#memory = Buffer.from(memory.buffer, 0, bytes);
    this.#seen = Buffer.alloc(bytes);
  }

  /** What has changed since the last call; all of it at first. Parts to be written in a row. */
  next(): Buffer[] {
    const parts: Buffer[] = [Buffer.alloc(HEAD_BYTES)];
    let bytes = HEAD_BYTES;
    let pieces = 0;
    for (let from = 0; from < this.#memory.length; ) {
      const to = this.#changedUntil(from);
      if (to === from) {
        from += PIECE_BYTES;
        continue;
      }
      // Copied first and sent from the copy: the memory goes on changing.
      this.#memory.copy(this.#seen, from, from, to);
      const head = Buffer.alloc(PIECE_HEAD_BYTES);
      head.writeUInt32LE(from, 0);
      head.writeUInt32LE(to - from, 4);
      parts.push(head, Buffer.from(this.#seen.subarray(from, to)));
      bytes += PIECE_HEAD_BYTES + to - from;
      pieces++;
      from = to;
    }
    const [head] = parts;
    head?.writeUInt32LE(bytes, 0);
    head?.writeUInt32LE(this.#memory.length, 4);
    head?.writeUInt32LE(pieces, 8);
    this.#first = false;
    return parts;
  }

  /** End of the run of changed pieces that begins at `from`; `from` if that one has not changed. */
  #changedUntil(from: number): number {
    let to = from;
    while (to < this.#memory.length) {
      const end = Math.min(to + PIECE_BYTES, this.#memory.length);
      if (!this.#first && this.#memory.compare(this.#seen, to, end, to, end) === 0) return to;
      to = end;
    }
    return to;
  }
}
