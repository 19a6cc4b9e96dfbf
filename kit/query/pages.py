"""Pages: the rows of a list after a cursor or an offset, in a total order (keyset pagination)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import func
from sqlmodel.sql.expression import SelectOfScalar

from kit.database.sessions import ReadSession
from kit.models.reads import Read
from kit.query.list_query import MAX_LIMIT, ListQuery
from kit.query.ordering import Order, order_of
from kit.query.page_sizes import rows_that_fit
from kit.query.related import load_lists


@dataclass(kw_only=True)
class Page:
    """A page of a list: the cursor of the next page, if any, and the total, if the request asks for it."""

    cursor: str | None
    total: int | None


@dataclass(kw_only=True)
class ShownPage(Page):
    """A page whose rows are instances of the read variant."""

    rows: Sequence[Read]


async def page(session: ReadSession, query: ListQuery, statement: SelectOfScalar[Any]) -> Page:
    """Return the page of a select that a query asks for: filtered, ordered and limited.

    Return it from a handler whose response model is a list of the read variant.
    """
    if query.runtime.fast_page is not None:
        fast: Page | None = await query.runtime.fast_page(session, query, statement)
        if fast is not None:
            return fast
    return await plain_page(session, query, statement)


async def plain_page(session: ReadSession, query: ListQuery, statement: SelectOfScalar[Any]) -> ShownPage:
    """Read a page by the ORM: at most two selects, one more for a count, and one for each embedded relationship.

    It has fewer rows than the limit if they are large.
    """
    order = order_of(query.model, query.sort)
    position, statement = order.position_of(query), query.narrowed(statement)
    total = await _count(session, statement) if query.given.get("count") else None
    limit = query.given.get("limit", MAX_LIMIT)
    rows = await _collect(session, query, order, position, statement, limit + 1)
    await load_lists(session, query, rows[:limit])
    shown = [query.shown(row) for row in rows[:limit]]
    number = rows_that_fit(query, len(shown), lambda: (len(read.model_dump_json()) for read in shown))
    cursor = None
    if len(rows) > number:
        last = rows[number - 1]
        cursor = order.cursor_after(query.secret, {field: getattr(last, field) for field in order.fields})
    return ShownPage(rows=shown[:number], cursor=cursor, total=total)


async def _collect(
    session: ReadSession,
    query: ListQuery,
    order: Order,
    position: Sequence[Any],
    statement: SelectOfScalar[Any],
    number: int,
) -> list[Any]:
    """Return at most `number` rows, in order, from the keyset position or the offset on."""
    offset = query.given.get("offset")
    values = {f"position_{index}": value for index, value in enumerate(position)}
    rows: list[Any] = []
    for segment in [order.everything] if offset else order.segments(position):
        if len(rows) < number:
            part = statement.where(segment.condition).order_by(*segment.ordering).options(*query.loading)
            rows += (await session.exec(part.params(values).offset(offset).limit(number - len(rows)))).all()
    return rows


async def _count(session: ReadSession, statement: SelectOfScalar[Any]) -> int:
    counted: Any = statement.with_only_columns(func.count(), maintain_column_froms=True)
    return int((await session.exec(counted)).one())
