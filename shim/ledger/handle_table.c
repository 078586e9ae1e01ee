#include "ledger/handle_table.h"

#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards both trees and every record in them; a leaf */
static struct gb_treap handles;
static struct gb_treap mappings;

_Atomic(size_t) gb_handles_host_mappings;

static struct gb_handle *find(CUmemGenericAllocationHandle value)
{
	return (struct gb_handle *)gb_treap_find(&handles, value);
}

/* A handle is found by its value as long as it has references or mappings. A stale one gave its place to another. */
static void attach(struct gb_handle *handle)
{
	if (!find(handle->link.key))
		gb_treap_insert(&handles, &handle->link);
}

static void detach(struct gb_handle *handle)
{
	if (find(handle->link.key) == handle)
		gb_treap_remove(&handles, handle->link.key);
}

/* A reference or a mapping, already subtracted, is about to end. */
static void begin_leaving(struct gb_handle *handle)
{
	handle->leaving++;
	if (!handle->references && !handle->mappings)
		detach(handle);
}

/* It has ended, or stays and was added again. */
static void end_leaving(struct gb_handle *handle)
{
	handle->leaving--;
	if (handle->references || handle->mappings)
		attach(handle);
}

static void collect(struct gb_handle *handle, struct gb_handle **gone)
{
	if (handle->references || handle->mappings)
		return;
	detach(handle);
	if (handle->leaving)
		return;
	handle->next = *gone;
	*gone = handle;
}

static void link_in(struct gb_mapping *mapping)
{
	gb_treap_insert(&mappings, &mapping->link);
	mapping->handle->mappings++;
	if (mapping->handle->on_host)
		atomic_fetch_add_explicit(&gb_handles_host_mappings, 1, memory_order_relaxed);
}

static void take_out(struct gb_mapping *mapping)
{
	gb_treap_remove(&mappings, mapping->link.key);
	mapping->handle->mappings--;
	if (mapping->handle->on_host)
		atomic_fetch_sub_explicit(&gb_handles_host_mappings, 1, memory_order_relaxed);
}

struct gb_handle *gb_handles_enter(struct gb_handle *handle)
{
	struct gb_handle *gone = NULL;

	handle->references = 1;
	handle->mappings = handle->leaving = 0;
	pthread_mutex_lock(&lock);
	/* The driver gives a value again only when the memory is gone: somebody ended its references behind our back. Where
	 * mappings of it are still known, it goes with the last of them. */
	struct gb_handle *stale = find(handle->link.key);
	if (stale) {
		stale->references = 0;
		detach(stale);
		collect(stale, &gone);
	}
	attach(handle);
	pthread_mutex_unlock(&lock);
	return gone;
}

bool gb_handles_find(CUmemGenericAllocationHandle value, struct gb_handle *copy)
{
	pthread_mutex_lock(&lock);
	const struct gb_handle *handle = find(value);
	if (handle)
		*copy = *handle;
	pthread_mutex_unlock(&lock);
	return handle != NULL;
}

void gb_handles_retained(CUmemGenericAllocationHandle value)
{
	pthread_mutex_lock(&lock);
	struct gb_handle *handle = find(value);
	if (handle)
		handle->references++;
	pthread_mutex_unlock(&lock);
}

struct gb_handle *gb_handles_releasing(CUmemGenericAllocationHandle value)
{
	pthread_mutex_lock(&lock);
	struct gb_handle *handle = find(value);
	if (handle && !handle->references)
		handle = NULL;
	if (handle) {
		handle->references--;
		begin_leaving(handle);
	}
	pthread_mutex_unlock(&lock);
	return handle;
}

struct gb_handle *gb_handles_released(struct gb_handle *handle, bool is_done)
{
	struct gb_handle *gone = NULL;

	pthread_mutex_lock(&lock);
	handle->references += !is_done;
	end_leaving(handle);
	collect(handle, &gone);
	pthread_mutex_unlock(&lock);
	return gone;
}

struct gb_handle *gb_handles_mapped(struct gb_mapping *mapping, CUmemGenericAllocationHandle value)
{
	struct gb_handle *gone = NULL;

	pthread_mutex_lock(&lock);
	mapping->handle = find(value);
	struct gb_mapping *stale = (struct gb_mapping *)gb_treap_find(&mappings, mapping->link.key);
	if (stale)
		take_out(stale);
	bool is_ours = mapping->handle != NULL;
	if (is_ours)
		link_in(mapping);
	if (stale)
		collect(stale->handle, &gone);
	pthread_mutex_unlock(&lock);
	free(stale);
	if (!is_ours)
		free(mapping);
	return gone;
}

static struct gb_mapping *first_from(CUdeviceptr address)
{
	return (struct gb_mapping *)gb_treap_ceiling(&mappings, address);
}

