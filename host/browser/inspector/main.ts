/**
 * The inspector: sees the engine run, its own in this page or that of a process that serves it. The
 * toolbar runs scenarios, the transport moves through what was recorded, the rest looks at memory.
 */
import { effect } from '@preact/signals';
import { type ComponentChildren, h, render } from 'preact';
import { BufferView } from './buffers.ts';
import { runLoad, runScenario } from './engine.ts';
import { nameForDevtools } from './formatters.ts';
import { HandleDetail, HandleGrid } from './handles.ts';
import { Machine } from './machine.ts';
import { MemoryMap } from './memory-map.ts';
import { Plots } from './plots.ts';
import { openRelation, RelationView } from './relation.ts';
import { connect } from './remote.ts';
import { followSource } from './samples.ts';
import { SCENARIOS } from './scenarios.ts';
import {
  about,
  type ChosenName,
  CORES,
  choose,
  chosen,
  cursor,
  log,
  METHODS,
  memory,
  running,
  source,
  steps,
  type View,
} from './state.ts';
import { StreamView } from './stream.ts';
import { transitionsOf } from './trace.ts';
import { WorkerView } from './workers.ts';

interface Tab {
  readonly view: View;
  readonly title: string;
  readonly body: () => ComponentChildren;
}
const TABS: readonly Tab[] = [
  { view: 'machine', title: 'State machine', body: () => h(MachineView, null) },
  { view: 'memory', title: 'Memory map', body: () => h(MemoryMap, null) },
  { view: 'workers', title: 'Workers and rings', body: () => h(WorkerView, null) },
  { view: 'buffers', title: 'Buffers', body: () => h(BufferView, null) },
  { view: 'stream', title: 'Read stream', body: () => h(StreamView, null) },
  { view: 'plots', title: 'Plots', body: () => h(Plots, null) },
  { view: 'file', title: 'Relation file', body: () => h(RelationView, null) },
];

function MachineView() {
  return h(
    'div',
    { class: 'overview' },
    h('div', { class: 'left' }, h(Machine, null), h(HandleGrid, null), h(Log, null)),
    h(HandleDetail, null),
  );
}

function Log() {
  const lines = log.value.map((line, i) => h('li', { key: i }, line));
  return h(
    'section',
    { class: 'log' },
    h('h2', null, 'Messages'),
    h('ol', { 'aria-live': 'polite', 'data-log': '' }, ...lines),
  );
}

function ScenarioBar() {
  const { scenario } = chosen.value;
  const buttons = SCENARIOS.map(({ id, title, about: words }) =>
    h(
      'button',
      {
        key: id,
        type: 'button',
        class: id === scenario ? 'on' : '',
        'aria-pressed': id === scenario,
        disabled: running.value,
        'data-scenario': id,
        title: words,
        onClick: () => start(id),
      },
      title,
    ),
  );
  return h(
    'div',
    { class: 'bar', role: 'toolbar', 'aria-label': 'scenarios' },
    ...buttons,
    h(
      'button',
      {
        type: 'button',
        class: scenario === 'load' ? 'on' : '',
        'aria-pressed': scenario === 'load',
        'data-scenario': 'load',
        title: 'Random reads, until something else is run',
        onClick: () => start('load'),
      },
      'Load',
    ),
  );
}

function start(id: string): void {
  choose({ scenario: id, step: 0, play: 1 });
  if (id === 'load') void runLoad();
  else void runScenario(id);
}

function select(name: ChosenName, values: readonly string[], title: string) {
  const options = values.map((value) =>
    h('option', { key: value, value, selected: chosen.value[name] === value }, value),
  );
  return h(
    'label',
    null,
    `${title} `,
    h(
      'select',
      {
        'data-setting': name,
        onChange: (event: Event) => {
          choose({ [name]: (event.currentTarget as HTMLSelectElement).value });
          start(chosen.value.scenario);
        },
      },
      ...options,
    ),
  );
}

function number(name: ChosenName, min: number, max: number, title: string) {
  return h(
    'label',
    null,
    `${title} `,
    h('input', {
      type: 'number',
      min,
      max,
      value: chosen.value[name],
      'data-setting': name,
      onChange: (event: Event) => {
        const wanted = Number((event.currentTarget as HTMLInputElement).value);
        choose({ [name]: Math.min(max, Math.max(min, Math.trunc(wanted) || min)) });
        start(chosen.value.scenario);
      },
    }),
  );
}

function Settings() {
  return h(
    'div',
    { class: 'bar settings', role: 'group', 'aria-label': 'settings' },
    select('method', METHODS, 'io_method'),
    number('handles', 1, 32, 'io_max_concurrency'),
    number('backends', 1, 8, 'max_backends'),
    chosen.value.scenario === 'load' ? number('depth', 1, 32, 'depth') : null,
    select('core', CORES, 'core'),
  );
}

const move = (by: number): void => {
  const last = steps.value.length - 1;
  choose({ step: Math.min(last, Math.max(0, cursor.value + by)), play: 0 });
};
const playOrPause = (): void => {
  const atEnd = source.value.kind === 'steps' && cursor.value >= steps.value.length - 1;
  if (chosen.value.play === 1 && !atEnd) choose({ play: 0 });
  else choose({ play: 1, ...(atEnd ? { step: 0 } : {}) });
};

