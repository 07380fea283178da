/** Rules on the text of any file, on sizes, and on what is left over from writing. */
import { isCode, isScript, perLine, perMatch, type Rule } from './rule.ts';
import { blank, functionsOf } from './source.ts';

const COLUMNS = 100;
const FUNCTION_LINES = 70;
const FILE_LINES = 800;

const isText = (path: string) =>
  /\.(?:ts|mjs|json|md|c|h|sh|yml|html|css)$|^\.ci\/run$/.test(path) &&
  path !== 'package-lock.json';
/** The rules' samples break the rules. */
const SAMPLES = 'holds the samples of this rule';

const columns: Rule = {
  name: `stays within ${COLUMNS} columns`,
  applies: isText,
  check: (text, path) =>
    perLine(text, (line) => {
      const width = [...line].length;
      const table = path.endsWith('.md') && /^\s*\|/.test(line);
      if (width <= COLUMNS || table || /https?:\/\//.test(line)) return undefined;
      return `${width} columns, at most ${COLUMNS}`;
    }),
  good: { path: 'a.ts', text: `${'x'.repeat(100)}\n// https://example.org/${'x'.repeat(100)}\n` },
  bad: { path: 'a.ts', text: `${'x'.repeat(101)}\n` },
};

const blanks: Rule = {
  name: 'has no tab, no trailing blank, and one line feed at its end',
  applies: isText,
  check: (text) => [
    ...perLine(text, (line) => (line.includes('\t') ? 'a tab; use spaces' : undefined)),
    ...perLine(text, (line) => (/[ \r]$/.test(line) ? 'a blank at the end' : undefined)),
    ...(/[^\n]\n$/.test(text) ? [] : ['1: must end with exactly one line feed']),
  ],
  good: { path: 'a.md', text: 'a\n\nb\n' },
  bad: { path: 'a.md', text: 'a \n' },
};

const machine: Rule = {
  name: 'names no path of one machine, no issue number, no neighbour folder',
  applies: isText,
  check: (text) =>
    perLine(text, (line) => {
      const path = /(?:^|[\s'"`(=:])\/(?:home|root|work|Users|mnt)\/\w|\b[A-Z]:\\Users/.exec(line);
      if (path) return `a machine's path, ${path[0].trim()}; make it relative`;
      if (/\bshared\/(?:reference|design)\b/.test(line)) return 'a folder outside the project';
      if (/(?:^|\s|\()#\d+\b|\b(?:issue|PR) \d+\b/.test(line)) return 'an issue number; say why';
      return undefined;
    }),
  good: { path: 'a.md', text: 'The homework is in docs/home/a.md, colour #fff.\n' },
  bad: { path: 'a.md', text: 'See /home/me/notes.\n' },
  exceptions: { 'tests/tidy/text-rules.ts': SAMPLES },
};

const fileLength: Rule = {
  name: `has at most ${FILE_LINES} lines`,
  applies: isText,
  check: (text) => {
    const lines = text.split('\n').length - 1;
    return lines > FILE_LINES ? [`${lines} lines, at most ${FILE_LINES}; split it`] : [];
  },
  good: { path: 'a.ts', text: '\n'.repeat(800) },
  bad: { path: 'a.ts', text: '\n'.repeat(801) },
};

const functionLength: Rule = {
  name: `has functions of at most ${FUNCTION_LINES} lines`,
  applies: isCode,
  check: (text) =>
    functionsOf(text)
      .filter(({ ownLines }) => ownLines > FUNCTION_LINES)
      .map((f) => `${f.firstLine}: ${f.name} has ${f.ownLines} lines, at most ${FUNCTION_LINES}`),
  good: { path: 'a.ts', text: `function f(): void {\n${'  x();\n'.repeat(68)}}\n` },
  bad: { path: 'a.ts', text: `function f(): void {\n${'  x();\n'.repeat(69)}}\n` },
  exceptions: { 'assembly/method/wasi_errno.ts': 'a table, which a data segment would be else' },
};

const MARKS: readonly [RegExp, string][] = [
  [/\b(?:FIXME|XXX|TODO)\b/, 'unfinished; finish it or describe the limit'],
  [/@ts-(?:ignore|nocheck)\b/, '@ts-expect-error with a reason'],
  [/@ts-expect-error\s*$/, '@ts-expect-error without a reason'],
];
const marks: Rule = {
  name: 'has no mark of unfinished work',
  applies: (path) => isText(path),
  check: (text) => perLine(text, (line) => MARKS.find(([pattern]) => pattern.test(line))?.[1]),
  good: { path: 'a.ts', text: '// Todos are words too.\n' },
  bad: { path: 'a.ts', text: '// FIXME\n' },
  exceptions: { 'tests/tidy/text-rules.ts': SAMPLES },
};

const leftovers: Rule = {
  name: 'has no debugger statement and no .only',
  applies: isScript,
  check: (text) => [
    ...perMatch(text, /\bdebugger\b/g, 'a debugger statement'),
    ...perMatch(text, /\.only\s*\(/g, '.only leaves out other tests; name the file instead'),
  ],
  good: { path: 'a.ts', text: "x('debugger', a.only);\n" },
  bad: { path: 'a.ts', text: 'a.only(1);\n' },
};

const skips: Rule = {
  name: 'skips tests with a reason only',
  applies: (path) => isScript(path) && path.startsWith('tests/'),
  check: (text) => {
    const lines = text.split('\n');
    return perMatch(
      text,
      /\.skip\s*\(/g,
      '.skip without a line `skipped: …` printed beside it',
    ).filter((message) => {
      const line = Number.parseInt(message, 10);
      return !lines
        .slice(Math.max(0, line - 4), line + 3)
        .join('\n')
        .includes('skipped:');
    });
  },
  good: { path: 'tests/a.ts', text: 'test.skip(name);\nconsole.log(`skipped: $' + '{why}`);\n' },
  bad: { path: 'tests/a.ts', text: 'test.skip(name);\n' },
};

const consoleOutput: Rule = {
  name: 'prints nothing, unless it is a program',
  applies: (path) => isScript(path) && /^(?:assembly|bindings|host)\//.test(path),
  check: (text) => perMatch(text, /\bconsole\.\w/g, 'console output; report through the API'),
  good: { path: 'bindings/a.ts', text: '// console.log\n' },
  bad: { path: 'bindings/a.ts', text: 'console.log(1);\n' },
  exceptions: { 'host/node/cli/words.ts': 'says what the program has to say' },
};

const CODE_IN_COMMENT = [
  /^(?:const|let|var|if|for|while|return|import|export|function|await|else)\b.*[;{}]$/,
  /^[\w.]+\(.*\);$/,
  /^[\w.[\]]+ [-+*|&]?= .*;$/,
  /^\}$/,
];
const commentedOut: Rule = {
  name: 'has no code that is commented out',
  applies: isCode,
  check: (text) => {
    const code = blank(text).split('\n');
    return perLine(text, (line, number) => {
      const words = /^\s*\/\/\s*(.*?)\s*$/.exec(line)?.[1];
      if (words === undefined || code[number - 1]?.trim() !== '') return undefined;
      const isCodeLine = CODE_IN_COMMENT.some((pattern) => pattern.test(words));
      return isCodeLine ? 'code in a comment; delete it' : undefined;
    });
  },
  good: { path: 'a.ts', text: '// for each page: its verdict\n// Returns what was there;\n' },
  bad: { path: 'a.ts', text: '// const a = b(c);\n' },
};

const header: Rule = {
  name: 'begins with a comment that says why it exists',
  applies: isCode,
  check: (text) =>
    /^(?:#!.*\n)?(?:\/\/ @layout\n)?(?:\/\*|\/\/)/.test(text) ? [] : ['1: no header comment'],
  good: { path: 'a.ts', text: '/** Why. */\n' },
  bad: { path: 'a.ts', text: "import './b.ts';\n/** Why. */\n" },
};

export const TEXT_RULES: readonly Rule[] = [
  columns,
  blanks,
  machine,
  fileLength,
  functionLength,
  marks,
  leftovers,
  skips,
  consoleOutput,
  commentedOut,
  header,
];
