"""Orders of lists: the sort keys of a `sort`, and the segments of rows after a position. Both are cached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Optional

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, bindparam, true

from kit.http.problems import error, invalid
from kit.models.entities import Entity
from kit.models.kinds import shape_of_field
from kit.query import cursors

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery

MAX_ORDERS = 500
"""The maximum number of sort orders that are kept in the LRU cache."""


@dataclass(frozen=True, eq=False)
class Segment:
    """A part of a list that is read by one SELECT, with its condition and sort keys."""

    condition: ColumnElement[bool]
    keys: Sequence[cursors.SortKey]
    is_last: bool = True

    @cached_property
    def ordering(self) -> Sequence[ColumnElement[Any]]:
        return [key.ordering() for key in self.keys]

    @property
    def fields(self) -> Sequence[str]:
        return [key.column.key for key in self.keys]


class Order:
    """The sort keys of a list, from a value of `sort`. The id is added as last key, so that the order is total.

    Raises a 422 if a field is repeated.
    """

    def __init__(self, model: type[Entity], text: str) -> None:
        self.model, self.text, self.scope = model, text, f"{model.__tablename__} {text}"
        signed = text.split(",")
        self.fields = [term.removeprefix("-") for term in signed]
        if len(set(self.fields)) < len(self.fields):
            raise invalid([error("query", "sort", "A field is named more than once", "repeated_value")])
        if "id" not in self.fields:
            self.fields.append("id")
            signed.append("-id" if signed[-1].startswith("-") else "id")
        columns = [(getattr(model, term.removeprefix("-")), term.startswith("-")) for term in signed]
        self.keys = [cursors.SortKey(column, descending, bool(column.nullable)) for column, descending in columns]
        self._segments: dict[tuple[bool, ...], list[Segment]] = {}

    @cached_property
    def everything(self) -> Segment:
        """The segment that contains all rows of the list."""
        return Segment(true(), self.keys)

    def parts(self, position: Sequence[Any], *, has_offset: bool) -> list[Segment]:
        """Return the segments of the rows after a position.

        With an offset and without an index for the order, it is a single segment with all rows.
        """
        return [self.everything] if has_offset and not self.has_index else self.segments(position)

    @property
    def has_index(self) -> bool:
        """Whether the table may have an index in this order: the kit's indexes are on a field and the id."""
        return len(self.keys) <= 2

    def segments(self, position: Sequence[Any]) -> list[Segment]:
        """Return the segments of the rows after a position (sort key values); of all rows if it is empty.

        The values become the parameters `position_0`, `position_1`, … Therefore the segments, and the compiled
        statements, depend only on which values are None.
        """
        nulls = tuple(value is None for value in position)
        if nulls not in self._segments:
            bounds = [
                None if is_null else bindparam(f"position_{index}", type_=key.column.type)
                for index, (is_null, key) in enumerate(zip(nulls, self.keys, strict=False))
            ]
            keys = cursors.without_null_first(self.keys)
            conditions = cursors.segments(self.keys, bounds)
            self._segments[nulls] = [Segment(part, keys, part is conditions[-1]) for part in conditions]
        return self._segments[nulls]

    def cursor_after(self, secret: bytes, row: Mapping[str, Any]) -> str:
        """Return the cursor of the page that begins after the row with these values by field."""
        values = tuple(row[field] for field in self.fields)
        return cursors.encode(secret, self.scope, self._position_type.dump_json(values, warnings=False))

    def position_of(self, query: "ListQuery") -> tuple[Any, ...]:
        """Return the sort key values in the cursor of a request; empty without one. Raises a 422 for an invalid one."""
        if "cursor" not in query.given:
            return ()
        payload = cursors.decode(query.secrets, self.scope, query.given["cursor"])
        try:
            return self._position_type.validate_json(payload or b"")
        except ValidationError:  # also a cursor of an earlier version, in which a field had another type
            detail = "Not a cursor of this list and sort"
            raise invalid([error("query", "cursor", detail, "cursor_parsing")]) from None

    @cached_property
    def _position_type(self) -> TypeAdapter[tuple[Any, ...]]:
        """The type of a position. It has no bounds, because stored values may break the current ones."""
        shapes = [shape_of_field(self.model.model_fields[field]) for field in self.fields]
        kinds: Any = tuple(Optional[shape.plain] for shape in shapes)  # noqa: UP045  it may be more than a class
        return TypeAdapter(tuple[kinds])


@lru_cache(MAX_ORDERS)
def order_of(model: type[Entity], text: str) -> Order:
    return Order(model, text)
