/** Runs a program with a seed, and many with many. */
import type { Fault } from './faults.ts';
import { Layout } from './layout.ts';
import { Cast, PROGRAMS } from './programs.ts';
import { Random } from './random.ts';
import { Finding, newMemory, World } from './world.ts';

export interface Run {
  readonly program: string;
  readonly seed: number;
  readonly steps: number;
  readonly transitions: number;
  readonly ios: number;
  /** Most handles that were in the queue at once. */
  readonly queued: number;
  readonly deaths: number;
  /** It came to where nobody can go on, and nobody is to blame. */
  readonly abandoned: boolean;
  /** Words for what is wrong. */
  readonly finding: string | undefined;
}

/** Far beyond what any run needs. */
const MAX_STEPS = 400_000;

export class Explorer {
  readonly #module: WebAssembly.Module;
  readonly #layout: Layout;
  readonly #memory = newMemory();
  readonly #fault: Fault | undefined;

  constructor(core: Uint8Array<ArrayBuffer>, sources: ReadonlyMap<string, string>, fault?: Fault) {
    this.#module = new WebAssembly.Module(core);
    this.#layout = new Layout(sources);
    this.#fault = fault;
  }

  run(program: string, seed: number, log?: (line: string) => void): Run {
    const plan = PROGRAMS[program];
    if (plan === undefined) throw new Error(`there is no program ${program}`);
    const random = new Random(seed);
    const drawn = plan(random);
    const world = new World({
      module: this.#module,
      layout: this.#layout,
      memory: this.#memory,
      fault: this.#fault,
      settings: drawn.settings,
      random,
      log,
      maxSteps: MAX_STEPS,
    });
    let finding: string | undefined;
    try {
      new Cast(world, drawn);
      world.run();
    } catch (error) {
      if (!(error instanceof Finding)) throw error;
      finding = error.message;
    }
    const { steps, deaths, files, invariants, abandoned } = world;
    return {
      program,
      seed,
      steps,
      deaths,
      abandoned,
      ios: files.count,
      queued: invariants.longestQueue,
      transitions: invariants.transitions,
      finding,
    };
  }
}
