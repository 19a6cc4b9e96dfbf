"""In which order does a list come, and where in it does a page start: all that is the same for every page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Integer, Select, bindparam, true

from kit.http.problems import error, invalid
from kit.models.entities import Entity
from kit.query import cursors as cursor
from kit.query.list_query import ListQuery

ORDERS = 500
"""So many are kept; those not used for longest are put together anew."""
NUMBER, OFFSET = bindparam("number", type_=Integer), bindparam("offset", type_=Integer)


@dataclass(frozen=True, eq=False)
class Stretch:
    """Rows of a list that are read by one select: how many, and from where on, it leaves open."""

    condition: ColumnElement[bool]
    ordering: Sequence[ColumnElement[Any]]
    offset: ColumnElement[int] | None = None

    def of(self, statement: Select[Any], columns: Sequence[Any]) -> Select[Any]:
        chosen = statement.with_only_columns(*columns, maintain_column_froms=True)
        return chosen.where(self.condition).order_by(*self.ordering).offset(self.offset).limit(NUMBER)


class Order:
    """The sort keys, with the id behind them unless it is among them, so that the order is always total."""

    def __init__(self, model: type[Entity], text: str) -> None:
        self.model, self.scope = model, f"{model.__tablename__} {text}"
        signed = text.split(",")
        self.fields = [term.removeprefix("-") for term in signed]
        if len(set(self.fields)) < len(self.fields):
            raise invalid([error("query", "sort", "A field is named more than once", "repeated_value")])
        if "id" not in self.fields:
            self.fields.append("id")
            signed.append("-id" if signed[-1].startswith("-") else "id")
        columns = [(getattr(model, term.removeprefix("-")), term.startswith("-")) for term in signed]
        self.keys = [cursor.Key(column, descending, bool(column.nullable)) for column, descending in columns]
        self.behind: dict[tuple[bool, ...], list[Stretch]] = {}

    @cached_property
    def place(self) -> TypeAdapter[tuple[Any, ...]]:
        """Reads the values of a row's sort keys."""
        kinds: Any = tuple(self.model.model_fields[field].annotation for field in self.fields)
        return TypeAdapter(tuple[kinds])

    @cached_property
    def whole(self) -> Stretch:
        """All rows, behind an offset."""
        return Stretch(true(), [key.ordering() for key in self.keys], OFFSET)

    def stretches(self, place: Sequence[Any]) -> list[Stretch]:
        """The rows behind this place, or all of them if it is empty; they differ only where a value is null."""
        nulls = tuple(value is None for value in place)
        if nulls not in self.behind:
            marks = [
                None if is_null else bindparam(f"place_{index}", type_=key.column.type)
                for index, (is_null, key) in enumerate(zip(nulls, self.keys, strict=False))
            ]
            ordering = [key.ordering() for key in cursor.solid(self.keys)]
            self.behind[nulls] = [Stretch(span, ordering) for span in cursor.spans(self.keys, marks)]
        return self.behind[nulls]

    def bookmark(self, secret: bytes, row: Mapping[str, Any]) -> str:
        """The cursor of the page behind this row."""
        return cursor.encode(secret, self.scope, [row[field] for field in self.fields])

    def place_of(self, query: ListQuery) -> tuple[Any, ...]:
        """The values of the row behind which the page starts; none if no cursor is given."""
        if "cursor" not in query.given:
            return ()
        payload = cursor.decode(query.secret, self.scope, query.given["cursor"])
        if payload is None:
            raise invalid([error("query", "cursor", "Not a cursor of this list and sort", "cursor_parsing")])
        return self.place.validate_json(payload)


@lru_cache(ORDERS)
def order_of(model: type[Entity], text: str) -> Order:
    return Order(model, text)
