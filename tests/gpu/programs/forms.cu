// Every form in which the CUDA runtime allocates, each past the end of VRAM, used by kernels, copies and memsets.
//
// usage: forms LIMIT_BYTES all|oom
//
// all: each form takes twice LIMIT in four blocks, one of them larger than LIMIT (managed memory: 64 MiB at most), and
//      prints "digest FORM HEX" of what the GPU made of them; "pause held FORM" and "pause freed FORM" let the test
//      look.
// oom: takes twice LIMIT and must be told cudaErrorMemoryAllocation, as often as it asks.
// Build with -cudart shared and static, and each with --default-stream legacy and per-thread.
#include <cstring>

#include "check.cuh"

static size_t limit;
static cudaStream_t stream;
static cudaMemPool_t pool;
static __device__ unsigned long long sum_on_device;

struct form {
	const char *name;
	view (*allocate)(size_t size);
	void (*release)(const view &block);
	bool managed;
};

static view plain(void *base, size_t size)
{
	return view{(char *)base, size, size / 8, 1};
}

static view by_malloc(size_t size)
{
	void *base;

	DO(cudaMalloc(&base, size));
	return plain(base, size);
}

static view by_pitch(size_t size)
{
	view block = {};

	block.words = 1001;
	block.rows = size / 8 / block.words;
	DO(cudaMallocPitch((void **)&block.base, &block.pitch, block.words * 8, block.rows));
	return block;
}

static view by_3d(size_t size)
{
	cudaPitchedPtr at;
	size_t depth = 16;
	size_t rows = size / 8 / 1001 / depth;

	DO(cudaMalloc3D(&at, make_cudaExtent(1001 * 8, rows, depth)));
	return view{(char *)at.ptr, at.pitch, 1001, rows * depth};
}

static view by_async(size_t size)
{
	void *base;

	DO(cudaMallocAsync(&base, size, stream));
	return plain(base, size);
}

// On the default stream, which is the legacy or the per-thread one as this is compiled.
static view by_async_default(size_t size)
{
	void *base;

	DO(cudaMallocAsync(&base, size, 0));
	return plain(base, size);
}

static view by_pool(size_t size)
{
	void *base;

	DO(cudaMallocFromPoolAsync(&base, size, pool, stream));
	return plain(base, size);
}

static view by_managed(size_t size)
{
	void *base;

	DO(cudaMallocManaged(&base, size, cudaMemAttachGlobal));
	return plain(base, size);
}

static void free_plain(const view &block)
{
	DO(cudaFree(block.base));
}

static void free_async(const view &block)
{
	DO(cudaFreeAsync(block.base, stream));
}

static void free_async_default(const view &block)
{
	DO(cudaFreeAsync(block.base, 0));
}

static const form forms[] = {
	{"malloc", by_malloc, free_plain, false},
	{"pitch", by_pitch, free_plain, false},
	{"3d", by_3d, free_plain, false},
	{"async", by_async, free_async, false},
	{"async_default", by_async_default, free_async_default, false},
	{"async_freed_plainly", by_async, free_plain, false},
	{"pool", by_pool, free_async, false},
	{"managed", by_managed, free_plain, true},
};

static void check_block(const view &block)
{
	cudaPointerAttributes attributes;
	size_t free_bytes, total_bytes;

	DO(cudaPointerGetAttributes(&attributes, block.base + block.pitch * block.rows / 2));
	check(attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged, "it is the device's");
	check(attributes.device == 0, "the pointer is device 0's");
	check(attributes.devicePointer == block.base + block.pitch * block.rows / 2, "the device pointer is the pointer");
	DO(cudaMemGetInfo(&free_bytes, &total_bytes));
	check(free_bytes <= total_bytes, "free <= total");
}

static unsigned long long *sum_address()
{
	void *at;

	DO(cudaGetSymbolAddress(&at, sum_on_device));
	return (unsigned long long *)at;
}

static uint64_t sum_of(const view &block, cudaStream_t on)
{
	unsigned long long *sum = sum_address();
	unsigned long long host = 0;

	DO(cudaMemsetAsync(sum, 0, 8, on));
	sum_kernel<<<512, 256, 0, on>>>(block, sum);
	DO(cudaGetLastError());
	DO(cudaMemcpyAsync(&host, sum, 8, cudaMemcpyDeviceToHost, on));
	DO(cudaStreamSynchronize(on));
	return host;
}

