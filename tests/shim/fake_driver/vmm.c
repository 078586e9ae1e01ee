#include "vmm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "api.h"
#include "device.h"

#define FK_HOST_FILE (64ull << 30)

static struct fk_arena host_arena;

static bool is_host_type(int type)
{
	return type == CU_MEM_LOCATION_TYPE_HOST || type == CU_MEM_LOCATION_TYPE_HOST_NUMA;
}

/* File descriptors, where attribute 103 says so; no other kind is simulated. */
static CUresult check_types(const CUmemAllocationProp *properties)
{
	bool host = is_host_type(properties->location.type);
	bool may = fk_has(FK_CAP_posix_fd) && !(host && fk_has(FK_CAP_no_host_fd));
	int possible = may ? CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR : 0;

	return properties->requestedHandleTypes & ~possible ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

static CUresult check_properties(const CUmemAllocationProp *properties)
{
	const CUmemLocation *location = &properties->location;
	bool numa = location->type == CU_MEM_LOCATION_TYPE_HOST_NUMA;

	if (properties->type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	if (location->type == CU_MEM_LOCATION_TYPE_DEVICE)
		return fk_device_valid(location->id) ? check_types(properties) : CUDA_ERROR_INVALID_DEVICE;
	if (!is_host_type(location->type) || (!numa && properties->requestedHandleTypes))
		return CUDA_ERROR_INVALID_VALUE;
	if (fk_has(FK_CAP_no_host_vmm))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (numa && location->id != 0) /* node 0 is the one with memory; cpuless-numa says 1, which has none */
		return CUDA_ERROR_INVALID_VALUE;
	return check_types(properties);
}

CUresult fk_vmm_granularity(size_t *granularity, const CUmemAllocationProp *properties, int option)
{
	CUresult result;

	if (fk_has(FK_CAP_no_vmm))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!granularity || !properties || option < 0 || option > 1)
		return CUDA_ERROR_INVALID_VALUE;
	result = check_properties(properties);
	if (result == CUDA_SUCCESS)
		*granularity = FK_GRANULARITY;
	return result;
}

static bool back_with_device(struct fk_vmm_handle *handle)
{
	int device = handle->properties.location.id;
	void *bytes;

	if (!fk_device_charge(device, handle->size))
		return false;
	bytes = mmap(NULL, handle->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED) {
		fk_device_discharge(device, handle->size);
		return false;
	}
	handle->bytes = bytes;
	return true;
}

static bool back_with_host(struct fk_vmm_handle *handle)
{
	if (!host_arena.backing && !fk_arena_open_file(&host_arena, FK_HOST_FILE))
		return false;
	if (!fk_arena_take(&host_arena, handle->size, FK_GRANULARITY, &handle->file_offset))
		return false;
	if (fk_config.populate && fallocate(host_arena.file, 0, (off_t)handle->file_offset, (off_t)handle->size) < 0) {
		fk_arena_give(&host_arena, handle->file_offset, handle->size);
		return false;
	}
	handle->bytes = fk_arena_bytes(&host_arena, handle->file_offset);
	return true;
}

CUresult fk_vmm_create(CUmemGenericAllocationHandle *out, size_t size, const CUmemAllocationProp *properties,
		       unsigned long long flags)
{
	struct fk_vmm_handle *handle;
	CUresult result;

	if (fk_has(FK_CAP_no_vmm))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!out || !properties || !size || size % FK_GRANULARITY || flags)
		return CUDA_ERROR_INVALID_VALUE;
	result = check_properties(properties);
	if (result != CUDA_SUCCESS)
		return result;
	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return CUDA_ERROR_OUT_OF_MEMORY;
	handle->properties = *properties;
	handle->size = size;
	handle->references = 1;
	handle->on_host = is_host_type(properties->location.type);
	if (!(handle->on_host ? back_with_host(handle) : back_with_device(handle))) {
		free(handle);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	fk_object_add(&handle->object, FK_HANDLE);
	fk_hold(FK_FIGURE_vmm_handles_bytes, size);
	fk_hold(FK_FIGURE_vmm_host_bytes, handle->on_host ? size : 0);
	*out = (CUmemGenericAllocationHandle)(uintptr_t)handle;
	return CUDA_SUCCESS;
}

static void reap(struct fk_vmm_handle *handle)
{
	if (handle->references || handle->mappings)
		return;
	if (handle->on_host) {
		fk_arena_give(&host_arena, handle->file_offset, handle->size);
		fk_drop(FK_FIGURE_vmm_host_bytes, handle->size);
	} else {
		munmap(handle->bytes, handle->size);
		fk_device_discharge(handle->properties.location.id, handle->size);
	}
	fk_drop(FK_FIGURE_vmm_handles_bytes, handle->size);
	fk_object_drop(&handle->object);
	free(handle);
}

struct fk_vmm_handle *fk_vmm_find(CUmemGenericAllocationHandle handle)
{
	struct fk_vmm_handle *found = fk_object_find((const void *)(uintptr_t)handle, FK_HANDLE);

	return found && found->references ? found : NULL; /* released handles are not handles, mapped or not */
}

CUresult fk_vmm_release(CUmemGenericAllocationHandle out)
{
	struct fk_vmm_handle *handle = fk_vmm_find(out);

	if (!handle)
		return CUDA_ERROR_INVALID_VALUE;
	handle->references--;
	reap(handle);
	return CUDA_SUCCESS;
}

CUresult fk_vmm_properties(CUmemAllocationProp *properties, CUmemGenericAllocationHandle out)
{
	struct fk_vmm_handle *handle = fk_vmm_find(out);

	if (!handle || !properties)
		return CUDA_ERROR_INVALID_VALUE;
	*properties = handle->properties;
	return CUDA_SUCCESS;
}

CUresult fk_vmm_retain(CUmemGenericAllocationHandle *out, void *address)
{
	struct fk_block *block = fk_block_at((uint64_t)(uintptr_t)address);
	struct fk_vmm_handle *handle;

	if (!out || !block || block->kind != FK_KIND_VMM)
		return CUDA_ERROR_INVALID_VALUE;
	handle = ((struct fk_mapping *)(void *)block)->handle;
	handle->references++;
	*out = (CUmemGenericAllocationHandle)(uintptr_t)handle;
	return CUDA_SUCCESS;
}

CUresult fk_vmm_map(CUdeviceptr address, size_t size, size_t offset, CUmemGenericAllocationHandle out,
		    unsigned long long flags)
{
	struct fk_vmm_handle *handle = fk_vmm_find(out);
	struct fk_node *next = fk_tree_ceiling(&fk.blocks, address, 0);
	uint64_t base, room;
	struct fk_mapping *mapping;

	if (fk_has(FK_CAP_no_vmm))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!handle || !fk_vmm_reservation(address, &base, &room) || !size || flags || address % FK_GRANULARITY ||
	    size % FK_GRANULARITY)
		return CUDA_ERROR_INVALID_VALUE;
	if (offset != 0 || size > handle->size || size > room - (address - base))
		return CUDA_ERROR_INVALID_VALUE; /* cuMemMap: offset must currently be zero */
	if (fk_block_at(address) || (next && next->key < address + size))
		return CUDA_ERROR_INVALID_VALUE;
	mapping = calloc(1, sizeof(*mapping));
	if (!mapping)
		return CUDA_ERROR_OUT_OF_MEMORY;
	mapping->handle = handle;
	mapping->block.kind = FK_KIND_VMM;
	mapping->block.size = size;
	mapping->block.bytes = handle->bytes;
	mapping->block.device = handle->on_host ? -1 : handle->properties.location.id;
	handle->mappings++;
	fk_block_add(&mapping->block, address, NULL);
	fk_hold(FK_FIGURE_mapped_bytes, size);
	return CUDA_SUCCESS;
}

