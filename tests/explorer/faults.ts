/**
 * Deliberate faults: what the explorer must find, or it proves nothing. One lives in the scheduler,
 * the others change a copy of the core's source; a text that is no longer there is an error.
 */
export interface Fault {
  readonly name: string;
  readonly words: string;
  /** Program that shows it. */
  readonly program: string;
  /** It was there once, and the explorer found it. Steps it may take, if more than a million. */
  readonly once?: number;
  /** State whose wake-ups are dropped. */
  readonly dropWakes?: 'COMPLETED_SHARED';
  /** By file: what stands there once, and what is compiled instead. */
  readonly replace?: Readonly<Record<string, readonly (readonly [string, string])[]>>;
}

export const FAULTS: readonly Fault[] = [
  {
    name: 'no-notify',
    program: 'exchange',
    words: 'waiters are not woken when their I/O is COMPLETED_SHARED',
    dropWakes: 'COMPLETED_SHARED',
  },
  {
    name: 'state-before-result',
    program: 'exchange',
    words: 'COMPLETED_SHARED is stored before the distilled result',
    replace: {
      'assembly/aio/io.ts': [
        [
          `  callCompleteShared(ioh, thrown);
  updateState(ioh, PGAIO_HS_COMPLETED_IO, PGAIO_HS_COMPLETED_SHARED);
`,
          `  updateState(ioh, PGAIO_HS_COMPLETED_IO, PGAIO_HS_COMPLETED_SHARED);
  callCompleteShared(ioh, thrown);
`,
        ],
      ],
    },
  },
  {
    name: 'state-before-raw-result',
    program: 'exchange',
    words: 'COMPLETED_IO is stored before the raw result',
    replace: {
      'assembly/aio/io.ts': [
        [
          `  ioh.result = raw;
  updateState(ioh, PGAIO_HS_SUBMITTED, PGAIO_HS_COMPLETED_IO);
`,
          `  updateState(ioh, PGAIO_HS_SUBMITTED, PGAIO_HS_COMPLETED_IO);
  if (stateOf(ioh) != 0) ioh.result = raw;
`,
        ],
      ],
    },
  },
  {
    name: 'generation-after-idle',
    program: 'exchange',
    words: 'the generation moves after the state is IDLE',
    replace: {
      'assembly/aio/handle.ts': [
        [
          `  storeRelease64(generation, ioh.generation + 1);
  updateState(ioh, state, PGAIO_HS_IDLE);
`,
          `  updateState(ioh, state, PGAIO_HS_IDLE);
  storeRelease64(generation, ioh.generation + 1);
`,
        ],
      ],
    },
  },
  {
    name: 'ring-without-change',
    words: 'a ring before the sleep leaves the word as it was',
    program: 'doorbell',
    once: 10_000_000,
    replace: {
      'assembly/aio/doorbell.ts': [
        [
          '    const after = ((before & ~LISTENING) + ONE_RING) & RUNG_MASK;',
          '    const after = before;',
        ],
      ],
    },
  },
  {
    name: 'magic-before-state',
    words: 'who joins reads the magic before, and the state after it was laid out',
    program: 'exchange',
    once: 6_000_000,
    replace: {
      'assembly/aio/init.ts': [
        ['  const magic = ctl().magic;\n', '\n'],
        [
          '  const state = loadAcquire32(ctlState());',
          '  const magic = ctl().magic;\n  const state = loadAcquire32(ctlState());',
        ],
      ],
    },
  },
  {
    name: 'state-not-read-again',
    words: 'an heir completes what ended while it looked who has it',
    program: 'death',
    once: 20_000_000,
    replace: {
      'assembly/aio/sweep.ts': [
        ['    state = stateOf(ioh); // it may have ended', '    // it may'],
      ],
    },
  },
  {
    name: 'only-the-queue-asked',
    words: 'what a dead worker took is executed though another has taken it',
    program: 'aimed',
    once: 20_000_000,
    replace: {
      'assembly/aio/sweep.ts': [
        ['    && !isHeld(handleAt(io), changetype<usize>(dead));', '    && !queueHolds(io);'],
      ],
    },
  },
  {
    name: 'nobody-wakes-for-the-dead',
    words: 'waiters whom the dead did not wake sleep on',
    program: 'togetherDeath',
    once: 20_000_000,
    replace: {
      'assembly/aio/sweep.ts': [
        ['  futexWake(changetype<usize>(ioh) +', '  if (false) futexWake(changetype<usize>(ioh) +'],
      ],
    },
  },
  {
    name: 'chosen-not-woken',
    words: 'a worker that the dead chose and did not wake sleeps on',
    program: 'death',
    once: 10_000_000,
    replace: {
      'assembly/aio/sweep.ts': [
        [
          `  wakeAllWorkers(); // the dead may have chosen one and not woken it
`,
          `
`,
        ],
      ],
    },
  },
  {
    name: 'slot-names-what-has-not-begun',
    words: 'a write slot names an I/O that is only handed out, and somebody waits for it',
    program: 'buffers',
    once: 2_000_000,
    replace: {
      'assembly/storage/buf_write.ts': [
        [
          '  let from = desc.blockNum;\n',
          '  let from = desc.blockNum;\n  beginWriteSlot(slot, ioh);\n',
        ],
      ],
    },
  },
  {
    name: 'tag-not-looked-at-again',
    words: 'a buffer that was found without a lock is taken for the right one when it is pinned',
    program: 'buffers',
    once: 6_000_000,
    replace: {
      'assembly/storage/buf.ts': [
        [
          '  if (tagIs(desc, rel, block) && (bufState(desc) & BM_TAG_VALID) != 0) return true;\n',
          '  if (my_pinned > 0) return true;\n',
        ],
      ],
    },
  },
  {
    name: 'let-go-before-it-ends',
    words: 'a worker forgets what it has under way before that is completed, and ends',
    program: 'togetherAimed',
    once: 2_000_000,
    replace: {
      'assembly/method/kaio.ts': [
        [
          '    const ioh = handleAt(ioAt(kernel, place).io);\n    if (raw',
          '    const ioh = handleAt(ioAt(kernel, place).io);\n' +
            '    letGo(kernel, place);\n    if (raw',
        ],
        ['-4095), 0);\n    letGo(kernel, place);\n', '-4095), 0);\n'],
      ],
    },
  },
  {
    name: 'one-of-several-taken-over',
    words: 'of what a dead worker had under way only the first is finished',
    program: 'togetherDeath',
    replace: {
      'assembly/aio/sweep.ts': [['    more = kaioMoveTo(place, kernel);\n', '    more = false;\n']],
    },
  },
  {
    name: 'under-way-and-settled',
    words: 'an estate is settled although a worker has an I/O of it under way',
    program: 'togetherDeath',
    replace: {
      'assembly/aio/sweep.ts': [
        ['    if (kaioHas(kernelIos(workerAt(worker)), ioh)) return true;\n', '\n'],
      ],
    },
  },
  {
    name: 'not-started',
    words: 'what the kernel does not take is left lying',
    program: 'together',
    replace: {
      'assembly/method/kaio.ts': [
        ['    performSynchronously(ioh, ioh.fd);\n    letGo', '    letGo'],
      ],
    },
  },
  {
    name: 'taken-without-a-mark',
    words: 'who has waited for a lock takes it as if nobody else did',
    program: 'ringsAimed',
    once: 6_000_000,
    replace: {
      'assembly/shm/lock.ts': [
        ['    if (lockSpin(at, CONTENDED)) return true;\n', '    if (lockSpin(at)) return true;\n'],
      ],
    },
  },
  {
    name: 'nobody-waits-next',
    words: 'who comes back from the kernel wakes none of those who sleep until then',
    program: 'rings',
    once: 3_000_000,
    replace: {
      'assembly/method/io_uring.ts': [
        [
          '  announceProgress(context); // one of those who sleep must wait in the kernel next\n',
          '\n',
        ],
      ],
    },
  },
  {
    name: 'nothing-stays-visible',
    words: 'all completions are given back while somebody waits in the kernel',
    program: 'rings',
    once: 30_000_000,
    replace: {
      'assembly/method/io_uring.ts': [
        [
          '  const head = leader != 0 && isSharedRing(context)',
          '  const head = leader == 99 && isSharedRing(context)',
        ],
      ],
    },
  },
  {
    name: 'dealt-with-too-soon',
    words: 'a completion counts as dealt with before it is',
    program: 'ringsAimed',
    once: 10_000_000,
    replace: {
      'assembly/method/io_uring.ts': [
        [
          '    complete(context, load<u64>(cqe)',
          '    storeRelease32(cursor, begun + i + 1);\n    complete(context, load<u64>(cqe)',
        ],
      ],
    },
  },
  {
    name: 'rung-not-woken',
    words: 'an owner whose doorbell the dead rang, and whom it did not wake, sleeps on',
    program: 'togetherAimed',
    once: 60_000_000,
    replace: {
      'assembly/aio/sweep.ts': [['  wakeListeners();\n', '\n']],
    },
  },
  {
    name: 'woken-by-the-wrong-bell',
    words: 'a worker that the host parked is woken as if it waited',
    program: 'together',
    once: 6_000_000,
    replace: {
      'assembly/method/worker.ts': [
        ['  if (how == ASLEEP_PARKED) host_unpark(word);\n  else if', '  if'],
      ],
    },
  },
];