function Transport() {
  const count = steps.value.length;
  const isSteps = source.value.kind === 'steps';
  const isPlaying = chosen.value.play === 1 && !(isSteps && cursor.value >= count - 1);
  const button = (label: string, sign: string, key: string, act: () => void, off = !isSteps) =>
    h(
      'button',
      {
        type: 'button',
        'aria-label': label,
        title: `${label} (${key})`,
        disabled: off,
        onClick: act,
      },
      sign,
    );
  return h(
    'div',
    { class: 'bar transport', role: 'group', 'aria-label': 'steps' },
    button('first step', '«', 'Home', () => move(-count)),
    button('step back', '‹', 'left arrow', () => move(-1)),
    button(isPlaying ? 'pause' : 'play', isPlaying ? '❚❚' : '▶', 'space', playOrPause, false),
    button('step', '›', 'right arrow', () => move(1)),
    button('last step', '»', 'End', () => move(count)),
    h('input', {
      type: 'range',
      min: 0,
      max: Math.max(0, count - 1),
      value: Math.max(0, cursor.value),
      disabled: !isSteps,
      'aria-label': 'step',
      onInput: (event: Event) =>
        choose({ step: Number((event.currentTarget as HTMLInputElement).value), play: 0 }),
    }),
    h('output', { 'data-steps': count }, isSteps ? `${cursor.value + 1} of ${count}` : 'live'),
    h(
      'label',
      null,
      'ms a step ',
      h('input', {
        type: 'range',
        min: 30,
        max: 2000,
        step: 10,
        value: chosen.value.speed,
        'aria-label': 'milliseconds a step',
        onInput: (event: Event) =>
          choose({ speed: Number((event.currentTarget as HTMLInputElement).value) }),
      }),
      h('span', { class: 'number' }, chosen.value.speed),
    ),
  );
}

function LastMove() {
  const [last] = transitionsOf(memory.value, 0, 1);
  return h(
    'output',
    { class: 'last', 'aria-live': 'off' },
    last === undefined ? '' : `#${last.seq}`,
  );
}

function Tabs() {
  const tabs = TABS.map(({ view, title }) =>
    h(
      'button',
      {
        key: view,
        type: 'button',
        role: 'tab',
        id: `tab-${view}`,
        'aria-selected': chosen.value.view === view,
        'aria-controls': 'view',
        tabIndex: chosen.value.view === view ? 0 : -1,
        'data-view': view,
        onClick: () => choose({ view }),
        onKeyDown: (event: KeyboardEvent) => moveTab(event, view),
      },
      title,
    ),
  );
  return h('div', { class: 'tabs', role: 'tablist' }, ...tabs);
}

/** Arrow keys go from tab to tab. */
function moveTab(event: KeyboardEvent, from: View): void {
  const by = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
  if (by === 0) return;
  event.preventDefault();
  event.stopPropagation();
  const index = TABS.findIndex(({ view }) => view === from);
  const next = TABS[(index + by + TABS.length) % TABS.length];
  if (next === undefined) return;
  choose({ view: next.view });
  document.getElementById(`tab-${next.view}`)?.focus();
}

function App() {
  const tab = TABS.find(({ view }) => view === chosen.value.view) ?? TABS[0];
  const isRemote = source.value.kind === 'remote';
  return h(
    'div',
    { class: 'app' },
    h(
      'header',
      null,
      h('h1', null, 'pgaio'),
      h('p', { class: 'about', 'data-about': '' }, about.value.join(' · ')),
      h(LastMove, null),
    ),
    isRemote ? null : h(ScenarioBar, null),
    isRemote ? null : h('div', { class: 'controls' }, h(Transport, null), h(Settings, null)),
    h(Tabs, null),
    h('main', { id: 'view', role: 'tabpanel', 'aria-labelledby': `tab-${tab?.view}` }, tab?.body()),
  );
}

/** Keys of the transport, where nothing else wants them. */
function onKey(event: KeyboardEvent): void {
  const { target } = event;
  const takesKeys =
    target instanceof HTMLElement && target.matches('input, select, button, [role=tab]');
  if (takesKeys && event.key === ' ') return;
  if (target instanceof HTMLElement && target.matches('input, select')) return;
  const acts: Readonly<Record<string, () => void>> = {
    ArrowLeft: () => move(-1),
    ArrowRight: () => move(1),
    Home: () => move(-steps.value.length),
    End: () => move(steps.value.length),
    ' ': playOrPause,
  };
  const act = acts[event.key];
  if (act === undefined || source.value.kind !== 'steps') return;
  event.preventDefault();
  act();
}

/** Goes on by itself while it plays. */
function play(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  effect(() => {
    clearTimeout(timer);
    const last = steps.value.length - 1;
    if (chosen.value.play !== 1 || cursor.value >= last) return;
    timer = setTimeout(() => choose({ step: cursor.value + 1 }), chosen.value.speed);
  });
}

function takeDrops(): void {
  addEventListener('dragover', (event) => event.preventDefault());
  addEventListener('drop', (event) => {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file === undefined) return;
    choose({ view: 'file' });
    void openRelation(file);
  });
}

async function begin(): Promise<void> {
  const root = document.getElementById('app');
  if (root === null) return;
  render(h(App, null), root);
  performance.mark('pgaio-drawn');
  addEventListener('keydown', onKey);
  takeDrops();
  play();
  followSource();
  nameForDevtools();
  if (await connect()) return;
  const { step, play: plays } = chosen.value;
  if (chosen.value.scenario === 'load') await runLoad();
  else await runScenario(chosen.value.scenario);
  choose({ step, play: plays });
}

void begin();
