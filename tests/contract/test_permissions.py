"""Permissions (section 8 of the contract), for every operation: without a token, forbidden, permitted, absent row.

The expected permission of an operation is that of the application (`app.runtime.permissions`). The tests of a
resource check whether it is the intended one.
"""

from typing import Any, get_origin
from uuid import UUID

import pytest
from fastapi.params import Form
from fastapi.routing import RouteContext
from httpx import Response
from pydantic import BaseModel

import main
from kit import Service, Who, allowing
from kit.auth.permissions import Permissions
from kit.operations.results import variant_of
from kit.operations.route import Operation
from kit.server.annotations import models_in
from kit.server.routes import entries_of
from tests.contract.field import Json, fields_of
from tests.contract.operations import body_of, method_of, name_of, operations_of, required_parameters, who_may_use
from tests.contract.resource import Resource, not_empty, resources_of, skip
from tests.engines import Client
from tests.people import Person

pytestmark = pytest.mark.untraced

ANYONE, MEMBERS, OWNERS, SUPERUSERS = Who
ROUTES = operations_of(main.app)
IDS = (str(int), str(UUID))
GONE = {"int": "9223372036854775806", "UUID": "01890000-0000-7000-8000-000000000000"}
OWN_ID = "id"
"""The `belongs_to` of the table of users, whose rows are the owners."""


def routes_where(*who: Who) -> pytest.MarkDecorator:
    found = [route for route in ROUTES if who_may_use(main.app, route) in who]
    return pytest.mark.parametrize("route", found, ids=name_of)


every = pytest.mark.parametrize("route", ROUTES, ids=name_of)


def resource_of(route: RouteContext) -> Resource | None:
    """Return the resource of an operation: the one with the longest path that is a prefix of the operation's path."""
    path = str(route.path_format)
    found = [one for one in resources_of(main.app) if path == one.path or path.startswith(f"{one.path.rstrip('/')}/")]
    return max(found, key=lambda one: len(one.path), default=None)


def is_usual(route: RouteContext) -> bool:
    """Return whether these tests can make a request to an operation: it is a verb of a resource, or a bulk creation."""
    resource = resource_of(route)
    known = [] if resource is None else [*resource.verbs.values(), *filter(None, [resource.bulk])]
    return name_of(route) in map(name_of, known)


def leads_to_a_row(route: RouteContext) -> bool:
    """Return whether an operation reads or changes the row whose id is in its path: it shows one, or is a verb."""
    has_ids = all(str(part.field_info.annotation) in IDS for part in route.dependant.path_params)
    is_complete = not any(required_parameters("", route, None)) and (body_of(route) or not route.body_field)
    is_of_row = is_usual(route) or variant_of(route.response_model) is not None
    return bool(route.dependant.path_params and has_ids and is_complete and is_of_row and resource_of(route))


of_an_item = pytest.mark.parametrize("route", [route for route in ROUTES if leads_to_a_row(route)], ids=name_of)


def filled(route: RouteContext, thing: object = None) -> str:
    """Return the path with the id of this row, or with an unknown id."""
    kinds = {part.name: str(part.field_info.annotation) for part in route.dependant.path_params}
    gone = {name: GONE["UUID" if "UUID" in kind else "int"] for name, kind in kinds.items()}
    return str(route.path_format).format(**{name: thing or other for name, other in gone.items()})


async def ask(route: RouteContext, client: Client, path: str, body: Any = None) -> Response:
    return await client.request(method_of(route), path, json=body)


async def owner_of(resource: Resource, superuser: Person, owner: Person | None) -> Json:
    """Return the value of `belongs_to` for this owner, who may own a parent; empty without an owner."""
    key = resource.entity.belongs_to if resource.entity and owner else None
    if key in (None, OWN_ID) or owner is None:
        return {}
    field = next((field for field in resource.parents if field.attribute == key), None)
    parent = next((one for one in resources_of(main.app) if field and one.is_of(str(field.parent))), None)
    if field is None or parent is None:
        skip(f"No resource creates the rows by whose {key} those of {resource.path} belong to somebody.")
    return {field.name: (await item_of(parent, superuser, owner))["id"]}


