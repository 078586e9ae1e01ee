/* The table of everything in hooks.def, and the pure rule by which a look-up through cuGetProcAddress meets a row. */
#ifndef GB_ENTRY_HOOKS_H
#define GB_ENTRY_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The newest CUDA whose cudaTypedefs.h hooks.def was compared with. A look-up for a newer one may mean a form of the
 * function that we do not know. */
enum { GB_CUDA_VERSION_KNOWN = 13000 };

enum gb_hook_stream { GB_STREAM_ANY, GB_STREAM_LEGACY, GB_STREAM_PER_THREAD };
enum gb_hook_library { GB_LIBRARY_CUDA, GB_LIBRARY_NVML };

struct gb_hook {
	const char *symbol;
	const char *name; /* as cuGetProcAddress knows it; NULL in NVML */
	size_t symbol_length, name_length;
	int version;
	enum gb_hook_stream stream;
	enum gb_hook_library library;
	size_t offset; /* of the real entry in struct gb_driver or gb_nvml */
	void *body;
};

extern const struct gb_hook gb_hooks[];
extern const size_t gb_hooks_count;

/* The row exported as `symbol`, or NULL. Quick for names that can be none of ours. */
const struct gb_hook *gb_hook_by_symbol(const char *symbol);

/* The row that cuGetProcAddress(name, version, flags) means, or NULL: of those with that name and default stream, the
 * newest not newer than `version`. Pure. */
const struct gb_hook *gb_hook_by_name(const char *name, int version, uint64_t flags);

/* The driver's own entry for a row; NULL where the driver has none. */
void *gb_hook_real(const struct gb_hook *hook);

#endif
