// What memory gives a program: kernels that read and write its blocks once, in order, and copies both ways.
//
// usage: sweep malloc|pinned BLOCKS BLOCK_BYTES [again] [write] [copy]
//
// malloc: by cudaMalloc. pinned: by cudaHostAlloc, read and written in place.
// again: allocate and free everything once before, so that what happens once a process is not in the figures.
// Prints a figure a line, NAME VALUE, times in milliseconds: the median over the passes, one pass being all blocks. Every
// block's contents are checked. "pause held sweep" lets the caller look. BLOCK_BYTES: a multiple of 32 KiB.
//
// A kernel has as many thread blocks as the card runs at once. Each takes the next 32 KiB when it is done with its own, so
// that the range is read in order, whatever one part of it takes: the bytes in flight are a window that moves on.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "check.cuh"

enum { THREADS = 256, LOADS = 8, BLOCKS_MAX = 256, PASSES_MIN = 3, PASSES_MAX = 15 };
static const size_t TILE = (size_t)THREADS * LOADS * sizeof(uint4);
static const size_t STAGE = (size_t)64 << 20;
static const double PASSES_MS = 400;

// Not from the program's own allocations: those are what is measured.
static __device__ unsigned long long next_tile[BLOCKS_MAX], sums[BLOCKS_MAX];

static bool pinned;
static size_t block_bytes;
static std::vector<uint4 *> blocks;
static int grid;

// Calls each(i) for all i below count that are this thread's, tile by tile, in the order in which tiles are asked for.
template <typename Each> static __device__ void in_order(int block, size_t tiles, Each each)
{
	__shared__ unsigned long long taken[2];

	if (threadIdx.x == 0)
		taken[0] = atomicAdd(&next_tile[block], 1ull);
	__syncthreads();
	for (int turn = 0; taken[turn] < tiles; turn ^= 1) {
		size_t first = taken[turn] * (THREADS * LOADS) + threadIdx.x;

		if (threadIdx.x == 0)
			taken[turn ^ 1] = atomicAdd(&next_tile[block], 1ull);
		each(first);
		__syncthreads();
	}
}

static __global__ void __launch_bounds__(THREADS) read_kernel(const uint4 *from, size_t tiles, int block)
{
	__shared__ unsigned long long sum;
	unsigned long long own = 0;

	if (threadIdx.x == 0)
		sum = 0;
	in_order(block, tiles, [&](size_t first) {
		uint4 values[LOADS];

#pragma unroll
		for (int i = 0; i < LOADS; i++)
			values[i] = from[first + i * THREADS];
#pragma unroll
		for (int i = 0; i < LOADS; i++)
			own += (unsigned long long)values[i].x + values[i].y + values[i].z + values[i].w;
	});
	for (int lanes = 16; lanes; lanes /= 2)
		own += __shfl_down_sync(0xffffffffu, own, lanes);
	if (threadIdx.x % 32 == 0)
		atomicAdd(&sum, own);
	__syncthreads();
	if (threadIdx.x == 0)
		atomicAdd(&sums[block], sum);
}

static __global__ void __launch_bounds__(THREADS) write_kernel(uint4 *to, size_t tiles, int block)
{
	in_order(block, tiles, [&](size_t first) {
#pragma unroll
		for (int i = 0; i < LOADS; i++) {
			size_t at = first + i * THREADS;

			to[at] = make_uint4((unsigned)at, (unsigned)block, 0, 1);
		}
	});
}

