/**
 * Builds what is out of date, bundles the stress programs and runs them; see stress.ts for the
 * words: `npm run stress -- [verify|kill] --method worker|sync|io_uring --seconds N --seed S`.
 */
import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleScripts } from '../../tools/bundle.mjs';

process.chdir(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
/** @param {string[]} words */
function node(words) {
  const { status, error } = spawnSync(process.execPath, words, { stdio: 'inherit' });
  if (error) throw error;
  return status ?? 1;
}
const built = node(['build.mjs', '--quiet']);
if (built !== 0) process.exit(built);
const scripts = ['stress', 'stress-thread'].map((name) => `tests/stress/${name}.ts`);
await bundleScripts(scripts, 'dist/stress');
process.exitCode = node([
  '--enable-source-maps',
  'dist/stress/stress.js',
  ...process.argv.slice(2),
]);
