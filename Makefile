# Everything starts from Python 3.11+, make and the package registries; each target installs what it needs into .venv.
VENV   ?= .venv
PYTHON ?= python3
BIN     = $(VENV)/bin
# Test workers: one more than there are cores, for much of a test is waiting; each has servers of its own, so eight are
# enough. `make test WORKERS=0` runs one test after the other.
CORES   := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
WORKERS ?= $(shell test $(CORES) -lt 8 && expr $(CORES) + 1 || echo 8)
PIP     = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install demo test check format lint types imports e2e matrix lowest chaos soak fuzz lock sbom audit-deps bench bench-growth bench-tryton bench-vendure clean

help:  ## this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# An install is what the lock says, checked by hashes: requirements/. `make test LOCKED=no` takes what is newest instead.
LOCKED ?= yes
ifeq ($(LOCKED),no)
install = $(PIP) -e '.[$(1)]'
else
install = $(PIP) --require-hashes -r requirements/build.txt -r requirements/$(1).txt && $(PIP) --no-deps --no-build-isolation -e .
endif

$(VENV)/.%: requirements/%.txt requirements/build.txt pyproject.toml | $(BIN)/python
	$(call install,$*)
	@touch $@

# For CI: only install, what EXTRA names.
install: $(VENV)/.$(EXTRA)

demo: $(VENV)/.demo  ## the real daemon against simulated shops and a simulated ERP, with a verdict
	$(BIN)/flashd demo

test: $(VENV)/.test  ## the default tests: real servers, several at once, about eight minutes
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(VENV)/.dev lint types imports test  ## what CI runs: format, lint, types, import contract, tests

format: $(VENV)/.dev  ## rewrite the sources in the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

e2e: $(VENV)/.test  ## the long runs: a real Tryton on PostgreSQL, processes killed in the middle
	$(BIN)/python -m pytest tests/e2e tests/promises tests/backends/test_tryton_live.py tests/backends/test_tryton_batch_live.py -m "slow or not slow" --override-ini timeout=1500
	$(BIN)/python -m pytest tests --ignore tests/e2e --ignore tests/promises --ignore tests/backends -m slow --override-ini timeout=1500

MATRIX ?= valkey redis7 redis8
matrix: $(VENV)/.test  ## the tests of the store and of the promises on Valkey 9, Redis 7.0 and Redis 8.2; one that is not to be had fails
	TEST_SERVERS="$(MATRIX)" $(BIN)/python -m pytest tests/store tests/conformance tests/promises -n $(WORKERS) --dist worksteal

LOWEST = .cache/lowest
lowest: $(VENV)/.supply  ## the tests of the store, the doors and the adapters with the lowest versions that pyproject.toml names
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct -e '.[test]'
	TEST_SERVERS=valkey $(LOWEST)/bin/python -m pytest tests/store tests/web tests/channels tests/backends tests/daemon -n $(WORKERS) --dist worksteal

SECONDS ?= 120
chaos: $(VENV)/.test  ## SIGKILL for everything at random under load, and power cuts; SECONDS=900 is the whole of it; report in build/chaos/
	$(BIN)/python -m tests.chaos --seconds $(SECONDS)

soak: SECONDS = 1800
soak: $(VENV)/.test  ## half an hour at 50 orders a second, a fault every half minute: memory, descriptors, keys and logs must not grow; report in build/soak/
	$(BIN)/python -m tests.chaos.soak --seconds $(SECONDS)

fuzz: $(VENV)/.fuzz  ## bent bodies, every route with every token, schemathesis and atheris, for SECONDS: no 5xx, no crash, bounded memory
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

bench: $(VENV)/.test  ## speed: ratios, measured side by side in one run of a quarter of an hour; compares with Node.js where it is installed
	$(BIN)/python -m benchmarks

bench-growth: $(VENV)/.bench  ## intake and memory with up to a million SKUs or queued orders, 100 channels, 50 backends: twenty minutes, 4 GB
	$(BIN)/python -m benchmarks.growth

bench-vendure: $(VENV)/.test  ## a real Vendure shop alone and with flashd: 100 checkouts at once for 10 units; wants Node.js and PostgreSQL
	$(BIN)/python -m benchmarks.vendure

bench-tryton: $(VENV)/.test  ## 1,000 orders into a real Tryton, one by one and in batches, by turns: half an hour; wants PostgreSQL
	$(BIN)/python -m benchmarks.tryton

lock: $(VENV)/.supply  ## write the locks anew from pyproject.toml; UPGRADE=yes takes what is newest
	$(BIN)/python requirements/lock.py $(if $(UPGRADE),--upgrade)

sbom: $(VENV)/.supply  ## the bill of materials of an installation, CycloneDX: build/sbom.json
	$(BIN)/python requirements/sbom.py

audit-deps: $(VENV)/.supply  ## ask the advisory service about every locked package; exit 1 for a finding, 75 where it cannot be asked
	$(BIN)/python requirements/audit.py

clean:  ## remove what the targets made
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
