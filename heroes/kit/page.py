"""Which rows make a page: those behind a cursor or an offset, in a total order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlmodel import func
from sqlmodel.sql.expression import SelectOfScalar

from heroes.kit import cursor
from heroes.kit.database import ReadSession
from heroes.kit.model import Entity
from heroes.kit.problem import error, invalid
from heroes.kit.query import MAX_LIMIT, ListQuery


@dataclass(frozen=True)
class Page:
    """A page of a list: its rows, the cursor of the next page if there is one, and the total if it was asked for."""

    rows: Sequence[Entity]
    cursor: str | None
    total: int | None


async def page(session: ReadSession, query: ListQuery, statement: SelectOfScalar[Any]) -> Page:
    """The page of this select that the query asks for: at most two statements, one more for a count."""
    limit, offset, keys = query.given.get("limit", MAX_LIMIT), query.given.get("offset", 0), sort_keys(query)
    place, statement = place_of(query, keys), query.narrowed(statement)
    total = await count(session, statement) if query.given.get("count") else None
    rows: list[Entity] = []
    if offset:
        whole = statement.order_by(*(key.ordering() for key in keys)).offset(offset)
        rows += await session.exec(whole.limit(limit + 1).options(*query.loading))
    else:
        ordered = statement.order_by(*(key.ordering() for key in cursor.solid(keys))).options(*query.loading)
        for span in cursor.spans(keys, place):
            if len(rows) <= limit:
                rows += await session.exec(ordered.where(span).limit(limit + 1 - len(rows)))
    more = len(rows) > limit
    return Page(rows[:limit], bookmark(query, rows[limit - 1], keys) if more else None, total)


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


def bookmark(query: ListQuery, row: Entity, keys: Sequence[cursor.Key]) -> str:
    return cursor.encode(query.secret, scope_of(query), [getattr(row, key.column.key) for key in keys])


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
