#include "base/size.h"

#include <errno.h>
#include <stddef.h>
#include <strings.h>

#define DECIMALS_MAX 9
#define DECIMALS_ONE UINT64_C(1000000000)

static const struct {
	const char *name;
	uint64_t bytes;
} units[] = {
	{"", 1},
	{"B", 1},
	{"K", UINT64_C(1) << 10},
	{"KiB", UINT64_C(1) << 10},
	{"KB", UINT64_C(1000)},
	{"M", UINT64_C(1) << 20},
	{"MiB", UINT64_C(1) << 20},
	{"MB", UINT64_C(1000000)},
	{"G", UINT64_C(1) << 30},
	{"GiB", UINT64_C(1) << 30},
	{"GB", UINT64_C(1000000000)},
	{"T", UINT64_C(1) << 40},
	{"TiB", UINT64_C(1) << 40},
	{"TB", UINT64_C(1000000000000)},
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *skip_blanks(const char *text)
{
	while (is_blank(*text))
		text++;
	return text;
}

/* What the number says, as a whole part and billionths. */
static int parse_number(const char **text, uint64_t *whole, uint64_t *billionths)
{
	const char *at = *text;
	uint64_t value = 0;
	uint64_t fraction = 0;
	bool overflow = false;

	if (!is_digit(*at))
		return -EINVAL;
	for (; is_digit(*at); at++) {
		overflow |= __builtin_mul_overflow(value, UINT64_C(10), &value);
		overflow |= __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value);
	}
	if (*at == '.') {
		uint64_t place = DECIMALS_ONE / 10;
		const char *first = ++at;
		for (; is_digit(*at); at++, place /= 10)
			fraction += place * (uint64_t)(*at - '0');
		if (at == first || at - first > DECIMALS_MAX)
			return -EINVAL;
	}
	*text = at;
	*whole = value;
	*billionths = fraction;
	return overflow ? -ERANGE : 0;
}

static int parse_unit(const char *text, uint64_t *bytes)
{
	char name[4] = "";
	size_t length = 0;

	while (text[length] && !is_blank(text[length])) {
		if (length == sizeof name - 1)
			return -EINVAL;
		name[length] = text[length];
		length++;
	}
	if (*skip_blanks(text + length))
		return -EINVAL;
	if (length == 1 && name[0] == '%') {
		*bytes = 0;
		return 0;
	}
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (!strcasecmp(name, units[i].name)) {
			*bytes = units[i].bytes;
			return 0;
		}
	}
	return -EINVAL;
}

int gb_size_parse(const char *text, struct gb_size *size)
{
	uint64_t whole, billionths, unit, value;
	const char *at = skip_blanks(text);
	int number = parse_number(&at, &whole, &billionths);

	if (number == -EINVAL || parse_unit(skip_blanks(at), &unit))
		return -EINVAL;
	if (number)
		return number;
	if (unit == 0) {
		if (__builtin_mul_overflow(whole, DECIMALS_ONE, &value) ||
		    __builtin_add_overflow(value, billionths, &value) || value == 0 || value > GB_SHARE_WHOLE)
			return -ERANGE;
		*size = (struct gb_size){.is_set = true, .is_share = true, .value = value};
		return 0;
	}
	uint64_t part = (uint64_t)((unsigned __int128)billionths * unit / DECIMALS_ONE);
	if (__builtin_mul_overflow(whole, unit, &value) || __builtin_add_overflow(value, part, &value))
		return -ERANGE;
	*size = (struct gb_size){.is_set = true, .is_share = false, .value = value};
	return 0;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void gb_size_bound(struct gb_size *size, enum gb_bound bound, const struct gb_size *by)
{
	const bool at_most = bound == GB_BOUND_AT_MOST;
	uint64_t (*const stricter)(uint64_t, uint64_t) = at_most ? smaller : larger;

	if (size->bound == GB_BOUND_NONE)
		size->bound_bytes = at_most ? UINT64_MAX : 0;
	size->bound = bound;
	if (!by->is_share)
		size->bound_bytes = stricter(size->bound_bytes, by->value);
	else
		size->bound_share = size->bound_share ? stricter(size->bound_share, by->value) : by->value;
}

static uint64_t share_of(uint64_t whole, uint64_t share)
{
	return (uint64_t)((unsigned __int128)whole * share / GB_SHARE_WHOLE);
}

uint64_t gb_size_resolve(const struct gb_size *size, uint64_t whole, uint64_t unset)
{
	uint64_t value = !size->is_set ? unset : size->is_share ? share_of(whole, size->value) : size->value;

	if (size->bound == GB_BOUND_NONE)
		return value;
	uint64_t (*const stricter)(uint64_t, uint64_t) = size->bound == GB_BOUND_AT_MOST ? smaller : larger;
	value = stricter(value, size->bound_bytes);
	return size->bound_share ? stricter(value, share_of(whole, size->bound_share)) : value;
}
