/**
 * Runs the cases in a page: the same script is the page's and that of its workers. A test asks for
 * `pgaioRun(name, where)`, and gets the empty string or what went wrong.
 */
import { CASES, runGuest } from './cases.ts';

async function outcome(name: string): Promise<string> {
  try {
    await CASES[name]?.run();
    return '';
  } catch (error) {
    return error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
  }
}

function inWorker(name: string): Promise<string> {
  const worker = new Worker(import.meta.url, { type: 'module' });
  return new Promise<string>((resolve) => {
    worker.onmessage = ({ data }) => resolve(data.outcome);
    worker.onerror = (event) => resolve(event.message || 'the worker could not start');
    worker.postMessage({ name });
  }).finally(() => worker.terminate());
}

if (typeof document === 'undefined') {
  addEventListener('message', async ({ data }) => {
    if (data.guest === undefined) postMessage({ outcome: await outcome(data.name) });
    else postMessage({ answer: await runGuest(data.guest, data.token) });
  });
} else {
  const list = Object.entries(CASES).map(([name, { where, isolated }]) => ({
    name,
    where: [...where],
    isolated: isolated ?? null,
  }));
  const run = (name: string, where: 'page' | 'worker') =>
    where === 'page' ? outcome(name) : inWorker(name);
  Object.assign(globalThis, { pgaioCases: list, pgaioRun: run });
}
