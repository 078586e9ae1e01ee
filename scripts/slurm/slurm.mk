# The Slurm plugin, $(BUILD)/slurm/greenboost.so, where Slurm's headers are (Debian: libslurm-dev). A plugin fits the release of
# Slurm that it was built with: it wants to be built on the cluster. Included by the top Makefile; alone:
#   make -f scripts/slurm/slurm.mk slurm
#
#   GREENBOOST=/usr/local/bin/greenboost   the command on the nodes, where plugstack.conf does not name one
#   SLURM_CFLAGS=-I/opt/slurm/include      where slurm/spank.h is, if not among the system's
BUILD ?= build
CFLAGS_COMMON ?= -std=gnu11 -O2 -g -fPIC -Wall -Wextra -Wconversion -Werror
GREENBOOST ?= /usr/local/bin/greenboost

SLURM_DIR := scripts/slurm
SLURM_PLUGIN := $(BUILD)/slurm/greenboost.so
SLURM_SOURCES := $(wildcard $(SLURM_DIR)/*.c) shim/base/size.c

.PHONY: slurm
slurm: ## the Slurm plugin, where Slurm's headers are
	@echo '#include <slurm/spank.h>' | $(CC) $(SLURM_CFLAGS) -E -x c - >/dev/null 2>&1 || { echo "make: slurm/spank.h is" \
		"missing (Debian, Ubuntu: libslurm-dev), or name its folder: make slurm SLURM_CFLAGS=-I/opt/slurm/include" >&2; exit 1; }
	@$(MAKE) --no-print-directory -f $(firstword $(MAKEFILE_LIST)) $(SLURM_PLUGIN)

# Replaced by rename: a slurmstepd that has the old one mapped keeps it whole.
$(SLURM_PLUGIN): $(SLURM_SOURCES) $(wildcard $(SLURM_DIR)/*.h) shim/base/size.h shim/abi/greenboost_abi.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_COMMON) $(SLURM_CFLAGS) -D_GNU_SOURCE -DGB_GREENBOOST='"$(GREENBOOST)"' -Ishim -fvisibility=hidden \
		-shared -Wl,-z,relro -Wl,-z,now -o $@.new $(SLURM_SOURCES)
	mv -f $@.new $@