async def item_of(resource: Resource, superuser: Person, owner: Person | None) -> Json:
    """Create a row of this owner. For users, it is the owner itself."""
    if owner and resource.entity and resource.entity.belongs_to == OWN_ID:
        return {"id": owner.id}
    return await resource.make(superuser.client, **await owner_of(resource, superuser, owner))


async def body_for(route: RouteContext, superuser: Person, owner: Person | None, item: Json | None) -> Any:
    """Return a valid body for one row or for many. A superuser creates the referenced rows."""
    info = route.body_field.field_info if route.body_field else None
    kind, resource = getattr(info, "annotation", None), resource_of(route)
    if kind is None or resource is None or isinstance(info, Form):
        return None
    if get_origin(kind) is list:
        element = next(models_in(kind), None)
        return [await filled_body(element, resource, superuser) | await owner_of(resource, superuser, owner)]
    if {"ids", "changes"} == set(getattr(kind, "model_fields", ())):
        return {"ids": [(item or await item_of(resource, superuser, owner))["id"]], "changes": {}}
    return await filled_body(kind, resource, superuser) | await owner_of(resource, superuser, owner)


async def filled_body(kind: Any, resource: Resource, superuser: Person) -> Json:
    is_json = isinstance(kind, type) and issubclass(kind, BaseModel)
    return await resource.filled(superuser.client, fields_of(kind)) if is_json else {}


async def valid_request(route: RouteContext, superuser: Person, owner: Person | None = None) -> tuple[str, Any]:
    """Return the path and body of a valid request about a row of this owner."""
    resource = resource_of(route)
    is_of_item = resource is not None and resource.has("things") and route.dependant.path_params
    item = await item_of(resource, superuser, owner) if resource and is_of_item else None
    return filled(route, item and item["id"]), await body_for(route, superuser, owner, item)


def assert_success(route: RouteContext, answer: Response) -> None:
    """Assert that a usual request succeeds. Skips the check if a rule of the resource itself refuses the row."""
    resource = resource_of(route)
    if resource is not None and method_of(route) == "POST" and isinstance(answer.json(), dict):
        resource.made(answer)
    assert answer.is_success, answer.text


def is_hidden(route: RouteContext) -> bool:
    """Return whether members do not even learn that there is an item of another."""
    reads = [one for one in ROUTES if one.path_format == route.path_format and method_of(one) == "GET"]
    return any(who_may_use(main.app, one) is OWNERS for one in reads)


def is_forbidden(answer: Response) -> bool:
    return answer.status_code == 403 and answer.json()["type"] == "urn:problem:forbidden"


def test_the_permission_of_every_operation_is_that_of_its_route_class() -> None:
    for route in not_empty(ROUTES):
        operation = route.original_route
        assert isinstance(operation, Operation)
        said = operation.permission_by_method[method_of(route)]
        assert who_may_use(main.app, route) is (SUPERUSERS if name_of(route) in main.app.closed else said)


def test_operations_for_anyone_are_listed_as_public() -> None:
    for entry in not_empty(entries_of(main.app.routes)):
        assert (main.app.runtime.permissions[entry.key] is ANYONE) == main.app.is_public(entry.name), entry.name


def test_routes_without_a_permission_are_for_superusers() -> None:
    async def handle() -> None: ...

    for kind in (Operation, allowing()):
        for method, path in (("GET", "/"), ("POST", "/"), ("POST", "/bulk"), ("PUT", "/{id}"), ("DELETE", "/")):
            assert kind(path, handle, methods=[method], tags=["things"]).permission is SUPERUSERS
    assert {Permissions().of(method, "/") for method in ("GET", "POST", "PUT", "PATCH", "DELETE")} == {SUPERUSERS}


@routes_where(OWNERS)
def test_operations_for_owners_have_an_entity_with_an_owner(route: RouteContext) -> None:
    resource = resource_of(route)
    entity = resource.entity if resource else None
    is_owned = entity is None or entity.belongs_to
    assert is_owned, f'{name_of(route)} is for owners, but {entity} has none: write `belongs_to = "owner_id"` there.'


