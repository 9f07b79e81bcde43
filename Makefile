# The commands of everyday work. Each sets up what it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Test processes: each holds a framework, some 3 GiB.
WORKERS ?= 2

.PHONY: quickstart test test-fast test-long check schemas lock clean

quickstart: .venv/run           ## set up and run the main job (digits, no download)
	$(BIN)/python runner.py experiments/quickstart.yaml

test: .venv/dev                 ## set up and run every test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-fast: .venv/dev            ## only the tests that take seconds
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

test-long: .venv/dev            ## what is left out of `make test`: expensive tests for a release
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --long -m long

check: .venv/dev                ## formatter, linter, type checker
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

schemas: .venv/run              ## write schemas/ from the components
	$(BIN)/python runner.py --write-schemas

lock: .venv/dev                 ## write requirements.lock from the environment
	$(BIN)/python .ci/lock > requirements.lock

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/run: requirements.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

.venv/dev: requirements-dev.txt requirements.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	touch $@
