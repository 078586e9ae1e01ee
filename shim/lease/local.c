#include "lease/local.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/options.h"
#include "lease/holding.h"
#include "policy/host_memory.h"

enum { TEXT_BYTES = 65536, PATH_BYTES = 1024 };

/* A reading of the files is good for so long, less what was granted since: a program that overflows in many small steps
 * would otherwise spend its time reading. Other processes are no better known than that at any time. */
#define READING_GOOD_MS 10

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards `reading`; a leaf */
static struct {
	uint64_t taken_ms; /* 0: never */
	uint64_t left;    /* bytes that may be granted on its strength */
} reading;

static bool take_from_reading(uint64_t bytes)
{
	const uint64_t now = gb_clock_coarse_ms();

	pthread_mutex_lock(&lock);
	bool enough = reading.taken_ms && now - reading.taken_ms < READING_GOOD_MS && bytes <= reading.left;
	if (enough)
		reading.left -= bytes;
	pthread_mutex_unlock(&lock);
	return enough;
}

static void renew_reading(uint64_t left)
{
	const uint64_t now = gb_clock_coarse_ms();

	pthread_mutex_lock(&lock);
	reading.taken_ms = now;
	reading.left = left;
	pthread_mutex_unlock(&lock);
}

/* The file as text, cut at TEXT_BYTES; "" where it cannot be read. `text` is the callers' common room: on the heap, because
 * a thread of the host's may have a small stack. */
