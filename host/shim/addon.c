/*
 * The shim as Node sees it. `bind(memory)` gives the functions the core imports, each bound to that
 * linear memory; what they do is in ring.c. Numbers in, numbers out: results below 0 are -errno.
 *
 * When a thread's environment goes, its I/O is waited for first: the kernel writes into the linear
 * memory until then, and cancels what a thread leaves behind.
 */
#include "kaio.h"
#include "ring.h"

#define NAPI_VERSION 8
#include <node_api.h>

/* libuv, as far as it is used: its handles are opaque, their size is asked for at run time. */
struct uv_loop_s;
typedef void (*poll_callback)(void *handle, int status, int events);
typedef void (*close_callback)(void *handle);
size_t uv_handle_size(int type);
int uv_poll_init(struct uv_loop_s *loop, void *handle, int fd);
int uv_poll_start(void *handle, int events, poll_callback callback);
int uv_poll_stop(void *handle);
void uv_close(void *handle, close_callback callback);
void uv_unref(void *handle);
void *uv_handle_get_data(const void *handle);
void uv_handle_set_data(void *handle, void *data);
enum { UV_POLL_TYPE = 8, UV_READABLE_EVENT = 1 };

enum { ENVIRONMENTS = 1024, ATTACHMENTS = 256, LISTENER_BYTES = 4096 };

struct attachment {
  struct memory *memory; /* NULL: free */
  napi_ref bound; /* to what `bind` gave; strong once it made a ring, which needs the memory */
  bool has_ring;
  struct kaio *kaio; /* NULL until it is used */
  uintptr_t serial; /* how often it was taken: a finalizer that comes late means another one */
  struct environment *environment;
};
/* A thread that has loaded the shim. */
struct environment {
  bool used;
  uint16_t number;
  napi_env env;
  napi_async_cleanup_hook_handle cleanup;
  struct listener *listeners;
  int next_listener;
  int closing; /* handles of libuv's that are still to be closed */
  bool ending;
  struct attachment attachments[ATTACHMENTS];
};
/* A callback on a thread's event loop, for a ring of any thread's. */
struct listener {
  struct listener *next;
  struct environment *environment;
  napi_ref callback;
  int number, ring, fd;
  _Alignas(16) uint8_t handle[];
};

static struct environment environments[ENVIRONMENTS];

/* Arguments and results. */

enum { ARGUMENTS_MAX = 10 };
struct call {
  size_t count;
  napi_value values[ARGUMENTS_MAX];
  struct attachment *attachment;
};

static struct call arguments(napi_env env, napi_callback_info info) {
  struct call call;
  void *data = NULL;
  call.count = ARGUMENTS_MAX;
  napi_get_cb_info(env, info, &call.count, call.values, NULL, &data);
  call.attachment = data;
  return call;
}
/* Argument `index` as the core sends it; 0 if it is no number. */
static uint32_t number(napi_env env, const struct call *call, size_t index) {
  uint32_t value = 0;
  if (index < call->count) napi_get_value_uint32(env, call->values[index], &value);
  return value;
}
/* Argument `index`, a typed array of that type: its elements and how many, or NULL. */
static void *elements(napi_env env, const struct call *call, size_t index,
  napi_typedarray_type wanted, size_t *length) {
  napi_typedarray_type type;
  void *at = NULL;
  bool fine = index < call->count
    && napi_get_typedarray_info(env, call->values[index], &type, length, &at, NULL, NULL)
      == napi_ok
    && type == wanted;
  return fine ? at : NULL;
}
static napi_value integer(napi_env env, int64_t value) {
  napi_value result = NULL;
  napi_create_int32(env, (int32_t)value, &result);
  return result;
}
static struct ring *ring_of(napi_env env, const struct call *call) {
  struct memory *memory = call->attachment->memory;
  return memory == NULL ? NULL : ring_find(memory, (int)number(env, call, 0));
}

static struct environment *environment_of(napi_env env) {
  void *data = NULL;
  napi_get_instance_data(env, &data);
  return data;
}

/* Listening: the loop is told when a completion is there. Does not keep the loop alive. */

static void report_exception(napi_env env) {
  bool pending = false;
  napi_value error;
  napi_is_exception_pending(env, &pending);
  if (pending && napi_get_and_clear_last_exception(env, &error) == napi_ok) {
    napi_fatal_exception(env, error);
  }
}

