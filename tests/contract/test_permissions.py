"""Section 8 of the contract: four questions to every operation: without a token, not allowed, allowed, not there."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from httpx import Response
from starlette.routing import Mount

import main
from kit.auth.permissions import May, Who
from kit.operations.unit_of_work import UnitOfWork, allowing
from tests.conftest import Client
from tests.contract.resource import Resource, method_of, resources_of
from tests.people import Person

ANYONE, MEMBERS, OWNERS, SUPERUSERS = Who
PUBLIC = {"/", "/docs", "/docs/assets", "/docs/style.css", "/openapi.json", "/auth/token", "/health/live"} | {
    "/health/ready"
}
"""What is no resource, and asks nobody."""
OF_SUPERUSERS = {"GET": MEMBERS}
"""Members read, superusers do everything else."""
OF_OWNERS = {"GET": MEMBERS, "POST": OWNERS, "PUT": OWNERS, "PATCH": OWNERS, "DELETE": OWNERS}
RULES = {
    **dict.fromkeys(("heroes", "teams", "categories", "products", "dashboard"), OF_SUPERUSERS),
    **dict.fromkeys(("power-transfers", "stock-movements", "stock-transfers"), OF_SUPERUSERS),
    **dict.fromkeys(("items", "posts", "reviews"), OF_OWNERS),
    "users": OF_OWNERS | {"POST": ANYONE},
}
"""What section 8 says, by the first part of the path and the method; what is not said is for superusers."""
EXCEPTIONS = {"POST /users/bulk": SUPERUSERS}
ROUTES = [route for route in main.app.router.routes if isinstance(route, UnitOfWork)]
GONE = {"int": "9223372036854775806", "UUID": "01890000-0000-7000-8000-000000000000"}


def name_of(route: UnitOfWork) -> str:
    return f"{method_of(route)} {route.path_format}"


def rule_of(route: UnitOfWork) -> Who:
    """Who may, as this file says."""
    rules = RULES.get(route.path_format.split("/")[1], {})
    return EXCEPTIONS.get(name_of(route), rules.get(method_of(route), SUPERUSERS))


def those(*who: Who) -> pytest.MarkDecorator:
    found = [route for route in ROUTES if rule_of(route) in who]
    return pytest.mark.parametrize("route", found, ids=name_of)


every = pytest.mark.parametrize("route", ROUTES, ids=name_of)
with_an_id = pytest.mark.parametrize("route", [route for route in ROUTES if route.dependant.path_params], ids=name_of)


def filled(route: UnitOfWork, thing: str | None = None) -> str:
    """The path, with this id, or with one that nothing has."""
    kinds = {part.name: part.field_info.annotation for part in route.dependant.path_params}
    gone = {name: GONE["UUID" if "UUID" in str(kind) else "int"] for name, kind in kinds.items()}
    return route.path_format.format(**{name: thing or other for name, other in gone.items()})


def resource_of(route: UnitOfWork) -> Resource:
    return next(one for one in resources_of(main.app) if one.name == route.path_format.split("/")[1])


async def body_for(route: UnitOfWork, client: Client) -> Any:
    """A valid body, for one or for many; what it refers to is made by this client."""
    resource = resource_of(route)
    if route.body_field is None:
        return None
    if name_of(route) == "PATCH /products/bulk":
        return {"ids": [(await resource.make(client))["id"]], "changes": {"status": "active"}}
    body = await resource.body(client, "create" if method_of(route) == "POST" else "replace")
    return [body] if route.path_format.endswith("/bulk") else body


async def ask(route: UnitOfWork, client: Client, path: str, body: Any) -> Response:
    return await client.request(method_of(route), path, json=body)


async def ready(route: UnitOfWork, boss: Person, owner: Person | None = None) -> tuple[str, Any]:
    """Path and body of a request that nothing is wrong with; what it is about belongs to this owner."""
    resource, body = resource_of(route), await body_for(route, boss.client)
    mine = {} if owner is None else {field.name: owner.id for field in resource.parents if field.parent == "user"}
    if isinstance(body, dict) and "ids" not in body:
        body |= mine
    for one in body if isinstance(body, list) else ():
        one |= mine
    if not route.dependant.path_params:
        return filled(route), body
    if resource.name == "users" and owner is not None:
        return filled(route, str(owner.id)), body
    made = await resource.make(boss.client, **mine)
    if route.path_format.endswith("/deletion"):
        await boss.client.delete(resource.url(made))
    return filled(route, made["id"]), body


def test_every_route_says_who_may_or_is_one_of_the_few_that_ask_nobody() -> None:
    for route in main.app.router.routes:
        assert isinstance(route, APIRoute | Mount)
        if isinstance(route, UnitOfWork):
            assert route.may is not None, f"{route.path_format} does not say who may do what: allowing(…)"
        else:
            assert route.path in PUBLIC, f"{route.path} asks nobody who they are"


@every
def test_a_route_says_what_the_contract_says(route: UnitOfWork) -> None:
    assert route.who is rule_of(route)


def test_what_is_not_said_is_for_superusers() -> None:
    async def handle() -> None: ...

    for kind in (UnitOfWork, allowing()):
        for method, path in (("GET", "/"), ("POST", "/"), ("POST", "/bulk"), ("PUT", "/{id}"), ("DELETE", "/")):
            assert kind(path, handle, methods=[method], tags=["things"]).who is SUPERUSERS
    assert {May().of(method, "/") for method in ("GET", "POST", "PUT", "PATCH", "DELETE")} == {SUPERUSERS}


@every
async def test_without_a_token_nothing_is_done(route: UnitOfWork, nobody: Client) -> None:
    answer = await ask(route, nobody, filled(route), {})
    if rule_of(route) is ANYONE:
        assert answer.status_code == 422
        return
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["type"] == "urn:problem:unauthenticated"


@those(SUPERUSERS)
async def test_what_is_for_superusers_is_refused_to_members(route: UnitOfWork, boss: Person, natasha: Person) -> None:
    for path, body in ((filled(route), {}), await ready(route, boss)):
        answer = await ask(route, natasha.client, path, body)
        assert answer.status_code == 403
        assert answer.json()["type"] == "urn:problem:forbidden"


@those(OWNERS)
async def test_what_belongs_to_others_is_refused_to_members(
    route: UnitOfWork, boss: Person, natasha: Person, steve: Person
) -> None:
    path, body = await ready(route, boss, steve)
    answer = await ask(route, natasha.client, path, body)
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:problem:forbidden"


@every
async def test_superusers_may_do_everything(route: UnitOfWork, boss: Person, steve: Person) -> None:
    path, body = await ready(route, boss, steve)
    answer = await ask(route, boss.client, path, body)
    assert answer.is_success, answer.text


@those(ANYONE, MEMBERS, OWNERS)
async def test_members_may_do_what_the_contract_lets_them(route: UnitOfWork, boss: Person, natasha: Person) -> None:
    path, body = await ready(route, boss, natasha)
    answer = await ask(route, natasha.client, path, body)
    assert answer.is_success, answer.text


@with_an_id
async def test_what_is_not_there_is_a_404_for_whoever_might(route: UnitOfWork, boss: Person, natasha: Person) -> None:
    body = await body_for(route, boss.client)
    may = [boss, natasha] if rule_of(route) is not SUPERUSERS else [boss]
    for person in may:
        answer = await ask(route, person.client, filled(route), body)
        assert answer.status_code == 404, answer.text


def public(app: FastAPI) -> Iterator[str]:
    for route in app.router.routes:
        if isinstance(route, APIRoute) and not isinstance(route, UnitOfWork) and "GET" in (route.methods or ()):
            yield route.path


async def test_what_is_public_answers_without_a_token_and_with_a_wrong_one(guarded: FastAPI, nobody: Client) -> None:
    for path in (*public(guarded), "/docs/assets/swagger-ui.css"):
        for headers in ({}, {"Authorization": "Bearer nonsense"}):
            answer = await nobody.get(path, headers=headers)
            assert answer.status_code in (200, 307), path


@pytest.mark.parametrize("path", ["/docs/assets/../../settings.py", "/docs/assets/%2e%2e/%2e%2e/main.py"])
async def test_nothing_but_assets_is_served_as_a_file(nobody: Client, path: str) -> None:
    assert (await nobody.get(path)).status_code == 404


async def test_the_document_says_which_operations_need_a_token(nobody: Client) -> None:
    document = (await nobody.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["Token"]["flows"]["password"]["tokenUrl"].endswith("auth/token")
    for route in ROUTES:
        operation = document["paths"][route.path_format][method_of(route).lower()]
        assert ("security" in operation) == (rule_of(route) is not ANYONE), name_of(route)
        assert {"401", "403"} <= set(operation["responses"])


def test_this_table_speaks_of_every_resource_and_of_no_other() -> None:
    assert set(RULES) == {re.split("/", route.path_format)[1] for route in ROUTES}
    assert set(EXCEPTIONS) <= {name_of(route) for route in ROUTES}