static const char *read_text(const char *path, char *text)
{
	GB_CLEANUP(gb_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;

	while (fd >= 0 && length < TEXT_BYTES - 1) {
		ssize_t more = read(fd, text + length, TEXT_BYTES - 1 - length);
		if (more <= 0)
			break;
		length += (size_t)more;
	}
	text[length] = '\0';
	return text;
}

static uint64_t read_counter(const char *directory, const char *name, char *text)
{
	char path[2 * PATH_BYTES + 64];

	snprintf(path, sizeof path, "%s/%s", directory, name);
	return gb_counter_parse(read_text(path, text));
}

static uint64_t read_stat(const char *directory, const char *key, char *text)
{
	char path[2 * PATH_BYTES + 64];

	snprintf(path, sizeof path, "%s/memory.stat", directory);
	return gb_stat_parse(read_text(path, text), key);
}

struct hierarchy {
	const char *type, *controller; /* as in mountinfo and /proc/self/cgroup */
	const char *limit, *soft_limit, *usage, *reclaimable;
};

static const struct hierarchy hierarchies[] = {
	{"cgroup2", "", "memory.max", "memory.high", "memory.current", "inactive_file"},
	{"cgroup", "memory", "memory.limit_in_bytes", NULL, "memory.usage_in_bytes", "total_inactive_file"},
};

static uint64_t less(uint64_t bytes, uint64_t kept)
{
	return bytes == GB_BYTES_UNKNOWN ? bytes : bytes > kept ? bytes - kept : 0;
}

/* The reserve, as an option sets it, or by default: what stays of the machine. */
static uint64_t machine_reserve(uint64_t total)
{
	return gb_size_resolve(&gb_options()->host_reserve, total, gb_host_reserve_default(total));
}

/* The headroom of one group, less what stays of it. */
static uint64_t directory_room(const struct hierarchy *h, const char *directory, uint64_t reserve, char *text)
{
	uint64_t limit = read_counter(directory, h->limit, text);
	/* Above memory.high a group is slowed to a crawl rather than killed: no place to go either. */
	uint64_t soft = h->soft_limit ? read_counter(directory, h->soft_limit, text) : GB_BYTES_UNKNOWN;

	if (soft < limit)
		limit = soft;
	if (limit == GB_BYTES_UNKNOWN)
		return GB_BYTES_UNKNOWN;
	uint64_t usage = read_counter(directory, h->usage, text);
	uint64_t headroom = gb_cgroup_headroom(limit, usage, read_stat(directory, h->reclaimable, text));
	return less(headroom, gb_options()->host_reserve.is_set ? reserve : gb_group_reserve(limit, reserve));
}

/* The smallest room from this process' group up to the top of what is mounted. */
static uint64_t hierarchy_room(const struct hierarchy *h, uint64_t reserve, char *text)
{
	char group[PATH_BYTES], mount[PATH_BYTES], root[PATH_BYTES], directory[2 * PATH_BYTES];
	uint64_t least = GB_BYTES_UNKNOWN;

	if (!gb_cgroup_path(read_text("/proc/self/cgroup", text), h->controller, group, sizeof group) ||
	    !gb_cgroup_mount(read_text("/proc/self/mountinfo", text), h->type, h->controller, mount, root,
			     sizeof mount))
		return GB_BYTES_UNKNOWN;
	/* A container sees its own part of the hierarchy mounted: its root there is the top of what we can read. */
	size_t skipped = strcmp(root, "/") ? strlen(root) : 0;
	bool below = !strncmp(group, root, skipped) && (group[skipped] == '/' || group[skipped] == '\0');
	int length = snprintf(directory, sizeof directory, "%s%s", mount, below ? group + skipped : "");
	size_t top = strlen(mount);
	if (length < 0 || (size_t)length >= sizeof directory)
		return GB_BYTES_UNKNOWN;
	for (;;) {
		uint64_t room = directory_room(h, directory, reserve, text);
		if (room < least)
			least = room;
		char *slash = strrchr(directory, '/');
		if (!slash || (size_t)(slash - directory) < top)
			return least;
		*slash = '\0';
	}
}

/* What the groups have left for it beside what it has taken that no group is charged for: GB_BYTES_UNKNOWN without limits. */
static uint64_t own_room(uint64_t reserve, char *text)
{
	uint64_t least = GB_BYTES_UNKNOWN;

	for (size_t i = 0; i < sizeof hierarchies / sizeof *hierarchies; i++) {
		uint64_t room = hierarchy_room(&hierarchies[i], reserve, text);
		if (room < least)
			least = room;
	}
	return less(least, gb_holding_now().uncharged);
}

static uint64_t budget_now(uint64_t pending_bytes)
{
	GB_CLEANUP(gb_free_memory) char *text = malloc(TEXT_BYTES);
	if (!text)
		return 0;
	struct gb_meminfo info = gb_meminfo_parse(read_text("/proc/meminfo", text));
	uint64_t reserve = machine_reserve(info.total == GB_BYTES_UNKNOWN ? 0 : info.total);

	return gb_host_budget(less(info.available, reserve), own_room(reserve, text), 0, pending_bytes);
}

static bool grant(uint64_t bytes, uint64_t others_pending, uint64_t *budget)
{
	if (take_from_reading(bytes))
		return true;
	*budget = budget_now(others_pending);
	if (bytes > *budget)
		return false;
	renew_reading(*budget - bytes);
	return true;
}

bool gb_local_acquire(uint64_t bytes, uint64_t *budget)
{
	/* Ours first, then the reading: of two threads that ask at once, at least the later reader sees the other's. */
	uint64_t others = gb_holding_pend(bytes);
	bool is_granted = grant(bytes, others, budget);

	if (is_granted)
		gb_holding_hold(bytes);
	else
		gb_holding_unpend(bytes);
	return is_granted;
}

uint64_t gb_local_budget(void)
{
	return budget_now(gb_holding_now().pending);
}

uint64_t gb_local_total(void)
{
	GB_CLEANUP(gb_free_memory) char *text = malloc(TEXT_BYTES);
	if (!text)
		return 0;
	struct gb_meminfo info = gb_meminfo_parse(read_text("/proc/meminfo", text));

	return info.total == GB_BYTES_UNKNOWN ? 0 : info.total;
}

void gb_local_after_fork(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	reading.taken_ms = 0;
}
