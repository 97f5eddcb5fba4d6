# Everything runs in .venv, which `make install` creates with Python 3.11 or newer. PYTHON=… chooses the interpreter.
PYTHON ?= python3
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Without cached bytecode, each test worker and each `broker` process would compile its modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo run test coverage lint check-migrations client check-client check-kubernetes alerts retention pgbouncer browser bench chaos interop containers lock clean

help:
	@echo 'make demo        install and run the whole journey: start, link, query, refresh, revoke'
	@echo 'make run         start a database, a sandbox bank and a broker, and keep them running to try in a browser'
	@echo 'make test        run the test suite'
	@echo 'make coverage    run the test suite and report the coverage of the broker (takes twice as long)'
	@echo 'make install     only install, into .venv'
	@echo 'make lint        run the linter, the formatter, the type checker, and the import and migration checks'
	@echo 'make chaos       test the refresh protocol under kills, outages and faults (QUICK=1: two minutes)'
	@echo 'make client      regenerate the Python client and the Postman collection from the OpenAPI document'
	@echo 'make browser     test the pages in a real browser (downloads Chromium from Debian if it is missing)'
	@echo 'make alerts      test the alert rules with promtool (downloads it from Debian if it is missing)'
	@echo 'make check-kubernetes  validate the manifests against the schemas of Kubernetes; renders them if kubectl is installed'
	@echo 'make containers  test the images and docker-compose.yml through the gateway (needs Docker; three minutes)'
	@echo 'make interop     run the journey against a certified OpenID provider (needs Node; QUICK=1: a minute)'
	@echo 'make pgbouncer   test the broker behind PgBouncer in transaction mode (downloads it from Debian if it is missing)'
	@echo 'make retention   run housekeeping on a million rows of each table (ROWS=…; about ten minutes)'
	@echo 'make bench       measure queries, sessions and start-up, and compare with other proxies (QUICK=1; needs Linux)'
	@echo 'make lock        update all lock files from pyproject.toml (needs uv)'

install: .venv/installed

.venv/installed: pyproject.toml requirements.lock client/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or newer is needed; choose one with make PYTHON=python3.13'; exit 1; }
	@test -x .venv/bin/python || { echo 'creating .venv'; $(PYTHON) -m venv .venv; }
	@echo 'installing (only once; takes one to four minutes)'
	@.venv/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	@.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable . --editable client
	@touch .venv/installed

demo: install
	@.venv/bin/broker demo

run: install
	@.venv/bin/broker demo --keep-running

test: install
	.venv/bin/python -m pytest -n 3 --dist worksteal

# Separate from `test` because measuring coverage doubles the time.
coverage: install
	.venv/bin/python -m pytest -n 3 --dist worksteal --cov --cov-report=term

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

# Debian's package is unpacked and not installed, so it needs no privileges and starts no service.
PROMTOOL := $(or $(shell command -v promtool),.tools/prometheus/usr/bin/promtool)

alerts: $(PROMTOOL)
	@cd deploy/prometheus && promtool=$$(realpath --relative-to=. $(abspath $(PROMTOOL))) \
		&& "$$promtool" check rules alerts.yml && "$$promtool" test rules test_alerts.yml

.tools/prometheus/usr/bin/promtool:
	@command -v apt-get >/dev/null || { echo 'install promtool (part of Prometheus) and put it on the PATH'; exit 1; }
	@echo 'downloading promtool: Debian package prometheus, unpacked into .tools'
	@mkdir -p .tools && rm -rf .tools/packages && mkdir .tools/packages
	@cd .tools/packages && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } \
		&& dpkg -x prometheus_*.deb ../prometheus && cd .. && rm -rf packages

# PgBouncer and its libraries are unpacked in the same way, unless PgBouncer is on the PATH.
PGBOUNCER := $(or $(shell command -v pgbouncer),.tools/pgbouncer/usr/sbin/pgbouncer)

