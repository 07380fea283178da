/** Two threads over one memory: one reads, the other waits for that I/O and looks at the bytes. */
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Aio, type AioToken, type WaitRefToken } from 'pgaio';

interface Start {
  readonly token: AioToken;
  readonly path: string;
}
/** What the second thread tells the first: the I/O it has started, and where its bytes will be. */
interface Started {
  readonly ref: WaitRefToken;
  readonly address: number;
}

async function first(): Promise<void> {
  const path = `${tmpdir()}/pgaio-example-${process.pid}`;
  writeFileSync(path, 'read by one thread, seen by two'.padEnd(8192));
  const aio = await Aio.create();
  const workerData: Start = { token: aio.token, path };
  const thread = new Worker(new URL(import.meta.url), { workerData });
  const ended = once(thread, 'exit');

  const [{ ref, address }] = (await once(thread, 'message')) as [Started];
  await aio.waitRef(ref).done(); // over; how it went its owner knows
  const bytes = new Uint8Array(aio.memory.buffer).slice(address, address + 31);
  console.log(`backend ${aio.procno}: ${new TextDecoder().decode(bytes)}`);
  thread.postMessage('seen');
  console.log(...(await once(thread, 'message')));
  await ended; // its slot is free again
  console.log(`${aio.inspect().length} handles in use`);
  await aio[Symbol.asyncDispose]();
  rmSync(path);
}

async function second({ token, path }: Start): Promise<void> {
  await using aio = await Aio.attach(token);
  using file = aio.open(path);
  using frames = aio.frames(1);
  const io = file.read(frames, 0);
  const started: Started = { ref: io.ref.token, address: frames.address };
  parentPort?.postMessage(started);
  const { status, result } = await io;
  if (parentPort !== null) await once(parentPort, 'message'); // until then the bytes must stay
  parentPort?.postMessage(`backend ${aio.procno}: ${status}, ${result} bytes`);
}

await (isMainThread ? first() : second(workerData));
