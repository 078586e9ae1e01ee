#include "policy/host_memory.h"

#include <stdio.h>
#include <string.h>

/* Decimal digits at *text, which moves past them. False without digits or above 2^64 - 2. */
static bool parse_digits(const char **text, uint64_t *value)
{
	const char *at = *text;
	uint64_t sum = 0;

	for (; *at >= '0' && *at <= '9'; at++) {
		if (__builtin_mul_overflow(sum, UINT64_C(10), &sum) ||
		    __builtin_add_overflow(sum, (uint64_t)(*at - '0'), &sum))
			return false;
	}
	if (at == *text || sum == GB_BYTES_UNKNOWN)
		return false;
	*text = at;
	*value = sum;
	return true;
}

static const char *next_line(const char *text)
{
	const char *end = strchr(text, '\n');

	return end ? end + 1 : text + strlen(text);
}

static const char *line_after(const char *text, const char *key)
{
	size_t length = strlen(key);

	for (; *text; text = next_line(text)) {
		if (!strncmp(text, key, length))
			return text + length;
	}
	return NULL;
}

static uint64_t meminfo_field(const char *text, const char *key)
{
	const char *at = line_after(text, key);
	uint64_t kibibytes, bytes;

	if (!at)
		return GB_BYTES_UNKNOWN;
	at += strspn(at, " \t");
	if (!parse_digits(&at, &kibibytes) || strncmp(at, " kB\n", 4) != 0 ||
	    __builtin_mul_overflow(kibibytes, UINT64_C(1024), &bytes))
		return GB_BYTES_UNKNOWN;
	return bytes;
}

struct gb_meminfo gb_meminfo_parse(const char *text)
{
	return (struct gb_meminfo){
		.total = meminfo_field(text, "MemTotal:"),
		.available = meminfo_field(text, "MemAvailable:"),
	};
}

uint64_t gb_counter_parse(const char *text)
{
	uint64_t value;

	if (!parse_digits(&text, &value) || (*text != '\n' && *text != '\0'))
		return GB_BYTES_UNKNOWN;
	return value;
}

uint64_t gb_stat_parse(const char *text, const char *key)
{
	const char *at = line_after(text, key);
	uint64_t value;

	if (!at || *at != ' ')
		return 0;
	at++;
	return parse_digits(&at, &value) ? value : 0;
}

uint64_t gb_cgroup_headroom(uint64_t limit, uint64_t usage, uint64_t reclaimable)
{
	if (limit == GB_BYTES_UNKNOWN || usage == GB_BYTES_UNKNOWN || limit >= UINT64_C(1) << 62)
		return GB_BYTES_UNKNOWN;
	if (reclaimable > usage)
		reclaimable = usage;
	usage -= reclaimable;
	return usage < limit ? limit - usage : 0;
}

/* Whether `word` is one of the comma-separated words in [list, end). */
static bool has_word(const char *list, const char *end, const char *word)
{
	size_t length = strlen(word);

	while (list < end) {
		const char *comma = memchr(list, ',', (size_t)(end - list));
		const char *stop = comma ? comma : end;
		if ((size_t)(stop - list) == length && !memcmp(list, word, length))
			return true;
		list = stop + 1;
	}
	return false;
}

bool gb_cgroup_path(const char *text, const char *controller, char *path, size_t size)
{
	for (; *text; text = next_line(text)) {
		/* hierarchy-ID:controller-list:path */
		const char *end = text + strcspn(text, "\n");
		const char *list = memchr(text, ':', (size_t)(end - text));
		const char *after = list ? memchr(list + 1, ':', (size_t)(end - list - 1)) : NULL;
		if (!after)
			continue;
		bool wanted = *controller ? has_word(list + 1, after, controller) : list + 1 == after;
		size_t length = (size_t)(end - after - 1);
		if (!wanted || length >= size)
			continue;
		memcpy(path, after + 1, length);
		path[length] = '\0';
		return true;
	}
	return false;
}

/* The kernel writes blank, tab, newline and backslash in paths as \ooo. */
static void copy_unescaped(char *to, const char *from, size_t length)
{
	const char *end = from + length;

	while (from < end) {
		if (end - from >= 4 && from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
		    from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
			*to++ = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else {
			*to++ = *from++;
		}
	}
	*to = '\0';
}

enum { MOUNT_ROOT, MOUNT_POINT, MOUNT_TYPE, MOUNT_OPTIONS, MOUNT_FIELDS };

struct field {
	const char *start;
	size_t length;
};

/* One line: id parent major:minor ROOT POINT options optional... - TYPE source SUPER-OPTIONS */
static bool split_mount(const char *line, struct field fields[MOUNT_FIELDS])
{
	const char *end = line + strcspn(line, "\n");
	int number = 0;
	int after_dash = -1;
	int found = 0;

	for (const char *at = line; at < end; number++) {
		size_t length = strcspn(at, " \n");
		struct field field = {at, length};
		if (number == 3 || number == 4)
			fields[number == 3 ? MOUNT_ROOT : MOUNT_POINT] = field, found++;
		else if (after_dash < 0 && number > 5 && length == 1 && *at == '-')
			after_dash = number;
		else if (after_dash >= 0 && (number == after_dash + 1 || number == after_dash + 3))
			fields[number == after_dash + 1 ? MOUNT_TYPE : MOUNT_OPTIONS] = field, found++;
		at += length;
		at += at < end;
	}
	return found == MOUNT_FIELDS;
}

bool gb_cgroup_mount(const char *text, const char *type, const char *controller, char *mount_point, char *root,
		     size_t size)
{
	for (; *text; text = next_line(text)) {
		struct field fields[MOUNT_FIELDS];
		if (!split_mount(text, fields))
			continue;
		const struct field *options = &fields[MOUNT_OPTIONS];
		if (fields[MOUNT_TYPE].length != strlen(type) ||
		    memcmp(fields[MOUNT_TYPE].start, type, strlen(type)) != 0 ||
		    (*controller && !has_word(options->start, options->start + options->length, controller)) ||
		    fields[MOUNT_POINT].length >= size || fields[MOUNT_ROOT].length >= size)
			continue;
		copy_unescaped(mount_point, fields[MOUNT_POINT].start, fields[MOUNT_POINT].length);
		copy_unescaped(root, fields[MOUNT_ROOT].start, fields[MOUNT_ROOT].length);
		return true;
	}
	return false;
}

uint64_t gb_host_reserve_default(uint64_t total)
{
	const uint64_t least = UINT64_C(256) << 20, most = UINT64_C(4) << 30;
	uint64_t share = total / 16;

	return share < least ? least : share > most ? most : share;
}

uint64_t gb_group_reserve(uint64_t limit, uint64_t reserve)
{
	uint64_t share = limit / 16;

	return share < reserve ? share : reserve;
}

uint64_t gb_host_budget(uint64_t available, uint64_t cgroup_headroom, uint64_t reserve, uint64_t pending)
{
	if (available == GB_BYTES_UNKNOWN)
		return 0;
	uint64_t budget = cgroup_headroom < available ? cgroup_headroom : available;
	uint64_t kept;

	if (__builtin_add_overflow(reserve, pending, &kept) || kept >= budget)
		return 0;
	return budget - kept;
}