pgbouncer: install $(PGBOUNCER)
	PGBOUNCER=$(abspath $(PGBOUNCER)) LD_LIBRARY_PATH=$(firstword $(wildcard .tools/pgbouncer/usr/lib/*-linux-gnu)) \
		.venv/bin/python -m pytest tests/store/postgresql/test_pgbouncer.py

.tools/pgbouncer/usr/sbin/pgbouncer:
	@command -v apt-get >/dev/null || { echo 'install pgbouncer and put it on the PATH'; exit 1; }
	@echo 'downloading PgBouncer: Debian packages, unpacked into .tools'
	@mkdir -p .tools && rm -rf .tools/packages && mkdir .tools/packages
	@cd .tools/packages && libraries=$$(apt-cache depends pgbouncer | sed -n 's/.*Depends: \(lib\(c-ares\|cares\|event\)[^ ]*\)/\1/p') \
		&& apt-get download -qq pgbouncer $$libraries \
		&& for package in *.deb; do dpkg -x $$package ../pgbouncer; done && cd .. && rm -rf packages

retention: install
	@.venv/bin/python -m benchmarks.retention $(ROWS)

browser: install .venv/browser
	.venv/bin/python -m pytest tests/browser

# PICTURES=directory saves a screenshot of every page. CHROMIUM=path chooses the browser.
.venv/browser: tests/browser/requirements.lock
	@test -n "$$CHROMIUM" || command -v chromium >/dev/null || { echo 'downloading Chromium: Debian package chromium'; \
		apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1 || { apt-get update -qq \
		&& apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
		|| { echo 'install chromium, or choose a browser with make browser CHROMIUM=path'; exit 1; }; }
	@echo 'installing Playwright and axe'
	@.venv/bin/python -m pip install --quiet --no-deps --require-hashes -r tests/browser/requirements.lock
	@touch .venv/browser

bench: install
	@.venv/bin/python -m benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

interop: install
	@.venv/bin/python -m interop $(if $(QUICK),--quick)

# PREPARE: a program that provides a container engine and the public images on a machine without them.
PREPARE ?= $(wildcard ../shared/containers/prepare)
containers: install
	@.venv/bin/python -m containers $(if $(PREPARE),--prepare $(PREPARE))

# The schemas of all Kubernetes versions are large, so they have a virtual environment of their own.
KUBERNETES_VERSIONS = 1.31 1.37
deploy/kubernetes/.venv/installed: deploy/kubernetes/check.lock
	@$(PYTHON) -m venv deploy/kubernetes/.venv
	@deploy/kubernetes/.venv/bin/python -m pip install --quiet --no-deps --require-hashes -r deploy/kubernetes/check.lock
	@touch deploy/kubernetes/.venv/installed

check-kubernetes: deploy/kubernetes/.venv/installed
	@deploy/kubernetes/check $(KUBERNETES_VERSIONS)

# The generator has a virtual environment of its own, so that its dependencies do not constrain the broker's.
client/.venv/installed: client/generator.lock
	@$(PYTHON) -m venv client/.venv
	@client/.venv/bin/python -m pip install --quiet --no-deps --require-hashes -r client/generator.lock
	@touch client/.venv/installed

client: install client/.venv/installed
	@.venv/bin/broker openapi > client/openapi.json
	@.venv/bin/broker openapi --postman > docs/postman.json
	@PATH="$(CURDIR)/client/.venv/bin:$$PATH" openapi-python-client generate --path client/openapi.json --meta none \
		--config client/generator.yaml --overwrite --output-path client/broker_client/generated

check-client: client
	@test -z "$$(git status --porcelain client docs/postman.json)" \
		|| { git status --short client docs/postman.json; echo 'the client is out of date: run make client and commit the changes'; exit 1; }

lock:
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --all-extras \
		--python-version 3.11 pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --constraint requirements.lock pyproject.toml -o requirements-runtime.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 client/generator.in -o client/generator.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --constraint requirements.lock tests/browser/requirements.in \
		-o tests/browser/requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 deploy/kubernetes/check.in -o deploy/kubernetes/check.lock

clean:
	rm -rf .venv client/.venv deploy/kubernetes/.venv .data .tools .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
