#include "model.h"

#include "entry.h"
#include "model_pages.h"
#include "vmm.h"

/* As many pieces as the largest window has, of whole size. More small ones count as a full window. */
#define FK_MODEL_PIECES (FK_MODEL_WINDOW_MAX / FK_MODEL_PIECE)

struct piece {
	double done; /* ns after the kernel's start */
	uint64_t bytes;
};

/* One of the three, and what it has not delivered yet: a ring, in the order in which it will. */
struct server {
	double free_at;
	struct piece pieces[FK_MODEL_PIECES];
	uint64_t first, count;
};

struct kernel {
	double now, end;
	uint64_t in_flight, capacity; /* bytes; pages */
	uint64_t page_id, page;       /* the managed page that the last piece was in: block and number */
	double page_done;             /* when it is, or was, in VRAM */
};

static struct server servers[FK_MODEL_SERVERS]; /* empty between kernels */
static struct fakecuda_model figures;

/* The server that delivers its next piece before the others; NULL: nothing is in flight. */
static struct server *next_to_deliver(void)
{
	struct server *first = NULL;

	for (int i = 0; i < FK_MODEL_SERVERS; i++) {
		struct server *server = &servers[i];

		if (server->count && (!first || server->pieces[server->first].done < first->pieces[first->first].done))
			first = server;
	}
	return first;
}

static void deliver(struct kernel *kernel, struct server *server)
{
	const struct piece *piece = &server->pieces[server->first];

	if (piece->done > kernel->now)
		kernel->now = piece->done;
	kernel->in_flight -= piece->bytes;
	server->first = (server->first + 1) % FK_MODEL_PIECES;
	server->count--;
}

/* Lets time pass until the window has room. A piece larger than the window has it for itself. */
static void wait_for_room(struct kernel *kernel, uint64_t bytes)
{
	struct server *server;

	while (kernel->in_flight + bytes > fk_config.model_window_bytes && (server = next_to_deliver()))
		deliver(kernel, server);
}

/* When a server that begins with `bytes` now, or as soon as it is free, is done with them. */
static double serve(enum fk_model_server which, uint64_t bytes, double now)
{
	struct server *server = &servers[which];
	double took = (double)bytes / fk_config.model_gbps[which]; /* 1 GB/s is a byte a nanosecond */

	server->free_at = (server->free_at > now ? server->free_at : now) + took;
	figures.bytes[which] += bytes;
	figures.busy_ns[which] += took;
	return server->free_at;
}

static void put_in_flight(struct kernel *kernel, enum fk_model_server which, uint64_t bytes, double done)
{
	struct server *server = &servers[which];

	while (server->count == FK_MODEL_PIECES)
		deliver(kernel, next_to_deliver());
	server->pieces[(server->first + server->count++) % FK_MODEL_PIECES] = (struct piece){done, bytes};
	kernel->in_flight += bytes;
	if (done > kernel->end)
		kernel->end = done;
}

/* A piece of managed memory without advice. What reads a page that is on its way waits for the whole page; its bytes
 * are not charged to VRAM again. */
static CUresult read_managed(struct kernel *kernel, const struct fk_block *block, uint64_t offset, uint64_t bytes)
{
	uint64_t number = offset / FK_MODEL_PAGE, page_bytes = block->charge - number * FK_MODEL_PAGE;

	if (page_bytes > FK_MODEL_PAGE)
		page_bytes = FK_MODEL_PAGE;
	if (kernel->page_id != block->id || kernel->page != number) {
		switch (fk_model_page_use(block, number, kernel->capacity, &figures.pages_evicted)) {
		case FK_PAGE_FAILED:
			return CUDA_ERROR_OUT_OF_MEMORY;
		case FK_PAGE_MISSED:
			figures.pages_missed++;
			kernel->page_done = serve(FK_MODEL_FAULT, page_bytes, kernel->now);
			break;
		case FK_PAGE_HIT:
			figures.pages_hit++;
			kernel->page_done = 0;
			break;
		}
		kernel->page_id = block->id;
		kernel->page = number;
	}
	if (kernel->page_done > 0)
		put_in_flight(kernel, FK_MODEL_FAULT, bytes, kernel->page_done);
	else
		put_in_flight(kernel, FK_MODEL_DEVICE, bytes, serve(FK_MODEL_DEVICE, bytes, kernel->now));
	return CUDA_SUCCESS;
}

/* Where a block's bytes are read; FAULT: managed memory that migrates. */
static enum fk_model_server server_of(const struct fk_block *block, int device)
{
	const struct fk_managed *managed = (const struct fk_managed *)(const void *)block;

