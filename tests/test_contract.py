"""The contract tests cover a resource as soon as it is added to the service."""

from collections.abc import AsyncIterator, Iterator
from inspect import signature
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.orm import configure_mappers
from sqlmodel import SQLModel

from kit import Service
from main import create_app
from tests import application
from tests.application import settings_for
from tests.contract import (
    gadget,
    repair,
    test_bodies,
    test_bulk,
    test_declarations,
    test_docs,
    test_filters,
    test_idempotency,
    test_json,
    test_lists,
    test_messages,
    test_preconditions,
    visit,
    workshop,
)
from tests.contract.answer import watching
from tests.contract.resource import Check, Resource, concerns, named, resources_of
from tests.engines import Client

pytestmark = pytest.mark.slow

client, database = application.client, application.database
NEW = (workshop, gadget, repair, visit)
MODULES = (
    *(test_messages, test_json, test_bodies, test_bulk, test_preconditions),
    *(test_lists, test_filters, test_idempotency, test_docs, test_declarations),
)
TABLES = [SQLModel.metadata.tables[name] for name in ("workshop", "gadget", "repair", "visit")]
configure_mappers()
for table in TABLES:
    SQLModel.metadata.remove(table)  # the service has them only during the tests of this module
CHECKS = [
    check
    for module in MODULES
    for name, check in vars(module).items()
    if name.startswith("test_") and "resource" in signature(check).parameters
]


def new_resources() -> list[Resource]:
    alone: Any = FastAPI()  # any application: a check only looks at its routes
    for new in NEW:
        alone.include_router(new.router)
    return resources_of(alone)


def pairs() -> Iterator[Any]:
    """Yield each pair of a resource and a check that applies to it. The gadgets have all features of resources."""
    for resource in new_resources():
        marks = () if resource.name == "gadgets" else pytest.mark.untraced
        for check in [check for check in CHECKS if concerns(check, resource)]:
            name = f"{resource.name}-{check.__name__.removeprefix('test_')}"
            yield pytest.param(resource.name, check, id=name, marks=marks)


@pytest.fixture(scope="module")
def tables() -> Iterator[None]:
    """Create these tables in the metadata for the tests of this module only."""
    added = [table.to_metadata(SQLModel.metadata) for table in TABLES]
    yield
    for table in added:
        SQLModel.metadata.remove(table)


@pytest.fixture(scope="module")
async def app(new_database: Any, tables: None) -> AsyncIterator[Service]:
    """Provide the application with these resources added."""
    app = create_app(settings_for(await new_database()))
    for new in NEW:
        app.include_router(new.router)
    async with app.router.lifespan_context(app):
        async with app.runtime.database.writer.begin() as connection:
            for table in TABLES:
                await connection.run_sync(SQLModel.metadata.tables[table.name].create)
        yield app


@pytest.mark.parametrize(("name", "check"), [*pairs()])
async def test_a_new_resource_is_covered_by_the_contract_tests(
    app: Service, client: Client, name: str, check: Check
) -> None:
    await check(watching(client, app), named(app, name))


def test_every_check_applies_to_a_resource() -> None:
    idle = {check.__name__ for check in CHECKS if not any(concerns(check, resource) for resource in new_resources())}
    assert not idle


def test_checks_do_not_apply_to_features_that_a_resource_does_not_have() -> None:
    repairs = next(resource for resource in new_resources() if resource.name == "repairs")
    assert {check.__name__ for check in CHECKS if not concerns(check, repairs)} > {"test_a_deleted_row_is_not_found"}
