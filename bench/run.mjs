/**
 * Runs a benchmark: `node bench/run.mjs NAME [--json] [--rounds N] [--only WORD] [--strict]` builds
 * what is out of date, bundles bench/NAME.ts and runs it in a process of its own.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleScripts } from '../tools/bundle.mjs';

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
const names = readdirSync('bench')
  .filter((file) => file.endsWith('.ts') && file !== 'harness.ts')
  .map((file) => file.slice(0, -'.ts'.length));
const [name, ...options] = process.argv.slice(2);

if (name === undefined || !names.includes(name)) {
  if (name !== undefined) console.error(`There is no benchmark ${name}.`);
  console.error('Usage: npm run bench -- NAME [--json] [--rounds N] [--only WORD] [--strict]');
  console.error(`Benchmarks: ${names.join(', ') || 'none yet'}`);
  process.exit(2);
}

/** @param {string[]} arguments_ @param {'inherit' | 2} stdout */
function node(arguments_, stdout) {
  const { status, error } = spawnSync(process.execPath, arguments_, {
    stdio: ['ignore', stdout, 'inherit'],
  });
  if (error) throw error;
  return status ?? 1;
}

const built = node(['build.mjs', '--quiet'], 2);
if (built !== 0) process.exit(built);
await bundleScripts([`bench/${name}.ts`], 'dist/bench', [], 'bench-');
const flags = ['--expose-gc', '--enable-source-maps'];
process.exitCode = node([...flags, `dist/bench/bench-${name}.js`, ...options], 'inherit');
