# make bench: what the shim costs per call. Included by the top Makefile; alone: make -f tests/bench/bench.mk bench
# It needs $(BUILD)/libgreenboost.so, which the top Makefile builds.
BUILD ?= build
CFLAGS_COMMON ?= -std=gnu11 -O2 -g -Wall -Wextra -Wconversion -Werror
PYTHON ?= python3

BENCH_DIR := tests/bench
BENCH_CC = $(CC) -D_GNU_SOURCE $(CFLAGS_COMMON) -Ishim -pthread
NULL_DRIVER := $(BUILD)/null_driver/libcuda.so.1
BENCH_PROGRAMS := $(BUILD)/bench/calls $(BUILD)/bench/starts

.PHONY: bench bench-build
bench-build: $(NULL_DRIVER) $(BENCH_PROGRAMS)

bench: bench-build $(BUILD)/libgreenboost.so ## nanoseconds per call with the shim and without
	$(PYTHON) $(BENCH_DIR)/bench.py --build $(BUILD)

$(NULL_DRIVER): $(BENCH_DIR)/null_driver.c $(BENCH_DIR)/null_driver_rest.c $(BENCH_DIR)/null_driver.h shim/hooks.def \
		shim/driver.def shim/abi/cuda_subset.h
	@mkdir -p $(@D)
	$(BENCH_CC) -fPIC -shared -Wl,-soname,libcuda.so.1 -o $@ $(filter %.c,$^)

$(BUILD)/bench/%: $(BENCH_DIR)/%.c shim/abi/cuda_subset.h
	@mkdir -p $(@D)
	$(BENCH_CC) -o $@ $< -ldl