	switch (block->kind) {
	case FK_KIND_HOST:
	case FK_KIND_REGISTERED:
	case FK_KIND_ALIAS:
		return FK_MODEL_LINK;
	case FK_KIND_VMM:
		return ((const struct fk_mapping *)(const void *)block)->handle->on_host ? FK_MODEL_LINK
											 : FK_MODEL_DEVICE;
	case FK_KIND_MANAGED:
		if (fk_has(FK_CAP_no_managed)) /* all of it is charged to the card, and there it is */
			return FK_MODEL_DEVICE;
		return managed->preferred.type != CU_MEM_LOCATION_TYPE_INVALID &&
				       managed->preferred.type != CU_MEM_LOCATION_TYPE_DEVICE &&
				       managed->accessed_by & 1u << device
			       ? FK_MODEL_LINK
			       : FK_MODEL_FAULT;
	default:
		return FK_MODEL_DEVICE;
	}
}

/* Up to the end of a piece, of the block or of the range: whichever is first. */
static uint64_t piece_at(const struct fk_block *block, uint64_t address, uint64_t end)
{
	uint64_t offset = address - fk_block_address(block), bytes = FK_MODEL_PIECE - offset % FK_MODEL_PIECE;

	if (bytes > block->size - offset)
		bytes = block->size - offset;
	return bytes < end - address ? bytes : end - address;
}

static CUresult check(uint64_t address, uint64_t size, int device)
{
	uint64_t end = address + size, run;

	if (!size || end < address)
		return CUDA_ERROR_INVALID_VALUE;
	for (; address < end; address += run < end - address ? run : end - address)
		if (!fk_block_at(address) || !fk_block_reach(address, device, FK_USE_KERNEL, &run))
			return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

static uint64_t pages_that_fit(int device)
{
	uint64_t pages = (fk_config.vram_bytes - fk.devices[device].used_bytes) / FK_MODEL_PAGE;

	return pages ? pages : 1; /* the one that is being read */
}

static CUresult run(uint64_t address, uint64_t size, int device)
{
	uint64_t end = address + size;
	struct kernel kernel = {.capacity = pages_that_fit(device)};
	CUresult result = CUDA_SUCCESS;
	struct server *server;

	fk_model_pages_settle(kernel.capacity, &figures.pages_evicted);
	while (address < end && result == CUDA_SUCCESS) {
		const struct fk_block *block = fk_block_at(address);
		uint64_t bytes = piece_at(block, address, end);
		enum fk_model_server which = server_of(block, device);

		wait_for_room(&kernel, bytes);
		if (which == FK_MODEL_FAULT)
			result = read_managed(&kernel, block, address - fk_block_address(block), bytes);
		else
			put_in_flight(&kernel, which, bytes, serve(which, bytes, kernel.now));
		address += bytes;
	}
	while ((server = next_to_deliver()))
		deliver(&kernel, server);
	for (int i = 0; i < FK_MODEL_SERVERS; i++)
		servers[i].free_at = 0;
	figures.ns += kernel.end;
	figures.kernels++;
	return result;
}

/* No row in fake_driver.def, and so not through the entry: these are no calls of CUDA's. */
__attribute__((visibility("default"))) CUresult fakecuda_model_read(CUdeviceptr base, size_t size)
{
	struct fk_ctx *ctx = fk_thread.depth ? fk_thread.stack[fk_thread.depth - 1] : NULL;
	CUresult result;

	if (atomic_load(&fk.life) != FK_READY)
		return CUDA_ERROR_NOT_INITIALIZED;
	pthread_mutex_lock(&fk.lock);
	result = fk_usable(ctx);
	if (result == CUDA_SUCCESS)
		result = check(base, size, ctx->device);
	if (result == CUDA_SUCCESS)
		result = run(base, size, ctx->device);
	pthread_mutex_unlock(&fk.lock);
	return result;
}

__attribute__((visibility("default"))) CUresult fakecuda_model_result(struct fakecuda_model *out)
{
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&fk.lock);
	*out = figures;
	pthread_mutex_unlock(&fk.lock);
	return CUDA_SUCCESS;
}

__attribute__((visibility("default"))) CUresult fakecuda_model_reset(void)
{
	pthread_mutex_lock(&fk.lock);
	figures = (struct fakecuda_model){0};
	pthread_mutex_unlock(&fk.lock);
	return CUDA_SUCCESS;
}
