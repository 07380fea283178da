/** Handles as a grid by owner and state, and one of them opened. */
import { h } from 'preact';
import * as layout from '../../../bindings/layout.ts';
import { decode, hex, type MemoryView, resultWords } from '../../../bindings/memory-view.ts';
import { callbackName, nameOf, OP_NAMES, STATE_NAMES } from '../../../bindings/names.ts';
import { unpackResult } from '../../../bindings/result.ts';
import { before, choose, chosen, memory } from './state.ts';
import { type Transition, transitionsOf } from './trace.ts';

const HANDLE = layout.PgAioHandle;
const BACKEND = layout.PgAioBackend;
const SLOT_STATES = ['free', 'active', 'dead', '?'];

interface Slot {
  readonly procno: number;
  readonly state: string;
  readonly handles: readonly number[];
}

function slotsOf(now: MemoryView): Slot[] {
  if (!now.isReady) return [];
  const per = now.ctl('io_max_concurrency');
  return Array.from({ length: now.ctl('max_backends') }, (_, procno) => {
    const at = now.ctl('backends') + (procno << layout.BACKEND_SHIFT);
    const first = now.field(BACKEND, at, 'io_handle_off');
    return {
      procno,
      state: SLOT_STATES[now.field(BACKEND, at, 'slot_state') & 3] ?? '?',
      handles: Array.from({ length: per }, (_, i) => first + i),
    };
  });
}

function cell(now: MemoryView, id: number) {
  const state = now.u32(now.handleAt(id));
  const was = before.value?.isReady ? before.value.u32(before.value.handleAt(id)) : state;
  const isOpen = chosen.value.handle === id;
  const name = nameOf(STATE_NAMES, state);
  const words = ['cell', `s${state}`, was === state ? '' : 'changed', isOpen ? 'open' : ''];
  return h(
    'button',
    {
      key: id,
      type: 'button',
      class: words.join(' '),
      'data-handle': id,
      'data-state': name,
      'aria-pressed': isOpen,
      'aria-label': `handle ${id}, ${name}`,
      title: `handle ${id}: ${name}`,
      onClick: () => choose({ handle: id }),
    },
    h('b', null, id),
    h('span', null, SHORT[state] ?? name),
  );
}
const SHORT = [
  'idle',
  'handed out',
  'defined',
  'staged',
  'submitted',
  'c. I/O',
  'c. shared',
  'c. local',
];

/** From here on slots that nobody has are drawn in a line. */
const MANY_HANDLES = 32;

export function HandleGrid() {
  const now = memory.value;
  const slots = slotsOf(now);
  const isLarge = slots.length * (slots[0]?.handles.length ?? 0) > MANY_HANDLES;
  const rows = slots.map(({ procno, state, handles }) => {
    const isQuiet = state === 'free' && handles.every((id) => now.u32(now.handleAt(id)) === 0);
    const cells =
      isLarge && isQuiet
        ? [h('p', { class: 'quiet' }, `handles ${handles[0]} to ${handles.at(-1)} are idle`)]
        : handles.map((id) => cell(now, id));
    return h(
      'div',
      { key: procno, class: `slot ${state}`, role: 'group', 'aria-label': `backend ${procno}` },
      h('h3', null, `backend ${procno}`, h('small', null, ` ${state}`)),
      h('div', { class: 'cells' }, ...cells),
    );
  });
  return h('section', { class: 'grid' }, h('h2', null, 'Handles'), ...rows);
}

/** 32 bits of a packed result, with what they mean. */
function ResultBits({ word, result }: { readonly word: number; readonly result: number }) {
  const bits = Array.from({ length: 32 }, (_, i) => (word >>> (31 - i)) & 1);
  const part = (name: string, from: number, to: number, words: string) =>
    h(
      'div',
      { class: `bits ${name}`, style: { flexGrow: to - from } },
      h('code', null, bits.slice(from, to).join('')),
      h('small', null, words),
    );
  const { id, errorData } = unpackResult((word & ~0x1c0) >>> 0, 0);
  const status = nameOf(['UNKNOWN', 'OK', 'PARTIAL', 'WARNING', 'ERROR'], (word >>> 6) & 7);
  return h(
    'div',
    { class: 'packed', title: resultWords(word) },
    part('data', 0, 23, `error data ${errorData}`),
    part('status', 23, 26, status),
    part('id', 26, 32, id === 0 ? 'id 0' : `id ${id} ${callbackName(id)}`),
    h('div', { class: 'bits number' }, h('code', null, result), h('small', null, 'result')),
  );
}

