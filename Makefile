# signal-mailgun: `make` alone says what there is.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BENCH_VENV ?= .venv-bench
AUDIT_VENV ?= .venv-audit
TESTS_AT_ONCE ?= 8  # processes; many tests wait while others compute

# Where this is set, each process that a test starts would compile the program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install browser run demo test test-unit chaos bench bench-long lint audit format lock wheel clean

help:  ## what there is
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "signal-mailgun needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

install: $(VENV)/installed  ## the virtual environment with pinned versions

run: install  ## everything on this machine: server, worker, Flower, sandbox; Ctrl-C stops it
	@$(BIN)/signal-mailgun run

demo: install  ## the same once, with sample events; ends by itself
	@$(BIN)/signal-mailgun run --once

browser: install  ## a Chromium for the tests that click, where the system has none; downloads it into Playwright's folder
	@$(BIN)/python -m playwright install chromium

test: install  ## every test that needs nothing but this machine
	@$(BIN)/python -m pytest --collect-only -qq >/dev/null || true  # compiles the tests, once for all processes
	@$(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist loadscope --no-loadscope-reorder

test-unit: install  ## the tests of pure modules, half a minute
	@$(BIN)/python -m pytest tests/unit -q

chaos: install  ## the full chaos suite: thousands of events through each fault, in every mode; more than an hour, CHAOS_FORM=single a quarter
	@CHAOS=full $(BIN)/python -m pytest tests/chaos -q
	@CHAOS=full $(BIN)/python -m pytest tests/integration -m modes -q

$(BENCH_VENV)/installed: tests/bench/requirements.lock
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/bench/requirements.lock
	@touch $@

bench: install $(BENCH_VENV)/installed  ## how fast, beside plain Celery, dramatiq and taskiq; some 25 minutes; see docs/benchmarks.md
	@$(BIN)/python -m tests.bench --bench-python $(BENCH_VENV)/bin/python $(BENCH)

bench-long: install  ## a million events through one worker: does its memory stay flat?
	@$(BIN)/python -m tests.bench --long

lint: install  ## ruff and mypy, strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

$(AUDIT_VENV)/installed: .ci/audit.lock
	$(PYTHON) -m venv $(AUDIT_VENV)
	$(AUDIT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/audit.lock
	@touch $@

audit: $(AUDIT_VENV)/installed  ## are there known holes in what is pinned? asks a public database
	@$(AUDIT_VENV)/bin/pip-audit --strict --require-hashes --disable-pip -r requirements.lock
	@$(AUDIT_VENV)/bin/pip-audit --strict --require-hashes --disable-pip -r tests/bench/requirements.lock
	@$(AUDIT_VENV)/bin/pip-audit --strict --require-hashes --disable-pip -r .ci/audit.lock

format: install  ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: install  ## pin the newest versions that pyproject.toml allows, with hashes
	@$(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes --all-extras --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -o requirements.lock pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -c requirements.lock --group pyproject.toml:bench -o tests/bench/requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -c requirements.lock --group pyproject.toml:audit -o .ci/audit.lock

wheel: install  ## dist/*.whl
	@$(BIN)/python -m hatchling build -t wheel

clean:  ## what these commands made
	rm -rf $(VENV) $(BENCH_VENV) $(AUDIT_VENV) dist .mypy_cache .ruff_cache .pytest_cache
