/* What the shim may ask of a driver and null_driver.c has no answer for, generated from the shim's own lists. */
#include <string.h>

#include "null_driver.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"

#define REST(symbol, parameters, result)                 \
	__attribute__((weak)) CUresult symbol parameters \
	{                                                \
		return result;                           \
	}
#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments) \
	REST(symbol, parameters, CUDA_ERROR_NOT_SUPPORTED)
#define GB_CUDA_SUBMIT(symbol, name, version, stream, parameters, arguments) REST(symbol, parameters, CUDA_SUCCESS)
#define GB_NVML_HOOK(symbol, parameters, arguments)
#include "hooks.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK
#define GB_CUDA_CALL(symbol, parameters) REST(symbol, parameters, CUDA_ERROR_NOT_SUPPORTED)
#define GB_NVML_CALL(symbol, parameters)
#include "driver.def"
#undef GB_CUDA_CALL
#undef GB_NVML_CALL

void *null_driver_find(const char *name, int version, bool per_thread)
{
	enum { ANY, LEGACY, PER_THREAD };
	static const struct {
		const char *name;
		int version, stream;
		void *function;
	} rows[] = {
#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments) {name, version, stream, (void *)symbol},
#define GB_NVML_HOOK(symbol, parameters, arguments)
#include "hooks.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK
	};
	void *found = NULL;
	int newest = -1;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strcmp(rows[i].name, name) == 0 && rows[i].version <= version && rows[i].version > newest &&
		    (rows[i].stream == ANY || (rows[i].stream == PER_THREAD) == per_thread)) {
			found = rows[i].function;
			newest = rows[i].version;
		}
	return found;
}
