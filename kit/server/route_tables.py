"""Tables of routes for the runtime, such as their permissions, derived when the routes are checked."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute, RouteContext
from sqlalchemy import inspect
from sqlmodel import SQLModel
from starlette.staticfiles import StaticFiles

from kit.auth.permissions import Who
from kit.models.entities import Entity
from kit.models.privacy import private_fields
from kit.models.reads import Read
from kit.operations.arguments import direct_handle
from kit.operations.caller_needs import needs_caller
from kit.operations.dependants import dependencies_of, is_of_the_kit, query_variant
from kit.operations.dependencies import get_session
from kit.operations.preconditions import precondition_of
from kit.operations.route import Operation
from kit.operations.unit_of_work import Handle
from kit.server.annotations import models_in, returned_by
from kit.server.relation_checks import tables_of
from kit.server.routes import Entry

ContextsOfRoutes = dict[int, list[RouteContext]]
"""The contexts of a route by its `id()`: one for each inclusion of its router."""


def permission_of(entry: Entry, public: Collection[str], closed: Collection[str]) -> Who:
    """Return who may use a route: superusers, unless its route class or `public` allows others, and if in `closed`."""
    if entry.name in closed:
        return Who.SUPERUSERS
    if entry.name in public:
        return Who.ANYONE
    return entry.route.permission_by_method[entry.method] if isinstance(entry.route, Operation) else Who.SUPERUSERS


FilteredList = tuple[tuple[type[Any], str], tuple[str, Collection[str], str]]


def filtered_lists(entries: Sequence[Entry]) -> Iterator[FilteredList]:
    """Yield the items for the dictionary `Runtime.filtered_lists`; the first routes come last, so that they win."""
    for entry in reversed(entries):
        if isinstance(entry.route, Operation) and entry.method == "GET" and "{" not in entry.path:
            for query in query_variants_of(entry.context.dependant):
                terms = {sign + name for name in ("id", *query.sorts) for sign in ("", "-")}
                fields = [field for field, operator in query.conditions.values() if operator == ""]
                yield from (((query.model, field), (entry.path, terms, query.default_sort)) for field in fields)


def entities_for_owners(entries: Iterable[Entry]) -> set[type[Entity]]:
    """Return the entities that members may read only as owners: by all their lists, or else by all other GETs.

    A list for others shows their rows on purpose. Superusers, who may read everything, do not count.
    """
    lists: defaultdict[type[Entity], set[Who]] = defaultdict(set)
    others: defaultdict[type[Entity], set[Who]] = defaultdict(set)
    for entry in entries:
        if isinstance(entry.route, Operation) and entry.method == "GET":
            for query in query_variants_of(entry.context.dependant):
                lists[query.model].add(entry.route.read_permission)
            for entity in entities_read_by(entry):
                others[entity].add(entry.route.read_permission)
    readers = {entity: who - {Who.SUPERUSERS} for entity, who in (others | lists).items()}
    return {entity for entity, who in readers.items() if who == {Who.OWNERS} and entity.belongs_to is not None}


def entities_read_by(entry: Entry) -> Iterator[type[Entity]]:
    """Yield the entities whose rows an operation returns, by its query, return annotation and response model."""
    yield from (query.model for query in filter(None, map(query_variant, dependencies_of(entry.context.dependant))))
    yield from (table for table in tables_returned_by(entry) if issubclass(table, Entity))


def tables_returned_by(entry: Entry) -> Iterator[type[Any]]:
    """Yield the tables whose rows an operation returns, entities or not, by its return annotation and response model.

    A read variant stands for a table if there is one table with a common base class.
    """
    types = returned_by(entry.handler), entry.context.response_model, entry.context.stream_item_type
    for kind in (part for each in types for part in classes_in(each)):
        if inspect(kind, raiseerr=False) is not None:
            yield kind
        related = list(tables_of(kind)) if issubclass(kind, Read) else []
        if len(related) == 1:
            yield related[0]


def classes_in(annotation: Any) -> Iterator[type[Any]]:
    """Yield the classes in an annotation such as `list[Variant] | None`."""
    if isinstance(annotation, type):
        yield annotation
    for part in get_args(annotation):
        yield from classes_in(part)


def query_variants_of(dependant: Dependant) -> Iterator[Any]:
    """Yield the `ListQuery` classes that are dependencies of an operation."""
    for dependency in dependencies_of(dependant):
        if dependency.call is not None and query_variant(dependency) is dependency.call:
            yield dependency.call


def contexts_of_routes(entries: Iterable[Entry]) -> ContextsOfRoutes:
    """Return the contexts of each route, by its `id()`."""
    contexts: ContextsOfRoutes = defaultdict(list)
    for entry in entries:
        found = contexts[id(entry.route)]
        if not found or found[-1] is not entry.context:  # one entry for each method
            found.append(entry.context)
    return contexts


def writes_by_itself(entry: Entry) -> bool:
    """Return whether a route takes `Session` and is not an operation, which has a unit of work."""
    if isinstance(entry.route, Operation) or not isinstance(entry.route, (APIRoute, APIWebSocketRoute)):
        return False
    return any(part.call is get_session for part in dependencies_of(entry.context.dependant))


def routes_without_caller(
    entries: Collection[Entry], permissions: Mapping[tuple[int, str], Who], *, is_required: bool
) -> Iterator[int]:
    """Yield the `id(route)` of each plain route and static folder that every caller may use, and that needs none.

    `is_required`: whether operations need a token. Otherwise every caller may use all routes.
    """
    restricted = {entry.key[0] for entry in entries if is_required and permissions[entry.key] is not Who.ANYONE}
    asking = {entry.key[0] for entry in entries if asks_for_caller(entry)}
    yield from ({entry.key[0] for entry in entries} - restricted - asking)


def asks_for_caller(entry: Entry) -> bool:
    """Return whether the response of a route may depend on its principal."""
    if isinstance(entry.route, APIRoute) and not isinstance(entry.route, Operation):
        shown = models_in(entry.context.response_model)
        is_private = any(issubclass(model, SQLModel) and private_fields(model) for model in shown)
        return is_private or needs_caller(entry.handler, entry.context.dependant)
    return not isinstance(entry.handler, StaticFiles)


def routes_without_conditions(entries: Iterable[Entry]) -> Iterator[int]:
    """Yield the `id(route)` of each operation that checks no precondition, by `IfMatch`, a header or the request."""
    operations = [entry for entry in entries if isinstance(entry.route, Operation)]
    parts = [(id(entry.route), part) for entry in operations for part in dependencies_of(entry.context.dependant)]
    yield from ({id(entry.route) for entry in operations} - {route for route, part in parts if reads_condition(part)})


def reads_condition(part: Dependant) -> bool:
    """Return whether a handler or dependency may read preconditions."""
    takes_request = part.request_param_name or part.http_connection_param_name
    return part.call is precondition_of or bool(part.header_params) or (bool(takes_request) and not is_of_the_kit(part))


def direct_handles(entries: Iterable[Entry], contexts: ContextsOfRoutes) -> dict[int, Handle]:
    """Return the functions that serve operations without FastAPI's dependency resolution, by `id(route)`."""
    operations = {id(entry.route): entry.route for entry in entries if isinstance(entry.route, Operation)}
    handles = {key: direct_handle(route, contexts[key]) for key, route in operations.items()}
    return {key: handle for key, handle in handles.items() if handle is not None}
