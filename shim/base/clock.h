/* Time that only moves forward. */
#ifndef GB_BASE_CLOCK_H
#define GB_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define GB_NS_PER_S UINT64_C(1000000000)
#define GB_NS_PER_MS UINT64_C(1000000)

static inline uint64_t gb_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * GB_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* To a few milliseconds, for a few nanoseconds. Never 0. */
static inline uint64_t gb_clock_coarse_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / GB_NS_PER_MS + 1;
}

static inline struct timespec gb_timespec(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / GB_NS_PER_S), .tv_nsec = (long)(ns % GB_NS_PER_S)};
}

#endif
