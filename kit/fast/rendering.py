"""Rendering: returns rows as JSON responses, without validation by pydantic if the JSON is their stored values."""

import inspect
from collections.abc import Sequence
from functools import cache, cached_property, lru_cache
from operator import itemgetter
from typing import Any, cast, get_args, get_origin

import sqlalchemy
from fastapi.datastructures import DefaultPlaceholder
from fastapi.routing import RouteContext, serialize_response
from starlette.responses import JSONResponse, Response
from starlette.status import HTTP_204_NO_CONTENT, HTTP_205_RESET_CONTENT, HTTP_304_NOT_MODIFIED
from starlette.types import Receive, Scope, Send

from kit.auth.embedding import FOR_OWNERS
from kit.fast.embedding import embed
from kit.fast.pages import FastPage, is_plain_query
from kit.fast.projection import MAX_KNOWN, NO_VARIANTS, Projection, VisibleFields, has_stored_types, included_variants
from kit.fast.read_sessions import FastReadSession
from kit.fast.read_variants import nested_variants, shows_stored_values, stored_types
from kit.http.encoding import to_json
from kit.models.entities import Entity
from kit.models.privacy import private_fields
from kit.models.reads import Read
from kit.operations.handlers import is_generator
from kit.operations.results import load_included, loaded_and_converted, page_headers
from kit.operations.unit_of_work import Unit
from kit.operations.unloaded import load_unloaded
from kit.query.list_query import QUERY, ListQuery
from kit.server.annotations import models_in
from kit.server.request_log import whole_send

JSON = (b"content-type", b"application/json")
BODILESS = (HTTP_204_NO_CONTENT, HTTP_304_NOT_MODIFIED)
"""The status codes of responses without a body and without `Content-Length`."""
MAX_SEEN = 1000
"""The maximum number of combinations of types that are cached for a variant."""
WITHOUT_CONTENT = (*BODILESS, HTTP_205_RESET_CONTENT)


class RenderedResponse(Response):
    """A JSON response whose headers are created as bytes, and which is written by one call if possible."""

    body: bytes

    def __init__(self, body: bytes, status: int) -> None:
        self.status_code, self.body, self.background = status, body, None
        self.raw_headers = [] if status in BODILESS else [(b"content-length", b"%d" % len(body)), JSON]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        send_whole = None if self.background else whole_send(send)
        if send_whole is None or not send_whole(self.status_code, self.raw_headers, self.body):
            await super().__call__(scope, receive, send)


class Rendering:
    """Renders the results of one operation."""

    def __init__(self, context: RouteContext) -> None:
        self.context, self.status = context, context.status_code or 200
        model = context.response_model
        self.read = as_variant(model)
        self.item = as_variant(get_args(model)[0]) if get_origin(model) is list else None

    @cached_property
    def shows_related(self) -> bool:
        """Whether the response model has related rows as fields."""
        return any(nested_variants(part) for part in models_in(self.context.response_model) if issubclass(part, Read))

    @staticmethod
    def applies(context: RouteContext) -> bool:
        """Return whether an operation has an async handler and FastAPI's default JSON response."""
        options = (
            context.response_model_include,
            context.response_model_exclude,
            context.response_model_exclude_unset,
            context.response_model_exclude_defaults,
            context.response_model_exclude_none,
        )
        handler = getattr(context.original_route, "handler", None)
        is_async = inspect.iscoroutinefunction(handler) and not is_generator(handler)
        is_default = isinstance(context.response_class, DefaultPlaceholder) and context.response_model_by_alias
        return is_async and is_default and not any(options)

    async def render(self, unit: Unit, result: Any) -> Response:
        """Return the response for the result of a handler: JSON of stored values, or by the response model."""
        if isinstance(result, FastPage) and result.read is self.item and (body := result.body) is not None:
            unit.headers |= page_headers(unit.request, result)
            unit.is_tagged_by_content = True
            unit.digest = result.digest
            return RenderedResponse(body, self.status)
        if self.may_show_others(unit, result):
            return await self.validated(unit, result)
        if isinstance(result, Entity) and not vars(result).keys() >= shown_attributes(type(result), self.read):
            await load_unloaded(result, self.read, unit.session)
        if isinstance(result, Entity) and self.read and shows_stored_values(self.read, type(result)):
            query = unit.request.scope.get(QUERY)
            unit.tag_row(result, self.read, has_included=query is not None and bool(query.included))
            if query is not None and query.included and (query.lists or lacks_related(result, query)):
                return RenderedResponse(await json_with_lists(unit, result, self.read, query), self.status)
            return RenderedResponse(to_json(visible_values(result, self.read, query)), self.status)
        if isinstance(result, list) and self.item and all_stored(result, self.item):
            return RenderedResponse(to_json(await visible_rows(unit, result, self.item)), self.status)
        return await self.validated(unit, result)

    def may_show_others(self, unit: Unit, result: Any) -> bool:
        """Return whether a result may contain related rows of other users that only their owners may read."""
        for_owners = FOR_OWNERS.get()
        read, row = (self.item, next(iter(result), None)) if isinstance(result, list) else (self.read, result)
        if not for_owners or read is None or not isinstance(row, Entity):
            return False
        query = unit.request.scope.get(QUERY)
        included = () if query is None else tuple(query.included)
        return not for_owners.isdisjoint(related_entities(type(row), read, included))

    async def validated(self, unit: Unit, result: Any) -> Response:
        """Return the response for a result by FastAPI's own code, with validation by the response model."""
        value = await loaded_and_converted(unit, result)
        if isinstance(value, Response):
            return value
        field = self.context.response_field
        content = await serialize_response(field=field, response_content=value, dump_json=field is not None)
        if self.status in WITHOUT_CONTENT:
            return RenderedResponse(b"", self.status)
        written = content if isinstance(content, bytes) else bytes(JSONResponse(content).body)
        return RenderedResponse(written, self.status)


