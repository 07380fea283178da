/**
 * Finds the comment that explains a declaration: the one at the end of its line, with the lines
 * below that go on in the same column, or else the one right above it.
 */

/** @param {string} text of the file @param {number} at where the declared name begins */
export function commentOf(text, at) {
  const start = text.lastIndexOf('\n', at) + 1;
  const lines = text.slice(start).split('\n', 20);
  return trailingComment(lines) || commentAbove(text.slice(0, start));
}

/** Column of a `//` that is not part of `://`, or -1. @param {string} line */
function commentColumn(line) {
  return line.search(/(?<![:'"])\/\//);
}

/** @param {string[]} lines the declaration's line first */
function trailingComment(lines) {
  const column = commentColumn(lines[0] ?? '');
  if (column < 0) return '';
  const parts = [];
  for (const [index, line] of lines.entries()) {
    if (index > 0 && !goesOn(line, column)) break;
    parts.push(line.slice(commentColumn(line) + 2).trim());
  }
  return oneLine(parts);
}

/** A comment alone on its line, in the column or with its text pushed out. */
function goesOn(/** @type {string} */ line, /** @type {number} */ column) {
  const own = commentColumn(line);
  if (own < 0 || line.slice(0, own).trim() !== '') return false;
  return own === column || /^\/\/ {8,}\S/.test(line.slice(own));
}

/** @param {string} before the file up to the declaration's line */
function commentAbove(before) {
  const block = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*(?:@\w+\s*)*$/.exec(before);
  if (block?.[1] !== undefined && !/\n\s*\n\s*$/.test(before)) {
    return oneLine(block[1].split('\n').map((line) => line.replace(/^\s*\* ?/, '').trim()));
  }
  return '';
}

/** @param {string[]} parts */
function oneLine(parts) {
  return parts.join(' ').replace(/\s+/g, ' ').trim();
}

/**
 * A field's comment begins with its offset: `16  bytes, or -errno`.
 * @param {string} comment
 * @returns {{ offset: number | undefined, doc: string }}
 */
export function splitOffset(comment) {
  const match = /^(\d+)(?:[:.]|\s|$)\s*(.*)$/.exec(comment);
  if (!match) return { offset: undefined, doc: comment };
  return { offset: Number(match[1]), doc: match[2] ?? '' };
}
