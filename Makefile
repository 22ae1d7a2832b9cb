# The verbs of this repository. Only python3 (3.11 or newer) and make are presumed.

PYTHON ?= python3
BIN := .venv/bin
ANVIL := attestations/chain/anvil
RUN := $(BIN)/python -W error::SyntaxWarning
# Fault tests at once, each with a platform of its own: they wait more than they work.
PLATFORMS ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup demo up test check format lint types browser faults bench screenshots lock clean

help: ## list the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Affidavit needs Python 3.11 or newer: make PYTHON=python3.12 …") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv

.venv/.run: requirements.lock | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@touch $@

.venv/.dev: requirements-dev.lock | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@ .venv/.run

# The local chain. Everything else runs without it, so that neither npm nor the network is presumed here.
$(ANVIL)/node_modules/.installed: $(ANVIL)/package-lock.json
	@if ! command -v npm >/dev/null; then \
	  echo "No npm here: the platform runs without its local chain, and publishes nothing." >&2; \
	elif npm ci --prefix $(ANVIL) --omit=dev --ignore-scripts --silent >/dev/null 2>&1; then \
	  touch $@; \
	else \
	  echo "npm could not install the local chain ($(ANVIL)): the platform runs without it, and publishes nothing." >&2; \
	fi

setup: .venv/.run $(ANVIL)/node_modules/.installed ## make .venv and install what the platform needs

demo: .venv/.run $(ANVIL)/node_modules/.installed ## run everything and push one real generation through (ARGS=--once for scripts)
	@$(BIN)/python manage.py demo $(ARGS)

up: .venv/.run $(ANVIL)/node_modules/.installed ## run the platform alone on PORT (8000)
	@$(BIN)/python manage.py up --port $(or $(PORT),8000) $(ARGS)

test: .venv/.dev $(ANVIL)/node_modules/.installed ## the test suite but for browser and fault tests
	$(BIN)/pytest -q -n auto --maxprocesses=4 --dist loadfile -m "not browser and not faults" $(ARGS)

check: .venv/.dev format lint types ## what CI runs
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --fail-level WARNING
	$(MAKE) test
	$(BIN)/pytest -q -m "browser and not faults" $(ARGS)
	$(BIN)/pytest -q -n $(PLATFORMS) --dist worksteal -m "faults" $(ARGS)

format: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/djade --target-version 5.2 --check $$(git ls-files 'templates/*.html')

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/django-upgrade --target-version 5.2 --check $$(git ls-files '*.py')

types: .venv/.dev
	$(BIN)/mypy

faults: .venv/.dev $(ANVIL)/node_modules/.installed ## kill processes and servers for real, at length
	$(BIN)/pytest -q -n $(PLATFORMS) --dist worksteal -m faults --long $(ARGS)

bench: .venv/.dev $(ANVIL)/node_modules/.installed ## measure, print a table, write benchmarks/results/latest.json
	$(BIN)/python -m benchmarks $(ARGS)

screenshots: .venv/.dev ## take the pictures in docs/images anew, of a platform of their own
	$(BIN)/python -m tests.browser.screenshots

lock: .venv/.dev ## compile pyproject.toml into the hash-pinned locks
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header pyproject.toml -o requirements-production.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra embedded --extra demo pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra embedded --extra demo --group dev pyproject.toml -o requirements-dev.lock

clean: ## remove .venv and caches (never var/, which holds data)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
