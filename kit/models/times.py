"""Times of rows: those of one row never go back, even if the clock does."""

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
    """The later one of two times, in SQL."""

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
    """Let each UPDATE of the table set `updated_at` to the current time, or leave it if it is later."""
    column: ColumnElement[datetime] = table.c.updated_at
    current = bindparam(None, callable_=now, type_=UTCDateTime(), unique=True)
    table.c.updated_at.onupdate = ColumnDefault(Later(column, current), for_update=True)


def renew(row: Any, moment: datetime) -> None:
    """Set the time of a changed row before its UPDATE: to this moment, but after the times that it has."""
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
