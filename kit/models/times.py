"""Times of rows: the `updated_at` of a row never decreases, even if the system clock is set back."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnDefault, ColumnElement, Table, bindparam, inspect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import object_session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlmodel.sql.sqltypes import UTCDateTime

MICROSECOND = timedelta(microseconds=1)


class Later(GenericFunction[datetime]):
    """The SQL function that returns the later of two times: GREATEST on PostgreSQL, max on SQLite."""

    type = UTCDateTime()
    inherit_cache = True
    name = "later"


@compiles(Later)
def _greatest(element: Later, compiler: SQLCompiler, **options: Any) -> str:
    return f"GREATEST{compiler.process(element.clause_expr, **options)}"


@compiles(Later, "sqlite")
def _max(element: Later, compiler: SQLCompiler, **options: Any) -> str:
    return f"max{compiler.process(element.clause_expr, **options)}"


def renew_by_statements(table: Table, now: Callable[[], datetime]) -> None:
    """Let each UPDATE statement of the table set `updated_at` to the current time, unless it is later already."""
    column: ColumnElement[datetime] = table.c.updated_at
    current = bindparam(None, callable_=now, type_=UTCDateTime(), unique=True)
    table.c.updated_at.onupdate = ColumnDefault(Later(column, current), for_update=True)


def renew(row: Any, moment: datetime) -> None:
    """Set `updated_at` of a changed row before its UPDATE: to `moment`, but at least 1 µs later than before.

    A handler may set it itself. A `deleted_at` that was set earlier than the old `updated_at` is set to the new one.
    """
    session, state = object_session(row), inspect(row)
    before = row.__dict__.get("updated_at")
    if before is None or session is None or not session.is_modified(row, include_collections=False):
        return
    if state.attrs.updated_at.history.has_changes():
        return
    row.updated_at = max(moment, before + MICROSECOND)
    deleted_at = row.__dict__.get("deleted_at")
    if deleted_at is not None and before > deleted_at and state.attrs.deleted_at.history.has_changes():
        row.deleted_at = row.updated_at
