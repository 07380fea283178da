/** `pgaio page`: one page of a relation's file: header, line pointers, checksum, bytes. */
import { existsSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import type { PageVerdict } from '../index.ts';
import { type Geometry, readOnePage } from '../verify/one-page.ts';
import { lsnOfPage, sizeWordOfPage } from '../verify/page-bytes.ts';
import { type DataDirectory, openDataDirectory, parseRelationFileName } from '../verify/pgdata.ts';
import { lsnText } from '../verify/situation.ts';
import {
  counted,
  EXIT_CLEAN,
  EXIT_DAMAGED,
  hex,
  Refusal,
  runCommand,
  say,
  sayFact,
  sayWrapped,
} from './words.ts';

export interface PageFlags {
  readonly blockSize?: number;
  readonly segment?: number;
  readonly hex: boolean;
}

const BLOCK_SIZE = 8192;
const SEGMENT_BLOCKS = 131072;
const HEADER_BYTES = 24;
const POINTER_BYTES = 4;
const POINTER_STATES = ['unused', 'normal', 'redirect', 'dead'] as const;
const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [1, 'HAS_FREE_LINES'],
  [2, 'PAGE_FULL'],
  [4, 'ALL_VISIBLE'],
];
const FLAGS_KNOWN = 7;
const HEX_BYTES = 16;

async function clusterAbove(path: string): Promise<DataDirectory | undefined> {
  for (let at = dirname(path); dirname(at) !== at; at = dirname(at)) {
    if (existsSync(`${at}/PG_VERSION`) && existsSync(`${at}/global/pg_control`)) {
      return openDataDirectory(at);
    }
  }
  return undefined;
}

async function geometryOf(path: string, flags: PageFlags): Promise<Geometry> {
  const control = (await clusterAbove(path))?.control;
  const name = parseRelationFileName(basename(path), 1);
  return {
    blockSize: flags.blockSize ?? control?.blockSize ?? BLOCK_SIZE,
    segmentBlocks: control?.segmentBlocks ?? SEGMENT_BLOCKS,
    segment: flags.segment ?? name?.segment ?? 0,
    checksums: control === undefined || control.dataChecksumVersion !== 0,
    known: control !== undefined,
  };
}

function verdictText({ valid, isNew, headerBad, checksumFailed, garbage }: PageVerdict): string {
  if (valid) return isNew ? 'new: all zero, never used' : 'valid';
  const faults: string[] = [];
  if (headerBad) faults.push('header makes no sense');
  if (checksumFailed) faults.push('checksum failed');
  if (garbage) faults.push('pd_upper says it was never used, and yet it is not zero');
  return `damaged: ${faults.join('; ')}`;
}

function flagsText(flags: number): string {
  const names = FLAG_NAMES.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name);
  const unknown = flags & ~FLAGS_KNOWN;
  if (unknown !== 0) names.push(`unknown ${hex(unknown, 4)}`);
  return names.length === 0 ? '0' : `${flags}: ${names.join(' ')}`;
}

function sayHeader(bytes: Uint8Array, verdict: PageVerdict): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u16 = (at: number): number => view.getUint16(at, true);
  const size = sizeWordOfPage(bytes);
  const { calculated, stored } = verdict;
  const should = calculated === 0 ? ', none calculated' : `, calculated ${hex(calculated)}`;
  sayFact('verdict', verdictText(verdict));
  sayFact('checksum', `stored ${hex(stored)} (${stored})${should} (${calculated})`);
  sayFact('lsn', lsnText(lsnOfPage(bytes)));
  sayFact('flags', flagsText(u16(10)));
  sayFact('lower', `${u16(12)}`);
  sayFact('upper', `${u16(14)}, free between: ${Math.max(0, u16(14) - u16(12))} bytes`);
  sayFact('special', `${u16(16)}, of ${Math.max(0, bytes.length - u16(16))} bytes`);
  sayFact('size', `${size & 0xff00}, layout version ${size & 0xff}`);
  sayFact('prune xid', `${view.getUint32(20, true)}`);
}

function sayPointers(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const lower = Math.min(view.getUint16(12, true), bytes.length);
  const count = Math.max(0, Math.floor((lower - HEADER_BYTES) / POINTER_BYTES));
  if (count === 0) return;
  say(`\nLine pointers (${count}): offset, length`);
  for (let item = 1; item <= count; item++) {
    const word = view.getUint32(HEADER_BYTES + (item - 1) * POINTER_BYTES, true);
    const state = POINTER_STATES[(word >>> 15) & 3] ?? 'unused';
    const [offset, length] = [word & 0x7fff, word >>> 17];
    const text = state === 'redirect' ? `redirect to ${offset}` : `${state} ${offset} ${length}`;
    const beyond = state === 'normal' && offset + length > bytes.length ? '  beyond the page' : '';
    say(`${String(item).padStart(5)}  ${text}${beyond}`);
  }
}

/** Sixteen bytes a line; lines like the one above are left out. */
function sayHex(bytes: Uint8Array): void {
  say('\nBytes');
  let before = '';
  let hidden = false;
  for (let at = 0; at < bytes.length; at += HEX_BYTES) {
    const row = bytes.subarray(at, at + HEX_BYTES);
    const text = Array.from(row, (byte) => hex(byte, 2).toLowerCase()).join(' ');
    if (text === before && at + HEX_BYTES < bytes.length) {
      if (!hidden) say('*');
      hidden = true;
      continue;
    }
    before = text;
    hidden = false;
    const letters = Array.from(row, (byte) =>
      byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.',
    );
    say(`${hex(at, 4).toLowerCase()}  ${text}  ${letters.join('')}`);
  }
}

export async function runPage(file: string, block: number, flags: PageFlags): Promise<void> {
  await runCommand(async () => {
    const path = resolve(file);
    const geometry = await geometryOf(path, flags);
    const { bytes, verdict, blocks } = await readOnePage(path, block, geometry);
    if (block >= blocks) {
      throw new Refusal(`${path}: no block ${block}; it has ${counted(blocks, 'block')}`);
    }
    if (verdict === undefined) throw new Refusal(`${path}: block ${block} could not be read`);
    const { blockSize, segment, segmentBlocks, known, checksums } = geometry;
    sayFact('file', path);
    const inFork = segment * segmentBlocks + block;
    const place = `${block} of ${blocks}, block ${inFork} of the relation fork`;
    sayFact('block', `${place}, offset ${block * blockSize}`);
    if (!known) {
      sayWrapped(`No data directory is around it: taken for blocks of ${blockSize} bytes.`);
    } else if (!checksums) sayWrapped('The cluster has no data checksums.');
    sayHeader(bytes, verdict);
    sayPointers(bytes);
    if (flags.hex) sayHex(bytes);
    return verdict.valid ? EXIT_CLEAN : EXIT_DAMAGED;
  });
}
