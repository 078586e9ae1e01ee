/* What the shim shows to the outside: one page of counters per process, in a memfd named "greenboost".
 *
 * The shim creates the page when a program first reaches the CUDA driver, never before. Any process of the same user can
 * map it read-only through /proc/PID/fd; Python reads the part between the two cffi marks with cffi, so that part holds
 * plain declarations only. All counters are bytes or counts, each updated atomically on its own: a reader sees every
 * counter whole, but not all of one instant. Fields are only ever appended; `version` grows when a meaning changes. */
#ifndef GREENBOOST_ABI_H
#define GREENBOOST_ABI_H

#include <stdint.h>

/* cffi: begin */
enum {
	GB_ABI_VERSION = 1,
	GB_ABI_MAGIC = 0x74736247, /* "Gbst" in memory */
	GB_DEVICES_MAX = 32,
	GB_TIERS_MAX = 8
};

/* Where the bytes of a block lie. DEVICE is VRAM, that of split blocks included; SPLIT is the host memory of split blocks.
 * UNIFIED is managed memory that the program itself asked for. */
enum gb_tier {
	GB_TIER_DEVICE = 0,
	GB_TIER_SPLIT = 1,
	GB_TIER_HOST_MAPPED = 2,
	GB_TIER_MANAGED = 3,
	GB_TIER_PAGEABLE = 4,
	GB_TIER_UNIFIED = 5,
	GB_TIER_COUNT = 6
};

struct gb_page_tier {
	uint64_t bytes;      /* held now */
	uint64_t peak_bytes; /* the most ever held */
	uint64_t blocks;     /* live blocks */
};

struct gb_page_device {
	uint64_t limit_bytes;   /* VRAM this process may use; UINT64_MAX: no limit */
	uint64_t spilled_bytes; /* ever placed outside VRAM */
	uint64_t refused;       /* requests answered with out of memory */
	uint64_t moved_bytes;   /* ever moved between VRAM and host memory, either way */
	struct gb_page_tier tier[8]; /* indexed by enum gb_tier */
};

/* The blocks of the split tier on one device. */
struct gb_page_split {
	uint64_t vram_bytes; /* of them in VRAM; counted in the device tier too */
	uint64_t vram_chunks;
	uint64_t host_chunks;
};

struct gb_page {
	uint32_t magic;
	uint32_t version;
	uint32_t bytes; /* size of this structure as the writer knows it */
	int32_t pid;
	uint64_t host_bytes;       /* host memory held now, over all devices */
	uint64_t host_limit_bytes; /* UINT64_MAX: no limit but the machine's */
	char program[64];          /* the executable's name, cut to fit, NUL-terminated */
	struct gb_page_device device[32]; /* by CUDA ordinal in that process */
	struct gb_page_split split[32];   /* likewise */
};
/* cffi: end */

#endif
