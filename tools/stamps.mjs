/**
 * Says which build steps are up to date, by the hash of all they read, and lets one build run at a
 * time: several people and programs may start one in the same tree.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const STAMPS = 'dist/.stamps.json';
const LOCK = 'dist/.lock';
const LOCK_POLL_MS = 50;
const LOCK_TIMEOUT_MS = 180_000;

/** Every file below `folder` whose name ends in `ending`, sorted. */
export function filesBelow(/** @type {string} */ folder, ending = '') {
  /** @type {string[]} */
  const found = [];
  /** @param {string} path */
  function visit(path) {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (entry.isDirectory()) visit(`${path}/${entry.name}`);
      else if (entry.isFile() && entry.name.endsWith(ending)) found.push(`${path}/${entry.name}`);
    }
  }
  try {
    visit(folder);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ENOENT') throw error;
  }
  return found.sort();
}

/** Hash of names and contents; a missing file counts as such. @param {string[]} paths */
export function hashFiles(paths) {
  const hash = createHash('sha256');
  for (const path of paths) hash.update(`${path}\n`).update(contentOf(path)).update('\n');
  return hash.digest('hex');
}

/** @param {string} path */
function contentOf(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return 'missing';
    throw error;
  }
}

/** Replaces the file at once, so that nobody reads half of it. */
export function writeFileAtomically(
  /** @type {string} */ path,
  /** @type {string | Uint8Array} */ content,
  mode = 0o644,
) {
  mkdirSync(dirname(path), { recursive: true });
  const draft = join(dirname(path), `.${process.pid}.tmp`);
  writeFileSync(draft, content, { mode });
  renameSync(draft, path);
}

/** @returns {Record<string, string>} hash of step `name` when it last ended well */
export function readStamps() {
  try {
    return JSON.parse(readFileSync(STAMPS, 'utf8'));
  } catch {
    return {}; // none yet, or spoilt: build
  }
}

/** @param {Record<string, string>} stamps */
export function writeStamps(stamps) {
  writeFileAtomically(STAMPS, `${JSON.stringify(stamps, null, 2)}\n`);
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}

/** Waits for other builds, three minutes at most. @returns {Promise<() => void>} ends the lock */
export async function lockBuild() {
  mkdirSync('dist', { recursive: true });
  for (let waited = 0; waited < LOCK_TIMEOUT_MS; waited += LOCK_POLL_MS) {
    try {
      writeFileSync(LOCK, String(process.pid), { flag: 'wx' });
      return () => rmSync(LOCK, { force: true });
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
    }
    const holder = Number(contentOf(LOCK).toString());
    if (holder > 0 && !isAlive(holder)) rmSync(LOCK, { force: true });
    else await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
  }
  throw new Error(`another build holds ${LOCK} for ${LOCK_TIMEOUT_MS / 1000} s; remove it`);
}
