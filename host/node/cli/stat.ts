/** `pgaio stat`: what pg_control and the files of a data directory say. Reads no page. */
import { type DataDirectory, listRelationFiles, openDataDirectory } from '../verify/pgdata.ts';
import { type Situation, situationOf } from '../verify/situation.ts';
import { requestOf } from './verify.ts';
import {
  counted,
  digits,
  EXIT_CLEAN,
  megabytes,
  runCommand,
  say,
  sayFact,
  sayWrapped,
} from './words.ts';

interface Amount {
  files: number;
  bytes: number;
}
interface Amounts {
  readonly all: Amount;
  /** By fork, temporary relations apart. */
  readonly kinds: ReadonlyMap<string, Amount>;
  /** By database: `base/5`, `pg_tblspc/16385/5`, `global`. */
  readonly places: ReadonlyMap<string, Amount>;
  readonly foreign: Amount;
  /** The largest relation forks. */
  readonly largest: readonly (readonly [path: string, bytes: number])[];
}

const LARGEST = 5;
/** Files between looks at whether to stop. */
const FILES_AT_ONCE = 1024;

async function amountsOf(directory: DataDirectory, signal: AbortSignal): Promise<Amounts> {
  const all = { files: 0, bytes: 0 };
  const foreign = { files: 0, bytes: 0 };
  const kinds = new Map<string, Amount>();
  const places = new Map<string, Amount>();
  let largest: [string, number][] = [];
  let fork: [string, number] = ['', 0];
  const endFork = (): void => {
    largest = [...largest, fork].sort(([, a], [, b]) => b - a).slice(0, LARGEST);
  };
  for (const { path, relation, size } of listRelationFiles(directory)) {
    if ((all.files + foreign.files) % FILES_AT_ONCE === 0) {
      await new Promise(setImmediate);
      signal.throwIfAborted();
    }
    if (relation === undefined) {
      add(foreign, size);
      continue;
    }
    add(all, size);
    add(at(kinds, relation.temp === undefined ? relation.fork : 'temporary'), size);
    add(at(places, path.replace(/\/[^/]+$/, '').replace(/\/PG_[^/]+/, '')), size);
    const base = path.replace(/\.\d+$/, '');
    if (fork[0] !== base) endFork();
    fork = [base, fork[0] === base ? fork[1] + size : size];
  }
  endFork();
  return { all, kinds, places, foreign, largest: largest.filter(([path]) => path !== '') };
}
function add(amount: Amount, bytes: number): void {
  amount.files++;
  amount.bytes += bytes;
}
function at(amounts: Map<string, Amount>, name: string): Amount {
  const amount = amounts.get(name) ?? { files: 0, bytes: 0 };
  amounts.set(name, amount);
  return amount;
}

function amountText({ files, bytes }: Amount): string {
  return `${counted(files, 'file')}, ${megabytes(bytes)} MB`;
}
function timeOf(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? String(seconds) : date.toISOString().replace('.000', '');
}

const SITUATION_WORDS: Readonly<Record<Situation['kind'], string>> = {
  'shut down': 'no server has it open',
  running: 'a server has it open',
  unclear: 'a server may have it open elsewhere, or crashed',
  crashed: 'not shut down cleanly, and no server has it open',
  backup: 'a backup of a running server, not recovered yet',
};

function sayControl({ path, majorVersion, control, serverPid }: DataDirectory, kind: string): void {
  const { blockSize, segmentBlocks, walSegmentSize } = control;
  const segment = `${digits(segmentBlocks)} blocks (${megabytes(segmentBlocks * blockSize)} MB)`;
  const checksums = control.dataChecksumVersion;
  const pid = serverPid === undefined ? '' : ` (postmaster.pid: ${serverPid})`;
  sayFact('directory', path);
  sayFact('version', `PostgreSQL ${majorVersion}, catalog ${control.catalogVersion}`);
  sayFact('system', String(control.systemIdentifier));
  sayFact('state', `${control.state}; ${kind}${pid}`);
  sayFact('checkpoint', `${control.checkpointLsn}, redo from ${control.redoLsn}`);
  sayFact('', `timeline ${control.timeline}, at ${timeOf(control.checkpointSeconds)}`);
  sayFact('checksums', checksums === 0 ? 'off' : `on, version ${checksums}`);
  sayFact('block', `${digits(blockSize)} bytes`);
  sayFact('segment', segment);
  sayFact('WAL', `segments of ${walSegmentSize / (1 << 20)} MB, wal_level ${control.walLevel}`);
}

function sayAmounts({ all, kinds, places, foreign, largest }: Amounts): void {
  sayFact('relations', amountText(all));
  for (const [kind, amount] of kinds) sayFact(`  ${kind}`, amountText(amount));
  if (foreign.files > 0) sayFact('foreign', amountText(foreign));
  say('\nDatabases');
  for (const [place, amount] of places) sayWrapped(`${place}: ${amountText(amount)}`, INDENT);
  say('\nLargest');
  for (const [path, bytes] of largest) sayWrapped(`${path}: ${megabytes(bytes)} MB`, INDENT);
}
const INDENT = { first: '  ', rest: '      ' };

export async function runStat(dir: string | undefined, { json = false }): Promise<void> {
  await runCommand(async (signal) => {
    const directory = await openDataDirectory(requestOf(dir, {}).directory);
    const { kind } = situationOf(directory);
    const amounts = await amountsOf(directory, signal);
    if (json) {
      const { control, ...rest } = directory;
      const plain = {
        ...rest,
        situation: kind,
        control: {
          ...control,
          systemIdentifier: String(control.systemIdentifier),
          nextXid: String(control.nextXid),
          mockAuthenticationNonce: Buffer.from(control.mockAuthenticationNonce).toString('hex'),
        },
        relations: amounts.all,
        kinds: Object.fromEntries(amounts.kinds),
        places: Object.fromEntries(amounts.places),
        foreign: amounts.foreign,
        largest: amounts.largest.map(([path, bytes]) => ({ path, bytes })),
      };
      say(JSON.stringify(plain, null, 2));
    } else {
      sayControl(directory, SITUATION_WORDS[kind]);
      sayAmounts(amounts);
    }
    return EXIT_CLEAN;
  });
}
