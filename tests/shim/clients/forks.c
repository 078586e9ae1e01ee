/* fork, before and after the driver is initialised.
 *
 * usage: forks [--vram SIZE] [--times N] [--device N] [--slack SIZE] before|after|busy|exec
 *
 * before: the child uses the driver for itself, --times (default 1.5) the VRAM, while the parent has not; then the
 *         parent does.
 * after:  with live blocks; what the driver answers in the child is its own business (CUDA does not work there), but
 *         the child gets answers, neither hangs nor crashes, and ends; the parent's blocks are as they were.
 * busy:   as after, while another thread allocates and frees all the time, so that locks are held when the fork comes.
 * exec:   as after, but the child runs this program again, "forks before", which works.
 * A child that hangs is ended by its own alarm. Prints "ok MODE". */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"

enum { BLOCKS = 4, CHILD_SECONDS = 60, BUSY_FORKS = 20 };

static struct client_driver driver;
static struct client_options options;
static CUcontext context;
static CUdeviceptr block[BLOCKS];
static size_t block_size;
static atomic_bool stop;

static void take(void)
{
	block_size = client_bytes(&driver, &options, 1.5) / BLOCKS;
	for (int i = 0; i < BLOCKS; i++) {
		CLIENT_DO(driver.cuMemAlloc_v2(&block[i], block_size));
		CLIENT_DO(driver.cuMemsetD8_v2(block[i], (unsigned char)(i + 1), block_size));
	}
}

static void check_and_give_back(void)
{
	unsigned char got[4096];

	for (int i = 0; i < BLOCKS; i++) {
		for (size_t at = 0; at + sizeof got <= block_size; at += block_size / 9) {
			CLIENT_DO(driver.cuMemcpyDtoH_v2(got, block[i] + at, sizeof got));
			CLIENT_CHECK(got[0] == i + 1 && memcmp(got, got + 1, sizeof got - 1) == 0,
				     "block %d lost its content", i);
		}
		CLIENT_DO(driver.cuMemFree_v2(block[i]));
	}
}

static void use_all(void)
{
	size_t before, after, total;

	client_door_dlopen(&driver, RTLD_LOCAL);
	client_start(&driver, options.device);
	CLIENT_DO(driver.cuMemGetInfo_v2(&before, &total));
	take();
	check_and_give_back();
	CLIENT_DO(driver.cuMemGetInfo_v2(&after, &total));
	CLIENT_CHECK(after + options.slack >= before, "%zu bytes free before, %zu after", before, after);
	CLIENT_DO(driver.cuDevicePrimaryCtxRelease_v2(options.device));
}

/* In the child of an initialised process: any answer will do. */
static void poke(void)
{
	CUdeviceptr at = 0;
	size_t free_bytes, total_bytes;
	unsigned int type;

	driver.cuMemGetInfo_v2(&free_bytes, &total_bytes);
	if (driver.cuMemAlloc_v2(&at, block_size) == CUDA_SUCCESS)
		driver.cuMemFree_v2(at);
	driver.cuMemAllocAsync(&at, block_size, NULL);
	driver.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, block[0]);
	driver.cuMemFree_v2(block[0]);
	driver.cuMemFreeAsync(block[1], NULL);
}

static void wait_for(pid_t child)
{
	int status = 0;

	CLIENT_CHECK(child > 0, "no fork");
	CLIENT_CHECK(waitpid(child, &status, 0) == child, "no child");
	CLIENT_CHECK(!WIFSIGNALED(status), "the child died of signal %d%s", WTERMSIG(status),
		     WTERMSIG(status) == SIGALRM ? ": it hung" : "");
	CLIENT_CHECK(WEXITSTATUS(status) == 0, "the child exited with %d", WEXITSTATUS(status));
}

static pid_t child_that(void (*act)(void))
{
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		alarm(CHILD_SECONDS);
		act();
		exit(0); /* not _exit: what is to be done at exit must come through as well */
	}
	return child;
}

static void *hammer(void *unused)
{
	(void)unused;
	CLIENT_DO(driver.cuCtxSetCurrent(context));
	while (!atomic_load(&stop)) {
		CUdeviceptr at;
		CUresult result = driver.cuMemAlloc_v2(&at, 1 << 20);

		CLIENT_DO(result);
		CLIENT_DO(driver.cuMemFree_v2(at));
	}
	return NULL;
}

static void run_again(void)
{
	char device[16];
	char vram[32];
	char slack[32];

	snprintf(device, sizeof device, "%d", options.device);
	snprintf(vram, sizeof vram, "%llu", (unsigned long long)options.vram);
	snprintf(slack, sizeof slack, "%llu", (unsigned long long)options.slack);
	execl("/proc/self/exe", "forks", "--device", device, "--vram", vram, "--slack", slack, "before", (char *)NULL);
	client_fail("exec failed");
}

static void after_init(const char *mode)
{
	pthread_t thread;
	bool busy = strcmp(mode, "busy") == 0;

	client_door_dlopen(&driver, RTLD_LOCAL);
	context = client_start(&driver, options.device);
	options.vram = client_vram(&driver, &options);
	take();
	if (strcmp(mode, "exec") == 0) {
		wait_for(child_that(run_again));
	} else if (busy) {
		CLIENT_CHECK(pthread_create(&thread, NULL, hammer, NULL) == 0, "no thread");
		for (int i = 0; i < BUSY_FORKS; i++)
			wait_for(child_that(poke));
		atomic_store(&stop, true);
		pthread_join(thread, NULL);
	} else {
		wait_for(child_that(poke));
	}
	check_and_give_back();
	CLIENT_DO(driver.cuDevicePrimaryCtxRelease_v2(options.device));
}

int main(int argc, char **argv)
{
	static const char usage[] = "[--vram SIZE] [--times N] [--device N] [--slack SIZE] before|after|busy|exec";
	const char *mode;

	options = client_options(argc, argv, usage);
	mode = options.words == 1 ? options.word[0] : "";
	if (strcmp(mode, "before") == 0) {
		wait_for(child_that(use_all));
		use_all();
	} else if (strcmp(mode, "after") == 0 || strcmp(mode, "busy") == 0 || strcmp(mode, "exec") == 0) {
		after_init(mode);
	} else {
		fprintf(stderr, "usage: %s %s\n", argv[0], usage);
		return 2;
	}
	printf("ok %s\n", mode);
	return 0;
}
