# The tests of deploy/, for which they need packages of their own, nginx and Caddy; with buildah also of the image.

DEPLOY := tests/deploy
.PHONY: test-deploy

test-deploy: .venv/dev .venv-deploy/ready ## Check the files of deploy/, and serve behind nginx and Caddy; IMAGE=1 builds and runs the image too
	@IMAGE=$(IMAGE) $(PYTEST) -q -p no:schemathesis $(DEPLOY)

$(eval $(call LOCKED,deploy,$(DEPLOY)/requirements))
$(eval $(call INSTALLED,deploy,$(DEPLOY)/requirements,checks the files of deploy/))
