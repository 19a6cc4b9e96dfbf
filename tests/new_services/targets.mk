# The tests that make new services and run their tests: four minutes on two cores.

.PHONY: test-new

test-new: .venv/dev ## Make a service as `make new` does, run its tests and checks, and serve it on SQLite and PostgreSQL
	@$(PYTEST) -q -p no:schemathesis -o faulthandler_timeout=3000 tests/new_services
