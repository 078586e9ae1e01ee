/* The types and values of NVML that the simulated libnvidia-ml uses, restated from the public interface, and its
 * bodies.
 *
 * A device handle is the address of a constant row. Counting of nvmlInit and nvmlShutdown is atomic and everything
 * else is constant or read from the libcuda in the same process, so there is no lock. */
#ifndef FK_NVML_API_H
#define FK_NVML_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nvmlDevice_st *nvmlDevice_t;

typedef enum nvmlReturn_enum {
	NVML_SUCCESS = 0,
	NVML_ERROR_UNINITIALIZED = 1,
	NVML_ERROR_INVALID_ARGUMENT = 2,
	NVML_ERROR_NOT_SUPPORTED = 3,
	NVML_ERROR_NO_PERMISSION = 4,
	NVML_ERROR_NOT_FOUND = 6,
	NVML_ERROR_INSUFFICIENT_SIZE = 7,
	NVML_ERROR_DRIVER_NOT_LOADED = 9,
	NVML_ERROR_FUNCTION_NOT_FOUND = 13,
	NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25,
	NVML_ERROR_UNKNOWN = 999
} nvmlReturn_t;

typedef struct nvmlMemory_st {
	unsigned long long total, free, used;
} nvmlMemory_t;

typedef struct nvmlMemory_v2_st {
	unsigned int version;
	unsigned long long total, reserved, free, used;
} nvmlMemory_v2_t;

typedef struct nvmlBAR1Memory_st {
	unsigned long long total, free, used;
} nvmlBAR1Memory_t;

typedef struct nvmlUtilization_st {
	unsigned int gpu, memory;
} nvmlUtilization_t;

typedef struct nvmlPciInfo_st {
	char busIdLegacy[16];
	unsigned int domain, bus, device, pciDeviceId, pciSubSystemId;
	char busId[32];
} nvmlPciInfo_t;

/* Before v3 the 32 bytes of busId were the subsystem's reserved words (v2: 4 of them; v1: none). */
typedef struct nvmlPciInfo_v2_st {
	char busId[16];
	unsigned int domain, bus, device, pciDeviceId, pciSubSystemId, reserved[4];
} nvmlPciInfo_v2_t;

typedef struct nvmlProcessInfo_v1_st {
	unsigned int pid;
	unsigned long long usedGpuMemory;
} nvmlProcessInfo_v1_t;

typedef struct nvmlProcessInfo_st {
	unsigned int pid;
	unsigned long long usedGpuMemory;
	unsigned int gpuInstanceId, computeInstanceId;
} nvmlProcessInfo_t;

typedef struct nvmlTemperature_st {
	unsigned int version, sensor;
	int temperature;
} nvmlTemperature_t;

/* nvml_device.c: every one has been found to be initialised, and its handle checked by the body itself. */
nvmlReturn_t fk_nvml_count(unsigned int *count);
nvmlReturn_t fk_nvml_by_index(unsigned int index, nvmlDevice_t *device);
nvmlReturn_t fk_nvml_by_uuid(const char *uuid, nvmlDevice_t *device);
nvmlReturn_t fk_nvml_by_bus(const char *bus, nvmlDevice_t *device);
nvmlReturn_t fk_nvml_name(nvmlDevice_t device, char *name, unsigned int length);
nvmlReturn_t fk_nvml_uuid(nvmlDevice_t device, char *uuid, unsigned int length);
nvmlReturn_t fk_nvml_number(nvmlDevice_t device, unsigned int *number); /* index and minor number agree */
nvmlReturn_t fk_nvml_pci(nvmlDevice_t device, nvmlPciInfo_t *info);
nvmlReturn_t fk_nvml_pci_v2(nvmlDevice_t device, nvmlPciInfo_v2_t *info);
nvmlReturn_t fk_nvml_memory(nvmlDevice_t device, nvmlMemory_t *memory);
nvmlReturn_t fk_nvml_memory_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory);
nvmlReturn_t fk_nvml_bar1(nvmlDevice_t device, nvmlBAR1Memory_t *memory);
nvmlReturn_t fk_nvml_value(nvmlDevice_t device, unsigned int *value, unsigned int constant);
nvmlReturn_t fk_nvml_capability(nvmlDevice_t device, int *major, int *minor);
nvmlReturn_t fk_nvml_utilization(nvmlDevice_t device, nvmlUtilization_t *utilization);
nvmlReturn_t fk_nvml_temperature(nvmlDevice_t device, nvmlTemperature_t *temperature);
nvmlReturn_t fk_nvml_processes(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *list, bool compute);
nvmlReturn_t fk_nvml_processes_v1(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_v1_t *list, bool compute);
nvmlReturn_t fk_nvml_refuse(nvmlDevice_t device);

/* nvml.c */
nvmlReturn_t fk_nvml_init(void);
nvmlReturn_t fk_nvml_shutdown(void);
nvmlReturn_t fk_nvml_text(char *out, unsigned int length, const char *text);
nvmlReturn_t fk_nvml_process_name(unsigned int pid, char *name, unsigned int length);
nvmlReturn_t fk_nvml_set_int(int *out, int value);

#endif
