/** A relation's file, dropped or picked: every page verified, and one of them drawn. */

import { signal } from '@preact/signals';
import { h } from 'preact';
import { PAGE_BYTES } from './demo.ts';
import { type RelationPage, readRelation } from './engine.ts';

interface Opened {
  readonly name: string;
  readonly bytes: number;
  readonly pages: readonly RelationPage[];
  /** Pages still to be read. */
  readonly left: number;
  readonly open: number;
}
const opened = signal<Opened | undefined>(undefined);
const problem = signal('');
/** Pages kept for drawing: 64 MiB. */
const PAGES_KEPT = 8192;

export async function openRelation(file: File): Promise<void> {
  problem.value = '';
  const count = Math.min(PAGES_KEPT, Math.floor(file.size / PAGE_BYTES));
  opened.value = { name: file.name, bytes: file.size, pages: [], left: count, open: 0 };
  const pages: RelationPage[] = [];
  try {
    const piece = file.slice(0, count * PAGE_BYTES);
    await readRelation(new File([piece], file.name), (_, more) => {
      pages.push(...more);
      const open = opened.value?.open ?? 0;
      const left = count - pages.length;
      opened.value = { name: file.name, bytes: file.size, pages: [...pages], left, open };
    });
    const firstBad = pages.findIndex(({ verdict }) => !verdict.valid);
    if (firstBad >= 0 && opened.value) opened.value = { ...opened.value, open: firstBad };
  } catch (error) {
    problem.value = error instanceof Error ? error.message : String(error);
  }
}

function verdictWords({ verdict }: RelationPage): string {
  const { valid, isNew, headerBad, checksumFailed, garbage, calculated, stored } = verdict;
  if (valid) return isNew ? 'new: never written' : 'valid';
  if (garbage) return 'new, and yet not all zero';
  if (headerBad && !checksumFailed) return 'bad header';
  if (checksumFailed) return `checksum ${stored} stored, ${calculated} calculated`;
  return 'not read';
}

function verdictClass({ verdict }: RelationPage): string {
  if (!verdict.valid) return 'bad';
  return verdict.isNew ? 'new' : 'good';
}

interface LinePointer {
  readonly offset: number;
  readonly flags: number;
  readonly length: number;
}
const FLAG_NAMES = ['unused', 'normal', 'redirect', 'dead'];

interface Page {
  readonly header: Readonly<Record<string, number | string>>;
  readonly lower: number;
  readonly upper: number;
  readonly special: number;
  readonly pointers: readonly LinePointer[];
}

/** As bufpage.h lays a page out; numbers that make no sense are taken as they are. */
function parsePage(bytes: Uint8Array): Page {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u16 = (at: number): number => view.getUint16(at, true);
  const [lower, upper, special] = [u16(12), u16(14), u16(16)];
  const count = Math.max(0, Math.floor((Math.min(lower, bytes.length) - 24) / 4));
  const pointers = Array.from({ length: count }, (_, i) => {
    const word = view.getUint32(24 + 4 * i, true);
    return { offset: word & 0x7fff, flags: (word >>> 15) & 3, length: word >>> 17 };
  });
  const lsn = [view.getUint32(0, true), view.getUint32(4, true)].map((n) => n.toString(16));
  return {
    header: {
      pd_lsn: lsn.join('/').toUpperCase(),
      pd_checksum: u16(8),
      pd_flags: u16(10),
      pd_lower: lower,
      pd_upper: upper,
      pd_special: special,
      pd_pagesize_version: `${u16(18) & 0xff00}, version ${u16(18) & 0xff}`,
      pd_prune_xid: view.getUint32(20, true),
    },
    lower,
    upper,
    special,
    pointers,
  };
}

const WIDTH = 512;
const ROW_BYTES = 512;

/** A rectangle or more for bytes [from, to): rows of 512 bytes, as text runs. */
function stretch(from: number, to: number, name: string, words: string) {
  const rects = [];
  const scale = WIDTH / ROW_BYTES;
  for (let at = Math.max(0, from); at < Math.min(to, PAGE_BYTES); ) {
    const row = Math.floor(at / ROW_BYTES);
    const end = Math.min(to, (row + 1) * ROW_BYTES);
    const x = (at - row * ROW_BYTES) * scale;
    rects.push(
      h('rect', { key: at, x, y: row * 20, width: Math.max(1, (end - at) * scale), height: 18 }),
    );
    at = end;
  }
  return h(
    'g',
    { key: `${name} ${from}`, class: `stretch ${name}` },
    h('title', null, words),
    ...rects,
  );
}

