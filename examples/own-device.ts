/** A device of one's own behind the engine: here an array that answers a little later. */
import { Aio, type IoDevice } from 'pgaio';

const device: IoDevice = {
  submit(ids) {
    console.log(`submitted together: ${ids.join(', ')}`);
    for (const id of ids) setImmediate(() => aio.complete(id, id === 1 ? -5 : 8192));
  },
};
const aio = await Aio.create({ ioMethod: 'host', device });
const file = aio.open('/dev/null'); // the device does not look at it
const frames = aio.frames(2);

const batch = aio.batch();
const reads = [file.read(frames.slice(0, 1), 0), file.read(frames.slice(1, 2), 8192)];
batch[Symbol.dispose]();

for (const row of aio.inspect()) {
  console.log(row.io_id, row.state, row.operation, row.off, row.length, row.target_desc);
}
for (const end of await Promise.allSettled(reads)) {
  console.log(end.status === 'fulfilled' ? end.value.status : end.reason.message);
}
await aio[Symbol.asyncDispose]();