static void on_readable(void *handle, int status, int events) {
  (void)status;
  (void)events;
  struct listener *listener = uv_handle_get_data(handle);
  napi_env env = listener->environment->env;
  napi_handle_scope scope;
  napi_value callback, global;
  if (ring_at(listener->ring) == NULL) {
    uv_poll_stop(handle); /* it was closed; whoever listens will stop, or ends */
    return;
  }
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  if (napi_get_reference_value(env, listener->callback, &callback) == napi_ok
    && napi_get_global(env, &global) == napi_ok) {
    napi_make_callback(env, NULL, global, callback, 0, NULL, NULL);
    report_exception(env);
  }
  napi_close_handle_scope(env, scope);
}

static void end_environment(struct environment *environment);

static void on_closed(void *handle) {
  struct listener *listener = uv_handle_get_data(handle);
  struct environment *environment = listener->environment;
  unmap(listener, LISTENER_BYTES);
  environment->closing--;
  if (environment->ending && environment->closing == 0) end_environment(environment);
}

/* Takes it off the list, and lets libuv close it. */
static void stop_listening(struct listener **place) {
  struct listener *listener = *place;
  struct environment *environment = listener->environment;
  *place = listener->next;
  uv_poll_stop(listener->handle);
  napi_delete_reference(environment->env, listener->callback);
  environment->closing++;
  uv_close(listener->handle, on_closed); /* from here on libuv does not touch the descriptor */
  system_call(SYS_CLOSE, listener->fd, 0, 0, 0, 0, 0);
}

/* Starts polling a descriptor of its own: the ring may be another thread's, and be closed there. */
static int start_listening(struct listener *listener, const struct ring *ring) {
  struct uv_loop_s *loop = NULL;
  napi_env env = listener->environment->env;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return -ERR_INVAL;
  listener->fd = (int)system_call(SYS_FCNTL, ring->kernel.fd, DUPFD_CLOEXEC, 0, 0, 0, 0);
  if (listener->fd < 0) return listener->fd;
  int rc = uv_poll_init(loop, listener->handle, listener->fd);
  if (rc < 0) {
    system_call(SYS_CLOSE, listener->fd, 0, 0, 0, 0, 0);
    return rc;
  }
  uv_handle_set_data(listener->handle, listener);
  uv_unref(listener->handle);
  uv_poll_start(listener->handle, UV_READABLE_EVENT, on_readable);
  return 0;
}

/*
 * listen(ring, callback): from now on `callback` is called while completions are to be read. A
 * number for unlisten, or -errno.
 */
static napi_value listen_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  struct ring *ring = ring_of(env, &call);
  struct environment *environment = call.attachment->environment;
  if (ring == NULL || call.count < 2) return integer(env, -ERR_INVAL);
  if (sizeof(struct listener) + uv_handle_size(UV_POLL_TYPE) > LISTENER_BYTES) {
    return integer(env, -ERR_NOMEM);
  }
  struct listener *listener = map_private(LISTENER_BYTES);
  if (listener == NULL) return integer(env, -ERR_NOMEM);
  listener->environment = environment;
  listener->ring = (int)number(env, &call, 0);
  int rc = start_listening(listener, ring);
  if (rc < 0) {
    unmap(listener, LISTENER_BYTES);
    return integer(env, rc);
  }
  napi_create_reference(env, call.values[1], 1, &listener->callback);
  listener->number = environment->next_listener++ & 0x7fffffff;
  listener->next = environment->listeners;
  environment->listeners = listener;
  return integer(env, listener->number);
}

/* unlisten(number). */
static napi_value unlisten_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  struct environment *environment = call.attachment->environment;
  int wanted = (int)number(env, &call, 0);
  struct listener **place = &environment->listeners;
  while (*place != NULL && (*place)->number != wanted) place = &(*place)->next;
  if (*place == NULL) return integer(env, -ERR_INVAL);
  stop_listening(place);
  return integer(env, 0);
}

/* Rings. */

/*
 * setup(cqEntries, shared, ringsAt, ringsBytes, sqesAt, cursorAt, leaderAt, fixedAt, fixedBytes,
 * outAt): its number.
 */
