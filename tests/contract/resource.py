"""A resource, as the routes, bodies and query variant of an application show it; nothing here names one."""

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, get_origin

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import Table, UniqueConstraint, inspect
from sqlmodel import SQLModel

from kit.openapi import document as openapi
from kit.openapi.operations import query_variant
from kit.operations.unit_of_work import UnitOfWork
from kit.query.list_query import ListQuery
from tests.conftest import Client
from tests.contract.field import Field, Json, fields_of

METHODS = {"create": "POST", "replace": "PUT", "update": "PATCH", "delete": "DELETE"}


@dataclass(frozen=True, eq=False)
class Resource:
    """`path` is its canonical one, as in `/things/`; `verbs` are its operations: list, create, read, … or show."""

    app: FastAPI
    path: str
    verbs: dict[str, UnitOfWork]

    @property
    def name(self) -> str:
        return self.path.strip("/")

    @property
    def query(self) -> type[ListQuery]:
        return next(filter(None, map(query_variant, self.verbs["list"].dependant.dependencies)))

    @property
    def table(self) -> Table:
        table: Table = inspect(self.query.model).local_table
        return table

    def fields(self, verb: str) -> list[Field]:
        return fields_of(body_of(self.verbs[verb])) if verb in self.verbs else []

    @cached_property
    def uniques(self) -> list[set[str]]:
        """The fields that are unique together, of those constraints that a body can break."""
        if "list" not in self.verbs:
            return []
        sent = {field.name for field in self.fields("create")}
        kinds = [part for part in self.table.constraints if isinstance(part, UniqueConstraint)]
        indexes: list[Any] = [index for index in self.table.indexes if index.unique]
        groups = [self.held_by(part) for part in (*kinds, *indexes)]
        return [group for group in groups if group <= sent]

    def held_by(self, part: Any) -> set[str]:
        """The fields of a constraint; where it is about an expression, the one that it is named after."""
        return {column.name for column in part.columns} or {str(part.name).removeprefix(f"uq_{self.table.name}_")}

    @property
    def unique(self) -> set[str]:
        return set().union(*self.uniques)

    def has(self, feature: str) -> bool:
        """Whether it has this verb, or any of these: unique fields, parents, search, includes."""
        if feature in ("unique", "parents"):
            return bool(self.unique if feature == "unique" else self.parents)
        if feature in ("search", "includes"):
            return "list" in self.verbs and bool(getattr(self.query, feature))
        if feature == "things":  # what is created can be seen again: a deed that leaves no trace has its own tests
            return "create" in self.verbs and bool({"list", "read"} & set(self.verbs))
        return feature in self.verbs

    @property
    def parents(self) -> list[Field]:
        return [field for field in self.fields("create") if field.parent]

    @property
    def tag(self) -> str:
        return str(next(iter(self.verbs.values())).tags[0])

    def operation(self, verb: str) -> Json:
        route = self.verbs[verb]
        operation: Json = openapi.openapi(self.app)["paths"][route.path_format][method_of(route).lower()]
        return operation

    def url(self, thing: Json) -> str:
        return f"{self.path}{thing['id']}"

    async def body(self, client: Client, verb: str = "create", *, turn: int = 0, whole: bool = True) -> Json:
        """A valid body, its required parents made before; not `whole`: what is required, and no more."""
        wanted = [field for field in self.fields(verb) if field.required or (whole and not field.parent)]
        return {field.name: await self.value(client, field, turn) for field in wanted}

    async def value(self, client: Client, field: Field, turn: int = 0) -> Any:
        parent = next((other for other in resources_of(self.app) if field.parent and other.is_of(field.parent)), None)
        if parent is None:
            return field.value(turn, unique=field.name in self.unique)
        if "update" not in self.verbs:
            return await self.prepared(client, parent)
        known = [] if field.name in self.unique else (await parent.all(client))[turn : turn + 1]
        return (known[0] if known else await parent.make(client))["id"]

    async def prepared(self, client: Client, parent: "Resource") -> Any:
        """A new parent, and what else is recorded of it: a deed may depend on those before."""
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
        """Things with nulls and ties, and with parents that some of them share."""
        pool = [await self.whole(client, turn) for turn in range(4)]
        return [await self.make(client, **await self.mixed(client, pool, place)) for place in range(number)]

    async def whole(self, client: Client, turn: int) -> Json:
        """A valid body with its optional parents."""
        return {field.name: await self.value(client, field, turn) for field in self.fields("create")}

    async def mixed(self, client: Client, pool: list[Json], place: int) -> Json:
        mixed: Json = {}
        for shift, field in enumerate(self.fields("create")):
            if field.nullable and (place + shift) % 4 == 0:
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

    async def places(self, client: Client) -> list[tuple[str, str, str]]:
        """Where each of its operations is: verb, method and URL; one of an item has an item of its own."""
        places = []
        for verb, route in self.verbs.items():
            made = await self.make(client) if route.dependant.path_params else None
            places.append((verb, METHODS.get(verb, "GET"), self.url(made) if made else self.path))
        return places

    async def readable(self, client: Client) -> list[str]:
        return [url for _, method, url in await self.places(client) if method == "GET"]

    async def writable(self, client: Client) -> list[tuple[str, str, str]]:
        return [place for place in await self.places(client) if place[0] in ("create", "replace", "update")]

    async def valid(self, client: Client, verb: str) -> Json:
        """A body that this verb takes, and which says as little as possible."""
        return {} if verb == "update" else await self.body(client, verb, whole=False)


Check = Callable[[Client, Resource], Coroutine[Any, Any, None]]


def needs(*features: str) -> Callable[[Check], Check]:
    """This check is for resources that have all these verbs and features."""

    def mark(check: Check) -> Check:
        vars(check)["features"] = features
        return check

    return mark


def concerns(check: Check, resource: Resource) -> bool:
    return all(resource.has(feature) for feature in vars(check).get("features", ()))


def resources_of(app: FastAPI) -> list[Resource]:
    """Collections, whose path ends with a slash, and things of which there is one only, as in `/thing`."""
    return resources_among(app, len(app.router.routes))


@cache  # every value of a reference asks for them, and a check sends hundreds
def resources_among(app: FastAPI, _: int) -> list[Resource]:
    """They are others when there are more routes; routes are only ever added."""
    routes = [route for route in app.router.routes if isinstance(route, UnitOfWork)]
    paths = dict.fromkeys(route.path_format for route in routes)
    own = [path for path in paths if "{" not in path and (path.endswith("/") or path.count("/") == 1)]
    return [Resource(app, path, dict(verbs_of(path, routes))) for path in own]


def verbs_of(path: str, routes: list[UnitOfWork]) -> Iterator[tuple[str, UnitOfWork]]:
    verbs = {method: verb for verb, method in METHODS.items()}
    for route in routes:
        rest, method = route.path_format.removeprefix(path), method_of(route)
        if not route.path_format.startswith(path) or (method == "POST" and not body_of(route)):
            continue
        if rest == "" and method == "GET":
            yield "list" if get_origin(route.response_model) is list else "show", route
        elif rest == "" or (rest.startswith("{") and rest.endswith("}") and path.endswith("/")):
            yield verbs.get(method, "read"), route


def method_of(route: UnitOfWork) -> str:
    return min(route.methods or {"GET"})


def body_of(route: UnitOfWork) -> Any:
    """The variant that comes in; None if it is no JSON object."""
    kind = route.body_field.field_info.annotation if route.body_field else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel | SQLModel) else None


def named(app: FastAPI, name: str) -> Resource:
    return next(resource for resource in resources_of(app) if resource.name == name)
