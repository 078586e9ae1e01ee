/* The variables that put the library into a task, from `greenboost env --null`, run as the task's user.
 *
 * It has GB_SETTINGS_DEADLINE_S, and is killed then with all that it started. Not for two threads at once. */
#ifndef GB_SLURM_SETTINGS_H
#define GB_SLURM_SETTINGS_H

#include <stddef.h>

#include "asked.h"

#define GB_SETTINGS_DEADLINE_S 10

struct gb_settings {
	size_t bytes;
	char text[16384]; /* NAME=VALUE, each ended by a NUL */
};

/* Asks for them. `environment`, which ends with NULL, is the task's; what would change the command itself (LD_*, PYTHON*) is
 * left out. 0; or -errno, and in `why` what is wrong, on one line. */
int gb_settings_ask(const char *greenboost, const char *profile, char *const *environment, struct gb_settings *settings,
		    char why[GB_WHY_MAX]);

/* The one after `before`, or the first for NULL; NULL after the last. */
const char *gb_settings_next(const struct gb_settings *settings, const char *before);

#endif
