/** `pgaio demo`: makes a small data directory with three damaged pages, verifies it, removes it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DemoFacts, makeDemoDirectory } from '../demo-directory.ts';
import { attach } from '../raw.ts';
import { openDataDirectory } from '../verify/pgdata.ts';
import type { JobThreads } from '../verify/threads.ts';
import { type FindingLog, wordsOf } from './finding-log.ts';
import type { Outcome } from './report.ts';
import { type VerifyFlags, verifyDirectory } from './verify.ts';
import {
  complain,
  counted,
  EXIT_CLEAN,
  EXIT_DAMAGED,
  Refusal,
  runCommand,
  say,
  sayWrapped,
} from './words.ts';

export interface DemoFlags extends VerifyFlags {
  readonly keep?: boolean;
}

function temporaryDirectory(): string {
  try {
    return mkdtempSync(join(tmpdir(), 'pgaio-demo-'));
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new Refusal(`no temporary directory can be made (${words}); set TMPDIR to one that can`);
  }
}

async function make(path: string): Promise<DemoFacts> {
  const pg = await attach({ shared_buffers: 16, io_frames: 16, io_method: 'sync' });
  const page = pg.pgaio_frames_alloc(1);
  const bytes = new Uint8Array(pg.memory.buffer);
  const facts = makeDemoDirectory(path, (content, block) => {
    bytes.set(content, page);
    return pg.pgaio_page_checksum(page, block);
  });
  pg.pgaio_shutdown();
  return facts;
}

const FAULT_OF = { checksum: 'checksum', header: 'header', new: 'garbage' } as const;

/** What the demonstration was to find and did not, or found and was not to. */
function differencesOf(facts: DemoFacts, { verification }: Outcome, log: FindingLog): string[] {
  const expected = facts.damaged.map(
    ({ path, block, kind }) => `${path}, block ${block}: ${FAULT_OF[kind]}`,
  );
  const found = log
    .entries()
    .map((entry) =>
      entry.kind === 'pages' && entry.pages === 1
        ? `${entry.path}, block ${entry.block}: ${entry.faults.join(', ')}`
        : `${entry.path}: ${wordsOf(entry)}`,
    );
  const differences = [
    ...expected.filter((page) => !found.includes(page)).map((page) => `did not find ${page}`),
    ...found.filter((page) => !expected.includes(page)).map((page) => `also found ${page}`),
  ];
  const { files, blocks } = verification.counts;
  if (files !== facts.files) differences.push(`listed ${files} files of ${facts.files}`);
  if (blocks !== facts.blocks) differences.push(`read ${blocks} pages of ${facts.blocks}`);
  return differences;
}

export async function runDemo(flags: DemoFlags, threads: JobThreads): Promise<void> {
  await runCommand(async (signal) => {
    const path = temporaryDirectory();
    try {
      const facts = await make(path);
      sayWrapped(
        `This is a demonstration. A small PostgreSQL data directory has been made: ` +
          `${counted(facts.blocks, 'page')} in ${counted(facts.files, 'file')}, of which ` +
          `${counted(facts.damaged.length, 'page')} are damaged. Now every page is verified, as ` +
          '`pgaio verify DIR` does it.',
      );
      say();
      const opened = await openDataDirectory(path);
      const { outcome, log } = await verifyDirectory(opened, {}, flags, threads, signal);
      if (outcome.interrupted) return EXIT_DAMAGED;
      const differences = differencesOf(facts, outcome, log);
      say();
      if (differences.length === 0) {
        say(`${counted(facts.damaged.length, 'damaged page')} found: exactly those it contains.`);
        return EXIT_CLEAN;
      }
      sayWrapped(`Not what the demonstration contains: ${differences.join('; ')}.`);
      return EXIT_DAMAGED;
    } finally {
      if (flags.keep === true) complain(`the demonstration directory is kept: ${path}`);
      else rmSync(path, { recursive: true, force: true });
    }
  });
}
