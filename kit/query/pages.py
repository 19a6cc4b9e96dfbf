"""Which rows make a page: those behind a cursor or an offset, in a total order."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from typing import Any

from sqlmodel import func
from sqlmodel.sql.expression import SelectOfScalar

from kit.auth.permissions import CALLER
from kit.database.reading import ReadSession
from kit.http.encoding import to_json
from kit.query.list_query import MAX_LIMIT, ListQuery
from kit.query.ordering import Order, order_of
from kit.query.projection import Row, View


@dataclass
class Page:
    """A page of a list, shared by all who asked for it at the same time.

    Its rows as they are shown, the cursor of the next page if there is one, and the total if it was asked for.
    """

    rows: Sequence[Row]
    cursor: str | None
    total: int | None

    @cached_property
    def body(self) -> bytes:
        return to_json(self.rows)

    @cached_property
    def digest(self) -> bytes:
        """What its tag is made of, once for all."""
        return sha256(self.body).digest()  # processors have instructions for it


async def page(session: ReadSession, query: ListQuery, statement: SelectOfScalar[Any]) -> Page:
    """The page of this select that the query asks for; one read for all who ask for it at the same time."""
    select = statement._generate_cache_key()  # as the query cache in SQLAlchemy's own examples does
    view = View(query)
    if select is None:  # it cannot be compared with another
        return await turn_to(session, query, view, statement)
    values = tuple(bind.effective_value for bind in select.bindparams)
    key = (type(query), query.text, CALLER.get() if view.is_personal else None, select.key, values)
    return await session.once(key, lambda session: turn_to(session, query, view, statement))


async def turn_to(session: ReadSession, query: ListQuery, view: View, statement: SelectOfScalar[Any]) -> Page:
    """At most two statements, one more for a count, and one for each thing that is embedded."""
    order = order_of(query.model, ",".join(query.given.get("sort") or [query.default_sort]))
    place, statement = order.place_of(query), query.narrowed(statement)
    total = await count(session, statement) if query.given.get("count") else None
    limit, names = query.given.get("limit", MAX_LIMIT), view.columns(order.fields)
    found = await collect(session, query, order, place, statement, names, limit + 1)
    rows = [dict(zip(names, row)) for row in found[:limit]]  # noqa: B905  as many as there are; to look takes time
    mark = order.bookmark(query.secret, rows[-1]) if len(found) > limit else None
    return Page(await view.shown(session, rows), mark, total)


async def collect(
    session: ReadSession,
    query: ListQuery,
    order: Order,
    place: Sequence[Any],
    statement: SelectOfScalar[Any],
    names: Sequence[str],
    number: int,
) -> list[Sequence[Any]]:
    """So many rows, in order, from this place on."""
    offset = query.given.get("offset")
    open_values = {f"place_{index}": value for index, value in enumerate(place)} | {"offset": offset}
    columns = [getattr(query.model, name) for name in names]
    rows: list[Sequence[Any]] = []
    for stretch in [order.whole] if offset else order.stretches(place):
        if len(rows) < number:
            rows += await session.fetch(
                statement,
                open_values | {"number": number - len(rows)},
                shape=(stretch, *names),
                complete=partial(stretch.of, columns=columns),
            )
    return rows


async def count(session: ReadSession, statement: SelectOfScalar[Any]) -> int:
    counted: Any = statement.with_only_columns(func.count(), maintain_column_froms=True)
    return int((await session.exec(counted)).one())
