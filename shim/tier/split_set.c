/* The set of live split blocks: a list in order of age, and an array by place. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tier/split.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards everything here but the shares; a leaf */
static struct gb_split **places;                         /* NULL: free */
static uint32_t capacity, first_free;                    /* below first_free no place is free */
static struct gb_split *oldest, *newest;
static _Atomic uint64_t vram_bytes[GB_DEVICES_MAX], host_bytes[GB_DEVICES_MAX];
static _Atomic uint32_t peers[GB_DEVICES_MAX], users;

static bool grow(void)
{
	uint32_t larger = capacity ? capacity * 2 : 64;
	struct gb_split **grown = realloc(places, larger * sizeof *places);

	if (!grown)
		return false;
	memset(grown + capacity, 0, (larger - capacity) * sizeof *grown);
	places = grown;
	capacity = larger;
	return true;
}

static void link_newest(struct gb_split *split)
{
	split->older = newest;
	split->newer = NULL;
	*(newest ? &newest->newer : &oldest) = split;
	newest = split;
}

static void unlink_it(struct gb_split *split)
{
	*(split->older ? &split->older->newer : &oldest) = split->newer;
	*(split->newer ? &split->newer->older : &newest) = split->older;
}

CUresult gb_split_set_add(struct gb_split *split)
{
	pthread_mutex_lock(&lock);
	while (first_free < capacity && places[first_free])
		first_free++;
	bool room = first_free < capacity || grow();
	if (room) {
		split->place = first_free++;
		places[split->place] = split;
		link_newest(split);
		atomic_fetch_add(&vram_bytes[split->device], split->share.vram);
		atomic_fetch_add(&host_bytes[split->device], split->share.host);
	}
	pthread_mutex_unlock(&lock);
	return room ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

void gb_split_set_remove(struct gb_split *split)
{
	pthread_mutex_lock(&lock);
	places[split->place] = NULL;
	if (split->place < first_free)
		first_free = split->place;
	unlink_it(split);
	pthread_mutex_unlock(&lock);
	atomic_fetch_sub(&vram_bytes[split->device], split->share.vram);
	atomic_fetch_sub(&host_bytes[split->device], split->share.host);
}

struct gb_split *gb_split_set_at(uint32_t place)
{
	pthread_mutex_lock(&lock);
	struct gb_split *split = places[place];
	pthread_mutex_unlock(&lock);
	return split;
}

uint64_t gb_split_device_vram(CUdevice device)
{
	return atomic_load_explicit(&vram_bytes[device], memory_order_relaxed);
}

uint64_t gb_split_device_host(CUdevice device)
{
	return atomic_load_explicit(&host_bytes[device], memory_order_relaxed);
}

struct gb_split *gb_split_newer(const struct gb_split *split)
{
	pthread_mutex_lock(&lock);
	struct gb_split *next = split ? split->newer : oldest;
	pthread_mutex_unlock(&lock);
	return next;
}

struct gb_split *gb_split_older(const struct gb_split *split)
{
	pthread_mutex_lock(&lock);
	struct gb_split *next = split ? split->older : newest;
	pthread_mutex_unlock(&lock);
	return next;
}

void gb_split_count_move(struct gb_split *split, uint64_t bytes, bool to_vram)
{
	/* Modulo 2^64, and 2^32: subtracting is adding the complement. */
	uint64_t more = to_vram ? bytes : 0 - bytes;
	uint32_t one = to_vram ? 1 : UINT32_MAX;

	split->share.vram += more;
	split->share.host -= more;
	split->share.vram_chunks += one;
	split->share.host_chunks -= one;
	atomic_fetch_add(&vram_bytes[split->device], more);
	atomic_fetch_sub(&host_bytes[split->device], more);
}

struct gb_reach gb_split_reach_wanted(CUdevice device)
{
	return (struct gb_reach){.peers = atomic_load(&peers[device]), .users = atomic_load(&users)};
}

void gb_split_add_peer(CUdevice device, CUdevice peer)
{
	atomic_fetch_or(&peers[device], UINT32_C(1) << peer);
}

bool gb_split_add_user(CUdevice device)
{
	return !(atomic_fetch_or(&users, UINT32_C(1) << device) >> device & 1);
}

void gb_split_set_after_fork(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	places = NULL; /* the records are the parent's: what the child forgets is small, and not worth a walk */
	capacity = first_free = 0;
	oldest = newest = NULL;
	atomic_store(&users, 0);
	for (unsigned i = 0; i < GB_DEVICES_MAX; i++) {
		atomic_store(&vram_bytes[i], 0);
		atomic_store(&host_bytes[i], 0);
		atomic_store(&peers[i], 0);
	}
}
