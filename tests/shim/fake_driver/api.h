/* The bodies of the exported calls: what fake_driver.def's rows name.
 *
 * Each runs with fk.lock held and its row's gate passed, and answers the documented error. Arguments are the
 * program's, so nothing about them is believed; out-parameters are written only on success. */
#ifndef FK_API_H
#define FK_API_H

#include "entry.h"

#define FK_ROUND(size) (((uint64_t)(size) + 511ull) & ~511ull)   /* what an allocation is charged as */
#define FK_ALIGNMENT(size) ((uint64_t)(size) >= (1ull << 20) ? 2ull << 20 : 512ull) /* of its address */

#define PTR (const void *)(uintptr_t)

/* resolve.c */
CUresult fk_get_proc_address(const char *name, void **function, int version, cuuint64_t flags,
			     CUdriverProcAddressQueryResult *status);
CUresult fk_error_text(CUresult error, const char **text, bool name);

/* device.c */
CUresult fk_device_get(CUdevice *device, int ordinal);
CUresult fk_device_count(int *count);
CUresult fk_device_name(char *name, int length, CUdevice device);
CUresult fk_device_uuid(CUuuid *uuid, CUdevice device);
CUresult fk_device_total(size_t *bytes, CUdevice device);
CUresult fk_device_attribute(int *value, CUdevice_attribute attribute, CUdevice device);
CUresult fk_device_properties(CUdevprop *properties, CUdevice device);
CUresult fk_device_capability(int *major, int *minor, CUdevice device);
CUresult fk_device_pci_id(char *text, int length, CUdevice device);
CUresult fk_device_by_pci_id(CUdevice *device, const char *text);
CUresult fk_device_can_access_peer(int *can, CUdevice device, CUdevice peer);
CUresult fk_device_p2p_attribute(int *value, CUdevice_P2PAttribute attribute, CUdevice from, CUdevice to);
CUresult fk_ctx_enable_peer(struct fk_call *call, CUcontext handle, unsigned int flags);
CUresult fk_ctx_disable_peer(struct fk_call *call, CUcontext handle);

/* context.c */
CUresult fk_ctx_create(CUcontext *handle, unsigned int flags, CUdevice device, unsigned int api_version);
CUresult fk_ctx_destroy(CUcontext handle);
CUresult fk_ctx_attach(struct fk_call *call, CUcontext *handle, unsigned int flags);
CUresult fk_ctx_detach(CUcontext handle);
CUresult fk_ctx_push(CUcontext handle);
CUresult fk_ctx_pop(CUcontext *handle);
CUresult fk_ctx_set(CUcontext handle);
CUresult fk_ctx_get(struct fk_call *call, CUcontext *handle);
CUresult fk_ctx_device(struct fk_call *call, CUdevice *device, CUcontext handle);
CUresult fk_ctx_synchronize(struct fk_call *call, CUcontext handle);
CUresult fk_ctx_api_version(struct fk_call *call, CUcontext handle, unsigned int *version);
CUresult fk_ctx_id(struct fk_call *call, CUcontext handle, unsigned long long *id);
CUresult fk_ctx_flags(struct fk_call *call, unsigned int *flags);
CUresult fk_ctx_set_flags(struct fk_call *call, unsigned int flags);
CUresult fk_ctx_limit(struct fk_call *call, size_t *value, CUlimit limit);
CUresult fk_ctx_set_limit(struct fk_call *call, CUlimit limit, size_t value);
CUresult fk_ctx_config(const int *setting, int *value);
CUresult fk_ctx_set_config(int *setting, int value, int last);
CUresult fk_ctx_priorities(int *least, int *greatest);

/* primary.c */
CUresult fk_primary_retain(CUcontext *handle, CUdevice device);
CUresult fk_primary_release(CUdevice device);
CUresult fk_primary_reset(CUdevice device);
CUresult fk_primary_set_flags(CUdevice device, unsigned int flags);
CUresult fk_primary_state(CUdevice device, unsigned int *flags, int *active);

/* memory.c, host.c, managed.c, pointer.c */
CUresult fk_mem_alloc(struct fk_call *call, CUdeviceptr *address, size_t size);
CUresult fk_mem_alloc_pitch(struct fk_call *call, CUdeviceptr *address, size_t *pitch, size_t width, size_t height,
			    unsigned int element);
