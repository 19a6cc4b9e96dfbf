"""Cursors for keyset pagination: the sort key values of the last row of a page, encoded with a MAC."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_, true, tuple_
from sqlalchemy.orm import InstrumentedAttribute

MAC_SIZE = 16


@dataclass(frozen=True)
class SortKey:
    """A sort key: a column, its direction, and whether it is nullable. NULL is sorted last in both directions."""

    column: InstrumentedAttribute[Any]
    descending: bool
    nullable: bool

    def ordering(self, column: ColumnElement[Any] | None = None) -> ColumnElement[Any]:
        """Return the ORDER BY element for the column, or for the same column of a subquery."""
        ordered: Any = self.column if column is None else column
        direction: ColumnElement[Any] = ordered.desc() if self.descending else ordered.asc()
        return direction.nulls_last() if self.nullable else direction

    def tied(self, value: Any) -> ColumnElement[bool]:
        return self.column.is_(None) if value is None else self.column == value

    def beyond(self, value: Any) -> ColumnElement[bool]:
        if value is None:
            return false()
        beyond = self.column < value if self.descending else self.column > value
        return or_(beyond, self.column.is_(None)) if self.nullable else beyond


def without_null_first(keys: Sequence[SortKey]) -> list[SortKey]:
    """Return the keys for rows whose first key is not NULL, with an order that an index has in both directions."""
    return [replace(keys[0], nullable=False), *keys[1:]]


def segments(keys: Sequence[SortKey], values: Sequence[Any] | None) -> list[ColumnElement[bool]]:
    """Split the rows after these values (or all rows, without values) into segments. Returns their conditions in order.

    Each segment is a range of an index. Lists sort NULL last, but an index does not in both directions and on both
    databases. Therefore a nullable first key makes two segments: the rows in which it is not NULL, and the others.
    """
    first = keys[0]
    if not first.nullable:
        return [after(keys, values) if values else true()]
    filled, empty = first.column.is_not(None), first.column.is_(None)
    if not values:
        return [filled, empty]
    if values[0] is None:
        return [and_(empty, after(keys[1:], values[1:]))]
    return [and_(filled, after(without_null_first(keys), values)), empty]


def after(keys: Sequence[SortKey], values: Sequence[Any]) -> ColumnElement[bool]:
    """Return the condition for the rows after the row with these values.

    If all keys have the same direction and none is nullable, it is a row-value comparison, which uses an index.
    """
    if len(keys) > 1 and len({key.descending for key in keys}) == 1 and not any(key.nullable for key in keys):
        types = [key.column.type for key in keys]
        row, bound = tuple_(*(key.column for key in keys)), tuple_(*values, types=types)
        return row < bound if keys[0].descending else row > bound
    steps = []
    for position, key in enumerate(keys):
        ties = [before.tied(value) for before, value in zip(keys[:position], values, strict=False)]
        steps.append(and_(*ties, key.beyond(values[position])))
    start = or_(keys[0].tied(values[0]), keys[0].beyond(values[0]))  # redundant: lets an index scan begin there
    return and_(start, or_(*steps))


def encode(secret: bytes, order: str, values: bytes) -> str:
    """Return the cursor for `values`, in JSON. `order` identifies the list and its sort."""
    return sealed(secret, order, values)


def decode(secrets: Sequence[bytes], order: str, cursor: str) -> bytes | None:
    """Return the JSON in a cursor; None if it was not made with one of the secrets and this `order`."""
    try:
        payload = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[MAC_SIZE:]
    except ValueError:
        return None
    known = [sealed(secret, order, payload).encode() for secret in secrets]
    return payload if any(hmac.compare_digest(cursor.encode(), each) for each in known) else None


def sealed(secret: bytes, order: str, payload: bytes) -> str:
    mac = hmac.digest(secret, order.encode() + b"\0" + payload, "sha256")[:MAC_SIZE]
    return urlsafe_b64encode(mac + payload).decode().rstrip("=")
