/* What is known of each device: its VRAM, the limit this process keeps to, and which NVML handle is the same card.
 *
 * Facts are asked of the driver once and remembered. Any thread. */
#ifndef GB_ALLOC_DEVICES_H
#define GB_ALLOC_DEVICES_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/cuda_subset.h"
#include "policy/placement.h"
#include "policy/report.h"

/* Bytes of VRAM that this process may hold there; UINT64_MAX without a limit. */
uint64_t gb_device_limit(CUdevice device);

/* The budget for placing a demand of `bytes` on the device. The driver is asked for what is free only where the answer can
 * matter, and where a context of the device is current. */
struct gb_budget gb_device_budget(CUdevice device, uint64_t bytes, const struct gb_rules *rules);

/* The same with the driver asked. */
struct gb_budget gb_device_budget_now(CUdevice device);

/* The size of chunks that the user set for the device, in bytes; 0: none. */
uint64_t gb_device_chunk(CUdevice device);

/* What the options say, resolved against this device. */
const struct gb_rules *gb_device_rules(CUdevice device);

/* What the program is told, given what the hardware said. `device` -1: a card that CUDA does not show this process. */
struct gb_memory_info gb_device_report(CUdevice device, const struct gb_memory_info *hardware);

/* Whether chunks of split blocks may move on the device: the user's option, and what its trial has seen. */
bool gb_device_moves(CUdevice device);

/* Whether the tier works on the device (gb_tier_works): its trial maps memory and moves it, so inside the gate. */
bool gb_device_has_tier(CUdevice device, enum gb_tier tier);

/* The CUDA ordinal of the card with this UUID, as NVML writes it ("GPU-…"), or -1. */
CUdevice gb_device_by_uuid(const char *text);

/* Host memory this process may hold altogether; UINT64_MAX without a limit. */
uint64_t gb_host_limit(void);

void gb_devices_after_fork(void);

#endif
