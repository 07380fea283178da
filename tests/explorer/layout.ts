/**
 * Where fields lie, and the numbers that have names, taken from the text of the sources that were
 * compiled: a core with a deliberate fault, or one being changed, has no generated layout.
 */
const BYTES: Readonly<Record<string, number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  usize: 4,
  f32: 4,
  u64: 8,
  i64: 8,
  f64: 8,
};

export class Layout {
  readonly #fields = new Map<string, number>();
  readonly #numbers = new Map<string, number>();

  constructor(sources: ReadonlyMap<string, string>) {
    for (const text of sources.values()) {
      for (const [, name = '', body = ''] of text.matchAll(
        /^@unmanaged export class (\w+) \{\n([^}]*)\}/gm,
      )) {
        this.#readFields(name, body);
      }
      for (const [, name = '', value] of text.matchAll(
        /^(?:export )?const (\w+): \w+ = (-?(?:0x)?[\da-fA-F]+);/gm,
      )) {
        this.#numbers.set(name, Number(value));
      }
    }
  }

  #readFields(name: string, body: string): void {
    let offset = 0;
    for (const [, field = '', type = ''] of body.matchAll(/^ {2}(\w+): (\w+);/gm)) {
      const bytes = BYTES[type];
      if (bytes === undefined) throw new Error(`${name}.${field}: unknown type ${type}`);
      offset = Math.ceil(offset / bytes) * bytes;
      this.#fields.set(`${name}.${field}`, offset);
      offset += bytes;
    }
  }

  /** Offset of a field: `Structure.field`. */
  at(field: string): number {
    const offset = this.#fields.get(field);
    if (offset === undefined) throw new Error(`the core has no field ${field}`);
    return offset;
  }

  /** Value of a constant that is a plain number in the source. */
  number(name: string): number {
    const value = this.#numbers.get(name);
    if (value === undefined) throw new Error(`the core has no number ${name}`);
    return value;
  }
}
