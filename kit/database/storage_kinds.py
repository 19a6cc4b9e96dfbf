"""Storage kinds: what the values of a column type are, by the types that both databases give it.

Two types of the same kind store the same value in the same form. SQLite stores a decimal as an integer in units of the
last decimal place, or as a text of fixed length (`DecimalColumn`), so decimals of another scale are of another kind.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Dialect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import CompileError
from sqlalchemy.types import TypeEngine

from kit.models.columns import DecimalColumn

DIALECTS: Sequence[Dialect] = (sqlite.dialect(), postgresql.dialect())  # type: ignore[no-untyped-call]
KINDS = {
    "integer": r"(INTEGER|BIGINT|SMALLINT) (INTEGER|BIGINT|SMALLINT)",
    "decimal": r"(BIGINT|VARCHAR\(\d+\)) NUMERIC.*",
    "numeric": r"NUMERIC.* NUMERIC.*",
    "float": r"(FLOAT|REAL|DOUBLE).* (FLOAT|REAL|DOUBLE).*",
    "text": r"(VARCHAR|TEXT).* (VARCHAR|TEXT).*",
    "boolean": "BOOLEAN BOOLEAN",
    "date": "DATE DATE",
    "time": "TIME TIME WITHOUT.*",
    "datetime": "(DATETIME|TIMESTAMP) TIMESTAMP.*",
    "duration": "BIGINT INTERVAL",
    "interval": "DATETIME INTERVAL",
    "uuid": r"(CHAR\(32\)|UUID) UUID",
    "json": "JSON JSONB?",
    "bytes": "BLOB BYTEA",
}
"""Patterns for a type's SQL on SQLite and on PostgreSQL."""


class Kind(NamedTuple):
    """A kind; for decimals with the maximum digits before and after the point, for others with the size if known.

    `length` is that of a text, in characters; None if it has no limit.
    """

    name: str
    whole: int | None = None
    places: int | None = None
    bits: int = 64
    zoned: bool = True
    length: int | None = None

    @property
    def is_number(self) -> bool:
        """Whether SQLite stores a decimal as an integer."""
        return (self.whole or 0) + (self.places or 0) <= 18


def kind_of(type_: TypeEngine[Any]) -> Kind | None:
    """Return the kind of a type; None for a type that is not known here."""
    try:
        forms = [type_.compile(dialect=dialect) for dialect in DIALECTS]
    except CompileError:  # a type of one database
        return None
    name = next((name for name, pattern in KINDS.items() if re.fullmatch(pattern, " ".join(forms))), None)
    if name == "decimal":
        return Kind(name, *digits_of(type_, *forms))
    if name == "numeric":
        return Kind(name, None, getattr(type_, "scale", None))
    bits = {"INTEGER": 32, "SMALLINT": 16}.get(forms[1], 64)
    length = re.search(r"VARCHAR\((\d+)\)", forms[1])
    size = None if length is None else int(length[1])
    return None if name is None else Kind(name, bits=bits, zoned="WITHOUT" not in forms[1], length=size)


def digits_of(type_: Any, on_sqlite: str, on_postgresql: str) -> tuple[int | None, int | None]:
    """Return the digits before and after the point of a decimal; None if the type does not say them.

    A type without a scale has as many before the point as after it; `decimal_return_scale` says how many.
    """
    if isinstance(type_, DecimalColumn):
        return type_.whole, type_.places
    if fixed := re.search(r"(\d+), (\d+)", on_postgresql):
        return int(fixed[1]) - int(fixed[2]), int(fixed[2])
    places = type_.decimal_return_scale
    if length := re.search(r"\d+", on_sqlite):
        places = int(length[0]) // 2
    return places, places


def is_other(old: Kind | None, new: Kind | None) -> bool:
    """Return whether a database stores values of one kind otherwise than those of the other. False if one is not known.

    The length of a text is left out: both databases show it.
    """
    if old is None or new is None or (old.name == new.name == "decimal" and old.places is None):
        return False
    return old._replace(length=None) != new._replace(length=None)