static napi_value setup_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  if (call.attachment->memory == NULL) return integer(env, -ERR_INVAL);
  struct setup setup = {
    .cq_entries = number(env, &call, 0),
    .shared = number(env, &call, 1) == 1,
    .rings_at = number(env, &call, 2),
    .rings_bytes = number(env, &call, 3),
    .sqes_at = number(env, &call, 4),
    .cursor_at = number(env, &call, 5),
    .leader_at = number(env, &call, 6),
    .fixed_at = number(env, &call, 7),
    .fixed_bytes = number(env, &call, 8),
    .out_at = number(env, &call, 9),
  };
  struct attachment *attachment = call.attachment;
  int rc = ring_setup(attachment->memory, attachment->environment, &setup);
  if (rc >= 0 && !attachment->has_ring) {
    attachment->has_ring = true;
    memory_use_rings(attachment->memory);
    napi_reference_ref(env, attachment->bound, NULL);
  }
  return integer(env, rc);
}

/* enter(ring, first, count): entries taken, or -errno. */
static napi_value enter_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  struct ring *ring = ring_of(env, &call);
  if (ring == NULL) return integer(env, -ERR_INVAL);
  return integer(env, ring_enter(ring, number(env, &call, 1), number(env, &call, 2)));
}

/* reap(ring): completions moved to the linear memory. */
static napi_value reap_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  struct ring *ring = ring_of(env, &call);
  return integer(env, ring == NULL ? -ERR_INVAL : ring_reap(ring));
}

/* wait(ring, seen, milliseconds): WAIT_*. */
static napi_value wait_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  struct ring *ring = ring_of(env, &call);
  if (ring == NULL) return integer(env, -ERR_INVAL);
  return integer(env, ring_wait(ring, number(env, &call, 1), number(env, &call, 2)));
}

/* taken(ring): how many entries it has taken so far, modulo 2^32. */
static napi_value taken_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  struct ring *ring = ring_of(env, &call);
  return integer(env, ring == NULL ? 0 : (int32_t)ring->taken);
}

/* refused(ring): how many entries the shim has answered itself. */
static napi_value refused_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  struct ring *ring = ring_of(env, &call);
  return integer(env, ring == NULL ? 0 : (int32_t)ring->refusals);
}

/* leave(ring): its thread submits no more. */
static napi_value leave_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  struct ring *ring = ring_of(env, &call);
  struct attachment *attachment = call.attachment;
  if (ring == NULL || ring->owner != attachment->environment) return integer(env, -ERR_INVAL);
  ring_leave(ring);
  return integer(env, 0);
}

/* Blocking I/O, as WASI has it but for errors: read(fd, iovs, count, offset), write(…). */

static napi_value transfer_(napi_env env, napi_callback_info info, bool write) {
  struct call call = arguments(env, info);
  double offset = -1;
  if (call.count > 3) napi_get_value_double(env, call.values[3], &offset);
  if (call.attachment->memory == NULL || !(offset >= 0)) return integer(env, -ERR_INVAL);
  return integer(env, transfer(call.attachment->memory, write, (int)number(env, &call, 0),
    number(env, &call, 1), number(env, &call, 2), (uint64_t)offset));
}
static napi_value read_(napi_env env, napi_callback_info info) {
  return transfer_(env, info, false);
}
static napi_value write_(napi_env env, napi_callback_info info) {
  return transfer_(env, info, true);
}

/* Several at once: kaio.h. */

/* start(entries, places): how many, or -errno; -ENOSYS where there is no such thing for us. */
static napi_value start_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  struct attachment *attachment = call.attachment;
  if (attachment->memory == NULL) return integer(env, -ERR_INVAL);
  if (attachment->kaio == NULL) attachment->kaio = kaio_open();
  if (attachment->kaio == NULL) return integer(env, -ERR_NOSYS);
  return integer(env, kaio_submit(attachment->kaio, attachment->memory, number(env, &call, 0),
    number(env, &call, 1)));
}
/* finish(events, most): how many have ended since, at least one; or -errno. */
static napi_value finish_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  struct attachment *attachment = call.attachment;
  if (attachment->memory == NULL || attachment->kaio == NULL) return integer(env, -ERR_INVAL);
  return integer(env, kaio_wait(attachment->kaio, attachment->memory, number(env, &call, 0),
    number(env, &call, 1)));
}

