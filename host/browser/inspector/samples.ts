/**
 * Depth, throughput and latency out of what the memory counts: I/Os in flight, and handles that
 * have gone back to IDLE. Latency is the mean by Little's law, depth divided by throughput.
 */
import { effect, signal } from '@preact/signals';
import * as layout from '../../../bindings/layout.ts';
import type { MemoryView } from '../../../bindings/memory-view.ts';
import { MemoryView as View } from '../../../bindings/memory-view.ts';
import { memory, source, steps, tick } from './state.ts';

/** Columns of numbers: x first. */
export interface Series {
  /** Seconds, or steps. */
  readonly x: readonly number[];
  /** I/Os in flight. */
  readonly depth: readonly number[];
  /** I/Os per second; empty for steps. */
  readonly rate: readonly number[];
  /** Mean latency, µs; null while nothing ends. */
  readonly latency: readonly (number | null)[];
}

const KEPT = 300;
const SAMPLE_MS = 100;
const US = 1e6;
const NOTHING: Series = { x: [], depth: [], rate: [], latency: [] };
const BACKEND = layout.PgAioBackend;

export const series = signal<Series>(NOTHING);

/** What all backends together have in flight, and have had. */
export function totals(now: MemoryView): { depth: number; done: number } {
  let depth = 0;
  let done = 0;
  if (!now.isReady) return { depth, done };
  for (let procno = 0; procno < now.ctl('max_backends'); procno++) {
    const at = now.ctl('backends') + (procno << layout.BACKEND_SHIFT);
    depth += now.field(BACKEND, at, 'in_flight_count');
    done += now.field(BACKEND, at, 'reclaimed');
  }
  return { depth, done };
}

let last = { at: 0, done: 0, looks: 0, depths: 0 };
let began = 0;

function sample(): void {
  const now = performance.now();
  const { depth, done } = totals(memory.peek());
  last.looks++;
  last.depths += depth;
  if (now - last.at < SAMPLE_MS) return;
  const { x, depth: depths, rate, latency } = series.peek();
  const mean = last.depths / last.looks;
  const seconds = (now - last.at) / 1000;
  const perSecond = last.at === 0 ? 0 : (done - last.done) / seconds;
  if (last.at === 0) began = now;
  else {
    const micros = perSecond > 0 ? (mean / perSecond) * US : null;
    series.value = {
      x: [...x, (now - began) / 1000].slice(-KEPT),
      depth: [...depths, mean].slice(-KEPT),
      rate: [...rate, perSecond].slice(-KEPT),
      latency: [...latency, micros].slice(-KEPT),
    };
  }
  last = { at: now, done, looks: 0, depths: 0 };
}

/** Begins to follow the source, whichever it is. */
export function followSource(): void {
  effect(() => {
    const { kind } = source.value;
    last = { at: 0, done: 0, looks: 0, depths: 0 };
    if (kind !== 'steps') {
      series.value = NOTHING;
      return;
    }
    const depth = steps.value.map(({ bytes }) => totals(new View(bytes)).depth);
    series.value = { ...NOTHING, x: depth.map((_, i) => i), depth };
  });
  effect(() => {
    tick.value; // whenever a live memory was looked at
    if (source.peek().kind === 'live' || source.peek().kind === 'remote') sample();
  });
}
