/* What a program is told about a device's memory. Pure. */
#ifndef GB_POLICY_REPORT_H
#define GB_POLICY_REPORT_H

#include <stdint.h>

struct gb_memory_info {
	uint64_t free, total; /* bytes */
};

struct gb_report_terms {
	uint64_t limit;       /* VRAM this process may hold; UINT64_MAX: no limit */
	uint64_t held;        /* of it, held now */
	uint64_t extra_total; /* host memory to report on top: altogether, */
	uint64_t extra_free;  /* and what could still be granted */
};

/* The hardware's truth within the limit, plus what is advertised. Always free <= total. With no limit and nothing
 * advertised it is *hardware unchanged. */
struct gb_memory_info gb_report(const struct gb_memory_info *hardware, const struct gb_report_terms *terms);

#endif
