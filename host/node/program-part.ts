/**
 * Parts of the program: files that the build has bundled, and run once to keep what V8 compiled of
 * them. A start that has that at hand takes a fifth less time; without it, or where V8 will not
 * have it (another version, other flags), the part is compiled as any module is.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Script, type ScriptOptions } from 'node:vm';

/** Hashes of the parts' text, by name; the build puts them here. */
declare const PARTS: Readonly<Record<string, string>>;

/** What the part NAME exports. */
export function loadPart(name: string): unknown {
  const file = fileURLToPath(new URL(`./${name}.cjs`, import.meta.url));
  const text = readFileSync(file, 'latin1'); // esbuild writes ASCII
  const script = new Script(`(function (exports, require, module, __filename) {${text}\n})`, {
    filename: file,
    ...keptCode(`${name}-${PARTS[name]}`),
  });
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(file), module, file);
  return module.exports;
}

/** V8 looks itself whether it can use it. */
function keptCode(stem: string): ScriptOptions {
  const name = `${stem}-${process.versions.v8}-${process.arch}.code`;
  try {
    return { cachedData: readFileSync(new URL(`./${name}`, import.meta.url)) };
  } catch {
    return {};
  }
}
