# Fuzzing of what reads text and messages that are not ours (libFuzzer, with AddressSanitizer and UndefinedBehaviorSanitizer).
# Included by the top Makefile; alone: make -f tests/fuzz/fuzz.mk fuzz. Needs clang with its fuzzer runtime; without them it
# says so and does nothing.
#
#   FUZZ_SECONDS=30    how long each target runs
#   FUZZ_CC=clang      the compiler
BUILD ?= build
FUZZ_CC ?= clang
FUZZ_SECONDS ?= 30

FUZZ_DIR := tests/fuzz
FUZZ_TARGETS := fuzz_wire fuzz_host_memory fuzz_size
FUZZ_FLAGS = -std=gnu11 -O1 -g -Wall -Wextra -Wconversion -Werror -D_GNU_SOURCE -Ishim \
	-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
FUZZ_WORKS = printf 'int LLVMFuzzerTestOneInput(const char *a, unsigned long b);int LLVMFuzzerTestOneInput(const char *a, \
	unsigned long b) { return !a && b; }' | $(FUZZ_CC) -fsanitize=fuzzer,address -x c -o /dev/null - 2>/dev/null

.PHONY: fuzz fuzz-targets
# What is found is written to $(BUILD)/fuzz; what was learnt is kept there for the next time.
fuzz: ## fuzzes what reads messages and text that are not ours, 30 s each (FUZZ_SECONDS=…)
	@if $(FUZZ_WORKS); then \
		$(MAKE) --no-print-directory -f $(FUZZ_DIR)/fuzz.mk fuzz-targets BUILD=$(BUILD) FUZZ_CC=$(FUZZ_CC) && \
		for target in $(FUZZ_TARGETS); do \
			log=$(BUILD)/fuzz/$$target.log; mkdir -p $(BUILD)/fuzz/$$target.corpus; \
			$(BUILD)/fuzz/$$target -max_total_time=$(FUZZ_SECONDS) -timeout=5 -print_final_stats=1 \
				-dict=$(FUZZ_DIR)/kernel.dict -artifact_prefix=$(BUILD)/fuzz/$$target- \
				$(BUILD)/fuzz/$$target.corpus >$$log 2>&1 || { tail -n 40 $$log; exit 1; }; \
			echo "$$target: $$(sed -n 's/^stat::number_of_executed_units: *//p' $$log) inputs, nothing found"; \
		done; \
	else echo "make: $(FUZZ_CC) cannot build fuzz targets here (clang and its compiler-rt): left out"; fi

fuzz-targets: $(FUZZ_TARGETS:%=$(BUILD)/fuzz/%)

$(BUILD)/fuzz/fuzz_wire: $(FUZZ_DIR)/fuzz_wire.c shim/lease/wire.c
$(BUILD)/fuzz/fuzz_host_memory: $(FUZZ_DIR)/fuzz_host_memory.c shim/policy/host_memory.c
$(BUILD)/fuzz/fuzz_size: $(FUZZ_DIR)/fuzz_size.c shim/base/size.c

$(BUILD)/fuzz/%: $(wildcard shim/lease/*.h shim/policy/*.h shim/base/*.h shim/abi/*.h)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -o $@ $(filter %.c,$^)
