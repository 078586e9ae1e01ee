/* Lines on stderr, in somebody else's process: `greenboost[pid] level area: message`.
 *
 * One write(2) a line, at most GB_LOG_LINES_MAX lines a process (then one that says so), never on stdout, never blocking
 * on a lock. errno is kept. Any thread; not from a signal handler. */
#ifndef GB_BASE_LOG_H
#define GB_BASE_LOG_H

#include <stdbool.h>

enum gb_log_level { GB_LOG_OFF, GB_LOG_ERROR, GB_LOG_WARN, GB_LOG_INFO, GB_LOG_DEBUG };

enum { GB_LOG_LINES_MAX = 1000 };

/* What is said until the options are read: errors and warnings. */
void gb_log_set_level(enum gb_log_level level);

/* Whether lines of that level are written. */
bool gb_log_says(enum gb_log_level level);

__attribute__((format(printf, 3, 4))) void gb_log(enum gb_log_level level, const char *area, const char *format, ...);

#endif
