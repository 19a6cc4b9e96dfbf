# The choice of the tests with which `make check` measures coverage.

TRACING := tests/tracing
LEFTOVERS += build
.PHONY: traced

# In the second run, processes wait for each other, so what depends on timing happens in another order.
traced: .venv/dev ## Choose the tests with which `make check` measures coverage; needed when it takes too long
	@for load in 1 2; do mkdir -p build/traced/$$load && \
		ALL_TRACED=1 COVERAGE_FILE=build/traced/$$load/coverage $(PYTEST) -q -n $$(($$(nproc) * load)) --dist worksteal \
			-k "$(TRACED)" -p no:schemathesis --cov --cov-context=test --cov-report= --cov-fail-under=0 \
			--junitxml=build/traced/$$load/durations.xml $(addprefix --ignore=,$(GROUPS) $(GENERATED)) || exit; done
	@$(BIN)/python -m tests.tracing $(TRACING)/untraced.json build/traced/1 build/traced/2
