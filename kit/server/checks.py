"""Checks: what would not work, or would show too much, is refused when the application starts."""

import functools
import inspect
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_type_hints

from fastapi import APIRouter
from fastapi.params import Form
from fastapi.routing import APIRoute, APIWebSocketRoute
from pydantic import BaseModel
from sqlmodel import SQLModel

from kit.auth.owners import ownership_faults
from kit.auth.permissions import Who
from kit.openapi.completion import id_of_method
from kit.operations.callers import check_permission
from kit.operations.dependencies import get_session
from kit.operations.route import Operation, dependencies_of, query_variant
from kit.operations.unit_of_work import SAFE
from kit.server.guards import is_guarded
from kit.server.routes import Entry, access_of


def faults_of(
    entries: Sequence[Entry],
    public: Collection[str],
    closed: Collection[str],
    frontends: Collection[str],
    router: APIRouter,
) -> list[str]:
    """A sentence for each fault of the application with these routes."""
    names = {entry.name for entry in entries} | set(frontends)
    faults = [fault for entry in entries for check in CHECKS for fault in check(entry)]
    faults += [fault for entry in entries for fault in unlisted_route(entry, public, closed)]
    faults += unknown_names(names, public, closed)
    faults += different_access(entries, public, closed)
    faults += shared_operation_ids(entries)
    faults += never_called(entries)
    faults += ignored_event_handlers(router)
    faults += ownership_faults()
    return list(dict.fromkeys(faults))


def writing_session(entry: Entry) -> Iterator[str]:
    """GET, HEAD and OPTIONS change nothing (RFC 9110, section 9.2.1), and may be sent again by anybody."""
    if isinstance(entry.route, APIRoute) and entry.methods.intersection(SAFE):
        calls = {part.call for part in dependencies_of(entry.context.dependant)}
        if get_session in calls:
            yield f"{entry.description} takes `Session`, which writes: take `ReadSession`, or answer another method."


def head_without_get(entry: Entry) -> Iterator[str]:
    """HEAD is served as GET, without the body of the answer (RFC 9110, section 9.3.2)."""
    if "HEAD" in entry.methods and "GET" not in entry.methods:
        yield f"{entry.description} answers HEAD, which is served as GET: let it answer GET, or remove it."


def query_on_plain_route(entry: Entry) -> Iterator[str]:
    """A plain route would neither send the headers of a page, nor show the fields that are asked for."""
    if isinstance(entry.route, APIRoute) and not isinstance(entry.route, Operation):
        for query in filter(None, map(query_variant, dependencies_of(entry.context.dependant))):
            yield f"{entry.description} takes {query.__name__}: give its router `route_class=allowing(…)`."


def body_that_is_not_json(entry: Entry) -> Iterator[str]:
    """A resource takes JSON and forms, and answers 415 to everything else."""
    if not isinstance(entry.route, Operation):
        return
    info = None if entry.context.body_field is None else entry.context.body_field.field_info
    media_type = str(getattr(info, "media_type", "application/json"))
    if not isinstance(info, Form) and not media_type.endswith(("/json", "+json")):
        yield (
            f"{entry.description} takes a body of {media_type}, but a resource takes JSON and forms: "
            "take `request: Request`, and read `await request.body()`."
        )
    if entry.context.strict_content_type is False:
        yield f"{entry.description} has `strict_content_type=False`, but a resource refuses JSON that is not called so."


def different_permissions(entry: Entry) -> Iterator[str]:
    """The session of an operation is restricted by the one permission that the operation has."""
    if isinstance(entry.route, Operation) and len(set(entry.route.who_by_method.values())) > 1:
        methods = ", ".join(sorted(entry.methods))
        yield (
            f"{entry.description} answers {methods}, which have different permissions: "
            "write a handler of its own for each method."
        )


def exposed_table(entry: Entry) -> Iterator[str]:
    """A table as response model shows all of its columns, also those that are added later.

    Without a response model, the table that a handler says to return is shown so too.
    """
    if not isinstance(entry.route, APIRoute):
        return
    model = entry.context.response_model
    for shown in (returned_by(entry.handler) if model is None else model, entry.context.stream_item_type):
        for table in tables_in(shown):
            yield (
                f"{entry.description} answers with the table {table}, which shows all of its columns: "
                f"give it a response_model without it, such as {table}Read."
            )