CUresult fk_nothing_to_free(struct fk_call *call); /* the answer when an address to be freed is nobody's */
CUresult fk_mem_free(struct fk_call *call, CUdeviceptr address);
CUresult fk_mem_info(struct fk_call *call, size_t *free_bytes, size_t *total_bytes);
CUresult fk_mem_range(CUdeviceptr *base, size_t *size, CUdeviceptr address);
CUresult fk_ipc_get(CUipcMemHandle *handle, CUdeviceptr address);
CUresult fk_host_alloc(struct fk_call *call, void **address, size_t size, unsigned int flags);
CUresult fk_host_free(struct fk_call *call, void *address);
CUresult fk_host_register(struct fk_call *call, void *pointer, size_t size, unsigned int flags);
CUresult fk_host_unregister(struct fk_call *call, void *pointer);
CUresult fk_host_device_pointer(CUdeviceptr *address, void *pointer, unsigned int flags);
CUresult fk_host_flags(unsigned int *flags, void *pointer);
CUresult fk_managed_alloc(struct fk_call *call, CUdeviceptr *address, size_t size, unsigned int flags);
CUmemLocation fk_managed_location(CUdevice device); /* of the calls that still name a device, or CU_DEVICE_CPU */
CUresult fk_managed_advise(CUdeviceptr address, size_t size, CUmem_advise advice, CUmemLocation location);
CUresult fk_managed_prefetch(struct fk_call *call, CUdeviceptr address, size_t size, CUmemLocation location,
			     unsigned int flags, CUstream handle);
CUresult fk_managed_attribute(void *data, size_t size, CUmem_range_attribute attribute, CUdeviceptr address,
			      size_t count);
CUresult fk_managed_attributes(void **data, size_t *sizes, CUmem_range_attribute *attributes, size_t n,
			       CUdeviceptr address, size_t count);
CUresult fk_managed_attach(struct fk_call *call, CUstream handle, CUdeviceptr address, size_t size, unsigned int flags);
CUresult fk_pointer_attribute(struct fk_call *call, void *data, CUpointer_attribute attribute, CUdeviceptr address);
CUresult fk_pointer_attributes(struct fk_call *call, unsigned int count, CUpointer_attribute *attributes, void **data,
			       CUdeviceptr address);
CUresult fk_pointer_set(const void *value, CUpointer_attribute attribute, CUdeviceptr address);

/* copy.c, copy_rect.c */
struct fk_copy {
	uint64_t to, from, size;
	bool asynchronous, to_host, from_host;
};

struct fk_set {
	uint64_t to, pitch, width, height; /* width in elements */
	unsigned int value, element;    /* element: 1, 2 or 4 bytes */
	bool asynchronous;
};

CUresult fk_copy(struct fk_call *call, const struct fk_copy *copy, CUstream handle);
CUresult fk_copy_peer(struct fk_call *call, const struct fk_copy *copy, CUcontext to, CUcontext from, CUstream handle);
CUresult fk_set(struct fk_call *call, const struct fk_set *set, CUstream handle);
CUresult fk_copy_2d(struct fk_call *call, const CUDA_MEMCPY2D *copy, CUstream handle, bool asynchronous);
CUresult fk_copy_3d(struct fk_call *call, const CUDA_MEMCPY3D *copy, CUstream handle, bool asynchronous, bool peer);

/* vmm.c */
CUresult fk_vmm_reserve(CUdeviceptr *address, size_t size, size_t alignment, CUdeviceptr hint,
			unsigned long long flags);
CUresult fk_vmm_free_address(CUdeviceptr address, size_t size);
CUresult fk_vmm_granularity(size_t *granularity, const CUmemAllocationProp *properties, int option);
CUresult fk_vmm_create(CUmemGenericAllocationHandle *out, size_t size, const CUmemAllocationProp *properties,
		       unsigned long long flags);
CUresult fk_vmm_release(CUmemGenericAllocationHandle out);
CUresult fk_vmm_properties(CUmemAllocationProp *properties, CUmemGenericAllocationHandle out);
CUresult fk_vmm_retain(CUmemGenericAllocationHandle *out, void *address);
CUresult fk_vmm_map(CUdeviceptr address, size_t size, size_t offset, CUmemGenericAllocationHandle out,
		    unsigned long long flags);
CUresult fk_vmm_unmap(CUdeviceptr address, size_t size);
CUresult fk_vmm_set_access(CUdeviceptr address, size_t size, const CUmemAccessDesc *list, size_t count);
CUresult fk_vmm_export(void *shareable, CUmemGenericAllocationHandle handle, int type, unsigned long long flags);
CUresult fk_vmm_import(CUmemGenericAllocationHandle *out, void *shareable, int type);
CUresult fk_vmm_get_access(unsigned long long *flags, const CUmemLocation *location, CUdeviceptr address);

/* pool.c, pool_settings.c */
CUresult fk_pool_alloc_async(struct fk_call *call, CUdeviceptr *address, size_t size, CUmemoryPool handle,
			     CUstream stream, bool named);
