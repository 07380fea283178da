/** Reasons to leave a variant out of a suite. */
import { VARIANTS, type Variant } from './variants.ts';

/** Why a variant is left out of a suite; undefined if it is not. */
export type Restriction = (variant: Variant) => string | undefined;
export const IN_FLIGHT_ONLY: Restriction = ({ method }) =>
  method === 'host' ? undefined : 'only the device of the test keeps I/O in flight at will';
export const SYNC_ONLY: Restriction = ({ method }) =>
  method === 'host' ? 'the device of the test takes the place of WASI' : undefined;
export const ONE_VARIANT: Restriction = (variant) =>
  variant === VARIANTS[0] ? undefined : 'does not depend on how I/O is executed';
export const SHARED_ONLY: Restriction = ({ shared }) =>
  shared ? undefined : 'another thread cannot join plain memory';

/** For suites in which an I/O worker is one more reader and writer of the memory, no more. */
export const ONE_WORKER: Restriction = ({ method, provider }) =>
  method === 'worker' && provider === 'wasi'
    ? 'how a worker reads does not matter here, and each core waits for a thread to start'
    : undefined;
