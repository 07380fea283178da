/**
 * Compiles the shim. It uses no C library, so that one binary serves glibc and musl, and
 * the binary is looked at: what it asks of others may be Node-API and libuv, nothing else.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { filesBelow } from './stamps.mjs';

const run = promisify(execFile);

const FLAGS = [
  ...['-std=c11', '-O2', '-shared', '-fPIC', '-fvisibility=hidden'],
  ...['-Wall', '-Wextra', '-Werror'],
  // No C library, and no calls to one that the compiler would make up.
  ...['-ffreestanding', '-fno-builtin', '-nostdlib', '-fno-stack-protector'],
  ...['-fno-tree-loop-distribute-patterns', '-s', '-Wl,--build-id=none', '-Wl,-z,relro,-z,now'],
];
const ARM_FLAGS = ['-mno-outline-atomics']; // they would come from libgcc

/**
 * @param {string} compiler @param {string} path of the binary
 * @returns {Promise<string>} what became of it
 */
export async function compileShim(compiler, path) {
  const found = await firstThatRuns([compiler, ...(isNative(compiler) ? ['gcc', 'cc'] : [])]);
  if (found === undefined) {
    rmSync(path, { force: true });
    return `left out, there is no ${compiler}`;
  }
  mkdirSync(dirname(path), { recursive: true });
  const { include_dir: headers } = createRequire(import.meta.url)('node-api-headers');
  const temporary = `${path}.${process.pid}`;
  const flags = compiler.startsWith('aarch64') ? [...FLAGS, ...ARM_FLAGS] : FLAGS;
  await run(found, [...flags, `-I${headers}`, '-o', temporary, ...filesBelow('host/shim', '.c')]);
  const foreign = foreignSymbols(readFileSync(temporary));
  if (foreign.length > 0) {
    rmSync(temporary);
    throw new Error(`${path} would need ${foreign.join(', ')} of a library`);
  }
  renameSync(temporary, path);
  return `compiled with ${found}`;
}

/** @param {string} compiler */
function isNative(compiler) {
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[/** @type {'x64'} */ (process.arch)];
  return process.platform === 'linux' && machine !== undefined && compiler.startsWith(machine);
}

/** @param {string[]} compilers */
async function firstThatRuns(compilers) {
  for (const compiler of compilers) {
    try {
      await run(compiler, ['--version']);
      return compiler;
    } catch {
      // The next may be there.
    }
  }
  return undefined;
}

const SECTION_DYNSYM = 11;
const SYMBOL_BYTES = 24;

/**
 * Names of undefined symbols of a 64-bit little-endian ELF file that neither Node-API nor libuv
 * supplies.
 * @param {Buffer} elf
 */
function foreignSymbols(elf) {
  const sections = Number(elf.readBigUInt64LE(40));
  const size = elf.readUInt16LE(58);
  /** @param {number} index */
  const section = (index) => {
    const at = sections + index * size;
    return {
      type: elf.readUInt32LE(at + 4),
      offset: Number(elf.readBigUInt64LE(at + 24)),
      bytes: Number(elf.readBigUInt64LE(at + 32)),
      link: elf.readUInt32LE(at + 40),
    };
  };
  const all = Array.from({ length: elf.readUInt16LE(60) }, (_, index) => section(index));
  const table = all.find(({ type }) => type === SECTION_DYNSYM);
  if (table === undefined) return ['a table of dynamic symbols'];
  const names = all[table.link];
  const foreign = [];
  for (let at = table.offset + SYMBOL_BYTES; at < table.offset + table.bytes; at += SYMBOL_BYTES) {
    if (elf.readUInt16LE(at + 6) !== 0) continue; // it is defined here
    const from = (names?.offset ?? 0) + elf.readUInt32LE(at);
    const name = elf.toString('latin1', from, elf.indexOf(0, from));
    if (!/^(napi|uv)_/.test(name)) foreign.push(name);
  }
  return foreign;
}
