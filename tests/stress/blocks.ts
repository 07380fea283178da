/** The files of the stress programs: each block says which one it is, down to its last byte. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';

export const BLOCK = 8192;
export const FILES = 64;
export const BLOCKS_PER_FILE = 16;
const WORDS = BLOCK / 4;

export const pathOf = (folder: string, file: number): string => `${folder}/${file}`;

/** Whether the file is opened past the page cache, where that can be. */
export const isDirect = (file: number): boolean => file % 2 === 1;

/** First word and step of a block's words: every version of every block has its own. */
function seedOf(file: number, block: number, version: number): { first: number; step: number } {
  const mixed =
    Math.imul(file * 4099 + block * 131 + 7, 0x9e3779b1) ^ Math.imul(version + 1, 0x85ebca6b);
  return { first: mixed | 0, step: (Math.imul(mixed, 0xc2b2ae35) | 1) >>> 0 };
}

/** Fills a block of memory. */
export function fillBlock(bytes: Uint8Array, file: number, block: number, version: number): void {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, WORDS);
  const { first, step } = seedOf(file, block, version);
  for (let i = 0, word = first; i < WORDS; i++, word = (word + step) | 0) words[i] = word;
  words[0] = file;
  words[1] = block;
  words[2] = version;
}

/** What is wrong with a block of memory; undefined if nothing is. */
export function faultOf(
  bytes: Uint8Array,
  file: number,
  block: number,
  version: number,
): string | undefined {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, WORDS);
  const { first, step } = seedOf(file, block, version);
  const expected = (i: number): number =>
    [file, block, version][i] ?? (first + Math.imul(i, step)) | 0;
  for (let i = 0; i < WORDS; i++) {
    if (words[i] === expected(i)) continue;
    const [f, b, v] = words;
    return (
      `block ${block} of file ${file}, version ${version}: byte ${4 * i} is wrong; ` +
      `the block says it is block ${b} of file ${f}, version ${v}`
    );
  }
  return undefined;
}

/** Version 0 of everything. */
export function makeFiles(folder: string): void {
  const bytes = new Uint8Array(BLOCK);
  for (let file = 0; file < FILES; file++) {
    const fd = openSync(pathOf(folder, file), 'w');
    for (let block = 0; block < BLOCKS_PER_FILE; block++) {
      fillBlock(bytes, file, block, 0);
      writeSync(fd, bytes);
    }
    closeSync(fd);
  }
}

/** Reads everything past the engine. `versionOf` says which version each block must have. */
export function checkFiles(
  folder: string,
  versionOf: (file: number, block: number) => number,
): string[] {
  const faults: string[] = [];
  const bytes = new Uint8Array(BLOCK);
  for (let file = 0; file < FILES; file++) {
    const fd = openSync(pathOf(folder, file), 'r');
    for (let block = 0; block < BLOCKS_PER_FILE; block++) {
      readSync(fd, bytes, 0, BLOCK, block * BLOCK);
      const fault = faultOf(bytes, file, block, versionOf(file, block));
      if (fault !== undefined) faults.push(`on disk: ${fault}`);
    }
    closeSync(fd);
  }
  return faults;
}
