/** Numbers on their way into the core: WebAssembly cuts what does not fit, so they are checked. */
import { AioUsageError } from './errors.ts';

const U32_END = 2 ** 32;

/** `value` if it is a whole number of 32 bits without sign; `what` names it in the error. */
export function u32(what: string, value: number): number {
  if (Number.isInteger(value) && value >= 0 && value < U32_END) return value;
  throw badNumber(what, value);
}

/** A number that the core could only be given cut. */
export function badNumber(what: string, value: number): AioUsageError {
  return new AioUsageError({
    code: 'PGAIO_BAD_NUMBER',
    message: `${what}: expected a whole number of 32 bits, got ${value}`,
    sqlstate: '22003',
  });
}
