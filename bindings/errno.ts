/**
 * Error numbers in and out: Linux errno, WASI preview 1 errno, the words and the SQLSTATE.
 *
 * The core reports -errno in Linux's numbering whatever the host, since PostgreSQL's messages end
 * in `%m` and its SQLSTATE follows from errno. Hosts meet two other namings: Node's `error.code`
 * (the name) and WASI's own numbers. Here is the only table that joins the three.
 * The numbers are those of x86-64 and arm64, the words glibc's in the C locale.
 */

/** Entry `n - 1` is errno `n`: name, blank, glibc's words. Linux leaves the two empty ones out. */
const LINUX: readonly string[] = [
  'EPERM Operation not permitted',
  'ENOENT No such file or directory',
  'ESRCH No such process',
  'EINTR Interrupted system call',
  'EIO Input/output error',
  'ENXIO No such device or address',
  'E2BIG Argument list too long',
  'ENOEXEC Exec format error',
  'EBADF Bad file descriptor',
  'ECHILD No child processes',
  'EAGAIN Resource temporarily unavailable',
  'ENOMEM Cannot allocate memory',
  'EACCES Permission denied',
  'EFAULT Bad address',
  'ENOTBLK Block device required',
  'EBUSY Device or resource busy',
  'EEXIST File exists',
  'EXDEV Invalid cross-device link',
  'ENODEV No such device',
  'ENOTDIR Not a directory',
  'EISDIR Is a directory',
  'EINVAL Invalid argument',
  'ENFILE Too many open files in system',
  'EMFILE Too many open files',
  'ENOTTY Inappropriate ioctl for device',
  'ETXTBSY Text file busy',
  'EFBIG File too large',
  'ENOSPC No space left on device',
  'ESPIPE Illegal seek',
  'EROFS Read-only file system',
  'EMLINK Too many links',
  'EPIPE Broken pipe',
  'EDOM Numerical argument out of domain',
  'ERANGE Numerical result out of range',
  'EDEADLK Resource deadlock avoided',
  'ENAMETOOLONG File name too long',
  'ENOLCK No locks available',
  'ENOSYS Function not implemented',
  'ENOTEMPTY Directory not empty',
  'ELOOP Too many levels of symbolic links',
  '',
  'ENOMSG No message of desired type',
  'EIDRM Identifier removed',
  'ECHRNG Channel number out of range',
  'EL2NSYNC Level 2 not synchronized',
  'EL3HLT Level 3 halted',
  'EL3RST Level 3 reset',
  'ELNRNG Link number out of range',
  'EUNATCH Protocol driver not attached',
  'ENOCSI No CSI structure available',
  'EL2HLT Level 2 halted',
  'EBADE Invalid exchange',
  'EBADR Invalid request descriptor',
  'EXFULL Exchange full',
  'ENOANO No anode',
  'EBADRQC Invalid request code',
  'EBADSLT Invalid slot',
  '',
  'EBFONT Bad font file format',
  'ENOSTR Device not a stream',
  'ENODATA No data available',
  'ETIME Timer expired',
  'ENOSR Out of streams resources',
  'ENONET Machine is not on the network',
  'ENOPKG Package not installed',
  'EREMOTE Object is remote',
  'ENOLINK Link has been severed',
  'EADV Advertise error',
  'ESRMNT Srmount error',
  'ECOMM Communication error on send',
  'EPROTO Protocol error',
  'EMULTIHOP Multihop attempted',
  'EDOTDOT RFS specific error',
  'EBADMSG Bad message',
  'EOVERFLOW Value too large for defined data type',
  'ENOTUNIQ Name not unique on network',
  'EBADFD File descriptor in bad state',
  'EREMCHG Remote address changed',
  'ELIBACC Can not access a needed shared library',
  'ELIBBAD Accessing a corrupted shared library',
  'ELIBSCN .lib section in a.out corrupted',
  'ELIBMAX Attempting to link in too many shared libraries',
  'ELIBEXEC Cannot exec a shared library directly',
  'EILSEQ Invalid or incomplete multibyte or wide character',
  'ERESTART Interrupted system call should be restarted',
  'ESTRPIPE Streams pipe error',
  'EUSERS Too many users',
  'ENOTSOCK Socket operation on non-socket',
  'EDESTADDRREQ Destination address required',
  'EMSGSIZE Message too long',
  'EPROTOTYPE Protocol wrong type for socket',
  'ENOPROTOOPT Protocol not available',
  'EPROTONOSUPPORT Protocol not supported',
  'ESOCKTNOSUPPORT Socket type not supported',
  'EOPNOTSUPP Operation not supported',
  'EPFNOSUPPORT Protocol family not supported',
  'EAFNOSUPPORT Address family not supported by protocol',
  'EADDRINUSE Address already in use',
  'EADDRNOTAVAIL Cannot assign requested address',
  'ENETDOWN Network is down',
  'ENETUNREACH Network is unreachable',
  'ENETRESET Network dropped connection on reset',
  'ECONNABORTED Software caused connection abort',
  'ECONNRESET Connection reset by peer',
  'ENOBUFS No buffer space available',
  'EISCONN Transport endpoint is already connected',
  'ENOTCONN Transport endpoint is not connected',
  'ESHUTDOWN Cannot send after transport endpoint shutdown',
  'ETOOMANYREFS Too many references: cannot splice',
  'ETIMEDOUT Connection timed out',
  'ECONNREFUSED Connection refused',
  'EHOSTDOWN Host is down',
  'EHOSTUNREACH No route to host',
  'EALREADY Operation already in progress',
  'EINPROGRESS Operation now in progress',
  'ESTALE Stale file handle',
  'EUCLEAN Structure needs cleaning',
  'ENOTNAM Not a XENIX named type file',
  'ENAVAIL No XENIX semaphores available',
  'EISNAM Is a named type file',
  'EREMOTEIO Remote I/O error',
  'EDQUOT Disk quota exceeded',
  'ENOMEDIUM No medium found',
  'EMEDIUMTYPE Wrong medium type',
  'ECANCELED Operation canceled',
  'ENOKEY Required key not available',
  'EKEYEXPIRED Key has expired',
  'EKEYREVOKED Key has been revoked',
  'EKEYREJECTED Key was rejected by service',
  'EOWNERDEAD Owner died',
  'ENOTRECOVERABLE State not recoverable',
  'ERFKILL Operation not possible due to RF-kill',
  'EHWPOISON Memory page has hardware error',
];

