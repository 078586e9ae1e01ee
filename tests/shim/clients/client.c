#include "client.h"

#include <dlfcn.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef CUresult get_proc_address(const char *, void **, int, cuuint64_t);
typedef CUresult get_proc_address_v2(const char *, void **, int, cuuint64_t, CUdriverProcAddressQueryResult *);

void client_fail(const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

const char *client_error(CUresult result)
{
	switch (result) {
	case CUDA_SUCCESS:
		return "CUDA_SUCCESS";
	case CUDA_ERROR_INVALID_VALUE:
		return "CUDA_ERROR_INVALID_VALUE";
	case CUDA_ERROR_OUT_OF_MEMORY:
		return "CUDA_ERROR_OUT_OF_MEMORY";
	case CUDA_ERROR_NOT_INITIALIZED:
		return "CUDA_ERROR_NOT_INITIALIZED";
	case CUDA_ERROR_NO_DEVICE:
		return "CUDA_ERROR_NO_DEVICE";
	case CUDA_ERROR_INVALID_CONTEXT:
		return "CUDA_ERROR_INVALID_CONTEXT";
	case CUDA_ERROR_ILLEGAL_ADDRESS:
		return "CUDA_ERROR_ILLEGAL_ADDRESS";
	case CUDA_ERROR_NOT_SUPPORTED:
		return "CUDA_ERROR_NOT_SUPPORTED";
	case CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED:
		return "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED";
	default:
		return "error";
	}
}

void client_must(CUresult result, const char *call, const char *file, int line)
{
	if (result != CUDA_SUCCESS)
		client_fail("%s (%d) from %s at %s:%d", client_error(result), (int)result, call, file, line);
}

/* ---- the doors ---- */

void client_door_dlsym(struct client_driver *driver, void *handle)
{
#define CLIENT_CALL(symbol, name, version, flags, parameters)            \
	driver->symbol = (CUresult(*) parameters)dlsym(handle, #symbol); \
	CLIENT_CHECK(driver->symbol, "dlsym finds no " #symbol);
#include "calls.def"
#undef CLIENT_CALL
}

static void *open_libcuda(int flags)
{
	void *handle = dlopen("libcuda.so.1", RTLD_NOW | flags);

	CLIENT_CHECK(handle, "no driver: %s", dlerror());
	return handle;
}

void client_door_dlopen(struct client_driver *driver, int flags)
{
	client_door_dlsym(driver, open_libcuda(flags));
}

/* One look-up; `v2` tells which of the two forms `resolver` is. */
static void *look_up(void *resolver, bool v2, const char *name, int version, cuuint64_t flags)
{
	CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
	void *function = NULL;
	CUresult result = v2 ? ((get_proc_address_v2 *)resolver)(name, &function, version, flags, &status)
			     : ((get_proc_address *)resolver)(name, &function, version, flags);

	CLIENT_CHECK(result == CUDA_SUCCESS, "%s (%d) asking for %s, version %d, flags %d", client_error(result),
		     (int)result, name, version, (int)flags);
	CLIENT_CHECK(function, "no function for %s, version %d", name, version);
	CLIENT_CHECK(!v2 || status == CU_GET_PROC_ADDRESS_SUCCESS, "status %d for %s", (int)status, name);
	return function;
}

void client_door_proc_address(struct client_driver *driver, const char *resolver)
{
	enum { DEFAULT = 0, PER_THREAD = 2 };
	bool v2 = strcmp(resolver, "cuGetProcAddress_v2") == 0;
	void *first = dlsym(open_libcuda(RTLD_LOCAL), resolver);
	void *old;
	void *new;

	CLIENT_CHECK(first, "dlsym finds no %s", resolver);
	old = look_up(first, v2, "cuGetProcAddress", 11030, 0);
	new = look_up(first, v2, "cuGetProcAddress", 12000, 0);
	/* A name that nobody has: an error or an empty answer, never something to call. */
	{
		void *function = NULL;
		CUresult result = ((get_proc_address *)old)("cuNoSuchFunction", &function, 12000, 0);

		CLIENT_CHECK(result != CUDA_SUCCESS || !function, "an address for a function that does not exist");
	}
	CLIENT_CHECK(look_up(old, false, "cuMemAlloc", 3020, 0) == look_up(new, true, "cuMemAlloc", 3020, 0),
		     "cuGetProcAddress and cuGetProcAddress_v2 differ about cuMemAlloc");
	/* The v1 program stays with v1, the v2 program with v2. */
#define CLIENT_CALL(symbol, name, version, flags, parameters)                                        \
	driver->symbol = (CUresult(*) parameters)look_up(v2 ? new : old, v2, #name, version, flags);
#include "calls.def"
#undef CLIENT_CALL
}

/* ---- options ---- */

static bool parse_size(const char *text, uint64_t *bytes)
{
	char *end;
	double number = strtod(text, &end);
	double unit = 1;

	if (end == text || number < 0)
		return false;
	switch (*end) {
	case 'K':
		unit = 1024.;
		end++;
		break;
	case 'M':
		unit = 1048576.;
		end++;
		break;
	case 'G':
		unit = 1073741824.;
		end++;
		break;
	default:
		break;
	}
	if (strcmp(end, "iB") == 0)
		end += 2;
	*bytes = (uint64_t)(number * unit);
	return *end == '\0';
}

struct client_options client_options(int argc, char **argv, const char *usage)
{
	static const struct option names[] = {
		{"vram", required_argument, NULL, 'v'},   {"times", required_argument, NULL, 't'},
		{"seed", required_argument, NULL, 's'},   {"slack", required_argument, NULL, 'l'},
		{"size", required_argument, NULL, 'z'},   {"count", required_argument, NULL, 'c'},
		{"device", required_argument, NULL, 'd'}, {"threads", required_argument, NULL, 'n'},
		{"hold", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
	};
	struct client_options o = {.seed = 1, .threads = 8};
	bool good = true;
	int option;

	while (good && (option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (option) {
		case 'v':
			good = parse_size(optarg, &o.vram);
			break;
		case 't':
			o.times = atof(optarg);
			break;
		case 's':
			o.seed = strtoull(optarg, NULL, 0);
			break;
		case 'l':
			good = parse_size(optarg, &o.slack);
			break;
		case 'z':
			good = parse_size(optarg, &o.size);
			break;
		case 'c':
			o.count = atol(optarg);
			break;
		case 'd':
			o.device = atoi(optarg);
			break;
		case 'n':
			o.threads = atoi(optarg);
			break;
		case 'h':
			o.hold = true;
			break;
		default:
			good = false;
		}
	}
	if (!good || o.times < 0 || o.threads < 1 || o.count < 0) {
		fprintf(stderr, "usage: %s %s\n", argv[0], usage);
		exit(2);
	}
	o.words = argc - optind;
	o.word = argv + optind;
	return o;
}

uint64_t client_vram(const struct client_driver *driver, const struct client_options *options)
{
	size_t free_bytes = 0;
	size_t total_bytes = 0;

	if (options->vram)
		return options->vram;
	CLIENT_DO(driver->cuMemGetInfo_v2(&free_bytes, &total_bytes));
	return total_bytes;
}

uint64_t client_bytes(const struct client_driver *driver, const struct client_options *options, double times)
{
	return (uint64_t)((options->times > 0 ? options->times : times) * (double)client_vram(driver, options));
}

CUcontext client_start(const struct client_driver *driver, int ordinal)
{
	CUdevice device;
	CUcontext context;

	CLIENT_DO(driver->cuInit(0));
	CLIENT_DO(driver->cuDeviceGet(&device, ordinal));
	CLIENT_DO(driver->cuDevicePrimaryCtxRetain(&context, device));
	CLIENT_DO(driver->cuCtxSetCurrent(context));
	return context;
}

void client_hold(const struct client_options *options)
{
	if (!options->hold)
		return;
	puts("holding");
	fflush(stdout);
	for (int c = getchar(); c != EOF && c != '\n'; c = getchar())
		;
}

/* ---- numbers ---- */

uint64_t client_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t client_checksum(uint64_t sum, const void *data, size_t size)
{
	const unsigned char *at = data;
	uint64_t word;

	for (; size; at += sizeof word, size -= size < sizeof word ? size : sizeof word) {
		word = 0;
		memcpy(&word, at, size < sizeof word ? size : sizeof word);
		sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
		sum ^= sum >> 29;
	}
	return sum;
}
