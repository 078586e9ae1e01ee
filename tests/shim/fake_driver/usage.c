/* The one thing libnvidia-ml asks of this library, if it is loaded in the same process: what is in use. Not part of
 * CUDA. */
#include "state.h"

__attribute__((visibility("default"))) int fakecuda_device_usage(int ordinal, uint64_t *used_bytes);

/* 0, and how much of device `ordinal` this process uses; -1: no such device. Takes no lock. */
int fakecuda_device_usage(int ordinal, uint64_t *used_bytes)
{
	if (ordinal < 0 || ordinal >= fk_config.devices)
		return -1;
	*used_bytes = __atomic_load_n(&fk.devices[ordinal].used_bytes, __ATOMIC_RELAXED);
	return 0;
}
