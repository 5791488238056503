# Two commands are enough: `make demo`, then `make run`. Everything lives in .venv and one data folder.
PYTHON ?= python3
PORT ?= 8765
SECONDS ?= 150
BIN := .venv/bin
# A root user's PostgreSQL runs under another account, which may not enter root's home: keep its data where it can.
DEMO_DATA := $(if $(filter 0,$(shell id -u)),/var/lib/alexandria/demo-$(firstword $(shell echo '$(CURDIR)' | cksum)),$(CURDIR)/data)
export ALEXANDRIA_DATA_DIR ?= $(DEMO_DATA)

.PHONY: help setup demo run test soak rehearsal check screenshots mutants bench bench-quota lock clean
help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/installed  ## make the virtual environment with the locked dependencies

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Alexandria needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@

.venv/installed-bench: .venv/installed-dev requirements-bench.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	touch $@

demo: setup  ## set up everything and harvest a sandbox into a catalogue
	$(BIN)/alexandria demo

run: setup  ## serve the API and the dashboard on 127.0.0.1 over the demo's data
	$(BIN)/alexandria demo --serve --port $(PORT)

test: .venv/installed-dev  ## run the tests; a part of them: make test ARGS="-k quota"
	$(BIN)/python -m pytest $(ARGS)

soak: .venv/installed-dev  ## keep the quota under fire for minutes: make soak SECONDS=180
	$(BIN)/python -m pytest tests/end_to_end/test_quota_under_fire.py --soak-seconds $(SECONDS) -s $(ARGS)

rehearsal: setup  ## rehearse a whole provider day with everything, in 13 minutes; make rehearsal ARGS="--short"
	$(BIN)/python -m alexandria.rehearsal $(ARGS)

check: .venv/installed-dev  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

screenshots: .venv/installed-dev  ## make the pictures of docs/dashboard.md anew; needs a Chromium
	cd tests && ../$(BIN)/python -m dashboard.screenshots $(ARGS)

mutants: .venv/installed-dev  ## break the quota's rules one by one and see the tests notice
	$(BIN)/python tests/mutants.py $(ARGS)

bench: .venv/installed-dev  ## run every benchmark; each prints ratios measured in one run
	@for file in bench/bench_*.py; do $(BIN)/python $$file || exit 1; done

bench-quota: .venv/installed-bench  ## what the quota costs, and the quota beside other rate limiters
	@for file in bench/bench_quota.py bench/bench_limiters.py; do $(BIN)/python $$file || exit 1; done

lock: .venv/installed-dev  ## choose new versions for the locked requirements
	$(BIN)/uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet pyproject.toml --group build --output-file requirements.lock
	$(BIN)/uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet pyproject.toml --group build --group dev --constraint requirements.lock --output-file requirements-dev.lock
	$(BIN)/uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --group bench --constraint requirements-dev.lock --output-file requirements-bench.lock

clean:  ## remove the environment and the caches, not the data
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