/* Whether no mapping lies half in the range, half outside. */
static bool is_whole(CUdeviceptr address, CUdeviceptr end)
{
	const struct gb_mapping *before = (struct gb_mapping *)gb_treap_floor(&mappings, address);
	const struct gb_mapping *last = (struct gb_mapping *)gb_treap_floor(&mappings, end - 1);

	if (before && before->link.key < address && address - before->link.key < before->size)
		return false;
	return !last || last->link.key < address || end - last->link.key >= last->size;
}

struct gb_mapping *gb_handles_unmapping(CUdeviceptr address, uint64_t size)
{
	const CUdeviceptr end = address + size;
	struct gb_mapping *taken = NULL;
	struct gb_mapping *mapping;

	pthread_mutex_lock(&lock);
	bool whole = end > address && is_whole(address, end);
	while (whole && (mapping = first_from(address)) && mapping->link.key < end) {
		take_out(mapping);
		begin_leaving(mapping->handle);
		mapping->next = taken;
		taken = mapping;
	}
	pthread_mutex_unlock(&lock);
	return taken;
}

struct gb_handle *gb_handles_unmapped(struct gb_mapping *list, bool is_done)
{
	struct gb_handle *gone = NULL;

	while (list) {
		struct gb_mapping *mapping = list;
		list = mapping->next;
		pthread_mutex_lock(&lock);
		/* Where the driver has mapped something else meanwhile, it has ended for all its refusal. */
		bool stays = !is_done && !gb_treap_find(&mappings, mapping->link.key);
		if (stays)
			link_in(mapping);
		end_leaving(mapping->handle);
		collect(mapping->handle, &gone);
		pthread_mutex_unlock(&lock);
		if (!stays)
			free(mapping);
	}
	return gone;
}

bool gb_handles_next_mapping(CUdeviceptr from, struct gb_mapped *mapped)
{
	pthread_mutex_lock(&lock);
	const struct gb_mapping *mapping = first_from(from);
	if (mapping)
		*mapped = (struct gb_mapped){mapping->link.key, mapping->size, mapping->handle->properties.location.id,
					     mapping->handle->on_host};
	pthread_mutex_unlock(&lock);
	return mapping != NULL;
}

bool gb_handles_find_host(CUdeviceptr address, CUdevice *device)
{
	if (!gb_handles_have_host())
		return false;
	pthread_mutex_lock(&lock);
	const struct gb_mapping *mapping = (struct gb_mapping *)gb_treap_floor(&mappings, address);
	bool found = mapping && address - mapping->link.key < mapping->size && mapping->handle->on_host;
	if (found)
		*device = mapping->handle->properties.location.id;
	pthread_mutex_unlock(&lock);
	return found;
}

/* Every handle is there for a reason; *mapped: the mappings that they count. */
static bool handles_are_valid(size_t *mapped)
{
	for (const struct gb_treap_node *node = gb_treap_ceiling(&handles, 0); node;
	     node = node->key == UINT64_MAX ? NULL : gb_treap_ceiling(&handles, node->key + 1)) {
		const struct gb_handle *handle = (const struct gb_handle *)node;
		if (!handle->references && !handle->mappings)
			return false;
		*mapped += handle->mappings;
	}
	return true;
}

/* None reaches into the next; *counted: those of handles that are found by their value; *on_host: of host memory. */
static bool mappings_are_valid(size_t *counted, size_t *on_host)
{
	CUdeviceptr end = 0;

	for (const struct gb_mapping *mapping = first_from(0); mapping; mapping = first_from(mapping->link.key + 1)) {
		if (mapping->link.key < end || !mapping->handle->mappings)
			return false;
		end = mapping->link.key + mapping->size;
		*counted += find(mapping->handle->link.key) == mapping->handle;
		*on_host += mapping->handle->on_host;
	}
	return true;
}

bool gb_handles_are_valid(void)
{
	size_t handle_count, mapping_count;
	size_t claimed = 0, counted = 0, on_host = 0;

	pthread_mutex_lock(&lock);
	bool valid = gb_treap_is_valid(&handles, &handle_count) && gb_treap_is_valid(&mappings, &mapping_count) &&
		     handles_are_valid(&claimed) && mappings_are_valid(&counted, &on_host) && claimed == counted &&
		     on_host == atomic_load(&gb_handles_host_mappings);
	pthread_mutex_unlock(&lock);
	return valid;
}

void gb_handles_after_fork(void)
{
	/* The parent's records stay allocated, as in ledger/table.c. */
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	handles = (struct gb_treap){0};
	mappings = (struct gb_treap){0};
	atomic_store(&gb_handles_host_mappings, 0);
}
