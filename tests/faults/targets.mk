# The tests that kill, overload and restart processes, so nothing else should run at the same time.

FAULTS := tests/faults
.PHONY: test-faults test-plain

test-faults: .venv/dev ## Run the tests that kill, overload and restart real processes; the last lines show the results
	@$(PYTEST) -q -p no:schemathesis -m measured $(FAULTS)
	@$(PYTEST) -q -p no:schemathesis -m "not measured" -n 2 --dist worksteal $(FAULTS)

test-plain: .venv/dev ## Run the tests of the kit and of resources in a copy without kit/fast; ARGS= passes options to pytest
	@folder=$$(mktemp -d) && trap "rm -rf $$folder" EXIT && cd "$$($(BIN)/python -m tests.faults.plain $$folder)" && \
		$(PYTEST) -n auto --dist worksteal -p no:schemathesis tests/kit tests/heroes tests/contract $(ARGS)
