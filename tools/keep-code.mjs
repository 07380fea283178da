/**
 * Preloaded into the program and its thread by the build: writes what V8 has compiled of each part
 * by the end, functions that ran included, to the folder KEEP_CODE.
 */
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import process from 'node:process';
import vm from 'node:vm';
import { parentPort } from 'node:worker_threads';

const { Script } = vm;
const folder = process.env.KEEP_CODE ?? '.';
vm.Script = class extends Script {
  /** @param {string} text @param {import('node:vm').ScriptOptions} options */
  constructor(text, options) {
    super(text, options);
    const path = join(folder, `${basename(options.filename ?? '', '.cjs')}.code`);
    atTheEnd(() => writeFileSync(path, this.createCachedData()));
  }
};

/** A job says that it has ended, and may be terminated from then on. @param {() => void} keep */
function atTheEnd(keep) {
  if (parentPort === null) {
    process.on('exit', keep);
    return;
  }
  const post = parentPort.postMessage.bind(parentPort);
  parentPort.postMessage = (message, ...rest) => {
    if (message.ended) keep();
    post(message, ...rest);
  };
}
