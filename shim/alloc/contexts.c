#include "alloc/contexts.h"

#include <stdbool.h>
#include <stdlib.h>

#include "alloc/deferred.h"
#include "alloc/give_back.h"
#include "alloc/idle.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "driver/driver.h"
#include "ledger/ledger.h"

struct ended {
	CUcontext context;
	uint64_t last_epoch;
};

static bool died_with(const struct gb_block *block, const void *context)
{
	const struct ended *ended = context;

	return block->context == ended->context && block->epoch <= ended->last_epoch && !block->stream_ordered;
}

static void drop_records(const struct ended *ended)
{
	GB_CLEANUP(gb_free_memory) struct gb_block *blocks = NULL;
	long count = gb_ledger_take_if(died_with, ended, &blocks);

	if (count < 0)
		gb_log(GB_LOG_ERROR, "context", "out of memory: the records of a destroyed context stay");
	gb_idle_forget(ended->context);
	for (long i = 0; i < count; i++)
		gb_give_up(&blocks[i]);
	gb_deferred_abandon(ended->context);
}

CUresult gb_context_destroy(gb_context_call *call, CUcontext context)
{
	struct ended ended = {.context = context, .last_epoch = gb_ledger_end_epoch()};
	CUresult result = call(context);

	if (result == CUDA_SUCCESS && context)
		drop_records(&ended);
	return result;
}

/* The primary context's handle, if there is one: retaining it would make one. */
static CUcontext primary_context(CUdevice device)
{
	const struct gb_driver *driver = gb_driver();
	unsigned int flags;
	int active = 0;
	CUcontext context = NULL;

	if (driver->cuDevicePrimaryCtxGetState(device, &flags, &active) || !active ||
	    driver->cuDevicePrimaryCtxRetain(&context, device))
		return NULL;
	GB_INSIST(driver->cuDevicePrimaryCtxRelease_v2(device));
	return context;
}

CUresult gb_primary_context_end(gb_device_call *call, CUdevice device)
{
	struct ended ended = {.context = primary_context(device), .last_epoch = gb_ledger_end_epoch()};
	CUresult result = call(device);
	unsigned int flags;
	int active = 1;

	if (result || !ended.context)
		return result;
	if (!gb_driver()->cuDevicePrimaryCtxGetState(device, &flags, &active) && !active)
		drop_records(&ended);
	return result;
}
