# Everything runs in .venv, which `make install` makes with any Python from 3.11 on. PYTHON=… chooses another one.
PYTHON ?= python3
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help install demo run test lint check-migrations bench chaos interop containers lock clean

help:
	@echo 'make demo        the whole journey on this machine: install, start, link, query, refresh, revoke'
	@echo 'make run         the same, left running, to try in a browser'
	@echo 'make test        the test suite'
	@echo 'make install     only the installation, into .venv'
	@echo 'make lint        linter, formatter, type checker, import contract, migrations'
	@echo 'make chaos       the refresh protocol under kills, outages and faults (QUICK=1: two minutes)'
	@echo 'make lock        write both locks anew from pyproject.toml (needs uv)'

install: .venv/installed

.venv/installed: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or newer is needed; name one with make PYTHON=python3.13'; exit 1; }
	@test -x .venv/bin/python || { echo 'making .venv'; $(PYTHON) -m venv .venv; }
	@echo 'installing (once; about a minute)'
	@.venv/bin/python -m pip install --quiet --require-hashes -r requirements.lock
	@.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch .venv/installed

demo: install
	@.venv/bin/broker demo

run: install
	@.venv/bin/broker demo --keep-running

test: install
	.venv/bin/python -m pytest -n 2 --dist worksteal --cov --cov-report=term

lint: install check-migrations
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

check-migrations: install
	@data=$$(mktemp -d) && chmod 755 "$$data" && trap 'rm -rf "$$data"' EXIT && export BROKER_DATA_DIR="$$data" \
		&& .venv/bin/broker migrate && .venv/bin/alembic check

chaos: install
	@.venv/bin/python -m chaos $(if $(QUICK),--quick) $(if $(SEED),--seed $(SEED))

bench:
	@echo 'make bench: not yet; it comes with the query path'; exit 1

interop:
	@echo 'make interop: not yet; it comes with the ecosystem'; exit 1

containers:
	@echo 'make containers: not yet; docker compose up --build tries the image'; exit 1

lock:
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --all-extras \
		--python-version 3.11 pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --constraint requirements.lock pyproject.toml -o requirements-runtime.lock

clean:
	rm -rf .venv .data .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
