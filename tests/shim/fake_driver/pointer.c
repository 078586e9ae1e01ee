/* What is this address? The pointer attributes, for every kind of memory. */
#include <string.h>

#include "api.h"
#include "block.h"
#include "device.h"
#include "pool.h"
#include "vmm.h"

/* An attribute's value before it is copied out: its size differs from attribute to attribute. */
struct value {
	union {
		int integer;
		unsigned int word;
		unsigned long long number;
		CUDA_POINTER_ATTRIBUTE_P2P_TOKENS tokens;
		unsigned char boolean;
	} as;
	size_t size;
};

static struct value integer(int value)
{
	return (struct value){.as.integer = value, .size = sizeof(int)};
}

static struct value boolean(bool value)
{
	/* cuda.h says "a boolean" and gives no width; callers pass an int, so four bytes are written. */
	return integer(value);
}

static struct value number(unsigned long long value)
{
	return (struct value){.as.number = value, .size = sizeof(value)};
}

static bool on_host(const struct fk_block *block)
{
	if (block->kind == FK_KIND_VMM)
		return ((const struct fk_mapping *)(const void *)block)->handle->on_host;
	return block->kind == FK_KIND_HOST || block->kind == FK_KIND_REGISTERED || block->kind == FK_KIND_ALIAS;
}

static CUresult device_pointer(const struct fk_block *block, uint64_t offset, const struct fk_ctx *ctx,
			       struct value *value)
{
	uint64_t address = fk_block_address(block) + offset;

	if (!ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (block->kind == FK_KIND_REGISTERED && block->twin)
		address = fk_block_address(block->twin) + offset;
	*value = number(address);
	return CUDA_SUCCESS;
}

static CUresult host_pointer(const struct fk_block *block, uint64_t offset, struct value *value)
{
	const struct fk_mapping *mapping = (const struct fk_mapping *)(const void *)block;

	if (block->kind == FK_KIND_DEVICE || block->kind == FK_KIND_POOL ||
	    (block->kind == FK_KIND_VMM && !mapping->host_access))
		return CUDA_ERROR_INVALID_VALUE;
	*value = number(block->kind == FK_KIND_VMM ? fk_block_address(block) + offset
						   : (unsigned long long)(uintptr_t)(block->bytes + offset));
	return CUDA_SUCCESS;
}

static unsigned int access_flags(const struct fk_block *block, const struct fk_ctx *ctx)
{
	int device = ctx ? ctx->device : 0;

	if (block->kind == FK_KIND_VMM)
		return ((const struct fk_mapping *)(const void *)block)->device_access[device];
	if (block->kind == FK_KIND_POOL && ((const struct fk_pool_block *)(const void *)block)->pool)
		return ((const struct fk_pool_block *)(const void *)block)->pool->access[device];
	return CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
}

static CUresult pool_of(const struct fk_block *block, struct value *value)
{
	struct fk_pool *pool =
		block->kind == FK_KIND_POOL ? ((const struct fk_pool_block *)(const void *)block)->pool : NULL;

	if (!pool)
		return CUDA_ERROR_INVALID_VALUE;
	*value = number((unsigned long long)(uintptr_t)pool);
	return CUDA_SUCCESS;
}

/* The whole range: of a VMM mapping it is the reservation, as documented, not the mapping. */
static struct value range_of(const struct fk_block *block, bool size)
{
	uint64_t base = fk_block_address(block), bytes = block->size;

