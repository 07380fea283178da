/** In uvu's place in a browser: the suites are kept, run one after the other, and answered for. */

type Handler = () => unknown;
export interface Outcome {
  readonly suite: string;
  readonly name: string;
  /** Empty if it passed. */
  readonly error: string;
}

interface Suite {
  readonly name: string;
  readonly tests: [string, Handler][];
}
const suites: Suite[] = [];

export function suite(name = '') {
  const own: Suite = { name, tests: [] };
  const test = (sentence: string, handler: Handler): void => {
    own.tests.push([sentence, handler]);
  };
  return Object.assign(test, { run: () => void suites.push(own) });
}

/** A memory takes gigabytes of addresses until it is collected: the rig's browser has `gc`. */
const { gc } = globalThis as { gc?: () => void };
const GC_EVERY = 16;

async function outcomeOf(suiteName: string, name: string, handler: Handler): Promise<Outcome> {
  try {
    await handler();
    return { suite: suiteName, name, error: '' };
  } catch (error) {
    const words = error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
    return { suite: suiteName, name, error: words };
  }
}

/** Runs each `parts`th suite from number `part` on. */
export async function runSuites(part: number, parts: number): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const [index, { name, tests }] of suites.entries()) {
    if (index % parts !== part || name.endsWith('(left out)')) continue;
    for (const [sentence, handler] of tests) {
      if (outcomes.length % GC_EVERY === 0) gc?.();
      outcomes.push(await outcomeOf(name, sentence, handler));
    }
  }
  return outcomes;
}