/** Index is the WASI errno, the name lacks its leading E. */
const WASI = (
  'SUCCESS 2BIG ACCES ADDRINUSE ADDRNOTAVAIL AFNOSUPPORT AGAIN ALREADY BADF BADMSG BUSY ' +
  'CANCELED CHILD CONNABORTED CONNREFUSED CONNRESET DEADLK DESTADDRREQ DOM DQUOT EXIST ' +
  'FAULT FBIG HOSTUNREACH IDRM ILSEQ INPROGRESS INTR INVAL IO ISCONN ISDIR LOOP MFILE MLINK ' +
  'MSGSIZE MULTIHOP NAMETOOLONG NETDOWN NETRESET NETUNREACH NFILE NOBUFS NODEV NOENT NOEXEC ' +
  'NOLCK NOLINK NOMEM NOMSG NOPROTOOPT NOSPC NOSYS NOTCONN NOTDIR NOTEMPTY NOTRECOVERABLE ' +
  'NOTSOCK NOTSUP NOTTY NXIO OVERFLOW OWNERDEAD PERM PIPE PROTO PROTONOSUPPORT PROTOTYPE ' +
  'RANGE ROFS SPIPE SRCH STALE TIMEDOUT TXTBSY XDEV NOTCAPABLE'
)
  .split(' ')
  .map((name) => `E${name}`);

