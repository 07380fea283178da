/** What a backend submits to its ring, as it lies in linear memory. */
import * as layout from '../bindings/layout.ts';
import type { Aio } from '../host/node/index.ts';

/** Operations of linux/io_uring.h. */
export const OP = {
  READV: 1,
  FSYNC: 3,
  READ_FIXED: 4,
  WRITE_FIXED: 5,
  POLL: 6,
  OPENAT: 18,
  CLOSE: 19,
  READ: 22,
  WRITE: 23,
} as const;

interface Place {
  readonly offset: number;
}
const word = (aio: Aio, address: number): number =>
  new Uint32Array(aio.memory.buffer)[address >>> 2] ?? 0;
const controlWord = (aio: Aio, { offset }: Place): number => word(aio, layout.CTL_AT + offset);

/** A word of the backend's PgAioUringContext. */
export function contextWord(aio: Aio, { offset }: Place): number {
  const contexts = controlWord(aio, layout.PgAioCtl.fields.uring_contexts);
  return word(aio, contexts + aio.procno * layout.URING_CONTEXT_BYTES + offset);
}

/** Operations of the entries that the first backend submits while `act` runs. */
export async function operationsOf(aio: Aio, act: () => Promise<unknown>): Promise<number[]> {
  const { cq_entries, submitted } = layout.PgAioUringContext.fields;
  const slots = layout.PGAIO_SUBMIT_BATCH_SIZE;
  const rings = 1024 + 16 * contextWord(aio, cq_entries) + 4 * slots;
  const memory = controlWord(aio, layout.PgAioCtl.fields.uring_memory);
  const entries = memory + Math.ceil(rings / 4096) * 4096;
  const first = contextWord(aio, submitted);
  await act();
  const bytes = new Uint8Array(aio.memory.buffer);
  return Array.from({ length: contextWord(aio, submitted) - first }, (_, i) => {
    return bytes[entries + ((first + i) % slots) * 64] ?? 0;
  });
}
