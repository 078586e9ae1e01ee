/* Copies in two and three dimensions. Arrays are not simulated: a copy that names one is refused. */
#include "api.h"
#include "capture.h"
#include "copy.h"
#include "stream.h"

/* One end of a rectangular copy, as cuda.h describes it. */
struct corner {
	CUmemorytype type;
	const void *host;
	CUdeviceptr device;
	size_t x, y, z, pitch, height;
};

static CUresult resolve(const struct corner *corner, const CUDA_MEMCPY3D *copy, struct fk_side *side, bool *host)
{
	uint64_t pitch = corner->pitch ? corner->pitch : copy->WidthInBytes;
	uint64_t rows = corner->height ? corner->height : copy->Height;

	if (corner->type == CU_MEMORYTYPE_ARRAY)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (corner->type < CU_MEMORYTYPE_HOST || corner->type > CU_MEMORYTYPE_UNIFIED)
		return CUDA_ERROR_INVALID_VALUE;
	if (pitch < copy->WidthInBytes + corner->x || (copy->Depth > 1 && rows < copy->Height + corner->y))
		return CUDA_ERROR_INVALID_VALUE;
	*host = corner->type != CU_MEMORYTYPE_DEVICE;
	side->pitch = pitch;
	side->slice = pitch * rows;
	side->address = corner->type == CU_MEMORYTYPE_HOST ? (uint64_t)(uintptr_t)corner->host : corner->device;
	if (!side->address)
		return CUDA_ERROR_INVALID_VALUE;
	side->address += corner->z * side->slice + corner->y * pitch + corner->x;
	return CUDA_SUCCESS;
}

static CUresult prepare(const CUDA_MEMCPY3D *copy, struct fk_op *op, int device)
{
	struct corner from = {copy->srcMemoryType, copy->srcHost, copy->srcDevice, copy->srcXInBytes,
			      copy->srcY,          copy->srcZ,    copy->srcPitch,  copy->srcHeight};
	struct corner to = {copy->dstMemoryType, copy->dstHost, copy->dstDevice, copy->dstXInBytes,
			    copy->dstY,          copy->dstZ,    copy->dstPitch,  copy->dstHeight};
	struct fk_side *source = &op->u.copy.from, *target = &op->u.copy.to;
	bool from_host, to_host;
	CUresult result = resolve(&from, copy, source, &from_host);

	if (result == CUDA_SUCCESS)
		result = resolve(&to, copy, target, &to_host);
	if (result != CUDA_SUCCESS)
		return result;
	op->u.copy.width = copy->WidthInBytes;
	op->u.copy.height = copy->Height;
	op->u.copy.depth = copy->Depth;
	result = fk_copy_side(
		target, (copy->Depth - 1) * target->slice + (copy->Height - 1) * target->pitch + copy->WidthInBytes,
		device, FK_USE_WRITE, to_host);
	if (result != CUDA_SUCCESS)
		return result;
	return fk_copy_side(source,
			    (copy->Depth - 1) * source->slice + (copy->Height - 1) * source->pitch + copy->WidthInBytes,
			    device, FK_USE_READ, from_host);
}

CUresult fk_copy_3d(struct fk_call *call, const CUDA_MEMCPY3D *copy, CUstream handle, bool asynchronous, bool peer)
{
	struct fk_stream *stream;
	struct fk_op *op;
	CUresult result = asynchronous ? CUDA_SUCCESS : fk_capture_forbids();

	if (result == CUDA_SUCCESS)
		result = fk_stream_of(call, handle, &stream);
	if (result != CUDA_SUCCESS)
		return result;
	if (!copy || copy->srcLOD || copy->dstLOD || (!peer && (copy->srcContext || copy->dstContext)))
		return CUDA_ERROR_INVALID_VALUE;
	if (!copy->WidthInBytes || !copy->Height || !copy->Depth)
		return CUDA_SUCCESS;
	op = fk_op_new(FK_OP_COPY);
	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = prepare(copy, op, stream->ctx->device);
	if (result != CUDA_SUCCESS) {
		if (result == CUDA_ERROR_NOT_SUPPORTED)
			fk_say("copies of arrays are not simulated: CUDA_ERROR_NOT_SUPPORTED");
		fk_op_free(op);
		return result;
	}
	return fk_copy_submit(stream, op, asynchronous);
}

CUresult fk_copy_2d(struct fk_call *call, const CUDA_MEMCPY2D *copy, CUstream handle, bool asynchronous)
{
	CUDA_MEMCPY3D solid;

	if (!copy)
		return CUDA_ERROR_INVALID_VALUE;
	solid = (CUDA_MEMCPY3D){
		.srcXInBytes = copy->srcXInBytes,
		.srcY = copy->srcY,
		.srcMemoryType = copy->srcMemoryType,
		.srcHost = copy->srcHost,
		.srcDevice = copy->srcDevice,
		.srcPitch = copy->srcPitch,
		.dstXInBytes = copy->dstXInBytes,
		.dstY = copy->dstY,
		.dstMemoryType = copy->dstMemoryType,
		.dstHost = copy->dstHost,
		.dstDevice = copy->dstDevice,
		.dstPitch = copy->dstPitch,
		.WidthInBytes = copy->WidthInBytes,
		.Height = copy->Height,
		.Depth = 1,
	};
	return fk_copy_3d(call, &solid, handle, asynchronous, false);
}
