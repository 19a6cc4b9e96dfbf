# What can be done here; `make` alone prints it. The environment makes and renews itself.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
BIN := .venv/bin
MESSAGE ?= change
# A lock names all there is, so that nothing has to be resolved.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes
# Measuring coverage doubles the time of a test, so it is not measured where it shows nothing: where every resource is
# held to the same, of which one shows it all; in other processes; and on PostgreSQL, but for what only that does.
BROAD := contract or schemathesis.py or readme.py or secrets.py or adding_a_resource.py or test_a_browser or (thousand and postgresql)
BOTH := kit or superuser or migrations
TRACED := sqlite-gadgets or not ($(BROAD)) and ($(BOTH) or not postgresql)
# These kill, crowd and restart, so they want the machine for themselves.
FAULTS := tests/faults

.DEFAULT_GOAL := help
.PHONY: help run test test-faults bench check format migrate superuser migration lock clean

help: ## Print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-11s %s\n", $$1, $$2}'

run: .venv/run ## Migrate and serve; DATABASE_URL=postgresql://… for PostgreSQL, HOST= and PORT= for another place
	@echo "The docs will be at http://$(HOST):$(PORT)/docs, the heroes at http://$(HOST):$(PORT)/heroes/"
	@exec $(BIN)/uvicorn main:app --host $(HOST) --port $(PORT)

test: .venv/dev ## Run the tests on SQLite and PostgreSQL; ARGS= for pytest
	@$(BIN)/pytest -n 2 --dist worksteal --ignore=$(FAULTS) $(ARGS)

test-faults: .venv/dev ## Run the tests that kill, crowd and restart real processes; ends with what was seen
	@$(BIN)/pytest -q $(FAULTS)

bench: .venv-bench/ready benchmarks/peers/fastify/node_modules ## Measure against others, in an hour; QUICK=1 for three minutes, ARGS= as in ARGS=--help
	@.venv-bench/bin/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

check: export PYTHONDONTWRITEBYTECODE = # or six processes compile everything anew
check: export BRIEF = 1# so that it takes less than five minutes
check: .venv/dev ## The gate: format, lint, types, tests, and every line and branch covered
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -n 2 .
	$(BIN)/pytest -q -n 2 --dist worksteal --ignore=$(FAULTS) -k "not ($(TRACED))"
	$(BIN)/pytest -q -n 2 --dist worksteal --ignore=$(FAULTS) -k "$(TRACED)" --cov --cov-report=term \
		-p no:schemathesis --ignore=tests/contract --ignore=tests/test_schemathesis.py

format: .venv/dev ## Format the code and mend what ruff can
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

migrate: .venv/run ## Bring the database of DATABASE_URL up to date
	@$(BIN)/alembic upgrade head && $(BIN)/alembic current

superuser: .venv/run ## Make a superuser; asks, or takes SUPERUSER_USERNAME, SUPERUSER_EMAIL, SUPERUSER_PASSWORD
	@$(BIN)/python superuser.py

migration: .venv/dev ## Write a migration for what changed in the models; MESSAGE="add villains"
	@$(BIN)/alembic upgrade head
	@$(BIN)/alembic revision --autogenerate -m "$(MESSAGE)"

lock: .venv/dev ## Renew requirements.txt and requirements-dev.txt from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --upgrade pyproject.toml -o requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --upgrade requirements.txt benchmarks/requirements.in -o benchmarks/requirements.txt

clean: ## Remove what was made: the environment, caches, coverage; never a database
	@rm -rf .venv .venv-bench benchmarks/peers/fastify/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* build
	@find . -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "Python's venv module is missing; on Debian: apt install python3-venv"; exit 1; }

.venv/run: requirements.txt .venv/bin/python
	@echo "Installing what the service needs …"
	@$(INSTALL) -r requirements.txt
	@touch $@

.venv/dev: requirements-dev.txt requirements.txt .venv/bin/python # has all that .venv/run has, and more
	@echo "Installing what the service and its tests need …"
	@$(INSTALL) -r requirements-dev.txt
	@touch .venv/run $@

.venv-bench/ready: benchmarks/requirements.txt .venv/bin/python
	@echo "Installing what the benchmark and its peers need …"
	@$(BIN)/python -m venv .venv-bench
	@.venv-bench/bin/pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/requirements.txt
	@touch $@

benchmarks/peers/fastify/node_modules: benchmarks/peers/fastify/package-lock.json
	@if command -v npm > /dev/null; then cd $(@D) && npm ci --silent --no-audit --no-fund && touch node_modules; fi
