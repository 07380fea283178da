/**
 * A transform of the AssemblyScript compiler that reads what the bindings must know out of the
 * compiled program: fields of shared structures, constants, signatures of the exports. Nobody types
 * an offset. The program is one that imports every file of the core, see layout.mjs.
 *
 * Constants are not taken from the syntax tree, where `8 * offsetof<A>()` is just an expression:
 * for each, a getter is compiled into the module, and layout.mjs calls it.
 */
import { CommonFlags, DecoratorFlags, ElementKind, NodeKind } from 'assemblyscript';
import { commentOf, splitOffset } from './layout-comments.mjs';

/** Files whose exported constants and enums are published without a `// @layout` line. */
const ALWAYS = ['assembly/aio/types.ts', 'assembly/errors.ts', 'assembly/storage/page.ts'];
const MARKER = /^\/\/ @layout[ \t]*$/m;

/**
 * @typedef {{ offset: number, bytes: number, type: string, doc: string }} Field
 * @typedef {{ name: string, file: string, doc: string, size: number,
 *             fields: Map<string, Field> }} Struct
 * @typedef {{ name: string, file: string, doc: string, index: number }} Constant
 * @typedef {{ name: string, file: string, doc: string,
 *             members: { name: string, doc: string, index: number }[] }} EnumOf
 * @typedef {{ name: string, parameters: { name: string, type: string }[], result: string }} Export
 */

/** Path with extension of the file that a syntax node comes from. @param {any} node */
const fileOf = (node) => node.range.source.normalizedPath;

/** @param {any} node a declaration */
const docOf = (node) => commentOf(node.range.source.text, node.name.range.start);

/** u32, f64, …; a reference is an address: `usize`. @param {any} type */
function typeName(type) {
  return type.isReference ? 'usize' : type.toString();
}

export class LayoutTransform {
  /** @param {string} probePath name of the virtual file that gets the getters */
  constructor(probePath) {
    this.probePath = probePath;
    /** @type {any} */
    this.program = undefined;
    /** @type {Struct[]} */
    this.structs = [];
    /** @type {Constant[]} */
    this.constants = [];
    /** @type {EnumOf[]} */
    this.enums = [];
    /** @type {Export[]} */
    this.exports = [];
    /** @type {string[]} */
    this.faults = [];
    /** @type {string[]} */
    this.imports = [];
    /** @type {string[]} */
    this.getters = [];
  }

  /** Adds a getter for each published constant. @param {any} parser */
  afterParse(parser) {
    for (const source of parser.sources) {
      const path = source.normalizedPath;
      if (!path.startsWith('assembly/')) continue;
      if (!ALWAYS.includes(path) && !MARKER.test(source.text)) continue;
      for (const statement of source.statements) this.publish(path, statement);
    }
    const text = [...this.imports, ...this.getters].join('\n');
    parser.parseFile(text, this.probePath, true);
  }

  /** @param {string} path @param {any} statement */
  publish(path, statement) {
    const module = `"./${path.slice('assembly/'.length).replace(/\.ts$/, '')}"`;
    if (statement.kind === NodeKind.EnumDeclaration && isExported(statement)) {
      const name = statement.name.text;
      this.imports.push(`import { ${name} } from ${module};`);
      const members = statement.values.map((/** @type {any} */ value) => ({
        name: value.name.text,
        doc: docOf(value),
        index: this.addGetter(`<i32>${name}.${value.name.text}`),
      }));
      this.enums.push({ name, file: path, doc: docOf(statement), members });
    }
    if (statement.kind !== NodeKind.Variable) return;
    for (const declaration of statement.declarations) {
      if (!isExported(declaration) || !isConst(declaration)) continue;
      const name = declaration.name.text;
      this.imports.push(`import { ${name} } from ${module};`);
      const index = this.addGetter(name);
      this.constants.push({ name, file: path, doc: docOf(declaration), index });
    }
  }

  /** The value as a double, and its 64 bits for what a double cannot hold. @param {string} value */
  addGetter(value) {
    const index = this.getters.length;
    this.getters.push(
      `export function double_${index}(): f64 { return <f64>(${value}); }\n` +
        `export function bits_${index}(): i64 { return <i64>(${value}); }`,
    );
    return index;
  }

  /** @param {any} program */
  afterInitialize(program) {
    this.program = program;
  }

  afterCompile() {
    for (const file of this.program.filesByName.values()) {
      if (!file.internalName.startsWith('assembly/')) continue;
      for (const [name, element] of file.exports ?? []) {
        if (element.kind === ElementKind.ClassPrototype && element.is !== undefined) {
          this.readClass(name, element, file);
        }
      }
    }
    this.structs.sort((a, b) => (a.name < b.name ? -1 : 1));
    const index = this.program.filesByName.get('assembly/index');
    if (index === undefined) this.faults.push('assembly/index.ts is not part of the program');
    else this.readExports(index);
  }

  /** @param {string} name @param {any} prototype @param {any} file */
  readClass(name, prototype, file) {
    if (!(prototype.decoratorFlags & DecoratorFlags.Unmanaged)) return;
    const path = fileOf(prototype.declaration);
    if (path !== `${file.internalName}.ts`) return; // exported again by another file
    const instance = this.program.resolver.resolveClass(prototype, null);
    /** @type {Struct} */
    const struct = {
      name,
      file: path,
      doc: docOf(prototype.declaration),
      size: instance.nextMemoryOffset,
      fields: new Map(),
    };
    for (const member of instance.members?.values() ?? []) {
      if (member.kind !== ElementKind.PropertyPrototype || !member.fieldDeclaration) continue;
      const { instance: property, fieldDeclaration } = member;
      if (!property || property.memoryOffset < 0) continue;
      const offset = property.memoryOffset;
      const comment = splitOffset(docOf(fieldDeclaration));
      if (comment.offset !== undefined && comment.offset !== offset) {
        const where = `${fileOf(fieldDeclaration)}: ${name}.${member.name}`;
        this.faults.push(`${where} is at ${offset}, its comment says ${comment.offset}`);
      }
      const type = typeName(property.type);
      struct.fields.set(member.name, {
        offset,
        bytes: property.type.byteSize,
        type,
        doc: comment.doc,
      });
    }
    this.structs.push(struct);
  }

  /** @param {any} file */
  readExports(file) {
    const found = new Map(file.exports ?? []);
    for (const star of file.exportsStar ?? []) {
      for (const [name, element] of star.exports ?? []) {
        if (!found.has(name)) found.set(name, element);
      }
    }
    for (const [name, element] of found) {
      if (element.kind !== ElementKind.FunctionPrototype) continue;
      const instance = this.program.resolver.resolveFunction(element, null);
      const names = element.functionTypeNode.parameters.map(
        (/** @type {any} */ parameter) => parameter.name.text,
      );
      const types = instance.signature.parameterTypes.map(typeName);
      this.exports.push({
        name,
        parameters: names.map((/** @type {string} */ n, /** @type {number} */ i) => ({
          name: n,
          type: types[i],
        })),
        result: typeName(instance.signature.returnType),
      });
    }
  }
}

/** @param {any} declaration */
const isExported = (declaration) => (declaration.flags & CommonFlags.Export) !== 0;
/** @param {any} declaration */
const isConst = (declaration) => (declaration.flags & CommonFlags.Const) !== 0;