def returned_by(handler: Any) -> Any:
    """What a handler says to return; None if it says nothing, or what cannot be resolved."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = inspect.unwrap(handler)
    function = handler if inspect.isroutine(handler) else getattr(type(handler), "__call__", None)  # noqa: B004
    try:
        return get_type_hints(function).get("return")
    except (NameError, TypeError):
        return None


def tables_in(annotation: Any, seen: set[Any] | None = None) -> Iterator[str]:
    """The names of the tables that a type is, or contains."""
    seen = set() if seen is None else seen
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in seen:
            return
        seen.add(annotation)
        if issubclass(annotation, SQLModel) and hasattr(annotation, "__table__"):
            yield annotation.__name__
            return
        parts: Iterable[Any] = [field.annotation for field in annotation.model_fields.values()]
    else:
        parts = get_args(annotation)
    for part in parts:
        yield from tables_in(part, seen)


def unguarded_route(entry: Entry) -> Iterator[str]:
    """Every route checks the permission of the caller: a dependency does it in FastAPI's, a guard in others."""
    if isinstance(entry.route, (APIRoute, APIWebSocketRoute)):
        calls = {part.call for part in dependencies_of(entry.context.dependant)}
        if check_permission not in calls:
            yield (
                f"{entry.description} checks no permission: add it by `service.include_router`, or by a decorator such "
                "as `@service.get`."
            )
    elif not is_guarded(entry.served):
        yield f"{entry.description} checks no permission: make it a `Route`, `WebSocketRoute`, `Mount` or `Host`."


CHECKS: tuple[Callable[[Entry], Iterator[str]], ...] = (
    writing_session,
    head_without_get,
    query_on_plain_route,
    body_that_is_not_json,
    different_permissions,
    exposed_table,
    unguarded_route,
)
"""The checks of a single route, each of which yields a sentence for every fault."""


NOT_TAKEN = {
    "openapi_url": "the document is at /openapi.json; `closed` says that it is for superusers",
    "docs_url": "Swagger UI is at /docs; `closed` says that it is for superusers",
    "redoc_url": "ReDoc is not served; add a route for it with `fastapi.openapi.docs.get_redoc_html`",
    "swagger_ui_oauth2_redirect_url": "Swagger UI logs in with a name and a password",
    "redirect_slashes": "each path is served with and without its trailing slash, and without a redirect",
}
"""Options of FastAPI which the service decides by itself, and what holds instead."""


def refuse_options(options: Mapping[str, Any]) -> None:
    """A TypeError for options of FastAPI that would have no effect."""
    for name in NOT_TAKEN.keys() & options.keys():
        raise TypeError(f"kit.Service takes no `{name}`: {NOT_TAKEN[name]}.")


def unlisted_route(entry: Entry, public: Collection[str], closed: Collection[str]) -> Iterator[str]:
    """Everything that needs no token is in one list."""
    if access_of(entry, public, closed) is Who.ANYONE and entry.name not in public:
        yield f'{entry.description} is for ANYONE, but is not in `public`: add "{entry.name}" there.'


def unknown_names(names: Collection[str], public: Collection[str], closed: Collection[str]) -> Iterator[str]:
    """A name with a typing error would not open, or not close, the route that is meant."""
    for parameter, listed in (("public", public), ("closed", closed)):
        for name in sorted(set(listed) - set(names)):
            alike = sorted(
                known for known in names if known.partition(" ")[2].strip("/") == name.partition(" ")[2].strip("/")
            )
            hint = f"write {' or '.join(map(repr, alike))}" if alike else "remove it there"
            yield f"{parameter} lists {name!r}, but there is no such route: {hint}."


def never_called(entries: Iterable[Entry]) -> Iterator[str]:
    """Of two handlers with one method and path the first answers. One that is not in the document may be replaced."""
    first: dict[str, Entry] = {}
    for entry in entries:
        if isinstance(entry.route, APIRoute) and entry.context.include_in_schema:
            earlier = first.setdefault(entry.name, entry)
            if earlier is not entry:
                yield f"{entry.description} is never called: {earlier.description} has its path and comes first."


def shared_operation_ids(entries: Iterable[Entry]) -> Iterator[str]:
    """Generated clients have a function for each operation id, so no two operations may have one (OpenAPI, 4.8.10)."""
    alike: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if isinstance(entry.route, APIRoute) and entry.context.include_in_schema:
            given = entry.context.operation_id or entry.context.unique_id
            alike[id_of_method(given, entry.method, entry.methods)].append(entry)
    for operation_id, group in alike.items():
        if len({entry.name for entry in group}) > 1:
            described = " and ".join(entry.description for entry in group)
            yield f"{described} have one operation id, {operation_id!r}: rename one, or give it an `operation_id`."


def different_access(entries: Iterable[Entry], public: Collection[str], closed: Collection[str]) -> Iterator[str]:
    """A router that is included twice has its routes once, so that each has one permission."""
    alike: dict[tuple[int, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        alike[entry.key].append(entry)
    for group in alike.values():
        if len({access_of(entry, public, closed) for entry in group}) > 1:
            names = " and ".join(entry.name for entry in group)
            yield f"{names} are one route with different permissions: list all of them in `public`, or none."


def ignored_event_handlers(router: APIRouter) -> Iterator[str]:
    """FastAPI calls no event handlers where there is a lifespan."""
    for handler in (*router.on_startup, *router.on_shutdown):
        yield (
            f"{handler.__module__}.{handler.__qualname__} handles an event, and would not be called: "
            "give `kit.Service` a `lifespan`."
        )