static double now_ms()
{
	return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static void zero(unsigned long long *symbol_address)
{
	DO(cudaMemset(symbol_address, 0, sizeof next_tile));
}

static unsigned long long *address_of(const unsigned long long (&symbol)[BLOCKS_MAX])
{
	void *at;

	DO(cudaGetSymbolAddress(&at, symbol));
	return (unsigned long long *)at;
}

static void read_all()
{
	for (size_t i = 0; i < blocks.size(); i++)
		read_kernel<<<grid, THREADS>>>(blocks[i], block_bytes / TILE, (int)i);
}

static void write_all()
{
	for (size_t i = 0; i < blocks.size(); i++)
		write_kernel<<<grid, THREADS>>>(blocks[i], block_bytes / TILE, (int)i);
}

static unsigned char *stage;

static void copy_all(bool to)
{
	for (uint4 *block : blocks) {
		for (size_t at = 0; at < block_bytes; at += STAGE) {
			char *there = (char *)block + at;
			size_t size = std::min(STAGE, block_bytes - at);

			if (to)
				DO(cudaMemcpyAsync(there, stage, size, cudaMemcpyDefault));
			else
				DO(cudaMemcpyAsync(stage, there, size, cudaMemcpyDefault));
		}
	}
}

static void copy_to()
{
	copy_all(true);
}

static void copy_from()
{
	copy_all(false);
}

static double one_pass(void (*pass)())
{
	static cudaEvent_t from, to;
	float ms;

	if (!from) {
		DO(cudaEventCreate(&from));
		DO(cudaEventCreate(&to));
	}
	zero(address_of(next_tile));
	zero(address_of(sums));
	DO(cudaDeviceSynchronize());
	DO(cudaEventRecord(from));
	pass();
	DO(cudaGetLastError());
	DO(cudaEventRecord(to));
	DO(cudaEventSynchronize(to));
	DO(cudaEventElapsedTime(&ms, from, to));
	return ms;
}

static void measure(const char *name, void (*pass)())
{
	std::vector<double> ms;
	double spent = 0;

	one_pass(pass); // not counted
	for (; ms.size() < PASSES_MIN || (ms.size() < PASSES_MAX && spent < PASSES_MS); spent += ms.back())
		ms.push_back(one_pass(pass));
	std::sort(ms.begin(), ms.end());
	printf("%s_ms %.6f\n%s_least_ms %.6f\n%s_most_ms %.6f\n", name, ms[ms.size() / 2], name, ms.front(), name, ms.back());
	fflush(stdout);
}

// What the last read_all() found, against what has to be in every block.
static void check_sums(bool written)
{
	unsigned long long got[BLOCKS_MAX], n = block_bytes / sizeof(uint4);

	one_pass(read_all);
	DO(cudaMemcpyFromSymbol(got, sums, sizeof got));
	for (size_t i = 0; i < blocks.size(); i++) {
		unsigned long long want = written ? n * (n - 1) / 2 + n * (i + 1) : n * 4 * 0x5a5a5a5aull;

		check(got[i] == want, written ? "a block holds what a kernel wrote" : "a block holds what was copied to it");
	}
}

static double allocate()
{
	double start = now_ms();

	for (uint4 *&block : blocks) {
		if (pinned)
			DO(cudaHostAlloc((void **)&block, block_bytes, cudaHostAllocDefault));
		else
			DO(cudaMalloc((void **)&block, block_bytes));
	}
	return now_ms() - start;
}

static double release()
{
	double start = now_ms();

	for (uint4 *block : blocks) {
		if (pinned)
			DO(cudaFreeHost(block));
		else
			DO(cudaFree(block));
	}
	return now_ms() - start;
}

static void prepare()
{
	cudaDeviceProp card;
	int each = 0;

	DO(cudaGetDeviceProperties(&card, 0));
	DO(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, read_kernel, THREADS, 0));
	check(each > 0, "the kernel fits the card");
	grid = card.multiProcessorCount * each;
	printf("window_bytes %zu\n", grid * TILE);
}

int main(int argc, char **argv)
{
	bool again = false, write = false, copy = false;

	for (int i = 4; i < argc; i++) {
		again = again || strcmp(argv[i], "again") == 0;
		write = write || strcmp(argv[i], "write") == 0;
		copy = copy || strcmp(argv[i], "copy") == 0;
	}
	if (argc >= 4) {
		pinned = strcmp(argv[1], "pinned") == 0;
		blocks.resize(strtoull(argv[2], nullptr, 0));
		block_bytes = strtoull(argv[3], nullptr, 0);
	}
	if (blocks.empty() || blocks.size() > BLOCKS_MAX || !block_bytes || block_bytes % TILE) {
		fputs("usage: sweep malloc|pinned BLOCKS BLOCK_BYTES [again] [write] [copy]\n", stderr);
		return 2;
	}
	prepare();
	if (copy) // before the blocks, and by a call that is not limited
		DO(cudaHostAlloc((void **)&stage, STAGE, cudaHostAllocDefault));
	if (again) {
		printf("first_allocate_ms %.6f\n", allocate());
		printf("first_free_ms %.6f\n", release());
	}
	printf("allocate_ms %.6f\n", allocate());
	one_pass(write_all);
	check_sums(true);
	pause("held", "sweep");
	measure("read", read_all);
	if (write) {
		measure("write", write_all);
		check_sums(true);
	}
	if (copy) {
		memset(stage, 0x5a, STAGE);
		measure("to", copy_to);
		check_sums(false);
		measure("from", copy_from);
	}
	printf("free_ms %.6f\n", release());
	puts("done 1");
	return 0;
}
