.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.PHONY: help serve test test-again check bench

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

serve: $(INSTALLED)  ## Install what is needed and run the server on http://127.0.0.1:5001
	@$(BIN)/batchscribe serve

test: $(INSTALLED_DEV)  ## Install what is needed and run every test
	@$(BIN)/pytest -n 2 --dist loadgroup

test-again: $(INSTALLED_DEV)  ## Run what failed last time once more, with the machine to itself
	@$(BIN)/pytest --last-failed --last-failed-no-failures none -n 0

check: $(INSTALLED_DEV)  ## Formatting, lint, types, layers: with `make test`, all that CI runs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(INSTALLED_DEV)  ## Measure word error rate, speed, memory and overhead (see benchmarks/README.md)
	@$(BIN)/python -m benchmarks

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "BatchScribe needs Python 3.11 or newer.")'
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml | $(VENV)/bin/pip
	@echo "Installing (about half a minute; the base model comes with it)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(INSTALLED_DEV): pyproject.toml | $(VENV)/bin/pip
	@echo "Installing with what the tests need"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(INSTALLED)
