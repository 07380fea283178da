/** The map of the memory: regions, the elements of one, the fields of one, and their bytes. */

import { signal } from '@preact/signals';
import { type ComponentChildren, h } from 'preact';
import * as layout from '../../../bindings/layout.ts';
import {
  type DecodedField,
  decode,
  hex,
  type MemoryView,
  type Region,
  regionsOf,
} from '../../../bindings/memory-view.ts';
import { remoteBytes } from './remote.ts';
import { before, choose, chosen, memory, source, tick } from './state.ts';

/** Elements drawn of one region. */
const CELLS = 2048;
const BYTES_SHOWN = 1024;
const hovered = signal<string | undefined>(undefined);

/** Bytes as people read them. */
export function sizeWords(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(bytes < 10240 ? 1 : 0)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

function changedIn(at: number, bytes: number): boolean {
  const old = before.value;
  if (old === undefined) return false;
  const now = memory.value.bytes;
  const end = Math.min(at + bytes, now.length, old.bytes.length);
  for (let i = at; i < end; i++) if (now[i] !== old.bytes[i]) return true;
  return false;
}

/** A name may be broken at its underscores. */
function breakable(name: string): ComponentChildren[] {
  return name.split('_').flatMap((part, i) => (i === 0 ? [part] : ['_', h('wbr', null), part]));
}

function RegionBar({ regions }: { readonly regions: readonly Region[] }) {
  const open = chosen.value.region;
  const bars = regions.map(({ name, at, bytes, doc }) => {
    // By the logarithm: the head and the page frames are five powers of ten apart.
    const grow = Math.max(1, Math.log2(Math.max(64, bytes)) - 11);
    const words = ['region', name === open ? 'open' : '', changedIn(at, bytes) ? 'changed' : ''];
    return h(
      'button',
      {
        key: name,
        type: 'button',
        class: words.join(' '),
        style: { flexGrow: grow },
        'data-region': name,
        'aria-pressed': name === open,
        title: `${name}: ${doc}; ${hex(at)}, ${sizeWords(bytes)}`,
        onClick: () => choose({ region: name, element: -1 }),
      },
      h('b', null, ...breakable(name)),
      h('small', null, sizeWords(bytes)),
    );
  });
  return h('div', { class: 'regions', role: 'group', 'aria-label': 'regions' }, ...bars);
}

function elementState(now: MemoryView, region: Region, at: number): string {
  if (region.struct === 'PgAioHandle') return `s${now.u32(at)}`;
  if (region.struct === 'PgAioBackend') {
    const { slot_state } = layout.PgAioBackend.fields;
    return (now.u32(at + slot_state.offset) & 3) === 0 ? 'zero' : 'used';
  }
  const end = Math.min(at + region.stride, now.bytes.length);
  if (at >= now.bytes.length) return 'beyond';
  for (let i = at; i < end; i++) if (now.bytes[i] !== 0) return 'used';
  return 'zero';
}

function Elements({ region }: { readonly region: Region }) {
  const now = memory.value;
  const shown = Math.min(region.count, CELLS);
  const cells = Array.from({ length: shown }, (_, i) => {
    const at = region.at + i * region.stride;
    const words = [
      'element',
      elementState(now, region, at),
      chosen.value.element === i ? 'open' : '',
      changedIn(at, region.stride) ? 'changed' : '',
    ];
    return h(
      'button',
      {
        key: i,
        type: 'button',
        class: words.join(' '),
        'data-element': i,
        'aria-label': `${region.name} ${i}`,
        title: `${region.name}[${i}] at ${hex(at)}`,
        onClick: () => choose({ element: i }),
      },
      shown <= 256 ? i : '',
    );
  });
  const more = region.count > shown ? `, the first ${shown} are drawn` : '';
  return h(
    'section',
    { class: 'elements' },
    h('h2', null, region.name, h('small', null, ` ${region.struct ?? ''}`)),
    h(
      'p',
      { class: 'quiet' },
      `${region.doc}. ${region.count} of ${sizeWords(region.stride)} from ` +
        `${hex(region.at)}${more}.`,
    ),
    h('div', { class: 'cells' }, ...cells),
  );
}

function FieldTable({ fields }: { readonly fields: readonly DecodedField[] }) {
  const rows = fields.map(({ name, at, bytes, type, words, doc }) =>
    h(
      'tr',
      {
        key: name,
        class: (changedIn(at, bytes) ? 'changed ' : '') + (hovered.value === name ? 'hovered' : ''),
        onMouseEnter: () => {
          hovered.value = name;
        },
        'data-field': name,
      },
      h('td', { class: 'number' }, hex(at).slice(4)),
      h('td', null, bytes > 8 ? `${bytes} B` : type),
      h('th', { scope: 'row' }, name),
      h('td', null, words),
      h('td', { class: 'quiet' }, doc),
    ),
  );
  const head = ['at', 'type', 'field', 'value', 'meaning'].map((text) =>
    h('th', { key: text, scope: 'col' }, text),
  );
  return h(
    'table',
    { class: 'fields' },
    h('thead', null, h('tr', null, ...head)),
    h('tbody', null, ...rows),
  );
}

interface BytesProps {
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly fields: readonly DecodedField[];
}

function HexBytes({ bytes, at, fields }: BytesProps) {
  const lines = [];
  for (let line = 0; line < bytes.length; line += 16) {
    const cells = Array.from(bytes.subarray(line, line + 16), (byte, i) => {
      const address = at + line + i;
      const field = fields.find((one) => address >= one.at && address < one.at + one.bytes);
      const index = field === undefined ? -1 : fields.indexOf(field);
      const words = [
        index < 0 ? 'pad' : index % 2 === 0 ? 'even' : 'odd',
        byte === 0 ? 'zero' : '',
        field !== undefined && hovered.value === field.name ? 'hovered' : '',
        changedIn(address, 1) ? 'changed' : '',
      ];
      return h(
        'span',
        {
          key: i,
          class: words.join(' '),
          title: field === undefined ? hex(address) : `${field.name} ${field.words}`,
          onMouseEnter: () => {
            hovered.value = field?.name;
          },
        },
        byte.toString(16).padStart(2, '0'),
      );
    });
    const text = Array.from(bytes.subarray(line, line + 16), printable).join('');
    lines.push(
      h('div', { key: line }, h('i', null, hex(at + line)), ...cells, h('em', null, text)),
    );
  }
  return h('div', { class: 'hex', role: 'img', 'aria-label': `bytes from ${hex(at)}` }, ...lines);
}

function printable(byte: number): string {
  return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·';
}

/** Bytes of the element: of the copy that is looked at, or of the memory itself beyond it. */
function bytesOf(now: MemoryView, at: number, count: number): Uint8Array {
  if (at + count <= now.bytes.length) return now.bytes.slice(at, at + count);
  tick.value; // a remote answer makes it go up
  return source.value.kind === 'remote' ? remoteBytes(at, count) : new Uint8Array(0);
}

function Element({ region }: { readonly region: Region }) {
  const now = memory.value;
  const index = Math.max(0, chosen.value.element);
  if (index >= region.count) return null;
  const at = region.at + index * region.stride;
  const fields = region.struct === undefined ? [] : decode(now, region.struct, at);
  const bytes = bytesOf(now, at, Math.min(region.stride, BYTES_SHOWN));
  const missing = 'Steps hold the engine’s own part of the memory, not the callers’.';
  return h(
    'section',
    { class: 'element-open' },
    h('h2', null, `${region.name}[${index}]`, h('small', null, ` ${hex(at)}`)),
    fields.length > 0 ? h(FieldTable, { fields }) : null,
    h('h3', null, 'Bytes'),
    bytes.length > 0 ? h(HexBytes, { bytes, at, fields }) : h('p', { class: 'quiet' }, missing),
  );
}

export function MemoryMap() {
  const now = memory.value;
  const regions = regionsOf(now);
  const region = regions.find(({ name }) => name === chosen.value.region) ?? regions[0];
  if (region === undefined) return h('p', { class: 'quiet' }, 'No memory yet: run a scenario.');
  return h(
    'div',
    { class: 'memory' },
    h(RegionBar, { regions }),
    h('div', { class: 'split' }, h(Elements, { region }), h(Element, { region })),
  );
}