CUresult fk_pool_free_async(struct fk_call *call, CUdeviceptr address, CUstream stream);
CUresult fk_pool_create(CUmemoryPool *handle, const CUmemPoolProps *properties);
CUresult fk_pool_destroy(CUmemoryPool handle);
CUresult fk_pool_get(CUmemoryPool *handle, CUdevice device, bool current);
CUresult fk_pool_set(CUdevice device, CUmemoryPool handle);
CUresult fk_pool_get_located(CUmemoryPool *handle, const CUmemLocation *location, CUmemAllocationType type,
			     bool current);
CUresult fk_pool_set_located(const CUmemLocation *location, CUmemAllocationType type, CUmemoryPool handle);
CUresult fk_pool_trim(CUmemoryPool handle, size_t keep);
CUresult fk_pool_attribute(CUmemoryPool handle, CUmemPool_attribute attribute, void *value, bool set);
CUresult fk_pool_set_access(CUmemoryPool handle, const CUmemAccessDesc *list, size_t count);
CUresult fk_pool_get_access(CUmemAccess_flags *flags, CUmemoryPool handle, const CUmemLocation *location);

/* stream.c, event.c */
enum fk_stream_question { FK_STREAM_PRIORITY, FK_STREAM_FLAGS, FK_STREAM_ID, FK_STREAM_CTX, FK_STREAM_DEVICE };

CUresult fk_stream_create(struct fk_call *call, CUstream *handle, unsigned int flags, int priority);
CUresult fk_stream_destroy(CUstream handle);
CUresult fk_stream_query(struct fk_call *call, CUstream handle);
CUresult fk_stream_synchronize(struct fk_call *call, CUstream handle);
CUresult fk_stream_add_host(struct fk_call *call, CUstream handle, CUhostFn function, CUstreamCallback callback,
			    void *data);
CUresult fk_stream_ask(struct fk_call *call, CUstream handle, enum fk_stream_question question, void *answer);
CUresult fk_stream_ctx_v2(struct fk_call *call, CUstream handle, CUcontext *ctx, CUgreenCtx *green);
CUresult fk_stream_wait_event(struct fk_call *call, CUstream stream, CUevent handle, unsigned int flags);
CUresult fk_event_create(struct fk_call *call, CUevent *handle, unsigned int flags);
CUresult fk_event_destroy(CUevent handle);
CUresult fk_event_record(struct fk_call *call, CUevent handle, CUstream stream, unsigned int flags);
CUresult fk_event_record_context(CUcontext handle, CUevent event_handle);
CUresult fk_event_query(CUevent handle);
CUresult fk_event_synchronize(CUevent handle);
CUresult fk_event_elapsed(float *milliseconds, CUevent start, CUevent end);

/* capture.c, graph.c */
struct fk_capture_answer {
	CUstreamCaptureStatus *status;
	cuuint64_t *id;
	CUgraph *graph;
	const CUgraphNode **dependencies;
	const CUgraphEdgeData **edges;
	size_t *count;
};

CUresult fk_capture_begin(struct fk_call *call, CUstream handle, CUgraph into, const CUgraphNode *dependencies,
			  size_t count, CUstreamCaptureMode mode);
CUresult fk_capture_end(struct fk_call *call, CUstream handle, CUgraph *graph);
CUresult fk_capture_info(struct fk_call *call, CUstream handle, const struct fk_capture_answer *answer);
CUresult fk_capture_update(struct fk_call *call, CUstream handle, const CUgraphNode *nodes, size_t count,
			   unsigned int flags);
CUresult fk_capture_exchange_mode(CUstreamCaptureMode *mode);
CUresult fk_graph_create(CUgraph *handle, unsigned int flags);
CUresult fk_graph_destroy(CUgraph handle);
CUresult fk_graph_nodes(CUgraph handle, CUgraphNode *nodes, size_t *count);
CUresult fk_graph_node_type(CUgraphNode handle, CUgraphNodeType *type);
CUresult fk_graph_add_empty(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies, size_t count);
CUresult fk_graph_add_host(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies, size_t count,
			   const CUDA_HOST_NODE_PARAMS *parameters);
CUresult fk_graph_instantiate(CUgraphExec *handle, CUgraph graph, unsigned long long flags);
CUresult fk_graph_instantiate_logged(CUgraphExec *handle, CUgraph graph, CUgraphNode *error_node, char *log,
				     size_t size);
CUresult fk_graph_instantiate_params(CUgraphExec *handle, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *parameters);
CUresult fk_graph_exec_destroy(CUgraphExec handle);
CUresult fk_graph_launch(struct fk_call *call, CUgraphExec handle, CUstream stream);
CUresult fk_graph_upload(struct fk_call *call, CUgraphExec handle, CUstream stream);

#endif
