/* What dlsym(RTLD_NEXT, ...) finds for a library in the middle: that library's next, whoever else is preloaded.
 *
 * usage: LD_PRELOAD="[SHIM] rtld_next_find.so" rtld_next OPTIONS, those of overflow.h
 *
 * Linked against libcuda. A second thread lets rtld_next_find.so look names up with RTLD_NEXT, each twice, and prints
 * for each the library that the answer lies in ("next cuMemAlloc_v2: libcuda.so.1"); with the shim before that library
 * in LD_PRELOAD or without one, that is the driver. The two answers must be the same. Then as linked. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "linked.h"
#include "overflow.h"

typedef void *find_function(const char *name);

static void *look_up(void *data)
{
	static const char *const names[] = {"cuInit", "cuMemAlloc_v2", "cuMemFree_v2", "cuGetProcAddress_v2", "malloc"};
	find_function *find = *(find_function **)data;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		void *first = find(names[i]);
		void *second = find(names[i]);
		Dl_info info = {0};
		const char *slash;

		CLIENT_CHECK(first, "RTLD_NEXT finds no %s", names[i]);
		CLIENT_CHECK(first == second, "RTLD_NEXT finds two different %s", names[i]);
		CLIENT_CHECK(dladdr(first, &info) && info.dli_fname, "%s lies nowhere", names[i]);
		slash = strrchr(info.dli_fname, '/');
		printf("next %s: %s\n", names[i], slash ? slash + 1 : info.dli_fname);
	}
	CLIENT_CHECK(!find("cuNoSuchFunction"), "RTLD_NEXT finds a function that does not exist");
	return NULL;
}

int main(int argc, char **argv)
{
	struct client_driver driver = client_linked();
	find_function *find = (find_function *)dlsym(RTLD_DEFAULT, "rtld_next_find");
	pthread_t thread;

	CLIENT_CHECK(find, "rtld_next_find.so is not preloaded");
	CLIENT_CHECK(pthread_create(&thread, NULL, look_up, &find) == 0, "no thread");
	pthread_join(thread, NULL);
	return overflow_main(&driver, argc, argv);
}
