"""The contract tests cover a resource as soon as it is added to the service."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from inspect import signature
from types import ModuleType
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
    oddities,
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
from tests.contract.operations import untested
from tests.contract.resource import Check, Resource, UntestedError, concerns, named, resources_of
from tests.engines import Client

pytestmark = pytest.mark.slow

client, database = application.client, application.database
NEW = (workshop, gadget, repair, visit)
MODULES = (
    *(test_messages, test_json, test_bodies, test_bulk, test_preconditions),
    *(test_lists, test_filters, test_idempotency, test_docs, test_declarations),
)
TABLES = [SQLModel.metadata.tables[name] for name in ("workshop", "gadget", "repair", "visit", "booking", "draft")]
configure_mappers()
for table in TABLES:
    SQLModel.metadata.remove(table)  # the service has them only during the tests of this module
CHECKS = [
    check
    for module in MODULES
    for name, check in vars(module).items()
    if name.startswith("test_") and "resource" in signature(check).parameters
]


def application_of(*modules: ModuleType) -> Any:
    """Return an application with the routers of these modules. It never starts: the checks only look at its routes."""
    app = FastAPI()
    for module in modules:
        app.include_router(module.router)
    return app


def new_resources() -> list[Resource]:
    return resources_of(application_of(*NEW))


def pairs(resources: Iterable[Resource]) -> Iterator[Any]:
    """Yield each pair of a resource and a check that applies to it. The gadgets have all features of resources."""
    for resource in resources:
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
    for new in (*NEW, oddities):
        app.include_router(new.router)
    async with app.router.lifespan_context(app):
        async with app.runtime.database.writer.begin() as connection:
            for table in TABLES:
                await connection.run_sync(SQLModel.metadata.tables[table.name].create)
        yield app


@pytest.mark.parametrize(("name", "check"), [*pairs(new_resources())])
async def test_a_new_resource_is_covered_by_the_contract_tests(
    app: Service, client: Client, name: str, check: Check
) -> None:
    try:
        await check(watching(client, app), named(app, name))
    except UntestedError as skipped:
        pytest.fail(f"The check was skipped: {skipped}")


@pytest.mark.parametrize(("name", "check"), [*pairs(resources_of(application_of(oddities)))])
async def test_a_resource_with_rules_of_its_own_passes_the_contract_tests_or_is_skipped(
    app: Service, client: Client, name: str, check: Check
) -> None:
    with suppress(UntestedError):
        await check(watching(client, app), named(app, name))


REASONS = {
    "GET /gadgets-of-a-day": "it needs the parameter day",
    "GET /gadgets-of-a-shop": "it needs the parameter shop",
    "GET /gadget-reports/{year}/{month}": "its path is not that of a collection or of an item",
    "GET /gadget.csv": "its response is no single document of JSON",
    "GET /gadget-stream": "its response is no single document of JSON",
    "GET /gadget-redirect": "it declares no response model",
    "GET /hidden-gadgets": "it is not in the document",
    "GET /gadget-box": "it answers several methods",
    "POST /gadget-orders/": "a success is a 202",
    "POST /gadget-names": "a success is a 200",
    "POST /gadget-forms": "its body is no JSON object of one model",
    "POST /gadget-swaps/": "its response is no read variant",
    "PUT /gadget-setting": "its path is not that of a collection or of an item",
    "PATCH /bookings/{booking_id}": "its body has required fields",
    "DELETE /drafts/{draft_id}": "a success is a 200",
}
"""The operations of the oddities that the checks do not test, and why."""


def test_operations_beyond_those_of_the_contract_are_left_out_with_a_reason() -> None:
    assert untested(application_of(oddities)) == REASONS


SKIPPED = {
    "bookings": (test_lists.test_link_is_present_exactly_if_more_rows_follow, "A rule of POST /bookings/ refuses"),
    "drafts": (test_filters.test_every_filter_returns_the_matching_rows, "GET /drafts does not list all rows"),
    "gadget-of-the-month": (test_messages.test_head_returns_the_headers_of_get_without_body, "has nothing to show"),
}


@pytest.mark.parametrize("name", SKIPPED)
async def test_a_check_is_skipped_if_a_rule_of_the_resource_is_in_its_way(
    app: Service, client: Client, name: str
) -> None:
    check, reason = SKIPPED[name]
    with pytest.raises(UntestedError, match=reason):
        await check(client, named(app, name))


def test_every_check_applies_to_a_resource() -> None:
    idle = {check.__name__ for check in CHECKS if not any(concerns(check, resource) for resource in new_resources())}
    assert not idle


def test_checks_do_not_apply_to_features_that_a_resource_does_not_have() -> None:
    repairs = next(resource for resource in new_resources() if resource.name == "repairs")
    assert {check.__name__ for check in CHECKS if not concerns(check, repairs)} > {"test_a_deleted_row_is_not_found"}
