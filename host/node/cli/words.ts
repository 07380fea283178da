/** How the program speaks: lines, numbers, failures. Lines are at most 80 columns wide. */
import { AioError } from '../index.ts';
import { DataDirectoryError } from '../verify/pgdata.ts';

export const EXIT_CLEAN = 0;
export const EXIT_DAMAGED = 1;
export const EXIT_FAILED = 2;
/** Shells add the signal's number to this. */
const EXIT_SIGNAL = 128;
const SIGNALS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;

export const COLUMNS = 80;
export const MB = 1e6;

/** A request that cannot be carried out: the message is all there is to say. */
export class Refusal extends Error {}

/** One line on standard error. */
export function complain(words: string): void {
  console.error(`pgaio: ${words.trim().replaceAll(/\s*\n\s*/g, ' ')}`);
}

export function say(line = ''): void {
  process.stdout.write(`${line}\n`);
}

/** Says a text, broken at blanks where it is wider than a terminal. */
export function sayWrapped(text: string, { first = '', rest = '' } = {}): void {
  let line = first;
  let empty = true;
  for (const word of text.split(' ')) {
    if (!empty && line.length + 1 + word.length > COLUMNS) {
      say(line);
      line = rest;
      empty = true;
    }
    line += empty ? word : ` ${word}`;
    empty = false;
  }
  say(line);
}

const NAME_COLUMNS = 12;
/** A fact in a table of two columns. */
export function sayFact(name: string, value: string): void {
  sayWrapped(value, { first: `${name} `.padEnd(NAME_COLUMNS), rest: ' '.repeat(NAME_COLUMNS) });
}

export function counted(number: number, one: string, several = `${one}s`): string {
  return `${digits(number)} ${number === 1 ? one : several}`;
}
export function digits(number: number): string {
  return String(Math.round(number)).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}
export function megabytes(bytes: number): string {
  const size = bytes / MB;
  return size < 10 ? size.toFixed(1) : digits(size);
}
export function perSecond(amount: number, seconds: number): number {
  return seconds > 0 ? amount / seconds : 0;
}
export function hex(number: number, width = 0): string {
  return number.toString(16).toUpperCase().padStart(width, '0');
}

/** A failure in one line. */
export function explain(error: unknown, verbose: boolean): void {
  if (error instanceof Refusal || error instanceof DataDirectoryError) complain(error.message);
  else if (error instanceof AioError) {
    const { message, detail, hint } = error;
    complain([message, detail, hint].filter((words) => words !== undefined).join('; '));
  } else {
    complain(`failed: ${error instanceof Error ? error.message : String(error)}`);
    if (verbose && error instanceof Error) console.error(error.stack);
  }
}

/**
 * Runs a command that can be interrupted, and sets the exit status: what it answers, 2 if it throws
 * what is then explained, 128 and the signal's number if one came.
 */
export async function runCommand(
  work: (signal: AbortSignal) => Promise<number>,
  { verbose = false } = {},
): Promise<void> {
  const stop = new AbortController();
  let signalled = 0;
  const handlers = Object.entries(SIGNALS).map(([name, number]) => {
    const handler = (): void => {
      signalled = EXIT_SIGNAL + number;
      stop.abort();
    };
    process.once(name, handler); // a second one ends the process as usual
    return [name, handler] as const;
  });
  try {
    const status = await work(stop.signal);
    process.exitCode = stop.signal.aborted ? signalled : status;
  } catch (error) {
    if (stop.signal.aborted) process.exitCode = signalled;
    else {
      explain(error, verbose);
      process.exitCode = EXIT_FAILED;
    }
  } finally {
    for (const [name, handler] of handlers) process.removeListener(name, handler);
  }
}

/** Whoever reads the output may have gone; the exit status says it all the same. */
export function surviveClosedPipes(): void {
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return;
    complain(`could not write the result: ${error.message}`);
    process.exitCode = EXIT_FAILED;
  });
}
