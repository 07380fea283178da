/** The queue of I/O workers, the workers themselves, and the rings where the layout has any. */
import { h } from 'preact';
import * as layout from '../../../bindings/layout.ts';
import { decode, type MemoryView, regionsOf } from '../../../bindings/memory-view.ts';
import { nameOf, STATE_NAMES } from '../../../bindings/names.ts';
import { choose, memory } from './state.ts';

const CONTROL = layout.PgAioWorkerControl;
const WORKER = layout.PgAioWorker;

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
    const idle = field('asleep') === 1 ? 'sleeps' : 'looks for work';
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
      h('td', null, ...handles),
      h('td', { class: 'number' }, field('executed')),
      h('td', { class: 'number' }, field('wake')),
    );
  });
  const head = ['', 'now', 'I/O', 'executed', 'woken'].map((text) =>
    h('th', { key: text, scope: 'col' }, text),
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

/** Whatever the layout calls a ring: its head as it is, since it is the kernel's. */
function Rings({ now }: { readonly now: MemoryView }) {
  const rings = regionsOf(now).filter(({ name, struct }) => /ring/i.test(`${name} ${struct}`));
  const drawn = rings.map((region) => {
    const fields = region.struct === undefined ? [] : decode(now, region.struct, region.at);
    const rows = fields.map(({ name, words, doc }) =>
      h('tr', { key: name, title: doc }, h('th', { scope: 'row' }, name), h('td', null, words)),
    );
    return h(
      'div',
      { key: region.name },
      h(
        'button',
        {
          type: 'button',
          class: 'link',
          onClick: () => choose({ view: 'memory', region: region.name, element: 0 }),
        },
        `${region.name}: ${region.count} in the memory map`,
      ),
      h('table', { class: 'fields' }, h('tbody', null, ...rows)),
    );
  });
  const none = 'This memory has no rings: method io_uring is not in use.';
  return h(
    'section',
    null,
    h('h2', null, 'Rings'),
    ...(drawn.length > 0 ? drawn : [h('p', { class: 'quiet' }, none)]),
  );
}

export function WorkerView() {
  const now = memory.value;
  if (!now.isReady) return h('p', { class: 'quiet' }, 'No memory yet: run a scenario.');
  return h('div', { class: 'workers' }, h(Queue, { now }), h(Workers, { now }), h(Rings, { now }));
}
