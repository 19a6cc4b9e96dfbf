# Tests of real processes that are overloaded and attacked, or killed and restarted; and the tests without the fast path.

FAULTS := tests/faults
.PHONY: test-faults test-measured test-killed test-plain

test-faults: test-measured ## Overload, attack, kill and restart real processes; the last lines of each part show the results
	@$(MAKE) --no-print-directory test-killed

test-measured: .venv/dev # nothing else should run at the same time
	@$(PYTEST) -q -p no:schemathesis -m measured $(FAULTS)

test-killed: .venv/dev
	@$(PYTEST) -q -p no:schemathesis -m "not measured" -n 2 --dist worksteal $(FAULTS)

# Tests that run with and without the fast path by themselves need not run once more: their names end with the path.
test-plain: .venv/dev ## Run the tests of the kit and of resources in a copy without kit/fast; ARGS= passes options to pytest
	@folder=$$(mktemp -d) && trap "rm -rf $$folder" EXIT && cd "$$($(BIN)/python -m tests.faults.plain $$folder)" && \
		$(PYTEST) -n auto --dist worksteal -p no:schemathesis -m "not (exhaustive or slow or no_fast_path)" \
		-k "not ([plain or -plain)" tests/kit tests/heroes tests/contract $(ARGS)
