/**
 * `pgaio/devtools`: values of the engine print decoded in the console of Chrome's developer tools,
 * once "Custom formatters" is ticked in their settings. For that they are wrapped: a handle, a wait
 * reference, a result and a buffer, each over the memory it lies in.
 */
import * as layout from '../../bindings/layout.ts';
import { decode, hex, MemoryView, resultWords } from '../../bindings/memory-view.ts';
import { nameOf, OP_NAMES, STATE_NAMES } from '../../bindings/names.ts';

/** Anything that stands for a place in the engine's memory. */
abstract class Place {
  readonly memory: MemoryView;
  /** Bytes from the start of the memory. */
  readonly at: number;

  constructor(memory: MemoryView, at: number) {
    this.memory = memory;
    this.at = at;
  }
  /** One line. */
  abstract get title(): string;
  /** What it unfolds to: names and words. */
  abstract get rows(): readonly (readonly [name: string, words: string])[];
  /** The whole memory, for `inspect memory`. */
  get bytes(): Uint8Array {
    return this.memory.bytes;
  }
}

function rowsOf(memory: MemoryView, struct: string, at: number): [string, string][] {
  return decode(memory, struct, at).map(({ name, words }) => [name, words]);
}

class HandlePlace extends Place {
  get title(): string {
    const { memory, at } = this;
    const field = (name: string): number => memory.field(layout.PgAioHandle, at, name);
    const id = (at - memory.ctl('io_handles')) >> layout.HANDLE_SHIFT;
    const state = nameOf(STATE_NAMES, field('state'));
    const op = nameOf(OP_NAMES, field('op'));
    return `IO ${id} ${state} ${op} of backend ${field('owner_procno')}`;
  }
  get rows() {
    return rowsOf(this.memory, 'PgAioHandle', this.at);
  }
}

class WaitRefPlace extends Place {
  get title(): string {
    const { memory, at } = this;
    const index = memory.u32(at);
    const upper = BigInt(memory.u32(at + 4));
    const generation = (upper << 32n) | BigInt(memory.u32(at + 8));
    if (index === 0xffffffff) return 'wait reference to nothing';
    const { offset } = layout.PgAioHandle.fields.generation;
    const now = memory.number(memory.handleAt(index) + offset, { bytes: 8, type: 'u64' });
    const over = now === generation ? 'not over, or not reclaimed' : 'over';
    return `wait reference to IO ${index}, generation ${generation}: ${over}`;
  }
  get rows() {
    return rowsOf(this.memory, 'PgAioWaitRef', this.at);
  }
}

class ResultPlace extends Place {
  get title(): string {
    const { memory, at } = this;
    const result = memory.number(at + 4, { bytes: 4, type: 'i32' });
    return `result ${result}, ${resultWords(memory.u32(at))}`;
  }
  get rows() {
    return rowsOf(this.memory, 'PgAioReturn', this.at);
  }
}

/** A page: PostgreSQL's header decoded. */
class BufferPlace extends Place {
  get title(): string {
    const { memory, at } = this;
    const isNew = memory.number(at + 14, { bytes: 2, type: 'u16' }) === 0;
    return `buffer at ${hex(at)}: ${isNew ? 'new page' : `page, checksum ${this.#u16(8)}`}`;
  }
  get rows(): [string, string][] {
    const { memory, at } = this;
    const lsn = `${memory.u32(at).toString(16)}/${memory.u32(at + 4).toString(16)}`;
    return [
      ['pd_lsn', lsn.toUpperCase()],
      ['pd_checksum', String(this.#u16(8))],
      ['pd_flags', String(this.#u16(10))],
      ['pd_lower', String(this.#u16(12))],
      ['pd_upper', String(this.#u16(14))],
      ['pd_special', String(this.#u16(16))],
      ['pd_pagesize_version', `${this.#u16(18) & 0xff00}, version ${this.#u16(18) & 0xff}`],
    ];
  }
  #u16(offset: number): number {
    return Number(this.memory.number(this.at + offset, { bytes: 2, type: 'u16' }));
  }
}

/** Over a memory, or over what has one: an `Aio`, a `RawCore`, its `WebAssembly.Memory`. */
type Memory = MemoryView | { readonly memory: WebAssembly.Memory } | WebAssembly.Memory;

function viewOf(from: Memory): MemoryView {
  if (from instanceof MemoryView) return from;
  const memory = 'memory' in from ? from.memory : from;
  return new MemoryView(new Uint8Array(memory.buffer));
}

/** Handle `id`, as it is whenever it is printed. */
export function handleOf(memory: Memory, id: number): Place {
  const view = viewOf(memory);
  return new HandlePlace(view, view.handleAt(id));
}
/** The wait reference at an address of the raw interface. */
export function waitRefAt(memory: Memory, at: number): Place {
  return new WaitRefPlace(viewOf(memory), at);
}
/** The PgAioReturn, or the packed result, at an address. */
export function resultAt(memory: Memory, at: number): Place {
  return new ResultPlace(viewOf(memory), at);
}
/** The page at an address. */
export function bufferAt(memory: Memory, at: number): Place {
  return new BufferPlace(viewOf(memory), at);
}

/** JsonML, as custom formatters want it: tag, attributes, children. */
type Node = string | readonly (string | object)[];

/** What Chrome asks of `window.devtoolsFormatters`. */
export interface DevtoolsFormatter {
  header(value: unknown): Node | null;
  hasBody(value: unknown): boolean;
  body(value: unknown): Node | null;
}

// Chrome takes div, span, ol, li, table, tr and td, and nothing else.
const TITLE = { style: 'font-weight: bold' };
const NAME = { style: 'color: #0b62a8; padding-right: 8px' };
const LIST = { style: 'padding-left: 14px' };

export const formatter: DevtoolsFormatter = {
  header(value) {
    if (!(value instanceof Place)) return null;
    return ['span', {}, ['span', TITLE, 'pgaio '], value.title];
  },
  hasBody: (value) => value instanceof Place,
  body(value) {
    if (!(value instanceof Place)) return null;
    const rows = value.rows.map(
      ([name, words]): Node => ['div', {}, ['span', NAME, name], ['span', {}, words]],
    );
    return ['div', LIST, ...rows];
  },
};

/** Adds the formatter to the page's; once. */
export function installDevtools(): void {
  const scope = globalThis as { devtoolsFormatters?: DevtoolsFormatter[] };
  const known = scope.devtoolsFormatters ?? [];
  if (!known.includes(formatter)) scope.devtoolsFormatters = [...known, formatter];
}
