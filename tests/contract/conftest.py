"""Runs every check of this package for every resource to which it applies, on both engines."""

from collections.abc import AsyncIterator

import pytest

import main
from kit import Database, Service
from tests import accounts, application, people
from tests.clients import client_of
from tests.contract.answer import watching
from tests.contract.resource import Resource, concerns, named, resources_of
from tests.engines import Client
from tests.hashing import cheapen

app, database = application.app, application.database
production_app, guarded, new_person = accounts.production_app, accounts.guarded, accounts.new_person
anonymous, superuser, natasha, steve = people.anonymous, people.superuser, people.natasha, people.steve


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "resource" in metafunc.fixturenames:
        concerned = [found.name for found in resources_of(main.app) if concerns(metafunc.function, found)]
        metafunc.parametrize("resource", concerned, indirect=True)


@pytest.fixture
def resource(request: pytest.FixtureRequest, app: Service) -> Resource:
    return named(app, request.param)


@pytest.fixture
async def client(app: Service, database: Database) -> AsyncIterator[Client]:
    """Provide a client that checks every response against the contract."""
    async with client_of(app) as client:
        yield watching(client, app)


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make password hashes cheap: many rows of these tests belong to users."""
    cheapen(monkeypatch)