function PageDrawing({ page }: { readonly page: Page }) {
  const { lower, upper, special, pointers } = page;
  const tuples = pointers.map(({ offset, length, flags }, i) =>
    flags === 1
      ? stretch(offset, offset + length, `tuple ${i % 2 === 0 ? 'even' : 'odd'}`, `item ${i + 1}`)
      : null,
  );
  return h(
    'svg',
    { class: 'page', viewBox: `0 0 ${WIDTH} ${(PAGE_BYTES / ROW_BYTES) * 20}`, role: 'img' },
    h('title', null, `${pointers.length} line pointers, ${Math.max(0, upper - lower)} bytes free`),
    stretch(0, PAGE_BYTES, 'ground', 'neither free nor an item'),
    stretch(lower, upper, 'free', `free space: ${upper - lower} bytes`),
    stretch(special, PAGE_BYTES, 'special', `special space: ${PAGE_BYTES - special} bytes`),
    ...tuples,
    stretch(24, lower, 'pointers', `${pointers.length} line pointers`),
    stretch(0, 24, 'header', 'page header'),
  );
}

const LEGEND = ['header', 'pointers', 'free', 'tuple even', 'special'];

function OpenPage({ index, page }: { readonly index: number; readonly page: RelationPage }) {
  const parsed = parsePage(page.bytes);
  const rows = Object.entries(parsed.header).map(([name, value]) =>
    h('tr', { key: name }, h('th', { scope: 'row' }, name), h('td', null, value)),
  );
  const pointers = parsed.pointers
    .slice(0, 60)
    .map(({ offset, length, flags }, i) =>
      h(
        'li',
        { key: i },
        flags === 1 ? `${length} bytes at ${offset}` : (FLAG_NAMES[flags] ?? String(flags)),
      ),
    );
  const legend = LEGEND.map((name) =>
    h('span', { key: name, class: `legend ${name}` }, name === 'tuple even' ? 'items' : name),
  );
  return h(
    'section',
    { class: 'page-open' },
    h(
      'h2',
      null,
      `Page ${index} `,
      h('span', { class: `tag ${verdictClass(page)}` }, verdictWords(page)),
    ),
    h('p', null, ...legend),
    h(PageDrawing, { page: parsed }),
    h(
      'div',
      { class: 'pair' },
      h('table', { class: 'fields' }, h('tbody', null, ...rows)),
      h(
        'div',
        null,
        h('h3', null, `${parsed.pointers.length} line pointers`),
        h('ol', { class: 'pointers' }, ...pointers),
      ),
    ),
  );
}

function Pages({ of }: { readonly of: Opened }) {
  const cells = of.pages.map((page, i) =>
    h(
      'button',
      {
        key: i,
        type: 'button',
        class: `element ${verdictClass(page)} ${of.open === i ? 'open' : ''}`,
        'data-page': i,
        'aria-label': `page ${i}: ${verdictWords(page)}`,
        title: `page ${i}: ${verdictWords(page)}`,
        onClick: () => {
          opened.value = { ...of, open: i };
        },
      },
      of.pages.length <= 256 ? i : '',
    ),
  );
  const bad = of.pages.filter(({ verdict }) => !verdict.valid).length;
  const fresh = of.pages.filter(({ verdict }) => verdict.valid && verdict.isNew).length;
  const rest = of.bytes % PAGE_BYTES;
  const more = of.bytes / PAGE_BYTES > PAGES_KEPT ? `; the first ${PAGES_KEPT} pages are read` : '';
  return h(
    'section',
    { class: 'elements' },
    h('h2', null, of.name),
    h(
      'p',
      { 'data-summary': '', 'aria-live': 'polite' },
      `${of.pages.length} pages, ${bad} invalid, ${fresh} new` +
        `${of.left > 0 ? `, ${of.left} to go` : ''}` +
        `${rest === 0 ? '' : `; ${rest} bytes follow the last whole page`}${more}`,
    ),
    h('div', { class: 'cells' }, ...cells),
  );
}

export function RelationView() {
  const of = opened.value;
  const pick = (event: Event): void => {
    const { files } = event.currentTarget as HTMLInputElement;
    const file = files?.[0];
    if (file !== undefined) void openRelation(file);
  };
  const page = of?.pages[of.open];
  return h(
    'div',
    { class: 'relation' },
    h(
      'p',
      { class: 'drop' },
      'Drop a relation’s file anywhere on this page, such as ',
      h('code', null, 'base/5/16384'),
      ', or pick one: ',
      h('input', {
        type: 'file',
        id: 'relation-file',
        'aria-label': 'relation file',
        onChange: pick,
      }),
      ' It stays in this page.',
    ),
    problem.value === '' ? null : h('p', { class: 'problem', role: 'alert' }, problem.value),
    of === undefined
      ? null
      : h(
          'div',
          { class: 'split' },
          h(Pages, { of }),
          page === undefined ? null : h(OpenPage, { index: of.open, page }),
        ),
  );
}
