"""Checks of an application at start: permissions, names and operation ids of its routes, and ineffective options."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from sqlalchemy import Enum
from sqlmodel import SQLModel

from kit.auth.ownership_checks import ownership_errors
from kit.auth.permissions import Who
from kit.database.absent import models
from kit.models.entities import known_tables
from kit.models.relationships import WITHOUT_TABLE
from kit.openapi.operation_ids import function_of, id_of_method
from kit.server.privacy_checks import embedded_for_others
from kit.server.route_checks import CHECKS
from kit.server.route_tables import permission_of
from kit.server.routes import Entry
from kit.server.sqlite_checks import ignored_on_sqlite
from kit.server.variant_checks import required_rows


def startup_errors(
    entries: Sequence[Entry],
    public: Collection[str],
    closed: Collection[str],
    frontends: Collection[str],
    router: APIRouter,
    *,
    is_sqlite: bool,
) -> list[str]:
    """Return a message for each error in the declarations of an application; empty if it may start.

    `is_sqlite`: the database of the application is SQLite.
    """
    names = {entry.name for entry in entries} | set(frontends)
    errors = [error for entry in entries for check in CHECKS for error in check(entry)]
    errors += [error for entry in entries for error in unlisted_route(entry, public, closed)]
    errors += unknown_names(names, public, closed)
    errors += inconsistent_permissions(entries, public, closed)
    errors += shared_operation_ids(entries)
    errors += never_called(entries)
    errors += ignored_event_handlers(router)
    errors += ownership_errors()
    errors += required_rows(entries)
    errors += embedded_for_others(entries, public, closed)
    errors += native_enums()
    errors += schemas_of_tables()
    errors += abstract_tables()
    errors += ignored_on_sqlite() if is_sqlite else ()
    return list(dict.fromkeys(errors))


UNSUPPORTED_OPTIONS = {
    "openapi_url": "the document is at /openapi.json; `closed` says that it is for superusers",
    "docs_url": "Swagger UI is at /docs; `closed` says that it is for superusers",
    "redoc_url": "ReDoc is not served; add a route for it with `fastapi.openapi.docs.get_redoc_html`",
    "swagger_ui_oauth2_redirect_url": "Swagger UI logs in with a name and a password",
    "redirect_slashes": "each path is served with and without its trailing slash, and without a redirect",
}
"""The options of FastAPI that have no effect in a service, each with the alternative."""


def refuse_options(options: Mapping[str, Any]) -> None:
    """Raise a TypeError for options of FastAPI that would have no effect."""
    for name in UNSUPPORTED_OPTIONS.keys() & options.keys():
        raise TypeError(f"kit.Service takes no `{name}`: {UNSUPPORTED_OPTIONS[name]}.")


def unlisted_route(entry: Entry, public: Collection[str], closed: Collection[str]) -> Iterator[str]:
    """Yield an error message if a route can be used without a token and is not in the list `public`."""
    if permission_of(entry, public, closed) is Who.ANYONE and entry.name not in public:
        yield f'{entry.description} is for ANYONE, but is not in `public`: add "{entry.name}" there.'


def unknown_names(names: Collection[str], public: Collection[str], closed: Collection[str]) -> Iterator[str]:
    """Yield an error for each name in `public` or `closed` that no route has, such as a misspelt one."""
    for parameter, listed in (("public", public), ("closed", closed)):
        for name in sorted(set(listed) - set(names)):
            alike = sorted(
                known for known in names if known.partition(" ")[2].strip("/") == name.partition(" ")[2].strip("/")
            )
            hint = f"write {' or '.join(map(repr, alike))}" if alike else "remove it there"
            yield f"{parameter} lists {name!r}, but there is no such route: {hint}."


def never_called(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield an error for each handler that is never called, because an earlier one has the same method and path.

    An earlier one that is not in the document may hide others. Routes of `routers` hide those of the docs.
    """
    first: dict[str, Entry] = {}
    for entry in (entry for entry in entries if isinstance(entry.route, APIRoute)):
        is_own, earlier = is_replaceable(entry), first.get(entry.name)
        if earlier is not None and not is_own:
            hint = " Put it into one of the `routers`, which come before that." if is_replaceable(earlier) else ""
            yield f"{entry.description} is never called: {earlier.description} has its path and comes first.{hint}"
        elif is_own or entry.context.include_in_schema:
            first.setdefault(entry.name, entry)


