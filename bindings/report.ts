/**
 * Reports in words: what PostgreSQL would log or throw for the numbers the core hands out
 * (md.c: md_readv_report; bufmgr.c: buffer_readv_report; aio.c and bufpage.c for the rest).
 */
import { sqlstateOfErrno, strerror } from './errno.ts';
import { AioCallbackError, type AioError, AioIoError, AioPageError } from './errors.ts';
import * as layout from './layout.ts';
import { type PgAioResult, unpackPageFaults, unpackResult } from './result.ts';
import { type TargetData, targetPath, type WordsContext } from './target.ts';

/** A report as the core makes it: host_report of assembly/aio/host.ts. */
export interface CoreReport {
  readonly level: number;
  readonly kind: number;
  /** Handle, -1 without one. */
  readonly io: number;
  /** Backend that issued the I/O, -1 without one. */
  readonly owner: number;
  readonly word: number;
  readonly result: number;
  readonly first: number;
  readonly second: number;
  readonly target: TargetData | undefined;
}

/** A report as people read it. */
export interface AioReport {
  /** PostgreSQL's elevel: 10 .. 14 DEBUG, 15 and 16 LOG, 19 WARNING, 21 ERROR. */
  readonly level: number;
  readonly severity: 'DEBUG' | 'LOG' | 'INFO' | 'NOTICE' | 'WARNING' | 'ERROR';
  readonly message: string;
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
  readonly sqlstate: string;
  /** Handle concerned, where there is one. */
  readonly io?: number | undefined;
  /** Who says so, when it is not the issuer: PostgreSQL's CONTEXT line. */
  readonly context?: string | undefined;
  /** The same as an error to throw, for reports about a result. */
  readonly error?: AioError | undefined;
}

function severityOf(level: number): AioReport['severity'] {
  if (level < layout.LOG) return 'DEBUG';
  if (level <= layout.LOG_SERVER_ONLY) return 'LOG';
  if (level < 18) return 'INFO';
  if (level < layout.WARNING) return 'NOTICE';
  return level < layout.ERROR_LEVEL ? 'WARNING' : 'ERROR';
}

/** Puts a report into words. `procno`: this backend, for reports that name no issuer. */
export function reportWords(from: CoreReport, context: WordsContext, procno: number): AioReport {
  const base = {
    level: from.level,
    severity: severityOf(from.level),
    sqlstate: 'XX000',
    io: from.io < 0 ? undefined : from.io,
  };
  switch (from.kind) {
    case layout.REPORT_RESULT:
      return { ...base, ...resultReport(from, context, from.owner < 0 ? procno : from.owner) };
    case layout.REPORT_LEAKED_HANDLE:
      return { ...base, message: 'leaked AIO handle' };
    case layout.REPORT_NOT_SUBMITTED:
      return { ...base, message: 'AIO handle was not submitted' };
    case layout.REPORT_OPEN_BATCH:
      return { ...base, message: 'open AIO batch at end of (sub-)transaction' };
    case layout.REPORT_CHECKSUM:
      return {
        ...base,
        message:
          `page verification failed, calculated checksum ${from.first} ` +
          `but expected ${from.second}`,
        sqlstate: 'XX001',
      };
    case layout.REPORT_RETURN_LOST:
      return {
        ...base,
        message: `result of IO ${from.io} was not delivered: its PgAioReturn was overwritten`,
      };
    default:
      throw new RangeError(`the core reported kind ${from.kind}, which has no words`);
  }
}

function resultReport(
  from: CoreReport,
  context: WordsContext,
  owner: number,
): Pick<AioReport, 'message' | 'detail' | 'hint' | 'sqlstate' | 'error'> {
  const target = from.target;
  if (target === undefined) throw new RangeError('a result was reported without its target');
  const error = resultError(unpackResult(from.word, from.result), target, context, owner);
  return {
    message: error.message,
    detail: error.detail,
    hint: error.hint,
    sqlstate: error.sqlstate ?? 'XX000',
    error,
  };
}

/** Whether callback `id` verifies pages. */
export function isOfPages(id: number): boolean {
  return (
    id === layout.PGAIO_HCB_PAGE_READV ||
    id === layout.PGAIO_HCB_SHARED_BUFFER_READV ||
    id === layout.PGAIO_HCB_LOCAL_BUFFER_READV
  );
}

/** The error for a result that is not OK, in the words of the callback that set it. */
export function resultError(
  result: PgAioResult,
  target: TargetData,
  context: WordsContext,
  owner: number,
): AioError {
  if (result.id >= layout.PGAIO_HCB_HOST_FIRST) return hostError(result, target, context, owner);
  if (isOfPages(result.id)) return pageError(result, target, context, owner);
  switch (result.id) {
    case layout.PGAIO_HCB_MD_READV:
      return blocksError(result, target, context, owner, 'read');
    case layout.PGAIO_HCB_MD_WRITEV:
      return blocksError(result, target, context, owner, 'write');
    case layout.PGAIO_HCB_FILE:
      return fileError(result, target, context, owner);
    default:
      throw new RangeError(`callback ${result.id} has no words for its results`);
  }
}

/** The device answered with an errno; for EIO the cause is what it threw, if it threw. */
function deviceFailed(what: string, errno: number, path: string, context: WordsContext) {
  return new AioIoError({
    code: 'PGAIO_IO',
    message: `${what}: ${strerror(errno)}`,
    sqlstate: sqlstateOfErrno(errno),
    errno,
    path,
    cause: errno === EIO ? context.deviceError() : undefined,
  });
}

