"""A resource as the routes, bodies and list query of an application describe it, so that checks apply to all."""

from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache, cached_property
from typing import Any, TypeVar, get_origin

from fastapi.routing import RouteContext, iter_route_contexts
from pydantic import BaseModel
from sqlalchemy import Table, UniqueConstraint, inspect

from kit import Entity, ListQuery, Service, Who
from kit.models.kinds import shape_of_field
from kit.operations.dependants import dependencies_of, query_variant
from kit.operations.route import Operation
from tests.contract.field import Field, Json, fields_of, resolved
from tests.engines import Client

METHODS = {"create": "POST", "replace": "PUT", "update": "PATCH", "delete": "DELETE"}
WRITING = ("create", "replace", "update")
ITEM_VERBS = ("read", "replace", "update", "delete")
BLANKS = ("", " ", "\t\n", "\u00a0\u2003")


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
        return next(filter(None, map(query_variant, dependencies_of(self.verbs["list"].dependant))))

    @property
    def entity(self) -> type[Entity] | None:
        """The entity of the rows of a list."""
        return self.query.model if "list" in self.verbs else None

    @property
    def table(self) -> Table:
        table: Table = inspect(self.query.model).local_table
        return table

    def fields(self, verb: str) -> list[Field]:
        return fields_of(body_of(self.verbs[verb])) if verb in self.verbs else []

    @cached_property
    def uniques(self) -> list[set[str]]:
        """The fields of each unique constraint that a body can violate."""
        if "list" not in self.verbs:
            return []
        sent = {field.name for field in self.fields("create")}
        kinds = [part for part in self.table.constraints if isinstance(part, UniqueConstraint)]
        indexes: list[Any] = [index for index in self.table.indexes if index.unique]
        groups = [self.fields_of_constraint(part) for part in (*kinds, *indexes)]
        return [group for group in groups if group <= sent]

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
        return f"{self.path}{thing['id']}"

    async def body(self, client: Client, verb: str = "create", *, turn: int = 0, whole: bool = True) -> Json:
        """Return a valid body, after creating its required parents. Without `whole`, only required fields."""
        return await self.filled(client, self.fields(verb), turn=turn, whole=whole)

    async def filled(self, client: Client, fields: Iterable[Field], *, turn: int = 0, whole: bool = True) -> Json:
        wanted = [field for field in fields if field.required or (whole and not field.parent)]
        return {field.name: await self.value(client, field, turn) for field in wanted}

    async def value(self, client: Client, field: Field, turn: int = 0) -> Any:
        parent = next((other for other in resources_of(self.app) if field.parent and other.is_of(field.parent)), None)
        if parent is None:
            return field.value(turn, unique=field.name in self.unique)
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

    async def make(self, client: Client, **fields: Any) -> Json:
        answer = await client.post(self.path, json=await self.body(client) | fields)
        assert answer.status_code == 201, answer.text
        thing: Json = answer.json()
        return thing

    async def make_varied(self, client: Client, number: int = 13) -> list[Json]:
        """Create rows with nulls and equal values, some of which share a parent."""
        pool = [await self.full_body(client, turn, with_own=False) for turn in range(4)]
        return [await self.make(client, **await self.mixed_body(client, pool, place)) for place in range(number)]

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

    async def all(self, client: Client) -> list[Json]:
        things: list[Json] = (await client.get(self.path, params={"limit": 100, "sort": "id"})).json()
        assert len(things) < 100, "These may not be all."
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
        return not_empty(url for _, method, url in await self.operation_urls(client) if method == "GET")

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
    """Return all resources of an application, collections (`/things/`) and singletons (`/thing`)."""
    return resources_among(app, tuple(map(id, app.router.routes)))


@cache  # every value of a reference needs them, and a check sends hundreds of values
def resources_among(app: Service, _: tuple[int, ...]) -> list[Resource]:
    """Return the resources of these routes, cached until routes are added."""
    routes = operations_of(app)
    paths = dict.fromkeys(str(route.path_format) for route in routes)
    own = [path for path in paths if "{" not in path and (path.endswith("/") or path.count("/") == 1)]
    many = {str(route.path_format): route for route in routes if method_of(route) == "POST"}
    found = [Resource(app, path, dict(verbs_of(path, routes)), many.get(f"{path}bulk")) for path in own]
    return [resource for resource in found if resource.verbs]


def operations_of(app: Service) -> list[RouteContext]:
    return [route for route in iter_route_contexts(app.routes) if isinstance(route.original_route, Operation)]


def who_may_use(app: Service, route: RouteContext) -> Who:
    """Return the permission of an operation of the application."""
    if not app.runtime.permissions:
        app.check_routes()
    return app.runtime.permissions[id(route.original_route), method_of(route)]


def verbs_of(path: str, routes: list[RouteContext]) -> Iterator[tuple[str, RouteContext]]:
    verbs = {method: verb for verb, method in METHODS.items()}
    for route in routes:
        whole, method = str(route.path_format), method_of(route)
        rest = whole.removeprefix(path)
        if not whole.startswith(path) or (method == "POST" and not body_of(route)):
            continue
        if rest == "" and method == "GET":
            yield "list" if get_origin(route.response_model) is list else "show", route
        elif rest == "" or (rest.startswith("{") and rest.endswith("}") and path.endswith("/")):
            yield verbs.get(method, "read"), route


def method_of(route: RouteContext) -> str:
    return min(route.methods or {"GET"})


def body_of(route: RouteContext) -> Any:
    """Return the model of the request body; None if the body is not a JSON object."""
    kind = route.body_field.field_info.annotation if route.body_field else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def named(app: Service, name: str) -> Resource:
    return next(resource for resource in resources_of(app) if resource.name == name)
