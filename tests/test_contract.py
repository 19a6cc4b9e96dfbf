"""A resource that is added to the service is held to the contract by no more than being there."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from sqlmodel import SQLModel

from main import create_app
from tests.conftest import Client, settings_for
from tests.contract import (
    gadget,
    repair,
    test_bodies,
    test_docs,
    test_filters,
    test_json,
    test_lists,
    test_messages,
    test_preconditions,
)
from tests.contract.answer import watching
from tests.contract.resource import Check, Resource, concerns, named, resources_of

NEW = (gadget, repair)
MODULES = (test_messages, test_json, test_bodies, test_preconditions, test_lists, test_filters, test_docs)
CHECKS = [check for module in MODULES for name, check in vars(module).items() if name.startswith("test_")]


def new_resources() -> list[Resource]:
    alone = FastAPI()
    for new in NEW:
        alone.router.routes.extend(new.router.routes)
    return resources_of(alone)


def pairs() -> Iterator[Any]:
    for resource in new_resources():
        for check in [check for check in CHECKS if concerns(check, resource)]:
            yield pytest.param(resource.name, check, id=f"{resource.name}-{check.__name__.removeprefix('test_')}")


@pytest.fixture(scope="module")
def tables() -> Iterator[None]:
    """The service knows these tables while these tests run, and not while others do."""
    added = [new.table.to_metadata(SQLModel.metadata) for new in NEW]
    yield
    for table in added:
        SQLModel.metadata.remove(table)


@pytest.fixture(scope="module")
async def app(new_database: Any, tables: None) -> AsyncIterator[FastAPI]:
    """The application with two resources more."""
    app = create_app(settings_for(await new_database()))
    async with app.router.lifespan_context(app), app.state.database.writer.begin() as connection:
        for new in NEW:
            app.router.routes.extend(new.router.routes)
            await connection.run_sync(SQLModel.metadata.tables[new.table.name].create)
    yield app
    await app.state.database.dispose()


@pytest.mark.parametrize(("name", "check"), [*pairs()])
async def test_a_new_resource_is_held_to_the_contract(app: FastAPI, client: Client, name: str, check: Check) -> None:
    await check(watching(client, app), named(app, name))


def test_no_check_is_idle() -> None:
    everything, something = new_resources()
    assert [check.__name__ for check in CHECKS if not concerns(check, everything)] == []
    assert {check.__name__ for check in CHECKS if not concerns(check, something)} > {"test_what_was_deleted_is_gone"}
