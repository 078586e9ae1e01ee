#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "pool.h"

bool fk_device_start(void)
{
	for (int i = 0; i < fk_config.devices; i++) {
		struct fk_device *device = &fk.devices[i];

		/* Addresses are not memory: four times the card keeps fragmentation from looking like exhaustion. */
		if (!fk_arena_open_device(&device->arena, 4 * fk_config.vram_bytes + (1ull << 30)))
			return false;
		device->default_pool = device->current_pool = fk_pool_new(i, true);
		if (!device->default_pool)
			return false;
	}
	return true;
}

bool fk_device_valid(CUdevice device)
{
	return device >= 0 && device < fk_config.devices;
}

CUresult fk_device_get(CUdevice *device, int ordinal)
{
	if (!device)
		return CUDA_ERROR_INVALID_VALUE;
	if (!fk_device_valid(ordinal))
		return CUDA_ERROR_INVALID_DEVICE;
	*device = ordinal;
	return CUDA_SUCCESS;
}

CUresult fk_device_count(int *count)
{
	if (!count)
		return CUDA_ERROR_INVALID_VALUE;
	*count = fk_config.devices;
	return CUDA_SUCCESS;
}

CUresult fk_device_name(char *name, int length, CUdevice device)
{
	if (!name || length <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	if (!fk_device_valid(device))
		return CUDA_ERROR_INVALID_DEVICE;
	fk_identity_name(device, name, (size_t)length);
	return CUDA_SUCCESS;
}

CUresult fk_device_uuid(CUuuid *uuid, CUdevice device)
{
	if (!uuid)
		return CUDA_ERROR_INVALID_VALUE;
	if (!fk_device_valid(device))
		return CUDA_ERROR_INVALID_DEVICE;
	fk_identity_uuid(device, (unsigned char *)uuid->bytes);
	return CUDA_SUCCESS;
}

CUresult fk_device_total(size_t *bytes, CUdevice device)
{
	if (!bytes)
		return CUDA_ERROR_INVALID_VALUE;
	if (!fk_device_valid(device))
		return CUDA_ERROR_INVALID_DEVICE;
	*bytes = fk_config.vram_bytes;
	return CUDA_SUCCESS;
}

static int attribute_value(int attribute, int ordinal)
{
	switch (attribute) {
#define FK_ATTRIBUTE(number, value) \
	case number:                \
		return value;
#include "device_attributes.def"
#undef FK_ATTRIBUTE
	default:
		return 0;
	}
}

CUresult fk_device_attribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
	if (!value || attribute < 1 || attribute > FK_ATTRIBUTE_LAST)
		return CUDA_ERROR_INVALID_VALUE;
	if (fk_has(FK_CAP_no_host_vmm_attributes) && (attribute == 141 || attribute == 145))
		return CUDA_ERROR_INVALID_VALUE; /* as drivers older than CUDA 12.9 do */
	if (!fk_device_valid(device))
		return CUDA_ERROR_INVALID_DEVICE;
	*value = attribute_value(attribute, device);
	return CUDA_SUCCESS;
}

CUresult fk_device_properties(CUdevprop *properties, CUdevice device)
{
	if (!properties)
		return CUDA_ERROR_INVALID_VALUE;
	if (!fk_device_valid(device))
		return CUDA_ERROR_INVALID_DEVICE;
	*properties = (CUdevprop){
		.maxThreadsPerBlock = attribute_value(1, device),
		.maxThreadsDim = {attribute_value(2, device), attribute_value(3, device), attribute_value(4, device)},
		.maxGridSize = {attribute_value(5, device), attribute_value(6, device), attribute_value(7, device)},
		.sharedMemPerBlock = attribute_value(8, device),
		.totalConstantMemory = attribute_value(9, device),
		.SIMDWidth = attribute_value(10, device),
		.memPitch = attribute_value(11, device),
		.regsPerBlock = attribute_value(12, device),
		.clockRate = attribute_value(13, device),
		.textureAlign = attribute_value(14, device),
	};
	return CUDA_SUCCESS;
}

CUresult fk_device_capability(int *major, int *minor, CUdevice device)
{
	if (!major || !minor)
		return CUDA_ERROR_INVALID_VALUE;
	if (!fk_device_valid(device))
		return CUDA_ERROR_INVALID_DEVICE;
	*major = attribute_value(75, device);
	*minor = attribute_value(76, device);
	return CUDA_SUCCESS;
}

CUresult fk_device_pci_id(char *text, int length, CUdevice device)
{
	char id[16];

	if (!text || length <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	if (!fk_device_valid(device))
		return CUDA_ERROR_INVALID_DEVICE;
	snprintf(id, sizeof(id), "%04x:%02x:%02x.0", FK_PCI_DOMAIN(device), FK_PCI_BUS(device) & 0xffu,
		 FK_PCI_DEVICE(device));
	snprintf(text, (size_t)length, "%s", id);
	return CUDA_SUCCESS;
}

CUresult fk_device_by_pci_id(CUdevice *device, const char *text)
{
	unsigned int domain = 0, bus, slot, function = 0;

	if (!device || !text)
		return CUDA_ERROR_INVALID_VALUE;
	if (sscanf(text, "%x:%x:%x.%x", &domain, &bus, &slot, &function) < 3) {
		domain = 0;
		if (sscanf(text, "%x:%x.%x", &bus, &slot, &function) < 2)
			return CUDA_ERROR_INVALID_VALUE;
	}
	for (int i = 0; i < fk_config.devices; i++) {
		if (domain == FK_PCI_DOMAIN(i) && bus == FK_PCI_BUS(i) && slot == FK_PCI_DEVICE(i)) {
			*device = i;
			return CUDA_SUCCESS;
		}
	}
	return CUDA_ERROR_INVALID_DEVICE;
}

static bool peers_possible(CUdevice one, CUdevice other)
{
	return one != other && !fk_has(FK_CAP_no_peer);
}

CUresult fk_device_can_access_peer(int *can, CUdevice device, CUdevice peer)
{
	if (!can)
		return CUDA_ERROR_INVALID_VALUE;
	if (!fk_device_valid(device) || !fk_device_valid(peer))
		return CUDA_ERROR_INVALID_DEVICE;
	*can = peers_possible(device, peer);
	return CUDA_SUCCESS;
}

CUresult fk_device_p2p_attribute(int *value, CUdevice_P2PAttribute attribute, CUdevice from, CUdevice to)
{
	if (!value || attribute < 1 || attribute > 5 || from == to)
		return CUDA_ERROR_INVALID_VALUE;
	if (!fk_device_valid(from) || !fk_device_valid(to))
		return CUDA_ERROR_INVALID_DEVICE;
	*value = attribute == 2 && peers_possible(from, to);
	return CUDA_SUCCESS;
}

CUresult fk_ctx_enable_peer(struct fk_call *call, CUcontext handle, unsigned int flags)
{
	struct fk_ctx *peer = fk_ctx_find(handle);

	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (!peer || peer == call->ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (!peers_possible(call->ctx->device, peer->device))
		return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
	if (call->ctx->peers & (1u << peer->device))
		return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
	call->ctx->peers |= 1u << peer->device;
	return CUDA_SUCCESS;
}

CUresult fk_ctx_disable_peer(struct fk_call *call, CUcontext handle)
{
	struct fk_ctx *peer = fk_ctx_find(handle);

	if (!peer)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (!(call->ctx->peers & (1u << peer->device)))
		return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
	call->ctx->peers &= ~(1u << peer->device);
	return CUDA_SUCCESS;
}
