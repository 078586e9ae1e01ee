/* The real driver: every entry point that the shim stands in for or calls, looked up once.
 *
 * gb_driver() and gb_nvml() never return NULL: while the library cannot be found, every entry answers "not supported",
 * and the next call looks again. Looking up takes no lock across dlopen: two threads may both look, one wins. The
 * library's handle is never given back, so the entries stay valid for the life of the process. Any thread. */
#ifndef GB_DRIVER_DRIVER_H
#define GB_DRIVER_DRIVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "abi/cuda_subset.h"

struct gb_driver {
#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments) CUresult(*symbol) parameters;
#define GB_NVML_HOOK(symbol, parameters, arguments)
#include "hooks.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK
#define GB_CUDA_CALL(symbol, parameters) CUresult(*symbol) parameters;
#define GB_NVML_CALL(symbol, parameters)
#include "driver.def"
#undef GB_CUDA_CALL
#undef GB_NVML_CALL
};

struct gb_nvml {
#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments)
#define GB_NVML_HOOK(symbol, parameters, arguments) nvmlReturn_t(*symbol) parameters;
#include "hooks.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK
#define GB_CUDA_CALL(symbol, parameters)
#define GB_NVML_CALL(symbol, parameters) nvmlReturn_t(*symbol) parameters;
#include "driver.def"
#undef GB_CUDA_CALL
#undef GB_NVML_CALL
};

const struct gb_driver *gb_driver_find(void);
extern _Atomic(const struct gb_driver *) gb_driver_found;

/* A load, once found: every hook asks, several times. */
static inline const struct gb_driver *gb_driver(void)
{
	const struct gb_driver *found = atomic_load_explicit(&gb_driver_found, memory_order_acquire);

	return __builtin_expect(found != NULL, 1) ? found : gb_driver_find();
}

const struct gb_nvml *gb_nvml(void);

/* The same tables with nothing behind them: an entry equal to the one here is missing in the driver. */
extern const struct gb_driver gb_driver_missing;
extern const struct gb_nvml gb_nvml_missing;

/* Whether `address` lies in libcuda or libnvidia-ml itself: what they look up for their own use is theirs. */
bool gb_driver_contains(const void *address);

/* Whether the library is loaded in this process, without loading it. */
bool gb_driver_is_loaded(void);
bool gb_nvml_is_loaded(void);

#endif
