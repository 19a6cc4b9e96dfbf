# The benchmark: its commands, its environments, and their lock files.

LEFTOVERS += benchmarks/peers/fastify/node_modules
.PHONY: bench bench-before bench-growth

bench: .venv-bench/ready .venv-bench-robyn/ready benchmarks/peers/fastify/node_modules ## Compare with other services, in 20 minutes; started again, it continues; QUICK=1 for three minutes, ARGS=--help
	@.venv-bench/bin/python -m benchmarks $(if $(filter-out 0 no false,$(QUICK)),--quick) $(ARGS)

bench-before: .venv/dev ## Compare the speed with that of the commit before, in two minutes
	@$(BIN)/python -m benchmarks.before

bench-growth: .venv/dev ## Draw how the cost grows from 10,000 to 1,000,000 rows, in ten minutes; started again, it continues
	@$(BIN)/python -m benchmarks.growth $(ARGS)

$(eval $(call LOCKED,bench,benchmarks/requirements,requirements.txt))
$(eval $(call LOCKED,bench-robyn,benchmarks/requirements-robyn))
$(eval $(call INSTALLED,bench,benchmarks/requirements,the benchmark and its peers need))
$(eval $(call INSTALLED,bench-robyn,benchmarks/requirements-robyn,the peer that needs other versions needs))

benchmarks/peers/fastify/node_modules: benchmarks/peers/fastify/package-lock.json
	@if command -v npm > /dev/null; then cd $(@D) && npm ci --silent --no-audit --no-fund && touch node_modules; fi
