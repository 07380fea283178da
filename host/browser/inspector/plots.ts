/** Depth, throughput and latency over time. */

import { useSignalEffect } from '@preact/signals';
import { h } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { type Series, series } from './samples.ts';
import { cursor, source, tick } from './state.ts';

interface PlotProps {
  readonly title: string;
  readonly unit: string;
  readonly of: 'depth' | 'rate' | 'latency';
  /** Name of the colour in the style sheet. */
  readonly colour: string;
}
const HEIGHT = 170;
const MIN_WIDTH = 320;

/** A colour of the style sheet, as it is in the scheme in force. */
export function colourOf(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function dataOf(all: Series, of: PlotProps['of']): uPlot.AlignedData {
  const y = all[of];
  return [all.x.slice(0, y.length), [...y]] as uPlot.AlignedData;
}

function options({ title, of, unit, colour }: PlotProps, width: number): uPlot.Options {
  const stroke = colourOf('--ink');
  const grid = { stroke: colourOf('--line'), width: 1 };
  const isSteps = source.peek().kind === 'steps';
  const axis = { stroke, grid, ticks: grid };
  return {
    title: `${title} (${unit})`,
    width,
    height: HEIGHT,
    cursor: { y: false },
    legend: { show: false },
    scales: { x: { time: false }, y: { range: (_plot, _min, max) => [0, Math.max(1, max * 1.1)] } },
    axes: [
      { ...axis, label: isSteps ? 'step' : 'seconds', labelSize: 18 },
      { ...axis, size: 60 },
    ],
    series: [{}, { label: of, stroke: colourOf(colour), width: 2, points: { show: false } }],
  };
}

function Plot(props: PlotProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const kind = useRef('');
  useEffect(() => () => plot.current?.destroy(), []);
  useSignalEffect(() => {
    const data = dataOf(series.value, props.of);
    const { current: element } = place;
    if (element === null) return;
    if (plot.current === undefined || kind.current !== source.value.kind) {
      plot.current?.destroy();
      kind.current = source.value.kind;
      const width = Math.max(MIN_WIDTH, element.clientWidth);
      plot.current = new uPlot(options(props, width), data, element);
    } else plot.current.setData(data);
  });
  return h('div', { class: 'plot', 'data-plot': props.of, ref: place });
}

function Latest() {
  const { x, depth, rate, latency } = series.value;
  tick.value; // the numbers below the plots
  if (source.value.kind === 'steps') {
    return h('p', null, `step ${cursor.value}: ${depth[cursor.value] ?? 0} I/Os in flight`);
  }
  if (x.length === 0) return h('p', { class: 'quiet' }, 'Run the load, or a scenario.');
  const micros = latency.at(-1);
  const words = micros === null || micros === undefined ? 'no I/O ends' : `${micros.toFixed(0)} µs`;
  return h(
    'p',
    { 'data-latest': '' },
    `depth ${depth.at(-1)?.toFixed(1)}, ${rate.at(-1)?.toFixed(0)} I/Os a second, latency ${words}`,
  );
}

export function Plots() {
  const isSteps = source.value.kind === 'steps';
  return h(
    'div',
    { class: 'plots' },
    h(Latest, null),
    h(Plot, { title: 'Depth', unit: 'I/Os in flight', of: 'depth', colour: '--plot-1' }),
    isSteps
      ? null
      : h(Plot, { title: 'Throughput', unit: 'I/Os/s', of: 'rate', colour: '--plot-2' }),
    isSteps
      ? null
      : h(Plot, { title: 'Latency', unit: 'µs, mean', of: 'latency', colour: '--plot-3' }),
    isSteps
      ? null
      : h('p', { class: 'quiet' }, 'Latency is depth divided by throughput (Little’s law).'),
  );
}
