#include "state.h"

#include "pool.h"

struct fk_state fk = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
__thread struct fk_thread fk_thread;

uint64_t fk_thread_number(void)
{
	if (!fk_thread.number)
		fk_thread.number = ++fk.last_thread;
	return fk_thread.number;
}

void fk_object_add(struct fk_object *object, enum fk_type type)
{
	object->type = type;
	fk_tree_insert(&fk.objects, &object->node, (uint64_t)(uintptr_t)object, 0);
}

void fk_object_drop(struct fk_object *object)
{
	fk_tree_remove(&fk.objects, &object->node);
}

void *fk_object_find(const void *handle, enum fk_type type)
{
	struct fk_node *node = fk_tree_floor(&fk.objects, (uint64_t)(uintptr_t)handle);
	struct fk_object *object;

	if (!handle || !node || node->key != (uint64_t)(uintptr_t)handle)
		return NULL;
	object = FK_CONTAINER(node, struct fk_object, node);
	return object->type == type ? object : NULL;
}

void fk_hold(enum fk_figure figure, uint64_t amount)
{
	fk.held[figure] += amount;
	if (fk.held[figure] > fk.peak[figure])
		fk.peak[figure] = fk.held[figure];
}

void fk_drop(enum fk_figure figure, uint64_t amount)
{
	fk.held[figure] -= amount;
}

static bool fits(int device, uint64_t bytes)
{
	return bytes <= fk_config.vram_bytes && fk.devices[device].used_bytes <= fk_config.vram_bytes - bytes;
}

bool fk_device_charge(int device, uint64_t bytes)
{
	if (!fits(device, bytes))
		fk_pool_release_idle(device);
	if (!fits(device, bytes))
		return false;
	__atomic_add_fetch(&fk.devices[device].used_bytes, bytes, __ATOMIC_RELAXED);
	return true;
}

void fk_device_discharge(int device, uint64_t bytes)
{
	__atomic_sub_fetch(&fk.devices[device].used_bytes, bytes, __ATOMIC_RELAXED);
}
