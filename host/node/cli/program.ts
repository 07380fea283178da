/**
 * The commands of `pgaio` and their options. `verify` is here from the start, since its users wait
 * for it; the modules of the others are loaded when they run.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import manifest from '../../../package.json' with { type: 'json' };
import type { JobThreads } from '../verify/threads.ts';
import type { BenchFlags } from './bench.ts';
import type { DemoFlags } from './demo.ts';
import type { InspectFlags } from './inspect.ts';
import type { PageFlags } from './page.ts';
import { IO_METHODS, runVerify, type VerifyFlags } from './verify.ts';
import { complain, EXIT_CLEAN, EXIT_FAILED, surviveClosedPipes } from './words.ts';

const VERIFY_HELP = `
DIR is a data directory, a base backup or an unpacked archive of one, a PGlite
directory, or a path below one: a database's directory, the file of a relation.

Examples:
  pgaio verify /var/lib/postgresql/18/main
  pgaio verify --online --max-rate 200 /var/lib/postgresql/18/main
  pgaio verify --json /backup/base | jq 'select(.type == "finding")'
  pgaio verify /var/lib/postgresql/18/main/base/5/16384

Exit status:
  0    every page is valid
  1    something is damaged
  2    the job could not be done, or not all of it
  130  interrupted (Ctrl-C); 128 and the number of another signal

docs/verify.md explains the verdicts, --online and the members of --json.
`;
const BENCH_HELP = `
Examples:
  pgaio bench /var/lib/postgresql/18/main
  pgaio bench --io-method worker --depth 64 --random --direct big.file
`;
const PAGE_HELP = `
BLOCK counts in the file, as pg_checksums does. The block size comes from the
data directory around the file, or is 8192.

Examples:
  pgaio page /var/lib/postgresql/18/main/base/5/16384.1 21
  pgaio page --no-hex --block-size 32768 copy-of-16384 0

Exit status: 0 the page is valid, 1 it is not, 2 it could not be read
`;

/** A whole number within bounds, for commander. */
function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (/^\d+$/.test(text) && number >= least && number <= most) return number;
    throw new InvalidArgumentError(`Expected a whole number from ${least} to ${most}.`);
  };
}
/** The address of a live view: of this machine, and of nothing else. */
function liveUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' && url.hostname === '127.0.0.1' && url.pathname.length > 1) {
    return url.href;
  }
  throw new InvalidArgumentError(
    'Expected what aio.serveInspector() gave: http://127.0.0.1:PORT/open/TOKEN.',
  );
}
function positive(text: string): number {
  const number = Number(text);
  if (text.trim() !== '' && Number.isFinite(number) && number > 0) return number;
  throw new InvalidArgumentError('Expected a number above 0.');
}
function blockSize(text: string): number {
  const number = whole(1024, 32768)(text);
  if ((number & (number - 1)) === 0) return number;
  throw new InvalidArgumentError('Expected a power of two from 1024 to 32768.');
}
/** kB of whole page frames. */
function readSize(text: string): number {
  const number = whole(4, 16384)(text);
  if (number % 4 === 0) return number;
  throw new InvalidArgumentError('Expected a multiple of 4 kB.');
}

const OID_MAX = 4294967295;
const JOBS_MAX = 64;

function ioMethod(otherwise: VerifyFlags['ioMethod']): Option {
  return new Option('--io-method <name>', 'how I/O is executed')
    .choices(IO_METHODS)
    .default(otherwise);
}

/** Options that `verify` and `demo` share. */
function howToRead(command: Command): Command {
  return command
    .option('-j, --jobs <number>', 'threads (default: cores, 6 at most)', whole(1, JOBS_MAX))
    .addOption(ioMethod('sync'))
    .option('--direct', 'read past the page cache (O_DIRECT)')
    .option('--max-rate <MB/s>', 'read no faster than that', positive)
    .option('-v, --verbose', 'name files left alone, and all findings');
}

function addVerify(program: Command, threads: JobThreads): void {
  howToRead(
    program
      .command('verify')
      .description('Verifies all pages of a data directory, and names the damaged ones.')
      .argument('[dir]', 'data directory, or a path below one (default: $PGDATA)'),
  )
    .option('--online', 'a server is running: judge what it may be writing with care')
    .option('-f, --filenode <number>', 'this relation only', whole(1, OID_MAX))
    .option('--database <oid>', 'relations of this database only', whole(0, OID_MAX))
    .option('--headers', 'without data checksums: check page headers alone')
    .option('--json', 'print JSON, an object a line: cluster, findings, summary')
    .option('-P, --progress', 'show progress; without a terminal a line a second')
    .option('--no-progress', 'show none')
    .addHelpText('after', VERIFY_HELP)
    .action((dir: string | undefined, flags: VerifyFlags) => runVerify(dir, flags, threads));
}

