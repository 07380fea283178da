/* See kaio.h. */
#include "kaio.h"

struct kaio {
  uint64_t context;
  struct iocb iocbs[KAIO_PLACES];
  struct iocb *started[KAIO_PLACES];
  struct kernel_iovec iovecs[KAIO_PLACES][IOV_MAX_ENTRIES];
  struct io_event events[KAIO_PLACES];
};

struct kaio *kaio_open(void) {
  struct kaio *kaio = map_private(sizeof *kaio);
  if (kaio == NULL) return NULL;
  if (system_call(SYS_IO_SETUP, KAIO_PLACES, (long)&kaio->context, 0, 0, 0, 0) == 0) return kaio;
  unmap(kaio, sizeof *kaio);
  return NULL;
}

void kaio_close(struct kaio *kaio) {
  if (kaio == NULL) return;
  system_call(SYS_IO_DESTROY, (long)kaio->context, 0, 0, 0, 0, 0);
  unmap(kaio, sizeof *kaio);
}

/* Fills in a request of the kernel's from what is in the linear memory now. 0, or -errno. */
static int fill(struct kaio *kaio, const struct memory *memory, const struct kaio_entry *from,
  uint32_t place) {
  struct kernel_iovec *iovecs = kaio->iovecs[place];
  int count = copy_iovecs(memory, LOAD(&from->iovecs), LOAD(&from->iov_length), iovecs);
  if (count < 0) return count;
  kaio->iocbs[place] = (struct iocb){
    .data = place,
    .opcode = LOAD(&from->write) != 0 ? IOCB_PWRITEV : IOCB_PREADV,
    .fd = (uint32_t)LOAD(&from->fd),
    .address = (uint64_t)(uintptr_t)iovecs,
    .count = (uint64_t)count,
    .offset = (int64_t)LOAD(&from->offset),
  };
  return 0;
}

int kaio_submit(struct kaio *kaio, const struct memory *memory, uint32_t entries, uint32_t places) {
  if (!is_place(memory, entries, KAIO_PLACES * sizeof(struct kaio_entry), 8)) return -ERR_FAULT;
  const struct kaio_entry *from = (const struct kaio_entry *)(memory->base + entries);
  uint32_t count = 0;
  for (uint32_t place = 0; place < KAIO_PLACES; place++) {
    if ((places >> place & 1) == 0) continue;
    int rc = fill(kaio, memory, &from[place], place);
    if (rc < 0 && count == 0) return rc;
    if (rc < 0) break;
    kaio->started[count++] = &kaio->iocbs[place];
  }
  return (int)system_call(SYS_IO_SUBMIT, (long)kaio->context, count, (long)kaio->started, 0, 0, 0);
}

int kaio_wait(struct kaio *kaio, const struct memory *memory, uint32_t events, uint32_t most) {
  if (most > KAIO_PLACES) most = KAIO_PLACES;
  if (!is_place(memory, events, most * sizeof(struct kaio_event), 4)) return -ERR_FAULT;
  struct kaio_event *to = (struct kaio_event *)(memory->base + events);
  long count;
  do { /* every round is a signal */
    count = system_call(SYS_IO_GETEVENTS, (long)kaio->context, 1, most, (long)kaio->events, 0, 0);
  } while (count == -ERR_INTR);
  for (long i = 0; i < count; i++) {
    to[i].place = (uint32_t)kaio->events[i].data;
    to[i].result = (int32_t)kaio->events[i].result;
  }
  return (int)count;
}