	if (block->kind == FK_KIND_VMM)
		fk_vmm_reservation(fk_block_address(block), &base, &bytes);
	return number(size ? bytes : base);
}

static struct value block_id(const struct fk_block *block)
{
	if (block->kind != FK_KIND_VMM)
		return number(block->id);
	return number(
		(uintptr_t)((const struct fk_mapping *)(const void *)block)->handle); /* one memory, mapped often */
}

static unsigned long long handle_types(const struct fk_block *block)
{
	const struct fk_mapping *mapping = (const struct fk_mapping *)(const void *)block;

	return block->kind == FK_KIND_VMM ? (unsigned int)mapping->handle->properties.requestedHandleTypes : 0;
}

/* The attributes that every block has an answer to. */
static CUresult plain_answer(const struct fk_block *block, const struct fk_ctx *ctx, int attribute, struct value *value)
{
	switch (attribute) {
	case CU_POINTER_ATTRIBUTE_CONTEXT: /* NULL for what belongs to no context: mappings and pools */
		*value = number((uintptr_t)block->ctx);
		break;
	case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
		*value = integer(on_host(block) ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE);
		break;
	case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
		*value = boolean(block->sync_memops);
		break;
	case CU_POINTER_ATTRIBUTE_BUFFER_ID:
		*value = number(block->id);
		break;
	case CU_POINTER_ATTRIBUTE_IS_MANAGED:
		*value = boolean(block->kind == FK_KIND_MANAGED);
		break;
	case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
		*value = integer(block->device);
		break;
	case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
		*value = boolean(block->kind == FK_KIND_DEVICE && !fk_has(FK_CAP_no_ipc));
		break;
	case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
	case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
		*value = range_of(block, attribute == CU_POINTER_ATTRIBUTE_RANGE_SIZE);
		break;
	case CU_POINTER_ATTRIBUTE_MAPPED:
		*value = boolean(true);
		break;
	case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
		*value = number(handle_types(block));
		break;
	case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
	case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
		*value = boolean(false);
		break;
	case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
		*value = integer((int)access_flags(block, ctx));
		break;
	case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
		*value = number(block->size);
		break;
	case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
		*value = number(fk_block_address(block));
		break;
	case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
		*value = block_id(block);
		break;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

static CUresult answer(const struct fk_block *block, uint64_t offset, const struct fk_ctx *ctx, int attribute,
		       struct value *value)
{
	switch (attribute) {
	case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
		return device_pointer(block, offset, ctx, value);
	case CU_POINTER_ATTRIBUTE_HOST_POINTER:
		return host_pointer(block, offset, value);
	case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
		return pool_of(block, value);
	case CU_POINTER_ATTRIBUTE_P2P_TOKENS:
		if (block->kind != FK_KIND_DEVICE)
			return CUDA_ERROR_INVALID_VALUE;
		*value = (struct value){.as.tokens = {block->id, 1}, .size = sizeof(value->as.tokens)};
		return CUDA_SUCCESS;
	default:
		return plain_answer(block, ctx, attribute, value);
	}
}

/* Is there an answer without a block? An address reserved and not mapped has a range and is not mapped. */
static bool answer_reserved(uint64_t address, int attribute, struct value *value)
{
	uint64_t base, size;

	if (!fk_vmm_reservation(address, &base, &size))
		return false;
	if (attribute != CU_POINTER_ATTRIBUTE_RANGE_START_ADDR && attribute != CU_POINTER_ATTRIBUTE_RANGE_SIZE &&
	    attribute != CU_POINTER_ATTRIBUTE_MAPPED)
		return false;
	*value = attribute == CU_POINTER_ATTRIBUTE_MAPPED
			 ? boolean(false)
			 : number(attribute == CU_POINTER_ATTRIBUTE_RANGE_SIZE ? size : base);
	return true;
}

/* What cuPointerGetAttributes says of an address that is nobody's, and of questions without an answer. */
static struct value nothing(int attribute)
{
	switch (attribute) {
	case CU_POINTER_ATTRIBUTE_P2P_TOKENS:
		return (struct value){.size = sizeof(CUDA_POINTER_ATTRIBUTE_P2P_TOKENS)};
	case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
		return integer(CU_DEVICE_INVALID);
	case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
	case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
	case CU_POINTER_ATTRIBUTE_IS_MANAGED:
	case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
	case CU_POINTER_ATTRIBUTE_MAPPED:
	case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
	case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
	case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
		return integer(0);
	default:
		return number(0);
	}
}

static struct fk_block *visible_at(uint64_t address)
{
	struct fk_block *block = fk_block_at(address);

	if (block && block->kind == FK_KIND_POOL && ((struct fk_pool_block *)(void *)block)->freeing)
		return NULL;
	return block;
}

CUresult fk_pointer_attribute(struct fk_call *call, void *data, CUpointer_attribute attribute, CUdeviceptr address)
{
	struct fk_block *block = visible_at(address);
	struct value value;
	CUresult result;

	if (!data || attribute < 1 || attribute > CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE)
		return CUDA_ERROR_INVALID_VALUE;
	if (!block) {
		if (!answer_reserved(address, attribute, &value))
			return CUDA_ERROR_INVALID_VALUE;
	} else {
		result = answer(block, address - fk_block_address(block), call->ctx, attribute, &value);
		if (result != CUDA_SUCCESS)
			return result;
	}
	memcpy(data, &value.as, value.size);
	return CUDA_SUCCESS;
}

CUresult fk_pointer_attributes(struct fk_call *call, unsigned int count, CUpointer_attribute *attributes, void **data,
			       CUdeviceptr address)
{
	struct fk_block *block = visible_at(address);

	if (!count || !attributes || !data)
		return CUDA_ERROR_INVALID_VALUE;
	for (unsigned int i = 0; i < count; i++)
		if (!data[i] || attributes[i] < 1 || attributes[i] > CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE)
			return CUDA_ERROR_INVALID_VALUE;
	for (unsigned int i = 0; i < count; i++) {
		struct value value = nothing(attributes[i]);
		struct value found;

		if (block &&
		    answer(block, address - fk_block_address(block), call->ctx, attributes[i], &found) == CUDA_SUCCESS)
			value = found;
		else if (!block && answer_reserved(address, attributes[i], &found))
			value = found;
		memcpy(data[i], &value.as, value.size);
	}
	return CUDA_SUCCESS;
}

CUresult fk_pointer_set(const void *value, CUpointer_attribute attribute, CUdeviceptr address)
{
	struct fk_block *block = visible_at(address);

	if (!value || !block || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS) /* the one that can be set */
		return CUDA_ERROR_INVALID_VALUE;
	block->sync_memops = *(const int *)value != 0;
	return CUDA_SUCCESS;
}
