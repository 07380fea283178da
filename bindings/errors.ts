/**
 * The errors of the engine: a small family, one class per reaction. The core answers with numbers;
 * their codes and words stand here, PostgreSQL's words where it has any.
 *
 * - AioUsageError: repair the call. Nothing happened; the pool is as it was.
 * - AioIoError: the device or the file system refused; `errno`, and what was read or written.
 * - AioPageError: the bytes came, and are not a valid page.
 * - AioSettingError: repair the settings.
 * - AioUnavailableError: this machine, process or file cannot do what was asked for; how to go on.
 */
import { sqlstateOfErrno, strerror } from './errno.ts';
import { callbackName, nameOf, STATE_NAMES, STATUS_NAMES } from './names.ts';

export interface AioErrorWords {
  readonly code: `PGAIO_${string}`;
  readonly message: string;
  readonly sqlstate?: string | undefined;
  /** PostgreSQL's DETAIL line. */
  readonly detail?: string | undefined;
  /** PostgreSQL's HINT line. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/**
 * Base of all our errors. Test `code`: it is the same in every release and in a second copy of the
 * package, where `instanceof` fails.
 */
export abstract class AioError extends Error {
  readonly code: `PGAIO_${string}`;
  /** What PostgreSQL would report; undefined where it has no such failure. */
  readonly sqlstate: string | undefined;
  readonly detail: string | undefined;
  readonly hint: string | undefined;

