/* What a job asks for, what the site allows, and what a task gets of it. Pure: no allocation, no Slurm. Any thread.
 *
 *   --greenboost                            on
 *   --greenboost=vram=8GiB,host=32GiB       on, with limits per process
 *   --greenboost=profile=pytorch            on, with a profile's settings
 *   --greenboost=off                        nothing, where the site's default is on
 *
 * Sizes are those of base/size.h, in bytes: a share would be something else on each node. */
#ifndef GB_SLURM_ASKED_H
#define GB_SLURM_ASKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GB_UNLIMITED UINT64_MAX
#define GB_PROFILE_MAX 64

struct gb_asked {
	bool is_on;
	bool is_by_default; /* nobody asked: the site's default */
	uint64_t vram_bytes, host_bytes; /* GB_UNLIMITED: not said */
	char profile[GB_PROFILE_MAX + 1]; /* empty: none */
};

/* The plugin's arguments in plugstack.conf. The texts are the arguments' own. */
struct gb_site {
	const char *greenboost; /* the command, on the nodes */
	const char *reports; /* the folder in which tasks leave what they held */
	bool is_default_on;
	uint64_t vram_max_bytes, host_max_bytes;
};

/* A task, as it is about to start. A text may be NULL: unset. */
struct gb_task {
	const char *visible_devices; /* CUDA_VISIBLE_DEVICES */
	const char *vram_limit, *host_limit; /* GREENBOOST_VRAM_LIMIT and GREENBOOST_HOST_LIMIT, the user's */
	uint64_t memory_bytes; /* what the step may use on this node; 0: no limit */
	uint64_t ram_bytes; /* of the node: the whole of which host_limit may be a share */
	uint32_t tasks; /* of the step, on this node */
};

struct gb_given {
	bool is_loaded; /* whether the task gets the library */
	uint64_t vram_bytes, host_bytes; /* GB_UNLIMITED: to be left as it is */
};

#define GB_WHY_MAX 200

/* The text after --greenboost= (NULL: there is none). 0; or -EINVAL with *asked untouched, and in `why` what is wrong with
 * it and what to write, on one line. */
int gb_asked_parse(const char *text, struct gb_asked *asked, char why[GB_WHY_MAX]);

/* The arguments key=value of the plugin, over the defaults that *site has. Likewise. */
int gb_site_parse(int count, char *const *arguments, struct gb_site *site, char why[GB_WHY_MAX]);

/* Whether the site lets a job ask for this. 0 or -EPERM, and why. */
int gb_site_allows(const struct gb_site *site, const struct gb_asked *asked, char why[GB_WHY_MAX]);

/* The smallest of what was asked for, what the user's environment says, what the site allows, and for host memory the task's
 * part of the step's memory. A task to which Slurm gave no GPU gets nothing. */
struct gb_given gb_given_to(const struct gb_asked *asked, const struct gb_site *site, const struct gb_task *task);

/* LD_PRELOAD with the library first and once, and what was there. 0, or -ENAMETOOLONG. */
int gb_preload(const char *library, const char *existing, char *preload, size_t bytes);

#endif
