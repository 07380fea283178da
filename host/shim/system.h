/*
 * The system calls the shim makes, and the kernel's structures it fills in and reads, from the
 * kernel's user API. Nothing here comes from a C library: one binary loads under glibc and musl
 * alike, and a shim that cannot call malloc cannot leak what it did not map.
 */
#ifndef PGAIO_SYSTEM_H
#define PGAIO_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
enum {
  SYS_CLOSE = 3,
  SYS_MMAP = 9,
  SYS_MUNMAP = 11,
  SYS_MADVISE = 28,
  SYS_FCNTL = 72,
  SYS_FUTEX = 202,
  SYS_IO_SETUP = 206,
  SYS_IO_DESTROY = 207,
  SYS_IO_GETEVENTS = 208,
  SYS_IO_SUBMIT = 209,
  SYS_PPOLL = 271,
  SYS_PREADV = 295,
  SYS_PWRITEV = 296,
  SYS_PRLIMIT64 = 302,
  SYS_STATX = 332,
};
#elif defined(__aarch64__)
enum {
  SYS_CLOSE = 57,
  SYS_MMAP = 222,
  SYS_MUNMAP = 215,
  SYS_MADVISE = 233,
  SYS_FCNTL = 25,
  SYS_IO_SETUP = 0,
  SYS_IO_DESTROY = 1,
  SYS_IO_SUBMIT = 2,
  SYS_IO_GETEVENTS = 4,
  SYS_PPOLL = 73,
  SYS_FUTEX = 98,
  SYS_PREADV = 69,
  SYS_PWRITEV = 70,
  SYS_PRLIMIT64 = 261,
  SYS_STATX = 291,
};
#else
#error "the shim knows the system calls of x86-64 and arm64"
#endif
enum { FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129 };
enum { DUPFD_CLOEXEC = 1030, RLIMIT_MEMLOCK = 8, ADVICE_HUGEPAGE = 14 };
enum { SYS_URING_SETUP = 425, SYS_URING_ENTER = 426, SYS_URING_REGISTER = 427 };

/* What others may be writing is read once. */
#define LOAD(at) __atomic_load_n((at), __ATOMIC_SEQ_CST)
#define STORE(at, value) __atomic_store_n((at), (value), __ATOMIC_SEQ_CST)

/* Makes a system call: its result, or -errno. */
static inline long system_call(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
#else
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
#endif
}

enum {
  ERR_INTR = 4,
  ERR_BADF = 9,
  ERR_AGAIN = 11,
  ERR_NOMEM = 12,
  ERR_FAULT = 14,
  ERR_BUSY = 16,
  ERR_INVAL = 22,
  ERR_MFILE = 24,
  ERR_NOSYS = 38,
  ERR_TIME = 62,
  ERR_NOTSUP = 95,
};

/* Whether the descriptor can be read from, within so long. 1, 0 when the time was up, or -errno. */
static inline int poll_readable(int fd, uint32_t milliseconds) {
  struct {
    int fd;
    short events, revents;
  } polled = { fd, 1, 0 };
  struct {
    int64_t seconds, nanoseconds;
  } time = { milliseconds / 1000, (milliseconds % 1000) * 1000000L };
  return (int)system_call(SYS_PPOLL, (long)&polled, fd < 0 ? 0 : 1, (long)&time, 0, 8, 0);
}

/* Zeroed memory of its own, or NULL. */
static inline void *map_private(size_t bytes) {
  long at = system_call(SYS_MMAP, 0, (long)bytes, 3, 0x22, -1, 0);
  return at < 0 && at > -4096 ? NULL : (void *)at;
}
static inline void unmap(void *at, size_t bytes) {
  if (at != NULL) system_call(SYS_MUNMAP, (long)at, (long)bytes, 0, 0, 0, 0);
}

/* linux/uio.h */
struct kernel_iovec {
  uint64_t base;
  uint64_t length;
};

