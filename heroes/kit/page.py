"""Which rows make a page: those behind a cursor or an offset, in a total order."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Select
from sqlmodel import func
from sqlmodel.sql.expression import SelectOfScalar

from heroes.kit import cursor
from heroes.kit.encode import to_json
from heroes.kit.problem import error, invalid
from heroes.kit.query import MAX_LIMIT, ListQuery
from heroes.kit.reading import ReadSession
from heroes.kit.security import CALLER
from heroes.kit.view import Row, View


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
    limit, keys = query.given.get("limit", MAX_LIMIT), sort_keys(query)
    place, statement = place_of(query, keys), query.narrowed(statement)
    total = await count(session, statement) if query.given.get("count") else None
    names = view.columns(key.column.key for key in keys)
    columns = [getattr(query.model, name) for name in names]
    chosen = statement.with_only_columns(*columns, maintain_column_froms=True)
    found = await collect(session, query, chosen, keys, place, limit + 1)
    rows = [dict(zip(names, row)) for row in found[:limit]]  # noqa: B905  the columns are these names, and being strict takes time
    mark = bookmark(query, rows[-1], keys) if len(found) > limit else None
    return Page(await view.shown(session, rows), mark, total)


async def collect(
    session: ReadSession,
    query: ListQuery,
    statement: Select[Any],
    keys: Sequence[cursor.Key],
    place: tuple[Any, ...] | None,
    number: int,
) -> list[Sequence[Any]]:
    """So many rows, in order, from this place on."""
    if offset := query.given.get("offset"):
        whole = statement.order_by(*(key.ordering() for key in keys))
        return list(await session.fetch(whole.offset(offset).limit(number)))
    rows: list[Sequence[Any]] = []
    ordered = statement.order_by(*(key.ordering() for key in cursor.solid(keys)))
    for span in cursor.spans(keys, place):
        if len(rows) < number:
            rows += await session.fetch(ordered.where(span).limit(number - len(rows)))
    return rows


async def count(session: ReadSession, statement: SelectOfScalar[Any]) -> int:
    counted: Any = statement.with_only_columns(func.count(), maintain_column_froms=True)
    return int((await session.exec(counted)).one())


def order_of(query: ListQuery) -> str:
    return ",".join(query.given.get("sort") or [query.default_sort])


def sort_keys(query: ListQuery) -> list[cursor.Key]:
    """The sort keys, with the id behind them unless it is among them: the order is always total."""
    signed = order_of(query).split(",")
    fields = [term.removeprefix("-") for term in signed]
    if len(set(fields)) < len(fields):
        raise invalid([error("query", "sort", "A field is named more than once", "repeated_value")])
    if "id" not in fields:
        signed.append("-id" if signed[-1].startswith("-") else "id")
    columns = [(getattr(query.model, term.removeprefix("-")), term.startswith("-")) for term in signed]
    return [cursor.Key(column, descending, bool(column.nullable)) for column, descending in columns]


def scope_of(query: ListQuery) -> str:
    """What a cursor is good for: this list in this order."""
    return f"{query.model.__tablename__} {order_of(query)}"


def bookmark(query: ListQuery, row: dict[str, Any], keys: Sequence[cursor.Key]) -> str:
    return cursor.encode(query.secret, scope_of(query), [row[key.column.key] for key in keys])


def place_of(query: ListQuery, keys: Sequence[cursor.Key]) -> tuple[Any, ...] | None:
    """The values of the row behind which the page starts, if a cursor is given."""
    if "cursor" not in query.given:
        return None
    payload = cursor.decode(query.secret, scope_of(query), query.given["cursor"])
    if payload is None:
        raise invalid([error("query", "cursor", "Not a cursor of this list and sort", "cursor_parsing")])
    kinds: Any = tuple(query.model.model_fields[key.column.key].annotation for key in keys)
    values: tuple[Any, ...] = TypeAdapter(tuple[kinds]).validate_json(payload)
    return values
