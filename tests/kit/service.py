"""The bookshop as a service: for a database, with or without authentication, limits, layers and shortcuts."""

import os
from collections.abc import Collection, Sequence
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from typing import Any

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.requests import HTTPConnection

from kit import (
    SUPERUSER,
    Authenticator,
    Claims,
    Database,
    LoginLimits,
    Principal,
    Runtime,
    Service,
    Tokens,
    runtime_of,
)
from kit.database import migrations
from kit.database.collations import ensure_folding
from kit.http.principals import CURRENT_PRINCIPAL, UNRESTRICTED
from kit.operations.idempotency import StoredResponse
from tests.clients import client_of as client_of
from tests.engines import empty
from tests.kit import accounts, bookshop
from tests.kit.bookshop import Member
from tests.people import Person as Person
from tests.waiting import TIMEOUT_SECONDS

FAST_PATH = find_spec("kit.fast") is not None and os.environ.get("FAST_PATH", "true") != "false"
"""Whether services take shortcuts by default."""
KEY = b"0123456789abcdef0123456789abcdef"
"""The secret that signs the tokens and cursors of the tests."""
TABLES = [*bookshop.TABLES, *accounts.TABLES, StoredResponse.__table__]  # type: ignore[attr-defined]  # made by SQLModel
"""All tables of the service, parents first."""
PUBLIC = bookshop.PUBLIC | {
    "GET /",
    "GET /docs",
    "GET /docs/style.css",
    "GET /openapi.json",
    "GET /health/live",
    "GET /health/ready",
    "MOUNT /docs/assets",
}
numbers = count(1)


def create_runtime(
    database: Database, *, auth: bool = False, limits: LoginLimits | None = None, **options: Any
) -> Runtime:
    """Return the runtime of the bookshop. With `auth`, requests need a token."""
    tokens = Tokens([KEY], "library", timedelta(hours=1))
    limits = limits or LoginLimits("memory://", per_account=10, per_address=100, window=300)
    authenticator = Authenticator(auth, tokens, find_principal)
    return Runtime(
        database, authenticator, limits, **{"secrets": [KEY], "request_timeout": 5 * TIMEOUT_SECONDS, **options}
    )


async def find_principal(connection: HTTPConnection, claims: Claims) -> Principal | None:
    """Return the member of a token; None if the member was deleted."""
    async with runtime_of(connection).database.read() as session:
        member = await session.get(Member, claims.user_id)
    if member is None or claims.generation != 0:
        return None
    return Principal(member.id, frozenset({SUPERUSER} if member.is_superuser else ()))


def create_service(
    runtime: Runtime,
    *others: APIRouter,
    public: Collection[str] = (),
    fast: bool = FAST_PATH,
    **options: Any,
) -> Service:
    """Return the bookshop, with additional routers. `options` are those of `kit.Service`."""
    routers: Sequence[APIRouter] = (*bookshop.ROUTERS, *others)
    service = Service(runtime, title="Library", routers=routers, public=PUBLIC.union(public), **options)
    service.lifespan_state.start()  # most tests do not run the lifespan, which would be logged
    if fast:
        install_fast_path(service)
    return service


def install_fast_path(service: Service) -> None:
    """Install the shortcuts. These tests pass without their folder, too."""
    import_module("kit.fast").install(service)


async def create_tables(database: Database) -> None:
    """Create the tables of the library and of the kit without migrations, and the collation for `q`.

    They are marked as migrated, so that the service is ready.
    """
    async with database.writer.begin() as connection:
        await connection.run_sync(ensure_folding)
        for metadata, tables in (
            (bookshop.REGISTRY.metadata, [*bookshop.TABLES, *accounts.TABLES]),
            (StoredResponse.metadata, [StoredResponse.__table__]),  # type: ignore[attr-defined]  # made by SQLModel
        ):
            await connection.run_sync(metadata.create_all, tables=tables)
        await connection.run_sync(stamp)


def stamp(connection: Connection) -> None:
    script = ScriptDirectory.from_config(migrations.configuration())
    MigrationContext.configure(connection).stamp(script, "heads")


async def clear(database: Database) -> None:
    """Delete all rows, and reset the principal, which the last request may have left in this task."""
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    await empty(database, TABLES)


async def join(app: Service, **fields: Any) -> Person:
    """Store a member, and return the member with a token and a client. The current task becomes unrestricted."""
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    name = fields.pop("username", f"member{next(numbers)}")
    async with app.runtime.database.write() as session, session.begin():
        member = Member(**{"username": name, "email": f"{name}@people.example"} | fields)
        session.add(member)
    token = app.runtime.authenticator.tokens.issue(Claims(member.id, 0))
    return Person(client_of(app, token), token, member.username, member.email, member.id)
