"""Results: converts the result of a handler to the value that FastAPI serializes, and sets response headers."""

import functools
import re
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin
from urllib.parse import urlencode

from sqlalchemy.ext.asyncio import async_object_session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kit.http.paths import full_path
from kit.http.problems import content
from kit.models.entities import Entity
from kit.models.reads import Read
from kit.models.type_parts import is_named, type_behind
from kit.operations.bulk import Outcome
from kit.operations.handlers import Handler, awaitable, is_generator
from kit.operations.shown_rows import rows_by_shown
from kit.operations.unit_of_work import UNIT, Unit
from kit.operations.unloaded import load_unloaded
from kit.query.list_query import QUERY, ListQuery
from kit.query.pages import Page
from kit.query.related import load_lists
from kit.query.shown_values import load_shown, shown_in

WITHOUT_ESCAPES = re.compile(r"[A-Za-z0-9._~=&,-]*")
"""Query strings without escapes, which decoding and encoding would not change."""


def with_converted_result(handler: Handler) -> Handler:
    """Return a handler that also flushes its session, and converts its result for FastAPI; a generator unchanged."""
    if is_generator(handler):
        return handler

    call = awaitable(handler)

    @functools.wraps(handler)
    async def converted(*values: Any, **arguments: Any) -> Any:
        result = await call(*values, **arguments)
        unit = UNIT.get()
        if unit is None:
            return result
        await unit.flush(*arguments.values())
        return await loaded_and_converted(unit, result)

    return converted


async def loaded_and_converted(unit: Unit, result: Any) -> Any:
    """Load the values of a result that its response contains and that are not loaded, and convert it for FastAPI."""
    await load_included(unit, result)
    model = unit.request.scope["route"].response_model
    await load_unloaded(result, variant_of(model) or item_variant_of(model), unit.session)
    returned = list(result.created) if isinstance(result, Outcome) else result
    for shown, rows in rows_by_shown(returned, model).items():
        await load_shown(unit.session, rows, shown)
    return convert_result(unit, result)


async def load_included(unit: Unit, result: Any) -> None:
    """Load what the parameter `include` adds to the row that a handler returned, by the session of the row."""
    query: ListQuery | None = unit.request.scope.get(QUERY)
    if query is not None and query.included and isinstance(result, query.model):
        session: Any = async_object_session(result) or unit.session
        await load_lists(session, query, [result])
        await load_shown(session, [result], shown_in(query))


def convert_result(unit: Unit, result: Any) -> Any:
    """Return a result in a form that the response model validates. Sets the response headers in the unit of work."""
    if isinstance(result, Page):
        return convert_page(unit, result)
    if isinstance(result, Entity):
        return convert_row(unit, result)
    if isinstance(result, Outcome):
        return convert_outcome(unit, result)
    if isinstance(result, list) and result and isinstance(result[0], Entity):
        refuse_without_model(unit.request.scope["route"], result[0])
        read = item_variant(unit)
        return result if read is None else [read.of(row) if isinstance(row, Entity) else row for row in result]
    return result


def convert_page(unit: Unit, page: Page) -> Any:
    unit.headers |= page_headers(unit.request, page)
    unit.is_tagged_by_content = True
    return page.rows


def page_headers(request: Request, page: Page) -> dict[str, str]:
    """Return the headers of a page: `Link` to the next one, if any, and the total or its estimate, if requested."""
    headers = {}
    if page.cursor is not None:
        headers["link"] = f'<{next_page(request, page.cursor)}>; rel="next"'
    if page.total is not None:
        headers["x-total-count"] = str(page.total)
    if page.estimate is not None:
        headers["x-total-count-estimate"] = str(page.estimate)
    return headers


def next_page(request: Request, cursor: str) -> str:
    """Return the reference to the next page. It is relative (RFC 8288), so it does not depend on the Host header."""
    text = request.scope["query_string"].decode("latin-1")
    if WITHOUT_ESCAPES.fullmatch(text):  # most queries, which need no encoding
        parts = [part for part in text.split("&") if part and not part.startswith(("offset=", "cursor="))]
        return f"{full_path(request.scope)}?{'&'.join([*parts, f'cursor={cursor}'])}"
    parameters = [
        (name, value) for name, value in request.query_params.multi_items() if name not in ("offset", "cursor")
    ]
    return f"{full_path(request.scope)}?{urlencode([*parameters, ('cursor', cursor)])}"


def convert_row(unit: Unit, row: Entity) -> Any:
    """Return the read variant of a row, and set its ETag and Location."""
    route = unit.request.scope["route"]
    read = variant_of(route.response_model)
    refuse_without_model(route, row)
    query: ListQuery | None = unit.request.scope.get(QUERY)
    unit.tag_row(row, read or route.response_model, has_included=query is not None and bool(query.included))
    if read is None:
        return row
    return query.to_read(row) if query is not None and query.read is read else read.of(row)


def refuse_without_model(route: Any, row: Entity) -> None:
    """Raise a TypeError for a row from a handler without a response model, as all its columns would be in the response.

    The checks at start do not find such a handler if it has no return annotation.
    """
    if route.response_model is None:
        raise TypeError(f"{route.name} returned {type(row).__name__}, a table, which would show all its columns: "
                        "give the route a response_model.")  # fmt: skip


def convert_outcome(unit: Unit, outcome: Outcome) -> Response:
    """Return the response for `on_error=skip`: a 207 with the created rows and the failures."""
    read = item_variant(unit) or Read
    failed = [{**part, "problem": content(unit.request.scope, part["problem"])} for part in outcome.failed]
    by_alias = unit.request.scope["route"].response_model_by_alias
    created = [read.of(row).model_dump(mode="json", by_alias=by_alias) for row in outcome.created]
    return JSONResponse({"created": created, "failed": failed}, 207)


def item_variant(unit: Unit) -> type[Read] | None:
    """Return the read variant in a response model `list[Variant]`; None for other response models."""
    return item_variant_of(unit.request.scope["route"].response_model)


def item_variant_of(model: Any) -> type[Read] | None:
    kind = bare(model)
    return variant_of(get_args(kind)[0]) if get_origin(kind) is list else None


def variant_of(model: Any) -> type[Read] | None:
    """Return the read variant that is a response model, also if it is optional or annotated; None for others."""
    kind = bare(model)
    return kind if isinstance(kind, type) and issubclass(kind, Read) else None


def bare(model: Any) -> Any:
    """Return a type without `| None`, without a name, and without annotations that only describe it."""
    if is_named(model):
        return bare(type_behind(model))
    if get_origin(model) is Annotated and not any(map(changes_values, model.__metadata__)):
        return bare(model.__origin__)
    if get_origin(model) in (Union, UnionType):
        parts = [part for part in get_args(model) if part is not NoneType]
        return bare(parts[0]) if len(parts) == 1 else model
    return model


def changes_values(annotation: Any) -> bool:
    """Return whether an annotation may be a validator or serializer, which may need the row itself."""
    return hasattr(annotation, "func") or hasattr(annotation, "__get_pydantic_core_schema__")
