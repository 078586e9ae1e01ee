/* What NVML says of a device. Its memory in use is what the libcuda in this process says; without one, none is. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "config.h"
#include "nvml_api.h"

static const char handles[FK_DEVICES_MAX]; /* only their addresses matter: one for each CUDA ordinal */

static int ordinal_of(nvmlDevice_t device)
{
	const char *handle = (const char *)(void *)device;

	return handle >= handles && handle < handles + fk_config.devices ? (int)(handle - handles) : -1;
}

static nvmlDevice_t handle_of(int ordinal)
{
	return (nvmlDevice_t)(uintptr_t)&handles[ordinal];
}

static int swap(int number) /* between NVML's order and CUDA's, either way */
{
	return fk_config.nvml_reversed ? fk_config.devices - 1 - number : number;
}

static uint64_t used_bytes(int ordinal)
{
	void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
	int (*usage)(int, uint64_t *) = NULL;
	uint64_t used = 0;

	if (!driver)
		return 0;
	*(void **)(void *)&usage = dlsym(driver, "fakecuda_device_usage");
	if (!usage || usage(ordinal, &used) != 0)
		used = 0;
	dlclose(driver);
	return used;
}

nvmlReturn_t fk_nvml_count(unsigned int *count)
{
	if (!count)
		return NVML_ERROR_INVALID_ARGUMENT;
	*count = (unsigned int)fk_config.devices;
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_by_index(unsigned int index, nvmlDevice_t *device)
{
	if (!device || index >= (unsigned int)fk_config.devices)
		return NVML_ERROR_INVALID_ARGUMENT;
	*device = handle_of(swap((int)index));
	return NVML_SUCCESS;
}

static void uuid_text(int ordinal, char text[48])
{
	unsigned char uuid[16];
	int at = snprintf(text, 48, "GPU-");

	fk_identity_uuid(ordinal, uuid);
	for (int i = 0; i < 16; i++)
		at += snprintf(text + at, (size_t)(48 - at), i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
			       uuid[i]);
}

nvmlReturn_t fk_nvml_by_uuid(const char *uuid, nvmlDevice_t *device)
{
	char text[48];

	if (!uuid || !device)
		return NVML_ERROR_INVALID_ARGUMENT;
	for (int i = 0; i < fk_config.devices; i++) {
		uuid_text(i, text);
		if (strcmp(text, uuid) == 0) {
			*device = handle_of(i);
			return NVML_SUCCESS;
		}
	}
	return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t fk_nvml_by_bus(const char *bus, nvmlDevice_t *device)
{
	unsigned int domain, number, slot, function = 0;

	if (!bus || !device)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (sscanf(bus, "%x:%x:%x.%x", &domain, &number, &slot, &function) < 3) {
		domain = 0;
		if (sscanf(bus, "%x:%x.%x", &number, &slot, &function) < 2)
			return NVML_ERROR_INVALID_ARGUMENT;
	}
	for (int i = 0; i < fk_config.devices; i++) {
		if (domain == FK_PCI_DOMAIN(i) && number == FK_PCI_BUS(i) && slot == FK_PCI_DEVICE(i)) {
			*device = handle_of(i);
			return NVML_SUCCESS;
		}
	}
	return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t fk_nvml_name(nvmlDevice_t device, char *name, unsigned int length)
{
	char text[96];

	if (ordinal_of(device) < 0)
		return NVML_ERROR_INVALID_ARGUMENT;
	fk_identity_name(ordinal_of(device), text, sizeof(text));
	return fk_nvml_text(name, length, text);
}

nvmlReturn_t fk_nvml_uuid(nvmlDevice_t device, char *uuid, unsigned int length)
{
	char text[48];

	if (ordinal_of(device) < 0)
		return NVML_ERROR_INVALID_ARGUMENT;
	uuid_text(ordinal_of(device), text);
	return fk_nvml_text(uuid, length, text);
}

nvmlReturn_t fk_nvml_number(nvmlDevice_t device, unsigned int *number)
{
	if (ordinal_of(device) < 0 || !number)
		return NVML_ERROR_INVALID_ARGUMENT;
	*number = (unsigned int)swap(ordinal_of(device));
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_pci(nvmlDevice_t device, nvmlPciInfo_t *info)
{
	int i = ordinal_of(device);

	if (i < 0 || !info)
		return NVML_ERROR_INVALID_ARGUMENT;
	memset(info, 0, sizeof(*info));
	info->domain = FK_PCI_DOMAIN(i);
	info->bus = FK_PCI_BUS(i);
	info->device = FK_PCI_DEVICE(i);
	info->pciDeviceId = 0x1fa010deu;
	info->pciSubSystemId = 0x1fa110deu;
	snprintf(info->busId, sizeof(info->busId), "%08X:%02X:%02X.0", info->domain, info->bus & 0xffu,
		 info->device & 0xffu);
	snprintf(info->busIdLegacy, sizeof(info->busIdLegacy), "%04X:%02X:%02X.0", info->domain & 0xffffu,
		 info->bus & 0xffu, info->device & 0xffu);
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_pci_v2(nvmlDevice_t device, nvmlPciInfo_v2_t *info)
{
	nvmlPciInfo_t now;

	if (!info || fk_nvml_pci(device, &now) != NVML_SUCCESS)
		return NVML_ERROR_INVALID_ARGUMENT;
	memset(info, 0, sizeof(*info));
	memcpy(info->busId, now.busIdLegacy, sizeof(info->busId));
	info->domain = now.domain;
	info->bus = now.bus;
	info->device = now.device;
	info->pciDeviceId = now.pciDeviceId;
	info->pciSubSystemId = now.pciSubSystemId;
	return NVML_SUCCESS;
}

static nvmlMemory_v2_t read_memory(int ordinal)
{
	nvmlMemory_v2_t memory = {0};

	memory.total = fk_config.vram_bytes;
	memory.reserved = fk_config.nvml_reserved_bytes;
	memory.used = used_bytes(ordinal);
	memory.free = memory.total > memory.reserved + memory.used ? memory.total - memory.reserved - memory.used : 0;
	return memory;
}

nvmlReturn_t fk_nvml_memory(nvmlDevice_t device, nvmlMemory_t *memory)
{
	nvmlMemory_v2_t now;

	if (ordinal_of(device) < 0 || !memory)
		return NVML_ERROR_INVALID_ARGUMENT;
	now = read_memory(ordinal_of(device));
	memory->total = now.total;
	memory->free = now.free;
	memory->used = now.total - now.free; /* the first form counts what is reserved as used */
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_memory_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
	unsigned int version = (unsigned int)sizeof(*memory) | 2u << 24;

	if (ordinal_of(device) < 0 || !memory)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (memory->version != version)
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	*memory = read_memory(ordinal_of(device));
	memory->version = version;
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_bar1(nvmlDevice_t device, nvmlBAR1Memory_t *memory)
{
	if (ordinal_of(device) < 0 || !memory)
		return NVML_ERROR_INVALID_ARGUMENT;
	*memory = (nvmlBAR1Memory_t){256ull << 20, 256ull << 20, 0};
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_value(nvmlDevice_t device, unsigned int *value, unsigned int constant)
{
	if (ordinal_of(device) < 0 || !value)
		return NVML_ERROR_INVALID_ARGUMENT;
	*value = constant;
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_capability(nvmlDevice_t device, int *major, int *minor)
{
	if (ordinal_of(device) < 0 || !major || !minor)
		return NVML_ERROR_INVALID_ARGUMENT;
	*major = FK_CAPABILITY_MAJOR;
	*minor = FK_CAPABILITY_MINOR;
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_utilization(nvmlDevice_t device, nvmlUtilization_t *utilization)
{
	if (ordinal_of(device) < 0 || !utilization)
		return NVML_ERROR_INVALID_ARGUMENT;
	*utilization = (nvmlUtilization_t){0, 0};
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_temperature(nvmlDevice_t device, nvmlTemperature_t *temperature)
{
	if (ordinal_of(device) < 0 || !temperature || temperature->sensor)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (temperature->version != ((unsigned int)sizeof(*temperature) | 1u << 24))
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	temperature->temperature = 40;
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_processes(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *list, bool compute)
{
	unsigned int room;
	uint64_t used;

	if (ordinal_of(device) < 0 || !count)
		return NVML_ERROR_INVALID_ARGUMENT;
	used = compute ? used_bytes(ordinal_of(device)) : 0;
	room = *count;
	*count = used > 0;
	if (room < *count)
		return NVML_ERROR_INSUFFICIENT_SIZE;
	if (*count && !list)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (*count) /* all ones: no MIG instance */
		*list = (nvmlProcessInfo_t){(unsigned int)getpid(), used, ~0u, ~0u};
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_processes_v1(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_v1_t *list, bool compute)
{
	nvmlProcessInfo_t one;
	nvmlReturn_t result = fk_nvml_processes(device, count, list ? &one : NULL, compute);

	if (result == NVML_SUCCESS && *count)
		*list = (nvmlProcessInfo_v1_t){one.pid, one.usedGpuMemory};
	return result;
}

nvmlReturn_t fk_nvml_refuse(nvmlDevice_t device)
{
	return ordinal_of(device) < 0 ? NVML_ERROR_INVALID_ARGUMENT : NVML_ERROR_NOT_SUPPORTED;
}
