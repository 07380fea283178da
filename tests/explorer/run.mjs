/** Bundles the explorer and runs it: `npm run explore -- [options]`, see main.ts. */
import { spawn } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { BUNDLE_OPTIONS } from '../../tools/bundle.mjs';
import { writeFileAtomically } from '../../tools/stamps.mjs';

process.chdir(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
const { outputFiles } = await build({
  ...BUNDLE_OPTIONS,
  entryPoints: ['tests/explorer/main.ts'],
  splitting: false,
  sourcemap: 'inline',
  sourcesContent: false,
  outfile: 'dist/explorer/main.js',
  logLevel: 'warning',
  write: false,
});
for (const { path, contents } of outputFiles) writeFileAtomically(path, contents);
const child = spawn(
  process.execPath,
  ['--enable-source-maps', 'dist/explorer/main.js', ...process.argv.slice(2)],
  { stdio: 'inherit' },
);
process.on('SIGINT', () => undefined); // the child stops, and says what it did
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
