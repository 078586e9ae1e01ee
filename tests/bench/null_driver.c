/* A libcuda.so.1 with nothing behind its calls: what a call through the shim costs beyond it is the shim's own cost.
 *
 * One device of 80 GiB, all of it always free. Addresses are handed out, never backed. Every call takes the same few
 * nanoseconds whatever is allocated, from any thread: no locks, no tables, one address list per thread and size class.
 * What hooks.def and driver.def name and this file does not is in null_driver_rest.c: work for the device is done at once,
 * everything else answers NOT_SUPPORTED. */
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "null_driver.h"

enum { CLASSES = 40, CLASS_MIN = 9, KEPT = 64 };

static const size_t total = (size_t)80 << 30;

/* A size class holds the blocks of up to 2^class bytes and owns a TiB of addresses: an address says its class. */
static _Atomic uint64_t next_slot[CLASSES];

struct kept {
	unsigned int count;
	CUdeviceptr address[KEPT];
};
static __thread struct kept kept[CLASSES];
static __thread CUcontext current;

static struct CUctx_st {
	int unused;
} primary, created;
static struct CUstream_st {
	int unused;
} stream_of_all;
static struct CUevent_st {
	int unused;
} event_of_all;
static struct CUmemPoolHandle_st {
	int unused;
} pool_of_all;

static unsigned int class_of(size_t size)
{
	unsigned int class = size > 1 ? 64u - (unsigned int)__builtin_clzll(size - 1) : 0;

	return class < CLASS_MIN ? CLASS_MIN : class;
}

static CUresult take(CUdeviceptr *dptr, size_t size)
{
	unsigned int class = class_of(size);
	struct kept *k;

	if (size == 0)
		return CUDA_ERROR_INVALID_VALUE;
	if (class >= CLASSES)
		return CUDA_ERROR_OUT_OF_MEMORY;
	k = &kept[class];
	*dptr = k->count ? k->address[--k->count]
			 : ((CUdeviceptr)(class + 1) << 40) +
				   ((atomic_fetch_add(&next_slot[class], 1) << class) & 0xffffffffffu);
	return CUDA_SUCCESS;
}

static CUresult give_back(CUdeviceptr dptr)
{
	unsigned int class = (unsigned int)(dptr >> 40) - 1;

	if (dptr && class < CLASSES && kept[class].count < KEPT)
		kept[class].address[kept[class].count++] = dptr; /* beyond KEPT an address is never used again */
	return CUDA_SUCCESS;
}

/* ---- device and context ---- */

CUresult cuInit(unsigned int flags)
{
	return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version)
{
	*version = 13000;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count)
{
	*count = 1;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
	*device = ordinal;
	return ordinal ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device)
{
	memset(uuid, device + 1, sizeof *uuid);
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
	(void)device;
	switch (attribute) {
	case CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID:
		*value = -1;
		break;
	case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT:
	case CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT:
		*value = 512;
		break;
	default:
		*value = 1;
		break;
	}
	return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
	(void)device;
	*bytes = total;
	return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
	(void)device;
	*context = &primary;
	return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *active)
{
	(void)device;
	*flags = 0;
	*active = 1;
	return CUDA_SUCCESS;
}

