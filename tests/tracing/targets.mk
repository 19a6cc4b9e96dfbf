# The choice of the tests with which `make check` measures coverage.

TRACING := tests/tracing
LEFTOVERS += build
.PHONY: traced

traced: .venv/dev ## Choose the tests with which `make check` measures coverage; needed when it takes too long
	@mkdir -p build
	@ALL_TRACED=1 COVERAGE_FILE=build/coverage $(PYTEST) -q -n auto --dist worksteal -k "$(TRACED)" -p no:schemathesis \
		--cov --cov-context=test --cov-report= --cov-fail-under=0 --junitxml=build/durations.xml $(addprefix --ignore=,$(GROUPS) $(GENERATED))
	@$(BIN)/python -m tests.tracing build/coverage build/durations.xml $(TRACING)/untraced.json
