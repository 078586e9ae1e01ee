# make soak: see tests/soak/soak.py. Included by the top Makefile.
#
#   SOAK=10m           how long: 30s, 10m, 24h
#   SEED=…             what happens; the seed of a run is the first thing that it says
SOAK ?= 10m

soak: build test-artifacts $(VENV)/.stamp-test ## random programs, kills, restarts and pressure, the books checked: 10 minutes (SOAK=24h SEED=…)
	$(VENV_PYTHON) -m pytest -m soak
	$(VENV_PYTHON) tests/soak/soak.py --for $(SOAK) $(if $(SEED),--seed $(SEED)) --out $(BUILD)/soak
