# The tests of deploy/, for which they need packages of their own, nginx and Caddy; with buildah also of the image.

DEPLOY := tests/deploy
LOCKS += lock-deploy
LEFTOVERS += .venv-deploy
.PHONY: test-deploy lock-deploy

test-deploy: .venv/dev .venv-deploy/ready ## Check the files of deploy/, and serve behind nginx and Caddy; IMAGE=1 builds and runs the image too
	@IMAGE=$(IMAGE) $(PYTEST) -q -p no:schemathesis $(DEPLOY)

lock-deploy: lock-service
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --upgrade $(DEPLOY)/requirements.in -o $(DEPLOY)/requirements.txt

.venv-deploy/ready: $(DEPLOY)/requirements.txt .venv/bin/python
	@echo "Installing what checks the files of deploy/ …"
	@$(BIN)/python -m venv .venv-deploy
	@.venv-deploy/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(DEPLOY)/requirements.txt
	@touch $@
