"""Rendering of types: a migration names types of SQLAlchemy that mean the same on both databases.

The kit's own types are left out, because a migration must not change when the code of the kit does. Types that were
read from one database are named as the kit would have declared them, so that the other database has them too.
"""

from typing import Literal

from alembic.autogenerate.api import AutogenContext
from sqlalchemy import VARCHAR, DateTime, LargeBinary
from sqlalchemy.dialects.postgresql import BYTEA
from sqlmodel.sql.sqltypes import UTCDateTime

from kit.models.types import MoneyColumn


def render_type(kind: str, thing: object, context: AutogenContext) -> str | Literal[False]:
    """For `render_item` of Alembic's environment; False if Alembic knows how to render this."""
    if kind != "type":
        return False
    if isinstance(thing, VARCHAR):
        return text_column(thing, context)
    if isinstance(thing, UTCDateTime | DateTime):
        return "UTCDateTime()"  # imported by script.py.mako
    if isinstance(thing, LargeBinary | BYTEA):
        return "sa.LargeBinary()"
    if isinstance(thing, MoneyColumn):
        return 'sa.Numeric(10, 2).with_variant(sa.BigInteger(), "sqlite")'
    return False


def text_column(thing: VARCHAR, context: AutogenContext) -> str:
    """Text that was read from a database. SQLite does not tell how PostgreSQL orders it: by code point, as all text."""
    length = "" if thing.length is None else f"length={thing.length}"
    if context.dialect is not None and context.dialect.name == "postgresql" and thing.collation != "C":
        return f"sa.String({length})"
    return f'sa.String({length}).with_variant(sa.String({", ".join(filter(None, [length, COLLATION]))}), "postgresql")'


COLLATION = 'collation="C"'