/* Calls `visit` on each mapping in the range; false if they do not fill it exactly. visit NULL: only look. */
static bool each_mapping(uint64_t address, uint64_t size, void (*visit)(struct fk_mapping *, const CUmemAccessDesc *),
			 const CUmemAccessDesc *argument)
{
	uint64_t end = address + size;

	if (end < address)
		return false;
	while (address < end) {
		struct fk_block *block = fk_block_starting(address);

		if (!block || block->kind != FK_KIND_VMM || block->size > end - address)
			return false;
		address += block->size;
		if (visit)
			visit((struct fk_mapping *)(void *)block, argument);
	}
	return size > 0;
}

static void show_to_cpu(const struct fk_mapping *mapping, unsigned int access)
{
	int protection = (access & 1 ? PROT_READ : 0) | (access & 2 ? PROT_WRITE : 0);
	void *at = (void *)(uintptr_t)fk_block_address(&mapping->block);

	if (protection)
		mmap(at, mapping->block.size, protection, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, host_arena.file,
		     (off_t)mapping->handle->file_offset);
	else
		mmap(at, mapping->block.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		     0);
}

static void unmap_one(struct fk_mapping *mapping, const CUmemAccessDesc *unused)
{
	(void)unused;
	if (mapping->host_access)
		show_to_cpu(mapping, 0);
	fk_block_remove(&mapping->block);
	fk_drop(FK_FIGURE_mapped_bytes, mapping->block.size);
	mapping->handle->mappings--;
	reap(mapping->handle);
	free(mapping);
}

