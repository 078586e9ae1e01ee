#include "alloc/idle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "alloc/current.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "driver/driver.h"

enum { CONTEXTS_MAX = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the list; a leaf */
static CUcontext contexts[CONTEXTS_MAX];
static int count;
static bool too_many;               /* not all of them are known: never idle */
static _Atomic unsigned generation; /* grows when one is forgotten: its handle may come back as another's */

static __thread struct {
	CUcontext context;
	unsigned generation;
} last;

bool gb_idle_note(CUcontext context)
{
	unsigned now = atomic_load_explicit(&generation, memory_order_relaxed);

	if (__builtin_expect(last.context == context && last.generation == now, 1))
		return false;
	last.context = context;
	last.generation = now;
	pthread_mutex_lock(&lock);
	int at = 0;
	while (at < count && contexts[at] != context)
		at++;
	bool is_new = at == count;
	if (is_new && count < CONTEXTS_MAX)
		contexts[count++] = context;
	else if (is_new)
		too_many = true;
	pthread_mutex_unlock(&lock);
	return is_new;
}

void gb_idle_forget(CUcontext context)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < count; i++) {
		if (contexts[i] == context)
			contexts[i--] = contexts[--count];
	}
	pthread_mutex_unlock(&lock);
	atomic_fetch_add(&generation, 1);
}

static int list(CUcontext into[CONTEXTS_MAX])
{
	pthread_mutex_lock(&lock);
	int number = too_many ? -1 : count;
	for (int i = 0; i < number; i++)
		into[i] = contexts[i];
	pthread_mutex_unlock(&lock);
	return number;
}

static void destroy_event(CUevent *event)
{
	if (*event)
		GB_INSIST(gb_driver()->cuEventDestroy_v2(*event));
}

static void say_unsupported(void)
{
	static _Atomic bool said;

	if (!atomic_exchange(&said, true))
		gb_log(GB_LOG_INFO, "moves", "chunks stay where they are: the driver is older than CUDA 12.5");
}

/* The driver offers to wait without end or to ask; so this asks, and lets others run between two questions. */
static CUresult wait_for(CUevent event, uint64_t end)
{
	const struct timespec pause = {.tv_nsec = 20000};
	CUresult result;

	while ((result = gb_driver()->cuEventQuery(event)) == CUDA_ERROR_NOT_READY && gb_clock_ns() < end)
		nanosleep(&pause, NULL);
	return result;
}

static bool context_is_idle(CUcontext context, uint64_t end)
{
	const struct gb_driver *driver = gb_driver();
	GB_CLEANUP(gb_context_leave) bool pushed = false;
	GB_CLEANUP(destroy_event) CUevent event = NULL;

	if (gb_context_enter(context, &pushed) || driver->cuEventCreate(&event, CU_EVENT_DISABLE_TIMING))
		return false;
	CUresult result = driver->cuCtxRecordEvent(context, event);
	if (result == CUDA_ERROR_NOT_SUPPORTED)
		say_unsupported();
	return result == CUDA_SUCCESS && wait_for(event, end) == CUDA_SUCCESS;
}

bool gb_idle_wait(uint64_t deadline_ns)
{
	const uint64_t end = gb_clock_ns() + deadline_ns;
	CUcontext known[CONTEXTS_MAX];
	int number = list(known);

	for (int i = 0; i < number; i++) {
		if (!context_is_idle(known[i], end))
			return false;
	}
	return number >= 0;
}

void gb_idle_after_fork(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	count = 0;
	too_many = false;
	atomic_fetch_add(&generation, 1);
}
