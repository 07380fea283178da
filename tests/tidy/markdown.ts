/** Rules on documents: one title, tables whose rows fit their head, links that lead somewhere. */
import { dirname, join } from 'node:path/posix';
import type { Rule } from './rule.ts';

const isMarkdown = (path: string) => path.endsWith('.md');

interface Line {
  readonly number: number;
  readonly text: string;
}

/** The lines outside fenced code and comments. */
function prose(text: string): Line[] {
  let fence = '';
  let inComment = false;
  return text.split('\n').flatMap((line, index) => {
    const mark = /^\s*(```+|~~~+)/.exec(line)?.[1];
    if (mark !== undefined && (fence === '' || mark.startsWith(fence))) {
      fence = fence === '' ? mark : '';
      return [];
    }
    if (line.includes('<!--')) inComment = true;
    const hidden = inComment || fence !== '';
    if (line.includes('-->')) inComment = false;
    return hidden ? [] : [{ number: index + 1, text: line }];
  });
}

/** Cells of a table's row; `|` in code or behind a backslash divides nothing. */
export function cellsOf(row: string): number {
  const plain = row
    .trim()
    .replace(/\\\|/g, '  ')
    .replace(/`[^`]*`/g, 'code');
  return plain.replace(/^\|/, '').replace(/\|$/, '').split('|').length;
}

/** As GitHub makes them of headings. */
export function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const { text: line } of prose(text)) {
    const heading = /^#{1,6} +(.*?)\s*#*$/.exec(line)?.[1];
    if (heading === undefined) continue;
    const words = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const anchor = words.replace(/[^\p{L}\p{N} _-]/gu, '').replace(/ /g, '-');
    let unique = anchor;
    for (let count = 1; anchors.has(unique); count++) unique = `${anchor}-${count}`;
    anchors.add(unique);
  }
  return anchors;
}

export const MARKDOWN_RULES: readonly Rule[] = [
  {
    name: 'has one title, in its first line of prose',
    applies: isMarkdown,
    check: (text) => {
      const lines = prose(text);
      const titles = lines.filter(({ text: line }) => /^# /.test(line));
      if (titles.length !== 1) return [`1: ${titles.length} titles (# …), must be one`];
      const first = lines.find(({ text: line }) => line.trim() !== '');
      return first === titles[0] ? [] : [`${titles[0]?.number}: the title comes first`];
    },
    good: { path: 'a.md', text: '# A\n\n```sh\n# not a title\n```\n' },
    bad: { path: 'a.md', text: '# A\n\n# B\n' },
  },
  {
    name: 'has as many cells in each row as in the head of the table',
    applies: isMarkdown,
    check: (text) => {
      let head: number | undefined;
      return prose(text).flatMap(({ number, text: line }) => {
        if (!/^\s*\|/.test(line)) {
          head = undefined;
          return [];
        }
        const cells = cellsOf(line);
        head ??= cells;
        return cells === head ? [] : [`${number}: ${cells} cells, the head has ${head}`];
      });
    },
    good: { path: 'a.md', text: '# A\n| a | b |\n|---|---|\n| `x|y` | c \\| d |\n' },
    bad: { path: 'a.md', text: '# A\n| a | b |\n|---|---|\n| c |\n' },
  },
];

/** Messages on links to files or headings of the project that are not there. */
export function linkFaults(
  path: string,
  text: string,
  files: ReadonlyMap<string, string>,
  exists: (path: string) => boolean,
): string[] {
  return prose(text).flatMap(({ number, text: line }) => {
    const plain = line.replace(/`[^`]*`/g, '');
    const targets = [...plain.matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g)].map(
      (m) => m[1] ?? '',
    );
    return targets.flatMap((target) => {
      if (/^[a-z][a-z+.-]*:/i.test(target)) return [];
      const [file, anchor] = target.split('#');
      const to = file ? join(dirname(path), decodeURIComponent(file)) : path;
      const folder = [...files.keys()].some((name) => name.startsWith(`${to.replace(/\/$/, '')}/`));
      if (!files.has(to) && !folder && !exists(to)) return [`${path}:${number}: there is no ${to}`];
      const linked = files.get(to);
      if (!anchor || !to.endsWith('.md') || linked === undefined) return [];
      const known = anchorsOf(to === path ? text : linked);
      return known.has(anchor) ? [] : [`${path}:${number}: ${to} has no heading #${anchor}`];
    });
  });
}
