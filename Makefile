# Every target sets up .venv from requirements.lock, the first time and whenever the lock or
# pyproject.toml changes.
# The system's Python comes first, where it can make environments: it is built with optimisations
# that one which pyenv built lacks, and the tests take an eighth less time.
PYTHON ?= $(shell for found in /usr/bin/python3.1[1-4]; do \
	$$found -c 'import ensurepip' 2>/dev/null && echo $$found && exit; done; echo python3)
BIN := .venv/bin
READY := .venv/ready

# The tests start many processes, so modules are compiled once, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo check test goldens torture mutants lowest versions bench bundle docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## run the whole experiment on the bundled models and images
	@$(BIN)/purescope demo

check: $(READY) ## check lint, format, types and floors (import layers), without any test
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy src bundle benchmarks experiments mutants versions
	$(BIN)/lint-imports --no-logo --no-cache

test: check ## run what a change must pass: the checks, then every test and example
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

goldens: $(READY) ## accept the changes of the goldens and show them; a reviewer reads `git diff`
	$(BIN)/python -m tests.goldens --accept

torture: $(READY) ## run the long robustness tests: hundreds of kills, over 20,000 damaged files, all payloads at all doors
	PURESCOPE_TORTURE=1 $(BIN)/python -m pytest --quiet --capture=no tests/torture tests/reduce/forms

mutants: $(READY) ## change maths, tables, cache and readers by one small error at a time (hundreds), and check that tests notice each
	@$(BIN)/python -m mutants

lowest: $(READY) ## run the quick tests with the lowest versions that pyproject.toml allows (6 GB in build/versions)
	$(BIN)/python -m versions --lowest

versions: $(READY) ## install and try purescope on each installed Python, one after the other (minutes and 6 GB each)
	$(BIN)/python -m versions

bench: $(READY) ## time the evaluation against the plain way, and print the ratios
	@$(BIN)/python -m benchmarks

bundle: $(READY) ## rebuild the bundled models and images from their sources (about 90 minutes; needs npm)
	@$(BIN)/python -m bundle

docs: $(READY) ## build the documentation site in build/docs, and check every link
	$(BIN)/sphinx-build -W --keep-going --quiet --jobs auto -b html docs build/docs
	$(BIN)/python docs/check_links.py build/docs

lock: $(READY) ## write the newest versions that pyproject.toml allows to requirements.lock, with hashes
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade --generate-hashes \
		--no-annotate --no-emit-index-url --custom-compile-command "make lock" --quiet --output-file requirements.lock

clean: ## remove .venv, pages and caches, but not build/bundle, which takes hours to make
	rm -rf .venv build/docs build/versions dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("purescope needs Python 3.11 or newer: make PYTHON=...")'
	@echo "Setting up .venv from requirements.lock (about 3 minutes and 6 GB the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
