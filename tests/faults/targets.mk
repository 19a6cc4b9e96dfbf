# The tests that kill, overload and restart processes, so nothing else should run at the same time.

FAULTS := tests/faults
.PHONY: test-faults test-plain

test-faults: .venv/dev ## Run the tests that kill, overload and restart real processes; the last lines show the results
	@$(PYTEST) -q -p no:schemathesis -m measured $(FAULTS)
	@$(PYTEST) -q -p no:schemathesis -m "not measured" -n 2 --dist worksteal $(FAULTS)

# Tests that serve no request, or only start and stop servers: the fast path makes no difference to them.
SAME_WITHOUT := $(patsubst %,tests/kit/%.py,metrics/test_workers server/test_servers server/test_connections test_backup \
	test_commands test_comparison test_deprecations test_failover test_hosts test_log_writer test_migrating test_revisions \
	test_scaffolding test_search_migrations test_sqlite_rebuild test_urls)

test-plain: .venv/dev ## Run the tests of the kit and of resources in a copy without kit/fast; ARGS= passes options to pytest
	@folder=$$(mktemp -d) && trap "rm -rf $$folder" EXIT && cd "$$($(BIN)/python -m tests.faults.plain $$folder)" && \
		$(PYTEST) -n auto --dist worksteal -p no:schemathesis -m "not exhaustive" \
		$(addprefix --ignore=,$(SAME_WITHOUT)) tests/kit tests/heroes tests/contract $(ARGS)
