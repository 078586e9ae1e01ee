#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "model.h"

struct fk_config fk_config;
static bool silent; /* while the second library reads the same environment */

void fk_say(const char *format, ...)
{
	char line[512];
	va_list arguments;
	int length;

	if (silent)
		return;
	length = snprintf(line, sizeof(line), "fakecuda[%d] ", (int)getpid());
	va_start(arguments, format);
	length += vsnprintf(line + length, sizeof(line) - (size_t)length - 1, format, arguments);
	va_end(arguments);
	if (length > (int)sizeof(line) - 2)
		length = (int)sizeof(line) - 2;
	line[length++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)length) < 0)
		return; /* a closed stderr is the program's choice */
}

static uint64_t read_size(const char *name, uint64_t fallback)
{
	static const struct {
		const char *unit;
		unsigned int shift;
	} units[] = {
		{"", 0},     {"B", 0},  {"K", 10},   {"KiB", 10}, {"M", 20},
		{"MiB", 20}, {"G", 30}, {"GiB", 30}, {"T", 40},   {"TiB", 40},
	};
	const char *text = getenv(name);
	unsigned long long value;
	char *end;

	if (!text || !*text)
		return fallback;
	errno = 0;
	value = strtoull(text, &end, 0);
	for (size_t i = 0; errno == 0 && end != text && i < sizeof(units) / sizeof(*units); i++)
		if (strcasecmp(end, units[i].unit) == 0 && value <= UINT64_MAX >> units[i].shift)
			return (uint64_t)value << units[i].shift;
	fk_say("%s=%s is not a size", name, text);
	return fallback;
}

static double read_gbps(const char *name, double fallback)
{
	const char *text = getenv(name);
	double value;
	char *end;

	if (!text || !*text)
		return fallback;
	value = strtod(text, &end);
	if (end != text && !*end && value >= 0.001 && value <= 1e6)
		return value;
	fk_say("%s=%s is not a bandwidth in GB/s, 0.001 to 1000000", name, text);
	return fallback;
}

static void read_model(void)
{
	fk_config.model_gbps[FK_MODEL_DEVICE] = read_gbps("FAKECUDA_MODEL_DEVICE_GBPS", 500);
	fk_config.model_gbps[FK_MODEL_LINK] = read_gbps("FAKECUDA_MODEL_LINK_GBPS", 25);
	fk_config.model_gbps[FK_MODEL_FAULT] = read_gbps("FAKECUDA_MODEL_FAULT_GBPS", 5);
	fk_config.model_window_bytes = read_size("FAKECUDA_MODEL_WINDOW", FK_MODEL_WINDOW);
	if (fk_config.model_window_bytes == 0 || fk_config.model_window_bytes > FK_MODEL_WINDOW_MAX) {
		fk_say("FAKECUDA_MODEL_WINDOW: 1 byte to 1 GiB");
		fk_config.model_window_bytes = FK_MODEL_WINDOW;
	}
}

static unsigned int read_caps(const char *text)
{
	static const char *const words[] = {
#define FK_CAP(name, word) word,
#include "caps.def"
#undef FK_CAP
	};
	unsigned int caps = 0;
	char copy[512], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", text ? text : "");
	for (char *word = strtok_r(copy, ", ", &save); word; word = strtok_r(NULL, ", ", &save)) {
		size_t i = 0;

		while (i < sizeof(words) / sizeof(*words) && strcmp(words[i], word) != 0)
			i++;
		if (i == sizeof(words) / sizeof(*words))
			fk_say("FAKECUDA_CAPS: unknown word %s", word);
		else
			caps |= 1u << i;
	}
	return caps;
}

void fk_config_read(bool complain)
{
	const char *report = getenv("FAKECUDA_REPORT");
	uint64_t devices;

	silent = !complain;
	devices = read_size("FAKECUDA_DEVICES", 1);

	if (devices > FK_DEVICES_MAX) {
		fk_say("FAKECUDA_DEVICES: at most %d", FK_DEVICES_MAX);
		devices = FK_DEVICES_MAX;
	}
	fk_config.devices = (int)devices;
	fk_config.driver_version = (int)read_size("FAKECUDA_DRIVER_VERSION", 13000);
	fk_config.defer = (unsigned int)read_size("FAKECUDA_DEFER", 0);
	fk_config.caps = read_caps(getenv("FAKECUDA_CAPS"));
	fk_config.nvml_reversed = read_size("FAKECUDA_NVML_REVERSED", 0) != 0;
	fk_config.populate = read_size("FAKECUDA_POPULATE", 0) != 0;
	fk_config.vram_bytes = read_size("FAKECUDA_VRAM", 1ull << 30);
	fk_config.nvml_reserved_bytes = read_size("FAKECUDA_NVML_RESERVED", 0);
	fk_config.max_registration_bytes = read_size(
		"FAKECUDA_MAX_REGISTRATION", fk_has(FK_CAP_huge_registration_fails) ? 512ull << 30 : UINT64_MAX);
	read_model();
	snprintf(fk_config.report, sizeof(fk_config.report), "%s", report ? report : "");
	silent = false;
}

void fk_identity_uuid(int ordinal, unsigned char uuid[16])
{
	static const unsigned char first[16] = {0xfa, 0x4e, 0xc0, 0xda, 0x00, 0x01, 0x4a, 0x11, 0x8b, 0x0b, 0x67, 0x62};

	memcpy(uuid, first, sizeof(first));
	uuid[15] = (unsigned char)(ordinal + 1);
}

void fk_identity_name(int ordinal, char *name, size_t size)
{
	(void)ordinal;
	snprintf(name, size, "Simulated GPU (no hardware)");
}
