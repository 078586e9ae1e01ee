/* The parts of the Slurm plugin that know no Slurm, for test_parts.py: texts that end with a NUL come in, a line each goes out.
 *
 *   parts asked                                 each text is one of --greenboost=
 *   parts site                                  each is an argument of the plugin
 *   parts given ASKED VRAM_MAX HOST_MAX         seven texts a task: see below; "-": unset
 *   parts preload BYTES                         two texts each: the library, LD_PRELOAD as it is
 *   parts told                                  each is what a task's processes wrote: a line of peaks, and one for the user
 *   parts settings GREENBOOST PROFILE           the variables; what is there already comes in */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "asked.h"
#include "settings.h"
#include "told.h"

static char input[4 << 20];
static size_t size, at;

static const char *next(void)
{
	const char *text = input + at;

	if (at >= size)
		return NULL;
	at += strlen(text) + 1;
	return text;
}

/* On the heap and of its own length, so that a sanitizer sees who reads past its end. */
static char *copy(const char *text)
{
	return text && strcmp(text, "-") != 0 ? strdup(text) : NULL;
}

static void asked(void)
{
	for (const char *text; (text = next());) {
		struct gb_asked found = {.vram_bytes = 1};
		char why[GB_WHY_MAX] = "", *own = strdup(text);

		if (gb_asked_parse(own, &found, why))
			printf("refused %llu %s\n", (unsigned long long)found.vram_bytes, why);
		else
			printf("%d %llu %llu [%s]\n", found.is_on, (unsigned long long)found.vram_bytes,
			       (unsigned long long)found.host_bytes, found.profile);
		free(own);
	}
}

static void site(void)
{
	for (const char *text; (text = next());) {
		struct gb_site found = {"/a", "/b", false, GB_UNLIMITED, GB_UNLIMITED};
		char why[GB_WHY_MAX] = "", *own = strdup(text);

		if (gb_site_parse(1, &own, &found, why))
			printf("refused %s\n", why);
		else
			printf("%s %s %d %llu %llu\n", found.greenboost, found.reports, found.is_default_on,
			       (unsigned long long)found.vram_max_bytes, (unsigned long long)found.host_max_bytes);
		free(own);
	}
}

/* visible devices, VRAM_LIMIT, HOST_LIMIT, memory, RAM, tasks, default or asked */
static void given(char **words)
{
	struct gb_site the_site = {"/a", "/b", false, GB_UNLIMITED, GB_UNLIMITED};
	struct gb_asked the_asked;
	char why[GB_WHY_MAX];

	if (gb_asked_parse(words[0], &the_asked, why))
		exit(2);
	the_site.vram_max_bytes = strtoull(words[1], NULL, 10);
	the_site.host_max_bytes = strtoull(words[2], NULL, 10);
	for (const char *text; (text = next());) {
		char *devices = copy(text), *vram = copy(next()), *host = copy(next());
		struct gb_task task = {.visible_devices = devices, .vram_limit = vram, .host_limit = host};

		task.memory_bytes = strtoull(next(), NULL, 10);
		task.ram_bytes = strtoull(next(), NULL, 10);
		task.tasks = (uint32_t)strtoul(next(), NULL, 10);
		the_asked.is_by_default = !strcmp(next(), "default");
		struct gb_given found = gb_given_to(&the_asked, &the_site, &task);
		printf("%d %llu %llu\n", found.is_loaded, (unsigned long long)found.vram_bytes,
		       (unsigned long long)found.host_bytes);
		free(devices), free(vram), free(host);
	}
	printf("allowed %d\n", gb_site_allows(&the_site, &the_asked, why));
}

static void preload(size_t bytes)
{
	for (const char *library; (library = next());) {
		char *existing = copy(next()), *text = malloc(bytes);
		int result = gb_preload(library, existing, text, bytes);

		printf("%d %s\n", result, result ? "" : text);
		free(existing), free(text);
	}
}

static void told(void)
{
	static struct gb_told tasks[1024];
	unsigned count = 0;
	char line[GB_TOLD_LINE];

	for (const char *text; (text = next()) && count < 1024;) {
		size_t length = strlen(text);
		char *own = malloc(length ? length : 1);

		memcpy(own, text, length);
		tasks[count++] = gb_told_read(own, length);
		free(own);
	}
	for (unsigned task = 0; task < count; task++) {
		for (unsigned tier = 0; tier < GB_TIER_COUNT; tier++)
			printf(tier ? " %llu" : "%llu", (unsigned long long)tasks[task].peak[tier]);
		printf("\n");
	}
	printf("%s\n", gb_told_say("7.0", "node", tasks, count, line) ? "nothing" : line);
}

static int settings(const char *greenboost, const char *profile)
{
	static struct gb_settings found;
	char *environment[64] = {NULL}, why[GB_WHY_MAX];

	for (size_t i = 0; i < 63 && (environment[i] = copy(next())); i++)
		;
	int result = gb_settings_ask(greenboost, profile, environment, &found, why);
	for (size_t i = 0; environment[i]; i++)
		free(environment[i]);
	if (result) {
		printf("failed %d %s\n", result, why);
		return 0;
	}
	for (const char *one = gb_settings_next(&found, NULL); one; one = gb_settings_next(&found, one))
		printf("%s\n", one);
	return 0;
}

int main(int count, char **words)
{
	size = fread(input, 1, sizeof input - 1, stdin);
	if (count < 2)
		return 2;
	if (!strcmp(words[1], "asked"))
		asked();
	else if (!strcmp(words[1], "site"))
		site();
	else if (!strcmp(words[1], "given") && count == 5)
		given(words + 2);
	else if (!strcmp(words[1], "preload") && count == 3)
		preload(strtoul(words[2], NULL, 10));
	else if (!strcmp(words[1], "told"))
		told();
	else if (!strcmp(words[1], "settings") && count == 4)
		return settings(words[2], words[3]);
	else
		return 2;
	return 0;
}
