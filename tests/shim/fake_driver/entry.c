#include "entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "device.h"
#include "report.h"

_Atomic unsigned long long fk_calls[FK_SYMBOLS];

/* The fault plan: constant once read. */
static struct fault {
	int symbol;
	unsigned long long nth; /* 0: every call */
	CUresult result;
} faults[64];
static size_t fault_count;

static int symbol_by_name(const char *name)
{
	for (int i = 0; i < FK_SYMBOLS; i++)
		if (strcmp(fk_symbols[i].symbol, name) == 0)
			return i;
	return -1;
}

static bool read_fault(char *text)
{
	char *nth = strchr(text, ':'), *result = nth ? strchr(nth + 1, ':') : NULL, *end;
	struct fault *fault = &faults[fault_count];

	if (!result || fault_count == sizeof(faults) / sizeof(*faults))
		return false;
	*nth++ = '\0';
	*result++ = '\0';
	fault->symbol = symbol_by_name(text);
	fault->result = (CUresult)strtol(result, &end, 0);
	if (fault->symbol < 0 || !*result || *end)
		return false;
	fault->nth = strcmp(nth, "*") == 0 ? 0 : strtoull(nth, &end, 0);
	if (strcmp(nth, "*") != 0 && (*end || fault->nth == 0))
		return false;
	fault_count++;
	return true;
}

void fk_faults_read(const char *text)
{
	char copy[2048], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", text ? text : "");
	for (char *word = strtok_r(copy, ", ", &save); word; word = strtok_r(NULL, ", ", &save)) {
		char shown[128];

		snprintf(shown, sizeof(shown), "%s", word);
		if (!read_fault(word))
			fk_say("FAKECUDA_FAIL: not SYMBOL:NTH:RESULT of an implemented symbol: %s", shown);
	}
}

static CUresult planned(enum fk_symbol id, unsigned long long nth)
{
	for (size_t i = 0; i < fault_count; i++)
		if (faults[i].symbol == (int)id && (faults[i].nth == 0 || faults[i].nth == nth))
			return faults[i].result;
	return CUDA_SUCCESS;
}

CUresult fk_usable(struct fk_ctx *ctx)
{
	if (!ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (!ctx->alive)
		return CUDA_ERROR_CONTEXT_IS_DESTROYED;
	return ctx->sticky;
}

static CUresult pass(struct fk_call *call, enum fk_gate gate)
{
	CUresult result;

	call->ctx = fk_thread.depth ? fk_thread.stack[fk_thread.depth - 1] : NULL;
	if (gate == FK_GATE_CTX || gate == FK_GATE_CTX_UNSAFE) {
		result = fk_usable(call->ctx);
		if (result != CUDA_SUCCESS)
			return result;
	}
	return gate == FK_GATE_CTX_UNSAFE || gate == FK_GATE_INIT_UNSAFE ? fk_capture_forbids() : CUDA_SUCCESS;
}

CUresult fk_enter(struct fk_call *call, enum fk_symbol id, enum fk_gate gate, int stream)
{
	unsigned long long nth = atomic_fetch_add_explicit(&fk_calls[id], 1, memory_order_relaxed) + 1;
	int life = atomic_load(&fk.life);
	CUresult result;

	call->ctx = NULL;
	call->locked = false;
	call->per_thread = stream == FK_STREAM_PER_THREAD;
	if (life == FK_GONE)
		return CUDA_ERROR_DEINITIALIZED;
	result = planned(id, nth);
	if (result != CUDA_SUCCESS || gate == FK_GATE_NONE)
		return result;
	if (fk_thread.in_host_function)
		return CUDA_ERROR_NOT_PERMITTED; /* cuLaunchHostFunc: a host function must not call the driver */
	if (life != FK_READY && gate != FK_GATE_LOCK)
		return CUDA_ERROR_NOT_INITIALIZED;
	pthread_mutex_lock(&fk.lock);
	call->locked = true;
	return gate == FK_GATE_LOCK ? CUDA_SUCCESS : pass(call, gate);
}

CUresult fk_leave(const struct fk_call *call, CUresult result)
{
	if (call->locked)
		pthread_mutex_unlock(&fk.lock);
	return result;
}

CUresult fk_refuse(enum fk_symbol id)
{
	fk_say("%s is not simulated: CUDA_ERROR_NOT_SUPPORTED", fk_symbols[id].symbol);
	return CUDA_ERROR_NOT_SUPPORTED;
}

/* Registered at the first cuInit: what the program registered before that, and the destructors of libraries, come
 * after it and find the driver gone, as with the real one. */
static void tear_down(void)
{
	atomic_store(&fk.life, FK_GONE);
}

CUresult fk_init(unsigned int flags)
{
	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (atomic_load(&fk.life) == FK_FORKED)
		return CUDA_ERROR_NOT_INITIALIZED;
	if (fk_config.devices == 0)
		return CUDA_ERROR_NO_DEVICE;
	if (atomic_load(&fk.life) == FK_READY)
		return CUDA_SUCCESS;
	if (!fk_device_start())
		return CUDA_ERROR_OUT_OF_MEMORY;
	atomic_store(&fk.life, FK_READY);
	atexit(tear_down);
	return CUDA_SUCCESS;
}

static void before_fork(void)
{
	pthread_mutex_lock(&fk.lock);
}

static void after_fork_parent(void)
{
	pthread_mutex_unlock(&fk.lock);
}

static void after_fork_child(void)
{
	pthread_mutex_unlock(&fk.lock); /* the forking thread holds it, here as well */
	if (atomic_load(&fk.life) == FK_READY)
		atomic_store(&fk.life, FK_FORKED);
	fk_report_forked();
}

__attribute__((constructor)) static void on_load(void)
{
	fk_config_read(true);
	fk_faults_read(getenv("FAKECUDA_FAIL"));
	fk_report_start();
	pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

__attribute__((destructor)) static void on_exit_(void)
{
	tear_down();
	fk_report_write();
}
