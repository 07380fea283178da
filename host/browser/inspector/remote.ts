/**
 * Another process: its snapshots come as a stream of pieces that have changed, and what lies behind
 * them, the callers' memory, is asked for when it is looked at. Reading only.
 */
import { about, say, source, tick } from './state.ts';

/** Head of a snapshot, see host/node/inspector-frames.ts: words of 32 bits, little-endian. */
const HEAD_WORDS = 4;
const PIECE_WORDS = 2;
const RETRY_MS = 1000;
const RETRIES = 5;

let mirror = new Uint8Array(0);

/** What a page finds beside it when a process serves it. */
export interface RemoteAbout {
  readonly pid: number;
  readonly node: string;
  readonly method: string;
  readonly intervalMs: number;
}

/** Whether a process serves this page; if so it is shown from now on. */
export async function connect(): Promise<boolean> {
  if (!document.querySelector('meta[name="pgaio-live"]')) return false;
  const response = await fetch('about.json');
  if (!response.ok) {
    say(
      `ERROR: the process refuses: ${response.status}. Its address is good once; ask for another.`,
    );
    return true;
  }
  const { pid, node, method, intervalMs }: RemoteAbout = await response.json();
  about.value = [`live view of process ${pid}`, `Node ${node}`, `method ${method}`, 'reading only'];
  say(`Snapshots every ${intervalMs} ms.`);
  void follow();
  return true;
}

async function follow(): Promise<void> {
  for (let failures = 0; failures < RETRIES; failures++) {
    try {
      const { body, ok } = await fetch('snapshots');
      if (!ok || body === null) throw new Error('refused');
      failures = 0;
      await readAll(body.getReader());
      say('The process has ended its view.');
      return;
    } catch {
      about.value = [...about.value.slice(0, 1), 'not reachable'];
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
  say('ERROR: the process cannot be reached any more.');
}

async function readAll(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  let rest: Uint8Array = new Uint8Array(0);
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    rest = joined(rest, value);
    for (let used = takeSnapshot(rest); used > 0; used = takeSnapshot(rest)) {
      rest = rest.subarray(used);
    }
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second;
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
}

/** Bytes used up: those of one snapshot, 0 while it is not all there. */
function takeSnapshot(bytes: Uint8Array): number {
  if (bytes.length < 4 * HEAD_WORDS) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [length = 0, size = 0, pieces = 0] = [0, 1, 2].map((i) => view.getUint32(4 * i, true));
  if (bytes.length < length) return 0;
  if (mirror.length !== size) mirror = new Uint8Array(size);
  let at = 4 * HEAD_WORDS;
  for (let piece = 0; piece < pieces; piece++) {
    const to = view.getUint32(at, true);
    const count = view.getUint32(at + 4, true);
    at += 4 * PIECE_WORDS;
    mirror.set(bytes.subarray(at, at + count), to);
    at += count;
  }
  if (source.value.kind !== 'remote' || source.value.bytes !== mirror) {
    source.value = { kind: 'remote', bytes: mirror };
  }
  tick.value++;
  return length;
}

const asked = new Map<string, Uint8Array>();
let askedAt = 0;

/** Bytes of the other process beyond the mirror: what was answered last, asked for anew. */
export function remoteBytes(at: number, count: number): Uint8Array {
  const key = `${at}+${count}`;
  if (performance.now() - askedAt > RETRY_MS) {
    askedAt = performance.now();
    fetch(`memory?from=${at}&bytes=${count}`)
      .then((response) => response.arrayBuffer())
      .then((answer) => {
        asked.clear();
        asked.set(key, new Uint8Array(answer));
        tick.value++;
      })
      .catch(() => undefined); // the next look asks again
  }
  return asked.get(key) ?? new Uint8Array(0);
}