function addDemo(program: Command, threads: JobThreads): void {
  howToRead(
    program
      .command('demo')
      .description('Makes a small damaged data directory, verifies it and removes it.'),
  )
    .option('--keep', 'leave the directory there, and say where')
    .action(async (flags: DemoFlags) => {
      const { runDemo } = await import('./demo.ts');
      await runDemo(flags, threads);
    });
}

function addStat(program: Command): void {
  program
    .command('stat')
    .description('Tells what pg_control and the files of a data directory say.')
    .argument('[dir]', 'data directory (default: $PGDATA)')
    .option('--json', 'print one JSON object')
    .action(async (dir: string | undefined, flags: { readonly json?: boolean }) => {
      const { runStat } = await import('./stat.ts');
      await runStat(dir, flags);
    });
}

function addPage(program: Command): void {
  program
    .command('page')
    .description("Shows a page of a relation's file: header, line pointers, checksum, bytes.")
    .argument('<file>', 'file of a relation')
    .argument('<block>', 'block, counted in the file', whole(0, OID_MAX - 1))
    .option('--block-size <bytes>', 'a power of two from 1024 to 32768', blockSize)
    .option(
      '--segment <number>',
      'segment, where the name of the file does not tell',
      whole(0, OID_MAX),
    )
    .option('--no-hex', 'leave the bytes out')
    .addHelpText('after', PAGE_HELP)
    .action(async (file: string, block: number, flags: PageFlags) => {
      const { runPage } = await import('./page.ts');
      await runPage(file, block, flags);
    });
}

function addBench(program: Command): void {
  program
    .command('bench')
    .description('Measures how fast a file, or the files of a directory, can be read.')
    .argument('<path>', 'file, or a directory, of which the 16 largest files are read')
    .addOption(ioMethod('worker'))
    .option('--depth <number>', 'reads in flight', whole(1, 1024), 16)
    .option('--read-size <kB>', 'of one read', readSize, 128)
    .option('--seconds <number>', 'how long', positive, 3)
    .option('--random', 'anywhere in the files, else on through each')
    .option('--seed <number>', 'of the places read at random', whole(1, OID_MAX), 1)
    .option('--direct', 'past the page cache (O_DIRECT)')
    .option('--json', 'print one JSON object')
    .addHelpText('after', BENCH_HELP)
    .action(async (path: string, flags: BenchFlags) => {
      const { runBench } = await import('./bench.ts');
      await runBench(path, flags);
    });
}

function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('Tells how I/O can be executed on this machine, and why not otherwise.')
    .option('--json', 'print one JSON object')
    .action(async (flags: { readonly json?: boolean }) => {
      const { runDoctor } = await import('./doctor.ts');
      await runDoctor(flags);
    });
}

function addInspect(program: Command): void {
  program
    .command('inspect')
    .description('see the engine run, in a browser: its own, or a process that serves its view')
    .argument('[url]', 'what aio.serveInspector() gave; it is good once', liveUrl)
    .option('-p, --port <port>', 'of the page on loopback; 0 takes a free one', whole(0, 65535), 0)
    .option('--no-open', 'only print the address')
    .action(async (url: string | undefined, flags: InspectFlags) => {
      const { runInspect } = await import('./inspect.ts');
      await runInspect(url, flags);
    });
}

export async function main(words: readonly string[], threads: JobThreads): Promise<void> {
  surviveClosedPipes();
  const program = new Command('pgaio');
  program
    .description('Verifies PostgreSQL data directories through an engine for asynchronous I/O.')
    .version(manifest.version)
    .exitOverride()
    .configureOutput({ outputError: (text) => complain(text.replace(/^error: /, '')) });
  addVerify(program, threads);
  addStat(program);
  addPage(program);
  addBench(program);
  addDoctor(program);
  addInspect(program);
  addDemo(program, threads);
  try {
    await program.parseAsync(words, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 ? EXIT_CLEAN : EXIT_FAILED;
  }
}
