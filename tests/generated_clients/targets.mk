# The tests that generate clients, for which they need Node.js and packages of their own.

CLIENTS := tests/generated_clients
LOCKS += lock-clients
LEFTOVERS += .venv-clients $(CLIENTS)/node_modules
.PHONY: test-clients lock-clients

test-clients: .venv/dev .venv-clients/ready $(CLIENTS)/node_modules/ready ## Generate clients in TypeScript and Python, and try them; needs npm
	@$(PYTEST) -q -p no:schemathesis $(CLIENTS)

lock-clients: lock-service
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --upgrade $(CLIENTS)/requirements.in -o $(CLIENTS)/requirements.txt

.venv-clients/ready: $(CLIENTS)/requirements.txt .venv/bin/python
	@echo "Installing what generates clients in Python …"
	@$(BIN)/python -m venv .venv-clients
	@.venv-clients/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(CLIENTS)/requirements.txt
	@touch $@

$(CLIENTS)/node_modules/ready: $(CLIENTS)/package-lock.json
	@command -v npm > /dev/null || { echo "npm is missing; on Debian: apt install npm"; exit 1; }
	@echo "Installing what checks the document, and generates clients in TypeScript …"
	@cd $(CLIENTS) && npm ci --silent --no-audit --no-fund --ignore-scripts && touch node_modules/ready
