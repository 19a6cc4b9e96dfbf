"""Startup checks of a single route: find routes that would not work, or would reveal data."""

import dis
from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.params import Form
from fastapi.routing import APIRoute, APIWebSocketRoute

from kit.operations.callers import check_permission
from kit.operations.dependants import dependencies_of, is_of_the_kit, query_variant
from kit.operations.dependencies import get_read_session, get_session
from kit.operations.route import Operation
from kit.operations.unit_of_work import SAFE
from kit.server.annotations import function_of, returned_by, tables_in
from kit.server.guards import is_guarded
from kit.server.parameter_checks import refusing_forms, unreadable_parameters
from kit.server.privacy_checks import (
    copied_private_fields,
    orders_by_private_fields,
    rows_without_owner,
    tables_for_owners,
    unknown_owners,
)
from kit.server.relation_checks import unsafe_children
from kit.server.routes import Entry, entries_of
from kit.server.variant_checks import missing_fields, queried_fields, shown_private_fields, unshaped_row

WRITING = frozenset({"add", "add_all", "delete", "insert_all"})
"""The methods that a `ReadSession` always refuses."""


def writing_session(entry: Entry) -> Iterator[str]:
    """Yield an error if the handler of a safe method takes `Session`: it must not write (RFC 9110, section 9.2.1)."""
    if isinstance(entry.route, APIRoute) and entry.methods.intersection(SAFE):
        calls = {part.call for part in dependencies_of(entry.context.dependant)}
        if get_session in calls:
            yield f"{entry.description} takes `Session`, which writes: take `ReadSession`, or handle another method."


def writing_read_session(entry: Entry) -> Iterator[str]:
    """Yield an error for each call of a method in `WRITING` on a `ReadSession`, in a handler or its dependencies.

    They are found in the bytecode; others raise an exception at run time. Operations that write are skipped, because
    their `ReadSession` is the write session.
    """
    if isinstance(entry.route, Operation) and entry.methods.isdisjoint(SAFE):
        return
    if isinstance(entry.route, (APIRoute, APIWebSocketRoute)):
        root: Dependant = entry.context.dependant
        for part in dependencies_of(root):
            function = function_of(entry.handler if part is root else part.call)
            names = [other.name for other in part.dependencies if other.call is get_read_session and other.name]
            for name, method in called_methods(function, names):
                yield (
                    f"{entry.description} calls `{name}.{method}` of a `ReadSession`, which does not write: "
                    "take `Session` in a handler of POST, PUT, PATCH or DELETE."
                )


def called_methods(function: Any, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the parameter and the method for each call of a method in `WRITING` on one of these parameters."""
    code = getattr(function, "__code__", None) if names else None
    for before, now in pairwise(dis.get_instructions(code) if code else ()):
        if before.opname.startswith("LOAD_") and before.argval in names and now.argval in WRITING:
            yield before.argval, now.argval


def head_without_get(entry: Entry) -> Iterator[str]:
    """Yield an error for HEAD without GET, because the kit serves HEAD by the GET (RFC 9110, section 9.3.2)."""
    if "HEAD" in entry.methods and "GET" not in entry.methods:
        yield f"{entry.description} handles HEAD, which is served as GET: let it handle GET, or remove it."


def query_on_plain_route(entry: Entry) -> Iterator[str]:
    """Yield an error for a `ListQuery` on a plain route, which would not add page headers or select fields."""
    if isinstance(entry.route, APIRoute) and not isinstance(entry.route, Operation):
        for query in filter(None, map(query_variant, dependencies_of(entry.context.dependant))):
            yield f"{entry.description} takes {query.__name__}: give its router `route_class=allowing(…)`."


def body_that_is_not_json(entry: Entry) -> Iterator[str]:
    """Yield an error for an operation with a body other than JSON or a form, which it would refuse with a 415."""
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
        yield f"{entry.description} has `strict_content_type=False`, but resources check the type: leave it out."


def different_permissions(entry: Entry) -> Iterator[str]:
    """Yield an error if the methods of an operation have different permissions, because its session has only one."""
    if isinstance(entry.route, Operation) and len(set(entry.route.permission_by_method.values())) > 1:
        methods = ", ".join(sorted(entry.methods))
        yield (
            f"{entry.description} handles {methods}, which have different permissions: "
            "write a handler of its own for each method."
        )


def exposed_table(entry: Entry) -> Iterator[str]:
    """Yield an error for a table in the response model or, without one, in the return annotation.

    The response would contain all of its columns, also those that are added later.
    """
    if not isinstance(entry.route, APIRoute):
        return
    model = entry.context.response_model
    for response_type in (returned_by(entry.handler) if model is None else model, entry.context.stream_item_type):
        for table in tables_in(response_type):
            yield (
                f"{entry.description} responds with the table {table}, which shows all of its columns: "
                f"give it a response_model without it, such as {table}Read."
            )


def table_as_body(entry: Entry) -> Iterator[str]:
    """Yield an error for a table as body: it is not validated, and has columns that clients must not set."""
    body = entry.context.body_field if isinstance(entry.route, APIRoute) else None
    for table in tables_in(None if body is None else body.field_info.annotation):
        yield (
            f"{entry.description} takes the table {table} as its body, which validates nothing: "
            f"take a body without it, such as {table}Create."
        )


def unguarded_route(entry: Entry) -> Iterator[str]:
    """Yield an error for a route without a permission check (a dependency; a guard for Starlette's routes)."""
    if isinstance(entry.route, (APIRoute, APIWebSocketRoute)):
        calls = {part.call for part in dependencies_of(entry.context.dependant)}
        if check_permission not in calls:
            yield (
                f"{entry.description} checks no permission: add it by `service.include_router`, or by a decorator such "
                "as `@service.get`."
            )
    elif not is_guarded(entry.served):
        yield f"{entry.description} checks no permission: make it a `Route`, `WebSocketRoute`, `Mount` or `Host`."


def needs_of_mounted_routes(entry: Entry) -> Iterator[str]:
    """Yield an error for each route of a mounted application that needs the runtime, which only a `Service` has."""
    app = entry.handler
    if not isinstance(app, FastAPI) or hasattr(app, "runtime"):
        return
    for inner in entries_of(app.routes):
        is_typed = isinstance(inner.route, (APIRoute, APIWebSocketRoute))
        parts = dependencies_of(inner.context.dependant) if is_typed else ()
        needed = [part for part in parts if is_of_the_kit(part) and part.call not in app.dependency_overrides]
        if needed or isinstance(inner.route, Operation):
            yield (
                f"{entry.description} has the route {inner.description}, which needs an application of the class "
                "`kit.Service`: include its router in the service, by `app.include_router(router, prefix=…)`."
            )


CHECKS: tuple[Callable[[Entry], Iterator[str]], ...] = (
    writing_session,
    writing_read_session,
    head_without_get,
    query_on_plain_route,
    body_that_is_not_json,
    refusing_forms,
    different_permissions,
    exposed_table,
    table_as_body,
    unreadable_parameters,
    unguarded_route,
    needs_of_mounted_routes,
    unsafe_children,
    shown_private_fields,
    copied_private_fields,
    unknown_owners,
    rows_without_owner,
    tables_for_owners,
    orders_by_private_fields,
    missing_fields,
    unshaped_row,
    queried_fields,
)
"""The checks of a single route. Each yields the messages of its errors."""