@routes_where(MEMBERS, OWNERS, SUPERUSERS)
async def test_requests_without_a_token_are_refused(route: RouteContext, anonymous: Client) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic bm9uc2Vuc2U="}):
        answer = await anonymous.request(method_of(route), filled(route), json={}, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["type"] == "urn:problem:unauthenticated"


@routes_where(ANYONE)
async def test_operations_for_anyone_ignore_the_token(route: RouteContext, anonymous: Client) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic bm9uc2Vuc2U="}):
        answer = await anonymous.request(method_of(route), filled(route), json={}, headers=headers)
        assert answer.status_code not in (401, 403, 500)


@routes_where(SUPERUSERS)
async def test_operations_for_superusers_are_refused_to_members(
    route: RouteContext, superuser: Person, natasha: Person
) -> None:
    assert is_forbidden(await ask(route, natasha.client, filled(route), {}))
    path, body = await valid_request(route, superuser)
    assert is_forbidden(await ask(route, natasha.client, path, body))


@routes_where(OWNERS)
async def test_changes_to_rows_of_others_are_refused_to_members(
    route: RouteContext, superuser: Person, natasha: Person, steve: Person
) -> None:
    if not is_usual(route):
        pytest.skip("It is no operation on one row of somebody, which is tested with its resource.")
    path, body = await valid_request(route, superuser, steve)
    answer = await ask(route, natasha.client, path, body)
    if route.dependant.path_params and is_hidden(route):
        assert answer.status_code == 404
    elif method_of(route) != "GET":
        assert is_forbidden(answer)
    else:
        resource = resource_of(route)
        assert resource is not None
        assert (await item_of(resource, superuser, steve))["id"] not in [one["id"] for one in answer.json()]


@every
async def test_superusers_may_use_every_operation(route: RouteContext, superuser: Person, steve: Person) -> None:
    path, body = await valid_request(route, superuser, steve)
    answer = await ask(route, superuser.client, path, body)
    if is_usual(route):
        assert_success(route, answer)
    assert answer.status_code not in (401, 403, 500) or who_may_use(main.app, route) is ANYONE, answer.text


@routes_where(MEMBERS, OWNERS)
async def test_members_may_use_operations_for_members(route: RouteContext, superuser: Person, natasha: Person) -> None:
    path, body = await valid_request(route, superuser, natasha)
    answer = await ask(route, natasha.client, path, body)
    if is_usual(route):
        assert_success(route, answer)
    assert answer.status_code not in (401, 403, 500), answer.text


@of_an_item
async def test_an_absent_row_is_a_404_for_permitted_callers(
    route: RouteContext, superuser: Person, natasha: Person
) -> None:
    body = await body_for(route, superuser, None, None)
    persons = [superuser, natasha] if who_may_use(main.app, route) is not SUPERUSERS else [superuser]
    for person in persons:
        answer = await ask(route, person.client, filled(route), body)
        assert answer.status_code == 404, answer.text


async def test_public_routes_work_without_a_token_and_with_an_invalid_one(guarded: Service, anonymous: Client) -> None:
    paths = [name.removeprefix("GET ") for name in guarded.public if name.startswith("GET ")]
    for path in (*not_empty(paths), "/docs/assets/swagger-ui.css"):
        for headers in ({}, {"Authorization": "Bearer nonsense"}):
            answer = await anonymous.get(path, headers=headers)
            assert answer.status_code in (200, 307), path


@pytest.mark.parametrize("path", ["/docs/assets/../../settings.py", "/docs/assets/%2e%2e/%2e%2e/main.py"])
async def test_only_assets_are_served_as_files(anonymous: Client, path: str) -> None:
    assert (await anonymous.get(path)).status_code == 404


async def test_the_document_says_which_operations_need_a_token(anonymous: Client) -> None:
    document = (await anonymous.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["Token"]["flows"]["password"]["tokenUrl"].endswith("auth/token")
    for route in not_empty(route for route in ROUTES if route.include_in_schema):
        operation = document["paths"][route.path_format][method_of(route).lower()]
        assert bool(operation.get("security", document["security"])) == (who_may_use(main.app, route) is not ANYONE), (
            name_of(route)
        )
        assert {"401", "403"} <= set(operation["responses"])
