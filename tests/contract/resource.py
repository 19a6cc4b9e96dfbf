"""A resource as the routes, bodies and list query of an application describe it, so that checks apply to all."""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache, cached_property
from typing import Any, NoReturn, TypeVar

import pytest
from fastapi.routing import RouteContext
from httpx import Response
from sqlalchemy import Table, UniqueConstraint, inspect

from kit import Entity, ListQuery, Service
from kit.models.kinds import shape_of_field
from kit.operations.results import variant_of
from tests.contract.field import Field, Json, fields_of, resolved
from tests.contract.operations import (
    ITEM_VERBS,
    METHODS,
    STATUS,
    WRITING,
    body_of,
    bulk_at,
    has_rules_of_its_own,
    method_of,
    operations_of,
    paths_of,
    query_of,
    takes_preconditions,
    verbs_at,
)
from tests.engines import Client

OF_THE_KIT = frozenset({"urn:problem:taken", "urn:problem:invalid", "urn:problem:in-use"})
"""The types of refusals that do not come from rules of the resource itself."""
SHOWING = ("create", "read", "replace", "update")
BLANKS = ("", " ", "\t\n", "\u00a0\u2003")


class UntestedError(pytest.skip.Exception):  # type: ignore[name-defined, misc]  # an attribute of a function
    """Raised if the checks cannot make rows of a resource, or find them: skips the check, with the reason."""


def skip(reason: str) -> NoReturn:
    raise UntestedError(reason)


