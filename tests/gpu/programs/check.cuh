// What the CUDA programs here share: failing, pausing for the test to look, digests, and kernels over blocks.
#ifndef CHECK_CUH
#define CHECK_CUH

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cuda_runtime.h>
#include <vector>

#define DO(call) must((call), #call, __LINE__)

inline void must(cudaError_t error, const char *call, int line)
{
	if (error == cudaSuccess)
		return;
	fflush(stdout);
	fprintf(stderr, "%s (%d) from %s at line %d\n", cudaGetErrorName(error), (int)error, call, line);
	exit(1);
}

inline void check(bool condition, const char *what)
{
	if (condition)
		return;
	fflush(stdout);
	fprintf(stderr, "not so: %s\n", what);
	exit(1);
}

// The test reads this process' counters now, then answers with a line.
inline void pause(const char *when, const char *what)
{
	char line[16];

	printf("pause %s %s\n", when, what);
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin))
		return; // run by hand: go on
}

inline uint64_t digest_of(uint64_t digest, const void *data, size_t size)
{
	const unsigned char *at = (const unsigned char *)data;

	for (size_t i = 0; i < size; i++)
		digest = (digest ^ at[i]) * 0x100000001b3u;
	return digest;
}

inline void print_digest(const char *what, uint64_t digest)
{
	printf("digest %s %016llx\n", what, (unsigned long long)digest);
}

// A block of device memory as rows of 64-bit words; a plain one has one row.
struct view {
	char *base;
	size_t pitch, words, rows; // pitch in bytes, words of 8 bytes in a row

	__host__ __device__ size_t count() const
	{
		return words * rows;
	}
	__device__ unsigned long long &word(size_t i) const
	{
		return *(unsigned long long *)(base + i / words * pitch + i % words * 8);
	}
};

__device__ inline unsigned long long scramble(unsigned long long z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

#define EACH(i, n) \
	for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < (n); i += (size_t)gridDim.x * blockDim.x)

// Write: every word its own.
__global__ void fill_kernel(view to, unsigned long long seed)
{
	EACH (i, to.count())
		to.word(i) = scramble(seed + i);
}

// Read one block, read and write another, in opposite directions.
__global__ void combine_kernel(view to, view from)
{
	size_t n = to.count() < from.count() ? to.count() : from.count();

	EACH (i, n)
		to.word(i) = to.word(i) * 3 ^ from.word(n - 1 - i);
}

// Atomics into the first `bins` words of one block, as the first `count` words of another say.
__global__ void histogram_kernel(view to, view from, size_t bins, size_t count)
{
	EACH (i, count < from.count() ? count : from.count())
		atomicAdd(&to.word(from.word(i) % bins), 1ull);
}

__global__ void sum_kernel(view from, unsigned long long *sum)
{
	unsigned long long own = 0;

	EACH (i, from.count())
		own += from.word(i) * (2 * i + 1);
	atomicAdd(sum, own);
}

// Sum after a while: what is freed meanwhile must wait.
__global__ void late_sum_kernel(view from, unsigned long long *sum, long long cycles)
{
	long long start = clock64();
	unsigned long long own = 0;

	while (clock64() - start < cycles)
		;
	EACH (i, from.count())
		own += from.word(i) * (2 * i + 1);
	atomicAdd(sum, own);
}

#endif
