# The package for the Debian or Ubuntu that it is built on. Included by dist.mk.
DEB_BUILD = SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) \
	$(VENV_PYTHON) scripts/dist/deb/build.py --wheel $(WHEEL) --out $(DIST) --work $(BUILD)/deb

.PHONY: deb-lock
# Where its tools are missing, who asked for everything gets everything else.
deb: wheel $(VENV)/.stamp-run ## the package for this Debian or Ubuntu, into build/dist
	@$(DEB_BUILD) $(if $(filter deb,$(MAKECMDGOALS)),,--optional)

deb-lock: $(VENV)/.stamp-run # the versions that it brings along, as pip resolves them now
	$(VENV_PYTHON) scripts/dist/deb/lock.py
