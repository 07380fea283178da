/** io_uring: what this machine says of it, and why it cannot be used where it cannot. */
import { readFileSync } from 'node:fs';
import { errnoName, strerror } from '../../bindings/errno.ts';
import { AioUnavailableError } from '../../bindings/errors.ts';
import type { UringHost } from '../../bindings/host.ts';
import { bindShim, loadShim } from './shim.ts';

/** Where the search for io_uring ended. */
export type UringStage = 'platform' | 'binary' | 'setup' | 'features' | 'mapping' | 'operations';

/** Why io_uring cannot be used here, and what can be done about it. */
export interface UringReason {
  readonly stage: UringStage;
  /** Linux number of the error that ended it, 0 if there was none. */
  readonly errno: number;
  readonly cause: string;
  readonly remedy: string;
}

export interface UringProbe {
  /** Undefined where io_uring can be used. */
  readonly reason: UringReason | undefined;
  /** Whether rings can lie in the linear memory (`ring: 'shared'`). */
  readonly sharedRings: boolean;
}

const EPERM = 1;
const EAGAIN = 11;
const ENOMEM = 12;
const EINVAL = 22;
const ENFILE = 23;
const EMFILE = 24;
const ENOSYS = 38;

/** Order of host/shim/ring.h. */
const STAGES = ['ready', 'setup', 'operations', 'features', 'mapping'] as const;
const OPERATIONS = ['READ', 'WRITE', 'READV', 'WRITEV', 'FSYNC', 'SYNC_FILE_RANGE'];
const PROBE_WORDS = 4;

/** Asks this machine, by doing it, whether io_uring can be used. */
export function probeUring(): UringProbe {
  const loaded = loadShim();
  if (loaded.shim === undefined) {
    return { reason: { errno: 0, ...loaded.failure }, sharedRings: false };
  }
  const out = new Int32Array(PROBE_WORDS);
  loaded.shim.probe(out);
  const [stage = 0, errno = 0, missing = 0, sharedErrno = 0] = out;
  const name = STAGES[stage] ?? 'setup';
  if (name === 'ready') return { reason: undefined, sharedRings: sharedErrno === 0 };
  return { reason: reasonOf(name, errno, missing, systemLimits()), sharedRings: false };
}

/** What the likely cause is told by. */
export interface SystemLimits {
  /** /proc/sys/kernel/io_uring_disabled: 0 no, 1 for the unprivileged, 2 for all. */
  readonly disabled: number | undefined;
  /** Soft limit of locked memory, in bytes or `unlimited`. */
  readonly memlock: string;
  /** Soft limit of open files. */
  readonly descriptors: string;
  /** Whether a seccomp filter is in force. */
  readonly seccomp: boolean;
}

export function systemLimits(): SystemLimits {
  const limits = readText('/proc/self/limits');
  const limit = (name: string): string =>
    new RegExp(`^${name} +(\\S+)`, 'm').exec(limits)?.[1] ?? 'unknown';
  const disabled = readText('/proc/sys/kernel/io_uring_disabled').trim();
  return {
    disabled: disabled === '' ? undefined : Number(disabled),
    memlock: limit('Max locked memory'),
    descriptors: limit('Max open files'),
    seccomp: /^Seccomp:\s*[12]/m.test(readText('/proc/self/status')),
  };
}
function readText(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Cause and remedy of a failure at `stage`, as far as this process can tell. */
export function reasonOf(
  stage: Exclude<UringStage, 'platform' | 'binary'>,
  errno: number,
  missing: number,
  limits: SystemLimits,
): UringReason {
  if (stage === 'operations') {
    const names = OPERATIONS.filter((_, bit) => ((missing >>> bit) & 1) === 1);
    const cause = `this kernel's io_uring lacks ${names.join(', ')}`;
    return { stage, errno, cause, remedy: 'Use Linux 5.11 or later, or io_method "worker".' };
  }
  if (stage === 'features') {
    const cause = "this kernel's io_uring is too old: no waits with a time limit";
    return { stage, errno, cause, remedy: 'Use Linux 5.11 or later, or io_method "worker".' };
  }
  return { stage, errno, ...causeOfErrno(errno, limits) };
}

function causeOfErrno(errno: number, limits: SystemLimits): Pick<UringReason, 'cause' | 'remedy'> {
  switch (errno) {
    case EPERM:
      if (limits.disabled !== undefined && limits.disabled > 0) {
        return {
          cause: `io_uring is disabled: kernel.io_uring_disabled is ${limits.disabled}`,
          remedy: 'Set it to 0 (sysctl kernel.io_uring_disabled=0), or use io_method "worker".',
        };
      }
      return {
        cause: limits.seccomp
          ? 'a seccomp filter forbids io_uring, as container runtimes do by default'
          : 'io_uring is forbidden to this process, by a security module perhaps',
        remedy: 'Allow io_uring_setup, io_uring_enter and io_uring_register, or use "worker".',
      };
    case ENOMEM:
    case EAGAIN:
      return {
        cause: `the limit of locked memory is too low: ${limits.memlock} bytes`,
        remedy: 'Raise it (ulimit -l), or set fewer max_backends or a smaller io_max_concurrency.',
      };
    case EMFILE:
    case ENFILE:
      return {
        cause: `the limit of open files is reached: ${limits.descriptors}`,
        remedy: 'Raise it (ulimit -n); each backend takes one descriptor for its ring.',
      };
    case ENOSYS:
      return {
        cause: 'this kernel has no io_uring',
        remedy: 'Use Linux 5.11 or later, or io_method "worker".',
      };
    case EINVAL:
      return {
        cause: 'this kernel does not know what is asked of io_uring',
        remedy: 'Leave out `ring: "shared"`, use a newer kernel, or io_method "worker".',
      };
    default:
      return {
        cause: `io_uring_setup failed: ${strerror(errno)}`,
        remedy: 'Use io_method "worker".',
      };
  }
}

/** The reason in one line. */
export function reasonWords({ stage, errno, cause }: UringReason): string {
  return `${cause} (${stage}${errno === 0 ? '' : `, ${errnoName(errno) ?? errno}`})`;
}

/** The error of those who asked for io_uring and nothing else. */
export function uringUnavailable(reason: UringReason): AioUnavailableError {
  return new AioUnavailableError({
    code: 'PGAIO_NO_URING',
    message: `io_method "io_uring" cannot be used: ${reasonWords(reason)}`,
    hint: reason.remedy,
    detail: `stage ${reason.stage}, errno ${reason.errno}`,
  });
}

/** As uringUnavailable, for a ring that could not be made although the probe passed. */
export function ringFailed(errno: number): AioUnavailableError {
  return uringUnavailable(reasonOf('setup', errno, 0, systemLimits()));
}

/** The rings of a linear memory. */
export function uringHost(memory: WebAssembly.Memory): UringHost {
  const bound = bindShim(memory);
  if (bound === undefined) throw new RangeError('the shim has no room for this memory');
  return { ...bound, end: () => bound.unbind() };
}
