# Everything runs in .venv, which `make install` makes with any Python from 3.11 on. PYTHON=… chooses another one.
PYTHON ?= python3
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help install demo run test coverage lint check-migrations client check-client check-kubernetes alerts retention pgbouncer browser bench chaos interop containers lock clean

help:
	@echo 'make demo        the whole journey on this machine: install, start, link, query, refresh, revoke'
	@echo 'make run         a database, a sandbox bank and a broker, left running, to be tried in a browser'
	@echo 'make test        the test suite'
	@echo 'make coverage    the same, and which lines of the broker it reaches (twice the time)'
	@echo 'make install     only the installation, into .venv'
	@echo 'make lint        linter, formatter, type checker, import contract, migrations'
	@echo 'make chaos       the refresh protocol under kills, outages and faults (QUICK=1: two minutes)'
	@echo 'make client      make the Python client and the Postman collection anew from the OpenAPI document'
	@echo 'make browser     the pages in a real browser (fetches Chromium from Debian where it is missing)'
	@echo 'make alerts      the alert rules, tested with promtool (fetches it from Debian where it is missing)'
	@echo 'make check-kubernetes  the manifests, against the schemas of Kubernetes; rendered, where there is kubectl'
	@echo 'make containers  the images and docker-compose.yml, tried by way of the gateway (needs Docker; three minutes)'
	@echo 'make interop     the journey against a certified OpenID provider that others wrote (needs Node; QUICK=1: a minute)'
	@echo 'make pgbouncer   the broker by way of PgBouncer in transaction mode (fetches it from Debian where it is missing)'
	@echo 'make retention   housekeeping on a million rows of each kind (ROWS=…; some ten minutes)'
	@echo 'make bench       what a query, a session and a start cost, beside other proxies (QUICK=1; needs Linux; Node for one peer)'
	@echo 'make lock        write both locks anew from pyproject.toml (needs uv)'

install: .venv/installed

.venv/installed: pyproject.toml requirements.lock client/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or newer is needed; name one with make PYTHON=python3.13'; exit 1; }
	@test -x .venv/bin/python || { echo 'making .venv'; $(PYTHON) -m venv .venv; }
	@echo 'installing (once; one to four minutes)'
	@.venv/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	@.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable . --editable client
	@touch .venv/installed

demo: install
	@.venv/bin/broker demo

run: install
	@.venv/bin/broker demo --keep-running

test: install
	.venv/bin/python -m pytest -n 3 --dist worksteal

# Measuring doubles what the suite costs, so it is not what everybody waits for.
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

# Debian's package has promtool; it is unpacked, not installed, so nothing is started and no rights are needed.
PROMTOOL := $(or $(shell command -v promtool),.tools/prometheus/usr/bin/promtool)

alerts: $(PROMTOOL)
	@cd deploy/prometheus && promtool=$$(realpath --relative-to=. $(abspath $(PROMTOOL))) \
		&& "$$promtool" check rules alerts.yml && "$$promtool" test rules test_alerts.yml

.tools/prometheus/usr/bin/promtool:
	@command -v apt-get >/dev/null || { echo 'put promtool (it comes with Prometheus) on the PATH'; exit 1; }
	@echo 'fetching promtool: Debian package prometheus, unpacked below .tools'
	@mkdir -p .tools && rm -rf .tools/packages && mkdir .tools/packages
	@cd .tools/packages && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } \
		&& dpkg -x prometheus_*.deb ../prometheus && cd .. && rm -rf packages

# PgBouncer and what it needs, unpacked from Debian's packages in the same way; on the PATH, it is used as it is.
PGBOUNCER := $(or $(shell command -v pgbouncer),.tools/pgbouncer/usr/sbin/pgbouncer)

pgbouncer: install $(PGBOUNCER)
	PGBOUNCER=$(abspath $(PGBOUNCER)) LD_LIBRARY_PATH=$(firstword $(wildcard .tools/pgbouncer/usr/lib/*-linux-gnu)) \
		.venv/bin/python -m pytest tests/store/postgresql/test_pgbouncer.py

.tools/pgbouncer/usr/sbin/pgbouncer:
	@command -v apt-get >/dev/null || { echo 'put pgbouncer on the PATH'; exit 1; }
	@echo 'fetching PgBouncer: Debian packages, unpacked below .tools'
	@mkdir -p .tools && rm -rf .tools/packages && mkdir .tools/packages
	@cd .tools/packages && libraries=$$(apt-cache depends pgbouncer | sed -n 's/.*Depends: \(lib\(c-ares\|cares\|event\)[^ ]*\)/\1/p') \
		&& apt-get download -qq pgbouncer $$libraries \
		&& for package in *.deb; do dpkg -x $$package ../pgbouncer; done && cd .. && rm -rf packages

retention: install
	@.venv/bin/python -m benchmarks.retention $(ROWS)

browser: install .venv/browser
	.venv/bin/python -m pytest tests/browser

# PICTURES=directory keeps a picture of every page; CHROMIUM=path takes another browser.
.venv/browser: tests/browser/requirements.lock
	@test -n "$$CHROMIUM" || command -v chromium >/dev/null || { echo 'fetching Chromium: Debian package chromium'; \
		apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1 || { apt-get update -qq \
		&& apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
		|| { echo 'install chromium, or name a browser with make browser CHROMIUM=path'; exit 1; }; }
	@echo 'installing Playwright and axe'
	@.venv/bin/python -m pip install --quiet --no-deps --require-hashes -r tests/browser/requirements.lock
	@touch .venv/browser

bench: install
	@.venv/bin/python -m benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

interop: install
	@.venv/bin/python -m interop $(if $(QUICK),--quick)

# PREPARE names a program that provides a container engine and the public images, for a machine that has none.
PREPARE ?= $(wildcard ../shared/containers/prepare)
containers: install
	@.venv/bin/python -m containers $(if $(PREPARE),--prepare $(PREPARE))

# The schemas of every Kubernetes version are large, so what holds them has an environment of its own too.
KUBERNETES_VERSIONS = 1.31 1.37
deploy/kubernetes/.venv/installed: deploy/kubernetes/check.lock
	@$(PYTHON) -m venv deploy/kubernetes/.venv
	@deploy/kubernetes/.venv/bin/python -m pip install --quiet --no-deps --require-hashes -r deploy/kubernetes/check.lock
	@touch deploy/kubernetes/.venv/installed

check-kubernetes: deploy/kubernetes/.venv/installed
	@deploy/kubernetes/check $(KUBERNETES_VERSIONS)

# The generator has an environment of its own, so that what it needs does not decide what the broker runs on.
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
		|| { git status --short client docs/postman.json; echo 'the client is not current: run make client, and commit what it changes'; exit 1; }

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
