#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define LOOK_NS (5 * GB_NS_PER_MS)

static bool is_kept(const char *variable)
{
	return strncmp(variable, "LD_", 3) != 0 && strncmp(variable, "PYTHON", 6) != 0;
}

/* In a child, which never returns. */
static _Noreturn void become(const char *greenboost, const char *profile, char *const *environment, int out, int err)
{
	const char *words[] = {greenboost, "env", "--null", *profile ? "--profile" : NULL, profile, NULL};
	size_t count = 0, kept = 0;

	setpgid(0, 0);
	while (environment[count])
		count++;
	char **own = calloc(count + 1, sizeof *own);
	int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (own && in >= 0 && dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(err, 2) >= 0) {
		for (size_t i = 0; i < count; i++)
			if (is_kept(environment[i]))
				own[kept++] = environment[i];
		execve(greenboost, (char *const *)words, own);
		dprintf(2, "%s\n", strerror(errno));
	}
	_exit(127);
}

/* Its status, or -ETIMEDOUT. */
static int wait_for(pid_t child)
{
	uint64_t deadline = gb_clock_ns() + GB_SETTINGS_DEADLINE_S * GB_NS_PER_S;
	struct timespec pause = gb_timespec(LOOK_NS);
	int status = 0;
	pid_t ended;

	while (!(ended = waitpid(child, &status, WNOHANG)) && gb_clock_ns() < deadline)
		nanosleep(&pause, NULL);
	if (ended == child)
		return status;
	kill(-child, SIGKILL);
	kill(child, SIGKILL); /* had it no time to make its group */
	waitpid(child, &status, 0);
	return -ETIMEDOUT;
}

/* What it said: its first line, without control characters. */
static void read_reason(int fd, char *reason, size_t bytes)
{
	ssize_t length = pread(fd, reason, bytes - 1, 0);

	reason[length > 0 ? length : 0] = '\0';
	reason[strcspn(reason, "\n")] = '\0';
	for (char *c = reason; *c; c++)
		if (*c < ' ' || *c >= 0x7f)
			*c = '?';
}

int gb_settings_ask(const char *greenboost, const char *profile, char *const *environment, struct gb_settings *settings,
		    char why[GB_WHY_MAX])
{
	char reason[GB_WHY_MAX / 2];
	GB_CLEANUP(gb_close_fd)
	int out = memfd_create("greenboost-settings", MFD_CLOEXEC);
	GB_CLEANUP(gb_close_fd)
	int err = memfd_create("greenboost-reason", MFD_CLOEXEC);
	pid_t child = out >= 0 && err >= 0 ? fork() : -1;

	if (child < 0) {
		snprintf(why, GB_WHY_MAX, "%s", strerror(errno));
		return -errno;
	}
	if (child == 0)
		become(greenboost, profile, environment, out, err);
	int status = wait_for(child);
	if (status == -ETIMEDOUT) {
		snprintf(why, GB_WHY_MAX, "%.80s env did not end within %d s", greenboost, GB_SETTINGS_DEADLINE_S);
		return -ETIMEDOUT;
	}
	ssize_t bytes = pread(out, settings->text, sizeof settings->text, 0);
	if (status || bytes <= 0 || (size_t)bytes == sizeof settings->text || settings->text[bytes - 1]) {
		read_reason(err, reason, sizeof reason);
		snprintf(why, GB_WHY_MAX, "%.80s env failed: %s", greenboost, reason);
		return -EIO;
	}
	settings->bytes = (size_t)bytes;
	return 0;
}

const char *gb_settings_next(const struct gb_settings *settings, const char *before)
{
	const char *next = before ? before + strlen(before) + 1 : settings->text;

	return next < settings->text + settings->bytes ? next : NULL;
}
