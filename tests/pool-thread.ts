/**
 * A thread that joins an engine, takes hold of buffers in every way there is, says so, and never
 * lets them go: pool-pressure.test.ts ends it.
 */
import { parentPort, workerData } from 'node:worker_threads';
import * as layout from '../bindings/layout.ts';
import { type AioToken, join } from '../host/node/raw.ts';

/** What it holds, by block. */
export const HELD_BY_THREAD = { pinned: 1, changed: 2, begun: 3, shared: 4, reading: 5 } as const;

const { token } = workerData as { readonly token: AioToken };
const pg = await join(token);
const u32 = new Uint32Array(pg.memory.buffer);
const i32 = new Int32Array(pg.memory.buffer);
const op = pg.alloc(layout.READ_OPERATION_BYTES);
u32.set([1663, 5, 16384, 0], op / 4);

const read = (block: number): number => pg.ReadBuffer(op, block, 0, 0);
read(HELD_BY_THREAD.pinned);
const again = read(HELD_BY_THREAD.pinned);
pg.IncrBufferRefCount(again);
const changed = read(HELD_BY_THREAD.changed);
pg.LockBuffer(changed, layout.BUFFER_LOCK_EXCLUSIVE, 0);
u32[(pg.BufferGetPage(changed) + 4000) / 4] = 4711;
pg.MarkBufferDirty(changed);
const place = pg.alloc(8);
pg.PinBufferForBlock(op, HELD_BY_THREAD.begun, place, 0);
pg.StartBufferIO(i32[place / 4] ?? 0, 1, 1);
pg.LockBuffer(read(HELD_BY_THREAD.shared), layout.BUFFER_LOCK_SHARE, 0);
i32[place / 4] = 0;
u32[place / 4 + 1] = 1;
pg.pgaio_enter_batchmode(); // what it reads stays staged
pg.StartReadBuffers(op, place, HELD_BY_THREAD.reading, place + 4, 0);
parentPort?.postMessage('held');
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
