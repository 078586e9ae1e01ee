#include "alloc/peaks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/options.h"
#include "base/status.h"
#include "ledger/account.h"

static const char *const names[GB_TIER_COUNT] = {
	[GB_TIER_DEVICE] = "device",   [GB_TIER_SPLIT] = "split",       [GB_TIER_HOST_MAPPED] = "host_mapped",
	[GB_TIER_MANAGED] = "managed", [GB_TIER_PAGEABLE] = "pageable", [GB_TIER_UNIFIED] = "unified",
};

static _Atomic uint64_t begin_ms;
static _Atomic uint64_t told; /* bytes of host memory, in the last line */

static uint64_t peak_of(unsigned tier)
{
	uint64_t total = 0;

	for (unsigned device = 0; device < GB_DEVICES_MAX; device++)
		total += __atomic_load_n(&gb_account_page()->device[device].tier[tier].peak_bytes, __ATOMIC_RELAXED);
	return total;
}

static uint64_t host_peak(void)
{
	return peak_of(GB_TIER_SPLIT) + peak_of(GB_TIER_HOST_MAPPED) + peak_of(GB_TIER_MANAGED) +
	       peak_of(GB_TIER_PAGEABLE);
}

static bool is_harmless(char c)
{
	return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

/* Numbers are at most 20 digits and the name at most 64 characters, so it fits. */
static size_t make_line(char line[GB_PEAKS_LINE])
{
	const char *program = gb_account_page()->program;
	int length = snprintf(line, GB_PEAKS_LINE, "{\"pid\":%d,\"begin_ms\":%llu,\"end_ms\":%llu", (int)getpid(),
			      (unsigned long long)atomic_load_explicit(&begin_ms, memory_order_relaxed),
			      (unsigned long long)gb_clock_coarse_ms());
	size_t at = (size_t)length;

	for (unsigned tier = 0; tier < GB_TIER_COUNT; tier++)
		at += (size_t)snprintf(line + at, GB_PEAKS_LINE - at, ",\"%s\":%llu", names[tier],
				       (unsigned long long)peak_of(tier));
	at += (size_t)snprintf(line + at, GB_PEAKS_LINE - at, ",\"program\":\"");
	for (; *program; program++)
		line[at++] = is_harmless(*program) ? *program : '?';
	at += (size_t)snprintf(line + at, GB_PEAKS_LINE - at, "\"}\n");
	return at;
}

static void add_line(const char *path)
{
	char line[GB_PEAKS_LINE];
	struct stat status;
	int saved = errno;
	/* Not blocking: what is there may be a pipe that nobody reads. */
	GB_CLEANUP(gb_close_fd)
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);

	if (fd >= 0 && !gb_fstat(fd, &status) && S_ISREG(status.st_mode)) {
		ssize_t written = write(fd, line, make_line(line));
		(void)written; /* what cannot be told is not told */
	}
	errno = saved;
}

void gb_peaks_begin(void)
{
	atomic_store_explicit(&begin_ms, gb_clock_coarse_ms(), memory_order_relaxed);
}

void gb_peaks_grew(void)
{
	const char *path = gb_options()->report;
	uint64_t before = atomic_load_explicit(&told, memory_order_relaxed);
	uint64_t now = path ? host_peak() : 0;

	if (now <= before + before / 64)
		return;
	atomic_store_explicit(&told, now, memory_order_relaxed);
	add_line(path);
}

/* A child that was forked and used nothing has nothing to tell. */
__attribute__((destructor)) static void tell_at_exit(void)
{
	const struct gb_options *known = atomic_load_explicit(&gb_options_known, memory_order_acquire);

	if (known && !known->disable && known->report &&
	    (host_peak() || peak_of(GB_TIER_DEVICE) || peak_of(GB_TIER_UNIFIED)))
		add_line(known->report);
}