/* Sleeping on a word of the linear memory, for a while: a thread is not terminated meanwhile. */

/* A futex call on the word that is the first argument. */
static napi_value futex(napi_env env, const struct call *call, int operation, uint32_t value,
  const struct kernel_timespec *limit) {
  struct memory *memory = call->attachment->memory;
  uint32_t at = number(env, call, 0);
  if (memory == NULL || !is_place(memory, at, 4, 4)) return integer(env, -ERR_INVAL);
  long word = (long)(memory->base + at);
  return integer(env, system_call(SYS_FUTEX, word, operation, value, (long)limit, 0, 0));
}
/* park(word, expected, microseconds): 0 woken, or -errno: EAGAIN another value, ETIMEDOUT. */
static napi_value park_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  uint32_t us = number(env, &call, 2);
  struct kernel_timespec limit = { us / 1000000, (us % 1000000) * 1000L };
  return futex(env, &call, FUTEX_WAIT_PRIVATE, number(env, &call, 1), &limit);
}
/* unpark(word): how many were woken, one at the most; or -errno. */
static napi_value unpark_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  return futex(env, &call, FUTEX_WAKE_PRIVATE, 1, NULL);
}

/* Memories. */

static void detach(napi_env env, struct attachment *attachment) {
  if (attachment->memory == NULL) return;
  kaio_close(attachment->kaio);
  attachment->kaio = NULL;
  memory_detach(attachment->memory, attachment->has_ring);
  attachment->memory = NULL;
  if (attachment->bound != NULL) napi_delete_reference(env, attachment->bound);
  attachment->bound = NULL;
}

/* unbind(): its caller does not call the functions of this `bind` any more. */
static napi_value unbind_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  detach(env, call.attachment);
  return NULL;
}

/* The object `bind` gave is not reachable any more, nor are its functions. */
static void on_collected(napi_env env, void *data, void *hint) {
  struct attachment *attachment = data;
  if (attachment->serial == (uintptr_t)hint) detach(env, attachment);
}

/* Whoever has the function has the object it belongs to. */
static void add(napi_env env, napi_value to, const char *name, napi_callback call, void *data) {
  napi_value function;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, call, data, &function) == napi_ok) {
    napi_set_named_property(env, to, name, function);
    napi_set_named_property(env, function, "of", to);
  }
}

/* bind(view: Uint8Array over all of the linear memory): the functions above, or -errno. */
static napi_value bind_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  struct environment *environment = environment_of(env);
  size_t length = 0;
  void *at = elements(env, &call, 0, napi_uint8_array, &length);
  if (environment == NULL || at == NULL) return integer(env, -ERR_INVAL);
  struct attachment *attachment = NULL;
  for (int i = 0; i < ATTACHMENTS && attachment == NULL; i++) {
    if (environment->attachments[i].memory == NULL) attachment = &environment->attachments[i];
  }
  if (attachment == NULL) return integer(env, -ERR_MFILE);
  attachment->memory = memory_attach(at, length);
  if (attachment->memory == NULL) return integer(env, -ERR_MFILE);
  attachment->environment = environment;
  attachment->has_ring = false;
  attachment->kaio = NULL;
  attachment->bound = NULL;
  attachment->serial++;
  void *serial = (void *)attachment->serial;
  napi_value bound;
  /* A thread that is being terminated can make no object any more. */
  if (napi_create_object(env, &bound) != napi_ok
    || napi_set_named_property(env, bound, "memory", call.values[0]) != napi_ok
    || napi_wrap(env, bound, attachment, on_collected, serial, &attachment->bound) != napi_ok) {
    detach(env, attachment);
    return NULL;
  }
  add(env, bound, "setup", setup_, attachment);
  add(env, bound, "enter", enter_, attachment);
  add(env, bound, "reap", reap_, attachment);
  add(env, bound, "wait", wait_, attachment);
  add(env, bound, "taken", taken_, attachment);
  add(env, bound, "refused", refused_, attachment);
  add(env, bound, "leave", leave_, attachment);
  add(env, bound, "listen", listen_, attachment);
  add(env, bound, "unlisten", unlisten_, attachment);
  add(env, bound, "read", read_, attachment);
  add(env, bound, "write", write_, attachment);
  add(env, bound, "start", start_, attachment);
  add(env, bound, "finish", finish_, attachment);
  add(env, bound, "park", park_, attachment);
  add(env, bound, "unpark", unpark_, attachment);
  add(env, bound, "unbind", unbind_, attachment);
  return bound;
}

