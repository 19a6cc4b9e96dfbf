"""Alembic's environment: runs all migrations in one transaction, in one process at a time.

On SQLite a table is altered by copying it, so foreign keys are off during a migration, and checked before the COMMIT.
"""

import asyncio

from alembic import context
from alembic.util import CommandError, to_tuple
from sqlalchemy import Connection, text
from sqlmodel import SQLModel

import main  # noqa: F401  the application imports every table
from kit.database.comparison import PLUGINS
from kit.database.migrating import connected, engine_for
from kit.database.migrations import heads, state_of
from kit.database.refused_rows import explained, refuse_orphans
from kit.database.renames import with_renames
from kit.database.revisions import complete
from kit.database.search_indexes import ensure_search
from kit.database.type_rendering import render_type
from settings import load

LOCK = 7_265_726_573
"""The key of PostgreSQL's advisory lock: an arbitrary number, the same in all processes."""


def migrate(connection: Connection) -> None:
    """Run the migrations on a connection."""
    is_sqlite, attributes = connection.dialect.name == "sqlite", context.config.attributes
    renames, former = attributes.get("renames", ()), attributes.get("former")
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        autogenerate_plugins=PLUGINS,
        process_revision_directives=lambda migration, _, scripts: complete(
            migration, scripts, SQLModel.metadata, renames, former
        ),
        render_as_batch=True,  # a migration is for both databases, and SQLite needs batch mode to alter a table
        transactional_ddl=True,
        render_item=render_type,
    )
    with context.begin_transaction():
        if is_sqlite:  # the first statement begins the transaction: BEGIN IMMEDIATE, which locks the file
            connection.execute(text("SELECT 1"))
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        with with_renames(context.get_context(), renames):
            run_migrations(connection)
        if is_sqlite:
            refuse_orphans(connection)
        if is_migration() and context.get_context().get_current_heads() and not state_of(connection).unknown:
            ensure_search(connection)


def run_migrations(connection: Connection) -> None:
    """As Alembic's, but upgrading a database that is ahead of this code does nothing, instead of failing."""
    state = state_of(connection)
    try:
        context.run_migrations()
    except CommandError as failure:
        if not state.unknown:
            raise
        if not is_upgrade():
            raise CommandError(state.message) from failure
        context.config.print_stdout("%s", state.message)


def is_migration() -> bool:
    """Whether the command leads to a revision, and does not only read those that there are."""
    try:
        context.get_revision_argument()
    except KeyError:  # the command has no such argument
        return False
    return True


def is_upgrade() -> bool:
    """Whether the command upgrades the database to the latest revision."""
    return is_migration() and heads() == set(to_tuple(context.get_revision_argument(), ()))


def migrate_explained(connection: Connection) -> None:
    """Run the migrations, with a message for rows that violate a constraint."""
    with explained(connection):
        migrate(connection)


async def run() -> None:
    attributes = context.config.attributes
    attributes["url"] = attributes.get("url") or load().database
    async with connected(engine_for(attributes["url"])) as connection:
        await connection.run_sync(migrate_explained)


if "connection" in context.config.attributes:
    migrate(context.config.attributes["connection"])
else:
    asyncio.run(run())
