# Everything one does with this repository. Needs Python 3.11 or newer with venv, and make; only `system` needs root.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
PIP := $(BIN)/pip --disable-pip-version-check -qq
# Hashes are checked for every package that is fetched; penstock itself is built with the backend that they cover.
INSTALL_LOCK = $(PIP) install --require-hashes --requirement
INSTALL_SELF = $(PIP) install --no-deps --no-build-isolation --editable .
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup system serve demo test check fix bench lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(DEV) ## a virtual environment in .venv with everything that work on penstock needs

system: ## the Debian packages that a bare machine lacks (the only target that needs root)
	apt-get update
	DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
		python3 python3-venv make git ca-certificates gcc libc6-dev nginx

serve: $(RUNTIME) ## start the gateway; the first start makes data/ and prints a key
	$(BIN)/penstock serve

demo: $(RUNTIME) ## the same, with the offline demo provider beside what is configured
	PENSTOCK_DEMO=on $(BIN)/penstock serve

test: $(DEV) ## run the tests; ARGS='tests/core -k limit' runs a part
	$(BIN)/pytest $(ARGS)

check: $(DEV) ## linters, types, import arrows, sizes
	@for step in 'ruff check' 'ruff format --check' 'mypy' 'lint-imports --no-cache --no-logo' \
		'pytest --quiet tests/test_sizes.py tests/test_imports.py tests/test_docs.py'; do \
		printf '\n== %s\n' "$$step"; $(BIN)/$$step || failed="$$failed\n  $$step"; done; \
	if [ -n "$$failed" ]; then printf "\nFailed:$$failed\n"; exit 1; fi; printf '\nAll checks passed.\n'

fix: $(DEV) ## let ruff mend and format what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(DEV) ## measure the CPU cost of a call against nginx
	$(BIN)/python bench/run.py $(ARGS)

lock: $(DEV) ## compile the locks anew; ARGS=--upgrade takes the newest releases
	$(COMPILE) $(ARGS) --group build --output-file requirements.txt
	$(COMPILE) $(ARGS) --group dev --constraint requirements.txt --output-file requirements-dev.txt

clean: ## remove the virtual environment and what the tools left (never data/)
	rm -rf $(VENV) build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache

# One stamp per lock, younger than the lock that it stands for.

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'penstock needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo 'No venv: on Debian, run "make system" as root, or install python3-venv.' >&2; exit 1; }

$(RUNTIME): requirements.txt pyproject.toml | $(BIN)/pip
	@echo 'Installing what penstock needs into $(VENV) ...'
	@$(INSTALL_LOCK) requirements.txt
	@$(INSTALL_SELF)
	@touch $@

$(DEV): requirements-dev.txt pyproject.toml | $(BIN)/pip
	@echo 'Installing what penstock and its tests need into $(VENV) ...'
	@$(INSTALL_LOCK) requirements-dev.txt
	@$(INSTALL_SELF)
	@touch $@ $(RUNTIME)
