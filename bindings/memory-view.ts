/**
 * Reads the engine's memory, or a copy of it, by the generated layout alone: the regions, their
 * elements, each field with its value in words. Whatever the core is given more of appears here
 * without a change: a field of PgAioCtl that says `offset of NAME[COUNT]` is a region.
 */
import * as layout from './layout.ts';
import { callbackName, nameOf, STATE_NAMES, STATUS_NAMES } from './names.ts';
import { unpackResult } from './result.ts';

/** A field as the generated layout describes it. */
export interface FieldLayout {
  /** Bytes from the start of its structure. */
  readonly offset: number;
  readonly bytes: number;
  readonly type: string;
  readonly doc: string;
}
export interface StructLayout {
  readonly size: number;
  readonly fields: Readonly<Record<string, FieldLayout>>;
}

/** A stretch of the memory that holds elements of one kind. */
export interface Region {
  /** The field of PgAioCtl that has its offset; `ctl` is PgAioCtl itself. */
  readonly name: string;
  /** Bytes from the start of the memory. */
  readonly at: number;
  readonly bytes: number;
  /** What the layout says of it. */
  readonly doc: string;
  /** Name of the structure of its elements, undefined if they have none. */
  readonly struct: string | undefined;
  /** Bytes from one element to the next. */
  readonly stride: number;
  readonly count: number;
}

/** One field of one element, decoded. */
export interface DecodedField {
  readonly name: string;
  /** Bytes from the start of the memory. */
  readonly at: number;
  readonly bytes: number;
  readonly type: string;
  readonly value: number | bigint;
  /** The value in words; the number itself if nothing better is known. */
  readonly words: string;
  readonly doc: string;
}

const CONSTANTS = new Map<string, number>();
const STRUCTS = new Map<string, StructLayout>();
for (const [name, value] of Object.entries(layout)) {
  if (typeof value === 'number') CONSTANTS.set(name, value);
  else if (typeof value === 'object' && 'fields' in value) STRUCTS.set(name, value);
}

export function structNamed(name: string): StructLayout | undefined {
  return STRUCTS.get(name);
}

/** Bytes from one structure to the next, where the core has no constant of that name. */
const STRIDES: Readonly<Record<string, number | undefined>> = {
  PgAioBackend: 1 << layout.BACKEND_SHIFT,
  PgAioHandle: 1 << layout.HANDLE_SHIFT,
  ResourceOwner: layout.RESOWNER_BYTES,
};
/** Elements that are no structures, by the name of their region. */
const PLAIN_STRIDES: Readonly<Record<string, number | undefined>> = {
  iovecs: layout.IOVEC_BYTES,
  handle_data: layout.DATA_BYTES,
  frame_owners: layout.FRAME_OWNER_BYTES,
  buffer_table: 4,
};
/** Regions of whole pages. */
const PAGES: ReadonlySet<string> = new Set(['frames', 'buffers', 'write_frames']);

/** `BufferDesc`: BUFFER_DESC_BYTES; `PgAioWorker`: WORKER_BYTES. */
function strideOf(struct: string): number | undefined {
  const words = struct.replace(/^PgAio/, '').replace(/(?<=[a-z])(?=[A-Z])/g, '_');
  return STRIDES[struct] ?? CONSTANTS.get(`${words.toUpperCase()}_BYTES`);
}

