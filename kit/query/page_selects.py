"""Selects of pages: the ids of a page, and numbers of rows. `kit.query.plans` chooses among them."""

from typing import Any

from sqlalchemy import ColumnClause, CompoundSelect, FromClause, Select, TableClause, func, inspect, literal, select
from sqlalchemy.sql.visitors import replacement_traverse
from sqlmodel.sql.expression import SelectOfScalar

from kit.models.entities import Entity
from kit.query.ordering import Order, Segment

MAX_LIMIT = 100
"""The largest number of rows of a page."""
MAX_OFFSET = 1_000_000
Statement = SelectOfScalar[Any]


def completed(
    statement: Select[Any],
    order: Order,
    segment: Segment,
    number: Any,
    offset: Any,
    *,
    sorts: bool,
    outer: Select[Any] | None = None,
) -> Select[Any]:
    """Return the select of a page, ordered and limited.

    `outer` selects the rows by their ids, if they are sorted; without it the same statement does, which evaluates its
    conditions twice.
    """
    if sorts:
        found = ids_of_few(statement, order, segment, number, offset)
        statement = (statement if outer is None else outer).where(_id(order.model).in_(found))
    elif offset is not None:
        statement = page_after_offset(statement, order, segment, number, offset)
    else:
        statement = statement.where(segment.condition)
    return statement.order_by(*segment.ordering).limit(number)


def ids_of_few(statement: Select[Any], order: Order, segment: Segment, number: Any, offset: Any = None) -> Select[Any]:
    """Return the select of the ids of a page, for conditions that few rows match.

    The inner select has an offset, so that a database plans it by itself, without the index of the sort.
    """
    names = dict.fromkeys(("id", *(key.column.key for key in segment.keys)))
    columns = [getattr(order.model, name) for name in names]
    chosen = statement.with_only_columns(*columns, maintain_column_froms=True).where(segment.condition)
    few = chosen.offset(0).subquery()
    found: dict[str, Any] = dict(zip(names, few.columns, strict=True))
    ordering = [key.ordering(found[key.column.key]) for key in segment.keys]
    return select(found["id"]).order_by(*ordering).limit(number).offset(offset)


def page_after_offset(statement: Select[Any], order: Order, segment: Segment, number: Any, offset: Any) -> Select[Any]:
    """Return the select with the ids of a page after an offset."""
    chosen = statement.with_only_columns(_id(order.model), maintain_column_froms=True).where(segment.condition)
    ids = chosen.order_by(*segment.ordering).limit(number).offset(offset)
    return statement.where(_id(order.model).in_(ids))


def count_up_to(statement: Select[Any], model: type[Entity], most: int, field: str | None = None) -> Select[Any]:
    """Return a select that counts the rows, up to a maximum.

    `field` is that of the only condition: in its order, the rows are found by its index. Without an order, PostgreSQL
    may scan the table, because it expects to meet enough rows soon.
    """
    chosen = statement.with_only_columns(_id(model), maintain_column_froms=True).limit(most)
    ordered = chosen if field is None else chosen.order_by(getattr(model, field))
    return select(func.count()).select_from(ordered.subquery())


def count_among_first(
    statement: Select[Any], segment: Segment, model: type[Entity], most: int, length: int
) -> Select[Any]:
    """Return a select that counts the matching rows, up to a maximum, among the first `length` rows of a segment.

    The second column is the number of the latter, or 0 for the last segment.

    The first rows are a subquery from which the statement reads instead of the table: an index gives them, one after
    another, until enough of them match. With `id IN (SELECT …)` PostgreSQL joins them, after it has read all rows.
    """
    table = inspect(model).local_table
    first = select(table).where(segment.condition).order_by(*segment.ordering).limit(length)
    found = reading_from(count_up_to(statement, model, most), table, first.subquery("first_rows"))
    number = select(func.count()).select_from(first.with_only_columns(_id(model)).subquery())
    return select(found.scalar_subquery(), literal(0) if segment.is_last else number.scalar_subquery())


def reading_from(statement: Select[Any], table: FromClause, rows: FromClause) -> Select[Any]:
    """Return the statement with these rows, which have the columns of a table, instead of the table."""

    def is_table(element: Any) -> bool:
        return isinstance(element, TableClause) and element.is_derived_from(table)

    def replaced(element: Any, **_: Any) -> Any:
        if isinstance(element, ColumnClause) and is_table(element.table):
            return rows.corresponding_column(element)
        return rows if is_table(element) else None

    replacement: Any = replacement_traverse(statement, {}, replaced)
    return replacement  # type: ignore[no-any-return]


def count_segment(statement: Select[Any], segment: Segment, model: type[Entity]) -> Select[Any]:
    """Return the select of the number of rows of a segment. Its order is for SQLite, which then uses the index."""
    return count_up_to(statement.where(segment.condition).order_by(*segment.ordering), model, MAX_OFFSET)


def count_all(statement: Select[Any]) -> Select[Any]:
    return statement.with_only_columns(func.count(), maintain_column_froms=True)


def count_search(statement: Select[Any], most: int) -> Select[Any]:
    """Return a select that counts the entries that a search index of SQLite finds, up to a maximum."""
    return select(func.count()).select_from(statement.limit(most).subquery())


def count_rows_found(statement: CompoundSelect[Any]) -> Select[Any]:
    """Return a select that counts the rows that a search index of SQLite finds, without reading them."""
    return select(func.count()).select_from(statement.subquery())


def _id(model: type[Entity]) -> Any:
    return model.id
