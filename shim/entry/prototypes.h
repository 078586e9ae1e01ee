/* The hooks' prototypes, made from hooks.def: exported under the driver's own names. */
#ifndef GB_ENTRY_PROTOTYPES_H
#define GB_ENTRY_PROTOTYPES_H

#include "abi/cuda_subset.h"

#define GB_EXPORT __attribute__((visibility("default")))

#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments) GB_EXPORT CUresult symbol parameters;
#define GB_NVML_HOOK(symbol, parameters, arguments) GB_EXPORT nvmlReturn_t symbol parameters;
#include "hooks.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK

#endif
