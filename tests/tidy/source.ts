/**
 * Looks at source text as far as the tidy rules need it: what is code and what is comment or
 * string, where functions begin and end, what is imported. For TypeScript, AssemblyScript,
 * JavaScript and C. Knows no grammar; a rule can be fooled, and is then mended here with a test.
 */

export interface FunctionSpan {
  readonly name: string;
  /** Counted from 1. */
  readonly firstLine: number;
  readonly lastLine: number;
  /** Lines of its own, without those of functions inside it. */
  readonly ownLines: number;
  /** Between the braces, with functions inside it. */
  readonly body: string;
}

export interface Import {
  readonly specifier: string;
  readonly line: number;
  /** Erased when compiled. */
  readonly typeOnly: boolean;
}

const AFTER_WORD_COMES_REGEX = /(?:^|\W)(?:return|typeof|case|in|of|do|else|await|yield)\s*$/;

/** Comments become blanks, with `strings` the insides of strings too. Lines and columns stay. */
export function blank(text: string, { strings = true } = {}): string {
  let out = '';
  let at = 0;
  /** One entry per `${` we are in: how many braces are open inside it. */
  const templates: number[] = [];
  const hide = (from: number, to: number) => {
    out += text.slice(from, to).replace(/[^\n]/g, ' ');
    at = to;
  };
  const keep = (from: number, to: number) => {
    out += text.slice(from, to);
    at = to;
  };
  const string = (from: number, to: number) => (strings ? hide(from, to) : keep(from, to));
  while (at < text.length) {
    const char = text.charAt(at);
    const two = text.slice(at, at + 2);
    if (two === '//' || (at === 0 && two === '#!')) hide(at, endOf(text, '\n', at));
    else if (two === '/*') hide(at, endOf(text, '*/', at + 2, true));
    else if (char === "'" || char === '"') {
      const end = endOfString(text, at, char);
      keep(at, at + 1);
      string(at, end - 1);
      keep(at, end);
    } else if (char === '/' && startsRegex(out)) {
      const end = endOfRegex(text, at);
      keep(at, at + 1);
      string(at, end);
    } else if (char === '`' || (char === '}' && templates.at(-1) === 0)) {
      if (char === '}') templates.pop();
      const end = endOfTemplatePart(text, at + 1);
      keep(at, at + 1);
      string(at, end);
      if (text.startsWith('${', at)) templates.push(0);
      keep(at, at + (text.startsWith('${', at) ? 2 : 1));
    } else {
      const inside = templates.length - 1;
      if (inside >= 0 && char === '{') templates[inside] = (templates[inside] ?? 0) + 1;
      if (inside >= 0 && char === '}') templates[inside] = (templates[inside] ?? 0) - 1;
      keep(at, at + 1);
    }
  }
  return out;
}

function endOf(text: string, what: string, from: number, behind = false): number {
  const found = text.indexOf(what, from);
  if (found < 0) return text.length;
  return behind ? found + what.length : found;
}

/** Behind the closing quote, or at the end of the line if there is none (an apostrophe). */
function endOfString(text: string, from: number, quote: string): number {
  for (let at = from + 1; at < text.length; at++) {
    const char = text.charAt(at);
    if (char === '\\') at++;
    else if (char === quote) return at + 1;
    else if (char === '\n') return at;
  }
  return text.length;
}

function startsRegex(before: string): boolean {
  const code = before.trimEnd();
  return /(?:^|[(,=:[!&|?{};+<>~%*-])$/.test(code) || AFTER_WORD_COMES_REGEX.test(before);
}

function endOfRegex(text: string, from: number): number {
  let inClass = false;
  for (let at = from + 1; at < text.length; at++) {
    const char = text.charAt(at);
    if (char === '\\') at++;
    else if (char === '[') inClass = true;
    else if (char === ']') inClass = false;
    else if (char === '\n' || (char === '/' && !inClass)) return at;
  }
  return text.length;
}

/** At the closing backtick or at `${`. */
function endOfTemplatePart(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const char = text.charAt(at);
    if (char === '\\') at++;
    else if (char === '`' || text.startsWith('${', at)) return at;
  }
  return text.length;
}

export function lineAt(text: string, index: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at >= 0 && at < index; at = text.indexOf('\n', at + 1)) line++;
  return line;
}

const CONTROL = new Set(['if', 'for', 'while', 'switch', 'catch', 'with']);

