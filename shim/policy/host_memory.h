/* How much host memory may be taken, from the text of the kernel's own files. Pure; hostile text gives "unknown".
 *
 * Sources: Documentation/filesystems/proc.rst (meminfo), Documentation/admin-guide/cgroup-v2.rst (memory.max,
 * memory.current, memory.stat) and cgroup-v1/memory.rst (memory.limit_in_bytes, memory.usage_in_bytes). */
#ifndef GB_POLICY_HOST_MEMORY_H
#define GB_POLICY_HOST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GB_BYTES_UNKNOWN UINT64_MAX

struct gb_meminfo {
	uint64_t total;     /* bytes; GB_BYTES_UNKNOWN where the line is missing or malformed */
	uint64_t available; /* bytes, likewise */
};

struct gb_meminfo gb_meminfo_parse(const char *text);

/* A file that holds one number, or "max" (no limit), with a newline. GB_BYTES_UNKNOWN for "max" and for anything else. */
uint64_t gb_counter_parse(const char *text);

/* The number after `key` and a blank at the start of a line of memory.stat; 0 where there is none. */
uint64_t gb_stat_parse(const char *text, const char *key);

/* What a cgroup may still take: limit - usage + what the kernel would reclaim first (inactive file pages). Unknown limit
 * or usage: GB_BYTES_UNKNOWN. v1 writes "no limit" as a number near 2^63: that is no limit either. */
uint64_t gb_cgroup_headroom(uint64_t limit, uint64_t usage, uint64_t reclaimable);

/* The path of this process in `controller`'s hierarchy, from /proc/self/cgroup ("" names the unified one, v2). False where
 * it is absent or does not fit. */
bool gb_cgroup_path(const char *proc_self_cgroup, const char *controller, char *path, size_t size);

/* Where that hierarchy is mounted, and which part of it, from /proc/self/mountinfo: the mount point of the file system
 * type ("cgroup2", or "cgroup" with the controller among its options), and its root within the hierarchy. */
bool gb_cgroup_mount(const char *mountinfo, const char *type, const char *controller, char *mount_point, char *root,
		     size_t size);

/* The reserve where no option sets one: 1/16 of RAM, within 256 MiB and 4 GiB. A desktop of 16 GiB keeps 1 GiB. */
uint64_t gb_host_reserve_default(uint64_t total);

/* What stays of a memory cgroup's headroom where no option sets a reserve: the default one is made for all of RAM, and may be
 * more than a group has. 1/16 of its limit, or the reserve if that is less. The daemon's rule is the same. */
uint64_t gb_group_reserve(uint64_t limit, uint64_t reserve);

/* What may be taken now: the smaller of available and cgroup headroom, less the reserve and what is granted and not yet
 * taken. Unknown availability grants nothing; an unknown cgroup limits nothing. */
uint64_t gb_host_budget(uint64_t available, uint64_t cgroup_headroom, uint64_t reserve, uint64_t pending);

#endif
