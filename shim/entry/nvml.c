/* NVML's account of a device's memory, told as cuMemGetInfo tells it. */
#include "alloc/devices.h"
#include "entry/entry.h"

static CUdevice cuda_device(const struct gb_nvml *nvml, nvmlDevice_t device)
{
	char uuid[NVML_DEVICE_UUID_V2_BUFFER_SIZE];

	return nvml->nvmlDeviceGetUUID(device, uuid, sizeof uuid) == NVML_SUCCESS ? gb_device_by_uuid(uuid) : -1;
}

static struct gb_memory_info tell(const struct gb_nvml *nvml, nvmlDevice_t device, uint64_t free_bytes,
				  uint64_t total_bytes)
{
	struct gb_memory_info hardware = {.free = free_bytes, .total = total_bytes};

	return gb_device_report(cuda_device(nvml, device), &hardware);
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
	const struct gb_nvml *nvml = gb_nvml();

	if (!gb_entry_open())
		return nvml->nvmlDeviceGetMemoryInfo(device, memory);
	GB_CLEANUP(gb_entry_close) const int inside = 0;
	(void)inside;
	nvmlReturn_t result = nvml->nvmlDeviceGetMemoryInfo(device, memory);
	if (result != NVML_SUCCESS || !memory)
		return result;
	struct gb_memory_info told = tell(nvml, device, memory->free, memory->total);
	*memory = (nvmlMemory_t){.total = told.total, .free = told.free, .used = told.total - told.free};
	return result;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
	const struct gb_nvml *nvml = gb_nvml();

	if (!gb_entry_open())
		return nvml->nvmlDeviceGetMemoryInfo_v2(device, memory);
	GB_CLEANUP(gb_entry_close) const int inside = 0;
	(void)inside;
	nvmlReturn_t result = nvml->nvmlDeviceGetMemoryInfo_v2(device, memory);
	if (result != NVML_SUCCESS || !memory)
		return result;
	struct gb_memory_info told = tell(nvml, device, memory->free, memory->total);
	uint64_t gone = told.total - told.free;
	memory->total = told.total;
	memory->free = told.free;
	/* In this form what the driver reserves is not part of what is used. */
	memory->reserved = memory->reserved < gone ? memory->reserved : gone;
	memory->used = gone - memory->reserved;
	return result;
}
