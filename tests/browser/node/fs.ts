/**
 * Of node:fs, what the suites use, over memory. A folder that a WASI has for its root gets each
 * file that is written below it, and is asked for what it has made of them.
 */
import type { WasmerProvider } from '../../../host/browser/wasmer-provider.ts';

interface Opened {
  readonly path: string;
}

const files = new Map<string, Uint8Array>();
/** Several backends may have the same folder, each with a file system of its own. */
const roots = new Map<string, WasmerProvider[]>();
const opened = new Map<number, Opened>();
let nextFd = 3;
let nextFolder = 0;

/** Files below `root` are the provider's as well. */
export function mount(root: string, provider: WasmerProvider): void {
  roots.set(root, [...(roots.get(root) ?? []), provider]);
  for (const [path, bytes] of files) {
    if (path.startsWith(`${root}/`)) provider.put(path.slice(root.length + 1), bytes);
  }
}
function rootOf(path: string): [string, WasmerProvider[]] | undefined {
  return [...roots].find(([root]) => path.startsWith(`${root}/`));
}

class NoEntry extends Error {
  readonly code = 'ENOENT';
}
function bytesAt(path: string): Uint8Array {
  const bytes = files.get(path);
  if (bytes === undefined) throw new NoEntry(`ENOENT: ${path}`);
  return bytes;
}

export function mkdtempSync(prefix: string): string {
  return prefix + nextFolder++;
}
export function writeFileSync(path: string, content: Uint8Array | string): void {
  keep(path, typeof content === 'string' ? new TextEncoder().encode(content) : content.slice());
}
/** Also in the stores of those who have a folder above it. */
function keep(path: string, bytes: Uint8Array): void {
  files.set(path, bytes);
  const root = rootOf(path);
  for (const provider of root?.[1] ?? []) {
    provider.put(path.slice((root?.[0].length ?? 0) + 1), bytes);
  }
}
export function readFileSync(path: string): Uint8Array {
  const root = rootOf(path);
  const [provider] = root?.[1] ?? [];
  if (root === undefined || provider === undefined) return bytesAt(path);
  return provider.bytesOf(path.slice(root[0].length + 1));
}
export function openSync(path: string): number {
  bytesAt(path);
  opened.set(nextFd, { path });
  return nextFd++;
}
export function closeSync(fd: number): void {
  opened.delete(fd);
}
export function rmSync(path: string): void {
  for (const known of files.keys()) if (known.startsWith(path)) files.delete(known);
  roots.delete(path);
}

class BadDescriptor extends Error {
  readonly code = 'EBADF';
}
function pathOf(fd: number): string {
  const file = opened.get(fd);
  if (file === undefined) throw new BadDescriptor(`EBADF: ${fd}`);
  return file.path;
}

export function readvSync(fd: number, views: readonly Uint8Array[], position: number): number {
  const bytes = bytesAt(pathOf(fd));
  let at = position;
  for (const view of views) {
    const piece = bytes.subarray(at, at + view.length);
    view.set(piece);
    at += piece.length;
  }
  return at - position;
}
export function writevSync(fd: number, views: readonly Uint8Array[], position: number): number {
  const path = pathOf(fd);
  const length = views.reduce((sum, view) => sum + view.length, 0);
  const before = bytesAt(path);
  const after = new Uint8Array(Math.max(before.length, position + length));
  after.set(before);
  let at = position;
  for (const view of views) {
    after.set(view, at);
    at += view.length;
  }
  keep(path, after);
  return length;
}

/** Files are memory: nothing to be brought anywhere. */
export function fsyncSync(fd: number): void {
  pathOf(fd);
}
export function existsSync(path: string): boolean {
  return files.has(path);
}
/** Bytes of an open file. */
export function sizeOf(fd: number): number {
  return bytesAt(pathOf(fd)).length;
}
export function ftruncateSync(fd: number, length: number): void {
  const path = pathOf(fd);
  const before = bytesAt(path);
  const after = new Uint8Array(length);
  after.set(before.subarray(0, length));
  keep(path, after);
}
export function unlinkSync(path: string): void {
  bytesAt(path);
  files.delete(path);
}
export function mkdirSync(): void {
  // Folders are parts of names.
}
export function statSync(path: string): { readonly size: number } {
  return { size: bytesAt(path).length };
}
export function writeSync(
  fd: number,
  bytes: Uint8Array,
  offset = 0,
  length = bytes.length - offset,
  position = 0,
): number {
  return writevSync(fd, [bytes.subarray(offset, offset + length)], position);
}
