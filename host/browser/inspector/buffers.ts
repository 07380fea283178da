/** The buffer pool as a heat map: usage counts, what is dirty, pinned, being read or written. */
import { h } from 'preact';
import * as layout from '../../../bindings/layout.ts';
import type { MemoryView } from '../../../bindings/memory-view.ts';
import { FORK_NAMES, relationPath } from '../../../bindings/target.ts';
import { before, choose, memory } from './state.ts';

const DESC = layout.BufferDesc;
const USAGE_SHIFT = Math.log2(layout.BUF_USAGECOUNT_ONE);
/** Buffers drawn. */
const DRAWN = 4096;

interface Buffer {
  readonly index: number;
  readonly state: number;
  readonly usage: number;
  readonly pins: number;
  readonly isUsed: boolean;
}

function bufferAt(now: MemoryView, index: number): Buffer {
  const at = now.ctl('buffer_descs') + index * layout.BUFFER_DESC_BYTES;
  const state = now.u32(at + DESC.fields.buf_state.offset);
  return {
    index,
    state,
    usage: (state & layout.BUF_USAGECOUNT_MASK) >>> USAGE_SHIFT,
    pins: state & layout.BUF_REFCOUNT_MASK,
    isUsed: (state & layout.BM_TAG_VALID) !== 0,
  };
}

/** Which page it holds, and how. */
function wordsOf(now: MemoryView, { index, state, usage, pins, isUsed }: Buffer): string {
  if (!isUsed) return `buffer ${index + 1}: no page`;
  const at = now.ctl('buffer_descs') + index * layout.BUFFER_DESC_BYTES;
  const field = (name: string): number => now.field(DESC, at, name);
  const fork = FORK_NAMES[field('bits') & layout.REL_FORK_MASK] ?? 'main';
  const [spcOid, dbOid, relNumber] = ['spcOid', 'dbOid', 'relNumber'].map(field);
  const locator = { spcOid: spcOid ?? 0, dbOid: dbOid ?? 0, relNumber: relNumber ?? 0 };
  const path = relationPath(locator, fork, undefined, '');
  const marks = [
    (state & layout.BM_VALID) === 0 ? 'not read' : undefined,
    (state & layout.BM_DIRTY) !== 0 ? 'dirty' : undefined,
    (state & layout.BM_IO_IN_PROGRESS) !== 0 ? 'I/O in progress' : undefined,
    pins > 0 ? `pinned by ${pins}` : undefined,
  ].filter((mark) => mark !== undefined);
  const rest = marks.length > 0 ? `, ${marks.join(', ')}` : '';
  return `buffer ${index + 1}: block ${field('blockNum')} of ${path}, usage ${usage}${rest}`;
}

function Cell({ now, buffer }: { readonly now: MemoryView; readonly buffer: Buffer }) {
  const { index, state, usage, pins, isUsed } = buffer;
  const was = before.value?.isReady ? bufferAt(before.value, index).state : state;
  const classes = [
    'element',
    isUsed ? `heat${usage}` : 'zero',
    (state & layout.BM_DIRTY) !== 0 ? 'dirty' : '',
    pins > 0 ? 'pinned' : '',
    (state & layout.BM_IO_IN_PROGRESS) !== 0 ? 'busy' : '',
    was === state ? '' : 'changed',
  ];
  const words = wordsOf(now, buffer);
  return h(
    'button',
    {
      type: 'button',
      class: classes.join(' '),
      'data-buffer': index + 1,
      'data-usage': isUsed ? usage : '',
      'aria-label': words,
      title: words,
      onClick: () => choose({ view: 'memory', region: 'buffer_descs', element: index }),
    },
    isUsed ? usage : '',
  );
}

/** Counters of all backends (PgAioStorage). */
function Counters({ now }: { readonly now: MemoryView }) {
  const { fields } = layout.PgAioStorage;
  const names = ['hits', 'evictions', 'reuses', 'write_backs', 'checksum_failures'] as const;
  const sums = names.map((name) => {
    let sum = 0;
    for (let procno = 0; procno < now.ctl('max_backends'); procno++) {
      const slot = now.ctl('backends') + (procno << layout.BACKEND_SHIFT);
      const at = slot + layout.STORAGE_OFFSET + fields[name].offset;
      sum += Number(now.number(at, fields[name]));
    }
    return `${sum} ${name.replaceAll('_', ' ')}`;
  });
  return h('p', { 'data-counters': '' }, sums.join(', '));
}

const LEGEND = ['heat0', 'heat1', 'heat2', 'heat3', 'heat4', 'heat5'];

export function BufferView() {
  const now = memory.value;
  if (!now.isReady) return h('p', { class: 'quiet' }, 'No memory yet: run a scenario.');
  const size = now.ctl('shared_buffers');
  const all = Array.from({ length: Math.min(size, DRAWN) }, (_, index) => bufferAt(now, index));
  const used = all.filter(({ isUsed }) => isUsed);
  const count = (bit: number): number => used.filter(({ state }) => (state & bit) !== 0).length;
  const legend = LEGEND.map((name, usage) =>
    h('span', { key: name, class: `legend ${name}` }, `usage ${usage}`),
  );
  const more = size > DRAWN ? `; the first ${DRAWN} are drawn` : '';
  return h(
    'div',
    { class: 'pool' },
    h(
      'p',
      { 'data-pool': '' },
      `${used.length} of ${all.length} buffers hold a page, ${count(layout.BM_DIRTY)} dirty, ` +
        `${used.filter(({ pins }) => pins > 0).length} pinned, ` +
        `${count(layout.BM_IO_IN_PROGRESS)} being read or written${more}`,
    ),
    h(Counters, { now }),
    h(
      'p',
      null,
      ...legend,
      h('span', { class: 'legend pinned' }, 'pinned'),
      h('span', { class: 'legend dirty' }, 'dirty'),
      h('span', { class: 'legend busy' }, 'I/O in progress'),
    ),
    h(
      'div',
      { class: 'cells heat' },
      ...all.map((buffer) => h(Cell, { key: buffer.index, now, buffer })),
    ),
  );
}
