/* Handles as file descriptors: a small file that says which handle of which process is meant. See README.md. */
#include <sys/mman.h>
#include <unistd.h>

#include "api.h"
#include "vmm.h"

#define TOKEN_MAGIC 0x464b5348u

struct token {
	unsigned int magic;
	int pid;
	CUmemGenericAllocationHandle handle;
};

CUresult fk_vmm_export(void *shareable, CUmemGenericAllocationHandle out, int type, unsigned long long flags)
{
	struct fk_vmm_handle *handle = fk_vmm_find(out);
	struct token token = {TOKEN_MAGIC, (int)getpid(), out};
	int file;

	if (!handle || !shareable || flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR || !fk_has(FK_CAP_posix_fd))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!(handle->properties.requestedHandleTypes & type))
		return CUDA_ERROR_INVALID_VALUE; /* it has to be asked for when the handle is created */
	file = memfd_create("fakecuda-handle", MFD_CLOEXEC);
	if (file < 0)
		return CUDA_ERROR_OPERATING_SYSTEM;
	if (write(file, &token, sizeof(token)) != (ssize_t)sizeof(token)) {
		close(file);
		return CUDA_ERROR_OPERATING_SYSTEM;
	}
	*(int *)shareable = file;
	return CUDA_SUCCESS;
}

CUresult fk_vmm_import(CUmemGenericAllocationHandle *out, void *shareable, int type)
{
	struct fk_vmm_handle *handle;
	struct token token;

	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR || !fk_has(FK_CAP_posix_fd))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (pread((int)(intptr_t)shareable, &token, sizeof(token), 0) != (ssize_t)sizeof(token) ||
	    token.magic != TOKEN_MAGIC)
		return CUDA_ERROR_INVALID_VALUE;
	if (token.pid != (int)getpid())
		return CUDA_ERROR_NOT_SUPPORTED;
	handle = fk_vmm_find(token.handle);
	if (!handle)
		return CUDA_ERROR_INVALID_VALUE;
	handle->references++;
	*out = token.handle;
	return CUDA_SUCCESS;
}
