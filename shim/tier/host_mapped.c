/* Host memory that the device reads and writes in place, over the link: ordinary anonymous memory of this process, which
 * the driver pins and maps (cuMemHostRegister).
 *
 * Registered rather than taken from cuMemHostAlloc, because then the pages are the process' own in the kernel's eyes: they
 * count in its memory cgroup and in what the OOM killer knows about it. They are pinned in pieces of at most 1 GiB: one
 * registration of 512 GiB and more has been seen to fail, and one of 700 GB to block other processes for minutes.
 * A copy may then reach over two registrations; the self-test says whether the driver allows it, and if not a block is
 * registered in one piece. */
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "driver/driver.h"
#include "tier/tier.h"

#define PIECE_BYTES_MAX (UINT64_C(1) << 30)
#define WHOLE UINT64_MAX

static _Atomic uint64_t piece_bytes[GB_DEVICES_MAX]; /* PIECE_BYTES_MAX or WHOLE, once tested */

static size_t mapping_bytes(uint64_t size)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	return (size_t)((size + page - 1) / page * page);
}

/* Pieces are of one size but the last; block->progress counts those registered. */
static uint64_t piece_start(uint32_t index, uint64_t piece)
{
	return index * (piece == WHOLE ? 0 : piece);
}

static CUresult unregister_pieces(struct gb_block *block, uint64_t piece)
{
	while (block->progress > 0) {
		char *start = (char *)(uintptr_t)block->base + piece_start(block->progress - 1, piece);
		CUresult result = gb_driver()->cuMemHostUnregister(start);
		/* Not registered: its context ended before it did. */
		if (result && result != CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED)
			return result;
		block->progress--;
	}
	return CUDA_SUCCESS;
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; unknown to older headers */
#endif

/* Makes every page exist now: what was granted is then taken, and the kernel's figures show it. Pinning would do the
 * same, but answers a shortage in its own way; here it is "no". */
static CUresult populate(char *start, size_t bytes)
{
	if (!madvise(start, bytes, MADV_POPULATE_WRITE))
		return CUDA_SUCCESS;
	return errno == EINVAL ? gb_tier_touch((CUdeviceptr)(uintptr_t)start, bytes) : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult register_pieces(struct gb_block *block, size_t mapped, uint64_t piece)
{
	const struct gb_driver *driver = gb_driver();

	for (uint64_t done = 0; done < mapped; block->progress++) {
		char *start = (char *)(uintptr_t)block->base + done;
		size_t bytes = (size_t)(mapped - done < piece ? mapped - done : piece);
		CUdeviceptr seen = 0;
		CUresult result = populate(start, bytes);
		if (!result)
			result = driver->cuMemHostRegister_v2(
				start, bytes, CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP);
		if (result)
			return result;
		result = driver->cuMemHostGetDevicePointer_v2(&seen, start, 0);
		if (result || seen != (CUdeviceptr)(uintptr_t)start) {
			GB_INSIST(driver->cuMemHostUnregister(start));
			return result ? result : CUDA_ERROR_NOT_SUPPORTED;
		}
		done += bytes;
	}
	return CUDA_SUCCESS;
}

static CUresult allocate_pieces(struct gb_block *block, uint64_t piece)
{
	size_t mapped = mapping_bytes(block->size);
	void *memory = mapped < block->size
			       ? MAP_FAILED
			       : mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return CUDA_ERROR_OUT_OF_MEMORY;
	/* Fewer, larger pages make fewer entries for the device to look up. A child has no business with device memory, and
	 * copying pinned pages into it at fork would double them. A core dump would not hold VRAM either. */
	madvise(memory, mapped, MADV_HUGEPAGE);
	madvise(memory, mapped, MADV_DONTFORK);
	madvise(memory, mapped, MADV_DONTDUMP);
	block->base = (CUdeviceptr)(uintptr_t)memory;
	block->progress = 0;
	CUresult result = register_pieces(block, mapped, piece);
	if (!result)
		return CUDA_SUCCESS;
	CUresult undone = unregister_pieces(block, piece);
	if (undone)
		gb_log(GB_LOG_WARN, "host_mapped", "%zu bytes stay pinned: cuMemHostUnregister answered %d", mapped,
		       undone);
	else
		munmap(memory, mapped);
	return result;
}

static CUresult allocate(struct gb_block *block, struct gb_call *call)
{
	(void)call;
	return allocate_pieces(block, atomic_load_explicit(&piece_bytes[block->device], memory_order_relaxed));
}

static CUresult release_pieces(struct gb_block *block, uint64_t piece)
{
	CUresult result = unregister_pieces(block, piece);

	if (!result)
		munmap((void *)(uintptr_t)block->base, mapping_bytes(block->size));
	return result;
}

static CUresult release(struct gb_block *block)
{
	return release_pieces(block, atomic_load_explicit(&piece_bytes[block->device], memory_order_relaxed));
}

static void abandon(struct gb_block *block)
{
	/* Whether the driver forgot the registrations with the context is not documented. If it did not, other memory at these
	 * addresses would be taken for the old: so the pages go, and the addresses stay reserved. */
	mmap((void *)(uintptr_t)block->base, mapping_bytes(block->size), PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static bool try_pieces(CUdevice device, size_t size, uint64_t piece)
{
	struct gb_block block = {.size = size, .device = (uint8_t)device};

	if (allocate_pieces(&block, piece))
		return false;
	bool passed = gb_tier_exercise(block.base, size);
	return GB_INSIST(release_pieces(&block, piece)) == CUDA_SUCCESS && passed;
}

static const char *why_not(CUdevice device)
{
	const size_t piece = mapping_bytes(UINT64_C(64) << 10);
	int same_address = 0;

	if (gb_driver()->cuDeviceGetAttribute(&same_address,
					      CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM, device) ||
	    !same_address)
		return "registered memory has another address on the device";
	if (try_pieces(device, 2 * piece, piece)) {
		atomic_store_explicit(&piece_bytes[device], PIECE_BYTES_MAX, memory_order_relaxed);
		return NULL;
	}
	atomic_store_explicit(&piece_bytes[device], WHOLE, memory_order_relaxed);
	return try_pieces(device, 2 * piece, WHOLE) ? NULL
						    : "cuMemHostRegister failed, or the device does not reach it";
}

const struct gb_tier_ops gb_tier_host_mapped = {"host_mapped", why_not, allocate, release, abandon, gb_tier_share_host};
