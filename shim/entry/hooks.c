#include "entry/hooks.h"

#include <string.h>

#include "driver/driver.h"
#include "entry/prototypes.h"

#define NAMES(symbol, name, name_length) symbol, name, sizeof symbol - 1, name_length
#define ENTRY(library, table, symbol) library, offsetof(struct table, symbol), (void *)symbol

const struct gb_hook gb_hooks[] = {
#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments) \
	{NAMES(#symbol, name, sizeof name - 1), version, GB_STREAM_##stream, ENTRY(GB_LIBRARY_CUDA, gb_driver, symbol)},
#define GB_NVML_HOOK(symbol, parameters, arguments)                                           \
	{NAMES(#symbol, NULL, 0), 0, GB_STREAM_ANY, ENTRY(GB_LIBRARY_NVML, gb_nvml, symbol)},
#include "hooks.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK
};

const size_t gb_hooks_count = sizeof gb_hooks / sizeof *gb_hooks;

const struct gb_hook *gb_hook_by_symbol(const char *symbol)
{
	/* cuda…, cublas…, cudnn… have a small third letter: most look-ups of a CUDA program end here. */
	bool driver = symbol[0] == 'c' && symbol[1] == 'u' && symbol[2] >= 'A' && symbol[2] <= 'Z';
	bool nvml = symbol[0] == 'n' && symbol[1] == 'v' && symbol[2] == 'm' && symbol[3] == 'l';

	if (!driver && !nvml)
		return NULL;
	/* A program looks up hundreds of names as it starts: most rows are passed over by their length. */
	size_t length = strlen(symbol);
	for (size_t i = 0; i < gb_hooks_count; i++) {
		if (gb_hooks[i].symbol_length == length && !memcmp(gb_hooks[i].symbol, symbol, length))
			return &gb_hooks[i];
	}
	return NULL;
}

const struct gb_hook *gb_hook_by_name(const char *name, int version, uint64_t flags)
{
	enum gb_hook_stream stream =
		flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM ? GB_STREAM_PER_THREAD : GB_STREAM_LEGACY;
	const struct gb_hook *best = NULL;
	size_t length = strlen(name);

	for (size_t i = 0; i < gb_hooks_count; i++) {
		const struct gb_hook *hook = &gb_hooks[i];
		if (hook->name_length != length || hook->version > version)
			continue;
		if (hook->stream != GB_STREAM_ANY && hook->stream != stream)
			continue;
		if (hook->name && !memcmp(hook->name, name, length) && (!best || hook->version > best->version))
			best = hook;
	}
	return best;
}

void *gb_hook_real(const struct gb_hook *hook)
{
	bool cuda = hook->library == GB_LIBRARY_CUDA;
	const void *entries = cuda ? (const void *)gb_driver() : (const void *)gb_nvml();
	const void *missing = cuda ? (const void *)&gb_driver_missing : (const void *)&gb_nvml_missing;
	void *real, *none;

	memcpy(&real, (const char *)entries + hook->offset, sizeof real);
	memcpy(&none, (const char *)missing + hook->offset, sizeof none);
	return real == none ? NULL : real;
}
