/** fio, where it is installed: what the device gives to a program that does nothing else. */
import { spawnSync } from 'node:child_process';
import type { Unavailable } from '../harness.ts';

/** Of each of its jobs. */
export interface FioJob {
  readonly read: { readonly iops: number /** ms */; readonly runtime: number };
}

export const NO_FIO: Unavailable = { unavailable: 'there is no fio (apt-get install fio)' };
export function hasFio(): boolean {
  return spawnSync('fio', ['--version']).status === 0;
}

/** Runs jobs given by fio's options. */
export function fio(options: readonly string[]): readonly FioJob[] {
  const words = ['--readonly', '--output-format=json', ...options];
  const { status, stdout, stderr } = spawnSync('fio', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`fio ended with ${status}: ${stderr.slice(-300)}`);
  return (JSON.parse(stdout.slice(stdout.indexOf('{'))) as { jobs: FioJob[] }).jobs;
}
