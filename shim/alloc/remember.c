#include "alloc/remember.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "base/block.h"
#include "base/options.h"
#include "base/status.h"
#include "ledger/account.h"

static _Atomic uint64_t written; /* bytes; 0: nothing yet */

static const char *file_name(void)
{
	return gb_options()->remember;
}

/* The peaks of the tiers need not be of one moment: the sum is at least the true peak, and the same when nothing moved. */
static uint64_t device_total(unsigned device)
{
	const struct gb_page_tier *tiers = gb_account_page()->device[device].tier;
	uint64_t total = 0;

	for (unsigned tier = 0; tier < GB_TIER_COUNT; tier++)
		total += __atomic_load_n(&tiers[tier].peak_bytes, __ATOMIC_RELAXED);
	return total;
}

static uint64_t largest_total(void)
{
	uint64_t largest = 0;

	for (unsigned device = 0; device < GB_DEVICES_MAX; device++) {
		uint64_t total = device_total(device);
		largest = total > largest ? total : largest;
	}
	return largest;
}

/* A rename would put a file in the place of a device, or of a link to somebody's. */
static bool may_replace(const char *path)
{
	struct stat status;

	return gb_lstat(path, &status) ? errno == ENOENT : S_ISREG(status.st_mode);
}

/* A reader sees the old number or the new one. What cannot be written is not remembered: no harm to the program. */
static void replace(const char *path, uint64_t bytes)
{
	char temporary[PATH_MAX], text[32];
	int saved = errno;
	int length = snprintf(text, sizeof text, "%llu\n", (unsigned long long)bytes);

	if (may_replace(path) &&
	    snprintf(temporary, sizeof temporary, "%s.%d", path, (int)getpid()) < (int)sizeof temporary) {
		int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
		bool whole = fd >= 0 && write(fd, text, (size_t)length) == length;
		if (fd >= 0)
			close(fd);
		if (fd >= 0 && (!whole || rename(temporary, path)))
			unlink(temporary);
	}
	errno = saved;
}

void gb_remember_growth(void)
{
	const char *path = file_name();
	uint64_t total = path ? largest_total() : 0;
	uint64_t before = atomic_load_explicit(&written, memory_order_relaxed);

	if (total <= before + before / 64)
		return;
	atomic_store_explicit(&written, total, memory_order_relaxed);
	replace(path, total);
}

/* A program that needs less than it used to is found out here. A child that was forked and used nothing writes nothing. */
__attribute__((destructor)) static void remember_at_exit(void)
{
	const struct gb_options *known = atomic_load_explicit(&gb_options_known, memory_order_acquire);
	const char *path = known && !known->disable ? file_name() : NULL;
	uint64_t total = path ? largest_total() : 0;

	if (total && (known->expect.is_set || atomic_load_explicit(&written, memory_order_relaxed)))
		replace(path, total);
}
