/**
 * The core's suites in a browser, over `@wasmer/wasi` and over the device of the tests: the files
 * that Node runs, bundled with tests/browser/node in place of Node (suites-bundle.ts).
 */
import { wasmerProvider } from '../../host/browser/wasmer-provider.ts';
import { writeFileSync } from './node/fs.ts';
import { type Outcome, runSuites } from './uvu.ts';
import '../batch.test.ts';
import '../callbacks-page.test.ts';
import '../callbacks.test.ts';
import '../memory.test.ts';
import '../misuse.test.ts';
import '../page.test.ts';
import '../pool-pages.test.ts';
import '../pool.test.ts';
import '../read-stream.test.ts';
import '../settings.test.ts';
import '../states.test.ts';

/** A thread of its own for each part: its memories are gone with it. */
const PARTS = 8;

async function run(part: number): Promise<Outcome[]> {
  try {
    for (const name of ['pgaio.wasm', 'pgaio-unshared.wasm']) {
      const response = await fetch(new URL(name, location.href));
      writeFileSync(`dist/${name}`, new Uint8Array(await response.arrayBuffer()));
    }
    await wasmerProvider(); // from now on others can be made without waiting
    return await runSuites(part, PARTS);
  } catch (error) {
    return [{ suite: 'browser suites', name: 'start', error: String(error) }];
  }
}

if (typeof document === 'undefined') {
  addEventListener('message', async ({ data }) => postMessage(await run(data)));
} else {
  const inWorker = (part: number) => {
    const worker = new Worker(import.meta.url, { type: 'module' });
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage(part);
    }).finally(() => worker.terminate());
  };
  Object.assign(globalThis, { pgaioSuites: { parts: PARTS, page: run, worker: inWorker } });
}
