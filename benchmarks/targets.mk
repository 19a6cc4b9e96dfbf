# The benchmark: its commands, its environments, and their lock files.

LOCKS += lock-bench
LEFTOVERS += .venv-bench .venv-bench-robyn benchmarks/peers/fastify/node_modules
.PHONY: bench bench-before bench-growth lock-bench

bench: .venv-bench/ready .venv-bench-robyn/ready benchmarks/peers/fastify/node_modules ## Compare with other services, in 20 minutes; started again, it continues; QUICK=1 for three minutes, ARGS=--help
	@.venv-bench/bin/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

bench-before: .venv/dev ## Compare the speed with that of the commit before, in two minutes
	@$(BIN)/python -m benchmarks.before

bench-growth: .venv/dev ## Measure how the time of requests grows, with 10,000 to a million rows
	@$(BIN)/python -m benchmarks.growth

COMPILED := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" --upgrade

lock-bench: lock-service
	@$(COMPILED) requirements.txt benchmarks/requirements.in -o benchmarks/requirements.txt
	@$(COMPILED) benchmarks/requirements-robyn.in -o benchmarks/requirements-robyn.txt

.venv-bench/ready: benchmarks/requirements.txt .venv/bin/python
	@echo "Installing what the benchmark and its peers need …"
	@$(BIN)/python -m venv .venv-bench
	@.venv-bench/bin/pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/requirements.txt
	@touch $@

.venv-bench-robyn/ready: benchmarks/requirements-robyn.txt .venv/bin/python
	@echo "Installing the peer that needs other versions …"
	@$(BIN)/python -m venv .venv-bench-robyn
	@.venv-bench-robyn/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

benchmarks/peers/fastify/node_modules: benchmarks/peers/fastify/package-lock.json
	@if command -v npm > /dev/null; then cd $(@D) && npm ci --silent --no-audit --no-fund && touch node_modules; fi
