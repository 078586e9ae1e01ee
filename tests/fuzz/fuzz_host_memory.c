/* The kernel's files about memory: any text. Nothing is written past what the caller gave, and what is unknown stays so. */
#include <stdlib.h>
#include <string.h>

#include "policy/host_memory.h"

enum { PATH_BYTES = 24 }; /* small, so that much does not fit */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *path)
{
	if (!memchr(path, '\0', PATH_BYTES))
		abort();
}

static void read_paths(const char *text, const char *type, const char *controller)
{
	char *path = malloc(PATH_BYTES), *mount = malloc(PATH_BYTES), *root = malloc(PATH_BYTES);

	if (path && mount && root) {
		if (gb_cgroup_path(text, controller, path, PATH_BYTES))
			check_text(path);
		if (gb_cgroup_mount(text, type, controller, mount, root, PATH_BYTES)) {
			check_text(mount);
			check_text(root);
		}
	}
	free(path);
	free(mount);
	free(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		return -1;
	memcpy(text, data, size);
	text[size] = '\0';
	struct gb_meminfo info = gb_meminfo_parse(text);
	uint64_t counter = gb_counter_parse(text);
	uint64_t stat = gb_stat_parse(text, "inactive_file");
	uint64_t headroom = gb_cgroup_headroom(info.total, counter, stat);
	if (gb_host_budget(info.available, headroom, gb_host_reserve_default(info.total), stat) > info.available)
		abort();
	read_paths(text, "cgroup2", "");
	read_paths(text, "cgroup", "memory");
	free(text);
	return 0;
}
