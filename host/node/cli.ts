#!/usr/bin/env node
/**
 * Program `pgaio`. Here is only what cannot wait: `verify` starts the threads of its jobs before
 * anything else is loaded, since they take as long to start as all the rest. The commands are in
 * cli/; what is on standard output is the result, and the exit status tells the outcome even when
 * nobody reads it.
 */
import { availableParallelism } from 'node:os';
import { loadPart } from './program-part.ts';
import { JobThreads } from './verify/threads.ts';

/** Each takes 13 MB, and the speed of the machine's memory soon is the limit. */
const JOBS_DEFAULT_MAX = 6;
const JOBS_MAX = 64;

/** What an option is given, as far as that can be seen without knowing all options. */
function argumentOf(words: readonly string[], option: RegExp): string | undefined {
  const at = words.findIndex((word) => option.test(word));
  const word = words[at] ?? '';
  if (word.includes('=')) return word.slice(word.indexOf('=') + 1);
  return /^-[^-]./.test(word) ? word.slice(2) : words[at + 1];
}

/** With method worker the I/O workers also verify: one job keeps them busy. */
function jobsOf(words: readonly string[]): number {
  if (words[0] !== 'verify' || words.some((word) => /^(?:-h|--help)$/.test(word))) return 1;
  if (words.some((word) => JOBS.test(word))) {
    const jobs = Number(argumentOf(words, JOBS));
    return Number.isInteger(jobs) && jobs >= 1 && jobs <= JOBS_MAX ? jobs : 1;
  }
  const method = words.some((word) => METHOD.test(word)) ? argumentOf(words, METHOD) : undefined;
  return method === 'worker' ? 1 : Math.min(availableParallelism(), JOBS_DEFAULT_MAX);
}
const JOBS = /^-j|^--jobs(?:=|$)/;
const METHOD = /^--io-method(?:=|$)/;

const words = process.argv.slice(2);
const threads = new JobThreads(jobsOf(words) - 1);
const { main } = loadPart('program') as typeof import('./cli/program.ts');
void main(words, threads);