CUresult fk_vmm_unmap(CUdeviceptr address, size_t size)
{
	if (!each_mapping(address, size, NULL, NULL))
		return CUDA_ERROR_INVALID_VALUE; /* a part of a mapping, or a hole */
	each_mapping(address, size, unmap_one, NULL);
	return CUDA_SUCCESS;
}

static void set_access(struct fk_mapping *mapping, const CUmemAccessDesc *wanted)
{
	if (wanted->location.type == CU_MEM_LOCATION_TYPE_DEVICE) {
		mapping->device_access[wanted->location.id] = (unsigned char)wanted->flags;
	} else {
		mapping->host_access = (unsigned char)wanted->flags;
		show_to_cpu(mapping, mapping->host_access);
	}
}

static CUresult check_access(uint64_t address, uint64_t size, const CUmemAccessDesc *wanted)
{
	bool flags_known = wanted->flags == CU_MEM_ACCESS_FLAGS_PROT_NONE ||
			   wanted->flags == CU_MEM_ACCESS_FLAGS_PROT_READ ||
			   wanted->flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE;

	if (!flags_known)
		return CUDA_ERROR_INVALID_VALUE;
	if (wanted->location.type == CU_MEM_LOCATION_TYPE_DEVICE)
		return fk_device_valid(wanted->location.id) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
	if (!is_host_type(wanted->location.type))
		return CUDA_ERROR_INVALID_VALUE;
	for (uint64_t at = address; at < address + size;) {
		struct fk_mapping *mapping = (struct fk_mapping *)(void *)fk_block_starting(at);
		int home = mapping->handle->properties.location.type;

		if (!mapping->handle->on_host)
			return CUDA_ERROR_INVALID_VALUE; /* the CPU does not reach device memory */
		if (wanted->location.type == CU_MEM_LOCATION_TYPE_HOST_NUMA && home != CU_MEM_LOCATION_TYPE_HOST_NUMA)
			return CUDA_ERROR_INVALID_VALUE;
		at += mapping->block.size;
	}
	return CUDA_SUCCESS;
}

/* Whether device and host memory lie in the range. */
static bool is_mixed(uint64_t address, uint64_t size)
{
	bool host = false, device = false;

	for (uint64_t at = address; at < address + size;) {
		struct fk_mapping *mapping = (struct fk_mapping *)(void *)fk_block_starting(at);

		*(mapping->handle->on_host ? &host : &device) = true;
		at += mapping->block.size;
	}
	return host && device;
}

CUresult fk_vmm_set_access(CUdeviceptr address, size_t size, const CUmemAccessDesc *list, size_t count)
{
	if (fk_has(FK_CAP_no_vmm))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!list || !count || !each_mapping(address, size, NULL, NULL))
		return CUDA_ERROR_INVALID_VALUE;
	if (fk_has(FK_CAP_no_mixed_access) && is_mixed(address, size))
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < count; i++) {
		CUresult result = check_access(address, size, &list[i]);

		if (result != CUDA_SUCCESS)
			return result;
	}
	for (size_t i = 0; i < count; i++)
		each_mapping(address, size, set_access, &list[i]);
	return CUDA_SUCCESS;
}

CUresult fk_vmm_get_access(unsigned long long *flags, const CUmemLocation *location, CUdeviceptr address)
{
	struct fk_block *block = fk_block_at(address);
	struct fk_mapping *mapping = (struct fk_mapping *)(void *)block;

	if (!flags || !location || !block || block->kind != FK_KIND_VMM)
		return CUDA_ERROR_INVALID_VALUE;
	if (location->type == CU_MEM_LOCATION_TYPE_DEVICE) {
		if (!fk_device_valid(location->id))
			return CUDA_ERROR_INVALID_DEVICE;
		*flags = mapping->device_access[location->id];
	} else if (is_host_type(location->type)) {
		*flags = mapping->host_access;
	} else {
		return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}
