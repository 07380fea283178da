/**
 * The entries of one directory in order: by number, so that a relation's files are neighbours, its
 * segments in order, and then the rest.
 *
 * A million of them are held in little memory. The name of a file such as `16384_fsm.2` is a number
 * of 53 bits, in that order; beyond so many numbers the directory is read again for those that come
 * later. Only names of another form, and what is not a file, are kept as they are.
 */
import { type Dirent, opendirSync } from 'node:fs';

/** An entry of a directory. */
export interface DirectoryEntry {
  readonly name: string;
  readonly kind: 'file' | 'directory' | 'link' | 'other';
}

//  52            21 20  19 18         0
// ├────────────────┼──────┼────────────┤  a plain name, such as 16384_fsm.2, exact in a float64.
// │ relation : 32  │ fork │ segment:19 │  Sorting keys sorts the names.
// └────────────────┴──────┴────────────┘
const SEGMENTS = 2 ** 19;
const FORK_UNIT = SEGMENTS;
const RELATION_UNIT = SEGMENTS * 4;
const RELATIONS = 2 ** 32;
/** In the order in which their names are. */
const FORK_WORDS = ['', '_fsm', '_init', '_vm'] as const;
const PLAIN_NAME = /^([1-9]\d{0,9})(_fsm|_init|_vm)?(?:\.([1-9]\d{0,5}))?$/;

/** Keys held at once: 8 MB. */
const KEYS_MAX = 1 << 20;
const KEYS_FIRST = 1 << 10;
/** Names read from a directory at once. */
const NAMES_AT_ONCE = 64;

/** An entry that has no key, in parts by which it is sorted. */
interface OtherEntry extends DirectoryEntry {
  /** Infinity for a name without one. */
  readonly number: number;
  /** What is between number and dot, with what is before the number. */
  readonly rest: string;
  readonly segment: number;
}

function kindOf(entry: Dirent): DirectoryEntry['kind'] {
  if (entry.isFile()) return 'file';
  if (entry.isDirectory()) return 'directory';
  return entry.isSymbolicLink() ? 'link' : 'other';
}

function keyOf(name: string): number | undefined {
  const match = PLAIN_NAME.exec(name);
  if (match === null) return undefined;
  const relation = Number(match[1]);
  const segment = Number(match[3] ?? 0);
  if (relation >= RELATIONS || segment >= SEGMENTS) return undefined;
  const fork = FORK_WORDS.findIndex((word) => word === (match[2] ?? ''));
  return relation * RELATION_UNIT + fork * FORK_UNIT + segment;
}
function partsOf(key: number): Omit<OtherEntry, keyof DirectoryEntry> {
  const number = Math.floor(key / RELATION_UNIT);
  const below = key % RELATION_UNIT;
  const rest = FORK_WORDS[Math.floor(below / FORK_UNIT)] ?? '';
  return { number, rest, segment: below % FORK_UNIT };
}
/** toFixed: V8 keeps the last thousands of numbers that `${number}` made words of, and they age. */
function nameOf(key: number): string {
  const { number, rest, segment } = partsOf(key);
  const file = `${number.toFixed(0)}${rest}`;
  return segment === 0 ? file : `${file}.${segment}`;
}

function otherOf(name: string, kind: DirectoryEntry['kind']): OtherEntry {
  const [, before = '', number, after = '', segment = '0'] =
    /^(t\d+_)?(\d+)([^.]*)\.?(\d*)$/.exec(name) ?? [];
  if (number === undefined) return { name, kind, number: Infinity, rest: name, segment: 0 };
  const rest = before + after;
  return { name, kind, number: Number(number), rest, segment: Number(segment) };
}
type Parts = Pick<OtherEntry, 'number' | 'rest' | 'segment'>;
function byParts(a: Parts, b: Parts): number {
  if (a.number !== b.number) return a.number < b.number ? -1 : 1;
  if (a.rest !== b.rest) return a.rest < b.rest ? -1 : 1;
  return a.segment - b.segment;
}

/** A directory as read once: the lowest keys above some, sorted, and whatever has none. */
interface Reading {
  readonly keys: Float64Array;
  readonly others: OtherEntry[];
  /** Whether there are keys above. */
  readonly more: boolean;
}

/** `above`: the key after which to begin; the others are collected by the first reading only. */
function readNames(path: string, above: number, keysMax: number): Reading {
  let keys = new Float64Array(Math.min(KEYS_FIRST, keysMax));
  let count = 0;
  let limit = Infinity; // keys above find no room
  const others: OtherEntry[] = [];
  const directory = opendirSync(path, { bufferSize: NAMES_AT_ONCE });
  try {
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
      const kind = kindOf(entry);
      const key = kind === 'file' ? keyOf(entry.name) : undefined;
      if (key === undefined) {
        if (above < 0) others.push(otherOf(entry.name, kind));
        continue;
      }
      if (key <= above || key > limit) continue;
      if (count === keysMax) {
        keys.sort();
        count = keysMax >>> 1;
        limit = keys[count - 1] ?? limit;
        if (key > limit) continue;
      }
      if (count === keys.length) keys = longer(keys, keysMax);
      keys[count++] = key;
    }
  } finally {
    directory.closeSync();
  }
  return { keys: keys.subarray(0, count).sort(), others, more: limit !== Infinity };
}
function longer(keys: Float64Array, most: number): Float64Array<ArrayBuffer> {
  const twice = new Float64Array(Math.min(most, keys.length * 2));
  twice.set(keys);
  return twice;
}

/**
 * Entries by number, then by what is between number and dot, then by segment; then the rest. Those
 * that come or go meanwhile are among them or are not.
 * @param keysMax names held at once, at least 2
 * @throws the system's error, for a directory that cannot be read
 */
export function* entriesInOrder(
  path: string,
  keysMax: number = KEYS_MAX,
): Generator<DirectoryEntry, void, undefined> {
  let above = -1;
  let others: readonly OtherEntry[] = [];
  let at = 0;
  for (let more = true; more; ) {
    const reading = readNames(path, above, keysMax);
    if (above < 0) others = reading.others.sort(byParts);
    for (const key of reading.keys) {
      for (let other = others[at]; other !== undefined; other = others[at]) {
        if (byParts(other, partsOf(key)) > 0) break;
        yield other;
        at++;
      }
      yield { name: nameOf(key), kind: 'file' };
    }
    above = reading.keys.at(-1) ?? above;
    more = reading.more;
  }
  yield* others.slice(at);
}
