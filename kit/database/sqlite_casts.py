"""Checked casts: on SQLite, a migration that changes the type of a column stops if a cast would change values.

SQLite's CAST never fails: `CAST('Room 1' AS INTEGER)` is 0, and `CAST('2026-01-31' AS DATE)` is 2026. Therefore the
values are compared before the table is altered. The argument `sqlite_using` of `alter_column` is an expression that
replaces the cast, as `postgresql_using` does on PostgreSQL.
"""

from typing import Any

from alembic.ddl.sqlite import SQLiteImpl
from alembic.util import CommandError
from sqlalchemy import JSON, Column, ColumnElement, Uuid, func, literal_column, not_, or_, select, type_coerce
from sqlalchemy.types import NullType, TypeEngine


class CheckedCasts(SQLiteImpl):
    """Alembic's operations on SQLite, without casts that change values."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.using: dict[tuple[str, str], str] = {}
        """The expressions that copy the values of a column, by table and column."""

    def cast_for_batch_migrate(
        self, existing: Column[Any], existing_transfer: dict[str, Any], new_type: TypeEngine[Any]
    ) -> None:
        """Set the expression that computes the new values. Raises a CommandError if a cast would change values."""
        source = existing_transfer["expr"]
        if (using := self.using.pop((source.table.name, source.name), None)) is not None:
            existing_transfer["expr"] = literal_column(using)
        elif source.type._type_affinity is not new_type._type_affinity:
            converted = self.cast(source, new_type)
            if not isinstance(new_type, JSON):
                existing_transfer["expr"] = literal_column(converted)
            self.refuse(source, is_changed(source, new_type, converted))

    def cast(self, source: Column[Any], new_type: TypeEngine[Any]) -> str:
        """Return SQLite's own CAST. In expressions of SQLAlchemy, the kit refuses it for dates and times."""
        name = self.dialect.identifier_preparer.format_column(source)
        return f"CAST({name} AS {self.dialect.type_compiler_instance.process(new_type)})"

    def refuse(self, source: Column[Any], condition: ColumnElement[bool]) -> None:
        """Raise a CommandError if the condition holds for any row of the table."""
        assert self.connection is not None
        query = select(func.count()).select_from(source.table).where(condition)
        if number := self.connection.scalar(query):
            raise CommandError(
                f"{source.table.name}.{source.name} has values in {number} {'row' if number == 1 else 'rows'} that its "
                "new type cannot hold: change them, or write the conversion as `sqlite_using` in alter_column."
            )


def is_changed(source: Column[Any], new_type: TypeEngine[Any], converted: str) -> ColumnElement[bool]:
    """Return the condition for values that the cast `converted` changes, or that the new type does not have."""
    if isinstance(new_type, JSON):
        return not_(func.json_valid(source))
    if isinstance(new_type, Uuid):
        return or_(func.length(source) != 32, source.op("GLOB")("*[^0-9a-f]*"))
    return type_coerce(source, NullType()) != literal_column(converted)
