/* The simulated machine: what exists, who owns it, and the one lock over all of it.
 *
 * Everything here is guarded by fk.lock except what says "atomic". The entry of a call takes the lock and its exit
 * gives it back (entry.c); nothing below the entry locks, and only the running of a host function lets go of it
 * (work.c).
 * Ownership: a context owns its streams, events and the blocks on its list; pools, handles, reservations and graphs
 * belong to the process. A destroyed context's shell stays for ever, because threads may still have it current. */
#ifndef FK_STATE_H
#define FK_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "arena.h"
#include "config.h"
#include "cuda_api.h"
#include "tree.h"

struct fk_op;
struct fk_capture;
struct fk_pool;

enum fk_type { FK_CONTEXT = 1, FK_STREAM, FK_EVENT, FK_POOL, FK_HANDLE, FK_GRAPH, FK_NODE, FK_EXEC };

/* First member of whatever a program holds a handle to: the handle is its address. */
struct fk_object {
	struct fk_node node; /* in fk.objects while the handle is good */
	enum fk_type type;
};

enum fk_figure {
#define FK_FIGURE(name) FK_FIGURE_##name,
#include "figures.def"
#undef FK_FIGURE
	FK_FIGURES
};

struct fk_ctx {
	struct fk_object object;
	struct fk_ctx *next_dead;
	int device;
	unsigned int flags, api_version;
	uint64_t id;
	bool primary, alive;
	unsigned int references; /* of a primary context: retains; else 1, and what cuCtxAttach adds */
	CUresult sticky;  /* answered by everything once set */
	struct fk_block *blocks;
	struct fk_stream *streams; /* every one, the two default kinds included */
	struct fk_stream *legacy;
	struct fk_event *events;
	size_t limits[10];
	int cache_config, shared_config;
	unsigned int peers; /* bit: device whose memory this context enabled */
};

struct fk_device {
	struct fk_arena arena;
	uint64_t used_bytes; /* of fk_config.vram_bytes */
	struct fk_ctx *primary;
	unsigned int primary_flags;
	struct fk_pool *default_pool, *current_pool;
};

struct fk_state {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a host function returned */
	_Atomic int life; /* atomic: FK_FRESH ... */
	struct fk_device devices[FK_DEVICES_MAX];
	struct fk_tree blocks, objects, reservations;
	struct fk_capture *captures;
	struct fk_ctx *dead_contexts;
	uint64_t last_id, last_seq, last_thread;
	uint64_t held[FK_FIGURES], peak[FK_FIGURES];
};

enum { FK_FRESH, FK_READY, FK_FORKED, FK_GONE };

extern struct fk_state fk;

/* What a thread has of its own. */
struct fk_thread {
	struct fk_ctx *stack[64];
	int depth;
	int capture_mode;
	uint64_t number; /* 0 before first asked */
	bool in_host_function;
};

extern __thread struct fk_thread fk_thread;

uint64_t fk_thread_number(void);

void fk_object_add(struct fk_object *object, enum fk_type type);
void fk_object_drop(struct fk_object *object);
void *fk_object_find(const void *handle, enum fk_type type); /* NULL: not a live handle of that type */

void fk_hold(enum fk_figure figure, uint64_t amount);
void fk_drop(enum fk_figure figure, uint64_t amount);

/* Charges a device's memory, letting idle pool memory go first when it is short. False: it does not fit. */
bool fk_device_charge(int device, uint64_t bytes);
void fk_device_discharge(int device, uint64_t bytes);

#endif