/** The memory of an engine, or a copy of its beginning. */
export class MemoryView {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Whether an engine has laid it out. */
  get isReady(): boolean {
    if (this.bytes.length < layout.CTL_AT + layout.CTL_BYTES) return false;
    return this.ctl('magic') === layout.SHMEM_MAGIC && this.ctl('state') === layout.CTL_READY;
  }
  u32(at: number): number {
    return at + 4 <= this.bytes.length ? this.view.getUint32(at, true) : 0;
  }
  ctl(field: keyof typeof layout.PgAioCtl.fields): number {
    return this.u32(layout.CTL_AT + layout.PgAioCtl.fields[field].offset);
  }
  /** A number of 1, 2, 4 or 8 bytes; 0 beyond the end of the copy. */
  number(at: number, { bytes, type }: Pick<FieldLayout, 'bytes' | 'type'>): number | bigint {
    if (at + bytes > this.bytes.length) return 0;
    const { view } = this;
    const signed = type.startsWith('i');
    if (type === 'f64') return view.getFloat64(at, true);
    if (bytes === 1) return signed ? view.getInt8(at) : view.getUint8(at);
    if (bytes === 2) return signed ? view.getInt16(at, true) : view.getUint16(at, true);
    if (bytes === 4) return signed ? view.getInt32(at, true) : view.getUint32(at, true);
    return signed ? view.getBigInt64(at, true) : view.getBigUint64(at, true);
  }
  /** A field of the structure at `at`, as a number. */
  field(struct: StructLayout, at: number, name: string): number {
    const field = struct.fields[name];
    return field === undefined ? 0 : Number(this.number(at + field.offset, field));
  }
  handleAt(id: number): number {
    return this.ctl('io_handles') + (id << layout.HANDLE_SHIFT);
  }
}

/** A cache line, where nothing is known. */
const UNKNOWN_STRIDE = 64;
const OFFSET_OF = /^offset of (?:the )?(\w+)(?:\[([^\]]*)\])?/;

/** The regions in the order they lie in. */
export function regionsOf(memory: MemoryView): Region[] {
  if (!memory.isReady) return [];
  const size = memory.ctl('size');
  const found = Object.entries<FieldLayout>(layout.PgAioCtl.fields)
    .filter(([, { doc }]) => doc.startsWith('offset of'))
    .map(([name, { offset, doc }]) => ({ name, doc, at: memory.u32(layout.CTL_AT + offset) }))
    .filter(({ at }) => at > 0)
    .sort((a, b) => a.at - b.at);
  const head: Region = {
    name: 'ctl',
    at: layout.CTL_AT,
    bytes: layout.CTL_BYTES,
    doc: 'head of the shared memory',
    struct: 'PgAioCtl',
    stride: layout.CTL_BYTES,
    count: 1,
  };
  const regions = found.map(({ name, doc, at }, i) => {
    const bytes = Math.max(0, (found[i + 1]?.at ?? size) - at);
    return regionOf(memory, name, doc, at, bytes);
  });
  return [head, ...regions];
}

function regionOf(
  memory: MemoryView,
  name: string,
  doc: string,
  at: number,
  bytes: number,
): Region {
  const [, element = '', count] = OFFSET_OF.exec(doc) ?? [];
  const struct = STRUCTS.has(element) ? element : undefined;
  const plain = plainStride(memory, name, bytes);
  const packed = struct === undefined ? plain : (STRUCTS.get(struct)?.size ?? plain);
  const stride = (struct === undefined ? undefined : strideOf(struct)) ?? packed;
  const elements = struct !== undefined && count === undefined ? 1 : product(memory, count ?? '');
  const fitting = Math.floor(bytes / Math.max(1, stride));
  return { name, at, bytes, doc, struct, stride, count: Math.min(elements ?? fitting, fitting) };
}

function plainStride(memory: MemoryView, name: string, bytes: number): number {
  if (PAGES.has(name)) return memory.ctl('block_size');
  if (name === 'local') return memory.ctl('local_memory');
  if (name === 'done_returns') return bytes / Math.max(1, memory.ctl('max_backends'));
  const constant = CONSTANTS.get(`${name.toUpperCase().replace(/S$/, '')}_BYTES`);
  return PLAIN_STRIDES[name] ?? constant ?? UNKNOWN_STRIDE;
}

/** `max_backends * RESOURCE_OWNERS`: fields of PgAioCtl, constants, numbers. */
function product(memory: MemoryView, expression: string): number | undefined {
  if (expression === '') return undefined;
  return expression.split('*').reduce((before: number | undefined, part) => {
    const name = part.trim();
    const value = Object.hasOwn(layout.PgAioCtl.fields, name)
      ? memory.ctl(name as keyof typeof layout.PgAioCtl.fields)
      : (CONSTANTS.get(name) ?? Number(name));
    return before === undefined || Number.isNaN(value) ? undefined : before * value;
  }, 1);
}

