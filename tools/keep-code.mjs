/**
 * Preloaded into the program (and its threads) by the build: writes what V8 has compiled of each
 * part by the end, functions that ran included, to the folder KEEP_CODE.
 */
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import process from 'node:process';
import vm from 'node:vm';

const { Script } = vm;
const folder = process.env.KEEP_CODE ?? '.';
vm.Script = class extends Script {
  /** @param {string} text @param {import('node:vm').ScriptOptions} options */
  constructor(text, options) {
    super(text, options);
    const path = join(folder, `${basename(options.filename ?? '', '.cjs')}.code`);
    process.on('exit', () => writeFileSync(path, this.createCachedData()));
  }
};
