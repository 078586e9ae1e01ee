/* The exports of the simulated libnvidia-ml, and what is asked of the system rather than of a device. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "nvml_api.h"

static _Atomic int users; /* nvmlInit calls not yet undone */

__attribute__((constructor)) static void on_load(void)
{
	fk_config_read(false);
}

#define FK_NVML_ALWAYS true
#define FK_NVML_READY (atomic_load(&users) > 0)

#define NV_API(symbol, gate, parameters, body) __attribute__((visibility("default"))) nvmlReturn_t symbol parameters;
#include "nvml.def"
#undef NV_API
#define NV_API(symbol, gate, parameters, body)                             \
	nvmlReturn_t symbol parameters                                     \
	{                                                                  \
		return FK_NVML_##gate ? (body) : NVML_ERROR_UNINITIALIZED; \
	}
#include "nvml.def"
#undef NV_API

__attribute__((visibility("default"))) const char *nvmlErrorString(nvmlReturn_t result);

const char *nvmlErrorString(nvmlReturn_t result)
{
	static const struct {
		nvmlReturn_t result;
		const char *text;
	} rows[] = {
		{NVML_SUCCESS, "success"},
		{NVML_ERROR_UNINITIALIZED, "not initialised"},
		{NVML_ERROR_INVALID_ARGUMENT, "invalid argument"},
		{NVML_ERROR_NOT_SUPPORTED, "not supported"},
		{NVML_ERROR_NO_PERMISSION, "no permission"},
		{NVML_ERROR_NOT_FOUND, "not found"},
		{NVML_ERROR_INSUFFICIENT_SIZE, "insufficient size"},
		{NVML_ERROR_DRIVER_NOT_LOADED, "driver not loaded"},
		{NVML_ERROR_FUNCTION_NOT_FOUND, "function not found"},
		{NVML_ERROR_ARGUMENT_VERSION_MISMATCH, "argument version mismatch"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (rows[i].result == result)
			return rows[i].text;
	return "unknown error";
}

nvmlReturn_t fk_nvml_init(void)
{
	if (fk_config.devices == 0)
		return NVML_ERROR_DRIVER_NOT_LOADED;
	atomic_fetch_add(&users, 1);
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_shutdown(void)
{
	atomic_fetch_sub(&users, 1);
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_text(char *out, unsigned int length, const char *text)
{
	if (!out)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (strlen(text) + 1 > length)
		return NVML_ERROR_INSUFFICIENT_SIZE;
	memcpy(out, text, strlen(text) + 1);
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_set_int(int *out, int value)
{
	if (!out)
		return NVML_ERROR_INVALID_ARGUMENT;
	*out = value;
	return NVML_SUCCESS;
}

nvmlReturn_t fk_nvml_process_name(unsigned int pid, char *name, unsigned int length)
{
	char path[64];
	size_t got;
	FILE *file;

	if (!name || !length)
		return NVML_ERROR_INVALID_ARGUMENT;
	snprintf(path, sizeof(path), "/proc/%u/cmdline", pid);
	file = fopen(path, "re");
	if (!file)
		return NVML_ERROR_NOT_FOUND;
	got = fread(name, 1, length - 1, file);
	fclose(file);
	name[got] = '\0'; /* the first argument: a NUL ends it */
	return NVML_SUCCESS;
}
