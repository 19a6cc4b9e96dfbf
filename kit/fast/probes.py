"""Probes: the table, the row and the database in memory on which the self-test tries the shortcuts."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import MetaData, create_engine
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Session, registry
from sqlalchemy.pool import StaticPool
from sqlmodel import Field

from kit.fast.mappings import EntityMapping, mapping_of
from kit.models.entities import Entity
from kit.models.types import MoneyColumn

ASYNCPG: Dialect = asyncpg_dialect()  # type: ignore[no-untyped-call]
"""The dialect of PostgreSQL, for statements that are compiled but not executed."""


class Colour(Enum):
    RED = "red"


class _Base(Entity, registry=registry(metadata=MetaData())):
    """The base of the probe. It has a separate registry, so that no migration creates the table."""


class Probe(_Base, table=True):
    """A table with a column of each type that the shortcuts convert without the ORM."""

    __tablename__ = "fast_probe"

    name: str
    is_open: bool
    price: Decimal = Field(sa_type=MoneyColumn)
    ratio: float
    colour: Colour
    token: UUID
    note: str | None = None


class ProbeRead(BaseModel):
    """The fields of a probe that are rendered as JSON, for a comparison with pydantic's."""

    name: str
    is_open: bool
    price: Decimal
    ratio: float
    token: UUID
    created_at: datetime
    note: str | None


def probe() -> Probe:
    values: dict[str, Any] = {
        "name": 'é\u2028"\\',
        "is_open": True,
        "price": Decimal("9.90"),
        "ratio": 0.1,
        "colour": Colour.RED,
    }
    return Probe(**values, token=UUID(int=7), created_at=datetime(2026, 1, 2, 3, 4, 5, 6, UTC))


def values_of(row: Any) -> dict[str, Any]:
    """Return the loaded values of a row."""
    return {name: value for name, value in vars(row).items() if name != "_sa_instance_state"}


class ProbeDatabase:
    """An empty database in memory, and the mapping of its table."""

    def __init__(self) -> None:
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        _Base.metadata.create_all(self.engine)
        mapping = mapping_of(Probe)
        assert mapping is not None, "a plain entity has a mapping"
        self.mapping: EntityMapping = mapping

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        connection = self.engine.raw_connection()
        yield connection.cursor()
        connection.close()

    def stored(self) -> Probe:
        """Return a detached row that the ORM has stored."""
        with Session(self.engine, expire_on_commit=False) as session:
            session.add(row := probe())
            session.commit()
            return row
