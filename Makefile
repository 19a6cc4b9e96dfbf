# Commands for developers and operators; `make` alone lists them. The virtual environment is created and kept up to date.

PYTHON ?= python3
BIN := .venv/bin
PYTEST ?= $(BIN)/pytest
# The lock files name every package, dependencies of dependencies too: pip has nothing to resolve.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes
# A lock file by uv, in half of the time; by pip if that fails, because uv does not read pip's configuration. uv itself
# comes from requirements-dev.txt.
UV := awk '/^[^ ]/ { on = /^uv==/ } on' requirements-dev.txt > .venv/uv.txt && $(INSTALL) -r .venv/uv.txt 2> /dev/null && \
	$(BIN)/uv pip install --quiet --python .venv --compile-bytecode --no-deps --require-hashes 2> /dev/null
INSTALL_FILE = @$(UV) -r $(1) || $(INSTALL) -r $(1)
# The kit is the same in every clone, and its tests take as long as all others together: they have a command of their own.
KIT := tests/kit
# The coverage of the kit is measured where it is developed: in the project whose pyproject.toml lists it as a source.
OTHERS := $(if $(shell grep '^source = .*"kit"' pyproject.toml),,$(KIT))
# Which tests run is said by marks in their files, which tests/conftest.py explains: `slow` ones are left out of `make test`,
# and coverage is measured on SQLite, also on PostgreSQL for what is marked `each_engine`, without what covers nothing more.
TRACED := not exhaustive and not untraced and (each_engine or not postgresql)

