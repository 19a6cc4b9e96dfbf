# A cluster on one machine, and the tests that break it: etcd, Patroni, HAProxy, PgBouncer, and two services.

CLUSTER := tests/cluster
LEFTOVERS += .venv-cluster
# Root runs PostgreSQL as another user, who must be able to read the Python of Patroni.
CLUSTER_PYTHON := $(if $(filter 0,$(shell id -u)),$(firstword $(wildcard /usr/bin/python3) $(PYTHON)),$(PYTHON))
.PHONY: cluster cluster-stop cluster-kill cluster-freeze cluster-switch test-cluster

cluster: .venv/dev .venv-cluster/ready ## Start three PostgreSQL under Patroni, HAProxy, PgBouncer and two services, until Ctrl-C
	@exec $(BIN)/python -m tests.cluster start

cluster-stop: ## Stop the cluster that runs in the background
	@$(BIN)/python -m tests.cluster stop

cluster-kill: ## Kill the postmaster of the primary; NODE=1 kills its Patroni too, as if its machine had died
	@$(BIN)/python -m tests.cluster kill $(if $(filter-out 0 no false,$(NODE)),node)

cluster-freeze: ## Freeze the primary and its Patroni for 28 s, so that another one replaces it
	@$(BIN)/python -m tests.cluster freeze

cluster-switch: ## Let a standby take over from the primary, as before maintenance
	@$(BIN)/python -m tests.cluster switch

test-cluster: .venv/dev .venv-cluster/ready ## Break a cluster in every way, under load; the last lines show the results
	@$(PYTEST) -q -p no:schemathesis -o faulthandler_timeout=600 $(CLUSTER)

$(eval $(call LOCKED,cluster,$(CLUSTER)/requirements))

.venv-cluster/ready: $(CLUSTER)/requirements.txt | .venv/dev
	@echo "Installing Patroni …"
	@$(BIN)/uv venv --quiet --clear --python $(CLUSTER_PYTHON) .venv-cluster
	@$(BIN)/uv pip install --quiet --python .venv-cluster --no-deps --require-hashes -r $(CLUSTER)/requirements.txt
	@touch $@
