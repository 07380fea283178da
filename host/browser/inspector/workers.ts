/** The queue of I/O workers, the workers themselves, and the rings where the layout has any. */
import { h } from 'preact';
import * as layout from '../../../bindings/layout.ts';
import type { MemoryView } from '../../../bindings/memory-view.ts';
import { nameOf, STATE_NAMES } from '../../../bindings/names.ts';
import { choose, memory } from './state.ts';

const CONTROL = layout.PgAioWorkerControl;
const WORKER = layout.PgAioWorker;
const RING = layout.PgAioUringContext;
const usesRings = (now: MemoryView): boolean => now.ctl('io_method') === layout.IOMETHOD_IO_URING;

function Queue({ now }: { readonly now: MemoryView }) {
  const at = now.ctl('worker_control');
  const field = (name: string): number => now.field(CONTROL, at, name);
  const [head, tail] = [field('head'), field('tail')];
  const size = layout.IO_WORKER_QUEUE_SIZE;
  const first = at + CONTROL.fields.entries.offset;
  const cells = Array.from({ length: size }, (_, i) => {
    const waits = ((i - head) & (size - 1)) < tail - head;
    const id = now.u32(first + 4 * i);
    const words = [
      'entry',
      waits ? 'waits' : '',
      i === (head & (size - 1)) ? 'head' : '',
      i === (tail & (size - 1)) ? 'tail' : '',
    ];
    return h('span', { key: i, class: words.join(' '), title: `entry ${i}` }, waits ? id : '');
  });
  return h(
    'section',
    null,
    h('h2', null, 'Queue'),
    h(
      'p',
      { class: 'quiet' },
      `${tail - head} of ${size - 1} wait; head ${head}, tail ${tail}; ` +
        `lock ${field('lock') === 0 ? 'free' : `held by thread ${field('lock')}`}; ` +
        `${field('nworkers')} workers, idle bits ${field('idle').toString(2)}`,
    ),
    h('div', { class: 'queue' }, ...cells),
  );
}

/** Handles that the worker at `at` has with the kernel. */
function underWay(now: MemoryView, at: number): number[] {
  const kernel = at + WORKER.fields.kernel.offset;
  const places = now.field(layout.PgAioKernelIos, kernel, 'places');
  const ios = kernel + layout.PgAioKernelIos.fields.ios.offset;
  return Array.from({ length: layout.KAIO_MAX }, (_, place) => place)
    .filter((place) => ((places >>> place) & 1) === 1)
    .map((place) => now.field(layout.PgAioKernelIo, ios + place * layout.KAIO_IO_BYTES, 'io'));
}

function Workers({ now }: { readonly now: MemoryView }) {
  const rows = Array.from({ length: layout.MAX_IO_WORKERS }, (_, id) => {
    const at = now.ctl('workers') + id * layout.WORKER_BYTES;
    const field = (name: string): number => now.field(WORKER, at, name);
    if (field('in_use') === layout.WORKER_FREE && field('executed') === 0) return null;
    const io = field('io');
    const ios = io < 0 ? underWay(now, at) : [io];
    const idle = field('asleep') !== layout.ASLEEP_NOT ? 'sleeps' : 'looks for work';
    const doing = io >= 0 ? 'executes' : ios.length > 0 ? `has ${ios.length} under way` : idle;
    const handles = ios.map((handle) =>
      h(
        'button',
        {
          key: handle,
          type: 'button',
          class: 'link',
          onClick: () => choose({ view: 'machine', handle }),
        },
        `handle ${handle}, ${nameOf(STATE_NAMES, now.u32(now.handleAt(handle)))}`,
      ),
    );
    return h(
      'tr',
      { key: id, 'data-worker': id },
      h('th', { scope: 'row' }, `worker ${id}`),
      h('td', null, field('in_use') === layout.WORKER_RUNNING ? doing : 'has left'),
      h('td', null, ...handles.flatMap((handle) => [handle, ' '])),
      h('td', { class: 'number' }, field('executed')),
      h('td', { class: 'number' }, field('wake')),
    );
  });
  const head = ['', 'now', 'I/O', 'executed', 'woken'].map((text, column) =>
    h('th', { key: text, scope: 'col', class: column > 2 ? 'number' : undefined }, text),
  );
  return h(
    'section',
    null,
    h('h2', null, 'I/O workers'),
    h(
      'table',
      { class: 'fields' },
      h('thead', null, h('tr', null, ...head)),
      h('tbody', null, ...rows),
    ),
  );
}

/** What each backend's ring has gone through; its entries are in the memory map. */
function Rings({ now }: { readonly now: MemoryView }) {
  const columns = ['cursor', 'submitted', 'leader', 'sleepers', 'retries', 'fallbacks', 'strays'];
  const rows = Array.from({ length: usesRings(now) ? now.ctl('max_backends') : 0 }, (_, procno) => {
    const at = now.ctl('uring_contexts') + procno * layout.URING_CONTEXT_BYTES;
    if (now.field(RING, at, 'ring') === 0) return null;
    const cells = columns.map((name) =>
      h('td', { key: name, class: 'number' }, now.field(RING, at, name)),
    );
    const open = () => choose({ view: 'memory', region: 'uring_contexts', element: procno });
    return h(
      'tr',
      { key: procno, 'data-ring': procno },
      h(
        'th',
        { scope: 'row' },
        h('button', { type: 'button', class: 'link', onClick: open }, `backend ${procno}`),
      ),
      ...cells,
    );
  });
  const fields: Readonly<Record<string, { readonly doc: string }>> = RING.fields;
  const head = ['', ...columns].map((name) =>
    h('th', { key: name, scope: 'col', class: 'number', title: fields[name]?.doc }, name),
  );
  const none = 'This memory has no rings: method io_uring is not in use.';
  return h(
    'section',
    null,
    h('h2', null, 'Rings'),
    rows.length === 0
      ? h('p', { class: 'quiet' }, none)
      : h(
          'table',
          { class: 'fields' },
          h('thead', null, h('tr', null, ...head)),
          h('tbody', null, ...rows),
        ),
  );
}

export function WorkerView() {
  const now = memory.value;
  if (!now.isReady) return h('p', { class: 'quiet' }, 'No memory yet: run a scenario.');
  return h('div', { class: 'workers' }, h(Queue, { now }), h(Workers, { now }), h(Rings, { now }));
}
