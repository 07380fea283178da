/**
 * Who imports whom. Knowledge points one way: assembly <- bindings <- host <- CLI. A layer declares
 * what it needs, and the one above supplies it.
 */
import { dirname, join } from 'node:path/posix';
import { importsOf } from './source.ts';

export interface Edge {
  readonly from: string;
  readonly to: string;
  readonly line: number;
  readonly typeOnly: boolean;
}

/** Every import of a file by a file; that it exists is not said. */
export function edgesOf(files: ReadonlyMap<string, string>): Edge[] {
  return [...files].flatMap(([from, text]) => {
    if (!/\.(?:ts|mjs)$/.test(from)) return [];
    return importsOf(text)
      .filter(({ specifier }) => specifier.startsWith('.'))
      .map(({ specifier, line, typeOnly }) => ({
        from,
        to: resolve(from, specifier, files),
        line,
        typeOnly,
      }));
  });
}

/** AssemblyScript leaves the ending out. */
function resolve(from: string, specifier: string, files: ReadonlyMap<string, string>): string {
  const path = join(dirname(from), specifier);
  const choices = [path, `${path}.ts`, `${path}/index.ts`];
  return choices.find((choice) => files.has(choice)) ?? path;
}

const GENERATED = /^(?:bindings\/layout\.ts|dist\/.*\.wasm|package\.json)$/;

interface Layer {
  readonly name: string;
  readonly holds: RegExp;
  /** Files it may import. */
  readonly imports: RegExp;
}
/** The first that holds a file is its layer. */
const LAYERS: readonly Layer[] = [
  { name: 'the core', holds: /^assembly\//, imports: /^assembly\// },
  { name: 'bindings', holds: /^bindings\//, imports: /^bindings\/|^dist\/.*\.wasm$/ },
  {
    name: 'the CLI',
    holds: /^host\/node\/cli(?:\.ts$|[-/])/,
    imports: /^host\/node\/|^package\.json$/,
  },
  { name: 'the host', holds: /^host\//, imports: /^(?:bindings|host)\/|^dist\/.*\.wasm$/ },
  { name: 'examples', holds: /^examples\//, imports: /^(?:examples|host\/node)\// },
  {
    name: 'tools',
    holds: /^(?:tools\/|[\w-]+\.mjs$|(?:bench|tests)\/\w+\.mjs$)/,
    imports: /^(?:tools\/|build\.mjs$)/,
  },
  { name: 'tests', holds: /^(?:tests|bench)\//, imports: /^(?!assembly\/)/ },
];
const CLI = /^host\/node\/cli(?:\.ts$|[-/])/;

/** Messages on imports against the direction, and of files that are not there. */
export function directionFaults(edges: readonly Edge[], files: ReadonlyMap<string, string>) {
  return edges.flatMap(({ from, to, line }) => {
    const messages: string[] = [];
    const layer = LAYERS.find(({ holds }) => holds.test(from));
    if (layer === undefined) messages.push(`${from}:${line}: no layer is known for this file`);
    else if (!layer.imports.test(to)) {
      messages.push(`${from}:${line}: ${layer.name} may not import ${to}`);
    }
    if (layer?.name === 'the host' && CLI.test(to)) {
      messages.push(`${from}:${line}: nothing imports the CLI`);
    }
    if (!files.has(to) && !GENERATED.test(to)) messages.push(`${from}:${line}: there is no ${to}`);
    return messages;
  });
}

/** Files that import `from` and that it imports, over any number of steps: its circle. */
function circleOf(from: string, next: ReadonlyMap<string, readonly string[]>): string[] {
  const reaches = (start: string) => {
    const seen = new Set<string>();
    const todo = [...(next.get(start) ?? [])];
    for (let file = todo.pop(); file !== undefined; file = todo.pop()) {
      if (!seen.has(file)) todo.push(...(next.get(file) ?? []));
      seen.add(file);
    }
    return seen;
  };
  return [...reaches(from)].filter((file) => reaches(file).has(from)).sort();
}

/** Each group of files that import each other in circles, in alphabetical order. */
export function circlesOf(edges: readonly Edge[]): string[][] {
  const next = new Map<string, string[]>();
  for (const { from, to, typeOnly } of edges) {
    if (!typeOnly) next.set(from, [...(next.get(from) ?? []), to]);
  }
  const known = new Set<string>();
  return [...next.keys()].sort().flatMap((file) => {
    if (known.has(file)) return [];
    const circle = circleOf(file, next);
    for (const member of circle) known.add(member);
    return circle.length > 0 ? [circle] : [];
  });
}

/** Files that no entry point leads to. */
export function unreached(
  edges: readonly Edge[],
  files: ReadonlyMap<string, string>,
  isEntry: (path: string) => boolean,
): string[] {
  const sources = [...files.keys()].filter((path) => /(?<!\.d)\.ts$|\.mjs$/.test(path));
  const reached = new Set(sources.filter(isEntry));
  for (const file of reached) {
    for (const { from, to } of edges) if (from === file) reached.add(to);
  }
  return sources.filter((path) => !reached.has(path));
}
