"""Every check of this package runs against every resource that it concerns, on both engines."""

import pytest

import main
from kit import Service
from tests.conftest import Client
from tests.contract.answer import watching
from tests.contract.resource import Resource, concerns, named, resources_of
from tests.hashing import cheapen


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "resource" in metafunc.fixturenames:
        concerned = [found.name for found in resources_of(main.app) if concerns(metafunc.function, found)]
        metafunc.parametrize("resource", concerned, indirect=True)


@pytest.fixture
def resource(request: pytest.FixtureRequest, app: Service) -> Resource:
    return named(app, request.param)


@pytest.fixture
async def client(client: Client, app: Service) -> Client:
    return watching(client, app)


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password's hash is dear by design, and many a thing here belongs to a user."""
    cheapen(monkeypatch)
