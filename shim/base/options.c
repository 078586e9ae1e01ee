#include "base/options.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/ceilings.h"
#include "base/once.h"

enum kind { SIZE, CHOICE, CHOICE_OR_SIZE, SWITCH, PATH };

struct row {
	const char *id;
	enum kind kind;
	const char *choices;
	const char *fallback; /* the text that an unset variable stands for */
	size_t offset;
};

static const struct row rows[] = {
#define GB_OPTION(id, kind, choices, default_text, help)                     \
	{#id, kind, choices, default_text, offsetof(struct gb_options, id)},
#include "options.def"
#undef GB_OPTION
};

/* The position of `text` in "a|b|c", or -1. */
static int choice_index(const char *choices, const char *text)
{
	size_t length = strlen(text);
	int index = 0;

	for (const char *at = choices; *at; index++) {
		size_t word = strcspn(at, "|");
		if (word == length && !strncasecmp(at, text, length))
			return index;
		at += word + (at[word] == '|');
	}
	return -1;
}

static bool parse_switch(const char *text, bool *value)
{
	int index = choice_index("0|off|false|no|1|on|true|yes", text);

	if (index < 0)
		return false;
	*value = index >= 4;
	return true;
}

static bool parse(const struct row *row, const char *text, void *field)
{
	switch (row->kind) {
	case SIZE:
		return gb_size_parse(text, field) == 0;
	case SWITCH:
		return parse_switch(text, field);
	case CHOICE: {
		int index = choice_index(row->choices, text);
		if (index >= 0)
			*(int *)field = index;
		return index >= 0;
	}
	case CHOICE_OR_SIZE: {
		struct gb_choice_or_size value = {.choice = choice_index(row->choices, text)};
		if (value.choice < 0 && gb_size_parse(text, &value.size))
			return false;
		*(struct gb_choice_or_size *)field = value;
		return true;
	}
	case PATH:
		if (*text == '/')
			*(const char **)field = text;
		return *text == '/';
	}
	return false;
}

static const char *wanted(const struct row *row)
{
	switch (row->kind) {
	case SIZE:
		return "a size such as 8GiB, 1500M or 75%";
	case SWITCH:
		return "0 or 1";
	case CHOICE:
		return row->choices;
	case CHOICE_OR_SIZE:
		return "off, on or a size such as 8GiB";
	case PATH:
		return "an absolute path";
	}
	return "";
}

void gb_options_read(struct gb_options *options, gb_options_lookup lookup, gb_options_complaint complain)
{
	memset(options, 0, sizeof *options);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct row *row = &rows[i];
		void *field = (char *)options + row->offset;
		char variable[64] = "GREENBOOST_";
		size_t at = strlen(variable);

		for (const char *c = row->id; *c && at < sizeof variable - 1; c++)
			variable[at++] = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
		if (*row->fallback)
			parse(row, row->fallback, field);
		const char *text = lookup(variable);
		if (text && *text && !parse(row, text, field))
			complain(variable, text, wanted(row));
	}
}

_Atomic(const struct gb_options *) gb_options_known;

static struct gb_options process_options;
static struct gb_once process_options_once;

static const char *from_environment(const char *variable)
{
	return getenv(variable);
}

static void complain(const char *variable, const char *value, const char *wanted_text)
{
	gb_log(GB_LOG_ERROR, "options", "%s=%.80s is not %s; it counts as unset", variable, value, wanted_text);
}

static void read_process_options(void)
{
	gb_options_read(&process_options, from_environment, complain);
	gb_log_set_level((enum gb_log_level)process_options.log);
	gb_ceilings_load(&process_options);
	atomic_store_explicit(&gb_options_known, &process_options, memory_order_release);
}

const struct gb_options *gb_options_load(void)
{
	gb_once(&process_options_once, read_process_options);
	return &process_options;
}
