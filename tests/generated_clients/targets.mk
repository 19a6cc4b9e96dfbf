# The tests that generate clients, for which they need Node.js and packages of their own.

CLIENTS := tests/generated_clients
LEFTOVERS += $(CLIENTS)/node_modules
.PHONY: test-clients

test-clients: .venv/dev .venv-clients/ready $(CLIENTS)/node_modules/ready ## Generate clients in TypeScript and Python, and try them; needs npm
	@$(PYTEST) -q -p no:schemathesis $(CLIENTS)

$(eval $(call LOCKED,clients,$(CLIENTS)/requirements))
$(eval $(call INSTALLED,clients,$(CLIENTS)/requirements,generates clients in Python))

$(CLIENTS)/node_modules/ready: $(CLIENTS)/package-lock.json
	@command -v npm > /dev/null || { echo "npm is missing; on Debian: apt install npm"; exit 1; }
	@echo "Installing what checks the document, and generates clients in TypeScript …"
	@cd $(CLIENTS) && npm ci --silent --no-audit --no-fund --ignore-scripts && touch node_modules/ready
