/**
 * The part of WebAssembly's JavaScript interface that Node and browsers share, as far as we use it.
 * TypeScript has it only in its DOM library, which would let `document` into code for Node.
 */
declare namespace WebAssembly {
  type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'externref' | 'anyfunc';
  type Kind = 'function' | 'global' | 'memory' | 'table' | 'tag';
  type Bytes = ArrayBufferView | ArrayBuffer;
  type ImportValue = Memory | number | ((...parameters: never[]) => unknown);
  type Imports = Record<string, Record<string, ImportValue>>;
  type Exports = Record<string, unknown>;

  class Module {
    private readonly compiled;
    constructor(bytes: Bytes);
    static exports(module: Module): { name: string; kind: Kind }[];
    static imports(module: Module): { module: string; name: string; kind: Kind }[];
    static customSections(module: Module, name: string): ArrayBuffer[];
  }
  class Instance {
    readonly exports: Exports;
    constructor(module: Module, imports?: Imports);
  }
  interface MemoryDescriptor {
    initial: number;
    maximum?: number;
    shared?: boolean;
  }
  class Memory {
    /** Shared if the memory is: no assumption about which. */
    readonly buffer: ArrayBufferLike;
    constructor(descriptor: MemoryDescriptor);
    grow(pages: number): number;
  }
  class CompileError extends Error {}
  class LinkError extends Error {}
  class RuntimeError extends Error {}

  function compile(bytes: Bytes): Promise<Module>;
  function instantiate(module: Module, imports?: Imports): Promise<Instance>;
  function validate(bytes: Bytes): boolean;
}