@dataclass(frozen=True, eq=False)
class Resource:
    """A resource.

    `path` is its canonical path, as in `/things/`. `verbs` are its operations: list, create, read, … or show. `bulk` is
    the operation that creates many rows, if there is one.
    """

    app: Service
    path: str
    verbs: dict[str, RouteContext]
    bulk: RouteContext | None

    @property
    def name(self) -> str:
        return self.path.strip("/")

    @property
    def query(self) -> type[ListQuery]:
        query = query_of(self.verbs["list"])
        assert query is not None, "A list has a list query."
        return query

    @property
    def entity(self) -> type[Entity] | None:
        """The entity of the rows of a list."""
        return self.query.model if "list" in self.verbs else None

    @property
    def table(self) -> Table:
        table: Table = inspect(self.query.model).local_table
        return table

    @property
    def read(self) -> Any:
        """The read variant of the rows."""
        shown = [variant_of(route.response_model) for verb, route in self.verbs.items() if verb in SHOWING]
        return self.query.read if "list" in self.verbs else next(filter(None, shown))

    def shown(self, name: str) -> str:
        """Return the name of a field in JSON."""
        field = self.read.model_fields.get(name)
        return name if field is None else field.serialization_alias or name

    @property
    def conditional(self) -> list[str]:
        """The verbs that check `If-Match`."""
        changing = [(verb, route) for verb, route in self.verbs.items() if verb in ("replace", "update", "delete")]
        return [verb for verb, route in changing if takes_preconditions(route)]

    def fields(self, verb: str) -> list[Field]:
        return fields_of(body_of(self.verbs[verb])) if verb in self.verbs else []

    @cached_property
    def uniques(self) -> list[set[str]]:
        """The fields of each unique constraint that a body can violate."""
        if "list" not in self.verbs:
            return []
        sent = {field.attribute: field.name for field in self.fields("create")}
        kinds = [part for part in self.table.constraints if isinstance(part, UniqueConstraint)]
        indexes: list[Any] = [index for index in self.table.indexes if index.unique]
        groups = [self.fields_of_constraint(part) for part in (*kinds, *indexes)]
        return [{sent[name] for name in group} for group in groups if group <= sent.keys()]

    def fields_of_constraint(self, part: Any) -> set[str]:
        """Return the fields of a constraint. For an expression it is the field in the name of the constraint."""
        return {column.name for column in part.columns} or {str(part.name).removeprefix(f"uq_{self.table.name}_")}

    @property
    def unique(self) -> set[str]:
        return set().union(*self.uniques)

    def has(self, feature: str) -> bool:
        """Return whether the resource has this verb or feature, or a body with this kind of field."""
        if feature in FEATURES:
            return bool(FEATURES[feature](self))
        if feature in FIELDS:
            return any(FIELDS[feature](field) for verb in WRITING for field in self.fields(verb))
        return feature in self.verbs and (feature not in ITEM_VERBS or self.has("things"))

    def has_filter(self, kinds: tuple[type, ...]) -> bool:
        """Return whether a list can be filtered by a field of one of these types."""
        return "list" in self.verbs and any(kind_of(self, name) in kinds for name, _ in self.query.conditions.values())

    @property
    def parents(self) -> list[Field]:
        return [field for field in self.fields("create") if field.parent]

    @property
    def tag(self) -> str:
        return str(next(iter(self.verbs.values())).tags[0])

    def operation(self, verb: str) -> Json:
        route = self.verbs[verb]
        document = self.app.openapi()
        operation: Json = document["paths"][route.path_format][method_of(route).lower()]
        return operation | {"parameters": [resolved(document, part) for part in operation.get("parameters", ())]}

    def url(self, thing: Json) -> str:
        return f"{self.path.rstrip('/')}/{thing['id']}"

    async def body(self, client: Client, verb: str = "create", *, turn: int = 0, whole: bool = True) -> Json:
        """Return a valid body, after creating its required parents. Without `whole`, only required fields."""
        return await self.filled(client, self.fields(verb), turn=turn, whole=whole)

    async def filled(self, client: Client, fields: Iterable[Field], *, turn: int = 0, whole: bool = True) -> Json:
        wanted = [field for field in fields if field.required or (whole and not field.parent)]
        return {field.name: await self.value(client, field, turn) for field in wanted}

    async def value(self, client: Client, field: Field, turn: int = 0) -> Any:
        if field.parent is None:
            return field.value(turn, unique=field.name in self.unique)
        parent = next((other for other in resources_of(self.app) if other.is_of(field.parent)), None)
        if parent is None and not field.required and field.nullable:
            return None
        if parent is None:
            skip(f"No resource creates rows of {field.parent}, to which {field.name} of {self.path} refers.")
        if "update" not in self.verbs:
            return await self.make_parent(client, parent)
        known = [] if field.name in self.unique else (await parent.all(client))[turn : turn + 1]
        return (known[0] if known else await parent.make(client))["id"]

    async def make_parent(self, client: Client, parent: "Resource") -> Any:
        """Create a parent, and other records of it: a record may depend on earlier ones."""
        made = (await parent.make(client))["id"]
        for other in resources_of(self.app):
            keys = [field.name for field in other.parents if field.parent == parent.table.name]
            if other.name != self.name and len(keys) == 1 and "update" not in other.verbs and other.has("things"):
                await other.make(client, **{keys[0]: made})
        return made

    def is_of(self, table: str) -> bool:
        return self.has("list") and self.has("create") and self.table.name == table

    async def make(self, client: Client, /, **fields: Any) -> Json:
        thing: Json = self.made(await client.post(self.path, json=await self.body(client) | fields))
        return thing

    def made(self, answer: Response, verb: str = "create") -> Any:
        """Return the content of a successful response. Skips the check if a rule of the resource itself refuses it."""
        if 400 <= answer.status_code < 500 and self.has_refused(answer, verb):
            skip(f"A rule of {METHODS[verb]} {self.path} refuses the values of these tests: {answer.text}")
        assert answer.status_code == STATUS.get(verb, 200), answer.text
        return answer.json()

    def has_refused(self, answer: Response, verb: str) -> bool:
        """Return whether a rule of the resource itself has refused a request, and not one of the kit."""
        is_own = answer.status_code == 422 and has_rules_of_its_own(body_of(self.verbs[verb]))
        return is_own or answer.json()["type"] not in OF_THE_KIT

    async def make_varied(self, client: Client, number: int = 13) -> list[Json]:
        """Create rows with nulls and equal values, some of which share a parent."""
        pool = [await self.full_body(client, turn, with_own=False) for turn in range(4)]
        made = [await self.make(client, **await self.mixed_body(client, pool, place)) for place in range(number)]
        await self.all(client, *made)
        return made

    async def full_body(self, client: Client, turn: int, *, with_own: bool = True) -> Json:
        """Return a valid body with its optional parents; `with_own`: also with those of its own kind."""
        fields = [field for field in self.fields("create") if with_own or not self.refers_to_itself(field)]
        return {field.name: await self.value(client, field, turn) for field in fields}

    def refers_to_itself(self, field: Field) -> bool:
        """Return whether the field refers to another row of the same table."""
        return field.parent is not None and self.is_of(field.parent)

    async def mixed_body(self, client: Client, pool: list[Json], place: int) -> Json:
        mixed: Json = {}
        for shift, field in enumerate(self.fields("create")):
            if field.nullable and ((place + shift) % 4 == 0 or self.refers_to_itself(field)):
                mixed[field.name] = None
            elif field.name in self.unique or (field.parent and "update" not in self.verbs):
                mixed[field.name] = await self.value(client, field)
            else:
                mixed[field.name] = pool[(place * (shift + 1)) % 4][field.name]
        return mixed

    async def all(self, client: Client, *made: Json) -> list[Json]:
        """Return all rows. Skips the check if these are not among them: the list shows some rows only."""
        things: list[Json] = (await client.get(self.path, params={"limit": 100, "sort": "id"})).json()
        assert len(things) < 100, "These may not be all."
        if {thing["id"] for thing in made} - {thing["id"] for thing in things}:
            skip(f"GET {self.path} does not list all rows that POST {self.path} creates.")
        return things

    async def operation_urls(self, client: Client) -> list[tuple[str, str, str]]:
        """Return the operations: verb, method and URL. An operation on an item has a newly created item."""
        places = []
        for verb, route in self.verbs.items():
            if route.dependant.path_params and not self.has("things"):
                continue  # no item can be made
            made = await self.make(client) if route.dependant.path_params else None
            places.append((verb, METHODS.get(verb, "GET"), self.url(made) if made else self.path))
        return not_empty(places)

    async def readable(self, client: Client) -> list[str]:
        found = not_empty(url for _, method, url in await self.operation_urls(client) if method == "GET")
        answer = await client.get(self.path) if "show" in self.verbs else None
        if answer is not None and 400 <= answer.status_code < 500:
            skip(f"GET {self.path} has nothing to show: {answer.text}")
        return found

    async def writable(self, client: Client) -> list[tuple[str, str, str]]:
        return not_empty(place for place in await self.operation_urls(client) if place[0] in WRITING)

    async def fields_in_bodies(self, client: Client, kind: str) -> list[tuple[Field, str, str, Json]]:
        """Return the fields of this kind in all bodies, each with method, URL, and the other fields of a valid body."""
        written: list[tuple[Field, str, str, Json]] = []
        for verb, method, url in await self.writable(client):
            body = await self.valid(client, verb)
            written += [(field, method, url, body) for field in self.fields(verb) if FIELDS[kind](field)]
        return not_empty(written)

    async def items(self, client: Client, *verbs: str) -> list[tuple[str, str, str]]:
        """Return the operations on an item; with `verbs`, only these."""
        wanted = {verb for verb, route in self.verbs.items() if route.dependant.path_params}
        wanted = wanted.intersection(verbs) if verbs else wanted
        return not_empty(place for place in await self.operation_urls(client) if place[0] in wanted)

    async def valid(self, client: Client, verb: str) -> Json:
        """Return a valid body with the required fields only."""
        return {} if verb == "update" else await self.body(client, verb, whole=False)


