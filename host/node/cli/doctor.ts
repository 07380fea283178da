/** `pgaio doctor`: which methods this machine has, and why not the others. */
import { release } from 'node:os';
import manifest from '../../../package.json' with { type: 'json' };
import { Aio, type UringReason } from '../index.ts';
import { hasKernelAio } from '../shim.ts';
import { probeUring, reasonWords, systemLimits } from '../uring.ts';
import { EXIT_CLEAN, runCommand, say, sayFact, sayWrapped } from './words.ts';

interface Diagnosis {
  readonly pgaio: string;
  readonly node: string;
  readonly system: string;
  readonly methods: Readonly<Record<'sync' | 'worker' | 'io_uring', boolean>>;
  /** Whether an I/O worker can have several direct I/Os under way. */
  readonly kernelAio: boolean;
  /** What io_method `auto` takes. */
  readonly auto: string;
  readonly io_uring: {
    readonly available: boolean;
    /** Whether rings can lie in the linear memory. */
    readonly sharedRings: boolean;
    readonly reason: UringReason | undefined;
  };
  readonly limits: { readonly memlock: string; readonly descriptors: string };
}

/** Makes an engine and reads nothing: what a user of `auto` would have. */
async function diagnose(): Promise<Diagnosis> {
  const { reason, sharedRings } = probeUring();
  const { memlock, descriptors } = systemLimits();
  await using aio = await Aio.create({ ioMethod: 'auto', sharedBuffers: 16, ioFrames: 16 });
  return {
    pgaio: manifest.version,
    node: process.version,
    system: `${process.platform} ${release()}, ${process.arch}`,
    methods: { sync: true, worker: true, io_uring: reason === undefined },
    kernelAio: hasKernelAio(),
    auto: aio.show('io_method'),
    io_uring: { available: reason === undefined, sharedRings, reason },
    limits: { memlock, descriptors },
  };
}

export async function runDoctor({ json = false }: { readonly json?: boolean }): Promise<void> {
  await runCommand(async () => {
    const found = await diagnose();
    if (json) say(JSON.stringify(found));
    else tell(found);
    return EXIT_CLEAN;
  });
}

function tell(found: Diagnosis): void {
  const { pgaio, node, system, kernelAio, auto, io_uring: uring, limits } = found;
  sayFact('pgaio', `${pgaio}, Node ${node}`);
  sayFact('system', system);
  sayFact('sync', 'yes');
  sayFact(
    'worker',
    `yes, each with ${kernelAio ? 'several direct I/Os at once' : 'one I/O at a time'}`,
  );
  const { reason } = uring;
  sayFact('io_uring', reason === undefined ? 'yes' : 'no');
  if (reason === undefined) {
    sayFact('rings', uring.sharedRings ? 'checked, shared' : 'checked; shared needs Linux 6.5');
  }
  sayFact('auto', `takes ${auto}`);
  const memlock = limits.memlock === 'unlimited' ? 'unlimited' : `${limits.memlock} bytes`;
  sayFact('memlock', reason === undefined ? `${memlock}, a quarter for fixed buffers` : memlock);
  sayFact('open files', limits.descriptors);
  if (reason === undefined) return;
  say('');
  sayWrapped(`io_uring cannot be used: ${reasonWords(reason)}.`);
  sayWrapped(reason.remedy);
}
