/* How long a program without CUDA takes from being started to being gone, with a library preloaded and without.
 *
 * usage: starts LIBRARY COUNT PROGRAM [ARGUMENT...]
 *
 * Starts PROGRAM 2 x COUNT times, in turn without and with LD_PRELOAD=LIBRARY, after a few that do not count. Prints
 * {"without": [...], "with": [...]}, nanoseconds from posix_spawn to waitpid. */
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t one_start(char **arguments, char **environment)
{
	uint64_t start = now_ns();
	int status = -1;
	pid_t child;

	if (posix_spawn(&child, arguments[0], NULL, NULL, arguments, environment) != 0 ||
	    waitpid(child, &status, 0) != child || status != 0) {
		fprintf(stderr, "starts: %s did not run\n", arguments[0]);
		exit(1);
	}
	return now_ns() - start;
}

/* Our own environment without LD_PRELOAD, and `first` before it unless NULL. */
static char **environment_with(char *first)
{
	size_t count = 0;
	size_t used = 0;
	char **copy;

	while (environ[count])
		count++;
	copy = calloc(count + 2, sizeof *copy);
	if (!copy)
		exit(1);
	if (first)
		copy[used++] = first;
	for (size_t i = 0; i < count; i++)
		if (strncmp(environ[i], "LD_PRELOAD=", 11) != 0)
			copy[used++] = environ[i];
	return copy;
}

static void print(const char *name, const uint64_t *ns, int count)
{
	printf("\"%s\": [", name);
	for (int i = 0; i < count; i++)
		printf("%s%llu", i ? ", " : "", (unsigned long long)ns[i]);
	printf("]");
}

int main(int argc, char **argv)
{
	int count = argc > 3 ? atoi(argv[2]) : 0;
	char preload[4096];
	uint64_t *ns[2];
	char **environment[2];

	if (count < 1 || strlen(argv[1]) > sizeof preload - 16) {
		fputs("usage: starts LIBRARY COUNT PROGRAM [ARGUMENT...]\n", stderr);
		return 2;
	}
	snprintf(preload, sizeof preload, "LD_PRELOAD=%s", argv[1]);
	for (int i = 0; i < 2; i++) {
		ns[i] = calloc((size_t)count, sizeof *ns[i]);
		environment[i] = environment_with(i ? preload : NULL);
		if (!ns[i])
			return 1;
	}
	for (int round = -10; round < count; round++)
		for (int i = 0; i < 2; i++) {
			uint64_t taken = one_start(argv + 3, environment[i]);

			if (round >= 0)
				ns[i][round] = taken;
		}
	printf("{");
	print("without", ns[0], count);
	printf(", ");
	print("with", ns[1], count);
	puts("}");
	return 0;
}