  constructor(words: AioErrorWords) {
    super(words.message, words.cause === undefined ? undefined : { cause: words.cause });
    this.name = new.target.name;
    this.code = words.code;
    this.sqlstate = words.sqlstate;
    this.detail = words.detail;
    this.hint = words.hint;
  }
}

/** What the core keeps for the words of its last error. */
export interface ErrorRecord {
  /** Handle concerned, -1 without one. */
  readonly io: number;
  /** Its state as a number. */
  readonly state: number;
  readonly first: number;
  readonly second: number;
  /** File of the relation it was about, for those that name one. */
  readonly path?: string;
}

/** From the core's number to code and words; the same numbers as in assembly/errors.ts. */
export const USAGE: Readonly<Record<number, readonly [`PGAIO_${string}`, string]>> = {
  [-4097]: ['PGAIO_TWO_HANDED_OUT', 'API violation: Only one IO can be handed out'],
  [-4098]: ['PGAIO_RELEASE_STATE', 'release in unexpected state'],
  [-4099]: ['PGAIO_CALLBACK_RANGE', 'callback {first} is out of range'],
  [-4100]: ['PGAIO_CALLBACK_COMPLETION', 'callback {first} does not have a completion callback'],
  [-4101]: ['PGAIO_CALLBACK_COUNT', 'too many callbacks, the max is 4'],
  [-4102]: ['PGAIO_WAIT_OWN', 'waiting for own IO {io} in wrong state: {state}'],
  [-4103]: ['PGAIO_WAIT_STATE', 'IO in wrong state: {first}'],
  [-4104]: ['PGAIO_BATCH_NESTED', 'starting batch while batch already in progress'],
  [-4105]: ['PGAIO_REPORT_NONE', 'callback {first}/{callback} does not have report callback'],
  [-4106]: ['PGAIO_SYNC_SUBMIT', 'IO should have been executed synchronously'],
  [-4107]: ['PGAIO_OP_INVALID', 'trying to execute invalid IO operation'],
  [-4108]: ['PGAIO_RESOWNER_IDLE', 'unexpected'],
  [-4109]: ['PGAIO_NO_FREE_IO', 'no free IOs despite no in-flight IOs'],
  [-4110]: ['PGAIO_OLDEST_STATE', "shouldn't get here with io:{first} in state {second}"],
  [-4111]: ['PGAIO_STILL_NO_IDLE', 'no idle IO after waiting for IO to terminate'],
  [-4112]: ['PGAIO_NO_SLOT', 'aio requires a free backend slot'],
  [-4128]: ['PGAIO_NOT_HANDED_OUT', 'IO {io} is not handed out: {state}'],
  [-4129]: ['PGAIO_TARGET_TWICE', 'IO {io} has a target already'],
  [-4130]: ['PGAIO_DATA_TWICE', 'IO {io} has handle data already'],
  [-4131]: ['PGAIO_DATA_LENGTH', 'handle data of {first} entries is outside 1 .. {second}'],
  [-4132]: ['PGAIO_DATA_NONE', 'IO {io} has no handle data'],
  [-4133]: ['PGAIO_NO_TARGET', 'IO {io} has no target'],
  [-4134]: [
    'PGAIO_WREF_STATE',
    'a wait reference is taken before submission, but IO {io} is {state}',
  ],
  [-4135]: ['PGAIO_BATCH_NONE', 'no batch is in progress'],
  [-4136]: ['PGAIO_REPORT_STATUS', 'there is nothing to report for status {status}'],
  [-4137]: ['PGAIO_COMPLETION_STATE', 'completion of IO {io}, which is not submitted: {state}'],
  [-4138]: ['PGAIO_SUBMIT_COUNT', 'the method took {first} of {second} staged IOs'],
  [-4139]: ['PGAIO_CRITICAL', 'not allowed inside a completion callback'],
  [-4140]: ['PGAIO_CANNOT_WAIT', 'nobody can complete IO {io} while its waiter blocks'],
  [-4141]: ['PGAIO_NOT_ARMED', 'nothing of this instance is armed to wait for IO {io}'],
  [-4155]: ['PGAIO_MAY_NOT_BLOCK', 'this thread may not block: await instead'],
  [-4160]: ['PGAIO_NO_BACKEND', 'pgaio_init_backend() has not been called'],
  [-4161]: ['PGAIO_BACKEND_TWICE', 'this instance is backend {first} already'],
  [-4162]: ['PGAIO_BAD_HANDLE', 'not an IO handle: {first}'],
  [-4163]: ['PGAIO_FOREIGN_HANDLE', 'IO {io} belongs to backend {first}'],
  [-4164]: ['PGAIO_BAD_ADDRESS', "address {first} is misaligned or outside the caller's memory"],
  [-4165]: ['PGAIO_BAD_WREF', 'wait reference is not valid: {first}'],
  [-4166]: ['PGAIO_BAD_FLAG', 'unknown handle flag: {first}'],
  [-4167]: ['PGAIO_BAD_TARGET', 'unknown target: {first}'],
  [-4168]: ['PGAIO_BAD_IOVCNT', 'iovec count {first} is outside 1 .. {second}'],
  [-4169]: ['PGAIO_BAD_IOVEC', "iovec {first} lies outside the caller's memory: {second}"],
  [-4170]: ['PGAIO_BAD_LENGTH', 'IO of {first} bytes is longer than 2147479552'],
  [-4171]: ['PGAIO_BAD_OFFSET', 'offset is not a whole number in 0 .. 9007199254740991: {first}'],
  [-4172]: ['PGAIO_BAD_FD', 'not a file descriptor: {first}'],
  [-4173]: ['PGAIO_BAD_RESOWNER', 'not a resource owner: {first}'],
  [-4174]: ['PGAIO_RESOWNER_FULL', 'out of resource owners, the max is {first}'],
  [-4175]: ['PGAIO_RESOWNER_BUSY', 'resource owner still holds {first} IOs and {second} children'],
  [-4176]: ['PGAIO_BAD_FORK', 'unknown fork: {first}'],
  [-4177]: [
    'PGAIO_BAD_BLOCKS',
    'block range is empty or passes the last block number: {second} from {first}',
  ],
  [-4178]: ['PGAIO_BAD_FRAME', 'not a run of page frames of this backend: {second} from {first}'],
  [-4179]: [
    'PGAIO_BAD_RESULT',
    'raw result {first} is neither a length up to {second} nor a negative errno',
  ],
  [-4180]: ['PGAIO_BAD_LEVEL', 'unknown error level: {first}'],
  [-4181]: ['PGAIO_BAD_FILE', 'not the number of an open file: {first}'],
  [-4182]: [
    'PGAIO_FILES_FULL',
    'no room for another file, or for so long a path: {first}, {second}',
  ],
  [-4183]: ['PGAIO_BAD_WORKER', 'not the number of an I/O worker: {first}'],
  [-4185]: ['PGAIO_CALLBACK_MISSING', 'callback {first} is not loaded in this thread'],
  [-4320]: ['PGAIO_BAD_STREAM', 'not a read stream of this backend: {first}'],
  [-4321]: ['PGAIO_STREAM_BUSY', 'a read stream cannot be used inside its own callback'],
  [-4322]: ['PGAIO_STREAM_MEMORY', 'a read stream needs {second} bytes, and was given {first}'],
  [-4323]: ['PGAIO_STREAM_CALLBACK', 'the callback of a read stream threw'],
  [-4324]: ['PGAIO_STREAM_FLAGS', 'a read stream cannot be begun with {first} and {second}'],
  [-4325]: ['PGAIO_STREAM_SOURCE', 'this read stream is not fed with blocks, or not any more'],
  [-4192]: ['PGAIO_BAD_SETTING', 'setting {first} cannot be {second}'],
  [-4193]: ['PGAIO_SETTING_LATE', 'setting {first} cannot be changed after start'],
  [-4194]: ['PGAIO_MEMORY_SIZE', 'shared memory has {first} bytes and needs {second}'],
  [-4195]: ['PGAIO_MEMORY_FOREIGN', 'memory holds something else'],
  [-4196]: [
    'PGAIO_LAYOUT_VERSION',
    'shared memory has layout version {first}, this engine has {second}',
  ],
  [-4197]: [
    'PGAIO_MEMORY_LIMIT',
    'settings need {first} bytes of shared memory, the most is 4294901760',
  ],
  [-4198]: ['PGAIO_INIT_TWICE', 'this instance has its shared memory already'],
  [-4199]: ['PGAIO_URING_SETUP', 'could not setup io_uring queue: {errno}'],
  [-4200]: ['PGAIO_URING_WAIT', 'io_uring wait failed: {errno}'],
  [-4224]: ['PGAIO_SMGR_OPEN', 'could not open file "{path}": {strerror}'],
  [-4225]: [
    'PGAIO_SMGR_OPEN_BLOCK',
    'could not open file "{path}" (target block {second}): {strerror}',
  ],
  [-4226]: [
    'PGAIO_SMGR_PREVIOUS',
    'could not open file "{path}" (target block {first}): ' +
      'previous segment is only {second} blocks',
  ],
  [-4227]: ['PGAIO_SMGR_SIZE', 'could not seek to end of file "{path}": {strerror}'],
  [-4228]: ['PGAIO_SMGR_CREATE', 'could not create file "{path}": {strerror}'],
  [-4229]: [
    'PGAIO_SMGR_TRUNCATE',
    'could not truncate file "{path}" to {second} blocks: {strerror}',
  ],
  [-4230]: [
    'PGAIO_SMGR_TRUNCATE_UP',
    'could not truncate file "{path}" to {first} blocks: it\'s only {second} blocks now',
  ],
  [-4231]: ['PGAIO_SMGR_REMOVE', 'could not remove file "{path}": {strerror}'],
  [-4232]: ['PGAIO_SMGR_EXTEND', 'could not extend file "{path}": {strerror}'],
  [-4233]: ['PGAIO_SMGR_BEYOND', 'cannot extend file "{path}" beyond {first} blocks'],
  [-4234]: ['PGAIO_SMGR_READ_CROSSES', 'read crossing segment boundary'],
  [-4235]: ['PGAIO_SMGR_WRITE_CROSSES', 'write crossing segment boundary'],
  [-4236]: ['PGAIO_BAD_RELATION', 'not a relation fork: {first}, {second}'],
  [-4237]: ['PGAIO_IO_FAILED', 'an I/O failed'],
  [-4256]: ['PGAIO_NO_BUFFERS', 'no unpinned buffers available'],
  [-4257]: ['PGAIO_NO_LOCAL_BUFFERS', 'no empty local buffer available'],
  [-4258]: ['PGAIO_BAD_BUFFER', 'bad buffer ID: {first}'],
  [-4259]: ['PGAIO_NOT_PINNED', 'buffer {first} is not pinned by this backend'],
  [-4260]: ['PGAIO_NOT_LOCKED', 'buffer {first} is not locked as needed by this backend'],
  [-4261]: ['PGAIO_LOCKED', 'buffer {first} is locked by this backend already'],
  [-4262]: ['PGAIO_BUFFER_IO', 'I/O on buffer {first} has not begun, or has'],
  [-4263]: ['PGAIO_NO_READ', "waiting for read operation that didn't read"],
  [-4264]: ['PGAIO_READ_BLOCKS', 'a read of buffers cannot be of {second} blocks from {first}'],
  [-4265]: ['PGAIO_PINS_FULL', 'buffer {first} has as many pins as can be counted'],
  [-4266]: ['PGAIO_BUFFER_BUSY', 'block {first} is still referenced ({second})'],
  [-4267]: ['PGAIO_NO_LOCAL_MEMORY', 'no {first} page frames for local buffers'],
  [-4268]: ['PGAIO_BAD_STRATEGY', 'not an access strategy: {first}'],
};

/** SQLSTATEs other than XX000 (internal error), by code. */
const SQLSTATES: Readonly<Record<string, string>> = {
  PGAIO_NO_SLOT: '53000',
  PGAIO_RESOWNER_FULL: '53000',
  PGAIO_FILES_FULL: '53000',
  PGAIO_MEMORY_LIMIT: '53200',
  PGAIO_STREAM_MEMORY: '53200',
  PGAIO_NO_BUFFERS: '53200',
  PGAIO_NO_LOCAL_BUFFERS: '53200',
  PGAIO_NO_LOCAL_MEMORY: '53200',
  PGAIO_SMGR_BEYOND: '54000',
  PGAIO_BAD_SETTING: '22023',
  PGAIO_SETTING_LATE: '55P02',
};

/** A call that cannot be carried out as it was made. */
export class AioUsageError extends AioError {
  /** Handle concerned, or undefined. */
  readonly io: number | undefined;
  /** State that handle was in. */
  readonly state: string | undefined;
  /** The first of the numbers its words are about. */
  readonly number: number;