/* linux/aio_abi.h; both architectures are little-endian */
struct iocb {
  uint64_t data;
  uint32_t key;
  uint32_t rw_flags;
  uint16_t opcode;
  int16_t priority;
  uint32_t fd;
  uint64_t address;
  uint64_t count;
  int64_t offset;
  uint64_t reserved;
  uint32_t flags;
  uint32_t event_fd;
};
_Static_assert(sizeof(struct iocb) == 64, "the kernel's request has 64 bytes");
struct io_event {
  uint64_t data;
  uint64_t request;
  int64_t result;
  int64_t result2;
};
_Static_assert(sizeof(struct io_event) == 32, "the kernel's event has 32 bytes");
enum { IOCB_PREADV = 7, IOCB_PWRITEV = 8 };

/* linux/io_uring.h */
struct uring_sqe {
  uint8_t opcode;
  uint8_t flags;
  uint16_t ioprio;
  int32_t fd;
  uint64_t offset;
  uint64_t address;
  uint32_t length;
  uint32_t op_flags;
  uint64_t user_data;
  uint16_t buffer;
  uint16_t personality;
  int32_t splice_fd;
  uint64_t address3;
  uint64_t pad;
};
_Static_assert(sizeof(struct uring_sqe) == 64, "the kernel's submission entry has 64 bytes");

struct uring_cqe {
  uint64_t user_data;
  int32_t result;
  uint32_t flags;
};
_Static_assert(sizeof(struct uring_cqe) == 16, "the kernel's completion entry has 16 bytes");

struct uring_sq_offsets {
  uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, reserved;
  uint64_t user_address;
};
struct uring_cq_offsets {
  uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, reserved;
  uint64_t user_address;
};
struct uring_params {
  uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd;
  uint32_t reserved[3];
  struct uring_sq_offsets sq;
  struct uring_cq_offsets cq;
};
_Static_assert(sizeof(struct uring_params) == 120, "the kernel's parameters have 120 bytes");

struct uring_getevents {
  uint64_t sigmask;
  uint32_t sigmask_bytes;
  uint32_t min_wait_us;
  uint64_t timeout;
};
struct kernel_timespec {
  int64_t seconds, nanoseconds;
};
struct uring_clone {
  uint32_t source_fd, flags, source_offset, offset, count, reserved[3];
};
struct uring_probe {
  uint8_t last_op, ops_len;
  uint16_t reserved;
  uint32_t reserved2[3];
  struct {
    uint8_t op, reserved;
    uint16_t flags;
    uint32_t reserved2;
  } ops[64];
};

enum {
  SETUP_CQSIZE = 1 << 3,
  SETUP_CLAMP = 1 << 4,
  SETUP_NO_MMAP = 1 << 14,
  FEAT_SINGLE_MMAP = 1 << 0,
  FEAT_NODROP = 1 << 1,
  FEAT_EXT_ARG = 1 << 8,
  ENTER_GETEVENTS = 1 << 0,
  ENTER_EXT_ARG = 1 << 3,
  SQ_CQ_OVERFLOW = 1 << 1,
  REGISTER_BUFFERS = 0,
  UNREGISTER_BUFFERS = 1,
  REGISTER_PROBE = 8,
  CLONE_BUFFERS = 30,
  PROBE_SUPPORTED = 1 << 0,
  OP_READV = 1,
  OP_WRITEV = 2,
  OP_FSYNC = 3,
  OP_READ_FIXED = 4,
  OP_WRITE_FIXED = 5,
  OP_SYNC_FILE_RANGE = 8,
  OP_READ = 22,
  OP_WRITE = 23,
  SQE_ASYNC = 1 << 4,
  FSYNC_DATASYNC = 1 << 0,
  FLUSH_RANGE_FLAGS = 7,
};
#define MAP_SQ_RING 0L
#define MAP_SQES 0x10000000L

#endif
