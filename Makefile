# Everything a person or CI does here. `make` lists it; the first target that needs tools sets them up in .venv.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test test-sqlite test-postgres check proof chaos bugs mutate strain guarantees fix dev bench side-by-side sim lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Runs when the lock or pyproject.toml is newer than the last set-up, or the interpreter is gone; else no network is used.
$(READY): requirements.lock pyproject.toml $(if $(realpath $(BIN)/python),,again)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || { \
	  echo "Making .venv with $$($(PYTHON) -V) …"; $(PYTHON) -m venv --clear .venv; }
	@echo "Installing the exact versions of requirements.lock into .venv …"
	@$(PIP) install --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

again: # never up to date

demo: $(READY) ## Run the main job on an embedded store: 200 cities × 30 days of almanac
	@$(BIN)/python -m apps.panchangam demo

test: $(READY) ## Run all tests, on SQLite and on a real PostgreSQL
	$(PYTEST)

test-sqlite: $(READY) ## Run the tests that need no PostgreSQL
	$(PYTEST) --store sqlite

test-postgres: $(READY) ## Run the tests that need PostgreSQL
	$(PYTEST) --store postgres

check: $(READY) ## Decide whether the tree is fit: rules, format, types, floors, shape
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --cache-dir .cache/imports
	$(PYTEST) --quiet tests/test_shape.py

proof: $(READY) ## Prove the promises: simulation, chaos in short, stores under strain, a sample of bugs (11 minutes)
	PYTHONHASHSEED=0 $(BIN)/python -m tests.sim --worlds 300 --jobs 2
	$(BIN)/python -m tests.chaos short
	$(PYTEST) --quiet tests/strain/test_short.py tests/bugs/test_sample.py

chaos: $(READY) ## Break real processes for hours, in slices that resume; SCENARIO=C-1 STORE=sqlite narrows it
	$(BIN)/python -m tests.chaos long $(SCENARIO) $(if $(STORE),--store $(STORE))

strain: $(READY) ## Put both stores under strain: plans, old snapshots, poolers, locks, backups; SCENARIO=P-4 narrows it
	$(BIN)/python -m tests.strain $(SCENARIO)

bugs: $(READY) ## Put each deliberate bug into the engine, and see which suite finds it after how many seeds
	$(BIN)/python -m tests.bugs

mutate: $(READY) ## Change states, slots, schedules, backoff and limits bit by bit, and see that a test notices; resumes
	$(BIN)/python -m tests.mutation --minutes 8

guarantees: $(READY) ## Write docs/guarantees.md from what the last runs have found
	$(BIN)/python -m tests.guarantees --write docs/guarantees.md

fix: $(READY) ## Format, and mend what Ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

dev: $(READY) ## Run a worker on the demo's store and keep it running
	$(BIN)/rota up

bench: $(READY) ## Measure the engine beside its peers and print one table
	$(BIN)/python -m benchmarks

side-by-side: $(READY) ## Put rota beside its peers: workers that are killed, and a year of 02:30 (15 minutes)
	$(BIN)/python -m benchmarks.sidebyside --write docs/side-by-side.md

sim: $(READY) ## Run the simulation; SEED=4711 repeats one world, WORLDS=1000 lives more of them
	PYTHONHASHSEED=0 $(PYTEST) tests/sim $(if $(SEED),--seed $(SEED) -k every_world) $(if $(WORLDS),--worlds $(WORLDS))

# Resolves anew in an environment of its own, so that nothing installed by hand slips in.
lock: ## Make requirements.lock again from pyproject.toml
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	build/lock/bin/python -m pip install --quiet --editable ".[postgres,redis,web,fast,http]" --group dev --group panchangam
	@echo "# Exact versions of everything that \`make\` installs. Made by \`make lock\`; do not edit." > build/lock.txt
	@build/lock/bin/python -m pip freeze --exclude-editable --exclude pip >> build/lock.txt
	@mv build/lock.txt requirements.lock
	rm -rf build/lock

clean: ## Remove .venv, caches and build results (stores in .rota stay)
	rm -rf .venv .cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
