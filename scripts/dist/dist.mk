# Packages, into $(BUILD)/dist: the same bytes wherever and whenever the same tree is built with the same tools. Included by
# the top Makefile.
#
#   BUILD=build/aarch64 CC=aarch64-linux-gnu-gcc   a wheel for what another compiler compiles for
DIST := $(BUILD)/dist
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' greenboost_py/__init__.py)
# What is made bears this time, in seconds since 1970: asked for where it is needed.
SOURCE_DATE_EPOCH ?= $(shell $(PYTHON) scripts/dist/source_date.py)
# What setuptools says is shown where it fails.
BUILD_PACKAGE = said=$$(SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(VENV_PYTHON) -m build --no-isolation --outdir $(DIST) $(1) 2>&1) \
	|| { echo "$$said" >&2; exit 1; }
# The compiler's own name for its machine: x86_64-linux-gnu.
WHEEL = $(DIST)/greenboost-$(VERSION)-py3-none-manylinux_2_28_$(firstword $(subst -, ,$(shell $(CC) -dumpmachine))).whl

.PHONY: dist wheel sdist deb test-dist
dist: wheel sdist deb ## wheel, sdist and .deb, into build/dist, with sizes and checksums
	@cd $(DIST) && for file in greenboost[-_]$(VERSION)[-.]*; do \
		printf '%s  %8d bytes  %s\n' "$$(sha256sum <"$$file" | cut -c 1-64)" "$$(wc -c <"$$file")" "$$file"; done

wheel: $(VENV)/.stamp-dist ## the Python package with the library in it, checked to need nothing newer than glibc 2.28
	@$(call BUILD_PACKAGE,--wheel)
	@$(VENV_PYTHON) scripts/dist/check_wheel.py $(WHEEL) || { rm -f $(WHEEL); exit 1; }

sdist: $(VENV)/.stamp-dist ## the sources, which build the same wheel without a network
	@$(call BUILD_PACKAGE,--sdist)

test-dist: build test-artifacts $(VENV)/.stamp-test $(VENV)/.stamp-dist ## builds and installs packages, upgrades, and runs them on glibc 2.31
	$(VENV_PYTHON) -m pytest -n $(WORKERS) --dist loadfile -o pythonpath="scripts/dist tests/dist tests/shim tests/proof" tests/dist

$(VENV)/.stamp-dist: pyproject.toml | $(VENV)/.stamp-run
	$(VENV_PYTHON) -m pip install $(PIP_FLAGS) --editable '.[dist]'
	@touch $@

-include scripts/dist/deb/deb.mk
