/** The trace ring of a memory: transitions, the newest last. */
import * as layout from '../../../bindings/layout.ts';
import type { MemoryView } from '../../../bindings/memory-view.ts';

export interface Transition {
  /** Counted from 1 over all backends. */
  readonly seq: number;
  /** Backend that made it, -1 for an I/O worker. */
  readonly procno: number;
  readonly io: number;
  readonly from: number;
  readonly to: number;
  readonly op: number;
  readonly generation: bigint;
  readonly raw: number;
  readonly word: number;
  readonly result: number;
  /** Bytes into the file. */
  readonly offset: number;
}

const ENTRY = layout.PgAioTraceEntry;

/** What the ring holds after entry `since`, at most `limit`. */
export function transitionsOf(memory: MemoryView, since = 0, limit = 4096): Transition[] {
  if (!memory.isReady) return [];
  const size = memory.ctl('trace_size');
  const next = memory.ctl('trace_next');
  const found: Transition[] = [];
  for (let n = Math.max(since, next - Math.min(size, limit), 0); n < next; n++) {
    const at = memory.ctl('trace') + (n & (size - 1)) * layout.TRACE_BYTES;
    const field = (name: string): number => memory.field(ENTRY, at, name);
    if (field('seq') !== n + 1) continue;
    found.push({
      seq: n + 1,
      procno: field('procno'),
      io: field('io'),
      from: field('from'),
      to: field('to'),
      op: field('op'),
      generation: BigInt(
        memory.number(at + ENTRY.fields.generation.offset, ENTRY.fields.generation),
      ),
      raw: field('raw_result'),
      word: field('distilled_word'),
      result: field('distilled_result'),
      offset: field('offset'),
    });
  }
  return found;
}