async def visible_rows(unit: Unit, rows: Sequence[Entity], read: type[Read]) -> Sequence[Any]:
    """Return the values of rows that the principal may see, for `to_json`. Loads those that are not loaded."""
    visible = [loaded_values(row, read, None) for row in rows]
    if None not in visible:
        return visible
    await load_unloaded(rows, read, unit.session)
    return [visible_values(row, read, None) for row in rows]


@lru_cache(MAX_KNOWN)
def related_entities(entity: type[Entity], read: type[Read], included: tuple[str, ...]) -> frozenset[type[Any]]:
    """Return the entities of the relationships that a variant, or the parameter `include`, shows of an entity."""
    relationships = sqlalchemy.inspect(entity).relationships
    names = {*nested_variants(read), *included}.intersection(relationships.keys())
    return frozenset(relationships[name].mapper.class_ for name in names)


def lacks_related(row: Entity, query: ListQuery) -> bool:
    """Return whether a row may lack related rows in the parameter `include`, or these further related rows."""
    return any(name not in vars(row) or nested_variants(read) for name, read in included_variants(query).items())


async def json_with_lists(unit: Unit, row: Entity, read: type[Read], query: ListQuery) -> bytes:
    """Return a row as JSON, with its embedded lists. These are read without the ORM if the result is the same."""
    projection = Projection.of(query) if query.read is read and is_plain_query(cast("Any", type(query))) else None
    if projection is None or not may_read_lists(unit.session, projection, row):
        await load_included(unit, row)
        return to_json(visible_values(row, read, query))
    values = dict(vars(row))
    for relation in [relation for relation in projection.relations if relation.name in query.lists]:
        await embed(unit.session.shortcuts.engine, query, relation, [values])  # type: ignore[union-attr]
    return to_json(projection.visible_fields.of_row(values))


def may_read_lists(session: Any, projection: Projection, row: Entity) -> bool:
    """Return whether the lists of a row can be read without the ORM, and all other visible values are loaded."""
    query, values = projection.query, vars(row)
    others = {name: kind for name, kind in included_variants(query).items() if name not in query.lists}
    return (
        isinstance(session, FastReadSession)
        and session.shortcuts.has_pages
        and values.keys() >= set(projection.columns())
        and has_stored_types(row, query.read, others)
        and all(session.may_read(relation.target) for relation in projection.relations)
    )


def loaded_values(row: Entity, read: type[Read], query: ListQuery | None) -> dict[str, Any] | None:
    """Return the values of a row for a variant of plain columns; None for other variants and queries.

    Also None if a value is not loaded, or has another type than its column.
    """
    if (query is None or not query.included) and (query is None or query.fields is None):
        return plain_columns(read).values_of(row.__dict__)
    return None


def visible_values(row: Entity, read: type[Read], query: ListQuery | None) -> Any:
    """Return the values of a row that the principal may see, for `to_json`.

    `shows_stored_values` must be true for the variant.
    """
    query = query if query is not None and query.read is read else None
    if (loaded := loaded_values(row, read, query)) is not None:
        return loaded
    included = included_variants(query) if query else NO_VARIANTS
    if not has_stored_types(row, read, included):
        return (query.to_read(row) if query else read.of(row)).model_dump(mode="json")
    return VisibleFields(read, query.fields if query else None, included).of_row(vars(row))


@cache
def shown_attributes(entity: type[Entity], read: type[Read] | None) -> frozenset[str]:
    """Return the names of an entity's columns, and of its relationships that are fields of a variant."""
    mapper = sqlalchemy.inspect(entity)
    shown = frozenset(read.model_fields if read else ())
    return shown.intersection(mapper.relationships.keys()).union(mapper.column_attrs.keys())


@cache
def plain_columns(read: type[Read]) -> "PlainColumns":
    """Return the columns of a variant; no columns if it has private or nested fields."""
    return PlainColumns(() if private_fields(read) or nested_variants(read) else stored_types(read))


class PlainColumns:
    """The columns of a variant, with the types of their values."""

    def __init__(self, columns: Sequence[tuple[str, tuple[type, ...]]]) -> None:
        self.names, self.kinds = [name for name, _ in columns], [kinds for _, kinds in columns]
        self.take = itemgetter(*self.names) if len(columns) > 1 else None
        self.seen: set[tuple[type, ...]] = set()
        """A cache: the tuples of types of rows that were valid."""

    def values_of(self, values: dict[str, Any]) -> dict[str, Any] | None:
        """Return the values of the columns; None if one is missing or of another type."""
        if self.take is None:
            return None
        try:
            taken = self.take(values)
        except KeyError:
            return None
        types = tuple(map(type, taken))
        if types not in self.seen:
            if not all(kind in kinds for kind, kinds in zip(types, self.kinds, strict=True)):
                return None
            if len(self.seen) < MAX_SEEN:
                self.seen.add(types)
        return dict(zip(self.names, taken))  # noqa: B905  `strict` takes longer


def as_variant(model: Any) -> type[Read] | None:
    return model if isinstance(model, type) and issubclass(model, Read) else None


def all_stored(rows: Sequence[Any], read: type[Read]) -> bool:
    return all(isinstance(row, Entity) and shows_stored_values(read, type(row)) for row in rows)
