/** How far a read stream looks ahead: its distance over the pages it has handed out. */
import { signal, useSignalEffect } from '@preact/signals';
import { h } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { colourOf } from './plots.ts';

/** One page handed out, and how the stream stood then. */
export interface StreamSample {
  readonly block: number;
  /** Blocks it looks ahead. */
  readonly distance: number;
  /** I/Os under way. */
  readonly inFlight: number;
  /** Buffers it holds for pages to come. */
  readonly pinned: number;
  /** I/Os so far that had to be waited for. */
  readonly waits: number;
}

export const samples = signal<readonly StreamSample[]>([]);

const HEIGHT = 380;
const MIN_WIDTH = 640;
const LINES = [
  { name: 'distance', title: 'distance (blocks)', colour: '--plot-1' },
  { name: 'pinned', title: 'pinned (buffers)', colour: '--plot-2' },
  { name: 'inFlight', title: 'I/Os in flight', colour: '--plot-3' },
] as const;

function options(width: number): uPlot.Options {
  const stroke = colourOf('--ink');
  const grid = { stroke: colourOf('--line'), width: 1 };
  const axis = { stroke, grid, ticks: grid };
  return {
    title: 'Read stream',
    width,
    height: HEIGHT,
    scales: { x: { time: false }, y: { range: (_plot, _min, max) => [0, Math.max(2, max * 1.1)] } },
    axes: [
      { ...axis, label: 'pages handed out', labelSize: 18 },
      { ...axis, size: 50 },
    ],
    series: [
      { label: 'page' },
      ...LINES.map(({ title, colour }) => ({
        label: title,
        stroke: colourOf(colour),
        width: 2,
        points: { show: false },
      })),
    ],
  };
}

function Plot() {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  useEffect(() => () => plot.current?.destroy(), []);
  useSignalEffect(() => {
    const all = samples.value;
    const data: uPlot.AlignedData = [
      all.map((_, i) => i),
      ...LINES.map(({ name }) => all.map((sample) => sample[name])),
    ];
    const { current: element } = place;
    if (element === null) return;
    if (plot.current !== undefined) plot.current.setData(data);
    else plot.current = new uPlot(options(Math.max(MIN_WIDTH, element.clientWidth)), data, element);
  });
  return h('div', { class: 'plot', 'data-plot': 'stream', ref: place });
}

export function StreamView() {
  const all = samples.value;
  const most = all.reduce((max, { distance }) => Math.max(max, distance), 0);
  const words =
    all.length === 0
      ? 'Run the scenario "Read stream".'
      : `${all.length} pages, distance up to ${most}, ${all.at(-1)?.waits ?? 0} waits. ` +
        'A relation from its beginning, not in the pool yet; then its beginning again, which is; ' +
        'then blocks here and there, which are not.';
  return h('div', null, h('p', { 'data-stream': all.length }, words), h(Plot, null));
}
