/* What every C client program shares: the driver's functions in one table, the ways to fill it, options, and failing.
 *
 * The programs are written as users would write them: they know nothing of GreenBoost. All print one line that begins
 * with "ok" on success and exit 0; a failure is one line on stderr and exit 1; a bad command line is exit 2.
 *
 * Nothing here is thread-safe but the table once it is filled, and client_fail. */
#ifndef CLIENT_H
#define CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/cuda_subset.h"

typedef struct CUgraphExec_st *CUgraphExec;

/* The driver as a program sees it; filled by one of the doors below. */
struct client_driver {
#define CLIENT_CALL(symbol, name, version, flags, parameters) CUresult(*symbol) parameters;
#include "calls.def"
#undef CLIENT_CALL
};

/* Each door obtains every function in its own way, and ends the program with a reason where one is not to be had. */
void client_door_dlsym(struct client_driver *driver, void *handle);
/* dlopen("libcuda.so.1") with the flags given (RTLD_NOW is added), then dlsym. */
void client_door_dlopen(struct client_driver *driver, int flags);
/* `resolver`: "cuGetProcAddress_v2" or "cuGetProcAddress". That alone comes from dlsym; it is then asked for itself
 * (versions 11030 and 12000) and that answer for everything else, as NVIDIA's runtime does. */
void client_door_proc_address(struct client_driver *driver, const char *resolver);

/* What a command line can say; unused options are refused by none and ignored by some. Sizes: bytes, or with K M G
 * (KiB MiB GiB), powers of 1024. */
struct client_options {
	uint64_t vram;   /* --vram: the card's memory; 0: what cuMemGetInfo calls the total */
	double times;    /* --times: ask for so many times that; 0: the program's default */
	uint64_t seed;   /* --seed: of sizes and content; default 1 */
	uint64_t slack;  /* --slack: so much less may be free at the end than at the start; default 0 */
	uint64_t size;   /* --size: of one block, for those that have only one size */
	long count;      /* --count: blocks or rounds; 0: the program's default */
	int device;      /* --device: ordinal; default 0 */
	int threads;     /* --threads; default 8 */
	bool hold;       /* --hold: when all is filled print "holding" and wait for a line, or the end, of stdin */
	int words;       /* what is left of the command line */
	char **word;
};

/* Read argv, or print `usage` and exit 2. */
struct client_options client_options(int argc, char **argv, const char *usage);
/* --vram, or else what the current context's cuMemGetInfo says. */
uint64_t client_vram(const struct client_driver *driver, const struct client_options *options);
/* That times --times, or times the program's own default. */
uint64_t client_bytes(const struct client_driver *driver, const struct client_options *options, double times);

/* cuInit and the device's primary context made current. */
CUcontext client_start(const struct client_driver *driver, int device);
/* "holding" on stdout, then a line or the end of stdin. */
void client_hold(const struct client_options *options);

_Noreturn void client_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* CUDA's name for the error, where the table of client.c has it. */
const char *client_error(CUresult result);

/* The call, or the program's end with the call's text, its error and where. */
#define CLIENT_DO(call) client_must((call), #call, __FILE__, __LINE__)
void client_must(CUresult result, const char *call, const char *file, int line);
/* The condition, or the program's end. */
#define CLIENT_CHECK(condition, ...) ((condition) ? (void)0 : client_fail(__VA_ARGS__))

/* splitmix64: small, seeded, the same everywhere. */
uint64_t client_random(uint64_t *state);
/* A checksum over a sequence of pieces; start with 0. Depends on where the pieces are cut only at multiples of 8. */
uint64_t client_checksum(uint64_t sum, const void *data, size_t size);

#endif
