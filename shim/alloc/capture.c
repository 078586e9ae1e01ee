#include "alloc/capture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "driver/driver.h"

enum { STREAMS_MAX = 256 };

struct capturing {
	CUstream stream;
	pthread_t thread; /* CU_STREAM_PER_THREAD means a stream of this thread's */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the list; a leaf */
static struct capturing streams[STREAMS_MAX];
static _Atomic int count;

static int find(CUstream stream, pthread_t thread)
{
	for (int i = 0; i < atomic_load(&count); i++) {
		if (streams[i].stream == stream &&
		    (stream != CU_STREAM_PER_THREAD || pthread_equal(streams[i].thread, thread)))
			return i;
	}
	return -1;
}

static void forget(CUstream stream, pthread_t thread)
{
	pthread_mutex_lock(&lock);
	int at = find(stream, thread);
	if (at >= 0)
		streams[at] = streams[atomic_fetch_sub(&count, 1) - 1];
	pthread_mutex_unlock(&lock);
}

void gb_capture_began(CUstream stream)
{
	pthread_mutex_lock(&lock);
	/* One too many is not remembered: then a free of ours may invalidate it, and no more. */
	if (find(stream, pthread_self()) < 0 && atomic_load(&count) < STREAMS_MAX)
		streams[atomic_fetch_add(&count, 1)] = (struct capturing){stream, pthread_self()};
	pthread_mutex_unlock(&lock);
}

void gb_capture_ended(CUstream stream)
{
	if (atomic_load_explicit(&count, memory_order_relaxed))
		forget(stream, pthread_self());
}

bool gb_capture_includes(CUstream stream)
{
	CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;

	return gb_driver()->cuStreamIsCapturing(stream, &status) == CUDA_SUCCESS &&
	       status != CU_STREAM_CAPTURE_STATUS_NONE;
}

bool gb_capture_active(void)
{
	struct capturing seen[STREAMS_MAX];
	int number = 0;

	if (!atomic_load_explicit(&count, memory_order_acquire))
		return false;
	pthread_mutex_lock(&lock);
	for (; number < atomic_load(&count); number++)
		seen[number] = streams[number];
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < number; i++) {
		/* Another thread's default stream cannot be asked about from here. */
		bool elsewhere =
			seen[i].stream == CU_STREAM_PER_THREAD && !pthread_equal(seen[i].thread, pthread_self());
		if (elsewhere || gb_capture_includes(seen[i].stream))
			return true;
		forget(seen[i].stream, seen[i].thread);
	}
	return false;
}

void gb_capture_after_fork(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	atomic_store(&count, 0);
}
