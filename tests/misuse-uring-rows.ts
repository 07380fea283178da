/** Rows of the table of misuse that only io_uring can bring about. */
import { CoreInstance } from '../bindings/core.ts';
import * as layout from '../bindings/layout.ts';
import { nodeHost } from '../host/node/host.ts';
import { uringHost } from '../host/node/uring.ts';
import { type Restriction, SMALL } from './harness.ts';
import { drain, type Row, rejected, SUBMITTED, submitted } from './misuse-row.ts';

const URING_ONLY: Restriction = ({ method }) =>
  method === 'io_uring' ? undefined : 'only io_uring has rings';

export const URING_ROWS: readonly Row[] = [
  {
    sentence: 'says why the kernel makes no ring',
    code: 'PGAIO_URING_SETUP',
    message: 'could not setup io_uring queue: Cannot allocate memory',
    only: URING_ONLY,
    arrange: async () => {
      const host = await nodeHost({});
      const uring = (memory: WebAssembly.Memory) => ({ ...uringHost(memory), setup: () => -12 });
      return rejected(CoreInstance.create({ ...host, uring }, { ...SMALL, io_method: 'io_uring' }));
    },
  },
  {
    sentence: 'says that a ring which is gone cannot be waited for',
    code: 'PGAIO_URING_WAIT',
    message: 'io_uring wait failed: Bad file descriptor',
    names: SUBMITTED,
    only: URING_ONLY,
    effects: true, // the ring is taken away, and put back
    arrange: (bench) => {
      const { ref } = submitted(bench);
      const word = bench.ctl('uring_contexts') + layout.PgAioUringContext.fields.ring.offset;
      const number = bench.view.getUint32(word, true);
      bench.view.setUint32(word, 0, true);
      return () => {
        try {
          bench.pg.pgaio_wref_wait(ref);
        } finally {
          bench.view.setUint32(word, number, true);
        }
      };
    },
    repair: drain,
  },
];