/** Second names of one number, and WASI's ENOTCAPABLE: no right to do this, as EACCES says. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ['EWOULDBLOCK', 'EAGAIN'],
  ['EDEADLOCK', 'EDEADLK'],
  ['ENOTSUP', 'EOPNOTSUPP'],
  ['ENOTCAPABLE', 'EACCES'],
]);

const EIO = 5;
const WASI_EIO = WASI.indexOf('EIO');

const NAMES = LINUX.map((entry) => entry.split(' ', 1)[0] ?? '');
const LINUX_BY_NAME: ReadonlyMap<string, number> = new Map(
  NAMES.flatMap((name, index): [string, number][] => (name === '' ? [] : [[name, index + 1]])),
);
const LINUX_BY_WASI = WASI.map((name, index) => (index === 0 ? 0 : (errnoOfName(name) ?? EIO)));
/** The first WASI number wins where two mean one Linux number: EACCES stays ACCES. */
const WASI_BY_LINUX: ReadonlyMap<number, number> = new Map(
  LINUX_BY_WASI.map((errno, wasi): [number, number] => [errno, wasi]).reverse(),
);

/** The SQLSTATEs errcode_for_file_access chooses from; every other errno is an internal error. */
const SQLSTATES: ReadonlyMap<string, string> = new Map([
  ['EPERM', '42501'],
  ['EACCES', '42501'],
  ['EROFS', '42501'],
  ['ENOENT', '58P01'],
  ['EEXIST', '58P02'],
  ['ENOTDIR', '42809'],
  ['EISDIR', '42809'],
  ['ENOTEMPTY', '42809'],
  ['ENOSPC', '53100'],
  ['ENOMEM', '53200'],
  ['ENFILE', '53000'],
  ['EMFILE', '53000'],
  ['EIO', '58030'],
  ['ENAMETOOLONG', '58P03'],
]);
const INTERNAL_ERROR = 'XX000';

/** Name of a Linux errno (2: `'ENOENT'`); undefined for 0 and for numbers Linux does not use. */
export function errnoName(errno: number): string | undefined {
  const name = NAMES[errno - 1];
  return name === '' ? undefined : name;
}

/** Linux errno of a name, as in Node's `error.code`; undefined for a name Linux does not have. */
export function errnoOfName(name: string): number | undefined {
  return LINUX_BY_NAME.get(ALIASES.get(name) ?? name);
}

/** glibc's words for a Linux errno, as `%m` prints them: `'No such file or directory'`. */
export function strerror(errno: number): string {
  if (errno === 0) return 'Success';
  const entry = LINUX[errno - 1] ?? '';
  return entry === '' ? `Unknown error ${errno}` : entry.slice(entry.indexOf(' ') + 1);
}

/** Linux errno of a WASI preview 1 errno; EIO for a number that preview 1 does not define. */
export function errnoOfWasi(wasi: number): number {
  return LINUX_BY_WASI[wasi] ?? EIO;
}

/** WASI preview 1 errno of a Linux errno; WASI's EIO for one that preview 1 lacks. */
export function wasiOfErrno(errno: number): number {
  return WASI_BY_LINUX.get(errno) ?? WASI_EIO;
}

/** WASI preview 1 errno of a name, as in Node's `error.code`; WASI's EIO for any other string. */
export function wasiOfErrnoName(code: string): number {
  const errno = errnoOfName(code);
  return code === 'ENOTCAPABLE' ? WASI.indexOf(code) : wasiOfErrno(errno ?? EIO);
}

/**
 * SQLSTATE that PostgreSQL 18 reports when an operation on a file fails with this Linux errno.
 * After errcode_for_file_access (elog.c), whose last branch makes everything else XX000.
 */
export function sqlstateOfErrno(errno: number): string {
  return SQLSTATES.get(errnoName(errno) ?? '') ?? INTERNAL_ERROR;
}
