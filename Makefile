# `make demo` and `make test` set everything up by themselves; `make help` lists the rest.

# Any Python of 3.11 or newer; tools/environment.sh looks for one where this is empty.
PYTHON ?=
PYTEST_ARGS ?=
# Several processes share the test files; PARALLEL= runs them in one.
PARALLEL ?= -n logical --maxprocesses 4 --dist loadfile
# A folder with mitochondria_low.tif and mitochondria_high.tif, for benchmarks and models on real images.
PAIRS ?=
# A real pair that the demo shows beside the simulated one, by the names of its two files.
DEMO_LOW ?= ../shared/data/high_low/actin-20x-noise1_low.tif
DEMO_HIGH ?= $(DEMO_LOW:_low.tif=_high.tif)
# A Python of 3.9 to 3.11 for CSBDeep; benchmarks/peers.sh looks for one where this is empty.
PEER_PYTHON ?=
# --quick measures for five minutes, --tiny only shows that everything runs.
BENCH_ARGS ?=
# PEERS= makes no environments for CSBDeep and CAREamics; those that are there are used.
PEERS ?= yes
# What `make test-windows` runs; WINDOWS_TESTS=tests for all.
WINDOWS_TESTS ?= tests/io tests/models tests/training/test_resuming.py tests/training/test_to_file.py \
	tests/restoration/test_to_file.py tests/restoration/test_plates.py tests/restoration/test_folders.py \
	tests/following/test_to_file.py tests/following/sources tests/cli/test_files.py tests/widgets/layers \
	tests/widgets/train/test_queue.py
# Of `make torture`: some of its sections by name, and the part of their full counts.
SECTIONS ?=
SCALE ?= 1

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_BENCH := $(VENV)/.installed-bench

SCREEN := xvfb-run -a -s "-screen 0 1600x1000x24"
# Linux without a screen: tests open their windows on a virtual one.
ifeq ($(shell uname -s),Linux)
ifeq ($(DISPLAY)$(WAYLAND_DISPLAY),)
ON_A_SCREEN := $(SCREEN)
endif
endif

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Or every one of the many processes of the tests compiles its modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-lowest test-windows test-slow torture lint format docs models screenshots bench package clean system-libraries

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) system-libraries ## restore a low-exposure stack; opens napari on a display
	$(BIN)/napari-care-losses demo $(if $(and $(wildcard $(DEMO_LOW)),$(wildcard $(DEMO_HIGH))),--pair "$(DEMO_LOW)" "$(DEMO_HIGH)")

test: $(INSTALLED) system-libraries ## run the tests that take seconds each
	$(ON_A_SCREEN) $(BIN)/python -m pytest -m "not slow" $(PARALLEL) $(PYTEST_ARGS)

test-lowest: $(INSTALLED) system-libraries ## run some tests with the lowest versions of all dependencies that are allowed
	$(ON_A_SCREEN) bash tools/test_lowest.sh build/lowest $(BIN)/python

test-windows: $(INSTALLED) system-libraries ## run the tests of files as on Windows, where files in use stay
	$(ON_A_SCREEN) $(BIN)/python -m pytest -m "not slow" --windows-files $(PARALLEL) $(WINDOWS_TESTS) $(PYTEST_ARGS)

test-slow: $(INSTALLED) system-libraries ## run the tests that take minutes each
	$(ON_A_SCREEN) $(BIN)/python -m pytest -m slow --timeout 3600 $(PYTEST_ARGS)

torture: $(INSTALLED) system-libraries ## kill, starve and flood it for hours; SECTIONS="kill soak" SCALE=0.1
	$(ON_A_SCREEN) $(BIN)/python tests/torture/torture.py $(SECTIONS) --scale $(SCALE)

lint: $(INSTALLED_DEV) ## check style, types and the walls between the folders
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED_DEV) ## rewrite the code in the project's style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(INSTALLED) ## build the site of the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

models: $(INSTALLED) ## train the bundled models anew; PAIRS=folder for real images besides
	$(BIN)/python tools/train_bundled.py $(if $(PAIRS),--pairs "$(PAIRS)")

screenshots: $(INSTALLED) system-libraries ## take the pictures of docs/images anew
	$(SCREEN) $(BIN)/python docs/make_screenshots.py

bench: $(INSTALLED_BENCH) system-libraries ## measure beside CSBDeep and CAREamics; PAIRS=folder for real images
	$(if $(PEERS),PEER_PYTHON="$(PEER_PYTHON)" bash benchmarks/peers.sh build/bench/env $(BIN)/python)
	$(BIN)/python benchmarks/bench.py $(if $(PAIRS),--pairs "$(PAIRS)") $(BENCH_ARGS)

package: $(INSTALLED) ## build the wheel and the sdist into dist/, and check them
	bash tools/package.sh $(BIN)/python

clean: ## remove the environment, builds and caches
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -path ./.git -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

# Checked every time: it takes no time, and the answer can change without any file of ours changing.
system-libraries:
	@bash tools/system_libraries.sh

$(INSTALLED): pyproject.toml constraints.txt tools/environment.sh
	PYTHON="$(PYTHON)" bash tools/environment.sh $(VENV) ".[all,test]"
	@touch $@

$(INSTALLED_BENCH): $(INSTALLED) benchmarks/requirements.txt
	$(BIN)/python -m pip install --retries 5 -c constraints.txt -r benchmarks/requirements.txt
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	PYTHON="$(PYTHON)" bash tools/environment.sh $(VENV) ".[all,test,dev]"
	@touch $@