# Groups of tests with requirements of their own: each has its targets next to it, and `make test` leaves it out.
GROUPS := $(patsubst %/targets.mk,%,$(wildcard tests/*/targets.mk))
# `make test` leaves out the kit's tests and slow ones, unless ARGS or RESOURCE says which tests to run. To find what
# Schemathesis generates takes seconds in each process.
GENERATED := tests/test_schemathesis.py
COVERED = $(PYTEST) -q -n auto --dist worksteal -k "$(TRACED)" -p no:schemathesis --cov --cov-report= --cov-fail-under=0
FASTER := $(if $(RESOURCE)$(findstring tests/,$(ARGS))$(filter -k% -m%,$(ARGS)),,-m "not slow" --ignore=$(GENERATED)) \
	$(if $(findstring tests/,$(ARGS)),,--ignore=$(KIT))
LOCKS := # other lock files, which follow requirements.txt
LEFTOVERS := # folders that `make clean` removes besides those of the service
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"
# A lock file next to its requirements: $(eval $(call LOCKED,name,path without suffix,constraints)).
define LOCKED
LOCKS += lock-$(1)
.PHONY: lock-$(1)
lock-$(1): lock-service
	@$$(LOCK) --upgrade $(3) $(2).in -o $(2).txt
endef
# A virtual environment of its own for a lock file: $(eval $(call INSTALLED,name,path without suffix,what it is for)).
define INSTALLED
LEFTOVERS += .venv-$(1)
.venv-$(1)/ready: $(2).txt | .venv/dev
	@echo "Installing what $(3) …"
	@$$(BIN)/uv venv --quiet --clear --python $$(BIN)/python .venv-$(1)
	@$$(BIN)/uv pip install --quiet --python .venv-$(1) --no-deps --require-hashes -r $(2).txt
	@touch $$@
endef

.DEFAULT_GOAL := help
.PHONY: help run tracing new resource remove upgrade-kit wheel routes shell db seed backup restore test test-kit test-unchecked openapi check format migrate database-role superuser migration lock lock-service clean

-include $(wildcard benchmarks/targets.mk tests/*/targets.mk)

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-15s %s\n", $$1, $$2}'

run: .venv/run ## Migrate the database and serve; DATABASE_URL=postgresql://… for PostgreSQL, HOST= PORT= WORKERS=4 RELOAD=false
	@exec $(BIN)/python serve.py

tracing: .venv/run ## Install what traces need, for OTEL_EXPORTER_OTLP_ENDPOINT
	@$(INSTALL) -r requirements-tracing.txt

test: .venv/dev ## Run the tests on SQLite and PostgreSQL, without slow ones and those of the kit; ARGS=-x for pytest, RESOURCE=invoice for one
	@chosen=$$($(BIN)/python -m kit.scaffolding.selection "$$RESOURCE") && $(PYTEST) -n auto --dist worksteal \
		$(addprefix --ignore=,$(GROUPS)) $(FASTER) $$chosen $(ARGS)

test-kit: .venv/dev ## Run the tests of the kit on SQLite and PostgreSQL; ARGS= passes options to pytest
	@$(PYTEST) -n auto --dist worksteal $(KIT) $(ARGS)

test-unchecked: .venv/dev ## Run the tests that `make check` leaves out, after it, with all slow ones; ARGS= passes options to pytest
	@$(PYTEST) -n auto --dist worksteal $(addprefix --ignore=,$(GROUPS) $(OTHERS)) -k "not ($(TRACED))" $(ARGS)

openapi: .venv/run ## Write the OpenAPI document to openapi.json; FILE= for another file
	@$(BIN)/python -m kit.openapi main:app "$${FILE:-openapi.json}"

check: export PYTHONDONTWRITEBYTECODE = # otherwise three processes compile all modules again
check: .venv/dev ## Check format, lint and types, and that tests cover every line and branch
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -n 2 .
	$(COVERED) $(addprefix --ignore=,$(GROUPS) $(OTHERS) $(GENERATED))
	@$(BIN)/python -m tests.coverage_gaps $(COVERED)

format: .venv/dev ## Format the code, and fix what ruff can fix
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

routes: .venv/run ## List every route, who may use it, and its line of code
	@$(BIN)/python -m kit.server main:app

migrate: .venv/run ## Migrate the database of DATABASE_URL to the latest version
	@$(BIN)/alembic upgrade head && { $(BIN)/alembic current 2> /dev/null || true; } # a newer version may have migrated it

database-role: .venv/run ## Print the SQL that gives the role of DATABASE_URL its timeouts, for PgBouncer
	@$(BIN)/python -m kit.database.role main:app

shell: .venv/run ## Open a Python prompt with a session of the database, in which await works
	@$(BIN)/python commands.py shell

db: .venv/run ## Open psql or sqlite3 on the database
	@exec $(BIN)/python commands.py db

seed: .venv/run ## Fill every resource with plausible rows, in development; ROWS=100000
	@$(BIN)/python commands.py seed "$${ROWS:-1000}"

backup: .venv/run ## Write a backup of the database, also while the service runs; FILE=backup.db
	@$(BIN)/python commands.py backup "$$FILE"

restore: .venv/run ## Replace the database by a backup, and compare the tables; FILE=backup.db
	@$(BIN)/python commands.py restore "$$FILE"

superuser: .venv/run ## Create a superuser; asks for what SUPERUSER_USERNAME, SUPERUSER_EMAIL and SUPERUSER_PASSWORD do not give
	@$(BIN)/python superuser.py

new: .venv/dev ## Make a service of your own next to this one; NAME=orders, DIR=../orders, WITH="item,post" keeps these, RESOURCE= FIELDS=
	@$(BIN)/python -m kit.scaffolding.new_service "NAME=$$NAME" "DIR=$$DIR" "WITH=$$WITH" "RESOURCE=$$RESOURCE" "FIELDS=$$FIELDS" "PLURAL=$$PLURAL"

resource: .venv/dev ## Write a resource from the pattern; NAME=invoice FIELDS="number:str! total:money status:draft|sent note:text?" OWNER=user
	@$(BIN)/python -m kit.scaffolding "NAME=$$NAME" "FIELDS=$$FIELDS" "OWNER=$$OWNER" "PARENT=$$PARENT" "PLURAL=$$PLURAL"

remove: .venv/dev ## Take resources out, with their tests, and write the migration that drops their tables; RESOURCE=invoice
	@$(BIN)/python -m kit.scaffolding.removal "$$RESOURCE"

upgrade-kit: .venv/dev ## Replace the kit and its tests by newer ones, and run the tests; FROM=../project or a git URL, TO=v1.1.0
	@$(BIN)/python -m kit.scaffolding.upgrade "FROM=$$FROM" "TO=$$TO"

wheel: .venv/dev ## Build the kit as a wheel, build/service_kit-….whl
	@rm -rf build && $(BIN)/python -m build --no-isolation --wheel --outdir build kit > /dev/null

migration: .venv/dev ## Write a migration for the changes of the models, and try it on a copy; MESSAGE="add invoices", RENAME=user.full_name:name
	@$(BIN)/python -m kit.database.new_migration "$${MESSAGE:-change}" "$$RENAME"

lock: lock-service $(LOCKS) ## Update all lock files (requirements*.txt) from pyproject.toml

lock-service: .venv/dev
	@$(LOCK) --upgrade pyproject.toml -o requirements.txt
	@$(LOCK) --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt
	@$(LOCK) --extra tracing -c requirements.txt pyproject.toml -o requirements-tracing.txt

clean: ## Remove virtual environments, caches and coverage data; never a database
	@rm -rf .venv $(LEFTOVERS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* build
	@find . -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "Python's venv module is missing; on Debian: apt install python3-venv"; exit 1; }

.venv/run: requirements.txt .venv/bin/python
	@echo "Installing what the service needs …"
	$(call INSTALL_FILE,requirements.txt)
	@touch $@

.venv/dev: requirements-dev.txt requirements.txt .venv/bin/python # includes all of .venv/run
	@echo "Installing what the service and its tests need …"
	$(call INSTALL_FILE,requirements-dev.txt)
	@touch .venv/run $@