// Kernels, copies and memsets over the blocks; a digest of all of it.
static uint64_t use(const std::vector<view> &blocks, cudaStream_t on)
{
	const view &last = blocks.back();
	const view &first = blocks.front();
	size_t row = first.words * 8 < last.words * 8 ? first.words * 8 : last.words * 8;
	std::vector<unsigned char> host(row < (1 << 20) ? row : 1 << 20);
	uint64_t digest = 0xcbf29ce484222325u;

	for (size_t i = 0; i < blocks.size(); i++)
		fill_kernel<<<512, 256, 0, on>>>(blocks[i], 1000 * i);
	for (size_t i = 1; i < blocks.size(); i++)
		combine_kernel<<<512, 256, 0, on>>>(blocks[i], blocks[i - 1]);
	DO(cudaGetLastError());
	for (const view &block : blocks) {
		uint64_t part = sum_of(block, on);

		digest = digest_of(digest, &part, sizeof part);
	}
	DO(cudaMemcpyAsync(last.base, first.base, row, cudaMemcpyDeviceToDevice, on));
	if (last.rows > 1)
		DO(cudaMemset2DAsync(last.base + last.pitch * (last.rows / 2), last.pitch, 0x5a, row / 2, last.rows / 2, on));
	else
		DO(cudaMemsetAsync(last.base + row / 2, 0x5a, row / 4, on));
	DO(cudaMemsetAsync(last.base, 0, 1000 * 8, on));
	histogram_kernel<<<512, 256, 0, on>>>(last, blocks[blocks.size() - 2], 1000, 1 << 20);
	DO(cudaGetLastError());
	for (const view &block : {last, first}) {
		uint64_t part = sum_of(block, on);

		digest = digest_of(digest, &part, sizeof part);
		DO(cudaMemcpyAsync(host.data(), block.base, host.size(), cudaMemcpyDeviceToHost, on));
		DO(cudaStreamSynchronize(on));
		digest = digest_of(digest, host.data(), host.size());
	}
	return digest;
}

static std::vector<size_t> sizes(size_t total)
{
	size_t large = total / 2 + total / 16;

	return {total / 8, total / 8 + 12344, large / 8 * 8, (total - total / 4 - 12344 - large) / 8 * 8};
}

static void trim()
{
	cudaMemPool_t own;

	DO(cudaDeviceSynchronize());
	DO(cudaDeviceGetDefaultMemPool(&own, 0));
	DO(cudaMemPoolTrimTo(own, 0));
	DO(cudaMemPoolTrimTo(pool, 0));
}

static void run(const form &f)
{
	std::vector<view> blocks;
	size_t total = f.managed && 2 * limit > (64 << 20) ? 64 << 20 : 2 * limit;
	cudaStream_t on = f.allocate == by_async || f.allocate == by_pool ? stream : 0;

	for (size_t size : sizes(total))
		blocks.push_back(f.allocate(size));
	check(cudaGetLastError() == cudaSuccess, "no error is left behind");
	for (const view &block : blocks)
		check_block(block);
	print_digest(f.name, use(blocks, on));
	pause(f.managed ? "managed" : "held", f.name);
	f.release(blocks[1]);
	f.release(blocks[3]);
	f.release(blocks[0]);
	f.release(blocks[2]);
	trim();
	pause("freed", f.name);
}

