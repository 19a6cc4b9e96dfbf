"""Rendering of column types and defaults in migrations: SQLAlchemy's, with the same meaning on both databases.

The kit's own types are not used, so that a migration does not change when the code of the kit does. A type that was
reflected from one database is rendered as the kit declares it, so that the migration suits the other database too.
Types of libraries and of the application are used as they are: the migration imports their modules.
"""

from typing import Literal

from alembic.autogenerate.api import AutogenContext
from sqlalchemy import VARCHAR, CheckConstraint, ClauseElement, DateTime, Dialect, LargeBinary
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import BYTEA
from sqlmodel.sql.sqltypes import UTCDateTime

from kit.database.revision_operations import render_check
from kit.database.sqlite_reflection import escaped
from kit.models.columns import DecimalColumn, DurationColumn, EnumColumn, JsonColumn, TextColumn
from kit.models.moments import DateColumn, TimeColumn
from kit.models.server_defaults import QUOTED, PerDatabase, unquoted
from kit.models.sqlite_times import NOW


def render_type(kind: str, item: object, context: AutogenContext) -> str | Literal[False]:
    """Return the Python source of a type or default, for Alembic's `render_item`; False if Alembic is to render it."""
    if kind == "server_default":
        return server_default(item)
    if kind == "check" and isinstance(item, CheckConstraint):
        return render_check(item)
    if kind != "type":
        return False
    if isinstance(item, VARCHAR):
        return text_column(item, context)
    if isinstance(item, UTCDateTime | DateTime):
        return moment_column(item, context)
    return plain_type(item) or kit_type(item) or imported_type(item, context)


def plain_type(column_type: object) -> str | None:
    """Return the source of a type that needs no arguments; None for another type."""
    if isinstance(column_type, LargeBinary | BYTEA):
        return "sa.LargeBinary()"
    if isinstance(column_type, DateColumn):
        return "sa.Date()"
    return "sa.Time()" if isinstance(column_type, TimeColumn) else None


def moment_column(column_type: UTCDateTime | DateTime, context: AutogenContext) -> str:
    """Return the source of the type of a datetime column: naive if a model or PostgreSQL declares it so, else in UTC.

    SQLite has one type for both. Therefore the type of a reflected column is taken as in UTC.
    """
    is_sqlite = context is not None and context.dialect is not None and context.dialect.name == "sqlite"
    is_declared = type(column_type) is DateTime or not is_sqlite
    is_naive = isinstance(column_type, DateTime) and not column_type.timezone and is_declared
    return "sa.DateTime()" if is_naive else "UTCDateTime()"  # imported by script.py.mako


POSTGRESQL: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


def per_database(default: PerDatabase) -> str:
    """Return the source of a default that is chosen by the database when the migration runs."""
    texts = [default.on_sqlite, default.on_postgresql]
    is_literal = all(map(QUOTED.fullmatch, texts))
    on_sqlite, on_postgresql = map(unquoted if is_literal else escaped, texts)
    chosen = f'{{"sqlite": {on_sqlite!r}}}.get(op.get_context().dialect.name, {on_postgresql!r})'
    if is_literal:
        return chosen
    return f"sa.text({chosen if on_sqlite != on_postgresql else repr(on_sqlite)})"


MOMENT = per_database(PerDatabase(f"({NOW})", "CURRENT_TIMESTAMP"))
PORTABLE = {"now()": MOMENT, "current_timestamp": MOMENT, "true": "sa.true()", "false": "sa.false()"}
"""By its SQL on PostgreSQL, the source of a default that suits both databases."""


def server_default(default: object) -> str | Literal[False]:
    """Return the source of a default that each database writes in its own way; False if Alembic is to render it."""
    expression = getattr(default, "arg", default)
    if not isinstance(expression, ClauseElement):
        return False
    if isinstance(expression, PerDatabase):
        return per_database(expression)
    return PORTABLE.get(str(expression.compile(dialect=POSTGRESQL)).lower(), False)


def imported_type(column_type: object, context: AutogenContext) -> Literal[False]:
    """Add the import of a type's module to the migration, unless SQLAlchemy defines the type.

    Returns False, so that Alembic renders the type.
    """
    module = type(column_type).__module__
    if not module.startswith("sqlalchemy."):
        context.imports.add(f"import {module}")
    return False


def kit_type(column_type: object) -> str | None:
    """Return the source of the SQLAlchemy types that stand for a column type of the kit; None for another type."""
    if isinstance(column_type, DecimalColumn):
        scale = (
            f"decimal_return_scale={column_type.places}" if column_type.is_number else ""
        )  # for a later change of the scale
        numeric = (
            f"sa.Numeric({column_type.digits}, {column_type.places})"
            if column_type.is_fixed
            else f"sa.Numeric({scale})"
        )
        sqlite = "sa.BigInteger()" if column_type.is_number else f"sa.String({column_type.digits + 1})"
        return f'{numeric}.with_variant({sqlite}, "sqlite")'
    if isinstance(column_type, DurationColumn):
        return 'sa.Interval().with_variant(sa.BigInteger(), "sqlite")'
    if isinstance(column_type, JsonColumn):
        return "sa.JSON()"
    if isinstance(column_type, EnumColumn) and column_type.length is None:
        return "sa.BigInteger()"
    return (
        text_by_code_point(f"length={column_type.length}") if isinstance(column_type, TextColumn | EnumColumn) else None
    )


def text_column(column_type: VARCHAR, context: AutogenContext) -> str:
    """Return the source of the type of a reflected text column, which is sorted by code point on both databases.

    A PostgreSQL column with another collation keeps the default one.
    """
    length = "" if column_type.length is None else f"length={column_type.length}"
    if context.dialect is not None and context.dialect.name == "postgresql" and column_type.collation != "C":
        return f"sa.String({length})"
    return text_by_code_point(length)


def text_by_code_point(length: str) -> str:
    return f'sa.String({length}).with_variant(sa.String({", ".join(filter(None, [length, COLLATION]))}), "postgresql")'


COLLATION = 'collation="C"'
