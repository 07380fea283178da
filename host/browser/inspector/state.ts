/**
 * What the page shows, as signals. All of it that a person chooses stands in the URL, so that a
 * view can be shared; the rest follows from the memory that is looked at.
 */
import { computed, effect, signal } from '@preact/signals';
import { MemoryView } from '../../../bindings/memory-view.ts';
import type { AioReport, Step } from '../index.ts';

export const VIEWS = [
  'machine',
  'memory',
  'workers',
  'buffers',
  'stream',
  'plots',
  'file',
] as const;
export type View = (typeof VIEWS)[number];
export const METHODS = ['sync', 'worker', 'host'] as const;
export type Method = (typeof METHODS)[number];
export const CORES = ['recorded', 'release', 'debug'] as const;
export type Core = (typeof CORES)[number];

/** Everything in the URL, with its defaults. */
const DEFAULTS = {
  view: 'machine' as string,
  scenario: 'one-read' as string,
  method: 'host' as string,
  core: 'recorded' as string,
  handles: 4,
  backends: 2,
  depth: 8,
  /** ms from one step to the next. */
  speed: 600,
  /** -1: the last. */
  step: 0,
  handle: 0,
  region: '' as string,
  element: -1,
  play: 1,
};
export type Chosen = typeof DEFAULTS;
export type ChosenName = keyof Chosen;

const RANGES: Readonly<Partial<Record<ChosenName, readonly [min: number, max: number]>>> = {
  handles: [1, 32],
  backends: [1, 8],
  depth: [1, 32],
  speed: [30, 3000],
};
const CHOICES: Readonly<Partial<Record<ChosenName, readonly string[]>>> = {
  view: VIEWS,
  method: METHODS,
  core: CORES,
};

function fromUrl(): Chosen {
  const query = new URLSearchParams(location.search);
  const entries = Object.entries(DEFAULTS).map(([name, fallback]) => {
    const given = query.get(name);
    if (given === null) return [name, fallback];
    if (typeof fallback === 'number') {
      const number = Math.trunc(Number(given));
      const [min, max] = RANGES[name as ChosenName] ?? [-1, 2 ** 32];
      return [name, Number.isNaN(number) ? fallback : Math.min(max, Math.max(min, number))];
    }
    const choices = CHOICES[name as ChosenName];
    return [name, choices?.includes(given) === false ? fallback : given];
  });
  return Object.fromEntries(entries) as Chosen;
}

export const chosen = signal<Chosen>(fromUrl());

/** Changes what is chosen, and with it the URL. */
export function choose(changes: Partial<Chosen>): void {
  chosen.value = { ...chosen.value, ...changes };
}

effect(() => {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(chosen.value)) {
    if (value === DEFAULTS[name as ChosenName]) query.delete(name);
    else query.set(name, String(value));
  }
  const text = query.toString();
  history.replaceState(null, '', text === '' ? location.pathname : `?${text}`);
});

/** Where the memory comes from. */
export type Source =
  | { readonly kind: 'none' }
  /** Steps that were recorded, one of which is looked at. */
  | { readonly kind: 'steps'; readonly steps: readonly Step[] }
  /** An engine in this page that runs on. */
  | { readonly kind: 'live'; readonly bytes: Uint8Array }
  /** Another process, as its snapshots come. */
  | { readonly kind: 'remote'; readonly bytes: Uint8Array };

export const source = signal<Source>({ kind: 'none' });
/** Goes up whenever a live memory is to be looked at again. */
export const tick = signal(0);
/** What is said of the source: build, method, reason, address. */
export const about = signal<readonly string[]>([]);
/** What the engine reported, and what a scenario has to say. */
export const log = signal<readonly string[]>([]);
export const running = signal(false);

export const say = (line: string): void => {
  log.value = [...log.value.slice(-99), line];
};
export const sayReport = ({ severity, message, detail, hint }: AioReport): void => {
  say(`${severity}: ${[message, detail, hint].filter((part) => part !== undefined).join(' ')}`);
};

/** Steps recorded; none while a live memory is looked at. */
export const steps = computed(() => (source.value.kind === 'steps' ? source.value.steps : []));
/** The step that is looked at. */
export const cursor = computed(() => {
  const { step } = chosen.value;
  const last = steps.value.length - 1;
  return step < 0 || step > last ? last : step;
});

function bytesAt(index: number): Uint8Array {
  return steps.value[index]?.bytes ?? EMPTY;
}
const EMPTY = new Uint8Array(0);

/** The memory that is looked at. */
export const memory = computed(() => {
  const from = source.value;
  if (from.kind === 'steps') return new MemoryView(bytesAt(cursor.value));
  tick.value; // looks again when it goes up
  return new MemoryView(from.kind === 'none' ? EMPTY : from.bytes);
});
/** The memory one step before; undefined where there is none. */
export const before = computed(() => {
  if (source.value.kind !== 'steps' || cursor.value <= 0) return undefined;
  return new MemoryView(bytesAt(cursor.value - 1));
});
