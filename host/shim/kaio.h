/*
 * Linux's own asynchronous I/O (io_submit, io_getevents): a thread has several reads and writes of
 * descriptors opened with O_DIRECT under way at once, and sleeps once for all of them. Other
 * descriptors' I/O is over when it was submitted.
 */
#ifndef PGAIO_KAIO_H
#define PGAIO_KAIO_H

#include "ring.h"

/* As assembly/method/kaio.ts has it: 64-bit words first, all in the linear memory. */
struct kaio_entry {
  uint64_t generation;
  uint64_t offset;
  int32_t io;
  int32_t fd;
  uint32_t iovecs;
  uint16_t iov_length;
  uint16_t write;
};
_Static_assert(sizeof(struct kaio_entry) == 32, "the core's entry has 32 bytes");
struct kaio_event {
  uint32_t place;
  int32_t result;
};

enum { KAIO_PLACES = 16 };

struct kaio; /* a thread's context of the kernel's */

/* NULL where the kernel has none for us. */
struct kaio *kaio_open(void);
/* Waits for what is under way. */
void kaio_close(struct kaio *kaio);
/* Starts the entries whose bits are set, lowest first. How many, or -errno of the first. */
int kaio_submit(struct kaio *kaio, const struct memory *memory, uint32_t entries, uint32_t places);
/* Waits until one of them has ended. How many have, told at `events`; or -errno. */
int kaio_wait(struct kaio *kaio, const struct memory *memory, uint32_t events, uint32_t most);

#endif
