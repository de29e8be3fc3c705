# gearmand-py: make run, make test, make lint; the rest is listed by make help.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
# Of the image; with a digest behind it nothing else is taken: python:3.13-slim@sha256:...
BASE   ?= python:3.13-slim
# Test processes. Most of a test's time is spent waiting.
JOBS   ?= 3

.PHONY: help setup run test lint format docs lock audit sbom wheel image test-crash test-faults test-outages test-floods test-properties test-import test-containers test-libgearman-tls test-powercut fuzz bench bench-tls churn scale microbench profile clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

setup: $(VENV)/.ready ## a virtual environment with everything in it

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "gearmand-py needs Python 3.11 or later: make PYTHON=python3.13 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing into $(VENV) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

run: setup ## serve on 127.0.0.1:4730, jobs in a SQLite file; ARGS="-p 5000" for more
	@exec $(BIN)/gearmand-py $(ARGS)

test: setup ## every test; ARGS="-k fence" for some, DATABASES=sqlite for some databases
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile $(ARGS)

lint: setup ## style, types, module boundaries
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## put the code in shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## make docs/options.md anew from the declarations
	$(BIN)/python docs/generate.py

# For every platform, and from this Python on, whoever runs it.
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --no-config --quiet --upgrade --universal \
  --python-version 3.11 --generate-hashes --default-index https://pypi.org/simple

lock: setup ## the newest dependencies that pyproject.toml allows, with their hashes, into requirements*.lock
	$(COMPILE) pyproject.toml --output-file requirements.lock
	$(COMPILE) --group image --output-file requirements-image.lock

# --strict: what the service does not know is an error. Without it all would be well where the service says nothing.
audit: setup ## what is known against the locked dependencies; asks PyPI, or ARGS="--vulnerability-service osv"
	@for lock in requirements.lock requirements-image.lock; do \
	  echo "$$lock:"; $(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement $$lock $(ARGS) || failed=1; \
	done; exit $${failed:-0}

sbom: setup ## the bill of materials of the locked dependencies, CycloneDX, into dist/
	mkdir -p dist
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
	  --output-file dist/gearmand-py.cdx.json

wheel: setup ## build sdist and wheel, show what is in the wheel, try it in an environment of its own
	rm -rf dist build/wheel-venv
	$(BIN)/python -m build --quiet
	$(BIN)/python -m zipfile --list dist/*.whl
	$(PYTHON) -m venv build/wheel-venv
	build/wheel-venv/bin/pip install --quiet --disable-pip-version-check dist/*.whl
	cd build && wheel-venv/bin/gearmand-py --version
	cd build && wheel-venv/bin/gearmand-py migrate --sql >/dev/null

image: ## the container image, gearmand-py; docker compose up builds it by itself
	docker build --network host --build-arg BASE=$(BASE) --tag gearmand-py .

test-crash: setup ## kill -9 under load, ROUNDS=30 times
	CRASH_ROUNDS=$(or $(ROUNDS),30) $(BIN)/python -m pytest tests/crash $(ARGS)

test-faults: setup ## faults of all kinds under load, ROUNDS=100 rounds or MINUTES=10; SEED=123 DATABASES=sqlite for certain ones
	FAULT_ROUNDS=$(or $(ROUNDS),100) FAULT_MINUTES=$(MINUTES) FAULT_SEED=$(SEED) $(BIN)/python -m pytest --capture=no \
	  tests/faults/campaign/test_campaign.py $(ARGS)

test-outages: setup ## kill -9 of the databases under load, ROUNDS=20 times, and as many connections cut
	OUTAGE_ROUNDS=$(or $(ROUNDS),20) OUTAGE_CUTS=$(or $(ROUNDS),20) $(BIN)/python -m pytest \
	  tests/faults/test_outages_under_load.py tests/faults/test_unknown_outcomes.py $(ARGS)

test-import: setup ## JOBS_IN_QUEUE=100000 jobs out of real gearmand queues; imports cut short ROUNDS=10 times
	IMPORT_JOBS=$(or $(JOBS_IN_QUEUE),100000) IMPORT_ROUNDS=$(or $(ROUNDS),10) $(BIN)/python -m pytest tests/importing $(ARGS)

test-floods: setup ## thirteen floods in full, and a table of what others noticed; SECONDS=10 each, ARGS="idle submit" for some
	PYTHONPATH=. FLOOD_SECONDS=$(or $(SECONDS),10) $(BIN)/python -m tests.floods $(ARGS)

test-properties: setup ## the property tests with many more examples
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest tests/properties $(ARGS)

test-powercut: setup ## the disk after CUTS=2000 power cuts under load: every acknowledged job is there
	POWER_CUTS=$(or $(CUTS),2000) $(BIN)/python -m pytest tests/durability/test_power_cuts.py $(ARGS)

fuzz: setup ## whatever is read, fuzzed; MINUTES=10 each, ARGS="codec text" for some targets
	@$(BIN)/pip install --quiet --disable-pip-version-check --group fuzz
	$(BIN)/python -m tests.fuzz.run --minutes $(or $(MINUTES),10) $(ARGS)

test-containers: setup ## the image and the compose file; an error where no Docker engine answers
	GEARMAND_TEST_SOURCES=containers $(BIN)/python -m pytest tests/containers $(ARGS)

test-libgearman-tls: setup ## libgearman over TLS; GEARMAN=path of its tool, built with --enable-ssl as Debian's is not
	GEARMAN=$(GEARMAN) $(BIN)/python -m pytest tests/tls/libgearman.py $(ARGS)

bench-tls: setup ## TLS against plain, on one server; ARGS="--rounds 5"
	PYTHONPATH=. $(BIN)/python benchmarks/tls.py $(ARGS)

bench: setup ## against the C gearmand; GEARLOAD=path of the load generator
	$(BIN)/python benchmarks/compare.py $(ARGS)

churn: setup ## jobs that come and go for an hour, and what the table's files do; ARGS="--database URL --minutes 10"
	$(BIN)/python benchmarks/churn.py $(ARGS)

scale: setup ## millions of waiting jobs: memory, rates, restart; GEARLOAD=path ARGS="--database URL --jobs 5000000"
	$(BIN)/python benchmarks/scale.py $(ARGS)

microbench: setup ## codec, broker and storages, each alone; DATABASES=sqlite for some, ARGS="-k codec"
	mkdir -p build
	$(BIN)/python -m pytest benchmarks --benchmark-json build/microbench.json --benchmark-disable-gc --quiet $(ARGS)
	$(BIN)/python benchmarks/table.py build/microbench.json

profile: setup ## where a busy server's time goes, into build/profile; ARGS="--mode submit --seconds 20"
	PYTHONPATH=. $(BIN)/python benchmarks/profile_server.py $(ARGS)

clean: ## remove what was built
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
