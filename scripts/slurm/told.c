#include "told.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LISTED 8 /* tasks that have words of their own */

/* The keys of a line, in its order, with what stands before each value. */
static const char *const keys[] = {
	"{\"pid\":",         ",\"begin_ms\":", ",\"end_ms\":",   ",\"device\":",  ",\"split\":",
	",\"host_mapped\":", ",\"managed\":",  ",\"pageable\":", ",\"unified\":",
};
enum { PID, BEGIN, END, TIERS, KEYS = sizeof keys / sizeof *keys };
_Static_assert(KEYS - TIERS == GB_TIER_COUNT, "a line has each tier");

struct process {
	uint64_t value[KEYS];
};

struct processes {
	struct process of[GB_TOLD_PROCESSES];
	unsigned count;
};

static uint64_t sum(uint64_t a, uint64_t b)
{
	uint64_t result;

	return __builtin_add_overflow(a, b, &result) ? UINT64_MAX : result;
}

/* Past `text` if it is what is at `at`; else NULL. */
static const char *skip(const char *at, const char *end, const char *text)
{
	size_t length = strlen(text);

	return (size_t)(end - at) >= length && !memcmp(at, text, length) ? at + length : NULL;
}

static const char *read_number(const char *at, const char *end, uint64_t *value)
{
	const char *first = at;

	for (*value = 0; at < end && *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(*value, UINT64_C(10), value) ||
		    __builtin_add_overflow(*value, (uint64_t)(*at - '0'), value))
			return NULL;
	return at == first ? NULL : at;
}

static bool read_line(const char *at, const char *end, struct process *process)
{
	for (unsigned key = 0; key < KEYS; key++) {
		at = skip(at, end, keys[key]);
		at = at ? read_number(at, end, &process->value[key]) : NULL;
		if (!at)
			return false;
	}
	return skip(at, end, ",\"program\":\"") && end - at >= 2 && !memcmp(end - 2, "\"}", 2);
}

/* The last line of a pid counts. */
static void enter(struct processes *known, const struct process *process)
{
	unsigned i = 0;

	while (i < known->count && known->of[i].value[PID] != process->value[PID])
		i++;
	if (i == GB_TOLD_PROCESSES)
		return;
	known->of[i] = *process;
	known->count += i == known->count;
}

/* Where most is held, a process has just begun. */
static uint64_t most_at_once(const struct processes *known, unsigned key)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < known->count; i++) {
		uint64_t now = known->of[i].value[BEGIN], held = 0;

		for (unsigned j = 0; j < known->count; j++)
			if (known->of[j].value[BEGIN] <= now && now <= known->of[j].value[END])
				held = sum(held, known->of[j].value[key]);
		most = held > most ? held : most;
	}
	return most;
}

struct gb_told gb_told_read(const char *text, size_t bytes)
{
	struct processes known = {.count = 0};
	struct gb_told told = {{0}};
	const char *end = text + bytes;

	for (const char *at = text; at < end;) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		struct process process;

		if (!newline)
			break;
		if (read_line(at, newline, &process))
			enter(&known, &process);
		at = newline + 1;
	}
	for (unsigned tier = 0; tier < GB_TIER_COUNT; tier++)
		told.peak[tier] = most_at_once(&known, TIERS + tier);
	return told;
}

bool gb_told_is_empty(const struct gb_told *told)
{
	for (unsigned tier = 0; tier < GB_TIER_COUNT; tier++)
		if (told->peak[tier])
			return false;
	return true;
}

struct text {
	char *at, *end;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *text, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int length = vsnprintf(text->at, (size_t)(text->end - text->at), format, arguments);
	va_end(arguments);
	if (length > 0)
		text->at += length < text->end - text->at ? length : text->end - text->at - 1;
}

static void say_bytes(struct text *text, const char *what, uint64_t bytes)
{
	static const char units[] = "KMGTPE";
	double value = (double)bytes / 1024;
	unsigned unit = 0;

	for (; value >= 1023.95 && units[unit + 1]; unit++)
		value /= 1024;
	say(text, "%s %.1f %ciB", what, value, units[unit]);
}

/* VRAM first, then what lay elsewhere; tiers of which nothing was held are left out. */
static void say_tiers(struct text *text, const struct gb_told *told)
{
	static const char *const names[GB_TIER_COUNT] = {
		[GB_TIER_DEVICE] = "VRAM",
		[GB_TIER_SPLIT] = "host split",
		[GB_TIER_HOST_MAPPED] = "host pinned",
		[GB_TIER_MANAGED] = "host managed",
		[GB_TIER_PAGEABLE] = "host pageable",
		[GB_TIER_UNIFIED] = "the program's own managed",
	};

	for (unsigned tier = 0, said = 0; tier < GB_TIER_COUNT; tier++) {
		if (!told->peak[tier] && tier != GB_TIER_DEVICE)
			continue;
		say(text, said++ ? ", " : "");
		say_bytes(text, names[tier], told->peak[tier]);
	}
}

int gb_told_say(const char *step, const char *node, const struct gb_told *tasks, unsigned count,
		char line[GB_TOLD_LINE])
{
	struct text text = {line, line + GB_TOLD_LINE};
	struct gb_told all = {{0}};
	unsigned told = 0, listed = 0;

	for (unsigned task = 0; task < count; task++) {
		told += !gb_told_is_empty(&tasks[task]);
		for (unsigned tier = 0; tier < GB_TIER_COUNT; tier++)
			all.peak[tier] = sum(all.peak[tier], tasks[task].peak[tier]);
	}
	if (!told)
		return -ENOENT;
	say(&text, "greenboost: step %s on %s: peak ", step, node);
	say_tiers(&text, &all);
	say(&text, " (%u task%s", told, told == 1 ? ")" : "s");
	if (told == 1)
		return 0;
	for (unsigned task = 0; task < count && listed < LISTED; task++) {
		if (gb_told_is_empty(&tasks[task]))
			continue;
		say(&text, "; %u: ", task);
		say_tiers(&text, &tasks[task]);
		listed++;
	}
	say(&text, told > listed ? "; and %u more)" : ")", told - listed);
	return 0;
}