// A graph over blocks past the end of VRAM, with an allocation while it is captured, replayed.
static void graph()
{
	view a = by_malloc(limit / 8 * 8);
	view b = by_malloc(limit / 8 * 8);
	cudaGraph_t captured;
	cudaGraphExec_t exec;
	void *inside = nullptr;
	uint64_t digest = 0xcbf29ce484222325u;

	fill_kernel<<<512, 256, 0, stream>>>(a, 1);
	fill_kernel<<<512, 256, 0, stream>>>(b, 2);
	DO(cudaStreamSynchronize(stream));
	DO(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
	combine_kernel<<<512, 256, 0, stream>>>(a, b);
	DO(cudaMalloc(&inside, 1 << 20));
	DO(cudaMemcpyAsync(inside, a.base, 1 << 20, cudaMemcpyDeviceToDevice, stream));
	DO(cudaMemcpyAsync(b.base, inside, 1 << 20, cudaMemcpyDeviceToDevice, stream));
	DO(cudaStreamEndCapture(stream, &captured));
	DO(cudaGraphInstantiateWithFlags(&exec, captured, 0));
	for (int i = 0; i < 3; i++) {
		uint64_t part;

		DO(cudaGraphLaunch(exec, stream));
		part = sum_of(a, stream) * 31 + sum_of(b, stream);
		digest = digest_of(digest, &part, sizeof part);
	}
	DO(cudaGraphExecDestroy(exec));
	DO(cudaGraphDestroy(captured));
	print_digest("graph", digest);
	pause("held", "graph");
	DO(cudaFree(inside));
	free_plain(a);
	free_plain(b);
	trim();
	pause("freed", "graph");
}

// cudaFree waits for work in flight: a kernel that has not read the block yet.
static void free_in_flight()
{
	unsigned long long *sum = sum_address();
	unsigned long long host = 0;
	int clock_khz = 0;

	if (cudaDeviceGetAttribute(&clock_khz, cudaDevAttrClockRate, 0) != cudaSuccess || clock_khz <= 0)
		clock_khz = 1500000;
	for (int i = 0; i < 2; i++) {
		view block = by_malloc((limit + limit / 4) / 8 * 8);

		fill_kernel<<<512, 256, 0, stream>>>(block, 7);
		DO(cudaMemsetAsync(sum, 0, 8, stream));
		late_sum_kernel<<<64, 256, 0, stream>>>(block, sum, clock_khz * 50ll);
		DO(cudaGetLastError());
		free_plain(block);
		DO(cudaMemcpyAsync(&host, sum, 8, cudaMemcpyDeviceToHost, stream));
		DO(cudaStreamSynchronize(stream));
		print_digest("free_in_flight", host);
	}
	trim();
	pause("freed", "free_in_flight");
}

// The same for cudaFreeAsync: queued behind the kernel, and the next block behind that.
static void reuse_in_order()
{
	unsigned long long *sum = sum_address();
	uint64_t digest = 0;

	for (int i = 0; i < 3; i++) {
		view block = by_async((limit + limit / 4) / 8 * 8);

		fill_kernel<<<512, 256, 0, stream>>>(block, 100 + i);
		DO(cudaMemsetAsync(sum, 0, 8, stream));
		sum_kernel<<<512, 256, 0, stream>>>(block, sum);
		free_async(block);
		block = by_async((limit + limit / 4) / 8 * 8);
		DO(cudaMemsetAsync(block.base, 0xff, limit, stream));
		DO(cudaMemcpyAsync(&digest, sum, 8, cudaMemcpyDeviceToHost, stream));
		DO(cudaStreamSynchronize(stream));
		print_digest("reuse_in_order", digest);
		free_async(block);
	}
	trim();
	pause("freed", "reuse_in_order");
}

// What cannot be served is refused with 2 and leaves nothing behind; legacy IPC of a block in host memory is an answer,
// no crash.
static void refusals()
{
	void *at = (void *)0x5a5a;
	cudaIpcMemHandle_t handle;
	cudaError_t error;
	view block;

	check(cudaMalloc(&at, (size_t)1 << 60) == cudaErrorMemoryAllocation, "an exbibyte is out of memory");
	check(cudaGetLastError() == cudaErrorMemoryAllocation, "the error is the last error");
	check(cudaGetLastError() == cudaSuccess, "once");
	DO(cudaFree(nullptr));
	block = by_malloc(limit + limit / 4);
	error = cudaIpcGetMemHandle(&handle, block.base);
	printf("info legacy IPC of a block larger than the limit: %s\n", cudaGetErrorName(error));
	cudaGetLastError();
	free_plain(block);
	pause("freed", "refusals");
}

// cudaDeviceReset with live blocks, and on after it.
static void reset()
{
	for (size_t size : sizes(2 * limit))
		fill_kernel<<<512, 256>>>(by_malloc(size), 5);
	DO(cudaDeviceSynchronize());
	pause("held", "reset");
	DO(cudaDeviceReset());
	pause("freed", "reset");
	view block = by_malloc((limit + limit / 8) / 8 * 8);
	fill_kernel<<<512, 256>>>(block, 6);
	print_digest("after_reset", sum_of(block, 0));
	free_plain(block);
	pause("freed", "after_reset");
}

static int oom()
{
	std::vector<void *> blocks;
	cudaError_t error = cudaSuccess;
	void *at;
	for (size_t taken = 0; taken < 2 * limit; taken += limit / 8) {
		error = cudaMalloc(&at, limit / 8);
		if (error != cudaSuccess)
			break;
		blocks.push_back(at);
	}
	check(error == cudaErrorMemoryAllocation, "twice the limit is refused with cudaErrorMemoryAllocation");
	check(cudaMalloc(&at, limit / 8) == cudaErrorMemoryAllocation, "and again");
	cudaGetLastError();
	for (void *block : blocks)
		DO(cudaFree(block));
	pause("freed", "oom");
	puts("ok");
	return 0;
}

int main(int argc, char **argv)
{
	cudaMemPoolProps props;

	if (argc != 3 || (strcmp(argv[2], "all") != 0 && strcmp(argv[2], "oom") != 0)) {
		fputs("usage: forms LIMIT_BYTES all|oom\n", stderr);
		return 2;
	}
	limit = strtoull(argv[1], nullptr, 0) / 4096 * 4096;
	if (strcmp(argv[2], "oom") == 0)
		return oom();
	memset(&props, 0, sizeof props);
	props.allocType = cudaMemAllocationTypePinned;
	props.location.type = cudaMemLocationTypeDevice;
	props.location.id = 0;
	DO(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
	DO(cudaMemPoolCreate(&pool, &props));
	for (const form &f : forms)
		run(f);
	graph();
	free_in_flight();
	reuse_in_order();
	refusals();
	DO(cudaMemPoolDestroy(pool));
	reset();
	puts("ok");
	return 0;
}
