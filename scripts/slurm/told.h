/* What a step's tasks held at most, from what their processes wrote (alloc/peaks.h), as one line for its user.
 *
 * The user may have written anything: what is not a line of that form is passed over, sums stop at the largest number, and no
 * more is looked at than GB_TOLD_BYTES and GB_TOLD_PROCESSES a task. Pure: no allocation. Any thread. */
#ifndef GB_SLURM_TOLD_H
#define GB_SLURM_TOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/greenboost_abi.h"

#define GB_TOLD_BYTES 65536
#define GB_TOLD_PROCESSES 256
#define GB_TOLD_LINE 1024

/* By enum gb_tier, in bytes. */
struct gb_told {
	uint64_t peak[GB_TIER_COUNT];
};

/* One task: of each tier, the most that those of its processes held that lived at one time. `text` need not begin or end with a
 * whole line. All 0: nothing was told. */
struct gb_told gb_told_read(const char *text, size_t bytes);

bool gb_told_is_empty(const struct gb_told *told);

/* What is said of them: 0, and `line` without a newline; -ENOENT if nothing was told. */
int gb_told_say(const char *step, const char *node, const struct gb_told *tasks, unsigned count,
		char line[GB_TOLD_LINE]);

#endif
