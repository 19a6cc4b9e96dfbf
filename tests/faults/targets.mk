# The tests that kill, overload and restart processes, so nothing else should run at the same time.

FAULTS := tests/faults
.PHONY: test-faults

test-faults: .venv/dev ## Run the tests that kill, overload and restart real processes; the last lines show the results
	@$(PYTEST) -q $(FAULTS)
