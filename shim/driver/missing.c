/* What stands in a table where the driver has no such entry point. Each has the signature of what it stands for, so that
 * calling it is well defined. */
#include "driver/driver.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"

#define GB_CUDA_MISSING(symbol, parameters)         \
	static CUresult missing_##symbol parameters \
	{                                           \
		return CUDA_ERROR_NOT_SUPPORTED;    \
	}
#define GB_NVML_MISSING(symbol, parameters)             \
	static nvmlReturn_t missing_##symbol parameters \
	{                                               \
		return NVML_ERROR_FUNCTION_NOT_FOUND;   \
	}

#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments) GB_CUDA_MISSING(symbol, parameters)
#define GB_NVML_HOOK(symbol, parameters, arguments) GB_NVML_MISSING(symbol, parameters)
#define GB_CUDA_CALL(symbol, parameters) GB_CUDA_MISSING(symbol, parameters)
#define GB_NVML_CALL(symbol, parameters) GB_NVML_MISSING(symbol, parameters)
#include "hooks.def"
#include "driver.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK
#undef GB_CUDA_CALL
#undef GB_NVML_CALL

const struct gb_driver gb_driver_missing = {
#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments) .symbol = missing_##symbol,
#define GB_NVML_HOOK(symbol, parameters, arguments)
#define GB_CUDA_CALL(symbol, parameters) .symbol = missing_##symbol,
#define GB_NVML_CALL(symbol, parameters)
#include "hooks.def"
#include "driver.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK
#undef GB_CUDA_CALL
#undef GB_NVML_CALL
};

const struct gb_nvml gb_nvml_missing = {
#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments)
#define GB_NVML_HOOK(symbol, parameters, arguments) .symbol = missing_##symbol,
#define GB_CUDA_CALL(symbol, parameters)
#define GB_NVML_CALL(symbol, parameters) .symbol = missing_##symbol,
#include "hooks.def"
#include "driver.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK
#undef GB_CUDA_CALL
#undef GB_NVML_CALL
};