  constructor(words: AioErrorWords, record?: ErrorRecord) {
    super(words);
    this.number = record?.first ?? 0;
    const known = record !== undefined && record.io >= 0;
    this.io = known ? record.io : undefined;
    this.state = known ? nameOf(STATE_NAMES, record.state) : undefined;
  }
}

/** Whether a number the core answered with is one of our errors (and not a result or an errno). */
export function isUsageNumber(number: number): boolean {
  return number in USAGE;
}

/** The error for a number of the core and the record it left. */
export function usageError(number: number, record: ErrorRecord): AioUsageError {
  const entry = USAGE[number];
  if (entry === undefined) throw new RangeError(`the core answered ${number}, which has no words`);
  const [code, template] = entry;
  const state = nameOf(STATE_NAMES, record.state);
  const values: Readonly<Record<string, string>> = {
    io: String(record.io),
    state,
    first: String(record.first),
    second: String(record.second),
    path: record.path ?? '',
    callback: callbackName(record.first),
    status: nameOf(STATUS_NAMES, record.first),
    errno: strerror(record.first),
  };
  return new AioUsageError(
    {
      code,
      message: template.replace(/\{(\w+)\}/g, (_, name: string) => values[name] ?? ''),
      sqlstate: SQLSTATES[code] ?? 'XX000',
      detail: detailOf(code, record, state),
    },
    record,
  );
}

/**
 * The error for a number that is about a file of a relation: AioIoError where the system refused,
 * undefined for other numbers.
 */
export function fileError(number: number, record: ErrorRecord): AioIoError | undefined {
  const [code, template] = USAGE[number] ?? [];
  const refused = template?.includes('{strerror}') === true || number === PREVIOUS_SEGMENT;
  if (code === undefined || template === undefined || !refused) return undefined;
  const errno = number === PREVIOUS_SEGMENT ? ENOENT : record.first;
  const path = record.path ?? '';
  return new AioIoError({ ...fileWords(code, template, record, errno), errno, path });
}
const PREVIOUS_SEGMENT = -4226;
const ENOENT = 2;

function fileWords(code: `PGAIO_${string}`, template: string, record: ErrorRecord, errno: number) {
  const values: Readonly<Record<string, string>> = {
    first: String(record.first),
    second: String(record.second),
    path: record.path ?? '',
    strerror: strerror(errno),
  };
  const message = template.replace(/\{(\w+)\}/g, (_, name: string) => values[name] ?? '');
  const hint = code === 'PGAIO_SMGR_EXTEND' ? 'Check free disk space.' : undefined;
  return { code, message, sqlstate: sqlstateOfErrno(errno), hint };
}

function detailOf(code: string, record: ErrorRecord, state: string): string | undefined {
  if (code === 'PGAIO_NO_FREE_IO') {
    return `${record.first} pending, 0 in-flight, ${record.second} idle IOs`;
  }
  return record.io < 0 ? undefined : `IO ${record.io} is in state ${state}.`;
}

/** A read or write that failed, or moved too little. */
export class AioIoError extends AioError {
  /** Linux number of the error, 0 for a transfer that was merely short. */
  readonly errno: number;
  /** File or relation path, as in the message. */
  readonly path: string;

