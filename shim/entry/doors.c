/* The second and third door: what dlsym and cuGetProcAddress answer for a name that we stand in for.
 *
 * The real resolver is asked first, always; only an answer that is the driver's own function is replaced. */
#include <string.h>

#include "base/loader.h"
#include "base/real_dlsym.h"
#include "entry/entry.h"
#include "entry/hooks.h"

/* Two registers, on both architectures: read by dlsym.S. */
struct gb_answer {
	void *value;
	uintptr_t answered;
};

__attribute__((visibility("hidden"))) struct gb_answer gb_dlsym_answer(void *handle, const char *name, void *caller);

static const struct gb_answer unanswered = {NULL, 0};

static struct gb_answer answer(void *value)
{
	return (struct gb_answer){value, 1};
}

static bool is_loaded(const struct gb_hook *hook)
{
	return hook->library == GB_LIBRARY_CUDA ? gb_driver_is_loaded() : gb_nvml_is_loaded();
}

/* Found by searching the global scope, our export hides that the driver is not there. Where nothing behind us has the name
 * either, the answer is nothing, and dlerror() says so. */
static bool is_hidden(const struct gb_hook *hook)
{
	return !is_loaded(hook) && !gb_real_dlsym()(RTLD_NEXT, hook->symbol);
}

struct gb_answer gb_dlsym_answer(void *handle, const char *name, void *caller)
{
	const struct gb_hook *hook = gb_hook_by_symbol(name);

	if (!hook || gb_driver_contains(caller))
		return unanswered;
	/* These depend on the caller: he jumps on to the real dlsym. The search meets our export at our place in the order,
	 * as it would meet any library's. */
	if (handle == RTLD_DEFAULT || handle == RTLD_NEXT)
		return is_hidden(hook) ? answer(NULL) : unanswered;
	void *real = is_loaded(hook) ? gb_hook_real(hook) : NULL;
	void *found = gb_real_dlsym()(handle, name);
	if (found == hook->body && is_hidden(hook))
		return answer(NULL);
	if (found && found == real && !gb_entry_is_disabled())
		return answer(hook->body);
	return answer(found);
}

/* What to hand out where the driver handed out `found`. */
static void *substitute(const struct gb_driver *driver, const char *name, void *found, int version, cuuint64_t flags)
{
	const struct gb_hook *hook = gb_hook_by_name(name, version, flags);
	void *known = found;

	if (!hook || !gb_hook_real(hook))
		return found;
	/* A version from the future: is it still the function that we know? */
	if (version > GB_CUDA_VERSION_KNOWN) {
		CUresult result =
			driver->cuGetProcAddress_v2 != gb_driver_missing.cuGetProcAddress_v2
				? driver->cuGetProcAddress_v2(name, &known, GB_CUDA_VERSION_KNOWN, flags, NULL)
				: driver->cuGetProcAddress(name, &known, GB_CUDA_VERSION_KNOWN, flags);
		if (result || known != found)
			return found;
	}
	return hook->body;
}

CUresult cuGetProcAddress(const char *symbol, void **function, int version, cuuint64_t flags)
{
	GB_ENTER(cuGetProcAddress, (symbol, function, version, flags));
	CUresult result = driver->cuGetProcAddress(symbol, function, version, flags);

	if (result == CUDA_SUCCESS && symbol && function && *function)
		*function = substitute(driver, symbol, *function, version, flags);
	return result;
}

CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version, cuuint64_t flags,
			     CUdriverProcAddressQueryResult *status)
{
	GB_ENTER(cuGetProcAddress_v2, (symbol, function, version, flags, status));
	CUresult result = driver->cuGetProcAddress_v2(symbol, function, version, flags, status);

	if (result == CUDA_SUCCESS && symbol && function && *function)
		*function = substitute(driver, symbol, *function, version, flags);
	return result;
}
