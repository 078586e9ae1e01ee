/* A program that has nothing to do with CUDA: what it prints must not depend on what is preloaded.
 *
 * usage: plain
 *
 * Prints its threads, its open files, what dlsym(RTLD_DEFAULT, ...) says about driver functions (nothing: no driver is
 * loaded), that a few functions of libc are found where they are, and that asking for what nobody has is an error with
 * a text. */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_threads(void)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");

	while (status && fgets(line, sizeof line, status))
		if (strncmp(line, "Threads:", 8) == 0)
			printf("threads %d\n", atoi(line + 8));
	if (status)
		fclose(status);
}

static void print_files(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int files = 0;

	for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder))
		files += entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(folder);
	if (folder)
		closedir(folder);
	printf("files %d\n", files);
}

int main(void)
{
	static const char *const names[] = {"cuInit", "cuMemAlloc_v2", "cuGetProcAddress_v2",
					    "nvmlDeviceGetMemoryInfo"};
	const char *error;

	print_threads();
	print_files();
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		dlerror();
		printf("dlsym %s: %s", names[i], dlsym(RTLD_DEFAULT, names[i]) ? "found" : "NULL");
		error = dlerror();
		printf(", dlerror: %s\n", error ? "set" : "NULL");
	}
	printf("dlsym puts: %s\n", dlsym(RTLD_DEFAULT, "puts") ? "found" : "NULL");
	printf("dlsym next malloc: %s\n", dlsym(RTLD_NEXT, "malloc") ? "found" : "NULL");
	printf("dlvsym puts, no such version: %s\n", dlvsym(RTLD_DEFAULT, "puts", "NONE_1.0") ? "found" : "NULL");
	printf("libcuda: %s\n", dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD) ? "loaded" : "not loaded");
	return 0;
}