def is_replaceable(entry: Entry) -> bool:
    """Return whether a route is one of the kit that is not in the document, such as that of the docs."""
    return not entry.context.include_in_schema and getattr(entry.handler, "__module__", "").startswith("kit.")


def native_enums() -> Iterator[str]:
    """Yield an error for each column with an enum type of PostgreSQL, which SQLite lacks."""
    for table in known_tables().values():
        for column in table.columns:
            if isinstance(column.type, Enum) and column.type.native_enum:
                yield (
                    f"{table.name}.{column.name} is an enum type of PostgreSQL, which SQLite does not have: write the "
                    "field of an `Entity` without `sa_type`; elsewhere write "
                    "`sa_type=sqlalchemy.Enum(…, native_enum=False, length=32)`."
                )


def schemas_of_tables() -> Iterator[str]:
    """Yield an error for each table with a `schema`, which SQLite lacks, and which migrations do not support."""
    for table in known_tables().values():
        if table.schema is not None:
            yield (
                f"{table.fullname} is in the schema {table.schema!r}, which SQLite does not have: leave `schema` out; "
                "on PostgreSQL, `ALTER ROLE … SET search_path` chooses the schema of all tables."
            )


def abstract_tables() -> Iterator[str]:
    """Yield an error for each class with `table=True` that has no table, because it has `registry` too."""
    for model in models(SQLModel):
        if model.model_config.get("table") and vars(model).get("__abstract__"):
            yield f"{model.__module__}.{model.__name__} has no table. {WITHOUT_TABLE}"


def shared_operation_ids(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield an error for each operation id that several operations have (OpenAPI 3.1, section 4.8.10).

    Ids that differ only in punctuation or case count as equal, because client generators derive the same function name
    from them. A space in an id is an error too.
    """
    alike: dict[str, list[tuple[Entry, str]]] = defaultdict(list)
    for entry in entries:
        if isinstance(entry.route, APIRoute) and entry.context.include_in_schema:
            given = entry.context.operation_id or entry.context.unique_id
            operation_id = id_of_method(given, entry.method, entry.methods)
            alike[function_of(operation_id)].append((entry, operation_id))
            if re.search(r"\s", operation_id):
                better = re.sub(r"\s+", "-", operation_id)
                yield f"{entry.description} has a space in the operation id {operation_id!r}: write {better!r}."
    for group in alike.values():
        if len({entry.name for entry, _ in group}) > 1:
            described = " and ".join(entry.description for entry, _ in group)
            ids = " or ".join(dict.fromkeys(repr(operation_id) for _, operation_id in group))
            yield f"{described} have one operation id, {ids}: rename one, or give it an `operation_id`."


def inconsistent_permissions(
    entries: Iterable[Entry], public: Collection[str], closed: Collection[str]
) -> Iterator[str]:
    """Yield an error if a router is included twice, and a route of it would have different permissions."""
    alike: dict[tuple[int, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        alike[entry.key].append(entry)
    for group in alike.values():
        if len({permission_of(entry, public, closed) for entry in group}) > 1:
            names = " and ".join(entry.name for entry in group)
            yield f"{names} are one route with different permissions: list all of them in `public`, or none."


def ignored_event_handlers(router: APIRouter) -> Iterator[str]:
    """Yield an error for each startup or shutdown handler: FastAPI does not call them if there is a lifespan."""
    for handler in (*router.on_startup, *router.on_shutdown):
        yield (
            f"{handler.__module__}.{handler.__qualname__} handles an event, and would not be called: "
            "give `kit.Service` a `lifespan`."
        )
