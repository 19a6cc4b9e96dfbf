# The benchmark: its command, its environment, and its lock file.

LOCKS += lock-bench
LEFTOVERS += .venv-bench benchmarks/peers/fastify/node_modules
.PHONY: bench lock-bench

bench: .venv-bench/ready benchmarks/peers/fastify/node_modules ## Compare with other services, in an hour; QUICK=1 for three minutes, ARGS=--help for options
	@.venv-bench/bin/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

lock-bench: lock-service
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --upgrade requirements.txt benchmarks/requirements.in -o benchmarks/requirements.txt

.venv-bench/ready: benchmarks/requirements.txt .venv/bin/python
	@echo "Installing what the benchmark and its peers need …"
	@$(BIN)/python -m venv .venv-bench
	@.venv-bench/bin/pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/requirements.txt
	@touch $@

benchmarks/peers/fastify/node_modules: benchmarks/peers/fastify/package-lock.json
	@if command -v npm > /dev/null; then cd $(@D) && npm ci --silent --no-audit --no-fund && touch node_modules; fi
