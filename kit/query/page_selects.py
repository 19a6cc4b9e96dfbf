"""The SELECTs of pages and of row counts, for the plans of `kit.query.plans`."""

from typing import Any

from sqlalchemy import ColumnClause, CompoundSelect, FromClause, Select, TableClause, func, inspect, literal, select
from sqlalchemy.sql.visitors import replacement_traverse

from kit.models.entities import Entity
from kit.query.ordering import Order, Segment

MAX_LIMIT = 100
"""The maximum number of rows of a page."""
MAX_OFFSET = 1_000_000
Statement = Select[Any]


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
    """Return the SELECT of up to `number` rows of a segment, in order, after `offset` rows.

    With `sorts`, a subquery finds and sorts the ids (`ids_of_few`). `outer` is the SELECT that reads their rows;
    without it the statement itself does, and evaluates its conditions twice.
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
    """Return the SELECT of the ids of a page, for conditions that few rows satisfy.

    The inner SELECT has `OFFSET 0`, so that a database plans it separately, and does not scan the index of the sort.
    """
    names = dict.fromkeys(("id", *segment.fields))
    chosen = _ids(statement, order.model, *names).where(segment.condition)
    few = chosen.offset(0).subquery()
    found: dict[str, Any] = dict(zip(names, few.columns, strict=True))
    ordering = [key.ordering(found[key.column.key]) for key in segment.keys]
    return select(found["id"]).order_by(*ordering).limit(number).offset(offset)


def page_after_offset(statement: Select[Any], order: Order, segment: Segment, number: Any, offset: Any) -> Select[Any]:
    """Return the SELECT of a page after an offset. A subquery skips ids, for which an index suffices."""
    chosen = _ids(statement, order.model, *segment.fields).where(segment.condition)
    page = chosen.order_by(*segment.ordering).limit(number).offset(offset).subquery()
    return statement.where(_id(order.model).in_(select(page.columns[0])))


def count_up_to(statement: Select[Any], model: type[Entity], most: int, field: str | None = None) -> Select[Any]:
    """Return a SELECT that counts rows, up to `most`.

    `field` is the field of the only condition, if there is one. An ORDER BY this field makes PostgreSQL use its index;
    otherwise it may scan the table, because it expects to find enough rows early.
    """
    chosen = _ids(statement, model, *(() if field is None else (field,))).limit(most)
    ordered = chosen if field is None else chosen.order_by(getattr(model, field))
    return select(func.count()).select_from(ordered.subquery())


def count_among_first(
    statement: Select[Any], segment: Segment, model: type[Entity], most: int, length: int
) -> Select[Any]:
    """Return a SELECT that counts the matching rows, up to `most`, among the first `length` rows of a segment.

    The second column is the number of these first rows; 0 for the last segment.

    The statement reads from a subquery of the first rows in place of the table, so that an index scan can stop when
    enough rows match. With `id IN (SELECT …)`, PostgreSQL would first read all rows, and then join them.
    """
    table = inspect(model).local_table
    first = select(table).where(segment.condition).order_by(*segment.ordering).limit(length)
    found = reading_from(count_up_to(statement, model, most), table, first.subquery("first_rows"))
    number = select(func.count()).select_from(first.with_only_columns(_id(model)).subquery())
    return select(found.scalar_subquery(), literal(0) if segment.is_last else number.scalar_subquery())


def reading_from(statement: Select[Any], table: FromClause, rows: FromClause) -> Select[Any]:
    """Return the statement with `table` replaced by the subquery `rows`, which has the same columns."""

    def is_table(element: Any) -> bool:
        return isinstance(element, TableClause) and element.is_derived_from(table)

    def replaced(element: Any, **_: Any) -> Any:
        if isinstance(element, ColumnClause) and is_table(element.table):
            return rows.corresponding_column(element)
        return rows if is_table(element) else None

    replacement: Any = replacement_traverse(statement, {}, replaced)
    return replacement  # type: ignore[no-any-return]


def count_segment(statement: Select[Any], segment: Segment, model: type[Entity]) -> Select[Any]:
    """Return the SELECT that counts the rows of a segment, up to `MAX_OFFSET`. With ORDER BY, SQLite uses the index."""
    chosen = _ids(statement, model, *segment.fields).where(segment.condition).order_by(*segment.ordering)
    return select(func.count()).select_from(chosen.limit(MAX_OFFSET).subquery())


def count_all(statement: Select[Any], model: type[Entity]) -> Select[Any]:
    """Return a SELECT that counts the rows of a statement, which may have DISTINCT or GROUP BY."""
    return select(func.count()).select_from(_ids(statement, model).subquery())


def count_search(statement: Select[Any], most: int) -> Select[Any]:
    """Return a SELECT that counts the entries that a search index of SQLite finds, up to `most`."""
    return select(func.count()).select_from(statement.limit(most).subquery())


def count_rows_found(statement: CompoundSelect[Any]) -> Select[Any]:
    """Return a SELECT that counts the rows that a search index of SQLite finds, without reading the table."""
    return select(func.count()).select_from(statement.subquery())


def _ids(statement: Select[Any], model: type[Entity], *sorted_by: str) -> Select[Any]:
    """Return the SELECT of the ids of a statement's rows, and of these fields, which ORDER BY needs with DISTINCT."""
    columns = [getattr(model, name) for name in dict.fromkeys(("id", *sorted_by))]
    return statement.with_only_columns(*columns, maintain_column_froms=True)


def _id(model: type[Entity]) -> Any:
    return model.id
