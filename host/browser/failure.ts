/** A file that cannot be opened or looked at, in PostgreSQL's words. */
import { sqlstateOfErrno, strerror } from '../../bindings/errno.ts';
import { AioIoError } from '../../bindings/errors.ts';

export function failure(
  verb: 'open' | 'stat' | 'truncate' | 'remove',
  path: string,
  errno: number,
): AioIoError {
  return new AioIoError({
    code: verb === 'open' ? 'PGAIO_OPEN' : 'PGAIO_STAT',
    message: `could not ${verb} file "${path}": ${strerror(errno)}`,
    sqlstate: sqlstateOfErrno(errno),
    errno,
    path,
  });
}