  constructor(words: AioErrorWords & { readonly errno: number; readonly path: string }) {
    super(words);
    this.errno = words.errno;
    this.path = words.path;
  }
}

/** Pages that were read and are not valid. */
export class AioPageError extends AioError {
  /** Relation path, as in the message. */
  readonly path: string;
  /** First block of the read, counted over the relation. */
  readonly firstBlock: number;
  /** Last block of the read. */
  readonly lastBlock: number;

  constructor(
    words: AioErrorWords & {
      readonly path: string;
      readonly firstBlock: number;
      readonly lastBlock: number;
    },
  ) {
    super(words);
    this.path = words.path;
    this.firstBlock = words.firstBlock;
    this.lastBlock = words.lastBlock;
  }
}

/** A callback of the host's that threw; `cause` is what it threw, where it is still known. */
export class AioCallbackError extends AioError {
  readonly callback: number;

  constructor(callback: number, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super({
      code: 'PGAIO_CALLBACK_THREW',
      message:
        cause === undefined
          ? `callback ${callback} threw, or is not loaded, where the IO completed`
          : `callback ${callback} threw: ${why}`,
      sqlstate: 'XX000',
      cause,
    });
    this.callback = callback;
  }
}

/** A setting that PostgreSQL, too, would refuse. */
export class AioSettingError extends AioError {
  /** The same about a setting that has another name to its user. */
  renamed(from: string, to: string): AioSettingError {
    const { code, sqlstate, detail, hint } = this;
    const message = this.message.replace(`"${from}"`, `"${to}"`);
    return new AioSettingError({ code, message, sqlstate, detail, hint });
  }
}

/** Something this machine, process or file cannot do. */
export class AioUnavailableError extends AioError {}