def kind_of(resource: Resource, name: str) -> type:
    """Return the Python type of a field of the entity."""
    field = resource.query.model.model_fields[name]
    plain: type = shape_of_field(field).plain
    return plain


FEATURES: dict[str, Callable[[Resource], object]] = {
    "unique": lambda resource: resource.unique,
    "parents": lambda resource: resource.parents,
    "search": lambda resource: "list" in resource.verbs and resource.query.search,
    "includes": lambda resource: "list" in resource.verbs and resource.query.includes,
    "sorts": lambda resource: "list" in resource.verbs and resource.query.sorts,
    "bulk": lambda resource: resource.bulk,
    "readable": lambda resource: {"list", "show"} & set(resource.verbs) or resource.has("things"),
    "writable": lambda resource: "create" in resource.verbs,
    # A created row can be read again: operations without a readable result have their own tests.
    "things": lambda resource: "create" in resource.verbs and {"list", "read"} & set(resource.verbs),
    "items": lambda resource: resource.has("things") and set(ITEM_VERBS) & set(resource.verbs),
    "changing": lambda resource: resource.has("things") and {"replace", "update", "delete"} & set(resource.verbs),
    "conditional": lambda resource: resource.has("things") and resource.conditional,
    "conditional update": lambda resource: "update" in resource.conditional,
    "tags": lambda resource: "list" in resource.verbs or (resource.has("things") and "read" in resource.verbs),
    "time filters": lambda resource: resource.has_filter((datetime,)),
    "number filters": lambda resource: resource.has_filter((int, Decimal)),
}
FIELDS: dict[str, Callable[[Field], object]] = {
    "any fields": lambda field: True,
    "required fields": lambda field: field.required,
    "nullable fields": lambda field: field.nullable,
    "fields that are not null": lambda field: not field.nullable,
    "integers": lambda field: field.is_a("integer"),
    "bounded integers": lambda field: field.is_a("integer") and not field.parent and field.bounds,
    "amounts": lambda field: field.is_amount,
    "texts": lambda field: field.is_a("string"),
    "texts with a maximum": lambda field: field.all_of("maxLength"),
    "free texts": lambda field: field.offers("<b> \u00e9"),
    "names": lambda field: field.is_free_text and not all(map(field.offers, BLANKS)),
    "references": lambda field: field.parent,
}
"""Kinds of fields, as the schema of a body shows them."""
T = TypeVar("T")


