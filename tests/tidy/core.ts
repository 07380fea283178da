/** The core against what others believe of it: its assertions, imports, exports, error numbers. */
import { parseWasm, type WasmModule } from '../../tools/wasm.mjs';
import { blank, functionsOf } from './source.ts';

/**
 * `path function` for every function of the core that asserts nothing. Not counted: a function of
 * one statement, which has nothing between its parameters and its result.
 */
export function withoutAssertion(files: ReadonlyMap<string, string>): string[] {
  return [...files]
    .filter(([path]) => path.startsWith('assembly/') && path.endsWith('.ts'))
    .flatMap(([path, text]) =>
      functionsOf(text)
        .filter(({ body }) => !/\bassert\s*[<(]/.test(body) && (body.match(/;/g)?.length ?? 0) > 1)
        .map(({ name }) => `${path} ${name}`),
    );
}

/** `pgaio.report (i32 f64) -> i32` for each import, the memory with its limits. */
export function importLines({ imports }: WasmModule): string[] {
  return imports
    .map(({ module, name, kind, signature, limits }) => {
      const from = `${module}.${name}`;
      if (signature) {
        const results = signature.results.join(' ') || 'nothing';
        return `${from} (${signature.parameters.join(' ')}) -> ${results}`;
      }
      const range = `${limits?.minimum} .. ${limits?.maximum ?? 'unbounded'}`;
      return `${from}: ${kind} ${range}${limits?.shared ? ', shared' : ''}`;
    })
    .sort();
}

interface Method {
  readonly name: string;
  readonly parameters: readonly string[];
  readonly result: string;
}

/** The methods of `interface NAME { … }`, with the types of their parameters. */
export function methodsOf(text: string, name: string): Method[] {
  const code = blank(text);
  const start = new RegExp(`\\binterface ${name}\\b[^{]*\\{`).exec(code);
  if (start === null) return [];
  const from = start.index + start[0].length;
  const body = code.slice(from, code.indexOf('\n}', from));
  const method =
    /(?:^|[;\n])\s*(?:readonly\s+)?(\w+)\s*(?:\(([^)]*)\)\s*:|:\s*\(([^)]*)\)\s*=>)\s*([^;\n]+)/g;
  return [...body.matchAll(method)].map((match) => ({
    name: match[1] ?? '',
    parameters: (match[2] ?? match[3] ?? '')
      .split(',')
      .map((parameter) => (parameter.split(':')[1] ?? '').trim())
      .filter((type) => type !== ''),
    result: (match[4] ?? '').trim(),
  }));
}

/** Where a build's exports and the interface part, both ways; and every i64 at the border. */
export function exportFaults(core: Uint8Array, methods: readonly Method[]): string[] {
  const { exports } = parseWasm(core);
  const messages: string[] = [];
  for (const { name, kind, signature } of exports) {
    if (signature === undefined) {
      messages.push(`the core exports ${kind} ${name}; export functions only`);
      continue;
    }
    const method = methods.find((m) => m.name === name);
    if (method === undefined) {
      messages.push(`CoreExports lacks ${name}`);
      continue;
    }
    const { parameters, results } = signature;
    if ([...parameters, ...results].includes('i64')) messages.push(`${name} has an i64: a BigInt`);
    if (method.parameters.length !== parameters.length) {
      messages.push(
        `${name} takes ${parameters.length}, CoreExports says ${method.parameters.length}`,
      );
    }
    if (method.parameters.some((type) => /bigint|boolean|string|\?/.test(type))) {
      messages.push(`${name}: CoreExports has a parameter that is no number`);
    }
    if ((results.length === 0) !== (method.result === 'void')) {
      messages.push(`${name} gives ${results[0] ?? 'nothing'}, CoreExports says ${method.result}`);
    }
  }
  const exported = new Set(exports.map(({ name }) => name));
  for (const { name } of methods) {
    if (!exported.has(name)) messages.push(`the core does not export ${name} of CoreExports`);
  }
  return messages;
}

interface ErrorNumber {
  readonly name: string;
  readonly number: number;
  readonly words: string;
}

/** `export const E_NAME: i32 = -4098; // words` */
export function errorNumbersOf(text: string): ErrorNumber[] {
  const pattern = /^(?:@inline )?export const (E_\w+): i32 = (-\d+);(?:\s*\/\/\s*(.*))?$/gm;
  return [...text.matchAll(pattern)].map((match) => ({
    name: match[1] ?? '',
    number: Number(match[2]),
    words: match[3] ?? '',
  }));
}

interface ErrorWords {
  readonly code: string;
  readonly words: string;
}

/** `[-4098]: ['PGAIO_CODE', 'words']` or `[E_NAME]: …`, by number or name. */
export function errorWordsOf(text: string): Map<string, ErrorWords> {
  const key = /^\s*\[?(?:layout\.)?(-\d+|E_\w+)\]?:\s*\[\s*/.source;
  const value = /['"](PGAIO_\w+)['"](?:,\s*(['"`])(.*?)\3,?\s*\])?/.source;
  return new Map(
    [...text.matchAll(new RegExp(key + value, 'gms'))].map((match) => [
      match[1] ?? '',
      { code: match[2] ?? '', words: match[4] ?? '' },
    ]),
  );
}

/** `IO %d` and `IO {io}` say the same. */
const comparable = (words: string) => words.replace(/%[ds]|\{\w+\}/g, '%').replaceAll("\\'", "'");

/** Numbers from here down have words of our own, of which the core's comment is just the gist. */
const POSTGRES_WORDS_END = -4128;

/** Where the core's numbers and the bindings' words part. */
export function errorFaults(
  core: readonly ErrorNumber[],
  bindings: ReadonlyMap<string, ErrorWords>,
): string[] {
  const messages: string[] = [];
  const names = new Map<number, string>();
  const unknown = new Set(bindings.keys());
  for (const { name, number, words } of core) {
    const twin = names.get(number);
    if (twin !== undefined) messages.push(`${number} is both ${twin} and ${name}`);
    names.set(number, name);
    if (number > -4097) messages.push(`${name} is ${number}; ours begin at -4097`);
    if (words === '') messages.push(`${name} has no words in its comment`);
    const key = bindings.has(name) ? name : String(number);
    unknown.delete(key);
    const theirs = bindings.get(key);
    const code = name.replace(/^E_/, 'PGAIO_');
    if (theirs === undefined) {
      messages.push(`bindings/errors.ts has no words for ${name} (${number})`);
    } else if (theirs.code !== code) {
      messages.push(`${name} has code ${theirs.code} in bindings, not ${code}`);
    } else if (number > POSTGRES_WORDS_END && comparable(theirs.words) !== comparable(words)) {
      messages.push(`${name} is "${words}" in the core, "${theirs.words}" in bindings`);
    }
  }
  for (const key of unknown) {
    messages.push(`assembly/errors.ts has no ${key} (${bindings.get(key)?.code})`);
  }
  return messages;
}
