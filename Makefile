# Two commands for a newcomer: `make demo` and `make test`. Both set everything up in .venv.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: setup demo test lint bench clean

setup: $(VENV)/.ready

# torch comes first and alone, so that installing the package never replaces it
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip setuptools wheel ninja pybind11
	$(BIN)/pip install --quiet "$(TORCH)" numpy
	@touch $@

$(VENV)/.ready: $(VENV)/.torch pyproject.toml setup.py $(wildcard csrc/*.h csrc/*/*)
	$(BIN)/pip install --quiet --no-build-isolation --editable '.[test]'
	@touch $@

demo: setup
	$(BIN)/acs-fast train --demo --output runs/demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest

# the peers come with the first run; BENCH="--case craig-5k" measures less
$(VENV)/.bench: $(VENV)/.ready
	$(BIN)/pip install --quiet --no-build-isolation --editable '.[test,bench]'
	@touch $@

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks $(BENCH)
	$(BIN)/python -m benchmarks.report

clean:
	rm -rf $(VENV) build dist *.egg-info acs_fast/*.so acs_fast/_build.py runs
