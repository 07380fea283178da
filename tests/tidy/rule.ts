/** What a tidy rule is: a function from path and text to messages, with samples of its own. */
import { blank, lineAt } from './source.ts';

export interface Rule {
  /** Ends the sentence "tidy: every file …". */
  readonly name: string;
  readonly applies: (path: string) => boolean;
  /** `line: what is wrong, and what to do instead`. */
  readonly check: (text: string, path: string) => string[];
  /** A file that is as it should be, and one that gives at least one message. */
  readonly good: Sample;
  readonly bad: Sample;
  /** Files the rule does not hold for, each with the reason. */
  readonly exceptions?: Readonly<Record<string, string>>;
}
export interface Sample {
  readonly path: string;
  readonly text: string;
}

/** `12: message` for every line the function has one for. */
export function perLine(
  text: string,
  judge: (line: string, number: number) => string | undefined,
): string[] {
  return text.split('\n').flatMap((line, index) => {
    const message = judge(line, index + 1);
    return message === undefined ? [] : [`${index + 1}: ${message}`];
  });
}

/** `12: message` for every match in code: not in comments, and not in strings unless asked. */
export function perMatch(
  text: string,
  pattern: RegExp,
  message: string,
  { strings = false } = {},
): string[] {
  const code = blank(text, { strings: !strings });
  return [...code.matchAll(pattern)].map(({ index }) => `${lineAt(code, index)}: ${message}`);
}

export const isTypeScript = (path: string) => /\.ts$/.test(path) && !path.endsWith('.d.ts');
export const isScript = (path: string) => /\.(?:ts|mjs)$/.test(path) && !path.endsWith('.d.ts');
export const isCode = (path: string) => /\.(?:ts|mjs|c|h)$/.test(path);
export const isBelow = (folder: string) => (path: string) => path.startsWith(`${folder}/`);
