# GreenBoost. `make help` says what there is. Needs a C compiler, make and Python 3.11 or newer; no CUDA toolkit.
#
#   BUILD=build        where what is compiled goes
#   CC=cc CFLAGS=…     the C compiler, and flags to add to ours; WERROR= lets warnings be
#   PYTHON=python3     the Python that .venv is made with
#   WORKERS=2          tests that run at once
BUILD ?= build
VENV ?= .venv
WORKERS ?= 2
WERROR ?= -Werror
CFLAGS_COMMON = -std=gnu11 -O2 -g -fPIC -Wall -Wextra -Wconversion $(WERROR) $(CFLAGS) $(SANITIZE)

# The first Python that is new enough; a missing one is told of where it is needed, so that C alone builds without.
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))

ifeq ($(MAKELEVEL),0)
MAKEFLAGS += --jobs=$(shell nproc 2>/dev/null || echo 2)
endif
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Each part says what it makes: SHIM_LIB and SHIM_UNIT_LIB, FAKE_DRIVER, CLIENTS, and the target bench.
-include shim/shim.mk tests/shim/fake_driver/fake_driver.mk tests/shim/clients/clients.mk tests/bench/bench.mk \
	tests/fuzz/fuzz.mk tests/soak/soak.mk tests/vm/vm.mk tests/fleet/fleet.mk scripts/dist/dist.mk scripts/slurm/slurm.mk

VENV_PYTHON := $(VENV)/bin/python
C_FILES = $(wildcard shim/*/*.[ch] scripts/*/*.[ch] tests/*/*.[ch] tests/shim/*/*.[ch])
TIDY_FILES = $(wildcard shim/*/*.c)
# The shim's tests with another build. A sanitized library wants its runtime before everything else in a program that is not
# sanitized, which pytest's Python is; what Python itself leaks is not our business.
SANITIZED_TESTS = runtime=$$($(CC) -print-file-name=$(1)) && \
	env GREENBOOST_TEST_BUILD=$(2) GREENBOOST_TEST_RUNTIME=$$runtime LD_PRELOAD=$$runtime ASAN_OPTIONS=detect_leaks=0 \
	$(3) $(VENV_PYTHON) -m pytest -n $(WORKERS) tests/shim -m "not python_client and not soak" $(4)
# ThreadSanitizer's fixed layout and strong address randomisation do not go together on every kernel.
SAME_LAYOUT = $$(setarch -R true 2>/dev/null && echo setarch -R)

.PHONY: help build shim demo test check lint format docs asan tsan soak gpu-test gpu-bench clean test-artifacts test-vm

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

build: $(SHIM_LIB) $(FAKE_DRIVER) $(VENV)/.stamp-run ## the library, the simulated driver, and .venv with the greenboost command

shim: $(SHIM_LIB) ## the library alone: C, no Python, no network

demo: build ## a program that needs three times the VRAM there is: without GreenBoost, and with it
	$(VENV_PYTHON) tests/demo/demo.py

test: build test-artifacts $(VENV)/.stamp-test $(BUILD)/bindings-12/.stamp ## every test but the benchmarks and those that need a GPU
	$(VENV_PYTHON) -m pytest -n $(WORKERS)

check: ## format, lint, types, then the tests: what has to pass
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test

lint: $(VENV)/.stamp-dev $(VENV)/.stamp-test ## formatting, lint and types, of Python and C; changes nothing
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/clang-format --dry-run --Werror $(C_FILES)
	$(VENV_PYTHON) docs/make_tables.py --check
	@if command -v clang-tidy >/dev/null; then \
		echo "clang-tidy $(words $(TIDY_FILES)) files" && \
		clang-tidy --quiet $(TIDY_FILES) -- -std=gnu11 -D_GNU_SOURCE -Ishim 2>/dev/null; \
	else echo "clang-tidy is not installed: left out"; fi

format: $(VENV)/.stamp-dev ## rewrites Python and C in the one style
	$(VENV)/bin/ruff check --fix-only --quiet
	$(VENV)/bin/ruff format
	$(VENV)/bin/clang-format -i $(C_FILES)

docs: $(VENV)/.stamp-run ## the tables and manual pages of docs/ that are made from lists
	$(VENV_PYTHON) docs/make_tables.py

asan: $(VENV)/.stamp-test ## the shim's tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory test-artifacts BUILD=build/asan \
		SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
	$(call SANITIZED_TESTS,libasan.so,build/asan)

tsan: $(VENV)/.stamp-test ## the same under ThreadSanitizer, but for the loops over failing calls, which have one thread
	@$(MAKE) --no-print-directory test-artifacts BUILD=build/tsan SANITIZE="-fsanitize=thread -fno-omit-frame-pointer"
	$(call SANITIZED_TESTS,libtsan.so,build/tsan,$(SAME_LAYOUT),-k "not each_call")

bench: $(VENV)/.stamp-run # what of it measures the daemon

gpu-test: shim ## on a machine with an NVIDIA GPU: the real runtimes, with what is installed there
	python3 tests/gpu/gpu_test.py --out $(BUILD)/gpu --shim $(SHIM_LIB)

gpu-bench: shim ## likewise: how fast, as ratios in one run: every kind of memory, an overflow, a model that does not fit
	python3 tests/gpu/gpu_bench.py --out $(BUILD)/gpu --shim $(SHIM_LIB)

clean: ## removes everything that was built, .venv as well
	rm -rf $(BUILD) $(VENV)

test-artifacts: $(SHIM_LIB) $(SHIM_UNIT_LIB) $(FAKE_DRIVER) $(CLIENTS)

# What was compiled comes first: a machine without Python, or that cannot reach a package index, still gets it.
$(VENV_PYTHON): | $(SHIM_LIB) $(FAKE_DRIVER)
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "make: $(PYTHON) cannot make a virtual environment;" \
		"its venv module may be a package of its own (Debian, Ubuntu: python3-venv)" >&2; exit 1; }

# compat: a plain .pth file. The default is an import hook that costs every start of this Python 20 ms.
PIP_FLAGS := --quiet --disable-pip-version-check --config-settings editable_mode=compat

$(VENV)/.stamp-run: pyproject.toml | $(VENV_PYTHON)
	@echo "$(VENV_PYTHON) -m pip install --editable ."
	@$(VENV_PYTHON) -m pip install $(PIP_FLAGS) --editable . || { echo "make: what greenboost needs could not be" \
		"installed into $(VENV); the library itself is built: $(SHIM_LIB)" >&2; exit 1; }
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-run
	$(VENV_PYTHON) -m pip install $(PIP_FLAGS) --editable '.[test]'
	@touch $@

# The older binding, beside the newer one that .venv has.
$(BUILD)/bindings-12/.stamp: | $(VENV)/.stamp-test
	$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --upgrade --target $(@D) 'cuda-bindings>=12.9,<13'
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-run | $(VENV)/.stamp-test
	$(VENV_PYTHON) -m pip install $(PIP_FLAGS) --editable '.[dev]'
	@touch $@
