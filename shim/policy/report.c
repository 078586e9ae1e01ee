#include "policy/report.h"

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
	uint64_t result;

	return __builtin_add_overflow(a, b, &result) ? UINT64_MAX : result;
}

struct gb_memory_info gb_report(const struct gb_memory_info *hardware, const struct gb_report_terms *terms)
{
	uint64_t room = terms->held < terms->limit ? terms->limit - terms->held : 0;
	struct gb_memory_info told = {
		.total = sum(smaller(hardware->total, terms->limit), terms->extra_total),
		.free = sum(smaller(hardware->free, room), terms->extra_free),
	};

	told.free = smaller(told.free, told.total);
	return told;
}
