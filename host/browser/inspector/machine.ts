/** The state machine as a drawing: how many handles are in each state, and what just moved. */
import { h } from 'preact';
import * as layout from '../../../bindings/layout.ts';
import { STATE_NAMES } from '../../../bindings/names.ts';
import { before, memory } from './state.ts';
import { transitionsOf } from './trace.ts';

/** Where each state stands, by number: a round, which an I/O goes clockwise. */
const PLACES: readonly (readonly [x: number, y: number])[] = [
  [95, 45],
  [275, 45],
  [455, 45],
  [635, 45],
  [635, 175],
  [455, 175],
  [275, 175],
  [95, 175],
];
const HALF_WIDTH = 76;
const HALF_HEIGHT = 26;

/** The moves there are (assembly/aio/handle.ts), and how each edge is drawn. */
const EDGES: readonly { readonly from: number; readonly to: number; readonly path: string }[] = [
  { from: 0, to: 1, path: 'M171 38 H195' },
  { from: 1, to: 0, path: 'M199 56 H175' },
  { from: 1, to: 2, path: 'M351 45 H375' },
  { from: 2, to: 3, path: 'M531 45 H555' },
  { from: 3, to: 4, path: 'M635 71 V145' },
  { from: 4, to: 5, path: 'M559 175 H535' },
  { from: 5, to: 6, path: 'M379 175 H355' },
  { from: 6, to: 7, path: 'M199 175 H175' },
  { from: 7, to: 0, path: 'M95 149 V75' },
];

const WHO = [
  'on its owner’s idle stack',
  'acquired, being defined',
  'stage callbacks run',
  'waits for its batch',
  'with the method',
  'shared callbacks run',
  'over; its owner has not looked yet',
  'local callbacks run',
];

function countStates(): number[] {
  const counts = STATE_NAMES.map(() => 0);
  const now = memory.value;
  if (!now.isReady) return counts;
  for (let id = 0; id < now.ctl('io_handle_count'); id++) {
    const state = now.u32(now.handleAt(id));
    counts[state] = (counts[state] ?? 0) + 1;
  }
  return counts;
}

/** Moves since the step before: those that light up. */
function moved(): Set<string> {
  const now = memory.value;
  if (!now.isReady) return new Set();
  const since = before.value?.isReady ? before.value.ctl('trace_next') : undefined;
  const list = transitionsOf(now, since ?? now.ctl('trace_next') - 1, 16);
  return new Set(list.map(({ from, to }) => `${from}-${to}`));
}

export function Machine() {
  const counts = countStates();
  const lit = moved();
  const arrows = EDGES.map(({ from, to, path }) => {
    const isLit = lit.has(`${from}-${to}`);
    return h('path', {
      key: path,
      d: path,
      class: isLit ? 'edge lit' : 'edge',
      'data-move': `${STATE_NAMES[from]}>${STATE_NAMES[to]}`,
      'marker-end': isLit ? 'url(#head-lit)' : 'url(#head)',
    });
  });
  const nodes = STATE_NAMES.map((name, state) => {
    const [x, y] = PLACES[state] ?? [0, 0];
    const count = counts[state] ?? 0;
    const isEntered = [...lit].some((move) => move.endsWith(`-${state}`));
    const active = count > 0 && state !== layout.PGAIO_HS_IDLE;
    const words = ['node', `s${state}`, active ? 'active' : '', isEntered ? 'entered' : ''];
    return h(
      'g',
      { key: name, class: words.join(' '), 'data-state': name, 'data-count': count },
      h('title', null, `${name}: ${WHO[state]}`),
      h('rect', {
        x: x - HALF_WIDTH,
        y: y - HALF_HEIGHT,
        width: 2 * HALF_WIDTH,
        height: 2 * HALF_HEIGHT,
        rx: 8,
      }),
      h('text', { x, y: y - 3, class: 'name' }, name),
      h('text', { x, y: y + 15, class: 'count' }, count === 1 ? '1 handle' : `${count} handles`),
    );
  });
  return h(
    'svg',
    { class: 'machine', viewBox: '0 0 730 222', role: 'img', 'aria-label': described(counts) },
    h('defs', null, marker('head', 'edge-head'), marker('head-lit', 'edge-head lit')),
    ...arrows,
    ...nodes,
  );
}

function described(counts: readonly number[]): string {
  const parts = STATE_NAMES.map((name, state) => `${counts[state]} ${name}`);
  return `State machine of handles: ${parts.join(', ')}`;
}

function marker(id: string, name: string) {
  const size = { viewBox: '0 0 10 10', refX: 8, refY: 5, markerWidth: 12, markerHeight: 12 };
  return h(
    'marker',
    { id, ...size, markerUnits: 'userSpaceOnUse', orient: 'auto', class: name },
    h('path', { d: 'M0 0 L10 5 L0 10 z' }),
  );
}