CUresult cuCtxCreate_v2(CUcontext *context, unsigned int flags, CUdevice device)
{
	(void)flags;
	(void)device;
	*context = current = &created;
	return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context)
{
	current = context;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context)
{
	*context = current;
	return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext context)
{
	current = context;
	return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext *context)
{
	if (context)
		*context = current;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device)
{
	*device = 0;
	return current ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult cuCtxGetId(CUcontext context, unsigned long long *id)
{
	*id = (context ? context : current) == &created ? 2 : 1;
	return CUDA_SUCCESS;
}

/* Calls that have nothing to do here, and nothing to say but yes. */
#define YES(symbol, parameters, ...)                        \
	CUresult symbol parameters                          \
	{                                                   \
		const void *const unused[] = {__VA_ARGS__}; \
		(void)unused;                               \
		return CUDA_SUCCESS;                        \
	}
YES(cuCtxSynchronize, (void), NULL)
YES(cuCtxDestroy_v2, (CUcontext context), context)
YES(cuDevicePrimaryCtxRelease_v2, (CUdevice device), &device)
YES(cuDevicePrimaryCtxReset_v2, (CUdevice device), &device)
YES(cuStreamDestroy_v2, (CUstream stream), stream)
YES(cuStreamSynchronize, (CUstream stream), stream)
YES(cuStreamSynchronize_ptsz, (CUstream stream), stream)
YES(cuEventDestroy_v2, (CUevent event), event)
YES(cuEventRecord, (CUevent event, CUstream stream), event, stream)
YES(cuEventQuery, (CUevent event), event)
YES(cuThreadExchangeStreamCaptureMode, (CUstreamCaptureMode * mode), mode)

/* ---- streams ---- */

CUresult cuStreamCreate(CUstream *stream, unsigned int flags)
{
	(void)flags;
	*stream = &stream_of_all;
	return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status)
{
	(void)stream;
	*status = CU_STREAM_CAPTURE_STATUS_NONE;
	return CUDA_SUCCESS;
}

CUresult cuStreamGetCtx(CUstream stream, CUcontext *context)
{
	(void)stream;
	*context = current;
	return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *event, unsigned int flags)
{
	(void)flags;
	*event = &event_of_all;
	return CUDA_SUCCESS;
}

/* ---- memory ---- */

CUresult cuMemAlloc_v2(CUdeviceptr *dptr, size_t size)
{
	return take(dptr, size);
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *dptr, size_t *pitch, size_t width, size_t height, unsigned int element_size)
{
	(void)element_size;
	*pitch = (width + 511) & ~(size_t)511;
	return take(dptr, *pitch * height);
}

CUresult cuMemFree_v2(CUdeviceptr dptr)
{
	return give_back(dptr);
}

CUresult cuMemAllocAsync(CUdeviceptr *dptr, size_t size, CUstream stream)
{
	(void)stream;
	return take(dptr, size);
}

CUresult cuMemAllocAsync_ptsz(CUdeviceptr *dptr, size_t size, CUstream stream)
{
	(void)stream;
	return take(dptr, size);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *dptr, size_t size, CUmemoryPool pool, CUstream stream)
{
	(void)pool;
	(void)stream;
	return take(dptr, size);
}

CUresult cuMemFreeAsync(CUdeviceptr dptr, CUstream stream)
{
	(void)stream;
	return give_back(dptr);
}

CUresult cuMemFreeAsync_ptsz(CUdeviceptr dptr, CUstream stream)
{
	(void)stream;
	return give_back(dptr);
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device)
{
	(void)device;
	*pool = &pool_of_all;
	return CUDA_SUCCESS;
}

CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
	*free_bytes = total;
	*total_bytes = total;
	return CUDA_SUCCESS;
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr dptr)
{
	unsigned int class = (unsigned int)(dptr >> 40) - 1;

	if (class >= CLASSES)
		return CUDA_ERROR_INVALID_VALUE;
	if (base)
		*base = dptr >> class << class;
	if (size)
		*size = (size_t)1 << class;
	return CUDA_SUCCESS;
}

CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr dptr)
{
	switch (attribute) {
	case CU_POINTER_ATTRIBUTE_CONTEXT:
		*(CUcontext *)data = current;
		break;
	case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
		*(unsigned int *)data = CU_MEMORYTYPE_DEVICE;
		break;
	case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
		*(CUdeviceptr *)data = dptr;
		break;
	case CU_POINTER_ATTRIBUTE_IS_MANAGED:
		*(unsigned int *)data = 0;
		break;
	case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
		*(int *)data = 0;
		break;
	case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
		return cuMemGetAddressRange_v2(data, NULL, dptr);
	case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
		return cuMemGetAddressRange_v2(NULL, data, dptr);
	case CU_POINTER_ATTRIBUTE_BUFFER_ID:
		*(unsigned long long *)data = dptr;
		break;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

CUresult cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **data, CUdeviceptr dptr)
{
	CUresult result = CUDA_SUCCESS;

	for (unsigned int i = 0; i < count && result == CUDA_SUCCESS; i++)
		result = cuPointerGetAttribute(data[i], attributes[i], dptr);
	return result;
}

/* ---- cuGetProcAddress ---- */

CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version, cuuint64_t flags,
			     CUdriverProcAddressQueryResult *status)
{
	*function = null_driver_find(symbol, version, flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM);
	if (status)
		*status = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
	return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult cuGetProcAddress(const char *symbol, void **function, int version, cuuint64_t flags)
{
	return cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}
