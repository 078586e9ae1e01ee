#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static _Atomic int threshold = GB_LOG_WARN;
static _Atomic int lines;

static const char *const names[] = {"off", "error", "warning", "info", "debug"};

void gb_log_set_level(enum gb_log_level level)
{
	atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

bool gb_log_says(enum gb_log_level level)
{
	return (int)level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

static void write_line(enum gb_log_level level, const char *area, const char *format, va_list arguments)
{
	char line[512];
	const int room = (int)sizeof line - 1; /* the newline's place */
	int length = snprintf(line, (size_t)room, "greenboost[%d] %s %s: ", (int)getpid(), names[level], area);

	if (length < 0 || length >= room)
		return;
	int more = vsnprintf(line + length, (size_t)(room - length), format, arguments);
	if (more < 0)
		return;
	length += more;
	if (length >= room)
		length = room - 1;
	line[length++] = '\n';
	ssize_t written = write(STDERR_FILENO, line, (size_t)length);
	(void)written; /* a closed or full stderr is the host's own choice */
}

static void write_last_line(enum gb_log_level level, const char *area, const char *format, ...)
{
	va_list none;

	va_start(none, format);
	write_line(level, area, format, none);
	va_end(none);
}

void gb_log(enum gb_log_level level, const char *area, const char *format, ...)
{
	if (!gb_log_says(level))
		return;
	int saved = errno;
	int count = atomic_fetch_add_explicit(&lines, 1, memory_order_relaxed);
	if (count < GB_LOG_LINES_MAX) {
		va_list arguments;

		va_start(arguments, format);
		write_line(level, area, format, arguments);
		va_end(arguments);
	} else if (count == GB_LOG_LINES_MAX) {
		write_last_line(level, "log", "%d lines said, nothing more will be", GB_LOG_LINES_MAX);
	}
	errno = saved;
}