function Iovecs({ now, at }: { readonly now: MemoryView; readonly at: number }) {
  const count = now.field(HANDLE, at, 'iov_length');
  const first = now.ctl('iovecs') + now.field(HANDLE, at, 'iovec_off') * layout.IOVEC_BYTES;
  if (count === 0) return h('p', { class: 'quiet' }, 'no iovecs');
  const items = Array.from({ length: Math.min(count, 16) }, (_, i) =>
    h('li', { key: i }, `${hex(now.u32(first + 8 * i))}, ${now.u32(first + 8 * i + 4)} bytes`),
  );
  return h('ol', { class: 'iovecs', start: 0 }, ...items);
}

function Callbacks({ now, at }: { readonly now: MemoryView; readonly at: number }) {
  const { callbacks, callbacks_data } = HANDLE.fields;
  const count = now.field(HANDLE, at, 'num_callbacks');
  if (count === 0) return h('p', { class: 'quiet' }, 'no callbacks');
  const items = Array.from({ length: count }, (_, i) => {
    const id = now.bytes[at + callbacks.offset + i] ?? 0;
    const data = now.bytes[at + callbacks_data.offset + i] ?? 0;
    return h('li', { key: i }, `${id} ${callbackName(id)}${data === 0 ? '' : `, data ${data}`}`);
  });
  return h('ol', { class: 'callbacks' }, ...items);
}

function Fields({ now, at }: { readonly now: MemoryView; readonly at: number }) {
  const old = before.value;
  const rows = decode(now, 'PgAioHandle', at).map(
    ({ name, words, value, doc, at: fieldAt, ...of }) => {
      const changed = old?.isReady && old.number(fieldAt, of) !== value;
      return h(
        'tr',
        { key: name, class: changed ? 'changed' : '', title: doc },
        h('th', { scope: 'row' }, name),
        h('td', null, words),
      );
    },
  );
  return h('table', { class: 'fields' }, h('tbody', null, ...rows));
}

function historyLine({ seq, from, to, procno, raw, word, result, generation }: Transition) {
  const ended = to === layout.PGAIO_HS_COMPLETED_IO ? `, raw ${raw}` : '';
  const told = to >= layout.PGAIO_HS_COMPLETED_SHARED ? `, ${resultWords(word)}, ${result}` : '';
  const by = procno < 0 ? 'I/O worker' : `backend ${procno}`;
  const what = `${nameOf(STATE_NAMES, from)} → ${nameOf(STATE_NAMES, to)}`;
  return h(
    'li',
    { key: seq, 'data-seq': seq },
    h('small', null, `${seq} g${generation} `),
    what,
    h('small', null, ` ${by}${ended}${told}`),
  );
}

export function HandleDetail() {
  const now = memory.value;
  if (!now.isReady) return h('aside', { class: 'detail' });
  const id = Math.min(Math.max(0, chosen.value.handle), now.ctl('io_handle_count') - 1);
  const at = now.handleAt(id);
  const field = (name: string): number => now.field(HANDLE, at, name);
  const state = nameOf(STATE_NAMES, field('state'));
  const { generation } = HANDLE.fields;
  const lines = transitionsOf(now).filter(({ io }) => io === id);
  const op = nameOf(OP_NAMES, field('op'));
  return h(
    'aside',
    { class: 'detail', 'aria-label': `handle ${id}` },
    h('h2', null, `Handle ${id} `, h('span', { class: `tag s${field('state')}` }, state)),
    h(
      'p',
      { class: 'quiet' },
      `backend ${field('owner_procno')}, generation ` +
        `${now.number(at + generation.offset, generation)}, ${op} at ${hex(at)}`,
    ),
    h('h3', null, 'Result'),
    h(ResultBits, { word: field('distilled_word'), result: field('distilled_result') }),
    h(
      'div',
      { class: 'pair' },
      h('div', null, h('h3', null, 'Callbacks'), h(Callbacks, { now, at })),
      h('div', null, h('h3', null, 'Iovecs'), h(Iovecs, { now, at })),
    ),
    h('h3', null, 'History'),
    h('ol', { class: 'history' }, ...lines.reverse().slice(0, 40).map(historyLine)),
    h('h3', null, 'Fields'),
    h(Fields, { now, at }),
  );
}