/** Every field of the structure at `at`, in words. */
export function decode(memory: MemoryView, structName: string, at: number): DecodedField[] {
  const struct = STRUCTS.get(structName);
  if (struct === undefined) return [];
  return Object.entries(struct.fields).map(([name, field]) => {
    const value = memory.number(at + field.offset, field);
    const words = wordsFor(memory, structName, name, field, at + field.offset, value);
    const bytes = Math.max(field.bytes, arrayBytes(field.doc));
    return { name, at: at + field.offset, bytes, type: field.type, value, words, doc: field.doc };
  });
}

/** `(32 x u32)`, `(24 bytes)`: the layout has the first word of what is longer. */
function arrayBytes(doc: string): number {
  const [, count, bits] = /\((\w+) x u(\d+)\)/.exec(doc) ?? [];
  if (count !== undefined) return ((CONSTANTS.get(count) ?? Number(count)) * Number(bits)) / 8;
  return Number(/\((\d+) bytes\)/.exec(doc)?.[1] ?? 0);
}

const RESULT_WORDS = new Set(['distilled_word', 'cb_word', 'word']);
const MAX_LISTED = 32;

function wordsFor(
  memory: MemoryView,
  struct: string,
  name: string,
  { doc, bytes }: FieldLayout,
  at: number,
  value: number | bigint,
): string {
  if (struct === 'PgAioHandle' && name === 'state') return nameOf(STATE_NAMES, Number(value));
  if (RESULT_WORDS.has(name)) return resultWords(Number(value));
  if (name === 'buf_state') return bufferWords(Number(value));
  if (name === 'callbacks') {
    const ids = Array.from(memory.bytes.subarray(at, at + bytes)).filter((id) => id > 0);
    return ids.map((id) => `${id} ${callbackName(id)}`).join(', ') || 'none';
  }
  const entries = arrayBytes(doc) / 4;
  if (doc.includes('x u32')) {
    const words = Array.from({ length: Math.min(entries, MAX_LISTED) }, (_, i) =>
      memory.u32(at + 4 * i),
    );
    return words.join(' ');
  }
  if (Number(value) === layout.NONE) return 'none';
  const [, prefix] = /\b([A-Z][A-Z_]*_)\*/.exec(doc) ?? [];
  if (prefix !== undefined) return constantWords(prefix, Number(value));
  if (name === 'magic') return 'PGAI';
  if (doc.startsWith('offset of') || doc.startsWith('address of')) return hex(Number(value));
  return String(value);
}

/** An enumeration's member, or the flags of a set. */
function constantWords(prefix: string, value: number): string {
  const members = [...CONSTANTS].filter(([name]) => name.startsWith(prefix));
  if (prefix === 'PGAIO_HF_') {
    const set = members.filter(([name, bit]) => name !== 'PGAIO_HF_ALL' && (value & bit) !== 0);
    return set.map(([name]) => name.slice(prefix.length)).join(' | ') || 'none';
  }
  const found = members.find(([, number]) => number === value);
  return found === undefined ? String(value) : found[0].slice(prefix.length);
}

/** State word of a buffer: bits, usage count, pins. */
function bufferWords(state: number): string {
  const bits = [...CONSTANTS].filter(
    ([name, bit]) => /^BM_(?!MAX_)/.test(name) && (state & bit) !== 0,
  );
  const usage = (state & layout.BUF_USAGECOUNT_MASK) / layout.BUF_USAGECOUNT_ONE;
  const pins = state & layout.BUF_REFCOUNT_MASK;
  return [...bits.map(([name]) => name.slice(3)), `usage ${usage}`, `${pins} pins`].join(', ');
}

/** A packed PgAioResult, first word. */
export function resultWords(word: number): string {
  const status = (word >>> 6) & 7;
  if (status >= STATUS_NAMES.length) return `not a result: ${hex(word)}`;
  const { id, status: name, errorData } = unpackResult(word, 0);
  const by = id === 0 ? '' : ` by ${callbackName(id)}`;
  return `${name}${by}${errorData === 0 ? '' : `, error data ${errorData}`}`;
}

export function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}
