/* What the environment asks of the simulated machine: FAKECUDA_*, described in README.md.
 *
 * Read once, when a library is loaded (libcuda and libnvidia-ml each read their own copy), and constant from then on,
 * so it needs no lock. A value that cannot be understood costs one line on stderr and is ignored. */
#ifndef FK_CONFIG_H
#define FK_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FK_DEVICES_MAX 16

enum fk_cap {
#define FK_CAP(name, word) FK_CAP_##name,
#include "caps.def"
#undef FK_CAP
};

struct fk_config {
	int devices;
	int driver_version;
	unsigned int defer;
	unsigned int caps; /* bit 1 << enum fk_cap */
	bool nvml_reversed, populate;
	uint64_t vram_bytes;   /* of each device */
	uint64_t nvml_reserved_bytes;  /* nvmlMemory_v2_t.reserved */
	uint64_t max_registration_bytes; /* UINT64_MAX: no limit */
	double model_gbps[3];  /* by enum fk_model_server; 10^9 bytes a second */
	uint64_t model_window_bytes;
	char report[1024];   /* "" for none */
};

extern struct fk_config fk_config;

void fk_config_read(bool complain); /* only one of the two libraries need speak */
void fk_say(const char *format, ...) __attribute__((format(printf, 1, 2))); /* one line on stderr */

static inline bool fk_has(enum fk_cap cap)
{
	return (fk_config.caps & (1u << cap)) != 0;
}

/* The identity of device `ordinal`, the same through CUDA and NVML. */
void fk_identity_uuid(int ordinal, unsigned char uuid[16]);
void fk_identity_name(int ordinal, char *name, size_t size);
#define FK_CAPABILITY_MAJOR 8
#define FK_CAPABILITY_MINOR 9
#define FK_PCI_DOMAIN(ordinal) 0u
#define FK_PCI_BUS(ordinal) (0x41u + 0x20u * (unsigned int)(ordinal) % 0x80u + (unsigned int)(ordinal) / 4u)
#define FK_PCI_DEVICE(ordinal) 0u

#endif
