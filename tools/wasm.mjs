/**
 * Reads a WebAssembly binary as far as the build and the tidy test must judge it: its sections,
 * what it imports and exports with types and limits, and its functions' names. WebAssembly.Module
 * tells neither signatures nor limits nor data sections.
 */

/** @typedef {{ parameters: string[], results: string[] }} Signature */
/** @typedef {{ minimum: number, maximum: number | undefined, shared: boolean }} Limits */
/**
 * @typedef {object} WasmImport
 * @property {string} module
 * @property {string} name
 * @property {'function' | 'table' | 'memory' | 'global'} kind
 * @property {Signature | undefined} signature of a function
 * @property {Limits | undefined} limits of a memory or table, in pages or elements
 */
/**
 * @typedef {object} WasmExport
 * @property {string} name
 * @property {'function' | 'table' | 'memory' | 'global'} kind
 * @property {Signature | undefined} signature of a function
 */
/**
 * @typedef {object} WasmModule
 * @property {number[]} sections ids in the order they come in
 * @property {WasmImport[]} imports
 * @property {WasmExport[]} exports
 * @property {string[]} functionNames from the name section; none in an optimised build
 * @property {string} dataText what is printable in the data section
 */

const SECTION_CUSTOM = 0;
const SECTION_TYPE = 1;
const SECTION_IMPORT = 2;
const SECTION_FUNCTION = 3;
const SECTION_EXPORT = 7;
export const SECTION_DATA = 11;
export const SECTION_DATA_COUNT = 12;

const KINDS = /** @type {const} */ (['function', 'table', 'memory', 'global']);
/** @type {Record<number, string>} */
const VALUE_TYPES = {
  127: 'i32',
  126: 'i64',
  125: 'f32',
  124: 'f64',
  123: 'v128',
  112: 'funcref',
  111: 'externref',
};

class Reader {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }
  byte() {
    const value = this.bytes[this.at++];
    if (value === undefined) throw new Error(`wasm: ends at byte ${this.at - 1}`);
    return value;
  }
  unsigned() {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }
  text() {
    const length = this.unsigned();
    this.at += length;
    return new TextDecoder().decode(this.bytes.subarray(this.at - length, this.at));
  }
  /** @template T @param {() => T} item @returns {T[]} */
  list(item) {
    return Array.from({ length: this.unsigned() }, item);
  }
  valueType() {
    const byte = this.byte();
    return VALUE_TYPES[byte] ?? `type 0x${byte.toString(16)}`;
  }
  /** @returns {Limits} */
  limits() {
    const flags = this.byte();
    const minimum = this.unsigned();
    return {
      minimum,
      maximum: flags & 1 ? this.unsigned() : undefined,
      shared: (flags & 2) !== 0,
    };
  }
}

/** @param {Reader} reader @returns {Signature} */
function readType(reader) {
  const form = reader.byte();
  if (form !== 0x60) throw new Error(`wasm: type form 0x${form.toString(16)} is not a function`);
  return {
    parameters: reader.list(() => reader.valueType()),
    results: reader.list(() => reader.valueType()),
  };
}

/** @param {Reader} reader */
function readKind(reader) {
  const byte = reader.byte();
  const kind = KINDS[byte];
  if (kind === undefined) throw new Error(`wasm: unknown kind ${byte}`);
  return kind;
}

/** @param {Reader} reader @param {Signature[]} types @returns {WasmImport} */
function readImport(reader, types) {
  const module = reader.text();
  const name = reader.text();
  const kind = readKind(reader);
  let signature;
  let limits;
  if (kind === 'function') signature = types[reader.unsigned()];
  else if (kind === 'memory') limits = reader.limits();
  else {
    reader.valueType();
    if (kind === 'table') limits = reader.limits();
    else reader.byte(); // mutable or not
  }
  return { module, name, kind, signature, limits };
}

/** Function names (subsection 1) of a name section. @param {Reader} reader @param {number} end */
function readFunctionNames(reader, end) {
  /** @type {string[]} */
  const names = [];
  while (reader.at < end) {
    const id = reader.byte();
    const next = reader.unsigned() + reader.at;
    if (id === 1) {
      reader.list(() => {
        reader.unsigned();
        names.push(reader.text());
      });
    }
    reader.at = next;
  }
  return names;
}

/** @param {Uint8Array} bytes @returns {WasmModule} */
export function parseWasm(bytes) {
  const reader = new Reader(bytes);
  const magic = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  if (magic.some((byte) => reader.byte() !== byte)) throw new Error('wasm: not a module');
  /** @type {WasmModule} */
  const module = { sections: [], imports: [], exports: [], functionNames: [], dataText: '' };
  /** @type {Signature[]} */
  let types = [];
  /** @type {(Signature | undefined)[]} */
  let functions = [];
  while (reader.at < bytes.length) {
    const id = reader.byte();
    const end = reader.unsigned() + reader.at;
    module.sections.push(id);
    if (id === SECTION_TYPE) types = reader.list(() => readType(reader));
    if (id === SECTION_IMPORT) {
      module.imports = reader.list(() => readImport(reader, types));
      functions = module.imports.filter((i) => i.kind === 'function').map((i) => i.signature);
    }
    if (id === SECTION_FUNCTION) {
      functions.push(...reader.list(() => types[reader.unsigned()]));
    }
    if (id === SECTION_EXPORT) {
      module.exports = reader.list(() => {
        const name = reader.text();
        const kind = readKind(reader);
        const index = reader.unsigned();
        return { name, kind, signature: kind === 'function' ? functions[index] : undefined };
      });
    }
    if (id === SECTION_DATA) {
      const printable = bytes.subarray(reader.at, end).filter((byte) => byte >= 32 && byte < 127);
      module.dataText = new TextDecoder().decode(printable).slice(0, 400);
    }
    if (id === SECTION_CUSTOM && reader.text() === 'name') {
      module.functionNames = readFunctionNames(reader, end);
    }
    reader.at = end;
  }
  return module;
}

/**
 * What no build of the core may contain: data would be written again by each further instance over
 * the same shared memory, and the runtime's collector is not thread-safe.
 * @param {Uint8Array} bytes
 * @returns {string[]} messages, none if the core is sound
 */
export function coreFaults(bytes) {
  const module = parseWasm(bytes);
  const faults = [];
  for (const id of [SECTION_DATA, SECTION_DATA_COUNT]) {
    if (!module.sections.includes(id)) continue;
    faults.push(
      `has section ${id} (data): a string, array literal, function value, x! or memory.data`,
    );
  }
  if (faults.length > 0) faults.push(`its data reads ${JSON.stringify(module.dataText)}`);
  for (const name of module.functionNames) {
    if (name.includes('~lib/rt')) faults.push(`contains ${name}: something allocates`);
  }
  return faults;
}