function blocksError(
  result: PgAioResult,
  target: TargetData,
  context: WordsContext,
  owner: number,
  verb: 'read' | 'write',
): AioIoError {
  const path = targetPath(target, context, owner);
  const last = target.blockNum + target.nblocks - 1;
  const what = `could not ${verb} blocks ${target.blockNum}..${last} in file "${path}"`;
  const errno = result.errorData;
  if (errno !== 0) return deviceFailed(what, errno, path, context);
  const done = result.result * context.blockSize;
  const asked = target.nblocks * context.blockSize;
  const past = verb === 'read' ? 'read' : 'wrote';
  return new AioIoError({
    code: 'PGAIO_SHORT',
    message: `${what}: ${past} only ${done} of ${asked} bytes`,
    sqlstate: 'XX001',
    errno: 0,
    path,
  });
}

const EIO = 5;
const FILE_VERBS: Readonly<Record<number, string>> = {
  [layout.PGAIO_OP_WRITEV]: 'write',
  [layout.PGAIO_OP_FSYNC]: 'fsync',
  [layout.PGAIO_OP_FDATASYNC]: 'fdatasync',
  [layout.PGAIO_OP_FLUSH_RANGE]: 'flush',
};
const FILE_ERRNO_MASK = (1 << layout.FILE_OP_SHIFT) - 1;

/** Start left length and operation in the target data of a FILE target. */
function fileError(
  result: PgAioResult,
  target: TargetData,
  context: WordsContext,
  owner: number,
): AioIoError {
  const path = targetPath(target, context, owner);
  const isFile = target.target === layout.PGAIO_TID_FILE;
  const moved = isFile ? target.locator.relNumber : layout.PGAIO_OP_READV;
  const op = result.errorData >>> layout.FILE_OP_SHIFT || moved;
  const what = `could not ${FILE_VERBS[op] ?? 'read'} file "${path}"`;
  const errno = result.errorData & FILE_ERRNO_MASK;
  if (errno !== 0) return deviceFailed(what, errno, path, context);
  const asked = isFile ? ` of ${target.locator.dbOid}` : '';
  const past = op === layout.PGAIO_OP_WRITEV ? 'wrote' : 'read';
  const message = `${what}: ${past} only ${result.result}${asked} bytes`;
  return new AioIoError({ code: 'PGAIO_SHORT', message, sqlstate: 'XX001', errno: 0, path });
}

function pageError(
  result: PgAioResult,
  target: TargetData,
  context: WordsContext,
  owner: number,
): AioPageError {
  const path = targetPath(target, context, owner);
  const firstBlock = target.blockNum;
  const lastBlock = Math.max(target.blockNum, target.blockNum + target.nblocks - 1);
  const place = { path, firstBlock, lastBlock };
  const words = pageWords(result, place);
  const code = result.status === 'ERROR' ? 'PGAIO_PAGE' : 'PGAIO_PAGE_WARNING';
  return new AioPageError({ code, sqlstate: 'XX001', ...words, ...place });
}

function pageWords(
  result: PgAioResult,
  place: { readonly path: string; readonly firstBlock: number; readonly lastBlock: number },
): { message: string; detail?: string; hint?: string } {
  const faults = unpackPageFaults(result.errorData, result.status);
  const block = place.firstBlock + faults.firstOffset;
  const relation = `relation "${place.path}"`;
  const among = `among blocks ${place.firstBlock}..${place.lastBlock} of ${relation}`;
  const others = (count: number, kind: string): string =>
    `See server log for the other ${count - 1} ${kind} block(s).`;
  if (result.status !== 'ERROR' && faults.zeroed && faults.ignored) {
    const pages = faults.count;
    const more = pages + faults.checkfails - 1;
    const ignoring = `ignoring ${faults.checkfails} checksum failure(s)`;
    return {
      message: `zeroing ${pages} page(s) and ${ignoring} ${among}`,
      ...(pages > 1 ? { detail: `Block ${block} held the first zeroed page.` } : {}),
      hint:
        `See server log for details about the other ${more} ` +
        `invalid ${more === 1 ? 'block' : 'blocks'}.`,
    };
  }
  const [affected, kind, one, several] =
    result.status === 'ERROR'
      ? [faults.count, 'invalid', `invalid page in block ${block} of ${relation}`, 'invalid pages']
      : faults.zeroed
        ? [
            faults.count,
            'zeroed',
            `invalid page in block ${block} of ${relation}; zeroing out page`,
            'invalid pages',
          ]
        : [
            faults.checkfails,
            'ignored',
            `ignoring checksum failure in block ${block} of ${relation}`,
            'checksum failures',
          ];
  if (affected === 1) return { message: one };
  const verb = kind === 'invalid' ? '' : kind === 'zeroed' ? 'zeroing out ' : 'ignoring ';
  return {
    message: `${verb}${affected} ${several} ${among}`,
    detail: `Block ${block} held the first ${kind} page.`,
    hint: others(affected, kind),
  };
}

function hostError(
  result: PgAioResult,
  target: TargetData,
  context: WordsContext,
  owner: number,
): AioError {
  if (result.errorData === layout.HOST_CALLBACK_THREW) {
    return new AioCallbackError(result.id, context.thrownBy(result.id));
  }
  const path = targetPath(target, context, owner);
  let words: string | undefined;
  try {
    words = context.hostReport(result.id, result.errorData, result.result);
  } catch (thrown) {
    return new AioCallbackError(result.id, thrown);
  }
  const message = words ?? `callback ${result.id} reports ${result.errorData} for file "${path}"`;
  return new AioIoError({ code: 'PGAIO_CALLBACK', message, sqlstate: 'XX000', errno: 0, path });
}
