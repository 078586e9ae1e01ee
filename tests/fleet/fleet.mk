# Schedulers, containers and Prometheus, real ones, each in a place of its own: see tests/fleet/bed/place.py. Included by the
# top Makefile. Debian only, and root; what is installed and downloaded for it is kept in build/fleet.

test-fleet: wheel test-artifacts $(VENV)/.stamp-test ## first jobs under Slurm, Ray, a container runtime and Prometheus, by the steps of docs/fleet.md
	$(VENV_PYTHON) -m pytest -n $(WORKERS) --dist loadfile -o pythonpath="tests/fleet tests/vm" tests/fleet

fleet-scale: $(VENV)/.stamp-test ## what the figures of 10,000 nodes cost one Prometheus: eight minutes, no test
	$(VENV_PYTHON) tests/fleet/scale.py

.PHONY: test-fleet fleet-scale