def not_empty(things: Iterable[T]) -> list[T]:
    """Return the elements as a list. Asserts that there is at least one, so that a loop checks something."""
    found = list(things)
    assert found, "There is nothing to check."
    return found


Check = Callable[[Client, Resource], Coroutine[Any, Any, None]]


def needs(*features: str) -> Callable[[Check], Check]:
    """Return a decorator that limits a check to resources with all of these verbs and features."""

    def mark(check: Check) -> Check:
        vars(check)["features"] = features
        return check

    return mark


def concerns(check: Check, resource: Resource) -> bool:
    return all(resource.has(feature) for feature in vars(check).get("features", ()))


def resources_of(app: Service) -> list[Resource]:
    """Return all resources of an application, collections (`/things/`) and single things (`/thing`)."""
    return resources_among(app, tuple(map(id, app.router.routes)))


@cache  # every value of a reference needs them, and a check sends hundreds of values
def resources_among(app: Service, _: tuple[int, ...]) -> list[Resource]:
    """Return the resources of these routes, cached until routes are added."""
    routes = operations_of(app)
    found = [Resource(app, path, verbs_at(path, routes), bulk_at(path, routes)) for path in paths_of(routes)]
    return [resource for resource in found if resource.verbs]


def named(app: Service, name: str) -> Resource:
    return next(resource for resource in resources_of(app) if resource.name == name)
