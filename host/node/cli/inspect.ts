/**
 * `pgaio inspect [URL]`: opens the live view of a process in a browser, or the inspector's page
 * with an engine of its own.
 */
import { spawn } from 'node:child_process';
import { type Command, InvalidArgumentError } from 'commander';
import { servePage } from '../inspector-server.ts';

interface InspectFlags {
  readonly port: number;
  readonly open: boolean;
}
const PORT_MAX = 65535;

function port(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 0 && number <= PORT_MAX) return number;
  throw new InvalidArgumentError(`Expected a port from 0 to ${PORT_MAX}.`);
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

/** What opens an address in the person's browser, by platform. */
const OPENERS: Readonly<Partial<Record<NodeJS.Platform, readonly [string, ...string[]]>>> = {
  darwin: ['open'],
  win32: ['cmd', '/c', 'start', ''],
};

/** Whether there was somebody to open it. */
function openInBrowser(url: string): Promise<boolean> {
  const [command, ...before] = OPENERS[process.platform] ?? ['xdg-open'];
  return new Promise((resolve) => {
    const child = spawn(command, [...before, url], { stdio: 'ignore', detached: true });
    child.once('error', () => resolve(false));
    child.once('spawn', () => {
      child.unref();
      resolve(true);
    });
  });
}

async function inspect(url: string | undefined, flags: InspectFlags): Promise<void> {
  const served = url === undefined ? await servePage(flags.port) : undefined;
  const address = url ?? served?.url ?? '';
  process.stdout.write(`${address}\n`);
  const opened = flags.open && (await openInBrowser(address));
  if (served === undefined) {
    if (flags.open && !opened)
      process.stderr.write('No browser could be started: open it yourself.\n');
    return;
  }
  process.stderr.write('Press Ctrl-C to end.\n');
  await new Promise<void>((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve());
  });
  served.close();
}

/** Adds the command to the program. */
export function addInspect(program: Command): void {
  program
    .command('inspect')
    .description('see the engine run, in a browser: its own, or a process that serves its view')
    .argument('[url]', 'what aio.serveInspector() gave; it is good once', liveUrl)
    .option('-p, --port <port>', 'port of the page on loopback; 0 takes a free one', port, 0)
    .option('--no-open', 'only print the address')
    .action(inspect);
}
