#include "base/ceilings.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/log.h"

#define TEXT_BYTES 4096 /* five lines and what is said about them */

static const struct {
	const char *name;
	enum gb_bound bound;
	size_t offset;
} bounded[] = {
	{"VRAM_LIMIT", GB_BOUND_AT_MOST, offsetof(struct gb_options, vram_limit)},
	{"HOST_LIMIT", GB_BOUND_AT_MOST, offsetof(struct gb_options, host_limit)},
	{"VRAM_RESERVE", GB_BOUND_AT_LEAST, offsetof(struct gb_options, vram_reserve)},
	{"HOST_RESERVE", GB_BOUND_AT_LEAST, offsetof(struct gb_options, host_reserve)},
};

static const char blanks[] = " \t\r";

/* How much of `length` characters is left without the blanks at their end. */
static size_t without_blanks(const char *text, size_t length)
{
	while (length && strchr(blanks, text[length - 1]))
		length--;
	return length;
}

static char *trimmed(char *text)
{
	text[without_blanks(text, strlen(text))] = '\0';
	return text + strspn(text, blanks);
}

/* What is wanted in place of a line; NULL: it has been taken. */
static const char *take(struct gb_options *options, char *line)
{
	char *value = strchr(line, '=');

	if (!value)
		return "NAME=VALUE";
	size_t length = without_blanks(line, (size_t)(value - line));
	value = trimmed(value + 1);
	if (length == strlen("SOCKET") && !strncasecmp(line, "SOCKET", length)) {
		if (*value != '/')
			return "an absolute path";
		options->socket = value;
		return NULL;
	}
	for (size_t i = 0; i < sizeof bounded / sizeof *bounded; i++) {
		if (length == strlen(bounded[i].name) && !strncasecmp(line, bounded[i].name, length)) {
			struct gb_size *size = (struct gb_size *)((char *)options + bounded[i].offset);
			struct gb_size bound = {0};
			if (gb_size_parse(value, &bound))
				return "a size such as 8GiB, 1500M or 75%";
			gb_size_bound(size, bounded[i].bound, &bound);
			return NULL;
		}
	}
	return "VRAM_LIMIT, HOST_LIMIT, VRAM_RESERVE, HOST_RESERVE or SOCKET";
}

void gb_ceilings_apply(struct gb_options *options, char *text, gb_ceilings_complaint complain)
{
	char *rest = text;

	while (rest) {
		char *line = trimmed(strsep(&rest, "\n"));
		const char *wanted = *line && *line != '#' ? take(options, line) : NULL;
		if (wanted)
			complain(line, wanted);
	}
}

static void say(const char *line, const char *wanted)
{
	gb_log(GB_LOG_ERROR, "ceilings", GB_CEILINGS_PATH ": %.80s: %s was expected; the line counts for nothing", line,
	       wanted);
}

/* Bytes of the file, or -errno; what does not fit is none of ours. */
static ssize_t read_file(char *text, size_t size)
{
	int fd = open(GB_CEILINGS_PATH, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t have = 0;
	ssize_t got;

	if (fd < 0)
		return -errno;
	do {
		got = read(fd, text + have, size - have);
		have += got > 0 ? (size_t)got : 0;
	} while ((got > 0 && have < size) || (got < 0 && errno == EINTR));
	ssize_t result = got < 0 ? -errno : have == size ? -EFBIG : (ssize_t)have;
	close(fd);
	return result;
}

void gb_ceilings_load(struct gb_options *options)
{
	static char text[TEXT_BYTES];
	int kept = errno;
	ssize_t bytes = read_file(text, sizeof text);

	if (bytes >= 0) {
		text[bytes] = '\0';
		gb_ceilings_apply(options, text, say);
	} else if (bytes != -ENOENT && bytes != -ENOTDIR) {
		gb_log(GB_LOG_ERROR, "ceilings", GB_CEILINGS_PATH " cannot be read (%s): it bounds nothing",
		       strerror((int)-bytes));
	}
	errno = kept;
}