/** Every function with a body in braces, in the order of their opening braces. */
export function functionsOf(text: string): FunctionSpan[] {
  const code = blank(text);
  const found: { name: string; start: number; open: number; close: number }[] = [];
  const open: number[] = [];
  const opened = new Map<number, { name: string; start: number }>();
  for (let at = 0; at < code.length; at++) {
    if (code.charAt(at) === '{') {
      open.push(at);
      const head = functionHead(code, at);
      if (head !== undefined) opened.set(at, head);
    } else if (code.charAt(at) === '}') {
      const start = open.pop();
      const head = start === undefined ? undefined : opened.get(start);
      if (start !== undefined && head !== undefined)
        found.push({ ...head, open: start, close: at });
    }
  }
  found.sort((a, b) => a.open - b.open);
  return found.map(({ name, start, open: from, close }) => {
    const firstLine = lineAt(code, start);
    const lastLine = lineAt(code, close);
    let ownLines = lastLine - firstLine + 1;
    let inner = from;
    for (const other of found) {
      if (other.open <= inner || other.close >= close) continue;
      ownLines -= lineAt(code, other.close) - lineAt(code, other.open);
      inner = other.close;
    }
    return { name, firstLine, lastLine, ownLines, body: code.slice(from + 1, close) };
  });
}

/** Name and start of the function whose body opens at `at`; undefined if it is none. */
function functionHead(code: string, at: number): { name: string; start: number } | undefined {
  const before = code.slice(Math.max(0, at - 2000), at);
  if (/[<|&:,=(]\s*$/.test(before)) return undefined; // a type or an object
  const offset = at - before.length;
  const arrow = /=>\s*$/.exec(before);
  const close = arrow ? before.lastIndexOf(')', arrow.index) : closingParenthesis(before);
  if (close === undefined) return undefined;
  if (arrow) {
    const line = before.lastIndexOf('\n', arrow.index) + 1;
    const name = /(\w+)(?:\s*:[^=]*)?\s*=\s*(?:async\s*)?[(\w]/.exec(before.slice(line))?.[1];
    return { name: name ?? 'arrow function', start: offset + arrow.index };
  }
  const openAt = matchingParenthesis(before, close);
  const name = /([\w$]+|\])\s*(?:<[^<>]*>)?\s*$/.exec(before.slice(0, openAt));
  if (name === null || name[1] === undefined || CONTROL.has(name[1])) return undefined;
  return { name: name[1], start: offset + name.index };
}

/** What may stand between parameters and body: `: Promise<{ a: 1 }>`, `: (b) => c`. */
const RESULT_TYPE = /[^;={}()]*(?:\{[^{};]*\}[^;={}()]*)?(?:\([^()]*\)[^;={}()]*)?/;
const PARAMETERS_END = new RegExp(`\\)(?:\\s*:${RESULT_TYPE.source})?\\s*$`);

/** Of the parameters that a `{` follows, perhaps after a result type. */
function closingParenthesis(before: string): number | undefined {
  return PARAMETERS_END.exec(before)?.index;
}

function matchingParenthesis(text: string, close: number): number {
  let depth = 0;
  for (let at = close; at >= 0; at--) {
    if (text.charAt(at) === ')') depth++;
    if (text.charAt(at) === '(') depth--;
    if (depth === 0) return at;
  }
  return 0;
}

const SPECIFIER = /(['"])([^'"\n]+)['"]/.source;
const STATEMENT = /(?:^|[;}\n])\s*(?:import|export)(\s+type)?\s+(?:[\w*$\s{},]*?\sfrom\s*)?/.source;
const IMPORT = new RegExp(`${STATEMENT}${SPECIFIER}|\\bimport\\(\\s*${SPECIFIER}`, 'g');

/** Static and dynamic imports, and exports from elsewhere. */
export function importsOf(text: string): Import[] {
  const code = blank(text, { strings: false });
  const bare = blank(text);
  return [...code.matchAll(IMPORT)]
    .map((match) => ({
      specifier: match[3] ?? match[5] ?? '',
      index: match.index + match[0].search(/import|export/),
      typeOnly: match[1] !== undefined,
    }))
    .filter(({ index }) => /^(?:import|export)/.test(bare.slice(index, index + 6)))
    .map(({ specifier, index, typeOnly }) => ({ specifier, line: lineAt(text, index), typeOnly }));
}
