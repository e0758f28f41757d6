# `make` without arguments prints the targets. Targets that need the virtual environment create it if it is missing.

VENV := .venv
OLDEST := .venv-oldest
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

# The first Python on the path that is new enough; `make PYTHON=/path/to/python3 ...` selects another.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && echo $$p && break; done)

SWEEP ?= sweeps/dz_wd.yaml

.DEFAULT_GOAL := help
.PHONY: help sweep test test-faults test-networks test-oldest test-slurm test-cluster demo-cluster check bench browser slurm schema pictures clean again

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

sweep: $(READY)  ## run the example sweep; make sweep SWEEP=FILE ARGS="--trials 4"
	$(PY) tune_main.py $(SWEEP) $(ARGS)

test: $(READY)  ## run the tests; make test ARGS="-k cluster"
	@$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-faults: $(READY)  ## test whole sweeps on a machine that fails: kills, a full disk, damage; eleven minutes on busy cores
	@$(PY) -m pytest -m faults tests/faults $(ARGS)

test-networks: $(READY)  ## train the larger networks of timm's families too; four minutes
	@$(PY) -m pytest -m slow $(ARGS)

# The releases that the lower bounds of requirements.txt name, on the oldest Python that is found: PyTorch 2.10.
test-oldest: $(OLDEST)/.ready  ## test with the oldest releases allowed; once 8 GB of disk, then five minutes a run
	@$(OLDEST)/bin/python -m pytest tests/quant tests/train tests/models tests/data $(ARGS)

test-slurm: $(READY)  ## test the jobs of slurm/ in a Slurm of the tests' own, four minutes (make slurm)
	@$(PY) -m pytest -m slurm tests/slurm $(ARGS)

test-cluster: $(READY)  ## test demo-cluster, and sweeps on nodes that lack storage or GPUs; as root, eight minutes
	@$(PY) -m pytest -m cluster tests/cluster $(ARGS)

demo-cluster: $(READY)  ## ray up, a sweep, a lost host, ray down: on hosts in namespaces of this machine (Linux, root)
	@$(PY) -m tests.cluster.demo

check: $(READY)  ## style and types
	$(PY) -m ruff check .
	$(PY) -m mypy

bench: $(READY)  ## measure against what this replaces, one to two hours; make bench ARGS="--quick"
	$(PY) -m benchmarks $(ARGS)

browser:  ## install Chromium, in which the report is tested (Debian, as root)
	apt-get update -q && apt-get install -y -q chromium chromium-driver

slurm:  ## install Slurm and ShellCheck, with which the jobs of slurm/ are tested (Debian, as root)
	apt-get update -q && apt-get install -y -q slurm-wlm shellcheck

schema: $(READY)  ## write the JSON Schema that editors check templates with, and docs/every-key.md
	$(PY) -m codeq.config schema > $(VENV)/schema.json
	mv $(VENV)/schema.json codeq/config/template.schema.json
	$(PY) -m codeq.config keys > $(VENV)/every-key.md
	mv $(VENV)/every-key.md docs/every-key.md

pictures: $(READY)  ## run the example sweep and make README's pictures of it (make browser)
	$(PY) tune_main.py sweeps/dz_wd.yaml --name dz_wd --storage $(VENV)/pictures
	$(PY) -m benchmarks.pictures $(VENV)/pictures/dz_wd
	rm -r $(VENV)/pictures

clean:  ## remove the virtual environments and all caches; results and data stay
	rm -rf $(VENV) $(OLDEST) .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Makes an empty environment in a folder, or says in one line why it cannot.
define new_environment
"$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed$(if $(PYTHON),; $(PYTHON) is not). Name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	"$(PYTHON)" -m venv --clear $(1) || { \
		echo "$(PYTHON) cannot make a virtual environment (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
endef

# A broken environment (no pip, a Python that is missing or too old) is created again from scratch. An interrupted
# installation is continued: pip skips the packages that are completely installed.
$(READY): requirements.txt $(if $(shell $(PY) -c 'import pip' 2>/dev/null && echo whole),,again)
	@$(PY) -c 'import pip; $(NEW_ENOUGH)' 2>/dev/null || { $(call new_environment,$(VENV)); }
	@echo "Installing requirements.txt into $(VENV): once, some minutes, about 6 GB"
	$(PY) -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@

# Made anew whenever requirements.txt changes, so that nothing newer stays in it. uv, since pip cannot choose the oldest.
$(OLDEST)/.ready: requirements.txt
	@$(call new_environment,$(OLDEST))
	@echo "Installing the oldest releases that requirements.txt allows into $(OLDEST): once, some minutes, about 8 GB"
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(OLDEST)/bin/python -m uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct \
		--requirement requirements.txt
	@touch $@
