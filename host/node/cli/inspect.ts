/**
 * `pgaio inspect [URL]`: opens the live view of a process in a browser, or the inspector's page
 * with an engine of its own.
 */
import { spawn } from 'node:child_process';
import { servePage } from '../inspector-server.ts';

export interface InspectFlags {
  readonly port: number;
  readonly open: boolean;
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

export async function runInspect(url: string | undefined, flags: InspectFlags): Promise<void> {
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