/* What needs no memory. */

/* probe(out: Int32Array of PROBE_WORDS). */
static napi_value probe_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  size_t length = 0;
  int32_t *out = elements(env, &call, 0, napi_int32_array, &length);
  if (out == NULL || length < PROBE_WORDS) return integer(env, -ERR_INVAL);
  ring_probe(out);
  return integer(env, 0);
}

/* allow(fd): a descriptor that pgaio opened; I/O in rings may use no other. */
static napi_value allow_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  struct environment *environment = environment_of(env);
  if (environment == NULL) return integer(env, -ERR_INVAL);
  return integer(env, descriptor_allow((int)number(env, &call, 0), environment->number));
}

/* forbid(fd): it is about to be closed. 1 if it was allowed. */
static napi_value forbid_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  return integer(env, descriptor_forbid((int)number(env, &call, 0)) ? 1 : 0);
}

/* alignment(fd, out: Uint32Array of 2): what O_DIRECT asks of memory and of offsets, or 0. */
static napi_value alignment_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  size_t length = 0;
  uint32_t *words = elements(env, &call, 1, napi_uint32_array, &length);
  if (words == NULL || length < 2) return integer(env, -ERR_INVAL);
  return integer(env, direct_alignment((int)number(env, &call, 0), &words[0], &words[1]));
}

/*
 * huge(view: Uint8Array over a linear memory): the kernel may back it with huge pages. 0, or -errno
 * where it has none.
 */
static napi_value huge_(napi_env env, napi_callback_info info) {
  struct call call = arguments(env, info);
  size_t length = 0;
  void *at = elements(env, &call, 0, napi_uint8_array, &length);
  if (at == NULL) return integer(env, -ERR_INVAL);
  long rc = system_call(SYS_MADVISE, (long)at, (long)length, ADVICE_HUGEPAGE, 0, 0, 0);
  return integer(env, rc);
}

/* The end of a thread. */

static void end_environment(struct environment *environment) {
  napi_async_cleanup_hook_handle cleanup = environment->cleanup;
  environment->used = false;
  napi_remove_async_cleanup_hook(cleanup);
}

static void on_cleanup(napi_async_cleanup_hook_handle handle, void *data) {
  (void)handle;
  struct environment *environment = data;
  environment->ending = true;
  while (environment->listeners != NULL) stop_listening(&environment->listeners);
  rings_drain(environment);
  for (int i = 0; i < ATTACHMENTS; i++) {
    detach(environment->env, &environment->attachments[i]);
  }
  descriptors_forget(environment->number);
  if (environment->closing == 0) end_environment(environment);
}

static struct environment *take_environment(napi_env env) {
  for (int i = 0; i < ENVIRONMENTS; i++) {
    if (__atomic_exchange_n(&environments[i].used, true, __ATOMIC_SEQ_CST)) continue;
    struct environment *environment = &environments[i];
    environment->number = (uint16_t)(i + 1);
    environment->env = env;
    environment->listeners = NULL;
    environment->closing = 0;
    environment->ending = false;
    for (int j = 0; j < ATTACHMENTS; j++) environment->attachments[j].memory = NULL;
    return environment;
  }
  return NULL;
}

NAPI_MODULE_INIT() {
  struct environment *environment = take_environment(env);
  if (environment == NULL) {
    napi_throw_error(env, "PGAIO_SHIM_FULL", "too many threads have loaded the shim");
    return NULL;
  }
  napi_set_instance_data(env, environment, NULL, NULL);
  napi_add_async_cleanup_hook(env, on_cleanup, environment, &environment->cleanup);
  add(env, exports, "probe", probe_, NULL);
  add(env, exports, "bind", bind_, NULL);
  add(env, exports, "allow", allow_, NULL);
  add(env, exports, "forbid", forbid_, NULL);
  add(env, exports, "alignment", alignment_, NULL);
  add(env, exports, "huge", huge_, NULL);
  return exports;
}
