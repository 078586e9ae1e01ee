#include "base/real_dlsym.h"

#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/libc.h"
#include "base/loader.h"

/* Read by dlsym.S as well. */
__attribute__((visibility("hidden"))) _Atomic(gb_dlsym_function *) gb_dlsym_next;

static void *nothing(void *handle, const char *name)
{
	(void)handle;
	(void)name;
	return NULL;
}

/* A library that is loaded, as its dynamic section has it. */
struct tables {
	const ElfW(Sym) * symbols;
	const char *names;
	const ElfW(Word) * hash; /* [1]: how many symbols there are */
};

/* glibc makes what the section holds an address, musl leaves it an offset. */
static const void *address_of(const struct dl_phdr_info *library, const ElfW(Dyn) * entry)
{
	const ElfW(Addr) value = entry->d_un.d_ptr;

	return (const void *)(value < library->dlpi_addr ? library->dlpi_addr + value : value);
}

static struct tables tables_of(const struct dl_phdr_info *library)
{
	struct tables found = {0};
	const ElfW(Dyn) *entry = NULL;

	for (int i = 0; i < library->dlpi_phnum; i++)
		if (library->dlpi_phdr[i].p_type == PT_DYNAMIC)
			entry = (const void *)(library->dlpi_addr + library->dlpi_phdr[i].p_vaddr);
	for (; entry && entry->d_tag != DT_NULL; entry++) {
		if (entry->d_tag == DT_SYMTAB)
			found.symbols = address_of(library, entry);
		else if (entry->d_tag == DT_STRTAB)
			found.names = address_of(library, entry);
		else if (entry->d_tag == DT_HASH)
			found.hash = address_of(library, entry);
	}
	return found;
}

/* Whether it is the one that has dlsym where dlvsym cannot be asked: libdl, or all of musl. */
static bool has_dlsym(const struct dl_phdr_info *library)
{
	const char *file = strrchr(library->dlpi_name, '/');

	if (gb_libc_is_glibc())
		return file && strcmp(file, "/libdl.so.2") == 0;
	for (int i = 0; i < library->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &library->dlpi_phdr[i];
		const uintptr_t offset = (uintptr_t)dl_iterate_phdr - (library->dlpi_addr + segment->p_vaddr);
		if (segment->p_type == PT_LOAD && offset < segment->p_memsz)
			return true;
	}
	return false;
}

static int look_in(struct dl_phdr_info *library, size_t size, void *context)
{
	(void)size;
	if (!has_dlsym(library))
		return 0;
	const struct tables tables = tables_of(library);
	if (!tables.symbols || !tables.names || !tables.hash)
		return 0;
	for (ElfW(Word) i = 0; i < tables.hash[1]; i++) {
		const ElfW(Sym) *symbol = &tables.symbols[i];
		if (symbol->st_shndx && strcmp(tables.names + symbol->st_name, "dlsym") == 0)
			*(gb_dlsym_function **)context = (gb_dlsym_function *)(library->dlpi_addr + symbol->st_value);
	}
	return 1;
}

/* Where libdl was not there at the start, a module of glibc's (NSS, gconv) may have brought it along: it calls dlsym by its
 * own scope, and meets ours all the same. glibc gave its libraries a DT_HASH until 2.36. musl has no dlvsym, and a DT_HASH
 * always: its configure asks for both kinds. */
static gb_dlsym_function *in_tables(void)
{
	gb_dlsym_function *found = NULL;

	dl_iterate_phdr(look_in, &found);
	return found;
}

/* Sanitizers look their interceptors up with dlsym before they are ready for instrumented code. */
__attribute__((no_sanitize("address", "thread", "undefined"))) gb_dlsym_function *gb_real_dlsym(void)
{
	gb_dlsym_function *next = atomic_load_explicit(&gb_dlsym_next, memory_order_acquire);

	/* Every glibc exports it under its first version too. An unversioned one of another interposer is found by any. */
	if (!next)
		next = gb_libc_is_glibc() && gb_loader_is_here()
			       ? (gb_dlsym_function *)dlvsym(RTLD_NEXT, "dlsym", GB_GLIBC_FIRST)
			       : in_tables();
	if (!next)
		return nothing;
	atomic_store_explicit(&gb_dlsym_next, next, memory_order_release);
	return next;
}
