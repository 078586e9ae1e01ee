/* What the shim and the outside tell each other: a page of counters, and the messages by which host memory is leased.
 *
 * The page: one per process, in a memfd named "greenboost".
 * The shim creates the page when a program first reaches the CUDA driver, never before. Any process of the same user can
 * map it read-only through /proc/PID/fd; Python reads the part between the two cffi marks with cffi, so that part holds
 * plain declarations only. All counters are bytes or counts, each updated atomically on its own: a reader sees every
 * counter whole, but not all of one instant. Fields are only ever appended; `version` grows when a meaning changes.
 *
 * The messages: a SOCK_SEQPACKET Unix socket, one structure a packet, in the machine's own byte order. The program asks with
 * struct gb_request, the daemon answers with struct gb_reply. Every request says what the program holds, in absolute figures,
 * so that a message which got lost falsifies nothing; the connection is the life of what it leased. Unused fields are 0. */
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

enum {
	GB_WIRE_VERSION = 1,
	GB_WIRE_MAGIC = 0x6c736247, /* "Gbsl" in memory */
	GB_WIRE_DEADLINE_MS = 200   /* who waits for an answer longer than this goes on without */
};

enum gb_request_kind {
	GB_REQUEST_HELLO =
		1, /* first on a connection; brings the page's descriptor (SCM_RIGHTS) where there is one; answered */
	GB_REQUEST_ACQUIRE = 2, /* wants `bytes` more; 0 only asks; answered */
	GB_REQUEST_UPDATE = 3, /* something was taken or given back; not answered */
	GB_REQUEST_STATUS = 4 /* alone on a connection; answered with a descriptor (SCM_RIGHTS) of JSON text */
};

/* Why, in the order in which the daemon looks. */
enum gb_verdict {
	GB_VERDICT_GRANTED = 0, /* all of it; to HELLO and STATUS: welcome */
	GB_VERDICT_MALFORMED = 1, /* not a request, or out of order; the connection is closed */
	GB_VERDICT_VERSION = 2, /* another version; the connection is closed */
	GB_VERDICT_CLIENTS = 3, /* too many connections of this user; the connection is closed */
	GB_VERDICT_PRESSURE = 4, /* nothing is granted while memory is critical */
	GB_VERDICT_PROCESS_CAP = 5, /* over what one process may lease */
	GB_VERDICT_USER_CAP = 6, /* over what one user may lease */
	GB_VERDICT_CGROUP = 7, /* the process' memory cgroup has no room */
	GB_VERDICT_MACHINE = 8 /* the machine cannot spare it */
};

/* How short of something the machine is. */
enum gb_level { GB_LEVEL_OK = 0, GB_LEVEL_NOTICE = 1, GB_LEVEL_WARN = 2, GB_LEVEL_CRITICAL = 3 };

struct gb_request {
	uint32_t magic;
	uint16_t version;
	uint16_t kind;
	uint64_t sequence; /* 1, 2, 3 … on a connection */
	uint64_t bytes; /* ACQUIRE: wanted beyond what is held */
	uint64_t held_bytes; /* host memory granted, by whomever, and not given back */
	uint64_t pending_bytes; /* of those, not taken yet: in no figure of the kernel's; at most held_bytes */
	uint64_t
		uncharged_bytes; /* of those, pages of the driver's that no memory cgroup is charged for; at most held_bytes */
	uint64_t
		reserve_bytes; /* ACQUIRE: what must stay available, where the program's options say so; 0: the daemon's rule */
	uint64_t unused;
};

struct gb_reply {
	uint32_t magic;
	uint16_t version;
	uint16_t verdict;
	uint64_t sequence; /* the request's */
	uint64_t granted_bytes; /* all that was wanted, or 0 */
	uint64_t budget_bytes; /* the most that could have been granted */
	uint64_t leased_bytes; /* held_bytes of the request, and what was granted now: the daemon's books */
	uint32_t level; /* enum gb_level of RAM */
	uint32_t unused;
};

struct gb_page_tier {
	uint64_t bytes; /* held now */
	uint64_t peak_bytes; /* the most ever held */
	uint64_t blocks; /* live blocks */
};

struct gb_page_device {
	uint64_t limit_bytes; /* VRAM this process may use; UINT64_MAX: no limit */
	uint64_t spilled_bytes; /* ever placed outside VRAM */
	uint64_t refused; /* requests answered with out of memory */
	uint64_t moved_bytes; /* ever moved between VRAM and host memory, either way */
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
	uint64_t host_bytes; /* host memory held now, over all devices */
	uint64_t host_limit_bytes; /* UINT64_MAX: no limit but the machine's */
	char program[64]; /* the executable's name, cut to fit, NUL-terminated */
	struct gb_page_device device[32]; /* by CUDA ordinal in that process */
	struct gb_page_split split[32]; /* likewise */
};
/* cffi: end */

#endif
