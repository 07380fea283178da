/* See ring.h. */
#include "ring.h"

static struct memory memories[MEMORIES];
static struct ring rings[RINGS];
static uint32_t tables_lock;

static bool try_lock(uint32_t *word) { return __atomic_exchange_n(word, 1, __ATOMIC_SEQ_CST) == 0; }
static void unlock(uint32_t *word) { STORE(word, 0); }
/* Sections below it are a few hundred instructions, and a thread is never ended in native code. */
static void lock_tables(void) {
  while (!try_lock(&tables_lock)) __asm__ volatile("" ::: "memory");
}

static void fill_zero(void *at, size_t bytes) {
  volatile uint8_t *to = at;
  for (size_t i = 0; i < bytes; i++) to[i] = 0;
}

/* Memories. */

struct memory *memory_attach(uint8_t *base, uint64_t bytes) {
  struct memory *found = NULL;
  lock_tables();
  for (int i = 0; i < MEMORIES && found == NULL; i++) {
    if (memories[i].users > 0 && memories[i].base == base) found = &memories[i];
  }
  for (int i = 0; i < MEMORIES && found == NULL; i++) {
    if (memories[i].users == 0) found = &memories[i];
  }
  if (found != NULL) {
    found->base = base;
    found->bytes = bytes;
    found->users++;
  }
  unlock(&tables_lock);
  return found;
}

void memory_use_rings(struct memory *memory) {
  __atomic_fetch_add(&memory->ring_users, 1, __ATOMIC_SEQ_CST);
}

/*
 * Lets go of a memory. The last who has made a ring takes all rings along, while he has the memory:
 * of others nobody knows whether it is still there.
 */
void memory_detach(struct memory *memory, bool uses_rings) {
  bool last = uses_rings && __atomic_fetch_sub(&memory->ring_users, 1, __ATOMIC_SEQ_CST) == 1;
  if (last) {
    for (int i = 0; i < RINGS; i++) {
      if (LOAD(&rings[i].used) == 1 && rings[i].memory == memory) ring_close(&rings[i]);
    }
  }
  lock_tables();
  memory->users--;
  unlock(&tables_lock);
}

bool in_memory(const struct memory *memory, uint64_t address, uint64_t bytes) {
  uint64_t base = (uint64_t)(uintptr_t)memory->base;
  return address >= base && address - base <= memory->bytes
    && bytes <= memory->bytes - (address - base);
}
bool is_place(const struct memory *memory, uint32_t at, uint64_t bytes, uint32_t align) {
  return at % align == 0 && at <= memory->bytes && bytes <= memory->bytes - at;
}

/* Descriptors. */

enum { DESCRIPTORS = 1 << 20 };
static uint16_t descriptor_owner[DESCRIPTORS]; /* 0: not ours; else the environment's number */
static int descriptors_end; /* one above the highest that was ever ours */

