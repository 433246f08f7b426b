# Two commands for a newcomer: `make demo` and `make test`. Both set everything up in .venv.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN = $(VENV)/bin

# `make gpu`, on a machine with a GPU, torch, Triton, pytest and nvcc, offline: build, tests, measurements, sanitizer, in
# less than ten minutes; results go to OUT, and `python -m benchmarks.report` puts those in benchmarks/results into docs/benchmarks.md
GPU_PYTHON ?= python3
OUT ?= benchmarks/results/gpu

.PHONY: setup build demo test lint bench experiments sanitize gpu clean

setup: $(VENV)/.ready

# torch comes first and alone, so that installing the package never replaces it
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip setuptools wheel ninja pybind11
	$(BIN)/pip install --quiet "$(TORCH)" numpy
	@touch $@

$(VENV)/.ready: $(VENV)/.torch pyproject.toml setup.py $(wildcard csrc/*.cpp csrc/*/*)
	$(BIN)/pip install --quiet --editable '.[test]'
	$(BIN)/pip install --quiet --no-deps torchattacks  # an oracle of the attacks; the torchvision that it asks for is not used
	@touch $@

# the compiled module in place, for a checkout that is not installed: make build VENV=/path/to/venv
build:
	$(BIN)/python setup.py --quiet build_ext --inplace

demo: setup
	$(BIN)/acs-fast train --compare --selector craig --objective pgd --steps 5 --fraction 0.3 --warm-start 0.3 --gradients attack \
	    --seeds 3 --epochs 30 --batch-size 64 --period 10 --test-limit 300 --overwrite --output runs/demo

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

# EXPERIMENTS="E1 --data digits" runs less
experiments: $(VENV)/.bench
	$(BIN)/python -m benchmarks.experiments $(or $(EXPERIMENTS),all)

gpu:
	$(GPU_PYTHON) -m benchmarks.gpu.campaign $(OUT)

# the operator tests with AddressSanitizer and UndefinedBehaviorSanitizer, in a build of their own
SANITIZED = build/sanitize/lib
sanitize: $(VENV)/.ready
	ACS_FAST_BUILD=cpu ACS_FAST_SANITIZE=1 $(BIN)/python setup.py --quiet build --build-base build/sanitize --build-lib $(SANITIZED)
	rm -rf $(SANITIZED)/tests && cp -r tests $(SANITIZED)/tests
	cd $(SANITIZED) && LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libubsan.so) $$(c++ -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 ACS_FAST_REQUIRE=cpu HYPOTHESIS_STORAGE_DIRECTORY=.hypothesis \
	  $(abspath $(BIN))/python -m pytest -q -c /dev/null --rootdir . -p no:cacheprovider tests/ops

clean:
	rm -rf $(VENV) build dist *.egg-info acs_fast/*.so acs_fast/_build.py runs
