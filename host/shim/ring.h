/*
 * Rings: what lies behind the shim's functions, without anything of Node's. All state here is
 * private to the process and never read from the linear memory, which a stray write may have
 * changed; what comes from there is checked each time (check_entry).
 */
#ifndef PGAIO_RING_H
#define PGAIO_RING_H

#include "system.h"

enum { BATCH = 32, IOV_MAX_ENTRIES = 128, RINGS = 4096, MEMORIES = 1024 };
/* Where `setup` leaves what the core needs: u32 each, addresses in the linear memory. */
enum {
  OUT_BASE_LOW, OUT_BASE_HIGH, OUT_SQ_HEAD, OUT_SQ_TAIL, OUT_SQ_FLAGS, OUT_CQ_HEAD, OUT_CQ_TAIL,
  OUT_CQ_ENTRIES, OUT_CQES, OUT_FIXED_BYTES, OUT_WORDS,
};

/* A linear memory; several threads of the process may have it. */
struct memory {
  uint8_t *base;
  uint64_t bytes;
  uint32_t users, ring_users;
};

/* A kernel's ring as it was mapped, be it here or in the linear memory. */
struct kernel_ring {
  int fd;
  void *rings, *sqes_map;
  size_t rings_bytes, sqes_bytes;
  struct uring_sqe *sqes;
  uint32_t *sq_head, *sq_tail, *sq_flags, *cq_head, *cq_tail;
  struct uring_cqe *cqes;
  uint32_t sq_entries, cq_entries, features;
};

struct ring {
  uint32_t used; /* 0 free, 1 in use, 2 being closed */
  bool shared; /* the kernel's rings lie in the linear memory */
  struct memory *memory;
  void *owner; /* environment whose thread submits; NULL when that is gone */
  struct kernel_ring kernel;
  struct kernel_iovec *iovecs; /* BATCH * IOV_MAX_ENTRIES, private copies; checked only */
  uint32_t submitting, reaping; /* try-locks: misuse by two threads is refused, not endured */
  uint32_t leader; /* 1 while a thread waits in the kernel */
  uint32_t taken; /* entries the kernel or `refused` has taken, wraps */
  uint32_t kernel_taken; /* of these the kernel */
  uint32_t seen; /* completions read from the kernel; checked only */
  uint32_t moved; /* completions written to the linear memory; checked only */
  struct uring_cqe refused[2 * BATCH]; /* answers of the shim's own */
  uint32_t refused_head, refused_tail;
  uint32_t refusals;
  uint32_t fixed_bytes; /* registered with the kernel, from where `setup` said */
  uint32_t cloning; /* threads that take these over for another ring */
  bool counts_fixed; /* these are part of `fixed_total` */
  /* Places in the linear memory, checked when they were given. */
  uint32_t *cursor, *leader_word, *linear_cq_head, *linear_cq_tail;
  struct uring_sqe *linear_sqes;
  struct uring_cqe *linear_cqes;
};

struct setup {
  uint32_t cq_entries;
  bool shared;
  uint32_t rings_at, rings_bytes; /* room for rings */
  uint32_t sqes_at; /* BATCH entries */
  uint32_t cursor_at; /* the core's count of completions it has dealt with */
  uint32_t leader_at; /* set while a thread waits in the kernel */
  uint32_t fixed_at, fixed_bytes; /* to be registered, if the kernel takes it */
  uint32_t out_at;
};

struct memory *memory_attach(uint8_t *base, uint64_t bytes);
void memory_use_rings(struct memory *memory);
void memory_detach(struct memory *memory, bool uses_rings);
/* Number of the ring, new or the one the slot has, or -errno. */
int ring_setup(struct memory *memory, void *owner, const struct setup *setup);
/* The ring, if it belongs to that memory. */
struct ring *ring_find(struct memory *memory, int number);
int ring_enter(struct ring *ring, uint32_t first, uint32_t count);
int ring_reap(struct ring *ring);
enum { WAIT_WOKEN = 0, WAIT_TIME_UP = 1, WAIT_TAKEN = 2 };
int ring_wait(struct ring *ring, uint32_t seen, uint32_t milliseconds);
void ring_leave(struct ring *ring);
int ring_close(struct ring *ring);
/* What the thread of `owner` has under way ends before the thread does. */
void rings_drain(void *owner);
struct ring *ring_at(int number);

/* Descriptors that pgaio has opened. */
int descriptor_allow(int fd, uint16_t owner);
bool descriptor_forbid(int fd);
void descriptors_forget(uint16_t owner);

/* Answers of ring_probe, in its `out`. */
enum { PROBE_STAGE, PROBE_ERRNO, PROBE_MISSING, PROBE_SHARED_ERRNO, PROBE_WORDS };
enum { STAGE_READY, STAGE_SETUP, STAGE_OPERATIONS, STAGE_FEATURES, STAGE_MAP };
void ring_probe(int32_t *out);

bool in_memory(const struct memory *memory, uint64_t address, uint64_t bytes);
/* Whether [at, at + bytes) lies in the linear memory and is aligned for what is read there. */
bool is_place(const struct memory *memory, uint32_t at, uint64_t bytes, uint32_t align);
/* The core's iovecs as the kernel's, looked at as they are copied. How many, or -errno. */
int copy_iovecs(const struct memory *memory, uint32_t iovs, uint32_t count,
  struct kernel_iovec *to);
/* Blocking I/O over the core's iovecs. Bytes, or -errno. */
long transfer(struct memory *memory, bool write, int fd, uint32_t iovs, uint32_t count,
  uint64_t at);
int direct_alignment(int fd, uint32_t *memory_align, uint32_t *offset_align);

#endif