int descriptor_allow(int fd, uint16_t owner) {
  if (fd < 0 || fd >= DESCRIPTORS) return -ERR_MFILE;
  __atomic_store_n(&descriptor_owner[fd], owner, __ATOMIC_SEQ_CST);
  int end = LOAD(&descriptors_end);
  while (fd >= end && !__atomic_compare_exchange_n(
    &descriptors_end, &end, fd + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
  return 0;
}
/* Whether it was ours. */
bool descriptor_forbid(int fd) {
  if (fd < 0 || fd >= DESCRIPTORS) return false;
  return __atomic_exchange_n(&descriptor_owner[fd], 0, __ATOMIC_SEQ_CST) != 0;
}
/* Node closes what a thread has opened when that ends. */
void descriptors_forget(uint16_t owner) {
  int end = LOAD(&descriptors_end);
  for (int fd = 0; fd < end; fd++) {
    uint16_t expected = owner;
    __atomic_compare_exchange_n(
      &descriptor_owner[fd], &expected, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  }
}
static bool is_ours(int fd) {
  return fd >= 0 && fd < DESCRIPTORS && LOAD(&descriptor_owner[fd]) != 0;
}

/* Making a ring. */

static int uring_setup(uint32_t entries, struct uring_params *params) {
  return (int)system_call(SYS_URING_SETUP, entries, (long)params, 0, 0, 0, 0);
}
static int uring_enter(int fd, uint32_t submit, uint32_t complete, uint32_t flags) {
  return (int)system_call(SYS_URING_ENTER, fd, submit, complete, flags, 0, 0);
}
static int uring_register(int fd, uint32_t what, void *argument, uint32_t count) {
  return (int)system_call(SYS_URING_REGISTER, fd, what, (long)argument, count, 0, 0);
}
/* Waits until `complete` completions are there, or for so long. -ERR_TIME in the latter case. */
static int uring_wait(int fd, uint32_t complete, uint32_t milliseconds) {
  struct kernel_timespec time = { milliseconds / 1000, (milliseconds % 1000) * 1000000L };
  struct uring_getevents wait = { 0, 8, 0, (uint64_t)(uintptr_t)&time };
  return (int)system_call(SYS_URING_ENTER, fd, 0, complete, ENTER_GETEVENTS | ENTER_EXT_ARG,
    (long)&wait, sizeof wait);
}
/*
 * The same for a ring in the linear memory. The kernel's own wait believes what stands there: with
 * a head that makes the ring look full it goes round for ever (seen in 6.18), and not even killing
 * the process ends it. Polling does not.
 */
static int poll_ring(const struct kernel_ring *ring, uint32_t milliseconds) {
  int rc = poll_readable(ring->fd, milliseconds);
  return rc == 0 ? -ERR_TIME : rc;
}
static void close_fd(int fd) { system_call(SYS_CLOSE, fd, 0, 0, 0, 0, 0); }

static uint32_t parameters(struct uring_params *params, uint32_t cq_entries, uint32_t flags) {
  fill_zero(params, sizeof *params);
  params->flags = SETUP_CQSIZE | SETUP_CLAMP | flags;
  params->cq_entries = cq_entries;
  return BATCH;
}

/* Finds the parts of a ring in the memory that holds it. */
static void adopt(struct kernel_ring *ring, const struct uring_params *params, uint8_t *at) {
  ring->sq_head = (uint32_t *)(at + params->sq.head);
  ring->sq_tail = (uint32_t *)(at + params->sq.tail);
  ring->sq_flags = (uint32_t *)(at + params->sq.flags);
  ring->cq_head = (uint32_t *)(at + params->cq.head);
  ring->cq_tail = (uint32_t *)(at + params->cq.tail);
  ring->cqes = (struct uring_cqe *)(at + params->cq.cqes);
  ring->sq_entries = params->sq_entries;
  ring->cq_entries = params->cq_entries;
  ring->features = params->features;
  uint32_t *array = (uint32_t *)(at + params->sq.array);
  for (uint32_t i = 0; i < params->sq_entries; i++) array[i] = i; /* each entry in its own place */
}
static size_t bytes_of_rings(const struct uring_params *params) {
  size_t cq = params->cq.cqes + (size_t)params->cq_entries * sizeof(struct uring_cqe);
  size_t sq = params->sq.array + (size_t)params->sq_entries * 4;
  return cq > sq ? cq : sq;
}

static struct kernel_ring blank_ring(void) {
  struct kernel_ring ring;
  fill_zero(&ring, sizeof ring);
  ring.fd = -1;
  return ring;
}
static void unmake(struct kernel_ring *ring) {
  unmap(ring->rings, ring->rings_bytes);
  unmap(ring->sqes_map, ring->sqes_bytes);
  if (ring->fd >= 0) close_fd(ring->fd);
  *ring = blank_ring();
}

/* A ring in memory of the kernel's, mapped where nothing but the shim knows of it. */
static int make_private(struct kernel_ring *ring, uint32_t cq_entries) {
  struct uring_params params;
  ring->fd = uring_setup(parameters(&params, cq_entries, 0), &params);
  if (ring->fd < 0) return ring->fd;
  uint32_t needed = FEAT_SINGLE_MMAP | FEAT_NODROP | FEAT_EXT_ARG;
  if ((params.features & needed) != needed) return -ERR_NOTSUP;
  ring->rings_bytes = bytes_of_rings(&params);
  ring->sqes_bytes = params.sq_entries * sizeof(struct uring_sqe);
  long at = system_call(SYS_MMAP, 0, (long)ring->rings_bytes, 3, 0x8001, ring->fd, MAP_SQ_RING);
  if (at < 0 && at > -4096) return (int)at;
  ring->rings = (void *)at;
  long sqes = system_call(SYS_MMAP, 0, (long)ring->sqes_bytes, 3, 0x8001, ring->fd, MAP_SQES);
  if (sqes < 0 && sqes > -4096) return (int)sqes;
  ring->sqes_map = (void *)sqes;
  ring->sqes = ring->sqes_map;
  adopt(ring, &params, ring->rings);
  return 0;
}

/* A ring in memory of ours. Its size is the kernel's to say, so a ring elsewhere is asked first. */
static int make_shared(struct kernel_ring *ring, uint32_t cq_entries, uint8_t *rings_at,
  size_t rings_bytes, uint8_t *sqes_at) {
  struct kernel_ring sample = blank_ring();
  int rc = make_private(&sample, cq_entries);
  bool fits = sample.rings_bytes <= rings_bytes;
  unmake(&sample);
  if (rc < 0) return rc;
  if (!fits) return -ERR_NOMEM;
  fill_zero(rings_at, rings_bytes);
  struct uring_params params;
  uint32_t entries = parameters(&params, cq_entries, SETUP_NO_MMAP);
  params.cq.user_address = (uint64_t)(uintptr_t)rings_at;
  params.sq.user_address = (uint64_t)(uintptr_t)sqes_at;
  ring->fd = uring_setup(entries, &params);
  if (ring->fd < 0) return ring->fd;
  ring->sqes = (struct uring_sqe *)sqes_at;
  adopt(ring, &params, rings_at);
  return 0;
}

/* The core's places in a ring that is not the kernel's: two words and the completions. */
enum { LINEAR_CQ_HEAD = 0, LINEAR_CQ_TAIL = 64, LINEAR_CQES = 128 };

static uint32_t linear_address(const struct memory *memory, const void *at) {
  return (uint32_t)((const uint8_t *)at - memory->base);
}

static void tell(const struct ring *ring, const struct setup *setup) {
  const struct memory *memory = ring->memory;
  uint32_t *out = (uint32_t *)(memory->base + setup->out_at);
  for (int i = 0; i < OUT_WORDS; i++) out[i] = 0;
  uint64_t base = (uint64_t)(uintptr_t)memory->base;
  out[OUT_BASE_LOW] = (uint32_t)base;
  out[OUT_BASE_HIGH] = (uint32_t)(base >> 32);
  out[OUT_CQ_ENTRIES] = ring->kernel.cq_entries;
  out[OUT_CQ_HEAD] = linear_address(memory, ring->linear_cq_head);
  out[OUT_CQ_TAIL] = linear_address(memory, ring->linear_cq_tail);
  out[OUT_CQES] = linear_address(memory, ring->linear_cqes);
  out[OUT_FIXED_BYTES] = ring->fixed_bytes;
  if (!ring->shared) return;
  out[OUT_SQ_HEAD] = linear_address(memory, ring->kernel.sq_head);
  out[OUT_SQ_TAIL] = linear_address(memory, ring->kernel.sq_tail);
  out[OUT_SQ_FLAGS] = linear_address(memory, ring->kernel.sq_flags);
}

static int make(struct ring *ring, const struct setup *setup) {
  uint8_t *base = ring->memory->base;
  uint8_t *at = base + setup->rings_at;
  ring->linear_sqes = (struct uring_sqe *)(base + setup->sqes_at);
  ring->leader_word = (uint32_t *)(base + setup->leader_at);
  if (ring->shared) {
    int rc = make_shared(&ring->kernel, setup->cq_entries, at, setup->rings_bytes,
      (uint8_t *)ring->linear_sqes);
    if (rc < 0) return rc;
    ring->linear_cq_head = ring->kernel.cq_head;
    ring->linear_cq_tail = ring->kernel.cq_tail;
    ring->linear_cqes = ring->kernel.cqes;
    return 0;
  }
  int rc = make_private(&ring->kernel, setup->cq_entries);
  if (rc < 0) return rc;
  uint64_t cqes = LINEAR_CQES + (uint64_t)ring->kernel.cq_entries * sizeof(struct uring_cqe);
  if (cqes > setup->rings_bytes) return -ERR_NOMEM;
  ring->linear_cq_head = (uint32_t *)(at + LINEAR_CQ_HEAD);
  ring->linear_cq_tail = (uint32_t *)(at + LINEAR_CQ_TAIL);
  ring->linear_cqes = (struct uring_cqe *)(at + LINEAR_CQES);
  STORE(ring->linear_cq_head, 0);
  STORE(ring->linear_cq_tail, 0);
  ring->iovecs = map_private(BATCH * IOV_MAX_ENTRIES * sizeof(struct kernel_iovec));
  return ring->iovecs == NULL ? -ERR_NOMEM : 0;
}

/* The kernel takes no longer buffers; the core reckons with the same (io_uring.ts). */
enum { FIXED_BUFFER_BYTES = 1 << 30, FIXED_BUFFERS = 4 };

/* Bytes registered with rings, as the kernel counts them: those of a clone it does not. */
static uint64_t fixed_total;
enum { FIXED_SHARE = 4 };

/*
 * How much of it a quarter of what the user may lock is enough for. Rings count as locked as well
 * (Linux 6.14), those of other processes of the user's included: what is only faster must not take
 * their place.
 */
static uint32_t may_fix(uint32_t bytes) {
  uint64_t limit[2] = { 0, 0 }; /* soft, hard */
  system_call(SYS_PRLIMIT64, 0, RLIMIT_MEMLOCK, 0, (long)limit, 0, 0);
  uint64_t most = limit[0] / FIXED_SHARE, taken = LOAD(&fixed_total);
  uint64_t left = taken < most ? most - taken : 0;
  return left < bytes ? (uint32_t)left & ~4095U : bytes;
}

/* Registers `bytes` bytes of the linear memory: the kernel looks for their pages no more. */
static bool register_buffers(const struct ring *ring, uint32_t at, uint32_t bytes) {
  struct kernel_iovec buffers[FIXED_BUFFERS];
  uint32_t count = 0;
  for (uint32_t done = 0; done < bytes; done += (uint32_t)buffers[count++].length) {
    buffers[count].base = (uint64_t)(uintptr_t)(ring->memory->base + at + done);
    buffers[count].length = bytes - done < FIXED_BUFFER_BYTES ? bytes - done : FIXED_BUFFER_BYTES;
  }
  return uring_register(ring->kernel.fd, REGISTER_BUFFERS, buffers, count) >= 0;
}

/* Another ring of that memory that has something registered, if need be as a clone; or NULL. */
static struct ring *fixed_sibling(const struct ring *ring, bool clone) {
  for (int i = 0; i < RINGS; i++) {
    bool is_one = &rings[i] != ring && LOAD(&rings[i].used) == 1
      && rings[i].memory == ring->memory && LOAD(&rings[i].fixed_bytes) != 0
      && !(clone && rings[i].counts_fixed);
    if (is_one) return &rings[i];
  }
  return NULL;
}

/* Shares what a ring of the same memory has registered: it is locked and counted once (6.12). */
static bool clone_buffers(struct ring *ring) {
  struct ring *from = fixed_sibling(ring, false);
  if (from == NULL) return false;
  __atomic_fetch_add(&from->cloning, 1, __ATOMIC_SEQ_CST); /* from here on it is not closed */
  struct uring_clone clone;
  fill_zero(&clone, sizeof clone);
  clone.source_fd = (uint32_t)from->kernel.fd;
  uint32_t bytes = LOAD(&from->used) == 1 ? LOAD(&from->fixed_bytes) : 0;
  bool cloned = bytes != 0 && uring_register(ring->kernel.fd, CLONE_BUFFERS, &clone, 1) >= 0;
  __atomic_fetch_sub(&from->cloning, 1, __ATOMIC_SEQ_CST);
  if (cloned) STORE(&ring->fixed_bytes, bytes);
  return cloned;
}

/* Registers as much as may be of what `setup` asks for; the ring does without the rest. */
static void fix_buffers(struct ring *ring, const struct setup *setup) {
  if (setup->fixed_bytes == 0 || clone_buffers(ring)) return;
  uint32_t bytes = may_fix(setup->fixed_bytes);
  if (bytes == 0 || !register_buffers(ring, setup->fixed_at, bytes)) return;
  ring->counts_fixed = true;
  __atomic_fetch_add(&fixed_total, bytes, __ATOMIC_SEQ_CST);
  STORE(&ring->fixed_bytes, bytes);
}
/* At once: closing the ring would do it too, but in the kernel's own time. */
static void unfix_buffers(struct ring *ring) {
  uint32_t bytes = ring->fixed_bytes;
  if (bytes == 0) return;
  STORE(&ring->fixed_bytes, 0);
  uring_register(ring->kernel.fd, UNREGISTER_BUFFERS, NULL, 0);
  if (!ring->counts_fixed) return;
  struct ring *heir = fixed_sibling(ring, true); /* what it has is the same, and stays locked */
  if (heir != NULL) heir->counts_fixed = true;
  else __atomic_fetch_sub(&fixed_total, bytes, __ATOMIC_SEQ_CST);
}

static void release(struct ring *ring) {
  unfix_buffers(ring);
  unmake(&ring->kernel);
  unmap(ring->iovecs, BATCH * IOV_MAX_ENTRIES * sizeof(struct kernel_iovec));
  ring->iovecs = NULL;
  STORE(&ring->used, 0);
}

/*
 * The ring of the slot with that cursor, or one that is free, blank. A slot keeps its ring: the
 * kernel takes a closed one apart in its own time, and writes to its memory once more meanwhile
 * (seen in 6.18), which a successor in the same place would take for a completion of its own.
 */
static struct ring *take_ring(struct memory *memory, const uint32_t *cursor) {
  struct ring *blank = NULL;
  for (int i = 0; i < RINGS; i++) {
    struct ring *ring = &rings[i];
    if (ring->used == 1 && ring->memory == memory && ring->cursor == cursor) return ring;
    if (ring->used == 0 && blank == NULL) blank = ring;
  }
  if (blank == NULL) return NULL;
  fill_zero(blank, sizeof *blank);
  blank->kernel = blank_ring();
  blank->memory = memory;
  blank->cursor = (uint32_t *)cursor;
  return blank;
}

int ring_setup(struct memory *memory, void *owner, const struct setup *setup) {
  bool fine = setup->cq_entries >= BATCH && setup->cq_entries <= 65536
    && is_place(memory, setup->rings_at, setup->rings_bytes, 4096)
    && is_place(memory, setup->sqes_at, BATCH * sizeof(struct uring_sqe), 64)
    && is_place(memory, setup->cursor_at, 4, 4) && is_place(memory, setup->leader_at, 4, 4)
    && is_place(memory, setup->fixed_at, setup->fixed_bytes, 4096)
    && is_place(memory, setup->out_at, OUT_WORDS * 4, 4);
  if (!fine) return -ERR_FAULT;
  lock_tables();
  struct ring *ring = take_ring(memory, (uint32_t *)(memory->base + setup->cursor_at));
  bool made = ring != NULL && ring->used == 1;
  bool busy = made && ring->owner != NULL && ring->owner != owner;
  if (ring != NULL && !busy) {
    ring->owner = owner;
    ring->shared = setup->shared;
    STORE(&ring->used, 1);
  }
  unlock(&tables_lock);
  if (ring == NULL || busy) return ring == NULL ? -ERR_MFILE : -ERR_BUSY;
  int rc = made ? 0 : make(ring, setup);
  if (rc < 0) {
    release(ring);
    return rc;
  }
  if (!made) fix_buffers(ring, setup);
  tell(ring, setup);
  return (int)(ring - rings);
}

/* The thread that submitted to it does so no more; the next one of the slot will. */
void ring_leave(struct ring *ring) { ring->owner = NULL; }

struct ring *ring_at(int number) {
  if (number < 0 || number >= RINGS) return NULL;
  return LOAD(&rings[number].used) == 1 ? &rings[number] : NULL;
}
struct ring *ring_find(struct memory *memory, int number) {
  struct ring *ring = ring_at(number);
  return ring != NULL && ring->memory == memory ? ring : NULL;
}

/* Submitting. */

static int check_range(const struct ring *ring, uint64_t address, uint64_t bytes) {
  return in_memory(ring->memory, address, bytes) ? 0 : -ERR_FAULT;
}

/* Takes the iovecs over before they are looked at: nobody can change them in between. */
static int check_iovecs(struct ring *ring, struct uring_sqe *sqe, uint32_t slot) {
  if (sqe->length == 0 || sqe->length > IOV_MAX_ENTRIES) return -ERR_INVAL;
  uint64_t bytes = (uint64_t)sqe->length * sizeof(struct kernel_iovec);
  if (sqe->address % 8 != 0 || check_range(ring, sqe->address, bytes) < 0) return -ERR_FAULT;
  const struct kernel_iovec *from = (const struct kernel_iovec *)(uintptr_t)sqe->address;
  struct kernel_iovec *to = ring->iovecs + slot * IOV_MAX_ENTRIES;
  for (uint32_t i = 0; i < sqe->length; i++) {
    to[i].base = LOAD(&from[i].base);
    to[i].length = LOAD(&from[i].length);
    if (check_range(ring, to[i].base, to[i].length) < 0) return -ERR_FAULT;
  }
  sqe->address = (uint64_t)(uintptr_t)to;
  return 0;
}

/* An entry of ours: the operations on the list, memory and descriptors that are pgaio's. */
static int check_entry(struct ring *ring, struct uring_sqe *sqe, uint32_t slot) {
  bool is_fixed = sqe->opcode == OP_READ_FIXED || sqe->opcode == OP_WRITE_FIXED;
  bool plain = (sqe->flags & ~SQE_ASYNC) == 0 && sqe->ioprio == 0
    && sqe->buffer < (is_fixed ? FIXED_BUFFERS : 1)
    && sqe->personality == 0 && sqe->splice_fd == 0 && sqe->address3 == 0 && sqe->pad == 0;
  if (!plain) return -ERR_INVAL;
  if (!is_ours(sqe->fd)) return -ERR_BADF;
  switch (sqe->opcode) {
    case OP_READ:
    case OP_WRITE:
    case OP_READ_FIXED: /* that it lies in a buffer the kernel sees to */
    case OP_WRITE_FIXED:
      if (sqe->op_flags != 0) return -ERR_INVAL;
      return check_range(ring, sqe->address, sqe->length);
    case OP_READV:
    case OP_WRITEV:
      if (sqe->op_flags != 0) return -ERR_INVAL;
      return check_iovecs(ring, sqe, slot);
    case OP_FSYNC:
      return (sqe->op_flags & ~FSYNC_DATASYNC) != 0 || sqe->address != 0 ? -ERR_INVAL : 0;
    case OP_SYNC_FILE_RANGE:
      return (sqe->op_flags & ~FLUSH_RANGE_FLAGS) != 0 || sqe->address != 0 ? -ERR_INVAL : 0;
    default:
      return -ERR_INVAL;
  }
}

/* Answers an entry that the kernel is not told of. False when there is no room for more. */
static bool refuse(struct ring *ring, uint64_t user_data, int result) {
  uint32_t tail = ring->refused_tail;
  if (tail - LOAD(&ring->refused_head) == 2 * BATCH) return false;
  struct uring_cqe *answer = &ring->refused[tail % (2 * BATCH)];
  answer->user_data = user_data;
  answer->result = result;
  STORE(&ring->refused_tail, tail + 1);
  __atomic_fetch_add(&ring->refusals, 1, __ATOMIC_SEQ_CST);
  return true;
}

/* Copies entries until one is refused; hands over what was copied. How many were dealt with. */
static int enter_checked(struct ring *ring, uint32_t first, uint32_t count) {
  struct kernel_ring *kernel = &ring->kernel;
  uint32_t head = LOAD(kernel->sq_head), tail = head, run = 0;
  int refusal = 0;
  uint64_t refused_data = 0;
  while (run < count && refusal == 0) {
    uint32_t slot = tail & (kernel->sq_entries - 1);
    struct uring_sqe *sqe = &kernel->sqes[slot];
    const uint64_t *from = (const uint64_t *)&ring->linear_sqes[(first + run) % BATCH];
    for (int i = 0; i < 8; i++) ((uint64_t *)sqe)[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    refused_data = sqe->user_data;
    refusal = check_entry(ring, sqe, slot);
    if (refusal != 0) break;
    tail++;
    run++;
  }
  int submitted = 0;
  if (run > 0) {
    STORE(kernel->sq_tail, tail);
    submitted = uring_enter(kernel->fd, run, 0, 0);
    uint32_t consumed = submitted > 0 ? (uint32_t)submitted : 0;
    if (consumed < run) STORE(kernel->sq_tail, head + consumed); /* they are taken back */
    ring->kernel_taken += consumed;
    if (consumed < run) return consumed > 0 ? (int)consumed : submitted;
  }
  if (refusal == 0) return (int)run;
  if (refuse(ring, refused_data, refusal)) return (int)run + 1;
  return run > 0 ? (int)run : -ERR_BUSY;
}

/*
 * Submits `count` entries from number `first` on. How many the kernel has taken; the others are
 * still the caller's. -errno when it took none.
 */
int ring_enter(struct ring *ring, uint32_t first, uint32_t count) {
  if (count == 0 || count > BATCH) return -ERR_INVAL;
  if (!try_lock(&ring->submitting)) return -ERR_BUSY;
  int rc;
  if (ring->shared) {
    rc = uring_enter(ring->kernel.fd, count, 0, 0);
    if (rc > 0) ring->kernel_taken += (uint32_t)rc;
  } else rc = enter_checked(ring, first, count);
  if (rc > 0) __atomic_fetch_add(&ring->taken, (uint32_t)rc, __ATOMIC_SEQ_CST);
  unlock(&ring->submitting);
  return rc == 0 ? -ERR_AGAIN : rc;
}

/* Completing. */

static void answer(struct ring *ring, uint32_t at, uint64_t user_data, int32_t result) {
  struct uring_cqe *to = &ring->linear_cqes[at & (ring->kernel.cq_entries - 1)];
  to->user_data = user_data;
  to->result = result;
  to->flags = 0;
}

/*
 * Moves completions to where the core reads them. While a thread waits in the kernel one that was
 * read stays visible there: had that thread looked before it was moved, it would sleep for another.
 */
int ring_reap(struct ring *ring) {
  if (ring->shared) return 0;
  if (!try_lock(&ring->reaping)) return -ERR_BUSY;
  struct kernel_ring *kernel = &ring->kernel;
  uint32_t entries = kernel->cq_entries, tail = ring->moved, begun = tail;
  uint32_t held = tail - LOAD(ring->linear_cq_head);
  uint32_t room = held > entries ? 0 : entries - held;
  for (; room > 0 && ring->refused_head != LOAD(&ring->refused_tail); room--) {
    const struct uring_cqe *from = &ring->refused[ring->refused_head % (2 * BATCH)];
    answer(ring, tail++, from->user_data, from->result);
    STORE(&ring->refused_head, ring->refused_head + 1);
  }
  bool overflown = (LOAD(kernel->sq_flags) & SQ_CQ_OVERFLOW) != 0;
  if (overflown) uring_enter(kernel->fd, 0, 0, ENTER_GETEVENTS);
  uint32_t seen = ring->seen, end = LOAD(kernel->cq_tail);
  for (; room > 0 && seen != end; room--, seen++) {
    const struct uring_cqe *from = &kernel->cqes[seen & (entries - 1)];
    answer(ring, tail++, from->user_data, from->result);
  }
  ring->seen = seen;
  STORE(&ring->moved, tail);
  STORE(ring->linear_cq_tail, tail);
  if (LOAD(&ring->leader) == 0) STORE(kernel->cq_head, seen);
  else if (seen != LOAD(kernel->cq_head)) STORE(kernel->cq_head, seen - 1);
  unlock(&ring->reaping);
  return (int)(tail - begun);
}

enum { WAIT_MOST_MS = 100 }; /* a thread that is being terminated must come out again */

/*
 * Waits in the kernel for a completion later than the `seen` the caller has dealt with. One thread
 * at a time; another is told WAIT_TAKEN and waits for the first one's progress.
 */
int ring_wait(struct ring *ring, uint32_t seen, uint32_t milliseconds) {
  if (!try_lock(&ring->leader)) return WAIT_TAKEN;
  STORE(ring->leader_word, 1);
  bool news = ring->shared ? LOAD(ring->cursor) != seen
    : LOAD(&ring->moved) != seen || ring->refused_head != LOAD(&ring->refused_tail);
  int rc = 0;
  uint32_t most = milliseconds < WAIT_MOST_MS ? milliseconds : WAIT_MOST_MS;
  if (!news && ring->shared) rc = poll_ring(&ring->kernel, most);
  else if (!news) rc = uring_wait(ring->kernel.fd, 1, most);
  STORE(ring->leader_word, 0);
  unlock(&ring->leader);
  if (rc == -ERR_TIME) return WAIT_TIME_UP;
  if (rc == -ERR_INTR || rc >= 0) return WAIT_WOKEN;
  return rc;
}

/* Requests the kernel has and has not answered. Its count of answers is the tail of its ring. */
static uint32_t in_flight(const struct ring *ring) {
  return ring->kernel_taken - LOAD(ring->kernel.cq_tail);
}

enum { DRAIN_STEP_MS = 50, DRAIN_SHARED_STEPS = 10000, DRAIN_SPOILT_STEPS = 100 };

/*
 * Waits for all that is in flight: the kernel may write into the linear memory until then. In a
 * ring that anybody can write to the counters may be anything, hence a limit there: ten seconds, or
 * a tenth of one for what cannot be.
 */
static void drain(struct ring *ring) {
  for (int step = 0; in_flight(ring) != 0; step++) {
    if (ring->shared) {
      bool possible = in_flight(ring) <= ring->kernel.cq_entries;
      if (step >= (possible ? DRAIN_SHARED_STEPS : DRAIN_SPOILT_STEPS)) return;
      poll_readable(-1, 1); /* sleeps; what is already there would keep the ring readable */
      continue;
    }
    uint32_t there = LOAD(ring->kernel.cq_tail) - LOAD(ring->kernel.cq_head);
    uring_wait(ring->kernel.fd, there + in_flight(ring), DRAIN_STEP_MS);
  }
}

void rings_drain(void *owner) {
  for (int i = 0; i < RINGS; i++) {
    if (LOAD(&rings[i].used) != 1 || rings[i].owner != owner) continue;
    drain(&rings[i]);
    rings[i].owner = NULL;
  }
}

int ring_close(struct ring *ring) {
  STORE(&ring->used, 2); /* nobody finds it any more; who has it in hand comes out soon */
  drain(ring);
  while (LOAD(&ring->leader) + LOAD(&ring->reaping) + LOAD(&ring->submitting)
    + LOAD(&ring->cloning) != 0) {
    poll_readable(-1, 1); /* sleeps */
  }
  release(ring);
  return 0;
}

/* Can this kernel do what the method needs? Asked by doing it, not by its version. */

static const uint8_t OPERATIONS[] = {
  OP_READ, OP_WRITE, OP_READV, OP_WRITEV, OP_FSYNC, OP_SYNC_FILE_RANGE,
};

/* Bit n: operation n of OPERATIONS is missing. */
static int missing_operations(int fd) {
  struct uring_probe probe;
  fill_zero(&probe, sizeof probe);
  int rc = uring_register(fd, REGISTER_PROBE, &probe, 64);
  int missing = 0;
  for (unsigned i = 0; i < sizeof OPERATIONS; i++) {
    unsigned op = OPERATIONS[i];
    bool there = rc >= 0 && op <= probe.last_op && (probe.ops[op].flags & PROBE_SUPPORTED) != 0;
    if (!there) missing |= 1 << i;
  }
  return missing;
}

static int probe_shared(void) {
  enum { PAGES = 4 * 4096 };
  uint8_t *at = map_private(2 * PAGES);
  if (at == NULL) return ERR_NOMEM;
  struct kernel_ring ring = blank_ring();
  int rc = make_shared(&ring, 2 * BATCH, at, PAGES, at + PAGES);
  unmake(&ring);
  unmap(at, 2 * PAGES);
  return -rc;
}

void ring_probe(int32_t *out) {
  struct kernel_ring ring = blank_ring();
  int rc = make_private(&ring, 2 * BATCH);
  out[PROBE_STAGE] = STAGE_READY;
  out[PROBE_ERRNO] = -rc;
  out[PROBE_MISSING] = 0;
  out[PROBE_SHARED_ERRNO] = 0;
  if (rc < 0) {
    out[PROBE_STAGE] = ring.fd < 0 ? STAGE_SETUP : rc == -ERR_NOTSUP ? STAGE_FEATURES : STAGE_MAP;
  } else {
    out[PROBE_MISSING] = missing_operations(ring.fd);
    if (out[PROBE_MISSING] != 0) out[PROBE_STAGE] = STAGE_OPERATIONS;
    else out[PROBE_SHARED_ERRNO] = probe_shared();
  }
  unmake(&ring);
}

/* Blocking I/O for threads that do nothing else. */

struct wasi_iovec {
  uint32_t at, length;
};
enum { RW_MAX = 0x7ffff000 };

int copy_iovecs(const struct memory *memory, uint32_t iovs, uint32_t count,
  struct kernel_iovec *to) {
  if (count > IOV_MAX_ENTRIES) count = IOV_MAX_ENTRIES;
  if (!is_place(memory, iovs, (uint64_t)count * sizeof(struct wasi_iovec), 4)) return -ERR_FAULT;
  const struct wasi_iovec *from = (const struct wasi_iovec *)(memory->base + iovs);
  uint64_t left = RW_MAX;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t base = LOAD(&from[i].at), length = LOAD(&from[i].length);
    if (!is_place(memory, base, length, 1)) return -ERR_FAULT;
    to[i].base = (uint64_t)(uintptr_t)(memory->base + base);
    to[i].length = length < left ? length : left;
    left -= to[i].length;
  }
  return (int)count;
}

long transfer(struct memory *memory, bool write, int fd, uint32_t iovs, uint32_t count,
  uint64_t at) {
  struct kernel_iovec iovecs[IOV_MAX_ENTRIES];
  int copied = copy_iovecs(memory, iovs, count, iovecs);
  if (copied < 0) return copied;
  return system_call(write ? SYS_PWRITEV : SYS_PREADV, fd, (long)iovecs, copied, (long)at, 0, 0);
}

/* What O_DIRECT asks of memory and of offset and length, 0 where the kernel does not say. */
int direct_alignment(int fd, uint32_t *memory_align, uint32_t *offset_align) {
  enum { AT_EMPTY_PATH = 0x1000, STATX_DIOALIGN = 0x2000 };
  enum { MASK = 0, MEM_ALIGN = 38, OFFSET_ALIGN = 39 }; /* words of struct statx */
  uint32_t statx[64];
  fill_zero(statx, sizeof statx);
  long rc = system_call(SYS_STATX, fd, (long)"", AT_EMPTY_PATH, STATX_DIOALIGN, (long)statx, 0);
  bool told = rc == 0 && (statx[MASK] & STATX_DIOALIGN) != 0;
  *memory_align = told ? statx[MEM_ALIGN] : 0;
  *offset_align = told ? statx[OFFSET_ALIGN] : 0;
  return (int)rc;
}
