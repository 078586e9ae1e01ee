#include "driver/driver.h"

#include <link.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/loader.h"
#include "base/log.h"
#include "base/real_dlsym.h"

#define CUDA_SONAME "libcuda.so.1"
#define NVML_SONAME "libnvidia-ml.so.1"

_Atomic(const struct gb_driver *) gb_driver_found;

/* One library's entry points as found: `entries` is a struct gb_driver or gb_nvml. */
struct library {
	const char *soname;
	_Atomic(void *) entries;
	_Atomic(uintptr_t) first, last; /* addresses it is mapped at */
};

static struct library cuda = {.soname = CUDA_SONAME};
static struct library nvml = {.soname = NVML_SONAME};

struct symbol {
	const char *name;
	size_t offset;
};

static const struct symbol cuda_symbols[] = {
#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments) \
	{#symbol, offsetof(struct gb_driver, symbol)},
#define GB_NVML_HOOK(symbol, parameters, arguments)
#define GB_CUDA_CALL(symbol, parameters) {#symbol, offsetof(struct gb_driver, symbol)},
#define GB_NVML_CALL(symbol, parameters)
#include "hooks.def"
#include "driver.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK
#undef GB_CUDA_CALL
#undef GB_NVML_CALL
};

static const struct symbol nvml_symbols[] = {
#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments)
#define GB_NVML_HOOK(symbol, parameters, arguments) {#symbol, offsetof(struct gb_nvml, symbol)},
#define GB_CUDA_CALL(symbol, parameters)
#define GB_NVML_CALL(symbol, parameters) {#symbol, offsetof(struct gb_nvml, symbol)},
#include "hooks.def"
#include "driver.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK
#undef GB_CUDA_CALL
#undef GB_NVML_CALL
};

struct extent {
	ElfW(Addr) base;
	uintptr_t last;
};

static int measure(struct dl_phdr_info *info, size_t size, void *context)
{
	struct extent *extent = context;

	(void)size;
	if (info->dlpi_addr != extent->base)
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		if (segment->p_type == PT_LOAD && extent->base + segment->p_vaddr + segment->p_memsz > extent->last)
			extent->last = extent->base + segment->p_vaddr + segment->p_memsz;
	}
	return 1;
}

static void remember_extent(struct library *library, void *handle)
{
	struct link_map *map;

	if (dlinfo(handle, RTLD_DI_LINKMAP, &map))
		return;
	struct extent extent = {.base = map->l_addr};
	dl_iterate_phdr(measure, &extent);
	atomic_store_explicit(&library->first, extent.base, memory_order_relaxed);
	atomic_store_explicit(&library->last, extent.last, memory_order_relaxed);
}

/* What the program's last dlerror() would say is not ours to change: what we leave behind is cleared. */
static void *open_library(const char *soname, int mode)
{
	if (!gb_loader_is_here())
		return NULL;
	void *handle = dlopen(soname, RTLD_LAZY | RTLD_LOCAL | mode);
	if (!handle)
		dlerror();
	return handle;
}

/* Fills a copy of `missing` with what the library exports, and publishes it. Two threads may do this at once: the first
 * to publish wins. No lock is held here, because dlopen takes the loader's, and a thread that holds the loader's may
 * be waiting for us. */
static void *look_up(struct library *library, const void *missing, size_t size, const struct symbol *symbols,
		     size_t count)
{
	/* It is loaded already if the program got here by its own doing; a weak reference gets here without. */
	void *handle = open_library(library->soname, RTLD_NOLOAD);
	if (!handle)
		handle = open_library(library->soname, 0);
	if (!handle)
		return NULL;
	void *entries = malloc(size);
	if (!entries)
		return NULL;
	memcpy(entries, missing, size);
	for (size_t i = 0; i < count; i++) {
		void *found = gb_real_dlsym()(handle, symbols[i].name);
		if (found)
			memcpy((char *)entries + symbols[i].offset, &found, sizeof found);
	}
	dlerror();
	remember_extent(library, handle);
	void *expected = NULL;
	if (!atomic_compare_exchange_strong(&library->entries, &expected, entries)) {
		free(entries);
		return expected;
	}
	gb_log(GB_LOG_DEBUG, "driver", "found %s", library->soname);
	return entries;
}

const struct gb_driver *gb_driver_find(void)
{
	void *entries = atomic_load_explicit(&cuda.entries, memory_order_acquire);

	if (!entries)
		entries = look_up(&cuda, &gb_driver_missing, sizeof gb_driver_missing, cuda_symbols,
				  sizeof cuda_symbols / sizeof *cuda_symbols);
	if (!entries)
		return &gb_driver_missing;
	atomic_store_explicit(&gb_driver_found, entries, memory_order_release);
	return entries;
}

const struct gb_nvml *gb_nvml(void)
{
	void *entries = atomic_load_explicit(&nvml.entries, memory_order_acquire);

	if (__builtin_expect(!entries, 0))
		entries = look_up(&nvml, &gb_nvml_missing, sizeof gb_nvml_missing, nvml_symbols,
				  sizeof nvml_symbols / sizeof *nvml_symbols);
	return entries ? entries : &gb_nvml_missing;
}

static bool contains(struct library *library, uintptr_t address)
{
	return address >= atomic_load_explicit(&library->first, memory_order_relaxed) &&
	       address < atomic_load_explicit(&library->last, memory_order_relaxed);
}

bool gb_driver_contains(const void *address)
{
	return contains(&cuda, (uintptr_t)address) || contains(&nvml, (uintptr_t)address);
}

static bool is_loaded(struct library *library)
{
	if (atomic_load_explicit(&library->entries, memory_order_acquire))
		return true;
	void *handle = open_library(library->soname, RTLD_NOLOAD);
	if (handle)
		dlclose(handle);
	return handle != NULL;
}

bool gb_driver_is_loaded(void)
{
	return is_loaded(&cuda);
}

bool gb_nvml_is_loaded(void)
{
	return is_loaded(&nvml);
}
