#include "alloc/deferred.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "alloc/capture.h"
#include "alloc/current.h"
#include "alloc/give_back.h"
#include "base/cleanup.h"
#include "driver/driver.h"

struct deferred {
	struct gb_block block;
	CUevent event; /* NULL: waits for captures, then for its context's work */
	struct deferred *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards `first`; a leaf */
static struct deferred *first;
static _Atomic int count; /* entries on the list or in a reaper's hands */

static void append(struct deferred *list)
{
	struct deferred **end = &list;

	while (*end)
		end = &(*end)->next;
	pthread_mutex_lock(&lock);
	*end = first;
	first = list;
	pthread_mutex_unlock(&lock);
}

static struct deferred *take_all(void)
{
	pthread_mutex_lock(&lock);
	struct deferred *list = first;
	first = NULL;
	pthread_mutex_unlock(&lock);
	return list;
}

static CUresult record_event(CUstream stream, CUevent *event)
{
	const struct gb_driver *driver = gb_driver();
	GB_CLEANUP(gb_context_leave) bool pushed = false;
	CUcontext context = NULL;
	CUresult result = driver->cuStreamGetCtx(stream, &context);

	if (!result)
		result = gb_context_enter(context, &pushed);
	if (!result)
		result = driver->cuEventCreate(event, CU_EVENT_DISABLE_TIMING);
	if (result)
		return result;
	result = driver->cuEventRecord(*event, stream);
	if (result)
		GB_INSIST(driver->cuEventDestroy_v2(*event));
	return result;
}

static CUresult defer(const struct gb_block *block, CUevent event)
{
	struct deferred *entry = malloc(sizeof *entry);

	if (!entry)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*entry = (struct deferred){.block = *block, .event = event};
	atomic_fetch_add(&count, 1);
	append(entry);
	return CUDA_SUCCESS;
}

CUresult gb_deferred_after_stream(const struct gb_block *block, CUstream stream)
{
	CUevent event = NULL;
	CUresult result = record_event(stream, &event);

	if (result)
		return result;
	result = defer(block, event);
	if (result)
		GB_INSIST(gb_driver()->cuEventDestroy_v2(event));
	return result;
}

CUresult gb_deferred_after_captures(const struct gb_block *block)
{
	return defer(block, NULL);
}

static void finish(struct deferred *entry)
{
	free(entry);
	atomic_fetch_sub(&count, 1);
}

/* Whether the entry is done with, and freed. */
static bool try_finish(struct deferred *entry, bool capturing, bool waits)
{
	const struct gb_driver *driver = gb_driver();
	bool must_wait = entry->event == NULL;

	if (entry->event) {
		CUresult reached = driver->cuEventQuery(entry->event);
		if (reached == CUDA_ERROR_NOT_READY && (capturing || !waits))
			return false;
		/* Not reached, or an error that ended the work: the context's own wait says which. */
		must_wait = reached != CUDA_SUCCESS;
	}
	if (must_wait && capturing)
		return false;
	if (gb_give_back(&entry->block, must_wait))
		return false;
	if (entry->event)
		GB_INSIST(driver->cuEventDestroy_v2(entry->event));
	finish(entry);
	return true;
}

uint64_t gb_deferred_reap(bool waits)
{
	uint64_t bytes = 0;

	if (!atomic_load_explicit(&count, memory_order_acquire))
		return 0;
	bool capturing = gb_capture_active();
	struct deferred *list = take_all();
	struct deferred *kept = NULL;
	while (list) {
		struct deferred *entry = list;
		list = entry->next;
		uint64_t size = entry->block.size;
		if (try_finish(entry, capturing, waits)) {
			bytes += size;
		} else {
			entry->next = kept;
			kept = entry;
		}
	}
	if (kept)
		append(kept);
	return bytes;
}

void gb_deferred_abandon(CUcontext context)
{
	if (!atomic_load_explicit(&count, memory_order_acquire))
		return;
	struct deferred *list = take_all();
	struct deferred *kept = NULL;
	while (list) {
		struct deferred *entry = list;
		list = entry->next;
		if (entry->block.context == context) {
			gb_give_up(&entry->block);
			finish(entry);
		} else {
			entry->next = kept;
			kept = entry;
		}
	}
	if (kept)
		append(kept);
}

void gb_deferred_after_fork(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	first = NULL;
	atomic_store(&count, 0);
}
