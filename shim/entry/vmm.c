/* Virtual memory management by the program itself. */
#include "abi/greenboost_abi.h"
#include "alloc/access.h"
#include "alloc/handles.h"
#include "entry/entry.h"

/* Memory whose place is ours to choose: pinned, on a device that books are kept for. */
static bool is_ours(const CUmemAllocationProp *prop)
{
	return prop->type == CU_MEM_ALLOCATION_TYPE_PINNED && prop->location.type == CU_MEM_LOCATION_TYPE_DEVICE &&
	       prop->location.id >= 0 && prop->location.id < GB_DEVICES_MAX;
}

CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *prop,
		     unsigned long long flags)
{
	GB_ENTER(cuMemCreate, (handle, size, prop, flags));
	if (!handle || size == 0 || !prop || flags || !is_ours(prop))
		return driver->cuMemCreate(handle, size, prop, flags);
	return gb_handle_create(handle, size, prop);
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle)
{
	GB_ENTER(cuMemRelease, (handle));
	(void)driver;
	return gb_handle_release(handle);
}

CUresult cuMemMap(CUdeviceptr dptr, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
		  unsigned long long flags)
{
	GB_ENTER(cuMemMap, (dptr, size, offset, handle, flags));
	(void)driver;
	return gb_handle_map(dptr, size, offset, handle, flags);
}

CUresult cuMemUnmap(CUdeviceptr dptr, size_t size)
{
	GB_ENTER(cuMemUnmap, (dptr, size));
	(void)driver;
	return gb_handle_unmap(dptr, size);
}

CUresult cuMemSetAccess(CUdeviceptr dptr, size_t size, const CUmemAccessDesc *access, size_t count)
{
	GB_ENTER(cuMemSetAccess, (dptr, size, access, count));
	(void)driver;
	return gb_access_set(dptr, size, access, count);
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address)
{
	GB_ENTER(cuMemRetainAllocationHandle, (handle, address));
	(void)driver;
	return gb_handle_retain(handle, address);
}

CUresult cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *prop, CUmemGenericAllocationHandle handle)
{
	GB_ENTER(cuMemGetAllocationPropertiesFromHandle, (prop, handle));
	(void)driver;
	return gb_handle_properties(prop, handle);
}

CUresult cuMemExportToShareableHandle(void *shareable, CUmemGenericAllocationHandle handle,
				      CUmemAllocationHandleType type, unsigned long long flags)
{
	GB_ENTER(cuMemExportToShareableHandle, (shareable, handle, type, flags));
	(void)driver;
	return gb_handle_export(shareable, handle, type, flags);
}

CUresult cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *handle, void *shareable,
					CUmemAllocationHandleType type)
{
	GB_ENTER(cuMemImportFromShareableHandle, (handle, shareable, type));
	(void)driver;
	return gb_handle_import(handle, shareable, type);
}
